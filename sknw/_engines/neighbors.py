"""The distance of each query to its k-th nearest key, and the width that follows it.

With n_neighbors = k, the width of a query is c times the distance to its k-th nearest key, so that it is narrow where
keys are dense (Loftsgaarden & Quesenberry 1965, "A nonparametric estimate of a multivariate density function";
Silverman 1986, section 5.2). In squared distances t, the weight of key i is w_i K(scale t_i) with
scale = 1 / (c² t_(k)), and c = canonical_ratio(kernel, d) / 2 for d features of finite bandwidth. Bandwidths then are a
metric, of which only the ratios matter.

Keys at the same place are one key of their summed weight, and are counted by units of weight: a count is as many units,
and importances sum to their effective number. t_(k) is the least t within which there are k units; the greatest t if
there are fewer in all, and the least positive t where it is 0. It comes from differences of coordinates, which makes it
right to a few units in the last place. Candidates come from a k-d tree of few features, or from matrix products. t_(k)
is accepted if no other key can be nearer, with the rounding of either included. Where it is not, more neighbours are
asked for, and all keys in the end. Where only distances are known, all keys are asked for.
"""

from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from .._canonical import canonical_ratio
from .._distinct import distinct_rows
from .._threads import run_blocks
from .dense.distances import make_keys
from .dense.pairs import slices

MOST_FEATURES = 6
"""In more features a tree looks at nearly all keys."""

SPARE = 6
"""Neighbours that are asked for in addition, as some may be tied."""

GROUPS = 8
"""Groups of keys for each neighbour that is asked for."""

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
        points = keys.make_augmented()[:-2].T
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
        used = np.isfinite(bandwidth)
        first, self.place = distinct_rows(problem.keys[:, used])
        units = np.bincount(self.place, problem.units)
        self.problem, self.units = problem, None if (units == 1).all() else units
        self.keys = make_keys(problem.of_keys(first, np.zeros((len(first), 1))), kernel, bandwidth)
        self.square = (canonical_ratio(kernel, problem.count_features(bandwidth)) / 2) ** 2

    @cached_property
    def tree(self):
        """The keys in a tree."""
        return NeighborTree(self.keys)

    def scales(self, points, left_out, ks, n_jobs=None):
        """The factors of t that the k-th neighbours make, for each k, (n_k, m).

        `points` (m, n_features) are the queries, and `left_out` what leave-one-out takes away if these are rows of the
        problem, or None.
        """
        t, ks = np.empty((len(points), len(ks))), np.array(ks, dtype=float)

        def find(rows):
            own = None if left_out is None else self._own(left_out[rows])
            t[rows] = self._find(self.keys.pairs(points[rows], own), ks)

        run_blocks(find, len(points), self._block_rows(self._n_first(ks)), n_jobs)
        return 1 / (self.square * np.where(t > 0, np.maximum(t, LEAST_T), 1.0)).T

    def _own(self, left_out):
        """What `left_out` takes away, in distinct keys."""
        index = left_out.self_index
        place = np.where(index >= 0, self.place[index], -1)
        removed = (1 - left_out.retained) * self.problem.units[index]
        return Own(place, np.maximum(1 - removed / (1.0 if self.units is None else self.units[place]), 0.0))

    def _n_first(self, ks):
        """The number of neighbours that usually hold k units, for the largest k."""
        mean = 1.0 if self.units is None else self.units.mean()
        return min(int(ks.max() * max(1.0, 1.2 / mean)) + SPARE, len(self.keys.weights))

    def _block_rows(self, n_found):
        """The number of queries that are asked for so many neighbours together."""
        is_in_tree = not self._takes_all(n_found) and self.keys.n_used <= MOST_FEATURES
        return max(1, BLOCK_PAIRS // (n_found if is_in_tree else len(self.keys.weights)))

    def _takes_all(self, n_found):
        """Whether so many neighbours are searched for among all keys."""
        return not self.keys.has_coordinates or n_found * GROUPS >= len(self.keys.weights)

    def _find(self, pairs, ks):
        """t_(k) (b, n_k) of some queries, from as many neighbours as it takes."""
        t, rows, n_found = np.empty((len(pairs), len(ks))), np.arange(len(pairs)), self._n_first(ks)
        while len(rows):
            resolved = np.empty(len(rows), dtype=bool)
            for block in slices(len(rows), self._block_rows(n_found)):
                t[rows[block]], resolved[block] = self._find_among(pairs.take(rows[block]), ks, n_found)
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
        if self._takes_all(n_found):
            return self._all(pairs)
        if self.keys.n_used > MOST_FEATURES:
            return self._nearest_by_products(pairs, n_found)
        keys, t, others = self.tree.find(pairs, n_found)
        if pairs.self_index is not None:
            t[(keys == pairs.self_index[:, None]) & (pairs.retained == 0)[:, None]] = np.inf
        return keys, t, others

    def _all(self, pairs):
        """The same with all keys."""
        every = slice(0, len(self.keys.weights))
        t = pairs.hide_self(pairs.differences(every), every)
        return np.broadcast_to(np.arange(t.shape[1]), t.shape), t, np.full(len(t), np.inf)

    def _nearest_by_products(self, pairs, n_found):
        """The same with the keys that may be among the nearest, filled up with t = inf.

        The n_found-th least of minima over groups of keys is no less than that over keys. t from products errs by at
        most (d + 8) eps (|q| + |x|)².
        """
        n_keys, d = len(self.keys.weights), self.keys.n_used
        every, n_groups = slice(0, n_keys), n_found * GROUPS
        ((_, products),) = pairs.stream_t(by_product=True, blocks=[every])
        pairs.place_self(products, every)
        minima = products[:, : n_keys // n_groups * n_groups].reshape(len(pairs), -1, n_groups).min(axis=1)
        most = np.partition(minima, n_found, axis=1)[:, n_found]
        error = (d + 8) * np.finfo(float).eps * np.square(np.sqrt(pairs.norms) + np.sqrt(self.keys.largest_norm))
        rows, found = np.nonzero(products <= (most + 2 * error)[:, None])
        counts = np.bincount(rows, minlength=len(pairs))
        if counts.max() > n_groups:
            return self._all(pairs)
        column = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        keys, t = np.zeros((len(pairs), counts.max()), dtype=np.intp), np.full((len(pairs), counts.max()), np.inf)
        keys[rows, column], t[rows, column] = found, pairs.to_key(found, rows)
        return keys, t, np.sqrt(most + error)

    def _units_of(self, pairs, keys):
        """The units of keys (b, n_found), of own keys those that are retained."""
        units = self.units[keys]
        if pairs.self_index is not None:
            units *= np.where(keys == pairs.self_index[:, None], pairs.retained[:, None], 1.0)
        return units


class Own(NamedTuple):
    """The position of each query (b,) among distinct keys, -1 without one, and the share that this retains, (b,)."""

    self_index: np.ndarray
    retained: np.ndarray


class Widths:
    """The widths of queries that follow the distance to their k-th nearest key."""

    def __init__(self, neighbors, n_neighbors):
        self.neighbors, self.n_neighbors = neighbors, n_neighbors

    def __call__(self, points, left_out=None, n_jobs=None):
        """The factors (m,) of t, as in `Neighbors.scales`."""
        return self.neighbors.scales(points, left_out, [self.n_neighbors], n_jobs)[0]


def unit_bandwidth(problem, bandwidth):
    """The bandwidth (n_features,) times a power of two that makes the keys one to four bandwidths wide."""
    low, high, _ = problem.extent
    varies = (high > low) & np.isfinite(bandwidth)
    if not varies.any():
        return bandwidth
    exponents = np.frexp(high / 2 - low / 2)[1] - np.frexp(bandwidth)[1]
    with np.errstate(all="ignore"):
        return np.maximum(np.ldexp(bandwidth, exponents[varies].max()), np.finfo(float).tiny)
