"""Keys by cell, which is less than an exact order: one radix pass over 16-bit numbers of cells.

Moments of cells need no more. Queries that are answered by windows of sorted keys get those of the cells around them
in exact order, as long as they are few.
"""

from functools import cached_property

import numpy as np

from .order import DIGIT
from .points import Points, gather, times_power
from .windows import Windows

ORDERED_KEYS, CELL_KEYS = 2**16, 2**8
"""Keys whose moments are made together, at least, and for each cell: the fewer, the nearer they are in memory."""

MOST_NEAR = 1 / 4
"""The share of all keys near some queries from which on all keys are better put in order, once."""


class Buckets:
    """The cells 2^exponent wide of keys (n,) with their columns (n_columns, n); `make` says whether 16 bits suffice."""

    def __init__(self, keys, columns, exponent, first):
        self.keys, self.columns, self.exponent = keys, columns, exponent
        cell = np.floor(times_power(keys, -exponent))
        cell -= first
        self.numbers = cell.astype(np.uint16)
        counts = np.bincount(self.numbers)
        occupied = np.flatnonzero(counts)
        self.cells, self.n_before = occupied + first, np.append(0, np.cumsum(counts[occupied]))

    @classmethod
    def make(cls, keys, columns, exponent, low, high):
        """The buckets of keys from `low` to `high`; None if 16 bits do not suffice."""
        first, last = np.floor(times_power(np.array([low, high]), -exponent))
        return cls(keys, columns, exponent, first) if last - first < DIGIT else None

    @cached_property
    def order(self):
        """The order of all keys (n,) by cell; made for the first windows."""
        return np.argsort(self.numbers, kind="stable")

    def moments(self, n_terms, cells):
        """Moments (len(cells), n_terms, n_columns) of the keys in some of the cells, in ascending order."""
        wanted, step = self.cells[cells], max(ORDERED_KEYS, CELL_KEYS * len(self.cells))
        moments = np.zeros((len(cells), n_terms, self.columns.shape[0]))
        for start in range(0, len(self.keys), step):
            rows = np.argsort(self.numbers[start : start + step], kind="stable")
            rows += start
            points = Points.at_keys(np.take(self.keys, rows), gather(self.columns, rows), self.exponent)
            known = np.flatnonzero(np.isin(points.cells, wanted))
            moments[np.searchsorted(wanted, points.cells[known])] += points.moments(n_terms, known)
        return moments

    def distance(self, cell, besides):
        """How far the nearest key of queries in some cells (b,) is at most, in widths of cells; inf without one.

        Apart from their own keys, if `besides`, where they have one.
        """
        right = np.searchsorted(self.cells, cell)
        left, last = right - 1, len(self.cells) - 1
        if besides:
            at = np.minimum(right, last)
            right += (self.cells[at] == cell) & (self.n_before[at + 1] - self.n_before[at] == 1)
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
        counts = np.diff(self.n_before)[near]
        if counts.sum() > MOST_NEAR * len(self.keys):
            return None
        rows = np.concatenate(
            [self.order[a:b] for a, b in zip(self.n_before[near], self.n_before[near + 1], strict=True)]
        )
        return Windows(np.take(self.keys, rows), gather(self.columns, rows))
