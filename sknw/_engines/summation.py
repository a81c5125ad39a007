"""The contract of engines: columns in, sums out."""

from typing import NamedTuple

import numpy as np

DERIVATIVE_ERROR = 1e-8
"""What derivatives of pooled values by log h may err by, as a fraction of the range of the values: far less than a
search can tell."""


MASS_TOL = 1e-6
"""The largest `tol` to ask for if log_mass matters, which then errs by at most 2 `tol`. Single precision, which a
larger `tol` allows for, makes that 1e-4."""


class Sums(NamedTuple):
    """Sums over keys for b queries, weighted by w_i K(t_i), up to a factor for each query.

    Attributes
    ----------
    columns : (b, n_columns) float ndarray
        Of the columns of the problem. Where no key has weight, over the nearest keys.
    log_mass : (b,) float ndarray
        log sum_i w_i K(t_i), in units of the largest weight: -inf where no key has weight, nan where the engine leaves
        the query to the next one.
    nearest_t : (b,) float ndarray, default=None
        t of the nearest keys where no key has weight, else 0. None: every query finds a weight.
    derivatives : (b, n_used, n_columns) float ndarray, default=None
        Of `columns` by log h_f, for each finite bandwidth h_f, up to the same factor and multiples of `columns`. Zero
        where no key has weight.
    """

    columns: np.ndarray
    log_mass: np.ndarray
    nearest_t: np.ndarray | None = None
    derivatives: np.ndarray | None = None

    @np.errstate(all="ignore")
    def contract(self, cotangents):
        """The sum of the derivatives of the means of the columns, times cotangents (b, n_columns - 1), (n_used,).

        The derivative of a mean is a covariance, (D_fk - mean_k D_f,mass) / mass, for the sums D_f in `derivatives`.
        """
        resolved = np.flatnonzero(~np.isnan(self.log_mass))
        columns, derivatives = self.columns[resolved], self.derivatives[resolved]
        means = columns[:, :-1] / columns[:, -1:]
        covariances = derivatives[:, :, :-1] - means[:, None] * derivatives[:, :, -1:]
        covariances /= columns[:, None, -1:]
        return np.einsum("qv,qfv->f", cotangents[resolved], covariances)


def put(found, results, rows):
    """Write the fields of a named tuple of arrays into some rows of those of another one."""
    for field, result in zip(found, results, strict=True):
        if field is not None:
            result[rows] = field


class Located:
    """Queries in an order that puts neighbours together.

    `located[places]` are the arrays (..., b) for those at some places of the order, and what leave-one-out removes from
    the sums of each, (n_columns, b), or None.

    Parameters
    ----------
    arrays : list of ndarrays (..., m)
        What the engine needs to know of each query.
    order : (m,) int ndarray
        Which query is at each place.
    step : int
        How many are done together.
    left_out : LeftOut or None
    """

    def __init__(self, arrays, order, step, left_out):
        self.arrays, self.order, self.step, self.left_out = arrays, order, step, left_out

    def __getitem__(self, places):
        queries = self.order[places]
        removed = None if self.left_out is None else self.left_out[queries].columns
        return *(np.take(array, queries, axis=-1) for array in self.arrays), removed


class Engine:
    """A way to do the sums; what all bandwidths share is made when it is first needed.

    Attributes
    ----------
    fewest_keys : int
        From so many keys on it may be faster than the dense engine.
    fewest_queries : int
        It is not prepared for fewer queries that other engines have left unresolved.
    takes_scales : bool
        Whether queries can have a width of their own. `prepare` then takes a function from points (m, n_features) to
        their scales (m,), or None, as its last argument, and `locate` takes the scales, or None.
    """

    fewest_keys = fewest_queries = 0
    takes_scales = False

    @staticmethod
    def supports(kernel, n_features):
        """Whether it can do the sums for a kernel in so many features."""
        raise NotImplementedError

    def __init__(self, problem):
        self.problem = problem

    def prepare(self, kernel, bandwidth, tol):
        """A `Summation` for one bandwidth vector (n_features,); None where it is out of reach, or not worth it."""
        raise NotImplementedError


class Summation:
    """Keys with one kernel and one bandwidth, ready for queries."""

    cost = "linear"
    """How the cost of answering all keys grows: "linear" in their number, or with the number of "pairs"."""

    chunk_numbers = 2**23
    """Coordinates of queries that are located together."""

    sweep = None
    """A faster way through multiples of the bandwidth, where there is one; see `DenseSummation`."""

    def accepts(self, n_queries, tol, gradient):
        """Whether it is worth to ask for so many queries, with a gradient or without."""
        return True

    def locate(self, points, left_out):
        """Queries (m, n_features) as `sums` takes them, with the attributes of `Located`; `order` may be None.

        `left_out` is what leave-one-out takes away where the points are rows of the problem, else None. Engines that
        take scales have a further argument: the factors (m,) of t of each query, default None.
        """
        raise NotImplementedError

    def sums(self, queries, tol, derivatives=False):
        """`Sums` for some located queries, of which means err by at most `tol` of the range of a column."""
        raise NotImplementedError

    def gradient(self, queries, tol, cotangents):
        """Which of some located queries are unresolved (b,), and a vector-Jacobian product by log h (n_used,).

        `cotangents(sums, positions)` are those of the means of the columns (p, n_columns - 1), for some of the queries.
        """
        sums = self.sums(queries, tol, derivatives=True)
        return np.isnan(sums.log_mass), sums.contract(cotangents(sums, slice(None)))
