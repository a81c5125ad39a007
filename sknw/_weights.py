"""What sample weights mean: counts if all are integers, importances otherwise.

A count k is the row k times. Of importances only the ratios matter.
"""

import numpy as np


def are_counts(weights):
    """Whether all weights are whole numbers (of a size where a float still counts)."""
    return bool(weights.max() < 2**53 and np.all(weights == np.rint(weights)))


def sample_size(weights):
    """The number of observations n: the sum of counts, or Kish's (sum w)² / sum w² for importances."""
    if are_counts(weights):
        return float(weights.sum())
    ratios = weights / weights.max()
    return float(ratios.sum() ** 2 / np.square(ratios).sum())


def kept_fraction(weights):
    """What fraction of its own weight each row keeps when one observation of it is left out.

    A count k keeps (k - 1) / k: one unit goes. An importance keeps nothing: the row goes.
    """
    if not are_counts(weights):
        return np.zeros_like(weights)
    return np.maximum(weights - 1, 0) / np.maximum(weights, 1)


def has_one_unit(weights):
    """Whether leaving one observation out leaves nothing."""
    return np.count_nonzero(weights) == 1 and not kept_fraction(weights).any()


def means_of_others(values, weights):
    """The weighted mean of `values` (n, k) without one observation of each row, (n, k).

    From sums of the rows before and after, since taking a large weight away from a total would cancel.
    """
    lowest, kept = values.min(axis=0), kept_fraction(weights)
    weights = weights / weights.max()
    columns = np.column_stack([(values - lowest) * weights[:, None], weights])
    nothing = np.zeros((1, columns.shape[1]))
    before = np.cumsum(np.vstack([nothing, columns[:-1]]), axis=0)
    after = np.cumsum(np.vstack([nothing, columns[:0:-1]]), axis=0)[::-1]
    sums = before + after + kept[:, None] * columns
    return lowest + sums[:, :-1] / sums[:, -1:]
