"""`n_neighbors` of the estimators: given, learned or None, with all that they can do."""

import pickle

import numpy as np
import oracle
import pytest
from engines import is_served_by, make_pooler, pool
from samples import assert_close, wave, weighting
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sknw import BandwidthDisplay, NadarayaWatsonClassifier, NadarayaWatsonRegressor
from sknw._canonical import canonical_ratio
from sknw._kernels import KERNELS
from sknw._learning import loss
from sknw._learning.neighbors import candidate_neighbors

SIZES = pytest.mark.parametrize("weights", ["none", "counts", "importances"])


@pytest.fixture
def uneven(rng):
    """A wave whose length follows the density of x, with noise: narrow and dense on the left, wide on the right."""
    X = np.exp(rng.uniform(0, 5, size=(200, 1)))
    return X, np.sin(4 * np.log(X[:, 0])) + 0.2 * rng.normal(size=200)


@parametrize_with_checks(
    [
        NadarayaWatsonRegressor(n_neighbors=3),
        NadarayaWatsonRegressor("loo", n_neighbors="loo"),
        NadarayaWatsonClassifier(n_neighbors="loo"),
        NadarayaWatsonClassifier(n_neighbors=3, kernel="epanechnikov"),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("kernel", ["gaussian", "exponential", "epanechnikov", "boxcar"])
@pytest.mark.parametrize("d", [1, 2])
def test_blocks_of_many_keys(kernel, d):
    """With keys of very uneven density."""
    rng, n = np.random.default_rng(d), 5000
    keys, values = rng.standard_t(1.5, size=(n, d)), rng.normal(size=(n, 1))
    bandwidth, ratio = np.array([0.1, 3.0][:d]), canonical_ratio(KERNELS[kernel], d)
    pooler = make_pooler("blocks", keys, values, None, kernel, bandwidth, 1e-10, 12)
    pooled, _ = pool(pooler, tol=1e-10)
    assert is_served_by(pooler, "blocks")
    for row in range(0, n, 100):
        others = np.arange(n) != row
        asked = keys[[row]], keys[others], bandwidth, ratio, 12, kernel
        assert_close(pooled[row], oracle.neighbor_attention(*asked)[0][0] @ values[others], values, 2e-10)


@SIZES
def test_predictions_and_attention_are_those_of_the_definition(weights):
    X, y = wave()
    sample_weight = weighting(weights, len(X))
    model = NadarayaWatsonRegressor([1.0, 2.0], n_neighbors=7, kernel="cauchy").fit(X, y, sample_weight)
    queries, asked = X[:9] + 0.05, (model.bandwidth_, canonical_ratio(KERNELS["cauchy"], 2), 7, "cauchy", sample_weight)
    expected, _ = oracle.neighbor_attention(queries, X, *asked)
    np.testing.assert_allclose(model.attention_weights(queries), expected, atol=1e-13)
    np.testing.assert_allclose(model.predict(queries), expected @ y, atol=1e-12)
    left_out, _ = oracle.neighbor_attention(X, X, *asked, own=True)
    np.testing.assert_allclose(model.attention_weights(), left_out, atol=1e-13)
    np.testing.assert_allclose(model.predict(None), left_out @ y, atol=1e-12)
    np.testing.assert_allclose(model.predict(X), model.attention_weights_ @ y, atol=1e-12)
    sparse = model.attention_weights(queries, sparse_output=True)
    np.testing.assert_allclose(sparse.toarray(), expected, atol=1e-9)
    assert model.n_neighbors_ == 7


def test_pickles_and_clones_keep_the_neighbours(uneven):
    X, y = uneven
    model = NadarayaWatsonRegressor(n_neighbors="loo").fit(X, y)
    assert model.n_neighbors_ > 1
    for copy in (pickle.loads(pickle.dumps(model)), clone(model).fit(X, y)):
        np.testing.assert_array_equal(copy.predict(X), model.predict(X))
    assert model.set_params(n_neighbors=None).fit(X, y).n_neighbors_ is None
    assert not hasattr(model, "loo_loss_")


@pytest.mark.parametrize("n_neighbors", [0, -1, 2.5, "knn", True])
def test_numbers_that_are_none(n_neighbors):
    with pytest.raises(ValueError, match=r"n_neighbors.*must be None, an int.*'loo'"):
        NadarayaWatsonRegressor(n_neighbors=n_neighbors).fit(*wave())


def test_what_cannot_be_done_is_said():
    with pytest.raises(ValueError, match="n_neighbors='loo' requires at least two samples"):
        NadarayaWatsonRegressor(1.0, n_neighbors="loo").fit([[1.0]], [1.0])
    with pytest.raises(ValueError, match=r"algorithm='sorted' .* n_neighbors=3; use 'auto', or one of \['blocks', 'de"):
        NadarayaWatsonRegressor(1.0, n_neighbors=3, algorithm="sorted").fit(np.eye(3)[:, :1], [1, 2, 3])
    with pytest.raises(ValueError, match=r"algorithm='grid' .* n_neighbors='loo'"):
        NadarayaWatsonRegressor(1.0, n_neighbors="loo", algorithm="grid").fit(*wave())


@pytest.mark.parametrize("empty", ["nearest", "mean", "nan", "raise"])
def test_empty_neighbourhoods(empty):
    """In one feature the first neighbour is outside the boxcar."""
    X, y = np.array([[0.0], [1.0], [3.0], [9.0]]), np.array([0.0, 1.0, 2.0, 3.0])
    model = NadarayaWatsonRegressor(n_neighbors=1, kernel="boxcar", empty=empty).fit(X, y)
    expected = {"nearest": [0, 2], "mean": [1.5, 1.5], "nan": [np.nan, np.nan]}
    if empty == "raise":
        with pytest.raises(ValueError, match="2 of 2 queries have no training point"):
            model.predict([[0.2], [4.0]])
    else:
        np.testing.assert_array_equal(model.predict([[0.2], [4.0]]), expected[empty])


def test_the_boxcar_of_two_features_is_k_nearest_neighbours():
    X, y = wave()
    queries = X + 0.1
    found = NadarayaWatsonRegressor(1.0, n_neighbors=5, kernel="boxcar").fit(X, y).predict(queries)
    np.testing.assert_allclose(found, KNeighborsRegressor(5).fit(X, y).predict(queries), rtol=1e-12)


# Learned numbers.


def test_candidates():
    assert candidate_neighbors(2) == []
    assert candidate_neighbors(3) == [2]
    assert candidate_neighbors(10**6)[0] == 2
    assert candidate_neighbors(10**6)[-1] == 120
    assert all(k < n for n in (3, 9, 50) for k in candidate_neighbors(n))


@pytest.mark.parametrize("bandwidth", ["silverman", "loo", 1.0])
def test_the_width_follows_the_density_where_that_helps(uneven, bandwidth):
    X, y = uneven
    fixed = NadarayaWatsonRegressor(bandwidth).fit(X, y)
    model = NadarayaWatsonRegressor(bandwidth, n_neighbors="loo").fit(X, y)
    assert 1 < model.n_neighbors_ < 30
    errors = [np.square(fitted.predict(None) - y) for fitted in (fixed, model)]
    assert errors[1].mean() < 0.8 * errors[0].mean()
    assert model.loo_loss_ == pytest.approx(errors[1].mean())
    np.testing.assert_array_equal(model.loo_rows_, np.arange(len(X)))
    n_evaluations = getattr(fixed, "n_iter_", 0) + len(candidate_neighbors(len(X)))
    assert model.n_iter_ == n_evaluations
    np.testing.assert_array_equal(model.bandwidth_, fixed.bandwidth_)


def test_the_width_stays_fixed_where_it_does_not_help(rng):
    """Many noisy rows side by side, and few exact ones far apart on a wave."""
    X = np.r_[rng.uniform(0, 1, size=(150, 1)), rng.uniform(1, 20, size=(60, 1))]
    y = np.where(X[:, 0] < 1, rng.normal(size=210), np.sin(X[:, 0]))
    fixed, model = (NadarayaWatsonRegressor("loo", n_neighbors=k).fit(X, y) for k in (None, "loo"))
    assert model.n_neighbors_ is None
    assert model.loo_loss_ == fixed.loo_loss_
    np.testing.assert_array_equal(model.predict(X), fixed.predict(X))


@pytest.mark.parametrize("bandwidth", ["loo", "loo_ard"])
def test_a_bandwidth_is_learned_at_fixed_width(bandwidth):
    X, y = load_iris(return_X_y=True)
    X, y = X[::2], y[::2]
    fixed, model = (NadarayaWatsonClassifier(bandwidth, n_neighbors=k).fit(X, y) for k in (None, 4))
    np.testing.assert_array_equal(model.bandwidth_, fixed.bandwidth_)
    brier = np.square(model.predict_proba(None) - model.values_).sum(axis=1).mean()
    assert model.loo_loss_ == pytest.approx(brier)


@SIZES
def test_weights_are_repetition_while_a_number_is_learned(uneven, weights):
    X, y = uneven
    sample_weight = weighting(weights, len(X))
    model = NadarayaWatsonRegressor(n_neighbors="loo").fit(X, y, sample_weight)
    if weights == "counts":
        rows = np.arange(len(X)).repeat(sample_weight.astype(int))
        repeated = NadarayaWatsonRegressor(n_neighbors="loo").fit(X[rows], y[rows])
        assert repeated.n_neighbors_ == model.n_neighbors_
        np.testing.assert_allclose(repeated.predict(X), model.predict(X), rtol=1e-9)
    elif weights == "importances":
        scaled = NadarayaWatsonRegressor(n_neighbors="loo").fit(X, y, 3.3 * sample_weight)
        assert scaled.n_neighbors_ == model.n_neighbors_


def test_copies_do_not_show(uneven):
    """Of each row three copies: three times the number of neighbours, among which they count."""
    X, y = uneven
    single = NadarayaWatsonRegressor(1.0, n_neighbors="loo").fit(X, y)
    copies = NadarayaWatsonRegressor(1.0, n_neighbors="loo").fit(X.repeat(3, axis=0), y.repeat(3))
    assert copies.n_neighbors_ == 3 * single.n_neighbors_
    assert copies.loo_loss_ == pytest.approx(single.loo_loss_)
    np.testing.assert_allclose(copies.predict(X + 0.1), single.predict(X + 0.1), rtol=1e-9)


def test_large_training_sets_are_scored_on_some_rows(monkeypatch, rng):
    monkeypatch.setattr(loss, "SEARCH_PAIRS", 1000 * 200)
    monkeypatch.setattr(loss, "FINAL_PAIRS", 1000 * 300)
    monkeypatch.setattr(loss, "FEWEST_ROWS", 10)
    X = rng.exponential(size=(1000, 1)) ** 3
    y = np.sin(9 * np.log1p(X[:, 0])) + 0.5 * rng.normal(size=1000)
    model = NadarayaWatsonRegressor("loo", n_neighbors="loo").fit(X, y)
    assert len(model.loo_rows_) == 300
    errors = np.square(model.predict(None) - y)[model.loo_rows_]
    assert model.loo_loss_ == pytest.approx(errors.mean())


def test_few_rows():
    for n in (2, 3, 4, 5):
        X, y = wave(n=n)
        for bandwidth in ("loo", 1.0):
            model = NadarayaWatsonRegressor(bandwidth, n_neighbors="loo").fit(X, y)
            assert np.isfinite(model.predict(X)).all()
            assert model.loo_loss_ == pytest.approx(np.mean(np.square(model.predict(None) - y)))


def test_constant_kernels_and_features_have_no_width():
    X, y = wave()
    for model in (
        NadarayaWatsonRegressor(kernel="constant", n_neighbors="loo"),
        NadarayaWatsonRegressor(np.inf, n_neighbors="loo"),
    ):
        assert model.fit(X, y).n_neighbors_ is None
        np.testing.assert_allclose(model.predict(X), y.mean())
    np.testing.assert_allclose(NadarayaWatsonRegressor(np.inf, n_neighbors=3).fit(X, y).predict(X), y.mean())


def test_it_is_tuned_in_a_pipeline_and_drawn(uneven, plt):
    X, y = uneven
    pipeline = make_pipeline(StandardScaler(), NadarayaWatsonRegressor("loo"))
    search = GridSearchCV(pipeline, {"nadarayawatsonregressor__n_neighbors": [None, 4, "loo"]}, cv=3).fit(X, y)
    assert search.best_params_["nadarayawatsonregressor__n_neighbors"] is not None
    model = NadarayaWatsonRegressor("loo", n_neighbors=4).fit(X, y)
    display = BandwidthDisplay.from_estimator(model)
    assert display.best_factor is None
    np.testing.assert_allclose(display.best_.get_ydata(), model.loo_loss_)
