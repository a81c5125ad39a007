"""Prediction intervals of this package and of others: functions of training and test rows that return two bounds.

A package is imported only when a contender that needs it is called.
"""

from functools import partial
from importlib.util import find_spec

from quality_peers import gaussian_process
from scipy.stats import norm

from sknw import LocalLinearRegressor, NadarayaWatsonRegressor

COVERAGE = 0.9
"""The share of targets that an interval is to contain."""

TAILS = ((1 - COVERAGE) / 2, (1 + COVERAGE) / 2)
"""The levels of the quantiles that bound an interval."""

ESTIMATORS = {
    "loo": partial(NadarayaWatsonRegressor, "loo"),
    "loo_ard": partial(NadarayaWatsonRegressor, "loo_ard"),
    "local_linear": LocalLinearRegressor,
}
"""Functions that make an estimator of this package."""


def own_interval(make, X, y, X_test):
    """By `predict_interval`."""
    return make().fit(X, y).predict_interval(X_test, COVERAGE).T


def cross_conformal(make, X, y, X_test):
    """MAPIE's CV+ (Barber et al. 2021, section 3) in ten folds, in each of which the estimator learns again."""
    from mapie.regression import CrossConformalRegressor

    model = CrossConformalRegressor(make(), confidence_level=COVERAGE, method="plus", cv=10, random_state=0)
    return model.fit_conformalize(X, y).predict_interval(X_test)[1][:, :, 0].T


def quantile_forest(X, y, X_test):
    """Quantiles of the targets that share the leaves of a forest (Meinshausen 2006)."""
    from quantile_forest import RandomForestQuantileRegressor

    model = RandomForestQuantileRegressor(min_samples_leaf=5, random_state=0)
    return model.fit(X, y).predict(X_test, quantiles=list(TAILS)).T


def conditional_density(X, y, X_test):
    """skpro's weighted quantiles of the targets, with Scott's bandwidth."""
    import pandas as pd
    from skpro.regression.nonparametric import NadarayaWatsonCDE

    model = NadarayaWatsonCDE().fit(pd.DataFrame(X), pd.DataFrame(y))
    return model.predict_interval(pd.DataFrame(X_test), coverage=COVERAGE).to_numpy().T


def process_interval(X, y, X_test):
    """Normal intervals of scikit-learn's Gaussian process, with the noise that it learns."""
    mean, std = gaussian_process(X.shape[1]).fit(X, y).model_.predict(X_test, return_std=True)
    return mean + norm.ppf(TAILS)[:, None] * std


OWN = {name: partial(own_interval, make) for name, make in ESTIMATORS.items()}

CONFORMAL = {f"{name}, CV+": partial(cross_conformal, make) for name, make in ESTIMATORS.items()}
"""The estimators of this package within MAPIE."""

INTERVALS = OWN | CONFORMAL
INTERVALS |= {"quantile_forest": quantile_forest, "conditional_density": conditional_density}
INTERVALS |= {"gaussian_process": process_interval}
"""All contenders."""

PACKAGES = dict.fromkeys(CONFORMAL, "mapie") | {"quantile_forest": "quantile_forest", "conditional_density": "skpro"}
"""The package that a contender needs besides those that this one needs."""


def installed(names):
    """Those of the contenders whose packages are installed; prints a line for each of the others."""
    missing = [name for name in names if name in PACKAGES and find_spec(PACKAGES[name]) is None]
    for name in missing:
        print(f"{name} is left out, since {PACKAGES[name]} is not installed")
    return [name for name in names if name not in missing]
