import json
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
import run
import speed
from contenders import PEERS, define, disagreement, nonuniform_fft, predict_own
from memory import trace
from problems import LEVELS, make_problem

from sknw import NadarayaWatsonRegressor

PARTS = run.PARTS["speed"]

SORT_PEERS = [name for name in speed.SORTED_PEERS if PEERS[name].can_do(make_problem(1, 30, 5))]
"""Those that are installed."""


def tiny_problem(n_features, n, m, *rest, **others):
    return make_problem(n_features, min(n, 300), min(m, 300), *rest, **others)


@pytest.fixture
def tiny(monkeypatch):
    """Tables of small problems."""
    monkeypatch.setattr(speed, "make_problem", tiny_problem)
    monkeypatch.setattr(speed, "SINGLE", 3)
    monkeypatch.setattr(speed, "ROUNDS", 1)
    monkeypatch.setattr(speed, "GRIDS", speed.GRIDS[:1])


@pytest.fixture
def one_process(monkeypatch):
    """Both versions are this one, in this process."""
    monkeypatch.setattr(run, "start", nullcontext)
    monkeypatch.setattr(speed, "ask", lambda version, function, problem: function(problem))


# Errors.


def test_farthest_queries_come_first():
    problem = make_problem(2, 80, 40)
    moved = problem.farthest_first(5)
    assert {*map(tuple, moved.queries[:5])} == {*map(tuple, problem.farthest(5).queries)}
    assert {*map(tuple, moved.queries)} == {*map(tuple, problem.queries)}
    assert len(moved.queries) == 40


def test_errors_of_near_and_of_far_queries():
    problem = make_problem(1, 80, 40)
    problem = problem._replace(targets=problem.targets / np.ptp(problem.targets)).farthest_first(speed.FAR)
    means = define(problem)
    assert speed.describe_errors(problem, means, means) == {"error": 0, "far error": 0, "no answer": 0}
    found = means + np.where(np.arange(40) < speed.FAR, 2.0, 1.0)
    found[-1] = np.nan
    errors = speed.describe_errors(problem, found, means)
    assert errors == pytest.approx({"error": 1, "far error": 2, "no answer": 1 / 40})
    assert run.is_broken(errors | {"bound": 3})
    assert not run.is_broken(errors | {"no answer": 0, "bound": 3})


def test_queries_in_gaps(tiny):
    problem, m = speed.make_gaps("gaussian")
    assert len(problem.keys) == len(problem.queries) == 300
    asked = np.abs(problem.queries[:m] - problem.keys.T) / problem.bandwidth
    assert asked.min(axis=1).max() > 15
    assert (asked.min(axis=1) > 2).mean() > 0.2
    assert (asked.min(axis=1) < 1).any()


@pytest.mark.parametrize("n_features", [1, 2, 3])
def test_finufft_reaches_its_tolerance(n_features):
    pytest.importorskip("finufft")
    problem = make_problem(n_features, 300, 60, "uniform")
    means = define(problem)
    errors = [disagreement(problem, nonuniform_fft(problem, eps), means)[0] for eps in (1e-5, 1e-9, 1e-13)]
    assert errors[0] < 1e-3
    assert errors[1] < min(1e-7, errors[0])
    assert errors[2] < min(1e-11, errors[1])


# What is counted.


def test_bytes_that_are_left():
    result, kept, peak = trace(lambda n: np.concatenate([np.ones(n), np.ones(n)]), 2**17)
    assert len(result) == 2**18
    assert kept == pytest.approx(2**21, rel=0.05)
    assert peak == pytest.approx(2**22, rel=0.05)


def test_bytes_that_a_model_keeps(tiny):
    rows = {row["problem"]: row for row in speed.compare_memory("", 1)}
    assert list(rows) == [f"d={d} n={speed.KEPT}" for d in (1, 2, 3, 10)]
    for row in rows.values():
        assert 0 < row["bytes after fit"] <= row["bytes after predict"] + 0.1


def test_queries_left_to_other_engines():
    problem = make_problem(2, 5000, 5000)
    far = problem._replace(queries=np.concatenate([problem.queries[:4000], problem.queries[:1000] + 100]))
    prediction, _, left = speed.watch(partial(predict_own, algorithm="grid"), far)
    np.testing.assert_array_equal(prediction, predict_own(far, "grid"))
    assert 0.2 <= left < 0.8
    assert speed.watch(predict_own, make_problem(3, 80, 9))[2] == 0
    assert speed.watch(lambda problem: np.zeros(5000), far)[2] is None


@pytest.mark.parametrize("name", speed.COPIES)
def test_copies_are_a_problem_of_numbers(name):
    predict, as_numbers = speed.COPIES[name]
    problem = make_problem(3, 400, 300, "lattice")
    numbers = as_numbers(problem)
    assert len(np.unique(problem.queries, axis=0)) <= LEVELS**3
    np.testing.assert_allclose(predict(problem), define(numbers), rtol=0, atol=1e-12)
    jittered = speed.jitter(numbers)
    assert len(np.unique(jittered.queries, axis=0)) == 300
    assert len(np.unique(jittered.keys, axis=0)) == 400
    np.testing.assert_allclose(predict_own(jittered), predict(problem), rtol=0, atol=1e-4)


def test_single_rows():
    problem, asked = make_problem(1, 30, 5), []
    speed.predict_rows(type("Model", (), {"predict": lambda self, X: asked.append(X)})(), problem.queries)
    np.testing.assert_array_equal(asked, problem.queries[:, None])


# The command.


def call(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["run.py", *arguments])
    run.main()


def test_the_command_writes_all_parts(tiny, one_process, tmp_path, monkeypatch):
    (tmp_path / "results.json").write_text(run.RESULTS.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(run, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(run, "PAGE", tmp_path / "page.rst")
    for name in ("plot_costs", "plot_ratios", "plot_coverage"):
        monkeypatch.setattr(run, name, lambda rows, path: None)  # pictures of other tables
    call(monkeypatch, "speed", "--rounds", "1", "--before", str(run.FOLDER.parent))
    results = json.loads(run.RESULTS.read_text(encoding="utf-8"))
    sorts, grid, precision, rows, memory, copies, learning = (run.to_frame(results[name]) for name in PARTS)
    assert [*sorts["contender"]] == ["auto", *SORT_PEERS] + ["auto"] * (len(speed.SORTED_KERNELS) - 1)
    assert (sorts[f"x {speed.SORTS}"] > 0).all()
    assert (grid["contender"] == "auto").sum() == len(speed.GRIDS)
    assert {"MiB", "left to others", "x best"} < {*grid}
    assert [*precision["bound"]] == 3 * [1e-10, 1e-5]
    assert [*rows["problem"].unique()] == [f"d={d} n={n}" for d, n in speed.ROW_SIZES]
    assert (rows.loc[rows["kernel"] == speed.NEIGHBORS, f"x {speed.NEIGHBORS}"] == 1).all()
    assert len(memory) == 4
    assert [*copies["data"]] == list(speed.COPIES)
    assert (learning["octaves apart"] == 0).all()
    assert (learning["after / before"] > 0).all()
    assert run.PAGE.read_text(encoding="utf-8") == run.make_page(results)


def test_learning_needs_no_other_checkout(tiny, one_process, monkeypatch, capsys):
    call(monkeypatch, "speed_learning", "--only", "loo_ard", "--rounds", "1")
    assert capsys.readouterr().out.startswith("problem loo_ard d=3 n=10000, seconds ")


@pytest.mark.parametrize("part", ["speed_sorts", "speed_grid", "speed_precision", "speed_copies"])
def test_wrong_predictions_are_seen(part, tiny, monkeypatch, capsys):
    right = NadarayaWatsonRegressor.predict
    monkeypatch.setattr(NadarayaWatsonRegressor, "predict", lambda self, X: right(self, X) + 1e-4)
    only = {"speed_sorts": "tricube", "speed_copies": "lattice"}.get(part, "")
    with pytest.raises(SystemExit, match="not as promised"):
        call(monkeypatch, part, "--only", only or "1", "--rounds", "1")


def test_time_of_auto_in_that_of_the_best_engine():
    results = json.loads(run.RESULTS.read_text(encoding="utf-8"))
    view = run.to_frame(dict(run.make_views(results))["ratios"])
    problems = run.to_frame(results["problems"])
    seconds = problems.pivot_table("seconds", "problem", "contender", sort=False)
    best = seconds[[name for name in run.ENGINES if name in seconds]].min(axis=1)
    np.testing.assert_allclose(view["auto / best"], seconds["auto"] / best, rtol=0.3)
