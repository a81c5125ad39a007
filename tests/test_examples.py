"""Each example runs, saves its pictures, and prints the numbers that its page talks about."""

import re
import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
PAGES = {
    "01_average_to_attention": 2,
    "02_kernels": 3,
    "03_widths": 2,
    "04_learned_width": 5,
    "05_classification": 3,
    "06_per_feature": 2,
    "07_dot_product": 1,
    "08_consistency": 1,
    "09_parzen": 1,
    "10_neighbors": 2,
    "11_local_linear": 4,
    "12_projection": 2,
    "13_intervals": 3,
    "14_marginal_effects": 1,
    "15_tables": 3,
}
"""How many figures each page has."""
NUMBER = r"(?<![\w.])-?(?:\d+(?:\.\d+)?(?:e[+-]\d+)?|inf)(?!\w)"


@pytest.fixture
def run(monkeypatch, capsys, plt, tmp_path):
    """Run a page, check that it saves its figures, and return the numbers of each line that it prints."""

    def run_page(name):
        monkeypatch.setattr(sys, "argv", [name, str(tmp_path)])
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        expected = {f"{name}_{number}.png" for number in range(1, PAGES[name] + 1)}
        assert {path.name for path in tmp_path.iterdir()} == expected
        assert all(path.read_bytes().startswith(b"\x89PNG") for path in tmp_path.iterdir())
        return Printed(capsys.readouterr().out.splitlines())

    return run_page


class Printed:
    """The numbers in printed lines, by what a line begins with."""

    def __init__(self, lines):
        self.lines = lines

    def __call__(self, start):
        """The numbers behind the beginning of the only line that begins so."""
        (line,) = [line for line in self.lines if line.startswith(start)]
        return [float(number) for number in re.findall(NUMBER, line[len(start) :].replace("%", " "))]


def test_quickstart(capsys):
    runpy.run_path(str(EXAMPLES / "quickstart.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    scores = {line[2:40].strip(): float(line[40:47]) for line in lines if "±" in line}
    assert len(scores) == 14
    for way in ("", ", learned", ", tuned"):
        assert scores[f"NadarayaWatsonRegressor{way}"] > scores["mean of the training targets"] + 0.3
        assert scores[f"NadarayaWatsonClassifier{way}"] > scores["most frequent class"] + 0.5
    for way in (", learned", ", tuned"):
        assert scores[f"NadarayaWatsonRegressor{way}"] > scores["NadarayaWatsonRegressor"]
    assert scores["LocalLinearRegressor, learned"] > scores["NadarayaWatsonRegressor"]
    assert min(scores["NadarayaWatsonClassifier, tuned"], scores["LocalLinearClassifier, learned"]) > 0.95
    assert sum(line.startswith("  patient") for line in lines) == 3


def test_every_script_is_a_page_in_gallery_form():
    assert {path.stem for path in EXAMPLES.glob("[0-9]*.py")} == set(PAGES)
    for name in PAGES:
        lines = (EXAMPLES / f"{name}.py").read_text().splitlines()
        assert lines[0] == '"""'
        assert lines[2] == "=" * len(lines[1])
        assert lines[3] == ""
        cells = [i for i, line in enumerate(lines) if line == "# %%"]
        assert len(cells) >= 2
        assert all(lines[i + 1].startswith("# ") for i in cells)


def test_without_a_folder_figures_stay_open_and_are_shown(monkeypatch, plt):
    """As a gallery runs the script, which takes its pictures from the open figures."""
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.extend(plt.get_fignums()))
    monkeypatch.setattr(sys, "argv", ["01_average_to_attention.py"])
    runpy.run_path(str(EXAMPLES / "01_average_to_attention.py"), run_name="__main__")
    assert shown == [1, 2]


def test_average_to_attention(run):
    printed = run("01_average_to_attention")
    assert "weights from 0.0200 to 0.0200" in printed.lines
    low, high = printed("predictions from")
    assert [low] == [high] == printed("mean of y")
    assert printed("attention pooling") < printed("average pooling")
    assert printed("queries whose largest weight is that of the nearest key:") == [50, 50]
    predicted, truth = printed("range of the prediction")
    assert predicted < truth
    assert max(printed("largest difference from a softmax:")) < 1e-14
    assert max(printed("largest difference of a row's sum from one:")) < 1e-14
    assert max(printed("largest difference from attention @ y:")) < 1e-13


def test_kernels(run):
    printed = run("02_kernels")
    for name in ("gaussian", "boxcar", "constant", "triangular", "epanechnikov"):
        bounded = name not in ("gaussian", "constant")
        *_, far = printed(f"shape of {name} ")
        _, step = printed(f"fit by {name} ")
        pairs, _ = printed(f"attention by {name} ")
        assert (far == 0) == bounded
        assert pairs < 50 if bounded else pairs == 100
        assert step > 0.2 if name == "boxcar" else step < 0.05
    assert max(printed("triangular - max(0, 1 - u): at most")) < 1e-14
    assert max(printed("epanechnikov - max(0, 1 - u²): at most")) < 1e-14


def test_widths(run):
    printed = run("03_widths")
    rows = [[printed(f"sigma {sigma:<4g} {what}") for sigma in (0.1, 0.2, 0.5, 1)] for what in ("total", "largest")]
    travelled, errors = zip(*rows[0], strict=True)
    largest, median, least = zip(*rows[1], strict=True)
    assert list(travelled) == sorted(travelled, reverse=True)
    assert travelled[0] > printed("truth      total variation")[0] > travelled[-1]
    assert min(errors) not in (errors[0], errors[-1])
    assert list(largest) == sorted(largest, reverse=True)
    assert list(median) == sorted(median)
    assert least[0] < 1.1 < median[0] < 5


def test_learned_width(run):
    printed = run("04_learned_width")
    *_, in_sample_h, in_sample_error = printed("in sample: of h from")
    assert (in_sample_h, in_sample_error) == (1e-4, 0)
    *_, swept_h, swept_error = printed("leave-one-out: of h from")
    h, w, loss = printed("learned: h =")
    assert swept_h == pytest.approx(h, rel=0.12)  # the step of the widths
    assert loss <= swept_error
    assert w == pytest.approx(1 / h, rel=1e-3)
    (precise,) = printed("learned loss")
    for start in (0.1, 0.5, 0.9):
        end, *losses = printed(f"descent from w = {start}: w =")
        assert losses == sorted(losses, reverse=True)
        assert precise <= losses[-1]
        assert (end < start) == (start == 0.1)
    silverman_h, silverman_loss = printed("Silverman's h =")
    assert h < silverman_h
    assert loss < silverman_loss
    (wide, wide_error), (sharp, sharp_error) = printed("h = 1:"), printed("learned: median")
    assert wide < sharp
    assert wide_error > sharp_error


def test_classification(run):
    printed = run("05_classification")
    (accuracy, brier), (base_accuracy, base_brier) = printed("classifier:"), printed("class frequencies:")
    assert accuracy > base_accuracy + 0.3
    assert brier < base_brier / 2
    assert max(printed("largest difference of the sum of the lines from one:")) < 1e-14
    assert min(printed("rows that get more than half for their own class:")) > 50
    assert printed("mean distance from the diagonal")[0] < 0.05


def test_per_feature(run):
    printed = run("06_per_feature")
    widest, narrowest = printed("widest that matters")
    assert widest < 0.5
    assert narrowest > 1
    ignored = [printed(f"feature {feature}: h =")[0] == float("inf") for feature in range(10)]
    assert not any(ignored[:5])
    assert any(ignored[5:])
    (common, common_loss), (each, each_loss) = printed("common factor: R²"), printed("one each: R²")
    assert each > common + 0.1
    assert each_loss < common_loss
    assert printed("along feature 3: prediction over a range of") > [5, 5]
    assert printed("along feature 7: prediction over a range of") == [0, 0]


def test_dot_product(run):
    printed = run("07_dot_product")
    for h in ("0.1", "0.5", "2  "):
        assert max(printed(f"on the sphere, h = {h}")) < 1e-12
    assert max(printed("off the sphere, without weights")) > 0.1
    assert max(printed("off the sphere, with weights")) < 1e-12
    assert max(printed("on the circle, largest difference of weights")) < 1e-12
    last, second = printed("weight of the last key at the first query")
    assert last == second > 0.05


def test_consistency(run):
    printed = run("08_consistency")
    exponents = {}
    for name in ("flat at the edges, d = 1", "flat at the edges, d = 2", "steep at the edges, d = 1"):
        for what in ("learned h", "error"):
            exponent, standard_error, theory, *means = printed(f"{name}, {what}:")
            assert means == sorted(means, reverse=True)
            assert abs(exponent - theory) < 0.03 + 3 * standard_error
            assert 0.005 < standard_error < 0.025
            exponents[name, what] = exponent
    assert exponents["steep at the edges, d = 1", "learned h"] < exponents["flat at the edges, d = 1", "learned h"]


def test_parzen(run):
    printed = run("09_parzen")
    agreeing, total = printed("signs that agree:")
    assert agreeing == total == 40000
    assert max(printed("largest difference of probabilities:")) < 1e-10
    assert printed("without shares:")[0] < total


def test_neighbors(run):
    printed = run("10_neighbors")
    fixed, wide, neighbours = (
        printed(f"{name}: mean squared error")[0] for name in ("fixed, learned", "fixed, 0.4", "neighbours, learned")
    )
    assert neighbours < 0.9 * fixed < wide
    fixed_loss, loss = printed("leave-one-out:")
    assert loss < fixed_loss
    (width,), (narrow, broad) = printed("fixed width:"), printed("width by neighbours from")
    assert 5 * narrow < width < broad / 5
    assert max(printed("largest difference from the formula:")) < 1e-12
    low, high = printed("neighbours, learned: effective number of points from")
    assert high < 2 * low
    low, high = printed("fixed, learned: effective number of points from")
    assert high > 10 * low


def test_projection(run):
    printed = run("12_projection")
    (pca, pca_accuracy), (nca, _), (learned, accuracy) = (
        printed(f"{name}: Brier") for name in ("PCA", "NCA", "AttentionProjection")
    )
    assert learned < min(pca, nca)
    assert accuracy > pca_accuracy


def test_local_linear(run):
    printed = run("11_local_linear")
    (average_edges, average_inside), (line_edges, line_inside) = printed("average: mean"), printed("local line: mean")
    assert line_edges < average_edges / 2
    assert line_inside < average_inside < average_edges
    total, negative = printed("sum of the weights of the line:")
    assert total == 1
    assert negative < -0.1
    assert max(printed("largest difference from the prediction:")) < 1e-12
    steps = [printed(f"{name}: largest step")[0] for name in ("ridge=0", "ridge=1, trend=False", "ridge=1, trend=True")]
    assert steps == sorted(steps, reverse=True)
    for bandwidth in ("loo", "loo_ard"):
        assert printed(f"local line, {bandwidth}: R²") > printed(f"average, {bandwidth}: R²")


def test_intervals(run):
    printed = run("13_intervals")
    assert 0.86 < printed("coverage of")[1] < 0.94
    coverage, *bins, score = printed("attention: coverage")
    assert 0.88 < coverage < 0.92
    assert min(bins) > 0.8
    for name in ("MAPIE CV+", "quantile forest"):
        if f"{name} is not installed" not in printed.lines:
            _, least, _, other_score = printed(f"{name}: coverage")
            assert least < min(bins)
            assert other_score > score


def test_marginal_effects(run):
    printed = run("14_marginal_effects")
    true = printed("true: average effects")
    *average, average_error = printed("average: average effects")
    *line, line_error = printed("local line: average effects")
    for effects, limit in ((average, 0.15), (line, 0.03)):
        assert max(abs(a - b) for a, b in zip(effects, true, strict=True)) < limit
    assert line_error < average_error / 2
    for name, n_kinks in (("average", 0), ("local line", 8)):
        median, _, kinks, _ = printed(f"{name}: difference from central differences")
        assert median < 1e-7
        assert kinks <= n_kinks
    if "statsmodels is not installed" not in printed.lines:
        assert max(printed("statsmodels: largest difference of predictions")) < 1e-12
        assert max(abs(effect) for effect in printed("statsmodels: average effects")) < 0.02


def test_tables(run):
    pytest.importorskip("statsmodels.datasets")
    printed = run("15_tables")
    table, imputed, boosted = (printed(f"{name}: R²") for name in ("table", "imputed, one-hot", "gradient boosting"))
    assert table == sorted(table, reverse=True)
    assert table[0] == pytest.approx(imputed[0], abs=0.02)
    assert min(score - other for score, other in zip(table[1:], imputed[1:], strict=True)) > 0.02
    assert table == pytest.approx(boosted, abs=0.05)
    for known, (low, high) in {"all known": (0.99, 1), "firm missing": (0, 0.5)}.items():
        assert low <= printed(f"{known}: attention to Westinghouse")[0] <= high
