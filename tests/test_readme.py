"""The README's pictures are there, small, and large enough to be read."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_pictures():
    names = re.findall(r"!\[[^]]+\]\(([^)]+)\)", TEXT)
    assert names == ["docs/pictures/04_learned_width_5.png", "docs/pictures/costs.png"]
    pictures = [(ROOT / name).read_bytes() for name in names]
    assert sum(map(len, pictures)) <= 150_000
    for picture in pictures:
        assert picture.startswith(b"\x89PNG")
        assert int.from_bytes(picture[16:20], "big") >= 600  # pixels wide


def test_pictures_have_commands():
    for command in ("examples/04_learned_width.py docs/pictures", "benchmarks/run.py --plot docs/pictures/costs.png"):
        assert f"\n    python {command}\n" in TEXT
        assert (ROOT / command.split()[0]).exists()
