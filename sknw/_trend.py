"""The trend of values: a ridge regression on all features, and how it changes where one row is left out.

With z the features in standard deviations from their means, weights that sum to one, and G = sum_i w_i z_i z_i', the
slopes are b = (G + a I)^-1 sum_i w_i z_i y_i (Hoerl & Kennard 1970, "Ridge regression"); the mean is not penalised.
Leaving a share r of the weights at row i out changes b by -r (G + a I)^-1 z_i e_i / (1 - r l_i), with the residual e_i
and the leverage l_i = 1 + z_i' (G + a I)^-1 z_i (Sherman-Morrison), as the penalty is not divided by the weight that
is left.
"""

import numpy as np
from sklearn.linear_model import RidgeCV

from ._learning.rules import RANGE_ROUNDING
from ._weights import scale_values

PENALTIES = np.logspace(-6, 3, 19)
"""Penalties of squared slopes that are tried, in units of the sum of the weights."""

LEAST_REST = 1e-12
"""Lower bound of 1 - r l_i, which is 0 where a row is predicted by itself alone."""


class Trend:
    """Slopes of values by features, the mean of values, and residuals.

    Parameters
    ----------
    rows : (n, n_features) float ndarray
    values : (n, n_values) float ndarray
    weights : (n,) float ndarray
    penalties : (n_values,) float ndarray or None
        The penalty for each column of the values. None: no slopes, only the mean.
    removed : (n,) float ndarray
        The share of its weight that leave-one-out takes from each row.
    """

    def __init__(self, rows, values, weights, penalties, removed):
        shares = weights / weights.sum()
        self.removed = removed * shares
        self.mean = shares @ values
        self.centre, self.scales = _centre_and_scales(rows, shares)
        self.residuals = values - self.mean
        self.slopes = None
        if penalties is not None:
            z = self.standardised(rows)
            spectrum, self._axes = np.linalg.eigh(z.T @ (shares[:, None] * z))
            self._inverses = 1 / (np.maximum(spectrum, 0)[:, None] + penalties)
            self.slopes = self._solve(z.T @ (shares[:, None] * self.residuals))
            self.residuals -= z @ self.slopes

    def __call__(self, points):
        """The trend (m, n_values) at points (m, n_features)."""
        if self.slopes is None:
            return np.broadcast_to(self.mean, (len(points), len(self.mean)))
        return self.mean + self.standardised(points) @ self.slopes

    def standardised(self, points):
        """Points (m, n_features) in standard deviations from the mean; constant features become 0."""
        return (points - self.centre) / self.scales

    def changes(self, points, rows):
        """Changes of the slopes (m, n_features, n_values) where one unit of each of some rows is left out.

        `points` (m, n_features) are these rows, standardised.
        """
        projected = points @ self._axes
        leverages = 1 + np.einsum("mf,ft,mf->mt", projected, self._inverses, projected)
        removed = self.removed[rows, None]
        factors = -removed * self.residuals[rows] / np.maximum(1 - removed * leverages, LEAST_REST)
        return np.einsum("gf,mf,ft,mt->mgt", self._axes, projected, self._inverses, factors, optimize=True)

    def _solve(self, moments):
        """(G + a I)^-1 times moments (n_features, n_values)."""
        return self._axes @ (self._inverses * (self._axes.T @ moments))


def choose_penalties(rows, values, weights):
    """The penalty (n_values,) of least leave-one-out error for each column of values (n, n_values)."""
    shares = weights / weights.sum()
    active = np.flatnonzero(shares)
    (rows, _), (values, _), n = scale_values(rows[active]), scale_values(values[active]), len(active)
    centre, scales = _centre_and_scales(rows, shares[active])
    if np.isinf(scales).all():
        return np.full(values.shape[1], PENALTIES[-1])
    ridge = RidgeCV(PENALTIES * n, alpha_per_target=True)
    ridge.fit((rows - centre) / scales, values, sample_weight=shares[active] * n)
    return np.atleast_1d(ridge.alpha_) / n


def _centre_and_scales(rows, shares):
    """Means and standard deviations (n_features,) of rows; infinite for constant features."""
    centre, active = shares @ rows, rows[shares > 0]
    is_constant = np.ptp(active, axis=0) <= RANGE_ROUNDING * np.abs(active).max(axis=0)
    return centre, np.where(is_constant, np.inf, np.sqrt(shares @ np.square(rows - centre)))
