"""Slopes of the sorted engine against the dense one, on problems large enough for its short cuts."""

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_sorted import SCATTER, SMALL_BLOCKS, SUPPORTED, WEIGHTS, poolers, spread

from sknw._engines._windows import Windows, growth
from sknw._kernels import KERNELS

SLOPED = [name for name in SUPPORTED if KERNELS[name].log_slope is not None]
every_kernel = pytest.mark.parametrize("kernel", SLOPED)


def rows_with_a_key_at_the_edge(keys, bandwidth, kernel):
    """The rows (n,) whose slope is one-sided, or that the dense engine does not know to 1e-8.

    It takes E as K times d log K / d log h, which is 1 / (1 - t) or so, with K from a t that is off by 1e-13: E is off
    by 1e-9 of itself where t = 1 - 1e-4.
    """
    t = np.square((keys[:, None] - keys) / bandwidth)
    return (np.abs(t - KERNELS[kernel].support ** 2) < 1e-4).any(axis=1)


def rounding_of_dense(keys, counted, bandwidth, kernel):
    """What its slopes (n, 1) may be off by where all keys are far away: its d log K / d log h errs by eps of itself."""
    if KERNELS[kernel].compact:
        return np.zeros((len(keys), 1))
    t = np.square((keys[:, None] - keys) / bandwidth)
    np.fill_diagonal(t, np.inf)
    return 16 * np.finfo(float).eps * growth(KERNELS[kernel], t[:, counted].min(axis=1, keepdims=True))


@every_kernel
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(50, 1500),
    n_values=st.integers(1, 3),
    scatter=st.sampled_from(sorted(SCATTER)),
    weighting=st.sampled_from(sorted(WEIGHTS)),
    log_bandwidth=st.floats(-4, 2),
    tol=st.sampled_from([1e-4, 1e-8, 1e-12]),
)
def test_slopes_are_those_of_the_dense_engine(kernel, seed, n, n_values, scatter, weighting, log_bandwidth, tol):
    rng = np.random.default_rng(seed)
    keys, weights = SCATTER[scatter](rng, n), WEIGHTS[weighting](rng, n)
    values, bandwidth = rng.standard_t(2, size=(n, n_values)), (spread(keys) or 1) * 10**log_bandwidth
    fast, exact = poolers(kernel, keys, values, weights, bandwidth)
    pooled, log_mass, slopes = fast.slopes(tol=tol)
    smooth = np.flatnonzero(~rows_with_a_key_at_the_edge(keys, bandwidth, kernel))
    _, expected_mass, expected = exact.slopes(smooth)
    span = np.ptp(values[weights > 0], axis=0)
    assert slopes.shape == (n, 1, n_values)
    np.testing.assert_array_equal(np.isneginf(log_mass)[smooth], np.isneginf(expected_mass))
    off = 1e-8 + rounding_of_dense(keys, weights > 0, bandwidth, kernel)[smooth]
    assert (np.abs(slopes[smooth] - expected)[:, 0] <= off * span).all()
    assert (slopes[np.isneginf(log_mass)] == 0).all()
    also_pooled, also_mass = fast.pool(tol=tol)
    assert (np.abs(pooled - also_pooled) <= (tol + 2e-12) * span).all()
    np.testing.assert_array_equal(np.isneginf(log_mass), np.isneginf(also_mass))
    log_mass, also_mass = log_mass[np.isfinite(log_mass)], also_mass[np.isfinite(log_mass)]
    assert (np.abs(log_mass - also_mass) <= 2 * tol + 1e-11 * (1 + np.abs(also_mass))).all()


@every_kernel
def test_some_rows_and_threads_do_not_show(kernel, monkeypatch):
    """Also with small blocks, windows in parts, and a row far from all others."""
    rng = np.random.default_rng(0)
    keys, values = np.r_[rng.normal(size=1999), 60.0], rng.normal(size=(2000, 3))
    problem = kernel, keys, values, np.ones(2000), 0.1
    whole = next(poolers(*problem)).slopes(tol=1e-10)
    for module, name, size in SMALL_BLOCKS:
        monkeypatch.setattr(module, name, size)
    fast = next(poolers(*problem))
    threads = [fast.slopes(tol=1e-10, n_jobs=n_jobs) for n_jobs in (1, 3)]
    oracle.assert_same_results(*threads)
    for one, expected in zip(threads[0], whole, strict=True):
        np.testing.assert_allclose(one, expected, atol=1e-9)
    for rows in (np.array([7, 3, 1999, 3]), slice(40, 60), slice(0, 0)):
        for part, expected in zip(fast.slopes(rows, tol=1e-10), whole, strict=True):
            np.testing.assert_allclose(part, expected[rows], atol=1e-9)


@every_kernel
@pytest.mark.parametrize("scatter", ["normal", "cauchy", "lattice"])
@pytest.mark.parametrize("log_bandwidth", [-4, -1, 1])
def test_no_row_is_left_to_other_engines(kernel, scatter, log_bandwidth, monkeypatch):
    """These take time in proportion to the number of keys for each row."""
    rng = np.random.default_rng(0)
    keys, values = SCATTER[scatter](rng, 20_000), rng.normal(size=(20_000, 1))
    fast, _ = poolers(kernel, keys, values, np.ones(20_000), spread(keys) * 10.0**log_bandwidth)
    monkeypatch.setattr(fast.engine, "blocks", None)
    for found in fast.slopes(tol=1e-10):
        assert not np.isnan(found).any()


@every_kernel
def test_a_dominant_key_leaves_no_noise(kernel):
    """A row far from all others, and in windows of compact kernels one neighbour at the edge, have no slope."""
    keys, values = np.r_[-1 + 1e-11, 0.0, 5 + np.arange(300.0)], np.random.default_rng(0).normal(size=(302, 1))
    fast, _ = poolers(kernel, keys, values, np.ones(302), 1.0 if KERNELS[kernel].compact else 0.01)
    _, log_mass, slopes = fast.slopes(np.array([0, 1]), tol=1e-10)
    assert np.isfinite(log_mass).all()
    assert (np.abs(slopes) < 1e-12).all()


@pytest.mark.parametrize(("grown", "is_weak"), [(1.0, False), (1e4, True)])
def test_steep_rows_need_smaller_errors(grown, is_weak):
    """An error of the mass that does for pooling moves a slope by three times the mean growth of the weights."""
    sums = np.array([[0.3], [1.0], [0.3 * grown], [grown]])
    windows = Windows(np.arange(2.0), np.ones((2, 2)))
    for rows, weak in ((sums[:2], False), (sums, is_weak)):
        assert len(windows.leave_out(rows, np.array([1e-12]), None, 1e-10, 1.0)) == weak


@every_kernel
def test_light_twins(kernel):
    """What little the heavy row of two at one place leaves has the slopes that it has without the heavy one."""
    keys, values = np.r_[0.0, 0.0, np.arange(1, 400) * 0.7], np.random.default_rng(0).normal(size=(401, 1))
    weights = np.r_[1.0, 1e-20, np.full(399, 0.5)]
    fast, exact = poolers(kernel, keys, values, weights, 1.0)
    np.testing.assert_allclose(fast.slopes(tol=1e-10)[2], exact.slopes()[2], atol=1e-9)


@every_kernel
@pytest.mark.parametrize(("unit", "bandwidth"), [(1.0, 1e-200), (1.0, np.inf), (1e-320, 1e10)])
def test_scales_beyond_all_sense(kernel, unit, bandwidth):
    keys, values = unit * np.arange(30.0), np.arange(30.0)[:, None]
    fast, exact = poolers(kernel, keys, values, np.ones(30), bandwidth)
    for found, expected in zip(fast.slopes(tol=1e-10), exact.slopes(), strict=True):
        np.testing.assert_array_equal(found, expected)
