"""Widths that follow the distance to the k-th neighbour: the engines against the definition, and what never matters."""

import numpy as np
import oracle
import pytest
from engines import attention, constants, engines_and_kernels, make_pooler, pool
from exact import UNBOUNDED, exact_pool
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import HARD_CASES, SCATTER, WEIGHTS, assert_close, draw, spread

from sknw._canonical import canonical_ratio
from sknw._engines import ENGINES, neighbors
from sknw._engines.left_out import LeftOut
from sknw._engines.neighbors import Neighbors, unit_bandwidth
from sknw._kernels import KERNELS
from sknw._problem import Problem

pytestmark = pytest.mark.usefixtures("small_problems", "small_blocks")
SUPPORTED = [(engine, kernel) for engine, kernel in engines_and_kernels(KERNELS) if ENGINES[engine].takes_scales]
every_engine = pytest.mark.parametrize(("engine", "kernel"), SUPPORTED)
some_kernels = pytest.mark.parametrize(
    ("engine", "kernel"),
    [pair for pair in SUPPORTED if pair[1] in ("gaussian", "exponential", "cauchy", "epanechnikov", "boxcar")],
)
seeds = given(seed=st.integers(0, 2**32 - 1))


def ratio(kernel, bandwidth):
    """The canonical ratio in as many dimensions as there are finite bandwidths."""
    return canonical_ratio(KERNELS[kernel], max(1, np.count_nonzero(np.isfinite(bandwidth))))


def defined(problem, kernel, k, queries):
    """Attention weights and log_mass of the definition; for None, in leave-one-out."""
    asked = problem.keys if queries is None else queries, problem.keys, problem.bandwidth
    return oracle.neighbor_attention(
        *asked, ratio(kernel, problem.bandwidth), k, kernel, problem.weights, queries is None
    )


def make(engine, kernel, problem, k, tol=1e-12):
    return make_pooler(engine, *problem[:3], kernel, problem.bandwidth, tol, k)


def check_definition(engine, kernel, problem, k, error=2e-12):
    pooler, counted = make(engine, kernel, problem, k), problem.values[problem.weights > 0]
    for queries in (problem.queries, None):
        expected, expected_mass = defined(problem, kernel, k, queries)
        pooled, log_mass = pool(pooler, queries, tol=1e-12)
        assert_close(pooled, expected @ problem.values, counted, error)
        np.testing.assert_allclose(log_mass, expected_mass, rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(attention(pooler, queries)[0], expected, atol=error)


@every_engine
@settings(max_examples=5)
@seeds
def test_values_and_attention_are_those_of_the_definition(engine, kernel, seed):
    rng = np.random.default_rng(seed)
    problem = draw(rng, rng.integers(1, 6), fewest=2)
    check_definition(engine, kernel, problem, int(rng.integers(1, len(problem.keys) + 4)), 2e-11)


@every_engine
@pytest.mark.parametrize("weighting", sorted(WEIGHTS))
def test_normal_keys_are_right_to_rounding(engine, kernel, weighting):
    rng = np.random.default_rng(3)
    problem = draw(rng, 3)._replace(keys=rng.normal(size=(60, 3)), queries=2 * rng.normal(size=(20, 3)))
    problem = problem._replace(values=rng.normal(size=(60, 2)), weights=WEIGHTS[weighting](rng, 60))
    check_definition(engine, kernel, problem._replace(bandwidth=np.array([1.0, 2.0, 0.3])), 5, 1.5e-12)


# The distance to the k-th neighbour.


@pytest.mark.parametrize("groups", [1, 8])
@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(2, 300),
    d=st.sampled_from([1, 2, 5, 8, 20]),
    scatter=st.sampled_from(sorted(SCATTER)),
    weighting=st.sampled_from(sorted(WEIGHTS)),
)
def test_distances_are_right_to_rounding(groups, seed, n, d, scatter, weighting):
    """By a tree and by products, with ties, duplicates and offsets, whatever number of neighbours is asked for."""
    rng = np.random.default_rng(seed)
    keys, weights = SCATTER[scatter](rng, n, d), WEIGHTS[weighting](rng, n)
    bandwidth = spread(keys) * 2.0 ** rng.integers(-9, 9)
    queries = np.r_[keys[:5], rng.choice(keys, 9) + rng.normal(size=(9, d)), 1e7 * rng.normal(size=(2, d))]
    problem, ks = Problem(keys, keys[:, :1], weights), [1, 3, 2 * n]
    bandwidth = unit_bandwidth(problem, bandwidth)
    found = Neighbors(problem, KERNELS["gaussian"], bandwidth)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbors, "GROUPS", groups)
        for asked in (queries, None):
            points, left_out = (keys, LeftOut(problem, slice(0, n))) if asked is None else (asked, None)
            for k, scale in zip(ks, found.scales(points, left_out, ks), strict=True):
                expected = oracle.kth_t(points, keys, bandwidth, k, weights, asked is None)
                np.testing.assert_allclose(4 / scale, expected, rtol=1e-13)


def test_several_numbers_of_neighbours_take_one_search(monkeypatch):
    rng = np.random.default_rng(0)
    keys, values, ks = rng.normal(size=(200, 2)), rng.normal(size=(200, 1)), [2, 5, 40]
    pooler = make_pooler("dense", keys, values, None, "gaussian", 1.0, 1e-10, 2)
    expected = [pool(make_pooler("dense", keys, values, None, "gaussian", 1.0, 1e-10, k))[0] for k in ks]
    calls, search = [], Neighbors.scales
    monkeypatch.setattr(Neighbors, "scales", lambda self, *args: calls.append(args) or search(self, *args))
    for pooled, values in zip(pooler.sweep_neighbors(ks), expected, strict=True):
        np.testing.assert_array_equal(pooled.values, values)
    assert len(calls) == 1


# What never matters.


def answers(engine, kernel, problem, k):
    pooler = make(engine, kernel, problem, k)
    return [pool(pooler, queries, tol=1e-12) for queries in (problem.queries, None)]


def check_same(engine, kernel, problem, k, expected, error=2e-11):
    counted = problem.values[problem.weights > 0]
    for (pooled, log_mass), (values, mass) in zip(answers(engine, kernel, problem, k), expected, strict=True):
        assert_close(pooled, values, counted, error)
        np.testing.assert_allclose(log_mass, mass, rtol=1e-10, atol=1e-10)


def draw_moderate(seed, n=40):
    rng = np.random.default_rng(seed)
    d = rng.integers(1, 5)
    keys, queries = np.split(np.round(2**20 * rng.normal(size=(n + 9, d))) / 2**20, [n])
    problem = draw(rng, d)._replace(keys=keys, queries=queries, values=rng.normal(size=(n, 2)))
    weights = WEIGHTS[["none", "counts", "importances"][seed % 3]](rng, n)
    return problem._replace(weights=weights, bandwidth=rng.uniform(0.5, 2, size=d)), int(rng.integers(1, 20)), rng


@some_kernels
@settings(max_examples=2)
@seeds
def test_shift_and_scale_and_order_do_not_matter(engine, kernel, seed):
    problem, k, rng = draw_moderate(seed)
    expected, d = answers(engine, kernel, problem, k), problem.keys.shape[1]
    shift, scale = rng.integers(-1000, 1000, size=d), 2.0 ** rng.integers(-60, 61, size=d)
    keys, queries = ((points + shift) * scale for points in (problem.keys, problem.queries))
    moved = problem._replace(keys=keys, queries=queries, bandwidth=problem.bandwidth * scale)
    check_same(engine, kernel, moved, k, expected)
    order = rng.permutation(len(problem.keys))
    keys, values, weights = (field[order] for field in problem[:3])
    moved = [expected[0], [field[order] for field in expected[1]]]
    check_same(engine, kernel, problem._replace(keys=keys, values=values, weights=weights), k, moved)


@some_kernels
@settings(max_examples=2)
@seeds
def test_a_common_factor_of_the_bandwidth_does_not_matter(engine, kernel, seed):
    problem, k, _ = draw_moderate(seed)
    expected = answers(engine, kernel, problem, k)
    for factor in (0.3, 1e6, 1e-200, 1e200):
        check_same(engine, kernel, problem._replace(bandwidth=factor * problem.bandwidth), k, expected)


@some_kernels
@settings(max_examples=2)
@seeds
def test_a_weight_of_two_is_the_row_twice(engine, kernel, seed):
    problem, k, rng = draw_moderate(seed)
    counts = rng.integers(1, 4, size=len(problem.keys))
    by_queries, left_out = answers(engine, kernel, problem._replace(weights=counts.astype(float)), k)
    repeated = problem._replace(
        keys=problem.keys.repeat(counts, axis=0),
        values=problem.values.repeat(counts, axis=0),
        weights=np.ones(counts.sum()),
    )
    expected = [by_queries, [field.repeat(counts, axis=0) for field in left_out]]
    check_same(engine, kernel, repeated, k, expected)


@some_kernels
@settings(max_examples=2)
@seeds
def test_only_ratios_of_importances_matter(engine, kernel, seed):
    problem, k, rng = draw_moderate(seed)
    problem = problem._replace(weights=rng.random(len(problem.keys)) + 0.1)
    expected = answers(engine, kernel, problem, k)
    for _, log_mass in expected:
        log_mass += np.log(0.37)
    check_same(engine, kernel, problem._replace(weights=0.37 * problem.weights), k, expected)
    alike = answers(engine, kernel, problem._replace(weights=np.ones(len(problem.keys))), k)
    for _, log_mass in alike:
        log_mass += np.log(0.1)
    check_same(engine, kernel, problem._replace(weights=np.full(len(problem.keys), 0.1)), k, alike)


@some_kernels
def test_rows_blocks_and_threads_do_not_show(engine, kernel):
    problem, k, _ = draw_moderate(2, 150)
    pooler = make(engine, kernel, problem, k)
    whole = pool(pooler, tol=1e-12)
    np.testing.assert_array_equal(pool(pooler, n_jobs=3, tol=1e-12)[0], whole[0])
    for rows in (np.array([7, 3, 120]), slice(10, 140, 3)):
        assert_close(pool(pooler, None, rows, tol=1e-12)[0], whole[0][rows], problem.values, 2e-12)
        weights, _ = attention(pooler, None, rows)
        np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-14)


# Where keys and queries are special.


@every_engine
def test_far_queries_tend_to_the_mean(engine, kernel):
    """As t_i / s² tends to 1 / c² for every key, which is inside the support."""
    rng = np.random.default_rng(0)
    keys, values, weights = rng.normal(size=(30, 2)), rng.normal(size=(30, 1)), rng.random(30) + 0.5
    pooler = make_pooler(engine, keys, values, weights, kernel, 1.0, 1e-10, 4)
    assert KERNELS[kernel].inside(np.square(2 / ratio(kernel, np.ones(2))))
    far = 1e15 * rng.normal(size=(5, 2))
    for queries in (far, 1e200 * far, 1e292 * far):
        pooled, _ = pool(pooler, queries, tol=1e-10)
        np.testing.assert_allclose(pooled[:, 0], np.average(values[:, 0], weights=weights), rtol=1e-9)


@every_engine
def test_equal_keys_and_a_single_key(engine, kernel):
    values = np.arange(4.0)[:, None]
    for keys in (np.zeros((4, 2)), np.full((4, 2), 1e8)):
        for k in (1, 3, 9):
            pooler = make_pooler(engine, keys, values, None, kernel, 0.1, 1e-10, k)
            np.testing.assert_allclose(pool(pooler, keys[:1], tol=1e-10)[0], [[1.5]])
            np.testing.assert_allclose(pool(pooler, keys[:1] + 1, tol=1e-10)[0], [[1.5]])
            np.testing.assert_allclose(pool(pooler, tol=1e-10)[0], (6 - values) / 3)
    single = make_pooler(engine, np.ones((1, 2)), values[1:2], None, kernel, 0.1, 1e-10, 2)
    np.testing.assert_array_equal(pool(single, np.array([[1.0, 1.0], [5.0, 0.0], [1e300, 0.0]]))[0], np.ones((3, 1)))


@some_kernels
@pytest.mark.parametrize("k", [1, 5, 30])
def test_duplicates_take_the_nearest_key_apart(engine, kernel, k):
    """With more copies than neighbours t_(k) is 0, and the width is that of the least positive t."""
    rng = np.random.default_rng(1)
    keys, values = rng.integers(0, 4, size=(40, 2)).repeat(3, axis=0) * 0.1, rng.normal(size=(120, 2))
    problem = draw(rng, 2)._replace(keys=keys, values=values, weights=np.ones(120), queries=keys[::7] + 0.05)
    check_definition(engine, kernel, problem._replace(bandwidth=np.array([1.0, 0.7])), k)


@pytest.mark.parametrize("case", HARD_CASES)
@pytest.mark.parametrize(("engine", "kernel"), [pair for pair in SUPPORTED if pair[1] in UNBOUNDED])
def test_hard_cases_are_exact(engine, kernel, case):
    keys, queries, bandwidth = HARD_CASES[case]
    bandwidth, values = np.broadcast_to(bandwidth, keys.shape[1]), np.random.default_rng(5).normal(size=len(keys))
    pooled, log_mass = pool(make_pooler(engine, keys, values[:, None], None, kernel, bandwidth, 1e-13, 3), queries)
    widths = np.sqrt(oracle.kth_t(queries, keys, bandwidth, 3)) * ratio(kernel, bandwidth) / 2
    expected = [exact_pool(kernel, q, keys, values, s * bandwidth) for q, s in zip(queries, widths, strict=True)]
    assert_close(pooled[:, 0], expected, values, 1e-12)
    assert np.isfinite(log_mass).all()


@every_engine
def test_infinite_bandwidths_are_no_features(engine, kernel):
    problem, k, _ = draw_moderate(4)
    one, keys = problem._replace(bandwidth=np.r_[problem.bandwidth, np.inf]), problem.keys
    wider = np.c_[keys, np.random.default_rng(0).normal(size=len(keys))]
    one = one._replace(keys=wider, queries=np.c_[problem.queries, np.zeros(9)])
    check_same(engine, kernel, one, k, answers(engine, kernel, problem, k))


def test_engines_without_scales_are_refused_and_skipped():
    rng = np.random.default_rng(0)
    keys = rng.normal(size=(900, 1))
    with constants("blocks on demand"):
        assert make_pooler("auto", keys, keys).algorithm == "sorted"
        assert make_pooler("auto", keys, keys, n_neighbors=5).algorithm in ("blocks", "dense")
