"""Tables that tests share: codes, and the data frames that hold the same."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from samples import WEIGHTS
from table_oracle import as_seen, squared_distances

NUMBERS = {
    "number": lambda rng, n: rng.normal(size=n),
    "halves": lambda rng, n: rng.integers(0, 5, size=n) / 2,
    "nothing": lambda rng, n: np.full(n, np.nan),
}

RANKS = {"ranks": lambda rng, n: rng.choice(3, size=n) * 1.0}

CATEGORIES = {
    "one": lambda rng, n: np.zeros(n),
    "two": lambda rng, n: (rng.random(n) < 0.3) * 1.0,
    "five": lambda rng, n: rng.choice(5, p=[0.4, 0.3, 0.15, 0.1, 0.05], size=n) * 1.0,
    "twelve": lambda rng, n: rng.integers(0, 12, size=n) * 1.0,
}

KINDS = NUMBERS | RANKS | CATEGORIES
"""Functions (rng, n) -> codes (n,), by the kind of a feature."""

TABLES = {
    "all kinds": ["number", "number?", "ranks?", "two", "five?"],
    "numbers": ["number?", "halves?"],
    "one number": ["number?"],
    "two categories": ["two"],
    "a number and two categories": ["number", "two"],
    "categories": ["five", "twelve?", "two?"],
    "without information": ["number?", "one", "one?", "nothing"],
}
"""The kinds of the features; with a question mark, some values are missing."""

UNSEEN = 99.0
"""The code of a category that no training row has."""


class TableSample(NamedTuple):
    """Codes (n, n_features), targets (n,), weights (n,), queries (m, n_features), and which features are categories."""

    codes: np.ndarray
    y: np.ndarray
    weights: np.ndarray
    queries: np.ndarray
    is_category: np.ndarray
    kinds: list

    def frame(self, codes=None):
        """The data frame of codes, which are those of the training rows if they are not given."""
        return to_frame(self.codes if codes is None else codes, self.kinds)

    def each_asked(self, bandwidth):
        """Yield what to ask for, its codes, their t, and whether these are training rows without one unit each."""
        keys, queries = (
            as_seen(codes, self.codes, self.weights, self.is_category) for codes in (self.codes, self.queries)
        )
        for asked, points in ((self.frame(), keys), (self.frame(self.queries), queries), (None, keys)):
            t = squared_distances(points, keys, bandwidth, self.is_category, self.weights)
            yield asked, points, t, asked is None


def draw_table(name, weights="none", n=40, m=12):
    """A `TableSample`; its queries miss more values, among them all of a row, and some of their categories are new."""
    rng, kinds = np.random.default_rng(0), [kind.rstrip("?") for kind in TABLES[name]]
    may_miss = np.array([kind.endswith("?") for kind in TABLES[name]])
    is_category = np.isin(kinds, list(CATEGORIES))
    codes, queries = np.split(np.column_stack([KINDS[kind](rng, n + m) for kind in kinds]), [n])
    codes[(rng.random(codes.shape) < 0.25) & may_miss] = np.nan
    codes[:2, is_category] = [[0.0], [1.0]] * (np.array(kinds) != "one")[is_category]
    queries[m // 2 :][rng.random((m - m // 2, len(kinds))) < 0.4] = np.nan
    queries[0], queries[1], queries[2, is_category] = np.nan, codes[2], UNSEEN
    known = np.nan_to_num(codes)
    y = np.sin(known[:, 0]) + known[:, 1:].sum(axis=1) / 4 + 0.1 * rng.normal(size=n)
    return TableSample(codes, y, WEIGHTS[weights](rng, n), queries, is_category, kinds)


def to_frame(codes, kinds):
    """A data frame with numbers, ordered categories and text."""
    columns = {}
    for f, (kind, column) in enumerate(zip(kinds, codes.T, strict=True)):
        columns[f"{kind} {f}"] = (
            to_ranks(column) if kind in RANKS else to_text(column) if kind in CATEGORIES else column
        )
    return pd.DataFrame(columns)


def to_ranks(codes):
    """An ordered categorical, whose declared order is not that of the alphabet."""
    return pd.Categorical.from_codes(
        np.nan_to_num(codes, nan=-1).astype(int), categories=["small", "medium", "large", "huge"], ordered=True
    )


def to_text(codes):
    """Text in the order of the codes, and None where missing, (n,)."""
    return np.array([None if np.isnan(code) else f"level {code:02.0f}" for code in codes], dtype=object)
