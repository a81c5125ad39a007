"""The sorted engine: one feature, O((n + m) log n), for the kernels whose sums over sorted keys have a short cut.

`CellSums`, `ExponentialSums` and `PrefixSums` know the sums; the engine orders keys and queries.
"""

from functools import cached_property

import numpy as np

from ..summation import Engine, Located, Summation, Sums
from .cell_sums import CellSums
from .exponential_sums import ExponentialSums
from .keys import Keys, ScaledKeys
from .order import sort
from .points import times_power
from .prefix_sums import PrefixSums, has_basis
from .windows import take

BLOCK_SUMS = 2**15
"""Sums of ordered queries that are done together."""

UNORDERED_QUERIES = 2**16
"""Queries without an order that are done together: many, as those in tails take sorted keys, but not more than caches
hold."""


class SortedEngine(Engine):
    """The keys of the problem, in the order that is needed."""

    @staticmethod
    def supports(kernel, n_features):
        """One feature; polynomials on a compact support, the cosine, the Gaussian, the logistic, the exponential, and
        the squares of these.
        """
        has_short_cut = kernel.form in ("gaussian", "logistic", "squared logistic", "exponential") or has_basis(kernel)
        return n_features == 1 and has_short_cut

    def __init__(self, problem):
        super().__init__(problem)
        self._latest = None, None

    @cached_property
    def keys(self):
        """The keys; put in order for the first bandwidth."""
        return Keys(self.problem)

    @cached_property
    def ordered_rows(self):
        """All rows of the problem in ascending order: the order, their feature, and what leave-one-out removes."""
        problem, order = self.problem, self.keys.windows.sorted_rows
        if len(order) < len(problem.rows):
            order, _ = sort(problem.rows[:, 0])
        removed = problem.removed_columns.T.take(order, axis=1)
        return order, np.take(problem.rows[:, 0], order), removed

    def prepare(self, kernel, bandwidth, tol):
        """The sums, unless the bandwidth is so far from the size of the keys that floats end."""
        h, keys = bandwidth[0], self.keys
        if not max(-keys.low, keys.high) * 1e-140 < h < np.inf:
            return None
        if keys.smallest < 2 * h * np.finfo(float).tiny:  # division by a power of two loses no digit but by underflow
            return None
        asked = kernel, h, tol
        latest, summation = self._latest
        if latest != asked:  # searches ask for some bandwidths twice
            if summation is not None and not summation.is_used:
                keys.expect_many()
            self._latest = asked, SortedSummation(self, kernel, h, tol)
        return self._latest[1]


class SortedSummation(Summation):
    """Keys with one kernel and one bandwidth."""

    def __init__(self, engine, kernel, bandwidth, tol):
        h, self.exponent = np.frexp(bandwidth)
        self.engine, self.keys = engine, ScaledKeys(engine.keys, self.exponent)
        self.kernel, self.h, self.tol = kernel, float(h), tol

    @cached_property
    def short_cut(self):
        """The sums that the kernel allows; made for the first queries, which some bandwidths of a search never get."""
        if self.kernel.form == "exponential":
            return ExponentialSums(self.keys.windows, self.h)
        if self.kernel.compact:
            return PrefixSums(self.keys.windows, self.kernel, self.h)
        return CellSums(self.keys, self.kernel, self.h, self.tol)

    @property
    def is_used(self):
        """Whether it has been asked for sums."""
        return "short_cut" in vars(self)

    def accepts(self, n_queries, tol, gradient):
        """Whether no gradient is asked for: along one feature a search needs none."""
        return not gradient

    def locate(self, points, left_out):
        """Queries in the units of the keys, in an order that the sums are fast for."""
        looks_up = self.short_cut.looks_up(len(points))
        step = max(1, BLOCK_SUMS // self.keys.n_columns)
        if left_out is not None and left_out.is_all and (self.engine.keys.is_ordered or not looks_up):
            order, x, removed = self.engine.ordered_rows
            return OrderedRows(self._scale(x), removed, order, step, looks_up)
        if looks_up:
            return Unordered(self._scale, points, left_out)
        q = self._scale(points[:, 0])
        return Located([q], self.short_cut.order(q), step, left_out)

    def _scale(self, q):
        q = times_power(q, -self.exponent)
        return np.clip(q, self.keys.low - 1e150, self.keys.high + 1e150, out=q)

    @np.errstate(divide="ignore", invalid="ignore")
    def sums(self, queries, tol, derivatives=False):
        """`Sums` for ordered queries; unresolved where a window is too long."""
        q, removed, *unordered = queries
        sums, log_scale = self.short_cut.sums(q, removed, tol, *unordered)
        log_mass = np.log(sums[-1]) + log_scale
        nearest_t, empty = None, np.flatnonzero(sums[-1] == 0)
        if len(empty):
            nearest_t = np.zeros(len(q))
            sums[:, empty], least = self.keys.windows.nearest_sums(q[empty], take(removed, empty))
            nearest_t[empty] = least / np.square(self.h)
            log_mass[empty] = np.where(np.isnan(sums[-1, empty]), np.nan, -np.inf)
        return Sums(sums.T, log_mass, nearest_t)


class OrderedRows:
    """All rows of a problem in an order that is known already, for leave-one-out; as `Located`."""

    def __init__(self, q, removed, order, step, look_up):
        self.q, self.removed, self.order, self.step = q, removed, order, step
        self.look_up = (True,) if look_up else ()

    def __getitem__(self, places):
        return self.q[places], self.removed[:, places], *self.look_up


class Unordered:
    """Queries that need no order; as `Located`, with `look_up` of `CellSums` at the end."""

    order, step = None, UNORDERED_QUERIES

    def __init__(self, scale, points, left_out):
        self.scale, self.points, self.left_out = scale, points, left_out

    def __getitem__(self, places):
        removed = None if self.left_out is None else self.left_out[places].columns
        return self.scale(self.points[places, 0]), removed, True
