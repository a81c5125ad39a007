"""Problems that tests share, and what they assert of results."""

from typing import NamedTuple

import numpy as np

from sknw._kernels import KERNELS

SCATTER = {
    "uniform": lambda rng, n, d: rng.random((n, d)),
    "normal": lambda rng, n, d: rng.normal(size=(n, d)),
    "heavy": lambda rng, n, d: rng.standard_t(1.5, size=(n, d)),
    "cauchy": lambda rng, n, d: rng.standard_cauchy(size=(n, d)),
    "lattice": lambda rng, n, d: rng.integers(0, 7, size=(n, d)) * 0.1,
    "fine lattice": lambda rng, n, d: rng.integers(0, 60, size=(n, d)) * 0.1,
    "years": lambda rng, n, d: rng.integers(1950, 1960, size=(n, d)).astype(float),
    "duplicates": lambda rng, n, d: rng.normal(size=(9, d))[rng.integers(0, 9, size=n)],
    "clusters": lambda rng, n, d: rng.normal(size=(n, d)) + 1e3 * rng.integers(0, 2, size=(n, 1)),
    "far clusters": lambda rng, n, d: rng.normal(size=(n, d)) + 1e6 * rng.integers(0, 3, size=(n, d)),
    "gaps": lambda rng, n, d: rng.random((n, d)) + 3 * rng.integers(0, 4, size=(n, d)),
    "line": lambda rng, n, d: rng.normal(size=(n, 1)) * np.arange(1, d + 1),
    "offset": lambda rng, n, d: rng.normal(size=(n, d)) + 1e6 * (-1) ** np.arange(d),
    "outlier": lambda rng, n, d: np.r_[rng.normal(size=(n - 1, d)), np.full((1, d), 1e9)],
}
"""Keys (n, d)."""

WEIGHTS = {
    "none": lambda rng, n: np.ones(n),
    "counts": lambda rng, n: np.r_[1.0, 1.0, rng.integers(0, 4, size=n)][:n],
    "importances": lambda rng, n: np.r_[0.5, 0.7, rng.random(n) ** 4 * (rng.random(n) < 0.8)][:n],
}
"""Weights (n,), of which the first two are positive."""


def spread(x):
    """The interquartile range of each feature (d,), 1 where that is 0."""
    width = np.quantile(x, 0.75, axis=0) - np.quantile(x, 0.25, axis=0)
    return np.where(width > 0, width, 1.0)


def _normal(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def _clusters(n, d, distance):
    return _normal(n, d) + distance * np.random.default_rng(1).integers(0, 2, size=(n, d))


def _directions(m, d):
    directions = _normal(m, d, seed=2)
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def _gap(d, width, bandwidth):
    """Two clusters, and queries in the middle between them: within fractions of h² / width, nearest keys change."""
    keys = _normal(30, d) + np.where(np.arange(30) % 2, width, 0.0)[:, None] * (np.arange(d) == 0)
    middle = (keys[::2, 0].max() + keys[1::2, 0].min()) / 2
    queries = np.zeros((7, d))
    queries[:, 0] = middle + np.arange(-3, 4) * 0.4 * bandwidth**2 / width
    return keys, queries, bandwidth


HARD_CASES = {
    "in a gap of 100 bandwidths": _gap(2, 100.0, 1.0),
    "in a gap of 1e4 bandwidths": _gap(2, 1e3, 0.1),
    "in a gap of 1e6 bandwidths": _gap(3, 1e5, 0.1),
    "in a gap of 1e8 bandwidths": _gap(2, 1e5, 1e-3),
    "near": (_normal(30, 3), _normal(5, 3, 3), 0.7),
    "50 bandwidths away": (_normal(30, 3), 50 * _directions(5, 3), 1.0),
    "1e4 bandwidths away": (_normal(30, 3), 1e4 * _directions(5, 3), 1.0),
    "1e9 bandwidths away": (_normal(30, 2), 1e9 * _directions(5, 2), 1.0),
    "offset 1e8": (1e8 + np.round(_normal(30, 2) * 64) / 64, 1e8 + np.round(_normal(5, 2, 3) * 64) / 64, 0.3),
    "offset 1e8, far": (1e8 + np.round(_normal(30, 2) * 64) / 64, 1e8 + 1e4 * np.round(_directions(5, 2) * 64), 0.3),
    "sentinel key at 1e9": (np.r_[[[1e9, 1e9]], _normal(30, 2)], np.r_[[[1e9, 0]], _normal(5, 2, 3)], 0.2),
    "clusters 1e6 apart": (_clusters(40, 2, 1e6), _clusters(12, 2, 1e6)[6:] + 0.1, 0.1),
    "clusters 1e6 apart, wide": (_clusters(20, 4, 1e6), _clusters(12, 4, 1e6)[6:] + 0.3, 850.0),
    "tiny bandwidth": (_normal(30, 2), _normal(5, 2, 3), 1e-5),
    "huge bandwidth": (_normal(30, 2), _normal(5, 2, 3), 1e7),
    "huge bandwidth, far": (_normal(30, 2), 1e10 * _directions(5, 2), 1e7),
    "per feature": (_normal(30, 3), 20 * _directions(5, 3), np.array([1e-3, 0.7, 300.0])),
    "query on a key": (_normal(30, 2), _normal(30, 2)[:5], 0.1),
    "lattice": (np.indices((5, 6)).reshape(2, -1).T * 0.1, np.array([[0.25, 0.25], [1e3, -1e3], [0.1, 0.3]]), 0.1),
}


def wave(seed=0, n=60, d=2, noise=0.3):
    """A sine along the first of d features, with noise."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, size=(n, d))
    return X, np.sin(2 * X[:, 0]) + noise * rng.normal(size=n)


def index_model(n=300, d=6, seed=0, noise=0.2):
    """X (n, d), a target that depends on one direction, and the target without noise."""
    rng = np.random.default_rng(seed)
    X, direction = rng.normal(size=(n, d)), rng.normal(size=d)
    truth = np.sin(2 * X @ direction / np.linalg.norm(direction))
    return X, truth + noise * rng.normal(size=n), truth


def weighting(name, n, seed=1):
    """Weights (n,) as sample_weight, None for "none"."""
    rng = np.random.default_rng(seed)
    return {
        "none": None,
        "counts": np.r_[1.0, 1.0, rng.integers(0, 4, size=n - 2)],
        "importances": np.r_[0.5, 0.25, rng.random(n - 2) * (rng.random(n - 2) < 0.8)],
    }[name]


class Problem(NamedTuple):
    """Keys (n, d), values (n, 2), weights (n,), bandwidths (d,) and queries (m, d)."""

    keys: np.ndarray
    values: np.ndarray
    weights: np.ndarray
    bandwidth: np.ndarray
    queries: np.ndarray


MODERATE = ["normal", "heavy", "lattice", "years", "duplicates", "clusters"]
"""Scatters on which plain numpy is right to 1e-11."""


def draw(rng, d, fewest=1):
    """A random problem of d features, with a query on a key."""
    n = rng.integers(fewest, 41)
    keys, queries = np.split(SCATTER[rng.choice(MODERATE)](rng, n + 9, d), [n])
    queries[:3] = keys[rng.integers(0, n, size=3)]
    values, weights = rng.normal(size=(n, 2)), WEIGHTS[rng.choice(sorted(WEIGHTS))](rng, n)
    bandwidth = rng.choice([10 ** rng.uniform(-2, 3), *[0.1, 0.2, 0.3, 1.0, 2.0, 5.0, np.inf]])
    factors = rng.choice([1.0, 0.5, 3.0], size=d) if rng.random() < 0.5 else np.ones(d)
    return Problem(keys, values, weights, bandwidth * factors, queries)


def has_key_at_edge(keys, bandwidth, kernel, width):
    """The rows (n,) of which a key is within `width` bandwidths of the edge of the support."""
    u = np.sqrt(np.square((keys[:, None] - keys) / bandwidth).sum(axis=-1))
    return (np.abs(u - KERNELS[kernel].support) < width).any(axis=1)


def assert_close(pooled, expected, values, tol):
    """Pooled values differ by no more than `tol` of the range of the values."""
    span = np.ptp(values, axis=0)
    error = np.abs(pooled - expected) / np.where(span > 0, span, 1)
    assert error.max(initial=0) <= tol


ROUNDING = 8 * np.finfo(float).eps
"""What t may be off by, as a sum of squares near 1."""


def assert_same_mass(log_mass, expected, kernel, tol):
    """The logarithms of masses differ by no more than `tol`, relative to what is above 1.

    And by the rounding of t, which shows where all keys are at the edge of a support.
    """
    empty = np.isneginf(expected)
    np.testing.assert_array_equal(np.isneginf(log_mass), empty)
    log_mass, expected = log_mass[~empty], expected[~empty]
    rounding = ROUNDING * np.exp(-expected) if KERNELS[kernel].compact else 0.0
    assert (np.abs(log_mass - expected) <= tol * (1 + np.abs(expected)) + rounding).all()


def assert_same_results(one, other):
    """Pooled values and gradients are bitwise the same, and log_mass is but for a logarithm.

    That of numpy 1.24 depends on where its argument lies in memory. It may be one of two terms that nearly cancel.
    """
    for position, (a, b) in enumerate(zip(one, other, strict=True)):
        rounding = 1e-14 if position == 1 else 0
        np.testing.assert_allclose(a, b, rtol=rounding, atol=rounding)
