"""Intervals and sets of new targets, calibrated by leave-one-out."""

from numbers import Real

import numpy as np

from ._distribution import Scores, Spread


class Intervals:
    """Methods of regressors."""

    def predict_interval(self, X, coverage=0.9):
        """Predict an interval for a new target at each query.

        Parameters
        ----------
        X : array-like or sparse matrix (n_queries, n_features), or None
            Queries. None predicts each training point from all other training points.
        coverage : float, default=0.9
            The share of new targets that are to lie in the intervals, between 0 and 1.

        Returns
        -------
        intervals : (n_queries, 2) or (n_queries, n_outputs, 2) float ndarray
            Lower and upper bounds.

        Raises
        ------
        ValueError
            In the cases of `predict`; if `coverage` is not between 0 and 1, or requires more training points; if there
            is only one training point.

        Notes
        -----
        The interval is [m + z_(k) std, m + z_(n + 1 - k) std] with the prediction m and the standard deviation std of
        `predict(X, return_std=True)`, where z_(1) <= ... <= z_(n) are the leave-one-out errors of the training points
        divided by their standard deviations, and k = floor((n + 1) (1 - coverage) / 2) (Lei et al. 2018,
        "Distribution-free predictive inference for regression", section 5.2, with leave-one-out in place of a split).
        It is calibrated on average over new rows like the training rows, without a guarantee for finite samples, and
        not at each query: see :ref:`intervals <intervals>`.

        The first call costs about four predictions of all training points, and a call about three predictions.

        Examples
        --------
        >>> from sknw import NadarayaWatsonRegressor
        >>> from sknw.datasets import make_sine_trend
        >>> X, y = make_sine_trend(200, random_state=0)
        >>> model = NadarayaWatsonRegressor("loo").fit(X, y)
        >>> model.predict_interval([[1.0], [4.0]], coverage=0.8).round(1)
        array([[2.1, 3.4],
               [0.9, 1.9]])
        """
        check_coverage(coverage)
        queries = self._check_queries(X)
        spread, scores = self._calibration()
        each_side = (1 + coverage) / 2, f"coverage={coverage!r}"
        lowest, highest = scores.lowest(*each_side), scores.highest(*each_side)
        means, stds = self._predict_values(queries), self._predict_std(spread, queries)
        bounds = np.stack([means + lowest * stds, means + highest * stds], axis=-1)
        return self._in_shape_of_y(bounds)

    def standard_error(self, X):
        """Compute the standard error of the prediction at each query.

        Parameters
        ----------
        X : array-like or sparse matrix (n_queries, n_features), or None
            Queries. None leaves out each training point.

        Returns
        -------
        errors : (n_queries,) or (n_queries, n_outputs) float ndarray
            s / sqrt(n), with the standard deviation s of targets around the query and the effective number n of
            neighbours; for local lines s sqrt(sum_i l_i²), with the weights l_i of targets in the line.

        Raises
        ------
        ValueError
            In the cases of `predict`; if there is only one training point.

        Notes
        -----
        It is the uncertainty of the smoothed mean, without the smoothing bias (Wasserman 2006, "All of nonparametric
        statistics", section 5.7), and for local lines without that of the trend. At a learned bandwidth, plus or minus
        1.96 standard errors contain the true mean less often than in 95 % of cases.

        The first call costs about three predictions of all training points, and a call about two predictions.

        Examples
        --------
        >>> from sknw import NadarayaWatsonRegressor
        >>> model = NadarayaWatsonRegressor(1.0).fit([[0], [1], [2], [3]], [0, 1, 0, 1])
        >>> model.standard_error([[1], [50]]).round(2)
        array([0.49, 0.85])
        """
        queries = self._check_queries(X)
        deviations, factors = self._deviations(self._spread_of_errors(), queries)
        return self._in_shape_of_y(deviations * factors)

    def _predict(self, X, return_std):
        """The result of `predict`."""
        queries = self._check_queries(X)
        values = self._in_shape_of_y(self._predict_values(queries))
        if not return_std:
            return values
        return values, self._in_shape_of_y(self._predict_std(self._spread_of_errors(), queries))

    def _predict_std(self, spread, queries):
        """Standard deviations (n_queries, n_outputs) of new targets around predictions."""
        deviations, factors = self._deviations(spread, queries)
        return deviations * np.sqrt(1 + np.square(factors))

    def _deviations(self, spread, queries):
        """Standard deviations (n_queries, n_outputs) of targets, and those of predictions over these (n_queries, 1)."""

        def pool(masses, queries, rows):
            return spread.pool(masses, queries, rows, self.n_jobs, self.tol)

        return spread.finish(self._evaluate(pool, spread.masses, queries))

    def _spread_of_errors(self):
        """The `Spread` of the leave-one-out errors."""
        return self._once("spread", lambda: Spread(self._errors(), self._weights, self._make_masses))

    def _calibration(self):
        """The `Spread`, and the `Scores` of leave-one-out errors in standard deviations."""
        spread, fitted = self._spread_of_errors(), self._without_gaps()

        def standardise():
            errors, stds = self._errors(), fitted._predict_std(spread, None)
            return Scores(np.divide(errors, stds, out=np.zeros_like(errors), where=stds > 0), self._weights)

        return spread, self._once("scores", standardise)


class PredictionSets:
    """Methods of classifiers."""

    def predict_set(self, X, coverage=0.9):
        """Predict a set of classes at each query.

        Parameters
        ----------
        X : array-like or sparse matrix (n_queries, n_features), or None
            Queries. None predicts each training point from all other training points.
        coverage : float, default=0.9
            The share of new labels that are to lie in the sets, between 0 and 1.

        Returns
        -------
        sets : (n_queries, n_classes) bool ndarray
            Whether each class belongs to the set, in the order of `classes_`. The most probable class always does.

        Raises
        ------
        ValueError
            In the cases of `predict`; if `coverage` is not between 0 and 1, or requires more training points; if there
            is only one training point.

        Notes
        -----
        A class belongs to the set if its probability is at least 1 - r, where r is the ceil((n + 1) coverage)-th of the
        scores 1 - p_i in ascending order, and p_i the leave-one-out probability of the class of row i (Sadinle, Lei &
        Wasserman 2019, "Least ambiguous set-valued classifiers with bounded error levels"). It is calibrated on average
        over new rows like the training rows, without a guarantee for finite samples. Sets contain more labels than
        `coverage` says where the most probable class is right more often.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sknw import NadarayaWatsonClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> model = NadarayaWatsonClassifier("loo").fit(X, y)
        >>> model.predict_set(X[[0, 70]], coverage=0.97)
        array([[ True, False, False],
               [False,  True,  True]])
        """
        check_coverage(coverage)
        probabilities = self.predict_proba(X)
        is_first = self._most_probable(probabilities)[:, None] == self.classes_
        own = np.take_along_axis(self._errors(), self._values.labels[:, None], axis=1)
        (largest,) = Scores(own, self._weights).highest(coverage, f"coverage={coverage!r}")
        return is_first | (1 - probabilities <= largest)


def check_coverage(coverage):
    """Raise a ValueError if the coverage is not between 0 and 1."""
    if not isinstance(coverage, Real) or not 0 < coverage < 1:
        raise ValueError(f"coverage must be between 0 and 1, got {coverage!r}")
