"""Distances in the place of features: predictions against the definition, and against those from coordinates."""

import pickle
import tracemalloc

import numpy as np
import oracle
import pandas as pd
import pytest
from samples import WEIGHTS, wave, weighting
from scipy.sparse import csr_array
from scipy.spatial.distance import cdist
from scipy.special import softmax
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics.pairwise import haversine_distances
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from sknw import (
    AttentionDisplay,
    AttentionProjection,
    BandwidthDisplay,
    CurveDisplay,
    NadarayaWatsonClassifier,
    NadarayaWatsonRegressor,
)
from sknw._canonical import canonical_ratio
from sknw._kernels import KERNELS

pytestmark = pytest.mark.usefixtures("small_blocks")
EMPTY = ("nearest", "mean", "nan", "raise")


def regressor(*args, **kwargs):
    return NadarayaWatsonRegressor(*args, metric="precomputed", **kwargs)


def classifier(*args, **kwargs):
    return NadarayaWatsonClassifier(*args, metric="precomputed", **kwargs)


def defined(distances, bandwidth, kernel="gaussian", weights=None, own=False):
    """Attention (m, n) by the definition; `own` leaves one unit of each row out."""
    weights = np.ones(distances.shape[1]) if weights is None else weights
    log_weights = np.log(
        np.broadcast_to(weights, distances.shape), where=weights > 0, out=np.full(distances.shape, -np.inf)
    )
    if own:
        left = np.maximum(weights - 1, 0) if np.array_equal(weights, np.rint(weights)) else np.zeros(len(weights))
        with np.errstate(divide="ignore"):
            np.fill_diagonal(log_weights, np.log(left))
    with np.errstate(divide="ignore"):
        return softmax(oracle.KERNELS[kernel](np.square(distances / bandwidth)) + log_weights, axis=1)


@pytest.fixture(scope="module")
def line():
    """A feature in ascending order, queries, distances from rows and from queries to rows, and a target."""
    rng = np.random.default_rng(0)
    X = np.sort(rng.uniform(-2, 2, size=(80, 1)), axis=0)
    queries = rng.uniform(-2.3, 2.3, size=(25, 1))
    return X, queries, cdist(X, X), cdist(queries, X), np.sin(2 * X[:, 0]) + 0.3 * rng.normal(size=80)


# Against the engine of all pairs, and the definition.


@pytest.mark.parametrize("weights", sorted(WEIGHTS))
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("bandwidth", [0.05, 0.7])
def test_euclidean_distances_give_what_coordinates_give(kernel, weights, bandwidth):
    X, y = wave()
    queries, sample_weight = X[:20] + 0.11, weighting(weights, len(X))
    parameters = {"bandwidth": bandwidth, "kernel": kernel}
    model = NadarayaWatsonRegressor(**parameters, algorithm="dense").fit(X, y, sample_weight)
    given = regressor(**parameters).fit(cdist(X, X), y, sample_weight)
    for points, distances in ((queries, cdist(queries, X)), (3 * queries, cdist(3 * queries, X)), (None, None)):
        tolerance = {"rtol": 0, "atol": 1e-12}
        np.testing.assert_allclose(given.predict(distances), model.predict(points), **tolerance)
        np.testing.assert_allclose(given.attention_weights(distances), model.attention_weights(points), **tolerance)
        np.testing.assert_allclose(
            given.effective_neighbors(distances), model.effective_neighbors(points), rtol=1e-11, atol=0
        )
    assert given.algorithm_ == "dense"
    np.testing.assert_array_equal(given.bandwidth_, [bandwidth])
    np.testing.assert_array_equal(given.feature_importances_, [1.0])


@pytest.mark.parametrize("weights", sorted(WEIGHTS))
@pytest.mark.parametrize("kernel", ["gaussian", "exponential", "logistic", "cauchy"])
def test_the_axis_of_queries_is_the_first(kernel, weights, rng):
    distances, asked, y = rng.gamma(2, size=(50, 50)), rng.gamma(2, size=(9, 50)), rng.normal(size=(50, 2))
    sample_weight = weighting(weights, 50)
    model = regressor(0.2, kernel=kernel).fit(distances, y, sample_weight)
    expected = defined(asked, 0.2, kernel, sample_weight)
    np.testing.assert_allclose(model.attention_weights(asked), expected, atol=1e-13)
    np.testing.assert_allclose(model.predict(asked), expected @ y, atol=1e-12)
    left_out = defined(distances, 0.2, kernel, sample_weight, own=True)
    np.fill_diagonal(distances, 0.0)  # the diagonal does not matter in leave-one-out
    if weights == "counts":
        left_out = defined(distances, 0.2, kernel, sample_weight, own=True)
    np.testing.assert_allclose(model.attention_weights(), left_out, atol=1e-13)
    np.testing.assert_allclose(model.predict(None), left_out @ y, atol=1e-12)


@pytest.mark.parametrize("weights", sorted(WEIGHTS))
@pytest.mark.parametrize("kernel", ["gaussian", "exponential", "boxcar", "tricube"])
@pytest.mark.parametrize("n_neighbors", [1, 7, 500])
def test_widths_follow_neighbours(line, kernel, weights, n_neighbors):
    X, queries, distances, asked, y = line
    X, distances = np.round(X, 1), np.round(distances, 1)  # some rows are equal
    distances, asked = cdist(X, X), cdist(queries, X)
    parameters, sample_weight = {"n_neighbors": n_neighbors, "kernel": kernel}, weighting(weights, len(X))
    model = NadarayaWatsonRegressor(**parameters, algorithm="dense").fit(X, y, sample_weight)
    given = regressor(**parameters).fit(distances, y, sample_weight)
    np.testing.assert_allclose(given.predict(asked), model.predict(queries), atol=1e-12)
    np.testing.assert_allclose(given.predict(None), model.predict(None), atol=1e-12)
    np.testing.assert_allclose(given.attention_weights(asked), model.attention_weights(queries), atol=1e-12)


METHODS = {
    "predict": lambda model, X: model.predict(X),
    "std": lambda model, X: model.predict(X, return_std=True)[1],
    "interval": lambda model, X: model.predict_interval(X, 0.8),
    "quantiles": lambda model, X: model.predict_quantiles(X),
    "distribution": lambda model, X: model.predict_cdf(X, [-0.5, 0.0, 0.7]),
    "samples": lambda model, X: model.sample_y(X, 4),
    "standard error": lambda model, X: model.standard_error(X),
    "sparse attention": lambda model, X: model.attention_weights(X, sparse_output=True).toarray(),
    "view": lambda model, X: np.asarray(model.attention_weights_),
    "products with the view": lambda model, X: model.attention_weights_ @ model.values_,
}


@pytest.mark.parametrize("weights", sorted(WEIGHTS))
@pytest.mark.parametrize("n_neighbors", [None, 9])
@pytest.mark.parametrize("method", METHODS)
def test_methods_of_regressors(line, method, n_neighbors, weights):
    X, queries, distances, asked, y = line
    y, sample_weight = np.column_stack([y, np.abs(y)]), weighting(weights, len(X))
    model = NadarayaWatsonRegressor(0.3, n_neighbors=n_neighbors, algorithm="dense").fit(X, y, sample_weight)
    given = regressor(0.3, n_neighbors=n_neighbors).fit(distances, y, sample_weight)
    for points, rows in ((queries, asked), (None, None)):
        np.testing.assert_allclose(METHODS[method](given, rows), METHODS[method](model, points), rtol=0, atol=1e-12)


def test_quantiles_of_many_rows(rng):
    """More rows than a leaf of the tree has, and rows of weight zero."""
    X, y = rng.normal(size=(600, 1)), rng.normal(size=600)
    queries, weights = rng.normal(size=(40, 1)), rng.integers(0, 3, size=600)
    model = NadarayaWatsonRegressor(0.2, algorithm="dense").fit(X, y, weights)
    given = regressor(0.2).fit(cdist(X, X), y, weights)
    levels = [0.1, 0.5, 0.77]
    np.testing.assert_array_equal(
        given.predict_quantiles(cdist(queries, X), levels), model.predict_quantiles(queries, levels)
    )
    np.testing.assert_array_equal(given.predict_quantiles(None, levels), model.predict_quantiles(None, levels))


@pytest.mark.parametrize("n_neighbors", [None, 9])
def test_diagnostics(line, n_neighbors):
    X, _, distances, _, y = line
    found = regressor(0.3, n_neighbors=n_neighbors).fit(distances, y).diagnostics()
    expected = NadarayaWatsonRegressor(0.3, n_neighbors=n_neighbors, algorithm="dense").fit(X, y).diagnostics()
    assert set(found) == set(expected)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("weights", sorted(WEIGHTS))
def test_classifiers(line, weights):
    X, queries, distances, asked, y = line
    labels, sample_weight = np.array(["low", "middle", "high"])[np.digitize(y, [-0.5, 0.5])], weighting(weights, len(X))
    model = NadarayaWatsonClassifier(0.3, algorithm="dense").fit(X, labels, sample_weight)
    given = classifier(0.3).fit(distances, labels, sample_weight)
    for points, rows in ((queries, asked), (None, None)):
        np.testing.assert_allclose(given.predict_proba(rows), model.predict_proba(points), atol=1e-12)
        np.testing.assert_array_equal(given.predict(rows), model.predict(points))
        np.testing.assert_array_equal(given.predict_set(rows, 0.8), model.predict_set(points, 0.8))
    np.testing.assert_allclose(given.diagnostics().gcv, model.diagnostics().gcv, rtol=1e-12)


@pytest.mark.parametrize("empty", EMPTY)
def test_queries_without_neighbours(empty):
    distances = np.array([[0.0, 1.0, 3.0], [1.0, 0.0, 2.0], [3.0, 2.0, 0.0]])
    model = regressor(0.5, kernel="epanechnikov", empty=empty).fit(distances, [1.0, 3.0, 8.0])
    if empty == "raise":
        with pytest.raises(ValueError, match="1 of 2 queries have no training point"):
            model.predict([[4.0, 2.0, 2.0], [0.1, 0.9, 3.0]])
    else:
        expected = {"nearest": 5.5, "mean": 4.0, "nan": np.nan}[empty]
        np.testing.assert_array_equal(model.predict([[4.0, 2.0, 2.0], [0.1, 0.9, 3.0]]), [expected, 1.0])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kernel", ["gaussian", "exponential", "cauchy", "epanechnikov", "boxcar"])
@pytest.mark.parametrize("n_neighbors", [None, 3])
def test_extreme_distances(line, kernel, n_neighbors):
    _, _, distances, asked, y = line
    fill = distances.copy()
    fill[:3, 3:] = fill[3:, :3] = np.finfo(float).max  # rows that cannot be reached
    for bandwidth in (1e-300, 1e-5, 1.0, 1e300, "silverman"):
        model = regressor(bandwidth, n_neighbors=n_neighbors, kernel=kernel).fit(fill, y)
        for rows in (fill, None, np.full((2, 80), 1e308), 1e200 * asked, 1e-200 * asked):
            attention = model.attention_weights(rows)
            np.testing.assert_allclose(attention.sum(axis=1), 1)
            np.testing.assert_allclose(model.predict(rows), np.clip(attention @ y, y.min(), y.max()), atol=1e-12)
    nearest = regressor(1e-300, kernel=kernel).fit(distances, y)
    if kernel != "cauchy":
        np.testing.assert_allclose(nearest.predict(distances), y, atol=1e-14)


def test_far_queries_get_the_nearest_key(line):
    _, _, distances, asked, y = line
    model = regressor(0.1).fit(distances, y)
    np.testing.assert_allclose(model.predict(asked + 1e6), y[asked.argmin(axis=1)], atol=1e-14)


# The bandwidth.


@pytest.mark.parametrize("kernel", ["gaussian", "boxcar", "exponential"])
@pytest.mark.parametrize("weights", sorted(WEIGHTS))
def test_rules_of_thumb_are_those_of_one_feature(line, kernel, weights):
    X, _, distances, _, y = line
    sample_weight = weighting(weights, len(X))
    counted = np.ones(len(X)) if sample_weight is None else sample_weight
    n = counted.sum() ** 2 / np.square(counted).sum() if weights == "importances" else counted.sum()
    mean = np.average(X[:, 0], weights=counted)
    scale = np.sqrt(np.average(np.square(X[:, 0] - mean), weights=counted))
    expected = {"silverman": scale * (4 / (3 * n)) ** 0.2, "scott": scale * n**-0.2}
    for rule, bandwidth in expected.items():
        model = regressor(rule, kernel=kernel).fit(distances, y, sample_weight)
        np.testing.assert_allclose(model.bandwidth_, [canonical_ratio(KERNELS[kernel], 1) * bandwidth], rtol=1e-12)
        larger = clone(model).fit(1e-160 * distances, y, sample_weight)
        np.testing.assert_allclose(larger.bandwidth_, 1e-160 * model.bandwidth_, rtol=1e-12)


@pytest.mark.parametrize("kernel", ["gaussian", "epanechnikov", "cauchy"])
@pytest.mark.parametrize("parameters", [{}, {"n_neighbors": 8}, {"n_neighbors": "loo"}, {"empty": "mean"}])
def test_learning_gives_what_one_feature_gives(line, kernel, parameters):
    X, _, distances, _, y = line
    model = NadarayaWatsonRegressor("loo", kernel=kernel, algorithm="dense", **parameters).fit(X, y)
    given = regressor("loo", kernel=kernel, **parameters).fit(distances, y)
    np.testing.assert_allclose(given.bandwidth_, model.bandwidth_, rtol=1e-6)
    np.testing.assert_allclose(given.loo_loss_, model.loo_loss_, rtol=1e-9)
    np.testing.assert_allclose(given.loo_path_["loss"], model.loo_path_["loss"], rtol=1e-6)
    assert given.n_neighbors_ == model.n_neighbors_


def test_the_bandwidth_of_many_features_is_learned():
    X, y = wave(n=200, d=5, noise=0.1)
    distances = cdist(X, X)
    learned, fixed = regressor("loo").fit(distances, y), regressor().fit(distances, y)
    np.testing.assert_allclose(learned.loo_loss_, np.mean(np.square(learned.predict(None) - y)), rtol=1e-9)
    losses = [np.mean(np.square(regressor(h).fit(distances, y).predict(None) - y)) for h in np.geomspace(0.2, 2, 30)]
    assert learned.loo_loss_ <= 1.0001 * min(losses)
    assert learned.loo_loss_ < np.mean(np.square(fixed.predict(None) - y))


@pytest.mark.parametrize("rule", [0.3, "silverman"])
def test_counts_are_repetitions(line, rule):
    _, _, distances, asked, y = line
    counts = np.arange(80) % 3
    rows = np.repeat(np.arange(80), counts)
    weighted = regressor(rule).fit(distances, y, counts)
    repeated = regressor(rule).fit(distances[np.ix_(rows, rows)], y[rows])
    np.testing.assert_allclose(weighted.bandwidth_, repeated.bandwidth_, rtol=1e-12)
    np.testing.assert_allclose(weighted.predict(asked), repeated.predict(asked[:, rows]), atol=1e-12)
    np.testing.assert_allclose(weighted.predict(None)[rows], repeated.predict(None), atol=1e-12)


@pytest.mark.parametrize("rounded", [False, True])
def test_learning_does_not_see_copies(line, rounded):
    """A bootstrap sample; in a table of few values, equal rows are observations of their own."""
    X, _, _, _, y = line
    if rounded:
        X, y = np.round(X), np.round(y)
    rows = np.random.default_rng(0).integers(0, 80, size=80)
    distances = cdist(X, X)[np.ix_(rows, rows)]
    model = NadarayaWatsonRegressor("loo", algorithm="dense").fit(X[rows], y[rows])
    given = regressor("loo").fit(distances, y[rows])
    np.testing.assert_allclose(given.loo_path_["loss"][-1], model.loo_path_["loss"][-1], rtol=1e-9)
    np.testing.assert_allclose(given.bandwidth_, model.bandwidth_, rtol=0.05)
    weighted = regressor("loo").fit(cdist(X, X), y, np.bincount(rows, minlength=80))
    np.testing.assert_allclose(weighted.bandwidth_, given.bandwidth_, rtol=1e-9)


def test_equal_rows_are_averaged():
    model = regressor().fit(np.zeros((4, 4)), [0.0, 1.0, 2.0, 5.0])
    np.testing.assert_array_equal(model.bandwidth_, [np.inf])
    np.testing.assert_array_equal(model.predict([[1.0, 2.0, 3.0, 4.0]]), [2.0])
    np.testing.assert_array_equal(model.feature_importances_, [0.0])


# Inputs, memory, and what distances do not have.


def test_invalid_distances(line):
    _, _, distances, asked, y = line
    model = regressor(0.3).fit(distances, y)
    with pytest.raises(ValueError, match=r"Precomputed matrix must be square\. Input is a 80x79 matrix"):
        model.fit(distances[:, :79], y)
    with pytest.raises(ValueError, match="X has 79 features, but NadarayaWatsonRegressor is expecting 80 features"):
        model.predict(asked[:, :79])
    for call in (lambda X: model.fit(X, y), model.predict):
        for value, message in ((np.nan, "Input X contains NaN"), (np.inf, "Input X contains infinity")):
            invalid = distances.copy()
            invalid[3, 5] = value
            with pytest.raises(ValueError, match=message):
                call(invalid)
        with pytest.raises(ValueError, match="Negative values in data passed to a precomputed distance matrix"):
            call(distances - 0.1)
        with pytest.raises(TypeError, match="Sparse data was passed"):
            call(csr_array(distances))
    np.testing.assert_array_equal(model.predict(asked), regressor(0.3).fit(distances, y).predict(asked))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"bandwidth": "loo_ard"}, 'bandwidth="loo_ard" learns a bandwidth for each feature'),
        ({"bandwidth": [0.1, 0.2]}, r'metric="precomputed" .* takes one number as bandwidth; got \[0.1, 0.2\]'),
        ({"bandwidth": np.ones(80)}, "takes one number as bandwidth"),
        ({"bandwidth": [-1.0]}, "bandwidth must be positive"),
        ({"algorithm": "sorted"}, 'algorithm=\'sorted\' requires features, .* use "auto" or "dense"'),
        ({"algorithm": "blocks"}, "algorithm='blocks' requires features"),
        ({"categorical_features": [0]}, "no features, of which none can be categorical"),
        ({"metric": "manhattan"}, "'metric' parameter of NadarayaWatsonRegressor must be a str among"),
    ],
)
def test_parameters_that_distances_do_not_allow(line, parameters, message):
    with pytest.raises(ValueError, match=message):
        regressor().set_params(**parameters).fit(line[2], line[4])


def test_what_requires_features_says_so(line, plt):
    _, _, distances, asked, y = line
    model = regressor(0.3).fit(distances, y)
    assert not hasattr(model, "score_samples")
    assert not hasattr(classifier(0.3).fit(distances, y > 0), "score_samples")
    with pytest.raises(ValueError, match='gradients are derivatives by features, but metric="precomputed"'):
        model.gradients(asked)
    with pytest.raises(ValueError, match='CurveDisplay requires features, but metric="precomputed"'):
        CurveDisplay.from_estimator(model)
    with pytest.raises(ValueError, match='AttentionProjection requires features, but metric="precomputed"'):
        AttentionProjection(model).fit(distances, y)


def test_displays(line, plt):
    _, _, distances, asked, y = line
    order = np.random.default_rng(0).permutation(80)
    model = regressor("loo").fit(distances[np.ix_(order, order)], y[order])
    display = AttentionDisplay.from_estimator(model, asked[:, order])
    expected = np.arange(80) if order[display.key_order[0]] == 0 else np.arange(80)[::-1]
    np.testing.assert_array_equal(order[display.key_order], expected)  # the order along the line
    assert display.sorted_by.startswith("distance to training row")
    np.testing.assert_array_equal(AttentionDisplay.from_estimator(model, order="given").key_order, np.arange(80))
    assert BandwidthDisplay.from_estimator(model).best_loss == model.loo_loss_


def test_distances_are_stored_once(line):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(700, 3)), rng.normal(size=700)
    distances = cdist(X, X)
    tracemalloc.start()
    try:
        model = regressor().fit(distances, y)
        _, of_fit = tracemalloc.get_traced_memory()
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        model.predict(distances)
        model.predict(None)
        model.predict_quantiles(distances)
        _, of_predictions = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1.1 * distances.nbytes
    assert of_fit < 1.6 * distances.nbytes
    assert of_predictions < held + 1.1 * distances.nbytes
    np.testing.assert_array_equal(model.keys_, distances)
    assert not np.shares_memory(model.keys_, distances)


def test_pickles_and_data_frames(line):
    _, _, distances, asked, y = line
    names = [f"row {i}" for i in range(80)]
    model = regressor("loo").fit(pd.DataFrame(distances, columns=names), y)
    np.testing.assert_array_equal(model.feature_names_in_, names)
    assert len(pickle.dumps(model)) < 1.5 * distances.nbytes
    queries = pd.DataFrame(asked, columns=names)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict(queries), model.predict(queries))
    np.testing.assert_array_equal(copy.predict(None), model.predict(None))
    np.testing.assert_array_equal(copy.feature_importances_, [1.0])


# scikit-learn.


def test_cross_validation_takes_rows_and_columns(line):
    X, _, distances, _, y = line
    grid = {"bandwidth": [0.05, 0.2, 1.0]}
    assert get_tags(regressor()).input_tags.pairwise
    assert not get_tags(NadarayaWatsonRegressor()).input_tags.pairwise
    np.testing.assert_allclose(
        cross_val_score(regressor(0.2), distances, y),
        cross_val_score(NadarayaWatsonRegressor(0.2, algorithm="dense"), X, y),
        atol=1e-12,
    )
    search = GridSearchCV(regressor(), grid).fit(distances, y)
    expected = GridSearchCV(NadarayaWatsonRegressor(algorithm="dense"), grid).fit(X, y)
    assert search.best_params_ == expected.best_params_
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"])


@parametrize_with_checks(
    [
        make(bandwidth, n_neighbors=n_neighbors)
        for make in (regressor, classifier)
        for bandwidth, n_neighbors in (("silverman", None), ("scott", 5))
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


# Distances of others.


def gower(X, Y, ranges, is_categorical):
    """Gower's distance: the mean over features of |x - y| / range, and of whether categories differ."""
    numbers = cdist(X[:, ~is_categorical] / ranges, Y[:, ~is_categorical] / ranges, "cityblock")
    categories = sum(np.not_equal.outer(X[:, f], Y[:, f]) for f in np.flatnonzero(is_categorical))
    return (numbers + categories) / X.shape[1]


@pytest.mark.parametrize("kernel", ["gaussian", "exponential"])
def test_gower_distances(kernel, rng):
    X = np.column_stack([rng.normal(size=(150, 2)) * [1, 50], rng.integers(0, 4, size=(150, 2))])
    y = X[:, 0] + 2 * (X[:, 2] == 1) + 0.1 * rng.normal(size=150)
    known = ([1.0, 50.0], np.array([False, False, True, True]))
    train, test = X[:100], X[100:]
    distances, asked = gower(train, train, *known), gower(test, train, *known)
    model = regressor("loo", kernel=kernel).fit(distances, y[:100])
    expected = defined(asked, model.bandwidth_[0], kernel)
    np.testing.assert_allclose(model.predict(asked), expected @ y[:100], atol=1e-12)
    assert model.score(asked, y[100:]) > 0.7


def test_distances_on_a_globe(rng):
    """A range of great circles on both sides of the date line."""
    places = np.radians(np.column_stack([rng.uniform(-20, 20, size=200), rng.uniform(160, 200, size=200)]))
    y = np.sin(6 * places[:, 1]) * np.cos(4 * places[:, 0])
    places[:, 1] = (places[:, 1] + np.pi) % (2 * np.pi) - np.pi
    distances = 6371 * haversine_distances(places)
    train, test = np.arange(150), np.arange(150, 200)
    model = regressor("loo").fit(distances[np.ix_(train, train)], y[train])
    assert 20 < model.bandwidth_[0] < 1000
    assert model.score(distances[np.ix_(test, train)], y[test]) > 0.95


def test_the_search_warns_of_copies_that_are_not_recognised(rng):
    """Distances between pairs of twins, which differ by next to nothing."""
    X = np.repeat(rng.normal(size=(30, 1)), 2, axis=0) + 1e-9 * rng.normal(size=(60, 1))
    with pytest.warns(ConvergenceWarning, match="lower end of the search"):
        regressor("loo").fit(cdist(X, X), np.repeat(rng.normal(size=30), 2))
