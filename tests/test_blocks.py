"""The blocks engine against the dense one, with leaves so small that pruning happens."""

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sknw import Kernel, NadarayaWatsonClassifier, NadarayaWatsonRegressor
from sknw._engines import _blocks, _leaves, make_engines
from sknw._engines._blocks import BlocksEngine
from sknw._engines._leaves import kd_order
from sknw._kernels import KERNELS
from sknw._weights import kept_fraction

SCATTER = {
    "normal": lambda rng, n, d: rng.normal(size=(n, d)),
    "t(1.5)": lambda rng, n, d: rng.standard_t(1.5, size=(n, d)),
    "cauchy": lambda rng, n, d: rng.standard_cauchy(size=(n, d)),
    "clusters": lambda rng, n, d: rng.normal(size=(n, d)) + 1e6 * rng.integers(0, 3, size=(n, d)),
    "lattice": lambda rng, n, d: rng.integers(0, 7, size=(n, d)) * 0.1,
    "duplicates": lambda rng, n, d: rng.normal(size=(9, d))[rng.integers(0, 9, size=n)],
    "gaps": lambda rng, n, d: rng.random((n, d)) + 3 * rng.integers(0, 4, size=(n, 1)),
    "offset": lambda rng, n, d: rng.normal(size=(n, d)) + 1e6,
    "outlier": lambda rng, n, d: np.r_[rng.normal(size=(n - 1, d)), np.full((1, d), 1e9)],
}
WEIGHTS = {
    "none": lambda rng, n: np.ones(n),
    "counts": lambda rng, n: np.r_[1.0, 1.0, rng.integers(0, 4, size=n - 2)],
    "importances": lambda rng, n: np.r_[0.5, 0.7, rng.random(n - 2) ** 4 * (rng.random(n - 2) < 0.8)],
}

every_kernel = pytest.mark.parametrize("kernel", [k for k in KERNELS if BlocksEngine.supports(KERNELS[k], 2)])


@pytest.fixture(scope="module", autouse=True)
def small_blocks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_blocks, "LEAF_KEYS", 4)
        patch.setattr(_blocks, "BLOCK_QUERIES", 6)
        patch.setattr(_blocks, "FEWEST_QUERIES", 3)
        patch.setattr(_blocks, "MANY_KEYS", 0)
        patch.setattr(_leaves, "BOUND_LEAVES", 16)
        yield


def poolers(kernel, keys, values, weights, bandwidth):
    kernel = KERNELS[kernel] if isinstance(kernel, str) else kernel
    bandwidth = np.broadcast_to(np.asarray(bandwidth, dtype=float), keys.shape[1])
    engines = make_engines(keys, values, weights, kept_fraction(weights))
    return [engines[name].prepare(kernel, bandwidth) for name in ("blocks", "dense")]


def spread(x):
    """The interquartile range of each feature, 1 where that is 0."""
    width = np.quantile(x, 0.75, axis=0) - np.quantile(x, 0.25, axis=0)
    return np.where(width > 0, width, 1.0)


def assert_same(fast, exact, queries, values, tol, unclear=False):
    """Pooled values differ by tol of the range at most, and emptiness not at all; `unclear` are the queries for which
    rounding decides which keys are nearest.
    """
    pooled, log_mass = fast.pool(queries, tol=tol)
    expected, expected_mass = exact.pool(queries)
    empty = np.isneginf(expected_mass)
    known = ~(empty & unclear)
    assert (np.abs(pooled - expected)[known] <= (tol + 2e-12) * np.ptp(values, axis=0)).all()
    np.testing.assert_array_equal(np.isneginf(log_mass), empty)
    log_mass, expected_mass = log_mass[~empty], expected_mass[~empty]
    assert (np.abs(log_mass - expected_mass) <= 2 * tol + 1e-9 * (1 + np.abs(expected_mass))).all()


@every_kernel
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(8, 200),
    d=st.integers(1, 5),
    scatter=st.sampled_from(sorted(SCATTER)),
    weighting=st.sampled_from(sorted(WEIGHTS)),
    log_bandwidth=st.floats(-4, 2),
    ignored=st.booleans(),
    tol=st.sampled_from([1e-2, 1e-4, 1e-8, 1e-12]),
)
def test_errors_stay_within_tol(kernel, seed, n, d, scatter, weighting, log_bandwidth, ignored, tol):
    rng = np.random.default_rng(seed)
    keys, values, weights = SCATTER[scatter](rng, n, d), rng.standard_t(2, size=(n, 2)), WEIGHTS[weighting](rng, n)
    bandwidth = spread(keys) * 10**log_bandwidth * rng.choice([0.5, 1.0, 3.0], size=d)
    queries = np.r_[
        rng.choice(keys, 40) + bandwidth * rng.standard_t(1, size=(40, d)),
        keys.min(axis=0)[None] - 1e4 * bandwidth,
        keys.max(axis=0)[None] + 1e4 * bandwidth,
    ]
    bandwidth[0] = np.inf if ignored and d > 1 else bandwidth[0]
    fast, exact = poolers(kernel, keys, values, weights, bandwidth)
    for rows in (queries, None):
        unclear = oracle.rounding_decides(keys if rows is None else rows, keys[weights > 0], bandwidth)
        assert_same(fast, exact, rows, values[weights > 0], tol, unclear)


@pytest.mark.parametrize("kernel", ["epanechnikov", "boxcar", "gaussian", "exponential"])
@pytest.mark.parametrize("numbers", [1, 300])
def test_too_many_keys_for_a_copy(kernel, numbers, monkeypatch):
    """Blocks of queries are halved, and then left to the dense engine."""
    rng = np.random.default_rng(0)
    keys, values, queries = rng.normal(size=(300, 2)), rng.normal(size=(300, 2)), 3 * rng.normal(size=(120, 2))
    fast, exact = poolers(kernel, keys, values, np.ones(300), 0.1)
    monkeypatch.setattr(_blocks, "GATHERED_NUMBERS", numbers)
    for rows in (queries, None):
        assert_same(fast, exact, rows, values, 1e-6)


@pytest.mark.parametrize(("kernel", "most"), [("epanechnikov", 0.02), ("gaussian", 0.1), ("exponential", 0.5)])
def test_pruning_happens(kernel, most, monkeypatch):
    """And the keys that are left out are never looked at."""
    rng = np.random.default_rng(0)
    keys, values = rng.random((4000, 2)), rng.random((4000, 1))
    fast, exact = poolers(kernel, keys, values, np.ones(4000), 0.02)
    assert fast.kept_share(1e-6) < most
    expected = exact.pool(keys[:200])[0]
    monkeypatch.setattr(fast.dense, "collect_sums", None)
    np.testing.assert_allclose(fast.pool(keys[:200], tol=1e-6)[0], expected, rtol=0, atol=1e-6)
    fast, _ = poolers(kernel, keys, values, np.ones(4000), 1e3)
    assert fast.kept_share(1e-6) == 1
    assert fast.kept_share(0.0) == 1


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 400), d=st.integers(1, 4), most=st.integers(1, 50))
def test_kd_order_makes_leaves_of_one_size(seed, n, d, most):
    rng = np.random.default_rng(seed)
    points = SCATTER[rng.choice(["normal", "lattice", "duplicates"])](rng, n, d)
    order, size = kd_order(points, most)
    np.testing.assert_array_equal(np.sort(order), np.arange(n))
    assert size <= most
    while len(order) > size:  # the root: a multiple of a leaf, split along its longest side
        n_leaves = 2 ** int(np.ceil(np.log2(-(-len(order) // size))))
        left, right = np.split(points[order], [size * n_leaves // 2])
        axis = np.argmax(np.ptp(points[order], axis=0))
        assert left[:, axis].max() <= right[:, axis].min()
        order = order[: len(left)]


@pytest.mark.parametrize("kernel", ["gaussian", "exponential"])
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(2, 100),
    scatter=st.sampled_from(sorted(SCATTER)),
    weighting=st.sampled_from(sorted(WEIGHTS)),
    log_bandwidth=st.floats(-4, 2),
)
def test_jensen_bounds_the_mass(kernel, seed, n, scatter, weighting, log_bandwidth):
    """From below, in leave-one-out too."""
    rng, kernel = np.random.default_rng(seed), KERNELS[kernel]
    keys, weights = SCATTER[scatter](rng, n, 2), WEIGHTS[weighting](rng, n)
    keys, weights, kept = keys[weights > 0], weights[weights > 0], kept_fraction(weights)[weights > 0]
    bandwidth = spread(keys) * 10**log_bandwidth
    fast, exact = poolers(kernel, keys, np.ones((len(keys), 1)), weights, bandwidth)
    exact = exact.pool(None)[1] if len(keys) > 1 else np.full(1, -np.inf)
    block = fast.dense.block(None, np.arange(len(keys)))
    bound = fast.leaves.log_mass_bound(kernel, block.raw, fast.place[block.own], kept)
    largest = np.log(fast.dense.engine.largest_weight)
    assert (bound + largest <= exact + 1e-11 * (1 + np.abs(exact))).all()


@given(st.lists(st.floats(-60, 5), min_size=1, max_size=60), st.sampled_from([1e-2, 1e-8, 1e-12]))
def test_the_lightest_leaves_are_left_out(log_shares, tol):
    log_shares = np.array(log_shares)
    kept = _blocks._heaviest(log_shares, tol)
    out = np.setdiff1d(np.arange(len(log_shares)), kept)
    assert np.exp(log_shares[out]).sum() <= tol
    if len(kept):
        assert log_shares[kept].min() > log_shares[out].max(initial=-np.inf)
        fewest = log_shares[kept] == log_shares[kept].min()
        assert np.exp(np.r_[log_shares[out], log_shares[kept][fewest]]).sum() > 0.98 * tol


@every_kernel
@pytest.mark.parametrize("leave_one_out", [False, True])
def test_blocks_do_not_depend_on_n_jobs(kernel, leave_one_out):
    rng = np.random.default_rng(0)
    keys, values = rng.normal(size=(1500, 2)), rng.normal(size=(1500, 1))
    fast, _ = poolers(kernel, keys, values, np.ones(1500), 0.1)
    queries = None if leave_one_out else 2 * keys
    one, many = fast.pool(queries, tol=1e-8), fast.pool(queries, n_jobs=3, tol=1e-8)
    oracle.assert_same_results(one, many)


def test_queries_are_sorted_a_part_at_a_time(monkeypatch):
    rng = np.random.default_rng(0)
    keys, values = rng.normal(size=(400, 2)), rng.normal(size=(400, 1))
    fast, exact = poolers("epanechnikov", keys, values, np.ones(400), 0.2)
    monkeypatch.setattr(_blocks, "SORTED_NUMBERS", 100)
    for queries in (2 * keys, None):
        assert_same(fast, exact, queries, values, 0.0)


def test_the_estimators_can_ask_for_blocks():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(500, 3)), rng.normal(size=500)
    for kernel in ("gaussian", "epanechnikov"):
        fast = NadarayaWatsonRegressor(0.2, kernel=kernel, algorithm="blocks").fit(X, y)
        exact = NadarayaWatsonRegressor(0.2, kernel=kernel, algorithm="dense").fit(X, y)
        for rows in (X + 0.1, None):
            np.testing.assert_allclose(fast.predict(rows), exact.predict(rows), atol=1e-10 * np.ptp(y))
        np.testing.assert_array_equal(fast.attention_weights(X[:5]), exact.attention_weights(X[:5]))
    classes = NadarayaWatsonClassifier(0.2, algorithm="blocks").fit(X, y > 0).predict_proba(X)
    np.testing.assert_allclose(classes.sum(axis=1), 1)


def test_a_kernel_without_facts_is_refused():
    with pytest.raises(ValueError, match=r"algorithm='blocks' cannot do this kernel with 2 features; .*\['dense'\]"):
        NadarayaWatsonRegressor(kernel=Kernel(lambda t: -t), algorithm="blocks").fit(np.eye(2), [0, 1])


def test_the_nearest_other_key_when_a_leaf_holds_the_own_key_alone():
    keys, values = 10 * np.arange(10.0)[:, None], np.arange(10.0)[:, None]
    fast, _ = poolers("epanechnikov", keys, values, np.ones(10), 1.0)
    assert fast.leaves.counts[-1] == 1
    pooled, log_mass = fast.pool(None, rows=np.array([9, 0]))
    np.testing.assert_array_equal(pooled, [[8], [1]])
    np.testing.assert_array_equal(fast.pool(None, rows=np.array([9]))[0], [[8]])
    assert np.isneginf(log_mass).all()
