"""The points that curves are drawn of: features of the axes, and values."""

from numbers import Integral

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils import check_array, check_consistent_length, column_or_1d

from .._inputs import to_dense
from .pipelines import find_scalers, inverse_transform, transform


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
    scalers = find_scalers(transformers)
    if X is None:
        return inverse_transform(scalers, last.keys_), last.values_
    points = to_dense(last._check_queries(transform(transformers, X)))
    if scalers:
        points = to_dense(check_array(X, accept_sparse=True, dtype=np.float64))
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
