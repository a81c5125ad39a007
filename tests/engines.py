"""How tests reach engines: but for unit tests of algorithms, the only module that knows what is private to them."""

from contextlib import contextmanager
from importlib import import_module

import numpy as np
import pytest

from sknw._engines import ENGINES, make_engines, prepare
from sknw._kernels import KERNELS
from sknw._weights import kept_fraction

SMALL_BLOCKS = {
    "dense": [("_dense", "BLOCK_PAIRS", 112), ("_dense", "MIN_KEY_ROWS", 7)],
    "gradient": [
        ("_slope_sums", "SIDE", 16),
        ("_slope_sums", "MOST_ROWS", 23),
        ("_slopes", "CAREFUL_PAIRS", 700),
        ("_pulled_slopes", "PULLED_PAIRS", 700),
    ],
    "blocks": [
        ("_blocks", "LEAF_KEYS", 4),
        ("_blocks", "BLOCK_QUERIES", 6),
        ("_blocks", "FEWEST_QUERIES", 3),
        ("_blocks", "BLOCKS_TOGETHER", 1),
        ("_leaves", "BOUND_LEAVES", 16),
    ],
    "queries": [("_blocks", "SORTED_NUMBERS", 100), ("_sorted", "SORTED_ROWS", 15), ("_grid", "SORTED_ROWS", 15)],
    "sorted": [
        ("_sorted", "BLOCK_ROWS", 40),
        ("_points", "BLOCK_ROWS", 40),
        ("_cells", "GATHER_VALUES", 5000),
        ("_exponential_sums", "BLOCK_CHUNKS", 2),
        ("_exponential_sums", "CHUNK", 40),
        ("_prefix_sums", "BLOCK_ROWS", 40),
        ("_windows", "BLOCK_PAIRS", 300),
    ],
    "grid": [
        ("_grid", "BLOCK_ROWS", 7),
        ("_tensor_cells", "PIECE_ROWS", 40),
        ("_tensor_cells", "GATHER_VALUES", 30_000),
    ],
    "sweep": [("_multiples", "MULTIPLE_PAIRS", 700)],
}
"""By part of the engines: module, constant, and a value that makes the part work in tiny blocks."""

CHOICES = {
    "cells for few keys": [("_grid", "CELL_PAIRS", 0)],
    "cells for some keys": [("_grid", "CELL_PAIRS", 1000)],
    "blocks for few keys": [("_blocks", "MANY_KEYS", 0)],
    "blocks on demand": [
        ("_blocks", "MANY_KEYS", 50_000),
        ("_blocks", "FEW_QUERIES", 100),
        ("_blocks", "MOST_KEPT", 1),
    ],
    "few keys in a copy": [("_blocks", "GATHERED_NUMBERS", 300)],
    "no keys in a copy": [("_blocks", "GATHERED_NUMBERS", 1)],
    "labels for few classes": [("_dense", "FEW_CLASSES", 0)],
    "values summed first": [("_pulled_slopes", "MANY_COLUMNS", 0)],
    "features summed first": [("_pulled_slopes", "MANY_COLUMNS", np.inf)],
}
"""Module, constant, and a value that makes engines choose what they would choose for another size of problem."""


@contextmanager
def constants(*names):
    """Give the constants of SMALL_BLOCKS and CHOICES with these names their values, for a `with` block."""
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            for module, constant, value in (SMALL_BLOCKS | CHOICES)[name]:
                patch.setattr(f"sknw._engines.{module}.{constant}", value)
        yield


def features(engine, kernel, *n_features):
    """The first number of features that the engine can do; 1 and 2 are tried last."""
    return next(d for d in (*n_features, 1, 2) if ENGINES[engine].supports(as_kernel(kernel), d))


def engines_and_kernels(kernels, n_features=(1, 2)):
    """All pairs of an engine and a kernel that it can do, in one of the numbers of features."""
    return [
        (engine, kernel)
        for engine in ENGINES
        for kernel in kernels
        if any(ENGINES[engine].supports(KERNELS[kernel], d) for d in n_features)
    ]


def as_kernel(kernel):
    """A kernel by its name, or itself."""
    return KERNELS[kernel] if isinstance(kernel, str) else kernel


def make_poolers(algorithm, keys, values, weights=None):
    """A function (kernel, bandwidth, tol) -> pooler, for the poolers of one fit: they share its engines."""
    weights = np.ones(len(keys)) if weights is None else weights
    engines = make_engines(keys, values, weights, kept_fraction(weights))

    def make(kernel="gaussian", bandwidth=1.0, tol=1e-10):
        bandwidth = np.broadcast_to(np.asarray(bandwidth, dtype=float), keys.shape[1])
        return prepare(algorithm, engines, as_kernel(kernel), bandwidth, tol)[1]

    return make


def make_pooler(algorithm, keys, values, weights=None, kernel="gaussian", bandwidth=1.0, tol=1e-10):
    """The pooler that a fit with this algorithm gets."""
    return make_poolers(algorithm, keys, values, weights)(kernel, bandwidth, tol)


def pool(pooler, queries=None, rows=slice(None), n_jobs=None, tol=0.0):
    """Pooled values (m, n_values) and log_mass (m,) for some rows of the queries; None leaves one out."""
    return pooler.pool(queries, rows, n_jobs, tol)


def attention(pooler, queries=None, rows=slice(None), n_jobs=None):
    """Attention weights (m, n) and log_mass (m,) for some rows of the queries; None leaves one out."""
    return pooler.attention(queries, rows, n_jobs)


def sweep(pooler, octaves, rows=slice(None), n_jobs=None):
    """Pooled values and log_mass in leave-one-out for 2^octave times the bandwidth, one pair for each octave."""
    return list(pooler.multiples(octaves, rows, n_jobs))


def gradient(pooler, cotangents, rows=slice(None), n_jobs=None, tol=0.0):
    """Pooled values (m, n_values), log_mass (m,) and a vector-Jacobian product (n_features,) in leave-one-out.

    The product is the sum over rows and values of `cotangents` (m, n_values) times d pooled / d log h_f.
    """
    if pooler.pull is not None:
        rows = np.arange(len(pooler.engine.rows))[rows]
        return pooler.pull(lambda values, log_mass, part: cotangents[part], rows, n_jobs, tol)
    values, log_mass, slopes = pooler.slopes(rows, n_jobs, tol)
    return values, log_mass, np.einsum("qv,qfv->f", cotangents, slopes)


def jacobian(pooler, rows, tol=0.0):
    """d pooled / d log h_f (m, n_features, n_values) in leave-one-out, by a gradient for each row and value."""
    units = np.eye(pool(pooler, rows=rows[:1])[0].shape[1])[:, None]
    products = [[gradient(pooler, unit, rows[[i]], tol=tol)[2] for unit in units] for i in range(len(rows))]
    return np.array(products).swapaxes(1, 2)


def is_served_by(pooler, algorithm):
    """Whether the engine itself serves the pooler, not another one in its place."""
    made = vars(pooler).get("blocks", pooler)  # before they are made on demand, it is the dense engine
    return type(made).__name__ == f"{algorithm.title()}Pooler"


def kept_share(pooler, tol):
    """The share of pairs that the blocks engine looks at, as it judges itself."""
    return pooler.kept_share(tol)


def n_unresolved(pooler, call):
    """How many rows the engine leaves to the next one, or to its own careful pass, while `call()` runs."""
    counts = []

    def counting(function, n_rows):
        def count(*args, **kwargs):
            counts.append(n_rows(*args))
            return function(*args, **kwargs)

        return count

    with pytest.MonkeyPatch.context() as patch:
        for owner, name, n_rows in _fallbacks(pooler):
            patch.setattr(owner, name, counting(getattr(owner, name), n_rows))
        call()
    return sum(counts)


def _fallbacks(pooler):
    """Functions that take over rows, and how many rows their arguments are."""
    if hasattr(pooler, "_blocks"):
        yield pooler._blocks, "pool", lambda queries, rows, *rest: len(rows)
        yield pooler._blocks, "slopes", lambda rows, *rest: len(rows)
    elif hasattr(pooler, "dense"):
        yield pooler.dense, "distance_blocks", lambda block, *rest: block.n_rows
    else:
        yield import_module("sknw._engines._dense"), "collect_nearby", lambda pooler, block, *rest: block.n_rows
        yield import_module("sknw._engines._slopes"), "careful_moments", lambda pooler, block: block.n_rows
