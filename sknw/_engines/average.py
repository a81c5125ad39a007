"""Average pooling: where the kernel is flat or no feature counts, every query gets the mean of all values."""

from functools import cached_property

import numpy as np

from .summation import Engine, Summation, Sums


def is_flat(kernel, bandwidth):
    """Whether all keys weigh the same, however far away."""
    return kernel.flat or not np.isfinite(bandwidth).any()


class AverageEngine(Engine):
    """Sums over all keys, whatever the query."""

    @staticmethod
    def supports(kernel, n_features):
        """Every kernel, as an infinite bandwidth makes it flat."""
        return True

    def prepare(self, kernel, bandwidth, tol):
        """The sums, if all keys weigh the same."""
        return AverageSummation(self.problem, kernel) if is_flat(kernel, bandwidth) else None


class AverageSummation(Summation):
    """All keys with the same weight."""

    def __init__(self, problem, kernel):
        self.problem, self.log_weight = problem, kernel.log(np.zeros(1))

    @cached_property
    def total(self):
        """Sums of the columns over all keys, (1, n_columns)."""
        return np.ascontiguousarray(np.asarray(self.problem.columns).T).sum(axis=1)[None]

    def others(self, left_out):
        """Sums over all keys without what leave-one-out takes away, (m, n_columns).

        The total less a row keeps all digits but one, unless the row has more than half of the weight, as one may.
        """
        removed = left_out.columns.T
        others = self.total - removed
        for heavy in np.flatnonzero(removed[:, -1] > self.total[0, -1] / 2):
            columns, key = np.asarray(self.problem.columns), left_out[[heavy]].self_index[0]
            rest = columns[:key].sum(axis=0) + columns[key + 1 :].sum(axis=0)
            others[heavy] = rest + (columns[key] - removed[heavy])
        return others

    def locate(self, points, left_out):
        """The sums themselves; without leave-one-out they are the same for all points."""
        return LocatedSums(self.total if left_out is None else self.others(left_out), len(points))

    def sums(self, queries, tol, derivatives=False):
        """The sums that have been located."""
        return Sums(queries, np.log(queries[:, -1]) + self.log_weight)

    def gradient(self, queries, tol, cotangents):
        """Zero: nothing depends on the bandwidth."""
        sums = self.sums(queries, tol)
        cotangents(sums, slice(None))
        return np.zeros(1, dtype=bool), 0.0


class LocatedSums:
    """Sums of m queries, (m, n_columns) or (1, n_columns)."""

    order = None

    def __init__(self, sums, step):
        self.sums, self.step = sums, step

    def __getitem__(self, places):
        return self.sums
