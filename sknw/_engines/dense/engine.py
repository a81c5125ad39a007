"""The dense engine: every (query, key) pair, any kernel, any number of features, in blocks."""

import numpy as np

from ..summation import Engine, Summation
from .collect import collect_sums, collect_weights
from .distances import make_keys
from .gradient import attention_slopes, derivative_sums, vjp
from .key_gradient import key_gradient
from .sweep import sweep


class DenseEngine(Engine):
    """All keys of the problem."""

    takes_scales = True

    @staticmethod
    def supports(kernel, n_features):
        """Every kernel, any number of features."""
        return True

    def prepare(self, kernel, bandwidth, tol, scales_of=None):
        """The sums, for every bandwidth, and every scale of queries."""
        return DenseSummation(make_keys(self.problem, kernel, bandwidth))


class DenseSummation(Summation):
    """All keys with one kernel and one bandwidth."""

    cost = "pairs"

    def __init__(self, keys):
        self.keys = keys

    def locate(self, points, left_out, scale=None):
        """Queries in the order in which they come."""
        return LocatedPairs(self.keys, points, left_out, scale)

    def sums(self, queries, tol, derivatives=False):
        """`Sums` for some pairs, none of which is unresolved; `tol` allows for products in tails, see `products`."""
        return derivative_sums(queries, tol) if derivatives else collect_sums(queries, tol)

    def gradient(self, queries, tol, cotangents):
        """A vector-Jacobian product for some pairs, none of which is unresolved."""
        return np.zeros(len(queries), dtype=bool), vjp(queries, tol, cotangents)

    def key_gradient(self, queries, tol, cotangents):
        """The gradient of a loss by some queries (b, n_features) and by all keys, in the units of X.

        `cotangents` are as in `Summation.gradient`.
        """
        by_queries, by_keys = key_gradient(queries, tol, cotangents)
        return self.keys.to_units(by_queries), self.keys.to_units(by_keys)

    def weights(self, queries):
        """Weights (b, n_keys), kernel times key, up to a factor for each query, and log_mass (b,)."""
        weights, log_mass, _ = collect_weights(queries)
        return weights, log_mass

    def slopes(self, queries):
        """Attention weights and d log K / dt, both (b, n_keys), and log_mass (b,); slopes are zero at t = 0."""
        return attention_slopes(queries)

    def sweep(self, octaves, left_out, n_jobs):
        """Yield `Sums` of the queries that are `left_out`, with 2^octave times the bandwidth, for each octave."""
        return sweep(self.keys, octaves, left_out, n_jobs)


class LocatedPairs:
    """Queries that make `Pairs` with all keys, in the order in which they come."""

    def __init__(self, keys, points, left_out, scale):
        self.keys, self.points, self.left_out, self.scale = keys, points, left_out, scale
        self.order, self.step = None, keys.block_rows(len(points))

    def __getitem__(self, places):
        left_out, scale = (None if field is None else field[places] for field in (self.left_out, self.scale))
        return self.keys.pairs(self.points[places], left_out, scale)
