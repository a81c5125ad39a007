"""Queries with missing values, which leave out the features that they miss.

Queries are grouped by the features that they miss. Each group is answered by an ordinary pooler, in which the columns
of these features have infinite bandwidths. If a value is missing at random, the mean of the targets given the known
features is what this estimates. A query without any known feature gets the mean of all targets.
"""

import numpy as np

from ._engines.left_out import subset
from ._engines.pooled import Pooled
from ._engines.summation import put


def each_pattern(missing):
    """Yield the patterns (n_features,) among missing values (m, n_features), and the positions (k,) of each."""
    bits = np.packbits(missing, axis=1)
    padding = np.zeros((len(bits), -bits.shape[1] % 8), dtype=np.uint8)
    words = np.ascontiguousarray(np.hstack([bits, padding])).view(np.uint64)
    _, first, group = np.unique(words, axis=0, return_index=True, return_inverse=True)
    order, ends = np.argsort(group.ravel(), kind="stable"), np.cumsum(np.bincount(group.ravel()))
    for position, positions in zip(first, np.split(order, ends[:-1]), strict=True):
        yield missing[position], positions


def by_pattern(function, pooler, columns, codes, rows=slice(None)):
    """The arrays (m, ...) that `function(pooler, rows)` returns for some rows of the codes (n, n_features).

    It is called for the rows of each pattern, with the pooler `without` what they miss, and the arrays are joined.
    """
    if not columns.miss_any(codes[rows]):
        return function(pooler, rows)
    rows, results = np.arange(len(codes))[rows], None
    for pattern, positions in each_pattern(np.isnan(codes[rows])):
        found = function(pooler.without(columns.spread(pattern)), rows[positions])
        if results is None:
            results = tuple(np.empty((len(rows), *array.shape[1:])) for array in found)
        put(found, results, positions)
    return results


class TablePoolers:
    """The poolers of rows that are left out, called with bandwidths of features, as `Poolers` with those of columns.

    Parameters
    ----------
    columns : Columns
    missing : (n, n_features) bool ndarray
        Which values of the rows are missing.
    poolers : Poolers
        Those of the columns.
    """

    def __init__(self, columns, missing, poolers):
        self.columns, self.missing, self.poolers = columns, missing, poolers
        self.algorithm, self.kernel, self.tol = poolers.algorithm, poolers.kernel, poolers.tol

    def __call__(self, bandwidth, n_neighbors=None):
        """The `TablePooler` of bandwidths (n_features,), and a number of neighbours or None."""
        return TablePooler(self, self.poolers(self.columns.spread(bandwidth), n_neighbors))

    def with_tol(self, tol):
        """The same for another `tol`."""
        return TablePoolers(self.columns, self.missing, self.poolers.with_tol(tol))


class TablePooler:
    """A pooler of rows that are left out, and may miss values; the methods are those of `Pooler`.

    Parameters
    ----------
    poolers : TablePoolers
    pooler : Pooler
        That of rows that miss nothing.
    """

    def __init__(self, poolers, pooler):
        self.columns, self.missing, self.pooler, self.cost = poolers.columns, poolers.missing, pooler, pooler.cost

    def pool(self, queries, rows, n_jobs=None, tol=0.0):
        """`Pooled` values of some rows; `queries` is None."""

        def pool(pooler, places):
            return [pooler.pool(None, subset(rows, places), n_jobs, tol)]

        return next(self._each(rows, pool))

    def gradient(self, cotangents, rows, n_jobs=None, tol=0.0):
        """`Pooled` values of some rows, and the derivatives (n_features,) of a loss by log bandwidths."""
        total = np.zeros(len(self.columns.widths))

        def differentiate(pooler, places):
            def of_places(pooled, positions):
                return cotangents(pooled, subset(places, positions))

            pooled, gradient = pooler.gradient(of_places, subset(rows, places), n_jobs, tol)
            total[:] += self.columns.gather(gradient)
            return [pooled]

        return next(self._each(rows, differentiate)), total

    def sweep(self, octaves, rows, n_jobs=None, tol=0.0):
        """Yield `Pooled` values of some rows with 2^octave times the bandwidth, for each octave."""
        return self._each(rows, lambda pooler, places: pooler.sweep(octaves, subset(rows, places), n_jobs, tol))

    def sweep_neighbors(self, ks, rows, n_jobs=None, tol=0.0):
        """Yield `Pooled` values of some rows with other numbers of neighbours, for each of `ks`."""
        return self._each(rows, lambda pooler, places: pooler.sweep_neighbors(ks, subset(rows, places), n_jobs, tol))

    def _each(self, rows, pool):
        """Yield the `Pooled` values of all rows from those that `pool(pooler, places)` yields for each pattern."""
        missing = self.missing[rows]
        if not missing.any():
            yield from pool(self.pooler, slice(0, len(missing)))
            return
        groups = list(each_pattern(missing))
        found = [pool(self.pooler.without(self.columns.spread(pattern)), places) for pattern, places in groups]
        for parts in zip(*found, strict=True):
            joined = Pooled.empty(len(missing), parts[0].values.shape[1])
            for part, (_, places) in zip(parts, groups, strict=True):
                put(part[:3], joined[:3], places)
            yield joined
