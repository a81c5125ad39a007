"""Bandwidths learned by leave-one-out: the loss is what it says, and what is learned is what should be."""

import numpy as np
import pytest
from samples import wave, weighting
from sklearn.base import clone
from sklearn.datasets import load_iris, make_friedman1
from sklearn.exceptions import ConvergenceWarning

from sknw import NadarayaWatsonClassifier, NadarayaWatsonRegressor
from sknw._kernels import KERNELS

BOTH = [NadarayaWatsonRegressor, NadarayaWatsonClassifier]
LEARNED = ["loo", "loo_ard"]
COMPACT = [name for name, kernel in KERNELS.items() if kernel.compact]
every_kernel = pytest.mark.parametrize("kernel", KERNELS)
each = pytest.mark.parametrize("bandwidth", LEARNED)


def refitted_error(model, X, y, weights, copies=True):
    """The weighted mean squared error of estimators fitted without each row in turn; without a unit of it, if equal
    rows are no copies.
    """
    weights = np.ones(len(X)) if weights is None else weights
    counts = np.all(weights == np.rint(weights)) and not copies
    errors = np.zeros(len(X))
    for i in np.flatnonzero(weights):
        without = weights.copy()
        without[i] = without[i] - 1 if counts else 0
        kept = without > 0
        other = clone(model).set_params(bandwidth=model.bandwidth_).fit(X[kept], y[kept], without[kept])
        errors[i] = np.square(other.predict(X[[i]])[0] - y[i]).sum()
    return np.average(errors, weights=weights)


@each
@pytest.mark.parametrize("weights", ["none", "counts", "importances"])
def test_a_unit_is_left_out_where_equal_rows_are_no_copies(weights, bandwidth, enough_rows):
    rng = np.random.default_rng(0)
    X = rng.integers(4, size=(60, 2)) * 1.0
    y, weights = np.round(X.sum(axis=1) / 2 + rng.normal(size=60)), weighting(weights, 60)
    model = NadarayaWatsonRegressor(bandwidth).fit(X, y, weights)
    assert model.loo_loss_ == pytest.approx(refitted_error(model, X, y, weights, copies=False), rel=1e-9)


@pytest.mark.filterwarnings("ignore:the leave-one-out loss is least at the lower end")  # for cauchy it is
@each
@pytest.mark.parametrize("weights", ["none", "counts", "importances"])
@every_kernel
def test_the_loss_is_that_of_refitting_without_each_row(kernel, weights, bandwidth, enough_rows):
    X, y = wave(n=25)
    y = np.column_stack([y, -2 * y + X[:, 1]])
    weights = weighting(weights, len(X))
    model = NadarayaWatsonRegressor(bandwidth, kernel=kernel).fit(X, y, weights)
    assert model.loo_loss_ == pytest.approx(refitted_error(model, X, y, weights), rel=1e-9)


@pytest.mark.parametrize("weights", ["none", "counts", "importances"])
@pytest.mark.parametrize("empty", ["nearest", "mean", "nan", "raise"])
@pytest.mark.parametrize("kernel", COMPACT)
def test_the_loss_follows_the_policy_for_rows_without_a_neighbour(kernel, empty, weights):
    X, y = wave(n=50, d=1, noise=0.1)
    X[0] = 50.0
    weights = weighting(weights, len(X))
    model = NadarayaWatsonRegressor("loo", kernel=kernel, empty=empty).fit(X, y, weights)
    followed = model.set_params(empty=empty if empty == "mean" else "nearest")
    assert model.loo_loss_ == pytest.approx(refitted_error(followed, X, y, weights), rel=1e-9)
    assert np.isfinite(model.bandwidth_).all()


@each
@pytest.mark.parametrize("weights", ["none", "importances"])
def test_the_record_agrees_with_predictions_and_scores(bandwidth, weights, enough_rows):
    X, y = wave()
    weights = weighting(weights, len(X))
    model = NadarayaWatsonRegressor(bandwidth).fit(X, y, weights)
    error = np.average(np.square(model.predict(None) - y), weights=weights)
    spread = np.average(np.square(y - np.average(y, weights=weights)), weights=weights)
    assert model.loo_loss_ == pytest.approx(error, rel=1e-12)
    assert model.score(None, y, sample_weight=weights) == pytest.approx(1 - model.loo_loss_ / spread, rel=1e-12)
    assert model.loo_loss_ <= model.loo_path_["loss"].min()
    assert np.all(np.diff(model.loo_path_["factor"]) > 0)
    np.testing.assert_array_equal(model.loo_rows_, np.arange(60) if weights is None else np.flatnonzero(weights))
    assert model.n_iter_ > len(model.loo_path_["factor"])


def test_the_sweep_is_what_it_says():
    X, y = wave()
    silverman = NadarayaWatsonRegressor().fit(X, y).bandwidth_
    path = NadarayaWatsonRegressor("loo").fit(X, y).loo_path_
    for factor, loss in zip(path["factor"], path["loss"], strict=True):
        model = NadarayaWatsonRegressor(factor * silverman).fit(X, y)
        assert loss == pytest.approx(np.mean(np.square(model.predict(None) - y)), rel=1e-9)


@each
def test_probabilities_have_the_brier_score(bandwidth, enough_rows):
    X, y = load_iris(return_X_y=True)
    X, first = np.unique(X, axis=0, return_index=True)  # one flower is there twice
    y = y[first]
    model = NadarayaWatsonClassifier(bandwidth).fit(X, y)
    brier = np.square(model.predict_proba(None) - np.eye(3)[y]).sum(axis=1).mean()
    assert model.loo_loss_ == pytest.approx(brier, rel=1e-12)
    assert model.score(None, y) > 0.93


@each
def test_two_classes_choose_as_regression_on_0_and_1(bandwidth):
    X, y = wave(n=200, noise=0.6)
    labels = np.where(y > 0, "yes", "no")
    classifier = NadarayaWatsonClassifier(bandwidth).fit(X, labels)
    regressor = NadarayaWatsonRegressor(bandwidth).fit(X, y > 0)
    np.testing.assert_allclose(classifier.bandwidth_, regressor.bandwidth_, rtol=1e-3)
    assert classifier.loo_loss_ == pytest.approx(2 * regressor.loo_loss_, rel=1e-8)


@each
@pytest.mark.parametrize("kernel", ["gaussian", "exponential", "epanechnikov", "boxcar"])
def test_invariances(bandwidth, kernel):
    X, y = wave(n=80)
    X = np.round(X, 3)
    plain = NadarayaWatsonRegressor(bandwidth, kernel=kernel).fit(X, y)
    order = np.random.default_rng(0).permutation(len(X))
    inputs = [(X + 16, y, 1), (X * 2.0**9, y, 2.0**9), (X[order], y[order], 1)]
    inputs += [(X, 5 - 3 * y, 1), (X, 2.0**300 * y, 1), (X, 2.0**-300 * y, 1)]
    for rows, targets, scale in inputs:
        other = NadarayaWatsonRegressor(bandwidth, kernel=kernel).fit(rows, targets)
        np.testing.assert_allclose(other.bandwidth_, plain.bandwidth_ * scale, rtol=1e-3)
        spread = np.var(targets) / np.var(y)
        assert other.loo_loss_ == pytest.approx(plain.loo_loss_ * spread, rel=1e-6)


@each
@pytest.mark.parametrize("kernel", ["gaussian", "epanechnikov", "boxcar"])
@pytest.mark.parametrize("empty", ["nearest", "mean"])
@pytest.mark.parametrize("exponent", [-1000, 1000])
def test_targets_near_the_ends_of_floats(bandwidth, kernel, empty, exponent):
    """The bandwidth is the same; the loss, a square, is not always a float."""
    X, y = wave(n=80)
    plain, other = (
        NadarayaWatsonRegressor(bandwidth, kernel=kernel, empty=empty).fit(X, targets)
        for targets in (y, np.ldexp(y, exponent))
    )
    np.testing.assert_array_equal(other.bandwidth_, plain.bandwidth_)
    assert other.loo_loss_ == (np.inf if exponent > 0 else 0.0)
    np.testing.assert_array_equal(other.predict(None), np.ldexp(plain.predict(None), exponent))
    np.testing.assert_array_equal(other.predict(1e9 + X), np.ldexp(plain.predict(1e9 + X), exponent))


@each
@pytest.mark.parametrize("Estimator", BOTH)
def test_counts_are_repetitions(Estimator, bandwidth):
    X, y = wave(n=60, noise=0.6)
    y = y if Estimator is NadarayaWatsonRegressor else y > 0
    counts = np.random.default_rng(3).integers(0, 4, size=len(X))
    weighted = Estimator(bandwidth).fit(X, y, counts)
    repeated = Estimator(bandwidth).fit(X.repeat(counts, axis=0), y.repeat(counts))
    np.testing.assert_allclose(weighted.bandwidth_, repeated.bandwidth_, rtol=1e-4)
    assert weighted.loo_loss_ == pytest.approx(repeated.loo_loss_, rel=1e-8)


@each
def test_only_ratios_of_importances_matter(bandwidth):
    X, y = wave()
    weights = weighting("importances", len(X))
    plain = NadarayaWatsonRegressor(bandwidth).fit(X, y, weights)
    scaled = NadarayaWatsonRegressor(bandwidth).fit(X, y, weights * 1e-9)
    np.testing.assert_allclose(scaled.bandwidth_, plain.bandwidth_, rtol=1e-4)
    without = weights > 0
    dropped = NadarayaWatsonRegressor(bandwidth).fit(X[without], y[without], weights[without])
    np.testing.assert_allclose(dropped.bandwidth_, plain.bandwidth_, rtol=1e-4)


# What is learned


@pytest.mark.parametrize(
    ("kernel", "times"), {"gaussian": 3, "exponential": 3, "epanechnikov": 2.5, "boxcar": 2.5}.items()
)
def test_friedmans_irrelevant_features_are_smoothed_out(kernel, times):
    X, y = make_friedman1(600, noise=1.0, random_state=0)
    shared = NadarayaWatsonRegressor("loo", kernel=kernel).fit(X, y)
    own = NadarayaWatsonRegressor("loo_ard", kernel=kernel).fit(X, y)
    assert own.bandwidth_[5:].min() >= times * own.bandwidth_[:5].max()
    assert own.loo_loss_ < 0.5 * shared.loo_loss_


@pytest.mark.parametrize("d", [20, 100])
@pytest.mark.parametrize("seed", range(3))
def test_many_features_are_no_reason_to_fit_noise(d, seed):
    """The loss of 400 rows, for what halves have learned, is that of 1000 others."""
    rng = np.random.default_rng([d, seed])
    X, noise = rng.normal(size=(1400, d)), rng.normal(size=1400)
    for y, least in ((noise, -0.03), (X[:, 0] + 0.5 * noise, 0.7)):
        own, common = (NadarayaWatsonRegressor(bandwidth).fit(X[:400], y[:400]) for bandwidth in ("loo_ard", "loo"))
        assert own.score(X[400:], y[400:]) > max(least, common.score(X[400:], y[400:]) - 0.03)
        assert own.loo_loss_ == pytest.approx(np.mean(np.square(own.predict(X[400:]) - y[400:])), rel=0.25)


@each
@pytest.mark.parametrize("wild", [-9999.0, 1e20, 9.97e36])
def test_a_fill_value_does_not_undo_learning(bandwidth, wild):
    X, y = wave(n=300)
    plain = NadarayaWatsonRegressor(bandwidth).fit(X[1:], y[1:])
    X[0, 0] = wild
    model = NadarayaWatsonRegressor(bandwidth).fit(X, y)
    np.testing.assert_allclose(model.bandwidth_[0], plain.bandwidth_[0], rtol=0.1)
    assert model.loo_loss_ < 1.2 * plain.loo_loss_


def textbook(seed=0):
    """Fifty points of 2 sin(x) + x^0.8 with noise of 0.5."""
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(0, 5, size=50))
    return x, 2 * np.sin(x) + x**0.8 + 0.5 * rng.normal(size=50)


def textbook_pool(queries, keys, values, w):
    """softmax(-((q - x) w)² / 2) @ values, for queries (m,) with keys and values (m, n) of their own."""
    scores = -np.square((queries[:, None] - keys) * w) / 2
    attention = np.exp(scores - scores.max(axis=1, keepdims=True))
    return (attention / attention.sum(axis=1, keepdims=True) * values).sum(axis=1)


def textbook_losses(x, y, w, epochs=5, rate=0.5):
    """Gradient descent on w: each point is predicted from all others."""
    others = ~np.eye(len(x), dtype=bool)
    keys, values = np.tile(x, (len(x), 1))[others].reshape(50, 49), np.tile(y, (len(x), 1))[others].reshape(50, 49)

    def loss(w):
        return np.mean(np.square(textbook_pool(x, keys, values, w) - y))

    losses = [loss(w)]
    for _ in range(epochs):
        w = w - rate * (loss(w + 1e-6) - loss(w - 1e-6)) / 2e-6
        losses.append(loss(w))
    return losses


@pytest.mark.parametrize("seed", range(3))
def test_parametric_attention_pooling_of_the_textbook(seed):
    x, y = textbook(seed)
    queries = np.arange(0, 5, 0.1)
    for w in (0.3, 1.0, 4.0):
        expected = textbook_pool(queries, np.tile(x, (50, 1)), np.tile(y, (50, 1)), w)
        found = NadarayaWatsonRegressor(1 / w).fit(x[:, None], y).predict(queries[:, None])
        np.testing.assert_allclose(found, expected, rtol=1e-10)
    learned = NadarayaWatsonRegressor("loo").fit(x[:, None], y)
    for start in np.random.default_rng(seed).random(5):
        losses = textbook_losses(x, y, start)
        assert losses[-1] < losses[0]
        assert min(losses) >= learned.loo_loss_ * (1 - 1e-6)


# What has no good answer still has a finite one


DEGENERATE = {
    "constant target": (np.arange(20.0)[:, None], np.ones(20), None),
    "constant feature": (np.column_stack([np.arange(20.0), np.ones(20)]), np.sin(np.arange(20.0)), None),
    "nothing but constant features": (np.ones((5, 2)), np.arange(5.0), None),
    "duplicates": (np.repeat(np.arange(5.0), 4)[:, None], np.tile([0.0, 1.0], 10), None),
    "duplicates, same targets": (np.repeat(np.arange(5.0), 4)[:, None], np.repeat([0.0, 3, 1, 2, 5], 4), None),
    "two rows": (np.array([[0.0], [1.0]]), np.array([0.0, 1.0]), None),
    "two rows of positive weight": (np.arange(6.0)[:, None], np.arange(6.0), np.array([0, 1, 0, 0, 2, 0])),
    "one row twice": (np.array([[0.0], [1.0]]), np.array([0.0, 1.0]), np.array([2, 0])),
    "a key at 1e9": (np.r_[np.arange(20.0), 1e9][:, None], np.sin(np.arange(21.0)), None),
    "scale of 1e-300": (1e-300 * np.arange(20.0)[:, None], np.sin(np.arange(20.0)), None),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@each
@every_kernel
@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_data_have_a_finite_answer(case, kernel, bandwidth):
    X, y, weights = DEGENERATE[case]
    model = NadarayaWatsonRegressor(bandwidth, kernel=kernel).fit(X, y, weights)
    assert np.all(model.bandwidth_ > 0)
    assert np.isfinite(model.loo_loss_)
    assert np.isfinite(model.predict(X)).all()


@each
def test_a_constant_target_keeps_silvermans_bandwidth(bandwidth):
    X = wave()[0]
    model = NadarayaWatsonRegressor(bandwidth).fit(X, np.full(60, 0.1))
    np.testing.assert_array_equal(model.bandwidth_, NadarayaWatsonRegressor().fit(X, np.zeros(60)).bandwidth_)
    assert model.loo_loss_ == 0


@each
def test_one_row_cannot_be_left_out(bandwidth):
    with pytest.raises(ValueError, match=rf"bandwidth='{bandwidth}' requires at least two samples .* got n_samples=1"):
        NadarayaWatsonRegressor(bandwidth).fit([[0.0], [1.0]], [0.0, 1.0], [0, 1])


def test_noise_is_averaged():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(100, 1)), rng.normal(size=100)
    model = NadarayaWatsonRegressor("loo").fit(X, y)
    assert model.bandwidth_[0] == np.inf
    np.testing.assert_allclose(model.predict(X), y.mean())


def test_an_optimum_at_the_lower_edge_is_reported():
    rng = np.random.default_rng(0)
    centres = rng.uniform(0, 1, size=(50, 1))
    X, y = np.r_[centres, centres + 1e-6, centres + 4e-4], rng.normal(size=50)
    y = np.r_[y, y, y / 2]
    with pytest.warns(ConvergenceWarning, match="lower end of the search"):
        NadarayaWatsonRegressor("loo").fit(X, y)


def test_a_search_that_stops_early_says_so(monkeypatch):
    monkeypatch.setattr("sknw._learning.minimize.MOST_EVALUATIONS", 3)
    with pytest.warns(ConvergenceWarning, match=r"stopped after \d+ evaluations"):
        NadarayaWatsonRegressor("loo_ard").fit(*wave())


def test_a_refit_forgets_the_record():
    X, y = wave()
    model = NadarayaWatsonRegressor("loo").fit(X, y)
    assert not hasattr(model.set_params(bandwidth=1.0).fit(X, y), "loo_loss_")


def test_a_bandwidth_each_needs_a_gain_beyond_chance():
    """With six features that matter alike, a common factor is right, and a bandwidth each fits noise."""
    rng = np.random.default_rng(0)
    chosen = []
    for _ in range(10):
        X = rng.normal(size=(150, 4))
        y = np.exp(-np.square(X).mean(axis=1)) + 0.3 * rng.normal(size=150)
        common, own = (NadarayaWatsonRegressor(bandwidth).fit(X, y) for bandwidth in LEARNED)
        chosen.append(np.allclose(own.bandwidth_, common.bandwidth_, rtol=0.02))
    assert sum(chosen) >= 8
