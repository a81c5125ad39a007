"""Sums over windows of sorted keys, pair by pair: for the queries that a short cut cannot answer.

In leave-one-out a query is a key itself, and `removed` (n_columns, b) is what its row takes out of the columns there;
zero for a row without weight. Otherwise `removed` is None.
"""

from copy import copy

import numpy as np

from ..._kernels import EDGE
from ..error_free import excess
from .order import argsort_coarsely, sort
from .points import gather, times_power
from .positions import Positions

LONGEST = 1024
"""Keys in a window from which on another engine is cheaper."""

FEW = 2**10
"""Queries up to which an exact order is cheaper than a coarse one."""

BLOCK_KEYS = 2**14
"""Keys whose columns are put in order together."""

WINDOW_PAIRS = 2**16
"""Pairs of a query and a key done together."""

LEAST_REMAINING = 0.01
"""The least fraction of the weight of a collapsed key that may remain without a row: less would lose digits."""


def take(removed, queries):
    """`removed` for some queries."""
    return None if removed is None else removed[:, queries]


def leave_out(sums, error, removed, tol):
    """Take what is removed off sums (n_columns, b) that are off by `error` (b,); the queries (k,) that are then off by
    too much.
    """
    if removed is not None:
        sums -= removed
        error += np.finfo(float).eps * removed[-1]
    return np.flatnonzero(~(sums[-1] * tol > 2 * error))


def _in_order(columns, order):
    """Columns (n_columns, n) in an order (n,), as rows of a new array."""
    ordered = np.empty((columns.shape[0], len(order)))
    for begin in range(0, len(order), BLOCK_KEYS):
        block = slice(begin, begin + BLOCK_KEYS)
        ordered[:, block] = gather(columns, order[block])
    return ordered


class Windows:
    """Ascending keys (n,), equal ones collapsed, and their columns (n_columns, n), of which the last is the weight.

    `order` (n,) is that of the keys, None if it is not known.
    """

    def __init__(self, keys, columns, order=None):
        self.sorted_rows, self.keys = sort(keys) if order is None else (order, np.take(keys, order))
        self.columns = _in_order(columns, self.sorted_rows)
        new = np.append(True, self.keys[1:] > self.keys[:-1])
        self.collapsed = None
        if not new.all():
            start = np.flatnonzero(new)
            self.keys, self.columns = self.keys[new], np.add.reduceat(self.columns, start, axis=1)
            self.collapsed = np.diff(np.append(start, len(new))) > 1
        self.positions = Positions(self.keys)

    def scaled(self, exponent):
        """The same with keys times 2^exponent."""
        windows = copy(self)
        windows.keys = times_power(self.keys, exponent)
        windows.positions = Positions(windows.keys)
        return windows

    def order(self, q):
        """An order of queries in which neighbours are near each other."""
        if len(q) < FEW:
            return np.argsort(q)
        low, high = np.quantile(self.keys[:: max(1, len(self.keys) // 1000)], [0.01, 0.99])
        return argsort_coarsely(q, low, (high - low) / 65535 or 1.0)

    def search(self, x, side="left"):
        """np.searchsorted for x that are near each other."""
        return self.positions.search(x, side)

    def remaining(self, position, removed):
        """What remains of the columns (n_columns, b) of keys without their rows; nan where digits would be lost."""
        there = np.take(self.columns, position, axis=1)
        remaining = there - removed
        if self.collapsed is not None:
            remaining[:, self.collapsed[position] & (remaining[-1] < LEAST_REMAINING * there[-1])] = np.nan
        return remaining

    def nearest(self, q, removed):
        """The position of the nearest key of each query; of the nearest other one, if nothing of its own remains."""
        right = self.search(q)
        left = right - 1
        last = len(self.keys) - 1
        if removed is not None:
            right += (removed[-1] > 0) & ~(self.remaining(np.minimum(right, last), removed)[-1] > 0)
        is_last, right = right > last, np.minimum(right, last)
        further = excess(q, self.keys[np.maximum(left, 0)], self.keys[right])
        return np.where((left >= 0) & (is_last | (further <= 0)), left, right)

    def within(self, q, reach):
        """Where the keys at distances up to `reach` (b,), or hardly more, start and stop."""
        reach = reach + 8 * np.finfo(float).eps * (np.abs(q) + reach)
        return self.search(q - reach), self.search(q + reach, side="right")

    def sums(self, q, start, stop, weigh, removed):
        """Sums (n_columns, b) over the keys start ... stop of each query; nan for windows that are too long.

        weigh(query, key) gives the weights of pairs.
        """
        counts = stop - start
        sums = np.zeros((len(self.columns), len(counts)))
        sums[:, counts > LONGEST] = np.nan
        queries = np.flatnonzero((counts > 0) & (counts <= LONGEST))
        pairs = np.cumsum(counts[queries])
        cuts = np.searchsorted(pairs, np.arange(WINDOW_PAIRS, pairs[-1:].sum(), WINDOW_PAIRS))
        for block in np.split(queries, cuts):
            if len(block):
                sums[:, block] = self._block_sums(q, block, start[block], counts[block], weigh, removed)
        return sums

    def _block_sums(self, q, queries, start, counts, weigh, removed):
        offsets = np.cumsum(counts) - counts
        query = np.repeat(queries, counts)
        key = np.arange(len(query)) + np.repeat(start - offsets, counts)
        weights = weigh(query, key)
        products = weights * np.take(self.columns, key, axis=1)
        if removed is not None:
            own = np.flatnonzero((self.keys[key] == q[query]) & (removed[-1, query] > 0))
            products[:, own] = weights[own] * self.remaining(key[own], removed[:, query[own]])
        return np.add.reduceat(products, offsets, axis=1)

    def nearest_sums(self, q, removed):
        """Sums over the nearest keys of each query, and ties (t <= t_min (1 + 1e-12)), and the squared distance."""
        least = np.square(self.keys[self.nearest(q, removed)] - q)
        most = least * (1 + EDGE)
        start, stop = self.within(q, np.sqrt(most))

        def is_tie(query, key):
            return np.square(self.keys[key] - q[query]) <= most[query]

        return self.sums(q, start, stop, is_tie, removed), least
