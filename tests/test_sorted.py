"""The sorted engine against the dense one, on problems large enough for its short cuts."""

import pickle

import numpy as np
import pytest
from engines import as_kernel, constants, engines_and_kernels, make_pooler, n_unresolved, pool
from exact import exact_pool
from hypothesis import given
from hypothesis import strategies as st
from properties import check_like_dense
from samples import SCATTER, WEIGHTS, Problem, spread

from sknw import NadarayaWatsonClassifier, NadarayaWatsonRegressor
from sknw._engines.sorted import order
from sknw._engines.sorted.gauss_transform import CellMoments, Expansion
from sknw._engines.sorted.points import Points, condense
from sknw._engines.sorted.prefix_sums import PrefixSums
from sknw._engines.sorted.windows import Windows
from sknw._kernels import KERNELS, squared

SUPPORTED = [kernel for engine, kernel in engines_and_kernels(KERNELS) if engine == "sorted"]
every_kernel = pytest.mark.parametrize("kernel", SUPPORTED)
every_compact_kernel = pytest.mark.parametrize("kernel", [name for name in SUPPORTED if KERNELS[name].compact])
BY_CELLS = ["gaussian", "logistic"]
SQUARES = {name: squared(KERNELS[name])[0] for name in ("triweight", "tricube", "logistic", "cosine")}
"""Squared kernels that are no named ones, nor of so low a degree."""


def scatter_one(name, rng, n):
    """Keys (n,) of one feature."""
    return SCATTER[name](rng, n, 1)[:, 0]


def fast_and_exact(kernel, keys, values, weights=None, bandwidth=1.0):
    return [make_pooler(name, keys[:, None], values, weights, kernel, bandwidth) for name in ("sorted", "dense")]


@pytest.mark.parametrize(
    ("kernel", "choices"),
    [
        *((name, []) for name in SUPPORTED),
        *((name, ["sums looked up"]) for name in BY_CELLS),
        *((name, ["sums looked up", "positions looked up", "keys put in order"]) for name in SUPPORTED),
    ],
)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(50, 1500),
    scatter=st.sampled_from(sorted(SCATTER)),
    weighting=st.sampled_from(sorted(WEIGHTS)),
    log_bandwidth=st.floats(-4, 2),
    tol=st.sampled_from([1e-2, 1e-4, 1e-8, 1e-12]),
)
def test_errors_stay_within_tol(kernel, choices, seed, n, scatter, weighting, log_bandwidth, tol):
    rng = np.random.default_rng(seed)
    keys, values, weights = SCATTER[scatter](rng, n, 1), rng.standard_t(2, size=(n, 2)), WEIGHTS[weighting](rng, n)
    bandwidth = spread(keys) * 10**log_bandwidth
    queries = np.r_[
        rng.choice(keys, 60) + bandwidth * rng.standard_t(1, size=(60, 1)),
        [keys.min(axis=0) - 1e4 * bandwidth, keys.max(axis=0) + 1e4 * bandwidth],
    ]
    with constants(*choices):
        check_like_dense("sorted", kernel, Problem(keys, values, weights, bandwidth, queries), tol)


@pytest.mark.parametrize("name", SQUARES)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(50, 1500),
    scatter=st.sampled_from(["normal", "heavy", "lattice", "duplicates", "clusters"]),
    weighting=st.sampled_from(sorted(WEIGHTS)),
    log_bandwidth=st.floats(-3, 2),
)
def test_masses_of_squared_kernels(name, seed, n, scatter, weighting, log_bandwidth):
    rng = np.random.default_rng(seed)
    keys, weights = scatter_one(scatter, rng, n), WEIGHTS[weighting](rng, n)
    bandwidth = spread(keys[:, None])[0] * 10**log_bandwidth
    queries = np.r_[rng.choice(keys, 60) + bandwidth * rng.standard_t(1, size=60)][:, None]
    fast, exact = fast_and_exact(SQUARES[name], keys, np.empty((n, 0)), weights, bandwidth)
    for asked in (queries, None):
        found, expected = (pool(pooler, asked, tol=1e-10)[1] for pooler in (fast, exact))
        empty = np.isneginf(expected)
        np.testing.assert_array_equal(np.isneginf(found), empty)
        # keys at the edge of the support weigh as little as distances are rounded
        heavy = ~empty & (expected > np.log(weights.max()) - (15 if SQUARES[name].compact else np.inf))
        np.testing.assert_allclose(found[heavy], expected[heavy], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", SQUARES)
def test_squared_kernels_are_squares(name):
    t = np.linspace(0, 2, 201)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(SQUARES[name].log(t), 2 * KERNELS[name].log(t), rtol=1e-12)
    np.testing.assert_allclose(SQUARES[name](t), KERNELS[name](t) ** 2, atol=1e-15)


@pytest.mark.parametrize("kernel", ["gaussian", "logistic", "exponential"])
@given(
    seed=st.integers(0, 2**32 - 1),
    gap=st.floats(0, 8).map(lambda power: 10.0**power),
    tol=st.sampled_from([1e-4, 1e-6, 1e-10, 1e-12, 1e-16]),
    weighting=st.sampled_from(sorted(WEIGHTS)),
)
def test_tol_holds_in_gaps(kernel, seed, gap, tol, weighting):
    """Where nearest keys change: the Gaussian's attention does within h² / gap, that of the others within h."""
    rng = np.random.default_rng(seed)
    keys, values, weights = np.sort(rng.normal(size=30)), rng.normal(size=30), WEIGHTS[weighting](rng, 30)
    keys = np.round(keys, 1) if rng.random() < 0.3 else keys
    keys[15:] += rng.choice([1.0, 1e3, 1e6])
    low, high = keys[14:16] + rng.normal()
    keys += low - keys[14]
    h = (high - low) / gap
    queries = (low + high) / 2 + rng.uniform(-2, 2, size=4) * (h / gap if kernel == "gaussian" else h)
    counted = weights > 0
    exact = [exact_pool(kernel, [q], keys[counted, None], values[counted], h, weights[counted]) for q in queries]
    model = NadarayaWatsonRegressor(h, kernel=kernel, tol=tol, algorithm="sorted").fit(keys[:, None], values, weights)
    error = np.abs(model.predict(queries[:, None]) - exact)
    assert error.max() <= max(tol, 1e-15) * np.ptp(values[counted])


@pytest.mark.parametrize(
    "kernel", [KERNELS["gaussian"], KERNELS["logistic"], SQUARES["logistic"]], ids=lambda kernel: kernel.form
)
@pytest.mark.parametrize("bandwidth", [0.5, 0.7, 0.999])
@pytest.mark.parametrize("span", [2.0, 20.0])
@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("tol", [1e-10, 1e-6, 1e-2])
def test_expansions_keep_their_bound(kernel, bandwidth, span, offset, tol):
    rng = np.random.default_rng(0)
    keys = np.sort(offset + span * rng.random(2000))
    columns = np.array([rng.random(2000), np.ones(2000)])
    queries = np.sort(offset + rng.uniform(-5, span + 5, size=500))
    cells = CellMoments(Points.at_keys(keys, columns, -1), Expansion(kernel, 0.5 / bandwidth, tol))
    least = 1e-14 if kernel in KERNELS.values() else 1e-13
    exact = columns @ kernel(((queries[:, None] - keys) / bandwidth) ** 2).T
    for expansions, factor in ((cells, 1), (cells.table, 3.5)):
        sums, error = expansions.sums(2 * queries)
        known = np.isfinite(error)
        assert known.any()
        assert (np.abs(sums - exact)[:, known] <= error[known] + 2000 * cells.expansion.neglected).all()
        assert (error[known] <= (factor * max(1e-4 * tol, least) + 2e-14) * 2000).all()


TAILS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "offset": lambda rng, n: 1e9 + rng.normal(size=n),
    "a gap": lambda rng, n: rng.normal(size=n) + np.where(np.arange(n) < n // 2, 0.0, 40.0),
    "ties": lambda rng, n: np.round(rng.normal(size=n), 2),
    "lonely keys": lambda rng, n: np.r_[rng.normal(size=n - 5), -30.0, 30.0, 30.0, 31.0, 90.0],
    "one far key": lambda rng, n: np.r_[rng.normal(size=n - 1), 1500.0],
}
"""Keys of which a few in tails and gaps take windows; in cells whose numbers fit 16 bits."""


@pytest.mark.parametrize("kernel", BY_CELLS)
@pytest.mark.parametrize("scatter", TAILS)
@pytest.mark.parametrize("weighting", sorted(WEIGHTS))
def test_keys_near_some_queries_are_as_good_as_all(kernel, scatter, weighting):
    """Sums over windows of the keys in the cells around are those over windows of all keys.

    They are the same bit by bit where vector instructions compute every exponential, also the last few of an array.
    """
    rng = np.random.default_rng(0)
    n = 20_000
    keys, values, weights = TAILS[scatter](rng, n)[:, None], rng.normal(size=(n, 2)), WEIGHTS[weighting](rng, n)
    middle = np.median(keys)
    queries = np.r_[rng.choice(keys, 300), middle + rng.uniform(-60, 60, size=(20, 1)), [[middle + 1e5]]]
    outer = np.argsort(np.abs(keys[:, 0] - middle))[-200:]
    for asked, rows in ((queries, slice(None)), (None, outer)):
        near = make_pooler("sorted", keys, values, weights, kernel, 0.05)
        found = pool(near, asked, rows, tol=1e-10)
        with constants("keys put in order"):
            whole = make_pooler("sorted", keys, values, weights, kernel, 0.05)
            expected = pool(whole, asked, rows, tol=1e-10)
        if kernel == "gaussian" and scatter in ("normal", "lonely keys"):
            assert [pooler._summations[0].engine.keys.is_ordered for pooler in (near, whole)] == [False, True]
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-14, atol=1e-14)


def moments_of_cells(points, n_terms=12):
    """Chebyshev moments (n_cells, n_terms, n_columns) of the points of each cell."""
    basis = np.cos(np.arange(n_terms)[:, None] * np.arccos(np.clip(points.position, -1, 1)))
    parts = np.split(basis[:, None] * points.columns, points.bounds[1:-1], axis=-1)
    return np.array([part.sum(axis=-1) for part in parts])


@pytest.mark.parametrize("scatter", sorted(SCATTER))
def test_condensed_keys_have_the_same_moments(scatter):
    rng = np.random.default_rng(0)
    keys, columns = np.sort(scatter_one(scatter, rng, 5000)), np.array([rng.random(5000), np.ones(5000)])
    condensed = condense(keys, columns, 12)
    assert len(condensed.position) <= 1500
    for exponent in condensed.exponent + np.array([0, 1, 5, 40]):
        found, expected = condensed.coarser(exponent), Points.at_keys(keys, columns, exponent)
        np.testing.assert_array_equal(found.cells, expected.cells)
        np.testing.assert_array_equal(found.n_before, expected.n_before)
        moments, exact = moments_of_cells(found), moments_of_cells(expected)
        # the slope of T_k is k² at most: it multiplies the rounding of positions
        assert (np.abs(moments - exact) <= 12**2 * 5e-16 * exact[:, :1, 1:]).all()
        every_other = np.arange(0, len(found.cells), 2)
        for some in (every_other, every_other[:0], np.arange(len(found.cells))):
            assert (np.abs(found.moments(12, some) - exact[some]) <= 12**2 * 5e-16 * exact[some, :1, 1:]).all()
    assert condensed.n_before[-1] == len(keys)


def test_only_crowds_are_expanded():
    """Keys that no crowd can feel have no moments; far from zero, no position loses digits."""
    crowd = np.linspace(0, 1, 500)
    keys = np.sort(np.r_[crowd, 1e9 + crowd, -1e12, 30 + 40 * np.arange(500)])
    cells = CellMoments(Points.at_keys(keys, np.ones((1, 1501)), -1), Expansion(KERNELS["gaussian"], 1.0, 1e-10))
    assert cells.n_before[-1] == 1000
    sums, error = cells.sums(2 * np.array([0.5, 30.0, 1e9 + 0.5, 2e9]))
    assert sums[0, 0] == pytest.approx(sums[0, 2], rel=1e-6)
    np.testing.assert_array_equal(np.isinf(error), [False, True, False, True])


@pytest.mark.parametrize(
    "kernel",
    [
        *(name for name in SUPPORTED if KERNELS[name].compact),
        *(kernel for kernel in SQUARES.values() if kernel.compact),
    ],
)
@pytest.mark.parametrize("bandwidth", [0.01, 0.3, 5.0, 100.0])
def test_prefix_moments_keep_their_bound(kernel, bandwidth):
    kernel = as_kernel(kernel)
    rng = np.random.default_rng(0)
    keys, columns = 1e3 + 10 * rng.random(800), np.array([rng.random(800), rng.random(800)])
    queries = np.sort(rng.uniform(1e3 - bandwidth, 1e3 + 10 + bandwidth, size=500))
    sums = PrefixSums(Windows(keys, columns), kernel, bandwidth)
    found, error = sums._moment_sums(queries, *sums._window(queries))
    exact = kernel(((queries[:, None] - keys) / bandwidth) ** 2) @ columns.T
    assert (np.abs(found.T - exact) <= error[:, None]).all()
    assert (error <= 1e-11 * 800).all()


def test_prefix_sums_may_overflow():
    """Cells so full that all their prefix sums together do not fit 64 bits."""
    keys = np.sort(np.random.default_rng(0).random(5000))
    sums = PrefixSums(Windows(keys, np.ones((1, 5000))), KERNELS["epanechnikov"], 0.01)
    assert sums.prefix.min() < 0
    found, _ = sums._moment_sums(keys, *sums._window(keys))
    exact = KERNELS["epanechnikov"](((keys[::20, None] - keys) / 0.01) ** 2).sum(axis=1)
    np.testing.assert_allclose(found[0, ::20], exact, rtol=1e-10)


WIDE = {
    "keys 3e18 apart": lambda rng: np.r_[0.0, 3e18 * rng.normal(size=500)],
    "floats as coarse as the support": lambda rng: 2.0**53 + np.arange(500.0) * 2,
    "floats half as coarse": lambda rng: 2.0**52 + np.arange(500.0),
    "a first key at -1e36": lambda rng: np.r_[-1e36, rng.normal(size=800)],
    "a last key at 1e36": lambda rng: np.r_[rng.normal(size=800), 1e36],
    "clusters 1e20 apart": lambda rng: np.r_[rng.normal(size=500), 1e20 + 1e15 * rng.normal(size=300)],
}


@every_compact_kernel
@pytest.mark.parametrize("scatter", WIDE)
@pytest.mark.parametrize("bandwidth", [1.0, 3.7])
def test_compact_kernels_on_keys_that_floats_hardly_tell_apart(kernel, scatter, bandwidth):
    rng = np.random.default_rng(0)
    keys = WIDE[scatter](rng)
    fast, exact = fast_and_exact(kernel, keys, rng.normal(size=(len(keys), 1)), None, bandwidth)
    for queries in (None, np.r_[keys[::3], keys[::5] + 0.3][:, None]):
        for found, expected in zip(pool(fast, queries, tol=1e-10), pool(exact, queries), strict=True):
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


@every_kernel
def test_the_only_key_without_a_row_that_has_nearly_all_of_its_weight(kernel):
    keys, values, weights = np.ones((2, 1)), np.array([[0.0], [1.0]]), np.array([1.5, 1e-4])
    for tol in (0, 1e-12, 1e-6):
        values_found, log_mass = pool(make_pooler("sorted", keys, values, weights, kernel), tol=tol)
        np.testing.assert_allclose(values_found, [[1.0], [0.0]], atol=1e-12)
        np.testing.assert_allclose(log_mass, np.log(weights[::-1]), rtol=1e-12)


@pytest.mark.parametrize("n", [3000, 10_000])
@pytest.mark.parametrize("scatter", sorted(SCATTER))
def test_keys_are_sorted(scatter, n):
    x = scatter_one(scatter, np.random.default_rng(0), n)
    for values in (x, -x, np.r_[x, -x, 0.0, -0.0, 5e-324, 1e308, -1e308], 1e-320 * np.round(x), 1e290 * x):
        np.testing.assert_array_equal(values[sorted_rows(values)], np.sort(values))
    np.testing.assert_array_equal(sorted_rows(np.repeat([2.0, 1.0], 50)), np.r_[50:100, 0:50])  # stable


def test_many_keys_that_32_bits_do_not_tell_apart_are_sorted():
    rng = np.random.default_rng(0)
    x = rng.permutation(np.r_[rng.random(9000), 0.5 + 1e-13 * rng.integers(0, 500, size=3000), np.full(50, 0.25)])
    np.testing.assert_array_equal(sorted_rows(x), np.argsort(x, kind="stable"))
    np.testing.assert_array_equal(order.sort(x)[1], np.sort(x))


def sorted_rows(keys):
    return Windows(keys, np.ones((1, len(keys)))).sorted_rows


@every_kernel
def test_equal_keys_are_one(kernel):
    """20,000 rows at sixty places cost as much as sixty: no window is too long."""
    rng = np.random.default_rng(0)
    keys, values = rng.integers(0, 60, size=20_000) * 1.0, rng.normal(size=(20_000, 1))
    queries, rows = np.r_[np.arange(-5, 65) + 0.4, 1e4][:, None], np.arange(0, 20_000, 50)
    fast, exact = fast_and_exact(kernel, keys, values, None, 0.1)
    for asked, some in ((queries, slice(None)), (None, rows)):
        found, expected = pool(fast, asked, some, tol=1e-10), pool(exact, asked, some)
        np.testing.assert_allclose(found[0], expected[0], atol=1e-9)
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-9)
        assert n_unresolved(fast, lambda asked=asked: pool(fast, asked, tol=1e-10)) == 0


@pytest.mark.parametrize("kernel", [name for name in SUPPORTED if name != "exponential"])
def test_windows_that_are_too_long_are_left_to_others(kernel):
    """As those of all keys are, where `tol` is zero."""
    keys = np.random.default_rng(0).normal(size=2000)
    fast, exact = fast_and_exact(kernel, keys, keys[:, None], None, 3.0)
    queries = np.linspace(-1, 1, 50)[:, None]
    assert n_unresolved(fast, lambda: pool(fast, queries, tol=0.0)) == 50
    for found, expected in zip(pool(fast, queries), pool(exact, queries), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13)


@every_kernel
def test_leave_one_out_keeps_the_digits_of_a_light_twin(kernel):
    """The heavy row of two at one place leaves little behind, and what it leaves must not be rounding."""
    keys, values = np.r_[0.0, 0.0, np.arange(1, 400) * 1e3], np.random.default_rng(0).normal(size=(401, 1))
    weights = np.r_[1.0, 1e-20, np.full(399, 0.5)]
    fast, exact = fast_and_exact(kernel, keys, values, weights)
    (pooled, log_mass), (expected, expected_mass) = pool(fast, tol=1e-12), pool(exact)
    np.testing.assert_allclose(pooled, expected, rtol=1e-10)
    np.testing.assert_allclose(log_mass, expected_mass, atol=1e-12)


@every_kernel
def test_blocks_do_not_show(kernel):
    """Where short cuts serve nearly all queries."""
    rng = np.random.default_rng(0)
    keys, values, queries = rng.normal(size=(2000, 1)), rng.normal(size=(2000, 3)), 4 * rng.normal(size=(900, 1))
    problem = "sorted", keys, values, None, kernel, 0.1
    asked = [(rows, tol) for rows in (queries[:100], queries, None) for tol in (1e-10, 0.0)]  # 0: a long window
    whole = [pool(make_pooler(*problem), rows, tol=tol)[0] for rows, tol in asked]
    for choices in (["sorted"], ["sorted", "sums looked up"]):
        with constants(*choices):
            for (rows, tol), expected in zip(asked, whole, strict=True):
                np.testing.assert_allclose(pool(make_pooler(*problem), rows, tol=tol)[0], expected, atol=1e-10)


@every_kernel
@pytest.mark.parametrize(("unit", "bandwidth"), [(1.0, 1e-200), (1.0, np.inf), (1e-320, 1e10)])
def test_scales_beyond_all_sense_are_left_to_the_dense_engine(kernel, unit, bandwidth):
    keys, values = unit * np.arange(30.0), np.arange(30.0)[:, None]
    fast, exact = fast_and_exact(kernel, keys, values, None, bandwidth)
    for rows in (keys[:, None], None):
        np.testing.assert_array_equal(pool(fast, rows, tol=1e-10)[0], pool(exact, rows)[0])


@pytest.mark.parametrize("kernel", BY_CELLS)
def test_predictions_after_a_search_are_those_of_a_copy(kernel):
    """What a search has prepared does not show."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 1))
    y = np.sin(3 * X[:, 0]) + rng.normal(size=3000)
    model = NadarayaWatsonRegressor("loo", kernel=kernel).fit(X, y)
    assert model.algorithm_ == "sorted"
    given = NadarayaWatsonRegressor(model.bandwidth_, kernel=kernel).fit(X, y)
    for other in (pickle.loads(pickle.dumps(model)), given):
        np.testing.assert_array_equal(other.predict(X), model.predict(X))


@every_kernel
def test_the_estimators_take_it(kernel):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(3000, 1)), rng.normal(size=3000)
    model = NadarayaWatsonRegressor(kernel=kernel).fit(X, y)
    assert model.algorithm_ == "sorted"
    exact = NadarayaWatsonRegressor(kernel=kernel, algorithm="dense").fit(X, y)
    for rows in (X, None):
        np.testing.assert_allclose(model.predict(rows), exact.predict(rows), atol=1e-10 * np.ptp(y))
    np.testing.assert_array_equal(model.attention_weights(X[:5]), exact.attention_weights(X[:5]))
    few = NadarayaWatsonClassifier(kernel=kernel, algorithm="sorted").fit(X[:100], y[:100] > 0)
    assert few.algorithm_ == "sorted"
    np.testing.assert_allclose(few.predict_proba(X).sum(axis=1), 1)
