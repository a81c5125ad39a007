import numpy as np
import pytest

from sknw._weights import are_counts, has_one_unit, kept_fraction, means_of_others, sample_size


@pytest.mark.parametrize(
    ("weights", "counts"), [([1, 2, 0], True), ([0.5, 1.5], False), ([1e300, 1e300], False), ([7], True)]
)
def test_counts_are_whole_numbers(weights, counts):
    assert are_counts(np.array(weights, dtype=float)) == counts


def test_sample_size():
    assert sample_size(np.array([3.0, 0.0, 2.0])) == 5
    assert sample_size(np.array([0.5, 0.5, 0.5])) == pytest.approx(3)
    assert sample_size(np.array([1e-300, 0.5e-300])) == pytest.approx(1.5**2 / 1.25)


def test_kept_fraction():
    np.testing.assert_allclose(kept_fraction(np.array([0.0, 1.0, 4.0])), [0, 0, 0.75])
    np.testing.assert_allclose(kept_fraction(np.array([0.5, 1.0, 4.0])), 0)


@pytest.mark.parametrize(("weights", "one"), [([1, 0], True), ([2, 0], False), ([0.5, 0], True), ([1, 1], False)])
def test_has_one_unit(weights, one):
    assert has_one_unit(np.array(weights, dtype=float)) == one


@pytest.mark.parametrize("weights", [[1.0, 3, 0, 2], [0.3, 1e-9, 0.2, 5], [1e15 + 0.5, 0.25, 0.5, 1]])
def test_means_of_others(weights):
    weights, values = np.array(weights), np.random.default_rng(0).normal(size=(4, 2))
    for i, mean in enumerate(means_of_others(values, weights)):
        left = weights.copy()
        left[i] *= kept_fraction(weights)[i]
        np.testing.assert_allclose(mean, left @ values / left.sum(), rtol=1e-12)
