"""Tables in data frames of several libraries, arrays of objects and lists."""

import numpy as np
import pandas as pd
import pytest
from table_samples import (
    draw_columns,
    to_objects,
    to_pandas,
    to_polars,
    to_polars_categorical,
    to_polars_enum,
    to_pyarrow,
    to_pyarrow_dictionary,
    to_rows,
)

from sknw import NadarayaWatsonClassifier, NadarayaWatsonRegressor

each_estimator = pytest.mark.parametrize("Estimator", [NadarayaWatsonRegressor, NadarayaWatsonClassifier])


@pytest.fixture
def columns():
    return draw_columns()


@each_estimator
@pytest.mark.parametrize(
    "convert",
    [to_polars, to_polars_categorical, to_polars_enum, to_pyarrow, to_pyarrow_dictionary, to_objects, to_rows],
)
def test_all_hold_the_same_table(columns, Estimator, convert):
    data, y = columns
    expected, Z = Estimator("loo").fit(to_pandas(data), y), convert(data)
    has_names = convert not in (to_objects, to_rows)
    for chosen in [[2], [False, False, True, False], *(["from_dtype", ["city"]] if has_names else [])]:
        model = Estimator("loo", categorical_features=chosen).fit(Z, y)
        np.testing.assert_array_equal(model.bandwidth_, expected.bandwidth_)
        np.testing.assert_array_equal(model.keys_, expected.keys_)
        np.testing.assert_array_equal(model.attention_weights(Z), expected.attention_weights(to_pandas(data)))
        np.testing.assert_array_equal(model.predict(None), expected.predict(None))
        np.testing.assert_array_equal(model.is_categorical_, [False, False, True, False])
        assert list(model.categories_[2]) == ["Bonn", "Graz", "Oslo"]
        assert [model.categories_[f] for f in (0, 1, 3)] == [None] * 3


@pytest.mark.parametrize("convert", [to_polars, to_pyarrow])
def test_numbers_with_holes(columns, convert):
    data, y = columns
    data = {name: data[name] for name in ("size", "age", "new")}
    expected = NadarayaWatsonRegressor("loo").fit(to_pandas(data), y)
    model = NadarayaWatsonRegressor("loo").fit(convert(data), y)
    np.testing.assert_array_equal(model.predict(convert(data)), expected.predict(to_pandas(data)))
    np.testing.assert_array_equal(model.predict(None), expected.predict(None))
    assert model.categories_ == [None] * 3


@each_estimator
def test_another_library_at_predict(columns, Estimator):
    data, y = columns
    model = Estimator().fit(to_pandas(data), y)
    expected = model.attention_weights(to_pandas(data))
    for convert in (to_polars_enum, to_pyarrow):
        np.testing.assert_array_equal(model.attention_weights(convert(data)), expected)


def test_keys_are_decoded_by_categories(columns):
    data, y = columns
    model = NadarayaWatsonRegressor().fit(to_pandas(data), y)
    known = ~np.isnan(model.keys_[:, 2])
    decoded = model.categories_[2][model.keys_[known, 2].astype(int)]
    assert list(decoded) == [city for city in data["city"] if city is not None]
    assert list(known) == [city is not None for city in data["city"]]
    np.testing.assert_array_equal(model.keys_[:, 1], np.array(data["age"], dtype=float))


def test_ordered_categories_are_ranks_among_those_declared(rng):
    levels = ["none", "some", "many", "all"]
    degree, y = rng.choice([0, 1, 3], size=50), rng.normal(size=50)
    codes = np.where(rng.random(50) < 0.2, -1, degree)
    X = pd.DataFrame({"degree": pd.Categorical.from_codes(codes, levels, ordered=True), "x": rng.normal(size=50)})
    Z = X.assign(degree=np.where(codes < 0, np.nan, codes))
    expected = NadarayaWatsonRegressor().fit(Z, y)
    for chosen in ("from_dtype", ["degree"], [0]):
        model = NadarayaWatsonRegressor(categorical_features=chosen).fit(X, y)
        np.testing.assert_array_equal(model.bandwidth_, expected.bandwidth_)
        np.testing.assert_array_equal(model.predict(X), expected.predict(Z))
        assert list(model.categories_[0]) == levels
        np.testing.assert_array_equal(model.is_categorical_, [True, False])
    between = pd.DataFrame({"degree": pd.Categorical(["many"], levels, ordered=True), "x": [0.0]})
    np.testing.assert_array_equal(model.predict(between), expected.predict(pd.DataFrame({"degree": [2.0], "x": [0.0]})))
