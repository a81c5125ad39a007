"""The grid engine against the dense one, on problems large enough for its cells."""

import tracemalloc

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sknw import NadarayaWatsonClassifier, NadarayaWatsonRegressor
from sknw._engines import _grid, _tensor_cells, make_engines
from sknw._engines._grid import GridPooler
from sknw._engines._tensor_cells import FAR, REACH, SLOPES, Cells, Grid
from sknw._kernels import KERNELS
from sknw._weights import kept_fraction

GAUSSIAN = KERNELS["gaussian"]

SCATTER = {
    "uniform": lambda rng, n: rng.random((n, 2)),
    "normal": lambda rng, n: rng.normal(size=(n, 2)),
    "t(1.5)": lambda rng, n: rng.standard_t(1.5, size=(n, 2)),
    "cauchy": lambda rng, n: rng.standard_cauchy(size=(n, 2)),
    "lattice": lambda rng, n: rng.integers(0, 20, size=(n, 2)) * 0.1,
    "duplicates": lambda rng, n: rng.normal(size=(25, 2))[rng.integers(0, 25, size=n)],
    "clusters": lambda rng, n: rng.normal(size=(n, 2)) + 1e6 * rng.integers(0, 3, size=(n, 2)),
    "gaps": lambda rng, n: rng.random((n, 2)) + 3 * rng.integers(0, 4, size=(n, 2)),
    "offset": lambda rng, n: rng.normal(size=(n, 2)) + np.array([1e6, -1e6]),
    "outlier": lambda rng, n: np.r_[rng.normal(size=(n - 1, 2)), [[1e9, -1e30]]],
    "line": lambda rng, n: rng.normal(size=(n, 1)) * [1, 3],
}
WEIGHTS = {
    "none": lambda rng, n: np.ones(n),
    "counts": lambda rng, n: np.r_[1.0, rng.integers(0, 4, size=n - 1)],
    "importances": lambda rng, n: np.r_[0.5, rng.random(n - 1) * (rng.random(n - 1) < 0.8)],
}


@pytest.fixture(autouse=True, scope="module")
def small_problems_have_cells():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_grid, "CELL_PAIRS", 0)
        yield


def poolers(keys, values, weights, bandwidth):
    engines = make_engines(keys, values, weights, kept_fraction(weights))
    for name in ("grid", "dense"):
        yield engines[name].prepare(GAUSSIAN, bandwidth)


def make_grid(keys, columns, bandwidth):
    grid = Grid(Cells(keys, columns, bandwidth), GAUSSIAN, bandwidth)
    grid.prepare()
    return grid


def normal_problem(n, bandwidth, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 2)), rng.normal(size=(n, 1)), np.ones(n), np.broadcast_to(bandwidth, 2)


def count_weak(pooler, monkeypatch, *problem):
    """How many queries a pooler leaves to the blocks."""
    weak = []
    pool = pooler._blocks.pool
    monkeypatch.setattr(pooler._blocks, "pool", lambda queries, rows, *rest: weak.extend(rows) or pool(queries, rows))
    pooler.pool(*problem)
    return len(weak)


def spread(x):
    return np.quantile(x, 0.75, axis=0) - np.quantile(x, 0.25, axis=0)


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
    keys, values, weights = SCATTER[scatter](rng, n), rng.standard_t(2, size=(n, 2)), WEIGHTS[weighting](rng, n)
    log_bandwidth = np.array(log_bandwidth)[[0, 0] if alike else [0, 1]]
    bandwidth = np.where(spread(keys) > 0, spread(keys), 1) * 10**log_bandwidth
    queries = np.r_[
        keys[rng.integers(0, n, size=60)] + bandwidth * rng.standard_t(1, size=(60, 2)),
        [keys.min(axis=0) - 1e4 * bandwidth, keys.max(axis=0) + 1e4 * bandwidth],
    ]
    fast, exact = poolers(keys, values, weights, bandwidth)
    assert isinstance(fast, GridPooler)
    span = np.ptp(values[weights > 0], axis=0)
    for rows in (queries, None):
        pooled, log_mass = fast.pool(rows, tol=tol)
        expected, expected_mass = exact.pool(rows)
        assert (np.abs(pooled - expected) <= (tol + 2e-12) * span).all()
        assert (np.abs(log_mass - expected_mass) <= 2 * tol + 1e-11 * (1 + np.abs(expected_mass))).all()


@pytest.mark.parametrize("bandwidth", [[0.1, 0.1], [0.5, 0.3], [1.0, 0.49], [3.0, 0.2], [20.0, 20.0]])
def test_expansions_keep_their_bound(bandwidth):
    """And sums of u² K err by no more than REACH² times what sums of K may err by."""
    rng, bandwidth = np.random.default_rng(0), np.array(bandwidth)
    keys = 5 * rng.random((800, 2))
    columns = np.c_[rng.random(800), np.ones(800)]
    queries = rng.uniform(-8 * bandwidth, 5 + 8 * bandwidth, size=(900, 2))
    grid = make_grid(keys, columns, bandwidth)
    cells, positions = grid.cells.locate(queries)
    order = np.argsort(cells)
    sums, error = grid.sums(cells[order], positions[:, order], SLOPES)
    squares = ((queries[order, None] - keys) / bandwidth) ** 2
    weights = np.exp(-squares.sum(axis=-1) / 2)
    assert (np.abs(sums[:, 0] - weights @ columns) <= error[:, None]).all()
    for f in (0, 1):
        moments = (squares[:, :, f] * weights) @ columns
        assert (np.abs(sums[:, 1 + f] - moments) <= REACH**2 * error[:, None]).all()
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
    keys = np.r_[np.random.default_rng(0).normal(size=(60, 2)), [[2 * FAR, 0], [2 * FAR + 1, 0], [1e100, 1e100]]]
    values, queries = np.arange(63.0)[:, None], np.array([[0.0, 0.0], [2 * FAR, 0], [1e100, 9e99], [1e308, -1e308]])
    for bandwidth in (1.0, 1e-3):
        fast, exact = poolers(keys, values, np.ones(63), np.full(2, bandwidth))
        assert isinstance(fast, GridPooler)
        np.testing.assert_allclose(fast.pool(queries, tol=1e-10)[0], exact.pool(queries)[0], rtol=1e-9, atol=1e-290)
        np.testing.assert_allclose(fast.pool(tol=1e-10)[0], exact.pool()[0], rtol=1e-9, atol=1e-290)


@pytest.mark.parametrize("bandwidth", [0.1, 0.25, 1.0])
def test_expansions_serve_nearly_all_queries(bandwidth, monkeypatch):
    fast = next(poolers(*normal_problem(5000, bandwidth)))
    queries = np.random.default_rng(1).normal(size=(5000, 2))
    assert count_weak(fast, monkeypatch, queries, slice(None), None, 1e-10) <= 50
    assert count_weak(fast, monkeypatch, None, slice(None), None, 1e-10) <= 150


def test_blocks_do_not_show(monkeypatch):
    problem = normal_problem(2000, [0.1, 0.3])
    queries = 2 * np.random.default_rng(1).normal(size=(900, 2))
    whole = [next(poolers(*problem)).pool(rows, tol=1e-10)[0] for rows in (queries, None)]
    for name, size in {"SORTED_ROWS": 500, "BLOCK_ROWS": 170}.items():
        monkeypatch.setattr(_grid, name, size)
    for name, size in {"PIECE_ROWS": 40, "GATHER_VALUES": 30_000}.items():
        monkeypatch.setattr(_tensor_cells, name, size)
    for rows, expected in zip((queries, None), whole, strict=True):
        np.testing.assert_allclose(next(poolers(*problem)).pool(rows, tol=1e-10)[0], expected, atol=1e-9)


def test_results_do_not_depend_on_n_jobs():
    fast = next(poolers(*normal_problem(3000, 0.1)))
    queries = 2 * np.random.default_rng(1).normal(size=(60_000, 2))
    one, many = fast.pool(queries, tol=1e-3), fast.pool(queries, n_jobs=3, tol=1e-3)
    oracle.assert_same_results(one, many)


def test_results_do_not_depend_on_bandwidths_before():
    keys, values, weights, _ = normal_problem(2000, 1)
    engine = make_engines(keys, values, weights, kept_fraction(weights))["grid"]
    for bandwidth in ([0.3, 0.3], [0.3, 0.45], [0.31, 0.3], [0.3, 0.3], [0.1, 0.3], [0.3, 0.3]):
        fresh = next(poolers(keys, values, weights, np.array(bandwidth)))
        shared = engine.prepare(GAUSSIAN, np.array(bandwidth))
        for found, expected in zip(shared.pool(tol=1e-8), fresh.pool(tol=1e-8), strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("scatter", ["t(1.5)", "cauchy", "normal"])
def test_memory_is_bounded(scatter):
    """Whatever the number of cells: moments, expansions and temporaries."""
    rng = np.random.default_rng(0)
    keys, values = SCATTER[scatter](rng, 40_000), rng.normal(size=(40_000, 5))
    engine = make_engines(keys, values, np.ones(40_000), np.zeros(40_000))["grid"]
    for bandwidth in (1e-3, 0.05, 0.3):
        tracemalloc.start()
        pooler = engine.prepare(GAUSSIAN, np.full(2, bandwidth))
        pooler.pool(keys[:100], tol=1e-6)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 260 * 2**20


@pytest.mark.parametrize("bandwidth", [[np.inf, 1.0], [1e-200, 1e-200], [1e-320, 1.0], [1e-3, 1e-3]])
def test_problems_that_cells_are_not_for(bandwidth, monkeypatch):
    monkeypatch.setattr(_grid, "CELL_PAIRS", 1000)
    keys, values = np.random.default_rng(0).normal(size=(300, 2)), np.arange(300.0)[:, None]
    fast, exact = poolers(keys, values, np.ones(300), np.array(bandwidth))
    assert not isinstance(fast, GridPooler)
    np.testing.assert_allclose(fast.pool(keys)[0], exact.pool(keys)[0], rtol=1e-12)


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
    with pytest.raises(
        ValueError, match=r"algorithm='grid' cannot do this kernel with 3 features; .*\['blocks', 'dense'\]"
    ):
        NadarayaWatsonRegressor(algorithm="grid").fit(np.eye(3), [0, 1, 2])
