"""How tests reach engines: but for unit tests of algorithms, the only module that knows what is private to them."""

from contextlib import contextmanager
from importlib import import_module

import numpy as np
import pytest

from sknw._engines import ENGINES, Poolers
from sknw._kernels import KERNELS
from sknw._problem import Problem

SMALL_BLOCKS = {
    "dense": [("_engines.dense.keys", "BLOCK_PAIRS", 112), ("_engines.dense.keys", "MIN_KEY_ROWS", 7)],
    "distances": [
        ("_engines.dense.distances", "BLOCK_QUERIES", 7),
        ("_engines.dense.distances", "BLOCK_KEYS", 16),
        ("_distances", "BLOCK_NUMBERS", 500),
    ],
    "gradient": [
        ("_engines.dense.gradient", "DERIVATIVE_PAIRS", 256),
        ("_engines.dense.gradient", "DERIVATIVE_NUMBERS", 700),
        ("_engines.dense.gradient", "COVARIANCE_PAIRS", 700),
        ("_engines.dense.gradient", "VJP_PAIRS", 700),
    ],
    "keys kept": [
        ("_engines.dense.key_gradient", "KEPT_PAIRS", 70),
        ("_engines.dense.key_gradient", "FEWEST_QUERIES", 2),
        ("_engines.dense.key_gradient", "COVARIANCE_PAIRS", 70),
    ],
    "blocks": [
        ("_engines.blocks.leaves", "LEAF_KEYS", 4),
        ("_engines.blocks.leaves", "BOUND_LEAVES", 16),
        ("_engines.blocks.engine", "BLOCK_QUERIES", 6),
        ("_engines.blocks.engine", "FEWEST_QUERIES", 3),
        ("_engines.blocks.engine", "BLOCKS_TOGETHER", 1),
    ],
    "queries": [
        ("_engines.summation.Summation", "chunk_numbers", 15),
        ("_engines.blocks.engine.BlocksSummation", "chunk_numbers", 100),
        ("_engines.grid.engine.GridSummation", "chunk_numbers", 30),
    ],
    "sorted": [
        ("_engines.sorted.engine", "BLOCK_SUMS", 80),
        ("_engines.sorted.engine.Unordered", "step", 70),
        ("_engines.sorted.tables", "TOGETHER", 30),
        ("_engines.sorted.buckets", "ORDERED_KEYS", 100),
        ("_engines.sorted.buckets", "CELL_KEYS", 0),
        ("_engines.sorted.cell_sums", "ORDERED_QUERIES", 90),
        ("_engines.sorted.cell_sums", "CELL_QUERIES", 0),
        ("_engines.sorted.points", "POLYNOMIAL_POINTS", 40),
        ("_engines.sorted.gauss_transform", "GATHER_VALUES", 5000),
        ("_engines.sorted.exponential_sums", "BLOCK_CHUNKS", 2),
        ("_engines.sorted.exponential_sums", "CHUNK", 40),
        ("_engines.sorted.prefix_sums", "BLOCK_KEYS", 40),
        ("_engines.sorted.prefix_sums", "FEW_QUERIES", 10),
        ("_engines.sorted.windows", "BLOCK_KEYS", 40),
        ("_engines.sorted.windows", "WINDOW_PAIRS", 300),
        ("_engines.sorted.positions", "BLOCK_KEYS", 40),
        ("_engines.sorted.order", "BLOCK", 40),
    ],
    "grid": [
        ("_engines.grid.engine", "CELL_QUERIES", 7),
        ("_engines.grid.engine", "FEW_QUERIES", 2),
        ("_engines.grid.gauss_transform", "FEW_QUERIES", 2),
        ("_engines.grid.near_keys", "LEAF_KEYS", 4),
        ("_engines.grid.near_keys", "GAP_KEYS", 5),
        ("_engines.grid.gauss_transform", "PIECE_ROWS", 40),
        ("_engines.grid.gauss_transform", "GATHER_VALUES", 30_000),
        ("_engines.grid.space_sums", "TENSOR_VALUES", 400 * 31**3),
        ("_engines.grid.space_sums", "LINE_CELLS", 2),
        ("_engines.grid.space_sums", "PIECE_ROWS", 30),
        ("_engines.grid.space_sums", "BOUND_CELLS", 3),
    ],
    "sweep": [("_engines.dense.sweep", "SWEEP_PAIRS", 700)],
}
"""By part of the engines: module or class, constant, and a value that makes the part work in tiny blocks."""

CHOICES = {
    "cells for few keys": [
        ("_engines.grid.engine", "CELL_PAIRS", 0),
        ("_engines.grid.engine", "QUERY_PAIRS", 0),
        ("_engines.grid.engine", "SPACE_CELL_PAIRS", 0),
        ("_engines.grid.engine", "SPACE_POINT_PAIRS", 0),
    ],
    "cells for some keys": [
        ("_engines.grid.engine", "CELL_PAIRS", 1000),
        ("_engines.grid.engine", "SPACE_CELL_PAIRS", 1000),
        ("_engines.grid.engine", "SPACE_POINT_PAIRS", 1),
    ],
    "blocks for few keys": [
        ("_engines.blocks.engine", "MANY_KEYS", 0),
        ("_engines.blocks.engine", "MOST_KEPT", np.inf),
    ],
    "blocks on demand": [
        ("_engines.blocks.engine", "MANY_KEYS", 50_000),
        ("_engines.blocks.engine", "FEW_QUERIES", 100),
        ("_engines.blocks.engine", "MOST_KEPT", 1),
    ],
    "few keys in a copy": [("_engines.blocks.leaves", "GATHERED_NUMBERS", 300)],
    "no keys in a copy": [("_engines.blocks.leaves", "GATHERED_NUMBERS", 1)],
    "keys put in order": [("_engines.sorted.buckets", "MOST_NEAR", 0)],
    "sums looked up": [
        ("_engines.sorted.cell_sums", "FEWEST_LOOKED_UP", 0),
        ("_engines.sorted.cell_sums", "PART_QUERIES", 0),
    ],
    "positions looked up": [
        ("_engines.sorted.positions", "FEW_KEYS", 0),
        ("_engines.sorted.positions", "FEW_NUMBERS", 0),
        ("_engines.sorted.positions", "KEYS_FOR_EACH", np.inf),
    ],
    "distinct rows of few": [("_distinct", "FEW_ROWS", 0)],
    "labels for few classes": [("_problem", "FEW_CLASSES", 0)],
    "values summed first": [("_engines.dense.gradient", "MANY_COLUMNS", 0)],
    "features summed first": [("_engines.dense.gradient", "MANY_COLUMNS", np.inf)],
}
"""Module, constant, and a value that makes engines choose what they would choose for another size of problem."""


@contextmanager
def constants(*names):
    """Give the constants of SMALL_BLOCKS and CHOICES with these names their values, for a `with` block."""
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            for module, constant, value in (SMALL_BLOCKS | CHOICES)[name]:
                patch.setattr(f"sknw.{module}.{constant}", value)
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
    """A function (kernel, bandwidth, tol, n_neighbors) -> pooler, for poolers of one fit, which share its engines."""
    problem = Problem(keys, values, np.ones(len(keys)) if weights is None else weights)
    engines = {}

    def make(kernel="gaussian", bandwidth=1.0, tol=1e-10, n_neighbors=None):
        bandwidth = np.broadcast_to(np.asarray(bandwidth, dtype=float), keys.shape[1])
        poolers = Poolers(problem, algorithm, as_kernel(kernel), tol)
        poolers.engines = engines
        return poolers(bandwidth, n_neighbors)

    return make


def make_pooler(algorithm, keys, values, weights=None, kernel="gaussian", bandwidth=1.0, tol=1e-10, n_neighbors=None):
    """The pooler that a fit with this algorithm gets."""
    return make_poolers(algorithm, keys, values, weights)(kernel, bandwidth, tol, n_neighbors)


def pool(pooler, queries=None, rows=slice(None), n_jobs=None, tol=0.0):
    """Pooled values (m, n_values) and log_mass (m,) for some rows of the queries; None leaves one out."""
    pooled = pooler.pool(queries, rows, n_jobs, tol)
    return pooled.values, pooled.log_mass


def pool_apart(pooler, queries=None, n_together=1, tol=0.0):
    """The same for all queries, in calls for some of them."""
    n_rows = len(pooler.problem.rows if queries is None else queries)
    parts = [np.arange(n_rows)[first : first + n_together] for first in range(0, n_rows, n_together)]
    return tuple(map(np.concatenate, zip(*(pool(pooler, queries, rows, tol=tol) for rows in parts), strict=True)))


def nearest_t(pooler, queries=None):
    """t (m,) of the nearest keys of queries without any weight, 0 for others."""
    return pooler.pool(queries, tol=1e-10).nearest_t


def attention(pooler, queries=None, rows=slice(None), n_jobs=None):
    """Attention weights (m, n) and log_mass (m,) for some rows of the queries; None leaves one out."""
    return pooler.attention(queries, rows, n_jobs)


def sweep(pooler, octaves, rows=slice(None), n_jobs=None):
    """Pooled values and log_mass in leave-one-out for 2^octave times the bandwidth, one pair for each octave."""
    return [(pooled.values, pooled.log_mass) for pooled in pooler.sweep(octaves, rows, n_jobs)]


def gradient(pooler, cotangents, rows=slice(None), n_jobs=None, tol=0.0):
    """Pooled values (m, n_values), log_mass (m,) and a vector-Jacobian product (n_features,) in leave-one-out.

    The product is the sum over rows and values of `cotangents` (m, n_values) times d pooled / d log h_f.
    """
    pooled, product = pooler.gradient(lambda pooled, places: cotangents[places], rows, n_jobs, tol)
    return pooled.values, pooled.log_mass, product


def jacobian(pooler, rows, tol=0.0):
    """d pooled / d log h_f (m, n_features, n_values) in leave-one-out, by a gradient for each row and value."""
    units = np.eye(pool(pooler, rows=rows[:1])[0].shape[1])[:, None]
    products = [[gradient(pooler, unit, rows[[i]], tol=tol)[2] for unit in units] for i in range(len(rows))]
    return np.array(products).swapaxes(1, 2)


def is_served_by(pooler, algorithm):
    """Whether the engine itself serves the pooler, not another one in its place."""
    if algorithm == "blocks" and "tree" not in vars(pooler._summations[0]):
        return False  # the leaves are not made before there are many queries
    return pooler.algorithm == algorithm


def is_asked_first(pooler, n_queries, tol=1e-10):
    """Whether the engine of the pooler accepts so many queries."""
    return pooler._summations[0].accepts(n_queries, tol, gradient=False)


def kept_share(pooler, tol):
    """The share of pairs that the blocks engine estimates that it has to look at."""
    return pooler._summations[0].kept_share(tol)


def n_unresolved(pooler, call):
    """How many rows the engine leaves to the next one, or to its own stable pass, while `call()` runs."""
    counts = []

    def counting(function, n_rows):
        def count(*args, **kwargs):
            found = function(*args, **kwargs)
            counts.append(n_rows(found, *args))
            return found

        return count

    with pytest.MonkeyPatch.context() as patch:
        for owner, name, n_rows in _fallbacks(pooler):
            patch.setattr(owner, name, counting(getattr(owner, name), n_rows))
        call()
    return sum(counts)


def _fallbacks(pooler):
    """Functions that take over rows, and how many rows their results and arguments are."""
    if pooler.algorithm == "dense":
        yield import_module("sknw._engines.dense.collect"), "collect_stable", lambda found, pairs, *rest: len(pairs)
        yield import_module("sknw._engines.dense.gradient"), "_attention_sums", lambda found, pairs: len(pairs)
    else:
        yield pooler, "_run_engine", lambda found, *rest: len(found)
