import copy
import pickle
import tracemalloc

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.exceptions import NotFittedError

from sknw import NadarayaWatsonClassifier, NadarayaWatsonRegressor, _attention

N = 23
INDEXES = [
    np.s_[3],
    np.s_[-1],
    np.s_[np.int64(2)],
    np.s_[2:9:3],
    np.s_[::-1],
    np.s_[:0],
    np.s_[[4, 1, 1]],
    np.s_[np.arange(N) % 2 == 0],
    np.s_[:, 5],
    np.s_[:, [1, 2]],
    np.s_[1:4, ::2],
    np.s_[7, 3],
    np.s_[7, [3, 4]],
    np.s_[7, 2:5],
    np.s_[[1, 5, 1], [2, 3, 4]],
    np.s_[[1, 5], 2],
    np.ix_([1, 5, 1], [2, 3]),
    np.s_[...],
    np.s_[..., 2],
    np.s_[4, ...],
    np.s_[[[0, 1], [2, 3]]],
    np.s_[:, np.arange(N) < 4],
]


@pytest.fixture
def model():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 2))
    return NadarayaWatsonRegressor().fit(X, rng.normal(size=(N, 2)))


@pytest.fixture(params=[2**20, 60])
def view(request, model, monkeypatch):
    monkeypatch.setattr(_attention, "BLOCK_WEIGHTS", request.param)
    return model.attention_weights_


@pytest.mark.parametrize("index", INDEXES, ids=str)
def test_view_indexes_like_an_array(view, index):
    np.testing.assert_allclose(view[index], np.asarray(view)[index], rtol=1e-12)
    assert np.shape(view[index]) == np.asarray(view)[index].shape


@pytest.mark.parametrize("index", [np.s_[N], np.s_[0, N], np.s_[[0, N]], np.s_[0, 0, 0], np.s_[None], np.s_["a"]])
def test_view_refuses_bad_indexes(view, index):
    with pytest.raises(IndexError):
        view[index]


def test_view_is_array_like(view, model):
    dense = model.attention_weights(model.keys_)
    assert (view.shape, view.ndim, view.dtype, len(view)) == ((N, N), 2, np.float64, N)
    np.testing.assert_allclose(np.asarray(view), dense, rtol=1e-13)
    assert np.asarray(view, dtype=np.float32).dtype == np.float32
    np.testing.assert_allclose(np.array(list(view)), dense, rtol=1e-13)
    assert len(repr(view)) <= 30
    with pytest.raises(ValueError, match="computed on demand"):
        view.__array__(copy=False)
    with pytest.raises(TypeError):
        view[0] = 1


def test_view_multiplies(view):
    dense, rng = np.asarray(view), np.random.default_rng(1)
    for right in (rng.normal(size=N), rng.normal(size=(N, 3)), list(range(N))):
        np.testing.assert_allclose(view @ right, dense @ np.asarray(right), rtol=1e-12)
    for left in (rng.normal(size=N), rng.normal(size=(3, N)), list(range(N))):
        np.testing.assert_allclose(left @ view, np.asarray(left) @ dense, rtol=1e-12)
    with pytest.raises(ValueError, match="matmul"):
        view @ np.ones(N + 1)


@pytest.mark.parametrize("axis", [None, 0, 1, -1, -2])
def test_view_sums(view, axis):
    dense = np.asarray(view)
    np.testing.assert_allclose(np.sum(view, axis=axis), dense.sum(axis=axis), rtol=1e-12)
    assert np.sum(view, axis=axis, dtype=np.float32).dtype == np.float32
    out = np.empty(np.shape(dense.sum(axis=axis)))
    assert np.sum(view, axis=axis, out=out) is out
    np.testing.assert_allclose(out, dense.sum(axis=axis), rtol=1e-12)


def test_view_refuses_a_third_axis(view):
    with pytest.raises(ValueError, match="axis must be None, 0 or 1, got 2"):
        view.sum(axis=2)


def test_view_times_values_is_the_prediction_in_sample(view, model):
    np.testing.assert_allclose(view @ model.values_, model.predict(model.keys_), atol=1e-12 * np.ptp(model.values_))


def test_imshow(view):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    image = pyplot.figure().subplots().imshow(view)
    np.testing.assert_array_equal(image.get_array(), np.asarray(view))
    pyplot.close("all")


@pytest.mark.parametrize("kernel", ["gaussian", "exponential", "epanechnikov", "boxcar"])
@pytest.mark.parametrize("d", [1, 3, 10])
def test_attention_times_values_is_the_prediction(kernel, d):
    rng = np.random.default_rng(d)
    X, queries, y = rng.normal(size=(700, d)), 1.5 * rng.normal(size=(300, d)), rng.normal(size=700)
    model = NadarayaWatsonRegressor(kernel=kernel).fit(X, y)
    for rows in (queries, None):
        attention = model.attention_weights(rows)
        np.testing.assert_allclose(attention @ y, model.predict(rows), rtol=0, atol=1e-12 * np.ptp(y))
        np.testing.assert_allclose(attention.sum(axis=1), 1, rtol=1e-14)
        assert (attention >= 0).all()


def test_leave_one_out_attention_has_no_diagonal(model):
    attention = model.attention_weights()
    assert attention.shape == (N, N)
    assert not attention.diagonal().any()
    np.testing.assert_allclose(attention.sum(axis=1), 1, rtol=1e-14)


@pytest.mark.parametrize("kernel", ["gaussian", "cauchy", "epanechnikov"])
@pytest.mark.parametrize("tol", [0.0, 1e-10, 0.05])
@pytest.mark.parametrize("leave_one_out", [False, True])
def test_sparse_attention(model, kernel, tol, leave_one_out, monkeypatch):
    monkeypatch.setattr("sknw._base.BLOCK_WEIGHTS", 100)
    model = model.set_params(kernel=kernel, tol=tol).fit(model.keys_, model.values_)
    X = None if leave_one_out else 2 * model.keys_[:7]
    dense, sparse = model.attention_weights(X), model.attention_weights(X, sparse_output=True)
    assert isinstance(sparse, csr_array)
    assert sparse.shape == dense.shape
    kept = sparse.toarray() > 0
    np.testing.assert_allclose(sparse.toarray()[kept], dense[kept], rtol=1e-12)
    dropped = np.where(kept, 0, dense)
    assert (dropped.sum(axis=1) <= tol).all()
    if kernel == "epanechnikov" or tol == 0:
        assert not dropped.any()
    else:  # one more would be too many
        smallest = np.where(kept, dense, np.inf).min(axis=1)
        assert (dropped.sum(axis=1) + smallest > tol).all()


def test_view_needs_a_fitted_model():
    assert not hasattr(NadarayaWatsonRegressor(), "attention_weights_")
    with pytest.raises(NotFittedError):
        _ = NadarayaWatsonClassifier().attention_weights_


def test_nothing_computes_attention_unasked():
    """At n = 200,000 a matrix of attention would take 320 GB, and a column 1.6 MB."""
    X = np.random.default_rng(0).normal(size=(200_000, 2))
    model = NadarayaWatsonRegressor(1.0).fit(X, X[:, 0])
    tracemalloc.start()
    assert "200000" in repr(model.attention_weights_)
    assert "NadarayaWatsonRegressor" in model._repr_html_()
    dir(model)
    repr(model)
    assert tracemalloc.get_traced_memory()[1] < 50 * 2**20
    tracemalloc.stop()
    assert len(pickle.dumps(model)) < 2 * (model.keys_.nbytes + model.values_.nbytes + X.shape[0] * 8)
    assert copy.deepcopy(model).attention_weights_[0, 0] > 0
