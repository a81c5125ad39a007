"""Gaussian and logistic sums over keys: by `CellMoments` where these are right, else by windows of sorted keys.

Error. The expansions err by a bound for each unit of mass, as `chebyshev` and `tables` prove, and by rounding. The
bound is a fraction of the `tol` that they are made for, and so is the weight of each key out of reach. Queries for
which that is too much (in tails and gaps, and in leave-one-out where little else is near) and those with few keys
around sum their window key by key: the exact softmax over all keys but those that, all together, weigh less than tol /
4 of the nearest. A key at the distance u and the nearest at u0, in bandwidths, have log K(u) / K(u0) = (u0² - u²) / 2
for the Gaussian, and for the logistic kernel at most log 4 + u0 - u, of which the square has twice.
"""

from math import log

import numpy as np

from ..error_free import excess
from .gauss_transform import CellMoments, Expansion
from .order import DIGIT, argsort_coarsely, sort
from .windows import leave_out, take

CELL_EXPONENT = -1
WIDTH = 2.0**CELL_EXPONENT
"""Width of a cell."""

ORDERED_QUERIES, CELL_QUERIES = 2**16, 2**8
"""Queries that are put in order together, at least, and for each cell: the fewer, the nearer they are in memory."""

FEWEST_LOOKED_UP, PART_QUERIES, MOST_COLUMNS = 2**13, 1, 4
"""Queries, in all and for each part of a cell, from which on, and columns up to which, a table is faster than an order
by cells.
"""


class CellSums:
    """Sums of the columns of `ScaledKeys`, weighted by the kernel, for a bandwidth 0.5 <= h < 1."""

    def __init__(self, keys, kernel, h, tol):
        self.keys, self.h = keys, h
        expansion = Expansion(kernel, WIDTH / h, tol)
        self.cells = CellMoments(keys.points(h, CELL_EXPONENT, expansion.most_terms), expansion)
        power = 2 if kernel.form == "squared logistic" else 1
        self.relative = _GaussianTail() if kernel.form == "gaussian" else _LogisticTail(power)

    def order(self, q):
        """An order of queries that puts those of a cell together, for some queries after the others."""
        first, last = np.floor(np.array([self.keys.low, self.keys.high]) / WIDTH)
        first, last = first - self.cells.reach, last + self.cells.reach
        if last - first >= DIGIT:
            return sort(q)[0]
        order, step = np.empty(len(q), dtype=np.intp), max(ORDERED_QUERIES, CELL_QUERIES * len(self.cells.sources))
        for start in range(0, len(q), step):
            part = slice(start, start + step)
            np.add(argsort_coarsely(q[part], first * WIDTH, WIDTH), start, out=order[part])
        return order

    def looks_up(self, n_queries):
        """Whether so many queries are answered by a table, and need no order."""
        if n_queries < FEWEST_LOOKED_UP or self.keys.n_columns > MOST_COLUMNS:
            return False
        table = self.cells.table
        return table is not None and n_queries >= PART_QUERIES * table.n_parts

    def sums(self, q, removed, tol, look_up=False):
        """Sums (n_columns, b) for ordered queries (b,), up to a factor, and the logarithm of that factor (b,).

        nan for unresolved queries. `removed` is as in `Windows`. If `look_up`, queries come in any order.
        """
        log_scale = np.zeros(len(q))
        if tol == 0:
            sums, unresolved = np.empty((self.keys.n_columns, len(q))), np.arange(len(q))
        else:
            sums, error = (self.cells.table if look_up else self.cells).sums(q / WIDTH)
            error += self.keys.total * self.cells.expansion.neglected
            unresolved = leave_out(sums, error, removed, tol)
        if len(unresolved):
            found = self._window_sums(q[unresolved], take(removed, unresolved), tol)
            sums[:, unresolved], log_scale[unresolved] = found
        return sums, log_scale

    def _window_sums(self, q, removed, tol):
        """Sums by the exact softmax over windows, relative to the weight of the nearest key, and its logarithm."""
        spread = log(4 * self.keys.total) - log(tol) - log(self.keys.lightest) if tol > 0 else np.inf
        spread = max(spread, 0.0)

        def reach(distance):
            return self.relative.reach(distance / self.h, spread) * self.h

        windows = self.keys.near(q, removed is not None, reach)
        keys = windows.keys
        anchor = keys[windows.nearest(q, removed)]
        u0 = np.abs(anchor - q) / self.h
        start, stop = windows.within(q, reach(np.abs(anchor - q)))

        def weigh(query, key):
            more = _further(q[query], keys[key], anchor[query])
            more = np.maximum(more / self.h, 0.0)  # an own key that is removed may be nearer
            return self.relative.weigh(more, u0[query])

        return windows.sums(q, start, stop, weigh, removed), self.relative.log(u0)


def _further(q, x, anchor):
    """|x - q| - |anchor - q|, as exact as floats can be, since u0 multiplies what it errs by."""
    further = np.abs(x - anchor)  # right on one side of the query
    others = np.flatnonzero((x < q) != (anchor < q))
    low, high = np.minimum(x[others], anchor[others]), np.maximum(x[others], anchor[others])
    further[others] = excess(q[others], low, high) * np.where(x[others] == low, 1.0, -1.0)
    return further


class _GaussianTail:
    """The kernel relative to its value at u0."""

    def log(self, u0):
        return -np.square(u0) / 2

    def reach(self, u0, spread):
        """Where it falls below exp(-spread)."""
        return np.sqrt(np.square(u0) + 2 * spread)

    def weigh(self, more, u0):
        """It at u0 + `more`."""
        return np.exp(-more * (more + 2 * u0) / 2)


class _LogisticTail:
    """The same for a power of the logistic kernel."""

    def __init__(self, power):
        self.power = power

    def log(self, u0):
        return self.power * (log(4.0) - u0 - 2 * np.log1p(np.exp(-u0)))

    def reach(self, u0, spread):
        return u0 + spread / self.power + log(4.0)

    def weigh(self, more, u0):
        weights = np.exp(-more) * np.square((1 + np.exp(-u0)) / (1 + np.exp(-u0 - more)))
        return weights if self.power == 1 else np.square(weights)
