"""What X may be, and what is said of what it may not be."""

import copy

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.compose import make_column_transformer
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sknw import (
    Kernel,
    LocalLinearClassifier,
    LocalLinearRegressor,
    NadarayaWatsonClassifier,
    NadarayaWatsonRegressor,
    _inputs,
)

SPARSE = [getattr(sparse, f"{form}_{kind}") for form in ("csr", "csc", "coo") for kind in ("array", "matrix")]
ESTIMATORS = [NadarayaWatsonRegressor, NadarayaWatsonClassifier]
ALL = [*ESTIMATORS, LocalLinearRegressor, LocalLinearClassifier]


@pytest.fixture
def dense(rng):
    return rng.normal(size=(60, 7)) * (rng.random((60, 7)) < 0.4)


@pytest.mark.parametrize("to_sparse", SPARSE)
@pytest.mark.parametrize("Estimator", ESTIMATORS)
@pytest.mark.parametrize("block_numbers", [2**22, 40])
def test_sparse_inputs_are_the_dense_ones(dense, to_sparse, Estimator, block_numbers, monkeypatch):
    monkeypatch.setattr(_inputs, "DENSE_NUMBERS", block_numbers)
    y, X, queries = dense[:, 0] > 0, to_sparse(dense), to_sparse(dense[::-2] * 1.1)
    one, other = Estimator("loo").fit(dense, y), Estimator("loo").fit(X, y)
    np.testing.assert_array_equal(one.bandwidth_, other.bandwidth_)
    np.testing.assert_array_equal(one.keys_, other.keys_)
    np.testing.assert_allclose(one.predict(queries.toarray()), other.predict(queries), rtol=1e-12)
    attention = one.attention_weights(queries.toarray())
    np.testing.assert_allclose(attention, other.attention_weights(queries), rtol=1e-12)
    few = other.attention_weights(queries, sparse_output=True).toarray()
    np.testing.assert_allclose(attention, few, atol=1e-9)
    assert other.score(X, y) == pytest.approx(one.score(dense, y), rel=1e-12)


def test_queries_without_a_neighbour_are_counted_over_all_blocks(dense, monkeypatch):
    monkeypatch.setattr(_inputs, "DENSE_NUMBERS", 40)
    model = NadarayaWatsonRegressor(1e-3, kernel="boxcar", empty="raise").fit(dense, dense[:, 0])
    with pytest.raises(ValueError, match=r"^30 of 30 queries"):
        model.predict(sparse.csr_array(dense[::2] + 1.0))


def test_what_encoders_return(rng):
    X = pd.DataFrame({"size": rng.normal(size=200), "city": rng.choice(list("abcdefghijklmnop"), size=200)})
    y = X["size"] + (X["city"] < "e")
    columns = make_column_transformer((StandardScaler(), ["size"]), (OneHotEncoder(), ["city"]))
    assert sparse.issparse(columns.fit_transform(X))
    predicted = cross_val_predict(make_pipeline(columns, NadarayaWatsonRegressor(0.5)), X, y, cv=3)
    assert np.corrcoef(predicted, y)[0, 1] > 0.9


@pytest.mark.parametrize("shape", [(1000, 10**9), (10**7, 10**7)])
def test_sparse_inputs_that_do_not_fit_into_memory(shape):
    with pytest.raises(ValueError, match=r"would take \d+\.\d GiB as a dense array.*TruncatedSVD"):
        NadarayaWatsonRegressor().fit(sparse.csr_array(shape), np.zeros(shape[0]))


def test_an_allocation_that_fails_is_the_same_error(monkeypatch):
    monkeypatch.setattr(_inputs, "_memory", lambda: np.inf)
    with pytest.raises(ValueError, match="TruncatedSVD"):
        NadarayaWatsonRegressor().fit(sparse.csr_array((2, 2**58)), [0, 1])


def frames():
    days = pd.date_range("2024-01-01", periods=4)
    mixed = pd.DataFrame({"size": [1.0, 2, 3, 4], "when": days})
    yield mixed, "'when'", "dates or times"
    yield mixed[["when"]], "'when'", "dates or times"
    yield mixed[["when"]].to_numpy(), "0", "dates or times"
    yield pd.DataFrame({"size": [1.0, 2, 3, 4], "lasts": days - days[0]}), "'lasts'", "dates or times"
    yield [[1, "a"], [2, "b"], [3, "c"], [4, "a"]], "1", "text"
    yield [[1, day] for day in days], "1", "dates or times"
    yield [[1, day.date()] for day in days], "1", "dates or times"
    yield [[day - days[0], 1] for day in days], "0", "dates or times"
    yield np.array([[1, "a"], [2, "b"], [3, "c"], [4, "a"]], dtype=object), "1", "text"


@pytest.mark.parametrize("Estimator", ALL)
@pytest.mark.parametrize("cities", [list("abca"), pd.Categorical(list("abca"))])
def test_text_that_is_no_category_is_named(Estimator, cities):
    X = pd.DataFrame({"size": [1.0, 2, 3, 4], "city": cities})
    for chosen in (None, ["size"]):
        with pytest.raises(ValueError, match=r"^column 'city' of X holds text, .*select it as a category"):
            Estimator(categorical_features=chosen).fit(X, [0, 1, 1, 0])


@pytest.mark.parametrize("Estimator", ALL)
@pytest.mark.parametrize(("X", "column", "what"), list(frames()))
def test_columns_that_hold_no_numbers_are_named(Estimator, X, column, what):
    with pytest.raises(ValueError, match=f"^column {column} of X holds {what}.* convert it to numbers, for example"):
        Estimator().fit(X, [0, 1, 1, 0])


def test_numbers_are_not_looked_through(monkeypatch):
    """An error in a large array, or about y, costs no array of objects."""
    monkeypatch.setattr(_inputs, "is_text", None)
    X = np.array([[1.0, np.inf], [2.0, 3.0]])
    for inputs in (X, pd.DataFrame(X)):
        with pytest.raises(ValueError, match="contains infinity"):
            NadarayaWatsonRegressor().fit(inputs, [0, 1])


def test_queries_that_hold_no_numbers_are_named():
    X = pd.DataFrame({"size": [1.0, 2, 3], "floor": [1, 2, 2]})
    model = NadarayaWatsonRegressor().fit(X, [0, 1, 1])
    with pytest.raises(ValueError, match=r"^column 'floor' of X holds text"):
        model.predict(X.assign(floor=["low", "high", "high"]))


def test_numbers_as_text_and_as_objects_are_numbers():
    y, plain = [0.0, 1.0, 4.0], np.array([[1.0, 3], [2, 3], [3, 5]])
    expected = NadarayaWatsonRegressor(1.0).fit(plain, y).predict(plain)
    for X in (
        pd.DataFrame(plain.astype(str), columns=["a", "b"]),
        plain.astype(object),
    ):
        np.testing.assert_array_equal(NadarayaWatsonRegressor(1.0).fit(X, y).predict(X), expected)
    X = pd.DataFrame({"a": pd.Categorical([1, 2, 3]), "b": [3, 3, 5]})
    model = NadarayaWatsonRegressor(1.0, categorical_features=None).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), expected)


@pytest.mark.parametrize("name", ["empty", "tol", "n_jobs"])
def test_parameters_set_after_fit_are_checked(name):
    model = NadarayaWatsonRegressor().fit([[0], [1]], [0, 1]).set_params(**{name: "bogus"})
    for method in (model.predict, model.attention_weights):
        with pytest.raises(ValueError, match=f"The '{name}' parameter of NadarayaWatsonRegressor must be"):
            method([[0]])


@pytest.mark.parametrize(
    ("kernel", "hint"),
    [
        ("rbf", 'Use "gaussian"'),
        ("tophat", 'Use "boxcar"'),
        (lambda t: -t, r"Kernel\(function\)"),
        (np.exp, "Kernel"),
    ],
)
def test_kernels_by_other_names(kernel, hint):
    with pytest.raises(ValueError, match=f"The 'kernel' parameter .*{hint}"):
        NadarayaWatsonRegressor(kernel=kernel).fit([[0], [1]], [0, 1])


def test_other_wrong_kernels_get_no_hint():
    with pytest.raises(ValueError, match=r"Got 3 instead\.$"):
        NadarayaWatsonRegressor(kernel=3).fit([[0], [1]], [0, 1])
    NadarayaWatsonRegressor(kernel=Kernel(lambda t: -t)).fit([[0], [1]], [0, 1])


@pytest.mark.parametrize("bandwidth", [True, np.True_, [True, False], ["a", "b"], [[1, 2], [3]]])
def test_bandwidths_that_are_no_numbers(bandwidth):
    with pytest.raises(ValueError, match="bandwidth"):
        NadarayaWatsonRegressor(bandwidth).fit([[0, 1], [1, 2]], [0, 1])


def test_not_fitted():
    with pytest.raises(NotFittedError):
        NadarayaWatsonRegressor(tol="bogus").predict([[0]])


@pytest.mark.parametrize("Estimator", ALL)
def test_the_largest_floats_give_no_warning(Estimator):
    X = np.array([[1.7e308], [-1.7e308], [1.7e308], [-1.7e308]])
    model = Estimator(1.0).fit(X, [0, 1, 0, 1])
    np.testing.assert_allclose(model.predict(X), [0, 1, 0, 1], atol=1e-300)


GOOD_X, GOOD_Y = np.array([[0.0, 1.0], [1.0, 2.0], [2.0, 0.5]]), np.array([0, 1, 1])


@pytest.mark.parametrize("Estimator", ESTIMATORS)
@pytest.mark.parametrize(
    ("parameters", "X", "y", "sample_weight", "message"),
    [
        ({}, [[0, np.inf], [1, 1], [2, 2]], GOOD_Y, None, "Input X contains infinity"),
        ({}, GOOD_X, [0, np.nan, 1], None, "Input y contains NaN"),
        ({}, np.empty((0, 2)), [], None, r"0 sample\(s\)"),
        ({}, GOOD_X[:, 0], GOOD_Y, None, "Expected 2D array, got 1D array instead"),
        ({}, GOOD_X, [0, 1], None, "inconsistent numbers of samples"),
        (
            {},
            GOOD_X,
            GOOD_Y,
            [1, -1, 1],
            "sample_weight must not be negative, got a smallest weight of -1; a weight of 0",
        ),
        ({}, GOOD_X, GOOD_Y, [0, 0, 0], "sample_weight is zero for every row"),
        ({}, GOOD_X, GOOD_Y, [1, np.nan, 0], "sample_weight contains NaN"),
        ({}, GOOD_X, GOOD_Y, [1, 1], r"sample_weight has shape \(2,\), but X has 3 rows"),
        ({"bandwidth": 0}, GOOD_X, GOOD_Y, None, r"'bandwidth'.*\(0.0, inf\].*Got 0 instead"),
        ({"bandwidth": -1.5}, GOOD_X, GOOD_Y, None, "Got -1.5 instead"),
        ({"bandwidth": np.nan}, GOOD_X, GOOD_Y, None, "'bandwidth'.*Got nan instead"),
        ({"bandwidth": "cv"}, GOOD_X, GOOD_Y, None, "'bandwidth'.*silverman.*Got 'cv' instead"),
        ({"bandwidth": [1, 2, 3]}, GOOD_X, GOOD_Y, None, "X has 2 features"),
        ({"bandwidth": [1, -2]}, GOOD_X, GOOD_Y, None, r"bandwidth must be positive, got \[1, -2\]"),
        ({"kernel": "epan"}, GOOD_X, GOOD_Y, None, "'kernel'.*Got 'epan' instead"),
        ({"kernel": abs}, GOOD_X, GOOD_Y, None, "'kernel'"),
        ({"empty": "zero"}, GOOD_X, GOOD_Y, None, "'empty'.*Got 'zero' instead"),
        ({"algorithm": "fast"}, GOOD_X, GOOD_Y, None, "'algorithm'.*Got 'fast' instead"),
        ({"tol": -1}, GOOD_X, GOOD_Y, None, "'tol'.*Got -1 instead"),
        ({"n_jobs": "two"}, GOOD_X, GOOD_Y, None, "'n_jobs'"),
    ],
)
def test_bad_input_is_refused_and_changes_nothing(Estimator, parameters, X, y, sample_weight, message):
    model = Estimator(1.0).fit(GOOD_X[:, :1], GOOD_Y)
    before, values = copy.deepcopy(vars(model)), model.values_.copy()
    model.set_params(**parameters)
    with pytest.raises(ValueError, match=message):
        model.fit(X, y, sample_weight)
    model.set_params(bandwidth=1.0, kernel="gaussian", empty="nearest", algorithm="auto", tol=1e-10, n_jobs=None)
    for name, value in before.items():
        if name not in ("_pooler", "_range", "_values", "_memo", "_table", "_columns"):
            np.testing.assert_array_equal(vars(model)[name], value)
    np.testing.assert_array_equal(model.values_, values)
    assert vars(model).keys() == before.keys()
    assert np.isfinite(model.predict([[0.5]])).all()


@pytest.mark.parametrize("Estimator", ALL)
@pytest.mark.parametrize("queries", [[[np.inf, 0]], [[1.0]], [[1.0, 2.0, 3.0]], np.empty((0, 2)), [1.0, 2.0]])
def test_bad_queries_are_refused(Estimator, queries):
    model = Estimator().fit(GOOD_X, GOOD_Y)
    with pytest.raises(ValueError, match=r"infinity|expecting 2 features|0 sample|Expected 2D"):
        model.predict(queries)


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_unfitted_use(Estimator):
    for method in ("predict", "attention_weights"):
        with pytest.raises(NotFittedError, match="is not fitted yet"):
            getattr(Estimator(), method)(GOOD_X)


@pytest.mark.parametrize("Estimator", ESTIMATORS)
@pytest.mark.parametrize(("X", "weights"), [([[1.0]], None), ([[1.0], [2.0]], [1, 0]), ([[1.0], [2.0]], [0.5, 0])])
def test_a_single_row_cannot_be_left_out(Estimator, X, weights):
    model = Estimator().fit(X, np.arange(len(X)), weights)
    for ask in (model.predict, model.attention_weights, lambda X: model.score(X, [1])):
        with pytest.raises(ValueError, match="n_samples=1"):
            ask(None)


def test_classifier_refuses_what_is_not_a_class():
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        NadarayaWatsonClassifier().fit(GOOD_X, [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="1d array"):
        NadarayaWatsonClassifier().fit(GOOD_X, np.c_[GOOD_Y, GOOD_Y])
    with pytest.warns(DataConversionWarning, match="column-vector y was passed"):
        model = NadarayaWatsonClassifier().fit(GOOD_X, GOOD_Y[:, None])
    assert model.predict(GOOD_X).shape == (3,)
