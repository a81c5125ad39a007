"""Ways to choose bandwidths from data: each takes inputs (n, d) and targets (n,), and returns bandwidths (d,)."""

import warnings
from functools import partial
from importlib.util import find_spec
from unittest.mock import patch

import numpy as np
from sklearn.model_selection import GridSearchCV

from sknw import NadarayaWatsonRegressor
from sknw._validation import Comparison

FACTORS = np.geomspace(1 / 32, 32, 50)
"""What a grid tries, in Silverman's bandwidths."""

FOLDS = 5


def learn(bandwidth, X, y):
    """What this package makes of one of its names of bandwidths."""
    return NadarayaWatsonRegressor(bandwidth).fit(X, y).bandwidth_


def candidates(X, y):
    """The bandwidths (50, d) of a grid."""
    return np.outer(FACTORS, learn("silverman", X, y))


def grid_search(X, y):
    """scikit-learn's GridSearchCV around this package, least squared error in five folds."""
    grid = {"bandwidth": list(candidates(X, y))}
    search = GridSearchCV(
        NadarayaWatsonRegressor(), grid, scoring="neg_mean_squared_error", cv=FOLDS, refit=False, error_score="raise"
    )
    return search.fit(X, y).best_params_["bandwidth"]


def one_pass_grid(X, y):
    """A loop over the same grid with this package's leave-one-out score."""
    grid = candidates(X, y)
    scores = [NadarayaWatsonRegressor(bandwidth).fit(X, y).score(None, y) for bandwidth in grid]
    return grid[np.argmax(scores)]


def statsmodels_cv(X, y):
    """statsmodels' KernelReg, local constant, `bw="cv_ls"`: one for each feature. It bounds nothing, so signs vary."""
    from statsmodels.nonparametric.kernel_regression import KernelReg

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", FutureWarning)  # about a random generator that this search does not use
        return np.abs(KernelReg(y, X, "c" * X.shape[1], reg_type="lc", bw="cv_ls").bw)


def any_gain(X, y):
    """What "loo_ard" finds before it asks whether the gain on a common factor may be chance."""
    with patch.object(Comparison, "is_significant", lambda comparison: True):
        return learn("loo_ard", X, y)


SELECTORS = {
    "loo": partial(learn, "loo"),
    "loo_ard": partial(learn, "loo_ard"),
    "any_gain": any_gain,
    "grid_search": grid_search,
    "one_pass_grid": one_pass_grid,
    "statsmodels": statsmodels_cv,
}

SLOW = {"statsmodels": 300}
"""Those that take part in one round only, and up to how many training points."""


def able_selectors(n):
    """The names of those that are installed and can do n training points."""
    return [name for name in SELECTORS if name not in SLOW or (n <= SLOW[name] and find_spec(name) is not None)]
