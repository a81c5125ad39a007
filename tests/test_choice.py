"""Which engine "auto" takes, and that pickles, parameters and errors go with it."""

import pickle

import numpy as np
import pytest
from engines import is_asked_first, is_served_by, make_pooler

from sknw import Kernel, NadarayaWatsonRegressor
from sknw._kernels import KERNELS


def algorithm(d, n, scatter=1.0, **parameters):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d)) + scatter * rng.integers(0, 40, size=(n, 1))
    return NadarayaWatsonRegressor(**parameters).fit(X, X.sum(axis=1)).algorithm_


def test_few_keys_and_exact_sums_are_dense():
    for d in (1, 2, 3):
        assert algorithm(d, 800) == "dense"
        assert algorithm(d, 30_000, tol=0) == "dense"
    assert algorithm(3, 4000, scatter=20.0, kernel="epanechnikov") == "dense"


@pytest.mark.parametrize("kernel", KERNELS)
def test_one_feature(kernel):
    expected = "dense" if kernel in ("cauchy", "constant") else "sorted"
    assert algorithm(1, 801, kernel=kernel) == expected


def test_a_kernel_of_ones_own_in_one_feature():
    assert algorithm(1, 30_000, kernel=Kernel(lambda t: -t, support=1.0), bandwidth=0.1) == "blocks"


def test_two_features():
    assert algorithm(2, 30_000) == "grid"
    assert algorithm(2, 30_000, kernel="epanechnikov") == "blocks"


@pytest.mark.parametrize(("n_queries", "is_asked"), [(1, False), (30, False), (5000, True)])
def test_few_queries_are_not_worth_a_cell_each(n_queries, is_asked):
    rng = np.random.default_rng(0)
    keys, values = rng.normal(size=(5000, 2)), rng.normal(size=(5000, 1))
    assert is_asked_first(make_pooler("grid", keys, values, None, "gaussian", 0.25), n_queries) == is_asked


def test_more_features():
    assert algorithm(3, 30_000, scatter=20.0, kernel="epanechnikov") == "blocks"
    assert algorithm(3, 30_000, scatter=20.0) == "grid"
    assert algorithm(3, 30_000, scatter=20.0, bandwidth=1.0) == "blocks"
    assert algorithm(3, 5000, scatter=0.0) == "dense"
    assert algorithm(10, 30_000, scatter=0.0) == "dense"
    assert algorithm(3, 30_000, kernel="cauchy") == "dense"


def test_an_engine_that_cannot_is_refused():
    with pytest.raises(
        ValueError, match=r"does not support this kernel in 2 dimensions; .*\['grid', 'blocks', 'dense'\]"
    ):
        NadarayaWatsonRegressor(algorithm="sorted").fit(np.eye(2), [0, 1])
    with pytest.raises(ValueError, match=r"algorithm='blocks' does not support this kernel .*\['dense'\]"):
        NadarayaWatsonRegressor(algorithm="blocks", kernel=Kernel(lambda t: -t)).fit(np.eye(3), [0, 1, 2])


@pytest.mark.parametrize(("d", "kernel"), [(1, "gaussian"), (2, "gaussian"), (2, "epanechnikov")])
def test_pickles_keep_the_engine(d, kernel):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30_000, d)), rng.normal(size=30_000)
    model = NadarayaWatsonRegressor(kernel=kernel).fit(X, y)
    copy = pickle.loads(pickle.dumps(model))
    assert copy.algorithm_ == model.algorithm_ != "dense"
    np.testing.assert_array_equal(copy.predict(X[:100]), model.predict(X[:100]))


def test_few_queries_are_dense_and_many_are_blocks():
    rng = np.random.default_rng(0)
    X, queries = rng.normal(size=(5000, 2)), rng.normal(size=(5000, 2))
    model = NadarayaWatsonRegressor(0.1, kernel="epanechnikov", algorithm="blocks").fit(X, X[:, 0])
    exact = NadarayaWatsonRegressor(0.1, kernel="epanechnikov", algorithm="dense").fit(X, X[:, 0])
    np.testing.assert_array_equal(model.predict(queries[:3999]), exact.predict(queries[:3999]))
    assert not is_served_by(model._pooler, "blocks")
    np.testing.assert_allclose(model.predict(queries), exact.predict(queries), atol=1e-12)
    assert is_served_by(model._pooler, "blocks")


def test_blocks_that_would_keep_most_pairs_are_dense():
    rng = np.random.default_rng(0)
    X, queries = rng.normal(size=(5000, 2)), rng.normal(size=(5000, 2))
    model = NadarayaWatsonRegressor(5.0, kernel="epanechnikov", algorithm="blocks").fit(X, X[:, 0])
    exact = NadarayaWatsonRegressor(5.0, kernel="epanechnikov", algorithm="dense").fit(X, X[:, 0])
    np.testing.assert_array_equal(model.predict(queries), exact.predict(queries))
