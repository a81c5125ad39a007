"""The nearest keys of queries: noted from distances as they pass by, or found in a k-d tree of all keys."""

from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from ..._kernels import EDGE

MOST_FEATURES = 6
"""In more features a tree looks at nearly all keys."""

CANDIDATES = 8
"""Keys that the tree is asked for: more than these are rarely tied."""


class Nearest(NamedTuple):
    """The least t of each row in each block of keys, and the position of its key, (n_key_blocks, n_rows)."""

    t: np.ndarray
    key: np.ndarray

    @classmethod
    def among(cls, key_blocks, n_rows):
        shape = len(key_blocks), n_rows
        return cls(np.empty(shape), np.empty(shape, dtype=np.intp))

    def note(self, j, keys, t):
        column = t.argmin(axis=1)
        np.add(column, keys.start, out=self.key[j])
        self.t[j] = t[np.arange(len(t)), column]
        return self.t[j]

    def take(self, rows):
        return Nearest(self.t[:, rows], self.key[:, rows])

    def first(self):
        """The position of the nearest key of each row, (n_rows,)."""
        return np.take_along_axis(self.key, self.t.argmin(axis=0)[None], axis=0)[0]


class NearestTree:
    """The keys of a dense pooler in a tree, in bandwidths from their centre."""

    def __init__(self, dense):
        self.distances, self.columns = dense.distances, dense.engine.columns
        points = self.distances.centred.T
        self.largest = np.abs(points).max()
        # balanced trees take much longer to make, with many equal keys above all
        self.tree = cKDTree(points, balanced_tree=False, compact_nodes=False)

    def sums(self, block):
        """Sums (b, n_columns) of the columns over the nearest keys, ties included, and for which queries they are sure.

        They are if the tree found a key that is surely no tie, or all keys.
        """
        n_found = min(CANDIDATES, self.tree.n)
        distance, keys = self.tree.query(block.centred, np.arange(1, n_found + 1))
        t = np.stack([self.distances.to_key(block.raw, key) for key in keys.T], axis=1)
        kept = np.ones(t.shape)
        if block.own is not None:
            kept = np.where(keys == block.own[:, None], block.kept[:, None], 1.0)
            t[kept == 0] = np.inf
        edge = t.min(axis=1) * (1 + EDGE)
        sums = np.einsum("bk,bkc->bc", (t <= edge[:, None]) * kept, np.asarray(self.columns[keys]))
        rounding = 16 * np.finfo(float).eps * (self.largest + np.sqrt(block.norms))
        return sums, (n_found == self.tree.n) | (distance[:, -1] - rounding > np.sqrt(edge))
