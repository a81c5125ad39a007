"""The derivatives of pooled values by log-bandwidths: finite differences, 60 digits, and the attention itself."""

import tracemalloc

import hard_cases
import mpmath
import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sknw import Kernel
from sknw._engines import ENGINES, _blocks, _leaves, _pulled_slopes, _slope_sums, _slopes, make_engines
from sknw._engines._pulled_slopes import pull_slopes
from sknw._kernels import KERNELS
from sknw._weights import kept_fraction

SMOOTH = [name for name, kernel in KERNELS.items() if kernel.log_slope is not None]
PAIRS = [(e, k) for e in ENGINES for k in SMOOTH if any(ENGINES[e].supports(KERNELS[k], d) for d in (1, 2))]
every_engine_and_kernel = pytest.mark.parametrize(("engine", "kernel"), PAIRS)
SIDE, MOST_ROWS = _slope_sums.SIDE, _slope_sums.MOST_ROWS
every_kernel = pytest.mark.parametrize("kernel", SMOOTH)
WEIGHTS = {
    "none": lambda rng, n: np.ones(n),
    "counts": lambda rng, n: np.r_[1.0, 1.0, rng.integers(0, 4, size=n - 2)],
    "importances": lambda rng, n: np.r_[0.5, 0.7, rng.random(n - 2) * (rng.random(n - 2) < 0.8)],
}
SCATTER = {
    "normal": lambda rng, n, d: rng.normal(size=(n, d)),
    "heavy": lambda rng, n, d: rng.standard_t(1.5, size=(n, d)),
    "lattice": lambda rng, n, d: rng.integers(0, 6, size=(n, d)) * 0.1,
    "duplicates": lambda rng, n, d: rng.normal(size=(9, d))[rng.integers(0, 9, size=n)],
    "clusters": lambda rng, n, d: rng.normal(size=(n, d)) + 1e3 * rng.integers(0, 2, size=(n, 1)),
    "far clusters": lambda rng, n, d: rng.normal(size=(n, d)) + 1e6 * rng.integers(0, 2, size=(n, 1)),
    "offset": lambda rng, n, d: rng.normal(size=(n, d)) + 1e6,
    "outlier": lambda rng, n, d: np.r_[rng.normal(size=(n - 1, d)), np.full((1, d), 1e9)],
}

PROBLEMS = {
    "seed": st.integers(0, 2**32 - 1),
    "n": st.integers(4, 150),
    "d": st.integers(1, 5),
    "scatter": st.sampled_from(sorted(SCATTER)),
    "weighting": st.sampled_from(sorted(WEIGHTS)),
    "bandwidth": st.one_of(st.floats(1e-2, 1e3), st.sampled_from([1e-80, 1e-5, 0.1, 0.2, 0.3, 0.5, 1.0, 1e7])),
    "ignored": st.booleans(),
}


@pytest.fixture(scope="module", autouse=True)
def small_blocks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_slope_sums, "SIDE", 16)
        patch.setattr(_slope_sums, "MOST_ROWS", 23)
        patch.setattr(_slopes, "CAREFUL_PAIRS", 700)
        patch.setattr(_pulled_slopes, "PULLED_PAIRS", 700)
        yield


def prepare(keys, values, weights, bandwidth, kernel, engine="dense"):
    return make_engines(keys, values, weights, kept_fraction(weights))[engine].prepare(KERNELS[kernel], bandwidth)


def by_attention(pooler):
    """Slopes of all rows by the careful pass alone."""
    n = len(pooler.engine.rows)
    results = _slopes.empty_slopes(pooler.engine, n)
    with np.errstate(all="ignore"):
        moments = _slopes.careful_moments(pooler, pooler.block(None, np.arange(n)))
    _slopes.put_slopes(pooler, results, slice(None), *moments)
    return results


def fails(*args, **kwargs):
    raise AssertionError("this is not to be called")


def has_key_at_edge(keys, bandwidth, kernel):
    """The queries (n,) of which a key is so near the edge of the support that differences see its kink."""
    u = np.sqrt(np.square((keys[:, None] - keys) / bandwidth).sum(axis=-1))
    return (np.abs(u - kernel.support) < 1e-3).any(axis=1)


@pytest.mark.parametrize("weighting", WEIGHTS)
@every_engine_and_kernel
def test_slopes_are_finite_differences(engine, kernel, weighting):
    rng, kernel, n = np.random.default_rng(0), KERNELS[kernel], 60
    d = next(d for d in (3, 1, 2) if ENGINES[engine].supports(kernel, d))
    weights, keys = WEIGHTS[weighting](rng, n), rng.normal(size=(n, d))
    made = make_engines(keys, rng.normal(size=(n, 2)), weights, kept_fraction(weights))[engine]
    bandwidth = np.array([0.8, 1.5, 2.5])[:d] * (2.5 if kernel.compact else 1)
    pooled, log_mass, slopes = made.prepare(kernel, bandwidth).slopes(tol=1e-12)
    expected, expected_mass = made.prepare(kernel, bandwidth).pool(tol=1e-12)
    np.testing.assert_allclose(pooled, expected, atol=1e-11)
    np.testing.assert_allclose(log_mass, expected_mass, rtol=1e-11)
    smooth, step = ~has_key_at_edge(keys, bandwidth, kernel), 1e-4
    assert smooth.mean() > 0.5
    for f in range(d):
        up, down = (
            made.prepare(kernel, np.where(np.arange(d) == f, bandwidth * np.exp(s), bandwidth)).pool(tol=1e-13)[0]
            for s in (step, -step)
        )
        np.testing.assert_allclose(slopes[smooth, f], ((up - down) / (2 * step))[smooth], atol=1e-6)


@every_kernel
@given(**PROBLEMS, per_feature=st.booleans())
def test_products_give_what_the_attention_gives(
    kernel, seed, n, d, scatter, weighting, bandwidth, per_feature, ignored
):
    """Slopes to 1e-9 of the range, and pooled values and masses as those of `pool`."""
    rng = np.random.default_rng(seed)
    keys, values, weights = SCATTER[scatter](rng, n, d), rng.normal(size=(n, 2)), WEIGHTS[weighting](rng, n)
    bandwidth = bandwidth * (rng.choice([1.0, 0.5, 3.0], size=d) if per_feature else np.ones(d))
    bandwidth[0] = np.inf if ignored and d > 1 else bandwidth[0]
    pooler = prepare(keys, values, weights, bandwidth, kernel)
    pooled, log_mass, slopes = pooler.slopes()
    assert slopes.shape == (n, d, 2)
    assert (slopes[:, np.isinf(bandwidth)] == 0).all()
    assert (slopes[np.isneginf(log_mass)] == 0).all()
    expected, expected_mass = pooler.pool()
    span = np.ptp(values[weights > 0], axis=0)
    assert (np.abs(pooled - expected) <= 1e-11 * span).all()
    np.testing.assert_allclose(log_mass, expected_mass, rtol=1e-11, atol=1e-11)
    if kernel != "constant":
        careful = by_attention(pooler)[2]
        assert (np.abs(slopes - careful) <= 1e-9 * (span + np.abs(careful))).all()


@every_kernel
@given(**PROBLEMS, n_values=st.integers(1, 4), largest=st.sampled_from([1e-60, 1.0, 1e60]))
def test_pulled_slopes_are_sums_of_slopes(
    kernel, seed, n, d, n_values, scatter, weighting, bandwidth, ignored, largest
):
    rng = np.random.default_rng(seed)
    keys, weights = SCATTER[scatter](rng, n, d), WEIGHTS[weighting](rng, n)
    values, pulls = largest * rng.normal(size=(n, n_values)), largest * rng.lognormal(sigma=5, size=(n, n_values))
    bandwidth = bandwidth * rng.choice([1.0, 0.5, 3.0], size=d)
    bandwidth[0] = np.inf if ignored and d > 1 else bandwidth[0]
    pooler = prepare(keys, values, weights, bandwidth, kernel)
    if pooler.linear:  # average pooling
        assert pooler.pull is None
        return
    rows, asked = rng.permutation(n)[: n - 1], []

    def pulls_of(pooled, log_mass, part):
        asked.append((part, pooled.copy(), log_mass.copy()))
        return pulls[rows[part]]

    pooled, log_mass, gradient = pull_slopes(pooler, pulls_of, rows)
    expected, expected_mass, slopes = pooler.slopes(rows)
    span = np.ptp(values[weights > 0], axis=0)
    assert (np.abs(pooled - expected) <= 1e-11 * span).all()
    np.testing.assert_allclose(log_mass, expected_mass, rtol=1e-11, atol=1e-11)
    part, *known = asked[-1]
    np.testing.assert_array_equal(known[0], pooled[part])
    np.testing.assert_array_equal(known[1], log_mass[part])
    scale = np.einsum("qv,qfv->f", pulls[rows], span + np.abs(slopes))
    assert (np.abs(gradient - np.einsum("qv,qfv->f", pulls[rows], slopes)) <= 1e-9 * scale).all()
    assert (gradient[np.isinf(bandwidth)] == 0).all()


def test_slopes_are_pulled_where_they_are_many():
    jump = Kernel(lambda t: np.where(t <= 1, -t, -np.inf), log_slope=lambda t: np.full_like(t, -1), support=1)
    rng = np.random.default_rng(0)
    for n_values, kernel, pulls in (
        (12, KERNELS["gaussian"], True),
        (10, KERNELS["gaussian"], False),
        (12, jump, False),
    ):
        values, weights = rng.normal(size=(20, n_values)), np.ones(20)
        dense = make_engines(rng.normal(size=(20, 6)), values, weights, kept_fraction(weights))["dense"]
        assert (dense.prepare(kernel, np.ones(6)).pull is not None) == pulls


@every_kernel
@pytest.mark.parametrize("weighting", ["none", "counts"])
def test_products_are_trusted_with_nearly_all_rows(kernel, weighting, monkeypatch):
    rng = np.random.default_rng(0)
    keys, values, weights = rng.normal(size=(200, 3)), rng.normal(size=(200, 2)), WEIGHTS[weighting](rng, 200)
    pooler = prepare(keys, values, weights, np.full(3, 2.0 if KERNELS[kernel].compact else 0.7), kernel)
    expected = pooler.slopes()[2]
    monkeypatch.setattr(_slopes, "careful_moments", lambda pooler, block: (np.nan, np.nan))
    slopes = pooler.slopes()[2]
    trusted = ~np.isnan(slopes).any(axis=(1, 2))
    assert trusted.mean() >= (1 if KERNELS[kernel].support == np.inf else 0.8)
    np.testing.assert_array_equal(slopes[trusted], expected[trusted])


EXACT = {
    "constant": lambda u: 1,
    "triangular": lambda u: 1 - u,
    "epanechnikov": lambda u: 1 - u**2,
    "biweight": lambda u: (1 - u**2) ** 2,
    "triweight": lambda u: (1 - u**2) ** 3,
    "tricube": lambda u: (1 - u**3) ** 3,
    "cosine": lambda u: mpmath.cos(mpmath.pi * u / 2),
}


def exact_log(kernel, t):
    """log K in 60 digits."""
    if kernel in hard_cases.LOG_KERNELS:
        return hard_cases.LOG_KERNELS[kernel](t)
    inside = t < KERNELS[kernel].support ** 2
    return mpmath.log(EXACT[kernel](mpmath.sqrt(t))) if inside else mpmath.ninf


def exact_slope(kernel, rows, i, values, bandwidth, f, left=None):
    """d pooled / d log h_f of row i by numerical differentiation in 60 digits; `left` (n,) are weights without it."""
    left = np.arange(len(rows)) != i if left is None else left
    rows, bandwidth = [[[mpmath.mpf(float(x)) for x in row] for row in array] for array in (rows, [bandwidth])]

    def pool(change):
        h = [h * mpmath.exp(change) if g == f else h for g, h in enumerate(bandwidth[0])]
        others = np.flatnonzero(left)
        squares = [mpmath.fsum(((q - x) / b) ** 2 for q, x, b in zip(rows[i], rows[j], h, strict=True)) for j in others]
        logs = [exact_log(kernel, t) for t in squares]
        weights = [mpmath.exp(log - max(logs)) * float(left[j]) for j, log in zip(others, logs, strict=True)]
        return mpmath.fdot(weights, [mpmath.mpf(float(values[j])) for j in others]) / mpmath.fsum(weights)

    return float(mpmath.diff(pool, 0))


SMALL = np.random.default_rng(0).normal(size=(9, 2))


@pytest.mark.parametrize("weighting", WEIGHTS)
@every_kernel
def test_small_cases_in_60_digits(kernel, weighting):
    rng, bandwidth = np.random.default_rng(2), np.array([1.5, 2.5]) * (2 if KERNELS[kernel].compact else 1)
    values, weights = rng.normal(size=(9, 2)), WEIGHTS[weighting](rng, 9)
    assert not has_key_at_edge(SMALL, bandwidth, KERNELS[kernel]).any()
    slopes = prepare(SMALL, values, weights, bandwidth, kernel).slopes()[2]
    for i, kept in enumerate(kept_fraction(weights)):
        left = np.where(np.arange(9) == i, kept * weights, weights)
        for f, k in np.ndindex(2, 2):
            expected = exact_slope(kernel, SMALL, i, values[:, k], bandwidth, f, left)
            assert slopes[i, f, k] == pytest.approx(expected, abs=1e-9)


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


def mean_changes(pooler, keys, bandwidth):
    """The means (n, d) of the derivatives of log K by log h_f, of which slopes are a covariance, in absolute value."""
    squares = np.square((keys[:, None] - keys) / bandwidth)
    with np.errstate(all="ignore"):
        factor = np.nan_to_num(2 * np.abs(pooler.kernel.log_slope(squares.sum(axis=-1))), posinf=0)
    return np.einsum("ij,ijf->if", pooler.attention()[0] * factor, squares)


@pytest.mark.parametrize("case", HARD)
@pytest.mark.parametrize("kernel", hard_cases.LOG_KERNELS)
def test_hard_cases_in_60_digits(case, kernel):
    """To 1e-9 of the range, and to the rounding of the numbers of which slopes are a covariance."""
    keys, bandwidth = HARD[case]
    bandwidth, values = np.broadcast_to(bandwidth, 2), np.random.default_rng(5).normal(size=len(keys))
    pooler = prepare(keys, values[:, None], np.ones(len(keys)), bandwidth, kernel)
    expected = np.array(
        [[exact_slope(kernel, keys, i, values, bandwidth, f) for f in range(2)] for i in range(len(keys))]
    )
    rounding = 1e-9 + 4 * np.finfo(float).eps * mean_changes(pooler, keys, bandwidth)
    for slopes in (pooler.slopes()[2], by_attention(pooler)[2]):
        assert (np.abs(slopes[:, :, 0] - expected) <= rounding * np.ptp(values) + 1e-9 * np.abs(expected)).all()


@every_engine_and_kernel
def test_some_rows_are_a_part_of_all_rows(engine, kernel):
    rng = np.random.default_rng(0)
    d = next(d for d in (2, 1) if ENGINES[engine].supports(KERNELS[kernel], d))
    keys = np.r_[rng.normal(size=(150, d)), [[40.0] * d, [3e6] * d]]
    pooler = prepare(keys, rng.normal(size=(152, 2)), np.ones(152), np.full(d, 0.6), kernel, engine)
    whole = pooler.slopes(tol=1e-10)
    for rows in (np.array([7, 151, 3, 150, 3]), slice(40, 60), slice(0, 0)):
        for some, every in zip(pooler.slopes(rows, tol=1e-10), whole, strict=True):
            np.testing.assert_allclose(some, every[rows], rtol=1e-8, atol=1e-8)


@every_engine_and_kernel
def test_slopes_do_not_depend_on_n_jobs(engine, kernel):
    rng = np.random.default_rng(0)
    d = next(d for d in (3, 1, 2) if ENGINES[engine].supports(KERNELS[kernel], d))
    pooler = prepare(rng.normal(size=(250, d)), rng.normal(size=(250, 2)), np.ones(250), np.ones(d), kernel, engine)
    for rows in (slice(None), slice(1, None)):  # with all rows, pairs serve both ways
        oracle.assert_same_results(pooler.slopes(rows), pooler.slopes(rows, n_jobs=3))


def test_pairs_serve_both_ways_if_all_rows_are_keys(monkeypatch):
    rng = np.random.default_rng(0)
    keys, values, weights = rng.normal(size=(100, 2)), rng.normal(size=(100, 1)), np.arange(1.0, 101)
    some = prepare(keys, values, weights * (weights > 50), np.ones(2), "gaussian")
    every = prepare(keys, values, weights, np.ones(2), "gaussian")
    expected = every.slopes(np.roll(np.arange(100), 1))
    monkeypatch.setattr(_slopes, "sum_block", fails)
    np.testing.assert_allclose(every.slopes()[2], np.roll(expected[2], -1, axis=0), atol=1e-13)
    for pooler, rows in ((some, slice(None)), (every, slice(99)), (every, slice(None, None, -1))):
        with pytest.raises(AssertionError, match="not to be called"):
            pooler.slopes(rows)


@pytest.mark.parametrize("rows", [slice(None), slice(0, 300)])
@pytest.mark.parametrize(("n", "d", "n_values"), [(8000, 64, 1), (1500, 100, 12)])
def test_temporaries_are_bounded(n, d, n_values, rows, monkeypatch):
    monkeypatch.setattr(_slope_sums, "SIDE", SIDE)
    monkeypatch.setattr(_slope_sums, "MOST_ROWS", MOST_ROWS)
    rng = np.random.default_rng(0)
    pooler = prepare(rng.normal(size=(n, d)), rng.normal(size=(n, n_values)), np.ones(n), np.full(d, 2.0), "gaussian")
    tracemalloc.start()
    results = pooler.slopes(rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**20 + sum(result.nbytes for result in results)


@pytest.mark.parametrize("kernel", [name for name in SMOOTH if KERNELS[name].compact])
def test_rows_without_any_weight_attend_to_their_nearest(kernel):
    """And that does not change with the bandwidth."""
    for engine, d in (("dense", 2), ("blocks", 2), ("blocks", 8)):
        if not ENGINES[engine].supports(KERNELS[kernel], d):
            continue
        keys, values = np.repeat([[0.0], [10.0], [11.5], [30.0], [30.0]], d, axis=1), np.arange(5.0)[:, None]
        pooled, log_mass, slopes = prepare(keys, values, np.ones(5), np.ones(d), kernel, engine).slopes()
        np.testing.assert_array_equal(pooled[:, 0], [1, 2, 1, 4, 3])
        np.testing.assert_array_equal(np.isneginf(log_mass), [True, True, True, False, False])
        np.testing.assert_array_equal(slopes, 0)


def test_kernels_of_ones_own():
    """Cut off, unbounded, and zero where the log says so; only the second is done by products."""
    rng = np.random.default_rng(0)
    keys, values = rng.normal(size=(60, 2)), rng.normal(size=(60, 1))

    def cut(t):
        return np.where(t < 2, -t, -np.inf)

    for kernel in (
        Kernel(lambda t: -t, log_slope=lambda t: -np.ones_like(t), support=2.0),
        Kernel(lambda t: -2 * np.log1p(t), log_slope=lambda t: -2 / (1 + t)),
        Kernel(lambda t: 2 * np.log(np.maximum(9 - t, 0)), log_slope=lambda t: -2 / (9 - t), support=3.0),
        Kernel(cut, log_slope=lambda t: -np.ones_like(t)),
    ):
        made = make_engines(keys, values, np.ones(60), np.zeros(60))["dense"]
        slopes, step = made.prepare(kernel, np.full(2, 0.7)).slopes()[2], 1e-5
        up, down = (made.prepare(kernel, np.array([0.7 * np.exp(s), 0.7])).pool()[0] for s in (step, -step))
        smooth = np.abs(up - down).max(axis=1) < 1e-3  # no key has come or gone by a jump
        assert smooth.mean() > 0.9
        np.testing.assert_allclose(slopes[smooth, 0], ((up - down) / (2 * step))[smooth], atol=1e-6)


# Blocks.


@pytest.fixture
def small_leaves(monkeypatch):
    for name, size in (("LEAF_KEYS", 4), ("BLOCK_QUERIES", 6), ("FEWEST_QUERIES", 3), ("MANY_KEYS", 0)):
        monkeypatch.setattr(_blocks, name, size)
    monkeypatch.setattr(_leaves, "BOUND_LEAVES", 16)


@pytest.mark.parametrize("scatter", SCATTER)
@pytest.mark.parametrize("kernel", [k for k in SMOOTH if ENGINES["blocks"].supports(KERNELS[k], 2) and k != "constant"])
def test_blocks_err_by_what_is_left_out(kernel, scatter, small_leaves):
    """By the bound of the module, from the attention of the dense engine."""
    case = (list(SCATTER).index(scatter) + SMOOTH.index(kernel)) % 3
    weighting, h, tol = [("none", 0.05, 1e-8), ("counts", 0.3, 1e-2), ("importances", 1.0, 1e-4)][case]
    rng, n, d = np.random.default_rng(case), 160, 2 + case
    keys, values, weights = SCATTER[scatter](rng, n, d), rng.normal(size=(n, 2)), WEIGHTS[weighting](rng, n)
    bandwidth = h * np.linspace(1, 2, d) * (3 if KERNELS[kernel].compact else 1)
    dense, blocks = (prepare(keys, values, weights, bandwidth, kernel, engine) for engine in ("dense", "blocks"))
    pooled, log_mass, slopes = blocks.slopes(tol=tol)
    expected, exact_mass, careful = by_attention(dense)
    span = np.ptp(values[weights > 0], axis=0)
    assert (np.abs(pooled - expected) <= (tol + 1e-11) * span).all()
    np.testing.assert_array_equal(np.isneginf(log_mass), np.isneginf(exact_mass))
    left_out = 0
    if not KERNELS[kernel].compact:
        kept = mean_changes(dense, keys, bandwidth)[:, :, None] / (1 - tol)
        others = 1 + np.log(weights.sum() / tol) - exact_mass[:, None, None]
        left_out = 2 * tol * (kept + others) * span
    assert (np.abs(slopes - careful) <= left_out + 1e-9 * (span + np.abs(careful))).all()


@pytest.mark.parametrize("kernel", ["gaussian", "epanechnikov"])
def test_blocks_leave_far_keys_alone(kernel, small_leaves, monkeypatch):
    rng = np.random.default_rng(0)
    keys, values = rng.random((1000, 2)), rng.random((1000, 1))
    dense, blocks = (prepare(keys, values, np.ones(1000), np.full(2, 0.04), kernel, e) for e in ("dense", "blocks"))
    assert blocks.kept_share(1e-8) < 0.4
    expected = dense.slopes()[2]
    monkeypatch.setattr(blocks.dense, "block", lambda *args: dense.block(*args))
    monkeypatch.setattr(blocks.dense, "distance_blocks", fails)
    np.testing.assert_allclose(blocks.slopes(tol=1e-8)[2], expected, atol=1e-6)


def test_blocks_on_demand(monkeypatch):
    monkeypatch.setattr(_blocks, "FEW_QUERIES", 100)
    rng = np.random.default_rng(0)
    keys, values = rng.random((600, 2)), rng.random((600, 1))
    pooler = prepare(keys, values, np.ones(600), np.full(2, 0.02), "epanechnikov", "blocks")
    few = pooler.slopes(slice(0, 50))
    assert "blocks" not in vars(pooler)
    monkeypatch.setattr(_blocks, "MOST_KEPT", 1.0)
    monkeypatch.setattr(pooler.dense, "slopes", fails)
    np.testing.assert_allclose(pooler.slopes()[2][:50], few[2], atol=1e-9)
