"""Tables with all kinds of features, and attention, trends and local lines on these by the definition, in loops."""

import numpy as np
import pandas as pd
from oracle import without_unit

from sknw._kernels import KERNELS

N = 40


def make_table(seed=0, n=N, holes=0.15):
    """A data frame with all kinds of features, and two targets."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "number": rng.normal(size=n),
            "holes": rng.normal(size=n) * 3 + 50,
            "many": rng.choice(list("uvwx"), n),
            "two": rng.choice(["no", "yes"], n),
            "pair": pd.Categorical(rng.choice(["left", "right"], n)),
            "one": ["same"] * n,
            "ranks": pd.Categorical(rng.choice(["low", "mid", "high"], n), ["low", "mid", "high"], ordered=True),
            "flag": rng.random(n) < 0.5,
            "nothing": np.full(n, np.nan),
        }
    )
    y = np.sin(2 * X["number"]) + 0.3 * X["holes"] + (X["many"] == "u") * X["number"] + X["flag"]
    y = np.column_stack([y + 0.1 * rng.normal(size=n), rng.normal(size=n)])
    for name in ("holes", "many", "two", "ranks"):
        X.loc[rng.random(n) < holes, name] = None
    return X, y


def make_queries(X, seed=1, m=12):
    """Rows that are moved, and miss values of any feature; the last one misses all."""
    rng = np.random.default_rng(seed)
    queries = X.iloc[rng.integers(0, len(X), m)].reset_index(drop=True)
    numbers = [name for name in ("number", "holes") if name in queries]
    queries[numbers] += rng.normal(size=(m, len(numbers)))
    missing = rng.random(queries.shape) < 0.2
    missing[-1] = True
    return queries.astype({"flag": object}).mask(missing) if "flag" in queries else queries.mask(missing)


COLUMNS = {
    "numbers": ["number", "holes"],
    "categories": ["many", "two", "pair", "one"],
    "mixed": ["holes", "many", "pair"],
    "all": list(make_table()[0]),
}
"""Features of tables."""

FIXED = {"n_neighbors": None, "ridge": 0.1}
BANDWIDTHS = {"number": 0.9, "holes": 3.0, "many": 0.6, "two": 0.8, "pair": 0.7, "one": 1.0, "ranks": 1.5, "flag": 0.6}


def bandwidths(names):
    """A bandwidth for each feature."""
    return [BANDWIDTHS.get(name, 1.0) for name in names]


class Definition:
    """Attention, trends and lines by the definition: from codes, one query and one key at a time."""

    def __init__(self, model, weights=None):
        self.codes, self.bandwidth, self.kernel = model.keys_, model.bandwidth_, KERNELS[model.kernel]
        self.weights = np.ones(len(self.codes)) if weights is None else weights
        self.is_category = model._table.n_categories(self.codes.shape[1]) > 0
        self.n_levels = [0 if found is None else len(found) for found in model.categories_]
        self.n_neighbors, self.ridge = model.n_neighbors_, getattr(model, "ridge_", np.inf)
        self.known = ~np.isnan(self.codes) & (self.weights > 0)[:, None]
        averages = [self._average(f, self.codes[:, f]) for f in range(len(self.bandwidth))]
        self.means = np.array(averages)
        squares = [self._average(f, np.square(self.codes[:, f] - self.means[f])) for f in range(len(self.bandwidth))]
        self.deviations = np.sqrt(squares)

    def _average(self, f, column):
        rows = self.known[:, f]
        return np.average(column[rows], weights=self.weights[rows]) if rows.any() else 0.0

    def distances(self, query):
        """t of each key."""
        t = np.zeros(len(self.codes))
        for i, key in enumerate(self.codes):
            for f in np.flatnonzero(~np.isnan(query) & np.isfinite(self.bandwidth)):
                if self.is_category[f]:
                    square = float(np.isnan(key[f]) or key[f] != query[f])
                elif np.isnan(key[f]):
                    square = (query[f] - self.means[f]) ** 2 + self.deviations[f] ** 2
                else:
                    square = (query[f] - key[f]) ** 2
                t[i] += square / self.bandwidth[f] ** 2
        return t

    def attention(self, query, row=None):
        """Attention weights, and the squared width of the query; a unit of `row` is left out."""
        left, t, square = self.weights if row is None else without_unit(self.weights, row), self.distances(query), 1.0
        if self.n_neighbors is not None and t.any():  # half the distance to the neighbour: that of the gaussian kernel
            order = np.argsort(t)
            kth = t[order][np.searchsorted(np.cumsum(left[order]), self.n_neighbors * (1 - 1e-9))]
            square = (kth or t[(t > 0) & (left > 0)].min()) / 4
        with np.errstate(divide="ignore"):
            logits = self.kernel.log(t / square) + np.log(left)
        if np.isneginf(logits).all():
            nearest = t <= t[left > 0].min() * (1 + 1e-12)
            logits = np.where(nearest & (left > 0), np.log(np.maximum(left, 1e-300)), -np.inf)
        a = np.exp(logits - logits.max())
        return a / a.sum(), square

    def terms(self, codes):
        """Standardised terms (m, n_terms) of a trend, 0 where a value is missing."""
        terms = []
        for f, n_levels in enumerate(self.n_levels):
            columns = [lambda x: x]
            if self.is_category[f]:
                columns = [lambda x, k=k: np.where(np.isnan(x), np.nan, x == k) for k in range(n_levels)]
                columns = columns[1:] if n_levels <= 2 else columns
            for column in columns:
                keys, rows = column(self.codes[:, f]), self.known[:, f]
                mean = self._average(f, keys)
                filled = np.where(np.isnan(keys), mean, keys)
                scale = np.sqrt(np.average(np.square(filled - mean), weights=self.weights))
                varies = rows.any() and np.ptp(keys[rows]) > 0
                found = (column(codes[:, f]) - mean) / scale if varies else np.zeros(len(codes))
                terms.append(np.where(np.isnan(found), 0.0, found))
        return np.stack(terms, axis=1)

    def trend(self, values, penalties, row=None):
        """The trend (n, n_values) at the keys, and at a query, without a unit of `row`."""
        left = self.weights if row is None else without_unit(self.weights, row)
        z = np.column_stack([np.ones(len(self.codes)), self.terms(self.codes)])
        coefficients = np.empty((z.shape[1], values.shape[1]))
        for k, penalty in enumerate(penalties):
            gram = (left[:, None] * z).T @ z + penalty * self.weights.sum() * np.diag(np.arange(z.shape[1]) > 0)
            coefficients[:, k] = np.linalg.solve(gram, (left[:, None] * z).T @ values[:, k])
        return z @ coefficients, lambda query: np.append(1.0, self.terms(query[None])[0]) @ coefficients

    def line(self, query, values, row=None):
        """The value (n_values,) at a query of the local line through values (n, n_values)."""
        a, square = self.attention(query, row)
        used = np.flatnonzero(~self.is_category & ~np.isnan(query) & np.isfinite(self.bandwidth))
        if np.isinf(self.ridge) or len(used) == 0:
            return a @ values
        filled = np.where(np.isnan(self.codes), self.means, self.codes)
        u, q = filled[:, used] / self.bandwidth[used], query[used] / self.bandwidth[used]
        m, pooled = a @ u, a @ values
        spread = (a[:, None] * (u - m)).T @ (u - m) + self.ridge * square * np.eye(len(used))
        return pooled + (q - m) @ np.linalg.solve(spread, (a[:, None] * (u - m)).T @ (values - pooled))

    def predict(self, query, values, penalties=None, row=None):
        """The prediction (n_values,) before clipping."""
        if penalties is None:
            return self.line(query, values, row)
        at_keys, trend = self.trend(values, penalties, row)
        return self.line(query, values - at_keys, row) + trend(query)


def codes_of(model, queries):
    """The codes of queries, those of the keys for None."""
    return model.keys_ if queries is None else model._check_queries(queries)


def expected(model, values, queries, weights=None):
    """Predictions (m, n_values) of a regressor by the definition, and leave-one-out without queries."""
    definition, found = Definition(model, weights), []
    for i, query in enumerate(codes_of(model, queries)):
        row = i if queries is None else None
        left = definition.weights if row is None else without_unit(definition.weights, row)
        line = definition.predict(query, values, getattr(model, "_penalties", None), row)
        found.append(np.clip(line, values[left > 0].min(axis=0), values[left > 0].max(axis=0)))
    return np.array(found)
