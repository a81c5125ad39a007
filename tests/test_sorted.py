"""The sorted engine against the dense one, on problems large enough for its short cuts."""

from functools import partial

import hard_cases
import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sknw import NadarayaWatsonClassifier, NadarayaWatsonRegressor
from sknw._engines import _cells, _exponential_sums, _points, _prefix_sums, _sorted, _windows, make_engines
from sknw._engines._cell_sums import NEGLECTED, STEEPEST
from sknw._engines._cells import Cells
from sknw._engines._points import Points, bounds_of, condense, moments_of
from sknw._engines._prefix_sums import PrefixSums
from sknw._engines._radix import argsort, argsort_coarsely
from sknw._engines._sorted import SortedEngine
from sknw._engines._windows import Windows, grown
from sknw._kernels import KERNELS
from sknw._weights import kept_fraction

SCATTER = {
    "uniform": lambda rng, n: rng.random(n),
    "normal": lambda rng, n: rng.normal(size=n),
    "t(1.5)": lambda rng, n: rng.standard_t(1.5, size=n),
    "cauchy": lambda rng, n: rng.standard_cauchy(size=n),
    "lattice": lambda rng, n: rng.integers(0, 60, size=n) * 0.1,
    "duplicates": lambda rng, n: rng.normal(size=25)[rng.integers(0, 25, size=n)],
    "clusters": lambda rng, n: rng.normal(size=n) + 1e6 * rng.integers(0, 3, size=n),
    "gaps": lambda rng, n: rng.random(n) + 3 * rng.integers(0, 9, size=n),
    "offset": lambda rng, n: rng.normal(size=n) + 1e6,
    "outlier": lambda rng, n: np.r_[rng.normal(size=n - 1), 1e9],
}
WEIGHTS = {
    "none": lambda rng, n: np.ones(n),
    "counts": lambda rng, n: np.r_[1.0, rng.integers(0, 4, size=n - 1)],
    "importances": lambda rng, n: np.r_[0.5, rng.random(n - 1) * (rng.random(n - 1) < 0.8)],
}


SMALL_BLOCKS = [
    (_sorted, "SORTED_ROWS", 500),
    (_sorted, "BLOCK_ROWS", 40),
    (_points, "BLOCK_ROWS", 40),
    (_cells, "GATHER_VALUES", 5000),
    (_exponential_sums, "BLOCK_CHUNKS", 2),
    (_exponential_sums, "CHUNK", 40),
    (_prefix_sums, "BLOCK_ROWS", 40),
    (_windows, "BLOCK_PAIRS", 300),
]
SUPPORTED = [name for name, kernel in KERNELS.items() if SortedEngine.supports(kernel, 1)]
every_kernel = pytest.mark.parametrize("kernel", SUPPORTED)


def poolers(kernel, keys, values, weights, bandwidth):
    engines = make_engines(keys[:, None], values, weights, kept_fraction(weights))
    for name in ("sorted", "dense"):
        yield engines[name].prepare(KERNELS[kernel], np.array([bandwidth]))


def spread(x):
    return np.quantile(x, 0.75) - np.quantile(x, 0.25)


@every_kernel
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(50, 1500),
    scatter=st.sampled_from(sorted(SCATTER)),
    weighting=st.sampled_from(sorted(WEIGHTS)),
    log_bandwidth=st.floats(-4, 2),
    tol=st.sampled_from([1e-2, 1e-4, 1e-8, 1e-12]),
)
def test_errors_stay_within_tol(kernel, seed, n, scatter, weighting, log_bandwidth, tol):
    rng = np.random.default_rng(seed)
    keys, values, weights = SCATTER[scatter](rng, n), rng.standard_t(2, size=(n, 2)), WEIGHTS[weighting](rng, n)
    bandwidth = (spread(keys) or 1) * 10**log_bandwidth
    queries = np.r_[
        rng.choice(keys, 60) + bandwidth * rng.standard_t(1, size=60),
        keys.min() - 1e4 * bandwidth,
        keys.max() + 1e4 * bandwidth,
    ]
    fast, exact = poolers(kernel, keys, values, weights, bandwidth)
    span = np.ptp(values[weights > 0], axis=0)
    for rows in (queries[:, None], None):
        pooled, log_mass = fast.pool(rows, tol=tol)
        expected, expected_mass = exact.pool(rows)
        np.testing.assert_array_equal(np.isneginf(log_mass), np.isneginf(expected_mass))
        queried = keys if rows is None else queries
        unclear = oracle.rounding_decides(queried[:, None], keys[weights > 0, None], bandwidth)
        known = np.isfinite(expected_mass) | ~unclear
        assert (np.abs(pooled - expected)[known] <= (tol + 2e-12) * span).all()
        filled = np.isfinite(log_mass)
        slack = 2 * tol + 1e-11 * (1 + np.abs(expected_mass[filled]))
        assert (np.abs(log_mass[filled] - expected_mass[filled]) <= slack).all()


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
    exact = [
        hard_cases.exact_pool(kernel, [q], keys[counted, None], values[counted], h, weights[counted]) for q in queries
    ]
    model = NadarayaWatsonRegressor(h, kernel=kernel, tol=tol, algorithm="sorted").fit(keys[:, None], values, weights)
    error = np.abs(model.predict(queries[:, None]) - exact)
    assert error.max() <= max(tol, 1e-15) * np.ptp(values[counted])


@pytest.mark.parametrize("kernel", ["gaussian", "logistic"])
@pytest.mark.parametrize("bandwidth", [0.5, 0.7, 0.999])
@pytest.mark.parametrize("span", [2.0, 20.0])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_expansions_keep_their_bound(kernel, bandwidth, span, offset):
    rng = np.random.default_rng(0)
    keys = np.sort(offset + span * rng.random(2000))
    columns = np.array([rng.random(2000), np.ones(2000)])
    queries = np.sort(offset + rng.uniform(-5, span + 5, size=500))
    cells = Cells(Points.at_keys(Windows(keys, columns), -1), KERNELS[kernel], 0.5 / bandwidth)
    sums, error = cells.sums(2 * queries, slopes=True)
    t = ((queries[:, None] - keys) / bandwidth) ** 2
    exact = np.vstack([columns @ K(t).T for K in (KERNELS[kernel], partial(grown, KERNELS[kernel]))])
    known = np.isfinite(error)
    assert known.any()
    out_of_reach = 2000 * NEGLECTED * np.array([1, 1, STEEPEST, STEEPEST])[:, None]
    assert (np.abs(sums - exact)[:, known] <= error[known] + out_of_reach).all()
    assert (error[known] <= 1e-13 * 2000).all()
    np.testing.assert_allclose(cells.sums(2 * queries)[0], sums[:2], rtol=1e-14)


@pytest.mark.parametrize("scatter", sorted(SCATTER))
def test_condensed_keys_have_the_same_moments(scatter):
    rng = np.random.default_rng(0)
    windows = Windows(SCATTER[scatter](rng, 5000), np.array([rng.random(5000), np.ones(5000)]))
    condensed = condense(windows, 12)
    assert len(condensed.cell) <= min(len(windows.keys), 1500)
    for exponent in condensed.exponent + np.array([0, 1, 5, 40]):
        found, expected = condensed.coarser(exponent), Points.at_keys(windows, exponent)
        bounds, expected_bounds = bounds_of(found.cell), bounds_of(expected.cell)
        np.testing.assert_array_equal(found.cell[bounds[:-1]], expected.cell[expected_bounds[:-1]])
        np.testing.assert_array_equal(found.n_before[bounds], expected_bounds)
        found, expected = moments_of(found, bounds, 12), moments_of(expected, expected_bounds, 12)
        # the slope of T_k is k² at most: it multiplies the rounding of positions
        assert (np.abs(found - expected) <= 12**2 * 5e-16 * expected[:, :1, 1:]).all()


def test_only_crowds_are_expanded():
    """Keys that no crowd can feel have no moments; far from zero, no position loses digits."""
    crowd = np.linspace(0, 1, 500)
    keys = np.sort(np.r_[crowd, 1e9 + crowd, -1e12, 30 + 40 * np.arange(500)])
    cells = Cells(Points.at_keys(Windows(keys, np.ones((1, 1501))), -1), KERNELS["gaussian"], 1.0)
    assert cells.n_before[-1] == 1000
    sums, error = cells.sums(2 * np.array([0.5, 30.0, 1e9 + 0.5, 2e9]))
    assert sums[0, 0] == pytest.approx(sums[0, 2], rel=1e-6)
    np.testing.assert_array_equal(np.isinf(error), [False, True, False, True])


@pytest.mark.parametrize("kernel", [name for name in SUPPORTED if KERNELS[name].compact])
@pytest.mark.parametrize("bandwidth", [0.01, 0.3, 5.0, 100.0])
def test_prefix_moments_keep_their_bound(kernel, bandwidth):
    rng = np.random.default_rng(0)
    keys, columns = 1e3 + 10 * rng.random(800), np.array([rng.random(800), rng.random(800)])
    queries = np.sort(rng.uniform(1e3 - bandwidth, 1e3 + 10 + bandwidth, size=500))
    sums = PrefixSums(Windows(keys, columns), KERNELS[kernel], bandwidth)
    found, error = sums._moment_sums(queries, *sums._window(queries))
    exact = KERNELS[kernel](((queries[:, None] - keys) / bandwidth) ** 2) @ columns.T
    assert (np.abs(found.T - exact) <= error[:, None]).all()
    assert (error <= 1e-11 * 800).all()


WIDE = {
    "keys 3e18 apart": lambda rng: np.r_[0.0, 3e18 * rng.normal(size=500)],
    "floats as coarse as the support": lambda rng: 2.0**53 + np.arange(500.0) * 2,
    "floats half as coarse": lambda rng: 2.0**52 + np.arange(500.0),
    "a first key at -1e36": lambda rng: np.r_[-1e36, rng.normal(size=800)],
    "a last key at 1e36": lambda rng: np.r_[rng.normal(size=800), 1e36],
    "clusters 1e20 apart": lambda rng: np.r_[rng.normal(size=500), 1e20 + 1e15 * rng.normal(size=300)],
}


@pytest.mark.parametrize("kernel", [name for name in SUPPORTED if KERNELS[name].compact])
@pytest.mark.parametrize("scatter", WIDE)
@pytest.mark.parametrize("bandwidth", [1.0, 3.7])
def test_compact_kernels_on_keys_that_floats_hardly_tell_apart(kernel, scatter, bandwidth):
    rng = np.random.default_rng(0)
    keys = WIDE[scatter](rng)
    fast, exact = poolers(kernel, keys, rng.normal(size=(len(keys), 1)), np.ones(len(keys)), bandwidth)
    for queries in (None, np.r_[keys[::3], keys[::5] + 0.3][:, None]):
        for found, expected in zip(fast.pool(queries, tol=1e-10), exact.pool(queries), strict=True):
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_prefix_sums_may_overflow():
    """Cells so full that all their prefix sums together do not fit 64 bits."""
    keys = np.sort(np.random.default_rng(0).random(5000))
    sums = PrefixSums(Windows(keys, np.ones((1, 5000))), KERNELS["epanechnikov"], 0.01)
    assert sums.prefix.min() < 0
    found, _ = sums._moment_sums(keys, *sums._window(keys))
    exact = KERNELS["epanechnikov"](((keys[:, None] - keys) / 0.01) ** 2).sum(axis=1)
    np.testing.assert_allclose(found[0], exact, rtol=1e-10)


@pytest.mark.parametrize("scatter", sorted(SCATTER))
def test_orders(scatter):
    x = SCATTER[scatter](np.random.default_rng(0), 3000)
    for values in (x, -x, np.r_[x, -x, 0.0, -0.0, 5e-324, 1e308, -1e308]):
        np.testing.assert_array_equal(values[argsort(values)], np.sort(values))
    np.testing.assert_array_equal(argsort(np.repeat([2.0, 1.0], 50)), np.r_[50:100, 0:50])  # stable
    steps = np.clip(np.floor((x - 1) / 0.01), 0, 65535)
    assert (np.diff(steps[argsort_coarsely(x, 1, 0.01)]) >= 0).all()


@every_kernel
def test_equal_keys_are_one(kernel, monkeypatch):
    """A million rows at sixty places cost as much as sixty: no window is too long."""
    rng = np.random.default_rng(0)
    keys, values = rng.integers(0, 60, size=20_000) * 1.0, rng.normal(size=(20_000, 1))
    queries = np.r_[np.arange(-5, 65) + 0.4, 1e4][:, None]
    fast, exact = poolers(kernel, keys, values, np.ones(20_000), 0.1)
    expected = [exact.pool(rows) for rows in (queries, None)]
    monkeypatch.setattr(fast.engine, "blocks", None)
    for rows, (pooled, log_mass) in zip((queries, None), expected, strict=True):
        found = fast.pool(rows, tol=1e-10)
        np.testing.assert_allclose(found[0], pooled, atol=1e-9)
        np.testing.assert_allclose(found[1], log_mass, rtol=1e-9)


@every_kernel
def test_leave_one_out_keeps_the_digits_of_a_light_twin(kernel):
    """The heavy row of two at one place leaves little behind, and what it leaves must not be rounding."""
    keys, values = np.r_[0.0, 0.0, np.arange(1, 400) * 1e3], np.random.default_rng(0).normal(size=(401, 1))
    weights = np.r_[1.0, 1e-20, np.full(399, 0.5)]
    fast, exact = poolers(kernel, keys, values, weights, 1.0)
    (pooled, log_mass), (expected, expected_mass) = fast.pool(None, tol=1e-12), exact.pool(None)
    np.testing.assert_allclose(pooled, expected, rtol=1e-10)
    np.testing.assert_allclose(log_mass, expected_mass, atol=1e-12)


@every_kernel
def test_blocks_do_not_show(kernel, monkeypatch):
    rng = np.random.default_rng(0)
    keys, values, queries = rng.normal(size=2000), rng.normal(size=(2000, 3)), 4 * rng.normal(size=(900, 1))
    problem = kernel, keys, values, np.ones(2000), 0.1
    asked = [
        (rows, tol) for rows in (queries[:100], queries, None) for tol in (1e-10, 0.0)
    ]  # 0: all keys, a long window
    whole = [next(poolers(*problem)).pool(rows, tol=tol)[0] for rows, tol in asked]
    for module, name, size in SMALL_BLOCKS:
        monkeypatch.setattr(module, name, size)
    for (rows, tol), expected in zip(asked, whole, strict=True):
        np.testing.assert_allclose(next(poolers(*problem)).pool(rows, tol=tol)[0], expected, atol=1e-10)


@every_kernel
@pytest.mark.parametrize(("unit", "bandwidth"), [(1.0, 1e-200), (1.0, np.inf), (1e-320, 1e10)])
def test_scales_beyond_all_sense_are_left_to_the_dense_engine(kernel, unit, bandwidth):
    keys, values = unit * np.arange(30.0), np.arange(30.0)[:, None]
    fast, exact = poolers(kernel, keys, values, np.ones(30), bandwidth)
    for rows in (keys[:, None], None):
        np.testing.assert_array_equal(fast.pool(rows, tol=1e-10)[0], exact.pool(rows)[0])


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
