"""How pooled values change with the bandwidth: their derivatives by log h_f, in leave-one-out.

With attention a_i, and u_if the distance along feature f in bandwidths, d log K(t_i) / d log h_f = g(t_i) u_if² where
g = -2 d log K / dt. The pooled value is a mean over a, so its derivative is a covariance under the attention,

    d pooled_k / d log h_f = sum_i a_i (g(t_i) u_if² - mean) (v_ik - pooled_k).
"""

import numpy as np

from .._threads import run_blocks

BLOCK_PAIRS = 2**18
"""Pairs done together."""


def careful_slopes(pooler, rows, n_jobs=None):
    """Pooled values (m, n_values), log_mass (m,) and slopes (m, n_features, n_values) of a dense pooler.

    From the attention itself, so they are right wherever it is; several times slower than pooling.
    """
    engine, distances = pooler.engine, pooler.distances
    values = engine.columns[:, :-1] / engine.columns[:, -1:]
    pooled, log_mass = np.empty((len(rows), values.shape[1])), np.empty(len(rows))
    slopes = np.zeros((len(rows), engine.rows.shape[1], values.shape[1]))

    def slope_rows(part):
        block = pooler.block(None, rows[part])
        attention, log_mass[part] = pooler.collect_products(block)
        attention /= attention.sum(axis=1, keepdims=True)
        means = attention @ values
        growth = _growth(pooler, block, (attention > 0) & ~np.isneginf(log_mass[part])[:, None])
        for f, change in zip(distances.features, growth, strict=True):
            change -= np.einsum("bn,bn->b", attention, change)[:, None]
            change *= attention
            slopes[part, f] = np.ldexp(change @ values - means * change.sum(axis=1, keepdims=True), engine.exponents)
        pooled[part] = np.ldexp(means + engine.lowest, engine.exponents)

    run_blocks(slope_rows, len(rows), max(1, BLOCK_PAIRS // len(values)), n_jobs)
    return pooled, log_mass, slopes


def _growth(pooler, block, where):
    """Stream g(t) u_f² (b, n), one feature after the other; zero but `where`."""
    distances = pooler.distances
    t = distances.differences(block.raw, slice(0, len(distances.raw)))
    with np.errstate(all="ignore"):
        factor = np.where(where & (t > 0), -2 * pooler.kernel.log_slope(t), 0.0)
    for query, key, mantissa in zip(block.raw.T, distances.raw.T, distances.mantissa, strict=True):
        yield factor * np.square(np.subtract.outer(query, key) / mantissa)
