"""What a fit says of itself and of X: leverage, criteria, effective numbers of neighbours, and the density of X."""

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils import Bunch
from sklearn.utils.metaestimators import available_if

from ._canonical import log_integral
from ._engines.summation import MASS_TOL
from ._inputs import in_dense_blocks
from ._kernels import KERNELS
from ._table import has_missing
from ._weights import are_counts, retained_share


def _has_density(estimator):
    """Whether a density is defined for a fitted estimator, and True if it is not fitted.

    Raises
    ------
    ValueError
        If none is.
    """
    if hasattr(estimator, "keys_"):
        if estimator.n_neighbors_ is not None:
            raise ValueError(
                f"score_samples requires n_neighbors=None, got {estimator.n_neighbors_}: a density whose width varies "
                "with the query does not integrate to one"
            )
        if estimator._table.holds_distances:
            raise ValueError('score_samples requires features, but metric="precomputed" has distances')
        if not estimator._columns.is_trivial:
            raise ValueError("score_samples requires features that are numbers without missing values")
        d = np.count_nonzero(np.isfinite(estimator.bandwidth_))
        if np.isinf(log_integral(estimator._kernel, d)):
            able = [name for name, kernel in KERNELS.items() if np.isfinite(log_integral(kernel, d))]
            raise ValueError(
                f"score_samples requires a kernel with a finite integral over {d} features, such as {able}"
            )
    return True


class Diagnostics:
    """Methods of the Nadaraya-Watson estimators."""

    def effective_neighbors(self, X):
        """Compute the effective number of training points that attend to each query.

        Parameters
        ----------
        X : array-like or sparse matrix (n_queries, n_features), or None
            Queries. None leaves out each training point.

        Returns
        -------
        numbers : (n_queries,) float ndarray
            1 / sum_i a_i², from 1 to the number of training points; a count c is c points of equal attention.

        Raises
        ------
        ValueError
            In the cases of `predict`.

        Notes
        -----
        For the boxcar kernel it is the number of training points within the support (Kish 1965, "Survey sampling",
        section 11.7). The cost is that of about two predictions.

        Examples
        --------
        >>> from sknw import NadarayaWatsonRegressor
        >>> model = NadarayaWatsonRegressor(1.0).fit([[0], [1], [2], [3]], [0, 1, 0, 1])
        >>> model.effective_neighbors([[1], [50]]).round(2)
        array([3.14, 1.  ])
        """

        def count(masses, queries, rows):
            pooled, numbers, _ = masses.pool(queries, rows, self.n_jobs, self.tol)
            return numbers[:, None], pooled.log_mass

        queries = self._check_queries(X)
        masses = self._memo.get("masses", None, lambda: self._make_masses(np.empty((len(self.keys_), 0))))
        return self._evaluate(count, masses, queries)[:, 0]

    @available_if(_has_density)
    def score_samples(self, X):
        """Compute the logarithm of the kernel density of the training inputs at each query.

        Parameters
        ----------
        X : array-like or sparse matrix (n_queries, n_features), or None
            Queries. None estimates the density at each training point from all other training points.

        Returns
        -------
        log_density : (n_queries,) float ndarray
            log sum_i w_i K(u_i) / (sum_i w_i prod_f h_f integral K), over the features of finite bandwidth; -inf where
            no training point is within the support, whatever `empty` is.

        Raises
        ------
        ValueError
            If X is not valid or has missing values, or None where there is only one training point.
        AttributeError
            If no density is defined: if the integral of the kernel is not finite; if `n_neighbors` is in use, since a
            density whose width varies with the query does not integrate to one; if the training inputs have categories
            or missing values.

        Notes
        -----
        The bandwidth is that of the prediction, which may not be the best one for a density. The cost is that of one
        prediction.

        References
        ----------
        Silverman (1986), "Density estimation for statistics and data analysis", section 4.2.1.

        Examples
        --------
        >>> from sknw import NadarayaWatsonRegressor
        >>> model = NadarayaWatsonRegressor(1.0).fit([[0], [1], [2], [3]], [0, 1, 0, 1])
        >>> model.score_samples([[1], [50]]).round(2)
        array([   -1.45, -1106.81])
        """
        queries = self._check_queries(X)
        bandwidth = self.bandwidth_[np.isfinite(self.bandwidth_)]
        log_volume = log_integral(self._kernel, len(bandwidth)) + np.log(bandwidth).sum()

        def log_mass(queries):
            if queries is not None and has_missing(queries):
                raise ValueError("score_samples requires queries without missing values, but X contains NaN")
            return self._log_mass(self._without_values(), queries)

        (log_masses,) = in_dense_blocks(log_mass, queries)
        total = self._weights.sum()
        if queries is None:
            total = total - self._weights * (1 - retained_share(self._weights))
        return log_masses - np.log(total) - log_volume

    def diagnostics(self):
        """Compute the leverage and the residuals of the training points, and criteria of the fit.

        Returns
        -------
        diagnostics : Bunch
            With the attributes

            leverage : (n,) float ndarray
                The attention weight of each training point on itself: of one unit, if weights are counts.
            dof : float
                The degrees of freedom, the sum of the leverages over all units.
            residuals : (n,) or (n, n_outputs) float ndarray
                Targets minus predictions.
            loo_residuals : (n,) or (n, n_outputs) float ndarray
                Targets minus leave-one-out predictions, as by `predict(None)` with `empty="nearest"` in the place of
                "nan" and "raise".
            gcv : float or (n_outputs,) float ndarray
                Generalised cross-validation: MSE / (1 - dof / n)².
            aicc : float or (n_outputs,) float ndarray
                log MSE + (1 + dof / n) / (1 - (dof + 2) / n); inf if n <= dof + 2.
            r2, loo_r2 : float or (n_outputs,) float ndarray
                One minus the mean square of the residuals over the variance of the targets.

            For a classifier, targets are one-hot encoded labels and predictions are probabilities, residuals have a
            column for each class, and mean squares are summed over classes: Brier scores.

        Raises
        ------
        ValueError
            If there is only one training point.

        Notes
        -----
        Leave-one-out residuals are residuals / (1 - leverage) if the width is fixed. The cost is that of one
        leave-one-out prediction, and with `n_neighbors` of a prediction of all training points.

        References
        ----------
        Craven & Wahba (1979), "Smoothing noisy data with spline functions" (gcv). Hurvich, Simonoff & Tsai (1998),
        "Smoothing parameter selection in nonparametric regression using an improved Akaike information criterion".

        Examples
        --------
        >>> from sknw import NadarayaWatsonRegressor
        >>> from sknw.datasets import make_sine_trend
        >>> X, y = make_sine_trend(200, random_state=0)
        >>> found = NadarayaWatsonRegressor("loo").fit(X, y).diagnostics()
        >>> round(found.dof, 1), round(found.r2, 3), round(found.loo_r2, 3)
        (11.9, 0.784, 0.756)
        """
        errors, leverage, values = self._errors(), self._leverage(), self._values[:]
        residuals = (1 - leverage[:, None]) * errors
        if self.n_neighbors_ is not None:  # without itself, a row has another width
            residuals = values - self._without_gaps()._predict_values(self.keys_)
        deviations = values - np.average(values, axis=0, weights=self._weights)
        exponent = int(np.frexp(np.abs(deviations).max())[1])
        squares = [self._mean_squares(np.ldexp(rows, -exponent)) for rows in (residuals, errors, deviations)]
        units = self._weights if are_counts(self._weights) else (self._weights > 0).astype(float)
        dof = float(units @ leverage)
        criteria = _criteria(*squares, exponent, dof, units.sum())
        if is_classifier(self) or self._y_ndim == 1:
            criteria = {name: found.item() for name, found in criteria.items()}
        if not is_classifier(self):
            residuals, errors = self._in_shape_of_y(residuals), self._in_shape_of_y(errors)
        return Bunch(leverage=leverage, dof=dof, residuals=residuals, loo_residuals=errors.copy(), **criteria)

    def _mean_squares(self, rows):
        """Mean squares of columns (n, n_values), summed for a classifier."""
        means = np.average(np.square(rows), axis=0, weights=self._weights)
        return means.sum(keepdims=True) if is_classifier(self) else means

    def _leverage(self):
        """The attention weight (n,) of one unit of each training point on itself; 0 for rows of weight zero."""
        own = self._weights * (1 - retained_share(self._weights))
        pooler = self._without_values()
        queries = None if self.n_neighbors_ is None else self.keys_
        (log_mass,) = self._each_pattern(self._log_mass, pooler, queries)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            if self.n_neighbors_ is None:  # log_mass is that of the others
                shares = 1 / (1 + np.exp(log_mass - np.log(own)))
            else:
                shares = np.exp(np.log(own) - log_mass)
        return np.where(own > 0, shares, 0.0)

    def _log_mass(self, pooler, queries, rows=slice(None)):
        return (pooler.pool(queries, rows, self.n_jobs, min(self.tol, MASS_TOL)).log_mass,)

    def _without_values(self):
        """The pooler of masses."""
        pooler = self._pooler

        def derive():
            return pooler.derive(pooler.problem.with_values(np.empty((len(self.keys_), 0))))

        return self._memo.get("without values", None, derive)


@np.errstate(divide="ignore", over="ignore", invalid="ignore")
def _criteria(squares, loo_squares, variances, exponent, dof, n):
    """The criteria of `diagnostics` from mean squares, in units of 4^exponent, of residuals, errors and deviations."""

    def share(rest):
        return np.where(variances > 0, 1 - rest / variances, np.where(rest > 0, 0.0, 1.0))

    penalty = (1 + dof / n) / (1 - (dof + 2) / n) if n > dof + 2 else np.inf
    return {
        "gcv": np.ldexp(squares / np.square(1 - dof / n), 2 * exponent),
        "aicc": np.log(squares) + 2 * exponent * np.log(2) + penalty,
        "r2": share(squares),
        "loo_r2": share(loo_squares),
    }
