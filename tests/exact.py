"""The definition in 60 digits, for cases on which plain numpy fails."""

import mpmath
import numpy as np

mpmath.mp.dps = 60

UNBOUNDED = {
    "gaussian": lambda t: -t / 2,
    "exponential": lambda t: -mpmath.sqrt(t),
    "logistic": lambda t: -mpmath.sqrt(t) - 2 * mpmath.log1p(mpmath.exp(-mpmath.sqrt(t))),
    "cauchy": lambda t: -mpmath.log1p(t),
}
COMPACT = {
    "triangular": lambda t: mpmath.log(1 - mpmath.sqrt(t)),
    "epanechnikov": lambda t: mpmath.log(1 - t),
    "biweight": lambda t: 2 * mpmath.log(1 - t),
    "triweight": lambda t: 3 * mpmath.log(1 - t),
    "tricube": lambda t: 3 * mpmath.log(1 - t * mpmath.sqrt(t)),
    "cosine": lambda t: mpmath.log(mpmath.cos(mpmath.pi / 2 * mpmath.sqrt(t))),
}
LOG_KERNELS = {**UNBOUNDED, **COMPACT, "constant": lambda t: mpmath.mpf(0)}
"""log K as a function of t, up to a constant; of those of bounded support, for t < 1."""


def exact(array):
    """The floats of an array of one or two dimensions as they are."""
    array = np.asarray(array, dtype=float)
    return [exact(row) for row in array] if array.ndim > 1 else [mpmath.mpf(float(x)) for x in array]


def exact_pool(kernel, query, keys, values, bandwidth, weights=None):
    """The pooled value for one query (d,) and one value column."""
    weights = np.ones(len(keys)) if weights is None else weights
    bandwidth = exact(np.broadcast_to(bandwidth, len(query)))
    return float(_pool(kernel, exact([query])[0], exact(keys), exact(values), bandwidth, exact(weights)))


def exact_slope(kernel, rows, i, values, bandwidth, f, weights):
    """d pooled / d log h_f for a row as a query, by numerical differentiation; `weights` (n,) are without the row."""
    rows, bandwidth = exact(rows), exact(bandwidth)
    counted = np.flatnonzero(weights)
    keys, values, weights = [rows[j] for j in counted], exact(values[counted]), exact(weights[counted])

    def change(log_factor):
        factors = [mpmath.exp(log_factor) if g == f else 1 for g in range(len(bandwidth))]
        scaled = [h * factor for h, factor in zip(bandwidth, factors, strict=True)]
        return _pool(kernel, rows[i], keys, values, scaled, weights)

    return float(mpmath.diff(change, 0))


def _pool(kernel, query, keys, values, bandwidth, weights):
    logs = []
    for key, weight in zip(keys, weights, strict=True):
        t = mpmath.fsum(((q - x) / h) ** 2 for q, x, h in zip(query, key, bandwidth, strict=True))
        outside = kernel in COMPACT and t >= 1
        logs.append(-mpmath.inf if outside else LOG_KERNELS[kernel](t) + mpmath.log(weight))
    shares = [mpmath.exp(log - max(logs)) for log in logs]
    return mpmath.fdot(shares, values) / mpmath.fsum(shares)
