"""Gradients of predictions by the query: the public method, and how attention changes around queries.

With coordinates in multiples of the bandwidths, and attention a_i proportional to w_i K(|q - x_i|² / s²) for a query of
width s, d log a_i / dq is g_i less its mean under the attention, where

    g_i = 2 (d log K / dt) / s² ((q - x_i) - |q - x_i|² / 2 d log s² / dq),

and d log s² / dq = 2 (q - x_k) / |q - x_k|² if the width follows the neighbour x_k, else 0.
"""

from typing import NamedTuple

import numpy as np

from ._engines.neighbors import unit_bandwidth
from ._inputs import in_dense_blocks
from ._kernels import DIFFERENTIABLE
from ._lines import LARGEST
from ._threads import run_blocks

BLOCK_NUMBERS = 2**18
"""Numbers of an array for pairs of a query and a key that a thread holds: 2 MiB."""


class Gradients:
    """The gradients of regressors, which define `_gradients_of(queries)`.

    It returns gradients by columns (m, n_values, n_columns), and log_mass (m,), for codes (m, n_features), or None.
    """

    def gradients(self, X):
        """Compute the derivatives of predictions with respect to the queries.

        Parameters
        ----------
        X : array-like or sparse matrix (n_queries, n_features), or None
            Queries. Sparse queries are converted to dense arrays in blocks. None differentiates the prediction for each
            training point from all other training points, at that point.

        Returns
        -------
        gradients : (n_queries, n_features) or (n_queries, n_outputs, n_features) float ndarray
            Derivatives of `predict(X)`, in units of y for each unit of X. With 2-D y they have an axis for the outputs.
            They are zero for features of infinite bandwidth that no trend depends on. They are nan where the prediction
            is, for features with categories (`is_categorical_`), also if these are ordered, and for a number that is
            missing at the query.

        Raises
        ------
        ValueError
            If the kernel has no derivative, which is so for "boxcar" and for a `Kernel` without `log_slope`; and in
            the cases of `predict`.

        Notes
        -----
        `model.gradients(X).mean(axis=0)` are average marginal effects (Härdle & Stoker 1989, "Investigating smooth
        multiple regression by the method of average derivatives").

        Where predictions have a kink, derivatives leave out the training points that cause it: one at the query, for
        "exponential" and "triangular"; at the edge of the support; and two neighbours at the same distance, of which
        `n_neighbors` takes one. Where no training point is within the support of the kernel, attention weights are
        piecewise constant, and are taken as constants. Where predictions of a local line are clipped to the range of
        the training targets, derivatives are zero.

        For fixed widths and the kernels "gaussian", "epanechnikov", "biweight" and "triweight", the derivatives of
        `NadarayaWatsonRegressor` take a few times as long as `predict`, by the same algorithm. Let R be the largest
        range of a feature over its bandwidth. In units of the range of y over the bandwidth of the feature, derivatives
        err by at most max(tol, 3e-11 R), and by rounding, of 1e-10 or so for R > 1e4 and less otherwise. For kernels
        of bounded support, the former can be up to a hundred times as much where nearly all training points in the
        support are at its edge. In practice, errors are those of rounding.

        All other derivatives are computed from attention weights, in O(n_queries n n_features) time, in blocks of
        queries. Their errors are rounding errors, at any distance.

        Examples
        --------
        >>> import numpy as np
        >>> from sknw import NadarayaWatsonRegressor
        >>> X = np.linspace(0, 3, 301)[:, None]
        >>> model = NadarayaWatsonRegressor(0.1).fit(X, np.sin(X[:, 0]))
        >>> model.gradients([[1.0], [2.0]]).round(3)
        array([[ 0.538],
               [-0.414]])

        Average marginal effects:

        >>> model.gradients(X).mean(axis=0).round(3)
        array([0.046])
        """
        queries = self._check_queries(X)
        if self._table.holds_distances:
            raise ValueError('gradients are derivatives by features, but metric="precomputed" has distances')
        if self._kernel.log_slope is None:
            raise ValueError(f"kernel={self.kernel!r} has no derivative (log_slope); use one of {DIFFERENTIABLE}")
        gradients, log_mass = in_dense_blocks(self._gradients_by_features, queries)
        empty = self._empty_rows(log_mass)
        gradients[empty] = np.where(np.isnan(gradients[empty]) | (self.empty != "mean"), np.nan, 0.0)
        return self._in_shape_of_y(gradients)

    def _gradients_by_features(self, queries):
        """Gradients (m, n_values, n_features), nan for what is no number, and log_mass (m,)."""
        gradients, log_mass = self._gradients_of(queries)
        if not self._columns.is_trivial:
            gradients = gradients[:, :, self._columns.starts]
        if self.is_categorical_ is not None:
            gradients[:, :, self.is_categorical_] = np.nan
        missing = np.isnan(self.keys_ if queries is None else queries)
        if missing.any():
            gradients[np.broadcast_to(missing[:, None], gradients.shape)] = np.nan
        return gradients, log_mass


class Surroundings(NamedTuple):
    """The keys around b queries, in units of `unit_bandwidth`, for d features of finite bandwidth.

    Attributes
    ----------
    attention : (b, n_keys) float ndarray
    slopes : (b, n_keys) float ndarray
        2 d log K / dt over the squared width.
    origins : (b,) int ndarray
        The position of the key of most attention.
    offsets : (b, d, n_keys) float ndarray
        From that key to each key.
    steps : (b, d) float ndarray
        From that key to the query.
    half_squares : (b, n_keys) float ndarray or None
        Half the squared distances from the query, if the width follows a neighbour.
    growth : (b, d) float ndarray or None
        The derivatives of the logarithm of the squared width.
    squares : (b,) float ndarray
        Squared widths.
    log_mass : (b,) float ndarray
    """

    attention: np.ndarray
    slopes: np.ndarray
    origins: np.ndarray
    offsets: np.ndarray
    steps: np.ndarray
    half_squares: np.ndarray | None
    growth: np.ndarray | None
    squares: np.ndarray
    log_mass: np.ndarray

    @classmethod
    @np.errstate(all="ignore")
    def find(cls, pooler, queries, rows):
        """Those of some rows of the queries, given as to `Pooler.pool`."""
        attention, slopes, log_mass, scales = pooler.slopes(queries, rows)
        used, problem, origins = np.isfinite(pooler.bandwidth), pooler.problem, attention.argmax(axis=1)
        unit, keys = unit_bandwidth(problem, pooler.bandwidth)[used], problem.keys[:, used]
        points = (problem.rows if queries is None else queries)[rows][:, used]
        offsets = np.clip((keys.T - keys[origins][:, :, None]) / unit[:, None], -LARGEST, LARGEST)
        steps = np.clip((points - keys[origins]) / unit, -LARGEST, LARGEST)
        f = unit.argmin()
        squares = np.clip(np.square(pooler.bandwidth[used][f] / unit[f]) / scales, LARGEST**-2, LARGEST**2)
        slopes *= (2 / squares)[:, None]
        half_squares = growth = None
        if pooler.widths is not None:
            half_squares = np.square(steps[:, :, None] - offsets).sum(axis=1) / 2
            growth = _growth(half_squares, offsets, steps, squares / pooler.widths.neighbors.square)
        return cls(attention, slopes, origins, offsets, steps, half_squares, growth, squares, log_mass)

    def covariances(self, values):
        """The covariances (b, n_values, d) of g and values (b, n_values, n_keys) under the attention.

        They are the derivatives of means by the query. Distances from the key of most attention, and differences from
        its slope, keep the digits where the query is far from all keys.
        """
        values = values - np.einsum("bvn,bn->bv", values, self.attention)[:, :, None]
        values *= self.attention[:, None]
        own = np.take_along_axis(self.slopes, self.origins[:, None], axis=1)
        by_steps = np.einsum("bvn,bn->bv", values, self.slopes - own)
        values *= self.slopes[:, None]
        covariances = by_steps[:, :, None] * self.steps[:, None] - values @ np.swapaxes(self.offsets, 1, 2)
        if self.growth is not None:
            by_width = np.einsum("bvn,bn->bv", values, self.half_squares)
            covariances -= by_width[:, :, None] * self.growth[:, None]
        return covariances


def _growth(half_squares, offsets, steps, kth):
    """The derivatives (b, d) of log t_k by the query, where t_k is equal to `kth` (b,) but for rounding."""
    ratios = half_squares / (kth / 2)[:, None]
    k = np.abs(ratios - 1).argmin(axis=1)
    neighbor, rows = steps - offsets[np.arange(len(k)), :, k], np.arange(len(k))
    square = half_squares[rows, k][:, None]
    return np.divide(neighbor, square, out=np.zeros(neighbor.shape), where=square > 0)


def each_block(function, n_queries, n_keys, n_columns, n_jobs):
    """Call `function(rows)` for slices of the queries, few enough for arrays of so many keys and columns."""
    run_blocks(function, n_queries, max(1, BLOCK_NUMBERS // (n_keys * max(1, n_columns))), n_jobs)
