"""Ways to choose a bandwidth, as estimators; `quality_peers.py` has other methods for real data."""

from functools import partial
from importlib.util import find_spec

import numpy as np
from quality_peers import SQUARED_ERROR, KernelReg, tuned

from sknw import NadarayaWatsonRegressor

FACTORS = np.geomspace(1 / 32, 32, 50)
"""What a grid tries, in Silverman's bandwidths."""


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
    search = tuned(NadarayaWatsonRegressor(), SQUARED_ERROR, bandwidth=list(grid)).set_params(refit=False)
    return search.fit(X, y).best_params_["bandwidth"]


def statsmodels_cv(X, y):
    """statsmodels' KernelReg, local constant, `bw="cv_ls"`: one for each feature. It bounds nothing, so signs vary."""
    return np.abs(KernelReg("lc").fit(X, y).model_.bw)


def can_learn(name, X):
    """Whether what learns is installed, and done with the data in a reasonable time."""
    if name == "statsmodels":
        return find_spec(name) is not None and len(X) <= 300 and X.shape[1] <= 3
    return name != "grid_search" or len(X) <= 10**5


CHOICES = {
    "loo": partial(NadarayaWatsonRegressor, "loo"),
    "loo_ard": partial(NadarayaWatsonRegressor, "loo_ard"),
    "grid_search": partial(Chosen, grid_search),
    "statsmodels": partial(Chosen, statsmodels_cv),
}
"""Functions that make a regressor of this package which chooses its bandwidth."""
