"""Validation of X, y and sample weights.

Arrays, data frames and sparse matrices are converted to float64 arrays of codes, see `_table`. Errors name columns that
hold neither numbers nor categories.
"""

import os
from contextlib import contextmanager
from datetime import date, time, timedelta
from numbers import Real

import numpy as np
from scipy.sparse import issparse
from sklearn.utils.validation import check_array, check_X_y, validate_data

from ._table import is_frame, is_text, names_and_columns
from ._weights import are_counts, scale_importances, share_memory

DENSE_NUMBERS = 2**22
"""Numbers in a block of sparse queries that is converted to a dense array: 32 MiB."""

STORED_COPIES = 3
"""Number of dense copies of X that are stored: X itself, and X divided by the bandwidths, by rows and by columns."""

TIME_TYPES = ("date", "time", "duration", "period")
"""Prefixes of the names of data types for dates, times and durations."""


def check_training(X, y, estimator, **options):
    """Validated copies of X (n, n_features) and y as dense arrays, and the `Table` of X.

    Parameters
    ----------
    X : array-like, data frame or sparse matrix
    y : array-like
    estimator : estimator object
        The estimator that error messages name, with its parameter `categorical_features`.
    **options : dict
        Options of `sklearn.utils.check_X_y`.

    Raises
    ------
    ValueError, TypeError
        If `check_X_y` raises them, but for missing values; if a column holds dates, or text that is no category; if X
        is sparse and would not fit into memory as a dense array; in the cases of `Table`.
    """
    _raise_for_times(_time_columns(X))
    table = estimator._make_table(X)
    with _explain_errors(X, table):
        X, y = check_X_y(
            table.encode(X), y, dtype=np.float64, copy=True, estimator=estimator, **table.valid_inputs, **options
        )
    table.check_training(X)
    return to_dense(X), y, table


def check_queries(X, estimator, table):
    """Validated queries (m, n_features) as a dense or sparse array; the errors are those of `check_training`."""
    if _are_codes(X, estimator, table):
        table.check(X)
        return X
    _raise_for_times(_time_columns(X))
    has_names = is_frame(X) or table.categories is not None
    if has_names:  # before names are lost
        validate_data(estimator, X, skip_check_array=True, reset=False)
    with _explain_errors(X, table):
        codes = table.encode(X)
        if has_names:
            codes = check_array(codes, dtype=np.float64, estimator=estimator, input_name="X", **table.valid_inputs)
        else:
            codes = validate_data(estimator, codes, dtype=np.float64, reset=False, **table.valid_inputs)
    table.check(codes)
    return codes


def _are_codes(X, estimator, table):
    """Whether X is an array that scikit-learn's validation would return as it is, which takes longer."""
    return (
        type(X) is np.ndarray
        and X.dtype == np.float64
        and X.ndim == 2
        and X.shape[1] == estimator.n_features_in_
        and not hasattr(estimator, "feature_names_in_")
        and table.categories is None
        and len(X) > 0
        and bool(np.isfinite(X).all())
    )


def check_weights(sample_weight, n):
    """Validated sample weights (n,), as a copy: counts as they are, importances scaled; None gives ones.

    Equal weights are a view of one number.

    Raises
    ------
    ValueError
        If the shape is another, if a weight is negative or not finite, or if no weight is positive.
    """
    if sample_weight is None:
        return np.broadcast_to(1.0, n)
    if isinstance(sample_weight, Real):
        sample_weight = np.full(n, sample_weight)
    weights = check_array(sample_weight, dtype=np.float64, ensure_2d=False, copy=True, input_name="sample_weight")
    if weights.shape != (n,):
        raise ValueError(f"sample_weight has shape {weights.shape}, but X has {n} rows; pass one weight for each row")
    if np.any(weights < 0):
        raise ValueError(
            f"sample_weight must not be negative, got a smallest weight of {weights.min():g}; "
            "a weight of 0 leaves a row out"
        )
    if not np.any(weights > 0):
        raise ValueError("sample_weight is zero for every row; at least one row must have a positive weight")
    return share_memory(weights if are_counts(weights) else scale_importances(weights))


@contextmanager
def _explain_errors(X, table):
    """Validate X inside; if a column that has no categories holds dates or text, raise an error that names it."""
    try:
        with np.errstate(invalid="ignore"):  # the check for finite numbers sums them, and 1e308 - 1e308 may give nan
            yield
    except (TypeError, ValueError):
        _raise_for_times(_columns_with(X, _is_time, table))
        _raise_for_columns(_columns_with(X, is_text, table), "text", "by OneHotEncoder", "select it as a category, ")
        raise


def _raise_for_times(names):
    _raise_for_columns(names, "dates or times", "as days since the first of them")


def _raise_for_columns(names, content, conversion, first=""):
    if names:
        raise ValueError(
            f"column {names[0]!r} of X holds {content}, but distances require numbers or categories "
            f"(categorical_features); {first}convert it to numbers, for example {conversion}, or remove it"
        )


def _time_columns(X):
    """The names or positions of columns whose data type is one for dates, times or durations."""
    if not hasattr(X, "columns"):
        return [0] if str(getattr(X, "dtype", "")).startswith(TIME_TYPES) else []
    types = getattr(X, "dtypes", ())
    return [name for name, kind in zip(X.columns, types, strict=False) if str(kind).lower().startswith(TIME_TYPES)]


def _columns_with(X, is_kind, table):
    """The names or positions of columns without categories that hold a value for which `is_kind` is true.

    Columns that are numeric by type are not looked through.
    """
    if issparse(X) or _are_numbers(X):
        return []
    if not is_frame(X) and np.asarray(X, dtype=object).ndim != 2:
        return []
    names, columns = names_and_columns(X) if is_frame(X) else (None, list(np.asarray(X, dtype=object).T))
    names, categories = names or range(len(columns)), table.categories or [None] * len(columns)
    return [
        name
        for name, column, found in zip(names, columns, categories, strict=False)
        if found is None and not _are_numbers(column) and any(map(is_kind, np.asarray(column)))
    ]


def _are_numbers(values):
    return getattr(getattr(values, "dtype", None), "kind", None) in tuple("biufc")


def _is_time(value):
    return isinstance(value, (date, time, timedelta, np.datetime64, np.timedelta64))


def to_dense(X):
    """X as a dense array.

    Raises
    ------
    ValueError
        If X is sparse and would not fit into memory as a dense array.
    """
    if not issparse(X):
        return X
    if STORED_COPIES * _dense_bytes(X) <= _memory():
        try:
            return X.toarray()
        except MemoryError:
            pass
    raise ValueError(
        f"X is sparse with shape {X.shape}, and would take {_dense_bytes(X) / 2**30:.1f} GiB as a dense array, of "
        f"which fit needs {STORED_COPIES}; reduce the number of features, for example with TruncatedSVD"
    )


def _dense_bytes(X):
    return 8 * X.shape[0] * X.shape[1]


def _memory():
    """The physical memory in bytes; inf if it is unknown."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return np.inf


def in_dense_blocks(function, queries):
    """The arrays that `function(queries)` returns; sparse queries (m, n_features) are converted in blocks of rows."""
    if not issparse(queries):
        return function(queries)
    queries, step = queries.tocsr(), max(1, DENSE_NUMBERS // queries.shape[1])
    starts = range(0, queries.shape[0], step)
    results = [function(queries[start : start + step].toarray()) for start in starts]
    return tuple(map(np.concatenate, zip(*results, strict=True)))
