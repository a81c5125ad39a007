"""The nearest keys of queries, found in a k-d tree of all keys."""

import numpy as np
from scipy.spatial import cKDTree

from ..._kernels import EDGE

MOST_FEATURES = 6
"""In more features a tree looks at nearly all keys."""

CANDIDATES = 8
"""Number of neighbours that the tree is asked for: more keys than these are rarely tied."""


class NearestTree:
    """The keys of `dense.keys.Keys` in a tree, in bandwidths from their centre."""

    def __init__(self, keys):
        self.columns, points = keys.columns, keys.centred.T
        self.largest = np.abs(points).max()
        # balanced trees take much longer to make, with many equal keys above all
        self.tree = cKDTree(points, balanced_tree=False, compact_nodes=False)

    def sums(self, pairs):
        """Sums (b, n_columns) over the nearest keys, ties included, their t (b,), and for which queries they are right.

        They are if the tree found a key that is certainly no tie, or all keys.
        """
        n_found = min(CANDIDATES, self.tree.n)
        distance, keys = self.tree.query(pairs.centred, np.arange(1, n_found + 1))
        t = np.stack([pairs.to_key(key) for key in keys.T], axis=1)
        retained = np.ones(t.shape)
        if pairs.self_index is not None:
            retained = np.where(keys == pairs.self_index[:, None], pairs.retained[:, None], 1.0)
            t[retained == 0] = np.inf
        nearest_t = t.min(axis=1)
        edge = nearest_t * (1 + EDGE)
        sums = np.einsum("bk,bkc->bc", (t <= edge[:, None]) * retained, np.asarray(self.columns[keys]))
        rounding = 16 * np.finfo(float).eps * (self.largest + np.sqrt(pairs.norms))
        return sums, nearest_t, (n_found == self.tree.n) | (distance[:, -1] - rounding > np.sqrt(edge))
