"""Keys and their columns in single precision, in chunks.

`single` sums them, and bounds what these sums err by.
"""

import sys
from functools import cache

import numpy as np

CHUNK = 64
"""The most keys that are summed in single precision."""

FARTHEST = 1e6
"""|x|² above this is replaced by it in E |x|⁴, as such keys have no weight for queries in question."""

LEAST_WEIGHT = 1e-30
"""Weights below this, in units of the largest, become zero, lest products are denormal."""

AVX512 = ("AVX512_SKX", "X86_V4")
"""What numpy calls these instructions."""


@cache
def exponential():
    """np.exp or np.exp2, whichever is faster in single precision, and the logarithm of its base.

    On Linux numpy has both with the instructions of AVX-512, where exp2 takes half the time. Elsewhere only exp uses
    vector instructions.
    """
    if sys.platform == "linux" and hasattr(np.lib, "introspect"):
        found = np.lib.introspect.opt_func_info(func_name="^exp2$", signature="float32")
        if any(loop["current"] in AVX512 for loop in found.get("exp2", {}).values()):
            return np.exp2, np.log(2)
    return np.exp, 1.0


class SingleColumns:
    """Columns of keys in chunks of a size, the last of which is filled up with keys of no weight.

    Attributes
    ----------
    chunks : (n_chunks, n_values + 2, size) float32 ndarray
        Times the weights: the values moved to [-1, 1], ones, and the sum of the squares of the values.
    middle, half_range : (n_values,) float ndarray
        What values are moved by.
    spread : float
        A bound on the standard deviation of each of the moved values.
    log_weight : float
        The logarithm of the sum of the weights.
    dropped : float
        The sum of the weights that have become zero.
    """

    def __init__(self, columns, weights, size):
        counted = weights > LEAST_WEIGHT
        self.dropped = weights[~counted].sum()
        values = self._move(np.ascontiguousarray(columns.T[:-1]) / weights, counted)
        weights = np.where(counted, weights, 0.0)
        total, squares = weights.sum(), np.square(values).sum(axis=0)
        self.log_weight = np.log(total)
        variance = squares @ weights / total - np.square(values @ weights / total).sum()
        self.spread = np.sqrt(np.clip(variance, 0.0, 1.0))
        chunks = np.zeros((len(values) + 2, -(-len(weights) // size) * size), dtype=np.float32)
        np.multiply([*values, np.ones(len(weights)), squares], weights, out=chunks[:, : len(weights)])
        self.chunks = np.ascontiguousarray(chunks.reshape(len(chunks), -1, size).transpose(1, 0, 2))

    def _move(self, values, counted):
        """Values (n_values, n_keys) moved to [-1, 1], those of the keys that count."""
        of_counted = values if counted.all() else values[:, counted]
        low, high = of_counted.min(axis=1), of_counted.max(axis=1)
        self.middle, self.half_range = (low + high) / 2, (high - low) / 2
        return (values - self.middle[:, None]) / np.where(self.half_range > 0, self.half_range, 1.0)[:, None]

    def move_back(self, sums):
        """Sums (..., n_values + 1) of the moved values and ones, as sums of the columns of the problem."""
        values = self.half_range * sums[..., :-1] + self.middle * sums[..., -1:]
        return np.concatenate([values, sums[..., -1:]], axis=-1)


class SingleKeys(SingleColumns):
    """Keys with one bandwidth.

    Attributes
    ----------
    augmented : (n, n_used + 2) float32 ndarray
        The keys x in bandwidths from their centre, -|x|² / 2 over the logarithm of the base of exponents, and ones.
    columns : (n / CHUNK, n_values + 3, CHUNK) float32 ndarray
        The columns, times what makes up for the rounding of |x|²; the last one is |x|⁴ in units of FARTHEST².
    """

    def __init__(self, keys):
        super().__init__(keys.columns, keys.weights, CHUNK)
        self.exp, self.log_base = exponential()
        self.d, n_keys = keys.centred.shape
        n_chunks, n_columns, _ = self.chunks.shape
        self.augmented = np.zeros((n_chunks * CHUNK, self.d + 2), dtype=np.float32)
        points = self.augmented[:, :-2]
        np.clip(keys.centred.T, -FARTHEST, FARTHEST, out=points[:n_keys], casting="same_kind")
        norms = squared_norms(points)
        self.augmented[:, -2] = norms / (-2 * self.log_base)
        self.augmented[:, -1] = 1.0
        rounding = norms / -2 - self.log_base * self.augmented[:, -2].astype(float)
        factor = np.exp(np.clip(rounding, -1.0, 1.0)).reshape(n_chunks, 1, CHUNK)
        farness = np.square(np.minimum(norms / FARTHEST, 1.0)).reshape(n_chunks, CHUNK)
        self.columns = np.empty((n_chunks, n_columns + 1, CHUNK), dtype=np.float32)
        np.multiply(self.chunks, factor, out=self.columns[:, :-1], casting="same_kind")
        np.multiply(self.columns[:, -3], farness, out=self.columns[:, -1], casting="same_kind")


def squared_norms(points):
    """|x|² (n,) of points (n, d), in double precision."""
    points = points.astype(float)
    return np.einsum("if,if->i", points, points)
