"""The points that curves are drawn of: features of the axes, and values.

Categories are positions in `categories_`, and missing values are nan.
"""

from numbers import Integral

import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.utils import check_array, check_consistent_length, column_or_1d

from .._inputs import to_dense
from .pipelines import find_scalers, inverse_transform, transform, unnamed_columns


def find_feature(feature, names):
    """The position of a feature, given its position or its name."""
    if isinstance(feature, str) and feature in names:
        return names.index(feature)
    if isinstance(feature, Integral) and 0 <= feature < len(names):
        return feature
    raise ValueError(f"feature must be one of {names}, or a position from 0 to {len(names) - 1}, got {feature!r}")


def points_and_values(transformers, last, X, y):
    """The points to draw, in the space of the axes, and their values, one-hot encoded for classes."""
    if (X is None) != (y is None):
        raise ValueError("X and y must be passed together; pass neither of them to draw the training points")
    scalers = find_scalers(transformers, last)
    if X is None:
        return inverse_transform(scalers, last.keys_), last.values_
    points = to_dense(last._check_queries(transform(transformers, X)))
    if scalers:
        points = to_dense(check_array(X, accept_sparse=True, dtype=np.float64, ensure_all_finite="allow-nan"))
    check_consistent_length(points, y)
    if not is_classifier(last):
        return points, as_columns(y, (len(points), last.values_.shape[1]), "y")
    labels = column_or_1d(y).astype(object)
    values = labels[:, None] == last.classes_.astype(object)
    unknown = set(labels[~values.any(axis=1)])
    if unknown:
        raise ValueError(f"y holds labels {unknown} that the estimator was not fitted with: {last.classes_}")
    return points, values.astype(float)


def as_columns(values, shape, name):
    """Numbers as an array of this shape, which may be passed without the axis of a single column."""
    values = np.asarray(values, dtype=np.float64)
    if values.shape != shape and (shape[1] > 1 or values.shape != shape[:1]):
        expected = shape if shape[1] > 1 else shape[:1]
        raise ValueError(f"{name} has shape {values.shape}, but must have shape {expected}")
    return values.reshape(shape)


def make_grid(points, position, categories, resolution):
    """Points (n_grid, n_features) along a feature: its categories, or values in the range of a number.

    The other features are fixed: numbers at their medians, categories at their most frequent value.

    Parameters
    ----------
    points : (n_points, n_features) float ndarray
    position : int
        The position of the feature.
    categories : list
        The categories of each feature; None for a number.
    resolution : int
        How many values of a number.
    """
    fixed = [_typical(_known(column), found) for column, found in zip(points.T, categories, strict=True)]
    if categories[position] is not None:
        along = np.arange(len(categories[position]))
    else:
        values = _known(points[:, position])
        along = np.linspace(values.min(), values.max(), resolution)
    grid = np.tile(fixed, (len(along), 1))
    grid[:, position] = along
    return grid


def _known(values):
    return values[~np.isnan(values)]


def _typical(values, categories):
    """The median of numbers, or the most frequent of categories; nan if there are no values."""
    if not len(values):
        return np.nan
    return np.median(values) if categories is None else np.bincount(values.astype(int)).argmax()


def evaluate(scalers, last, grid, coverage, levels):
    """What is drawn at points in the space of the axes: predictions, intervals and quantiles, by name."""
    if not is_regressor(last) and (coverage is not None or levels is not None):
        raise ValueError(
            "interval and quantiles require a regressor, such as NadarayaWatsonRegressor or LocalLinearRegressor, got "
            f"{type(last).__name__}"
        )
    with unnamed_columns():
        queries = _decode(transform(scalers, grid), last.categories_)
        found = {"prediction": last._predict_values(last._check_queries(queries))}
        each_output = *found["prediction"].shape, -1
        if coverage is not None:
            found |= {"interval": last.predict_interval(queries, coverage).reshape(each_output), "coverage": coverage}
        if levels is not None:
            levels = np.atleast_1d(levels)
            found |= {"quantiles": last.predict_quantiles(queries, levels).reshape(each_output), "levels": levels}
    return found


def _decode(points, categories):
    """Points (n, n_features) in the form that `predict` accepts, with categories in place of their positions."""
    if all(found is None for found in categories):
        return points
    decoded = points.astype(object)
    for f, found in enumerate(categories):
        known = np.flatnonzero(~np.isnan(points[:, f]))
        if found is not None:
            decoded[known, f] = found[points[known, f].astype(int)]
    return decoded
