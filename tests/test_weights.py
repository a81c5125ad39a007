import numpy as np
import pytest
from engines import engines_and_kernels, gradient, make_pooler, pool

from sknw import NadarayaWatsonRegressor
from sknw._kernels import KERNELS
from sknw._weights import (
    are_counts,
    has_one_unit,
    retained_share,
    sample_size,
    scale_importances,
)


@pytest.mark.parametrize(
    ("weights", "counts"), [([1, 2, 0], True), ([0.5, 1.5], False), ([1e300, 1e300], False), ([7], True)]
)
def test_counts_are_whole_numbers(weights, counts):
    assert are_counts(np.array(weights, dtype=float)) == counts


def test_sample_size():
    assert sample_size(np.array([3.0, 0.0, 2.0])) == 5
    assert sample_size(np.array([0.5, 0.5, 0.5])) == pytest.approx(3)
    assert sample_size(np.array([1e-300, 0.5e-300])) == pytest.approx(1.5**2 / 1.25)


def test_retained_share():
    np.testing.assert_allclose(retained_share(np.array([0.0, 1.0, 4.0])), [0, 0, 0.75])
    np.testing.assert_allclose(retained_share(np.array([0.5, 1.0, 4.0])), 0)


@pytest.mark.parametrize(("weights", "one"), [([1, 0], True), ([2, 0], False), ([0.5, 0], True), ([1, 1], False)])
def test_has_one_unit(weights, one):
    assert has_one_unit(np.array(weights, dtype=float)) == one


@pytest.mark.parametrize("weights", [[1.0, 3, 0, 2], [0.3, 1e-9, 0.2, 5], [1e15 + 0.5, 0.25, 0.5, 1]])
def test_average_pooling_of_others(weights):
    weights, values = np.array(weights), np.random.default_rng(0).normal(size=(4, 2))
    for i, mean in enumerate(pool(make_pooler("dense", values, values, weights, "constant"))[0]):
        left = weights.copy()
        left[i] *= retained_share(weights)[i]
        np.testing.assert_allclose(mean, left @ values / left.sum(), rtol=1e-12)


@pytest.mark.parametrize("weights", [[3.0, 0, 1.5], [1e308, 1e308, 1e-300], [5e-324, 1e-320, 0], [2.0**60, 1, 0.5]])
def test_importances_are_scaled(weights):
    weights = np.array(weights)
    scaled = scale_importances(weights)
    assert 0.5 <= scaled.max() < 1
    assert not are_counts(scaled)
    np.testing.assert_array_equal(scaled > 0, weights > 0)
    with np.errstate(over="ignore"):
        ratios = weights / weights.max()
    np.testing.assert_allclose(
        scaled / scaled.max(), np.where(weights > 0, np.maximum(ratios, 1e-250), 0), rtol=1e-12, atol=2e-250
    )


@pytest.mark.parametrize(
    ("algorithm", "kernel", "d"), [(*pair, d) for d in (1, 2) for pair in engines_and_kernels(KERNELS, [d])]
)
def test_weights_that_differ_by_any_factor(algorithm, kernel, d):
    """Predictions, attention and gradients are finite, and attention sums to one."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, d)), rng.normal(size=20)
    weights = np.r_[1.7e308, 1e300, 5e-324, 1e-300, 10.0 ** rng.uniform(-300, 300, size=16)]
    for bandwidth in (0.01, 1.0, 100.0):
        model = NadarayaWatsonRegressor(bandwidth, kernel=kernel, algorithm=algorithm).fit(X, y, weights)
        for queries in (X, None, 1e3 * X):
            assert np.isfinite(model.predict(queries)).all()
            attention = model.attention_weights(queries)
            assert (attention >= 0).all()
            np.testing.assert_allclose(attention.sum(axis=1), 1, rtol=1e-12)
        if KERNELS[kernel].log_slope is not None and d > 1:
            assert np.isfinite(gradient(model._pooler, np.ones((20, 1)), tol=1e-10)[2]).all()


def test_means_do_not_overflow():
    values, weights = np.array([[1.7e308], [1.7e308], [-1.7e308]]), np.array([0.5, 0.25, 0.75])
    pooler = make_pooler("dense", np.zeros((3, 1)), values, weights, "constant")
    np.testing.assert_allclose(pool(pooler, np.zeros((1, 1)))[0], 0, atol=1e293)
    np.testing.assert_allclose(pool(pooler)[0][:, 0], 1.7e308 * np.array([-0.5, -0.2, 1]), rtol=1e-12)
