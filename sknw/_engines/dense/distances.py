"""Keys and queries of which only distances are known: pairs whose t is (distance / bandwidth)²."""

import numpy as np

from ..._problem import DistanceProblem
from .keys import KeyBlocks, Keys
from .pairs import Pairs, slices

FARTHEST = 2.0**500
"""Bandwidths that distances are bounded by, so that squares do not overflow."""

BLOCK_QUERIES, BLOCK_KEYS = 128, 1024
"""Queries and keys in a block: a MiB of weights. Long parts of rows are read from memory faster than short ones."""

NARROWEST = 2.0**-400
"""The least bandwidth, over the median of distances: every weight has long reached its limit."""


class DistanceKeys(KeyBlocks):
    """The keys of a `DistanceProblem` with one kernel and one bandwidth (1,); inf ignores all distances.

    Attributes
    ----------
    inverse : float
        One over the bandwidth.
    """

    has_coordinates = False

    def __init__(self, problem, kernel, bandwidth):
        super().__init__(problem, kernel)
        self._distances, self._places = problem.distances, problem.keys[:, 0]
        self._are_all = np.array_equal(self._places, np.arange(len(problem.distances)))
        width = max(float(bandwidth[0]), NARROWEST * float(problem.extent[1, 0]), np.finfo(float).tiny)
        self.inverse, self._farthest = 1 / width, FARTHEST * width

    def pairs(self, queries, left_out=None, scale=None):
        """Pairs of queries and all keys; rows of the problem are left out of their own sums.

        Queries are distances (b, n_points), or positions (b, 1) of points, as rows of the problem are. Points are at
        distance zero from themselves, whatever the diagonal of the distances is.
        """
        distances = queries
        if queries.dtype.kind == "i":
            distances = self._distances[queries[:, 0]]
            distances[np.arange(len(queries)), queries[:, 0]] = 0.0
        if not self._are_all:
            distances = distances[:, self._places]
        if distances.max() > self._farthest:
            distances = np.minimum(distances, self._farthest)
        own = (None, None) if left_out is None else (left_out.self_index, left_out.retained)
        return DistancePairs(self, distances, None, np.zeros(len(distances)), *own, scale)

    def block_rows(self, n_queries):
        """The number of queries in a block."""
        return min(n_queries, BLOCK_QUERIES)

    def blocks(self, n_queries):
        """Slices of the keys."""
        return slices(len(self.weights), BLOCK_KEYS)


class DistancePairs(Pairs):
    """Some queries and all keys, with distances (b, n_keys) in the place of coordinates, as they were given."""

    def stream_t(self, by_product, factor=1.0, blocks=None):
        """Stream (block of keys, factor * t (b, n_block)), in a buffer that is used again."""
        return super().stream_t(False, factor, blocks)

    def _write_differences(self, rows, block, out):
        np.multiply(self.raw[rows, block], self.keys.inverse, out=out)
        np.square(out, out=out)
        if self.scale is not None:
            out *= self.scale[rows, None]

    def to_key(self, key, rows=slice(None)):
        """t (b,) between some queries and one key each (b,)."""
        t = np.square(self.raw[np.arange(len(self))[rows], key] * self.keys.inverse)
        return t if self.scale is None else t * self.scale[rows]

    def relative(self, anchor, key, rows):
        """t - t_0 (p,) for pairs of a query and a key (p,), with an anchor key each (p,)."""
        near, far = self.raw[rows, anchor] * self.keys.inverse, self.raw[rows, key] * self.keys.inverse
        step = (self.raw[rows, key] - self.raw[rows, anchor]) * self.keys.inverse
        return step * (near + far) if self.scale is None else step * (near + far) * self.scale[rows]


def make_keys(problem, kernel, bandwidth):
    """The `Keys` of a problem, or its `DistanceKeys`."""
    return (DistanceKeys if isinstance(problem, DistanceProblem) else Keys)(problem, kernel, bandwidth)
