"""Methods of regressors for the distribution of a target at a query: quantiles, distribution functions and samples."""

from numbers import Integral

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import check_random_state, check_scalar

from ._order_tree import OrderSearch

BLOCK_NUMBERS = 2**19
"""Numbers in the columns that are pooled together: 4 MiB."""

FEW_THRESHOLDS = 5
"""Thresholds of each query that are searched for together."""


class AttentionDistribution:
    """Methods of regressors whose predictions are means of the targets under attention.

    The distribution of a target at a query q is that of the training targets, each with its attention weight.
    """

    def predict_quantiles(self, X, quantiles=(0.05, 0.5, 0.95)):
        """Predict quantiles of the target of each query.

        The quantile at the level p is the least value at which the distribution function of `predict_cdf` reaches p.

        Parameters
        ----------
        X : array-like or sparse matrix (n_queries, n_features), or None
            Queries, as for `predict`. None predicts each training point from all other training points.
        quantiles : float or array-like (n_quantiles,), default=(0.05, 0.5, 0.95)
            Levels between 0 and 1.

        Returns
        -------
        y : (n_queries, n_quantiles) or (n_queries, n_outputs, n_quantiles) float ndarray
            Quantiles in the units of y, for each output by itself. `NadarayaWatsonRegressor` returns training targets.
            A single float as `quantiles` leaves out the last axis.

        Raises
        ------
        ValueError
            In the cases of `predict`; if a level is not between 0 and 1.

        Notes
        -----
        A level may be missed by `5 * tol`, or by 1e-12 if that is more, so that sums of attention weights that equal
        the level but for rounding reach it.

        Quantiles are found by descent in a tree over the training rows in the order of their targets, without the
        attention weights of all pairs. In one feature, the time is proportional to (n + n_queries) log n; where
        `algorithm_` is "dense", it is a small multiple of that of `predict`. Memory is proportional to that of the
        training set and the result.

        For `LocalLinearRegressor`, quantiles are the prediction plus quantiles of the leave-one-out errors
        y_i - predict(None)_i under the attention of the query. They are not clipped to the range of y.

        Quantiles under attention are not calibrated: a wide kernel on a steep trend makes them too far apart.

        References
        ----------
        Stone (1977), "Consistent nonparametric regression" (conditional quantiles by weights). Li & Racine (2007),
        "Nonparametric econometrics", chapter 6.

        Examples
        --------
        >>> from sknw import NadarayaWatsonRegressor
        >>> model = NadarayaWatsonRegressor(bandwidth=0.5).fit([[0], [1], [2]], [0, 1, 4])
        >>> model.attention_weights([[1.6]]).round(2)
        array([[0. , 0.4, 0.6]])
        >>> model.predict_quantiles([[1.6]], [0.25, 0.5, 0.75])
        array([[1., 4., 4.]])
        """
        levels = _check_numbers(quantiles, "quantiles")
        outside = levels[~((levels > 0) & (levels < 1))]
        if len(outside):
            raise ValueError(f"quantiles must be between 0 and 1, got {outside[0]:g}")
        queries = self._check_queries(X)
        values, centres = self._outcomes(queries)

        def find(pooler, queries, rows):
            search = OrderSearch(pooler, queries, rows, self.n_jobs, self.tol)
            all_levels, found = np.broadcast_to(levels, (len(search), len(levels))), []
            for column in values.T:
                rows, log_mass = search.quantiles(column, all_levels)
                found.append(column[rows])
            return np.stack(found, axis=1), log_mass

        found = self._evaluate(find, self._attention_pooler, queries)
        found += centres[:, :, None]
        return self._in_shape_of_y(found if np.ndim(quantiles) else found[:, :, 0])

    def predict_cdf(self, X, thresholds):
        """Predict the probability that the target of each query is at most a threshold.

        The distribution function F(c) is the sum of the attention weights of the training points with y_i <= c.

        Parameters
        ----------
        X : array-like or sparse matrix (n_queries, n_features), or None
            Queries, as for `predict`. None predicts each training point from all other training points.
        thresholds : float or array-like (n_thresholds,)
            Thresholds in the units of y, for all outputs; they may be infinite.

        Returns
        -------
        probabilities : (n_queries, n_thresholds) or (n_queries, n_outputs, n_thresholds) float ndarray
            Probabilities in [0, 1], which do not decrease with the threshold, and err by at most `tol`; those of
            `LocalLinearRegressor` by at most `5 * tol`. A single float as `thresholds` leaves out the last axis.

        Raises
        ------
        ValueError
            In the cases of `predict`; if a threshold is nan.

        Notes
        -----
        For `NadarayaWatsonRegressor`, the cost is that of a prediction of as many outputs as there are thresholds.

        For `LocalLinearRegressor`, F(c) is the sum of the attention weights of the training points with
        predict(q) + e_i <= c, for the leave-one-out errors e_i. The cost is that of `predict_quantiles`, and sparse
        queries are converted to a dense array.

        References
        ----------
        Li & Racine (2007), "Nonparametric econometrics", chapter 6 (without smoothing of the target).

        Examples
        --------
        >>> from sknw import NadarayaWatsonRegressor
        >>> model = NadarayaWatsonRegressor(bandwidth=0.5).fit([[0], [1], [2]], [0, 1, 4])
        >>> model.predict_cdf([[1.6]], [0, 1, 4]).round(2)
        array([[0. , 0.4, 1. ]])
        """
        points = _check_numbers(thresholds, "thresholds")
        if np.isnan(points).any():
            raise ValueError("thresholds must not be nan")
        order = np.argsort(points)
        shares = np.clip(self._shares_below(self._check_queries(X), points[order]), 0, 1)
        np.maximum.accumulate(shares, axis=2, out=shares)
        shares = shares[:, :, np.argsort(order)]
        return self._in_shape_of_y(shares if np.ndim(thresholds) else shares[:, :, 0])

    def sample_y(self, X, n_samples=1, random_state=0):
        """Draw samples of the target of each query.

        Each sample is the target of a training point, which is drawn with its attention weight as probability.

        Parameters
        ----------
        X : array-like or sparse matrix (n_queries, n_features), or None
            Queries, as for `predict`. None draws for each training point from all other training points.
        n_samples : int, default=1
            Number of samples for each query.
        random_state : int, RandomState or None, default=0
            Seeds the draws.

        Returns
        -------
        y : (n_queries, n_samples) or (n_queries, n_outputs, n_samples) float ndarray
            Independent samples. The outputs of a sample are those of one training point.

        Raises
        ------
        ValueError
            In the cases of `predict`; if `n_samples` is not positive.
        TypeError
            If `n_samples` is not an integer.

        Notes
        -----
        The cost is that of as many quantiles as there are samples: see `predict_quantiles`.

        For `LocalLinearRegressor`, each sample is the prediction plus the leave-one-out errors of a training point.

        Samples vary as new observations do, and not as an estimate of their mean does. Their mean is the prediction;
        for `LocalLinearRegressor`, it is so up to the mean of the errors under attention.

        References
        ----------
        Li & Racine (2007), "Nonparametric econometrics", chapter 6 (the distribution that is sampled).

        Examples
        --------
        >>> from sknw import NadarayaWatsonRegressor
        >>> model = NadarayaWatsonRegressor(bandwidth=0.5).fit([[0], [1], [2]], [0, 1, 4])
        >>> model.sample_y([[1.6]], n_samples=5, random_state=0)
        array([[4., 1., 1., 4., 4.]])
        """
        check_scalar(n_samples, "n_samples", Integral, min_val=1)
        queries, random = self._check_queries(X), check_random_state(random_state)
        values, centres = self._outcomes(queries)

        def draw(pooler, queries, rows):
            search = OrderSearch(pooler, queries, rows, self.n_jobs, self.tol)
            rows, log_mass = search.quantiles(values[:, 0], 1 - random.uniform(size=(len(search), n_samples)))
            return np.swapaxes(values[rows], 1, 2), log_mass

        samples = self._evaluate(draw, self._attention_pooler, queries)
        samples += centres[:, :, None]
        return self._in_shape_of_y(samples)

    def _outcomes(self, queries):
        """What attention is a distribution of (n, n_values), and what is added to it at queries, (m or 1, n_values)."""
        return self._values, np.zeros((1, self._values.shape[1]))

    def _shares_below(self, queries, thresholds):
        """The attention (m, n_values, k) to outcomes up to ascending thresholds (k,)."""
        n, n_values, k = *self._values.shape, len(thresholds)

        def pool(pooler, queries, rows):
            scales = pooler.scales(queries, rows, self.n_jobs)
            step = max(1, BLOCK_NUMBERS // max(n, 0 if queries is None else len(queries)))
            shares = []
            for start in range(0, n_values * k, step):
                j, c = np.divmod(np.arange(start, min(start + step, n_values * k)), k)
                indicators = (self._values[:, j] <= thresholds[c]).astype(float)
                part = pooler.derive(pooler.problem.with_values(indicators))
                pooled = part.pool(queries, rows, self.n_jobs, self.tol, scales)
                shares.append(pooled.values)
            return np.concatenate(shares, axis=1).reshape(-1, n_values, k), pooled.log_mass

        return self._evaluate(pool, self._attention_pooler, queries)


class ErrorDistribution(AttentionDistribution):
    """The same methods for regressors whose predictions are no means of the targets.

    The distribution of a target at a query is that of the prediction plus the leave-one-out errors of the training
    points, each with its attention weight.
    """

    def _outcomes(self, queries):
        return self._errors(), self._predict_values(queries)

    def _shares_below(self, queries, thresholds):
        queries = queries.toarray() if issparse(queries) else queries
        errors, centres = self._outcomes(queries)
        pooler = self._attention_pooler

        def find(pooler, points, rows):
            return self._error_shares(pooler, points, rows, errors, thresholds, centres[rows])

        shares, log_mass = self._each_pattern(find, pooler, queries)
        empty = self._empty_rows(log_mass)
        if self.empty == "mean" and len(empty):
            average = pooler.without(np.ones(len(pooler.bandwidth), dtype=bool))
            points = None if queries is None else self._to_pooler(queries)
            shares[empty], _ = find(average, points, empty)
        shares[np.isnan(centres)] = np.nan
        return shares

    def _error_shares(self, pooler, queries, rows, errors, thresholds, centres):
        """The attention (m, n_values, k) to errors up to thresholds (k,) minus centres (m, n_values), and log_mass."""
        search = OrderSearch(pooler, queries, rows, self.n_jobs, self.tol)
        shares = np.empty((*centres.shape, len(thresholds)))
        for j, column in enumerate(errors.T):
            for start in range(0, len(thresholds), FEW_THRESHOLDS):
                some = slice(start, start + FEW_THRESHOLDS)
                shares[:, j, some], log_mass = search.shares(column, thresholds[some] - centres[:, [j]])
        return shares, log_mass


def _check_numbers(numbers, name):
    """A number, or a one-dimensional array-like of these, as an array (k,)."""
    numbers = np.asarray(numbers, dtype=float)
    if numbers.ndim > 1 or numbers.size == 0:
        raise ValueError(f"{name} must be a number or a one-dimensional array-like, got shape {numbers.shape}")
    return np.atleast_1d(numbers)
