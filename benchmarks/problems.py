"""The named problems: data, a kernel, and a multiple of the bandwidth that Silverman's rule gives it."""

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

    def first(self, m):
        """The problem with its first m queries only."""
        return self._replace(queries=self.queries[:m])

    def farthest(self, m):
        """The problem with the m queries farthest out only."""
        distances = np.abs((self.queries - np.median(self.keys, axis=0)) / self.bandwidth).max(axis=1)
        return self._replace(queries=self.queries[np.argsort(distances)[-m:]])

    def scaled(self):
        """Training points and queries in bandwidths."""
        return self.keys / self.bandwidth, self.queries / self.bandwidth


class Row(NamedTuple):
    """What makes a problem: d, n, m, a distribution's name, the multiple of Silverman's bandwidth, a kernel's name."""

    n_features: int
    n: int
    m: int
    distribution: str = "normal"
    factor: float = 1.0
    kernel: str = "gaussian"


def _clusters(rng, shape):
    """Twenty normal clusters, forty times narrower than they lie apart."""
    centres = rng.normal(size=(20, shape[1]))
    return centres[rng.integers(20, size=shape[0])] + rng.normal(size=shape) / 40


DISTRIBUTIONS = {
    "uniform": lambda rng, shape: rng.uniform(size=shape),
    "normal": lambda rng, shape: rng.normal(size=shape),
    "t(2)": lambda rng, shape: rng.standard_t(2, size=shape),
    "clustered": _clusters,
}


def make_problem(n_features, n, m, distribution="normal", factor=1.0, kernel="gaussian"):
    """Inputs from a distribution, a smooth function of them with noise, and Silverman's bandwidth times a factor."""
    rng = np.random.default_rng(n_features)
    keys, queries = np.split(DISTRIBUTIONS[distribution](rng, (n + m, n_features)), [n])
    targets = np.sin(2 * keys).mean(axis=1) + 0.1 * rng.normal(size=n)
    silverman = NadarayaWatsonRegressor(kernel=kernel, algorithm="dense").fit(keys, targets).bandwidth_
    return Problem(keys, targets, queries, kernel, factor * silverman)


EARLIER = {
    f"{kernel} d={n_features}": Row(n_features, 10_000, 2_000, kernel=kernel)
    for kernel, dimensions in {"gaussian": (1, 3, 10, 100), "epanechnikov": (1, 3, 10), "boxcar": (1, 3, 10)}.items()
    for n_features in dimensions
}
"""Problems of one size."""

MIXED = (
    (1, 3, "normal", 1.0, "gaussian"),
    (1, 4, "uniform", 1.0, "gaussian"),
    (1, 5, "clustered", 0.3, "gaussian"),
    (1, 6, "normal", 1.0, "gaussian"),
    (1, 6, "t(2)", 1.0, "gaussian"),
    (1, 5, "normal", 1.0, "epanechnikov"),
    (1, 6, "uniform", 0.3, "epanechnikov"),
    (1, 5, "t(2)", 1.0, "boxcar"),
    (1, 4, "clustered", 1.0, "exponential"),
    (1, 6, "normal", 1.0, "exponential"),
    (2, 3, "uniform", 1.0, "gaussian"),
    (2, 4, "normal", 1.0, "gaussian"),
    (2, 5, "normal", 0.3, "gaussian"),
    (2, 5, "t(2)", 1.0, "gaussian"),
    (2, 6, "uniform", 1.0, "gaussian"),
    (2, 5, "clustered", 1.0, "epanechnikov"),
    (2, 4, "normal", 0.3, "boxcar"),
    (2, 4, "normal", 1.0, "exponential"),
    (3, 4, "uniform", 1.0, "gaussian"),
    (3, 5, "normal", 0.3, "gaussian"),
    (3, 4, "t(2)", 0.3, "epanechnikov"),
    (3, 5, "normal", 1.0, "epanechnikov"),
    (3, 4, "clustered", 1.0, "boxcar"),
    (4, 4, "clustered", 1.0, "gaussian"),
    (4, 5, "normal", 0.3, "epanechnikov"),
    (6, 4, "normal", 0.3, "gaussian"),
    (6, 4, "uniform", 1.0, "epanechnikov"),
    (10, 4, "uniform", 1.0, "gaussian"),
    (10, 3, "t(2)", 1.0, "exponential"),
)
"""Problems of many sizes: d, log10 n = log10 m, distribution, bandwidth factor, kernel."""

PROBLEMS = EARLIER | {
    f"{kernel} d={d} n=1e{power} {distribution} {factor}h": Row(d, 10**power, 10**power, distribution, factor, kernel)
    for d, power, distribution, factor, kernel in MIXED
}
