"""The nearest keys of queries, found in a k-d tree of all keys."""

import numpy as np

from ..._kernels import EDGE
from ..neighbors import NeighborTree

CANDIDATES = 8
"""Number of neighbours that the tree is asked for: more keys than these are rarely tied."""


class NearestTree:
    """The keys of `dense.keys.Keys` in a tree."""

    def __init__(self, keys):
        self.columns, self.tree = keys.columns, NeighborTree(keys)

    def sums(self, pairs):
        """Sums (b, n_columns) over the nearest keys, ties included, their t (b,), and for which queries they are right.

        They are if the tree found a key that is certainly no tie, or all keys.
        """
        keys, t, others = self.tree.find(pairs, CANDIDATES)
        retained = np.ones(t.shape)
        if pairs.self_index is not None:
            retained = np.where(keys == pairs.self_index[:, None], pairs.retained[:, None], 1.0)
            t[retained == 0] = np.inf
        nearest_t = t.min(axis=1)
        edge = nearest_t * (1 + EDGE)
        sums = np.einsum("bk,bkc->bc", (t <= edge[:, None]) * retained, np.asarray(self.columns[keys]))
        return sums, nearest_t, others > np.sqrt(edge)
