import runpy
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_quickstart(capsys):
    runpy.run_path(str(EXAMPLES / "quickstart.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    scores = {line[2:40].strip(): float(line[40:47]) for line in lines if "±" in line}
    assert len(scores) == 10
    for name in ("NadarayaWatsonRegressor, tuned", "NadarayaWatsonRegressor"):
        assert scores[name] > scores["mean of the training targets"] + 0.3
    assert scores["NadarayaWatsonClassifier, tuned"] > 0.95
    assert sum(line.startswith("  patient") for line in lines) == 3
