"""Rules of thumb for bandwidths, based on the scale of each feature and the shape of the kernel."""

from functools import lru_cache

import numpy as np

from .._canonical import canonical_ratio
from .._weights import are_counts, sample_size

RULES = ("silverman", "scott")

RANGE_ROUNDING = 10 * np.finfo(float).eps
"""Relative range of a column, or of its quartiles, up to which it is attributed to rounding."""

FILL_DISTANCE = 100
"""Distance from the quartiles, in interquartile ranges, beyond which a value is regarded as a fill value."""

BUCKETS, SAMPLE = 256, 64
"""Number of buckets between the least and the largest value of a sample, and the least size of the sample."""

PARTITION_VALUES = 2000
"""Number of values up to which `np.partition` is as fast as buckets."""

BLOCK_NUMBERS = 2**17
"""Numbers in a block of features: 1 MiB."""


def check_bandwidth(bandwidth, n_features):
    """A given bandwidth, a number or array-like (n_features,), as an array (n_features,).

    Raises
    ------
    ValueError
        If it has the wrong shape, or an element that is not positive.
    """
    try:
        vector = np.asarray(bandwidth)
        if vector.dtype == bool:
            raise TypeError
        vector = vector.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"bandwidth must hold positive numbers, got {bandwidth!r}") from None
    if vector.ndim and vector.shape != (n_features,):
        raise ValueError(
            f"bandwidth has shape {vector.shape}, but X has {n_features} features; "
            f"pass one number for all features, or {n_features} numbers; got {bandwidth!r}"
        )
    if not np.all(vector > 0):
        raise ValueError(f"bandwidth must be positive, got {bandwidth!r}; use inf to ignore a feature")
    return np.full(n_features, vector) if vector.ndim == 0 else vector


def rule_of_thumb(rule, scales, weights, kernel):
    """The bandwidth (n_features,) by Silverman's or Scott's rule; inf where the scale is.

    h_f = c(K, d) s_f (4 / ((d + 2) n))^(1 / (d + 4)) for "silverman" (Silverman 1986, sections 3.4.2 and 4.3.2),
    h_f = c(K, d) s_f n^(-1 / (d + 4)) for "scott" (Scott 1992, section 6.3), where s_f is the scale of the feature, d
    the number of features with a finite scale, n the number of observations (see `sample_size`), and c the ratio of
    bandwidths of the kernel and the Gaussian kernel (see `canonical_ratio`).

    Parameters
    ----------
    rule : {"silverman", "scott"}
    scales : (n_features,) float ndarray
        Those of `robust_scales`; inf for a constant feature, which is then ignored.
    weights : (n,) float ndarray
    kernel : Kernel
    """
    d = np.count_nonzero(np.isfinite(scales))
    positive = weights > 0
    n = sample_size(weights if positive.all() else weights[positive])
    factor = n ** (-1 / (d + 4))
    if rule == "silverman":
        factor *= (4 / (d + 2)) ** (1 / (d + 4))
    return canonical_ratio(kernel, d) * factor * scales if d else scales


def robust_scales(keys, weights):
    """The scale of each feature (n_features,) in rules of thumb; inf for a constant feature.

    The scale is the smaller of the standard deviation and the interquartile range / 1.349. Fill values, which are far
    from the quartiles, do not enter the standard deviation. An interquartile range that is zero up to rounding, as in a
    column with many ties, is not used.
    """
    positive = weights > 0
    if not positive.all():
        keys, weights = keys[positive], weights[positive]
    weights = None if np.all(weights == 1) else weights
    step = max(1, BLOCK_NUMBERS // len(keys))
    blocks = (np.array(keys[:, start : start + step].T, order="C") for start in range(0, keys.shape[1], step))
    return np.concatenate([_scales(columns, weights) for columns in blocks])


def _scales(columns, weights):
    """Scales (b,) of columns (b, n), which are overwritten."""
    lowest, highest = columns.min(axis=1), columns.max(axis=1)
    exponents = np.clip(np.frexp(np.maximum(-lowest, highest))[1], -1000, 1000)
    units = np.ldexp(1.0, -exponents)  # products with powers of two are exact, and differences do not overflow
    columns *= units[:, None]
    lowest, highest = lowest * units, highest * units
    lower, upper = np.array([quantiles(column, weights, (0.25, 0.75)) for column in columns]).T
    spread = upper - lower
    has_spread = spread > RANGE_ROUNDING * np.maximum(np.abs(lower), np.abs(upper))
    first, last = lower - FILL_DISTANCE * spread, upper + FILL_DISTANCE * spread
    with_fill_values = np.flatnonzero(has_spread & ((lowest < first) | (highest > last)))
    deviations = [_deviation_within(columns[i], weights, first[i], last[i]) for i in with_fill_values]
    scales = _standard_deviations(columns, weights)
    scales[with_fill_values] = deviations
    np.minimum(scales, spread / 1.349, out=scales, where=has_spread)
    varies = highest - lowest > RANGE_ROUNDING * np.maximum(-lowest, highest)
    return np.where(varies, np.ldexp(scales, exponents), np.inf)


def _deviation_within(column, weights, first, last):
    """The standard deviation of the values from `first` to `last`."""
    is_within = (column >= first) & (column <= last)
    column, weights = column[is_within], None if weights is None else weights[is_within]
    exponent = np.frexp(np.abs(column).max())[1]  # the scaling prevents underflow of squares
    return np.ldexp(_standard_deviations(np.ldexp(column, -exponent)[None], weights)[0], exponent)


def _standard_deviations(columns, weights):
    """Standard deviations (b,) of columns (b, n), which are overwritten."""
    columns -= np.average(columns, axis=1, weights=weights)[:, None]
    columns *= columns
    return np.sqrt(np.average(columns, axis=1, weights=weights))


def quantiles(values, weights, probabilities):
    """Weighted quantiles by the averaged inverted distribution function; weights of None are all ones.

    A weight of k is equivalent to k equal values (definition 2 of Hyndman & Fan 1996, "Sample quantiles in statistical
    packages").
    """
    if weights is None:
        return order_statistics(values, _ranks(len(values), probabilities)).reshape(2, -1).sum(axis=0) / 2
    order = np.argsort(values)
    values, mass = values[order], np.cumsum(weights[order])
    target = np.multiply(probabilities, mass[-1])
    rounding = 0 if are_counts(weights) else 1e-12 * mass[-1]
    below = np.searchsorted(mass, target - rounding)
    above = np.minimum(np.searchsorted(mass, target + rounding, side="right"), len(values) - 1)
    return (values[below] + values[above]) / 2


def order_statistics(values, ranks):
    """The elements of sorted values (n,) at positions `ranks` (k,), without sorting all values.

    Values are counted in buckets, and only the buckets that contain a rank are partitioned. As the number of the bucket
    does not decrease with the value, in floating-point arithmetic either, the result is exact.
    """
    bucket = _buckets(values) if len(values) > PARTITION_VALUES else None
    if bucket is None:
        return np.partition(values, ranks)[ranks]
    counts = np.bincount(bucket, minlength=BUCKETS)
    bucket_of_rank = np.searchsorted(np.cumsum(counts), ranks, side="right")
    is_inside = np.zeros(len(values), dtype=bool)
    for b in set(bucket_of_rank.tolist()):
        is_inside |= bucket == b
        counts[b] = 0
    inside = values[is_inside]
    positions = ranks - np.cumsum(counts)[bucket_of_rank]  # in the sorted values of these buckets
    return np.partition(inside, positions)[positions]


def _buckets(values):
    """The bucket of each value (n,); None if the range of the sample is too small for buckets, or infinite."""
    sample = values[:: len(values) // SAMPLE]
    low, high = sample.min(), sample.max()
    if not BUCKETS / np.finfo(float).max < high - low < np.inf:
        return None
    bucket = values - low
    bucket *= BUCKETS / (high - low)
    return np.clip(bucket, 0, BUCKETS - 1, out=bucket).astype(np.uint8)


@lru_cache(maxsize=256)
def _ranks(n, probabilities):
    """Positions in sorted values (n,), first of the lower and then of the upper ones, whose means are the quantiles."""
    target = np.multiply(probabilities, n)
    return np.concatenate([np.ceil(target) - 1, np.minimum(np.floor(target), n - 1)]).astype(np.intp)
