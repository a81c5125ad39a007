"""Cases on which two versions of the package are compared: data, queries and the parameters of an estimator."""

from itertools import product
from typing import NamedTuple

import numpy as np
from problems import PROBLEMS, make_problem

from sknw import Kernel, NadarayaWatsonClassifier, NadarayaWatsonRegressor

COMPACT = ("boxcar", "triangular", "epanechnikov", "biweight", "triweight", "tricube", "cosine")
SORTABLE = ("gaussian", "exponential", "logistic", *COMPACT)
KERNELS = (*SORTABLE, "cauchy", "constant")

MOST_KEYS, MOST_QUERIES, LEARNED_KEYS = 12_000, 5000, 400
"""Up to which sizes the named problems are compared: with a given bandwidth, and with a learned one."""

BLOCK_QUERIES = 4100
"""Enough queries for "blocks" to use its blocks with few keys."""


class Case(NamedTuple):
    """Training data, queries, and the parameters of an estimator but `algorithm`, as plain data.

    The kernel "custom" stands for one of the user's own.
    """

    name: str
    keys: np.ndarray
    targets: np.ndarray
    weights: np.ndarray | None
    queries: np.ndarray
    parameters: dict
    is_classes: bool = False

    def fit(self, algorithm="auto"):
        """The estimator, fitted by the `sknw` that this process imports."""
        kernel = self.parameters.get("kernel", "gaussian")
        estimator = NadarayaWatsonClassifier if self.is_classes else NadarayaWatsonRegressor
        parameters = self.parameters | {"algorithm": algorithm, "kernel": CUSTOM if kernel == "custom" else kernel}
        return estimator(**parameters).fit(self.keys, self.targets, self.weights)

    def algorithms(self):
        """The algorithms that support the kernel and the number of features, as the documentation has it."""
        kernel, n_features = self.parameters.get("kernel", "gaussian"), self.keys.shape[1]
        able = {
            "sorted": n_features == 1 and kernel in SORTABLE,
            "grid": n_features == 2 and kernel == "gaussian",
            "blocks": kernel in KERNELS,
        }
        return ["auto", "dense", *(name for name, is_able in able.items() if is_able)]


def _custom_log(t):
    return -2 * np.log1p(t)


CUSTOM = Kernel(_custom_log)


def named_cases(only=""):
    """The problems of the benchmarks, smaller, with their bandwidth, and with two learned ones."""
    for name, row in PROBLEMS.items():
        if only not in name:
            continue
        problem = make_problem(*row._replace(n=min(row.n, MOST_KEYS), m=min(row.m, MOST_QUERIES)))
        parameters = {"kernel": problem.kernel, "bandwidth": problem.bandwidth}
        yield Case(name, problem.keys, problem.targets, None, problem.queries, parameters)
        for bandwidth in ("loo", "loo_ard"):
            few = problem.keys[:LEARNED_KEYS], problem.targets[:LEARNED_KEYS]
            parameters = {"kernel": problem.kernel, "bandwidth": bandwidth}
            yield Case(f"{name} {bandwidth}", *few, None, problem.queries[:1], parameters)


def random_case(seed):
    """A case at random: sizes, kernel, weights, targets, policies, scales, ties, copies, far and isolated queries."""
    rng = np.random.default_rng(seed)
    learned = rng.random() < 1 / 8
    n = int(rng.integers(2, 3001) if rng.random() < 0.5 else 2 * 1500 ** rng.random())
    n, d = min(n, LEARNED_KEYS) if learned else n, int(rng.choice([1, 1, 2, 2, *range(1, 13)]))
    kernel = str(rng.choice(KERNELS)) if d != 2 or rng.random() < 0.6 else "gaussian"
    keys = _random_keys(rng, n, d)
    scale = 10 ** rng.uniform(-3, 3)
    spread = np.maximum(keys.std(axis=0), 0.1)
    bandwidth = spread * n ** (-1 / (d + 4)) * 10 ** rng.uniform(-1.2, 0.6) * rng.choice([0.5, 1, 2], size=d)
    queries = _random_queries(rng, keys, spread, BLOCK_QUERIES if rng.random() < 0.2 else rng.integers(1, 200))
    shift = rng.choice([0, 0, 100]) * scale
    targets, is_classes = _random_targets(rng, keys)
    parameters = {
        "kernel": kernel,
        "bandwidth": str(rng.choice(["loo", "loo_ard"])) if learned else bandwidth * scale,
        "empty": str(rng.choice(["nearest", "mean", "nan", "raise"])),
        "tol": float(rng.choice([0, 1e-10, 1e-6])),
    }
    rows = keys * scale + shift, targets, _random_weights(rng, n), queries * scale + shift
    return Case(f"random {seed}", *rows, parameters, is_classes)


def _random_keys(rng, n, d):
    """Keys (n, d) of the size of one: some with ties, some with copies, some heavy in the tails."""
    kind = rng.choice(["normal", "uniform", "lattice", "copies", "clusters", "heavy"])
    keys = rng.uniform(size=(n, d)) if kind == "uniform" else rng.normal(size=(n, d))
    if kind == "lattice":
        return np.rint(4 * keys) / 10
    if kind == "copies":
        return keys[rng.integers(n, size=n)]
    if kind == "clusters":
        return keys / 40 + rng.normal(size=(8, d))[rng.integers(8, size=n)]
    return rng.standard_t(2, size=(n, d)) if kind == "heavy" else keys


def _random_queries(rng, keys, spread, m):
    """Queries: near keys, on keys, between two keys, and far away."""
    near, twins = (keys[rng.integers(len(keys), size=m)] for _ in range(2))
    step = rng.normal(size=near.shape) * spread
    kinds = np.array([near + step / 4, near, (near + twins) / 2, near + step * 10 ** rng.uniform(1, 6, size=(m, 1))])
    return kinds[rng.choice(4, size=m, p=[0.6, 0.2, 0.1, 0.1]), np.arange(m)]


def _random_targets(rng, keys):
    """One or several columns of numbers, or classes; and whether they are classes."""
    signal = np.sin(2 * keys).mean(axis=1) + 0.3 * rng.normal(size=len(keys))
    kind = rng.choice(["one", "several", "classes"])
    if kind == "several":
        return np.column_stack([signal, 1e3 * rng.normal(size=len(keys)), np.arange(len(keys))]), False
    if kind == "classes":
        return np.floor(rng.uniform(1, 4) * signal).astype(int), True
    return signal * 10 ** rng.uniform(-3, 3), False


def _random_weights(rng, n):
    """No weights, counts, importances, or importances of which half are zero."""
    return [
        None,
        rng.integers(1, 5, size=n),
        rng.uniform(0.1, 3, size=n),
        np.r_[0.5, rng.uniform(0.1, 3, size=n - 1) * (rng.random(n - 1) < 0.5)],
    ][rng.integers(4)]


def timed_cases():
    """Cases to time, and what to time of each: (case, actions)."""
    everything = ("fit", "predict", "predict(None)", "one query")
    for kernel in ("gaussian", "epanechnikov", "boxcar", "exponential", "custom"):
        yield _timed("dense", kernel, 3000, 3), everything
    for d in (30, 64):
        yield _timed("dense", "gaussian", 3000, d), everything
    for kernel in ("gaussian", "exponential", "epanechnikov", "tricube"):
        yield _timed("sorted", kernel, 10**5, 1), everything
    yield _timed("grid", "gaussian", 10**5, 2), everything
    for kernel in ("gaussian", "epanechnikov"):
        yield _timed("blocks", kernel, 5 * 10**4, 3), everything
    yield _timed("average", "constant", 10**5, 3), everything
    for kernel in ("gaussian", "epanechnikov", "exponential"):
        yield _timed("dense", kernel, 2000, 3), ("attention",)
    for bandwidth, (n, d, n_classes) in product(
        ("loo", "loo_ard"), ((500, 3, 0), (2000, 8, 0), (1797, 64, 10), (20_000, 2, 0))
    ):
        yield _learned(bandwidth, n, d, n_classes), ("fit",)


def _timed(engine, kernel, n, d):
    rng = np.random.default_rng(n + d)
    keys, queries = rng.normal(size=(2, n, d))
    targets = np.sin(2 * keys).mean(axis=1) + 0.1 * rng.normal(size=n)
    bandwidth = n ** (-1 / (d + 4)) * (2.5 if kernel in COMPACT else 1)
    parameters = {"kernel": kernel, "bandwidth": bandwidth}
    return Case(f"{engine} {kernel} n={n} d={d}", keys, targets, None, queries, parameters)


def _learned(bandwidth, n, d, n_classes):
    rng = np.random.default_rng(n + d)
    keys = rng.normal(size=(n, d))
    if n_classes:
        targets = rng.integers(n_classes, size=n)
        keys += 0.5 * rng.normal(size=(n_classes, d))[targets]
    else:
        targets = np.sin(2 * keys[:, :2]).sum(axis=1) + 0.3 * rng.normal(size=n)
    name = f"{bandwidth} n={n} d={d}{f' {n_classes} classes' * bool(n_classes)}"
    return Case(name, keys, targets, None, keys[:1], {"bandwidth": bandwidth}, bool(n_classes))
