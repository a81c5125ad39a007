"""Other ways to learn from data, as estimators: ways to choose a bandwidth, and other methods of scikit-learn."""

import warnings
from functools import partial
from importlib.util import find_spec

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from sknw import NadarayaWatsonClassifier, NadarayaWatsonRegressor

FACTORS = np.geomspace(1 / 32, 32, 50)
"""What a grid tries, in Silverman's bandwidths."""

NEIGHBOURS = [1, 2, 3, 5, 8, 12, 20, 30, 50]

FOLDS = 5


class Chosen:
    """This package's regressor with a bandwidth that a function of X and y chooses."""

    def __init__(self, choose):
        self.choose = choose

    def fit(self, X, y):
        self.model_ = NadarayaWatsonRegressor(self.choose(X, y)).fit(X, y)
        return self

    def predict(self, X):
        return self.model_.predict(X)


def grid_search(X, y):
    """scikit-learn's GridSearchCV around this package, least squared error in five folds."""
    grid = np.outer(FACTORS, NadarayaWatsonRegressor().fit(X, y).bandwidth_)
    search = _tuned(NadarayaWatsonRegressor(), "neg_mean_squared_error", bandwidth=list(grid)).set_params(refit=False)
    return search.fit(X, y).best_params_["bandwidth"]


def statsmodels_cv(X, y):
    """statsmodels' KernelReg, local constant, `bw="cv_ls"`: one for each feature. It bounds nothing, so signs vary."""
    from statsmodels.nonparametric.kernel_regression import KernelReg

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", FutureWarning)  # about a random generator that this search does not use
        return np.abs(KernelReg(y, X, "c" * X.shape[1], reg_type="lc", bw="cv_ls").bw)


def can_learn(name, X):
    """Whether what learns is installed, and done with the data in a reasonable time."""
    if name == "statsmodels":
        return find_spec(name) is not None and len(X) <= 300 and X.shape[1] <= 3
    return name != "grid_search" or len(X) <= 10**5


def _tuned(estimator, scoring, **grid):
    return GridSearchCV(estimator, grid, scoring=scoring, cv=FOLDS, error_score="raise")


def _support_vectors():
    tuned = _tuned(SVR(), "neg_mean_squared_error", C=[0.1, 1, 10, 100])
    return TransformedTargetRegressor(tuned, transformer=StandardScaler())


CHOICES = {
    "loo": partial(NadarayaWatsonRegressor, "loo"),
    "loo_ard": partial(NadarayaWatsonRegressor, "loo_ard"),
    "grid_search": partial(Chosen, grid_search),
    "statsmodels": partial(Chosen, statsmodels_cv),
}
"""Functions that make a regressor of this package which chooses its bandwidth."""

LEARNERS = {
    "regression": {
        "loo": partial(NadarayaWatsonRegressor, "loo"),
        "loo_ard": partial(NadarayaWatsonRegressor, "loo_ard"),
        "neighbours": lambda: _tuned(KNeighborsRegressor(), "neg_mean_squared_error", n_neighbors=NEIGHBOURS),
        "SVR": _support_vectors,
        "forest": partial(RandomForestRegressor, random_state=0),
    },
    "classification": {
        "loo": partial(NadarayaWatsonClassifier, "loo"),
        "loo_ard": partial(NadarayaWatsonClassifier, "loo_ard"),
        "neighbours": lambda: _tuned(KNeighborsClassifier(), "neg_brier_score", n_neighbors=NEIGHBOURS),
        "forest": partial(RandomForestClassifier, random_state=0),
    },
}
"""By kind of data, functions that make an estimator."""
