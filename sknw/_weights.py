"""What sample weights mean: counts if all are integers, importances otherwise.

A count k is the row k times. Of importances only the ratios matter.
"""

import numpy as np

LIGHTEST = 1e-250
"""The least positive importance, as a fraction of the largest or of its double."""


def are_counts(weights):
    """Whether all weights are whole numbers (of a size where a float still counts)."""
    return bool(weights.max() < 2**53 and np.all(weights == np.rint(weights)))


def scale_importances(weights):
    """Importances with a largest one of 1/2 to 1, so that sums and products with a kernel stay within floats.

    Positive ones are LIGHTEST at least.
    """
    scaled = np.ldexp(weights, -np.frexp(weights.max())[1])  # a power of two: never whole numbers, which are counts
    return np.where(weights > 0, np.maximum(scaled, LIGHTEST), 0.0)


def sample_size(weights):
    """The number of observations n: the sum of counts, or Kish's (sum w)² / sum w² for importances."""
    if are_counts(weights):
        return float(weights.sum())
    ratios = weights / weights.max()
    return float(ratios.sum() ** 2 / np.square(ratios).sum())


def retained_share(weights):
    """The share of its own weight that each row retains when one observation of it is left out.

    A count k retains (k - 1) / k, without one unit. An importance retains nothing, as the whole row is left out.
    """
    if not are_counts(weights):
        return np.zeros_like(weights)
    return np.maximum(weights - 1, 0) / np.maximum(weights, 1)


def has_one_unit(weights):
    """Whether leaving one observation out leaves nothing."""
    return np.count_nonzero(weights) == 1 and not retained_share(weights).any()


def scale_values(values):
    """`values` (n, k) in units of powers of two that keep their sums within floats, and the exponents (k,) of these."""
    exponents = np.frexp(np.abs(values).max(axis=0))[1]
    return np.ldexp(values, -exponents), exponents
