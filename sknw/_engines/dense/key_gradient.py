"""The gradient of a loss by the keys, in leave-one-out, where each row of the problem is a query and a key.

With attention a_i, pooled values p, and cotangents c of these, the derivative of the loss by one squared distance is

    dL / dt_qi = a_qi d log K / dt (t_qi) sum_k c_qk (v_ik - p_qk),

and since t_qi = |q - x_i|² in bandwidths, a row has the gradient

    dL / dq = 2 sum_i dL / dt_qi (q - x_i) as a query,    dL / dx_i = -2 sum_q dL / dt_qi (q - x_i) as a key

(Weinberger & Tesauro 2007, "Metric learning for kernel regression", section 3, for the Gaussian kernel). Each of these
is one matrix product per block of queries. They err by what `gradient` says of derivatives by log h; queries that are
not resolved there take all of this from the attention itself.
"""

import numpy as np

from ..summation import Sums
from .gradient import (
    COVARIANCE_PAIRS,
    can_sum,
    log_slopes,
    normalised_attention,
    pulled_slopes,
    stream_differences,
)
from .pairs import slices

KEPT_PAIRS, FEWEST_QUERIES, MOST_QUERIES = 2**18, 16, 128
"""Pairs of which slopes are kept, so that they stay in the cache; and queries, at least and at most."""


@np.errstate(all="ignore")
def key_gradient(pairs, tol, cotangents):
    """The gradient by queries (b, n_used), and by all keys (n_keys, n_used), in bandwidths.

    `cotangents` are as in `Summation.gradient`.
    """
    n_keys, d = len(pairs.keys.weights), pairs.raw.shape[1]
    gradients = np.zeros((len(pairs), d)), np.zeros((d, n_keys))
    if can_sum(pairs.kernel):
        for rows in slices(len(pairs), min(max(FEWEST_QUERIES, KEPT_PAIRS // n_keys), MOST_QUERIES)):
            _add_by_products(pairs, rows, tol, cotangents, gradients)
    else:
        _add_by_attention(pairs, np.arange(len(pairs)), cotangents, gradients)
    return gradients[0], gradients[1].T


def _add_by_products(pairs, rows, tol, cotangents, gradients):
    """Add the gradients of a slice of the queries."""
    slopes, shares, lift, matters, unresolved = pulled_slopes(pairs, rows, tol, cotangents)
    by_queries, by_keys = gradients
    keys, d, shares = pairs.keys.augmented, pairs.raw.shape[1], 2 * shares
    queries = np.vstack([pairs.centred[matters].T, np.ones(len(shares))])
    sums = (keys @ slopes.T) * shares  # of x, |x|², and 1
    by_queries[matters] = np.ldexp(queries[:d] * sums[-1] - sums[:d], -lift).T
    sums = (queries * shares) @ slopes
    by_keys += np.ldexp(keys[:d] * sums[-1] - sums[:d], -lift)
    if len(unresolved):
        _add_by_attention(pairs, unresolved, cotangents, gradients)


def _add_by_attention(pairs, rows, cotangents, gradients):
    """Add the gradients of some queries (b,), from the attention and differences."""
    by_queries, by_keys = gradients
    columns = np.asarray(pairs.keys.columns)
    values = columns[:, :-1] / columns[:, -1:]
    for block in slices(len(rows), max(1, COVARIANCE_PAIRS // len(values))):
        positions = rows[block]
        queries = pairs.take(positions)
        attention, log_mass, nearest_t = normalised_attention(queries)
        means = attention @ values
        sums = Sums(np.column_stack([means, np.ones(len(means))]), log_mass, nearest_t)
        found = cotangents(sums, positions)
        slopes = log_slopes(queries, attention, log_mass) * attention
        slopes *= found @ values.T - np.einsum("qv,qv->q", found, means)[:, None]
        for f, differences in enumerate(stream_differences(queries)):
            differences *= 2 * slopes
            by_queries[positions, f] = differences.sum(axis=1)
            by_keys[f] -= differences.sum(axis=0)
