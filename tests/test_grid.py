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
from sknw._engines.chebyshev import gaussian_coefficients, interpolation
from sknw._engines.grid.cells import Cells
from sknw._engines.grid.gauss_transform import Grid, PlaneCells
from sknw._engines.grid.pairs import Pairs
from sknw._engines.grid.space_sums import MARGIN, Space, cell_widths
from sknw._kernels import KERNELS

pytestmark = pytest.mark.usefixtures("small_problems")
FARTHEST_CELL = 2.0**50
"""Cells from zero up to which keys and queries have a cell."""


def make_grid(keys, columns, bandwidth):
    if keys.shape[1] == 3:
        return Space(Cells(keys, columns, cell_widths(bandwidth), MARGIN), KERNELS["gaussian"], bandwidth)
    grid = Grid(PlaneCells(keys, columns, bandwidth), KERNELS["gaussian"], bandwidth)
    grid.prepare()
    return grid


def sums_in_order(grid, queries):
    """What a grid makes of queries, and their bounds, in the order of the queries."""
    cells, positions = grid.cells.locate(queries)
    order = np.argsort(cells, kind="stable")
    back = np.argsort(order)
    return (found[back] for found in grid.sums(cells[order], positions[:, order]))


def normal_problem(n, bandwidth, n_features=2):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, n_features)), rng.normal(size=(n, 1)), np.ones(n), "gaussian", bandwidth


HARD = {
    "seed": st.integers(0, 2**32 - 1),
    "scatter": st.sampled_from(sorted(SCATTER)),
    "weighting": st.sampled_from(sorted(WEIGHTS)),
    "alike": st.booleans(),
    "tol": st.sampled_from([1e-2, 1e-4, 1e-8, 1e-12]),
}


@given(n=st.integers(50, 1500), log_bandwidth=st.tuples(st.floats(-4, 2), st.floats(-4, 2)), **HARD)
def test_errors_stay_within_tol(seed, n, scatter, weighting, log_bandwidth, alike, tol):
    check_errors(2, seed, n, scatter, weighting, log_bandwidth, alike, tol)


@given(n=st.integers(20, 200), log_bandwidth=st.tuples(*[st.floats(-1, 1)] * 3), **HARD)
def test_errors_in_three_features_stay_within_tol(seed, n, scatter, weighting, log_bandwidth, alike, tol):
    check_errors(3, seed, n, scatter, weighting, log_bandwidth, alike, tol)


def check_errors(n_features, seed, n, scatter, weighting, log_bandwidth, alike, tol):
    rng = np.random.default_rng(seed)
    keys, weights = SCATTER[scatter](rng, n, n_features), WEIGHTS[weighting](rng, n)
    values = rng.standard_t(2, size=(n, 2))
    bandwidth = spread(keys) * 10 ** (np.full(n_features, log_bandwidth[0]) if alike else np.array(log_bandwidth))
    queries = np.r_[
        keys[rng.integers(0, n, size=60)] + bandwidth * rng.standard_t(1, size=(60, n_features)),
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
    singles = [grid.sums(cells[[i]], positions[:, [i]]) for i in order]
    single_sums, single_error = (np.concatenate(found) for found in zip(*singles, strict=True))
    np.testing.assert_allclose(single_error, error, rtol=1e-12)
    assert (np.abs(single_sums[:, 0] - weights @ columns) <= error[:, None]).all()


@pytest.mark.parametrize("bandwidth", [[0.3, 0.3, 0.3], [1.0, 0.49, 2.0], [20.0, 20.0, 0.7]])
@pytest.mark.parametrize("blocks", ["grid", None])
def test_expansions_in_space_keep_their_bound(bandwidth, blocks):
    """Of three features; whole, and a slab at a time."""
    rng, bandwidth = np.random.default_rng(0), np.array(bandwidth)
    keys = np.r_[5 * rng.random((300, 3)), np.repeat(5 * rng.random((1, 3)), 100, axis=0), [[60.0, 2.0, 3.0]]]
    columns = np.c_[rng.random(401), 10 ** rng.uniform(-6, 6, 401), np.ones(401)]
    queries = np.r_[rng.uniform(-8 * bandwidth, 5 + 8 * bandwidth, size=(400, 3)), keys[::10], [[59.0, 2.0, 3.0]]]
    grid = make_grid(keys, columns, bandwidth)
    with constants(*[blocks] * (blocks is not None)):
        sums, error = sums_in_order(grid, queries)
    weights = np.exp(-(((queries[:, None] - keys) / bandwidth) ** 2).sum(axis=-1) / 2)
    assert (np.abs(sums[:, 0, -1] - weights @ columns[:, -1]) <= error).all()
    assert (np.abs(sums[:, 0, 0] - weights @ columns[:, 0]) <= error).all()
    assert (error[error < np.inf] <= 6e-14 * 401).all()
    heaviest = columns[:, 1].max() * np.isfinite(error)
    assert (np.abs(sums[:, 0, 1] - weights @ columns[:, 1])[heaviest > 0] <= 1e-11 * heaviest.max()).all()


def test_sums_in_space_do_not_depend_on_slabs():
    """Moments are made again where slabs overlap."""
    keys, _, weights, _, _ = normal_problem(3000, 1.0, 3)
    columns, bandwidth = np.c_[keys[:, 0], weights], np.array([0.1, 0.6, 0.6])
    cells = Cells(keys, columns, cell_widths(bandwidth), MARGIN)
    whole, _ = sums_in_order(Space(cells, KERNELS["gaussian"], bandwidth), keys)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sknw._engines.grid.space_sums.TENSOR_VALUES", 60 * 31**3)
        space = Space(cells, KERNELS["gaussian"], bandwidth)
        together, largest = space.room
        slabs, _ = sums_in_order(space, keys)
    assert together == 1
    assert largest < len(cells.occupied)
    np.testing.assert_allclose(slabs, whole, rtol=1e-13, atol=1e-300)


@pytest.mark.parametrize("bandwidth", [[0.25, 0.7], [0.25, 0.7, 1.3]])
def test_offsets_and_far_keys_cost_no_digit(bandwidth):
    """Keys on a lattice of 2^-20, so that a shift by 2^30 is exact."""
    rng, bandwidth = np.random.default_rng(0), np.array(bandwidth)
    keys = rng.integers(0, 2**22, size=(500, len(bandwidth))) * 2.0**-20
    far = np.zeros((2, len(bandwidth)))
    far[:, 0] = -1e15, 1e200
    moved = np.r_[far, keys + 2.0**30]
    expected, _ = sums_in_order(make_grid(keys, np.ones((500, 1)), bandwidth), keys)
    sums, error = sums_in_order(make_grid(moved, np.ones((502, 1)), bandwidth), moved[2:])
    assert (error < 1e-10).all()
    np.testing.assert_allclose(sums, expected, rtol=1e-14 * len(bandwidth) ** 2)


@pytest.mark.parametrize("width", [2.0, 4.5, 6.0])
def test_coefficients_of_the_gaussian_keep_their_bound(width):
    """In one argument, for keys up to a cell away."""
    nodes, to_coefficients = interpolation(40)
    keys = np.linspace(-1.5, 1.5, 301) * width
    coefficients = to_coefficients @ np.exp(-np.square(nodes[:, None] * width / 2 - keys) / 2)
    bounds = gaussian_coefficients(width, 40)
    assert (np.diff(bounds) <= 0).all()
    assert (np.abs(coefficients).max(axis=1) <= bounds + 1e-15).all()


def test_pairs_left_out_are_small_and_others_turn():
    """A tensor is turned as its full array of terms is, but for pairs that are left out."""
    pairs, error = Pairs(4.5, 31, 1e-14), 1e-14
    sizes = gaussian_coefficients(4.5, 31)
    kept = np.zeros((31, 31), dtype=bool)
    kept[pairs.first, pairs.second] = True
    assert np.outer(sizes, sizes)[~kept].sum() * (1.2 + 6.1 * sizes.sum()) <= error
    assert 0.7 < kept.mean() < 0.9
    full = np.random.default_rng(0).normal(size=(31, 31, 31)) * kept  # terms a and pairs (b, c)
    turned = np.append(full[:, pairs.first, pairs.second], 0.0)[pairs.turn]
    expected = np.moveaxis(full, 0, 2)
    np.testing.assert_array_equal(turned, expected[:, pairs.first, pairs.second])


def test_positions_in_cells_are_exact():
    """Also where x over the width of a cell rounds up to the next cell."""
    bandwidth = np.array([0.3, 0.7, 1.1])
    widths = np.array([units * 2.0**exponent for exponent, units in cell_widths(bandwidth)])
    assert ((widths / bandwidth >= 4.5) & (widths / bandwidth < 4.51)).all()
    edges = np.arange(1e9, 1e9 + 1000)[:, None] * widths
    points = np.r_[edges, np.nextafter(edges, 0), np.nextafter(edges, np.inf)]
    cells, positions = Cells(points, np.ones((len(points), 1)), cell_widths(bandwidth), MARGIN).locate(points)
    assert (cells >= 0).all()
    assert (np.abs(positions) <= 1).all()
    np.testing.assert_array_equal(positions[:, :1000], -1)
    assert (positions[:, 1000:2000] > 0.99).all()


def test_cells_that_no_number_counts():
    keys = np.arange(4e5)[:, None] * np.full(3, 1e3)
    cells = Cells(keys, np.ones((len(keys), 1)), cell_widths(np.ones(3)), MARGIN)
    assert len(cells.occupied) == 0


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


@pytest.mark.parametrize(("bandwidth", "n_features"), [(0.1, 2), (0.25, 2), (1.0, 2), (0.6, 3), (1.0, 3)])
def test_expansions_serve_nearly_all_queries(bandwidth, n_features):
    fast = make_pooler("grid", *normal_problem(5000, bandwidth, n_features))
    queries = np.random.default_rng(1).normal(size=(5000, n_features))
    assert n_unresolved(fast, lambda: pool(fast, queries, tol=1e-10)) <= 50
    assert n_unresolved(fast, lambda: pool(fast, tol=1e-10)) <= 150


@pytest.mark.parametrize("bandwidth", [[0.1, 0.3], [0.5, 1.0, 0.7]])
def test_blocks_and_threads_do_not_show(bandwidth):
    """Where expansions serve nearly all queries, many of them in a cell."""
    problem = normal_problem(2000, bandwidth, len(bandwidth))
    queries = 2 * np.random.default_rng(1).normal(size=(900, len(bandwidth)))
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


@pytest.mark.parametrize("bandwidth", [0.15, 0.3])
def test_memory_of_three_features_is_bounded(bandwidth):
    rng = np.random.default_rng(0)
    keys, values = rng.normal(size=(10_000, 3)), rng.normal(size=(10_000, 5))
    pooler = make_pooler("grid", keys, values, None, "gaussian", bandwidth)
    tracemalloc.start()
    pool(pooler, keys[:50], tol=1e-6)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 100 * 2**20 < peak < 400 * 2**20


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


@pytest.mark.parametrize(
    "bandwidth",
    [[np.inf, 1.0], [1e-200, 1e-200], [1e-320, 1.0], [1e-3, 1e-3], [np.inf, 1.0, 1.0], [1e-320, 1.0, 1.0], [1e-3] * 3],
)
def test_problems_that_cells_are_not_for(bandwidth):
    keys, values = np.random.default_rng(0).normal(size=(300, len(bandwidth))), np.arange(300.0)[:, None]
    with constants("cells for some keys"):
        fast, exact = (make_pooler(name, keys, values, None, "gaussian", bandwidth) for name in ("grid", "dense"))
    assert not is_served_by(fast, "grid")
    np.testing.assert_allclose(pool(fast, keys)[0], pool(exact, keys)[0], rtol=1e-12)


@pytest.mark.parametrize("n_features", [2, 3])
def test_the_estimators_take_it(n_features):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(3000, n_features)), rng.normal(size=3000)
    model = NadarayaWatsonRegressor(algorithm="grid").fit(X, y)
    exact = NadarayaWatsonRegressor(algorithm="dense").fit(X, y)
    for rows in (X, None):
        np.testing.assert_allclose(model.predict(rows), exact.predict(rows), atol=1e-10 * np.ptp(y))
    np.testing.assert_array_equal(model.attention_weights(X[:5]), exact.attention_weights(X[:5]))
    classifier = NadarayaWatsonClassifier(algorithm="grid").fit(X, y > 0)
    np.testing.assert_allclose(classifier.predict_proba(X).sum(axis=1), 1)
