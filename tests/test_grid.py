"""The grid engine against the dense one, on problems large enough for its cells."""

import tracemalloc

import numpy as np
import pytest
from engines import constants, gradient, is_served_by, make_pooler, make_poolers, n_unresolved, pool
from hypothesis import given
from hypothesis import strategies as st
from properties import check_like_dense
from samples import SCATTER, WEIGHTS, Problem, assert_same_results, spread

from sknw import NadarayaWatsonClassifier, NadarayaWatsonRegressor
from sknw._engines.grid.gauss_transform import Cells, Grid
from sknw._kernels import KERNELS

pytestmark = pytest.mark.usefixtures("small_problems")
FARTHEST_CELL = 2.0**50
"""Cells from zero up to which keys and queries have a cell."""


def make_grid(keys, columns, bandwidth):
    grid = Grid(Cells(keys, columns, bandwidth), KERNELS["gaussian"], bandwidth)
    grid.prepare()
    return grid


def normal_problem(n, bandwidth):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 2)), rng.normal(size=(n, 1)), np.ones(n), "gaussian", bandwidth


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(50, 1500),
    scatter=st.sampled_from(sorted(SCATTER)),
    weighting=st.sampled_from(sorted(WEIGHTS)),
    log_bandwidth=st.tuples(st.floats(-4, 2), st.floats(-4, 2)),
    alike=st.booleans(),
    tol=st.sampled_from([1e-2, 1e-4, 1e-8, 1e-12]),
)
def test_errors_stay_within_tol(seed, n, scatter, weighting, log_bandwidth, alike, tol):
    rng = np.random.default_rng(seed)
    keys, values, weights = SCATTER[scatter](rng, n, 2), rng.standard_t(2, size=(n, 2)), WEIGHTS[weighting](rng, n)
    bandwidth = spread(keys) * 10 ** np.array(log_bandwidth)[[0, 0] if alike else [0, 1]]
    queries = np.r_[
        keys[rng.integers(0, n, size=60)] + bandwidth * rng.standard_t(1, size=(60, 2)),
        [keys.min(axis=0) - 1e4 * bandwidth, keys.max(axis=0) + 1e4 * bandwidth],
    ]
    assert is_served_by(make_pooler("grid", keys, values, weights, "gaussian", bandwidth), "grid")
    check_like_dense("grid", "gaussian", Problem(keys, values, weights, bandwidth, queries), tol)


@pytest.mark.parametrize("bandwidth", [[0.1, 0.1], [0.5, 0.3], [1.0, 0.49], [3.0, 0.2], [20.0, 20.0]])
def test_expansions_keep_their_bound(bandwidth):
    """And sums of u² K, along each feature, err by no more than 81 times what sums of K may err by."""
    rng, bandwidth = np.random.default_rng(0), np.array(bandwidth)
    keys = 5 * rng.random((800, 2))
    columns = np.c_[rng.random(800), np.ones(800)]
    queries = rng.uniform(-8 * bandwidth, 5 + 8 * bandwidth, size=(900, 2))
    grid = make_grid(keys, columns, bandwidth)
    cells, positions = grid.cells.locate(queries)
    order = np.argsort(cells)
    sums, error = grid.sums(cells[order], positions[:, order], powers=((0, 0), (1, 0), (0, 1)))
    squares = ((queries[order, None] - keys) / bandwidth) ** 2
    weights = np.exp(-squares.sum(axis=-1) / 2)
    assert (np.abs(sums[:, 0] - weights @ columns) <= error[:, None]).all()
    for f in (0, 1):
        moments = (squares[:, :, f] * weights) @ columns
        assert (np.abs(sums[:, 1 + f] - moments) <= 81 * error[:, None]).all()
    assert (error <= 1e-12 * 800).all()


def test_offsets_and_far_keys_cost_no_digit():
    """Keys on a lattice of 2^-20, so that a shift by 2^30 is exact."""
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 2**22, size=(500, 2)) * 2.0**-20
    near, far = np.ones((500, 1)), np.ones((502, 1))
    grid = make_grid(keys, near, np.array([0.25, 0.7]))
    moved = np.r_[[[-1e15, 0.0], [1e200, 3.0]], keys + 2.0**30]
    moved_grid = make_grid(moved, far, np.array([0.25, 0.7]))
    for g, points in ((grid, keys), (moved_grid, moved[2:])):
        cells, positions = g.cells.locate(points)
        order = np.argsort(cells, kind="stable")
        sums, error = g.sums(cells[order], positions[:, order])
        assert (error < 1e-10).all()
        if g is grid:
            expected = sums
        else:
            np.testing.assert_allclose(sums, expected, rtol=1e-14)


def test_keys_and_queries_too_far_for_cells():
    keys = np.r_[
        np.random.default_rng(0).normal(size=(60, 2)),
        [[2 * FARTHEST_CELL, 0], [2 * FARTHEST_CELL + 1, 0], [1e100, 1e100]],
    ]
    values, queries = (
        np.arange(63.0)[:, None],
        np.array([[0.0, 0.0], [2 * FARTHEST_CELL, 0], [1e100, 9e99], [1e308, -1e308]]),
    )
    for bandwidth in (1.0, 1e-3):
        fast, exact = (make_pooler(name, keys, values, bandwidth=bandwidth) for name in ("grid", "dense"))
        assert is_served_by(fast, "grid")
        for asked in (queries, None):
            found, expected = pool(fast, asked, tol=1e-10)[0], pool(exact, asked)[0]
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-290)


@pytest.mark.parametrize("bandwidth", [0.1, 0.25, 1.0])
def test_expansions_serve_nearly_all_queries(bandwidth):
    fast = make_pooler("grid", *normal_problem(5000, bandwidth))
    queries = np.random.default_rng(1).normal(size=(5000, 2))
    assert n_unresolved(fast, lambda: pool(fast, queries, tol=1e-10)) <= 50
    assert n_unresolved(fast, lambda: pool(fast, tol=1e-10)) <= 150


def test_blocks_and_threads_do_not_show():
    """Where expansions serve nearly all queries, many of them in a cell."""
    problem = normal_problem(2000, [0.1, 0.3])
    queries = 2 * np.random.default_rng(1).normal(size=(900, 2))
    for asked in (queries, None):
        whole, _ = pool(make_pooler("grid", *problem), asked, tol=1e-10)
        with constants("grid"):
            one, threads = (pool(make_pooler("grid", *problem), asked, n_jobs=n, tol=1e-10) for n in (1, 3))
        assert_same_results(one, threads)
        np.testing.assert_allclose(one[0], whole, atol=1e-9)


def test_results_do_not_depend_on_bandwidths_before():
    problem = normal_problem(2000, 1)[:3]
    shared = make_poolers("grid", *problem)
    for bandwidth in ([0.3, 0.3], [0.3, 0.45], [0.31, 0.3], [0.3, 0.3], [0.1, 0.3], [0.3, 0.3]):
        fresh = make_pooler("grid", *problem, "gaussian", bandwidth)
        for found, expected in zip(pool(shared("gaussian", bandwidth), tol=1e-8), pool(fresh, tol=1e-8), strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("scatter", ["heavy", "cauchy", "normal"])
def test_memory_is_bounded(scatter):
    """Whatever the number of cells: moments, expansions and temporaries."""
    rng = np.random.default_rng(0)
    keys, values = SCATTER[scatter](rng, 40_000, 2), rng.normal(size=(40_000, 5))
    poolers = make_poolers("grid", keys, values)
    for bandwidth in (1e-3, 0.05, 0.3):
        tracemalloc.start()
        pool(poolers("gaussian", bandwidth), keys[:100], tol=1e-6)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 260 * 2**20


@pytest.mark.parametrize("bandwidth", [0.05, 0.3])
def test_memory_of_a_gradient_is_bounded(bandwidth):
    """Temporaries do not grow with the number of rows, beyond the results and what orders the rows."""
    rng = np.random.default_rng(0)
    keys, values = rng.normal(size=(100_000, 2)), rng.normal(size=(100_000, 3))
    pooler = make_pooler("grid", keys, values, None, "gaussian", bandwidth)
    rows = np.flatnonzero(np.abs(keys).max(axis=1) < 2)  # the tails are for other engines
    cotangents = rng.normal(size=(len(rows), 3))
    gradient(pooler, cotangents[:100], rows[:100], tol=1e-6)
    tracemalloc.start()
    gradient(pooler, cotangents, rows, tol=1e-6)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    numbers = 3 * (1 + 2) + 1  # for each row: its values, their derivatives along two features, and its mass
    assert peak < (8 * numbers + 100) * len(rows) + 40 * 2**20


@pytest.mark.parametrize("bandwidth", [[np.inf, 1.0], [1e-200, 1e-200], [1e-320, 1.0], [1e-3, 1e-3]])
def test_problems_that_cells_are_not_for(bandwidth):
    keys, values = np.random.default_rng(0).normal(size=(300, 2)), np.arange(300.0)[:, None]
    with constants("cells for some keys"):
        fast, exact = (make_pooler(name, keys, values, None, "gaussian", bandwidth) for name in ("grid", "dense"))
    assert not is_served_by(fast, "grid")
    np.testing.assert_allclose(pool(fast, keys)[0], pool(exact, keys)[0], rtol=1e-12)


def test_the_estimators_take_it():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(3000, 2)), rng.normal(size=3000)
    model = NadarayaWatsonRegressor(algorithm="grid").fit(X, y)
    exact = NadarayaWatsonRegressor(algorithm="dense").fit(X, y)
    for rows in (X, None):
        np.testing.assert_allclose(model.predict(rows), exact.predict(rows), atol=1e-10 * np.ptp(y))
    np.testing.assert_array_equal(model.attention_weights(X[:5]), exact.attention_weights(X[:5]))
    classifier = NadarayaWatsonClassifier(algorithm="grid").fit(X, y > 0)
    np.testing.assert_allclose(classifier.predict_proba(X).sum(axis=1), 1)
