"""Learned projections: what the search finds, and when it keeps the start."""

import numpy as np
import pytest
from samples import index_model
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknw import AttentionProjection, NadarayaWatsonClassifier, NadarayaWatsonRegressor
from sknw._kernels import KERNELS
from sknw._learning import projection
from sknw._learning.copies import Sample
from sknw._learning.progress import CallbackSupportMixin, Task
from sknw._learning.projection import ProjectionSearch, make_halves, mean_projection, reduce_rank

REGRESSION = AttentionProjection(NadarayaWatsonRegressor())
CLASSIFICATION = AttentionProjection(NadarayaWatsonClassifier())


# The search


def search_for(X, y, ranks, max_iter=100, bandwidth=None):
    """The projection that is learned from keys, which are in bandwidths of one unless these are given."""
    sample = Sample(X, y[:, None], np.ones(len(X)), np.arange(len(X)))
    bandwidth = np.ones(X.shape[1]) if bandwidth is None else bandwidth
    parameters = {"mean_where_empty": False, "tol": 1e-10, "n_jobs": None}
    halves = make_halves(sample, bandwidth, KERNELS["gaussian"], np.random.RandomState(0), **parameters)
    task = Task(CallbackSupportMixin()._init_callback_context(max_subtasks=None), {"estimator": None}, None)
    return ProjectionSearch(ranks, max_iter, task).learn(halves, np.eye(X.shape[1]), must_learn=True)


def metric(matrix):
    return matrix.T @ matrix


@pytest.mark.parametrize("kind", ["rotation", "permutation"])
def test_equivariance(kind):
    """From the identity as the start, the metric of X Q is Qᵀ M Q for the metric M of X.

    The last feature does not change, since rows are sorted by it before they are divided into halves.
    """
    X, y, _ = index_model(n=120, d=4)
    Q = np.eye(4)[:, [2, 0, 1, 3]]
    if kind == "rotation":
        Q[:3, :3] = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    matrix, least = search_for(X, y, [4, 2], max_iter=8)
    rotated, rotated_loss = search_for(X @ Q, y, [4, 2], max_iter=8)
    assert rotated_loss == pytest.approx(least, rel=1e-6)
    np.testing.assert_allclose(metric(rotated), Q.T @ metric(matrix) @ Q, atol=1e-5 * np.abs(metric(matrix)).max())


def test_scale_and_shift_of_features_do_not_matter():
    X, y, _ = index_model(n=120, d=3)
    scale, shift = 2.0 ** np.array([-20, 0, 15]), np.array([3.0, -1.0, 2.0**10])
    model = clone(REGRESSION).fit(X, y)
    other = clone(REGRESSION).fit(X * scale + shift, y)
    np.testing.assert_allclose(other.components_ * scale, model.components_, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(other.predict(X * scale + shift), model.predict(X), atol=1e-5)


def test_rank_is_reduced_to_the_nearest_metric():
    rng = np.random.default_rng(0)
    A = rng.normal(size=(5, 4))
    reduced = reduce_rank(A, 2)
    values, vectors = np.linalg.eigh(metric(A))
    np.testing.assert_allclose(metric(reduced), (vectors[:, 2:] * values[2:]) @ vectors[:, 2:].T, atol=1e-12)
    np.testing.assert_allclose(metric(mean_projection([A, 2 * A], 4)), 2.5 * metric(A), atol=1e-12)


def test_a_poor_mean_of_metrics_is_not_used(monkeypatch):
    X, y, _ = index_model(n=120, d=3)
    monkeypatch.setattr(projection, "mean_projection", lambda matrices, rank: np.zeros((rank, 3)))
    model = clone(REGRESSION).fit(X, y)
    assert model.loo_loss_ < 0.5 * np.var(y)
    assert model.score(None, y) > 0.5


@pytest.mark.parametrize("make", [clone(REGRESSION), clone(CLASSIFICATION)], ids=["regressor", "classifier"])
def test_a_weight_of_two_is_a_repeated_row(make):
    X, y, _ = index_model(n=90, d=4)
    y = y > 0 if hasattr(make, "predict_proba") else y
    weights = 1.0 + (np.arange(90) % 3 == 0)
    weighted = clone(make).fit(X, y, sample_weight=weights)
    repeated = clone(make).fit(np.repeat(X, weights.astype(int), axis=0), np.repeat(y, weights.astype(int)))
    np.testing.assert_allclose(weighted.components_, repeated.components_, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), atol=1e-9)
    assert weighted.loo_loss_ == pytest.approx(repeated.loo_loss_)


def test_rows_of_weight_zero_do_not_matter():
    X, y, _ = index_model(n=90, d=4)
    weights = np.r_[np.ones(80), np.zeros(10)]
    weighted, fewer = clone(REGRESSION).fit(X, y, weights), clone(REGRESSION).fit(X[:80], y[:80])
    np.testing.assert_allclose(weighted.predict(X), fewer.predict(X), atol=1e-6)


def held_out_ratio(X, y, truth, n):
    """The squared error against the truth after the first n rows, relative to that of "loo"."""
    models = clone(REGRESSION), NadarayaWatsonRegressor("loo")
    error, loo_error = (np.square(m.fit(X[:n], y[:n]).predict(X[n:]) - truth[n:]).sum() for m in models)
    return error / loo_error


def test_an_index_is_found():
    X, y, truth = index_model(n=500, d=20)
    assert held_out_ratio(X, y, truth, 250) < 0.25
    model = clone(REGRESSION).fit(X[:250], y[:250])
    assert model.components_.shape[0] <= 2
    held_out = np.mean(np.square(model.predict(X[250:]) - y[250:]))
    assert model.loo_loss_ == pytest.approx(held_out, rel=0.35)


def test_a_rotated_surface_is_found():
    rng = np.random.default_rng(0)
    X, Q = rng.normal(size=(1000, 8)), np.linalg.qr(rng.normal(size=(8, 8)))[0]
    truth = np.sin(2 * X @ Q[0]) + 0.5 * (X @ Q[1]) ** 2
    y = truth + 0.3 * rng.normal(size=1000)
    assert held_out_ratio(X, y, truth, 400) < 0.25


@pytest.mark.parametrize("seed", range(3))
def test_noise_keeps_the_start(seed):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(200, 5)), rng.normal(size=200)
    model, loo = clone(REGRESSION).fit(X, y), NadarayaWatsonRegressor("loo").fit(X, y)
    np.testing.assert_array_equal(model.components_, np.diag(1 / loo.bandwidth_))
    np.testing.assert_allclose(model.predict(X), loo.predict(X), atol=1e-9)
    assert model.loo_loss_ == pytest.approx(loo.loo_loss_, rel=1e-6)


@pytest.mark.parametrize(("load", "most"), [(load_diabetes, 1.02), (load_wine, 1.0), (load_breast_cancer, 1.0)])
def test_real_data_are_predicted_no_worse_than_by_loo(load, most):
    """In the mean of three splits, by the squared error or the Brier score of held-out rows."""
    X, y = load(return_X_y=True)
    losses = np.zeros(2)
    for seed in range(3):
        A, B, a, b = train_test_split(X, y, test_size=0.3, random_state=seed)
        is_regression = load is load_diabetes
        estimator = NadarayaWatsonRegressor("loo") if is_regression else NadarayaWatsonClassifier("loo")
        for k, model in enumerate((AttentionProjection(estimator), estimator)):
            model = make_pipeline(StandardScaler(), model).fit(A, a)
            errors = model.predict(B) - b if is_regression else model.predict_proba(B) - (b[:, None] == model.classes_)
            losses[k] += np.square(errors).sum()
    assert losses[0] <= most * losses[1]


# What is fitted


@pytest.mark.parametrize("n_components", [1, 2, 4])
def test_the_rank_is_as_asked_for(n_components):
    X, y, _ = index_model(n=100, d=4)
    model = clone(REGRESSION).set_params(n_components=n_components).fit(X, y)
    assert model.components_.shape == (n_components, 4)
    assert model.transform(X).shape == (100, n_components)


def test_a_rank_is_returned_from_noise_and_from_few_rows():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 4)), rng.normal(size=60)
    model = clone(REGRESSION).set_params(n_components=2).fit(X, y)
    assert np.linalg.matrix_rank(model.components_) == 2
    few = clone(REGRESSION).set_params(n_components=1).fit(X[:3], y[:3])
    assert few.components_.shape == (1, 4)
    assert few.n_iter_ > 0


def test_constant_features_have_no_weight():
    X, y, _ = index_model(n=150, d=3)
    with_constants = np.column_stack([np.full(150, 7.0), X, np.full(150, -1.0)])
    model, other = clone(REGRESSION).fit(X, y), clone(REGRESSION).fit(with_constants, y)
    np.testing.assert_array_equal(other.components_[:, [0, 4]], 0)
    assert len(other.components_) == len(model.components_)
    padded = clone(REGRESSION).set_params(n_components=5).fit(with_constants, y)
    np.testing.assert_array_equal(padded.components_[3:], 0)


@pytest.mark.parametrize("n_components", [None, 1, 2])
def test_features_that_are_all_constant_give_the_mean(n_components):
    X, y = np.ones((8, 2)), np.arange(8.0)
    model = clone(REGRESSION).set_params(n_components=n_components).fit(X, y)
    np.testing.assert_array_equal(model.components_, np.zeros((n_components or 1, 2)))
    np.testing.assert_allclose(model.predict([[5.0, 2.0]]), 3.5)


@pytest.mark.parametrize("empty", ["nearest", "mean", "nan"])
def test_it_predicts_as_its_estimator(empty):
    X, y, _ = index_model(n=150, d=4)
    estimator = NadarayaWatsonRegressor(kernel="epanechnikov", empty=empty, tol=1e-8)
    model = AttentionProjection(estimator).fit(X, y)
    queries = np.r_[X[:5], [[1e3] * 4]]
    by_hand = clone(estimator).set_params(bandwidth=1.0).fit(model.transform(X), y)
    np.testing.assert_array_equal(model.predict(queries), by_hand.predict(model.transform(queries)))
    np.testing.assert_array_equal(model.predict(None), by_hand.predict(None))
    assert model.estimator_.get_params() == by_hand.get_params()
    assert model.score(X, y) == by_hand.score(model.transform(X), y)
    assert estimator.bandwidth == "silverman"
    assert not hasattr(estimator, "keys_")


@pytest.mark.parametrize("kernel", ["exponential", "logistic", "epanechnikov", "tricube"])
def test_other_kernels_learn(kernel):
    X, y, _ = index_model(n=200, d=8)
    model = AttentionProjection(NadarayaWatsonRegressor(kernel=kernel)).fit(X, y)
    assert model.loo_loss_ < 0.6 * NadarayaWatsonRegressor("loo", kernel=kernel).fit(X, y).loo_loss_


def test_several_outputs_share_a_projection():
    X, y, _ = index_model(n=200, d=6)
    one, both = clone(REGRESSION).fit(X, y), clone(REGRESSION).fit(X, np.column_stack([y, -2 * y]))
    assert both.loo_loss_ == pytest.approx(5 * one.loo_loss_, rel=1e-3)


def test_a_classifier_has_probabilities_and_classes():
    X, y, _ = index_model(n=200, d=6)
    labels = np.where(y > 0, "up", "down")
    model = clone(CLASSIFICATION).fit(X, labels)
    np.testing.assert_array_equal(model.classes_, ["down", "up"])
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1)
    assert model.score(None, labels) > NadarayaWatsonClassifier("loo").fit(X, labels).score(None, labels)
    regressor = clone(REGRESSION).fit(X, y)
    assert not hasattr(regressor, "classes_")
    assert not hasattr(regressor, "predict_proba")
