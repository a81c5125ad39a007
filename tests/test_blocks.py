"""The blocks engine against the dense one, with leaves so small that pruning happens."""

import numpy as np
import pytest
from engines import constants, engines_and_kernels, kept_share, make_pooler, n_unresolved, pool
from hypothesis import given
from hypothesis import strategies as st
from properties import check_like_dense
from samples import SCATTER, WEIGHTS, Problem, spread

from sknw import NadarayaWatsonClassifier, NadarayaWatsonRegressor
from sknw._engines.blocks.engine import _heaviest
from sknw._engines.blocks.leaves import Leaves, kd_order
from sknw._kernels import KERNELS
from sknw._weights import retained_share

pytestmark = pytest.mark.usefixtures("small_problems", "small_blocks")
SUPPORTED = [kernel for engine, kernel in engines_and_kernels(KERNELS) if engine == "blocks"]


@pytest.mark.parametrize("kernel", SUPPORTED)
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
    check_like_dense("blocks", kernel, Problem(keys, values, weights, bandwidth, queries), tol)


@pytest.mark.parametrize("kernel", ["epanechnikov", "boxcar", "gaussian", "exponential"])
@pytest.mark.parametrize("copied", ["few keys in a copy", "no keys in a copy"])
def test_too_many_keys_for_a_copy(kernel, copied):
    """Blocks of queries are halved, and then left to the dense engine."""
    rng = np.random.default_rng(0)
    keys, values, queries = rng.normal(size=(300, 2)), rng.normal(size=(300, 2)), 3 * rng.normal(size=(120, 2))
    with constants(copied):
        check_like_dense("blocks", kernel, Problem(keys, values, np.ones(300), np.full(2, 0.1), queries), 1e-6)


@pytest.mark.parametrize(("kernel", "most"), [("epanechnikov", 0.02), ("gaussian", 0.1), ("exponential", 0.5)])
def test_pruning_happens(kernel, most):
    """And the keys that are left out are never looked at."""
    rng = np.random.default_rng(0)
    keys, values = rng.random((4000, 2)), rng.random((4000, 1))
    fast, exact = (make_pooler(name, keys, values, None, kernel, 0.02) for name in ("blocks", "dense"))
    expected, found = pool(exact, keys[:200]), pool(fast, keys[:200], tol=1e-6)
    np.testing.assert_allclose(found[0], expected[0], rtol=0, atol=1e-6)
    assert kept_share(fast, 1e-6) < most
    assert n_unresolved(fast, lambda: pool(fast, keys[:200], tol=1e-6)) == 0
    with constants("no keys in a copy"):
        assert n_unresolved(fast, lambda: pool(fast, keys[:200], tol=1e-6)) > 0


@pytest.mark.parametrize("kernel", ["epanechnikov", "gaussian", "exponential"])
@pytest.mark.parametrize("tol", [1e-6, 0.0])
def test_all_keys_matter_to_wide_kernels(kernel, tol):
    keys = np.random.default_rng(0).random((4000, 2))
    assert kept_share(make_pooler("blocks", keys, keys, None, kernel, 1e3), tol) == 1


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
    rng = np.random.default_rng(seed)
    keys, weights = SCATTER[scatter](rng, n, 2), WEIGHTS[weighting](rng, n)
    keys, weights, kept = keys[weights > 0], weights[weights > 0], retained_share(weights)[weights > 0]
    bandwidth = spread(keys) * 10**log_bandwidth
    order, size = kd_order(keys / bandwidth, 4)
    leaves, place = Leaves(keys[order], weights[order], size, bandwidth), np.argsort(order)
    pooler = make_pooler("dense", keys, np.ones((len(keys), 1)), weights, kernel, bandwidth)
    for asked, own in ((keys, None), (None, place)):
        _, log_mass = pool(pooler, asked)
        bound = leaves.log_mass_bound(KERNELS[kernel], keys, own, (1 - kept) * weights)
        assert (bound <= log_mass + 1e-11 * (1 + np.abs(log_mass))).all()


@given(st.lists(st.floats(-60, 5), min_size=1, max_size=60), st.sampled_from([1e-2, 1e-8, 1e-12]))
def test_the_lightest_leaves_are_left_out(log_shares, tol):
    log_shares = np.array(log_shares)
    kept = _heaviest(log_shares, tol)
    out = np.setdiff1d(np.arange(len(log_shares)), kept)
    assert np.exp(log_shares[out]).sum() <= tol
    if len(kept):
        assert log_shares[kept].min() > log_shares[out].max(initial=-np.inf)
        fewest = log_shares[kept] == log_shares[kept].min()
        assert np.exp(np.r_[log_shares[out], log_shares[kept][fewest]]).sum() > 0.98 * tol


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


def test_the_nearest_other_key_when_a_leaf_holds_the_own_key_alone():
    keys, values = 10 * np.arange(10.0)[:, None], np.arange(10.0)[:, None]
    assert len(keys) % kd_order(keys, 4)[1] == 1
    fast = make_pooler("blocks", keys, values, None, "epanechnikov")
    pooled, log_mass = pool(fast, rows=np.array([9, 0]))
    np.testing.assert_array_equal(pooled, [[8], [1]])
    np.testing.assert_array_equal(pool(fast, rows=np.array([9]))[0], [[8]])
    assert np.isneginf(log_mass).all()
