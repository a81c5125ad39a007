"""The definition: kernels of t = squared distance in bandwidths, and the weighted mean that contenders approximate."""

import numpy as np
from scipy.spatial.distance import cdist

WEIGHTS = {
    "gaussian": lambda t: np.exp(np.multiply(t, -0.5, out=t), out=t),
    "exponential": lambda t: np.exp(-np.sqrt(t)),
    "epanechnikov": lambda t: np.maximum(1 - t, 0),
    "boxcar": lambda t: (t <= 1).astype(float),
    "tricube": lambda t: np.maximum(1 - t * np.sqrt(t), 0) ** 3,
}
"""t -> weights. The gaussian one overwrites t."""


def define(problem):
    """Weighted means (m,), rows of all distances at a time; nan where no key has weight.

    Far from all keys Gaussian weights would be zero in floating point. They depend on differences of t alone, so each
    query's least t is taken off first.
    """
    keys, queries = problem.scaled()
    means, step = np.empty(len(queries)), max(1, 2**20 // len(keys))
    for i in range(0, len(queries), step):
        t = cdist(queries[i : i + step], keys, "sqeuclidean")
        if problem.kernel == "gaussian":
            t -= t.min(axis=1, keepdims=True)
        weights = WEIGHTS[problem.kernel](t)
        with np.errstate(invalid="ignore"):
            means[i : i + step] = weights @ problem.targets / weights.sum(axis=1)
    return means


def disagreement(problem, prediction, means):
    """How far a prediction of the first queries is from their means: the largest difference as a fraction of the range
    of the targets, and the share of queries that have a mean but no finite prediction.
    """
    means, prediction = means[: len(prediction)], prediction[: len(means)]
    weighted, answered = np.isfinite(means), np.isfinite(prediction)
    error = np.abs(prediction - means)[weighted & answered].max(initial=0) / np.ptp(problem.targets)
    return error, (weighted & ~answered).sum() / max(weighted.sum(), 1)
