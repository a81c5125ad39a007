"""Local ridge lines: what the attention of a query says of the keys and values around it.

With u the coordinates of a key in bandwidths and a_i the attention weights of a query q, let m and C be the mean and
the covariance of the keys under the attention, and c their covariance with the values. The line at q is

    pool(q) + (q - m)' g,    g = (C + ridge s² I)^-1 c,

where s is the width of the query in bandwidths, 1 unless it follows a neighbour (Stone 1977, "Consistent nonparametric
regression"; with a ridge, Seifert & Gasser 1996, "Finite-sample variance of local polynomials: analysis and
solutions"). The line is a mean of the values with weights a_i (1 + (q - m)' (C + ridge s² I)^-1 (u_i - m)), which sum
to one, and may be negative.

Moments are means of the columns u_f, u_f u_g and u_f v_k around the median of the keys, as any engine pools them, which
errs in C by some eps |m|², and by the rounding of columns, which are measured from their least value. Where that is not
far below the least eigenvalue of C + ridge s² I, and where there are too many features for columns, moments come from
attention weights, around the mean of each query: these are exact to rounding.
"""

from typing import NamedTuple

import numpy as np

from ._engines import Poolers
from ._engines.neighbors import unit_bandwidth
from ._problem import Problem

MOST_NUMBERS = 2**26
"""Numbers in all columns up to which moments are columns; otherwise they come from attention weights."""

LARGEST = 1e150
"""Upper bound of coordinates and of their products with inverse covariances, so that sums of products are finite."""

ROUNDING = 4 * np.finfo(float).eps
"""What moments err by, relative to squared coordinates."""

ACCURACY = 1e-9
"""What a covariance may err by, relative to the least eigenvalue of C + ridge s² I."""

DEAD = 1e-14
"""Without a ridge, there is no slope along axes whose eigenvalue is less than this part of the largest one. With one,
it is at least this part of the sum of the eigenvalues.
"""

BLOCK_NUMBERS = 2**20
"""Coordinates of pairs of a query and a key that are held at once: 8 MiB."""


class Moments(NamedTuple):
    """Moments for m queries, in units of `LocalLines`.

    Attributes
    ----------
    means : (m, n_values) float ndarray
        Pooled values.
    steps : (m, d) float ndarray
        From the mean of the keys to the query.
    spread : (m, d, d) float ndarray
        Covariances of the keys.
    cross : (m, d, n_values) float ndarray
        Covariances of the keys and the values.
    squares : (m,) float ndarray
        Squared widths s².
    log_mass : (m,) float ndarray
        -inf where no key has weight. The moments are then those of the nearest keys.
    by_attention : (m,) bool ndarray
        Whether they come from attention weights.
    axes : (d,) bool ndarray
        Along which there are slopes.
    """

    means: np.ndarray
    steps: np.ndarray
    spread: np.ndarray
    cross: np.ndarray
    squares: np.ndarray
    log_mass: np.ndarray
    by_attention: np.ndarray
    axes: np.ndarray

    @np.errstate(all="ignore")
    def lines(self, ridge):
        """Lines at the queries: values (m, n_values), and coordinates from the query (m, d), which are 0 at ridge 0."""
        weights = self.weights(ridge)
        values = self.means + np.einsum("md,mdv->mv", weights, self.cross)
        return values, np.einsum("mde,me->md", self.spread, weights) - self.steps

    @np.errstate(all="ignore")
    def weights(self, ridge):
        """(C + ridge s² I)^-1 (q - m), (m, d), by which a line weighs keys relative to their attention."""
        return self.solve(ridge, self.steps[:, :, None])[:, :, 0]

    def solve(self, ridge, vectors):
        """(C + ridge s² I)^-1 times vectors (m, d, k), the first of which is q - m; 0 where that is not finite.

        Without the axes along which there are no slopes, where it is 0.
        """
        if np.isinf(ridge) or not self.axes.any():
            return np.zeros(vectors.shape)
        if not self.axes.all():
            solutions, axes = np.zeros(vectors.shape), np.flatnonzero(self.axes)
            some = self._replace(steps=self.steps[:, axes], spread=self.spread[:, axes[:, None], axes], axes=axes >= 0)
            solutions[:, axes] = some.solve(ridge, vectors[:, axes])
            return solutions
        if ridge > 0:
            least = DEAD * np.trace(self.spread, axis1=1, axis2=2) + 1 / LARGEST
            penalties = np.maximum(ridge * self.squares, least)[:, None, None] * np.eye(self.steps.shape[1])
            solutions = np.linalg.solve(self.spread + penalties, vectors)
        else:
            spectrum, axes = np.linalg.eigh(self.spread)
            alive = (spectrum > DEAD * spectrum[:, -1:])[:, :, None]
            along = np.swapaxes(axes, 1, 2) @ vectors
            solutions = axes @ np.divide(along, spectrum[:, :, None], out=np.zeros(along.shape), where=alive)
        solutions[~(np.abs(solutions[:, :, 0]) < LARGEST).all(axis=1)] = 0
        return solutions

    @np.errstate(all="ignore")
    def are_rough(self, centred, least_ridge, largest, largest_shift):
        """Which queries (m,), given from the centre of the columns, have moments that rounding has spoilt.

        `largest` is the largest distance of a key from the centre, and `largest_shift` that of a product of coordinates
        from zero where it is negative.
        """
        length, floor = np.linalg.norm(centred - self.steps, axis=1), least_ridge * self.squares

        def exceeds():
            shifts = largest * (length + np.sqrt(floor)) + largest_shift
            return ~(ROUNDING * np.square(length) + ROUNDING / 8 * shifts < ACCURACY * floor)

        rows = np.flatnonzero(exceeds())  # the least eigenvalue takes longer
        spread = np.where(np.isfinite(self.spread[rows]), self.spread[rows], 0.0)
        floor[rows] += np.maximum(np.linalg.eigvalsh(spread).min(axis=1, initial=np.inf), 0)
        return exceeds()


class LocalLines:
    """Keys and values with one kernel and one bandwidth vector (n_features,), ready for lines at queries.

    Coordinates are in bandwidths times a power of two that makes the keys one to four units wide.

    Parameters
    ----------
    keys : (n, n_features) float ndarray
    values : (n, n_values) float ndarray
    weights : (n,) float ndarray
    bandwidth : (n_features,) float ndarray
    sloped : (k,) int ndarray
        The features along which there are slopes, unless their bandwidth is infinite.
    algorithm, kernel, tol
        As for `Poolers`.
    """

    def __init__(self, keys, values, weights, bandwidth, sloped, algorithm, kernel, tol):
        self.values, self.bandwidth, self.tol = values, bandwidth, tol
        self.used, problem = sloped[np.isfinite(bandwidth[sloped])], Problem(keys, values, weights)
        self.unit = np.minimum(unit_bandwidth(problem, bandwidth), LARGEST)
        self.centre = 2 * problem.extent[2]
        self.coordinates = self.centred(keys)
        self.by_columns = self._have_columns()
        self.poolers, self._last = Poolers(Problem(keys, self._columns(), weights), algorithm, kernel, tol), {}

    def pooler(self, n_neighbors):
        """The `Pooler` of the columns; that of the last number is kept."""
        pooler = self._last.get(n_neighbors)
        if pooler is None:
            pooler = self.poolers(self.bandwidth, n_neighbors)
            self._last = {n_neighbors: pooler}
        return pooler

    def moments(self, pooler, queries=None, rows=slice(None), least_ridge=0.0, n_jobs=None):
        """`Moments` for some rows of the queries (m, n_features), which are right for ridges from `least_ridge` on.

        None is leave-one-out: the training rows are the queries. There are no slopes along features that the pooler
        ignores.
        """
        pooled = pooler.pool(queries, rows, n_jobs, self.tol)
        centred = self.coordinates[rows] if queries is None else self.centred(queries[rows])
        squares = self._squares(pooler, pooled)
        rows = np.arange(len(self.values) if queries is None else len(queries))[rows]
        moments = self._split(pooled, centred, squares, np.isfinite(pooler.bandwidth[self.used]))
        if least_ridge < np.inf:
            moments.by_attention[:] = not self.by_columns or moments.are_rough(centred, least_ridge, *self.largest)
        for some in self.blocks(np.flatnonzero(moments.by_attention)):
            attention, _ = pooler.attention(queries, rows[some], n_jobs)
            for field, found in zip(moments[:4], self._moments_of(attention, centred[some]), strict=True):
                field[some] = found
        return moments

    def blocks(self, positions):
        """Positions of queries in blocks, of which pairs with all keys are held at once."""
        step = max(1, BLOCK_NUMBERS // max(1, self.coordinates.size))
        return [positions[start : start + step] for start in range(0, len(positions), step)]

    def squares(self):
        """The coordinates and their products, (n, d + d (d + 1) / 2)."""
        i, j = np.triu_indices(len(self.used))
        return np.column_stack([self.coordinates, self.coordinates[:, i] * self.coordinates[:, j]])

    def centred(self, points):
        """Points (m, n_features) in units from the centre, (m, d)."""
        with np.errstate(over="ignore"):
            coordinates = (points[:, self.used] - self.centre[self.used]) / self.unit[self.used]
        return np.clip(coordinates, -LARGEST, LARGEST)

    def _have_columns(self):
        """Whether moments can be columns."""
        n, d = self.coordinates.shape
        n_columns = (1 + d) * (d / 2 + self.values.shape[1])
        return n * n_columns <= MOST_NUMBERS

    def _columns(self):
        """The values, the coordinates, and their products if moments are columns, (n, n_columns)."""
        u = self.coordinates
        if not self.by_columns:
            return np.column_stack([self.values, u])
        crossed = (u[:, :, None] * self.values[:, None]).reshape(len(u), -1)
        squares = self.squares()
        self.largest = np.linalg.norm(u, axis=1).max(), -squares[:, u.shape[1] :].min(initial=0)
        return np.column_stack([self.values, squares, crossed])

    def _squares(self, pooler, pooled):
        """Squared widths (m,) of queries, in units."""
        scales = np.ones(len(pooled.log_mass)) if pooled.scales is None else pooled.scales
        if len(self.used) == 0:
            return scales
        f = np.where(np.isfinite(pooler.bandwidth), self.unit, np.inf).argmin()
        with np.errstate(all="ignore"):
            return np.square(pooler.bandwidth[f] / self.unit[f]) / scales

    def _split(self, pooled, centred, squares, axes):
        """`Moments` of pooled columns; covariances are zero if they are no columns."""
        (m, d), n_values = centred.shape, self.values.shape[1]
        means, mean_key, products = np.split(pooled.values, [n_values, n_values + d], axis=1)
        spread, cross = np.zeros((m, d, d)), np.zeros((m, d, n_values))
        if self.by_columns:
            products, crossed = np.split(products, [d * (d + 1) // 2], axis=1)
            spread = covariances(mean_key, products)
            cross = crossed.reshape(m, d, n_values) - mean_key[:, :, None] * means[:, None]
        by_attention = np.zeros(m, dtype=bool)
        return Moments(means.copy(), centred - mean_key, spread, cross, squares, pooled.log_mass, by_attention, axes)

    def _moments_of(self, attention, centred):
        """The first four fields of `Moments`, from attention weights (b, n)."""
        keys = np.flatnonzero(attention.any(axis=0))
        attention, u, values = attention[:, keys], self.coordinates[keys], self.values[keys]
        means, origins = attention @ values, u[attention.argmax(axis=1)]
        deviations = u - origins[:, None]  # exactly zero where keys are equal
        shifts = np.einsum("mn,mnd->md", attention, deviations)
        deviations -= shifts[:, None]
        weighted = np.swapaxes(attention[:, :, None] * deviations, 1, 2)
        return means, centred - origins - shifts, weighted @ deviations, weighted @ values


def covariances(means, products):
    """Covariances (m, d, d) from means of coordinates (m, d), and of products, in the order of `LocalLines.squares`."""
    d = means.shape[1]
    i, j = np.triu_indices(d)
    spread = np.empty((len(means), d, d))
    spread[:, i, j] = spread[:, j, i] = products - means[:, i] * means[:, j]
    return spread
