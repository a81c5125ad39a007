"""Gradients by log-bandwidths: derivatives from the attention itself, from finite differences, and in 60 digits."""

import tracemalloc

import numpy as np
import oracle
import pytest
from engines import (
    attention,
    constants,
    engines_and_kernels,
    gradient,
    is_served_by,
    jacobian,
    kept_share,
    make_pooler,
    make_poolers,
    n_unresolved,
    pool,
)
from exact import UNBOUNDED, exact_slope
from hypothesis import given
from hypothesis import strategies as st
from properties import check_gradients
from samples import SCATTER, WEIGHTS, assert_same_mass, has_key_at_edge, spread

from sknw import Kernel
from sknw._kernels import KERNELS
from sknw._weights import retained_share

pytestmark = pytest.mark.usefixtures("small_problems")
SMOOTH = [name for name, kernel in KERNELS.items() if kernel.log_slope is not None]
EPS = np.finfo(float).eps
ORDERS = ["values summed first", "features summed first"]
PROBLEMS = {
    "seed": st.integers(0, 2**32 - 1),
    "n": st.integers(4, 150),
    "d": st.integers(1, 5),
    "scatter": st.sampled_from(sorted(SCATTER)),
    "weighting": st.sampled_from(sorted(WEIGHTS)),
    "bandwidth": st.one_of(st.floats(1e-2, 1e3), st.sampled_from([1e-80, 1e-5, 0.1, 0.2, 0.3, 0.5, 1.0, 1e7])),
    "ignored": st.booleans(),
}
every_kernel = pytest.mark.parametrize("kernel", SMOOTH)
every_order = pytest.mark.parametrize("order", ORDERS)


def of_jacobian(jacobian):
    return lambda cotangents, rows: np.einsum("qv,qfv->f", cotangents, jacobian[rows])


def of_pooler(pooler):
    return lambda cotangents, rows: gradient(pooler, cotangents, rows)[2]


def by_attention(pooler, keys, values, bandwidth, kernel):
    """The Jacobian (n, d, n_values) by rows of attention, and by how much what it is a covariance of grows (n, d)."""
    rows, log_mass = attention(pooler)
    growth = oracle.growth(rows, keys, bandwidth, KERNELS[kernel])
    growth[np.isneginf(log_mass)] = 0
    return oracle.jacobian(rows, growth, values), np.einsum("ij,ijf->if", rows, np.abs(growth))


@every_kernel
@given(
    **PROBLEMS,
    n_values=st.integers(1, 4),
    largest=st.sampled_from([1e-60, 1.0, 1e60]),
    parts=st.sampled_from([(order, *blocks) for order in ORDERS for blocks in ([], ["gradient"])]),
)
def test_gradients_are_those_of_the_attention(
    kernel, seed, n, d, scatter, weighting, bandwidth, ignored, n_values, largest, parts
):
    """Derivatives to 1e-9 of the range and to the rounding of what they are a covariance of; and values of `pool`."""
    rng = np.random.default_rng(seed)
    keys, weights = SCATTER[scatter](rng, n, d), WEIGHTS[weighting](rng, n)
    values = largest * rng.normal(size=(n, n_values))
    bandwidth = bandwidth * rng.choice([1.0, 0.5, 3.0], size=d)
    bandwidth[0] = np.inf if ignored and d > 1 else bandwidth[0]
    span = np.ptp(values[weights > 0], axis=0)
    with constants(*parts):
        pooler = make_pooler("dense", keys, values, weights, kernel, bandwidth)
        expected, growth = by_attention(pooler, keys, values, bandwidth, kernel)
        error = (1e-9 + 4 * EPS * growth[:, :, None]) * span + 1e-9 * np.abs(expected)
        check_gradients(pooler, of_jacobian(expected), error)
        pooled, log_mass, found = gradient(pooler, np.ones((n, n_values)))
    assert (found[np.isinf(bandwidth)] == 0).all()
    expected, expected_mass = pool(pooler)
    assert (np.abs(pooled - expected) <= 1e-11 * span).all()
    np.testing.assert_allclose(log_mass, expected_mass, rtol=1e-11, atol=1e-11)


@every_kernel
@every_order
@pytest.mark.parametrize("weighting", ["none", "counts"])
def test_products_do_for_nearly_all_rows(kernel, order, weighting):
    rng = np.random.default_rng(0)
    keys, values, weights = rng.normal(size=(200, 3)), rng.normal(size=(200, 2)), WEIGHTS[weighting](rng, 200)
    bandwidth, most = (2.0, 40) if KERNELS[kernel].compact else (0.7, 0)
    pooler = make_pooler("dense", keys, values, weights, kernel, bandwidth)
    with constants(order, "gradient"):
        assert n_unresolved(pooler, lambda: gradient(pooler, values)) <= most


SMALL = np.random.default_rng(0).normal(size=(9, 2))


@pytest.mark.parametrize("weighting", WEIGHTS)
@every_kernel
def test_small_cases_in_60_digits(kernel, weighting):
    rng, bandwidth = np.random.default_rng(2), np.array([1.5, 2.5]) * (2 if KERNELS[kernel].compact else 1)
    values, weights = rng.normal(size=(9, 2)), WEIGHTS[weighting](rng, 9)
    assert not has_key_at_edge(SMALL, bandwidth, kernel, 1e-3).any()
    left = weights - np.diag(weights * (1 - retained_share(weights)))
    expected = np.empty((9, 2, 2))
    for i, f, k in np.ndindex(9, 2, 2):
        expected[i, f, k] = exact_slope(kernel, SMALL, i, values[:, k], bandwidth, f, left[i])
    for order in ORDERS:
        with constants(order):
            found = jacobian(make_pooler("dense", SMALL, values, weights, kernel, bandwidth), np.arange(9))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


HARD = {
    "near": (SMALL, 0.7),
    "isolated": (np.r_[SMALL, 60 + SMALL[:1], 300 + SMALL[:2]], 1.0),
    "each isolated": (50.0 * np.arange(9)[:, None] ** [1, 2], 1.0),
    "nearly tied": (np.r_[[[0, 0], [40, 0], [0, 40 + 1e-3]], 90 + SMALL[:2]], 1.0),
    "tiny bandwidth": (SMALL, 1e-4),
    "no bandwidth": (SMALL[[0, 1, 1, 1, 1, 1, 2]], 1e-150),
    "huge bandwidth": (SMALL, 1e7),
    "per feature": (SMALL, np.array([0.02, 30.0])),
    "sentinel key at 1e9": (np.r_[[[1e9, 1e9]], SMALL], 0.2),
    "clusters 1e6 apart": (SMALL + 1e6 * (np.arange(9) % 2)[:, None], 0.3),
    "offset 1e8": (1e8 + np.round(SMALL * 64) / 64, 0.3),
    "duplicates": (np.repeat(SMALL[:4], [1, 2, 3, 1], axis=0), 0.4),
}


@pytest.mark.parametrize("case", HARD)
@pytest.mark.parametrize("kernel", UNBOUNDED)
def test_hard_cases_in_60_digits(case, kernel):
    """To 1e-9 of the range, and to the rounding of the numbers of which derivatives are a covariance."""
    keys, bandwidth = HARD[case]
    bandwidth, values, n = np.broadcast_to(bandwidth, 2), np.random.default_rng(5).normal(size=len(keys)), len(keys)
    others, expected = 1.0 - np.eye(n), np.empty((n, 2))
    for i, f in np.ndindex(n, 2):
        expected[i, f] = exact_slope(kernel, keys, i, values, bandwidth, f, others[i])
    pooler = make_pooler("dense", keys, values[:, None], None, kernel, bandwidth)
    careful, growth = by_attention(pooler, keys, values[:, None], bandwidth, kernel)
    error = (1e-9 + 4 * EPS * growth) * np.ptp(values) + 1e-9 * np.abs(expected)
    assert (np.abs(careful[:, :, 0] - expected) <= error).all()
    for order in ORDERS:
        with constants(order):
            assert (np.abs(jacobian(pooler, np.arange(n))[:, :, 0] - expected) <= error).all()


@pytest.mark.parametrize("rows", [slice(None), slice(0, 300)])
@pytest.mark.parametrize(("n", "d", "n_values"), [(8000, 64, 1), (1500, 100, 12)])
def test_temporaries_are_bounded(n, d, n_values, rows):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(n, n_values))
    pooler = make_pooler("dense", rng.normal(size=(n, d)), values, None, "gaussian", 2.0)
    tracemalloc.start()
    gradient(pooler, values[rows], rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**20 + 8 * len(values[rows]) * n_values * (d + 2)


@pytest.mark.parametrize(("engine", "kernel"), engines_and_kernels([k for k in SMOOTH if KERNELS[k].compact], [2]))
@pytest.mark.parametrize("d", [2, 8])
def test_rows_without_any_weight_attend_to_their_nearest(engine, kernel, d):
    """And that does not change with the bandwidth."""
    keys, values = np.repeat([[0.0], [10.0], [11.5], [30.0], [30.0]], d, axis=1), np.arange(5.0)[:, None]
    pooled, log_mass, found = gradient(make_pooler(engine, keys, values, None, kernel), 1 + values)
    np.testing.assert_array_equal(pooled[:, 0], [1, 2, 1, 4, 3])
    np.testing.assert_array_equal(np.isneginf(log_mass), [True, True, True, False, False])
    np.testing.assert_array_equal(found, 0)


def _cut(t):
    return np.where(t < 2, -t, -np.inf)


@pytest.mark.parametrize(
    "kernel",
    [
        Kernel(lambda t: -t, log_slope=lambda t: -np.ones_like(t), support=2.0),
        Kernel(lambda t: -2 * np.log1p(t), log_slope=lambda t: -2 / (1 + t)),
        Kernel(lambda t: 2 * np.log(np.maximum(9 - t, 0)), log_slope=lambda t: -2 / (9 - t), support=3.0),
        Kernel(_cut, log_slope=lambda t: -np.ones_like(t)),
    ],
    ids=["cut off", "unbounded", "compact", "zero where its log says so"],
)
@every_order
def test_kernels_of_ones_own(kernel, order):
    rng, step = np.random.default_rng(0), 1e-5
    keys, values = rng.normal(size=(60, 2)), rng.normal(size=(60, 1))
    poolers = make_poolers("dense", keys, values)
    up, down = (pool(poolers(kernel, [0.7 * np.exp(s), 0.7]))[0] for s in (step, -step))
    smooth = np.flatnonzero(np.abs(up - down).max(axis=1) < 1e-3)  # no key has come or gone by a jump
    assert len(smooth) > 54
    with constants(order):
        found = jacobian(poolers(kernel, 0.7), smooth)
    np.testing.assert_allclose(found[:, 0], (up - down)[smooth] / (2 * step), atol=1e-6)


# Blocks


@pytest.mark.parametrize("scatter", SCATTER)
@pytest.mark.parametrize("kernel", [k for e, k in engines_and_kernels(SMOOTH) if e == "blocks" and k != "constant"])
@constants("blocks")
def test_blocks_err_by_what_is_left_out(kernel, scatter):
    """By the bound of the engine, from the attention of the dense one."""
    case = (list(SCATTER).index(scatter) + SMOOTH.index(kernel)) % 3
    weighting, h, tol = [("none", 0.05, 1e-8), ("counts", 0.3, 1e-2), ("importances", 1.0, 1e-4)][case]
    rng, n, d = np.random.default_rng(case), 160, 2 + case
    keys, values, weights = SCATTER[scatter](rng, n, d), rng.normal(size=(n, 2)), WEIGHTS[weighting](rng, n)
    bandwidth = h * np.linspace(1, 2, d) * (3 if KERNELS[kernel].compact else 1)
    dense, blocks = (make_pooler(e, keys, values, weights, kernel, bandwidth) for e in ("dense", "blocks"))
    careful, growth = by_attention(dense, keys, values, bandwidth, kernel)
    (expected, exact_mass), span = pool(dense), np.ptp(values[weights > 0], axis=0)
    left_out = np.zeros((n, d, 1))
    if not KERNELS[kernel].compact:
        others = 1 + np.log(weights.sum() / tol) - exact_mass[:, None, None]
        left_out = 2 * tol * (growth[:, :, None] / (1 - tol) + others)
    check_gradients(blocks, of_jacobian(careful), left_out * span + 1e-9 * (span + np.abs(careful)), tol)
    pooled, log_mass, _ = gradient(blocks, values, tol=tol)
    assert (np.abs(pooled - expected) <= (tol + 1e-11) * span).all()
    np.testing.assert_array_equal(np.isneginf(log_mass), np.isneginf(exact_mass))


@pytest.mark.parametrize("kernel", ["gaussian", "epanechnikov"])
@constants("blocks")
def test_blocks_leave_far_keys_alone(kernel):
    rng = np.random.default_rng(0)
    keys, values = rng.random((1000, 2)), rng.random((1000, 1))
    dense, blocks = (make_pooler(engine, keys, values, None, kernel, 0.04) for engine in ("dense", "blocks"))
    check_gradients(blocks, of_pooler(dense), np.full((1000, 2, 1), 1e-6), 1e-8)
    assert kept_share(blocks, 1e-8) < 0.4
    assert n_unresolved(blocks, lambda: gradient(blocks, values, tol=1e-8)) == 0


# Cells


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(50, 600),
    scatter=st.sampled_from(sorted(SCATTER)),
    weighting=st.sampled_from(sorted(WEIGHTS)),
    n_values=st.sampled_from([1, 3]),
    log_bandwidth=st.tuples(st.floats(-4, 2), st.floats(-4, 2)),
    alike=st.booleans(),
    tol=st.sampled_from([1e-4, 1e-8, 1e-10, 1e-12]),
)
def test_cells_keep_to_1e_8(seed, n, scatter, weighting, n_values, log_bandwidth, alike, tol):
    rng = np.random.default_rng(seed)
    keys, weights = SCATTER[scatter](rng, n, 2), WEIGHTS[weighting](rng, n)
    values = rng.standard_t(2, size=(n, n_values))
    bandwidth = spread(keys) * 10 ** np.array(log_bandwidth)[[0, 0] if alike else [0, 1]]
    check_cells(keys, values, weights, bandwidth, tol)


@pytest.mark.parametrize("scatter", ["normal", "heavy", "lattice"])
@pytest.mark.parametrize("bandwidth", [[0.05, 0.2], [0.5, 0.5], [30.0, 1.0]])
def test_cells_of_many_keys_keep_to_1e_8(scatter, bandwidth):
    rng = np.random.default_rng(0)
    keys, values, weights = SCATTER[scatter](rng, 2000, 2), rng.normal(size=(2000, 2)), WEIGHTS["counts"](rng, 2000)
    check_cells(keys, values, weights, bandwidth, 1e-10)


def check_cells(keys, values, weights, bandwidth, tol):
    """Gradients, pooled values and masses of the grid engine are like those of the dense one."""
    cells, dense = (make_pooler(name, keys, values, weights, "gaussian", bandwidth) for name in ("grid", "dense"))
    assert is_served_by(cells, "grid")
    span = np.ptp(values[weights > 0], axis=0)
    error = np.broadcast_to(1e-8 * span, (len(keys), 2, len(span)))
    check_gradients(cells, of_pooler(dense), error, tol)
    pooled, log_mass, _ = gradient(cells, values, tol=tol)
    expected, expected_mass = pool(dense)
    assert (np.abs(pooled - expected) <= (tol + 2e-12) * span).all()
    assert_same_mass(log_mass, expected_mass, "gaussian", 2 * tol + 1e-11)


def test_cells_serve_nearly_all_rows():
    rng = np.random.default_rng(0)
    keys, values = rng.normal(size=(5000, 2)), rng.normal(size=(5000, 1))
    pooler = make_pooler("grid", keys, values, None, "gaussian", 0.25)
    assert n_unresolved(pooler, lambda: gradient(pooler, values, tol=1e-10)) <= 20


def test_blocks_are_made_on_demand():
    rng = np.random.default_rng(0)
    keys, values = rng.random((600, 2)), rng.random((600, 1))
    with constants("blocks on demand"):
        pooler = make_pooler("blocks", keys, values, None, "epanechnikov", 0.02)
        few = [gradient(pooler, values[[i]], [i])[2] for i in range(50)]
        assert not is_served_by(pooler, "blocks")
        cotangents = values * (np.arange(600) < 50)[:, None]
        np.testing.assert_allclose(gradient(pooler, cotangents)[2], np.sum(few, axis=0), atol=1e-9)
        assert is_served_by(pooler, "blocks")
