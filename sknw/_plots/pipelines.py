"""Pipelines and searches as displays need them: the last step, and the steps between X and what it sees."""

import warnings
from contextlib import contextmanager
from copy import deepcopy

from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.utils.validation import check_is_fitted

from .._base import NadarayaWatson

SCALERS = (MaxAbsScaler, MinMaxScaler, PowerTransformer, QuantileTransformer, RobustScaler, StandardScaler)
"""Transformers that map each column to an increasing function of itself, and back."""


def split_steps(estimator, caller):
    """The fitted transformers before the last step, and the last step, which must be an estimator of this package."""
    *steps, last = _flatten(estimator)
    if isinstance(last, NadarayaWatson) or hasattr(last, "refit"):
        message = (
            f"{caller} takes a fitted estimator, but this {type(estimator).__name__} is not fitted; call fit first"
        )
        check_is_fitted(last, msg=message)
    if not isinstance(last, NadarayaWatson):
        raise TypeError(
            f"{caller} takes a fitted NadarayaWatsonRegressor or NadarayaWatsonClassifier, a Pipeline whose last step "
            "is one, or a search over either, such as GridSearchCV, with refit=True; got "
            f"{_describe(estimator, last)}"
        )
    return [step for step in steps if hasattr(step, "transform")], last


def _flatten(estimator):
    """The steps of pipelines inside pipelines and searches, in their order; any other object is a step."""
    if hasattr(estimator, "best_estimator_"):
        return _flatten(estimator.best_estimator_)
    if isinstance(estimator, Pipeline):
        return [step for _, part in estimator.steps for step in _flatten(part)]
    return [estimator]


def _describe(estimator, last):
    """What an estimator that is refused is."""
    name = type(last).__name__
    if getattr(last, "refit", True) is False:
        name += " with refit=False"
    return name if last is estimator else f"{type(estimator).__name__} that ends with {name}"


def find_scalers(transformers):
    """The transformers if all of them are scalers, so that axes can show the columns of X; otherwise none."""
    return transformers if all(isinstance(step, SCALERS) for step in transformers) else []


def transform(transformers, X):
    """X as the last step sees it."""
    X = deepcopy(X)  # transformers with copy=False write into their input
    for step in transformers:
        X = step.transform(X)
    return X


def inverse_transform(scalers, points):
    """Points (n, n_features) that the last step sees, as they were before the scalers."""
    points = deepcopy(points)  # as in transform
    with unnamed_columns():
        for step in reversed(scalers):
            points = step.inverse_transform(points)
    return points


@contextmanager
def unnamed_columns():
    """Accept arrays, without a warning, where an estimator was fitted to a frame."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        yield


def feature_names(transformers, last):
    """A name for each column of the axes: those of X behind scalers, else those of what the last step sees."""
    scalers = find_scalers(transformers)
    first = scalers[0] if scalers else last
    if hasattr(first, "feature_names_in_"):
        return list(first.feature_names_in_)
    if len(transformers) > len(scalers):
        try:
            return list(make_pipeline(*transformers).get_feature_names_out())
        except (AttributeError, ValueError):
            pass  # a step has no names for its columns, or the same for several
    d = last.n_features_in_
    return ["x"] if d == 1 else [f"x{feature}" for feature in range(d)]
