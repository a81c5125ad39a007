"""The meaning of sample weights: counts if all are whole numbers, importances otherwise.

A count of k is equivalent to k copies of the row. Only the ratios of importances matter. Weights that are all equal are
a view of one number, which takes no memory, and of which functions of weights need one look.
"""

import numpy as np

SMALLEST_IMPORTANCE = 1e-250
"""The smallest positive importance after scaling."""


def share_memory(weights):
    """Weights (n,), as a view of one number if all are equal."""
    return np.broadcast_to(weights[0], weights.shape) if np.all(weights == weights[0]) else weights


def are_alike(weights):
    """Whether weights are a view of one number."""
    return weights.strides == (0,)


def are_counts(weights):
    """Whether all weights are whole numbers below 2^53, up to which floats represent every whole number."""
    weights = weights[:1] if are_alike(weights) else weights
    return bool(weights.max() < 2**53 and np.all(weights == np.rint(weights)))


def scale_importances(weights):
    """Importances scaled to a maximum in [1/2, 1), so that sums and products with a kernel neither overflow nor vanish.

    Positive importances below `SMALLEST_IMPORTANCE` are raised to it.
    """
    scaled = np.ldexp(weights, -np.frexp(weights.max())[1])  # below one, so not all are whole numbers
    return np.where(weights > 0, np.maximum(scaled, SMALLEST_IMPORTANCE), 0.0)


def sample_size(weights):
    """The number of observations n: the sum of counts, or Kish's (sum w)² / sum w² for importances."""
    if are_counts(weights):
        return float(weights[0] * len(weights) if are_alike(weights) else weights.sum())
    ratios = weights / weights.max()
    return float(ratios.sum() ** 2 / np.square(ratios).sum())


def unit_weights(weights):
    """Weights in units of one observation: counts as they are, and importances with their sample size as their sum."""
    return weights if are_counts(weights) else weights * (sample_size(weights) / weights.sum())


def retained_share(weights):
    """The share of its weight (n,) that each row retains in leave-one-out.

    A count of k retains (k - 1) / k, as one repetition is left out. An importance retains nothing, as the row is left
    out as a whole.
    """
    if not are_counts(weights):
        return np.broadcast_to(0.0, weights.shape)
    counts = weights[:1] if are_alike(weights) else weights
    return np.broadcast_to(np.maximum(counts - 1, 0) / np.maximum(counts, 1), weights.shape)


def has_one_unit(weights):
    """Whether leaving one observation out leaves no positive weight."""
    n_positive = len(weights) if are_alike(weights) else np.count_nonzero(weights)
    return n_positive == 1 and not retained_share(weights).any()


def scale_values(values):
    """`values` (n, k) divided by a power of two for each column, so that sums do not overflow, and the exponents."""
    exponents = np.frexp(np.abs(values).max(axis=0))[1]
    return np.ldexp(values, -exponents), exponents
