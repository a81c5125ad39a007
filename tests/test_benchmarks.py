import json
import shutil
from pathlib import Path

import numpy as np
import oracle
import pandas as pd
import pytest
import run
import tables
import timing
import versions
from contenders import COMPACT, KERNELS, LINES, PEERS, contenders, define, disagreement, own_contenders, softmax
from learning_peers import CHOICES, FACTORS, can_learn
from problems import FUNCTIONS, PROBLEMS, Problem, draw_problems, make_problem, make_sample, random_problem
from real_data import BUNDLED, MOST_ROWS, SOURCES, load, names, real_folds, to_numbers
from timing import cut_queries, ratio

import sknw

ROOT = Path(__file__).parent.parent


# Problems.


@pytest.mark.parametrize("name", PROBLEMS)
def test_named_problem(name):
    sizes = PROBLEMS[name]
    problem = make_problem(**sizes | {"n": 60, "m": 30})
    assert name.startswith(f"{problem.kernel} d={sizes['n_features']}")
    assert problem.keys.shape == (60, sizes["n_features"])
    assert np.all(np.isfinite(problem.bandwidth) & (problem.bandwidth > 0))
    assert len(problem.first(7).queries) == len(problem.farthest(7).queries) == 7


@pytest.mark.parametrize("kernel", KERNELS)
def test_algorithms_are_those_that_the_package_accepts(kernel):
    for d in (1, 2, 3):
        problem = make_problem(d, 30, 5, kernel=kernel)
        for algorithm in ("sorted", "grid", "blocks", "dense"):
            if algorithm in problem.algorithms():
                assert np.isfinite(problem.predict(problem.fit(algorithm))).all()
            else:
                with pytest.raises(ValueError, match="does not support"):
                    problem.fit(algorithm)


def test_random_problems_are_drawn_from_their_seed():
    for seed in range(20):
        one, other = (random_problem(np.random.default_rng(seed), 40, 2, 30) for _ in range(2))
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)
        assert one.keys.shape == (40, 2)
        assert np.isfinite(one.queries).all()
        assert one.weights is None or (one.weights >= 0).all()


@pytest.mark.parametrize("draw", [*draw_problems()], ids=str)
def test_sample(draw):
    X, y, X_test, y_test = make_sample(draw)
    assert X.shape == (len(y), draw.d) == (draw.n, draw.d)
    assert len(X_test) == len(y_test) == 4000
    truth = FUNCTIONS[draw.function](X_test[:, : draw.relevant])
    assert (y_test - truth).std() / truth.std() == pytest.approx(draw.noise, rel=0.15)
    assert 1 <= draw.relevant <= draw.d


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_data(name):
    X, y = load(name)
    assert len(X) == len(y) <= MOST_ROWS
    kind = "regression" if name == "diabetes" else "classification"
    assert name in names(kind)
    training, _, test, y_test = next(real_folds(name, kind))
    np.testing.assert_allclose(training.mean(axis=0), 0, atol=1e-12)
    assert len(test) == len(y_test) == len(X) - len(training)


def test_tables_become_numbers():
    table = pd.DataFrame({"a": [1, None, 3, 5], "b": ["x", "y", "x", "z"], "c": [1.5, 2, 2.5, 3]})
    expected = [[1, 0, 1.5, 0, 0], [3, 1, 2, 1, 0], [3, 0, 2.5, 0, 0], [5, 0, 3, 0, 1]]
    np.testing.assert_array_equal(to_numbers(table), expected)
    assert SOURCES.index.is_unique


# Contenders.


@pytest.mark.parametrize("kernel", KERNELS)
def test_definition(kernel):
    problem = make_problem(2, 80, 40, "normal", 0.7, kernel)
    attention, empty = oracle.attention(problem.queries, problem.keys, problem.bandwidth, kernel)
    means = define(problem)
    np.testing.assert_array_equal(np.isnan(means), empty)
    np.testing.assert_allclose(means[~empty], (attention @ problem.targets)[~empty], rtol=0, atol=1e-12)
    assert empty.any() <= (kernel in COMPACT)


def test_disagreement():
    problem = make_problem(1, 50, 4)
    means = np.array([0.0, 1.0, np.nan, 2.0])
    error, unanswered = disagreement(problem, np.array([0.0, 1.5, 7.0, np.nan]), means)
    assert error == pytest.approx(0.5 / np.ptp(problem.targets))
    assert unanswered == pytest.approx(1 / 3)


@pytest.mark.parametrize("n_features", [1, 2, 3])
@pytest.mark.parametrize("kernel", ["gaussian", "exponential", "epanechnikov", "boxcar", "tricube"])
def test_contenders_agree_with_the_definition(kernel, n_features):
    problem = make_problem(n_features, 300, 60, "uniform", 1.0, kernel)
    assert {"dense", "auto"} <= set(own_contenders(problem))
    for contender in contenders(problem).values():
        error, unanswered = disagreement(problem, contender.predict(problem), define(problem))
        assert error <= contender.accuracy
        assert unanswered == 0


def test_softmax_is_the_gaussian():
    problem = make_problem(3, 100, 9)
    np.testing.assert_allclose(softmax(problem), define(problem), rtol=1e-10)


def test_a_peer_beyond_its_means_is_left_out():
    def fail(problem):
        raise ValueError("needs 1e+99 nodes")

    problem = make_problem(1, 60, 30)
    rows = own_contenders(problem)
    timed, seconds = tables.time_contenders(problem, rows | {"fft_kde": PEERS["fft_kde"]._replace(predict=fail)}, 1)
    assert set(timed) == set(seconds) == set(rows)
    with pytest.raises(ValueError, match="nodes"):
        tables.time_contenders(problem, {"dense": rows["dense"]._replace(predict=fail)}, 1)


def test_slow_predictions_are_cut(monkeypatch):
    problem = make_problem(1, 60, 1000)
    assert cut_queries(lambda part: None, problem) == cut_queries(lambda part: None, problem, "linear") == 1000
    monkeypatch.setitem(timing.BUDGETS, "pairs", (-1e9, 0))
    monkeypatch.setitem(timing.BUDGETS, "linear", (-1e9, 1 / 64))
    assert cut_queries(lambda part: None, problem) == 8
    assert cut_queries(lambda part: None, problem, "linear") == 16
    assert ratio(np.array([2.0, 4.0, 8.0]), np.array([1.0, 2.0])) == 2.0


def test_lines_look_different():
    assert set(LINES) <= {"dense", "auto", *PEERS}
    for looks in zip(*LINES.values(), strict=True):
        assert len(set(looks)) == len(LINES)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_statsmodels_minimises_the_same_loss():
    kernel_regression = pytest.importorskip("statsmodels.nonparametric.kernel_regression")
    X, y, *_ = make_problem(2, 30, 1)
    assert can_learn("statsmodels", X)
    chosen = CHOICES["statsmodels"]().fit(X, y).model_
    model = kernel_regression.KernelReg(y, X, "cc", reg_type="lc", bw=chosen.bandwidth_)
    loss = np.mean(np.square(chosen.predict(None) - y))
    assert model.cv_loo(chosen.bandwidth_, model.est["lc"]) == pytest.approx(loss, rel=1e-10)


def test_grid_search_chooses_one_of_its_bandwidths():
    X, y, *_ = make_problem(1, 50, 1)
    chosen = CHOICES["grid_search"]().fit(X, y).model_.bandwidth_
    assert np.isclose(chosen / sknw.NadarayaWatsonRegressor().fit(X, y).bandwidth_, FACTORS).sum() == 1


# Tables.


def tiny_problem(n_features, n, m, **rest):
    return make_problem(n_features, min(n, 60), min(m, 30), **rest)


@pytest.mark.parametrize(
    ("name", "only", "n_rows"),
    [
        ("problems", "gaussian d=1", len(contenders(make_problem(1, 60, 30)))),
        ("costs", "dense", 8),
        ("kernels", "", 9),
        ("learning", "additive d=1 (1 matter) n=300", 1),
        ("corners", "", 22),
    ],
)
def test_table(name, only, n_rows, monkeypatch):
    monkeypatch.setattr(tables, "make_problem", tiny_problem)
    monkeypatch.setattr(tables, "PROBLEMS", {"gaussian d=1": PROBLEMS["gaussian d=1"], "other": {}})
    rows = run.print_rows(tables.TABLES[name](only, 1))
    assert len(rows) == n_rows
    assert not any(map(run.is_broken, rows))
    json.dumps(run.describe(name, rows, "1234567"))


def test_errors_above_their_bound_are_seen():
    assert run.is_broken({"error": 2e-10, "bound": 1e-10})
    assert run.is_broken({"error": 0.0, "far error": np.nan, "bound": 1e-10})
    assert not run.is_broken({"error": 1e-16, "far error": 1e-10, "bound": 1e-10})
    assert run.is_broken({"error": 0.0, "no answer": 1e-12, "bound": 1e-10})
    assert not run.is_broken({"error": 1.0, "no answer": 1.0, "bound": None})


def test_page_is_that_of_the_results():
    results = json.loads(run.RESULTS.read_text(encoding="utf-8"))
    assert {*run.TABLES, "quality", "ranks"} <= set(results)
    assert run.make_page(results) == run.PAGE.read_text(encoding="utf-8")


def test_results_are_written(tmp_path, monkeypatch, plt):
    results = json.loads(run.RESULTS.read_text(encoding="utf-8"))
    (tmp_path / "pictures").mkdir()
    monkeypatch.setattr(run, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(run, "PAGE", tmp_path / "page.rst")
    run.write(results)
    assert json.loads(run.RESULTS.read_text(encoding="utf-8")) == results
    for name in ("costs", "quality"):
        assert (tmp_path / "pictures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


# Versions.


def test_a_version_has_the_results_of_its_own(monkeypatch):
    monkeypatch.setattr(versions, "MOST_KEYS", 300)
    with versions.start(ROOT) as before, versions.start(ROOT) as after:
        results = list(versions.compare_results(before, after, 12, "random"))
        times = list(versions.compare_times(before, after, 1, "dense gaussian n=3000 d=3: predict"))
        problem = make_problem(2, 30, 1)._replace(bandwidth="loo")
        seconds, *bandwidth = versions.ask(before, versions.learn, problem)
    assert all(row["compared"] > 0 for row in results)
    assert all(row["error"] == row["above the bound"] == 0 for row in results)
    assert [row["case"].split(":")[0] for row in times][-2:] == ["worst", "geometric mean of 2"]
    assert 0.5 < times[-1]["after / before"] < 2
    assert seconds > 0
    np.testing.assert_array_equal(bandwidth, problem.fit().bandwidth_)


def test_another_version_differs(tmp_path):
    shutil.copytree(ROOT / "sknw", tmp_path / "sknw", ignore=shutil.ignore_patterns("__pycache__"))
    estimators = tmp_path / "sknw" / "_estimators.py"
    text = estimators.read_text(encoding="utf-8")
    estimators.write_text(text.replace("return self._predict(X", "return 1e-9 + self._predict(X"), encoding="utf-8")
    with versions.start(ROOT) as before, versions.start(tmp_path) as after:
        rows = {row["result"]: row for row in versions.compare_results(before, after, 12, "random")}
    assert rows["predictions"]["above the bound"] > 0
    assert rows["attention"]["above the bound"] == 0


def test_differences():
    problem = Problem(np.zeros((2, 1)), np.array([0.0, 4.0]), None)
    one, other = np.array([1.0, np.nan, np.inf]), np.array([2.0, np.nan, np.inf])
    assert versions.difference("predictions", problem, one, one) == 0
    assert versions.difference("predictions", problem, one, other) == 0.25
    assert versions.difference("attention", problem, one, other) == 1
    assert versions.difference("bandwidths", problem, 2 * one, 3 * one) == 0.5
    assert versions.difference("predictions", problem, one, np.array([1.0, 2.0, np.inf])) == np.inf
    assert versions.difference("predictions", problem, "ValueError", one) == np.inf
    assert versions.difference("predictions", problem, "ValueError", "ValueError") == 0


def test_a_folder_without_the_package_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no package"):
        versions.start(tmp_path)
