"""Sums over windows of sorted keys, pair by pair: for the queries that a short cut cannot answer.

In leave-one-out, `own` is the position (b,) of each query's own key, -1 without one, and what of that key's columns
goes (b, n_columns); else None.
"""

import numpy as np

from .._kernels import EDGE

LONGEST = 256
"""Keys in a window, from which on the engine of last resort is cheaper."""

BLOCK_PAIRS = 2**16
"""Pairs of a query and a key done together."""


def take_own(own, rows):
    """`own` for some rows."""
    return None if own is None else (own[0][rows], own[1][rows])


class Windows:
    """Distinct ascending keys (n,) with columns (n, n_columns), the last of which is the weight."""

    def __init__(self, keys, columns):
        self.keys, self.columns = keys, columns

    def nearest(self, q, own):
        """The position of the nearest key of each query; of the nearest other key, if all of the own one goes."""
        right = np.searchsorted(self.keys, q)
        left = right - 1
        if own is not None:
            position, gone = own
            none_left = (position >= 0) & (self.columns[position, -1] <= gone[:, -1])
            left = np.where(none_left, position - 1, left)
            right = np.where(none_left, position + 1, right)
        last = len(self.keys) - 1
        to_left = np.where(left >= 0, q - self.keys[np.maximum(left, 0)], np.inf)
        to_right = np.where(right <= last, self.keys[np.minimum(right, last)] - q, np.inf)
        return np.where(to_left <= to_right, left, right)

    def within(self, q, reach):
        """Where the keys at distances up to `reach` (b,), or hardly more, start and stop."""
        reach = reach + 8 * np.finfo(float).eps * (np.abs(q) + reach)
        return np.searchsorted(self.keys, q - reach), np.searchsorted(self.keys, q + reach, side="right")

    def sums(self, start, stop, weigh, own):
        """Sums (b, n_columns) over the keys start ... stop of each query, with weights weigh(query, key) of pairs.

        NaN for windows that are too long.
        """
        counts = stop - start
        sums = np.zeros((len(counts), self.columns.shape[1]))
        sums[counts > LONGEST] = np.nan
        rows = np.flatnonzero((counts > 0) & (counts <= LONGEST))
        pairs = np.cumsum(counts[rows])
        for part in np.split(rows, np.searchsorted(pairs, np.arange(BLOCK_PAIRS, pairs[-1:].sum(), BLOCK_PAIRS))):
            if len(part):
                sums[part] = self._part_sums(part, start[part], counts[part], weigh, own)
        return sums

    def _part_sums(self, rows, start, counts, weigh, own):
        offsets = np.cumsum(counts) - counts
        query = np.repeat(rows, counts)
        key = np.arange(len(query)) + np.repeat(start - offsets, counts)
        weights = weigh(query, key)
        products = weights[:, None] * np.take(self.columns, key, axis=0)
        if own is not None:
            here = np.flatnonzero(own[0][query] == key)
            products[here] = weights[here, None] * (self.columns[key[here]] - own[1][query[here]])
        return np.add.reduceat(products, offsets, axis=0)

    def nearest_sums(self, q, own):
        """Sums over the nearest keys of each query, ties (t <= t_min (1 + 1e-12)) included."""
        least = np.square(self.keys[self.nearest(q, own)] - q) * (1 + EDGE)
        start, stop = self.within(q, np.sqrt(least))
        return self.sums(start, stop, lambda query, key: np.square(self.keys[key] - q[query]) <= least[query], own)
