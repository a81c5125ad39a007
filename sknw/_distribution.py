"""What attention says beyond its mean: the effective number of neighbours, and the spread of targets at a query.

The effective number of neighbours is 1 / sum_i a_i(q)² (Kish 1965, "Survey sampling"): (sum_i w_i K)² / sum_i w_i² K²,
a ratio of two masses, since K² is a kernel too. Of counts each unit is a neighbour, with c_i in the place of w_i².

With e_i the error of the leave-one-out prediction of row i, the variance of the target of a new row at q is

    s²(q) = (n(q) sum_i a_i(q) e_i² + 5 e²) / (n(q) + 5),

n(q) being the effective number and e² the mean of all e_i²: a local mean of squared errors (Fan & Yao 1998, "Efficient
estimation of conditional variance functions in stochastic regression"), as if five rows had the variance of all.
"""

from typing import NamedTuple

import numpy as np

from ._attention import BLOCK_WEIGHTS
from ._engines.pooler import Pooler
from ._engines.summation import MASS_TOL
from ._kernels import squared
from ._weights import are_counts, scale_values

PRIOR_ROWS = 5
"""Rows with the variance of all rows that are added to those at a query."""

LARGEST_LOG = 1e5
"""Logarithms of masses beyond which their rounding shows in a ratio."""

LEAST_IMPORTANCE = 1e-140
"""Importances, relative to the largest, whose squares can be summed."""

RANK_ROUNDING = 1e-12
"""Relative rounding of ranks."""


class Masses(NamedTuple):
    """The sums of attention weights and of their squares.

    Attributes
    ----------
    pooler : Pooler
        With any values.
    squares : Pooler or None
        The same keys with K² and squared weights, without values. None if these weights could underflow.
    weights : (n,) float ndarray
        Of the training rows.
    """

    pooler: Pooler
    squares: Pooler | None
    weights: np.ndarray

    @classmethod
    def of(cls, pooler, weights):
        """Those of the attention of a pooler."""
        square, (kernel, factor) = weights, squared(pooler.kernel)
        if not are_counts(weights):
            if weights[weights > 0].min() < LEAST_IMPORTANCE * weights.max():
                return cls(pooler, None, weights)
            square = np.square(weights / weights.max())
        problem = pooler.problem.with_values(np.empty((len(weights), 0)), square)
        return cls(pooler, pooler.derive(problem, kernel, factor), weights)

    def without(self, ignored):
        """The same without some features, given as a mask (n_features,)."""
        pooler, squares = self.pooler.without(ignored), self.squares
        if squares is not None:
            _, factor = squared(self.pooler.kernel)
            squares = squares.at.with_widths(factor * pooler.bandwidth, pooler.widths)
        return self._replace(pooler=pooler, squares=squares)

    def pool(self, queries, rows, n_jobs, tol):
        """`Pooled` values of some rows of the queries, None for leave-one-out, effective numbers (m,), and one over
        these: the sums of squares of the weights of the values in a prediction.
        """
        pooled = self.pooler.pool(queries, rows, n_jobs, min(tol, MASS_TOL))
        log_squares = np.full(len(pooled.log_mass), -np.inf)
        if self.squares is not None:
            log_squares = self.squares.pool(queries, rows, n_jobs, tol, pooled.scales).log_mass
        if not are_counts(self.weights):
            log_squares += 2 * np.log(self.weights.max())
        with np.errstate(invalid="ignore", over="ignore"):
            numbers = np.exp(2 * pooled.log_mass - log_squares)
        lost = np.flatnonzero(~(np.maximum(np.abs(pooled.log_mass), np.abs(log_squares)) < LARGEST_LOG))
        positions = np.arange(len(self.weights) if queries is None else len(queries))[rows][lost]
        step = max(1, BLOCK_WEIGHTS // len(self.weights))
        for start in range(0, len(lost), step):
            block = slice(start, start + step)
            scales = None if pooled.scales is None else pooled.scales[lost[block]]
            numbers[lost[block]] = 1 / self.shares(queries, positions[block], n_jobs, scales).sum(axis=1)
        units = self.weights.sum() if are_counts(self.weights) else np.count_nonzero(self.weights)
        numbers = np.clip(numbers, 1.0, units)
        return pooled, numbers, 1 / numbers

    def shares(self, queries, rows, n_jobs, scales):
        """Squares of attention weights (m, n) of some rows of the queries, a count c being c weights."""
        attention, _ = self.pooler.attention(queries, rows, n_jobs, scales)
        has_counts = are_counts(self.weights)
        shares = np.square(attention) / (np.maximum(self.weights, 1.0) if has_counts else 1.0)
        if has_counts and queries is None:  # one unit of the own row is left out
            own = np.arange(len(rows)), rows
            shares[own] = np.square(attention[own]) / np.maximum(self.weights[rows] - 1, 1.0)
        return shares


class Spread:
    """Standard deviations of targets, from errors (n, n_values) of leave-one-out predictions.

    Parameters
    ----------
    errors : (n, n_values) float ndarray
    weights : (n,) float ndarray
    make_masses : callable
        Function of values (n, n_values), to be pooled, to `Masses`.
    """

    def __init__(self, errors, weights, make_masses):
        scaled, self._exponents = scale_values(np.where(weights[:, None] > 0, errors, 0.0))
        squares = np.square(scaled)
        self._mean = np.average(squares, axis=0, weights=weights)
        self.masses = make_masses(squares)

    def pool(self, masses, queries, rows, n_jobs, tol):
        """Columns (m, n_values + 2) for `finish`, and log_mass (m,), of some rows of the queries."""
        pooled, numbers, sums = masses.pool(queries, rows, n_jobs, tol)
        return np.column_stack([pooled.values, numbers, sums]), pooled.log_mass

    def finish(self, columns):
        """Standard deviations (m, n_values) of targets around their means, and of predictions in units of these (m, 1).

        The square of the latter is the sum of the squares of the weights of the targets.
        """
        squares, numbers, sums = columns[:, :-2], columns[:, -2:-1], columns[:, -1:]
        variances = (numbers * np.maximum(squares, 0) + PRIOR_ROWS * self._mean) / (numbers + PRIOR_ROWS)
        return np.ldexp(np.sqrt(variances), self._exponents), np.sqrt(sums)


class Scores:
    """Scores (n, n_values) of the training rows, for their quantiles with a further row that is like these.

    A count is as many rows. If weights are importances, the new row has the mean weight (Tibshirani et al. 2019,
    "Conformal prediction under covariate shift").
    """

    def __init__(self, scores, weights):
        scores, weights = scores[weights > 0], weights[weights > 0]
        order = np.argsort(scores, axis=0)
        self.scores, weights = np.take_along_axis(scores, order, axis=0), weights[order]
        self.up_to = np.cumsum(weights, axis=0)
        self.from_here = self.up_to[-1] - self.up_to + weights
        self.n = round(self.up_to[-1, 0]) if are_counts(weights) else len(weights)

    def highest(self, share, name):
        """The ceil((n + 1) share)-th scores (n_values,) in ascending order.

        Raises
        ------
        ValueError
            If n is too small; `name` says for what.
        """
        return self._at((self.up_to < self._needed(share, name)).sum(axis=0))

    def lowest(self, share, name):
        """The same in descending order."""
        return self._at((self.from_here >= self._needed(share, name)).sum(axis=0) - 1)

    def _needed(self, share, name):
        """The weight that the rows up to a quantile have."""
        n, rank = self.n, (self.n + 1) * share * (1 - RANK_ROUNDING)
        if rank > n:
            fewest = int(np.ceil(share / (1 - share) * (1 - RANK_ROUNDING)))
            raise ValueError(f"{name} requires {fewest} training points or more, got {n}")
        return self.up_to[-1] * (rank / n)

    def _at(self, positions):
        return np.take_along_axis(self.scores, positions[None], axis=0)[0]
