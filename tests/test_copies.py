"""Copies of rows are one row to whatever learns; equal rows of a table of few values are not copies."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import BaggingRegressor
from sklearn.exceptions import ConvergenceWarning

from sknw import BandwidthDisplay, NadarayaWatsonClassifier, NadarayaWatsonRegressor
from sknw._learning.copies import make_sample

each = pytest.mark.parametrize("bandwidth", ["loo", "loo_ard"])


def wave(n=200, d=2, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.uniform(0, 6, size=(n, d))
    return X, np.sin(X[:, 0]) + 0.3 * rng.normal(size=n)


def sample_of(X, y, weights=None):
    weights = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=float)
    return make_sample(X, y, y.reshape(len(y), -1), weights)


# The rows to learn from


def test_rows_that_are_all_distinct_stay_as_they_are():
    X, y = wave()
    X[:, 0] = np.round(X[:, 0])
    sample = sample_of(X, y)
    assert sample.keys is X
    np.testing.assert_array_equal(sample.rows, np.arange(200))


def test_copies_are_one_row_with_their_weight():
    X, y = wave(6)
    rows = np.array([3, 1, 3, 0, 5, 3, 1])
    sample = sample_of(X[rows], y[rows], [1, 1, 1, 0, 1, 1, 2])
    assert len(sample.keys) == 3  # one has no weight
    np.testing.assert_array_equal(sample.rows[[0, 2, 5]], sample.rows[0])
    assert sample.rows[3] == -1
    np.testing.assert_array_equal(sample.keys[sample.rows[[0, 1, 4]]], X[[3, 1, 5]])
    np.testing.assert_array_equal(sample.values[sample.rows[[0, 1, 4]], 0], y[[3, 1, 5]])
    np.testing.assert_allclose(sample.weights[sample.rows[[0, 1, 4]]], np.array([3, 3, 1]) / 7)


def test_a_count_and_its_rows_give_the_same_sample():
    for X, y in (wave(), (np.tile(np.arange(5.0), 40)[:, None], np.repeat([0.0, 1.0], 100))):
        counts = np.random.default_rng(1).integers(0, 4, size=200)
        order = np.random.default_rng(2).permutation(counts.sum())
        repeated = sample_of(X.repeat(counts, axis=0)[order], y.repeat(counts)[order])
        for one, other in zip(sample_of(X, y, counts)[:3], repeated[:3], strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("by", ["x", "y"])
def test_either_of_x_and_y_may_identify_rows(by):
    rng = np.random.default_rng(0)
    many, few = rng.normal(size=100), rng.integers(3, size=100).astype(float)
    rows = np.arange(150) % 100
    X, y = (many, few) if by == "x" else (few, many)
    assert len(sample_of(X[rows, None], y[rows]).keys) == 100


def test_tables_of_few_values_keep_a_unit_of_each_row():
    rng = np.random.default_rng(0)
    X, y = rng.integers(4, size=(400, 2)) * 1.0, rng.integers(2, size=400) * 1.0
    sample = sample_of(X, y)
    assert len(sample.keys) == 32
    assert sample.weights.sum() == 400
    np.testing.assert_array_equal(sample.keys[sample.rows], X)
    np.testing.assert_array_equal(sample.values[sample.rows, 0], y)
    weights = rng.random(400)  # of importances the row goes
    assert sample_of(X, y, weights).keys is X


def test_few_rows_are_no_copies():
    """Ten categories identify their label, and each stands for forty observations."""
    category = np.random.default_rng(0).integers(10, size=(400, 1)) * 1.0
    sample = sample_of(category, category[:, 0] % 3)
    assert len(sample.keys) == 10
    assert sample.weights.sum() == 400


def test_equal_x_with_fresh_y_are_observations():
    X, y = wave()
    X[100:] = X[:100]
    assert len(sample_of(X, y).keys) == 200


def test_labels_of_any_type():
    X = np.repeat(np.arange(30.0), 2)[:, None]
    for labels in (np.array(["a", "b", "c"]), np.array([True, False, True]), np.array(["x", "y", "z"], dtype=object)):
        y = np.repeat(labels[np.arange(30) % 3], 2)
        assert len(make_sample(X, y, np.zeros((60, 3)), np.ones(60)).keys) == 30
    targets = np.repeat(np.random.default_rng(0).normal(size=(30, 2)), 2, axis=0)
    assert len(make_sample(np.zeros((60, 1)), targets, targets, np.ones(60)).keys) == 30


# What is learned from them


@each
@pytest.mark.parametrize("d", [1, 2, 3])
def test_whole_numbers_as_weights_learn_as_their_ratios(bandwidth, d):
    X, y = wave(300, d)
    counts = np.random.default_rng(0).integers(1, 6, size=300)
    by_counts, by_ratios = (NadarayaWatsonRegressor(bandwidth).fit(X, y, w) for w in (counts, counts / 7))
    np.testing.assert_allclose(by_counts.bandwidth_, by_ratios.bandwidth_, rtol=1e-6)
    assert by_counts.loo_loss_ == pytest.approx(by_ratios.loo_loss_, rel=1e-6)


@each
@pytest.mark.parametrize("d", [3, 10])
def test_a_bootstrap_sample_learns_as_its_distinct_rows(bandwidth, d):
    X, y = load_diabetes(return_X_y=True)
    X = X[:, [2, 3, 8]] if d == 3 else X
    rows = np.random.default_rng(0).integers(len(y), size=len(y))
    distinct, counts = np.unique(rows, return_counts=True)
    drawn = NadarayaWatsonRegressor(bandwidth).fit(X[rows], y[rows])
    learned = NadarayaWatsonRegressor(bandwidth).fit(X[distinct], y[distinct], counts / len(rows))
    np.testing.assert_allclose(drawn.bandwidth_, learned.bandwidth_, rtol=1e-6)
    assert drawn.loo_loss_ == pytest.approx(learned.loo_loss_, rel=1e-6)
    np.testing.assert_array_equal(drawn.loo_rows_, np.arange(len(rows)))
    for name in ("factor", "loss"):
        np.testing.assert_allclose(drawn.loo_path_[name], learned.loo_path_[name], rtol=1e-6)


@each
def test_classes_that_are_oversampled(bandwidth):
    X, y = load_iris(return_X_y=True)
    rows = np.repeat(np.arange(150), np.where(y == 0, 30, 1))
    model = NadarayaWatsonClassifier(bandwidth).fit(X[rows], y[rows])
    assert model.bandwidth_.min() > 0.05 * X.std()
    np.testing.assert_array_equal(model.loo_rows_, np.arange(len(rows)))


def test_bagging_finds_no_reason_for_a_small_bandwidth():
    X, y = load_diabetes(return_X_y=True)
    scores = [
        BaggingRegressor(NadarayaWatsonRegressor(bandwidth), 20, oob_score=True, random_state=0)
        .fit(X[:, [2, 3, 8]], y)
        .oob_score_
        for bandwidth in ("silverman", "loo")
    ]
    assert scores[1] >= scores[0]


def test_the_record_is_of_training_rows():
    X, y = wave(50, 1)
    rows = np.r_[np.arange(50), 7, 7]
    weights = np.ones(52)
    weights[3] = 0
    model = NadarayaWatsonRegressor("loo").fit(X[rows], y[rows], weights)
    np.testing.assert_array_equal(model.loo_rows_, np.delete(np.arange(52), 3))
    errors = []
    for row in np.delete(np.arange(50), 3):
        others = (rows != row) & (weights > 0)
        alone = NadarayaWatsonRegressor(model.bandwidth_).fit(X[rows][others], y[rows][others])
        errors += [np.square(alone.predict(X[[row]])[0] - y[row])] * (3 if row == 7 else 1)
    assert model.loo_loss_ == pytest.approx(np.mean(errors), rel=1e-10)


def test_the_picture_counts_from_the_same_start():
    X, y = wave(100, 1)
    model = NadarayaWatsonRegressor("loo").fit(X, y, np.arange(100) % 5 + 1)
    display = BandwidthDisplay.from_estimator(model)
    nearest = np.argsort(np.abs(np.log(model.loo_path_["factor"][:-1] / display.best_factor)))[:2]
    assert display.best_loss <= model.loo_path_["loss"][nearest].min()
    assert np.argmin(model.loo_path_["loss"]) in nearest


def test_predictions_leave_one_unit_out_all_the_same():
    X, y = wave(50, 1)
    rows = np.r_[np.arange(50), np.arange(50)]
    model = NadarayaWatsonRegressor("loo").fit(X[rows], y[rows])
    given = NadarayaWatsonRegressor(model.bandwidth_).fit(X, y, np.full(50, 2))
    np.testing.assert_allclose(model.predict(None)[:50], given.predict(None), rtol=1e-12)


def test_the_warning_at_the_edge_names_copies():
    """Copies that a little noise hides are beyond the rule."""
    X, y = wave(50, 1)
    X, y = np.r_[X, X + 1e-9], np.r_[y, y + 1e-9]
    with pytest.warns(ConvergenceWarning, match="copies"):
        NadarayaWatsonRegressor("loo").fit(X, y)
