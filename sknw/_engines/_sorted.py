"""The sorted engine: one feature, O((n + m) log n), for the kernels whose sums over sorted keys have a short cut.

`CellSums`, `ExponentialSums` and `PrefixSums` know the sums; the engine sorts keys and queries and makes means of the
sums. What no short cut can do within `tol`, it hands to another engine.
"""

from functools import cached_property

import numpy as np

from .._threads import run_blocks
from ._blocks import BlocksEngine
from ._cell_sums import CellSums
from ._exponential_sums import ExponentialSums
from ._prefix_sums import PrefixSums, has_basis
from ._windows import Windows, take_gone

SORTED_ROWS = 2**20
"""Queries sorted together."""

BLOCK_ROWS = 2**14
"""Sorted queries done together."""


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

    def prepare(self, kernel, bandwidth):
        """A pooler for one kernel and one bandwidth vector (1,); the dense one beyond the range of floats."""
        h, largest = bandwidth[0], np.abs(self.windows.keys[[0, -1]]).max()
        if largest * 1e-140 < h < np.inf:
            windows = self.windows.scaled(-np.frexp(h)[1])  # a power of two loses no digit but by underflow
            if (windows.keys[1:] > windows.keys[:-1]).all():
                return SortedPooler(self, windows, kernel, bandwidth)
        return self.dense.prepare(kernel, bandwidth)


def _short_cut(kernel, windows, h):
    """The sums that a kernel allows."""
    if kernel.exponential:
        return ExponentialSums(windows, h)
    return (PrefixSums if kernel.compact else CellSums)(windows, kernel, h)


class SortedPooler:
    """The engine's keys with one bandwidth, ready for queries."""

    linear = True

    def __init__(self, engine, windows, kernel, bandwidth):
        self.engine, self.windows, self.kernel, self.bandwidth = engine, windows, kernel, bandwidth
        mantissa, self.exponent = np.frexp(bandwidth[0])
        self.sums = _short_cut(kernel, windows, float(mantissa))

    @cached_property
    def _blocks(self):
        return self.engine.blocks.prepare_on_demand(self.kernel, self.bandwidth)

    def attention(self, queries=None, rows=slice(None), n_jobs=None):
        """Attention weights, by the dense engine."""
        return self._blocks.attention(queries, rows, n_jobs)

    def slopes(self, rows=slice(None), n_jobs=None, tol=0.0):
        """Pooled values, log_mass and slopes in leave-one-out, as every engine gives them."""
        return self._blocks.slopes(rows, n_jobs, tol)

    def pool(self, queries=None, rows=slice(None), n_jobs=None, tol=0.0):
        """Pooled values (m, n_values) and log_mass (m,), as every engine gives them, to `tol`."""
        dense, gone = self.engine.dense, None
        x = (dense.rows if queries is None else queries)[rows, 0]
        if queries is None:
            gone = dense.gone[rows]
        pooled, log_mass = np.empty((len(x), dense.columns.shape[1] - 1)), np.empty(len(x))
        for start in range(0, len(x), SORTED_ROWS):
            chunk = slice(start, start + SORTED_ROWS)
            q = self._scaled(x[chunk])
            order = self.sums.order(q)

            def pool_rows(part, chunk=chunk, q=q, order=order):
                place = order[part]
                own = None if gone is None else np.take(gone[chunk], place, axis=0).T
                sums, log_mass[chunk][place] = self._sums(q[place], own, tol)
                pooled[chunk][place] = dense.mean(sums.T)

            run_blocks(pool_rows, len(q), max(1, 2 * BLOCK_ROWS // dense.columns.shape[1]), n_jobs)
        left = np.flatnonzero(np.isnan(log_mass))
        if len(left):
            left_rows = np.arange(len(dense.rows if queries is None else queries))[rows][left]
            pooled[left], log_mass[left] = self._blocks.pool(queries, left_rows, n_jobs, tol)
        return pooled, log_mass

    def _scaled(self, q):
        with np.errstate(over="ignore"):
            q = np.ldexp(q, -self.exponent)
        return np.clip(q, self.windows.keys[0] - 1e150, self.windows.keys[-1] + 1e150, out=q)

    @np.errstate(divide="ignore", invalid="ignore")
    def _sums(self, q, gone, tol):
        """Sums (n_columns, b) for ordered queries, and log_mass (b,); NaN where another engine has to do it."""
        sums, log_scale = self.sums.sums(q, gone, tol)
        log_mass = np.log(sums[-1]) + log_scale + np.log(self.engine.dense.largest_weight)
        empty = np.flatnonzero(sums[-1] == 0)
        if len(empty):
            sums[:, empty] = self.windows.nearest_sums(q[empty], take_gone(gone, empty))
            log_mass[empty] = np.where(np.isnan(sums[-1, empty]), np.nan, -np.inf)
        return sums, log_mass
