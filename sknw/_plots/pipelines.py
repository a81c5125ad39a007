"""Pipelines and searches in displays: the last step, and the transformers before it."""

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

from .._nadaraya_watson import NadarayaWatson

SCALERS = (MaxAbsScaler, MinMaxScaler, PowerTransformer, QuantileTransformer, RobustScaler, StandardScaler)
"""Transformers that apply an invertible increasing function to each column."""


def split_steps(estimator, caller, kind=NadarayaWatson):
    """The fitted transformers before the last step, and the last step, which must be an estimator of a kind."""
    *steps, last = _flatten(estimator)
    if isinstance(last, kind) or hasattr(last, "refit"):
        message = (
            f"{caller} requires a fitted estimator, but this {type(estimator).__name__} is not fitted; call fit first"
        )
        check_is_fitted(last, msg=message)
    if not isinstance(last, kind):
        accepted = "NadarayaWatsonRegressor or NadarayaWatsonClassifier"
        if kind is not NadarayaWatson:
            accepted = "Nadaraya-Watson or local linear estimator"
        raise TypeError(
            f"{caller} requires a fitted {accepted}, a Pipeline that ends with one, or a search over one of these, "
            f"such as GridSearchCV, with refit=True; got {_describe(estimator, last)}"
        )
    return [step for step in steps if hasattr(step, "transform")], last


def _flatten(estimator):
    """The steps of nested pipelines and searches, in their order; any other object is a single step."""
    if hasattr(estimator, "best_estimator_"):
        return _flatten(estimator.best_estimator_)
    if isinstance(estimator, Pipeline):
        return [step for _, nested in estimator.steps for step in _flatten(nested)]
    return [estimator]


def _describe(estimator, last):
    """The description of an invalid estimator in error messages."""
    name = type(last).__name__
    if getattr(last, "refit", True) is False:
        name += " with refit=False"
    return name if last is estimator else f"{type(estimator).__name__} that ends with {name}"


def find_scalers(transformers, last):
    """The transformers if axes can show the columns of X, as all are scalers and no input of the last is a category."""
    can_invert = last.is_categorical_ is None and all(isinstance(step, SCALERS) for step in transformers)
    return transformers if can_invert else []


def transform(transformers, X):
    """X after all transformers, the input of the last step."""
    X = deepcopy(X)  # transformers with copy=False write into their input
    for step in transformers:
        X = step.transform(X)
    return X


def inverse_transform(scalers, points):
    """Points (n, n_features), given as inputs of the last step, in the units of X."""
    points = deepcopy(points)  # for the same reason as in `transform`
    with unnamed_columns():
        for step in reversed(scalers):
            points = step.inverse_transform(points)
    return points


@contextmanager
def unnamed_columns():
    """Ignore the warning about arrays that are passed to an estimator fitted to a data frame."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        yield


def feature_names(transformers, last):
    """The names of the features of the axes: the columns of X if all transformers are scalers, else the last inputs."""
    scalers = find_scalers(transformers, last)
    first = scalers[0] if scalers else last
    if hasattr(first, "feature_names_in_"):
        return list(first.feature_names_in_)
    if len(transformers) > len(scalers):
        try:
            return list(make_pipeline(*transformers).get_feature_names_out())
        except (AttributeError, ValueError):
            pass  # a step does not name its outputs, or has duplicate names
    d = last.n_features_in_
    return ["x"] if d == 1 else [f"x{feature}" for feature in range(d)]
