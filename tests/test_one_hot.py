"""Classes by labels: the same as one-hot columns, in less memory."""

import tracemalloc

import numpy as np
import pytest
from engines import constants, engines_and_kernels, gradient, make_pooler, pool, sweep
from samples import WEIGHTS

from sknw import NadarayaWatsonClassifier
from sknw._kernels import KERNELS
from sknw._one_hot import OneHot, OneHotColumns, value_ranges

NAMES = ["gaussian", "exponential", "boxcar", "tricube", "cauchy", "constant"]
CASES = [(*pair, d) for d in (1, 2, 3) for pair in engines_and_kernels(NAMES, [d])]


@pytest.mark.parametrize(("engine", "kernel", "d"), CASES)
@pytest.mark.parametrize("weighting", WEIGHTS)
@constants("labels for few classes", "cells for few keys", "blocks for few keys")
def test_labels_are_one_hot_columns(engine, kernel, d, weighting):
    rng = np.random.default_rng(d)
    keys, queries = rng.normal(size=(300, d)), 3 * rng.normal(size=(90, d))
    labels, weights = rng.integers(0, 7, size=300), WEIGHTS[weighting](rng, 300)
    columns = OneHot(labels, 8), np.eye(8)[labels]
    poolers = [make_pooler(engine, keys, values, weights, kernel, 0.4) for values in columns]
    for asked in (queries, None):
        for found, expected in zip(*(pool(pooler, asked, tol=1e-10) for pooler in poolers), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-13)
    if KERNELS[kernel].log_slope is not None and d > 1:
        cotangents = rng.normal(size=(300, 8))
        for rows in (np.arange(300), np.array([7]), np.array([8])):
            results = [gradient(pooler, cotangents[rows], rows, tol=1e-10) for pooler in poolers]
            for found, expected in zip(*results, strict=True):
                np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11 * len(rows))
    if engine == "dense" and kernel != "constant":
        for one, other in zip(*(sweep(pooler, [-1.0, 0.0, 1.0]) for pooler in poolers), strict=True):
            np.testing.assert_allclose(one[0], other[0], rtol=1e-9, atol=1e-12)


@constants("labels for few classes", "values summed first")
def test_gradients_of_labels_with_values_summed_first():
    rng = np.random.default_rng(0)
    keys, labels, cotangents = rng.normal(size=(80, 90)), rng.integers(0, 3, size=80), rng.normal(size=(80, 3))
    poolers = [make_pooler("dense", keys, values, bandwidth=5.0) for values in (OneHot(labels, 3), np.eye(3)[labels])]
    found = [gradient(pooler, cotangents, tol=1e-10)[2] for pooler in poolers]
    np.testing.assert_allclose(*found, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("empty", ["nearest", "mean", "nan"])
@pytest.mark.parametrize("bandwidth", ["silverman", "loo", "loo_ard"])
def test_the_classifier_does_not_depend_on_how_classes_are_kept(empty, bandwidth):
    rng = np.random.default_rng(0)
    X, weights = rng.normal(size=(120, 2)), rng.integers(0, 3, size=120)
    y = np.where(X[:, 0] > 0.3, "b", np.where(X[:, 1] > 0, "a", "c"))
    models = []
    for names in ([], ["labels for few classes"]):
        with constants(*names):
            model = NadarayaWatsonClassifier(bandwidth, kernel="epanechnikov", empty=empty)
            models.append(model.fit(X, y, weights))
    one, other = models
    np.testing.assert_allclose(one.bandwidth_, other.bandwidth_, rtol=1e-6)
    np.testing.assert_array_equal(one.values_, y[:, None] == one.classes_)
    for asked in (None, 2 * X, 9 + X):
        np.testing.assert_allclose(one.predict_proba(asked), other.predict_proba(asked), atol=1e-9)


def test_one_hot_values():
    values = OneHot(np.array([2, 0, 2, 1]), 4)
    expected = np.eye(4)[[2, 0, 2, 1]]
    for rows in (slice(None), slice(1, 3), np.array([3, 0]), np.array([True, False, False, True])):
        np.testing.assert_array_equal(values[rows], expected[rows])
    np.testing.assert_array_equal(values.take([1, 3])[:], expected[[1, 3]])
    for rows in (np.array([True, True, True, True]), np.array([True, False, True, False])):
        np.testing.assert_array_equal(
            value_ranges(values, rows), [expected[rows].min(axis=0), expected[rows].max(axis=0)]
        )


def test_one_hot_columns():
    rng = np.random.default_rng(0)
    labels, weights = rng.integers(0, 5, size=40), rng.random(40)
    columns = OneHotColumns(labels, weights, 5)
    expected = np.column_stack([np.eye(5)[labels] * weights[:, None], weights])
    np.testing.assert_array_equal(np.asarray(columns), expected)
    np.testing.assert_array_equal(np.asarray(columns.T), expected.T)
    np.testing.assert_array_equal(np.asarray(columns[[[3, 0], [1, 1]]]), expected[[[3, 0], [1, 1]]])
    for column in (-1, 0, 4, 5):
        np.testing.assert_array_equal(columns.T[column], expected[:, column])
    left, right = rng.normal(size=(6, 40)), rng.normal(size=(6, 6))
    np.testing.assert_allclose(left @ columns, left @ expected, rtol=1e-12)
    np.testing.assert_allclose(right @ columns.T, right @ expected.T, rtol=1e-12)


@pytest.mark.parametrize("d", [1, 2, 5])
@constants("blocks for few keys")
def test_memory_of_many_classes(d):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20_000, d)), np.repeat(np.arange(200), 100)
    tracemalloc.start()
    model = NadarayaWatsonClassifier().fit(X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * 8 * 20_000 * 200
    assert model.predict_proba(X[:3]).shape == (3, 200)
