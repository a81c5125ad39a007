"""The local linear regressor: its trend is a ridge regression, and predictions are clipped to the range of y."""

from typing import ClassVar

import numpy as np
from sklearn.base import RegressorMixin

from ._learning.copies import make_sample
from ._line_gradients import LineGradients
from ._local_linear import LocalLinear
from ._quantiles import ErrorDistribution
from ._targets import NumericTargets
from ._trend import MeanTrend, RidgeTrend, choose_penalties


class LocalLinearRegressor(LineGradients, ErrorDistribution, NumericTargets, RegressorMixin, LocalLinear):
    """Local linear regression: a trend, and local ridge regressions of what it leaves.

    The prediction for a query q is trend(q) plus the value at q of a line fitted to the residuals of the trend, with
    the attention weights of `NadarayaWatsonRegressor` as weights and a penalty on its slopes:
    pool(q) + (q - m)' (C + ridge s² I)^-1 c. Here pool(q) is the mean of the residuals, m and C the mean and the
    covariance of the training inputs, and c their covariance with the residuals, all weighted by attention and in
    bandwidths, and s is the width of the query. Predictions are clipped to the range of the training targets.

    Parameters
    ----------
    bandwidth : float, array-like (n_features,) or {"silverman", "scott", "loo", "loo_ard"}, default="loo_ard"
        The bandwidth h of each feature, as in `NadarayaWatsonRegressor`. There are no local slopes along features of
        infinite bandwidth, and along categories. If widths follow a neighbour, only the ratios of the bandwidths
        matter.
    n_neighbors : int, None or "loo", default="loo"
        An int k sets the width of each query to a multiple of the distance to its k-th nearest training point: half of
        it for the Gaussian kernel, and for other kernels the multiple of the same smoothness. None: the width is that
        of `bandwidth` at all queries. "loo" selects None or a number from 2 to 384 by the leave-one-out loss.
    ridge : float or "loo", default="loo"
        The penalty of local slopes, in squared widths of the query. 0: no penalty. inf: no local slopes. "loo" selects
        a number from 0.001 to inf by the leave-one-out loss, together with `n_neighbors`.
    trend : bool, default=True
        True: local lines are fitted to the residuals of a ridge regression on all features, of which each category is
        one, and all rows, so that `ridge` shrinks slopes to those of this trend. False: the trend is the mean, and
        `ridge` shrinks slopes to zero.
    kernel : str or Kernel, default="gaussian"
        One of the kernels of `NadarayaWatsonRegressor`.
    categorical_features : "from_dtype", None, or array-like of bool, int or str, default="from_dtype"
        The features that are categories, given as a mask (n_features,), positions or names. "from_dtype": columns of a
        data frame that hold categories by their data type, or text. Two different categories are at a distance of one;
        ordered categories of pandas are ranks 0, 1, 2, ... At most 255 categories a feature. See :doc:`/guide/tables`.
    empty : {"nearest", "mean", "nan", "raise"}, default="nearest"
        What is predicted for a query without a training point inside the support of the kernel. "nearest": the local
        line of its nearest training points. "mean": the mean of all targets. "nan": nan. "raise": a ValueError.
    algorithm : {"auto", "sorted", "grid", "blocks", "dense"}, default="auto"
        The algorithm that computes sums over training points, as in `NadarayaWatsonRegressor`. "sorted" (one feature)
        and "grid" (two or three features, Gaussian kernel) require `n_neighbors=None`.
    tol : float, default=1e-10
        The largest error of each moment that a line is computed from, as a fraction of the range of what it averages.
        It is not a bound of the error of a prediction.
    n_jobs : int, default=None
        Number of threads over blocks of queries, as defined by joblib. Results do not depend on it.
    random_state : int, RandomState or None, default=0
        Seeds the search of "loo_ard", and the subsample of rows used to score parameters when there are many.

    Attributes
    ----------
    bandwidth_ : (n_features,) float ndarray
        The bandwidth of each feature.
    n_neighbors_ : int or None
        The number of the neighbour that the width of a query follows. None if the width is fixed.
    ridge_ : float
        The penalty of local slopes, in squared widths of the query.
    keys_ : (n, n_features) float ndarray
        The training inputs: numbers, ranks, or positions in `categories_`; nan where a value is missing.
    categories_ : list of ndarrays or None
        The categories of each feature; None for a number.
    is_categorical_ : (n_features,) bool ndarray or None
        Which features have categories; None if none has.
    values_ : (n, n_outputs) float ndarray
        The training targets.
    algorithm_ : str
        The algorithm in use. It can differ from `algorithm`: it is "dense" where another one would not be faster.
    loo_loss_ : float
        The leave-one-out estimate of the mean squared error, summed over outputs, at the parameters in use. Like the
        next attribute and `n_iter_`, it exists only if `bandwidth`, `n_neighbors` or `ridge` was learned.
    loo_rows_ : (n_rows,) int ndarray
        The rows of positive weight over which `loo_loss_` is computed, or a subsample of many.
    loo_path_ : dict of float ndarrays
        The first stage of the search, as in `NadarayaWatsonRegressor`. Only if the bandwidth was learned.
    n_iter_ : int
        Number of loss evaluations.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : (n_features,) ndarray of str
        Names of the features. Only if X has feature names that are all strings.

    Notes
    -----
    With `ridge=inf, trend=False` predictions are those of `NadarayaWatsonRegressor`. Otherwise the weights of targets
    sum to one but can be negative, and there is no `attention_weights_`: see :ref:`the weights <line-weights>`.

    "loo" and "loo_ard" learn bandwidths for the Nadaraya-Watson estimate. `n_neighbors` and `ridge` are then selected
    together by the mean squared error of `predict(None)`, which predicts each row as if one unit of its weight were
    missing from the trend and from the local line, with the same penalties and the same metric.

    The cost is that of a Nadaraya-Watson estimate with (1 + d) (1 + d / 2 + n_outputs) sums for each query in d
    features, plus O(d³) to solve for the slopes. For many rows, use `n_neighbors=None`: see
    :ref:`the cost <line-cost>`.

    References
    ----------
    Stone (1977), "Consistent nonparametric regression". Cleveland & Devlin (1988), "Locally weighted regression: an
    approach to regression analysis by local fitting", section 2 (widths that follow a neighbour). Seifert & Gasser
    (1996), "Finite-sample variance of local polynomials: analysis and solutions" (the ridge).

    Examples
    --------
    >>> from sknw import LocalLinearRegressor
    >>> from sknw.datasets import make_sine_trend
    >>> X, y = make_sine_trend(200, random_state=0)
    >>> model = LocalLinearRegressor().fit(X, y)
    >>> model.predict([[1.0], [2.0]]).round(1)
    array([2.7, 3.4])
    """

    _parameter_constraints: ClassVar = {**LocalLinear._parameter_constraints, "trend": ["boolean"]}

    def __init__(
        self,
        bandwidth="loo_ard",
        *,
        n_neighbors="loo",
        ridge="loo",
        trend=True,
        kernel="gaussian",
        categorical_features="from_dtype",
        empty="nearest",
        algorithm="auto",
        tol=1e-10,
        n_jobs=None,
        random_state=0,
    ):
        self.bandwidth = bandwidth
        self.n_neighbors = n_neighbors
        self.ridge = ridge
        self.trend = trend
        self.kernel = kernel
        self.categorical_features = categorical_features
        self.empty = empty
        self.algorithm = algorithm
        self.tol = tol
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _initial_attributes(self, columns, keys, values, weights):
        penalties = None
        if self.trend:
            sample = make_sample(keys, values, values, weights)
            penalties = choose_penalties(columns.terms(sample.keys), sample.values, sample.weights)
        return super()._initial_attributes(columns, keys, values, weights) | {"_penalties": penalties}

    def _make_trend(self, fitted):
        penalties = fitted["_penalties"]

        def make_trend(terms, values, shares, removed, exponents):
            if penalties is None:
                return MeanTrend(values, shares)
            return RidgeTrend(terms, values, shares, penalties, removed)

        return make_trend

    def _trends(self, columns, sample):
        return [{}]

    def _spread(self, trend, rows):
        return trend

    def _finish(self, model, values, queries, rows):
        return np.clip(values, *model.ranges(queries, rows))

    def _learn_last(self, model, predictions, loss):
        return {}

    def predict(self, X, return_std=False):
        """Predict the target of each query.

        Parameters
        ----------
        X : array-like or sparse matrix (n_queries, n_features), or None
            Queries, made dense in blocks if sparse. None predicts each training point from all other training points.
        return_std : bool, default=False
            Whether to return the standard deviations of new targets as well.

        Returns
        -------
        y : (n_queries,) or (n_queries, n_outputs) float ndarray
            Predictions, with as many dimensions as the y of `fit`. Each lies within the range of the training targets,
            and for X=None within the range of the other targets.

        std : (n_queries,) or (n_queries, n_outputs) float ndarray
            s sqrt(1 + sum_i l_i²), where s is the standard deviation of targets around the query, a local mean of
            squared leave-one-out errors, and l_i are the weights of targets in the local line (see
            :ref:`intervals <intervals>`). Only if `return_std` is True.

        Raises
        ------
        ValueError
            If X is not valid; if `empty="raise"` and a query has no training point within the support of the kernel;
            if X is None or `return_std` is True, and there is only one training point.

        Notes
        -----
        See :ref:`the cost <line-cost>`.
        """
        return self._predict(X, return_std)
