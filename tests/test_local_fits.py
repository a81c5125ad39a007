"""Fits of the local linear estimators: what never fails, what does not matter, and what is learned."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from samples import wave
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknw import LocalLinearClassifier, LocalLinearRegressor

BOTH = [LocalLinearRegressor, LocalLinearClassifier]
each = pytest.mark.parametrize("Estimator", BOTH)
FIXED = {"n_neighbors": None, "ridge": 0.1}
rng = np.random.default_rng(0)
BASE, NOISE = rng.normal(size=(30, 2)), rng.normal(size=30)


def numeric(model, X):
    """Predictions of the regressor, or probabilities."""
    return getattr(model, "predict_proba", model.predict)(X)


def targets(Estimator, y):
    """Numbers, or classes."""
    return y if Estimator is LocalLinearRegressor else np.where(y > 0, "high", "low")


HARD = {
    "two rows": (BASE[:2], NOISE[:2]),
    "equal rows": (BASE[[0] * 5], NOISE[:5]),
    "duplicates": (BASE[rng.integers(0, 5, 30)], NOISE),
    "constant feature": (np.c_[BASE, np.full(30, 3.0)], NOISE),
    "constant features": (np.full((30, 2), 7.0), NOISE),
    "collinear": (BASE @ [[1, 2, 3], [0, 0, 0]], NOISE),
    "y constant": (BASE, np.full(30, 3.3)),
    "y 1e300": (BASE, NOISE * 1e300),
    "y 1e-300": (BASE, NOISE * 1e-300),
    "two scales of y": (BASE, np.c_[NOISE * 1e300, NOISE]),
    "largest y": (BASE, np.sign(NOISE) * 1.7e308),
    "X 1e300": (BASE * 1e300, NOISE),
    "X 1e-300": (BASE * 1e-300, NOISE),
    "two scales of X": (BASE * [1e300, 1e-300], NOISE),
    "largest X": (np.sign(BASE) * 1.7e308, NOISE),
    "sentinel": (np.r_[BASE[1:], [[1e9, -1e9]]], NOISE),
    "sentinel 1e300": (np.r_[BASE[1:], [[1e300, 0]]], NOISE),
    "offset": (BASE + 1e15, NOISE),
    "few rows": (rng.normal(size=(10, 20)), NOISE[:10]),
    "many features": (rng.normal(size=(20, 61)), NOISE[:20]),
}


class TestNeverNan:
    @each
    @pytest.mark.parametrize("name", HARD)
    @pytest.mark.filterwarnings("ignore:the leave-one-out loss is least at the lower end")
    def test_hard_problems(self, name, Estimator):
        X, y = HARD[name]
        y = targets(Estimator, y if Estimator is LocalLinearRegressor else y.reshape(len(y), -1)[:, 0])
        weights = np.r_[0.5, 0.7, np.random.default_rng(1).random(len(X))][: len(X)]
        queries = np.r_[X, X / 2, -X, np.full((1, X.shape[1]), 1e300), np.full((1, X.shape[1]), -1e9)]
        parameters = [{"n_neighbors": k, "ridge": ridge} for k in (None, 1, 3) for ridge in (0, 0.1, np.inf)]
        bandwidths = [1.0, np.inf, 1e-200, 1e200]
        fits = [(h, kernel, p) for h in bandwidths for kernel in ("gaussian", "boxcar") for p in parameters]
        fits += [("loo", "gaussian", {}), ([np.inf] + [0.1] * (X.shape[1] - 1), "cauchy", {})] * (name != "largest X")
        for bandwidth, kernel, parameters in fits:
            model = Estimator(bandwidth, kernel=kernel, **parameters).fit(X, y, weights)
            for asked in (queries, None):
                found = numeric(model, asked)
                if Estimator is LocalLinearRegressor:
                    assert ((found >= y.min(axis=0)) & (found <= y.max(axis=0))).all()
                else:
                    assert (found >= 0).all()
                    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)

    @each
    def test_one_row(self, Estimator):
        model = Estimator(1.0, n_neighbors=3, ridge=0.1)
        if Estimator is LocalLinearClassifier:
            with pytest.raises(ValueError, match="requires at least two samples"):
                model.fit([[1.0]], ["a"])
        else:
            assert model.fit([[1.0]], [4.0]).predict([[1e300]]) == 4.0
            with pytest.raises(ValueError, match="n_samples=1"):
                model.predict(None)

    def test_rows_of_weight_zero_are_ignored(self):
        X, y = wave(n=50)
        weights = np.r_[0.0, 0.0, np.random.default_rng(0).random(48)]
        X[:, 1] = 5.0
        X[0], X[1], y[:2] = [1e300, 1.0], [-5.0, 1e9], [1e200, -1e300]
        model, without = (LocalLinearRegressor("silverman").fit(X[some:], y[some:], weights[some:]) for some in (0, 2))
        np.testing.assert_allclose(model.predict(X[2:]), without.predict(X[2:]), rtol=1e-9)
        np.testing.assert_allclose(model.predict(None)[2:], without.predict(None), rtol=1e-9)


class TestInvariances:
    @each
    @pytest.mark.parametrize("bandwidth", ["loo", "loo_ard"])
    def test_counts_are_repetitions(self, bandwidth, Estimator):
        X, y = wave(n=40)
        weights = np.random.default_rng(0).integers(0, 3, size=40)
        y = targets(Estimator, y)
        one, other = Estimator(bandwidth).fit(X, y, weights), Estimator(bandwidth)
        other.fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
        for name in ("bandwidth_", "n_neighbors_", "ridge_", "prior_share_", "loo_loss_"):
            if hasattr(one, name):
                np.testing.assert_allclose(np.array(getattr(one, name), float), np.array(getattr(other, name), float))
        np.testing.assert_allclose(numeric(one, X + 0.1), numeric(other, X + 0.1), atol=1e-9)
        left_out = np.repeat(numeric(one, None), weights, axis=0)
        np.testing.assert_allclose(left_out, numeric(other, None), atol=1e-9)

    @pytest.mark.parametrize("parameters", [{}, {"n_neighbors": 7, "ridge": 0.01}, {"trend": False}])
    def test_shift_scale_and_order(self, parameters):
        X, y = wave(n=60)
        X, queries, order = np.round(X, 3), X[::2] + 0.1, np.random.default_rng(0).permutation(60)
        plain = LocalLinearRegressor("loo", **parameters).fit(X, y)
        changes = [
            (lambda X: X + 16, lambda y: y),
            (lambda X: X * [2.0**9, 3.0], lambda y: y),
            (lambda X: X, lambda y: 5 - 3 * y),
            (lambda X: X, lambda y: y * 2.0**300),
        ]
        for move, change in changes:
            other = LocalLinearRegressor("loo", **parameters).fit(move(X)[order], change(y)[order])
            assert (other.ridge_, other.n_neighbors_) == (plain.ridge_, plain.n_neighbors_)
            tol = 1e-6 * np.ptp(change(y))  # of the learned bandwidth
            np.testing.assert_allclose(other.predict(move(queries)), change(plain.predict(queries)), atol=tol)
            np.testing.assert_allclose(other.predict(None), change(plain.predict(None))[order], atol=tol)

    def test_a_vector_y_is_one_column(self):
        X, y = wave()
        Y = np.column_stack([y, X[:, 1], -y])
        parameters = {"n_neighbors": 9, "ridge": 0.01}
        together = LocalLinearRegressor(0.5, **parameters).fit(X, Y)
        for k, column in enumerate(Y.T):
            alone = LocalLinearRegressor(0.5, **parameters).fit(X, column)
            for queries in (X + 0.1, None):
                np.testing.assert_allclose(together.predict(queries)[:, k], alone.predict(queries), atol=1e-12)

    @each
    def test_threads_pickles_and_inputs(self, Estimator):
        X, y = wave(n=900)
        y = targets(Estimator, y)
        model = Estimator(0.3).fit(X, y)
        found = [numeric(model, queries) for queries in (X, None)]
        others = [
            Estimator(0.3, n_jobs=2).fit(X, y),
            clone(model).fit(X, y),
            pickle.loads(pickle.dumps(model)),
            copy.deepcopy(model),
            Estimator(0.3).fit(sparse.csr_array(X), y),
        ]
        for other in others:
            for queries, expected in zip((X, None), found, strict=True):
                np.testing.assert_array_equal(numeric(other, queries), expected)
        np.testing.assert_array_equal(numeric(model, sparse.csc_array(X)), found[0])
        frame = pd.DataFrame(X, columns=["a", "b"])
        model = Estimator(0.3).fit(frame, y)
        np.testing.assert_allclose(numeric(model, frame), found[0], rtol=1e-9)  # columns lie in memory otherwise
        with pytest.raises(ValueError, match="feature names should match"):
            model.predict(frame[["b", "a"]])


class TestEmpty:
    @each
    @pytest.mark.parametrize("kernel", ["boxcar", "epanechnikov"])
    def test_policies(self, kernel, Estimator):
        X, y = np.array([[0.0], [0.1], [0.2], [5.0], [9.0]]), np.array([1.0, 2.0, 3.0, -4.0, -5.0])
        values = y[:, None] if Estimator is LocalLinearRegressor else np.column_stack([y > 0, y < 0]) * 1.0
        weights, queries = np.array([1, 1, 1, 2, 1]), np.array([[0.1], [7.5]])
        parameters = {"kernel": kernel, "n_neighbors": None, "ridge": 0.1}
        parameters |= {"trend": False} if Estimator is LocalLinearRegressor else {}

        def predict(empty, queries):
            model = Estimator(1.0, empty=empty, **parameters).fit(X, targets(Estimator, y), weights)
            return numeric(model, queries).reshape(len(X) if queries is None else len(queries), -1)

        full, others = predict("nearest", queries), predict("nearest", None)
        assert np.isfinite(full).all()
        assert np.isfinite(others).all()
        for empty in ("nan", "mean"):
            np.testing.assert_array_equal(predict(empty, queries)[0], full[0])
            np.testing.assert_array_equal(predict(empty, None)[:4], others[:4])
        assert np.isnan(predict("nan", queries)[1]).all()
        assert np.isnan(predict("nan", None)[4]).all()
        np.testing.assert_allclose(predict("mean", queries)[1], weights @ values / 6)
        np.testing.assert_allclose(predict("mean", None)[4], [1, 1, 1, 2] @ values[:4] / 5)
        for asked, message in ((queries, "^1 of 2 queries"), (None, "^1 of 5 queries")):
            with pytest.raises(ValueError, match=message):
                predict("raise", asked)

    def test_the_nearest_keys_predict_without_a_slope(self):
        model = LocalLinearRegressor(1.0, kernel="boxcar", n_neighbors=None, ridge=0.1, trend=False)
        assert model.fit([[0.0], [1.0], [9.0]], [1.0, 2.0, 5.0]).predict([[6.0]]) == pytest.approx(5.0)


class TestFits:
    @each
    def test_a_refit_leaves_nothing_stale(self, Estimator):
        X, y = wave(n=40)
        y = targets(Estimator, y)
        model = Estimator("loo").fit(X, y)
        assert model.loo_loss_ > 0
        model.set_params(bandwidth=0.5, n_neighbors=None, ridge=0.1).fit(X[:, :1], y)
        assert vars(model).keys() == vars(Estimator(0.5, n_neighbors=None, ridge=0.1).fit(X[:, :1], y)).keys()
        np.testing.assert_array_equal(
            numeric(model, X[:, :1]), numeric(Estimator(0.5, n_neighbors=None, ridge=0.1).fit(X[:, :1], y), X[:, :1])
        )

    @each
    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({"ridge": -1}, "'ridge'.*Got -1 instead"),
            ({"ridge": np.nan}, "'ridge'.*Got nan instead"),
            ({"ridge": "cv"}, "'ridge'.*Got 'cv' instead"),
            ({"ridge": None}, "'ridge'.*Got None instead"),
            ({"ridge": True}, "ridge"),
            ({"n_neighbors": 0}, "'n_neighbors'.*Got 0 instead"),
            ({"n_neighbors": True}, "n_neighbors"),
            ({"bandwidth": -1.0}, "Got -1.0 instead"),
            ({"algorithm": "sorted"}, "sorted"),
        ],
    )
    def test_an_error_changes_nothing(self, Estimator, parameters, message):
        X, y = wave(n=30)
        y = targets(Estimator, y)
        model = Estimator(0.5).fit(X, y)
        before, found = dict(vars(model)), numeric(model, X)
        given = {name: getattr(model, name) for name in parameters}
        with pytest.raises(ValueError, match=message):
            model.set_params(**parameters).fit(X[:20, ::-1], y[:20])
        model.set_params(**given)
        assert vars(model).keys() == before.keys()
        assert all(vars(model)[name] is before[name] for name in before)
        np.testing.assert_array_equal(numeric(model, X), found)

    @pytest.mark.parametrize("trend", ["yes", None, 2])
    def test_trend_is_a_boolean(self, trend):
        with pytest.raises(ValueError, match="'trend'"):
            LocalLinearRegressor(trend=trend).fit(BASE, NOISE)

    @each
    def test_the_record_is_that_of_predictions(self, Estimator):
        X, y = wave(n=60)
        model = Estimator("loo").fit(X, targets(Estimator, y))
        values = y if Estimator is LocalLinearRegressor else np.column_stack([y > 0, y <= 0])
        errors = np.square(numeric(model, None) - values).reshape(60, -1).sum(axis=1)
        assert model.loo_loss_ == pytest.approx(errors.mean(), rel=1e-9)
        np.testing.assert_array_equal(model.loo_rows_, np.arange(60))

    @pytest.mark.parametrize("labels", [["a"], ["no", "yes"], list("abcdefghijklmnopqrst")])
    def test_classes(self, labels):
        y = np.array(labels)[np.arange(120) % len(labels)]
        X = np.arange(120)[:, None] % len(labels) + 0.1 * np.random.default_rng(0).normal(size=(120, 1))
        model = LocalLinearClassifier().fit(X, y)
        np.testing.assert_array_equal(model.classes_, labels)
        np.testing.assert_array_equal(model.predict(X), y)
        assert model.score(None, y) > 0.95
        assert (model.predict_proba(None) > 0).all() or len(labels) == 1

    @pytest.mark.parametrize("n_neighbors", [1, 5])
    def test_a_given_number_of_neighbours_stays_where_rows_are_copies(self, n_neighbors):
        X, y = wave(n=40)
        X, y = np.repeat(X, 3, axis=0), np.repeat(y, 3)
        for Estimator in BOTH:
            model = Estimator("loo", n_neighbors=n_neighbors).fit(X, targets(Estimator, y))
            assert model.n_neighbors_ == n_neighbors

    def test_the_only_row_of_a_class_does_not_choose_the_share_of_the_prior(self):
        X, y = wave(n=60)
        labels = np.where(y > 0, "high", "low")
        share = LocalLinearClassifier(1.0, **FIXED).fit(X, labels).prior_share_
        labels[np.argmax(y)] = "highest"
        assert LocalLinearClassifier(1.0, **FIXED).fit(X, labels).prior_share_ < 2 * share + 0.01

    def test_log_loss_is_finite(self):
        X, y = load_iris(return_X_y=True)
        model = LocalLinearClassifier("loo").fit(X, y)
        assert log_loss(y, model.predict_proba(None)) < 0.2
        assert (model.predict_proba([[1e6] * 4, [-3, 0, 3, 9]]) > 0).all()

    def test_search_and_cross_validation(self):
        X, y = load_diabetes(return_X_y=True)
        X, y = X[:200, [2, 3, 8]], y[:200]
        pipeline = make_pipeline(StandardScaler(), LocalLinearRegressor("silverman"))
        grid = {"locallinearregressor__n_neighbors": [None, 40], "locallinearregressor__ridge": [0.01, 1.0, "loo"]}
        search = GridSearchCV(pipeline, grid, cv=3).fit(X, y)
        assert search.best_score_ > 0.3
        assert len(search.cv_results_["params"]) == 6
        assert cross_val_score(LocalLinearClassifier("silverman"), X, y > 140, cv=3).mean() > 0.65
