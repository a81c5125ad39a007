"""The local linear regressor and classifier."""

from typing import ClassVar

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils._param_validation import StrOptions

from ._base import STAGES
from ._learning.copies import make_sample
from ._learning.lines import choose_prior_share
from ._local_linear import LocalLinear
from ._targets import LabelTargets, NumericTargets
from ._trend import LogisticTrend, MeanTrend, RidgeTrend, choose_penalties, fit_logistic


class LocalLinearRegressor(NumericTargets, RegressorMixin, LocalLinear):
    """Local linear regression."""

    _parameter_constraints: ClassVar = {**LocalLinear._parameter_constraints, "trend": ["boolean"]}

    def __init__(
        self,
        bandwidth="loo_ard",
        *,
        n_neighbors="loo",
        ridge="loo",
        trend=True,
        kernel="gaussian",
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
        self.empty = empty
        self.algorithm = algorithm
        self.tol = tol
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _initial_attributes(self, keys, values, weights):
        penalties = None
        if self.trend:
            sample = make_sample(keys, values, values, weights)
            penalties = choose_penalties(sample.keys, sample.values, sample.weights)
        return super()._initial_attributes(keys, values, weights) | {"_penalties": penalties}

    def _make_trend(self, fitted):
        penalties = fitted["_penalties"]

        def make_trend(keys, values, shares, removed, exponents):
            if penalties is None:
                return MeanTrend(values, shares)
            return RidgeTrend(keys, values, shares, penalties, removed)

        return make_trend

    def _trends(self, sample):
        return [{}]

    def _spread(self, trend, rows):
        return trend

    def _finish(self, model, values, queries, rows):
        return np.clip(values, *model.ranges(queries, rows))

    def _learn_last(self, model, predictions, loss):
        return {}

    def predict(self, X):
        """Predict the target of each query."""
        return self._in_shape_of_y(self._predict_values(X))


class LocalLinearClassifier(LabelTargets, ClassifierMixin, LocalLinear):
    """Local linear classification."""

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
        self.empty = empty
        self.algorithm = algorithm
        self.tol = tol
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _stages(self):
        return super()._stages() | {"prior_share": 0}  # which is learned in any case, without a stage of its own

    def _initial_attributes(self, keys, values, weights):
        return super()._initial_attributes(keys, values, weights) | {"trend_": False, "_logistic": None}

    def _make_trend(self, fitted):
        fit = fitted["_logistic"]

        def make_trend(keys, values, shares, removed, exponents):
            return MeanTrend(values, shares) if fit is None else LogisticTrend(fit.scaled(exponents), values)

        return make_trend

    def _trends(self, sample):
        trends, fit = [{"trend_": False, "_logistic": None}], None
        if self.trend:
            fit = fit_logistic(sample.keys, sample.values.labels, sample.values.shape[1], sample.weights)
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
        """Predict the probability of each class at each query."""
        return self._predict_values(X)

    def predict(self, X):
        """Predict the most probable class at each query; of equally probable classes, the first."""
        return self._most_probable(self.predict_proba(X))
