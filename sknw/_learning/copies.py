"""The sample that a bandwidth is learned from: the training rows, in which copies of a row are merged.

A bootstrap sample, an oversampled class, a table that was joined twice, or whole numbers as weights contain the same
observation several times. Leave-one-out would then predict a row from its own copies, and select the smallest
bandwidth. Copies are therefore merged into one row with their summed weight, all of which is left out. In a table of
few distinct values, equal rows are separate observations, of which one is left out at a time. Equal rows are treated as
copies if x alone, or y alone, nearly identifies the rows, and there are many distinct rows.
"""

from typing import NamedTuple

import numpy as np

from .._table import has_missing
from .._weights import are_counts, sample_size

IDENTIFYING = 0.95
"""Smallest ratio of distinct x, or of distinct y, to distinct (x, y) at which they identify the rows."""


class Sample(NamedTuple):
    """The rows that a bandwidth is learned from.

    Parameters
    ----------
    keys : (n, n_features) float ndarray
        nan where a value is missing.
    values : (n, n_values) float ndarray or OneHot
    weights : (n,) float ndarray
        Counts or importances, as for sample weights; a row of an importance is left out as a whole.
    rows : (n_training,) int ndarray
        The index in the sample of each training row. If rows were merged, it is -1 for rows of weight zero.
    n_copies : float, default=1
        The number of training observations for each observation of the sample.
    unordered : (k,) int ndarray, default=()
        The positions of features whose codes have an order that means nothing.
    """

    keys: np.ndarray
    values: np.ndarray
    weights: np.ndarray
    rows: np.ndarray
    n_copies: float = 1.0
    unordered: np.ndarray | tuple = ()


def make_sample(keys, targets, values, weights):
    """The `Sample` of training rows with targets (n,) or (n, k) of any type, of which `values` are the encoding.

    Distinct rows with counts of at most one are returned unchanged, and so are importances unless there are copies.
    Otherwise the sample holds the distinct rows in ascending order, so that a count and repeated rows give the same
    sample. The summed weights of copies are importances. The cost is a sort of one feature, and a sort of all rows if
    that feature has ties.
    """
    unchanged, given = Sample(keys, values, weights, np.arange(len(keys))), keys
    has_counts, active, keys = are_counts(weights), np.flatnonzero(weights), _with_equal_holes(keys)
    is_repeated = has_counts and weights.max() > 1
    if not is_repeated and not _has_ties(keys[active, 0]):
        return unchanged
    targets = _to_columns(targets)[active]
    order, is_new_key, is_new_target = _sort_rows(keys[active], targets)
    order, is_new = active[order], is_new_key | is_new_target
    n_distinct, n_keys = np.count_nonzero(is_new), np.count_nonzero(is_new_key)
    if n_distinct == len(active) and not is_repeated:
        return unchanged
    is_identified = max(n_keys, _count_distinct(targets)) >= IDENTIFYING * n_distinct
    has_copies = is_identified and n_distinct >= np.sqrt(sample_size(weights))
    if not (has_copies or has_counts):
        return unchanged
    rows = np.full(len(keys), -1)
    rows[order] = np.cumsum(is_new) - 1
    first, sums = order[is_new], np.bincount(rows[order], weights[order])
    sums = sums / sums.sum() if has_copies else sums
    return Sample(given[first], values.take(first, axis=0), sums, rows, sample_size(weights) / sample_size(sums))


def _with_equal_holes(keys):
    """Keys (n, n_features), in which missing values are inf, as nan differs from nan."""
    return np.where(np.isnan(keys), np.inf, keys) if has_missing(keys) else keys


def _has_ties(column):
    ascending = np.sort(column)
    return bool(np.any(ascending[1:] == ascending[:-1]))


def _to_columns(targets):
    """Targets as numbers (n, k), which are equal where the targets are equal."""
    if targets.dtype.kind not in "fiub":
        targets = np.unique(targets, return_inverse=True)[1]
    return targets.reshape(len(targets), -1)


def _sort_rows(keys, targets):
    """The order of rows by keys, then by targets, and where in it the key and the target differ from the row before."""
    order = np.lexsort([*targets.T[::-1], *keys.T[::-1]])
    return order, _changes(keys[order]), _changes(targets[order])


def _changes(rows):
    return np.concatenate([[True], np.any(rows[1:] != rows[:-1], axis=1)])


def _count_distinct(rows):
    return np.count_nonzero(_changes(rows[np.lexsort(rows.T)]))
