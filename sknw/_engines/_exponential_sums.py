"""Exponential sums over sorted keys, by a recursion from each side: exact, whatever the bandwidth and the distance.

The sum over the keys up to x_i, S_i = v_i + exp(-(x_i - x_{i-1}) / h) S_{i-1}, is a scan; so is the one over the keys
from x_i on. A query takes its two neighbours' sums, each with its decay. All terms are positive, so nothing cancels.

The scan goes by chunks of keys: one that spans few bandwidths is a cumulative sum of exp((x_k - x_0) / h) v_k, divided
by the exponential again; a wider one takes log2 steps (Hillis & Steele 1986), and so do the sums of whole chunks.
"""

import numpy as np

from ._exact import two_sum

CHUNK = 256
"""Keys in a chunk: a cumulative sum of as many terms loses 256 units in the last place at most."""

BLOCK_CHUNKS = 64
"""Chunks done together."""

WIDEST = 600.0
"""The span of a chunk, in bandwidths, up to which the exponentials do not overflow."""


class ExponentialSums:
    """Sums of the columns of `Windows`, weighted by exp(-distance / h)."""

    def __init__(self, windows, h):
        self.keys, self.columns, self.h = windows.keys, windows.columns, h
        self.up_to = _decaying_sums(self.keys, self.columns, h)
        self.from_on = _decaying_sums(-self.keys[::-1], self.columns[::-1], h)[::-1]

    def sums(self, q, own, tol):
        """Sums (b, n_columns) for sorted queries (b,), relative to the nearest key's weight, and its logarithm.

        `own` is as in `Windows`.
        """
        right = np.searchsorted(self.keys, q, side="right")
        left = right - 1
        if own is not None:
            position, gone = own
            has_own = position >= 0
            rest = np.where(has_own[:, None], np.take(self.columns, position, axis=0) - gone, 0.0)
            left, right = np.where(has_own, position - 1, left), np.where(has_own, position + 1, right)
        to_left, to_right, difference = self._distances(q, left, right)
        nearest = np.minimum(to_left, to_right)
        if own is not None:
            nearest[rest[:, -1] > 0] = 0.0
        # the farther side decays by the difference of the distances, which their own rounding would spoil
        left_decay = np.where(nearest == to_left, 0.0, np.where(nearest == 0, to_left, difference))
        right_decay = np.where(nearest == to_right, 0.0, np.where(nearest == 0, to_right, -difference))
        sums = np.exp(-left_decay)[:, None] * np.take(self.up_to, np.maximum(left, 0), axis=0)
        sums += np.exp(-right_decay)[:, None] * np.take(self.from_on, np.minimum(right, len(self.keys) - 1), axis=0)
        if own is not None:
            sums += rest
        return sums, -nearest

    def _distances(self, q, left, right):
        """Distances (b,) to the neighbours in bandwidths, inf without one, and the left one minus the right one."""
        last = len(self.keys) - 1
        to_left, left_error = two_sum(q, -self.keys[np.maximum(left, 0)])
        to_right, right_error = two_sum(self.keys[np.minimum(right, last)], -q)
        difference = ((to_left - to_right) + (left_error - right_error)) / self.h
        no_left, no_right = left < 0, right > last
        difference[no_left], difference[no_right] = np.inf, -np.inf
        return np.where(no_left, np.inf, to_left / self.h), np.where(no_right, np.inf, to_right / self.h), difference


def _decaying_sums(x, columns, h):
    """sum_{k <= i} exp(-(x_i - x_k) / h) columns_k for ascending x (n,), (n, n_columns)."""
    n_chunks = -(-len(x) // CHUNK)
    # after the last key come copies of it without weight
    g = np.append(x, np.full(n_chunks * CHUNK - len(x), x[-1])).reshape(n_chunks, CHUNK)
    sums = np.zeros((n_chunks, CHUNK, columns.shape[1]))
    sums.reshape(-1, columns.shape[1])[: len(x)] = columns
    for begin in range(0, n_chunks, BLOCK_CHUNKS):
        block = slice(begin, begin + BLOCK_CHUNKS)
        narrow = g[block, -1] - g[block, 0] <= WIDEST * h
        for chunks, scan in ((narrow, _scaled_sums), (~narrow, _doubling_sums)):
            if chunks.any():
                sums[block][chunks] = scan(g[block][chunks], sums[block][chunks], h)
    before = _doubling_sums(g[None, :-1, -1], sums[None, :-1, -1], h)[0]
    sums[1:] += np.exp((g[:-1, -1:] - g[1:]) / h)[:, :, None] * before[:, None]
    return sums.reshape(-1, columns.shape[1])[: len(x)]


def _scaled_sums(x, columns, h):
    """The decaying sums within narrow chunks, x (k, c) and columns (k, c, n_columns)."""
    growth = np.exp((x - x[:, :1]) / h)[:, :, None]
    return np.cumsum(growth * columns, axis=1) / growth


def _doubling_sums(x, columns, h):
    """The decaying sums within chunks of any span, x (k, c) and columns (k, c, n_columns), in log2(c) steps."""
    sums, step = columns.copy(), 1
    while step < x.shape[1]:
        decay = np.exp((x[:, :-step] - x[:, step:]) / h)
        sums[:, step:] += decay[:, :, None] * sums[:, :-step]
        step *= 2
    return sums
