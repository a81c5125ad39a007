"""The README is short, its links lead somewhere, and its picture is there, small, and large enough to be read."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_length():
    assert len(TEXT.splitlines()) <= 150


def test_links():
    links = set(re.findall(r"\]\(([^)]+)\)", TEXT))
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_picture():
    (name,) = re.findall(r"!\[[^]]+\]\(([^)]+)\)", TEXT)
    picture = (ROOT / name).read_bytes()
    assert len(picture) <= 75_000
    assert picture.startswith(b"\x89PNG")
    assert int.from_bytes(picture[16:20], "big") >= 600  # pixels wide


def test_picture_has_a_command():
    command = "examples/04_learned_width.py docs/pictures"
    assert f"\n    python {command}\n" in TEXT
    assert (ROOT / command.split()[0]).exists()
