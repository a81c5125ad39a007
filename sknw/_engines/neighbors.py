"""The distance of each query to its k-th nearest key, and the width that follows it.

With n_neighbors = k, the width of a query is c times the distance to its k-th nearest key, so that it is narrow where
keys are dense (Loftsgaarden & Quesenberry 1965, "A nonparametric estimate of a multivariate density function";
Silverman 1986, section 5.2). In squared distances t, the weight of key i is w_i K(scale t_i) with
scale = 1 / (c² t_(k)), and c = canonical_ratio(kernel, d) / 2 for d features of finite bandwidth. Bandwidths then are a
metric, of which only the ratios matter.

Keys are counted by units of weight: a count is as many units, and importances sum to their effective number. t_(k) is
the least t within which there are k units; the greatest t if there are fewer in all, and the least positive t where it
is 0. It comes from differences of coordinates, which makes it right to a few units in the last place. With few features
a k-d tree proposes neighbours; t_(k) is accepted if no other key can be nearer, the rounding of the distances in the
tree included. More neighbours are asked for where it is not, and, in the end, all keys.
"""

from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from .._canonical import canonical_ratio
from .._threads import run_blocks
from .dense.keys import Keys

MOST_FEATURES = 6
"""In more features a tree looks at nearly all keys."""

FEWEST_KEYS = 1000
"""Number of keys from which on a tree is faster than all distances."""

MOST_FOUND = 512
"""Neighbours up to which a tree is asked."""

SPARE = 6
"""Neighbours that are asked for in addition, as some may be tied."""

GROWTH = 4
"""Factor by which the number of neighbours grows for queries that need more."""

BLOCK_PAIRS = 2**17
"""Pairs of a query and a key that a thread holds: a MiB of distances."""

COUNT_ROUNDING = 1e-9
"""Relative rounding of sums of units, which must not cost a neighbour."""

LEAST_T = 2.0**-1000
"""Lower bound of t_(k), so that scales are finite."""


class NeighborTree:
    """The keys of `dense.keys.Keys` in a k-d tree, in bandwidths from their centre."""

    def __init__(self, keys):
        points = keys.centred.T
        self.largest = np.abs(points).max()
        # balanced trees take much longer to make, with many equal keys above all
        self.tree = cKDTree(points, balanced_tree=False, compact_nodes=False)

    def find(self, pairs, n_found):
        """Some of the nearest keys of each query, their t, both (b, n_found), and sqrt(t) that all others exceed, (b,).

        If there are fewer keys, these are all. The last is a lower bound, as the tree rounds its distances.
        """
        n_found = min(n_found, self.tree.n)
        distance, keys = self.tree.query(pairs.centred, np.arange(1, n_found + 1))
        t = np.stack([pairs.to_key(key) for key in keys.T], axis=1)
        unit = 1.0 if pairs.scale is None else np.sqrt(pairs.scale)
        rounding = 16 * np.finfo(float).eps * (unit * self.largest + np.sqrt(pairs.norms))
        others = unit * distance[:, -1] - rounding if n_found < self.tree.n else np.full(len(pairs), np.inf)
        return keys, t, others


class Neighbors:
    """Distances from queries to their k-th nearest keys, for one bandwidth vector (n_features,).

    Parameters
    ----------
    problem : Problem
    kernel : Kernel
    bandwidth : (n_features,) float ndarray
        As returned by `unit_bandwidth`; a feature of infinite bandwidth is ignored.
    """

    def __init__(self, problem, kernel, bandwidth):
        self.problem, self.keys = problem, Keys(problem, kernel, bandwidth)
        self.square = (canonical_ratio(kernel, np.count_nonzero(np.isfinite(bandwidth))) / 2) ** 2

    @cached_property
    def tree(self):
        """The keys in a tree."""
        return NeighborTree(self.keys)

    @cached_property
    def units(self):
        """The units of weight of each key (n_keys,); None if all are 1."""
        units = self.problem.units
        return None if (units == 1).all() else units

    def scales(self, points, left_out, ks, n_jobs=None):
        """The factors of t that the k-th neighbours make, for each k, (n_k, m).

        `points` (m, n_features) are the queries, and `left_out` what leave-one-out takes away if these are rows of the
        problem, or None.
        """
        t, ks = np.empty((len(points), len(ks))), np.array(ks, dtype=float)

        def find(rows):
            t[rows] = self._find(self.keys.pairs(points[rows], None if left_out is None else left_out[rows]), ks)

        n_held = self._n_first(ks) if self._is_in_tree(self._n_first(ks)) else len(self.keys.weights)
        run_blocks(find, len(points), max(1, BLOCK_PAIRS // n_held), n_jobs)
        return 1 / (self.square * np.where(t > 0, np.maximum(t, LEAST_T), 1.0)).T

    def _n_first(self, ks):
        """The number of neighbours that usually hold k units, for the largest k."""
        mean = 1.0 if self.units is None else self.units.mean()
        return min(int(ks.max() * max(1.0, 1.2 / mean)) + SPARE, len(self.keys.weights))

    def _is_in_tree(self, n_found):
        """Whether a tree is faster than all distances, for so many neighbours."""
        n_keys, d = self.keys.raw.shape
        return d <= MOST_FEATURES and n_keys >= FEWEST_KEYS and n_found <= MOST_FOUND

    def _find(self, pairs, ks):
        """t_(k) (b, n_k) of some queries, from as many neighbours as it takes."""
        t, rows, n_found = np.empty((len(pairs), len(ks))), np.arange(len(pairs)), self._n_first(ks)
        while len(rows):
            t[rows], resolved = self._find_among(pairs.take(rows), ks, n_found)
            rows, n_found = rows[~resolved], n_found * GROWTH
        return t

    def _find_among(self, pairs, ks, n_found):
        """t_(k) (b, n_k) from some of the neighbours, and for which queries (b,) it is right."""
        keys, t, others = self._neighbors(pairs, n_found)
        if self.units is None:
            t.sort(axis=1)
            positions = np.broadcast_to(ks.astype(int) - 1, (len(t), len(ks)))
        else:
            order = np.argsort(t, axis=1)
            t = np.take_along_axis(t, order, axis=1)
            within = np.cumsum(np.take_along_axis(self._units_of(pairs, keys), order, axis=1), axis=1)
            positions = np.stack([np.count_nonzero(within < k * (1 - COUNT_ROUNDING), axis=1) for k in ks], axis=1)
        t = np.column_stack([t, np.full(len(t), np.inf)])
        kth = np.take_along_axis(t, np.minimum(positions, t.shape[1] - 1), axis=1)
        first = np.take_along_axis(t, np.count_nonzero(t == 0, axis=1)[:, None], axis=1)
        kth = np.where(kth > 0, kth, first)
        resolved = (np.sqrt(kth) <= others[:, None]).all(axis=1)
        greatest = np.max(t, axis=1, where=np.isfinite(t), initial=0.0)[:, None]
        return np.where(np.isfinite(kth), kth, greatest), resolved

    def _neighbors(self, pairs, n_found):
        """As `NeighborTree.find`, with own keys out of reach if nothing of them is retained."""
        if self._is_in_tree(n_found):
            keys, t, others = self.tree.find(pairs, n_found)
            if pairs.self_index is not None:
                t[(keys == pairs.self_index[:, None]) & (pairs.retained == 0)[:, None]] = np.inf
            return keys, t, others
        every = slice(0, len(self.keys.weights))
        t = pairs.hide_self(pairs.differences(every), every)
        if n_found >= t.shape[1]:
            return np.broadcast_to(np.arange(t.shape[1]), t.shape), t, np.full(len(t), np.inf)
        if self.units is None:
            t = np.partition(t, n_found, axis=1)[:, : n_found + 1]
            return None, t, np.sqrt(t[:, -1])
        keys = np.argpartition(t, n_found, axis=1)[:, : n_found + 1]
        t = np.take_along_axis(t, keys, axis=1)
        return keys, t, np.sqrt(t[:, -1])

    def _units_of(self, pairs, keys):
        """The units of keys (b, n_found), of own keys those that are retained."""
        units = self.units[keys]
        if pairs.self_index is not None:
            units *= np.where(keys == pairs.self_index[:, None], pairs.retained[:, None], 1.0)
        return units


class Widths:
    """The widths of queries that follow the distance to their k-th nearest key."""

    def __init__(self, neighbors, n_neighbors):
        self.neighbors, self.n_neighbors = neighbors, n_neighbors

    def __call__(self, points, left_out=None, n_jobs=None):
        """The factors (m,) of t, as in `Neighbors.scales`."""
        return self.neighbors.scales(points, left_out, [self.n_neighbors], n_jobs)[0]


def unit_bandwidth(problem, bandwidth):
    """The bandwidth (n_features,) times a power of two that makes the keys about as wide as one bandwidth."""
    low, high, _ = problem.extent
    with np.errstate(divide="ignore"):
        exponents = np.frexp(high / 2 - low / 2)[1] - np.frexp(bandwidth)[1]
    counts = (high > low) & np.isfinite(bandwidth)
    if not counts.any():
        return bandwidth
    return np.maximum(np.ldexp(bandwidth, exponents[counts].max()), np.finfo(float).tiny)
