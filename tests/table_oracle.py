"""The definition for tables: squared distances of codes, in loops, and bandwidths by Silverman's rule.

Codes (n, n_features) are numbers, ranks, or positions of categories, and nan where a value is missing.
"""

import numpy as np

from sknw._canonical import canonical_ratio
from sknw._kernels import KERNELS
from sknw._learning.rules import robust_scales
from sknw._weights import sample_size


def squared_distances(queries, keys, bandwidth, is_category, weights):
    """t (m, n): the sum of what each feature contributes."""
    t = np.zeros((len(queries), len(keys)))
    for f, h in enumerate(np.broadcast_to(np.asarray(bandwidth, dtype=float), keys.shape[1])):
        if np.isinf(h):
            continue
        distance = _between_categories if is_category[f] else _between_numbers(keys[:, f], weights)
        for i, query in enumerate(queries[:, f]):
            for j, key in enumerate(keys[:, f]):
                if not np.isnan(query):
                    t[i, j] += distance(query, key) / h**2
    return t


def _between_categories(query, key):
    return 0.0 if query == key else 1.0  # a missing key is another category


def _between_numbers(column, weights):
    """The squared distance of a known query and a key; if that is missing, the mean to all known values."""
    is_known = ~np.isnan(column) & (weights > 0)
    mean, variance = moments(column[is_known], weights[is_known])
    return lambda query, key: (query - mean) ** 2 + variance if np.isnan(key) else (query - key) ** 2


def moments(values, weights):
    mean = np.average(values, weights=weights)
    return mean, np.average(np.square(values - mean), weights=weights)


def as_seen(codes, keys, weights, is_category):
    """Codes whose categories are missing if no key of positive weight has them."""
    codes = codes.copy()
    for f in np.flatnonzero(is_category):
        codes[~np.isin(codes[:, f], keys[weights > 0, f]), f] = np.nan
    return codes


def scales(keys, is_category, weights):
    """The scale of each feature (n_features,) in rules of thumb, over its known values; inf if it is constant.

    Of a category it is sqrt(P(two rows differ) / 2), and of two categories that of the numbers 0 and 1.
    """
    found = np.full(keys.shape[1], np.inf)
    for f, column in enumerate(keys.T):
        is_known = ~np.isnan(column) & (weights > 0)
        values, units = column[is_known], weights[is_known]
        if len(np.unique(values)) < 2:
            continue
        if is_category[f] and len(np.unique(values)) > 2:
            shares = np.array([units[values == level].sum() for level in np.unique(values)]) / units.sum()
            found[f] = np.sqrt((1 - np.square(shares).sum()) / 2)
        else:
            values = (values > values.min()).astype(float) if is_category[f] else values
            found[f] = robust_scales(values[:, None], units)[0]
    return found


def silverman(keys, is_category, weights, kernel):
    """Bandwidths (n_features,) by Silverman's rule for a kernel by name; inf for a constant feature."""
    s = scales(keys, is_category, weights)
    d, n = np.count_nonzero(np.isfinite(s)), sample_size(weights[weights > 0])
    return canonical_ratio(KERNELS[kernel], d) * (4 / ((d + 2) * n)) ** (1 / (d + 4)) * s
