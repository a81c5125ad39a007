"""The local linear regressor and classifier."""

from typing import ClassVar

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin

from ._learning.lines import choose_prior_share
from ._local_linear import LocalLinear
from ._targets import LabelTargets, NumericTargets


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

    def _has_trend(self):
        return self.trend

    def _finish(self, model, values, queries, rows):
        return np.clip(values, *model.ranges(queries, rows))

    def _learn_last(self, model, predictions, loss):
        return {}

    def predict(self, X):
        """Predict the target of each query."""
        return self._in_shape_of_y(self._predict_values(X))


class LocalLinearClassifier(LabelTargets, ClassifierMixin, LocalLinear):
    """Local linear classification."""

    _last = ("prior_share_",)

    def __init__(
        self,
        bandwidth="loo_ard",
        *,
        n_neighbors="loo",
        ridge="loo",
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
        self.kernel = kernel
        self.empty = empty
        self.algorithm = algorithm
        self.tol = tol
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _has_trend(self):
        return False

    def _stages(self):
        return super()._stages() | {"prior_share": 1}  # which is learned in any case

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
