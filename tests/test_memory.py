"""What estimators keep of the training data, in bytes a row: X, y, and everything that is made of them."""

import gc
import pickle
import tracemalloc

import numpy as np
import pytest

from sknw import NadarayaWatsonRegressor
from sknw._weights import are_alike, are_counts, has_one_unit, retained_share, sample_size, share_memory, unit_weights

N_ROWS = 100_000

MOST = {1: 80, 2: 80, 3: 150, 10: 230}
"""The most bytes a row, for each number of features."""


def bytes_kept(make):
    """An object that `make()` returns, and the bytes a row that it keeps."""
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    made = make()
    gc.collect()
    return made, (tracemalloc.get_traced_memory()[0] - before) / N_ROWS


@pytest.mark.parametrize("weights", [None, 3.0])
@pytest.mark.parametrize("d", MOST)
def test_bytes_a_row(d, weights):
    rng = np.random.default_rng(d)
    X, y, queries = rng.normal(size=(N_ROWS, d)), rng.normal(size=N_ROWS), rng.normal(size=(1000, d))

    def fit(X=X):
        sample_weight = None if weights is None else np.full(len(X), weights)
        model = NadarayaWatsonRegressor(0.15 if d < 10 else 0.6).fit(X, y[: len(X)], sample_weight)
        model.predict(queries)
        return model

    fit(X[:1000])
    tracemalloc.start()
    try:
        model, kept = bytes_kept(fit)
        assert kept <= MOST[d]
        pickled = pickle.dumps(model)
        assert len(pickled) <= (8 * d + 16) * N_ROWS + 10_000
        copy, kept = bytes_kept(lambda: pickle.loads(pickled))
        assert kept <= MOST[d]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(copy.predict(queries), model.predict(queries))
    np.testing.assert_array_equal(copy.predict(X[:50]), model.predict(X[:50]))


@pytest.mark.parametrize("weight", [1.0, 3.0, 0.3, 2.0**60])
@pytest.mark.parametrize("n", [1, 5])
def test_equal_weights_are_a_view(weight, n):
    weights = np.full(n, weight)
    view = share_memory(weights)
    np.testing.assert_array_equal(view, weights)
    assert n == 1 or (are_alike(view) and not are_alike(weights))
    assert are_counts(view) == are_counts(weights)
    assert sample_size(view) == pytest.approx(sample_size(weights))
    assert has_one_unit(view) == has_one_unit(weights)
    for function in (retained_share, unit_weights):
        np.testing.assert_allclose(function(view), function(weights), rtol=1e-14)


def test_different_weights_are_no_view():
    weights = np.array([1.0, 1.0, 2.0])
    assert share_memory(weights) is weights


@pytest.mark.parametrize("weights", [np.ones(300), np.full(300, 2.0), np.full(300, 0.7)])
def test_equal_weights_are_weights(weights):
    """The same as weights that are not known to be equal, which an additional row without weight makes."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 2)), rng.normal(size=(300, 2))
    one = NadarayaWatsonRegressor(0.4).fit(X, y, weights)
    other = NadarayaWatsonRegressor(0.4).fit(np.vstack([X, [[9, 9]]]), np.vstack([y, [[0, 0]]]), np.append(weights, 0))
    np.testing.assert_allclose(one.predict(X), other.predict(X), rtol=0, atol=1e-12)
    np.testing.assert_allclose(one.predict(None), other.predict(None)[:-1], rtol=0, atol=1e-12)
