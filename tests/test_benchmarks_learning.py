from unittest.mock import patch

import learning
import learning_peers
import numpy as np
import oracle
import pytest
from learning import (
    EVERY_ROW,
    compare_peers,
    compare_quality,
    compare_selection,
    dense_loss,
    loss_of,
    print_peers,
    print_quality,
    rate,
)
from learning_peers import FOLDS, SELECTORS, able_selectors, candidates, grid_search, learn, one_pass_grid
from learning_problems import FUNCTIONS, draw_problems, make_sample, make_smooth
from problems import make_problem
from sklearn.model_selection import KFold

from sknw import NadarayaWatsonRegressor, _loo

DRAWS = draw_problems()


@pytest.fixture
def few_factors(monkeypatch):
    factors = np.geomspace(1 / 8, 4, 6)
    monkeypatch.setattr(learning_peers, "FACTORS", factors)
    return factors


def test_draws_cover_what_the_table_promises():
    assert len(DRAWS) == 20
    assert {draw.function for draw in DRAWS} == set(FUNCTIONS)
    assert {draw.n_features for draw in DRAWS} == set(range(1, 9))
    assert all(200 <= draw.n <= 1000 and 0.1 <= draw.noise <= 1 for draw in DRAWS)
    assert 5 <= sum(draw.n_relevant < draw.n_features for draw in DRAWS) <= 15
    assert draw_problems() == DRAWS


@pytest.mark.parametrize("draw", DRAWS, ids=str)
def test_sample(draw):
    sample = make_sample(draw, n_test=2000)
    assert sample.X.shape == (draw.n, draw.n_features)
    assert sample.y.shape == (draw.n,)
    assert sample.X_test.shape == (2000, draw.n_features)
    noise = sample.y_test - sample.truth
    assert noise.std() / sample.truth.std() == pytest.approx(draw.noise, rel=0.15)
    np.testing.assert_allclose(sample.X_test.mean(axis=0), 0, atol=0.1)
    np.testing.assert_allclose(sample.X_test.std(axis=0), 1, atol=0.1)
    others = sample.X_test[:, : draw.n_relevant]
    np.testing.assert_array_equal(sample.truth, FUNCTIONS[draw.function](others))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_relevant_feature_matters(name):
    x = np.random.default_rng(0).normal(size=(200, 5))
    for feature in range(5):
        moved = x.copy()
        moved[:, feature] = x[::-1, feature]
        assert np.abs(FUNCTIONS[name](moved) - FUNCTIONS[name](x)).max() > 0.1


def test_smooth_function_is_flat_at_the_edges():
    X, y = make_smooth(1, 20_000, 0)
    near = np.minimum(X[:, 0], 1 - X[:, 0]) < 0.01
    assert y[near].mean() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("name", SELECTORS)
@pytest.mark.parametrize("n_features", [1, 2])
def test_selector(name, n_features, few_factors):
    problem = make_problem(n_features, 40, 1)
    if name not in able_selectors(40):
        pytest.skip(f"{name} is not installed")
    bandwidth = SELECTORS[name](problem.keys, problem.targets)
    assert bandwidth.shape == (n_features,)
    assert np.all(bandwidth > 0)
    loss, silverman = (loss_of(h, problem.keys, problem.targets) for h in (bandwidth, problem.bandwidth))
    assert loss < silverman


def test_loss_of_is_the_mean_squared_error_without_each_row():
    problem = make_problem(2, 30, 1)
    attention, _ = oracle.attention(problem.keys, problem.keys, problem.bandwidth, "gaussian")
    np.fill_diagonal(attention, 0)
    attention /= attention.sum(axis=1, keepdims=True)
    expected = np.mean((attention @ problem.targets - problem.targets) ** 2)
    assert loss_of(problem.bandwidth, problem.keys, problem.targets) == pytest.approx(expected, rel=1e-12)
    loss = dense_loss(problem.keys, problem.targets[:, None], problem.kernel)
    assert loss(problem.bandwidth) == pytest.approx(expected, rel=1e-12)
    assert loss.with_gradient(problem.bandwidth)[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_statsmodels_minimises_the_same_loss():
    kernel_regression = pytest.importorskip("statsmodels.nonparametric.kernel_regression")
    problem = make_problem(2, 30, 1)
    data = problem.keys, problem.targets
    model = kernel_regression.KernelReg(*data[::-1], "cc", reg_type="lc", bw=problem.bandwidth)
    theirs = model.cv_loo(problem.bandwidth, model.est["lc"])
    assert theirs == pytest.approx(loss_of(problem.bandwidth, *data), rel=1e-10)


def test_grids_take_the_best_of_the_same_bandwidths(few_factors):
    problem = make_problem(1, 50, 1)
    data = problem.keys, problem.targets
    grid = candidates(*data)
    assert grid.shape == (6, 1)
    np.testing.assert_allclose(grid[:, 0] / problem.bandwidth, few_factors)
    losses = [loss_of(bandwidth, *data) for bandwidth in grid]
    assert one_pass_grid(*data) == grid[np.argmin(losses)]
    folds = np.zeros(len(grid))
    for train, test in KFold(FOLDS).split(problem.keys):
        for i, bandwidth in enumerate(grid):
            model = NadarayaWatsonRegressor(bandwidth).fit(problem.keys[train], problem.targets[train])
            folds[i] += np.mean((model.predict(problem.keys[test]) - problem.targets[test]) ** 2)
    assert grid_search(*data) == grid[np.argmin(folds)]


def test_limits_are_lifted_and_put_back(monkeypatch):
    monkeypatch.setattr(_loo, "FEWEST_ROWS", 10)
    monkeypatch.setattr(_loo, "SEARCH_PAIRS", 100)
    monkeypatch.setattr(_loo, "FINAL_PAIRS", 500)
    problem = make_problem(2, 40, 1)
    model = NadarayaWatsonRegressor("loo")
    few = len(model.fit(problem.keys, problem.targets).loo_rows_)
    with patch.multiple(_loo, **EVERY_ROW):
        assert len(model.fit(problem.keys, problem.targets).loo_rows_) == 40
    assert (_loo.SEARCH_PAIRS, _loo.FINAL_PAIRS) == (100, 500)
    assert few < 40


def test_grid_search_is_timed_on_one_fold():
    problem = make_problem(1, 200, 1)
    folds = learning.grid_search_folds(problem)
    (train, test), *_ = KFold(FOLDS).split(problem.keys)
    for fold in folds:
        np.testing.assert_array_equal(fold.keys, problem.keys[train])
        np.testing.assert_array_equal(fold.targets, problem.targets[train])
        np.testing.assert_array_equal(fold.queries, problem.keys[test])
    factors = [fold.bandwidth / problem.bandwidth for fold in folds]
    assert min(factors) == pytest.approx(learning_peers.FACTORS.min())
    assert max(factors) == pytest.approx(learning_peers.FACTORS.max())


def test_learned_h_falls_with_n():
    medians, exponent = rate(1, (250, 1000), 3)
    assert medians[0] > medians[1]
    assert -0.4 < exponent < -0.05


def test_tables_are_printed(capsys, monkeypatch, few_factors):
    monkeypatch.setattr(learning, "able_selectors", lambda n: ["loo", "loo_ard", "one_pass_grid"])
    everything = compare_selection([(40, 1), (40, 2)], rounds=1)
    assert compare_peers(learning.PEER_DRAWS, rounds=1) == {}
    print_peers({})
    print_quality(compare_quality([draw._replace(n=50) for draw in DRAWS[:2]]))
    lines = capsys.readouterr().out.splitlines()
    losses = everything[40, 2][1]
    assert losses["loo_ard"] <= losses["loo"] <= losses["one_pass_grid"] * (1 + 1e-6)
    assert sum("not available" in line for line in lines) == 3
    assert sum(" | " in line for line in lines) == 3 + 3
    assert len(lines) == 8 + 5 + 6


def test_statsmodels_is_compared(capsys, monkeypatch):
    pytest.importorskip("statsmodels")
    monkeypatch.setattr(learning, "able_selectors", lambda n: ["loo", "loo_ard", "any_gain", "statsmodels"])
    draws = [draw._replace(n=25) for draw in (learning.PEER_DRAWS[0], learning.PEER_DRAWS[-1])]
    results = compare_peers(draws, rounds=1)
    assert list(results) == draws
    assert all(ratio > 1 and excess < 0.1 for ratio, excess in results.values())
    capsys.readouterr()
    print_peers(results)
    lines = capsys.readouterr().out.splitlines()
    assert ["median of 2 " in lines[0], "median of 1 where" in lines[1], len(lines)] == [True, True, 3]


def test_large_bars_are_printed(capsys):
    learning.print_one_factor(rounds=1, n=300)
    learning.print_each_feature(rounds=1, n=60)
    learning.print_gradient(rounds=1, n=60)
    learning.print_rates(sizes=(50, 100), seeds=1)
    lines = capsys.readouterr().out.splitlines()
    assert sum(" | " in line for line in lines) == 3 + 4 + 1 + 2
    assert all("missed" not in line for line in lines if "search on all rows" in line)
    assert learn("loo", *make_smooth(1, 50, 0)).shape == (1,)
