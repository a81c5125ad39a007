"""Problems: data, queries and the parameters of an estimator; named ones, random ones, and ones with held-out rows."""

from itertools import cycle
from typing import NamedTuple

import numpy as np
from contenders import KERNELS

from sknw import Kernel, NadarayaWatsonClassifier, NadarayaWatsonRegressor
from sknw._engines import ENGINES
from sknw._kernels import KERNELS as OWN_KERNELS

CUSTOM = Kernel(lambda t: -2 * np.log1p(t))
"""What the kernel "custom" of a problem stands for: one that the package knows nothing of but its logarithm."""


class Problem(NamedTuple):
    """Training points (n, d), targets, queries (m, d), and parameters of an estimator."""

    keys: np.ndarray
    targets: np.ndarray
    queries: np.ndarray
    kernel: str = "gaussian"
    bandwidth: object = "silverman"
    weights: np.ndarray | None = None
    tol: float = 1e-10
    empty: str = "nearest"
    is_classes: bool = False

    def fit(self, algorithm="auto"):
        """This package's estimator, fitted."""
        estimator = NadarayaWatsonClassifier if self.is_classes else NadarayaWatsonRegressor
        kernel = CUSTOM if self.kernel == "custom" else self.kernel
        model = estimator(self.bandwidth, kernel=kernel, algorithm=algorithm, tol=self.tol, empty=self.empty)
        return model.fit(self.keys, self.targets, self.weights)

    def predict(self, model):
        """Predictions of a fitted estimator, for classes their probabilities."""
        return model.predict_proba(self.queries) if self.is_classes else model.predict(self.queries)

    def algorithms(self):
        """The algorithms of this package that support the problem, besides "auto"."""
        kernel = CUSTOM if self.kernel == "custom" else OWN_KERNELS[self.kernel]
        return [name for name, engine in ENGINES.items() if engine.supports(kernel, self.keys.shape[1])]

    def first(self, m):
        """The problem with its first m queries only."""
        return self._replace(queries=self.queries[:m])

    def farthest(self, m):
        """The problem with the m queries farthest out only."""
        return self._replace(queries=self.queries[self._by_distance()[-m:]])

    def farthest_first(self, m):
        """The problem with the m queries farthest out in front of the others, as a part of its first queries."""
        last = self._by_distance()[-m:]
        return self._replace(queries=np.concatenate([self.queries[last], np.delete(self.queries, last, axis=0)]))

    def _by_distance(self):
        """The order of the queries by their distance from the middle of the training points."""
        return np.argsort(np.abs((self.queries - np.median(self.keys, axis=0)) / self.bandwidth).max(axis=1))

    def scaled(self):
        """Training points and queries in bandwidths."""
        return self.keys / self.bandwidth, self.queries / self.bandwidth


# Named problems.


LEVELS = 6
"""Different values of each feature on a lattice."""

DISTRIBUTIONS = {
    "uniform": lambda rng, n, d: rng.uniform(size=(n, d)),
    "normal": lambda rng, n, d: rng.normal(size=(n, d)),
    "t(2)": lambda rng, n, d: rng.standard_t(2, size=(n, d)),
    "clustered": lambda rng, n, d: rng.normal(size=(20, d))[rng.integers(20, size=n)] + rng.normal(size=(n, d)) / 40,
    "lattice": lambda rng, n, d: rng.integers(LEVELS, size=(n, d)).astype(float),
}
"""Inputs (n, d); the clusters are twenty, forty times narrower than they lie apart; a lattice has few points."""


def make_problem(n_features, n, m, distribution="normal", factor=1.0, kernel="gaussian"):
    """Inputs from a distribution, a smooth function of them with noise, and Silverman's bandwidth times a factor."""
    rng = np.random.default_rng(n_features)
    keys, queries = np.split(DISTRIBUTIONS[distribution](rng, n + m, n_features), [n])
    problem = Problem(keys, np.sin(2 * keys).mean(axis=1) + 0.1 * rng.normal(size=n), queries, kernel)
    return problem._replace(bandwidth=factor * problem.fit("dense").bandwidth_)


ONE_SIZE = {
    f"{kernel} d={d}": {"n_features": d, "n": 10_000, "m": 2_000, "kernel": kernel}
    for kernel, dimensions in {"gaussian": (1, 3, 10, 100), "epanechnikov": (1, 3, 10), "boxcar": (1, 3, 10)}.items()
    for d in dimensions
}
"""Arguments of `make_problem` by the name of a problem, for problems of one size."""

MANY_SIZES = {
    "gaussian d=1": "1e3 normal 1.0, 1e4 uniform 1.0, 1e5 clustered 0.3, 1e6 normal 1.0, 1e6 t(2) 1.0",
    "epanechnikov d=1": "1e5 normal 1.0, 1e6 uniform 0.3",
    "boxcar d=1": "1e5 t(2) 1.0",
    "exponential d=1": "1e4 clustered 1.0, 1e6 normal 1.0",
    "gaussian d=2": "1e3 uniform 1.0, 1e4 normal 1.0, 1e5 normal 0.3, 1e5 t(2) 1.0, 1e6 uniform 1.0",
    "epanechnikov d=2": "1e5 clustered 1.0",
    "boxcar d=2": "1e4 normal 0.3",
    "exponential d=2": "1e4 normal 1.0",
    "gaussian d=3": "1e4 uniform 1.0, 1e5 normal 0.3",
    "epanechnikov d=3": "1e4 t(2) 0.3, 1e5 normal 1.0",
    "boxcar d=3": "1e4 clustered 1.0",
    "gaussian d=4": "1e4 clustered 1.0",
    "epanechnikov d=4": "1e5 normal 0.3",
    "gaussian d=6": "1e4 normal 0.3",
    "epanechnikov d=6": "1e4 uniform 1.0",
    "gaussian d=10": "1e4 uniform 1.0",
    "exponential d=10": "1e3 t(2) 1.0",
}
"""By kernel and features: n = m, the distribution, and the multiple of Silverman's bandwidth."""


def _read_size(kind, size):
    (kernel, d), (n, distribution, factor) = kind.split(" d="), size.split()
    size = {"n_features": int(d), "n": int(float(n)), "m": int(float(n))}
    return size | {"distribution": distribution, "factor": float(factor), "kernel": kernel}


PROBLEMS = ONE_SIZE | {
    f"{kind} n={size}h": _read_size(kind, size) for kind, sizes in MANY_SIZES.items() for size in sizes.split(", ")
}
"""Arguments of `make_problem` by the name of a problem, for all of them."""


# Random problems.


def random_problem(rng, n, d, m, decades=3.0):
    """A regression with one output, made to be hard; numbers differ by up to 10^decades, which may be 300."""
    scale = 10.0 ** rng.choice([0, rng.uniform(-decades, decades)])
    keys = (_random_keys(rng, n, d, decades) + rng.choice([0, 0, 1, 1e6])) * scale
    bandwidth = scale * 10.0 ** rng.normal(0.0, 1.0) * rng.choice([1.0, 0.5, 3.0], size=d)
    values = rng.normal(size=n) * 10.0 ** rng.choice([0, 0, rng.uniform(-decades, decades)])
    queries = _random_queries(rng, keys, bandwidth, m, decades)
    kernel = str(rng.choice(["gaussian", "gaussian", *KERNELS]))
    return Problem(keys, values, queries, kernel, bandwidth, _random_weights(rng, n, decades))


def _random_keys(rng, n, d, decades):
    """Keys (n, d) of the size of one, but for gaps: some with ties, copies, or one unit in the last place apart."""
    kind = rng.choice(["normal", "lattice", "twins", "clusters", "heavy", "copies"])
    keys = rng.normal(size=(n, d))
    if kind == "lattice":
        return rng.integers(-4, 5, size=(n, d)) * rng.choice([0.1, 1.0, 1 / 3])
    if kind == "twins":
        twins = keys[rng.integers(0, n, size=n)]
        return np.where(rng.random(twins.shape) < 0.5, np.nextafter(twins, np.inf), twins)
    if kind == "clusters":
        return keys + 10 ** rng.uniform(0, min(8, decades)) * rng.integers(0, 2, size=(n, 1)) * (rng.random(d) < 0.7)
    if kind == "copies":
        return keys[rng.integers(0, rng.integers(1, n + 1), size=n)]
    return rng.standard_t(1, size=(n, d)) if kind == "heavy" else keys


def _random_queries(rng, keys, bandwidth, m, decades):
    """Queries on keys, near them, in the middle between two, and far away, up to the largest float."""
    one, other = keys[rng.integers(0, len(keys), size=(2, m))]
    gap = np.maximum(np.abs(one - other), np.finfo(float).tiny)
    step = rng.normal(size=one.shape)
    with np.errstate(all="ignore"):
        nearest_change = np.minimum(bandwidth * (bandwidth / gap), gap)
        far = step * np.abs(keys).max() * 10 ** rng.uniform(0, decades, size=(m, 1))
        kinds = np.array([one, one + step * bandwidth, one / 2 + other / 2 + 2 * step * nearest_change, far])
    kinds = np.where(np.isfinite(kinds), kinds, np.sign(step) * 1.7e308)
    return kinds[rng.integers(4, size=m), np.arange(m)]


def _random_weights(rng, n, decades):
    """None, counts, importances, or importances that differ by much; some are zero."""
    counts = np.r_[1.0, rng.integers(0, 4, size=n - 1)]
    importances = np.r_[0.5, rng.random(n - 1) * (rng.random(n - 1) < 0.8)]
    exponents = rng.uniform(-0.8, 0, size=n) * (rng.random(n) < 0.5) + rng.choice([-0.2, 0, 1])
    return [None, counts, importances, 10.0 ** (decades * exponents)][rng.integers(4)]


# Problems with held-out rows.


class Draw(NamedTuple):
    """What makes a sample: a function's name, d, how many of the features matter, n, the standard deviation of the
    noise in units of the signal's, a distribution's name, and a seed.
    """

    function: str
    d: int
    relevant: int
    n: int
    noise: float = 0.3
    distribution: str = "normal"
    seed: int = 0

    def __str__(self):
        what = "{function} d={d} ({relevant} matter) n={n} noise={noise:.2f} {distribution}"
        return what.format(**self._asdict())


def _friedman(x):
    """Friedman's first function of up to five features, each mapped to [0, 1]."""
    u = np.full((len(x), 5), 0.5)
    u[:, : x.shape[1]] = np.clip(x[:, :5] / 12**0.5 + 0.5, 0, 1)
    return 10 * np.sin(np.pi * u[:, 0] * u[:, 1]) + 20 * (u[:, 2] - 0.5) ** 2 + 10 * u[:, 3] + 5 * u[:, 4]


FUNCTIONS = {
    "sine": lambda x: np.sin(2 * x.sum(axis=1) / x.shape[1] ** 0.5),
    "friedman": _friedman,
    "steps": lambda x: (x > 0).sum(axis=1),
    "products": lambda x: (x * np.roll(x, 1, axis=1)).sum(axis=1),
    "additive": lambda x: (np.sin(2 * x) / np.arange(1, x.shape[1] + 1)).sum(axis=1),
    "bump": lambda x: np.exp(-np.square(x).mean(axis=1)),
}
"""Of features (n, d) of mean 0 and variance 1."""


def draw_problems(count=20):
    """The functions and 1 to 8 features in turn, and at random: 200 to 1000 points, noise 0.1 to 1, a distribution, and
    in about half of the problems how many of the features matter.
    """
    rng = np.random.default_rng(0)
    for seed, function in zip(range(count), cycle(FUNCTIONS)):
        d = 1 + seed % 8
        n_relevant = int(rng.integers(1, d)) if d > 1 and rng.random() < 0.5 else d
        n, noise = int(200 * 5 ** rng.random()), float(10 ** (rng.random() - 1))
        distribution = str(rng.choice(["normal", "uniform"]))
        yield Draw(function, d, min(n_relevant, 5 if function == "friedman" else d), n, noise, distribution, seed)


def make_sample(draw, n_test=4000):
    """Of a draw: inputs (n, d) and noisy targets (n,) to learn from, and as many as `n_test` to predict."""
    rng = np.random.default_rng(draw.seed)
    shape = draw.n + n_test, draw.d
    X = rng.normal(size=shape) if draw.distribution == "normal" else rng.uniform(-(3**0.5), 3**0.5, size=shape)
    truth = FUNCTIONS[draw.function](X[:, : draw.relevant])
    y = truth + draw.noise * truth.std() * rng.normal(size=len(X))
    return X[: draw.n], y[: draw.n], X[draw.n :], y[draw.n :]
