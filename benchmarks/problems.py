"""The named problems: data, a kernel, and the bandwidth that the default rule gives it."""

from typing import NamedTuple

import numpy as np

from sknw import NadarayaWatsonRegressor


class Problem(NamedTuple):
    """Training points (n, d), targets (n,), queries (m, d), a kernel's name and its bandwidths (d,)."""

    keys: np.ndarray
    targets: np.ndarray
    queries: np.ndarray
    kernel: str
    bandwidth: np.ndarray


def make_problem(n_features, kernel="gaussian", n=10_000, m=2_000):
    """Normal inputs, a smooth function of them with noise, and Silverman's bandwidth."""
    rng = np.random.default_rng(n_features)
    keys, queries = rng.normal(size=(n, n_features)), rng.normal(size=(m, n_features))
    targets = np.sin(2 * keys).mean(axis=1) + 0.1 * rng.normal(size=n)
    bandwidth = NadarayaWatsonRegressor(kernel=kernel).fit(keys, targets).bandwidth_
    return Problem(keys, targets, queries, kernel, bandwidth)


PROBLEMS = {
    f"{kernel} d={n_features}": (n_features, kernel)
    for kernel, dimensions in {"gaussian": (1, 3, 10, 100), "epanechnikov": (1, 3, 10), "boxcar": (1, 3, 10)}.items()
    for n_features in dimensions
}
