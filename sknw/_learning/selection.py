"""Order statistics without sorting: values are counted in buckets, and only those of a bucket that is asked for sorted.

A bucket number grows with its value, in floats too, so that the result is exact however the values lie.
"""

import numpy as np

BUCKETS, SAMPLE = 256, 64
"""Buckets between the least and the largest of a sample of the values; the outer ones take all values beyond."""

FEW_VALUES = 2000
"""Up to here numpy's selection is as fast."""


def order_statistics(values, ranks):
    """The values (n,) that would be at the positions `ranks` (k,), if they were sorted."""
    bucket = _buckets(values) if len(values) > FEW_VALUES else None
    if bucket is None:
        return np.partition(values, ranks)[ranks]
    counts = np.bincount(bucket, minlength=BUCKETS)
    bucket_of_rank = np.searchsorted(np.cumsum(counts), ranks, side="right")
    is_inside = np.zeros(len(values), dtype=bool)
    for b in set(bucket_of_rank.tolist()):
        is_inside |= bucket == b
        counts[b] = 0
    inside = values[is_inside]
    positions = ranks - np.cumsum(counts)[bucket_of_rank]  # among the values inside
    return np.partition(inside, positions)[positions]


def _buckets(values):
    """The bucket of each value (n,); None where the sample has no range to speak of."""
    sample = values[:: len(values) // SAMPLE]
    low, high = sample.min(), sample.max()
    if not BUCKETS / np.finfo(float).max < high - low < np.inf:
        return None
    bucket = values - low
    bucket *= BUCKETS / (high - low)
    return np.clip(bucket, 0, BUCKETS - 1, out=bucket).astype(np.uint8)
