"""Exponential sums over sorted keys, by a recursion from each side: exact, whatever the bandwidth and the distance.

The sum over the keys up to x_i, S_i = v_i + exp(-(x_i - x_{i-1}) / h) S_{i-1}, is a scan; so is the one over the keys
from x_i on. A query takes its two neighbours' sums, each with its decay. All terms are positive, so nothing cancels.

The scan goes by chunks of keys: one that spans few bandwidths is a cumulative sum of exp((x_k - x_0) / h) v_k, divided
by the exponential again; wider ones take log2 steps (Hillis & Steele 1986), and so do the sums of whole chunks.
"""

import numpy as np

from ..error_free import excess

CHUNK = 256
"""Keys in a chunk: a cumulative sum of as many terms loses 256 units in the last place at most."""

BLOCK_CHUNKS = 64
"""Chunks done together."""

WIDEST = 600.0
"""The span of a chunk, in bandwidths, up to which the exponentials do not overflow."""


class ExponentialSums:
    """Sums of the columns of `Windows`, weighted by exp(-distance / h)."""

    def __init__(self, windows, h):
        self.windows, self.keys, self.h = windows, windows.keys, h
        self.up_to = _decaying_sums(self.keys, windows.columns, h)
        self.from_on = _decaying_sums(-self.keys[::-1], windows.columns[:, ::-1], h)  # last key first

    def looks_up(self, n_queries):
        """Queries are needed in order."""
        return False

    def order(self, q):
        """An order of queries in which neighbours are near each other."""
        return self.windows.order(q)

    def sums(self, q, removed, tol):
        """Sums (n_columns, b) for ordered queries (b,), relative to the nearest key's weight, and its logarithm.

        nan for unresolved queries. `removed` is as in `Windows`.
        """
        right = self.windows.search(q, side="right")
        left = right - 1
        if removed is not None:
            own = removed[-1] > 0
            remaining = np.where(own, self.windows.remaining(np.maximum(left, 0), removed), 0.0)
            left -= own
        to_left, to_right, difference = self._distances(q, left, right)
        nearest = np.minimum(to_left, to_right)
        # the farther side decays by the difference of the distances, which their own rounding would spoil
        left_decay, right_decay = np.maximum(difference, 0.0), np.maximum(-difference, 0.0)
        if removed is not None:
            stays = remaining[-1] > 0
            nearest[stays], left_decay[stays], right_decay[stays] = 0.0, to_left[stays], to_right[stays]
        left, right = np.maximum(left, 0), np.maximum(len(self.keys) - 1 - right, 0)
        to_left, to_right = np.take(self.up_to, left, axis=1), np.take(self.from_on, right, axis=1)
        sums = np.exp(-left_decay) * to_left + np.exp(-right_decay) * to_right
        if removed is not None:
            sums += remaining
        return sums, -nearest

    def _distances(self, q, left, right):
        """Distances (b,) to the neighbours in bandwidths, inf without one, and the left one minus the right one."""
        last = len(self.keys) - 1
        left_key, right_key = self.keys[np.maximum(left, 0)], self.keys[np.minimum(right, last)]
        difference = excess(q, left_key, right_key) / self.h
        no_left, no_right = left < 0, right > last
        difference[no_left], difference[no_right] = np.inf, -np.inf
        to_left, to_right = (q - left_key) / self.h, (right_key - q) / self.h
        return np.where(no_left, np.inf, to_left), np.where(no_right, np.inf, to_right), difference


def _decaying_sums(x, columns, h):
    """sum_{k <= i} exp(-(x_i - x_k) / h) columns_k for ascending x (n,), (n_columns, n or some more)."""
    n_columns, n = columns.shape
    n_chunks = -(-n // CHUNK)
    # after the last key come copies of it without weight
    x = np.append(x, np.full(n_chunks * CHUNK - n, x[-1])).reshape(n_chunks, CHUNK)
    sums = np.zeros((n_columns, n_chunks * CHUNK))
    sums[:, :n] = columns
    sums = sums.reshape(n_columns, n_chunks, CHUNK)
    blocks = [slice(begin, min(begin + BLOCK_CHUNKS, n_chunks)) for begin in range(0, n_chunks, BLOCK_CHUNKS)]
    for block in blocks:
        scan = _scaled_sums if (x[block, -1] - x[block, 0]).max() <= WIDEST * h else _doubling_sums
        sums[:, block] = scan(x[block], sums[:, block], h)
    ends = np.append(x[0, 0], x[:-1, -1])
    before = np.zeros((n_columns, n_chunks))
    before[:, 1:] = _doubling_sums(ends[1:], sums[:, :-1, -1], h)
    for block in blocks:
        sums[:, block] += np.exp((ends[block, None] - x[block]) / h) * before[:, block, None]
    return sums.reshape(n_columns, -1)


def _scaled_sums(x, columns, h):
    """The decaying sums within narrow chunks, x (..., c) and columns (n_columns, ..., c)."""
    growth = np.exp((x - x[..., :1]) / h)
    return np.cumsum(growth * columns, axis=-1) / growth


def _doubling_sums(x, columns, h):
    """The decaying sums within chunks of any span, x (..., c) and columns (n_columns, ..., c), in log2(c) steps."""
    sums, step = columns.copy(), 1
    while step < x.shape[-1]:
        decay = np.exp((x[..., :-step] - x[..., step:]) / h)
        sums[..., step:] += decay * sums[..., :-step]
        step *= 2
    return sums
