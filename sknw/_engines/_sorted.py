"""The sorted engine: one feature, O((n + m) log n), for the kernels whose sums over sorted keys have a short cut.

`GaussianSums` and `ExponentialSums` know the sums; the engine sorts keys and queries and makes means of the sums.
"""

from functools import cached_property

import numpy as np

from .._threads import run_blocks
from ._dense import DenseEngine
from ._exponential_sums import ExponentialSums
from ._gaussian_sums import GaussianSums, take_own

SORTED_ROWS = 2**20
"""Queries sorted together."""

BLOCK_ROWS = 2**15
"""Sorted queries done together."""


class SortedEngine:
    """Keys of positive weight in ascending order, with the columns of the dense engine."""

    @staticmethod
    def supports(kernel, n_features):
        """The Gaussian and the exponential kernel of one feature."""
        return (kernel.gaussian or kernel.exponential) and n_features == 1

    def __init__(self, keys, values, weights, kept):
        self.dense = DenseEngine(keys, values, weights, kept)
        order = np.argsort(self.dense.keys[:, 0])
        self.keys, self.columns = self.dense.keys[order, 0], self.dense.columns[order]
        position = np.empty(len(order) + 1, dtype=np.intp)
        position[order], position[-1] = np.arange(len(order)), -1
        self.own = position[self.dense.own]

    def prepare(self, kernel, bandwidth):
        """A pooler for one kernel and one bandwidth vector (1,); the dense one beyond the range of floats."""
        h, largest = bandwidth[0], np.abs(self.keys[[0, -1]]).max()
        if not largest * 1e-140 < h < np.inf:
            return self.dense.prepare(kernel, bandwidth)
        return SortedPooler(self, kernel, bandwidth)


class SortedPooler:
    """The engine's keys with one bandwidth, ready for queries."""

    def __init__(self, engine, kernel, bandwidth):
        self.engine, self.kernel, self.bandwidth = engine, kernel, bandwidth
        mantissa, self.exponent = np.frexp(bandwidth[0])
        self.keys = np.ldexp(engine.keys, -self.exponent)  # a power of two loses no digit
        sums = GaussianSums if kernel.gaussian else ExponentialSums
        self.sums = sums(self.keys, engine.columns, float(mantissa))

    @cached_property
    def _dense(self):
        return self.engine.dense.prepare(self.kernel, self.bandwidth)

    def attention(self, queries=None, rows=slice(None), n_jobs=None):
        """Attention weights, by the dense engine."""
        return self._dense.attention(queries, rows, n_jobs)

    def pool(self, queries=None, rows=slice(None), n_jobs=None, tol=0.0):
        """Pooled values (m, n_values) and log_mass (m,), as every engine gives them, to `tol`."""
        dense, own = self.engine.dense, None
        if queries is None:
            queries, own = dense.rows, (self.engine.own, dense.kept)
        rows = np.arange(len(queries))[rows]
        pooled = np.empty((len(rows), dense.columns.shape[1] - 1))
        log_mass = np.empty(len(rows))
        block_rows = max(1, 2 * BLOCK_ROWS // dense.columns.shape[1])
        for start in range(0, len(rows), SORTED_ROWS):
            with np.errstate(over="ignore"):
                q = np.ldexp(queries[rows[start : start + SORTED_ROWS], 0], -self.exponent)
            q = np.clip(q, self.keys[0] - 1e150, self.keys[-1] + 1e150)
            order = np.argsort(q)

            def pool_rows(part, start=start, q=q, order=order):
                place = start + order[part]
                sums, log_scale = self.sums.sums(q[order[part]], take_own(own, rows[place]), tol)
                pooled[place] = dense.mean(sums)
                log_mass[place] = np.log(sums[:, -1]) + log_scale + np.log(dense.largest_weight)

            run_blocks(pool_rows, len(q), block_rows, n_jobs)
        return pooled, log_mass
