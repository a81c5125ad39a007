import copy
import pickle
import re

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError

from sknw import Kernel, NadarayaWatsonClassifier, NadarayaWatsonRegressor
from sknw._kernels import KERNELS

BOTH = [NadarayaWatsonRegressor, NadarayaWatsonClassifier]
EMPTY = ["nearest", "mean", "nan", "raise"]
every_kernel = pytest.mark.parametrize("kernel", KERNELS)
both = pytest.mark.parametrize("Estimator", BOTH)
seeds = st.integers(0, 2**32 - 1)


def problem(seed=0, n=30, d=2, m=12):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=n), rng.normal(size=(m, d))


# Properties of the definition


@every_kernel
@given(seed=seeds, bandwidth=st.floats(0.05, 20), d=st.integers(1, 4))
def test_predictions_stay_in_range_and_follow_y(kernel, seed, bandwidth, d):
    X, y, queries = problem(seed, d=d)
    model = NadarayaWatsonRegressor(bandwidth, kernel=kernel).fit(X, y)
    prediction = model.predict(queries)
    assert prediction.min() >= y.min()
    assert prediction.max() <= y.max()
    np.testing.assert_allclose(model.fit(X, 3 * y - 7).predict(queries), 3 * prediction - 7, atol=1e-11)
    np.testing.assert_allclose(
        model.fit(X, np.c_[y, -2 * y]).predict(queries), np.c_[prediction, -2 * prediction], atol=1e-11
    )


@every_kernel
@pytest.mark.parametrize("bandwidth", ["silverman", "scott", 0.7])
@given(seed=seeds)
def test_counts_are_repetitions(kernel, bandwidth, seed):
    X, y, queries = problem(seed)
    counts = np.r_[1, np.random.default_rng(seed).integers(0, 4, size=len(X) - 1)]
    weighted = NadarayaWatsonRegressor(bandwidth, kernel=kernel).fit(X, y, counts)
    repeated = NadarayaWatsonRegressor(bandwidth, kernel=kernel).fit(X.repeat(counts, axis=0), y.repeat(counts))
    np.testing.assert_allclose(weighted.predict(queries), repeated.predict(queries), atol=1e-10)
    if counts.sum() > 1:
        np.testing.assert_allclose(
            weighted.predict(None)[counts > 0].repeat(counts[counts > 0]), repeated.predict(None), atol=1e-10
        )


@every_kernel
@pytest.mark.parametrize("bandwidth", ["silverman", "scott", 0.7])
def test_only_ratios_of_importances_matter(kernel, bandwidth):
    X, y, queries = problem()
    weights = np.random.default_rng(1).random(len(X))
    model = NadarayaWatsonRegressor(bandwidth, kernel=kernel)
    expected = model.fit(X, y, weights).predict(queries)
    np.testing.assert_allclose(model.fit(X, y, weights / weights.sum()).predict(queries), expected, atol=1e-12)
    np.testing.assert_allclose(model.fit(X, y, weights * 1e250).predict(queries), expected, atol=1e-12)


@every_kernel
@pytest.mark.parametrize("empty", ["nearest", "mean", "nan"])
@pytest.mark.parametrize("weighting", ["none", "counts", "importances"])
def test_leave_one_out_is_a_fit_without_the_row(kernel, empty, weighting):
    rng = np.random.default_rng(3)
    X, y = np.round(2 * rng.normal(size=(18, 2)), 1), rng.normal(size=18)
    X[4] = X[3]
    weights = {
        "none": np.ones(18),
        "counts": np.r_[2.0, 0, rng.integers(1, 4, size=16)],
        "importances": np.r_[0.3, 0, rng.random(16)],
    }[weighting]
    model = NadarayaWatsonRegressor(0.6, kernel=kernel, empty=empty).fit(X, y, weights)
    predictions = model.predict(None)
    for i in range(18):
        left = weights.copy()
        left[i] = max(left[i] - 1, 0) if weighting != "importances" else 0
        without = NadarayaWatsonRegressor(0.6, kernel=kernel, empty=empty).fit(X, y, left)
        np.testing.assert_allclose(predictions[i], without.predict(X[[i]])[0], atol=1e-12)
        np.testing.assert_allclose(model.attention_weights()[i], without.attention_weights(X[[i]])[0], atol=1e-12)


@every_kernel
def test_classifier_of_two_classes_is_the_regressor_on_0_and_1(kernel):
    X, y, queries = problem()
    classifier = NadarayaWatsonClassifier(kernel=kernel).fit(X, np.where(y > 0, "yes", "no"))
    regressor = NadarayaWatsonRegressor(kernel=kernel).fit(X, y > 0)
    np.testing.assert_array_equal(classifier.bandwidth_, regressor.bandwidth_)
    for rows in (queries, None):
        np.testing.assert_allclose(classifier.predict_proba(rows)[:, 1], regressor.predict(rows), atol=1e-14)


def test_textbook_attention():
    """f(x) = 2 sin x + x^0.8 with noise: weights are softmax(-(x - x_i)² / 2), averages those of all y."""
    rng = np.random.default_rng(0)
    x = np.sort(5 * rng.random(50))
    y = 2 * np.sin(x) + x**0.8 + 0.5 * rng.normal(size=50)
    queries = np.arange(0, 5, 0.1)
    scores = -((queries[:, None] - x) ** 2) / 2
    softmax = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    model = NadarayaWatsonRegressor(bandwidth=1.0).fit(x[:, None], y)
    np.testing.assert_allclose(model.attention_weights(queries[:, None]), softmax, rtol=1e-12)
    np.testing.assert_allclose(model.predict(queries[:, None]), softmax @ y, rtol=1e-12)
    average = NadarayaWatsonRegressor(kernel="constant").fit(x[:, None], y)
    np.testing.assert_allclose(average.predict(queries[:, None]), y.mean(), rtol=1e-14)
    width = NadarayaWatsonRegressor(bandwidth=1 / 3).fit(x[:, None], y)  # the textbook's learned w = 1 / bandwidth
    scores = -(((queries[:, None] - x) * 3) ** 2) / 2
    softmax = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(width.predict(queries[:, None]), softmax @ y, rtol=1e-12)


# The policy for empty neighbourhoods


@pytest.fixture
def gap():
    """Keys at 0, 1 and, of weight zero, 2.4; one query inside, one empty, one empty between two keys."""
    X, y = np.array([[0.0], [1.0], [2.4]]), np.array([1.0, 3.0, 50.0])
    return X, y, np.array([3.0, 1.0, 0.0]), np.array([[0.1], [2.0], [0.5]])


@pytest.mark.parametrize(
    ("empty", "expected"), [("nearest", [1, 3, 1.5]), ("mean", [1, 1.5, 1.5]), ("nan", [1, np.nan, np.nan])]
)
def test_empty_policy_by_row(gap, empty, expected):
    X, y, weights, queries = gap
    model = NadarayaWatsonRegressor(0.3, kernel="epanechnikov", empty=empty).fit(X, y, weights)
    np.testing.assert_allclose(model.predict(queries), expected, rtol=1e-14)
    np.testing.assert_allclose(model.attention_weights(queries)[:, :2] @ y[:2], expected, rtol=1e-14)
    sparse = model.attention_weights(queries, sparse_output=True).toarray()
    np.testing.assert_allclose(sparse, model.attention_weights(queries))
    for i in range(3):  # never per batch
        np.testing.assert_array_equal(model.predict(queries[[i]]), model.predict(queries)[[i]])


def test_empty_raises(gap):
    X, y, weights, queries = gap
    model = NadarayaWatsonRegressor(0.3, kernel="epanechnikov", empty="raise").fit(X, y, weights)
    message = re.escape("2 of 3 queries have no training point within the support of the kernel; increase bandwidth")
    for ask in (model.predict, model.attention_weights, lambda X: model.attention_weights(X, sparse_output=True)):
        with pytest.raises(ValueError, match=message):
            ask(queries)
    np.testing.assert_array_equal(model.predict(queries[:1]), [1])


def test_empty_classes(gap):
    X, _, weights, queries = gap
    model = NadarayaWatsonClassifier(0.3, kernel="boxcar").fit(X, ["a", "b", "c"], weights)
    np.testing.assert_allclose(model.predict_proba(queries), [[1, 0, 0], [0, 1, 0], [0.75, 0.25, 0]])
    np.testing.assert_array_equal(model.predict(queries), ["a", "b", "a"])
    model.set_params(empty="mean").fit(X, ["a", "b", "c"], weights)
    np.testing.assert_allclose(model.predict_proba(queries)[1], [0.75, 0.25, 0])
    model.set_params(empty="nan").fit(X, ["a", "b", "c"], weights)
    assert np.isnan(model.predict_proba(queries)[1:]).all()
    with pytest.raises(ValueError, match=r"2 of 3 queries have no training point.*use predict_proba"):
        model.predict(queries)


def test_kernels_without_an_edge_are_never_empty():
    for kernel in ("gaussian", "exponential", "logistic", "cauchy", "constant"):
        model = NadarayaWatsonRegressor(0.1, kernel=kernel, empty="raise").fit([[0.0], [1.0]], [0.0, 1.0])
        far = model.predict([[1e4], [-1e9], [1e200]])
        assert np.isfinite(far).all()
        assert far[0] > 0


def test_far_away_the_exact_softmax_rules():
    X, y = np.array([[0.0], [0.1]]), np.array([0.0, 1.0])
    predict = {k: NadarayaWatsonRegressor(0.1, kernel=k).fit(X, y).predict([[1e3]])[0] for k in KERNELS}
    assert predict["gaussian"] == 1
    assert predict["exponential"] == pytest.approx(np.e / (1 + np.e), rel=1e-10)
    assert predict["logistic"] == pytest.approx(np.e / (1 + np.e), rel=1e-10)
    assert predict["cauchy"] == pytest.approx(0.5, abs=1e-3)
    assert predict["boxcar"] == 1


# Shapes and types


@pytest.mark.parametrize("shape", [(30,), (30, 1), (30, 3)])
def test_predictions_have_the_shape_of_y(shape):
    X, _, queries = problem()
    y = np.random.default_rng(0).normal(size=shape)
    model = NadarayaWatsonRegressor().fit(X, y)
    assert model.predict(queries).shape == (12, *shape[1:])
    assert model.predict(None).shape == shape
    assert model.values_.shape == (30, y.size // 30)
    if len(shape) == 2:
        for column, single in zip(model.predict(queries).T, y.T, strict=True):
            np.testing.assert_array_equal(column, NadarayaWatsonRegressor().fit(X, single).predict(queries))


def test_fitted_attributes():
    X, y, _ = problem()
    model = NadarayaWatsonClassifier([1, 2]).fit(X.astype(np.float32), y > 0)
    assert model.bandwidth_.dtype == model.keys_.dtype == model.values_.dtype == np.float64
    np.testing.assert_array_equal(model.bandwidth_, [1, 2])
    assert model.values_.shape == (30, 2)
    assert model.algorithm_ == "dense"
    X[:] = 0
    assert model.keys_.any()  # a copy


@pytest.mark.parametrize(
    "labels",
    [["b", "a", "c"], [3, 1, 2], [True, False, True], [1.0, 2.0, 2.0], np.array(["x", "y", "x"], dtype=object)],
)
def test_labels_of_any_type(labels):
    X = np.array([[0.0], [1.0], [2.0]])
    model = NadarayaWatsonClassifier(0.01).fit(X, labels)
    np.testing.assert_array_equal(model.classes_, np.unique(labels))
    np.testing.assert_array_equal(model.predict(X), labels)
    assert model.predict(X).dtype == model.classes_.dtype
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1)


def test_ties_between_classes_go_to_the_first():
    model = NadarayaWatsonClassifier(1.0).fit([[0.0], [1.0]], ["b", "a"])
    assert model.predict([[0.5]]) == ["a"]


def test_probabilities_stay_within_0_and_1():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(400, 3)), rng.integers(0, 7, size=400)
    model = NadarayaWatsonClassifier(0.2).fit(X, y, sample_weight=rng.random(400))
    probabilities = model.predict_proba(np.r_[X, 30 * X])
    assert probabilities.min() >= 0
    assert probabilities.max() <= 1
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-14)


def test_weight_zero_leaves_a_row_out_but_keeps_its_class_and_its_query():
    X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([1.0, 2.0, 4.0, 100.0])
    weights = np.array([1.0, 1.0, 1.0, 0.0])
    model = NadarayaWatsonRegressor().fit(X, y, weights)
    plain = NadarayaWatsonRegressor().fit(X[:3], y[:3])
    np.testing.assert_array_equal(model.bandwidth_, plain.bandwidth_)
    np.testing.assert_array_equal(model.predict(X), plain.predict(X))
    np.testing.assert_array_equal(model.predict(None), np.r_[plain.predict(None), plain.predict(X[3:])])
    assert not model.attention_weights(X)[:, 3].any()
    assert len(model.keys_) == 4
    classifier = NadarayaWatsonClassifier().fit(X, [0, 0, 1, 2], weights)
    np.testing.assert_array_equal(classifier.classes_, [0, 1, 2])
    assert not classifier.predict_proba(X)[:, 2].any()


def test_constant_target_comes_back_exact():
    X, _, queries = problem()
    for value in (0.1, 1e300, -1e-300):
        for kernel in KERNELS:
            prediction = NadarayaWatsonRegressor(kernel=kernel).fit(X, np.full(30, value)).predict(queries)
            np.testing.assert_array_equal(prediction, value)


def test_score_leaves_one_out():
    X, y, _ = problem()
    model = NadarayaWatsonRegressor().fit(X, y)
    residual = ((y - model.predict(None)) ** 2).sum()
    assert model.score(None, y) == pytest.approx(1 - residual / ((y - y.mean()) ** 2).sum())
    classifier = NadarayaWatsonClassifier().fit(X, y > 0)
    assert classifier.score(None, y > 0) == np.mean(classifier.predict(None) == (y > 0))


# Degenerate and extreme input


@both
@every_kernel
def test_degenerate_data_give_finite_answers(Estimator, kernel):
    model = Estimator(kernel=kernel)
    assert np.isfinite(model.fit([[3.0]], [1]).predict([[3.0], [8.0]])).all()
    assert np.isfinite(model.fit(np.ones((5, 2)), [0, 1, 0, 1, 1]).predict([[1.0, 7.0]])).all()
    assert np.isfinite(model.fit(np.repeat([[1.0], [2.0]], 4, axis=0), [0, 1] * 4).predict([[1.5], [9.0]])).all()
    assert (model.fit(np.arange(4.0)[:, None], np.ones(4, dtype=int)).predict([[9.0]]) == 1).all()
    assert np.isfinite(model.fit(np.arange(4)[:, None], np.arange(4)).predict(np.arange(9)[:, None])).all()


@every_kernel
@pytest.mark.parametrize("scale", [1e-300, 1e-20, 1e20, 1e300])
def test_scales_do_not_matter(kernel, scale):
    X, y, queries = problem()
    X, queries = np.c_[X, np.ones(30)], np.c_[queries, np.ones(12)]
    expected = NadarayaWatsonRegressor(kernel=kernel).fit(X, y).predict(queries)
    actual = NadarayaWatsonRegressor(kernel=kernel).fit(X * scale, y).predict(queries * scale)
    np.testing.assert_allclose(actual, expected, atol=1e-9)


def test_float32_is_computed_in_float64():
    X, y, queries = (a.astype(np.float32) for a in problem())
    expected = NadarayaWatsonRegressor().fit(X.astype(float), y.astype(float)).predict(queries.astype(float))
    actual = NadarayaWatsonRegressor().fit(X, y).predict(queries)
    assert actual.dtype == np.float64
    np.testing.assert_array_equal(actual, expected)


def _student(t):
    return -2 * np.log1p(t)


@both
def test_pickles_and_copies(Estimator):
    X, y, queries = problem()
    model = Estimator(kernel=Kernel(_student), n_jobs=2).fit(X, y > 0, np.arange(30.0))
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        np.testing.assert_array_equal(other.predict(queries), model.predict(queries))
        np.testing.assert_array_equal(other.attention_weights(), model.attention_weights())
    assert not hasattr(pickle.loads(pickle.dumps(Estimator())), "keys_")


def test_oracle_agrees_with_itself():
    """The definition, by hand: softmax of -t / 2 for two keys at distance 0 and 1."""
    attention, empty = oracle.attention(np.array([[0.0]]), np.array([[0.0], [1.0]]), 1.0)
    np.testing.assert_allclose(attention, [[1 / (1 + np.exp(-0.5)), np.exp(-0.5) / (1 + np.exp(-0.5))]])
    assert not empty.any()


# Feature importances


def test_feature_importances_are_scales_over_bandwidths():
    X, y, _ = problem(n=100, d=3)
    X *= [1, 100, 0.01]
    rule = NadarayaWatsonRegressor().fit(X, y)
    np.testing.assert_allclose(rule.feature_importances_, 1 / 3)
    given = rule.set_params(bandwidth=rule.bandwidth_ * [1, 2, np.inf]).fit(X, y)
    np.testing.assert_allclose(given.feature_importances_, [2 / 3, 1 / 3, 0])
    X = np.column_stack([X, np.ones(100)])
    np.testing.assert_allclose(NadarayaWatsonRegressor().fit(X, y).feature_importances_, [1 / 3, 1 / 3, 1 / 3, 0])
    np.testing.assert_array_equal(NadarayaWatsonRegressor(np.inf).fit(X, y).feature_importances_, 0)
    for scale in (1e-300, 1e300):
        extreme = NadarayaWatsonRegressor([1e-300, 1e300, 1, 1]).fit(X * [1, scale, 1, 1], y)
        assert extreme.feature_importances_.sum() == pytest.approx(1)
    with pytest.raises(NotFittedError):
        _ = NadarayaWatsonRegressor().feature_importances_
