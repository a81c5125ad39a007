"""Keys by cell, which is less than an exact order: one radix pass over 16-bit numbers of cells.

Moments of cells need no more. Queries that are answered by windows of sorted keys get those of the cells around them
in exact order, as long as they are few.
"""

import numpy as np

from .order import DIGIT
from .points import Points, gather, times_power
from .windows import Windows

MOST_NEAR = 1 / 4
"""The share of all keys near some queries from which on all keys are better put in order, once."""


class Buckets:
    """Keys (n,) with their columns (n_columns, n) in the order of cells 2^exponent wide; `make` says whether it can."""

    def __init__(self, keys, columns, exponent, first):
        self.keys, self.columns, self.exponent = keys, columns, exponent
        cell = np.floor(times_power(keys, -exponent))
        cell -= first
        cell = cell.astype(np.uint16)
        counts = np.bincount(cell)
        occupied = np.flatnonzero(counts)
        self.order = np.argsort(cell, kind="stable")
        self.cells, self.bounds = occupied + first, np.append(0, np.cumsum(counts[occupied]))

    @classmethod
    def make(cls, keys, columns, exponent, low, high):
        """The buckets of keys from `low` to `high`; None if 16 bits do not suffice."""
        first, last = np.floor(times_power(np.array([low, high]), -exponent))
        return cls(keys, columns, exponent, first) if last - first < DIGIT else None

    def points(self):
        """The keys as `Points`."""
        keys = np.take(self.keys, self.order)
        return Points.at_keys(keys, gather(self.columns, self.order), self.exponent)

    def distance(self, cell, besides):
        """How far the nearest key of queries in some cells (b,) is at most, in widths of cells; inf without one.

        Apart from their own keys, if `besides`, where they have one.
        """
        right = np.searchsorted(self.cells, cell)
        left, last = right - 1, len(self.cells) - 1
        if besides:
            at = np.minimum(right, last)
            right += (self.cells[at] == cell) & (self.bounds[at + 1] - self.bounds[at] == 1)
        to_left = np.where(left >= 0, cell - self.cells[np.maximum(left, 0)], np.inf)
        to_right = np.where(right <= last, self.cells[np.minimum(right, last)] - cell, np.inf)
        return np.minimum(to_left, to_right) + 1

    def windows(self, first, last):
        """`Windows` of the keys in all cells from first[i] to last[i] (b,) for some i; None if these are too many."""
        start, stop = np.searchsorted(self.cells, first), np.searchsorted(self.cells, last, side="right")
        near = np.zeros(len(self.cells) + 1, dtype=np.intp)
        np.add.at(near, start, 1)
        np.add.at(near, stop, -1)
        near = np.flatnonzero(np.cumsum(near)[:-1])
        counts = np.diff(self.bounds)[near]
        if counts.sum() > MOST_NEAR * len(self.keys):
            return None
        rows = np.concatenate([self.order[a:b] for a, b in zip(self.bounds[near], self.bounds[near + 1], strict=True)])
        return Windows(np.take(self.keys, rows), gather(self.columns, rows))
