"""Gradients of both regressors on tables with categories and missing values."""

import numpy as np
import pandas as pd
import pytest
from oracle import without_unit
from samples import weighting
from table_lines import COLUMNS, Definition, bandwidths, codes_of, make_queries, make_table

from sknw import LocalLinearRegressor, NadarayaWatsonRegressor

MODELS = {
    "means": (NadarayaWatsonRegressor, {}),
    "lines": (LocalLinearRegressor, {"ridge": 0.1}),
    "lines without a trend": (LocalLinearRegressor, {"ridge": 0.01, "trend": False}),
}
each_model = pytest.mark.parametrize("name", MODELS)


def make(name, X, **parameters):
    """An estimator of a name in `MODELS`, with a fixed width unless a number of neighbours is given."""
    Estimator, given = MODELS[name]
    return Estimator(1.5 * np.array(bandwidths(X)), **given, **{"n_neighbors": None, **parameters})


def differences(function, codes, numbers, step=1e-5):
    """Derivatives (m, n_values, n_features) of a function of codes by some features, and nan by others."""
    found = np.full((*function(codes).shape, codes.shape[1]), np.nan)
    for f in numbers:
        unit = step * (np.arange(codes.shape[1]) == f)
        near, far = (function(codes + k * unit) - function(codes - k * unit) for k in (1, 2))
        found[:, :, f] = (8 * near - far) / (12 * step)
    found[np.isnan(np.broadcast_to(codes[:, None], found.shape))] = np.nan
    return found


def numbers_of(X):
    """The positions of numbers, a bool among these."""
    return [f for f, name in enumerate(X) if name in ("number", "holes", "flag", "nothing")]


def assert_close(found, expected, values, model):
    """Equal up to 1e-6 of the range of values over bandwidths, and nan in the same places."""
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    units = np.where(np.isfinite(model.bandwidth_), model.bandwidth_, 1.0) / np.ptp(values, axis=0)[:, None]
    assert np.nanmax(np.abs(found - expected) * units) <= 1e-6
    assert np.isfinite(found).any()


def is_inside(predictions, values):
    """Which predictions (m, n_values) are not clipped, nor would be nearby, (m,)."""
    margin = 0.01 * np.ptp(values, axis=0)
    return ((predictions > values.min(axis=0) + margin) & (predictions < values.max(axis=0) - margin)).all(axis=1)


def is_smooth(model, codes, values):
    """Which predictions have no kink: they are not clipped, and their k-th neighbour is not tied."""
    smooth = is_inside(model._predict_values(codes), values)
    if model.n_neighbors_ is not None:
        definition = Definition(model)
        for i, query in enumerate(codes):
            gaps = np.abs(np.diff(np.sort(definition.distances(query)))[model.n_neighbors_ // 3 :])
            smooth[i] &= gaps.min() > 1e-3 if len(gaps) else True
    assert smooth.mean() > 0.3
    return smooth


class TestDifferences:
    @each_model
    @pytest.mark.parametrize("kernel", ["gaussian", "biweight", "cauchy"])
    @pytest.mark.parametrize("n_neighbors", [None, 25])
    def test_queries(self, name, kernel, n_neighbors):
        """Many queries of each pattern: means are then pooled from columns, if the width is fixed."""
        X, values = make_table()
        queries = pd.concat([make_queries(X, seed).iloc[:9] for seed in range(3)] * 7, ignore_index=True)
        queries["number"] = np.random.default_rng(0).normal(size=len(queries)) / 2
        model = make(name, X, kernel=kernel, n_neighbors=n_neighbors).fit(X, values, weighting("counts", len(X)))
        codes, found = codes_of(model, queries), model.gradients(queries)
        assert found.shape == (len(queries), 2, X.shape[1])
        rows = is_smooth(model, codes, values)
        expected = differences(model._predict_values, codes, numbers_of(X))
        assert_close(found[rows], expected[rows], values, model)
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))

    @each_model
    @pytest.mark.parametrize("weights", ["none", "importances"])
    def test_leave_one_out(self, name, weights):
        X, values = make_table(n=24)
        weights = np.ones(len(X)) if weights == "none" else weighting(weights, len(X))
        model = make(name, X).fit(X, values, weights)
        definition, found = Definition(model, weights), model.gradients(None)
        penalties = getattr(model, "_penalties", None)
        for row, codes in enumerate(model.keys_):

            def predict(codes, row=row):
                return definition.predict(codes[0], values, penalties, row)[None]

            others = values[without_unit(weights, row) > 0]
            if is_inside(predict(codes[None]), others).all():
                expected = differences(predict, codes[None], numbers_of(X))
                assert_close(found[[row]], expected, values, model)

    @each_model
    def test_holes_only_in_queries(self, name):
        rng = np.random.default_rng(0)
        X, values = rng.normal(size=(60, 3)), rng.normal(size=(60, 2))
        queries = np.where(rng.random((40, 3)) < 0.3, np.nan, X[:40] / 2)
        Estimator, given = MODELS[name]
        model = Estimator(0.9, n_neighbors=None, **given).fit(X, values)
        expected = differences(model.predict, queries, range(3))
        assert_close(model.gradients(queries), expected, values, model)


class TestProperties:
    @each_model
    def test_no_numbers(self, name):
        X, values = make_table()
        X = X[COLUMNS["categories"]]
        assert np.isnan(make(name, X).fit(X, values).gradients(X)).all()

    @pytest.mark.parametrize("name", ["means", "lines without a trend"])
    def test_a_missing_value_leaves_its_feature_out(self, name):
        X, values = make_table()
        model = make(name, X).fit(X, values)
        other = make(name, X).set_params(bandwidth=np.where(X.columns == "holes", np.inf, model.bandwidth))
        found = model.gradients(X.assign(holes=np.nan))
        assert np.isnan(found[:, :, 1]).all()
        expected = other.fit(X, values).gradients(X.assign(holes=50.0))
        np.testing.assert_allclose(found[:, :, [0, 7, 8]], expected[:, :, [0, 7, 8]], rtol=0, atol=1e-9)

    @each_model
    @pytest.mark.parametrize("empty", ["mean", "nan"])
    def test_empty(self, name, empty):
        X = pd.DataFrame({"x": [0.0, 0.1, 0.2, 0.4, 0.3], "c": list("aabba")})
        Estimator, given = MODELS[name]
        model = Estimator([0.5, 2.0], n_neighbors=None, kernel="epanechnikov", empty=empty, **given)
        model.fit(X, [1.0, 2.0, 3.0, 4.0, 6.0])
        found = model.gradients(pd.DataFrame({"x": [50.0, 0.15], "c": ["a", "b"]}))
        assert np.isnan(found[:, 1]).all()
        np.testing.assert_equal(found[0, 0], 0.0 if empty == "mean" else np.nan)
        assert abs(found[1, 0]) > 0.1
