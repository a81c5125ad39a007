"""The careful pass of the dense engine: for the few rows that its fast pass may have got wrong.

It takes distances from differences, and looks only into those blocks of keys that hold a key near enough to matter.
Kernels without an edge get their exact softmax, with exponents log K(t_i) - log K(t_0) relative to the nearest key.
Where no key has weight, the nearest keys have it all.
"""

import numpy as np
from scipy.special import roots_sh_legendre

from ..._kernels import EDGE
from ..blocks.nearest import Nearest

TINY_MASS = 1e-100
"""Mass, in units of the largest weight at distance 0, under which an unbounded kernel takes its exact softmax."""

LOWEST_EXPONENT = -700.0
"""exp is many times slower where its result is denormal or zero."""

ROUNDING = 1e-9
"""A relative width in 1 + t, far above what a matrix product errs by for queries within SAFE_NORM."""

T_ROUNDING = 1e-14
"""What t, as a sum of squared differences, errs by: some units in the last place for each feature."""

SLOPE_RULE = roots_sh_legendre(8)
"""Nodes and weights on [0, 1]: exact to rounding for t^(-1/2), over a factor of 1.5 in t."""

MOST_ANCHORS = 4
"""Keys that distances are taken relative to, one nearer than the other. Relative to a key far from the nearest ones,
these may all be equally near; two or three anchors were enough wherever it was tried."""

NEGLIGIBLE = 60.0
"""An exact softmax leaves out weights under exp(-60), 1e-26, of the largest."""


def raise_exponents(exponents):
    """Bring exponents (b, n) up to LOWEST_EXPONENT, in place."""
    # numpy's maximum is faster against a row of numbers than against a scalar
    return np.maximum(exponents, np.full(exponents.shape[1], LOWEST_EXPONENT), out=exponents)


def slack(t):
    """What t as a matrix product may be off by, generously."""
    return ROUNDING * (1 + t)


def collect_nearby(pooler, block, key_blocks, nearest, reduce):
    """What `reduce` makes of the weights of a block, and log_mass; where no key has weight, the nearest keys and -inf.

    `nearest` are the nearest keys of each row in each block of keys, from a fast pass or from `survey`.
    """
    if pooler.kernel.compact:
        stream, shift = _window_weights(pooler, block, key_blocks, nearest), 0.0
    else:
        sure = np.all(is_sure(pooler.kernel, nearest.t.min(axis=0)))
        anchor = nearest.first() if sure else _nearest_keys(pooler, block, key_blocks, nearest)
        shift = pooler.kernel.log(pooler.distances.to_key(block.raw, anchor))
        stream = _softmax_weights(pooler, block, key_blocks, nearest, anchor)
    result, mass = reduce(stream, block.n_rows)
    empty = np.flatnonzero(mass == 0)
    if len(empty) and pooler.has_nearest:
        ties = _tie_weights(pooler, block.take(empty), key_blocks, nearest.take(empty))
        result[empty], _ = reduce(ties, len(empty))
    return result, np.log(mass) + shift


def survey(pooler, block, key_blocks, by_product):
    """The nearest keys of every row."""
    nearest = Nearest.among(key_blocks, block.n_rows)
    for j, (keys, t) in enumerate(pooler.distance_blocks(block, key_blocks, by_product)):
        nearest.note(j, keys, pooler.hide_own(block, slice(None), keys, t))
    return nearest


@np.errstate(all="ignore")
def is_sure(kernel, t):
    """Whether keys at t (b,) are so near that the rounding of t does not matter to their weights."""
    return kernel.log(t * (1 - T_ROUNDING)) - kernel.log(t * (1 + T_ROUNDING)) < 1e-6


def _near_differences(pooler, block, key_blocks, near):
    """Stream (rows, block of keys, t) for the pairs marked in `near` (n_key_blocks, n_rows)."""
    for j in np.flatnonzero(near.any(axis=1)):
        rows = np.flatnonzero(near[j])
        yield rows, key_blocks[j], pooler.distances.differences(block.raw[rows], key_blocks[j])


def _window_weights(pooler, block, key_blocks, nearest):
    """Stream the weights of a compact kernel."""
    near = nearest.t <= pooler.edge + slack(pooler.edge)
    for rows, keys, t in _near_differences(pooler, block, key_blocks, near):
        yield rows, keys, pooler.leave_out(block, rows, keys, pooler.kernel(t))


def _tie_weights(pooler, block, key_blocks, nearest):
    """Stream weight 1 for the nearest keys of each row."""
    t0 = nearest.t.min(axis=0)
    near = nearest.t <= t0 + slack(t0)
    t0 = pooler.distances.to_key(block.raw, nearest.first())
    for rows, keys, t in _near_differences(pooler, block, key_blocks, near):
        ties = (t <= t0[rows, None] * (1 + EDGE)).astype(float)
        yield rows, keys, pooler.leave_out(block, rows, keys, ties)


def _dominant_pairs(pooler, block, key_blocks, nearest):
    """Stream (rows, block of keys, i, j): key j of the block may matter to query rows[i]."""
    shift = pooler.kernel.log(nearest.t.min(axis=0))
    lowest = shift - NEGLIGIBLE + np.log(pooler.engine.weights.min())  # the nearest key may be a light one
    lowest -= 1e-14 * np.abs(shift)  # the logarithms err by some 1e-15 of themselves
    near = pooler.kernel.log(nearest.t) > lowest
    for rows, keys, t in _near_differences(pooler, block, key_blocks, near):
        pooler.hide_own(block, rows, keys, t)
        yield rows, keys, *np.nonzero(pooler.kernel.log(t) > lowest[rows, None])


def _nearest_keys(pooler, block, key_blocks, nearest):
    """The nearest key of each row, (b,), also where distances agree in nearly all their digits."""
    anchor, rows = nearest.first(), np.arange(block.n_rows)
    for _ in range(MOST_ANCHORS):
        nearer = _nearer_keys(pooler, block.take(rows), key_blocks, nearest.take(rows), anchor[rows])
        moved = nearer != anchor[rows]
        rows = rows[moved]
        if len(rows) == 0:
            break
        anchor[rows] = nearer[moved]
    return anchor


def _nearer_keys(pooler, block, key_blocks, nearest, anchor):
    """The nearest key of each row, (b,), by distances relative to that of `anchor` (b,)."""
    found, least = anchor.copy(), np.zeros(block.n_rows)
    for rows, keys, i, j in _dominant_pairs(pooler, block, key_blocks, nearest):
        row, key = rows[i], keys.start + j
        relative = pooler.distances.relative(block.raw[row], anchor[row], key)
        np.minimum.at(least, row, relative)
        closest = relative == least[row]
        found[row[closest]] = key[closest]
    return found


def _softmax_weights(pooler, block, key_blocks, nearest, anchor):
    """Stream weights relative to that of the nearest key, `anchor` (b,)."""
    t0 = pooler.distances.to_key(block.raw, anchor)
    for rows, keys, i, j in _dominant_pairs(pooler, block, key_blocks, nearest):
        row = rows[i]
        relative = pooler.distances.relative(block.raw[row], anchor[row], keys.start + j)
        weights = np.zeros((len(rows), keys.stop - keys.start))
        weights[i, j] = np.exp(_log_change(pooler.kernel, t0[row], np.maximum(relative, 0.0)))
        yield rows, keys, pooler.leave_out(block, rows, keys, weights)


def _log_change(kernel, start, change):
    """log K(start + change) - log K(start); as an integral of the slope where the difference would cancel."""
    log, slope = kernel.log, kernel.log_slope
    result = log(start + change) - log(start)
    if slope is not None:
        close = change < start / 2
        start, change = start[close], change[close]
        result[close] = change * sum(w * slope(start + s * change) for s, w in zip(*SLOPE_RULE, strict=True))
    return result
