"""The keys of a problem in the order that has been asked for so far, in their own units and in those of a bandwidth.

One bandwidth takes keys by cell. An exact order is made for the first query that needs more keys around it than are
worth to be sorted for it alone, and for the second bandwidth; many bandwidths take fewer points in the place of keys.
That there will be many is clear from the start where a bandwidth is asked for before another one has been used.
"""

from functools import cached_property

import numpy as np

from .buckets import Buckets
from .points import Points, condense, times_power
from .windows import Windows


class Keys:
    """The keys of a problem of one feature."""

    def __init__(self, problem):
        self.problem, self.buckets, self._condensed = problem, None, None
        self._first, self._expects_one = None, True
        self.low, self.high = problem.extent[:2, 0]

    @cached_property
    def windows(self):
        """The keys in ascending order."""
        problem = self.problem
        windows = Windows(problem.keys[:, 0], problem.columns.T, problem.memo.get("order"))
        problem.memo["order"] = windows.sorted_rows
        return windows

    @property
    def is_ordered(self):
        """Whether the ascending order is made."""
        return "windows" in vars(self)

    @cached_property
    def smallest(self):
        """The smallest absolute value of a key other than zero; inf without one."""
        sizes = np.abs(self.problem.keys[:, 0])
        return sizes.min(where=sizes > 0, initial=np.inf)

    @cached_property
    def masses(self):
        """The weight of all keys, and of the lightest one."""
        weights = self.problem.weights
        return weights.sum(), weights.min()

    def expect_many(self):
        """Be asked for many bandwidths, of which no first one takes keys by cell."""
        self._expects_one = self._first is not None

    def condensed(self, n_terms):
        """Points in the place of the keys, with `n_terms` moments, for all bandwidths that are wide enough."""
        if self._condensed is None or self._condensed[0] < n_terms:
            self._condensed = n_terms, condense(self.windows.keys, self.windows.columns, n_terms)
        return self._condensed[1]

    def points(self, bandwidth, exponent, n_terms):
        """The keys as `Buckets` or `Points`, or points in their place, in cells 2^exponent wide, for a bandwidth.

        Points in the place of keys have at least `n_terms` moments of these.
        """
        if self._expects_one and self._first in (None, bandwidth) and not self.is_ordered:
            self._first, problem = bandwidth, self.problem
            self.buckets = Buckets.make(problem.keys[:, 0], problem.columns.T, exponent, self.low, self.high)
            if self.buckets is not None:
                return self.buckets
        condensed = self.condensed(n_terms)
        if exponent >= condensed.exponent:
            return condensed.coarser(exponent)
        return Points.at_keys(self.windows.keys, self.windows.columns, exponent)


class ScaledKeys:
    """`Keys` times 2^-exponent."""

    def __init__(self, keys, exponent):
        self._keys, self._exponent = keys, exponent
        self.low, self.high = times_power(np.array([keys.low, keys.high]), -exponent)
        self.total, self.lightest = keys.masses
        self.n_columns = keys.problem.columns.shape[1]

    @cached_property
    def windows(self):
        """The keys in ascending order."""
        return self._keys.windows.scaled(-self._exponent)

    def points(self, h, exponent, n_terms):
        """`Keys.points` for a bandwidth h in the same units, and cells 2^exponent wide in these."""
        return self._keys.points((h, self._exponent), exponent + self._exponent, n_terms)

    def near(self, q, besides, reach):
        """`Windows` of at least the keys within reach(distance) of each query (b,).

        Distances (b,) are at least those to the nearest key; apart from the queries' own ones, if `besides`.
        """
        buckets = self._keys.buckets
        if buckets is None or self._keys.is_ordered:
            return self.windows
        width = np.ldexp(1.0, buckets.exponent - self._exponent)
        distance = reach(buckets.distance(np.floor(q / width), besides) * width)
        distance += 16 * np.finfo(float).eps * (np.abs(q) + distance)
        windows = buckets.windows(np.floor((q - distance) / width), np.floor((q + distance) / width))
        return self.windows if windows is None else windows.scaled(-self._exponent)
