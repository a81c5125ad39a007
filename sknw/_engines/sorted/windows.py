"""Sums over windows of sorted keys, pair by pair: for the queries that a short cut cannot answer.

In leave-one-out a query is a key itself, and `gone` (n_columns, b) is what its row has of the columns there; zero for
a row without weight. Otherwise `gone` is None.

Slopes. A weight K grows with log h by E = g K, g = d log K / d log h. With the sums S_c = sum_i K_i C_ic of the columns
and E_c = sum_i E_i C_ic, a pooled value p = S_c / S of a column has the slope (E_c - p E) / S, S and E being the sums
of the weights. g may be taken relative to any number, the same for a query, which changes nothing but rounding. Sums
for slopes are (2 n_columns, b): the S_c, and below them the E_c. Here g is relative to its mean under the attention,
which makes the slope a covariance: where one key has all attention, nothing is left to cancel.

Let S be off by e, the S_c by e times the range of their values, and E and E_c by as much times `steepest`. Then p is
off by 2 e / S times the range. A slope is at most the mean of g, which is E / S, times the range, so that it is off by
(2 steepest + 3 E / S) e / S times the range, up to terms in e².
"""

from copy import copy

import numpy as np

from ..._kernels import EDGE
from ..error_free import excess
from .radix import argsort, argsort_coarsely
from ..dense.gradient import SLOPE_ERROR

LONGEST = 1024
"""Keys in a window, from which on another engine is cheaper."""

BLOCK_PAIRS = 2**16
"""Pairs of a query and a key done together."""

LEAST_REST = 0.01
"""What a row must leave of the weight of a collapsed key, as a fraction: less would lose digits."""


def take_gone(gone, rows):
    """`gone` for some rows."""
    return None if gone is None else gone[:, rows]


def growth(kernel, t):
    """d log K / d log h at t."""
    with np.errstate(all="ignore"):
        return np.where(t > 0, -2 * t * kernel.log_slope(t), 0.0)


def grown(kernel, t):
    """d K / d log h at t."""
    return kernel(t) * growth(kernel, t)


class Windows:
    """Ascending keys (n,), equal ones collapsed, and their columns (n_columns, n), of which the last is the weight."""

    def __init__(self, keys, columns):
        self.sorted_rows = order = argsort(keys)
        self.keys, self.columns = np.take(keys, order), columns.take(order, axis=1)
        new = np.append(True, self.keys[1:] > self.keys[:-1])
        self.collapsed = None
        if not new.all():
            start = np.flatnonzero(new)
            self.keys, self.columns = self.keys[new], np.add.reduceat(self.columns, start, axis=1)
            self.collapsed = np.diff(np.append(start, len(new))) > 1

    def scaled(self, exponent):
        """The same with keys times 2^exponent."""
        windows = copy(self)
        windows.keys = np.ldexp(self.keys, exponent)
        return windows

    def order(self, q):
        """An order of queries in which neighbours are near each other."""
        low, high = np.quantile(self.keys[:: max(1, len(self.keys) // 1000)], [0.01, 0.99])
        return argsort_coarsely(q, low, (high - low) / 65535 or 1.0)

    def search(self, x, side="left"):
        """np.searchsorted of some x that are near each other, among the keys between their least and their largest."""
        first, last = np.searchsorted(self.keys, [x.min(), x.max()], side=side)
        return first + np.searchsorted(self.keys[first:last], x, side=side)

    def rest(self, position, gone):
        """What rows leave of the columns (n_columns, b) of their keys; NaN where digits would be lost."""
        there = np.take(self.columns, position, axis=1)
        rest = there - gone
        if self.collapsed is not None:
            rest[:, self.collapsed[position] & (rest[-1] < LEAST_REST * there[-1])] = np.nan
        return rest

    def nearest(self, q, gone):
        """The position of the nearest key of each query; of the nearest other one, if nothing of the own is left."""
        right = self.search(q)
        left = right - 1
        last = len(self.keys) - 1
        if gone is not None:
            right += (gone[-1] > 0) & ~(self.rest(np.minimum(right, last), gone)[-1] > 0)
        further = excess(q, self.keys[np.maximum(left, 0)], self.keys[np.minimum(right, last)])
        return np.where((left >= 0) & ((right > last) | (further <= 0)), left, right)

    def within(self, q, reach):
        """Where the keys at distances up to `reach` (b,), or hardly more, start and stop."""
        reach = reach + 8 * np.finfo(float).eps * (np.abs(q) + reach)
        return self.search(q - reach), self.search(q + reach, side="right")

    def leave_out(self, sums, error, gone, tol, steepest):
        """Take what is `gone` off sums (n_columns, b), or twice as many rows for slopes, that are off by `error` (b,).

        Return the queries (k,) for which these are then not good enough.
        """
        n_columns = len(self.columns)
        if gone is not None:
            sums[:n_columns] -= gone
            error += np.finfo(float).eps * gone[-1]
        mass = sums[n_columns - 1]
        good = mass * tol > 2 * error
        if len(sums) > n_columns:
            good &= np.square(mass) * SLOPE_ERROR > (2 * steepest * mass + 3 * sums[-1]) * error
        return np.flatnonzero(~good)

    def sums(self, q, start, stop, weigh, gone, slopes=False):
        """Sums (n_columns, b) over the keys start ... stop of each query, and with `slopes` twice as many rows.

        weigh(query, key) gives the weights of pairs, and how much they grow, which only slopes take. NaN for windows
        that are too long; with slopes none is, since other engines would take as long.
        """
        counts = stop - start
        longest = np.inf if slopes else LONGEST
        sums = np.zeros((len(self.columns) * (2 if slopes else 1), len(counts)))
        sums[:, counts > longest] = np.nan
        rows = np.flatnonzero((counts > 0) & (counts <= longest))
        pairs = np.cumsum(counts[rows])
        for part in np.split(rows, np.searchsorted(pairs, np.arange(BLOCK_PAIRS, pairs[-1:].sum(), BLOCK_PAIRS))):
            if len(part):
                sums[:, part] = self._part_sums(q, part, start[part], counts[part], weigh, gone, slopes)
        return sums

    def _part_sums(self, q, rows, start, counts, weigh, gone, slopes):
        offsets = np.cumsum(counts) - counts
        query = np.repeat(rows, counts)
        key = np.arange(len(query)) + np.repeat(start - offsets, counts)
        weights, growth = weigh(query, key)
        products = weights * np.take(self.columns, key, axis=1)
        if gone is not None:
            own = np.flatnonzero((self.keys[key] == q[query]) & (gone[-1, query] > 0))
            products[:, own] = weights[own] * self.rest(key[own], gone[:, query[own]])
        sums = np.add.reduceat(products, offsets, axis=1)
        if not slopes:
            return sums
        mean = np.add.reduceat(growth * products[-1], offsets) / sums[-1]
        products *= growth - np.repeat(mean, counts)
        return np.vstack([sums, np.add.reduceat(products, offsets, axis=1)])

    def nearest_sums(self, q, gone):
        """Sums over the nearest keys of each query, ties (t <= t_min (1 + 1e-12)) included."""
        least = np.square(self.keys[self.nearest(q, gone)] - q) * (1 + EDGE)
        start, stop = self.within(q, np.sqrt(least))

        def is_tie(query, key):
            return np.square(self.keys[key] - q[query]) <= least[query], None

        return self.sums(q, start, stop, is_tie, gone)
