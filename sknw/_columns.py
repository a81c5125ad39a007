"""How features become columns, whose scaled squared differences are those of the features.

With q a query, x a key and h the bandwidth of a feature, t = sum_f t_f, where t_f is

    ((q - x) / h)²               of a number, or of the rank of an ordered category,
    ((q - m)² + s²) / h²         of a number whose key is missing, with the mean m and the variance s² of the known
                                 values: the mean squared distance to these,
    1 / h² if q != x, else 0     of a category; a missing key is one more category.

A number is a column, and a second one where keys are missing: (x, 0), or (m, s). A category of two levels is a column
of 0 and 1; of more, a column for each level, which holds sqrt(1/2) or 0. A feature that is missing in a query is left
out, which is an infinite bandwidth for its columns (see `_patterns`). What a missing query is encoded as is therefore
of no consequence.
"""

import numpy as np

from ._learning.rules import RANGE_ROUNDING, robust_scales
from ._problem import Problem
from ._table import has_missing
from ._weights import scale_values


class Columns:
    """The columns of features, for training codes (n, n_features) as `Table.encode` makes them.

    Means and variances are those of rows of positive weight.

    Parameters
    ----------
    codes : (n, n_features) float ndarray
        nan where a value is missing.
    weights : (n,) float ndarray
    n_categories : (n_features,) int ndarray
        0 for numbers and ranks.

    Attributes
    ----------
    has_holes : (n_features,) bool ndarray
        Which features are missing in a row of positive weight.
    is_known : (n_features,) bool ndarray
        Which features have a value in such a row.
    widths : (n_features,) int ndarray
        The number of columns of each feature.
    is_trivial : bool
        Whether all features are complete numbers, in all rows; these are their own columns.
    """

    def __init__(self, codes, weights, n_categories):
        self.n_categories, d = n_categories, len(n_categories)
        self.has_holes, self.is_known = np.zeros(d, dtype=bool), np.ones(d, dtype=bool)
        self._fill, self._spread = np.zeros(d), np.zeros(d)
        self.is_trivial = not (has_missing(codes) or n_categories.any())
        if not self.is_trivial:
            missing = np.isnan(codes[weights > 0])
            self.has_holes, self.is_known = missing.any(axis=0), ~missing.all(axis=0)
            for f in np.flatnonzero(self.has_holes & self.is_known & (n_categories == 0)):
                self._fill[f], self._spread[f] = _mean_and_deviation(*_known(codes[:, f], weights))
        levels = n_categories + self.has_holes
        self.widths = np.where(n_categories > 0, np.where(levels > 2, levels, 1), 1 + self.has_holes)

    @property
    def n_columns(self):
        """The number of columns of all features."""
        return int(self.widths.sum())

    @property
    def unordered(self):
        """The positions of categories of three levels or more; those of two are zeros and ones."""
        return np.flatnonzero(self.n_categories > 2)

    @property
    def starts(self):
        """The position of the first column of each feature, (n_features,)."""
        return np.cumsum(self.widths) - self.widths

    @property
    def is_first(self):
        """Which columns are the first of a feature, (n_columns,) bool; True if all are."""
        return self.is_trivial or np.isin(np.arange(self.n_columns), self.starts)

    @property
    def numbers(self):
        """The positions of the first columns of numbers and ranks, (n_numbers,)."""
        return self.starts[self.n_categories == 0]

    @property
    def n_terms(self):
        """The number of terms of each feature in a linear model, (n_features,)."""
        return np.where(self.n_categories > 2, self.n_categories, self.n_categories != 1)

    def terms(self, codes):
        """The terms (n, n_terms) of codes (n, n_features) in a linear model; nan where a value is missing.

        A number or a rank is a term. So is a category of two levels; one of more levels is a term of 0 and 1 for each.
        """
        if self.is_trivial:
            return codes
        terms = []
        for column, n_categories, n_terms in zip(codes.T[:, :, None], self.n_categories, self.n_terms, strict=True):
            if n_categories:
                is_level = column == np.arange(n_categories - n_terms, n_categories)
                column = np.where(np.isnan(column), np.nan, is_level)
            terms.append(column)
        return np.hstack(terms)

    def of(self, codes):
        """The columns (n, n_columns) of codes (n, n_features)."""
        if self.is_trivial:
            return np.where(np.isnan(codes), 0.0, codes) if has_missing(codes) else codes
        columns = np.zeros((len(codes), self.n_columns))
        for f, (start, width) in enumerate(zip(self.starts, self.widths, strict=True)):
            self._write(f, codes[:, f], columns[:, start : start + width])
        return columns

    def _write(self, f, codes, columns):
        """Write the columns (n, width) of a feature."""
        missing, n_categories = np.isnan(codes), self.n_categories[f]
        if n_categories == 0:
            columns[:, 0] = np.where(missing, self._fill[f], codes)
            if self.has_holes[f]:
                columns[:, 1] = np.where(missing, self._spread[f], 0.0)
            return
        levels = np.where(missing, n_categories if self.has_holes[f] else 0, codes).astype(int)
        if columns.shape[1] == 1:
            columns[:, 0] = levels
        else:
            columns[np.arange(len(levels)), levels] = np.sqrt(0.5)

    def miss_any(self, codes):
        """Whether any of the codes is missing."""
        return has_missing(codes)

    def points(self, codes):
        """What tells rows (n, k) apart: their codes."""
        return codes

    def make_problem(self, codes, values, weights, points=None):
        """The `Problem` of the columns of codes (n, n_features), or of other `points` than these."""
        return Problem(self.of(codes if points is None else points), values, weights, self.is_first)

    def spread(self, of_features):
        """What features have, such as bandwidths (n_features,), for each of their columns, (n_columns,)."""
        return of_features if self.is_trivial else np.repeat(of_features, self.widths)

    def gather(self, of_columns):
        """The sums over the columns of each feature, (n_features,), of derivatives by log bandwidths (n_columns,)."""
        return of_columns if self.is_trivial else np.add.reduceat(of_columns, self.starts)

    def scales(self, codes, weights):
        """The scale of each feature (n_features,) in rules of thumb; inf for a feature without two different values.

        That of a category is sqrt(P / 2), where P is the probability that two rows differ; of two categories, it is
        that of the numbers 0 and 1, whose standard deviation is the same.
        """
        scales, is_number = np.full(len(self.widths), np.inf), self.n_categories <= 2
        complete = is_number & ~self.has_holes
        if complete.all():
            return robust_scales(codes, weights)
        if complete.any():
            scales[complete] = robust_scales(codes[:, complete], weights)
        for f in np.flatnonzero(~complete & self.is_known):
            known, of_known = _known(codes[:, f], weights)
            if is_number[f]:
                scales[f] = robust_scales(known[:, None], of_known)[0]
            else:
                shares = np.bincount(known.astype(int), of_known) / of_known.sum()
                differ = 1 - np.square(shares).sum()
                scales[f] = np.sqrt(differ / 2) if differ > RANGE_ROUNDING else np.inf
        return scales


def _known(codes, weights):
    """The codes that are known in rows of positive weight, and the weights of these."""
    known = np.flatnonzero((weights > 0) & ~np.isnan(codes))
    return codes[known], weights[known]


def _mean_and_deviation(values, weights):
    """The mean and the standard deviation of values (n,)."""
    scaled, exponents = scale_values(values[:, None])
    mean = np.average(scaled[:, 0], weights=weights)
    deviation = np.sqrt(np.average(np.square(scaled[:, 0] - mean), weights=weights))
    return np.ldexp(mean, exponents[0]), np.ldexp(deviation, exponents[0])
