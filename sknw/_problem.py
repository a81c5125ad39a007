"""The problem that all engines receive: what is summed over the training points, and what leave-one-out takes away."""

from copy import copy
from functools import cached_property
from itertools import pairwise

import numpy as np

from ._distinct import find_copies
from ._one_hot import OneHot, OneHotColumns
from ._weights import are_alike, retained_share, scale_values, unit_weights

FEW_CLASSES = 16
"""Number of classes up to which products with an array of columns are as fast as with labels."""

CENTRE_KEYS = 1000
"""The centre is the median of so many keys, or up to twice as many: it need not be exact."""

MOST_DISTINCT = 0.5
"""The largest fraction of the numbers of all keys that those of distinct keys may be."""

SAMPLE_ROWS = 32
"""Rows of distances of which the median is taken, or up to twice as many."""


class Problem:
    """Training points as keys and columns of weighted values.

    Values are moved to [0, 2], so that sums neither cancel nor overflow, and rows of weight zero are no keys.

    Parameters
    ----------
    rows : (n, n_features) float ndarray
        Training inputs, which are the queries of leave-one-out.
    values : (n, n_values) float ndarray or OneHot
    weights : (n,) float ndarray
        Counts or importances.
    is_first : (n_features,) bool ndarray or True, default=True
        Which columns of the rows are the first of a feature, if some features are several columns.

    Attributes
    ----------
    keys : (n_keys, n_features) float ndarray
        The rows of positive weight.
    key_rows : slice or (n_keys,) int ndarray
        Which row each key is; a slice if all rows are keys.
    columns : (n_keys, n_values + 1) float ndarray or OneHotColumns
        Values times weights, and the weights.
    retained : (n,) float ndarray
        The share of its own weight that each row retains in leave-one-out.
    memo : dict
        What engines have found out about the keys alone, by name. Problems of the same keys share it.
    """

    def __init__(self, rows, values, weights, is_first=True):
        self.rows, self.retained, self.is_first, self.memo = rows, retained_share(weights), is_first, {}
        self.key_rows, self.keys = slice(0, len(rows)), rows
        if not are_alike(weights) and not weights.all():
            self.key_rows = np.flatnonzero(weights)
            self.keys, weights = rows[self.key_rows], weights[self.key_rows]
            values = values.take(self.key_rows, axis=0)
        self._put(values, weights)

    def _put(self, values, weights):
        """Take values (n_keys, n_values) and weights (n_keys,) of the keys."""
        self._weights, self.largest_weight = weights, weights.max()
        self._exponents, self._lowest, self.columns = _make_columns(values, weights / self.largest_weight)

    def with_values(self, values, weights=None):
        """A problem of the same keys with other values (n, n_values), and weights (n,), positive where these are."""
        problem = copy(self)
        for name in ("removed_columns", "units", "condensed"):
            vars(problem).pop(name, None)
        values = values if self.has_all_rows else values.take(self.key_rows, axis=0)
        problem._put(values, self._weights if weights is None else weights[self.key_rows])
        return problem

    def of_keys(self, positions, values):
        """A problem of some of the keys, which are its rows, with values (k, n_values) of their own."""
        return Problem(self.keys[positions], values, self._weights[positions], self.is_first)

    def count_features(self, bandwidth):
        """The number of features whose columns have a finite bandwidth; `bandwidth` is (n_features,)."""
        return np.count_nonzero(np.isfinite(bandwidth) & self.is_first)

    def levels(self, used):
        """Slices of the columns in use, a mask (n_features,), for each category of three levels or more."""
        if self.is_first is True:
            return []
        starts = np.append(np.flatnonzero(self.is_first[used]), np.count_nonzero(used))
        return [slice(*ends) for ends in pairwise(starts) if ends[1] - ends[0] > 2]

    @property
    def has_all_rows(self):
        """Whether all rows are keys."""
        return isinstance(self.key_rows, slice)

    @property
    def weights(self):
        """The weights of the keys (n_keys,), in units of `largest_weight`."""
        return self.columns.T[-1]

    @property
    def n_values(self):
        """The number of columns of the values."""
        return self.columns.shape[1] - 1

    @cached_property
    def extent(self):
        """The minimum and maximum of each feature of the keys, and half the median of a sample of them, (3, d)."""
        sample = np.ascontiguousarray(self.keys[:: max(1, len(self.keys) // CENTRE_KEYS)].T)
        middle = sample.shape[1] // 2
        half_median = np.partition(sample, middle, axis=1)[:, middle] / 2
        return np.stack([self.keys.min(axis=0), self.keys.max(axis=0), half_median])

    @cached_property
    def units(self):
        """The weight of each key (n_keys,) in units of one observation."""
        return unit_weights(self._weights)

    def self_index(self, rows):
        """The positions among the keys (m,) of some rows, a slice or positions; -1 without weight."""
        if self.has_all_rows:
            return np.arange(*rows.indices(len(self.rows))) if isinstance(rows, slice) else rows
        return self._self_index[rows]

    @cached_property
    def _self_index(self):
        """The position of each row (n,) among the keys, -1 without weight."""
        index = np.full(len(self.rows), -1)
        index[self.key_rows] = np.arange(len(self.key_rows))
        return index

    @cached_property
    def condensed(self):
        """The problem of the distinct keys, with means of values and summed weights; None if they are not far fewer.

        It has the same sums for every query, but not what leave-one-out takes away.
        """
        if "distinct" not in self.memo:
            self.memo["distinct"] = find_copies(self.keys)
        if self.memo["distinct"] is None:
            return None
        first, place = self.memo["distinct"]
        n_stored = 2 if isinstance(self.columns, OneHotColumns) else self.columns.shape[1]
        if len(first) * self.columns.shape[1] > MOST_DISTINCT * len(place) * n_stored:
            return None
        values, weights = self.means(_sum_groups(self.columns, place)), np.bincount(place, self._weights)
        return Problem(self.keys[first], values, weights, self.is_first)

    @cached_property
    def removed_columns(self):
        """What each row takes out of the columns in leave-one-out, (n, n_values + 1)."""
        if self.has_all_rows and not self.retained.any():
            return self.columns
        index = self.self_index(slice(None))
        share = np.where(index >= 0, 1 - self.retained, 0.0)
        removed = self.columns.take(index, axis=0)
        return removed.scaled(share) if isinstance(removed, OneHotColumns) else removed * share[:, None]

    def means(self, sums):
        """Means of the values (b, n_values) from sums of the columns (b, n_values + 1)."""
        means = sums[:, :-1] / sums[:, -1:]
        means += self._lowest
        half = self._exponents // 2  # 2^1024 is no float
        means *= np.ldexp(1.0, half)
        means *= np.ldexp(1.0, self._exponents - half)
        return means

    def scale_cotangents(self, cotangents):
        """Cotangents (b, n_values) of means of the values as those of means of the columns."""
        return np.ldexp(cotangents, self._exponents)


class DistanceProblem(Problem):
    """Training points of which distances are known, and no coordinates.

    Parameters
    ----------
    distances : (n_points, n_points) float ndarray
        From each point, as a query, to all others as keys.
    rows : (n, 1) int ndarray
        The position of each training row among the points, which is its only coordinate.
    values, weights
        As for `Problem`.
    """

    condensed = None

    def __init__(self, distances, rows, values, weights):
        self.distances = distances
        super().__init__(rows, values, weights)

    def of_keys(self, positions, values):
        """A problem of some of the keys, which are its rows, with values (k, n_values) of their own."""
        return DistanceProblem(self.distances, self.keys[positions], values, self._weights[positions])

    @cached_property
    def extent(self):
        """Zero, the median of the positive distances of a sample of the points to all others, and zero, (3, 1)."""
        sample = self.distances[:: max(1, len(self.distances) // SAMPLE_ROWS)]
        positive = sample[sample > 0]
        return np.array([[0.0], [np.median(positive) if len(positive) else 0.0], [0.0]])


def _sum_groups(columns, place):
    """The sums of rows of columns (n, n_columns) that have the same place (n,), as an ndarray."""
    if isinstance(columns, OneHotColumns):
        return columns.sum_groups(place)
    return np.column_stack([np.bincount(place, column) for column in columns.T])


def _make_columns(values, weights):
    """The exponents and lowest values (n_values,) that `Problem` moves values by, and its columns."""
    if isinstance(values, OneHot):
        columns = OneHotColumns(values.labels, weights, values.shape[1])
        return 0, 0.0, columns if values.shape[1] > FEW_CLASSES else np.asarray(columns)
    scaled, exponents = scale_values(values)
    lowest = scaled.min(axis=0)
    columns = np.empty((len(values), len(lowest) + 1))
    moved = np.subtract(scaled, lowest, out=columns[:, :-1])
    if not are_alike(weights):
        moved *= weights[:, None]
    columns[:, -1] = weights
    return exponents, lowest, columns
