"""Every engine, every kernel: pooled values and attention equal the definition."""

import tracemalloc

import hard_cases
import mpmath
import numpy as np
import oracle
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sknw import Kernel
from sknw._engines import ENGINES, _blocks, _dense, _grid, make_engines
from sknw._kernels import KERNELS
from sknw._weights import has_one_unit, kept_fraction

every_engine = pytest.mark.parametrize("engine", ENGINES)


def every_engine_with(kernels):
    """All pairs of an engine and a kernel that it can do, in one feature or in two."""
    pairs = [(e, k) for e in ENGINES for k in kernels if any(ENGINES[e].supports(KERNELS[k], d) for d in (1, 2))]
    return pytest.mark.parametrize(("engine", "kernel"), pairs)


def features(engine, kernel, d):
    """d, or 1 or 2 if the engine cannot do as many."""
    return next(able for able in (d, 1, 2) if ENGINES[engine].supports(KERNELS[kernel], able))


def embed(points, engine, kernel="gaussian"):
    """Points (n, 1) among as many features as the engine can do, the others being zero."""
    return np.pad(points, ((0, 0), (0, features(engine, kernel, 1) - 1)))


@pytest.fixture(autouse=True, scope="module")
def small_problems_have_cells():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_grid, "CELL_PAIRS", 0)
        yield


SCATTER = {
    "normal": lambda rng, n, d: rng.normal(size=(n, d)),
    "heavy": lambda rng, n, d: rng.standard_t(1.5, size=(n, d)),
    "lattice": lambda rng, n, d: rng.integers(0, 6, size=(n, d)) * 0.1,
    "years": lambda rng, n, d: rng.integers(1950, 1960, size=(n, d)).astype(float),
    "duplicates": lambda rng, n, d: rng.normal(size=(3, d))[rng.integers(0, 3, size=n)],
    "clusters": lambda rng, n, d: rng.normal(size=(n, d)) + 1e3 * rng.integers(0, 2, size=(n, 1)),
}
WEIGHTS = {
    "none": lambda rng, n: np.ones(n),
    "counts": lambda rng, n: np.r_[1.0, rng.integers(0, 4, size=n - 1)],
    "importances": lambda rng, n: np.r_[0.5, rng.random(n - 1) * (rng.random(n - 1) < 0.8)],
}


@pytest.fixture(scope="module", autouse=True)
def blocks_of_few_keys():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_blocks, "MANY_KEYS", 0)
        yield


def prepare(engine, kernel, keys, values, weights, bandwidth):
    kernel = KERNELS[kernel] if isinstance(kernel, str) else kernel
    bandwidth = np.broadcast_to(np.asarray(bandwidth, dtype=float), keys.shape[1])
    return make_engines(keys, values, weights, kept_fraction(weights))[engine].prepare(kernel, bandwidth)


def relative_error(pooled, expected, values):
    """The largest error, in units of the range of its column."""
    span = np.ptp(values, axis=0)
    return (np.abs(pooled - expected) / np.where(span > 0, span, 1)).max()


@every_engine_with(KERNELS)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 40),
    d=st.integers(1, 5),
    scatter=st.sampled_from(sorted(SCATTER)),
    weighting=st.sampled_from(sorted(WEIGHTS)),
    bandwidth=st.one_of(st.floats(1e-2, 1e3), st.sampled_from([0.1, 0.2, 0.3, 1.0, 2.0, 5.0, np.inf])),
    per_feature=st.booleans(),
    tol=st.sampled_from([0.0, 1e-12, 1e-8, 1e-4, 1e-2]),
)
@example(seed=0, n=12, d=2, scatter="lattice", weighting="none", bandwidth=0.2, per_feature=False, tol=0.0)
def test_pool_is_the_definition(engine, kernel, seed, n, d, scatter, weighting, bandwidth, per_feature, tol):
    rng, d = np.random.default_rng(seed), features(engine, kernel, d)
    keys, queries = np.split(SCATTER[scatter](rng, n + 9, d), [n])
    queries[:3] = keys[rng.integers(0, n, size=3)]
    values, weights = rng.normal(size=(n, 2)), WEIGHTS[weighting](rng, n)
    bandwidth = bandwidth * (rng.choice([1.0, 0.5, 3.0], size=d) if per_feature else np.ones(d))
    pooler = prepare(engine, kernel, keys, values, weights, bandwidth)
    for leave_one_out in (False, True):
        if leave_one_out and has_one_unit(weights):
            continue
        rows = keys if leave_one_out else queries
        attention, empty = oracle.attention(rows, keys, bandwidth, kernel, weights, leave_one_out)
        pooled, log_mass = pooler.pool(None if leave_one_out else queries, tol=tol)
        np.testing.assert_array_equal(np.isneginf(log_mass), empty)
        assert relative_error(pooled, attention @ values, values[weights > 0]) < tol + 1e-11
        if engine == "dense":
            rows, log_mass = pooler.attention(None if leave_one_out else queries)
            np.testing.assert_array_equal(np.isneginf(log_mass), empty)
            np.testing.assert_allclose(rows, attention, atol=1e-11)
            np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=1e-14)


@pytest.mark.parametrize("case", hard_cases.CASES)
@every_engine_with(hard_cases.LOG_KERNELS)
def test_hard_cases_are_exact(engine, case, kernel):
    keys, queries, bandwidth = hard_cases.CASES[case]
    d = features(engine, kernel, keys.shape[1])
    keys, queries, bandwidth = keys[:, :d], queries[:, :d], np.broadcast_to(bandwidth, keys.shape[1])[:d]
    values = np.random.default_rng(5).normal(size=len(keys))
    pooler = prepare(engine, kernel, keys, values[:, None], np.ones(len(keys)), bandwidth)
    pooled, log_mass = pooler.pool(queries, tol=1e-13)
    expected = [hard_cases.exact_pool(kernel, query, keys, values, bandwidth) for query in queries]
    assert relative_error(pooled[:, 0], expected, values) < 1e-12
    assert np.isfinite(log_mass).all()


@every_engine_with([name for name, kernel in KERNELS.items() if kernel.compact and not kernel.jumps])
def test_windows_with_all_keys_at_the_edge(engine, kernel):
    """No further off than by a change of t of 4 units in the last place."""
    u = 1 - np.array([1e-3, 3e-6, 1e-9, 2e-9])
    keys, values = np.r_[u, -u[:2], 5 + np.arange(100.0)][:, None], np.arange(106.0)
    queries = np.array([[0.0]])
    pooled, _ = prepare(engine, kernel, keys, values[:, None], np.ones(106), 1.0).pool(queries)
    t = keys[:, 0] ** 2
    weights = {s: KERNELS[kernel](np.where(np.arange(106) % 2, t * (1 + s), t * (1 - s))) for s in (-1e-15, 0, 1e-15)}
    exact, *moved = (weights[s] @ values / weights[s].sum() for s in (0, -1e-15, 1e-15))
    assert abs(pooled[0, 0] - exact) <= 1e-14 + max(abs(m - exact) for m in moved)


@pytest.mark.parametrize("engine", [name for name in ENGINES if ENGINES[name].supports(KERNELS["boxcar"], 1)])
@pytest.mark.parametrize("shift", [0, 1e3, 1e6])
@pytest.mark.parametrize("unit", [1.0, 0.1, 0.25])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_boxcar_counts_lattice_points_exactly(engine, d, unit, shift):
    """The edge is inside: integers decide what floats would leave to rounding."""
    rng, d = np.random.default_rng(d), features(engine, "boxcar", d)
    keys, queries = rng.integers(0, 12, size=(400, d)), rng.integers(-2, 14, size=(60, d))
    if unit == 0.1 and shift == 1e6:
        pytest.skip("differences of 0.1 are off by more than the width of the edge at 1e6")
    inside = ((queries[:, None] - keys[None]) ** 2).sum(axis=-1) <= 9  # in integers
    values = rng.normal(size=(400, 1))
    pooler = prepare(engine, "boxcar", keys * unit + shift, values, np.ones(400), 3 * unit)
    pooled, log_mass = pooler.pool(queries * unit + shift)
    np.testing.assert_allclose(np.exp(log_mass), inside.sum(axis=1), rtol=1e-12)
    inside, pooled = inside[inside.any(axis=1)], pooled[inside.any(axis=1)]
    np.testing.assert_allclose(pooled, inside @ values / inside.sum(axis=1, keepdims=True), rtol=1e-10)


@every_engine_with(["gaussian", "exponential", "boxcar", "epanechnikov"])
def test_some_rows_are_a_part_of_all_rows(engine, kernel):
    rng, d = np.random.default_rng(0), features(engine, kernel, 2)
    keys, queries = rng.normal(size=(300, d)), 2 * rng.normal(size=(200, d))
    pooler = prepare(engine, kernel, keys, rng.normal(size=(300, 2)), np.ones(300), 0.3)
    for asked in (queries, None):
        whole = pooler.pool(asked, tol=1e-10)
        for rows in (np.array([7, 3, 150, 3]), slice(40, 60), slice(0, 0)):
            part = pooler.pool(asked, rows, tol=1e-10)
            np.testing.assert_allclose(part[0], whole[0][rows], rtol=0, atol=1e-9)
            np.testing.assert_allclose(part[1], whole[1][rows], rtol=1e-9)


@every_engine_with(["gaussian", "exponential", "boxcar", "epanechnikov"])
@pytest.mark.parametrize("spread", [1.0, 40.0])
def test_blocks_do_not_show(engine, kernel, spread, monkeypatch):
    rng, d = np.random.default_rng(0), features(engine, kernel, 2)
    keys, queries = spread * rng.normal(size=(300, d)), spread * rng.normal(size=(150, d))
    values = rng.normal(size=(300, 2))
    problem = engine, kernel, keys, values, np.ones(300), 0.8
    whole = [prepare(*problem).pool(rows)[0] for rows in (queries, None)]
    monkeypatch.setattr(_dense, "BLOCK_PAIRS", 16 * 7)
    monkeypatch.setattr(_dense, "MIN_KEY_ROWS", 7)
    parts = [prepare(*problem).pool(rows)[0] for rows in (queries, None)]
    np.testing.assert_allclose(parts[0], whole[0], rtol=0, atol=1e-13)
    np.testing.assert_allclose(parts[1], whole[1], rtol=0, atol=1e-13)


@every_engine_with(["gaussian", "triangular", "epanechnikov"])
def test_results_do_not_depend_on_n_jobs(engine, kernel):
    rng, d = np.random.default_rng(0), features(engine, kernel, 4)
    keys, queries = rng.normal(size=(500, d)), 2 * rng.normal(size=(70_000 if d == 1 else 2500, d))
    pooler = prepare(engine, kernel, keys, rng.normal(size=(500, 1)), np.ones(500), 0.7)
    one, many = pooler.pool(queries, tol=1e-8), pooler.pool(queries, n_jobs=3, tol=1e-8)
    oracle.assert_same_results(one, many)


@every_engine_with(hard_cases.LOG_KERNELS)
@pytest.mark.parametrize("distance", [1e16, 1e20, 9.97e36, 1e100, 1e150, 1e160, 1e200, 1e300])
def test_far_queries_tell_keys_one_ulp_apart(engine, kernel, distance):
    keys, values = np.array([[0.0, 0.0], [3.0, 0.1 + 0.2], [3.0, 0.3], [-3.0, 0.0]]), np.array([0.0, 1.0, 2.0, 4.0])
    queries = distance * np.array([[1.0, 1.0], [1.0, -1.0], [1.0, 0.0], [0.1, 1.0], [-1.0, 0.0]])
    d = features(engine, kernel, 2)
    keys, queries = keys[:, ::-1][:, :d], queries[:, ::-1][:, :d]
    with mpmath.workdps(700):
        exact = [hard_cases.exact_pool(kernel, query, keys, values, 0.1) for query in queries]
    pooler = prepare(engine, kernel, keys, values[:, None], np.ones(4), 0.1)
    pooled, log_mass = pooler.pool(queries, tol=1e-12)
    np.testing.assert_allclose(pooled[:, 0], exact, rtol=0, atol=1e-11)
    assert np.isfinite(log_mass).all()
    attention, _ = pooler.attention(queries)
    np.testing.assert_allclose(attention @ values, exact, rtol=0, atol=1e-11)


@pytest.mark.parametrize("kernel", ["exponential", "logistic"])
@pytest.mark.parametrize("distance", [1e100, 1e160, 1e300, 1.7e308])
@pytest.mark.parametrize("bandwidth", [1.0, 1e-3])
def test_far_queries_keep_their_direction(kernel, distance, bandwidth):
    keys, values = bandwidth * np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]) - 1, np.array([0.0, 1.0, 2.0])
    queries = distance * np.array([[1.0, 0.1], [0.1, -1.0], [-0.6, -0.5], [1e-4, 1.0]])
    nearer = queries @ (keys + 1).T / np.linalg.norm(queries / distance, axis=1, keepdims=True) / distance / bandwidth
    attention = np.exp(nearer) / np.exp(nearer).sum(axis=1, keepdims=True)
    pooled, _ = prepare("dense", kernel, keys, values[:, None], np.ones(3), bandwidth).pool(queries)
    np.testing.assert_allclose(pooled[:, 0], attention @ values, rtol=1e-12)


@every_engine_with(hard_cases.LOG_KERNELS)
@pytest.mark.parametrize("light", [1e-110, 1e-200, 1e-290])
def test_a_light_key_on_the_query(engine, kernel, light):
    keys, weights, values = (
        np.array([[0.0], [1e3], [1e3 + 0.1]]),
        np.array([1.0, light, light]),
        np.array([0.0, 1.0, 2.0]),
    )
    queries = np.array([[1e3], [1e3 + 0.1], [1e3 + 1], [-5.0]])
    keys, queries = embed(keys, engine, kernel), embed(queries, engine, kernel)
    exact = [hard_cases.exact_pool(kernel, query, keys, values, 1.0, weights) for query in queries]
    pooler = prepare(engine, kernel, keys, values[:, None], weights, 1.0)
    np.testing.assert_allclose(pooler.pool(queries, tol=1e-12)[0][:, 0], exact, rtol=0, atol=1e-11)
    np.testing.assert_allclose(pooler.attention(queries)[0] @ values, exact, rtol=0, atol=1e-11)
    left = [np.delete(np.arange(3), i) for i in range(3)]
    exact = [hard_cases.exact_pool(kernel, keys[i], keys[o], values[o], 1.0, weights[o]) for i, o in enumerate(left)]
    np.testing.assert_allclose(pooler.pool(tol=1e-12)[0][:, 0], exact, rtol=0, atol=1e-11)
    if KERNELS[kernel].log_slope is not None:
        assert np.isfinite(pooler.slopes(tol=1e-12)[2]).all()


@every_engine_with(["gaussian", "exponential", "logistic", "cauchy"])
def test_a_heavy_key_far_away_outweighs_light_ones_nearby(engine, kernel):
    keys, values = np.array([[0.0], [0.1], [20.0], [29.0]]), np.array([[0.0], [1.0], [2.0], [5.0]])
    weights, queries = np.array([1e-220, 3e-220, 0.5, 1.0]), np.array([[-2.0], [0.0], [-300.0]])
    keys, queries = embed(keys, engine, kernel), embed(queries, engine, kernel)
    attention, _ = oracle.attention(queries, keys, 1.0, kernel, weights)
    pooled, _ = prepare(engine, kernel, keys, values, weights, 1.0).pool(queries)
    np.testing.assert_allclose(pooled, attention @ values, rtol=1e-11)


@every_engine_with(["exponential", "triangular", "logistic"])
def test_keys_close_to_queries(engine, kernel):
    """Far from the centre, where a distance from a matrix product would have no digit left."""
    rng, d = np.random.default_rng(0), features(engine, kernel, 3)
    queries = 20 * rng.normal(size=(40, d)) / np.sqrt(d)
    keys = np.concatenate([queries + scale * rng.normal(size=(40, d)) for scale in (1e-9, 1e-6, 1e-3, 0.1, 1.0)])
    values = rng.normal(size=(200, 1))
    attention, _ = oracle.attention(queries, keys, 1.0, kernel)
    pooled, _ = prepare(engine, kernel, keys, values, np.ones(200), 1.0).pool(queries, tol=1e-13)
    np.testing.assert_allclose(pooled, attention @ values, atol=2e-12)


@every_engine_with(KERNELS)
@pytest.mark.parametrize("weighting", sorted(WEIGHTS))
def test_average_pooling(engine, kernel, weighting):
    """Infinite bandwidths, and a flat kernel, at a size where pairs would take for ever."""
    rng, d, n = np.random.default_rng(0), features(engine, kernel, 2), 200_000
    keys, values, weights = rng.normal(size=(n, d)), rng.normal(size=(n, 2)), WEIGHTS[weighting](rng, n)
    bandwidth = 1.0 if kernel == "constant" else np.inf
    pooler = prepare(engine, kernel, keys, values, weights, bandwidth)
    pooled, log_mass = pooler.pool(keys, tol=1e-10)
    np.testing.assert_allclose(pooled, np.tile(np.average(values, weights=weights, axis=0), (n, 1)), atol=1e-14)
    np.testing.assert_allclose(log_mass, np.log(weights.sum()), rtol=1e-13)
    pooled, _ = pooler.pool(None, tol=1e-10)
    kept = weights * kept_fraction(weights)
    rest = weights.sum() - weights + kept
    others = (weights @ values - (weights - kept)[:, None] * values) / rest[:, None]
    np.testing.assert_allclose(pooled, others, atol=1e-12)


@every_engine_with(["gaussian", "constant"])
def test_the_average_of_others_does_not_cancel(engine, kernel):
    keys, values = np.zeros((3, features(engine, kernel, 2))), np.array([[1.0], [2.0], [4.0]])
    pooler = prepare(engine, kernel, keys, values, np.array([1e30, 0.25, 0.75]), np.inf)
    np.testing.assert_allclose(pooler.pool(None)[0][0], 3.5)


@every_engine_with(KERNELS)
def test_log_mass(engine, kernel):
    rng, d = np.random.default_rng(0), features(engine, kernel, 2)
    keys, queries, weights = rng.normal(size=(30, d)), np.r_[rng.normal(size=(6, d)), [[300.0, 0][:d]]], rng.random(30)
    _, log_mass = prepare(engine, kernel, keys, np.ones((30, 1)), weights, 2.0).pool(queries)
    t = (((queries[:, None] - keys) / 2) ** 2).sum(axis=-1)
    with np.errstate(divide="ignore"):
        expected = np.logaddexp.reduce(oracle.KERNELS[kernel](t) + np.log(weights), axis=1)
    np.testing.assert_allclose(log_mass, expected, rtol=1e-12)


@every_engine_with(["gaussian", "exponential", "logistic"])
def test_queries_beyond_any_scale(engine, kernel):
    keys, queries = embed(np.array([[0.0], [1.0], [2.0]]), engine, kernel), np.array([[1e200], [-1e308]])
    values, queries = np.array([[1.0], [2.0], [4.0]]), embed(queries, engine, kernel)
    pooled, _ = prepare(engine, kernel, keys, values, np.ones(3), 0.5).pool(queries, tol=1e-10)
    np.testing.assert_array_equal(pooled[:, 0] == [4, 1], kernel == "gaussian")
    assert np.isfinite(pooled).all()
    pooled, _ = prepare(engine, kernel, keys, values, np.ones(3), 1e-5).pool(queries, tol=1e-10)
    np.testing.assert_array_equal(pooled, [[4], [1]])


@every_engine
@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_values_of_any_scale(engine, scale):
    keys, values = embed(np.array([[0.0], [1.0], [2.0]]), engine), scale * np.array([[-1.0], [1.0], [0.5]])
    attention, _ = oracle.attention(keys, keys, 1.0)
    pooled, _ = prepare(engine, "gaussian", keys, values, np.ones(3), 1.0).pool(keys)
    np.testing.assert_allclose(pooled / scale, attention @ (values / scale), rtol=1e-14)


@every_engine
def test_values_with_a_large_offset_keep_their_digits(engine):
    rng = np.random.default_rng(0)
    keys, values = embed(rng.normal(size=(50, 1)), engine), rng.integers(0, 9, size=(50, 1)).astype(float)
    plain, _ = prepare(engine, "gaussian", keys, values, np.ones(50), 0.5).pool(keys)
    moved, _ = prepare(engine, "gaussian", keys, values + 2.0**40, np.ones(50), 0.5).pool(keys)
    np.testing.assert_allclose(moved - 2.0**40, plain, atol=2.0**-12)


@every_engine
def test_a_kernel_of_ones_own(engine):
    """From its log alone: unbounded, cut off, and zero where its log says so."""
    rng = np.random.default_rng(0)
    keys, queries = rng.normal(size=(40, 2)), np.r_[rng.normal(size=(9, 2)), [[50.0, 50.0]]]
    values = rng.normal(size=(40, 1))

    def cut(t):
        return np.where(t < 2, -t, -np.inf)

    for kernel, log in [
        (Kernel(lambda t: -2 * np.log1p(t)), lambda t: -2 * np.log1p(t)),
        (Kernel(lambda t: -t, support=2.0), lambda t: np.where(t <= 4, -t, -np.inf)),
        (Kernel(cut), cut),
        (Kernel(cut, weight=lambda t: np.where(t < 2, np.exp(-t), 0.0)), cut),
    ]:
        if not ENGINES[engine].supports(kernel, 2):
            continue
        for leave_one_out in (False, True):
            rows = keys if leave_one_out else queries
            attention, empty = oracle.attention(rows, keys, 0.7, log, leave_one_out=leave_one_out)
            pooled, log_mass = prepare(engine, kernel, keys, values, np.ones(40), 0.7).pool(
                None if leave_one_out else queries
            )
            np.testing.assert_allclose(pooled, attention @ values, atol=1e-12)
            np.testing.assert_array_equal(np.isneginf(log_mass), empty)


@every_engine_with(["gaussian", "exponential", "boxcar"])
def test_temporaries_are_bounded(engine, kernel):
    rng = np.random.default_rng(0)
    d = features(engine, kernel, 1)
    keys, queries = rng.normal(size=(200_000, d)), rng.normal(size=(300, d)) * 20
    pooler = prepare(engine, kernel, keys, rng.normal(size=(200_000, 1)), np.ones(200_000), 0.01)
    tracemalloc.start()
    pooler.pool(queries, tol=1e-10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**20


def test_a_pooler_prepares_once(monkeypatch):
    rng = np.random.default_rng(0)
    keys = rng.normal(size=(50, 2))
    pooler = prepare("dense", "gaussian", keys, keys, np.ones(50), 1.0)
    monkeypatch.setattr(_dense, "Distances", None)
    monkeypatch.setattr(np, "median", None)
    assert pooler.pool(keys[:1])[0].shape == (1, 2)
    assert pooler.attention(keys[:1])[0].shape == (1, 50)
