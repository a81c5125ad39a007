"""Contenders on real data: estimators of this package, of scikit-learn and of statsmodels, tuned on the training rows.

Each is made by a function of the number of features, as the widths that a search tries depend on it.
"""

import warnings
from importlib.util import find_spec

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, NeighborhoodComponentsAnalysis
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from sknw import (
    LocalLinearClassifier,
    LocalLinearRegressor,
    NadarayaWatsonClassifier,
    NadarayaWatsonRegressor,
)

MOST_PROCESS_ROWS = 300
"""From so many rows, drawn at random, the kernel of a Gaussian process is learned."""

NEIGHBORS = [1, 2, 3, 5, 8, 12, 20, 30, 50]

LEAVES = [4, 8, 31]
"""The most leaves of a tree of gradient boosting."""

SQUARED_ERROR = "neg_mean_squared_error"


def tuned(estimator, scoring, folds=5, **grid):
    """A grid search in folds of the training rows."""
    return GridSearchCV(estimator, grid, scoring=scoring, cv=folds, error_score="raise")


def negative_brier(model, X, y):
    """The Brier score summed over classes, as a scorer; that of scikit-learn takes several classes from 1.7 on."""
    return -np.square(model.predict_proba(X) - (y[:, None] == model.classes_)).sum(axis=1).mean()


def gammas(d):
    """Factors of the squared distance in a Gaussian kernel, for d standardised features."""
    return list(np.array([1 / 16, 1 / 4, 1, 4]) / (2 * d))


def standardised_target(regressor):
    """The regressor of a target of mean 0 and variance 1."""
    return TransformedTargetRegressor(regressor, transformer=StandardScaler())


class GaussianProcess(BaseEstimator):
    """A Gaussian process on all rows, with a kernel that is learned by marginal likelihood from some of them: the best
    of searches that start from several kernels.
    """

    def __init__(self, process, kernels):
        self.process = process
        self.kernels = kernels

    def fit(self, X, y):
        rows = np.random.default_rng(0).permutation(len(y))[:MOST_PROCESS_ROWS]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # features that do not matter are at a bound
            models = [clone(self.process).set_params(kernel=kernel).fit(X[rows], y[rows]) for kernel in self.kernels]
        best = max(models, key=lambda model: model.log_marginal_likelihood_value_)
        self.model_ = clone(self.process).set_params(kernel=best.kernel_, optimizer=None).fit(X, y)
        return self

    def predict(self, X):
        return self.model_.predict(X)

    def predict_proba(self, X):
        return self.model_.predict_proba(X)


def gaussian_process(d):
    """Regression with a length for each feature, and noise; the search starts from short and from long lengths."""
    starts = np.full((2, d), [[0.5], [np.sqrt(d)]])
    kernels = [ConstantKernel() * RBF(lengths) + WhiteKernel(0.1) for lengths in starts]
    return GaussianProcess(GaussianProcessRegressor(normalize_y=True), kernels)


def gaussian_process_classifier(d):
    """Each class against the rest by Laplace's approximation, with one length for all features."""
    return OneVsRestClassifier(GaussianProcess(GaussianProcessClassifier(), [ConstantKernel() * RBF(np.sqrt(d))]))


class KernelReg:
    """statsmodels' regression with bandwidths by least-squares cross-validation, one for each feature: `var_type` says
    which of them are continuous, unordered and ordered ("cuo"), by default all are continuous.
    """

    def __init__(self, reg_type, var_type=None):
        self.reg_type = reg_type
        self.var_type = var_type

    def fit(self, X, y):
        from statsmodels.nonparametric.kernel_regression import KernelReg as Regression

        var_type = self.var_type or "c" * X.shape[1]
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", FutureWarning)  # about a random generator that this search does not use
            self.model_ = Regression(y, X, var_type, reg_type=self.reg_type, bw="cv_ls")
        return self

    def predict(self, X):
        with np.errstate(all="ignore"):
            return self.model_.fit(X)[0]


def kernel_ridge(d):
    search = tuned(KernelRidge(kernel="rbf"), SQUARED_ERROR, gamma=gammas(d), alpha=[0.001, 0.01, 0.1, 1, 10])
    return standardised_target(search)


def support_vectors(d):
    return standardised_target(tuned(SVR(), SQUARED_ERROR, 3, C=[0.1, 1, 10, 100], gamma=gammas(d)))


def support_vector_classifier(d):
    """Each class against the rest, with probabilities by Platt's scaling."""
    machine = OneVsRestClassifier(CalibratedClassifierCV(SVC(), ensemble=False, cv=3))
    return tuned(
        machine, negative_brier, 3, estimator__estimator__C=[1, 10, 100], estimator__estimator__gamma=gammas(d)
    )


def boosting(d):
    model = HistGradientBoostingRegressor(learning_rate=0.05, max_iter=150, random_state=0)
    return tuned(model, SQUARED_ERROR, 3, max_leaf_nodes=LEAVES)


def boosting_classifier(d):
    model = HistGradientBoostingClassifier(learning_rate=0.05, random_state=0)
    return tuned(model, negative_brier, 3, max_leaf_nodes=LEAVES)


def forest(d):
    return tuned(RandomForestRegressor(random_state=0), SQUARED_ERROR, 3, max_features=[1 / 3, 1.0])


def forest_classifier(d):
    return tuned(RandomForestClassifier(random_state=0), negative_brier, 3, min_samples_leaf=[1, 5])


def logistic(d):
    return tuned(LogisticRegression(solver="newton-cholesky"), negative_brier, C=[0.01, 0.1, 1, 10, 100])


def nearest_components(d):
    """Nearest neighbours in the learned map of a neighbourhood components analysis."""
    model = make_pipeline(NeighborhoodComponentsAnalysis(random_state=0), KNeighborsClassifier())
    return tuned(model, negative_brier, 3, kneighborsclassifier__n_neighbors=[1, 5, 20])


def same(make, *arguments, **keywords):
    """What does not depend on the number of features."""
    return lambda d: make(*arguments, **keywords)


CONTENDERS = {
    "regression": {
        "local_linear": same(LocalLinearRegressor),
        "loo_ard": same(NadarayaWatsonRegressor, "loo_ard"),
        "loo": same(NadarayaWatsonRegressor, "loo"),
        "silverman": same(NadarayaWatsonRegressor),
        "loo_neighbors": same(NadarayaWatsonRegressor, "loo", n_neighbors="loo"),
        "gaussian_process": gaussian_process,
        "kernel_ridge": kernel_ridge,
        "support_vectors": support_vectors,
        "boosting": boosting,
        "forest": forest,
        "ridge": same(RidgeCV, np.logspace(-2, 4, 13)),
        "k_neighbors": same(tuned, KNeighborsRegressor(), SQUARED_ERROR, n_neighbors=NEIGHBORS),
        "kernel_reg_lc": same(KernelReg, "lc"),
        "kernel_reg_ll": same(KernelReg, "ll"),
    },
    "classification": {
        "local_linear": same(LocalLinearClassifier),
        "loo_ard": same(NadarayaWatsonClassifier, "loo_ard"),
        "loo": same(NadarayaWatsonClassifier, "loo"),
        "silverman": same(NadarayaWatsonClassifier),
        "loo_neighbors": same(NadarayaWatsonClassifier, "loo", n_neighbors="loo"),
        "logistic": logistic,
        "support_vectors": support_vector_classifier,
        "boosting": boosting_classifier,
        "forest": forest_classifier,
        "k_neighbors": same(tuned, KNeighborsClassifier(), negative_brier, n_neighbors=NEIGHBORS),
        "nca": nearest_components,
        "gaussian_process": gaussian_process_classifier,
    },
}
"""By kind of data and name, functions of the number of features that make an estimator."""

OUTSIDE = ("loo_neighbors", "kernel_reg_lc", "kernel_reg_ll")
"""Contenders that have no rank: they learn only some data sets, or are a variant of another."""


def can_learn_data(name, d):
    """Whether a contender is installed, and done with d features in a reasonable time."""
    return not name.startswith("kernel_reg") or (d <= 3 and find_spec("statsmodels") is not None)
