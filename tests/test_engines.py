"""Every engine, every kernel: the properties of `properties`, and problems on which an engine may easily be wrong."""

import tracemalloc

import mpmath
import numpy as np
import oracle
import pytest
from engines import attention, engines_and_kernels, features, gradient, make_pooler, pool
from exact import UNBOUNDED, exact_pool
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import check_definition, properties_of
from samples import HARD_CASES, WEIGHTS, Problem, assert_close

from sknw import Kernel
from sknw._engines import ENGINES
from sknw._kernels import KERNELS
from sknw._weights import retained_share

pytestmark = pytest.mark.usefixtures("small_problems")
every_engine = pytest.mark.parametrize("engine", ENGINES)


def every_engine_with(kernels):
    return pytest.mark.parametrize(("engine", "kernel"), engines_and_kernels(kernels))


def embed(points, engine, kernel="gaussian"):
    """Points (n, 1) among as many features as the engine can do, the others being zero."""
    return np.pad(points, ((0, 0), (0, features(engine, kernel) - 1)))


@pytest.mark.parametrize(
    ("engine", "kernel", "prop"),
    [(engine, kernel, prop) for engine in ENGINES for kernel in KERNELS for prop in properties_of(engine, kernel)],
)
@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1))
def test_properties(engine, kernel, prop, seed):
    prop(engine, kernel, seed)


@every_engine_with(KERNELS)
def test_a_lattice_is_the_definition(engine, kernel):
    """With keys at the edge of a support, and ties for the nearest."""
    rng, d = np.random.default_rng(0), features(engine, kernel, 2)
    keys, queries = 0.1 * rng.integers(0, 6, size=(12, d)), 0.1 * rng.integers(0, 6, size=(9, d))
    for asked in (queries, None):
        problem = Problem(keys, rng.normal(size=(12, 2)), np.ones(12), np.full(d, 0.2), asked)
        check_definition(engine, kernel, problem, 0.0)


@pytest.mark.parametrize("case", HARD_CASES)
@every_engine_with(UNBOUNDED)
def test_hard_cases_are_exact(engine, case, kernel):
    keys, queries, bandwidth = HARD_CASES[case]
    d = features(engine, kernel, keys.shape[1])
    keys, queries, bandwidth = keys[:, :d], queries[:, :d], np.broadcast_to(bandwidth, keys.shape[1])[:d]
    values = np.random.default_rng(5).normal(size=len(keys))
    pooler = make_pooler(engine, keys, values[:, None], None, kernel, bandwidth)
    pooled, log_mass = pool(pooler, queries, tol=1e-13)
    expected = [exact_pool(kernel, query, keys, values, bandwidth) for query in queries]
    assert_close(pooled[:, 0], expected, values, 1e-12)
    assert np.isfinite(log_mass).all()


@every_engine_with([name for name, kernel in KERNELS.items() if kernel.compact and not kernel.jumps])
def test_windows_with_all_keys_at_the_edge(engine, kernel):
    """No further off than by a change of t of 4 units in the last place."""
    u = 1 - np.array([1e-3, 3e-6, 1e-9, 2e-9])
    keys, values = np.r_[u, -u[:2], 5 + np.arange(100.0)][:, None], np.arange(106.0)
    pooled, _ = pool(make_pooler(engine, keys, values[:, None], None, kernel), np.array([[0.0]]))
    t = keys[:, 0] ** 2
    weights = {s: KERNELS[kernel](np.where(np.arange(106) % 2, t * (1 + s), t * (1 - s))) for s in (-1e-15, 0, 1e-15)}
    exact, *moved = (weights[s] @ values / weights[s].sum() for s in (0, -1e-15, 1e-15))
    assert abs(pooled[0, 0] - exact) <= 1e-14 + max(abs(m - exact) for m in moved)


@every_engine_with(["boxcar"])
@pytest.mark.parametrize(
    ("unit", "shift"), [(u, s) for u in (1.0, 0.25, 0.1) for s in (0, 1e3, 1e6) if (u, s) != (0.1, 1e6)]
)  # at 1e6, differences of 0.1 are off by more than the width of the edge
@pytest.mark.parametrize("d", [1, 2, 3])
def test_boxcar_counts_lattice_points_exactly(engine, kernel, d, unit, shift):
    """The edge is inside: integers decide what floats would leave to rounding."""
    rng, d = np.random.default_rng(d), features(engine, kernel, d)
    keys, queries = rng.integers(0, 12, size=(400, d)), rng.integers(-2, 14, size=(60, d))
    inside = ((queries[:, None] - keys[None]) ** 2).sum(axis=-1) <= 9  # in integers
    values = rng.normal(size=(400, 1))
    pooler = make_pooler(engine, keys * unit + shift, values, None, kernel, 3 * unit)
    pooled, log_mass = pool(pooler, queries * unit + shift)
    np.testing.assert_allclose(np.exp(log_mass), inside.sum(axis=1), rtol=1e-12)
    inside, pooled = inside[inside.any(axis=1)], pooled[inside.any(axis=1)]
    np.testing.assert_allclose(pooled, inside @ values / inside.sum(axis=1, keepdims=True), rtol=1e-10)


@every_engine_with(UNBOUNDED)
@pytest.mark.parametrize("distance", [1e16, 1e20, 9.97e36, 1e100, 1e150, 1e160, 1e200, 1e300])
def test_far_queries_tell_keys_one_ulp_apart(engine, kernel, distance):
    keys, values = np.array([[0.0, 0.0], [3.0, 0.1 + 0.2], [3.0, 0.3], [-3.0, 0.0]]), np.array([0.0, 1.0, 2.0, 4.0])
    queries = distance * np.array([[1.0, 1.0], [1.0, -1.0], [1.0, 0.0], [0.1, 1.0], [-1.0, 0.0]])
    d = features(engine, kernel, 2)
    keys, queries = keys[:, ::-1][:, :d], queries[:, ::-1][:, :d]
    with mpmath.workdps(700):
        exact = [exact_pool(kernel, query, keys, values, 0.1) for query in queries]
    pooler = make_pooler(engine, keys, values[:, None], None, kernel, 0.1)
    pooled, log_mass = pool(pooler, queries, tol=1e-12)
    np.testing.assert_allclose(pooled[:, 0], exact, rtol=0, atol=1e-11)
    assert np.isfinite(log_mass).all()
    np.testing.assert_allclose(attention(pooler, queries)[0] @ values, exact, rtol=0, atol=1e-11)


@every_engine_with(UNBOUNDED)
@pytest.mark.parametrize("light", [1e-110, 1e-200, 1e-290])
def test_a_light_key_on_the_query(engine, kernel, light):
    keys, values = np.array([[0.0], [1e3], [1e3 + 0.1]]), np.array([0.0, 1.0, 2.0])
    weights, queries = np.array([1.0, light, light]), np.array([[1e3], [1e3 + 0.1], [1e3 + 1], [-5.0]])
    keys, queries = embed(keys, engine, kernel), embed(queries, engine, kernel)
    exact = [exact_pool(kernel, query, keys, values, 1.0, weights) for query in queries]
    pooler = make_pooler(engine, keys, values[:, None], weights, kernel)
    np.testing.assert_allclose(pool(pooler, queries, tol=1e-12)[0][:, 0], exact, rtol=0, atol=1e-11)
    np.testing.assert_allclose(attention(pooler, queries)[0] @ values, exact, rtol=0, atol=1e-11)
    left = [np.delete(np.arange(3), i) for i in range(3)]
    exact = [exact_pool(kernel, keys[i], keys[o], values[o], 1.0, weights[o]) for i, o in enumerate(left)]
    np.testing.assert_allclose(pool(pooler, tol=1e-12)[0][:, 0], exact, rtol=0, atol=1e-11)
    if keys.shape[1] > 1:
        assert np.isfinite(gradient(pooler, np.ones((3, 1)), tol=1e-12)[2]).all()


@every_engine_with(UNBOUNDED)
def test_a_heavy_key_far_away_outweighs_light_ones_nearby(engine, kernel):
    keys, values = np.array([[0.0], [0.1], [20.0], [29.0]]), np.array([[0.0], [1.0], [2.0], [5.0]])
    weights, queries = np.array([1e-220, 3e-220, 0.5, 1.0]), np.array([[-2.0], [0.0], [-300.0]])
    keys, queries = embed(keys, engine, kernel), embed(queries, engine, kernel)
    expected, _ = oracle.attention(queries, keys, 1.0, kernel, weights)
    pooled, _ = pool(make_pooler(engine, keys, values, weights, kernel), queries)
    np.testing.assert_allclose(pooled, expected @ values, rtol=1e-11)


@every_engine_with(["exponential", "triangular", "logistic"])
def test_keys_close_to_queries(engine, kernel):
    """Far from the centre, where a distance from a matrix product would have no digit left."""
    rng, d = np.random.default_rng(0), features(engine, kernel, 3)
    queries = 20 * rng.normal(size=(40, d)) / np.sqrt(d)
    keys = np.concatenate([queries + scale * rng.normal(size=(40, d)) for scale in (1e-9, 1e-6, 1e-3, 0.1, 1.0)])
    values = rng.normal(size=(200, 1))
    expected, _ = oracle.attention(queries, keys, 1.0, kernel)
    pooled, _ = pool(make_pooler(engine, keys, values, None, kernel), queries, tol=1e-13)
    np.testing.assert_allclose(pooled, expected @ values, atol=2e-12)


@every_engine_with(KERNELS)
@pytest.mark.parametrize("weighting", sorted(WEIGHTS))
def test_average_pooling_of_many_keys(engine, kernel, weighting):
    """Infinite bandwidths, and a flat kernel, at a size where pairs would take minutes."""
    rng, d, n = np.random.default_rng(0), features(engine, kernel, 2), 50_000
    keys, values, weights = rng.normal(size=(n, d)), rng.normal(size=(n, 2)), WEIGHTS[weighting](rng, n)
    pooler = make_pooler(engine, keys, values, weights, kernel, 1.0 if kernel == "constant" else np.inf)
    pooled, log_mass = pool(pooler, keys, tol=1e-10)
    np.testing.assert_allclose(pooled, np.tile(np.average(values, weights=weights, axis=0), (n, 1)), atol=1e-14)
    np.testing.assert_allclose(log_mass, np.log(weights.sum()), rtol=1e-13)
    gone = (weights * (1 - retained_share(weights)))[:, None]
    others = (weights @ values - gone * values) / (weights.sum() - gone)
    np.testing.assert_allclose(pool(pooler, tol=1e-10)[0], others, atol=1e-12)


@every_engine_with(["gaussian", "constant"])
def test_the_average_of_others_does_not_cancel(engine, kernel):
    keys, values = np.zeros((3, features(engine, kernel, 2))), np.array([[1.0], [2.0], [4.0]])
    pooler = make_pooler(engine, keys, values, np.array([1e30, 0.25, 0.75]), kernel, np.inf)
    np.testing.assert_allclose(pool(pooler)[0][0], 3.5)


@every_engine_with(KERNELS)
def test_log_mass_of_near_and_far_queries(engine, kernel):
    rng, d = np.random.default_rng(0), features(engine, kernel, 2)
    keys, queries, weights = rng.normal(size=(30, d)), np.r_[rng.normal(size=(6, d)), [[300.0, 0][:d]]], rng.random(30)
    _, log_mass = pool(make_pooler(engine, keys, np.ones((30, 1)), weights, kernel, 2.0), queries)
    np.testing.assert_allclose(log_mass, oracle.log_mass(queries, keys, 2.0, kernel, weights), rtol=1e-12)


@every_engine_with(["gaussian", "exponential", "logistic"])
def test_queries_beyond_any_scale(engine, kernel):
    keys, queries = embed(np.array([[0.0], [1.0], [2.0]]), engine, kernel), np.array([[1e200], [-1e308]])
    values, queries = np.array([[1.0], [2.0], [4.0]]), embed(queries, engine, kernel)
    pooled, _ = pool(make_pooler(engine, keys, values, None, kernel, 0.5), queries, tol=1e-10)
    np.testing.assert_array_equal(pooled[:, 0] == [4, 1], kernel == "gaussian")
    assert np.isfinite(pooled).all()
    pooled, _ = pool(make_pooler(engine, keys, values, None, kernel, 1e-5), queries, tol=1e-10)
    np.testing.assert_array_equal(pooled, [[4], [1]])


@every_engine
@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_values_of_any_scale(engine, scale):
    keys, values = embed(np.array([[0.0], [1.0], [2.0]]), engine), scale * np.array([[-1.0], [1.0], [0.5]])
    expected, _ = oracle.attention(keys, keys, 1.0)
    pooled, _ = pool(make_pooler(engine, keys, values), keys)
    np.testing.assert_allclose(pooled / scale, expected @ (values / scale), rtol=1e-14)


@every_engine
def test_values_with_a_large_offset_keep_their_digits(engine):
    rng = np.random.default_rng(0)
    keys, values = embed(rng.normal(size=(50, 1)), engine), rng.integers(0, 9, size=(50, 1)).astype(float)
    plain, moved = (pool(make_pooler(engine, keys, values + by, bandwidth=0.5), keys)[0] for by in (0, 2.0**40))
    np.testing.assert_allclose(moved - 2.0**40, plain, atol=2.0**-12)


def _cut(t):
    return np.where(t < 2, -t, -np.inf)


OWN = {
    "unbounded": (Kernel(lambda t: -2 * np.log1p(t)), lambda t: -2 * np.log1p(t)),
    "cut off": (Kernel(lambda t: -t, support=2.0), lambda t: np.where(t <= 4, -t, -np.inf)),
    "zero where its log says so": (Kernel(_cut), _cut),
    "with its weight": (Kernel(_cut, weight=lambda t: np.where(t < 2, np.exp(-t), 0.0)), _cut),
}


@pytest.mark.parametrize(
    ("engine", "kernel"), [(e, k) for e in ENGINES for k, (facts, _) in OWN.items() if ENGINES[e].supports(facts, 2)]
)
def test_a_kernel_of_ones_own(engine, kernel):
    rng, (kernel, log) = np.random.default_rng(0), OWN[kernel]
    keys, queries = rng.normal(size=(40, 2)), np.r_[rng.normal(size=(9, 2)), [[50.0, 50.0]]]
    values = rng.normal(size=(40, 1))
    pooler = make_pooler(engine, keys, values, None, kernel, 0.7)
    for asked in (queries, None):
        expected, empty = oracle.attention(keys if asked is None else asked, keys, 0.7, log, None, asked is None)
        pooled, log_mass = pool(pooler, asked)
        np.testing.assert_allclose(pooled, expected @ values, atol=1e-12)
        np.testing.assert_array_equal(np.isneginf(log_mass), empty)


@every_engine_with(["gaussian", "exponential", "boxcar"])
def test_temporaries_are_bounded(engine, kernel):
    rng = np.random.default_rng(0)
    d = features(engine, kernel)
    keys, queries = rng.normal(size=(200_000, d)), rng.normal(size=(300, d)) * 20
    pooler = make_pooler(engine, keys, rng.normal(size=(200_000, 1)), None, kernel, 0.01)
    tracemalloc.start()
    pool(pooler, queries, tol=1e-10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**20
