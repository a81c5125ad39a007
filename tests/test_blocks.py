"""The blocks engine against the dense one, with leaves so small that pruning happens."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sknw._engines import _blocks, _leaves
from sknw._engines._blocks import BlocksEngine
from sknw._engines._dense import DenseEngine
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
        patch.setattr(_leaves, "BOUND_LEAVES", 16)
        yield


def poolers(kernel, keys, values, weights, bandwidth):
    kernel = KERNELS[kernel] if isinstance(kernel, str) else kernel
    bandwidth = np.broadcast_to(np.asarray(bandwidth, dtype=float), keys.shape[1])
    problem = keys, values, weights, kept_fraction(weights)
    return [engine(*problem).prepare(kernel, bandwidth) for engine in (BlocksEngine, DenseEngine)]


def spread(x):
    """The interquartile range of each feature, 1 where that is 0."""
    width = np.quantile(x, 0.75, axis=0) - np.quantile(x, 0.25, axis=0)
    return np.where(width > 0, width, 1.0)


def assert_same(fast, exact, queries, values, tol):
    """Pooled values differ by tol of the range at most, and emptiness not at all."""
    pooled, log_mass = fast.pool(queries, tol=tol)
    expected, expected_mass = exact.pool(queries)
    assert (np.abs(pooled - expected) <= (tol + 2e-12) * np.ptp(values, axis=0)).all()
    empty = np.isneginf(expected_mass)
    np.testing.assert_array_equal(np.isneginf(log_mass), empty)
    log_mass, expected_mass = log_mass[~empty], expected_mass[~empty]
    assert (np.abs(log_mass - expected_mass) <= 2 * tol + 1e-9 * (1 + np.abs(expected_mass))).all()


@every_kernel
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(8, 300),
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
        assert_same(fast, exact, rows, values[weights > 0], tol)


@pytest.mark.parametrize(("kernel", "most"), [("epanechnikov", 0.2), ("gaussian", 0.3), ("exponential", 0.7)])
def test_pruning_happens(kernel, most):
    rng = np.random.default_rng(0)
    keys, values = rng.random((2000, 2)), rng.random((2000, 1))
    fast, exact = poolers(kernel, keys, values, np.ones(2000), 0.02)
    assert fast.kept_share(1e-6) < most
    assert_same(fast, exact, keys[:300], values, 1e-6)
    fast, _ = poolers(kernel, keys, values, np.ones(2000), 1e3)
    assert fast.kept_share(1e-6) == 1
