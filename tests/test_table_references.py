"""R np with unordered and ordered variables.

With a Gaussian, its product kernels are columns of one sum of squares, whose bandwidths follow from lambda:

- Li and Racine: a weight of r for another category is exp(-1 / (2 h²)). One-hot columns times sqrt(1/2) are at squared
  distance 1. The kernel of Aitchison and Aitken is a constant times the same, with r = lambda / ((c - 1)(1 - lambda)).
- Li and Racine, ordered: lambda^|i - j| is the squared distance of thermometer columns, the one of a level being
  sqrt(gap to the level below) from there on. Levels are numbers, and not positions.
- Wang and van Ryzin: the same, with a factor of 1/2 for all levels but the own one.
- Racine, Li and Yan: the same, divided by its sum over the levels, which is a weight of the key.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sknw import NadarayaWatsonRegressor

DATA = Path(__file__).parent / "data"
MIXED = json.loads((DATA / "np_mixed.json").read_text())
NUMBERS = json.loads((DATA / "np_local_constant.json").read_text())["datasets"]["wage1"]
N_TRAIN = MIXED["n_train"]


@pytest.fixture(scope="module")
def wages():
    frame = pd.DataFrame(NUMBERS | MIXED["columns"])
    return frame.assign(expg=np.array([1, 2, 5, 10])[np.searchsorted([5, 15, 30], frame["exper"])])


def bandwidth_of(ratio):
    """The bandwidth at which a squared distance of 1 has a weight of `ratio`."""
    return np.inf if ratio >= 1 else 1 / np.sqrt(-2 * np.log(ratio))


def category_ratio(kernel, lam, n_categories):
    """The weight of another category, relative to that of the same."""
    return lam / ((n_categories - 1) * (1 - lam)) if kernel == "aitchisonaitken" else lam


def one_hot(values):
    return np.equal.outer(values, np.unique(values)) * np.sqrt(0.5)


def thermometer(values):
    levels = np.unique(values)
    return np.greater.outer(values, levels[:-1]) * np.sqrt(np.diff(levels))


def as_columns(values, kind, lam, case):
    """The columns of a variable, with a bandwidth for each, and the weights that it gives to keys."""
    ones = np.ones(len(values))
    if kind == "numeric":
        return values[:, None], [lam], ones
    if kind == "factor":
        columns = one_hot(values)
        h = bandwidth_of(category_ratio(case["ukertype"], lam, columns.shape[1]))
        return columns, [h] * columns.shape[1], ones
    columns = thermometer(values)
    bandwidth = [bandwidth_of(lam)] * columns.shape[1]
    if case["okertype"] == "racineliyan":
        sums = (lam ** np.abs(np.subtract.outer(values, np.unique(values)))).sum(axis=1)
        return columns, bandwidth, 1 / sums
    if case["okertype"] == "wangvanryzin":
        same = one_hot(values)
        return np.hstack([columns, same]), bandwidth + [bandwidth_of(1 / 2)] * same.shape[1], ones
    return columns, bandwidth, ones


def assert_reproduced(model, X, y, weights, case):
    """The predictions at the training rows and at the others are those of np."""
    model.fit(X[:N_TRAIN], y[:N_TRAIN], weights)
    for rows, expected in [(X[:N_TRAIN], case["fitted"]), (X[N_TRAIN:], case["pred"])]:
        np.testing.assert_allclose(model.predict(rows), expected, rtol=0, atol=1e-10 * np.ptp(y))


@pytest.mark.parametrize("case", MIXED["cases"], ids=lambda case: case["id"])
def test_r_np_by_columns(wages, case):
    variables = zip(case["x"], case["class"], case["bws"], strict=True)
    parts = [as_columns(wages[name].to_numpy(), kind, lam, case) for name, kind, lam in variables]
    columns, bandwidths, weights = zip(*parts, strict=True)
    model = NadarayaWatsonRegressor(np.concatenate(bandwidths))
    key_weights = np.prod(weights, axis=0)[:N_TRAIN]
    assert_reproduced(model, np.hstack(columns), wages["lwage"].to_numpy(), key_weights, case)


@pytest.mark.parametrize(
    "case", [case for case in MIXED["cases"] if "region" in case["x"]], ids=lambda case: case["id"]
)
@pytest.mark.parametrize("categorical_features", ["from_dtype", ["region"], [1], [False, True]])
def test_r_np_by_categories(wages, case, categorical_features):
    educ, region = case["bws"]
    h = bandwidth_of(category_ratio(case["ukertype"], region, 4))
    model = NadarayaWatsonRegressor([educ, h], categorical_features=categorical_features)
    assert_reproduced(model, wages[case["x"]], wages["lwage"].to_numpy(), None, case)
    assert list(model.categories_[1]) == ["east", "northcen", "south", "west"]
