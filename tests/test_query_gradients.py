"""Gradients by the query: those of the definition, those of differences of predictions, and what does not matter."""

import json
import pickle
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from engines import constants, engines_and_kernels, features
from oracle import local_line, query_gradients, without_unit
from samples import HARD_CASES, SCATTER, has_key_at_edge, spread, wave, weighting
from scipy import sparse
from sklearn.base import clone

from sknw import Kernel, LocalLinearRegressor, NadarayaWatsonRegressor, _gradients, _mean_gradients
from sknw._kernels import KERNELS

SLOPED = [name for name, kernel in KERNELS.items() if kernel.log_slope is not None]
PAIRS = engines_and_kernels(SLOPED)
DATA = Path(__file__).parent / "data"
NP = json.loads((DATA / "np_local_constant.json").read_text())
CASES = json.loads((DATA / "np_gradients.json").read_text())["cases"]

pytestmark = pytest.mark.usefixtures("small_problems")
each_pair = pytest.mark.parametrize(("algorithm", "kernel"), PAIRS)
every_weighting = pytest.mark.parametrize("weights", ["none", "counts", "importances"])


def both(**parameters):
    """An estimator of each kind, with a bandwidth that suits `problem`."""
    return [NadarayaWatsonRegressor(0.8, **parameters), LocalLinearRegressor(0.8, **{"ridge": 0.1, **parameters})]


def problem(n=60, d=2, seed=0):
    """X (n, d), two targets, and queries."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    values = np.column_stack([np.sin(X[:, 0]) + X[:, -1] + 10, rng.normal(size=n)])
    return X, values, 0.7 * rng.normal(size=(25, d))


def assert_is_the_definition(model, X, values, weights, queries, tol=1e-9):
    """Gradients for queries, and in leave-one-out, err by at most `tol` times the range of values over bandwidths."""
    for asked in (queries, None):
        points = X if asked is None else asked
        expected = query_gradients(points, X, values, model.bandwidth_, model.kernel, weights, asked is None)
        found = model.gradients(asked).reshape(expected.shape)
        units = np.where(np.isfinite(model.bandwidth_), model.bandwidth_, 1.0) / np.ptp(values, axis=0)[:, None]
        assert np.abs((found - expected) * units).max() <= tol


def differences(function, queries, step=1e-4):
    """Derivatives (m, n_values, d) of a function of queries, by differences whose error is of order step^4."""
    found = []
    for unit in step * np.eye(queries.shape[1]):
        near, far = (function(queries + k * unit) - function(queries - k * unit) for k in (1, 2))
        found.append((8 * near - far) / (12 * step))
    return np.stack(found, axis=-1)


class TestMeans:
    @each_pair
    @every_weighting
    def test_definition(self, algorithm, kernel, weights, monkeypatch):
        """By columns, if the kernel allows it, and with all of these unresolved."""
        X, values, queries = problem(d=features(algorithm, kernel, 3))
        bandwidth = np.array([1.0, 0.8, 1.3])[: X.shape[1]] * (2.5 if KERNELS[kernel].compact else 0.6)
        sample_weight = weighting(weights, len(X))
        model = NadarayaWatsonRegressor(bandwidth, kernel=kernel, algorithm=algorithm)
        assert_is_the_definition(model.fit(X, values, sample_weight), X, values, sample_weight, queries)
        monkeypatch.setattr(_mean_gradients, "LARGEST_RATIO", 0.5)
        assert_is_the_definition(model, X, values, sample_weight, queries)
        single = clone(model).fit(X, values[:, 1], sample_weight)
        for asked in (queries, None):
            found = model.gradients(asked)[:, 1]
            np.testing.assert_allclose(single.gradients(asked), found, rtol=0, atol=1e-9 * np.ptp(values))

    @pytest.mark.parametrize("kernel", SLOPED)
    @pytest.mark.parametrize("scatter", SCATTER)
    def test_scattered_keys(self, scatter, kernel):
        """Clusters 1e6 apart and an outlier at 1e9 are among them, and lattices with keys at the edge of supports."""
        for d in (1, 2):
            rng = np.random.default_rng(d)
            X, values = SCATTER[scatter](rng, 50, d), rng.normal(size=(50, 1))
            model = NadarayaWatsonRegressor(spread(X), kernel=kernel).fit(X, values)
            at_edge = has_key_at_edge(X, model.bandwidth_, kernel, 1e-9)
            if not at_edge.any():
                assert_is_the_definition(model, X, values, None, X + 0.1 * spread(X))

    @pytest.mark.parametrize("name", HARD_CASES)
    @pytest.mark.parametrize("kernel", ["gaussian", "cauchy"])
    def test_hard_cases_are_finite(self, name, kernel):
        keys, queries, bandwidth = HARD_CASES[name]
        y = np.random.default_rng(0).normal(size=len(keys))
        for n_neighbors in (None, 3):
            for Estimator, parameters in ((NadarayaWatsonRegressor, {}), (LocalLinearRegressor, {"ridge": 0.1})):
                model = Estimator(bandwidth, kernel=kernel, n_neighbors=n_neighbors, **parameters).fit(keys, y)
                assert np.isfinite(model.gradients(np.repeat(queries, 4, axis=0))).all()
                assert np.isfinite(model.gradients(None)).all()

    @pytest.mark.parametrize("kernel", ["gaussian", "epanechnikov", "biweight", "triweight"])
    def test_columns_are_clipped_and_cut(self, kernel, monkeypatch):
        """Queries beyond the reach of columns, and groups of features, outputs and queries."""
        monkeypatch.setattr(_mean_gradients, "REACH", 30.0)
        X, values, queries = problem(n=200, d=3)
        X[::2] += [20, 0, 0]
        X[0] = 1e9
        model = NadarayaWatsonRegressor([1.0, np.inf, 2.0], kernel=kernel).fit(X, values)
        for numbers in (900, 250):
            monkeypatch.setattr(_mean_gradients, "MOST_NUMBERS", numbers)
            assert_is_the_definition(model, X, values, None, np.r_[queries, queries + 20 * np.eye(3)[0], X + 0.1])

    @pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
    def test_r_np(self, case):
        fit = next(fit for fit in NP["cases"] if fit["dataset"] == case["dataset"])
        data = {name: np.array(column) for name, column in NP["datasets"][case["dataset"]].items()}
        X, y = np.column_stack([data[name] for name in fit["x"]]), data[fit["y"]]
        bandwidth = np.array(case["h"]) * (5**0.5 if case["kernel"] == "epanechnikov" else 1.0)  # of unit variance
        model = NadarayaWatsonRegressor(bandwidth, kernel=case["kernel"]).fit(X, y)
        expected = np.array(case["grad"]).reshape(-1, X.shape[1])
        found = model.gradients(np.array(fit["x_eval"]).reshape(expected.shape))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * expected.std())

    def test_effects_of_an_exact_line(self):
        """By lines, and in the middle of a lattice by means."""
        X = np.indices((21, 21)).reshape(2, -1).T / 20
        lines = LocalLinearRegressor(0.3, n_neighbors=None, ridge=0).fit(X, X @ [2.0, -3.0])
        np.testing.assert_allclose(lines.gradients(X / 2 + 0.2), [[2.0, -3.0]] * len(X), rtol=1e-9)
        middle = NadarayaWatsonRegressor(0.05).fit(X, X @ [2.0, -3.0]).gradients([[0.5, 0.5]])
        np.testing.assert_allclose(middle, [[2.0, -3.0]], rtol=1e-3)


class TestDifferences:
    @pytest.mark.parametrize("kernel", [name for name in SLOPED if name != "constant"])
    @pytest.mark.parametrize("n_neighbors", [None, 20])
    def test_means(self, kernel, n_neighbors):
        X, values, queries = problem()
        bandwidth = [1.0, 1.5] if n_neighbors else np.array([1.0, 1.5]) * (2.0 if KERNELS[kernel].compact else 0.7)
        model = NadarayaWatsonRegressor(bandwidth, n_neighbors=n_neighbors, kernel=kernel, tol=0)
        for weights in (None, weighting("counts", 60), weighting("importances", 60)):
            model.fit(X, values, weights)
            assert_mostly_close(model.gradients(queries), differences(model.predict, queries, 1e-5))

    @pytest.mark.parametrize("kernel", ["gaussian", "biweight"])
    @pytest.mark.parametrize("n_neighbors", [None, 25])
    @pytest.mark.parametrize("ridge", [0, 0.1, np.inf])
    @pytest.mark.parametrize("trend", [True, False])
    def test_lines(self, trend, ridge, n_neighbors, kernel):
        X, values, queries = problem(d=3)
        options = {"n_neighbors": n_neighbors, "ridge": ridge, "trend": trend, "kernel": kernel, "tol": 0}
        cases = [("none", 4.0), ("counts", [3.0, 4.0, 5.0]), ("importances", [4.0, np.inf, 3.0])]
        for weights, bandwidth in cases:
            model = LocalLinearRegressor(bandwidth, **options).fit(X, values, weighting(weights, 60))
            assert_mostly_close(model.gradients(queries), differences(model.predict, queries, 1e-5))

    @pytest.mark.parametrize("n_neighbors", [None, 25])
    @pytest.mark.parametrize("trend", [True, False])
    @every_weighting
    def test_lines_in_leave_one_out(self, weights, trend, n_neighbors):
        """The line without a row, as a function of the query."""
        X, values, _ = problem(n=40, d=2)
        weights, rows = weighting(weights, 40), [0, 7, 23]
        unit = np.ones(40) if weights is None else weights
        for bandwidth in ([2.0, 3.0], [2.0, np.inf]):
            model = LocalLinearRegressor(bandwidth, n_neighbors=n_neighbors, ridge=0.1, trend=trend)
            found = model.fit(X, values, weights).gradients(None)
            parameters = {"weights": unit, "n_neighbors": n_neighbors, "penalties": model._penalties}
            for i in rows:

                def line(queries, i=i, bandwidth=bandwidth, parameters=parameters):
                    lines = [local_line(q, X, values, np.array(bandwidth), 0.1, **parameters, row=i) for q in queries]
                    return np.array(lines)

                left = without_unit(unit, i) > 0
                value = line(X[[i]])[0]
                inside = (value > values[left].min(axis=0)) & (value < values[left].max(axis=0))
                expected = np.where(inside[:, None], differences(line, X[[i]])[0], 0)
                np.testing.assert_allclose(found[i], expected, rtol=0, atol=1e-6)

    def test_lines_of_a_refit(self):
        X, values, _ = problem(n=50)
        parameters = {"n_neighbors": None, "ridge": 0.1, "trend": False}
        found = LocalLinearRegressor(1.5, **parameters).fit(X, values).gradients(None)
        for i in range(0, 50, 7):
            rest = np.delete(np.arange(50), i)
            model = LocalLinearRegressor(1.5, **parameters).fit(X[rest], values[rest])
            np.testing.assert_allclose(found[i], model.gradients(X[[i]])[0], rtol=0, atol=1e-9)

    def test_nearest_keys_have_a_line(self):
        """Without a training point inside the support, the weights of the nearest ones are constant."""
        X, y = np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, 9.0]]), np.array([0.0, 1.0, 5.0])
        for kernel, trend in product(["triangular", "epanechnikov"], [True, False]):
            options = {"n_neighbors": None, "ridge": 0.5, "trend": trend, "kernel": kernel}
            model = LocalLinearRegressor(0.5, **options).fit(X, y)
            queries = np.array([[0.0, 0.2], [0.0, -0.3]])  # two nearest keys along the first feature
            along = differences(model.predict, queries)[:, 1:]
            np.testing.assert_allclose(model.gradients(queries)[:, 1:], along, rtol=0, atol=1e-6)

    def test_clipped_predictions_are_constant(self):
        X = np.linspace(0, 1, 30)[:, None]
        model = LocalLinearRegressor(0.2, n_neighbors=None, ridge=0, trend=False).fit(X, 3 * X[:, 0])
        np.testing.assert_allclose(model.gradients([[-0.5], [0.5], [1.5]]), [[0], [3], [0]], rtol=1e-9)


def assert_mostly_close(found, expected):
    """To 1e-6, but for at most one query, which may be at a kink; exact ones do not depend on the step."""
    errors = np.abs(found - expected).max(axis=(1, 2))
    assert np.sort(errors)[-2] <= 1e-6
    assert (found != 0).mean() > 0.5


class TestInvariance:
    @pytest.mark.parametrize("parameters", [{}, {"n_neighbors": 8}, {"kernel": "triweight"}])
    def test_counts_are_repetitions(self, parameters):
        X, values, queries = problem()
        counts = weighting("counts", 60).astype(int)
        repeated = np.repeat(np.arange(60), counts)
        for model in both(**parameters):
            weighted, copies = clone(model).fit(X, values, counts), model.fit(X[repeated], values[repeated])
            for asked, rows in ((queries, slice(None)), (None, repeated)):
                found = weighted.gradients(asked)[rows]
                np.testing.assert_allclose(found, copies.gradients(asked), rtol=0, atol=1e-8)

    @pytest.mark.parametrize("factor", [1e-200, -3.0, 1e200])
    def test_affine_in_y(self, factor):
        X, values, queries = problem()
        for model in both(n_neighbors=None):
            expected = clone(model).fit(X, values).gradients(queries)
            found = model.fit(X, factor * (values + 5)).gradients(queries)
            np.testing.assert_allclose(found / factor, expected, rtol=0, atol=1e-8)

    @pytest.mark.parametrize("factor", [1e-200, 7.0, 1e200])
    @pytest.mark.parametrize("n_neighbors", [None, 9])
    def test_units_of_x(self, factor, n_neighbors):
        X, values, queries = problem()
        for model in both(n_neighbors=n_neighbors):
            expected = clone(model).fit(X, values).gradients(queries)
            model.set_params(bandwidth=factor * model.bandwidth).fit(factor * X, values)
            np.testing.assert_allclose(model.gradients(factor * queries) * factor, expected, rtol=0, atol=1e-8)

    @pytest.mark.parametrize("kernel", SLOPED)
    def test_far_queries(self, kernel):
        X, values, queries = problem()
        far = np.r_[1e6 * queries, 1e300 * queries]
        for model in both(kernel=kernel, n_neighbors=None):
            assert np.isfinite(model.fit(X, values).gradients(far)).all()
        model = NadarayaWatsonRegressor(0.8, kernel=kernel).fit(X, values)
        assert_is_the_definition(model, X, values, None, far[:25])

    def test_lines_without_slopes_are_means(self):
        X, values, queries = problem()
        lines = LocalLinearRegressor(0.8, n_neighbors=None, ridge=np.inf, trend=False).fit(X, values)
        for asked in (queries, None):
            found = NadarayaWatsonRegressor(0.8).fit(X, values).gradients(asked)
            np.testing.assert_allclose(lines.gradients(asked), found, rtol=0, atol=1e-9)

    def test_blocks_threads_copies_and_containers(self, monkeypatch):
        X, values, queries = problem()
        for model in [*both(), *both(kernel="cauchy")]:
            expected = [model.fit(X, values).gradients(asked) for asked in (queries, None)]
            state = pickle.loads(pickle.dumps(model))
            frame = pd.DataFrame(queries)
            for asked in (sparse.csr_array(queries), frame, queries[:3]):
                found = model.gradients(asked)
                np.testing.assert_allclose(found, expected[0][: len(found)], rtol=0, atol=1e-9)
            monkeypatch.setattr(_gradients, "BLOCK_NUMBERS", 500)
            for other in (state, model.set_params(n_jobs=2)):
                for asked, gradient in zip((queries, None), expected, strict=True):
                    np.testing.assert_allclose(other.gradients(asked), gradient, rtol=0, atol=1e-12)
            monkeypatch.undo()

    def test_ignored_features(self):
        X, values, queries = problem(d=3)
        for bandwidth in ([1.0, np.inf, 1.0], np.inf):
            model = NadarayaWatsonRegressor(bandwidth).fit(X, values)
            ignored = np.isinf(model.bandwidth_)
            assert not model.gradients(queries)[:, :, ignored].any()
            assert (model.gradients(queries)[:, :, ~ignored] != 0).all()
        lines = LocalLinearRegressor(np.inf, n_neighbors=None).fit(X, values)  # the trend alone
        assert lines.gradients(queries).any()
        np.testing.assert_allclose(lines.gradients(queries), differences(lines.predict, queries), atol=1e-6)


class TestEmptyAndErrors:
    @pytest.mark.parametrize("kernel", ["epanechnikov", "tricube"])
    @pytest.mark.parametrize("Estimator", [NadarayaWatsonRegressor, LocalLinearRegressor])
    def test_empty(self, Estimator, kernel):
        X, y = wave()
        queries, inside = np.r_[X, X + 100, X - 90], np.repeat([True, False, False], len(X))
        parameters = {} if Estimator is NadarayaWatsonRegressor else {"n_neighbors": None, "ridge": 0.1}
        model = Estimator(1.0, kernel=kernel, **parameters).fit(X, y)
        expected = model.gradients(queries)
        if Estimator is NadarayaWatsonRegressor:
            assert not expected[~inside].any()
        else:  # the trend, as the nearest training point has no line
            np.testing.assert_allclose(np.ptp(expected[~inside], axis=0), 0, atol=1e-12)
        for empty, gradient in [("nan", np.nan), ("mean", 0.0)]:
            model.set_params(empty=empty)
            found = model.gradients(queries)
            np.testing.assert_array_equal(found[inside], expected[inside])
            np.testing.assert_array_equal(found[~inside], gradient)
        with pytest.raises(ValueError, match="120 of 180 queries have no training point"):
            model.set_params(empty="raise").gradients(queries)

    @pytest.mark.parametrize("kernel", ["boxcar", Kernel(lambda t: -t)], ids=["boxcar", "own"])
    def test_kernels_without_a_slope(self, kernel):
        X, y = wave()
        for model in both(kernel=kernel):
            with pytest.raises(
                ValueError, match=r"no derivative \(log_slope\); use one of \['gaussian', 'exponential'"
            ):
                model.fit(X, y).gradients(X)

    def test_own_kernels(self):
        """Of no known form, and with a jump at the edge."""
        X, values, queries = problem()
        kernels = [{}, {"support": 3.0}, {"form": "gaussian"}]
        for facts in kernels:
            kernel = Kernel(lambda t: -t / 2, log_slope=lambda t: np.full_like(t, -0.5), **facts)
            model = NadarayaWatsonRegressor(1.0, kernel=kernel, tol=0).fit(X, values)
            assert_mostly_close(model.gradients(queries), differences(model.predict, queries, 1e-5))

    def test_invalid_queries(self):
        X, y = wave()
        for model in both():
            with pytest.raises(ValueError, match="features"):
                model.fit(X, y).gradients(X[:, :1])
            with pytest.raises(ValueError, match="at least two samples"):
                NadarayaWatsonRegressor(1.0).fit(X[:1], y[:1]).gradients(None)
        with constants("blocks for few keys"):
            assert NadarayaWatsonRegressor(1.0).fit(X, y).gradients(X[:1]).shape == (1, 2)
