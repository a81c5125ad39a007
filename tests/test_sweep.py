"""A sweep over octaves of one bandwidth gives what each of these bandwidths gives by itself."""

import numpy as np
import oracle
import pytest
from engines import constants, make_pooler, make_poolers, pool, sweep
from samples import assert_same_results

from sknw import Kernel
from sknw._kernels import KERNELS
from sknw._learning.copies import Sample
from sknw._learning.loss import make_losses

OCTAVES = [*sorted(range(-8, 9), key=abs), -0.5, 2.5, np.inf]
H = np.array([0.5, 0.8])


def draw(n, weights, outliers=False):
    rng = np.random.default_rng(n)
    keys, values = rng.normal(size=(n, 2)), rng.normal(size=(n, 2)) * [1, 1e3]
    keys[1] = keys[0]
    if outliers:
        keys[2:4] = [[1e6, 1e5], [-3e7, 2e2]]
    w = {"none": np.ones(n), "counts": rng.integers(0, 3, n) + 0.0, "importances": rng.uniform(0, 1, n)}[weights]
    return keys, values, w


def in_ranges(pooled, values):
    """Pooled values in units of the range of each value."""
    return pooled / np.ptp(values, axis=0)


@pytest.mark.parametrize("weights", ["none", "counts", "importances"])
@pytest.mark.parametrize("lattice", [False, True])
@pytest.mark.parametrize("kernel", [name for name in KERNELS if name != "constant"])
def test_a_sweep_is_the_definition(kernel, lattice, weights):
    keys, values, w = draw(42, weights)
    start = H
    if lattice:  # keys at the edge of a support
        keys, start = np.indices((6, 7)).reshape(2, -1).T * 0.1, np.array([0.1, 0.2])
    pooler = make_pooler("dense", keys, values, w, kernel, start)
    for octave, (pooled, log_mass) in zip(OCTAVES, sweep(pooler, OCTAVES), strict=True):
        h = 2.0**octave * start
        attention, empty = oracle.attention(keys, keys, h, kernel, w, leave_one_out=True)
        np.testing.assert_array_equal(np.isneginf(log_mass), empty)
        sure = ~(empty & oracle.rounding_decides(keys, keys, h))
        expected = (attention @ values)[sure]
        np.testing.assert_allclose(in_ranges(pooled[sure], values), in_ranges(expected, values), atol=1e-9)


@pytest.mark.parametrize("kernel", ["gaussian", "exponential", "cauchy", "boxcar", "epanechnikov"])
def test_far_rows_are_right_too(kernel):
    keys, values, w = draw(60, "importances", outliers=True)
    w[5] = 1e-303  # the nearest key of another
    keys[6] = keys[5] + [500.0, 0]
    keys[5] += [499.9, 0]
    keys[7:17] = [[-50 - 1e-6 * k, 0] for k in range(10)]  # rounding says which of them is the nearest of the next
    keys[17] = [-1e6, 0]
    poolers, rows = make_poolers("dense", keys, values, w), np.arange(50)
    for octave, (pooled, log_mass) in zip(OCTAVES, sweep(poolers(kernel, H), OCTAVES, rows), strict=True):
        expected, expected_mass = pool(poolers(kernel, 2.0**octave * H), rows=rows)
        np.testing.assert_allclose(in_ranges(pooled, values), in_ranges(expected, values), atol=1e-7)
        np.testing.assert_allclose(log_mass, expected_mass, rtol=1e-6, atol=1e-9)


def test_errors_do_not_grow_from_octave_to_octave():
    keys, values, w = draw(60, "none")
    poolers, start, octaves = make_poolers("dense", keys, values, w), np.array([100.0, 100.0]), range(8, -9, -1)
    for octave, (pooled, _) in zip(octaves, sweep(poolers("gaussian", start), octaves), strict=True):
        expected, _ = pool(poolers("gaussian", 2.0**octave * start))
        np.testing.assert_allclose(in_ranges(pooled, values), in_ranges(expected, values), atol=1e-11)


@pytest.mark.parametrize("kernel", ["gaussian", "exponential", "epanechnikov"])
def test_blocks_and_threads_do_not_show(kernel):
    keys, values, w = draw(90, "none")
    pooler, octaves = make_pooler("dense", keys, values, w, kernel, H), [0, -2]
    whole = sweep(pooler, octaves)
    with constants("sweep"):
        alone, threads = (sweep(pooler, octaves, n_jobs=n_jobs) for n_jobs in (None, 2))
    for expected, one, other in zip(whole, alone, threads, strict=True):
        assert_same_results(one, other)
        np.testing.assert_allclose(in_ranges(one[0], values), in_ranges(expected[0], values), atol=1e-13)
        np.testing.assert_allclose(one[1], expected[1], rtol=1e-13)


def test_a_kernel_of_ones_own():
    poolers, kernel = make_poolers("dense", *draw(50, "none")), Kernel(lambda t: -2 * np.log1p(t))
    (result,) = sweep(poolers(kernel, H), [-3])
    for one, other in zip(result, pool(poolers(kernel, H / 8)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)


@pytest.mark.parametrize("kernel", ["gaussian", "epanechnikov", "constant"])
@pytest.mark.parametrize("mean_where_empty", [False, True])
def test_losses_along_octaves_are_those_of_each(kernel, mean_where_empty, monkeypatch):
    monkeypatch.setattr("sknw._engines.dense.sweep.SWEEP_NUMBERS", 300)  # in several parts
    keys, values, w = draw(60, "counts")
    poolers = make_poolers("dense", keys, values, w)
    loss, _ = make_losses(
        lambda h, n_neighbors=None: poolers(kernel, h),
        *(Sample(keys, values, w, np.arange(len(keys))), False, None),
        mean_where_empty=mean_where_empty,
        tol=0.0,
        n_jobs=None,
    )
    np.testing.assert_allclose(list(loss.sweep(H, OCTAVES)), [loss(2.0**octave * H) for octave in OCTAVES], rtol=1e-10)
