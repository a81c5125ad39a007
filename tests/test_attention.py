import copy
import operator
import pickle
import tracemalloc
from functools import partial
from io import BytesIO

import joblib
import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_array

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
    np.s_[1:4, [[0, 1, 2], [3, 4, 4]]],
    np.s_[[[0, 1, 2], [3, 4, 4]], 1:6],
]
AXES = [None, 0, 1, -1, -2]
REDUCTIONS = ["sum", "mean", "max", "min", "argmax"]
NO_ARRAY = r"np\.asarray\(view\)"


@pytest.fixture
def model():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 2))
    return NadarayaWatsonRegressor().fit(X, rng.normal(size=(N, 2)))


@pytest.fixture
def model_of_nan(model):
    """Two of its training points, without weight and far from the others, pay attention to none."""
    X, weight = model.keys_.copy(), np.ones(N)
    X[[2, 9]], weight[[2, 9]] = 100, 0
    return clone(model).set_params(kernel="epanechnikov", empty="nan").fit(X, model.values_, weight)


@pytest.fixture(params=["attention", "nan", "transposed"])
def view(request, blocks, model, model_of_nan):
    view = (model if request.param == "attention" else model_of_nan).attention_weights_
    return view.T if request.param == "transposed" else view


@pytest.fixture(params=[2**20, 60])
def blocks(request, monkeypatch):
    monkeypatch.setattr(_attention, "BLOCK_WEIGHTS", request.param)


@pytest.mark.parametrize("index", INDEXES, ids=str)
def test_view_indexes_like_an_array(view, index):
    np.testing.assert_allclose(view[index], np.asarray(view)[index], rtol=1e-12)
    assert np.shape(view[index]) == np.asarray(view)[index].shape


@pytest.mark.parametrize("index", [np.s_[N], np.s_[0, N], np.s_[[0, N]], np.s_[0, 0, 0], np.s_[None], np.s_["a"]])
def test_view_refuses_bad_indexes(view, index):
    with pytest.raises(IndexError):
        view[index]


def test_view_is_the_attention_in_sample(model, blocks):
    view, dense = model.attention_weights_, model.attention_weights(model.keys_)
    np.testing.assert_allclose(np.asarray(view), dense, rtol=1e-13)
    np.testing.assert_allclose(np.asarray(view.T), dense.T, rtol=1e-13)
    assert len(repr(view)) <= 30
    assert repr(view.T) == f"{view!r}.T"
    assert view.T.T is view


def test_view_is_array_like(view):
    dense = np.asarray(view)
    for name in ("shape", "ndim", "dtype", "size", "nbytes"):
        assert getattr(view, name) == getattr(dense, name)
    assert len(view) == N
    assert np.asarray(view, dtype=np.float32).dtype == np.float32
    np.testing.assert_array_equal(np.array(list(view)), dense)
    with pytest.raises(ValueError, match="computed on demand"):
        view.__array__(copy=False)
    with pytest.raises(TypeError):
        view[0] = 1


def test_view_makes_arrays(view):
    dense = np.asarray(view)
    for order in ("C", "F"):
        copied = view.copy(order=order)
        np.testing.assert_array_equal(copied, dense)
        assert copied.flags[f"{order}_CONTIGUOUS"]
        assert copied.flags.writeable
    single = view.astype(np.float32)
    np.testing.assert_array_equal(single, dense.astype(np.float32))
    assert single.dtype == np.float32
    assert view.astype(np.float64, copy=False).dtype == np.float64
    with pytest.raises(TypeError, match="Cannot cast"):
        view.astype(int, casting="safe")
    np.testing.assert_array_equal(view.tolist(), dense.tolist())
    assert isinstance(view.tolist()[0][0], float)


def test_view_is_transposed(view):
    np.testing.assert_array_equal(np.asarray(view.T), np.asarray(view).T)
    np.testing.assert_array_equal(np.asarray(view.T.T), np.asarray(view))
    np.testing.assert_array_equal(np.transpose(view), np.asarray(view).T)


@pytest.mark.parametrize("multiply", [operator.matmul, np.matmul])
def test_view_multiplies(view, multiply):
    dense, rng = np.asarray(view), np.random.default_rng(1)
    stacked = rng.normal(size=(2, N, 3))
    for right in (rng.normal(size=N), stacked[0], list(range(N)), stacked, 1j * stacked[1], view):
        np.testing.assert_allclose(multiply(view, right), dense @ np.asarray(right), rtol=1e-12)
    for left in (rng.normal(size=N), stacked[0].T, list(range(N)), stacked.swapaxes(1, 2), 1j * stacked[1].T):
        np.testing.assert_allclose(multiply(left, view), np.asarray(left) @ dense, rtol=1e-12)
    for other in (np.ones(N + 1), np.ones(N - 1), np.ones((N + 1, N + 1)), 2.0):
        with pytest.raises(ValueError, match="matmul"):
            multiply(view, other)
        with pytest.raises(ValueError, match="matmul"):
            multiply(other, view)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_view_is_reduced(view, name, axis):
    reduced = getattr(view, name)
    for keepdims in (False, True):
        expected = getattr(np.asarray(view), name)(axis=axis, keepdims=keepdims)
        for result in (
            reduced(axis, keepdims=keepdims),
            reduced(axis, out=np.empty_like(expected), keepdims=keepdims),
            getattr(np, name)(view, axis=axis, keepdims=keepdims),
        ):
            np.testing.assert_allclose(result, expected, rtol=1e-13)
            assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
    assert isinstance(reduced(axis), np.generic if axis is None else np.ndarray)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("name", ["sum", "mean"])
def test_view_is_reduced_in_another_type(view, name, axis):
    expected = getattr(np.asarray(view), name)(axis, dtype=np.float32)
    result = getattr(np, name)(view, axis=axis, dtype=np.float32)
    np.testing.assert_allclose(result, expected, rtol=1e-5)
    assert result.dtype == expected.dtype


@pytest.mark.parametrize("name", REDUCTIONS)
def test_view_reduces_into_out(view, name):
    reduced, out = getattr(view, name), np.empty(N, dtype=int if name == "argmax" else float)
    assert reduced(axis=0, out=out) is out
    np.testing.assert_array_equal(out, reduced(axis=0))
    with pytest.raises(ValueError, match="dimension"):
        reduced(axis=0, out=np.empty((2, N), dtype=out.dtype))
    with pytest.raises(ValueError, match="axis must be None, 0 or 1, got 2"):
        reduced(axis=2)


def test_argmax_is_the_first_of_equals(blocks):
    X = np.repeat([[0.0], [5.0]], 6, axis=0)
    view = NadarayaWatsonRegressor(1.0, kernel="boxcar").fit(X, X[:, 0]).attention_weights_
    for equals in (view, view.T):
        for axis in AXES:
            np.testing.assert_array_equal(equals.argmax(axis), np.asarray(equals).argmax(axis))


def _reduce(name, axis, view, _):
    return getattr(np, name)(view, axis=axis)


@pytest.mark.parametrize("offset", [0, 1, -1, 5, -N + 1, N, -2 * N])
def test_view_has_diagonals(view, offset):
    np.testing.assert_allclose(view.diagonal(offset), np.asarray(view).diagonal(offset), rtol=1e-13)


STREAMED = {
    "view @ y": lambda view, y: view @ y,
    "y @ view": lambda view, y: y @ view,
    "matmul": np.matmul,
    "iteration": lambda view, y: [row[0] for row in view],
    "column": lambda view, y: view[:, 0],
    "diagonal": lambda view, y: view.diagonal(),
    **{f"{name}({axis})": partial(_reduce, name, axis) for name in REDUCTIONS for axis in (None, 0, 1)},
}


@pytest.mark.parametrize("operation", STREAMED)
@pytest.mark.parametrize("transposed", [False, True])
def test_view_works_in_blocks(operation, transposed, monkeypatch):
    monkeypatch.setattr(_attention, "BLOCK_WEIGHTS", 2**17)
    y = np.random.default_rng(0).normal(size=2000)
    view = NadarayaWatsonRegressor().fit(y[:, None], y).attention_weights_
    view = view.T if transposed else view
    tracemalloc.start()
    STREAMED[operation](view, y)
    assert tracemalloc.get_traced_memory()[1] < view.nbytes / 4
    tracemalloc.stop()


REFUSED = {
    "view * 2": lambda view: view * 2,
    "2 * view": lambda view: 2 * view,
    "view - array": lambda view: view - np.ones((N, N)),
    "array - view": lambda view: np.ones((N, N)) - view,
    "number * view": lambda view: np.float64(2) * view,
    "-view": lambda view: -view,
    "abs(view)": abs,
    "view ** 2": lambda view: view**2,
    "view *= 2": lambda view: operator.imul(view, 2),
    "array += view": lambda view: operator.iadd(np.ones((N, N)), view),
    "view == view": lambda view: view == view,
    "view == 0": lambda view: view == 0,
    "view != None": lambda view: view != None,  # noqa: E711
    "array == view": lambda view: np.ones((N, N)) == view,
    "array != view": lambda view: np.ones((N, N)) != view,
    "view > 0.01": lambda view: view > 0.01,
    "array > view": lambda view: np.ones((N, N)) > view,
    "exp": np.exp,
    "isnan": np.isnan,
    "add.reduce": np.add.reduce,
    "any": np.any,
    "matmul into out": lambda view: np.matmul(view, np.ones(N), out=np.empty(N)),
}


@pytest.mark.parametrize("operation", REFUSED)
@pytest.mark.filterwarnings("ignore:elementwise comparison failed:DeprecationWarning")  # numpy < 1.25
def test_view_names_the_array_that_it_is_not(model, operation):
    for view in (model.attention_weights_, model.attention_weights_.T):
        with pytest.raises(TypeError, match=NO_ARRAY):
            REFUSED[operation](view)


def test_view_is_not_hashable(view):
    with pytest.raises(TypeError, match="unhashable"):
        hash(view)


@pytest.mark.parametrize("name", ["ravel", "reshape", "std", "flat", "_repr_html_", "__array_interface__"])
def test_view_has_no_other_attributes(view, name):
    assert not hasattr(view, name)
    with pytest.raises(AttributeError, match=f"{name}.*{NO_ARRAY}"):
        getattr(view, name)


def test_functions_take_the_view_for_an_array(view):
    dense = np.asarray(view)
    for function in (np.std, np.sort, np.argmin, np.trace, np.ravel, np.diagonal, np.nanmax, np.linalg.norm, np.copy):
        np.testing.assert_array_equal(function(view), function(dense))
    np.testing.assert_array_equal(np.where(dense > 0.1, view, 0), np.where(dense > 0.1, dense, 0))
    np.testing.assert_array_equal(np.einsum("ij->j", view), np.einsum("ij->j", dense))
    np.testing.assert_array_equal(np.concatenate([view, view]), np.concatenate([dense, dense]))
    np.testing.assert_array_equal(check_array(view, ensure_all_finite=False), dense)
    assert np.allclose(view, dense, equal_nan=True)
    assert np.size(view) == N**2
    assert (csr_array(view) != csr_array(dense)).sum() == np.isnan(dense).sum()


def test_view_makes_a_data_frame(view):
    pandas = pytest.importorskip("pandas")
    names = [f"row {i}" for i in range(N)]
    pandas.testing.assert_frame_equal(pandas.DataFrame(view), pandas.DataFrame(np.asarray(view)))
    frame = pandas.DataFrame(view, index=names, columns=names, dtype=np.float32)
    pandas.testing.assert_frame_equal(frame, pandas.DataFrame(np.asarray(view, np.float32), names, names))


def _joblib_copy(view):
    file = BytesIO()
    joblib.dump(view, file)
    file.seek(0)
    return joblib.load(file)


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda view: pickle.loads(pickle.dumps(view)), _joblib_copy]
)
def test_view_is_duplicated(view, duplicate):
    duplicated = duplicate(view)
    np.testing.assert_array_equal(duplicated, np.asarray(view))
    np.testing.assert_array_equal(duplicated.T, np.asarray(view.T))
    assert repr(duplicated) == repr(view)


def test_view_is_pickled_without_its_weights():
    X = np.random.default_rng(0).normal(size=(20_000, 2))
    view = NadarayaWatsonRegressor(1.0).fit(X, X[:, 0]).attention_weights_
    pickled = pickle.dumps(view.T)
    assert len(pickled) < 3 * X.nbytes
    np.testing.assert_array_equal(pickle.loads(pickled).T[:3], view[:3])


def test_view_stays_with_the_fit_it_was_taken_from(model):
    view, dense = model.attention_weights_, np.asarray(model.attention_weights_)
    model.set_params(bandwidth=7.0, kernel="boxcar", empty="nan").fit(-model.keys_[:9], model.values_[:9])
    np.testing.assert_array_equal(view, dense)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(view)), dense)
    assert model.attention_weights_.shape == (9, 9)


def test_view_times_values_is_the_prediction_in_sample(blocks, model):
    view = model.attention_weights_
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
    monkeypatch.setattr("sknw._nadaraya_watson.BLOCK_WEIGHTS", 100)
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
