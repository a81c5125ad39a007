"""Trends, of which local lines follow what is left: the mean, a ridge regression, or a logistic regression.

A trend is a function of points (m, n_features) with `residuals` (n, n_values) of the training rows, and `left_out`,
the trend at training rows as if these were missing. A value that is nan counts as the mean of its feature.
"""

import warnings
from typing import NamedTuple

import numpy as np
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV

from ._learning.rules import RANGE_ROUNDING
from ._table import has_missing
from ._weights import sample_size, scale_values

PENALTIES = np.logspace(-6, 3, 19)
"""Penalties of squared slopes that a ridge regression tries, in units of the sum of the weights."""

LEAST_REST = 1e-12
"""Lower bound of 1 - r l_i, which is 0 where a row is predicted by itself alone."""

INVERSE_PENALTIES = (1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1000.0)
"""Inverse penalties `C` that a logistic regression tries, in ascending order."""

CLEARLY_WORSE = 1.1
"""Ratio of losses from which on smaller penalties are not tried."""

N_FOLDS = 5
"""Folds that are left out, one after the other, of a logistic regression."""

RIDGE_ROWS, LOGISTIC_ROWS = 50_000, 5000
"""The most rows on which penalties are compared."""

MOST_ITERATIONS = 300
"""Iterations of a logistic regression; where these are too few, the slopes are shrunk a little more."""


class MeanTrend:
    """The mean of the values (n, n_values), weighted by shares (n,) that sum to one."""

    is_linear = False

    def __init__(self, values, shares):
        self.mean = shares @ values
        self.residuals = values - self.mean

    def __call__(self, points):
        return np.broadcast_to(self.mean, (len(points), len(self.mean)))

    def left_out(self, points, rows, missed):
        """The same, as lines of a constant are that constant."""
        return self(points)


class RidgeTrend:
    """A ridge regression (Hoerl & Kennard 1970, "Ridge regression: biased estimation for nonorthogonal problems").

    With z the features in standard deviations from their means, weights w_i that sum to one, and
    G = sum_i w_i z_i z_i', the slopes are b = (G + a I)^-1 sum_i w_i z_i y_i; the mean is not penalised. Without a
    share r of the weights at row i, b changes by -r (G + a I)^-1 z_i e_i / (1 - r l_i), with the residual e_i and the
    leverage l_i = 1 + z_i' (G + a I)^-1 z_i (Sherman-Morrison), if standard deviations and penalties stay as they are.

    Parameters
    ----------
    rows : (n, n_features) float ndarray
    values : (n, n_values) float ndarray
    shares : (n,) float ndarray
        Weights that sum to one.
    penalties : (n_values,) float ndarray
        The penalty a for each column of the values.
    removed : (n,) float ndarray
        What leave-one-out takes of the shares.
    """

    is_linear = True

    def __init__(self, rows, values, shares, penalties, removed):
        self.removed, self.mean, rows = removed, shares @ values, _with_means(rows, shares)
        self.centre, self.scales = _standardise(rows, shares)
        z, self.residuals = self.standardised(rows), values - self.mean
        spectrum, self._axes = np.linalg.eigh(z.T @ (shares[:, None] * z))
        self._inverses = 1 / (np.maximum(spectrum, 0)[:, None] + penalties)
        moments = z.T @ (shares[:, None] * self.residuals)
        self.slopes = self._axes @ (self._inverses * (self._axes.T @ moments))
        self.residuals -= z @ self.slopes

    def __call__(self, points):
        return self.mean + self.standardised(points) @ self.slopes

    def standardised(self, points):
        """Points (m, n_features) in standard deviations from the mean; constant features and nan become 0."""
        return _standardised(points, self.centre, self.scales)

    def left_out(self, points, rows, missed):
        """The trend (m, n_values) at some rows, `points`, with the lines of what its change leaves.

        `missed` (m, n_features) are the standardised points without the local lines of the features themselves. What a
        change of the slopes adds to a prediction is its product with these.
        """
        projected, factors = self._left_out_factors(points, rows)
        changes = np.einsum("mf,ft,mf->mt", missed @ self._axes, self._inverses, projected)
        return self(points) + changes * factors

    def slope_changes(self, points, rows):
        """Changes of the slopes (m, n_features, n_values) without some rows, `points`, one at a time."""
        projected, factors = self._left_out_factors(points, rows)
        changes = projected[:, :, None] * self._inverses * factors[:, None]
        return self._axes @ changes

    def _left_out_factors(self, points, rows):
        """Points (m, n_features) along the axes, and the factors (m, n_values) of the changes that rows make."""
        projected = self.standardised(points) @ self._axes
        leverages = 1 + np.einsum("mf,ft,mf->mt", projected, self._inverses, projected)
        removed = self.removed[rows, None]
        return projected, -removed * self.residuals[rows] / np.maximum(1 - removed * leverages, LEAST_REST)


class LogisticFit(NamedTuple):
    """A logistic regression on standardised features.

    Attributes
    ----------
    centre, scales : (n_features,) float ndarrays
    slopes : (n_features, n_classes) float ndarray
    intercepts : (n_classes,) float ndarray
    left_out : (n, n_classes) float ndarray
        Probabilities of the training rows, each by a regression without a fold that contains the row; nan for rows of
        weight zero that were not among its rows.
    """

    centre: np.ndarray
    scales: np.ndarray
    slopes: np.ndarray
    intercepts: np.ndarray
    left_out: np.ndarray

    def scaled(self, exponents):
        """The same for features that are divided by 2^exponents (n_features,)."""
        return self._replace(centre=np.ldexp(self.centre, -exponents), scales=np.ldexp(self.scales, -exponents))

    def __call__(self, points):
        """Probabilities (m, n_classes)."""
        return softmax(_standardised(points, self.centre, self.scales) @ self.slopes + self.intercepts, axis=1)


class LogisticTrend:
    """A `LogisticFit` as a trend of one-hot values (n, n_classes); residuals are those of rows that are left out."""

    is_linear = False

    def __init__(self, fit, values):
        self.fit, self.residuals = fit, np.nan_to_num(values - fit.left_out)

    def __call__(self, points):
        return self.fit(points)

    def left_out(self, points, rows, missed):
        """Probabilities of some rows by the regression without their fold."""
        probabilities = self.fit.left_out[rows]
        return np.where(np.isnan(probabilities), self(points), probabilities)


def choose_penalties(rows, values, weights):
    """The penalty (n_values,) of least leave-one-out error for each column of values (n, n_values)."""
    shares = weights / weights.sum()
    active, rows = np.flatnonzero(shares), _with_means(rows, shares)
    some = active[:: -(-len(active) // RIDGE_ROWS)]
    shares, (rows, _), (values, _) = (
        shares[some] / shares[some].sum(),
        scale_values(rows[some]),
        scale_values(values[some]),
    )
    centre, scales = _standardise(rows, shares)
    varying = np.isfinite(scales)  # a column of zeros would spoil the leave-one-out errors of scikit-learn 1.6
    if not varying.any():
        return np.full(values.shape[1], PENALTIES[-1])
    n, ridge = len(some), RidgeCV(PENALTIES * len(some), alpha_per_target=True)
    ridge.fit(((rows - centre) / scales)[:, varying], values, sample_weight=shares * n)
    return np.atleast_1d(ridge.alpha_) / n


def fit_logistic(rows, labels, n_classes, weights):
    """The `LogisticFit` of labels (n,), 0 to n_classes - 1, with the penalty of least Brier score in cross-validation.

    None if there are no two classes with two rows each, or no feature that varies.
    """
    shares = weights / weights.sum()
    active, (rows, exponents) = np.flatnonzero(weights), scale_values(_with_means(rows, shares))
    centre, scales = _standardise(rows, shares)
    counts = np.sort(np.bincount(labels[active], minlength=n_classes))
    if n_classes < 2 or counts[-2] < 2 or np.isinf(scales).all():
        return None
    order = active[np.lexsort([*rows[active].T, labels[active]])]  # folds then have alike rows, whatever their order
    z, y, w = ((rows - centre) / scales)[order], labels[order], shares[order] * sample_size(weights)
    penalty, left_out = _choose_inverse_penalty(z, y, w, n_classes), np.full((len(rows), n_classes), np.nan)
    left_out[order] = _left_out(z, y, w, penalty, n_classes)
    slopes, intercepts = _fit_softmax(z, y, w, penalty, n_classes)
    return LogisticFit(np.ldexp(centre, exponents), np.ldexp(scales, exponents), slopes, intercepts, left_out)


def _choose_inverse_penalty(z, labels, weights, n_classes):
    """The inverse penalty of least Brier score over rows that are left out."""
    some = slice(None, None, -(-len(z) // LOGISTIC_ROWS))
    z, labels, weights = z[some], labels[some], weights[some]
    best, least, one_hot = INVERSE_PENALTIES[0], np.inf, labels[:, None] == np.arange(n_classes)
    for inverse_penalty in INVERSE_PENALTIES:
        probabilities = _left_out(z, labels, weights, inverse_penalty, n_classes)
        loss = weights @ np.square(probabilities - one_hot).sum(axis=1)
        if loss < least:
            best, least = inverse_penalty, loss
        elif loss > CLEARLY_WORSE * least:
            break
    return best


def _left_out(z, labels, weights, inverse_penalty, n_classes):
    """Probabilities (n, n_classes) of rows in an order of which every fifth makes a fold."""
    probabilities, fold = np.empty((len(z), n_classes)), np.arange(len(z)) % N_FOLDS
    for k in range(N_FOLDS):
        rest = fold != k
        slopes, intercepts = _fit_softmax(z[rest], labels[rest], weights[rest], inverse_penalty, n_classes)
        probabilities[~rest] = softmax(z[~rest] @ slopes + intercepts, axis=1)
    return probabilities


def _fit_softmax(z, labels, weights, inverse_penalty, n_classes):
    """Slopes (n_features, n_classes) and intercepts (n_classes,); -inf for a class without a row."""
    model = LogisticRegression(C=inverse_penalty, max_iter=MOST_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(z, labels, sample_weight=weights)
    slopes, intercepts = np.zeros((z.shape[1], n_classes)), np.full(n_classes, -np.inf)
    classes = model.classes_[-len(model.coef_) :]  # of two, the first has the slope 0
    intercepts[model.classes_] = 0.0
    slopes[:, classes], intercepts[classes] = model.coef_.T, model.intercept_
    return slopes, intercepts


def _standardised(points, centre, scales):
    """Points (m, n_features) from the centre, in units of the scales (n_features,); nan becomes 0."""
    standardised = (points - centre) / scales
    standardised[np.isnan(standardised)] = 0.0
    return standardised


def _with_means(rows, shares):
    """Rows (n, n_features) in which a missing value is the mean of the known ones, or 0 if none is known."""
    if not has_missing(rows):
        return rows
    is_known = ~np.isnan(rows)
    totals = shares @ is_known
    means = np.divide(shares @ np.where(is_known, rows, 0.0), totals, out=np.zeros_like(totals), where=totals > 0)
    return np.where(is_known, rows, means)


def _standardise(rows, shares):
    """Means and standard deviations (n_features,) of rows; infinite for constant features."""
    centre, active = shares @ rows, rows[shares > 0]
    is_constant = np.ptp(active, axis=0) <= RANGE_ROUNDING * np.abs(active).max(axis=0)
    scales = np.sqrt(shares @ np.square(rows - centre))
    return centre, np.where(is_constant | (scales == 0), np.inf, scales)
