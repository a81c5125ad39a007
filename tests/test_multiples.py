"""Multiples of one bandwidth give what each of them gives by itself."""

import numpy as np
import oracle
import pytest

from sknw import Kernel
from sknw._copies import Sample
from sknw._engines import make_engines
from sknw._kernels import KERNELS
from sknw._loo import make_losses
from sknw._weights import kept_fraction

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


def make_dense(keys, values, weights):
    return make_engines(keys, values, weights, kept_fraction(weights))["dense"]


@pytest.mark.parametrize("weights", ["none", "counts", "importances"])
@pytest.mark.parametrize("lattice", [False, True])
@pytest.mark.parametrize("kernel", [name for name in KERNELS if name != "constant"])
def test_multiples_are_the_definition(kernel, lattice, weights):
    keys, values, w = draw(42, weights)
    start = H
    if lattice:  # keys at the edge of a support
        keys, start = np.indices((6, 7)).reshape(2, -1).T * 0.1, np.array([0.1, 0.2])
    pooler = make_dense(keys, values, w).prepare(KERNELS[kernel], start)
    for octave, (pooled, log_mass) in zip(OCTAVES, pooler.multiples(OCTAVES), strict=True):
        h = 2.0**octave * start
        attention, empty = oracle.attention(keys, keys, h, kernel, w, leave_one_out=True)
        np.testing.assert_array_equal(np.isneginf(log_mass), empty)
        sure = ~(empty & oracle.rounding_decides(keys, keys, h))
        expected = (attention @ values)[sure]
        np.testing.assert_allclose(pooled[sure] / np.ptp(values, axis=0), expected / np.ptp(values, axis=0), atol=1e-9)


@pytest.mark.parametrize("kernel", ["gaussian", "exponential", "cauchy", "boxcar", "epanechnikov"])
def test_far_rows_are_right_too(kernel):
    keys, values, w = draw(60, "importances", outliers=True)
    w[5] = 1e-303  # the nearest key of another
    keys[6] = keys[5] + [500.0, 0]
    keys[5] += [499.9, 0]
    keys[7:17] = [[-50 - 1e-6 * k, 0] for k in range(10)]  # rounding says which of them is the nearest of the next
    keys[17] = [-1e6, 0]
    dense = make_dense(keys, values, w)
    rows = np.arange(50)
    pooler = dense.prepare(KERNELS[kernel], H)
    for octave, (pooled, log_mass) in zip(OCTAVES, pooler.multiples(OCTAVES, rows), strict=True):
        expected, expected_mass = dense.prepare(KERNELS[kernel], 2.0**octave * H).pool(rows=rows)
        np.testing.assert_allclose(pooled / np.ptp(values, axis=0), expected / np.ptp(values, axis=0), atol=1e-7)
        np.testing.assert_allclose(log_mass, expected_mass, rtol=1e-6, atol=1e-9)


def test_errors_do_not_grow_from_octave_to_octave():
    keys, values, w = draw(60, "none")
    dense, start, octaves = make_dense(keys, values, w), np.array([100.0, 100.0]), range(8, -9, -1)
    for octave, (pooled, _) in zip(octaves, dense.prepare(KERNELS["gaussian"], start).multiples(octaves), strict=True):
        expected, _ = dense.prepare(KERNELS["gaussian"], 2.0**octave * start).pool()
        np.testing.assert_allclose(pooled / np.ptp(values, axis=0), expected / np.ptp(values, axis=0), atol=1e-11)


def test_average_pooling_has_no_use_for_them():
    keys, values, w = draw(42, "none")
    assert make_dense(keys, values, w).prepare(KERNELS["constant"], H).multiples is None


def test_many_rows_are_done_in_blocks_on_threads():
    keys, values, w = draw(900, "none")
    pooler = make_dense(keys, values, w).prepare(KERNELS["gaussian"], H)
    alone, threads = (list(pooler.multiples([0, -2], n_jobs=n_jobs)) for n_jobs in (None, 2))
    for one, other in zip(alone, threads, strict=True):
        oracle.assert_same_results(one, other)


def test_a_kernel_of_ones_own():
    keys, values, w = draw(50, "none")
    dense, kernel = make_dense(keys, values, w), Kernel(lambda t: -2 * np.log1p(t))
    (result,) = dense.prepare(kernel, H).multiples([-3])
    expected = dense.prepare(kernel, H / 8).pool()
    for one, other in zip(result, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)


@pytest.mark.parametrize("kernel", ["gaussian", "epanechnikov"])
@pytest.mark.parametrize("mean_where_empty", [False, True])
def test_losses_along_octaves_are_those_of_each(kernel, mean_where_empty, monkeypatch):
    monkeypatch.setattr("sknw._loo.SLOPE_NUMBERS", 300)  # in several parts
    keys, values, w = draw(60, "counts")
    dense = make_dense(keys, values, w)
    loss, _ = make_losses(
        lambda h: dense.prepare(KERNELS[kernel], h),
        *(Sample(keys, values, w, np.arange(len(keys))), False, None),
        mean_where_empty=mean_where_empty,
        tol=0.0,
        n_jobs=None,
    )
    np.testing.assert_allclose(list(loss.along(H, OCTAVES)), [loss(2.0**octave * H) for octave in OCTAVES], rtol=1e-10)
