"""The sorted engine: one feature, O((n + m) log n), for the kernels whose sums over sorted keys have a short cut.

`CellSums`, `ExponentialSums` and `PrefixSums` know the sums; the engine sorts keys and queries and makes means and
slopes of the sums, as `_windows` tells. What no short cut can do within `tol`, it hands to another engine.
"""

from functools import cached_property

import numpy as np

from ..._threads import run_blocks
from ..blocks.engine import BlocksEngine
from .cell_sums import CELL_EXPONENT, CellSums
from .gauss_transform import MOST_TERMS
from .exponential_sums import ExponentialSums
from .points import Points, condense
from .prefix_sums import PrefixSums, has_basis
from .radix import argsort
from .windows import Windows, take_gone

SORTED_ROWS = 2**20
"""Queries sorted together."""

BLOCK_ROWS = 2**14
"""Sorted queries done together."""

SLOPE_TOL = 1e-10
"""`tol` of the sums that slopes are made of, at most; the slopes are then right to 1e-8 of the range of the values."""


class SortedEngine:
    """Keys of positive weight in ascending order, with the columns of the dense engine."""

    @staticmethod
    def supports(kernel, n_features):
        """One feature; polynomials on a compact support, the cosine, the Gaussian, the logistic, the exponential."""
        short_cut = kernel.gaussian or kernel.logistic or kernel.exponential or has_basis(kernel)
        return n_features == 1 and short_cut

    def __init__(self, dense):
        self.dense, self.blocks = dense, BlocksEngine(dense)  # blocks are the last resort

    def offer(self, kernel, bandwidth, tol):
        """A pooler, always."""
        return self.prepare(kernel, bandwidth)

    @cached_property
    def windows(self):
        """The keys in ascending order; sorted for the first bandwidth."""
        return Windows(self.dense.keys[:, 0], self.dense.columns.T)

    @cached_property
    def all_rows(self):
        """All rows in ascending order: their rank, their feature, and what goes with them in leave-one-out."""
        dense, order = self.dense, self.windows.sorted_rows
        if len(order) < len(dense.rows):
            order = argsort(dense.rows[:, 0])
        gone = dense.gone.T.take(order, axis=1)
        return _rank(order), np.take(dense.rows[:, 0], order), gone

    @cached_property
    def condensed(self):
        """Points in the place of the keys, for all bandwidths that are wide enough."""
        return condense(self.windows, MOST_TERMS)

    def points(self, exponent):
        """The keys in cells 2^exponent wide."""
        if exponent >= self.condensed.exponent:
            return self.condensed.coarser(exponent)
        return Points.at_keys(self.windows, exponent)

    def prepare(self, kernel, bandwidth):
        """A pooler for one kernel and one bandwidth vector (1,); the dense one beyond the range of floats."""
        h, largest = bandwidth[0], np.abs(self.windows.keys[[0, -1]]).max()
        if largest * 1e-140 < h < np.inf:
            windows = self.windows.scaled(-np.frexp(h)[1])  # a power of two loses no digit but by underflow
            if (windows.keys[1:] > windows.keys[:-1]).all():
                return SortedPooler(self, windows, kernel, bandwidth)
        return self.dense.prepare(kernel, bandwidth)


def _rank(order):
    """Where each of some rows is in an order."""
    rank = np.empty(len(order), dtype=np.intp)
    rank[order] = np.arange(len(order))
    return rank


class SortedPooler:
    """The engine's keys with one bandwidth, ready for queries."""

    linear, multiples, pull = True, None, None

    def __init__(self, engine, windows, kernel, bandwidth):
        self.engine, self.windows, self.kernel, self.bandwidth = engine, windows, kernel, bandwidth
        mantissa, self.exponent = np.frexp(bandwidth[0])
        self.sums = self._short_cut(float(mantissa))

    def _short_cut(self, h):
        """The sums that the kernel allows."""
        if self.kernel.exponential:
            return ExponentialSums(self.windows, h)
        if self.kernel.compact:
            return PrefixSums(self.windows, self.kernel, h)
        return CellSums(self.windows, self.kernel, h, self.engine.points(self.exponent + CELL_EXPONENT))

    @cached_property
    def _blocks(self):
        return self.engine.blocks.prepare_on_demand(self.kernel, self.bandwidth)

    def attention(self, queries=None, rows=slice(None), n_jobs=None):
        """Attention weights, by the dense engine."""
        return self._blocks.attention(queries, rows, n_jobs)

    def slopes(self, rows=slice(None), n_jobs=None, tol=0.0):
        """Pooled values, log_mass and slopes in leave-one-out, as every engine gives them."""
        if tol == 0:
            return self._blocks.slopes(rows, n_jobs)
        answers = self._answer(None, rows, n_jobs, min(tol, SLOPE_TOL), slopes=True)
        return self._complete(answers, None, rows, lambda left: self._blocks.slopes(left, n_jobs, tol))

    def pool(self, queries=None, rows=slice(None), n_jobs=None, tol=0.0):
        """Pooled values (m, n_values) and log_mass (m,), as every engine gives them, to `tol`."""
        answers = self._answer(queries, rows, n_jobs, tol)
        return self._complete(answers, queries, rows, lambda left: self._blocks.pool(queries, left, n_jobs, tol))

    def _complete(self, answers, queries, rows, by_blocks):
        """Have the blocks engine answer the queries that are left to others."""
        left = np.flatnonzero(np.isnan(answers[1]))
        if len(left):
            left_rows = np.arange(len(self.engine.dense.rows if queries is None else queries))[rows][left]
            for answer, found in zip(answers, by_blocks(left_rows), strict=True):
                answer[left] = found
        return tuple(answers)

    def _answer(self, queries, rows, n_jobs, tol, slopes=False):
        """Pooled values, log_mass and, if wanted, slopes (m, 1, n_values); log_mass is NaN where others answer."""
        dense = self.engine.dense
        n_rows, n_columns = len((dense.rows if queries is None else queries)[rows]), dense.columns.shape[1]
        shapes = [(n_rows, n_columns - 1), (n_rows,), (n_rows, 1, n_columns - 1)][: 3 if slopes else 2]
        answers = [np.empty(shape) for shape in shapes]
        for chunk, rank, take in self._ordered(queries, rows):
            ordered = [np.empty((len(rank), *shape[1:])) for shape in shapes]

            def answer_rows(part, take=take, ordered=ordered):
                sums, log_mass = self._sums(*take(part), tol, slopes)
                found = dense.mean(sums[:n_columns].T), log_mass, self._slopes(sums) if slopes else None
                for answer, rows_found in zip(ordered, found, strict=False):
                    answer[part] = rows_found

            run_blocks(answer_rows, len(rank), max(1, 2 * BLOCK_ROWS // n_columns), n_jobs)
            for answer, found in zip(answers, ordered, strict=True):
                np.take(found, rank, axis=0, out=answer[chunk], mode="clip")  # which makes no copy
        return answers

    def _ordered(self, queries, rows):
        """Stream (chunk, rank, take): slices of the queries, their ranks in an order that suits the sums, and them.

        take(part) gives a part of the queries in this order, and what goes with them.
        """
        if queries is None and isinstance(rows, slice) and rows == slice(None):
            rank, x, gone = self.engine.all_rows
            yield slice(None), rank, lambda part: (self._scaled(x[part]), gone[:, part])
            return
        dense = self.engine.dense
        x = (dense.rows if queries is None else queries)[rows, 0]
        gone = np.asarray(dense.gone[rows]) if queries is None else None
        for start in range(0, len(x), SORTED_ROWS):
            chunk = slice(start, start + SORTED_ROWS)
            q = self._scaled(x[chunk])
            order = self.sums.order(q)

            def take(part, start=start, q=q, order=order):
                at = order[part]
                return q[at], None if gone is None else np.take(gone, start + at, axis=0).T

            yield chunk, _rank(order), take

    def _slopes(self, sums):
        """Slopes (b, 1, n_values) from sums for slopes."""
        mean, grown = np.split(sums, 2)
        slopes = (grown[:-1] - mean[:-1] / mean[-1] * grown[-1]) / mean[-1]
        return np.ldexp(slopes.T, self.engine.dense.exponents)[:, None]

    def _scaled(self, q):
        with np.errstate(over="ignore"):
            q = np.ldexp(q, -self.exponent)
        return np.clip(q, self.windows.keys[0] - 1e150, self.windows.keys[-1] + 1e150, out=q)

    @np.errstate(divide="ignore", invalid="ignore")
    def _sums(self, q, gone, tol, slopes):
        """Sums (n_columns, b) for ordered queries, and log_mass (b,); NaN where another engine has to do it."""
        sums, log_scale = self.sums.sums(q, gone, tol, slopes)
        n_columns = len(self.windows.columns)
        mass = sums[n_columns - 1]
        log_mass = np.log(mass) + log_scale + np.log(self.engine.dense.largest_weight)
        empty = np.flatnonzero(mass == 0)
        if len(empty):
            sums[n_columns:, empty] = 0.0
            sums[:n_columns, empty] = self.windows.nearest_sums(q[empty], take_gone(gone, empty))
            log_mass[empty] = np.where(np.isnan(mass[empty]), np.nan, -np.inf)
        return sums, log_mass
