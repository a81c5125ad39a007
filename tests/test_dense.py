"""The dense engine: weights from matrix products keep `tol`, and spare rows the careful pass."""

import tracemalloc

import mpmath
import numpy as np
import pytest
from engines import attention, constants, gradient, make_pooler, n_unresolved, pool
from exact import exact_pool
from hypothesis import given
from hypothesis import strategies as st
from samples import WEIGHTS, assert_close

from sknw._engines.dense.products import largest_norm

WEIGHTS = WEIGHTS | {"light": lambda rng, n: np.exp(rng.uniform(-200, 0, size=n))}
TAILED = ["gaussian", "exponential", "logistic"]
"""The kernels that fall so fast that masses underflow."""
every_tail = pytest.mark.parametrize("kernel", TAILED)


@every_tail
@pytest.mark.parametrize("weighting", WEIGHTS)
@pytest.mark.parametrize("d", [20, 200])
@pytest.mark.parametrize("bandwidth", [0.7, 0.15, 0.05])
def test_rows_without_mass_take_products(kernel, weighting, d, bandwidth):
    rng = np.random.default_rng(d)
    keys, queries, weights = rng.normal(size=(300, d)), rng.normal(size=(60, d)), WEIGHTS[weighting](rng, 300)
    tol = 1e-10 if bandwidth > 0.1 or kernel != "gaussian" else 1e-7
    bandwidth *= 1 if kernel == "gaussian" else 2 / np.sqrt(d)
    pooler = make_pooler("dense", keys, rng.normal(size=(300, 2)), weights, kernel, bandwidth)
    for asked in (queries, None):
        expected, found = pool(pooler, asked), pool(pooler, asked, tol=tol)
        np.testing.assert_allclose(found[0], expected[0], rtol=0, atol=tol)
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-9, atol=tol)
        assert n_unresolved(pooler, lambda asked=asked: pool(pooler, asked, tol=tol)) == 0


@pytest.mark.parametrize(
    ("kernel", "bandwidth"), [(k, h) for k in TAILED for h in (0.7, 0.15, 0.05) if (k, h) != ("gaussian", 0.05)]
)  # where products are precise enough
@pytest.mark.parametrize("weighting", WEIGHTS)
@pytest.mark.parametrize("d", [20, 200])
@pytest.mark.parametrize("first", ["values summed first", "features summed first"])
def test_gradients_of_rows_without_mass_take_products(kernel, weighting, d, bandwidth, first):
    rng, rows = np.random.default_rng(d), np.arange(40)
    keys, weights = rng.normal(size=(300, d)), WEIGHTS[weighting](rng, 300)
    bandwidth *= 1 if kernel == "gaussian" else 2 / np.sqrt(d)
    pooler = make_pooler("dense", keys, rng.normal(size=(300, 2)), weights, kernel, bandwidth)
    cotangents = rng.normal(size=(40, 2))
    with constants(first):
        for some in (rows, *rows[:3, None]):
            expected = gradient(pooler, cotangents[some], some)
            found = gradient(pooler, cotangents[some], some, tol=1e-10)
            np.testing.assert_allclose(found[0], expected[0], rtol=0, atol=1e-10)
            np.testing.assert_allclose(found[1], expected[1], rtol=1e-9, atol=1e-10)
            np.testing.assert_allclose(found[2], expected[2], rtol=1e-7, atol=1e-8 * np.abs(cotangents[some]).sum())
        assert n_unresolved(pooler, lambda: gradient(pooler, cotangents, rows, tol=1e-10)) == 0


@every_tail
@given(
    seed=st.integers(0, 2**32 - 1),
    d=st.sampled_from([1, 2, 5, 30]),
    weighting=st.sampled_from(sorted(WEIGHTS)),
    bandwidth=st.floats(-3, 0).map(lambda power: 10.0**power),
    tol=st.sampled_from([1e-12, 1e-10, 1e-6, 1e-3]),
    distance=st.sampled_from([0.0, 10.0, 300.0]),
    blocks=st.sampled_from([(), ("dense",)]),
)
def test_products_keep_tol(kernel, seed, d, weighting, bandwidth, tol, distance, blocks):
    """Whatever the order of keys, which raises the shift again and again where the nearest come last."""
    rng = np.random.default_rng(seed)
    keys = rng.normal(size=(70, d)) * [1, 1e-3][seed % 2] + distance * rng.integers(0, 2, size=(70, 1))
    keys = keys[np.argsort(-np.abs(keys).sum(axis=1))] if seed % 3 else keys
    queries, weights = rng.normal(size=(20, d)) * 2, WEIGHTS[weighting](rng, 70)
    values = rng.normal(size=(70, 2))
    pooler = make_pooler("dense", keys, values, weights, kernel, bandwidth)
    with constants(*blocks):
        for asked in (queries, None):
            expected, found = pool(pooler, asked), pool(pooler, asked, tol=tol)
            assert_close(found[0], expected[0], values[weights > 0], tol + 2e-12)
            np.testing.assert_allclose(found[1], expected[1], rtol=1e-9, atol=2 * tol + 1e-9)


@every_tail
@pytest.mark.parametrize("d", [1, 3, 50, 784])
@pytest.mark.parametrize("tol", [1e-10, 1e-6])
def test_products_that_round_all_to_one_side_keep_tol(kernel, d, tol):
    """Far from the centre along a diagonal, where the rounding of features adds up, up to the largest |q|²."""
    rng = np.random.default_rng(d)
    centre = np.ones(d) / np.sqrt(d)
    limit = np.sqrt(largest_norm(d, tol))
    for share in (0.5, 0.99):
        clouds = [side * share * limit * centre + rng.normal(size=(150, d)) / np.sqrt(d) for side in (-1, 1)]
        keys, values = np.vstack(clouds), rng.normal(size=(300, 1))
        queries = keys[rng.integers(0, 300, size=40)] + rng.normal(size=(40, d)) / np.sqrt(d)
        pooler = make_pooler("dense", keys, values, None, kernel)
        assert_close(pool(pooler, queries, tol=tol)[0], pool(pooler, queries)[0], values, tol)


@pytest.mark.parametrize("kernel", ["exponential", "logistic"])
def test_rows_with_some_keys_close_to_them(kernel):
    """Pairs of keys 3e3 bandwidths apart, where all others are 2e4 apart, and only a few keys are sampled."""
    rng = np.random.default_rng(0)
    keys = np.repeat(5e3 * rng.normal(size=(3000, 20)), 2, axis=0)
    keys[1::2] += rng.uniform(500, 900, size=(3000, 20))
    pooler, rows = make_pooler("dense", keys, rng.normal(size=(6000, 1)), None, kernel), np.arange(0, 6000, 40)
    assert n_unresolved(pooler, lambda: pool(pooler, None, rows, tol=1e-10)) < 0.2 * len(rows)
    for expected, found in zip(pool(pooler, None, rows), pool(pooler, None, rows, tol=1e-10), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("kernel", "bandwidth"), [("gaussian", 0.03), ("exponential", 0.02), ("logistic", 0.02)])
def test_a_tol_of_zero_takes_no_products_of_rows_without_mass(kernel, bandwidth):
    rng = np.random.default_rng(0)
    pooler = make_pooler("dense", rng.normal(size=(90, 50)), rng.normal(size=(90, 1)), None, kernel, bandwidth)
    calls = [
        lambda tol=0.0: pool(pooler, tol=tol),
        lambda tol=0.0: gradient(pooler, np.ones((90, 1)), tol=tol),
        lambda: attention(pooler),
    ]
    for call in calls:
        assert n_unresolved(pooler, call) >= 90
    for call in calls[:2]:
        assert n_unresolved(pooler, lambda call=call: call(1e-10)) == 0


@pytest.mark.parametrize("kernel", ["exponential", "logistic"])
@pytest.mark.parametrize("distance", [1e100, 1e160, 1e300, 1.7e308])
@pytest.mark.parametrize("bandwidth", [1.0, 1e-3])
def test_far_queries_keep_their_direction(kernel, distance, bandwidth):
    keys, values = bandwidth * np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]) - 1, np.array([0.0, 1.0, 2.0])
    queries = distance * np.array([[1.0, 0.1], [0.1, -1.0], [-0.6, -0.5], [1e-4, 1.0]])
    nearer = queries @ (keys + 1).T / np.linalg.norm(queries / distance, axis=1, keepdims=True) / distance / bandwidth
    attention = np.exp(nearer) / np.exp(nearer).sum(axis=1, keepdims=True)
    pooled, _ = pool(make_pooler("dense", keys, values[:, None], None, kernel, bandwidth), queries)
    np.testing.assert_allclose(pooled[:, 0], attention @ values, rtol=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kernel", ["gaussian", "exponential", "cauchy"])
def test_far_queries_tell_keys_apart_that_are_nearly_equal(kernel, seed):
    rng = np.random.default_rng(seed)
    keys = 50 * rng.normal(size=5) * (1 + 1e-14 * rng.normal(size=(12, 5)))
    query, values, bandwidth = keys[0] + 2e3 * rng.normal(size=5), rng.normal(size=12), 1.0
    found, _ = pool(make_pooler("dense", keys, values[:, None], None, kernel, bandwidth), query[None])
    assert found[0, 0] == pytest.approx(exact_pool(kernel, query, keys, values, bandwidth), abs=1e-12)


@pytest.mark.parametrize("distance", [1e5, 1e20, 1e40, 1e80])
def test_far_queries_on_a_line_of_symmetry_tell_keys_apart_across_it(distance):
    keys, values = np.array([[0.7, 1 - 0.7], [1 - 0.7, 0.7], [0.5, 0.5]]), np.arange(3.0)  # all as far along it
    query = np.full(2, distance / 3)
    found, _ = pool(make_pooler("dense", keys, values[:, None], None, "gaussian", 1.0), query[None])
    with mpmath.workdps(200):
        assert found[0, 0] == pytest.approx(exact_pool("gaussian", query, keys, values, 1.0), abs=1e-12)


def test_a_single_query_makes_no_copy_of_the_keys():
    """What all queries share is prepared once."""
    keys = np.random.default_rng(0).normal(size=(10_000, 64))
    pooler = make_pooler("dense", keys, keys[:, :1])
    for ask in (pool, attention):
        ask(pooler, keys[:1])
        tracemalloc.start()
        ask(pooler, keys[:1])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < keys.nbytes / 2
