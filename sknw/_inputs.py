"""What X may be: arrays, frames and sparse matrices become float64 arrays; columns that hold no numbers are named."""

import os
from contextlib import contextmanager
from datetime import date, time, timedelta

import numpy as np
from scipy.sparse import issparse
from sklearn.utils.validation import check_X_y, validate_data

SPARSE_FORMATS = ("csr", "csc", "coo")

BLOCK_NUMBERS = 2**22
"""Numbers of sparse queries that are made dense together: 32 MiB."""

COPIES = 3
"""How often `fit` holds the inputs: as they are, and in bandwidths once by rows and once by columns."""

TIMES = ("date", "time", "duration", "period")
"""How the names of the types of dates, times and durations begin."""


def check_training(X, y, estimator, **options):
    """X (n, n_features) and y as arrays of their own, after `sklearn.utils.check_X_y` with `options`.

    Raises
    ------
    ValueError, TypeError
        As there; if a column holds dates or text; if X is sparse, and would not fit into memory as dense.
    """
    with _explained(X):
        X, y = check_X_y(
            X, y, accept_sparse=SPARSE_FORMATS, dtype=np.float64, copy=True, estimator=estimator, **options
        )
    return to_dense(X), y


def check_queries(X, estimator):
    """X (m, n_features) as an array or a sparse one, after `validate_data`; errors are the same."""
    with _explained(X):
        return validate_data(estimator, X, accept_sparse=SPARSE_FORMATS, dtype=np.float64, reset=False)


@contextmanager
def _explained(X):
    """Validation of X by scikit-learn; an error that a column of dates or text causes names the column."""
    _refuse_times(_time_columns(X))
    try:
        with np.errstate(invalid="ignore"):  # to see whether all are finite it sums them, and 1e308 - 1e308 is nan
            yield
    except (TypeError, ValueError):
        _refuse_times(_columns_with(X, _is_time))
        _refuse(_columns_with(X, _is_text), "text", "the columns that OneHotEncoder or TargetEncoder makes of it")
        raise


def _refuse_times(names):
    _refuse(names, "dates or times", "days since the first of them")


def _refuse(names, what, numbers):
    if names:
        raise ValueError(
            f"column {names[0]!r} of X holds {what}, and distances need numbers: give it as numbers, such as "
            f"{numbers}, or leave it out"
        )


def _time_columns(X):
    """The names, or positions, of columns of a type for dates, times or durations."""
    if not hasattr(X, "columns"):
        return [0] if str(getattr(X, "dtype", "")).startswith(TIMES) else []
    types = getattr(X, "dtypes", ())
    return [name for name, kind in zip(X.columns, types, strict=False) if str(kind).lower().startswith(TIMES)]


def _columns_with(X, is_kind):
    """The names, or positions, of columns that hold a value of some kind, numbers by type aside."""
    if issparse(X) or _are_numbers(X):
        return []
    if hasattr(X, "columns"):
        columns = {name: np.asarray(X[name]) for name in getattr(X, "column_names", X.columns)}
    else:
        X = np.asarray(X, dtype=object)
        columns = dict(enumerate(X.T)) if X.ndim == 2 else {}
    return [name for name, values in columns.items() if not _are_numbers(values) and any(map(is_kind, values))]


def _are_numbers(values):
    return getattr(getattr(values, "dtype", None), "kind", None) in tuple("biufc")


def _is_time(value):
    return isinstance(value, (date, time, timedelta, np.datetime64, np.timedelta64))


def _is_text(value):
    """Whether a value is a text that is no number."""
    if not isinstance(value, str):
        return False
    try:
        float(value)
    except ValueError:
        return True
    return False


def to_dense(X):
    """X as an array.

    Raises
    ------
    ValueError
        If it is sparse, and would not fit into memory as dense.
    """
    if not issparse(X):
        return X
    if COPIES * _dense_bytes(X) <= _memory():
        try:
            return X.toarray()
        except MemoryError:
            pass
    raise ValueError(
        f"X is sparse with shape {X.shape}, and would take {_dense_bytes(X) / 2**30:.1f} GiB as a dense array, of "
        f"which fit needs {COPIES}; give fewer features, such as TruncatedSVD makes of them"
    )


def _dense_bytes(X):
    return 8 * X.shape[0] * X.shape[1]


def _memory():
    """Bytes of memory of this machine; inf where it does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return np.inf


def in_dense_blocks(answer, queries):
    """The arrays of answer(queries), where sparse queries (m, n_features) are made dense some rows at a time."""
    if not issparse(queries):
        return answer(queries)
    queries, step = queries.tocsr(), max(1, BLOCK_NUMBERS // queries.shape[1])
    starts = range(0, queries.shape[0], step)
    answers = [answer(queries[start : start + step].toarray()) for start in starts]
    return tuple(map(np.concatenate, zip(*answers, strict=True)))
