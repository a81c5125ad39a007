"""The local linear classifier: its trend is a logistic regression, and probabilities are mixed with the prior."""

from typing import ClassVar

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils._param_validation import StrOptions

from ._base import STAGES
from ._learning.lines import choose_prior_share
from ._local_linear import LocalLinear
from ._targets import LabelTargets
from ._trend import LogisticTrend, MeanTrend, fit_logistic


class LocalLinearClassifier(LabelTargets, ClassifierMixin, LocalLinear):
    """Local linear classification: a trend, and local ridge regressions of what it leaves of one-hot labels.

    The trend is a logistic regression on all features, or the class frequencies. For each class, a line is fitted at
    each query to the residuals of the trend, as by `LocalLinearRegressor`. The trend and the lines sum to one. Negative
    values are replaced by 0, the others are divided by their sum, and the result p is mixed with the class frequencies
    π: (1 - r) p + r π, with the share r of least leave-one-out log loss, at least 1e-6. No probability is therefore 0.

    Parameters
    ----------
    bandwidth : float, array-like (n_features,) or {"silverman", "scott", "loo", "loo_ard"}, default="loo_ard"
        The bandwidth h of each feature, as in `NadarayaWatsonClassifier`. There are no local slopes along features of
        infinite bandwidth, and along categories. If widths follow a neighbour, only the ratios of bandwidths matter.
    n_neighbors : int, None or "loo", default="loo"
        An int k sets the width of each query to a multiple of the distance to its k-th nearest training point: half of
        it for the Gaussian kernel, and for other kernels the multiple of the same smoothness. None: the width is that
        of `bandwidth` at all queries. "loo" selects None or a number from 2 to 384 by the leave-one-out loss.
    ridge : float or "loo", default="loo"
        The penalty of local slopes, in squared widths of the query. 0: no penalty. inf: no local slopes. "loo" selects
        a number from 0.001 to inf by the leave-one-out loss, together with `n_neighbors`.
    trend : bool or "loo", default="loo"
        True: local lines are fitted to the residuals of a logistic regression, of which the penalty is selected by
        five-fold cross-validation; the residual of a row is that of the regression without its fold. False: to the
        residuals of the class frequencies. "loo" selects True, unless the leave-one-out loss with False is less than
        0.8 times as high.
    kernel : str or Kernel, default="gaussian"
        One of the kernels of `NadarayaWatsonClassifier`.
    categorical_features : "from_dtype", None, or array-like of bool, int or str, default="from_dtype"
        The features that are categories, given as a mask (n_features,), positions or names. "from_dtype": columns of a
        data frame that hold categories by their data type, or text. Two different categories are at a distance of one;
        ordered categories of pandas are ranks 0, 1, 2, ... At most 255 categories a feature. See :doc:`/guide/tables`.
    empty : {"nearest", "mean", "nan", "raise"}, default="nearest"
        What is predicted for a query without a training point inside the support of the kernel. "nearest": the local
        line of its nearest training points. "mean": the class frequencies. "nan": nan. "raise": a ValueError.
    algorithm : {"auto", "sorted", "grid", "blocks", "dense"}, default="auto"
        The algorithm that computes sums over training points, as in `NadarayaWatsonClassifier`. "sorted" (one feature)
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
    classes_ : (n_classes,) ndarray
        The class labels, sorted.
    bandwidth_ : (n_features,) float ndarray
        The bandwidth of each feature.
    n_neighbors_ : int or None
        The number of the neighbour that the width of a query follows. None if the width is fixed.
    ridge_ : float
        The penalty of local slopes, in squared widths of the query.
    trend_ : bool
        Whether the trend is a logistic regression. It is not if fewer than two classes have two rows.
    prior_share_ : float
        The share of the class frequencies in the probabilities.
    keys_ : (n, n_features) float ndarray
        The training inputs: numbers, ranks, or positions in `categories_`; nan where a value is missing.
    categories_ : list of ndarrays or None
        The categories of each feature; None for a number.
    is_categorical_ : (n_features,) bool ndarray or None
        Which features have categories; None if none has.
    values_ : (n, n_classes) float ndarray
        The training labels, one-hot encoded at each access.
    algorithm_ : str
        The algorithm in use. It can differ from `algorithm`: it is "dense" where another one would not be faster.
    loo_loss_ : float
        The leave-one-out estimate of the mean Brier score, at the parameters in use.
    loo_rows_ : (n_rows,) int ndarray
        The rows of positive weight over which `loo_loss_` is computed, or a subsample of many.
    loo_path_ : dict of float ndarrays
        The first stage of the search, as in `NadarayaWatsonClassifier`. Only if the bandwidth was learned.
    n_iter_ : int
        Number of loss evaluations.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : (n_features,) ndarray of str
        Names of the features. Only if X has feature names that are all strings.

    Notes
    -----
    The leave-one-out loss is the mean Brier score of `predict_proba(None)`, the squared difference between one-hot
    labels and probabilities; only `prior_share_` minimises the log loss. `predict_proba(None)` predicts each row from a
    logistic regression without its fold, and a local line without one unit of its weight. Bandwidths are learned from
    all rows, so that the leave-one-out loss without a trend is too low: hence the factor of 0.8. The notes and
    references of `LocalLinearRegressor` apply, with as many outputs as there are classes.

    Examples
    --------
    >>> from sknw import LocalLinearClassifier
    >>> X, y = [[0], [1], [2], [3]], ["no", "no", "yes", "yes"]
    >>> model = LocalLinearClassifier(0.5, n_neighbors=None, ridge=0.1, trend=False).fit(X, y)
    >>> model.predict([[0.5], [9]])
    array(['no', 'yes'], dtype='<U3')
    >>> model.predict_proba([[0.5], [1.5]]).round(3)
    array([[0.992, 0.008],
           [0.5  , 0.5  ]])
    """

    _parameter_constraints: ClassVar = {
        **LocalLinear._parameter_constraints,
        "trend": ["boolean", StrOptions({*STAGES["trend"]})],
    }

    _last = ("prior_share_",)

    def __init__(
        self,
        bandwidth="loo_ard",
        *,
        n_neighbors="loo",
        ridge="loo",
        trend="loo",
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

    def _stages(self):
        return super()._stages() | {"prior_share": 0}  # which is learned in any case, without a stage of its own

    def _initial_attributes(self, columns, keys, values, weights):
        return super()._initial_attributes(columns, keys, values, weights) | {"trend_": False, "_logistic": None}

    def _make_trend(self, fitted):
        fit = fitted["_logistic"]

        def make_trend(terms, values, shares, removed, exponents):
            return MeanTrend(values, shares) if fit is None else LogisticTrend(fit.scaled(exponents), values)

        return make_trend

    def _trends(self, columns, sample):
        trends, fit = [{"trend_": False, "_logistic": None}], None
        if self.trend:
            terms = columns.terms(sample.keys)
            fit = fit_logistic(terms, sample.values.labels, sample.values.shape[1], sample.weights)
        if fit is None:
            return trends
        with_slopes = [{"trend_": True, "_logistic": fit}]
        return with_slopes + trends if self.trend == "loo" else with_slopes

    def _spread(self, trend, rows):
        fit = trend["_logistic"]
        if fit is None:
            return trend
        left_out = np.where(rows[:, None] >= 0, fit.left_out[rows], np.nan)
        return trend | {"_logistic": fit._replace(left_out=left_out)}

    def _finish(self, model, values, queries, rows, prior_share_=0.0):
        positive, prior = np.maximum(values, 0), model.means(queries, rows)
        totals = positive.sum(axis=1, keepdims=True)
        probabilities = np.divide(positive, totals, out=prior.copy(), where=totals > 0)  # 0 only by rounding
        return (1 - prior_share_) * probabilities + prior_share_ * prior

    def _learn_last(self, model, predictions, loss):
        rows, labels = np.arange(len(loss.rows)), model.values[loss.rows].argmax(axis=1)
        priors = model.means(None, loss.rows)
        return {"prior_share_": choose_prior_share(predictions[rows, labels], priors[rows, labels], loss.shares)}

    def predict_proba(self, X):
        """Predict the probability of each class at each query.

        Parameters
        ----------
        X : array-like or sparse matrix (n_queries, n_features), or None
            Queries, made dense in blocks if sparse. None predicts each training point from all other training points.

        Returns
        -------
        probabilities : (n_queries, n_classes) float ndarray
            Probabilities, in the order of `classes_`. They are positive, unless X=None leaves a class without rows.

        Raises
        ------
        ValueError
            If X is not valid, or None where there is only one training point; if `empty="raise"` and a query has no
            training point within the support of the kernel.
        """
        return self._predict_values(self._check_queries(X))

    def predict(self, X):
        """Predict the most probable class at each query; of equally probable classes, the first.

        Parameters
        ----------
        X : array-like or sparse matrix (n_queries, n_features), or None
            Queries, made dense in blocks if sparse. None predicts each training point from all other training points.

        Returns
        -------
        y : (n_queries,) ndarray
            Class labels.

        Raises
        ------
        ValueError
            In the cases of `predict_proba`; also if it returns rows of nan, as it can with `empty="nan"`.
        """
        return self._most_probable(self.predict_proba(X))
