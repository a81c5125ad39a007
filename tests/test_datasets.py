import numpy as np
import pytest

from sknw import datasets
from sknw.datasets import make_sine_trend


@pytest.mark.parametrize("exponent", [0, 0.8, 1])
def test_without_noise_it_is_the_function(exponent):
    X, y = make_sine_trend(30, exponent=exponent, noise=0, random_state=1)
    np.testing.assert_allclose(y, 2 * np.sin(X[:, 0]) + X[:, 0] ** exponent, rtol=1e-14)


def test_inputs_are_sorted_and_uniform_on_0_to_5():
    X, y = make_sine_trend(10_000, random_state=0)
    assert X.shape == (10_000, 1)
    assert y.shape == (10_000,)
    assert (np.diff(X[:, 0]) >= 0).all()
    # five standard deviations of a uniform distribution function at most, Kolmogorov's bound being tighter
    assert np.abs(X[:, 0] / 5 - np.linspace(0, 1, 10_000)).max() < 5 * 0.5 / 100


def test_noise_is_normal_with_its_standard_deviation():
    (X, still), (_, one), (_, two) = (make_sine_trend(10_000, noise=s, random_state=3) for s in (0, 1, 2))
    noise = one - still
    np.testing.assert_allclose(two - still, 2 * noise, atol=1e-13)
    # five standard errors of a mean, a standard deviation, a correlation and a share, for n = 10,000
    assert abs(noise.mean()) < 0.05
    assert abs(noise.std() - 1) < 0.05 / np.sqrt(2)
    assert abs(np.corrcoef(X[:, 0], noise)[0, 1]) < 0.05
    assert abs(np.mean(np.abs(noise) < 1) - 0.6827) < 0.05 / 2


def test_defaults_are_the_first_textbook_version():
    given = make_sine_trend(50, exponent=0.8, noise=0.5, random_state=0)
    for default, expected in zip(make_sine_trend(random_state=0), given, strict=True):
        np.testing.assert_array_equal(default, expected)


def test_random_state_decides():
    first, same, other = (make_sine_trend(5, random_state=s)[1] for s in (0, np.random.RandomState(0), 1))
    np.testing.assert_array_equal(first, same)
    assert (first != other).all()
    assert (make_sine_trend(5)[1] != make_sine_trend(5)[1]).all()


@pytest.mark.parametrize("n_samples", [0, -1, 2.5, "5", None])
def test_refuses_n_samples(n_samples):
    with pytest.raises(ValueError, match="n_samples must be a whole number, 1 or more, got"):
        make_sine_trend(n_samples)


@pytest.mark.parametrize("name", ["exponent", "noise"])
@pytest.mark.parametrize("value", [-1, np.inf, np.nan, "1", None])
def test_refuses_exponent_and_noise(name, value):
    with pytest.raises(ValueError, match=f"{name} must be a finite number, 0 or more, got"):
        make_sine_trend(**{name: value})


def test_is_part_of_the_package():
    import sknw

    assert sknw.datasets is datasets
