"""Ways to get the same predictions: each takes a Problem and returns predictions (m,), fit included."""

import warnings

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.neighbors import KNeighborsRegressor, RadiusNeighborsRegressor

from sknw import NadarayaWatsonRegressor

WEIGHTS = {
    "gaussian": lambda t: np.exp(-t / 2),
    "epanechnikov": lambda t: np.maximum(1 - t, 0),
    "boxcar": lambda t: (t <= 1).astype(float),
}


def scikit_nw(problem, algorithm="dense"):
    """This package, one thread."""
    model = NadarayaWatsonRegressor(problem.bandwidth, kernel=problem.kernel, algorithm=algorithm)
    return model.fit(problem.keys, problem.targets).predict(problem.queries)


def full_matrix(problem):
    """The textbook's one-liner: all distances, all weights."""
    t = cdist(problem.queries / problem.bandwidth, problem.keys / problem.bandwidth, "sqeuclidean")
    weights = WEIGHTS[problem.kernel](t)
    with np.errstate(invalid="ignore"):
        return weights @ problem.targets / weights.sum(axis=1)


def chunked_cdist(problem):
    """The same, 64 queries by 1024 keys at a time, in place."""
    keys, queries = problem.keys / problem.bandwidth, problem.queries / problem.bandwidth
    sums = np.zeros((len(queries), 2))
    for i in range(0, len(queries), 64):
        for k in range(0, len(keys), 1024):
            t = cdist(queries[i : i + 64], keys[k : k + 1024], "sqeuclidean")
            if problem.kernel == "gaussian":
                t *= -0.5
                weights = np.exp(t, out=t)
            else:
                weights = WEIGHTS[problem.kernel](t)
            sums[i : i + 64, 0] += weights @ problem.targets[k : k + 1024]
            sums[i : i + 64, 1] += weights.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return sums[:, 0] / sums[:, 1]


def _callable_weights(problem):
    weight = WEIGHTS[problem.kernel]

    def weights(distances):
        if distances.dtype == object:
            return np.array([weight(d**2) for d in distances], dtype=object)
        return weight(distances**2)

    return weights


def k_neighbors(problem):
    """scikit-learn's KNeighborsRegressor with all training points and a callable."""
    model = KNeighborsRegressor(len(problem.keys), weights=_callable_weights(problem))
    model.fit(problem.keys / problem.bandwidth, problem.targets)
    with np.errstate(invalid="ignore"):  # empty neighbourhoods
        return model.predict(problem.queries / problem.bandwidth)


def radius_neighbors(problem):
    """scikit-learn's RadiusNeighborsRegressor with a callable; a Gaussian needs a radius that holds it, 9."""
    radius = 9.0 if problem.kernel == "gaussian" else 1.0
    model = RadiusNeighborsRegressor(radius, weights=_callable_weights(problem))
    model.fit(problem.keys / problem.bandwidth, problem.targets)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # empty neighbourhoods
        return model.predict(problem.queries / problem.bandwidth)


def statsmodels(problem):
    """statsmodels' KernelReg, local constant, bandwidth given; Gaussian only, its other kernels are products."""
    from statsmodels.nonparametric.kernel_regression import KernelReg

    types = "c" * problem.keys.shape[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # about a random generator that a given bandwidth does not use
        model = KernelReg(problem.targets, problem.keys, types, reg_type="lc", bw=problem.bandwidth)
        return model.fit(problem.queries)[0]


def contenders(problem):
    """The contenders that can do a problem, this package first."""
    slow = [k_neighbors, radius_neighbors] + ([statsmodels] if problem.kernel == "gaussian" else [])
    return [scikit_nw, full_matrix, chunked_cdist, *(slow if problem.keys.shape[1] <= 10 else [])]
