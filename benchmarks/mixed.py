"""Tables with categories and missing values: scores of contenders on real ones, and what is computed from them."""

import numpy as np
import pandas as pd
from distribution import average
from mixed_data import load, names, problems_with_holes, splits
from mixed_peers import HOLES, MIXED
from quality import measure_fold

SCORE = "R²"

UNIT = "loo_ard"
"""The contender that others are compared with."""

EQUAL = 0.005
"""Scores that differ by no more are not counted as better or worse."""


def score_contenders(contenders, X, y):
    """A row for each contender: means over splits of R² at the test rows, and of seconds to fit and to predict."""
    parts = list(splits(X, y))
    for contender, make in contenders.items():
        rows = [measure_fold("regression", make(), *part) for part in parts]
        scores = [1 - row["loss"] / np.var(y_test) for row, (*_, y_test) in zip(rows, parts, strict=True)]
        seconds = average([{"seconds": row["seconds"]} for row in rows])
        yield {"n": len(parts[0][0]), "contender": contender, SCORE: float(np.mean(scores))} | seconds


def compare_mixed(only):
    """All contenders on tables with categories: a row for each of both."""
    for name in (name for name in names("mixed") if only in name):
        X, y = load(name)
        counts = {"features": X.shape[1], "categories": X.shape[1] - X.select_dtypes("number").shape[1]}
        for row in score_contenders(MIXED, X, y):
            yield {"data": name} | counts | row


def compare_holes(only):
    """Contenders on tables with missing values: a row for each of both."""
    for name, kind, X, y in problems_with_holes():
        if only in f"{name} {kind}":
            for row in score_contenders(HOLES, X, y):
                yield {
                    "data": name,
                    "holes": kind,
                    "share": float(X.isna().mean(axis=None)),
                    "features": X.shape[1],
                } | row


# What is computed from them.


def scores_by_table(rows, *index):
    """A row for each table, a column for each contender: R²."""
    return rows.pivot_table(SCORE, list(index), "contender", sort=False)


def rank_mixed(rows, *index):
    """A row for each contender: R² and seconds in the mean over tables, and how it compares with "loo_ard"."""
    scores = scores_by_table(rows, *index)
    above = -scores.sub(scores[UNIT], axis=0)
    table = pd.DataFrame({"tables": scores.count(), SCORE: scores.mean(), "loo_ard is higher by": above.mean()})
    table["loo_ard is better"], table["loo_ard is worse"] = (above > EQUAL).sum(), (above < -EQUAL).sum()
    return table.assign(seconds=rows.groupby("contender")["seconds"].mean()).reset_index()
