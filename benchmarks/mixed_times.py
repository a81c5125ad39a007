"""What categories and missing values cost: beside tables without them, other engines, and statsmodels."""

from functools import partial
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
import pandas as pd
from mixed_data import available, load
from quality_peers import KernelReg
from timing import ratio, time_call, time_interleaved, time_prediction

from sknw import NadarayaWatsonRegressor

# Tables beside tables.


class Case(NamedTuple):
    """A table to learn from, targets, queries, the algorithm, the bandwidth, and how many queries are timed: all, if
    None.
    """

    keys: pd.DataFrame
    targets: np.ndarray
    queries: pd.DataFrame
    algorithm: str = "dense"
    bandwidth: object = "silverman"
    timed: int | None = None

    def first(self, m):
        """The case with its first m queries only."""
        return self._replace(queries=self.queries[:m])


def make_table(n, n_numbers, n_categories=0):
    """A table of normal numbers, and a feature of equally frequent categories if there are any."""
    rng = np.random.default_rng(n_numbers)
    table = pd.DataFrame({f"number {k}": rng.normal(size=n) for k in range(n_numbers)})
    labels = [f"category {k}" for k in range(n_categories)]
    return table.assign(feature=pd.Categorical(rng.choice(labels, n), labels)) if labels else table


def split_case(table, m, algorithm="dense"):
    """The last m rows as queries, and random targets."""
    n = len(table) - m
    return Case(table[:n], np.random.default_rng(0).normal(size=n), table[n:], algorithm)


def remove_patterns(table, n_patterns):
    """The table with so many patterns of holes, the complete one among them; a fifth of the values is missing."""
    rng, patterns = np.random.default_rng(0), {(False,) * table.shape[1]: None}
    while len(patterns) < n_patterns:
        patterns[tuple(rng.random(table.shape[1]) < 0.2)] = None
    return table.mask(np.array(list(patterns))[rng.integers(n_patterns, size=len(table))])


def compare_categories(n=20_000, m=20_000):
    """Two numbers and a feature of ten categories, and the numbers alone, with the dense engine."""
    table = make_table(n + m, 2, 10)
    return split_case(table, m), split_case(table.drop(columns="feature"), m)


def compare_patterns(n=4000, m=4000):
    """Eight numbers with thirty patterns of holes, and without holes."""
    table = make_table(n + m, 8)
    return split_case(remove_patterns(table, 30), m, "auto"), split_case(table, m, "auto")


def compare_engines(factor, n=60_000, m=60_000, timed=2000):
    """Two numbers and a feature of six categories: the dense engine and "blocks", with multiples of the bandwidth."""
    dense = split_case(make_table(n + m, 2, 6), m)
    bandwidth = factor * NadarayaWatsonRegressor().fit(dense.keys, dense.targets).bandwidth_
    return dense._replace(bandwidth=bandwidth, timed=timed), dense._replace(bandwidth=bandwidth, algorithm="blocks")


CASES = {
    "10 categories / none, dense, n=20000": compare_categories,
    "30 patterns of holes / none, n=4000": compare_patterns,
    "dense / blocks, 6 categories, n=60000, 1.0h": partial(compare_engines, 1.0),
    "dense / blocks, 6 categories, n=60000, 0.3h": partial(compare_engines, 0.3),
}
"""Functions that make two cases whose times are compared."""


def time_case(case):
    """Seconds to fit, and to predict for the first time."""
    model = NadarayaWatsonRegressor(case.bandwidth, algorithm=case.algorithm)
    seconds = time_call(model.fit, case.keys, case.targets)
    predict = partial(predict_case, model)
    return seconds, time_prediction(predict, case, case.timed or len(case.queries))


def predict_case(model, case):
    return model.predict(case.queries)


def compare_table_times(only, rounds):
    """A row for each pair of cases: how many times longer the first takes than the second."""
    for name in (name for name in CASES if only in name):
        cases = dict(zip(("first", "second"), CASES[name](), strict=True))
        seconds = time_interleaved({key: partial(time_case, case) for key, case in cases.items()}, rounds)
        first, second = seconds["first"], seconds["second"]
        row = {"case": name, "predict": ratio(first[:, 1], second[:, 1])}
        row["fit and predict"] = ratio(first.sum(axis=1), second.sum(axis=1))
        yield row | {f"{key}, seconds": float(np.median(seconds[key].sum(axis=1))) for key in cases}


# statsmodels.


PEER_PROBLEMS = [
    ("wage1", {"exper": "c", "female": "u", "educ": "o"}),
    ("Wage", {"age": "c", "race": "u", "education": "o"}),
    ("oecdpanel", {"initgdp": "c", "oecd": "u", "year": "o"}),
    ("wage1", {"female": "u", "married": "u", "educ": "c", "exper": "c", "tenure": "c"}),
]
"""Tables, features and what they are in statsmodels: continuous, unordered, ordered. The last is an example of np."""

PEER_ROWS, PEER_QUERIES, PEER_DRAWS = 200, 1000, 3
"""Rows to learn from, at most so many others to predict, and how often they are drawn."""


def draw_rows(name, features, seed):
    """X, y to learn from, and X_test, y_test of other rows."""
    X, y = load(name)
    kinds = {"c": lambda x: x.astype(float), "u": lambda x: x.astype("category"), "o": as_ordered}
    X = pd.DataFrame({feature: kinds[kind](X[feature]) for feature, kind in features.items()})
    rows = np.random.default_rng(seed).permutation(len(y))[: PEER_ROWS + PEER_QUERIES]
    learned, others = rows[:PEER_ROWS], rows[PEER_ROWS:]
    return X.iloc[learned], y[learned], X.iloc[others], y[others]


def as_ordered(column):
    """A column as ordered categories, in the order of its values where it has none."""
    return column if isinstance(column.dtype, pd.CategoricalDtype) else column.astype("category").cat.as_ordered()


def to_codes(X):
    """Numbers, and positions of categories."""
    return np.column_stack([X[name].cat.codes if X[name].dtype == "category" else X[name] for name in X]).astype(float)


def measure(model, X, y, queries, rounds):
    """Seconds to fit and to predict: medians of rounds, of only one where that takes long. The model is fitted then."""
    calls = {"fit": partial(time_call, model.fit, X, y), "predict": partial(time_call, model.predict, queries)}
    return {name: np.median(seconds) for name, seconds in time_interleaved(calls, rounds, fewest=1).items()}


def compare_draw(features, X, y, X_test, y_test, rounds):
    """Seconds of "loo_ard" and of statsmodels, their ratios, and those of leave-one-out and of held-out losses."""
    own, peer = NadarayaWatsonRegressor("loo_ard"), KernelReg("lc", "".join(features.values()))
    row = measure(own, X, y, X_test, rounds)
    if find_spec("statsmodels") is None:
        return row
    for key, seconds in measure(peer, to_codes(X), y, to_codes(X_test), rounds).items():
        row |= {f"statsmodels, {key}": seconds, f"ratio, {key}": seconds / row[key]}
    (peer_loss,) = peer.model_.cv_loo(peer.model_.bw, peer.model_.est["lc"])
    row["loo loss / statsmodels"] = mean_square(own.predict(None) - y) / peer_loss
    peer_errors = peer.predict(to_codes(X_test)) - y_test
    answered = np.isfinite(peer_errors)
    held_out = mean_square((own.predict(X_test) - y_test)[answered])
    return row | {"held-out loss / statsmodels": held_out / mean_square(peer_errors[answered])}


def mean_square(errors):
    return np.mean(np.square(errors))


def compare_peer(only, rounds):
    """A row for each problem: medians over draws."""
    names = available(dict.fromkeys(name for name, _ in PEER_PROBLEMS))
    for name, features in PEER_PROBLEMS:
        if name in names and only in name:
            draws = [compare_draw(features, *draw_rows(name, features, seed), rounds) for seed in range(PEER_DRAWS)]
            row = {"data": name, "n": PEER_ROWS, "kinds": "".join(features.values())}
            yield row | {column: float(np.median([draw[column] for draw in draws])) for column in draws[0]}
