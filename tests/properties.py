"""What holds for every engine and every kernel.

A property is a function of an engine and a kernel, both by name, and of the seed of a random problem. It raises an
AssertionError where it does not hold.
"""

import numpy as np
import oracle
from engines import (
    SMALL_BLOCKS,
    attention,
    constants,
    features,
    gradient,
    make_pooler,
    make_poolers,
    nearest_t,
    pool,
    sweep,
)
from samples import assert_close, assert_same_mass, assert_same_results, draw, has_key_at_edge

from sknw._engines import ENGINES
from sknw._kernels import KERNELS
from sknw._weights import retained_share

TOL = 1e-11
"""What results may be off by, in units of the range of the values, where engines are asked for 1e-12."""

TOLS = [0.0, 1e-12, 1e-8, 1e-4, 1e-2]
"""What engines are asked for where they are compared with the definition."""


def values_equal_the_definition(engine, kernel, seed):
    rng = np.random.default_rng(seed)
    for tol in TOLS:
        check_definition(engine, kernel, draw(rng, features(engine, kernel, rng.integers(1, 6))), tol)


def leave_one_out_equals_the_definition(engine, kernel, seed):
    rng = np.random.default_rng(seed)
    for tol in TOLS:
        problem = draw(rng, features(engine, kernel, rng.integers(1, 6)), fewest=2)
        check_definition(engine, kernel, problem._replace(queries=None), tol)


def check_definition(engine, kernel, problem, tol):
    """Pooled values, log_mass and attention are those of the definition."""
    keys, values, weights, bandwidth, queries = problem
    pooler = make_pooler(engine, keys, values, weights, kernel, bandwidth, tol)
    asked = keys if queries is None else queries, keys, bandwidth, kernel, weights, queries is None
    expected, empty = oracle.attention(*asked)
    pooled, log_mass = pool(pooler, queries, tol=tol)
    assert_close(pooled, expected @ values, values[weights > 0], tol + 1e-11)
    np.testing.assert_array_equal(np.isneginf(log_mass), empty)
    assert_same_mass(log_mass, oracle.log_mass(*asked), kernel, 2 * tol + 1e-11)
    rows, log_mass = attention(pooler, queries)
    np.testing.assert_array_equal(np.isneginf(log_mass), empty)
    np.testing.assert_allclose(rows, expected, atol=1e-11)


def rows_of_attention_sum_to_one(engine, kernel, seed):
    keys, values, weights, bandwidth, queries = draw_for(engine, kernel, seed)
    pooler = make_pooler(engine, keys, values, weights, kernel, bandwidth)
    for asked in (queries, 1e6 * queries, None):
        rows, _ = attention(pooler, asked)
        assert (rows >= 0).all()
        np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=1e-14)
        assert not rows[:, weights == 0].any()


def values_stay_within_their_range(engine, kernel, seed):
    keys, values, weights, bandwidth, queries = draw_for(engine, kernel, seed)
    pooler, counted = make_pooler(engine, keys, values, weights, kernel, bandwidth), values[weights > 0]
    rounding = 2e-12 * np.ptp(counted, axis=0)
    for asked in (queries, 1e6 * queries, None):
        pooled, _ = pool(pooler, asked, tol=1e-12)
        assert (pooled >= counted.min(axis=0) - rounding).all()
        assert (pooled <= counted.max(axis=0) + rounding).all()


def values_are_affine_in_y(engine, kernel, seed):
    problem, rng = draw_for(engine, kernel, seed), np.random.default_rng(seed)
    factor = 10.0 ** rng.integers(-9, 9, size=2) * rng.normal(size=2)
    constant = 10 * factor * rng.normal(size=2)
    expected = [(factor * pooled + constant, log_mass) for pooled, log_mass in answers(engine, kernel, problem)]
    check_answers(engine, kernel, problem._replace(values=factor * problem.values + constant), expected)


def a_shift_does_not_matter(engine, kernel, seed):
    """Features are multiples of 2^-20, and their shift is exact."""
    problem, rng = draw_for(engine, kernel, seed), np.random.default_rng(seed)
    keys, queries = (np.round(2**20 * points) / 2**20 for points in (problem.keys, problem.queries))
    problem, shift = problem._replace(keys=keys, queries=queries), rng.integers(-1000, 1000, size=keys.shape[1])
    moved = problem._replace(keys=keys + shift, queries=queries + shift)
    check_answers(engine, kernel, moved, answers(engine, kernel, problem))


def joint_scales_of_features_and_bandwidths_do_not_matter(engine, kernel, seed):
    """Scales are powers of two, which are exact."""
    problem, rng = draw_for(engine, kernel, seed), np.random.default_rng(seed)
    scale = 2.0 ** rng.integers(-60, 61, size=problem.keys.shape[1])
    keys, queries, bandwidth = (scale * array for array in (problem.keys, problem.queries, problem.bandwidth))
    scaled = problem._replace(keys=keys, queries=queries, bandwidth=bandwidth)
    check_answers(engine, kernel, scaled, answers(engine, kernel, problem))


def the_order_of_features_does_not_matter(engine, kernel, seed):
    problem = draw_for(engine, kernel, seed)
    keys, queries, bandwidth = (array[..., ::-1] for array in (problem.keys, problem.queries, problem.bandwidth))
    turned = problem._replace(keys=keys, queries=queries, bandwidth=bandwidth)
    check_answers(engine, kernel, turned, answers(engine, kernel, problem))


def the_order_of_rows_does_not_matter(engine, kernel, seed):
    problem = draw_for(engine, kernel, seed)
    order = np.random.default_rng(seed).permutation(len(problem.keys))
    keys, values, weights = (array[order] for array in (problem.keys, problem.values, problem.weights))
    by_queries, (left_out, log_mass) = answers(engine, kernel, problem)
    expected = by_queries, (left_out[order], log_mass[order])
    check_answers(engine, kernel, problem._replace(keys=keys, values=values, weights=weights), expected)


def a_weight_of_two_is_the_row_twice(engine, kernel, seed):
    problem = draw_for(engine, kernel, seed)
    counts = np.random.default_rng(seed).integers(1, 4, size=len(problem.keys))
    keys, values = problem.keys.repeat(counts, axis=0), problem.values.repeat(counts, axis=0)
    by_queries, left_out = answers(engine, kernel, problem._replace(weights=counts.astype(float)))
    expected = by_queries, [array.repeat(counts, axis=0) for array in left_out]
    check_answers(engine, kernel, problem._replace(keys=keys, values=values, weights=np.ones(len(keys))), expected)


def each_column_of_values_is_as_by_itself(engine, kernel, seed):
    problem = draw_for(engine, kernel, seed)
    together = answers(engine, kernel, problem)
    for k in range(problem.values.shape[1]):
        expected = [(pooled[:, [k]], log_mass) for pooled, log_mass in together]
        check_answers(engine, kernel, problem._replace(values=problem.values[:, [k]]), expected)


def wide_bandwidths_give_the_mean(engine, kernel, seed):
    keys, values, weights, _, queries = draw_for(engine, kernel, seed)
    left = weights - np.diag(weights * (1 - retained_share(weights)))
    mean, others = np.average(values, axis=0, weights=weights), left @ values / left.sum(axis=1, keepdims=True)
    for bandwidth, tol in ((np.inf, TOL), (1e9 * np.ptp(keys), 1e-7)):
        pooler = make_pooler(engine, keys, values, weights, kernel, bandwidth)
        assert_close(pool(pooler, queries, tol=1e-12)[0], mean, values, tol)
        assert_close(pool(pooler, tol=1e-12)[0], others, values, tol)


def narrow_bandwidths_give_the_nearest_key(engine, kernel, seed):
    rng = np.random.default_rng(seed)
    d = features(engine, kernel, rng.integers(1, 6))
    keys, queries, values = rng.normal(size=(30, d)), rng.normal(size=(9, d)), rng.normal(size=(30, 2))
    distances = np.linalg.norm(queries[:, None] - keys, axis=2)
    least, second = np.sort(distances, axis=1).T[:2]
    pooler = make_pooler(engine, keys, values, None, kernel, (second - least).min() / 1e3)
    assert_close(pool(pooler, queries, tol=1e-12)[0], values[distances.argmin(axis=1)], values, TOL)


def some_rows_are_a_part_of_all_rows(engine, kernel, seed):
    keys, values, weights, bandwidth, queries = draw_for(engine, kernel, seed)
    pooler, rng = make_pooler(engine, keys, values, weights, kernel, bandwidth), np.random.default_rng(seed)
    for asked in (queries, None):
        n_rows = len(keys if asked is None else queries)
        whole, every_mass = pool(pooler, asked, tol=1e-12)
        for rows in (rng.integers(0, n_rows, size=n_rows // 2), slice(1, None, 2), slice(0, 0)):
            part, log_mass = pool(pooler, asked, rows, tol=1e-12)
            assert_close(part, whole[rows], values[weights > 0], TOL)
            assert_same_mass(log_mass, every_mass[rows], kernel, TOL)


def blocks_and_threads_do_not_show(engine, kernel, seed):
    problem = draw_for(engine, kernel, seed)
    expected = answers(engine, kernel, problem)
    with constants(*SMALL_BLOCKS):
        alone, threads = (answers(engine, kernel, problem, n_jobs) for n_jobs in (1, 3))
    assert_answers(alone, expected, problem, kernel)
    for one, other in zip(alone, threads, strict=True):
        assert_same_results(one, other)


def empty_queries_know_their_nearest_keys(engine, kernel, seed):
    keys, values, weights, bandwidth, queries = draw_for(engine, kernel, seed)
    pooler = make_pooler(engine, keys, values, weights, kernel, bandwidth)
    for asked in (queries, 10 * queries, None):
        expected = oracle.nearest_t(keys if asked is None else asked, keys, bandwidth, weights, asked is None)
        empty = np.isneginf(pool(pooler, asked, tol=1e-10)[1])
        np.testing.assert_allclose(nearest_t(pooler, asked), np.where(empty, expected, 0), rtol=1e-11)


def a_sweep_is_each_bandwidth(engine, kernel, seed):
    keys, values, weights, bandwidth, _ = draw_for(engine, kernel, seed)
    poolers, octaves = make_poolers(engine, keys, values, weights), [-3.0, 0.0, 2.0, np.inf]
    for octave, (pooled, log_mass) in zip(octaves, sweep(poolers(kernel, bandwidth), octaves), strict=True):
        expected, expected_mass = pool(poolers(kernel, 2.0**octave * bandwidth))
        assert_close(pooled, expected, values[weights > 0], 1e-6)
        np.testing.assert_allclose(log_mass, expected_mass, rtol=1e-6, atol=1e-6)


def gradients_are_finite_differences(engine, kernel, seed):
    """Of rows that have some mass, and no key at the edge of a support, where they have kinks."""
    rng = np.random.default_rng(seed)
    d, n, step = features(engine, kernel, 3, 2), 40, 1e-3
    keys, values = rng.normal(size=(n, d)), rng.normal(size=(n, 2))
    weights = draw(rng, d, fewest=n).weights[:n]
    bandwidth = rng.uniform(0.8, 2.5, size=d) * (2.5 if KERNELS[kernel].compact else 1)
    poolers = make_poolers(engine, keys, values, weights)
    pooler = poolers(kernel, bandwidth)
    smooth = ~has_key_at_edge(keys, bandwidth, kernel, 5 * step) & (pool(pooler)[1] > np.log(weights.max() / 2))
    cotangents = rng.normal(size=(n, 2)) * smooth[:, None]
    for f in range(d):
        moved = [np.where(np.arange(d) == f, bandwidth * np.exp(k * step), bandwidth) for k in (-2, -1, 1, 2)]
        sums = [np.sum(cotangents * pool(poolers(kernel, h), tol=1e-14)[0], axis=1) for h in moved]
        expected = np.dot([1, -8, 8, -1], sums) / (12 * step)
        for rows in (np.flatnonzero(smooth), *np.flatnonzero(smooth)[:3, None]):
            found = gradient(pooler, cotangents[rows], rows, tol=1e-12)[2][f]
            np.testing.assert_allclose(found, expected[rows].sum(), atol=1e-7 * max(1, len(rows) / 10))


def gradients_add_up(engine, kernel, seed):
    """That of some rows is the sum of those of single rows, however blocks are cut, and with values as pooled."""
    keys, values, weights, bandwidth, _ = draw_for(engine, kernel, seed, 2)
    rng, scale = np.random.default_rng(seed), np.ptp(values, axis=0)
    rows, pooler = rng.integers(0, len(keys), size=12), make_pooler(engine, keys, values, weights, kernel, bandwidth)
    cotangents = rng.lognormal(sigma=2, size=(12, 2))
    single = [gradient(pooler, cotangents[[i]], rows[[i]], tol=1e-12)[2] for i in range(12)]
    expected, expected_mass = pool(pooler, None, rows, tol=1e-12)
    with constants(*SMALL_BLOCKS):
        pooler = make_pooler(engine, keys, values, weights, kernel, bandwidth)
        one, threads = (gradient(pooler, cotangents, rows, n_jobs, 1e-12) for n_jobs in (1, 3))
    assert_same_results(one, threads)
    assert_close(one[0], expected, values[weights > 0], TOL)
    assert_same_mass(one[1], expected_mass, kernel, TOL)
    np.testing.assert_allclose(one[2], np.sum(single, axis=0), rtol=1e-8, atol=1e-8 * np.sum(cotangents @ scale))


def draw_for(engine, kernel, seed, *n_features):
    """A random problem of a number of features that the engine can do."""
    rng = np.random.default_rng(seed)
    return draw(rng, features(engine, kernel, *n_features, rng.integers(1, 6)), fewest=5)


def answers(engine, kernel, problem, n_jobs=None):
    """Pooled values and log_mass, of the queries and then in leave-one-out."""
    keys, values, weights, bandwidth, queries = problem
    pooler = make_pooler(engine, keys, values, weights, kernel, bandwidth)
    return [pool(pooler, asked, n_jobs=n_jobs, tol=1e-12) for asked in (queries, None)]


def check_answers(engine, kernel, problem, expected):
    """The answers to a problem are the expected ones."""
    assert_answers(answers(engine, kernel, problem), expected, problem, kernel)


def assert_answers(found, expected, problem, kernel):
    for (pooled, log_mass), (expected_values, expected_mass) in zip(found, expected, strict=True):
        assert_close(pooled, expected_values, problem.values[problem.weights > 0], TOL)
        assert_same_mass(log_mass, expected_mass, kernel, TOL)


def check_like_dense(engine, kernel, problem, tol, pool_fast=pool):
    """Answers are within `tol` of those of the dense engine, but where rounding decides which keys are nearest."""
    keys, values, weights, bandwidth, queries = problem
    fast, exact = (make_pooler(name, keys, values, weights, kernel, bandwidth) for name in (engine, "dense"))
    counted = weights > 0
    for asked in (queries, None):
        (pooled, log_mass), (expected, expected_mass) = pool_fast(fast, asked, tol=tol), pool(exact, asked)
        assert_same_mass(log_mass, expected_mass, kernel, 2 * tol + 1e-11)
        unclear = oracle.rounding_decides(keys if asked is None else asked, keys[counted], bandwidth)
        known = ~(np.isneginf(expected_mass) & unclear)
        assert_close(pooled[known], expected[known], values[counted], tol + 2e-12)


def check_gradients(pooler, expected, error, tol=0.0):
    """Gradients are expected(cotangents, rows), where each derivative may err by `error` (n, d, n_values).

    On single rows, on some rows and on all rows, with random cotangents.
    """
    rng, (n, _, n_values) = np.random.default_rng(0), error.shape
    for rows in (*rng.integers(0, n, size=(4, 1)), np.flatnonzero(rng.random(n) < 0.5), np.arange(n)):
        cotangents = rng.normal(size=(len(rows), n_values)) * rng.lognormal(sigma=2, size=(len(rows), 1))
        found = gradient(pooler, cotangents, rows, tol=tol)[2]
        allowed = np.einsum("qv,qfv->f", np.abs(cotangents), error[rows])
        assert (np.abs(found - expected(cotangents, rows)) <= allowed).all()


PROPERTIES = [
    values_equal_the_definition,
    leave_one_out_equals_the_definition,
    rows_of_attention_sum_to_one,
    values_stay_within_their_range,
    values_are_affine_in_y,
    a_shift_does_not_matter,
    joint_scales_of_features_and_bandwidths_do_not_matter,
    the_order_of_features_does_not_matter,
    the_order_of_rows_does_not_matter,
    a_weight_of_two_is_the_row_twice,
    each_column_of_values_is_as_by_itself,
    wide_bandwidths_give_the_mean,
    narrow_bandwidths_give_the_nearest_key,
    some_rows_are_a_part_of_all_rows,
    blocks_and_threads_do_not_show,
    empty_queries_know_their_nearest_keys,
    a_sweep_is_each_bandwidth,
    gradients_are_finite_differences,
    gradients_add_up,
]


def properties_of(engine, kernel):
    """The properties that say something about an engine and a kernel, if the engine can do it at all."""
    facts, supports = KERNELS[kernel], ENGINES[engine].supports
    if not (supports(facts, 1) or supports(facts, 2)):
        return []
    meaningless = set()
    if facts.log_slope is None or not supports(facts, 2):  # a bandwidth of one feature is learned without gradients
        meaningless |= {gradients_are_finite_differences, gradients_add_up}
    if not _is_local(facts):
        meaningless.add(narrow_bandwidths_give_the_nearest_key)
    return [prop for prop in PROPERTIES if prop not in meaningless]


def _is_local(kernel):
    """Whether of two keys far away the nearer one gets all attention."""
    with np.errstate(all="ignore"):
        near, far = kernel.log(np.array([1e12, 4e12]))
    return kernel.compact or near - far > 100
