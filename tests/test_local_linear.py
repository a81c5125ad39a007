"""The local linear estimators: predictions are those of the definition, and what is learned is what should be."""

import json
from pathlib import Path

import numpy as np
import pytest
from oracle import local_line, without_unit
from samples import SCATTER, spread, wave, weighting
from sklearn.linear_model import RidgeCV

from sknw import (
    LocalLinearClassifier,
    LocalLinearRegressor,
    NadarayaWatsonClassifier,
    NadarayaWatsonRegressor,
    _lines,
)
from sknw._engines import ENGINES
from sknw._kernels import KERNELS
from sknw._trend import RidgeTrend, choose_penalties

DATA = Path(__file__).parent / "data"
CASES = json.loads((DATA / "np_local_linear.json").read_text())["cases"]
DATASETS = json.loads((DATA / "np_local_constant.json").read_text())["datasets"]

BOTH = [LocalLinearRegressor, LocalLinearClassifier]
RIDGES = [0.0, 1e-3, 0.1, np.inf]
each = pytest.mark.parametrize("Estimator", BOTH)
every_kernel = pytest.mark.parametrize("kernel", KERNELS)
every_weighting = pytest.mark.parametrize("weights", ["none", "counts", "importances"])
fixed = {"n_neighbors": None, "ridge": 0.1}


def without_trend(Estimator, *args, **parameters):
    """An estimator whose slopes are shrunk to zero."""
    return Estimator(*args, trend=False, **parameters)


def probabilities(model):
    """The method that returns numbers."""
    return getattr(model, "predict_proba", model.predict)


def expected(model, X, values, weights=None, queries=None, rows=None):
    """Predictions of the definition: regressor, or classifier with one-hot values; leave-one-out without queries."""
    weights = np.ones(len(X)) if weights is None else weights
    points = X if queries is None else queries
    found, penalties, fit = np.empty((len(points), values.shape[1])), getattr(model, "_penalties", None), None
    if isinstance(model, LocalLinearClassifier):
        fit = model._logistic
    left_out = 0.0 if fit is None else np.where(np.isnan(fit.left_out), fit(X), fit.left_out)
    for i in range(len(points)) if rows is None else rows:
        row = i if queries is None else None
        left = weights if row is None else without_unit(weights, row)
        parameters = {"kernel": model.kernel, "weights": weights, "n_neighbors": model.n_neighbors_, "row": row}
        line = local_line(
            points[i], X, values - left_out, model.bandwidth_, model.ridge_, penalties=penalties, **parameters
        )
        if fit is not None:
            line += fit(points[[i]])[0] if queries is not None else left_out[i]
        if isinstance(model, LocalLinearClassifier):
            positive = np.maximum(line, 0)
            prior = left @ values / left.sum()
            found[i] = (1 - model.prior_share_) * positive / positive.sum() + model.prior_share_ * prior
        else:
            found[i] = np.clip(line, values[left > 0].min(axis=0), values[left > 0].max(axis=0))
    return found if rows is None else found[rows]


def assert_is_the_definition(models, X, values, weights=None, queries=None, rows=None, tol=1e-9):
    """Predictions for queries, and in leave-one-out, err by at most `tol` of the range of the values.

    The models, or the model, differ only in their algorithm.
    """
    models, span = models if isinstance(models, list) else [models], np.ptp(values, axis=0)
    for asked, which in ((queries, slice(None)), (None, slice(None) if rows is None else rows)):
        found = expected(models[0], X, values, weights, asked, None if asked is not None else rows)
        for model in models:
            got = probabilities(model)(asked)
            assert (np.abs(got.reshape(len(got), -1)[which] - found) <= tol * span).all()


def engines_of(kernel, d, n_neighbors):
    """The values of `algorithm` that apply."""
    able = [name for name, engine in ENGINES.items() if engine.supports(KERNELS[kernel], d)]
    return ["auto", *(name for name in able if n_neighbors is None or ENGINES[name].takes_scales)]


class TestDefinition:
    @pytest.mark.parametrize("scatter", ["lattice", "duplicates", "heavy", "clusters", "outlier"])
    @pytest.mark.parametrize("n_neighbors", [None, 5])
    @pytest.mark.parametrize("ridge", [1e-3, 0.1])
    def test_scattered_keys(self, scatter, n_neighbors, ridge):
        for d, weights in [(1, "none"), (2, "counts"), (4, "importances")]:
            rng = np.random.default_rng(d)
            X, values, weights = SCATTER[scatter](rng, 50, d), rng.normal(size=(50, 2)), weighting(weights, 50)
            model = LocalLinearRegressor(spread(X), n_neighbors=n_neighbors, ridge=ridge).fit(X, values, weights)
            assert_is_the_definition(model, X, values, weights, X[:9] + 0.1)

    @pytest.mark.parametrize("n_neighbors", [None, 100])
    @pytest.mark.parametrize("kernel", ["gaussian", "epanechnikov"])
    @pytest.mark.parametrize("d", [1, 2])
    def test_many_keys(self, d, kernel, n_neighbors):
        rng = np.random.default_rng(d)
        X, weights, rows = rng.normal(size=(4500, d)), rng.integers(0, 3, size=4500) * 1.0, np.arange(0, 4500, 500)
        values, queries = np.column_stack([np.sin(3 * X[:, 0]), rng.normal(size=4500)]), X + 0.01
        parameters = {"n_neighbors": n_neighbors, "kernel": kernel, "ridge": 1e-3 * (kernel == "gaussian")}
        for algorithm in engines_of(kernel, d, n_neighbors):
            model = LocalLinearRegressor(0.4, algorithm=algorithm, **parameters).fit(X, values, weights)
            for asked in (queries, None):
                found = expected(model, X, values, weights, asked, rows)
                np.testing.assert_allclose(model.predict(asked)[rows], found, rtol=0, atol=1e-9 * np.ptp(values))

    @pytest.mark.parametrize("algorithm", ["auto", "sorted", "blocks", "dense"])
    @pytest.mark.parametrize("sentinel", [1e9, -1e9])
    @pytest.mark.parametrize("ridge", [0.0, 0.1])
    def test_a_sentinel_does_not_spoil_others(self, sentinel, ridge, algorithm):
        rng = np.random.default_rng(0)
        X, rows = rng.normal(size=(1000, 1)), np.arange(0, 1000, 50)
        y = np.sin(3 * X)
        X[7] = sentinel
        model = LocalLinearRegressor(0.3, n_neighbors=None, ridge=ridge, trend=False, algorithm=algorithm).fit(X, y)
        assert_is_the_definition(model, X, y, None, X[rows] + 0.01, rows)

    @pytest.mark.parametrize("constant", ["BLOCK_NUMBERS", "MOST_NUMBERS"])
    @pytest.mark.parametrize("ridge", RIDGES)
    def test_moments_from_attention(self, constant, ridge, monkeypatch):
        """Their blocks, and both reasons for them, with a trend of features that lines ignore."""
        monkeypatch.setattr(_lines, constant, 2)
        X, y = wave(n=30, d=3)
        model = LocalLinearRegressor([1, np.inf, 2], n_neighbors=None, ridge=ridge).fit(X, y)
        assert_is_the_definition(model, X, y[:, None], None, X[:5] + 0.1)

    @pytest.mark.parametrize("kernel", ["gaussian", "cauchy", "tricube"])
    @pytest.mark.parametrize("n_neighbors", [None, 5])
    @every_weighting
    @pytest.mark.parametrize("ridge", RIDGES)
    @pytest.mark.parametrize("trend", [True, False])
    def test_probabilities(self, trend, ridge, weights, n_neighbors, kernel):
        rng = np.random.default_rng(0)
        X, labels, weights = rng.normal(size=(60, 2)), rng.integers(0, 3, size=60), weighting(weights, 60)
        labels[:3] = [0, 1, 2]
        parameters = {"n_neighbors": n_neighbors, "ridge": ridge, "trend": trend, "kernel": kernel}
        model = LocalLinearClassifier(1.5, **parameters).fit(X, labels, weights)
        assert model.trend_ == trend
        assert_is_the_definition(model, X, np.eye(3)[labels], weights, 2 * X[:9] + 0.1)

    @each
    @pytest.mark.parametrize("kernel", ["gaussian", "cauchy", "tricube"])
    def test_an_infinite_ridge_is_nadaraya_watson(self, kernel, Estimator):
        X, y = wave(n=80)
        for n_neighbors in (None, 4):
            parameters = {"n_neighbors": n_neighbors, "kernel": kernel}
            model = without_trend(Estimator, 0.5, ridge=np.inf, **parameters)
            Reference = NadarayaWatsonRegressor if Estimator is LocalLinearRegressor else NadarayaWatsonClassifier
            targets = y if Estimator is LocalLinearRegressor else y > 0
            model, reference = model.fit(X, targets), Reference(0.5, **parameters).fit(X, targets)
            for queries in (X, None, 5 * X):
                found, share = probabilities(reference)(queries), getattr(model, "prior_share_", 0.0)
                if share:
                    one_hot, left = np.eye(2)[targets * 1], 1 - (queries is None) / 80
                    found = (1 - share) * found + share * (one_hot.mean(axis=0) - (1 - left) * one_hot) / left
                np.testing.assert_allclose(probabilities(model)(queries), found, rtol=0, atol=1e-12 * np.ptp(y))


class TestTrend:
    @every_weighting
    def test_penalties_are_those_of_ridge_regression(self, weights):
        X, y = wave(n=50, d=3)
        weights = weighting(weights, 50)
        repeats = np.ones(50) if weights is None else weights
        kept = repeats > 0
        centre = np.average(X, axis=0, weights=repeats)
        z = (X - centre) / np.sqrt(np.average(np.square(X - centre), axis=0, weights=repeats))
        n = kept.sum()
        reference = RidgeCV(np.logspace(-6, 3, 19) * n)
        reference.fit(z[kept], y[kept], sample_weight=repeats[kept] / repeats.sum() * n)
        penalties = choose_penalties(X, y[:, None], repeats)
        assert penalties == pytest.approx(reference.alpha_ / n)
        trend = RidgeTrend(X, y[:, None], repeats / repeats.sum(), penalties, np.zeros(50))
        np.testing.assert_allclose(trend(X)[:, 0], reference.predict(z), rtol=1e-9)

    def test_far_from_all_keys_a_trend_remains(self):
        rng = np.random.default_rng(0)
        X = np.r_[rng.normal(size=(100, 1)), [[-100.0], [100.0]]]
        y = X[:, 0] + 0.1 * rng.normal(size=102)
        with_trend, without = (
            LocalLinearRegressor(0.3, n_neighbors=None, ridge=10.0, trend=trend).fit(X, y).predict([[50.0]])
            for trend in (True, False)
        )
        assert abs(with_trend - 50) < 1 < abs(without - 50)

    def test_the_learned_penalty_is_large_without_a_trend(self, rng):
        X, y = rng.normal(size=(200, 5)), rng.normal(size=200)
        assert LocalLinearRegressor(1.0, **fixed).fit(X, y)._penalties[0] >= 1
        assert LocalLinearRegressor(1.0, **fixed).fit(X, X @ [1, 2, 3, 4, 5])._penalties[0] < 1e-5


class TestExactLines:
    @pytest.mark.parametrize("d", [1, 2, 5, 45])
    @pytest.mark.parametrize("offset", [0.0, 1e8])
    @pytest.mark.parametrize("n_neighbors", [None, 60])
    @pytest.mark.parametrize("trend", [True, False])
    def test_a_linear_y_is_reproduced(self, trend, n_neighbors, offset, d):
        rng = np.random.default_rng(d)
        X, slopes = np.round(rng.normal(size=(200, d)) * 64) / 64 + offset, rng.normal(size=(d, 2))
        y = (X - offset) @ slopes
        model = LocalLinearRegressor(3.0 * d, n_neighbors=n_neighbors, ridge=0, trend=trend).fit(X, y)
        queries = offset + (X - offset)[:50] / 2
        np.testing.assert_allclose(model.predict(queries), (queries - offset) @ slopes, atol=1e-10 * np.ptp(y))
        inside = ((y > np.sort(y, axis=0)[1]) & (y < np.sort(y, axis=0)[-2])).all(axis=1)
        np.testing.assert_allclose(model.predict(None)[inside], y[inside], atol=1e-10 * np.ptp(y))

    @pytest.mark.parametrize("kernel", ["gaussian", "cauchy", "epanechnikov"])
    def test_a_line_across_a_gap(self, kernel):
        X = np.r_[np.linspace(0, 1, 20), np.linspace(9, 10, 20)][:, None]
        model = LocalLinearRegressor(0.5, n_neighbors=None, ridge=0, kernel=kernel).fit(X, 3 * X[:, 0])
        queries = np.array([[1.2], [8.8]])
        np.testing.assert_allclose(model.predict(queries), 3 * queries[:, 0], atol=1e-9)

    @pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
    def test_lines_in_60_digits(self, case):
        """The fits of R np 0.70, evaluated in 60 digits."""
        data = {name: np.array(column) for name, column in DATASETS[case["dataset"]].items()}
        X, y = np.column_stack([data[name] for name in case["x"]]), data[case["y"]]
        unit = 5**0.5 if case["kernel"] == "epanechnikov" else 1.0  # np's has unit variance
        parameters = {"n_neighbors": None, "ridge": 0, "trend": False, "kernel": case["kernel"]}
        model = LocalLinearRegressor(unit * np.array(case["h"]), **parameters).fit(X, y)
        queries = np.array(case["x_eval"]).reshape(-1, X.shape[1])
        exact = np.array(case["pred_mp"], dtype=float)  # nan where there are too few keys for a line
        clipped = np.clip(exact, y.min(), y.max())
        known = np.isfinite(exact)
        np.testing.assert_allclose(model.predict(queries)[known], clipped[known], rtol=0, atol=1e-8 * np.ptp(y))
        assert (clipped == exact).mean() > 0.8


@pytest.mark.usefixtures("small_blocks", "small_problems")  # until the end of the module, so this class is the last
class TestFewKeys:
    @pytest.mark.parametrize("d", [1, 2])
    @pytest.mark.parametrize("n_neighbors", [None, 5])
    @every_kernel
    def test_definition(self, kernel, n_neighbors, d):
        """Kernels x engines x widths; each ridge with other weights, and with a trend or without."""
        rng = np.random.default_rng(d)
        X, queries, values = rng.normal(size=(30, d)), rng.normal(size=(5, d)), rng.normal(size=(30, 2))
        queries[0], bandwidth = X[0], rng.uniform(1.5, 4, size=d)
        for i, name in enumerate(["none", "counts", "importances", "counts", "importances", "none"]):
            ridge, trend, weights = RIDGES[i % 4], i % 3 > 0, weighting(name, 30)
            parameters = {"n_neighbors": n_neighbors, "kernel": kernel, "ridge": ridge, "trend": trend}
            models = [
                LocalLinearRegressor(bandwidth, algorithm=algorithm, **parameters).fit(X, values, weights)
                for algorithm in engines_of(kernel, d, n_neighbors)
            ]
            assert_is_the_definition(models, X, values, weights, queries)
