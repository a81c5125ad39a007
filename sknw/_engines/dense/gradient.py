"""How pooled values change with the bandwidth: their derivatives by log h_f, in leave-one-out.

With attention a_i, and u_if the distance along feature f in bandwidths, d log K(t_i) / d log h_f = g(t_i) u_if² where
g = -2 d log K / dt. The pooled value is a mean over a, so its derivative is a covariance under the attention,

    d pooled_k / d log h_f = sum_i a_i (g(t_i) u_if² - mean) (v_ik - pooled_k) = (D_fk - pooled_k D_f,mass) / S_mass,

with moments D and S, sums over keys of g u_f² a and a times the engine's columns, up to a factor for each query. A
fast pass knows the moments of nearly all queries; the others get them from the attention itself.
"""

import numpy as np

from ..._threads import run_blocks
from .stable import TINY_MASS
from .products import is_weak, may_be_relative
from .slope_sums import block_rows, can_sum, can_sum_all_pairs, make_relative, sum_all_pairs, sum_block, to_moments

SLOPE_ERROR = 1e-8
"""What slopes may err by, as a fraction of the range of the values: far less than a search can tell."""

CAREFUL_PAIRS = 2**18
"""Pairs done together from the attention."""

LEAST_ATTENTION = 1e-280
"""Far above exp(-700), the floor of exponents. What is less matters to no slope: the real weight falls as u² grows."""


def dense_slopes(pooler, rows, n_jobs=None, tol=0.0):
    """Pooled values (m, n_values), log_mass (m,) and slopes (m, n_features, n_values) of a dense pooler."""
    results = empty_slopes(pooler.engine, len(rows))
    sums = sum_all_pairs(pooler, n_jobs) if can_sum_all_pairs(pooler, rows, tol) else None

    def slope_rows(part):
        block = pooler.block(None, rows[part])
        moments, log_mass = collect_slopes(pooler, block, tol, None if sums is None else sums[part])
        put_slopes(pooler, results, part, moments, log_mass)

    run_blocks(slope_rows, len(rows), block_rows(pooler, len(rows)), n_jobs)
    return results


def empty_slopes(engine, n_rows):
    """Pooled values and log_mass to be filled in, and slopes of zero."""
    n_values = engine.columns.shape[1] - 1
    return np.empty((n_rows, n_values)), np.empty(n_rows), np.zeros((n_rows, engine.rows.shape[1], n_values))


def n_moments(pooler):
    """The number of moments that `collect_slopes` gives for each query."""
    return (1 + pooler.distances.raw.shape[1]) * pooler.engine.columns.shape[1]


def put_slopes(pooler, results, rows, moments, log_mass):
    """Write what moments as `collect_slopes` gives them say of some rows into the results of `empty_slopes`."""
    pooled, log_masses, slopes = results
    moments = moments.reshape(len(moments), -1, pooler.engine.columns.shape[1])
    changes, sums = moments[:, :-1], moments[:, -1]
    means = sums[:, :-1] / sums[:, -1:]
    covariances = changes[:, :, :-1] - means[:, None] * changes[:, :, -1:]
    covariances /= sums[:, None, -1:]
    found = np.zeros((len(moments), *slopes.shape[1:]))
    found[:, pooler.distances.features] = np.ldexp(covariances, pooler.engine.exponents)
    pooled[rows], log_masses[rows], slopes[rows] = pooler.engine.mean(sums), log_mass, found


@np.errstate(all="ignore")
def collect_slopes(pooler, block, tol=0.0, sums=None):
    """Moments (b, (d + 1) n_columns) of a block of queries, D of every feature and then S, and log_mass (b,).

    Where log_mass is -inf, D is zero and S as in `DensePooler.collect_sums`. `sums` are those of the fast pass, if they
    have been done.
    """
    if not can_sum(pooler.kernel):
        return careful_moments(pooler, block)
    if sums is None and is_weak(pooler, block, tol):
        moments, log_mass, trusted = _relative_moments(pooler, block, tol)
    else:
        moments, log_mass, trusted = _plain_moments(
            pooler, block, sum_block(pooler, block) if sums is None else sums, tol
        )
        weak = np.flatnonzero(~(moments[:, -1] >= TINY_MASS))
        if len(weak) and may_be_relative(pooler, tol):
            moments[weak], log_mass[weak], trusted[weak] = _relative_moments(pooler, block.take(weak), tol)
    others = np.flatnonzero(~trusted)
    if len(others):
        moments[others], log_mass[others] = careful_moments(pooler, block.take(others))
    return moments, log_mass


def _plain_moments(pooler, block, sums, tol):
    """Moments and log_mass from the sums of a block, and which rows are to be trusted (b,)."""
    moments, trusted = to_moments(pooler, block, sums, tol)
    log_mass = np.log(moments[:, -1]) + np.log(pooler.engine.largest_weight)
    if pooler.kernel.compact:
        empty = np.flatnonzero(np.isneginf(log_mass))
        if len(empty):
            n_columns = pooler.engine.columns.shape[1]
            moments[empty, -n_columns:], log_mass[empty] = pooler.collect_sums(block.take(empty))
        trusted |= np.isneginf(log_mass)
    return moments, log_mass, trusted


def _relative_moments(pooler, block, tol):
    """The same from relative weights."""
    relative = make_relative(pooler, block, tol)
    moments, trusted = to_moments(pooler, block, sum_block(pooler, block, relative), tol, relative)
    log_mass = np.log(moments[:, -1]) + relative.shift + np.log(pooler.engine.largest_weight)
    return moments, log_mass, trusted


def careful_moments(pooler, block):
    """The same from the attention itself, so they are right wherever it is; several times slower than pooling.

    D are the covariances of g u² with the values, and with the mass zero, which does not cancel.
    """
    columns = np.asarray(pooler.engine.columns)
    values, (d, n_columns) = columns[:, :-1] / columns[:, -1:], (block.raw.shape[1], columns.shape[1])
    moments, log_mass = np.zeros((block.n_rows, d + 1, n_columns)), np.empty(block.n_rows)
    step = max(1, CAREFUL_PAIRS // len(values))
    for rows in (slice(start, start + step) for start in range(0, block.n_rows, step)):
        part = block.take(rows)
        attention, log_mass[rows] = pooler.collect_products(part, careful=True)
        total = attention.sum(axis=1, keepdims=True)
        np.divide(attention, total, out=attention, where=total > 0)
        moments[rows, d, :-1], moments[rows, d, -1] = attention @ values, total[:, 0] > 0
        growth = _growth(pooler, part, (attention > LEAST_ATTENTION) & ~np.isneginf(log_mass[rows])[:, None])
        for f, change in enumerate(growth):
            change -= np.einsum("bn,bn->b", attention, change)[:, None]
            change *= attention
            moments[rows, f, :-1] = change @ values - moments[rows, d, :-1] * change.sum(axis=1, keepdims=True)
    return moments.reshape(block.n_rows, -1), log_mass


def _growth(pooler, block, where):
    """Stream g(t) u_f² (b, n), one feature after the other; zero but `where`."""
    distances, kernel = pooler.distances, pooler.kernel
    t = distances.differences(block.raw, slice(0, len(distances.raw)))
    factor = np.where(where & (t > 0), -2 * kernel.log_slope(t), 0.0)
    for query, key, mantissa in zip(block.raw.T, distances.raw.T, distances.mantissa, strict=True):
        yield factor * np.square(np.subtract.outer(query, key) / mantissa)
