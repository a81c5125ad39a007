"""Weights from matrix products against those from differences: within `tol`, and without a careful pass."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sknw._engines import _dense, _products, _slopes, make_engines
from sknw._engines._products import largest_norm
from sknw._kernels import KERNELS
from sknw._weights import kept_fraction

TAILED = [name for name, kernel in KERNELS.items() if _products.has_tail(kernel)]
every_tail = pytest.mark.parametrize("kernel", TAILED)
WEIGHTS = {
    "none": lambda rng, n: np.ones(n),
    "counts": lambda rng, n: np.r_[1.0, rng.integers(0, 4, size=n - 1)],
    "importances": lambda rng, n: np.r_[0.5, rng.random(n - 1) * (rng.random(n - 1) < 0.8)],
    "light": lambda rng, n: np.exp(rng.uniform(-200, 0, size=n)),
}


def prepare(kernel, keys, values, weights, bandwidth):
    bandwidth = np.broadcast_to(np.asarray(bandwidth, dtype=float), keys.shape[1])
    return make_engines(keys, values, weights, kept_fraction(weights))["dense"].prepare(KERNELS[kernel], bandwidth)


def refuse(*args, **kwargs):
    raise AssertionError("products are precise enough")


@pytest.fixture
def only_products(monkeypatch):
    """Neither distances from differences nor the careful pass; what these would say is asked for before."""
    return lambda: (
        monkeypatch.setattr(_dense, "collect_nearby", refuse),
        monkeypatch.setattr(_slopes, "careful_moments", refuse),
    )


@every_tail
@pytest.mark.parametrize("weighting", WEIGHTS)
@pytest.mark.parametrize("d", [20, 200])
@pytest.mark.parametrize("bandwidth", [0.7, 0.15, 0.05])
def test_rows_without_mass_take_products(kernel, weighting, d, bandwidth, only_products):
    rng = np.random.default_rng(d)
    keys, queries, weights = rng.normal(size=(300, d)), rng.normal(size=(60, d)), WEIGHTS[weighting](rng, 300)
    bandwidth *= 1 if kernel == "gaussian" else 2 / np.sqrt(d)
    pooler = prepare(kernel, keys, rng.normal(size=(300, 2)), weights, bandwidth)
    exact = [pooler.pool(asked, tol=0.0) for asked in (queries, None)]
    slopes = pooler.slopes(tol=0.0)[2]
    only_products()
    tol = 1e-10 if bandwidth > 0.1 or kernel != "gaussian" else 1e-7
    for asked, expected in zip((queries, None), exact, strict=True):
        found = pooler.pool(asked, tol=tol)
        np.testing.assert_allclose(found[0], expected[0], rtol=0, atol=tol)
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-9, atol=tol)
    found = pooler.slopes(tol=min(tol, 1e-9))[2] if tol < 1e-9 else slopes
    np.testing.assert_allclose(found, slopes, rtol=1e-7, atol=1e-8)


@every_tail
@given(
    seed=st.integers(0, 2**32 - 1),
    d=st.sampled_from([1, 2, 5, 30]),
    weighting=st.sampled_from(sorted(WEIGHTS)),
    bandwidth=st.floats(-3, 0).map(lambda power: 10.0**power),
    tol=st.sampled_from([1e-12, 1e-10, 1e-6, 1e-3]),
    distance=st.sampled_from([0.0, 10.0, 300.0]),
    rows=st.sampled_from([5, 16, 256]),
)
def test_products_keep_tol(kernel, seed, d, weighting, bandwidth, tol, distance, rows):
    """Whatever the order of keys, which raises the shift again and again where the nearest come last."""
    rng = np.random.default_rng(seed)
    keys = rng.normal(size=(70, d)) * [1, 1e-3][seed % 2] + distance * rng.integers(0, 2, size=(70, 1))
    keys = keys[np.argsort(-np.abs(keys).sum(axis=1))] if seed % 3 else keys
    queries, weights = rng.normal(size=(20, d)) * 2, WEIGHTS[weighting](rng, 70)
    values = rng.normal(size=(70, 2))
    pooler = prepare(kernel, keys, values, weights, bandwidth)
    span = np.ptp(values[weights > 0], axis=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_dense, "MIN_KEY_ROWS", rows)
        patch.setattr(_dense, "BLOCK_PAIRS", 20 * rows)
        for asked in (queries, None):
            expected, found = pooler.pool(asked, tol=0.0), pooler.pool(asked, tol=tol)
            assert (np.abs(found[0] - expected[0]) <= (tol + 2e-12) * span).all()
            np.testing.assert_allclose(found[1], expected[1], rtol=1e-9, atol=2 * tol + 1e-9)


@every_tail
@pytest.mark.parametrize("d", [1, 3, 50, 784])
@pytest.mark.parametrize("tol", [1e-10, 1e-6])
def test_products_that_round_all_to_one_side_keep_tol(kernel, d, tol):
    """Far from the centre along a diagonal, where the rounding of features adds up, up to the largest |q|²."""
    rng = np.random.default_rng(d)
    centre = np.ones(d) / np.sqrt(d)
    limit = np.sqrt(largest_norm(prepare(kernel, np.zeros((1, d)), np.zeros((1, 1)), np.ones(1), 1.0), tol))
    for share in (0.5, 0.99):
        clouds = [side * share * limit * centre + rng.normal(size=(150, d)) / np.sqrt(d) for side in (-1, 1)]
        keys, values = np.vstack(clouds), rng.normal(size=(300, 1))
        queries = keys[rng.integers(0, 300, size=40)] + rng.normal(size=(40, d)) / np.sqrt(d)
        pooler = prepare(kernel, keys, values, np.ones(300), 1.0)
        error = np.abs(pooler.pool(queries, tol=tol)[0] - pooler.pool(queries, tol=0.0)[0])
        assert error.max() <= tol * np.ptp(values)


@pytest.mark.parametrize("kernel", ["exponential", "logistic"])
def test_rows_with_some_keys_close_to_them(kernel):
    """Pairs of keys 3e3 bandwidths apart, where all others are 2e4 apart, and only a few keys are sampled."""
    rng = np.random.default_rng(0)
    keys = np.repeat(5e3 * rng.normal(size=(3000, 20)), 2, axis=0)
    keys[1::2] += rng.uniform(500, 900, size=(3000, 20))
    pooler = prepare(kernel, keys, rng.normal(size=(6000, 1)), np.ones(6000), 1.0)
    rows = np.arange(0, 6000, 40)
    assert _products.takes_products(pooler, pooler.block(None, rows), 1e-10).all()
    for expected, found in zip(pooler.pool(None, rows, tol=0.0), pooler.pool(None, rows, tol=1e-10), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@every_tail
def test_pulled_slopes_of_rows_without_mass(kernel, only_products):
    rng = np.random.default_rng(0)
    keys, values = rng.normal(size=(90, 100)), rng.normal(size=(90, 1))
    pooler = prepare(kernel, keys, values, np.ones(90), 0.3 if kernel == "gaussian" else 0.05)
    exact = pooler.slopes(tol=0.0)
    pulls = rng.normal(size=(90, 1))
    expected = np.einsum("qv,qfv->f", pulls, exact[2])
    only_products()
    pooled, log_mass, gradient = pooler.pull(lambda pooled, log_mass, part: pulls[part], np.arange(90), tol=1e-10)
    np.testing.assert_allclose(pooled, exact[0], rtol=0, atol=1e-10)
    np.testing.assert_allclose(log_mass, exact[1], rtol=1e-9)
    np.testing.assert_allclose(gradient, expected, rtol=1e-7, atol=1e-8 * np.abs(expected).max())


@every_tail
def test_a_tol_of_zero_takes_no_relative_products(kernel, monkeypatch):
    rng = np.random.default_rng(0)
    pooler = prepare(kernel, rng.normal(size=(90, 50)), rng.normal(size=(90, 1)), np.ones(90), 0.03)
    monkeypatch.setattr(_products.RelativeWeights, "__init__", refuse)
    pooler.pool(tol=0.0)
    pooler.slopes(tol=0.0)
    pooler.attention()
    with pytest.raises(AssertionError, match="precise enough"):
        pooler.pool(tol=1e-10)
