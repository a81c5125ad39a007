"""Quantiles, distribution functions and samples: those of the definition, from rows of attention."""

import pickle

import numpy as np
import pandas as pd
import pytest
from engines import constants, engines_and_kernels, features
from oracle import attention, neighbor_attention
from samples import spread, wave, weighting
from scipy.sparse import csr_array

from sknw import LocalLinearRegressor, NadarayaWatsonRegressor, _order_tree, _quantiles
from sknw._canonical import canonical_ratio
from sknw._kernels import KERNELS

BOTH = [NadarayaWatsonRegressor, LocalLinearRegressor]
LEVELS = np.array([0.031, 0.237, 0.503, 0.9993])
LOCAL = {"n_neighbors": None, "ridge": 0.1}
each = pytest.mark.parametrize("Estimator", BOTH)


@pytest.fixture(autouse=True)
def small_trees(monkeypatch):
    """Trees of several levels from few rows."""
    monkeypatch.setattr(_order_tree, "LEAF_ROWS", 6)
    monkeypatch.setattr(_order_tree, "MOST_BINS", 3)


@pytest.fixture
def small_blocks_of_all_engines(monkeypatch):
    """Engines for many keys serve few keys too, and queries and thresholds come in small blocks."""
    monkeypatch.setattr(_order_tree, "BLOCK_SHARES", 150)
    monkeypatch.setattr(_quantiles, "BLOCK_NUMBERS", 150)
    with constants("blocks", "cells for few keys", "blocks for few keys"):
        yield


def make(Estimator, bandwidth=0.4, **parameters):
    """An estimator of a fixed width, unless other parameters are given."""
    return Estimator(bandwidth, **((LOCAL if Estimator is LocalLinearRegressor else {}) | parameters))


def inverse(shares, values, levels):
    """The least of ascending values (n,) at which cumulative shares (m, n) reach levels (k,), (m, k)."""
    positions = np.count_nonzero(shares[:, None] < np.array(levels)[:, None], axis=2)
    return values[np.minimum(positions, len(values) - 1)]


def assert_are_quantiles(found, shares, values, levels=LEVELS):
    """Quantiles (m, k) are those of the definition, or lie between those of levels 1e-9 less and more."""
    order = np.argsort(values)
    shares, values = np.cumsum(shares[:, order], axis=1), values[order]
    least, most = inverse(shares, values, levels - 1e-9), inverse(shares, values, levels + 1e-9)
    assert np.mean(least == most) > 0.9  # and then they are equal
    assert ((least <= found) & (found <= most)).all()


def assert_is_the_definition(model, y, shares, queries):
    """Quantiles and distribution functions of targets (n, t) are those of attention (m, n), at any of its rows."""
    quantiles, thresholds = model.predict_quantiles(queries, LEVELS), np.r_[y[:7, 0], 9, -9, np.inf, -np.inf]
    cdf = model.predict_cdf(queries, thresholds)
    for j, column in enumerate(y.T):
        assert_are_quantiles(quantiles[:, j], shares, column)
        assert np.isin(quantiles[:, j], column).all()
        np.testing.assert_allclose(cdf[:, j], shares @ (column[:, None] <= thresholds), rtol=0, atol=1e-9)
    assert ((cdf >= 0) & (cdf <= 1)).all()


@pytest.mark.usefixtures("small_blocks_of_all_engines")
class TestDefinition:
    @pytest.mark.parametrize(("algorithm", "kernel"), engines_and_kernels(KERNELS))
    @pytest.mark.parametrize("weights", ["none", "counts", "importances"])
    def test_engines(self, algorithm, kernel, weights, rng):
        d, weights = features(algorithm, kernel, 2), weighting(weights, 30)
        X, y, queries = (
            rng.normal(size=(30, d)),
            rng.normal(size=(30, 2 if weights is None else 1)),
            1.3 * rng.normal(size=(12, d)),
        )
        model = NadarayaWatsonRegressor(0.7, kernel=kernel, algorithm=algorithm).fit(X, y, weights)
        for asked in (queries, None):
            points = X if asked is None else asked
            shares, _ = attention(points, X, 0.7, kernel, weights, leave_one_out=asked is None)
            assert_is_the_definition(model, y, shares, asked)

    @pytest.mark.parametrize("kernel", ["gaussian", "epanechnikov"])
    @pytest.mark.parametrize("weights", ["none", "counts", "importances"])
    def test_widths_that_follow_neighbors(self, kernel, weights, rng):
        X, y, queries, weights = *np.split(rng.normal(size=(30, 6)), [2, 4], axis=1), weighting(weights, 30)
        bandwidth, ratio = spread(X), canonical_ratio(KERNELS[kernel], 2)
        for algorithm in ("blocks", "dense"):
            parameters = {"n_neighbors": 5, "kernel": kernel, "algorithm": algorithm}
            model = NadarayaWatsonRegressor(bandwidth, **parameters).fit(X, y, weights)
            for asked in (queries, None):
                points, own = X if asked is None else asked, asked is None
                shares, _ = neighbor_attention(points, X, bandwidth, ratio, 5, kernel, weights, own)
                assert_is_the_definition(model, y, shares, asked)

    @pytest.mark.parametrize("n_neighbors", [None, 5])
    @pytest.mark.parametrize("kernel", ["gaussian", "epanechnikov"])
    @pytest.mark.parametrize("weights", ["none", "counts", "importances"])
    def test_errors_of_local_lines(self, kernel, weights, n_neighbors, rng):
        X, y, queries, weights = *np.split(rng.normal(size=(30, 6)), [2, 4], axis=1), weighting(weights, 30)
        model = LocalLinearRegressor(1.0, n_neighbors=n_neighbors, ridge=0.1, kernel=kernel).fit(X, y, weights)
        errors, thresholds = y - model.predict(None), np.r_[y[:7, 0], np.inf, -np.inf]
        for asked in (queries, None):
            points, own = X if asked is None else asked, asked is None
            shares, _ = attention(points, X, 1.0, kernel, weights, own)
            if n_neighbors is not None:
                ratio = canonical_ratio(KERNELS[kernel], 2)
                shares, _ = neighbor_attention(points, X, np.ones(2), ratio, n_neighbors, kernel, weights, own)
            centres, cdf = model.predict(asked), model.predict_cdf(asked, thresholds)
            quantiles = model.predict_quantiles(asked, LEVELS) - centres[:, :, None]
            for j, column in enumerate(errors.T):
                values = (column + centres[:, [j]]) - centres[:, [j]]  # rounded as the quantiles are
                for row in range(len(points)):
                    assert_are_quantiles(quantiles[[row], j], shares[[row]], values[row])
                below = column <= thresholds[:, None] - centres[:, None, [j]]
                np.testing.assert_allclose(cdf[:, j], (below * shares[:, None]).sum(axis=2), rtol=0, atol=1e-9)


class TestQuantiles:
    @pytest.mark.parametrize(("d", "kernel"), [(1, "gaussian"), (1, "boxcar"), (2, "gaussian"), (2, "biweight")])
    def test_nodes_of_many_rows(self, d, kernel, rng, monkeypatch):
        monkeypatch.undo()
        X, y, queries = rng.normal(size=(1700, d)), rng.normal(size=(1700, 1)), rng.normal(size=(100, d))
        model = NadarayaWatsonRegressor(0.2, kernel=kernel).fit(X, y[:, 0])
        shares, _ = attention(queries, X, 0.2, kernel)
        assert_are_quantiles(model.predict_quantiles(queries, LEVELS), shares, y[:, 0])
        np.testing.assert_allclose(model.predict_cdf(queries, 0.0), shares @ (y <= 0)[:, 0], rtol=0, atol=1e-9)
        quantiles, cdf = model.predict_quantiles(None, LEVELS), model.predict_cdf(None, 0.0)
        for row in range(0, 1700, 40):
            others = np.arange(1700) != row
            shares, _ = attention(X[[row]], X[others], 0.2, kernel)
            assert_are_quantiles(quantiles[[row]], shares, y[others, 0])
            np.testing.assert_allclose(cdf[row], shares[0] @ (y <= 0)[others, 0], rtol=0, atol=1e-9)

    def test_average_pooling(self, rng):
        X, y = rng.normal(size=(37, 2)), rng.normal(size=37)
        expected = np.quantile(y, LEVELS, method="inverted_cdf")
        for parameters in ({"kernel": "constant"}, {"bandwidth": np.inf}):
            found = NadarayaWatsonRegressor(**parameters).fit(X, y).predict_quantiles(X[:3], LEVELS)
            np.testing.assert_array_equal(found, np.tile(expected, (3, 1)))

    @pytest.mark.parametrize("algorithm", ["sorted", "blocks", "dense"])
    @pytest.mark.parametrize("tol", [0, 1e-10])
    def test_levels_that_shares_equal(self, algorithm, tol):
        """Ten neighbours: the median is the fifth of them, however sums are rounded."""
        X, y = np.arange(60.0)[:, None], np.random.default_rng(0).permutation(60) * 1.0
        parameters = {"kernel": "boxcar", "algorithm": algorithm, "tol": tol}
        queries = np.arange(4.5, 55)[:, None]
        found = NadarayaWatsonRegressor(5, **parameters).fit(X, y).predict_quantiles(queries, [0.1, 0.3, 0.5, 0.7, 0.9])
        windows = np.sort(np.lib.stride_tricks.sliding_window_view(y, 10), axis=1)
        np.testing.assert_array_equal(found, windows[:, [0, 2, 4, 6, 8]])

    @each
    def test_counts_are_repetitions(self, Estimator, rng):
        X, y, counts = rng.normal(size=(30, 2)), rng.normal(size=30), rng.integers(0, 4, size=30)
        counted = make(Estimator, 0.7).fit(X, y, counts)
        repeated = make(Estimator, 0.7).fit(X.repeat(counts, axis=0), y.repeat(counts))
        for asked, same in ((X, X), (None, None)):
            one, other = counted.predict_quantiles(asked, LEVELS), repeated.predict_quantiles(same, LEVELS)
            one = one if asked is not None else one.repeat(counts, axis=0)
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-9)
            one, other = counted.predict_cdf(asked, [0.1, 0.2]), repeated.predict_cdf(same, [0.1, 0.2])
            one = one if asked is not None else one.repeat(counts, axis=0)
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-9)

    @each
    def test_monotone_and_the_inverse_of_the_distribution_function(self, Estimator):
        X, y = wave(n=50)
        model, levels, queries = make(Estimator).fit(X, y), np.linspace(0.013, 0.987, 9), X[:10] + 0.1
        quantiles, each = model.predict_quantiles(queries, levels), np.arange(10)
        assert (np.diff(quantiles, axis=1) >= 0).all()
        for level, thresholds in zip(levels, quantiles.T, strict=True):
            assert (model.predict_cdf(queries, thresholds + 1e-12)[each, each] >= level - 1e-9).all()
            assert (model.predict_cdf(queries, thresholds - 1e-12)[each, each] < level + 1e-9).all()

    @each
    def test_distribution_function_in_any_order_of_thresholds(self, Estimator):
        X, y = wave(n=50)
        model, thresholds = make(Estimator).fit(X, y), np.array([0.3, np.inf, -0.5, 0.3, -np.inf, 0.1])
        cdf = model.predict_cdf(X, thresholds)
        assert (np.diff(cdf[:, np.argsort(thresholds)], axis=1) >= 0).all()
        np.testing.assert_allclose(cdf[:, 0], cdf[:, 3], rtol=0, atol=1e-14)
        np.testing.assert_array_equal(cdf[:, [1, 4]], np.tile([1.0, 0.0], (50, 1)))

    @each
    def test_order_of_rows(self, Estimator, rng):
        X, y = wave(n=50)
        order, queries = rng.permutation(50), X[:9] + 0.1
        one, other = make(Estimator).fit(X, y), make(Estimator).fit(X[order], y[order])
        args = queries, LEVELS
        np.testing.assert_allclose(one.predict_quantiles(*args), other.predict_quantiles(*args), rtol=0, atol=1e-9)
        one, other = one.predict_quantiles(None, LEVELS)[order], other.predict_quantiles(None, LEVELS)
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-9)

    @each
    def test_shapes(self, Estimator):
        X, y = wave(n=30)
        one, two = make(Estimator).fit(X, y), make(Estimator).fit(X, np.column_stack([y, -y]))
        for queries, m in ((X[:4], 4), (pd.DataFrame(X[:4]), 4), (csr_array(X[:4]), 4), (None, 30)):
            for model, shape in ((one, (m,)), (two, (m, 2))):
                assert model.predict_quantiles(queries).shape == (*shape, 3)
                assert model.predict_quantiles(queries, 0.4).shape == shape
                assert model.predict_cdf(queries, [0.1]).shape == (*shape, 1)
                assert model.predict_cdf(queries, 0.1).shape == shape
                assert model.sample_y(queries).shape == (*shape, 1)
        for method, *args in (("predict_quantiles",), ("predict_cdf", [0.1, -0.2])):
            found, expected = getattr(two, method)(X, *args)[:, 0], getattr(one, method)(X, *args)
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)

    @each
    def test_sparse_queries_are_the_same(self, Estimator, monkeypatch):
        monkeypatch.setattr("sknw._inputs.DENSE_NUMBERS", 14)
        X, y = wave(n=30)
        model = make(Estimator, 0.3, kernel="epanechnikov", empty="mean").fit(X, y)
        queries = np.r_[X, X + 1]
        for method, *args in (("predict_quantiles",), ("predict_cdf", [0.1, 0.2]), ("sample_y", 3)):
            one, other = getattr(model, method)(queries, *args), getattr(model, method)(csr_array(queries), *args)
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-9)


class TestEdges:
    @pytest.mark.parametrize("kernel", ["gaussian", "exponential", "epanechnikov"])
    def test_far_queries(self, kernel, rng):
        X, y, queries = rng.normal(size=(40, 1)), rng.normal(size=40), np.array([[-1e6], [1e6], [3e5]])
        model = NadarayaWatsonRegressor(0.5, kernel=kernel).fit(X, y)
        with np.errstate(over="ignore", under="ignore"):
            shares = model.attention_weights(queries)
        assert_are_quantiles(model.predict_quantiles(queries, LEVELS), shares, y)
        np.testing.assert_allclose(model.predict_cdf(queries, 0.1), shares @ (y <= 0.1), rtol=0, atol=1e-9)

    @each
    @pytest.mark.parametrize("empty", ["nearest", "mean", "nan"])
    def test_empty_neighborhoods(self, Estimator, empty):
        """Among other queries, and in leave-one-out, where a row alone has no neighbour."""
        X, y = wave(n=40, d=1)
        X[3], queries = 9.0, np.array([[0.1], [6.0], [0.2], [-30.0]])
        model = make(Estimator, 0.5, kernel="epanechnikov", empty=empty).fit(X, y)
        lines = Estimator is LocalLinearRegressor
        values = (
            y
            - make(Estimator, 0.5, kernel="epanechnikov", empty=empty.replace("nan", "nearest")).fit(X, y).predict(None)
            if lines
            else y
        )
        for asked, rows in ((queries, [1, 3]), (None, [3])):
            points = X if asked is None else queries
            shares, are_empty = attention(points, X, 0.5, "epanechnikov", None, asked is None)
            np.testing.assert_array_equal(np.flatnonzero(are_empty), rows)
            if empty == "mean":
                shares[rows] = (1 - np.eye(40) * (asked is None))[: len(points)][rows]
                shares /= shares.sum(axis=1, keepdims=True)
            centres = model.predict(asked)[:, None] if lines else 0.0
            found, cdf = model.predict_quantiles(asked, LEVELS) - centres, model.predict_cdf(asked, [0.1])
            samples = model.sample_y(asked, 3) - centres
            if empty == "nan":
                assert np.isnan(np.hstack([found[rows], cdf[rows], samples[rows]])).all()
            full = np.delete(np.arange(len(points)), rows if empty == "nan" else [])
            for row in full:
                centre = centres[row] if lines else 0.0
                assert_are_quantiles(found[[row]], shares[[row]], (values + centre) - centre)
                np.testing.assert_allclose(cdf[row], shares[row] @ (values <= 0.1 - centre), rtol=0, atol=1e-9)
                chosen = np.abs(samples[row][:, None] - values) < 1e-12
                assert (shares[row] * chosen).any(axis=1).all()

    @each
    def test_empty_neighborhoods_raise(self, Estimator):
        X, y = wave(n=40, d=1)
        model = make(Estimator, 0.5, kernel="epanechnikov", empty="raise").fit(X, y)
        for method, *args in (("predict_quantiles",), ("predict_cdf", [0.1]), ("sample_y",)):
            with pytest.raises(ValueError, match="1 of 2 queries have no training point"):
                getattr(model, method)([[0.0], [9.0]], *args)

    def test_one_row(self):
        model = NadarayaWatsonRegressor().fit([[1.0]], [3.0])
        np.testing.assert_array_equal(model.predict_quantiles([[0.0], [9.0]]), np.full((2, 3), 3.0))
        np.testing.assert_array_equal(model.predict_cdf([[0.0]], [2, 3, 4]), [[0.0, 1.0, 1.0]])
        np.testing.assert_array_equal(model.sample_y([[0.0]], 2), [[3.0, 3.0]])

    @each
    def test_leave_one_out_of_one_row(self, Estimator):
        model, lines = make(Estimator).fit([[1.0]], [3.0]), Estimator is LocalLinearRegressor
        for queries in ([[0.0]], None) if lines else (None,):
            for method, *args in (("predict_quantiles",), ("predict_cdf", [0.1]), ("sample_y",)):
                with pytest.raises(ValueError, match=r"at least two samples of positive weight.*n_samples=1"):
                    getattr(model, method)(queries, *args)

    @each
    def test_constant_target(self, Estimator, rng):
        X = rng.normal(size=(30, 2))
        model = make(Estimator).fit(X, np.full(30, 2.5))
        for queries in (X + 0.1, None):
            np.testing.assert_array_equal(model.predict_quantiles(queries), np.full((30, 3), 2.5))
            np.testing.assert_array_equal(model.predict_cdf(queries, [2, 2.5, 3]), np.tile([0.0, 1.0, 1.0], (30, 1)))

    def test_tied_targets(self, rng):
        X, y = rng.normal(size=(60, 1)), rng.integers(0, 3, size=60) * 1.0
        model = NadarayaWatsonRegressor(0.3).fit(X, y)
        shares = attention(X + 0.1, X, 0.3)[0]
        assert_are_quantiles(model.predict_quantiles(X + 0.1, LEVELS), shares, y)
        expected = shares @ (y[:, None] <= [0, 1, 2])
        np.testing.assert_allclose(model.predict_cdf(X + 0.1, [0, 1, 2]), expected, rtol=0, atol=1e-9)

    @pytest.mark.parametrize("level", [1e-12, 1e-9])
    def test_the_lowest_levels_are_among_the_neighbors(self, level):
        X = np.arange(60.0)[:, None]
        model = NadarayaWatsonRegressor(2.0, kernel="epanechnikov", algorithm="dense").fit(X, X[:, 0])
        np.testing.assert_array_equal(model.predict_quantiles(X[20:30], level), np.arange(19.0, 29))


class TestSamples:
    @each
    def test_random_state(self, Estimator):
        X, y = wave(n=40)
        model = make(Estimator).fit(X, y)
        one = model.sample_y(X, 4, random_state=7)
        np.testing.assert_array_equal(one, model.sample_y(X, 4, random_state=7))
        np.testing.assert_array_equal(one, model.sample_y(X, 4, random_state=np.random.RandomState(7)))
        assert (one != model.sample_y(X, 4, random_state=8)).any()
        assert (model.sample_y(X, 4, None) != model.sample_y(X, 4, None)).any()

    def test_frequencies_are_attention(self, rng):
        """Within five standard errors, for queries and in leave-one-out."""
        X, y, n = rng.normal(size=(12, 1)), np.arange(12.0), 4000
        model = NadarayaWatsonRegressor(0.5).fit(X, y, rng.integers(1, 3, size=12))
        for queries in (X[:3] + 0.2, None):
            shares, samples = model.attention_weights(queries), model.sample_y(queries, n)
            frequencies = (samples[:, :, None] == y).mean(axis=1)
            assert (np.abs(frequencies - shares) <= 5 * np.sqrt(shares / n) + 1e-12).all()

    @each
    def test_mean_is_the_prediction(self, Estimator):
        X, y = wave(n=60, d=1)
        model, n = make(Estimator).fit(X, y), 2000
        for queries in (X[:10] + 0.05, None):
            samples, expected = model.sample_y(queries, n), model.predict(queries)
            if Estimator is LocalLinearRegressor:  # plus the mean of the errors
                shares = attention(X if queries is None else queries, X, 0.4, "gaussian", None, queries is None)[0]
                expected = expected + shares @ (y - model.predict(None))
            error = samples.std(axis=1) / np.sqrt(n)
            assert (np.abs(samples.mean(axis=1) - expected) <= 5 * error).all()

    @each
    def test_outputs_are_joint(self, Estimator):
        X, y = wave(n=40)
        model = make(Estimator).fit(X, np.column_stack([y, 2 * y]))
        for queries in (X + 0.1, None):
            samples = model.sample_y(queries, 6)
            np.testing.assert_allclose(samples[:, 1], 2 * samples[:, 0], rtol=0, atol=1e-12)

    def test_samples_of_empty_queries_are_independent(self):
        X, y = wave(n=40, d=1)
        model = NadarayaWatsonRegressor(0.5, kernel="epanechnikov", empty="mean").fit(X, y)
        samples = model.sample_y(np.full((20, 1), 99.0), 2)
        assert len(np.unique(samples)) > 10


class TestConventions:
    @each
    def test_pickles_answer_alike(self, Estimator):
        X, y = wave(n=40)
        model = make(Estimator).fit(X, y)
        before = pickle.loads(pickle.dumps(model))
        calls = ("predict_quantiles", None), ("predict_cdf", None, [0.1, 0.2]), ("sample_y", X, 3)
        found = [getattr(model, method)(*args) for method, *args in calls]
        for copied in (before, pickle.loads(pickle.dumps(model)), model):
            for (method, *args), expected in zip(calls, found, strict=True):
                np.testing.assert_allclose(getattr(copied, method)(*args), expected, rtol=0, atol=1e-14)

    @each
    def test_threads(self, Estimator):
        X, y = wave(n=40)
        one, two = make(Estimator).fit(X, y), make(Estimator, n_jobs=2).fit(X, y)
        np.testing.assert_array_equal(one.predict_quantiles(X), two.predict_quantiles(X))
        np.testing.assert_array_equal(one.predict_cdf(X, [0.1]), two.predict_cdf(X, [0.1]))

    @each
    def test_errors(self, Estimator):
        X, y = wave(n=20)
        model = make(Estimator).fit(X, y)
        for wrong in (0, 1, [0.5, 1.5], [-0.1], np.nan):
            with pytest.raises(ValueError, match=f"quantiles must be between 0 and 1, got {np.ravel(wrong)[-1]:g}"):
                model.predict_quantiles(X, wrong)
        for wrong, shape in (([], r"\(0,\)"), ([[0.1]], r"\(1, 1\)")):
            with pytest.raises(ValueError, match=f"quantiles must be a number .* got shape {shape}"):
                model.predict_quantiles(X, wrong)
            with pytest.raises(ValueError, match=f"thresholds must be a number .* got shape {shape}"):
                model.predict_cdf(X, wrong)
        with pytest.raises(ValueError, match="thresholds must not be nan"):
            model.predict_cdf(X, [0.0, np.nan])
        with pytest.raises(ValueError, match="n_samples == 0, must be >= 1"):
            model.sample_y(X, 0)
        with pytest.raises(TypeError, match="n_samples must be an instance of int"):
            model.sample_y(X, 1.5)
        with pytest.raises(ValueError, match="features"):
            model.predict_quantiles(X[:, :1])
