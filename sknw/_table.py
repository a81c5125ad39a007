"""What the features of X are: numbers, ranks of ordered categories, or categories.

`Table` learns it from the training inputs, and encodes X as codes: floats (n, n_features), which are numbers, ranks, or
positions of categories, and nan where a value is missing or is a category that is not known.
"""

from typing import ClassVar

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import check_array

MOST_CATEGORIES = 255
"""The largest number of categories of a feature."""

CATEGORY_TYPES = ("categor", "enum", "dictionary")
"""Prefixes of the names of data types for categories in data frames."""

TEXT_TYPES = ("object", "str", "large_str")
"""Prefixes of the names of data types of columns that may hold text."""


class Table:
    """The features of training inputs.

    Parameters
    ----------
    X : array-like, data frame or sparse matrix (n, n_features)
    categorical_features : "from_dtype", None, or array-like
        As the parameter of the estimators.

    Attributes
    ----------
    names : list or None
        The names or positions of the features; None if no categories were looked for.
    categories : list or None
        For each feature None for a number, or its categories; None if all are numbers.
    is_ordered : list of bool
        Which features are ranks of ordered categories.
    """

    valid_inputs: ClassVar = {"accept_sparse": ("csr", "csc", "coo"), "ensure_all_finite": "allow-nan"}
    """Options of scikit-learn's validation of X."""

    holds_distances = False

    def __init__(self, X, categorical_features):
        self.names, self.categories, self.is_ordered = None, None, []
        is_given = not (categorical_features is None or isinstance(categorical_features, str))
        if is_given and issparse(X):
            raise TypeError("categorical_features requires a dense X; use X.toarray() to convert to a dense array")
        if not is_given and (categorical_features is None or not is_frame(X)):  # arrays have one data type
            return
        self.names, columns = names_and_columns(X)
        if is_given:
            selected = select(categorical_features, self.names, is_frame(X))
        else:
            selected = [is_category(column) for column in columns]
        if any(selected):
            self.is_ordered = [s and _is_ordered(column) for s, column in zip(selected, columns, strict=True)]
            self.categories = [_find_categories(c) if s else None for s, c in zip(selected, columns, strict=True)]

    @property
    def is_categorical(self):
        """Which features have categories, (n_features,); None if none has."""
        return None if self.categories is None else np.array([found is not None for found in self.categories])

    def n_categories(self, n_features):
        """The number of categories of each feature (n_features,), 0 for numbers and ranks."""
        if self.categories is None:
            return np.zeros(n_features, dtype=int)
        features = zip(self.categories, self.is_ordered, strict=True)
        return np.array([0 if found is None or ordered else len(found) for found, ordered in features])

    def encode(self, X):
        """The codes (n, n_features) of X, which has as many features; X itself if it holds numbers only.

        Raises
        ------
        TypeError, ValueError
            If a column of numbers holds something else.
        """
        if self.categories is None:
            return _without_missing_objects(X)
        _, columns = names_and_columns(X)
        return np.column_stack(
            [
                _to_numbers(column) if found is None else _positions(column, found)
                for column, found in zip(columns, self.categories, strict=True)
            ]
        )

    def check(self, codes):
        """Refuse codes that scikit-learn's validation accepts; there are none."""

    check_training = check

    def forget_unseen(self, codes, weights):
        """Forget categories of which no row has weight, which become missing in `codes` (n, n_features).

        Raises
        ------
        ValueError
            If a feature has too many of the others.
        """
        if self.categories is None:
            return
        for f in np.flatnonzero(self.n_categories(codes.shape[1])):
            column, known = codes[:, f], ~np.isnan(codes[:, f])
            seen = np.zeros(len(self.categories[f]), dtype=bool)
            seen[column[known & (weights > 0)].astype(int)] = True
            column[known] = np.where(seen, np.cumsum(seen) - 1.0, np.nan)[column[known].astype(int)]
            self.categories[f] = self.categories[f][seen]
        for name, found in zip(self.names, self.categories, strict=True):
            if found is not None and len(found) > MOST_CATEGORIES:
                raise ValueError(
                    f"feature {name!r} has {len(found)} categories; at most {MOST_CATEGORIES} are kept apart: leave it "
                    "out, group rare ones, or encode it (TargetEncoder)"
                )


def has_missing(codes):
    """Whether any of the codes is nan."""
    return bool(np.isnan(codes).any())


def is_frame(X):
    """Whether X is a data frame, the columns of which have names and data types."""
    return hasattr(X, "columns") and not issparse(X)


def names_and_columns(X):
    """The names or positions of the columns of a data frame or a dense array, and the columns.

    Raises
    ------
    TypeError
        If X is sparse.
    """
    if hasattr(X, "iloc") and is_frame(X):  # pandas, in which names may not be unique
        return list(X.columns), [X.iloc[:, f] for f in range(X.shape[1])]
    if is_frame(X):
        names = list(getattr(X, "column_names", X.columns))
        return names, [X[name] for name in names]
    if issparse(X):
        raise TypeError("X is sparse, but some features are categories; use X.toarray() to convert to a dense array")
    X = check_array(X, dtype=None, ensure_all_finite=False, input_name="X")
    return list(range(X.shape[1])), list(X.T)


def is_category(column):
    """Whether a column of a data frame holds categories: by its data type, or as text that is no number."""
    kind = _type_name(column)
    return kind.startswith(CATEGORY_TYPES) or (kind.startswith(TEXT_TYPES) and any(map(is_text, np.asarray(column))))


def is_text(value):
    """Whether a value is a string that cannot be read as a number."""
    if not isinstance(value, str):
        return False
    try:
        float(value)
    except ValueError:
        return True
    return False


def is_missing(values):
    """Which of an array of objects (n,) are None, nan or pd.NA, (n,)."""
    return np.array([_is_missing(value) for value in values], dtype=bool)


def _is_missing(value):
    return value is None or type(value).__name__ in ("NAType", "NaTType") or value != value


def select(chosen, names, has_names):
    """Which features are chosen, (n_features,) bool, by a mask, positions or names.

    Raises
    ------
    ValueError
        If it is none of these, or if a feature does not exist.
    """
    chosen = np.asarray(chosen)
    if chosen.size == 0:
        return np.zeros(len(names), dtype=bool)
    kinds = sorted({type(item).__name__ for item in chosen.ravel().tolist()})
    if chosen.dtype.kind not in "biuUO" or (chosen.dtype.kind == "O" and kinds != ["str"]):
        raise ValueError(f"categorical_features must be an array-like of bool, int or str, got: {', '.join(kinds)}")
    if chosen.dtype.kind == "b":
        if chosen.shape != (len(names),):
            raise ValueError(
                f"categorical_features set as a boolean mask must have shape (n_features,), got: {chosen.shape}"
            )
        return chosen
    if chosen.dtype.kind in "UO":
        if not has_names:
            raise ValueError(
                "categorical_features should be passed as an array of integers or as a boolean mask when the model is "
                "fitted on data without feature names"
            )
        unknown = [name for name in chosen.tolist() if name not in names]
        if unknown:
            raise ValueError(
                f"categorical_features has a item value {unknown[0]!r} which is not a valid feature name of the "
                f"training data. Observed feature names: {names}"
            )
        return np.array([name in chosen for name in names])
    if not 0 <= chosen.min() <= chosen.max() < len(names):
        raise ValueError("categorical_features set as integer indices must be in [0, n_features - 1]")
    return np.isin(np.arange(len(names)), chosen)


def _type_name(column):
    """The name of the data type of a column of a pandas or polars data frame, or a pyarrow table, in lower case."""
    return str(getattr(column, "dtype", getattr(column, "type", ""))).lower()


def _is_ordered(column):
    return bool(getattr(getattr(column, "dtype", None), "ordered", False))


def _find_categories(column):
    """The categories of a column: the sorted values, or all that are declared if these are ordered."""
    if _is_ordered(column):
        found = list(column.dtype.categories)
    else:
        found = _sorted({value for value in set(_objects(column).tolist()) if not _is_missing(value)})
    are_numbers = all(isinstance(value, (bool, int, float)) for value in found) and found
    categories = np.empty(len(found), dtype=object)
    categories[:] = found
    return np.array(found) if are_numbers else categories


def _sorted(values):
    """Values in ascending order; by the names of their types first, if they cannot be compared."""
    try:
        return sorted(values)
    except TypeError:
        return sorted(values, key=lambda value: (type(value).__name__, value))


def _positions(column, categories):
    """The position of each value (n,) among the categories; nan for others. Infinities stay, to be refused."""
    positions = {value: k for k, value in enumerate(categories.tolist())} | {np.inf: np.inf, -np.inf: -np.inf}
    values = _objects(column).tolist()
    of_value = {v: np.nan if _is_missing(v) else positions.get(v, np.nan) for v in set(values)}
    return np.array([of_value[value] for value in values], dtype=np.float64)


def _objects(column):
    """The values of a column as an array of objects."""
    values = column.to_pylist() if hasattr(column, "to_pylist") else column  # numpy loses null values of pyarrow
    return np.asarray(values, dtype=object)


def _to_numbers(column):
    """A column as an array of numbers, nan where a value is missing."""
    values = np.asarray(column)
    if values.dtype.kind != "O":
        return values.astype(np.float64) if values.dtype.kind in "US" else values
    return np.where(is_missing(values), np.nan, values).astype(np.float64)


def _without_missing_objects(X):
    """X, in which None and pd.NA are nan if it is a list, an array, or a data frame that holds objects."""
    if is_frame(X):
        if not any(str(kind).lower() == "object" for kind in getattr(X, "dtypes", ())):
            return X
        objects = np.column_stack([np.asarray(column, dtype=object) for column in names_and_columns(X)[1]])
    elif isinstance(X, (list, tuple)) or getattr(getattr(X, "dtype", None), "kind", "") == "O":
        objects = np.array(X, dtype=object)
    else:
        return X
    if objects.ndim != 2:
        return X
    return np.where(is_missing(objects.ravel()).reshape(objects.shape), np.nan, objects)
