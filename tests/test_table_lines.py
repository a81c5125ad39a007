"""Local lines on tables with categories and missing values."""

import pickle

import numpy as np
import pandas as pd
import pytest
from oracle import end_scores, without_unit
from samples import weighting
from table_lines import COLUMNS, FIXED, Definition, N, bandwidths, codes_of, expected, make_queries, make_table

from sknw import LocalLinearClassifier, LocalLinearRegressor


def assert_is_the_definition(model, X, values, weights=None):
    for queries in (make_queries(X), None):
        found = expected(model, values, queries, weights)
        assert (np.abs(model.predict(queries) - found) <= 1e-10 * np.ptp(values, axis=0)).all()


class TestDefinition:
    @pytest.mark.parametrize("names", COLUMNS)
    @pytest.mark.parametrize("trend", [True, False])
    @pytest.mark.parametrize("n_neighbors", [None, 9])
    def test_predictions(self, names, trend, n_neighbors):
        X, values = make_table()
        X = X[COLUMNS[names]]
        for ridge, kind in [(1e-2, "none"), (0.1, "counts"), (1.0, "importances"), (np.inf, "none")]:
            weights = weighting(kind, N)
            if n_neighbors is not None and kind == "importances":
                continue  # a neighbour is then no whole number of rows
            model = LocalLinearRegressor(bandwidths(X), n_neighbors=n_neighbors, ridge=ridge, trend=trend)
            assert_is_the_definition(model.fit(X, values, weights), X, values, weights)

    @pytest.mark.parametrize("kernel", ["exponential", "cauchy", "boxcar", "triweight"])
    @pytest.mark.parametrize("holes", [0.0, 0.15, 0.5])
    def test_kernels_and_holes(self, kernel, holes):
        X, values = make_table(holes=holes)
        bandwidth = 2 * np.array(bandwidths(X))
        bandwidth[[0, 2]] = np.inf, 2 * bandwidth[2]
        model = LocalLinearRegressor(bandwidth, kernel=kernel, **FIXED).fit(X, values)
        assert_is_the_definition(model, X, values)

    @pytest.mark.parametrize("algorithm", ["blocks", "dense"])
    def test_holes_only_in_queries(self, algorithm):
        rng = np.random.default_rng(0)
        X, values = rng.normal([0, 1e3, -5], size=(N, 3)), rng.normal(size=(N, 2))
        queries = np.where(rng.random((20, 3)) < 0.3, np.nan, X[:20] + 0.3)
        model = LocalLinearRegressor(0.8, algorithm=algorithm, **FIXED).fit(X, values)
        found = expected(model, values, queries)
        np.testing.assert_allclose(model.predict(queries), found, rtol=0, atol=1e-10 * np.ptp(values))

    @pytest.mark.parametrize("n_neighbors", [None, 9])
    @pytest.mark.parametrize("trend", [True, False])
    def test_probabilities(self, trend, n_neighbors):
        X, values = make_table(n=60)
        labels = (values[:, 0] > 15).astype(int) + (values[:, 1] > 0.5)
        model = LocalLinearClassifier(bandwidths(X), n_neighbors=n_neighbors, ridge=0.1, trend=trend).fit(X, labels)
        definition, fit, one_hot = Definition(model), model._logistic, np.eye(3)[labels]
        left_out = 0.0 if fit is None else fit.left_out
        for queries in (make_queries(X), None):
            for i, (query, found) in enumerate(
                zip(codes_of(model, queries), model.predict_proba(queries), strict=True)
            ):
                row = i if queries is None else None
                line = definition.line(query, one_hot - left_out, row)
                if fit is not None and row is None:
                    logits = definition.terms(query[None])[0] @ fit.slopes + fit.intercepts
                    line += np.exp(logits) / np.exp(logits).sum()
                elif fit is not None:
                    line += left_out[row]
                left = np.ones(60) if row is None else without_unit(np.ones(60), row)
                positive, prior = np.maximum(line, 0), left @ one_hot / left.sum()
                share = model.prior_share_
                probabilities = (1 - share) * positive / positive.sum() + share * prior
                np.testing.assert_allclose(found, probabilities, rtol=0, atol=1e-10)

    def test_moments_from_attention(self, monkeypatch):
        monkeypatch.setattr("sknw._lines.MOST_NUMBERS", 2)
        X, values = make_table()
        model = LocalLinearRegressor(bandwidths(X), **FIXED).fit(X, values)
        assert not model._model.lines.by_columns
        assert_is_the_definition(model, X, values)


class TestProperties:
    def test_leave_one_out_is_a_refit(self):
        """Without a trend, and if the numbers are complete: their means and deviations do not change."""
        X, values = make_table()
        X = X[["number", "many", "two", "ranks"]]
        X["ranks"] = X["ranks"].cat.codes.clip(0)
        model = LocalLinearRegressor(bandwidths(X), trend=False, **FIXED).fit(X, values)
        for i, found in enumerate(model.predict(None)):
            others = np.arange(N) != i
            refit = LocalLinearRegressor(bandwidths(X), trend=False, **FIXED).fit(X[others], values[others])
            np.testing.assert_allclose(found, refit.predict(X[i : i + 1])[0], rtol=1e-9)

    @pytest.mark.parametrize("Estimator", [LocalLinearRegressor, LocalLinearClassifier])
    def test_complete_numbers_are_an_array(self, Estimator):
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(60, 3)), rng.integers(0, 2, 60)
        model = Estimator("loo").fit(X, y)
        for other in (X.astype(object), X.tolist(), np.where(X > 9, np.nan, X)):
            again = Estimator("loo", categorical_features=[False] * 3).fit(other, y)
            for queries in (X + 0.1, None):
                np.testing.assert_array_equal(numeric(again, queries), numeric(model, queries))

    def test_two_categories_are_a_flag_but_for_the_slope(self):
        """The attention and the trend of 0 and 1, bool, and two names are the same."""
        X, values = make_table(holes=0)
        X = X[["number", "many", "flag"]]
        tables = [X, X.assign(flag=X["flag"] * 1.0), X.assign(flag=np.where(X["flag"], "yes", "no"))]
        for ridge, trend in ((np.inf, True), (np.inf, False), (0.1, True)):
            parameters = {"n_neighbors": None, "ridge": ridge, "trend": trend}
            models = [LocalLinearRegressor(bandwidths(X), **parameters).fit(table, values) for table in tables]
            for queries in (tables, [None] * 3):
                found = [model.predict(rows) for model, rows in zip(models, queries, strict=True)]
                np.testing.assert_array_equal(found[1], found[0])
                assert (np.abs(found[2] - found[0]).max() < 1e-11) == np.isinf(ridge)

    @pytest.mark.parametrize("n_neighbors", [None, 9])
    @pytest.mark.parametrize("name", ["number", "holes", "many", "two", "ranks"])
    def test_a_missing_value_leaves_its_feature_out(self, name, n_neighbors):
        X, values = make_table()
        queries, ignoring = X.iloc[:10].copy(), np.where(X.columns == name, np.inf, bandwidths(X))
        parameters = {"n_neighbors": n_neighbors, "ridge": 0.1, "trend": False}
        model, other = (LocalLinearRegressor(h, **parameters).fit(X, values) for h in (bandwidths(X), ignoring))
        without = queries.assign(**{name: pd.array([None] * 10, dtype=X[name].dtype)})
        np.testing.assert_allclose(model.predict(without), other.predict(queries), rtol=1e-12)

    def test_unseen_is_missing_and_nothing_known_is_the_mean(self):
        X, values = make_table()
        queries = make_queries(X)
        model = LocalLinearRegressor(bandwidths(X), **FIXED).fit(X, values)
        unseen, missing = queries.assign(many="z"), queries.assign(many=None)
        np.testing.assert_array_equal(model.predict(unseen), model.predict(missing))
        np.testing.assert_allclose(model.predict(queries)[-1], values.mean(axis=0), rtol=1e-12)

    def test_order_levels_and_pickles(self):
        X, values = make_table()
        rng, queries = np.random.default_rng(0), make_queries(X)
        model = LocalLinearRegressor("loo").fit(X, values[:, 0])
        order, names = rng.permutation(N), {"u": "z", "v": "a", "w": "m", "x": "b"}
        shuffled = X.iloc[order].replace({"many": names})
        other = LocalLinearRegressor("loo").fit(shuffled[X.columns[::-1]], values[order, 0])
        found = other.predict(queries.replace({"many": names})[X.columns[::-1]])
        assert (other.n_neighbors_, other.ridge_) == (model.n_neighbors_, model.ridge_)
        np.testing.assert_allclose(
            found, model.predict(queries), atol=1e-6 * np.ptp(values)
        )  # of the learned bandwidth
        again = pickle.loads(pickle.dumps(model))
        for rows in (queries, None):
            np.testing.assert_array_equal(again.predict(rows), model.predict(rows))

    @pytest.mark.parametrize("Estimator", [LocalLinearRegressor, LocalLinearClassifier])
    def test_counts_are_repetitions(self, Estimator):
        X, values = make_table()
        y = values[:, 0] if Estimator is LocalLinearRegressor else values[:, 0] > 15
        counts = np.random.default_rng(0).integers(0, 3, N)
        one = Estimator("loo").fit(X, y, counts)
        repeated = X.iloc[np.repeat(np.arange(N), counts)]
        other = Estimator("loo").fit(repeated, np.repeat(y, counts))
        assert (one.n_neighbors_, one.ridge_) == (other.n_neighbors_, other.ridge_)
        np.testing.assert_allclose(one.loo_loss_, other.loo_loss_)
        np.testing.assert_allclose(numeric(one, make_queries(X)), numeric(other, make_queries(X)), rtol=1e-9)
        np.testing.assert_allclose(np.repeat(numeric(one, None), counts, axis=0), numeric(other, None), rtol=1e-9)


def numeric(model, X):
    """Predictions of a regressor, or probabilities."""
    return getattr(model, "predict_proba", model.predict)(X)


class TestLearning:
    @pytest.mark.parametrize("bandwidth", ["silverman", "loo", "loo_ard"])
    @pytest.mark.parametrize("Estimator", [LocalLinearRegressor, LocalLinearClassifier])
    def test_the_record_is_that_of_predictions(self, Estimator, bandwidth):
        X, values = make_table(n=90)
        y = values[:, 0] if Estimator is LocalLinearRegressor else values[:, 0] > 15
        model = Estimator(bandwidth).fit(X, y)
        targets = y if Estimator is LocalLinearRegressor else np.column_stack([~y, y])
        errors = np.square(numeric(model, None) - targets).reshape(90, -1).sum(axis=1)
        assert model.loo_loss_ == pytest.approx(errors.mean(), rel=1e-9)
        spread = np.square(targets - targets.mean(axis=0)).reshape(90, -1).sum(axis=1).mean()
        assert model.loo_loss_ < 0.7 * spread

    def test_parameters_of_least_loss(self):
        """None of the other parameters has a lower loss."""
        X, values = make_table(n=60)
        model = LocalLinearRegressor("silverman").fit(X, values)
        for n_neighbors in (None, 4, 16, 48):
            for ridge in (1e-3, 0.1, 10.0, np.inf):
                other = LocalLinearRegressor("silverman", n_neighbors=n_neighbors, ridge=ridge).fit(X, values)
                loss = np.square(other.predict(None) - values).sum(axis=1).mean()
                assert model.loo_loss_ <= loss * (1 + 1e-9)


class TestDistribution:
    @pytest.mark.parametrize("n_neighbors", [None, 9])
    @pytest.mark.parametrize("kind", ["none", "counts"])
    def test_definition(self, kind, n_neighbors):
        """Standard deviations, standard errors, intervals, distribution functions and quantiles."""
        X, values = make_table()
        y, weights = values[:, 0], weighting(kind, N)
        weights = np.ones(N) if weights is None else weights
        model = LocalLinearRegressor(bandwidths(X), n_neighbors=n_neighbors, ridge=0.1).fit(X, y, weights)
        definition, errors = Definition(model, weights), y - model.predict(None)
        stds = {}
        for name, queries in (("others", None), ("queries", make_queries(X))):
            predictions, std = model.predict(queries, return_std=True)
            stds[name] = std
            standard_errors, cdf = model.standard_error(queries), model.predict_cdf(queries, [12.0, 15.0, 18.0])
            quantiles = model.predict_quantiles(queries, [0.1, 0.6])
            for i, query in enumerate(codes_of(model, queries)):
                row = i if queries is None else None
                left = weights if row is None else without_unit(weights, row)
                a = definition.attention(query, row)[0]
                shares = np.divide(1.0, left, out=np.zeros(N), where=left > 0)  # a count is as many rows
                n = 1 / (np.square(a) @ shares)
                s = np.sqrt((n * (a @ np.square(errors)) + 5 * np.average(errors**2, weights=weights)) / (n + 5))
                lines = definition.line(query, np.eye(N), row)
                square = np.square(lines) @ shares
                assert standard_errors[i] == pytest.approx(s * np.sqrt(square), rel=1e-7)
                assert std[i] == pytest.approx(s * np.sqrt(1 + square), rel=1e-7)
                outcomes = predictions[i] + errors
                np.testing.assert_allclose(cdf[i], [a @ (outcomes <= c) for c in (12.0, 15.0, 18.0)], atol=1e-8)
                for level, found in zip([0.1, 0.6], quantiles[i], strict=True):
                    tol = 1e-9 * np.ptp(y)
                    assert a @ (outcomes < found - tol) < level + 1e-8
                    assert a @ (outcomes <= found + tol) > level - 1e-8
        low, high = end_scores(errors / stds["others"], weights, 0.8)
        intervals = model.predict_interval(make_queries(X), coverage=0.8)
        bounds = predictions[:, None] + np.outer(stds["queries"], [low, high])
        np.testing.assert_allclose(intervals, bounds, rtol=1e-9)

    def test_samples_are_predictions_and_errors(self):
        X, values = make_table()
        model = LocalLinearRegressor(bandwidths(X), **FIXED).fit(X, values)
        errors = values - model.predict(None)
        for queries in (make_queries(X), None):
            samples = model.sample_y(queries, n_samples=30) - model.predict(queries)[:, :, None]
            distances = np.abs(samples[:, :, :, None] - errors.T[None, :, None]).max(axis=1).min(axis=-1)
            assert distances.max() < 1e-9

    def test_sets(self):
        X, values = make_table(n=60)
        labels = np.where(values[:, 0] > 15, "high", "low")
        model = LocalLinearClassifier(bandwidths(X), **FIXED).fit(X, labels)
        own = 1 - model.predict_proba(None)[np.arange(60), (labels == "low") * 1]
        largest = np.sort(own)[int(np.ceil(61 * 0.8 - 1e-9)) - 1]
        for queries in (make_queries(X), None):
            probabilities = model.predict_proba(queries)
            sets = (1 - probabilities <= largest) | (probabilities == probabilities.max(axis=1, keepdims=True))
            np.testing.assert_array_equal(model.predict_set(queries, coverage=0.8), sets)

    @pytest.mark.parametrize("empty", ["mean", "nan", "raise"])
    def test_empty(self, empty):
        """A query that misses a number is empty only if its other features are far from all keys."""
        X = pd.DataFrame({"x": [0.0, 0.1, 0.2, np.nan, 0.3], "c": list("aabba")})
        y, far = np.array([1.0, 2.0, 3.0, 4.0, 6.0]), pd.DataFrame({"x": [50.0, np.nan, 0.1], "c": ["a", "b", "a"]})
        parameters = {"kernel": "boxcar", "trend": False, **FIXED}
        model = LocalLinearRegressor([0.5, 0.5], empty=empty, **parameters).fit(X, y)
        if empty == "raise":
            with pytest.raises(ValueError, match=r"^1 of 3 queries"):
                model.predict(far)
            return
        predictions, stds = model.predict(far, return_std=True)
        assert predictions[1] == pytest.approx(3.5)
        others = predictions[0], stds[0], *model.predict_cdf(far, [1.0, 3.2])[0]
        if empty == "nan":
            assert np.isnan(others).all()
        else:
            errors = y - LocalLinearRegressor([0.5, 0.5], empty="mean", **parameters).fit(X, y).predict(None)
            shares = [np.mean(3.2 + errors <= c) for c in (1.0, 3.2)]
            s = np.sqrt(np.mean(errors**2))
            np.testing.assert_allclose(others, [3.2, s * np.sqrt(1.2), *shares], rtol=1e-9)
        assert np.isfinite([predictions[2], stds[2], *model.predict_cdf(far, [1.0, 3.2])[2]]).all()
