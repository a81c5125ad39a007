"""The rows that a bandwidth is learned from: the training rows, but that copies of a row are one row.

A bootstrap sample, an oversampled class, a table that was joined twice, or a whole number as a weight holds the same
observation several times. Leave-one-out then predicts a row by its own copy, and the best bandwidth is the smallest. So
where equal rows are copies, they are one row with their summed weight, all of which is left out. In a table of few
values equal rows are observations in their own right, of which one is left out; it is the same observation that is
drawn again where x alone, or y alone, nearly identifies the rows, and there are many of them.
"""

from typing import NamedTuple

import numpy as np

from .._weights import are_counts, sample_size

IDENTIFYING = 0.95
"""Distinct x, or distinct y, as a fraction of the distinct (x, y), from which on they identify the rows."""


class Sample(NamedTuple):
    """What a bandwidth is learned from.

    Parameters
    ----------
    keys : (n, n_features) float ndarray
    values : (n, n_values) float ndarray or OneHot
    weights : (n,) float ndarray
        Counts or importances, as sample weights are: of the latter all of a row is left out.
    rows : (n_training,) int ndarray
        Which of the n rows each training row is; -1 without weight, if any are merged.
    """

    keys: np.ndarray
    values: np.ndarray
    weights: np.ndarray
    rows: np.ndarray


def make_sample(keys, targets, values, weights):
    """The `Sample` of training rows with targets (n,) or (n, k), of any type, which become `values`.

    Rows that are all distinct, of counts up to one, stay as they are. So do importances, unless there are copies. All
    else becomes the distinct rows in ascending order, the same for a count as for repeated rows; the summed weights of
    copies are importances. Costs one sort of a feature, and one of all rows if that feature has ties.
    """
    plain = Sample(keys, values, weights, np.arange(len(keys)))
    counted, active = are_counts(weights), np.flatnonzero(weights)
    is_repeated = counted and weights.max() > 1
    if not is_repeated and not _has_ties(keys[active, 0]):
        return plain
    targets = _to_columns(targets)[active]
    order, new_key, new_target = _sort_rows(keys[active], targets)
    order, new = active[order], new_key | new_target
    n_distinct, n_keys = np.count_nonzero(new), np.count_nonzero(new_key)
    if n_distinct == len(active) and not is_repeated:
        return plain
    identified = max(n_keys, _count_distinct(targets)) >= IDENTIFYING * n_distinct
    copies = identified and n_distinct >= np.sqrt(sample_size(weights))
    if not (copies or counted):
        return plain
    rows = np.full(len(keys), -1)
    rows[order] = np.cumsum(new) - 1
    first, sums = order[new], np.bincount(rows[order], weights[order])
    return Sample(keys[first], values.take(first, axis=0), sums / sums.sum() if copies else sums, rows)


def _has_ties(column):
    ascending = np.sort(column)
    return bool(np.any(ascending[1:] == ascending[:-1]))


def _to_columns(targets):
    """Numbers (n, k) that differ where targets do."""
    if targets.dtype.kind not in "fiub":
        targets = np.unique(targets, return_inverse=True)[1]
    return targets.reshape(len(targets), -1)


def _sort_rows(keys, targets):
    """The order of rows by keys, then targets, and where in it the key, or the target, is another than before."""
    order = np.lexsort([*targets.T[::-1], *keys.T[::-1]])
    return order, _changes(keys[order]), _changes(targets[order])


def _changes(rows):
    return np.concatenate([[True], np.any(rows[1:] != rows[:-1], axis=1)])


def _count_distinct(rows):
    return np.count_nonzero(_changes(rows[np.lexsort(rows.T)]))
