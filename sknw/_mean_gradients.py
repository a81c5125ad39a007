"""Gradients of means: of Nadaraya-Watson estimates by the query.

Kernels K with dK / dt = -c G, for a kernel G that engines support, need no attention weights (G = K for the Gaussian;
Cheng 1995, "Mean shift, mode seeking, and clustering", section II, calls K the shadow of G). With the masses M_K and
M_G, with the means E_K and E_G of columns under the attention of either, and with coordinates in bandwidths,

    d E_K[y] / dq = 2 c (M_G / M_K) (cov_G[x, y] + (E_G[x] - q) (E_G[y] - E_K[y])).

Error. Let |x| <= R / 2, let y be centred with the range Y, and let means err by tol' times the range of a column. Then
E_G[x y] errs by tol' R Y, the product of means by 1.5 tol' R Y, and the last term, which is zero for the Gaussian, by
(R + 2) tol' Y. With tol' = tol / (11 c max(R, 1)), a derivative errs by no more than tol Y M_G / M_K, and by the
rounding of columns, some c eps R Y M_G / M_K. For large R, tol' is LEAST_TOL, and 11 c R LEAST_TOL replaces tol.

Hence x is clipped to [-REACH, REACH]. Keys that are clipped must not matter: all queries are right if there are none,
and those within REACH / 2 where keys at a distance of REACH / 2 would weigh nothing. Other queries, and those with a
ratio of masses above LARGEST_RATIO, take their derivatives from attention weights.
"""

from itertools import product

import numpy as np

from ._engines.average import is_flat
from ._engines.dense.pairs import slices
from ._engines.neighbors import unit_bandwidth
from ._gradients import Gradients, Surroundings, each_block
from ._kernels import EDGE, KERNELS
from ._weights import scale_values

REACH = 2.0**14
"""Bandwidths from the medians of the keys."""

LEAST_TOL = 2e-12
"""The least tol' unless tol is less: fast algorithms reach less for many keys, but cannot guarantee it."""

LARGEST_RATIO = 16.0
"""M_G / M_K up to which pooled columns are used."""

MOST_ROUNDING = 1e5
"""c R / 2 M_G / M_K up to which they are used: some 1e-10 in units of eps."""

NEGLIGIBLE_EXPONENT = 60.0
"""Clipped keys weigh less than exp(-60) of the mass."""

FEW_QUERIES = 16
"""Up to so many, attention weights take less time than columns."""

MOST_NUMBERS = 3 * 2**18
"""Numbers in the columns of the keys, or of queries, that are pooled together: 6 MiB."""

POWERS = ("boxcar", "epanechnikov", "biweight", "triweight")
"""The kernels (1 - t)^q inside a support of 1, from q = 0 on."""


def slope_kernel(kernel):
    """G and c with dK / dt = -c G, and the factor of its bandwidth; None if there is no such `Kernel`.

    The boxcar includes its edge, where the epanechnikov kernel is zero: its bandwidth is a little smaller.
    """
    if kernel.form == "gaussian":
        return kernel, 0.5, 1.0
    for q, name in enumerate(POWERS[1:]):
        if kernel == KERNELS[name]:
            return KERNELS[POWERS[q]], q + 1.0, 1.0 if q else 1 - EDGE
    return None


class MeanGradients(Gradients):
    """The gradients of means of the values."""

    def _gradients_of(self, queries):
        return self._each_pattern(self._gradients_at, self._pooler, queries)

    def _gradients_at(self, pooler, queries, rows):
        """Gradients (m, n_values, n_columns), and log_mass (m,), at some rows of the queries."""
        rows = np.arange(len(self.keys_ if queries is None else queries))[rows]
        m, places = len(rows), np.arange(len(rows))
        gradients, log_mass = np.zeros((m, self._values.shape[1], len(pooler.bandwidth))), np.zeros(m)
        if is_flat(pooler.kernel, pooler.bandwidth):
            return gradients, log_mass
        values, exponents = scale_values(self._values[pooler.problem.key_rows])
        centre = values.mean(axis=0)
        values -= centre
        if m > FEW_QUERIES and pooler.widths is None and slope_kernel(pooler.kernel) is not None:
            columns = ColumnGradients(pooler, values, centre, exponents, self.tol, self.n_jobs)
            places = columns.write(queries, rows, gradients, log_mass)
        _write_from_attention(pooler, values, queries, rows, places, gradients, log_mass, self.n_jobs)
        with np.errstate(all="ignore"):
            return np.ldexp(gradients, exponents[:, None], out=gradients), log_mass


def _write_from_attention(pooler, values, queries, rows, places, gradients, log_mass, n_jobs):
    """Write the gradients, and log_mass, in some places for rows[places] of the queries."""
    used = np.flatnonzero(np.isfinite(pooler.bandwidth))
    unit = unit_bandwidth(pooler.problem, pooler.bandwidth)[used]

    def write(block):
        some = places[block]
        around = Surroundings.find(pooler, queries, rows[some])
        differences = values.T - values[around.origins][:, :, None]
        found = around.covariances(differences) / unit
        gradients[some[:, None], :, used] = np.swapaxes(found, 1, 2)
        log_mass[some] = around.log_mass

    each_block(write, len(places), len(values), max(values.shape[1], len(used)), n_jobs)


class ColumnGradients:
    """Gradients from pooled columns: the coordinates of the keys, their values, and the products of these.

    Parameters
    ----------
    pooler : Pooler
        Of a kernel that has a `slope_kernel`, with a fixed width.
    values : (n_keys, n_values) float ndarray
        The values of the keys over 2^exponents, from their centre.
    centre : (n_values,) float ndarray
    exponents : (n_values,) int ndarray
    tol : float
    n_jobs : int or None
    """

    def __init__(self, pooler, values, centre, exponents, tol, n_jobs):
        self.pooler, self.values, self.n_jobs, self.centre, self.exponents = pooler, values, n_jobs, centre, exponents
        self.kernel, self.c, self.factor = slope_kernel(pooler.kernel)
        self.used, problem = np.flatnonzero(np.isfinite(pooler.bandwidth)), pooler.problem
        self.coordinates = self._coordinates(problem.keys)
        self.reach = np.abs(self.coordinates).max()
        self.tol = max(tol / (11 * self.c * max(2 * self.reach, 1)), min(tol, LEAST_TOL))

    @np.errstate(all="ignore")
    def write(self, queries, rows, gradients, log_mass):
        """Write gradients (m, n_values, n_features) and log_mass (m,) of some rows (m,) of the queries.

        Returns the places in which they are not resolved.
        """
        means, ratios = None, np.ones(len(gradients))
        if self.kernel is not self.pooler.kernel:
            means, log_mass[:], *_ = self._pool(self.pooler, queries, rows)
            means = np.ldexp(means, -self.exponents, out=means)
            means -= self.centre
        points = (self.pooler.problem.rows if queries is None else queries)[rows]
        for group in self._groups():
            for places, pooled, mass in self._pool_group(group, queries, rows):
                if means is None:
                    log_mass[places] = mass
                ratios[places] = np.exp(mass - log_mass[places])
                self._write_group(group, places, points[places], pooled, means, ratios[places], gradients)
        empty = np.isneginf(log_mass)
        gradients[empty] = 0
        return np.flatnonzero(~(self._are_resolved(points, log_mass, ratios) | empty))

    def _write_group(self, group, places, points, pooled, means, ratios, gradients):
        """Write the gradients of a group of outputs and features for a slice of the queries, from pooled columns."""
        outputs, features = group
        means = None if means is None else means[places, outputs]
        found = _covariances(pooled, self._coordinates(points)[:, features], means)
        found *= 2 * self.c * ratios[:, None, None]
        used = self.used[features]
        gradients[places, outputs, used] = found / self.pooler.bandwidth[used]

    def _are_resolved(self, points, log_mass, ratios):
        """Which points (m, n_features) have gradients that are right, (m,)."""
        resolved = ratios <= min(LARGEST_RATIO, MOST_ROUNDING / (self.c * self.reach))
        if self.reach == REACH:
            half, total = REACH / 2, self.pooler.problem.weights.sum() * self.pooler.problem.largest_weight
            farthest = self.pooler.kernel.log(np.array([half**2])) + np.log(total)
            resolved &= np.abs(self._coordinates(points)).max(axis=1) <= half
            resolved &= log_mass > farthest + NEGLIGIBLE_EXPONENT
        return resolved

    def _coordinates(self, points):
        """Points (m, n_features) in bandwidths from the medians of the keys, (m, d)."""
        centre = 2 * self.pooler.problem.extent[2, self.used]
        with np.errstate(all="ignore"):
            coordinates = (points[:, self.used] - centre) / self.pooler.bandwidth[self.used]
        return np.clip(coordinates, -REACH, REACH, out=coordinates)

    def _groups(self):
        """Slices of the outputs, and of the features in use, that make at most MOST_NUMBERS if groups of one do."""
        n, d = self.coordinates.shape
        most, n_values = MOST_NUMBERS // n, self.values.shape[1]
        n_outputs = min(max((most - d) // (1 + d), 1), n_values)
        n_features = min(max((most - n_outputs) // (1 + n_outputs), 1), d)
        return product(slices(n_values, n_outputs), slices(d, n_features))

    def _pool_group(self, group, queries, rows):
        """Yield slices of the rows of the queries, with the pooled columns of a group, and log_mass."""
        pooler = self._pooler_of(*group)
        step = max(1, MOST_NUMBERS // pooler.problem.n_values)
        for places in slices(len(rows), step):
            yield places, *self._pool(pooler, queries, rows[places])[:2]

    def _pooler_of(self, outputs, features):
        """A pooler of values, coordinates, and their products, in this order."""
        problem, y, x = self.pooler.problem, self.values[:, outputs], self.coordinates[:, features]
        products = (y[:, :, None] * x[:, None]).reshape(len(y), -1)
        columns = np.zeros((len(problem.rows), y.shape[1] + x.shape[1] + products.shape[1]))
        columns[problem.key_rows] = np.column_stack([y, x, products])
        return self.pooler.derive(problem.with_values(columns), self.kernel, self.factor)

    def _pool(self, pooler, queries, rows):
        return pooler.pool(queries, rows, self.n_jobs, self.tol)


def _covariances(pooled, x, means):
    """cov_G[x, y] + (E_G[x] - q) (E_G[y] - E_K[y]), (m, n_values, d), from pooled columns and queries x (m, d).

    `means` (m, n_values) are E_K[y], or None if G is K.
    """
    n_values = (pooled.shape[1] - x.shape[1]) // (1 + x.shape[1])
    y, mean_x, products = np.split(pooled, [n_values, n_values + x.shape[1]], axis=1)
    covariances = products.reshape(len(x), n_values, -1) - y[:, :, None] * mean_x[:, None]
    if means is not None:
        covariances += (y - means)[:, :, None] * (mean_x - x)[:, None]
    return covariances
