"""Problems for learned bandwidths: six functions of the first features, noise, often features that do not matter."""

from typing import NamedTuple

import numpy as np


class Sample(NamedTuple):
    """Training inputs (n, d) and noisy targets (n,); test inputs (m, d), their true and their noisy targets (m,)."""

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    truth: np.ndarray
    y_test: np.ndarray


class Draw(NamedTuple):
    """What makes a sample: a function's name, d, how many of the features matter, n, the standard deviation of the
    noise in units of the signal's, a distribution's name, and a seed.
    """

    function: str
    n_features: int
    n_relevant: int
    n: int
    noise: float
    distribution: str
    seed: int

    def __str__(self):
        return (
            f"{self.function} d={self.n_features} ({self.n_relevant} matter) n={self.n} noise={self.noise:.2f} "
            f"{self.distribution}"
        )


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

DISTRIBUTIONS = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "uniform": lambda rng, shape: rng.uniform(-(3**0.5), 3**0.5, size=shape),
}
"""Of mean 0 and variance 1."""


def draw_problems(count=20):
    """The functions and 1 to 8 features in turn, and at random: 200 to 1000 points, noise 0.1 to 1, a distribution, and
    in about half of the problems how many of the features matter.
    """
    rng, draws = np.random.default_rng(0), []
    for seed in range(count):
        function, n_features = list(FUNCTIONS)[seed % 6], 1 + seed % 8
        n_relevant = int(rng.integers(1, n_features)) if n_features > 1 and rng.random() < 0.5 else n_features
        if function == "friedman":
            n_relevant = min(n_relevant, 5)
        n, noise = int(200 * 5 ** rng.random()), float(10 ** (rng.random() - 1))
        distribution = str(rng.choice(list(DISTRIBUTIONS)))
        draws.append(Draw(function, n_features, n_relevant, n, noise, distribution, seed))
    return draws


def make_sample(draw, n_test=4000):
    """The sample of a draw."""
    rng = np.random.default_rng(draw.seed)
    X = DISTRIBUTIONS[draw.distribution](rng, (draw.n + n_test, draw.n_features))
    truth = FUNCTIONS[draw.function](X[:, : draw.n_relevant])
    y = truth + draw.noise * truth.std() * rng.normal(size=len(X))
    return Sample(X[: draw.n], y[: draw.n], X[draw.n :], truth[draw.n :], y[draw.n :])


def make_smooth(n_features, n, seed):
    """Inputs (n, d), uniform on [0, 1], and targets (n,): a smooth function, flat at the edges, with noise.

    Where a function is steep at an edge of its data a mean is off by h there, not by h², and the best h falls faster
    than n^(-1 / (d + 4)).
    """
    rng = np.random.default_rng(seed)
    X = rng.uniform(size=(n, n_features))
    return X, np.cos(2 * np.pi * X).mean(axis=1) + 0.5 * rng.normal(size=n)
