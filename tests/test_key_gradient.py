"""The gradient of a loss by the keys, from central differences and from the attention."""

import numpy as np
import pytest
from engines import constants, make_pooler, make_poolers, pool
from samples import WEIGHTS, has_key_at_edge

from sknw import Kernel
from sknw._kernels import KERNELS
from sknw._one_hot import OneHot

SLOPED = [name for name, kernel in KERNELS.items() if kernel.log_slope is not None]


def differences(pooler_of, keys, cotangents, rows, step=1e-6):
    """Central differences of the sum of pooled values times cotangents, by each coordinate of the keys."""

    def loss(keys):
        return np.sum(pool(pooler_of(keys), None, rows)[0] * cotangents)

    gradient = np.empty_like(keys)
    for i in np.ndindex(*keys.shape):
        up, down = keys.copy(), keys.copy()
        up[i] += step
        down[i] -= step
        gradient[i] = (loss(up) - loss(down)) / (2 * step)
    return gradient


@pytest.mark.parametrize("parts", [[], ["dense", "keys kept"]], ids=["one block", "small blocks"])
@pytest.mark.parametrize("kind", ["two columns", "one-hot", "labels"])
@pytest.mark.parametrize("weighting", WEIGHTS)
@pytest.mark.parametrize("kernel", SLOPED)
def test_key_gradients_are_differences(kernel, weighting, kind, parts):
    rng, n = np.random.default_rng(3), 14
    keys, weights = rng.normal(size=(n, 3)), WEIGHTS[weighting](rng, n)
    values = rng.normal(size=(n, 2)) if kind == "two columns" else OneHot(rng.integers(0, 3, size=n), 3)
    bandwidth = np.array([1.0, 2.0, np.inf]) * (2.0 if KERNELS[kernel].compact else 0.7)
    assert not has_key_at_edge(keys[:, :2], bandwidth[:2], kernel, 1e-5).any()
    rows = np.sort(rng.choice(n, size=10, replace=False))
    cotangents = rng.normal(size=(10, values.shape[1]))
    with constants(*parts, *(["labels for few classes"] if kind == "labels" else [])):

        def pooler_of(keys):
            return make_pooler("dense", keys, values, weights, kernel, bandwidth)

        pooled, gradient = pooler_of(keys).key_gradient(lambda pooled, places: cotangents[places], rows)
        np.testing.assert_allclose(pooled.values, pool(pooler_of(keys), None, rows)[0], atol=1e-12)
        np.testing.assert_allclose(gradient, differences(pooler_of, keys, cotangents, rows), rtol=0, atol=1e-6)


HARD = {
    "far apart": lambda keys: 30.0 * keys,
    "offset 1e6": lambda keys: 1e6 + np.round(keys * 2**10) / 2**10,
    "isolated": lambda keys: np.r_[keys, [[40.0, 40.0], [40.0, 41.0], [-90.0, 2.0]]],
    "duplicates": lambda keys: np.repeat(keys, 2, axis=0),
}


@pytest.mark.parametrize("case", HARD)
@pytest.mark.parametrize("kernel", ["gaussian", "exponential", "logistic", "cauchy", "epanechnikov"])
def test_hard_key_gradients_are_those_of_the_attention(kernel, case):
    """By the definition: dL/dt of each pair from rows of attention, times differences."""
    rng = np.random.default_rng(0)
    keys = HARD[case](rng.normal(size=(12, 2)))
    values, cotangents = rng.normal(size=(2, len(keys), 1))
    pooler = make_pooler("dense", keys, values, None, kernel, 1.0)
    _, found = pooler.key_gradient(lambda pooled, places: cotangents[places])
    attention, log_mass = pooler.attention()
    steps = keys[:, None] - keys
    t = np.square(steps).sum(axis=-1)
    matters = (attention > 1e-280) & (t > 0) & ~np.isneginf(log_mass)[:, None]
    slopes = np.zeros_like(t)
    slopes[matters] = KERNELS[kernel].log_slope(t[matters])
    slopes *= 2 * attention * cotangents * (values.T - attention @ values)
    expected = np.einsum("qi,qif->qf", slopes, steps) - np.einsum("qi,qif->if", slopes, steps)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)


def test_a_kernel_that_jumps_has_the_gradient_of_the_attention():
    kernel = Kernel(lambda t: -t, log_slope=lambda t: -np.ones_like(t), support=2.0)
    rng = np.random.default_rng(0)
    keys, values, cotangents = rng.normal(size=(20, 2)), rng.normal(size=(20, 1)), rng.normal(size=(20, 1))
    assert np.abs(np.linalg.norm(keys[:, None] - keys, axis=-1) - 2).min() > 1e-4

    def pooler_of(keys):
        return make_poolers("dense", keys, values)(kernel, 1.0)

    _, found = pooler_of(keys).key_gradient(lambda pooled, places: cotangents[places])
    expected = differences(pooler_of, keys, cotangents, np.arange(20))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_key_gradients_do_not_depend_on_threads(n_jobs):
    rng = np.random.default_rng(0)
    keys, values = rng.normal(size=(900, 4)), rng.normal(size=(900, 1))
    gradients = [
        make_pooler("dense", keys, values).key_gradient(lambda pooled, places: values[places], n_jobs=n)[1]
        for n in (None, n_jobs)
    ]
    np.testing.assert_array_equal(*gradients)
