import json

import distribution
import distribution_peers
import distribution_times
import numpy as np
import pandas as pd
import plot
import pytest
import run
from distribution import BINS, SIMULATIONS, coverage_by_bins, deviation, rank_intervals, score_interval
from distribution_peers import COVERAGE, INTERVALS, TAILS, installed
from problems import make_problem
from sklearn.metrics import mean_pinball_loss


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Small problems, and few of them."""
    monkeypatch.setattr(distribution, "SIZES", (150,))
    monkeypatch.setattr(distribution, "SEEDS", range(2))
    monkeypatch.setattr(distribution, "QUERIES", 50)
    monkeypatch.setattr(distribution, "SPLITS", 2)
    monkeypatch.setattr(distribution, "names", {"regression": ["diabetes"]}.get)


# Problems.


@pytest.mark.parametrize("name", SIMULATIONS)
def test_simulated_noise_has_mean_0_and_variance_1(name):
    simulation = SIMULATIONS[name]
    X, y = simulation.draw(np.random.default_rng(0), 10**5)
    noise = (y - simulation.mean(X)) / simulation.std(X)
    assert X.shape == (10**5, {"two": 2, "three": 3, "six": 6}.get(name.split()[0], 1))
    assert noise.mean() == pytest.approx(0, abs=0.02)
    assert noise.std() == pytest.approx(1, abs=0.03)
    assert np.min(simulation.std(X)) > 0


# Scores.


def test_interval_score_is_that_of_its_quantiles(rng):
    """Gneiting & Raftery 2007, section 6.2: the sum of two pinball losses, times 2 / (1 - coverage)."""
    y = rng.normal(size=200)
    bounds = np.sort(rng.normal(size=(2, 200)), axis=0)
    losses = [mean_pinball_loss(y, bound, alpha=level) for bound, level in zip(bounds, TAILS, strict=True)]
    assert score_interval(bounds, y)["score"] == pytest.approx(sum(losses) * 2 / (1 - COVERAGE))


def test_scores_of_an_interval():
    bounds, y = np.array([[0.0, 0, 0, 0], [1, 1, 1, 2]]), np.array([0.0, 1, -1, 5])
    assert score_interval(bounds, y) == {"coverage": 0.5, "width": 1.25, "score": pytest.approx(1.25 + 20 * 4 / 4)}


def test_coverage_by_bins():
    x = np.random.default_rng(0).permutation(100)
    shares = coverage_by_bins((np.zeros(100), np.ones(100)), x, np.where(x < 35, 0.5, 2))
    np.testing.assert_array_equal(shares, [1, 1, 1, 0.5, 0, 0, 0, 0, 0, 0])
    assert len(shares) == BINS
    assert deviation(np.array([0.8, 1.0])) == pytest.approx(0.1)


# Contenders.


@pytest.mark.parametrize("name", INTERVALS)
def test_intervals_are_better_than_constant_ones(name):
    pytest.importorskip(distribution_peers.PACKAGES.get(name, "sknw"))
    rng = np.random.default_rng(0)
    (X, y), (X_test, y_test) = (SIMULATIONS["steep, little noise"].draw(rng, n) for n in (150, 200))
    bounds = INTERVALS[name](X, y, X_test)
    assert np.shape(bounds) == (2, 200)
    found = score_interval(bounds, y_test)
    constant = score_interval(np.quantile(y, TAILS)[:, None] * np.ones(200), y_test)
    assert found["coverage"] > 0.75
    assert found["score"] < 0.5 * constant["score"]


def test_contenders_that_are_not_installed_are_left_out(monkeypatch, capsys):
    monkeypatch.setattr(distribution_peers, "find_spec", lambda name: None if name == "skpro" else name)
    assert installed(INTERVALS) == [name for name in INTERVALS if name != "conditional_density"]
    assert capsys.readouterr().out == "conditional_density is left out, since skpro is not installed\n"


# What is computed from scores.


def made_up_rows():
    """On data set j, the score of a contender is its j-th, and so are its seconds."""
    scores = {"loo": [1.0, 2.0], "loo, CV+": [2.0, 2.0], "quantile_forest": [4.0, 2.0]}
    for contender, values in scores.items():
        for j, score in enumerate(values):
            row = {"data": f"data {j}", "n": 10 + j, "features": 3, "contender": contender, "score": score}
            yield row | {"coverage": 0.8 + 0.1 * j, "seconds": score}


def test_ranks_of_intervals():
    own, conformal, forest = rank_intervals(pd.DataFrame(made_up_rows())).to_dict("records")
    assert own == {
        "contender": "loo",
        "coverage, mean": pytest.approx(0.85),
        "coverage, min": 0.8,
        "coverage, max": pytest.approx(0.9),
        "score / loo": 1.0,
        "score / CV+": 0.75,
        "better than CV+": 1,
        "seconds / CV+": 0.75,
        "seconds": 1.5,
    }
    assert conformal["score / loo"] == pytest.approx(2**0.5)
    assert forest["score / loo"] == pytest.approx(2.0)
    for row in (conformal, forest):
        assert pd.isna([row["score / CV+"], row["better than CV+"], row["seconds / CV+"]]).all()


def test_scores_relative_to_loo():
    table = distribution.relative_scores(pd.DataFrame(made_up_rows()))
    assert list(table) == ["data", "n", "features", "loo", "loo, CV+", "quantile_forest"]
    np.testing.assert_array_equal(table[["loo", "loo, CV+", "quantile_forest"]], [[1, 2, 4], [1, 1, 1]])


# Times.


def test_medians_of_attention_rows():
    problem = make_problem(1, 40, 30)
    model = problem.fit()
    medians = distribution_times.attention_medians(model, problem, block=3 * 40)
    for attention, median in zip(model.attention_weights(problem.queries), medians, strict=True):
        assert attention[problem.targets <= median].sum() >= 0.5 - 1e-12
        assert attention[problem.targets < median].sum() < 0.5


def test_memory_is_that_besides_the_result():
    extra = distribution_times.peak_memory(lambda n: np.concatenate([np.ones(n), np.ones(n)]), 2**17)
    assert extra == pytest.approx(2, abs=0.1)


# The command.


def call(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["run.py", *arguments])
    run.main()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where results, page and pictures are written."""
    (tmp_path / "pictures").mkdir()
    (tmp_path / "results.json").write_text(run.RESULTS.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(run, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(run, "PAGE", tmp_path / "page.rst")
    for name in ("plot_costs", "plot_ratios"):
        monkeypatch.setattr(run, name, lambda rows, path: None)  # pictures of other tables
    return tmp_path


def test_the_command_writes_all_parts(folder, monkeypatch, plt):
    few = installed(["loo", "loo, CV+", "quantile_forest"])
    simulations = {name: SIMULATIONS[name] for name in plot.GROWING}
    monkeypatch.setattr(distribution, "SIMULATIONS", simulations)
    monkeypatch.setattr(distribution, "INTERVALS", {name: INTERVALS[name] for name in few})
    monkeypatch.setattr(distribution_times, "SIZES", (distribution_times.Size(300, 1),))
    call(monkeypatch, "distribution", "--rounds", "1")
    results = json.loads(run.RESULTS.read_text(encoding="utf-8"))
    coverage, real, times = (run.to_frame(results[name]) for name in run.PARTS["distribution"])
    assert coverage.groupby("problem").size().to_dict() == dict.fromkeys(simulations, len(few))
    assert list(real["contender"]) == few
    assert {*real["data"], *real["n"], *real["features"]} == {"diabetes", 294, 10}
    assert list(times["method"]) == [*distribution_times.METHODS, distribution_times.ROWS]
    assert (times["seconds"] > 0).all()
    assert run.PAGE.read_text(encoding="utf-8") == run.make_page(results)
    assert (folder / "pictures" / "coverage.png").read_bytes().startswith(b"\x89PNG")


def test_a_part_is_not_written(folder, monkeypatch, capsys):
    before = run.RESULTS.read_text(encoding="utf-8")
    monkeypatch.setattr(distribution, "SIMULATED", ("loo",))
    call(monkeypatch, "distribution_coverage", "--only", "gaps")
    assert capsys.readouterr().out.startswith("problem gaps, n 150, contender loo, coverage ")
    assert run.RESULTS.read_text(encoding="utf-8") == before
