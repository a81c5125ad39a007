"""The stable pass of the dense engine, for the few queries that a fast pass has not resolved.

It takes distances from differences, and looks only into those blocks of keys that hold a key near enough to matter.
Kernels without an edge get their exact softmax, with exponents log K(t_i) - log K(t_0) relative to the nearest key.
Where no key has weight, the nearest keys have it all.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import roots_sh_legendre

from ..._kernels import EDGE

TINY_MASS = 1e-100
"""Mass, in units of the largest weight at distance 0, below which an unbounded kernel takes its exact softmax."""

LOWEST_EXPONENT = -700.0
"""exp is many times slower where its result is denormal or zero."""

T_ROUNDING = 1e-9
"""Relative error of 1 + t by a matrix product, for queries within SAFE_NORM, with a wide margin."""

T_EPS = 1e-14
"""Relative error of t as a sum of squared differences: some units in the last place for each feature."""

SLOPE_RULE = roots_sh_legendre(8)
"""Nodes and weights on [0, 1]: exact to rounding for t^(-1/2), over a factor of 1.5 in t."""

MOST_ANCHORS = 4
"""The most keys that distances are taken relative to, each nearer than the one before. Relative to a key far from the
nearest ones, these may all be equally near; two or three anchors were enough in all experiments."""

NEGLIGIBLE_EXPONENT = 60.0
"""An exact softmax leaves out weights below exp(-60), 1e-26, of the largest."""


class Nearest(NamedTuple):
    """The least t of each query in each block of keys, and the position of its key, (n_blocks, n_queries)."""

    blocks: list
    t: np.ndarray
    key: np.ndarray

    @classmethod
    def empty(cls, pairs):
        shape = len(pairs.blocks), len(pairs)
        return cls(pairs.blocks, np.empty(shape), np.empty(shape, dtype=np.intp))

    @classmethod
    def find(cls, pairs, by_product):
        """The nearest keys of all queries."""
        nearest = cls.empty(pairs)
        for j, (block, t) in enumerate(pairs.stream_t(by_product)):
            nearest.note(j, pairs.hide_self(t, block))
        return nearest

    def note(self, j, t):
        """Note the least t of block j, which is returned, and its key."""
        column = t.argmin(axis=1)
        np.add(column, self.blocks[j].start, out=self.key[j])
        self.t[j] = t[np.arange(len(t)), column]
        return self.t[j]

    def take(self, rows):
        """The same for some queries."""
        return Nearest(self.blocks, self.t[:, rows], self.key[:, rows])

    def first(self):
        """The position of the nearest key of each query, (n_queries,)."""
        return np.take_along_axis(self.key, self.t.argmin(axis=0)[None], axis=0)[0]


def raise_exponents(exponents):
    """Bring exponents (b, n) up to LOWEST_EXPONENT, in place."""
    # numpy's maximum is faster against a row of numbers than against a scalar
    return np.maximum(exponents, np.full(exponents.shape[1], LOWEST_EXPONENT), out=exponents)


def t_slack(t):
    """A bound on the error of t by a matrix product."""
    return T_ROUNDING * (1 + t)


@np.errstate(all="ignore")
def is_resolved(kernel, t):
    """Whether keys at t (b,) are so near that the rounding of t does not matter to their weights."""
    return kernel.log(t * (1 - T_EPS)) - kernel.log(t * (1 + T_EPS)) < 1e-6


def collect_stable(pairs, nearest, reduce):
    """What `reduce` makes of the weights of some pairs, log_mass (b,), and t of the nearest keys where that is -inf.

    `nearest` are the nearest keys of each query in each block of keys, up to `t_slack`.
    """
    if pairs.kernel.compact:
        stream, shift = _window_weights(pairs, nearest), 0.0
    else:
        resolved = np.all(is_resolved(pairs.kernel, nearest.t.min(axis=0)))
        anchor = nearest.first() if resolved else _nearest_keys(pairs, nearest)
        shift = pairs.kernel.log(pairs.to_key(anchor))
        stream = _softmax_weights(pairs, nearest, anchor)
    result, mass = reduce(stream, len(pairs))
    nearest_t, empty = np.zeros(len(pairs)), np.flatnonzero(mass == 0)
    if len(empty) and pairs.keys.has_nearest:
        pairs, nearest = pairs.take(empty), nearest.take(empty)
        nearest_t[empty] = pairs.to_key(nearest.first())
        result[empty], _ = reduce(_tie_weights(pairs, nearest, nearest_t[empty]), len(empty))
    return result, np.log(mass) + shift, nearest_t


def _stream_differences(pairs, nearest, is_near):
    """Stream (rows, block of keys, t) for the pairs of a query and a block that are marked in (n_blocks, n_queries)."""
    for j in np.flatnonzero(is_near.any(axis=1)):
        rows = np.flatnonzero(is_near[j])
        yield rows, nearest.blocks[j], pairs.differences(nearest.blocks[j], rows)


def _window_weights(pairs, nearest):
    """Stream the weights of a compact kernel."""
    edge = pairs.keys.edge
    for rows, block, t in _stream_differences(pairs, nearest, nearest.t <= edge + t_slack(edge)):
        yield rows, block, pairs.retain(pairs.kernel(t), block, rows)


def _tie_weights(pairs, nearest, nearest_t):
    """Stream weight 1 for the nearest keys of each query."""
    least = nearest.t.min(axis=0)
    for rows, block, t in _stream_differences(pairs, nearest, nearest.t <= least + t_slack(least)):
        ties = (t <= nearest_t[rows, None] * (1 + EDGE)).astype(float)
        yield rows, block, pairs.retain(ties, block, rows)


def _dominant_pairs(pairs, nearest):
    """Stream (rows, block of keys, i, j): key j of the block may matter to query rows[i]."""
    log = pairs.kernel.log
    shift = log(nearest.t.min(axis=0))
    lowest = shift - NEGLIGIBLE_EXPONENT + np.log(pairs.keys.weights.min())  # the nearest key may be a light one
    lowest -= 1e-14 * np.abs(shift)  # the logarithms err by some 1e-15 of themselves
    for rows, block, t in _stream_differences(pairs, nearest, log(nearest.t) > lowest):
        pairs.hide_self(t, block, rows)
        yield rows, block, *np.nonzero(log(t) > lowest[rows, None])


def _nearest_keys(pairs, nearest):
    """The nearest key of each query, (b,), also where distances agree in nearly all their digits."""
    anchor, rows = nearest.first(), np.arange(len(pairs))
    for _ in range(MOST_ANCHORS):
        nearer = _nearer_keys(pairs.take(rows), nearest.take(rows), anchor[rows])
        moved = nearer != anchor[rows]
        rows = rows[moved]
        if len(rows) == 0:
            break
        anchor[rows] = nearer[moved]
    return anchor


def _nearer_keys(pairs, nearest, anchor):
    """The nearest key of each query, (b,), by distances relative to that of `anchor` (b,)."""
    found, least = anchor.copy(), np.zeros(len(pairs))
    for rows, block, i, j in _dominant_pairs(pairs, nearest):
        row, key = rows[i], block.start + j
        relative = pairs.relative(anchor[row], key, row)
        np.minimum.at(least, row, relative)
        closest = relative == least[row]
        found[row[closest]] = key[closest]
    return found


def _softmax_weights(pairs, nearest, anchor):
    """Stream weights relative to that of the nearest key, `anchor` (b,)."""
    t0 = pairs.to_key(anchor)
    for rows, block, i, j in _dominant_pairs(pairs, nearest):
        row = rows[i]
        relative = pairs.relative(anchor[row], block.start + j, row)
        weights = np.zeros((len(rows), block.stop - block.start))
        # where distances agree to rounding, another key may be nearer than the one taken for the nearest
        weights[i, j] = np.exp(_log_change(pairs.kernel, t0[row], np.maximum(relative, -t0[row])))
        yield rows, block, pairs.retain(weights, block, rows)


def _log_change(kernel, start, change):
    """log K(start + change) - log K(start); as an integral of the slope where the difference would cancel."""
    log, slope = kernel.log, kernel.log_slope
    result = log(start + change) - log(start)
    if slope is not None:
        close = change < start / 2
        start, change = start[close], change[close]
        result[close] = change * sum(w * slope(start + s * change) for s, w in zip(*SLOPE_RULE, strict=True))
    return result
