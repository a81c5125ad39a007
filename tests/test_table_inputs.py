"""Tables: how features are selected, what is refused, and scikit-learn's tools."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from table_samples import draw_columns, to_objects, to_pandas

from sknw import (
    AttentionProjection,
    LocalLinearClassifier,
    LocalLinearRegressor,
    NadarayaWatsonClassifier,
    NadarayaWatsonRegressor,
)

BOTH = [NadarayaWatsonRegressor, NadarayaWatsonClassifier]
ALL = [*BOTH, LocalLinearRegressor, LocalLinearClassifier]
each_estimator = pytest.mark.parametrize("Estimator", BOTH)
every_estimator = pytest.mark.parametrize("Estimator", ALL)
NAMES = ["size", "age", "city", "new"]


@pytest.fixture
def columns():
    return draw_columns()


class TestSelection:
    def test_what_is_selected(self, columns):
        data, y = columns
        X = to_pandas(data).assign(floor=np.arange(60) % 3)
        text = X.assign(floor=X["floor"].map({0: "g", 1: "u", 2: "x"}))
        expected = NadarayaWatsonRegressor(0.7).fit(text, y).predict(text)
        for chosen in (
            ["city", "floor"],
            (2, 4),
            np.array([2, 4]),
            np.isin(np.arange(5), [2, 4]),
            pd.Index(["floor", "city"]),
        ):
            model = NadarayaWatsonRegressor(0.7, categorical_features=chosen).fit(X, y)
            np.testing.assert_allclose(model.predict(X), expected, rtol=1e-12)
            assert list(model.categories_[4]) == [0, 1, 2]
            assert model.categorical_features is chosen
        plain = NadarayaWatsonRegressor(0.7).fit(X, y)
        assert plain.categories_[4] is None
        numbers = X.drop(columns="city").to_numpy(dtype=float)
        assert NadarayaWatsonRegressor(categorical_features=[3]).fit(numbers, y).categories_[3].dtype.kind == "f"

    @every_estimator
    @pytest.mark.parametrize(
        ("chosen", "message"),
        [
            ([1.5], "categorical_features must be an array-like of bool, int or str, got: float"),
            ([None], "categorical_features must be an array-like of bool, int or str, got: NoneType"),
            ([True, False], r"categorical_features set as a boolean mask must have shape \(n_features,\), got: \(2,\)"),
            ([4], r"categorical_features set as integer indices must be in \[0, n_features - 1\]"),
            ([-1], r"categorical_features set as integer indices must be in \[0, n_features - 1\]"),
            (
                ["town"],
                "categorical_features has a item value 'town' which is not a valid feature name of the training data",
            ),
            ("city", "The 'categorical_features' parameter of .* must be"),
            (3, "The 'categorical_features' parameter of .* must be"),
        ],
    )
    def test_what_cannot_be_selected(self, columns, Estimator, chosen, message):
        """In the words of scikit-learn's histogram gradient boosting."""
        data, y = columns
        with pytest.raises(ValueError, match=message):
            Estimator(categorical_features=chosen).fit(to_pandas(data), y)

    @every_estimator
    def test_names_need_names(self, columns, Estimator):
        data, y = columns
        message = (
            "categorical_features should be passed as an array of integers or as a boolean mask when the model is "
        )
        with pytest.raises(ValueError, match=message + "fitted on data without feature names"):
            Estimator(categorical_features=["city"]).fit(to_objects(data), y)

    @every_estimator
    def test_text_that_is_not_selected(self, columns, Estimator):
        data, y = columns
        for X, chosen, name in (
            (to_pandas(data), None, "'city'"),
            (to_pandas(data), [1], "'city'"),
            (to_objects(data), "from_dtype", "2"),
        ):
            with pytest.raises(ValueError, match=rf"column {name} of X holds text"):
                Estimator(categorical_features=chosen).fit(X, y)

    @every_estimator
    def test_too_many_categories(self, Estimator):
        X, y = pd.DataFrame({"id": [f"row {i}" for i in range(256)], "x": 0.5}), np.arange(256) % 2
        with pytest.raises(
            ValueError, match=r"^feature 'id' has 256 categories; at most 255 are kept apart: leave it out"
        ):
            Estimator().fit(X, y)

    def test_as_many_categories_as_there_may_be(self):
        """Of 256, one is in a row of weight zero only, and is not counted."""
        X, y = pd.DataFrame({"id": [f"row {i}" for i in range(256)], "x": 0.5}), np.arange(256.0)
        model = NadarayaWatsonRegressor(0.1).fit(X, y, np.arange(256) > 0)
        np.testing.assert_allclose(model.predict(X[1:]), y[1:], rtol=1e-12)
        np.testing.assert_allclose(model.predict(X[:1]), y[1:].mean(), rtol=1e-12)
        assert len(model.categories_[0]) == 255


INFINITE = {
    "array": (lambda v: np.array([[0.0, 1.0], [1.0, v], [2.0, 3.0], [0.5, 2.0]]), None),
    "array with holes": (lambda v: np.array([[0.0, np.nan], [1.0, v], [2.0, 3.0], [0.5, 2.0]]), None),
    "objects": (lambda v: np.array([[0.0, None], [1.0, v], [2, 3.0], [0.5, 2.0]], dtype=object), None),
    "objects with categories": (lambda v: np.array([["a", None], ["b", v], ["a", 3.0], ["a", 2.0]], dtype=object), [0]),
    "rows": (lambda v: [[0.0, None], [1.0, v], [2.0, 3.0], [0.5, 2.0]], None),
    "frame": (lambda v: pd.DataFrame({"a": [1.0, 2, 3, 4], "b": [1.0, v, 3.0, np.nan]}), "from_dtype"),
    "frame of objects": (
        lambda v: pd.DataFrame({"a": [1.0, 2, 3, 4], "b": [1.0, v, 3.0, None]}, dtype=object),
        "from_dtype",
    ),
    "frame with categories": (lambda v: pd.DataFrame({"a": list("uvvu"), "b": [1.0, v, 3.0, np.nan]}), "from_dtype"),
    "objects beside categories": (lambda v: pd.DataFrame({"a": list("uvvu"), "b": [1.0, v, 3.0, pd.NA]}), "from_dtype"),
    "nullable": (
        lambda v: pd.DataFrame({"a": [1.0, 2, 3, 4], "b": pd.array([1.0, v, 3.0, pd.NA], dtype="Float64")}),
        "from_dtype",
    ),
    "numbers as categories": (lambda v: pd.DataFrame({"a": [1.0, 2, 3, 4], "b": [1.0, v, 3.0, np.nan]}), ["b"]),
    "text": (lambda v: pd.DataFrame({"a": [1.0, 2, 3, 4], "b": ["1", str(v), "3", None]}), "from_dtype"),
}


class TestRefused:
    @every_estimator
    @pytest.mark.parametrize("kind", INFINITE)
    def test_infinity(self, Estimator, kind):
        make, chosen = INFINITE[kind]
        y, message = [0, 1, 1, 0], "Input X contains infinity or a value too large"
        fixed = {} if Estimator in BOTH else {"n_neighbors": None, "ridge": 0.1}
        model = Estimator("silverman", categorical_features=chosen, **fixed).fit(make(7.0), y)
        for infinite in (np.inf, -np.inf):
            with pytest.raises(ValueError, match=message):
                model.predict(make(infinite))
            with pytest.raises(ValueError, match=message):
                clone(model).fit(make(infinite), y)
        assert np.isfinite(model.predict(make(7.0))).all()

    @each_estimator
    def test_feature_names_at_predict(self, columns, Estimator):
        data, y = columns
        X = to_pandas(data)
        model = Estimator().fit(X, y)
        for Z in (X.rename(columns={"city": "town"}), X[NAMES[::-1]]):
            with pytest.raises(ValueError, match="The feature names should match those that were passed during fit"):
                model.predict(Z)
        for Z, n in ((X[NAMES[:3]], 3), (X.assign(other=1.0), 5)):
            with pytest.raises(ValueError, match=f"feature names should match|X has {n} features"):
                model.predict(Z)
        with pytest.raises(ValueError, match=r"X has 3 features, but .* is expecting 4 features as input"):
            Estimator(categorical_features=[2]).fit(to_objects(data), y).predict(to_objects(data)[:, :3])
        with pytest.warns(UserWarning, match="X does not have valid feature names"):
            np.testing.assert_array_equal(model.predict(X.to_numpy(dtype=object)), model.predict(X))

    @each_estimator
    def test_text_in_a_number_at_predict(self, columns, Estimator):
        data, y = columns
        model = Estimator().fit(to_pandas(data), y)
        with pytest.raises(ValueError, match=r"^column 'age' of X holds text"):
            model.predict(to_pandas(data).assign(age="old"))

    def test_a_fit_that_fails_changes_nothing(self, columns):
        data, y = columns
        X = to_pandas(data)
        model = NadarayaWatsonRegressor().fit(X, y)
        expected, names = model.predict(X), set(vars(model))
        for wrong in (X.assign(size=np.inf), X.assign(city="Rome", size="1e999"), X.assign(city="Rome", age="old")):
            with pytest.raises(ValueError, match=r"infinity|text"):
                model.set_params(categorical_features=["city"]).fit(wrong, y)
        np.testing.assert_array_equal(model.predict(X), expected)
        assert set(vars(model)) == names
        assert list(model.categories_[2]) == ["Bonn", "Graz", "Oslo"]

    @each_estimator
    def test_sparse_inputs(self, columns, rng, Estimator):
        """They have numbers, of which some may be missing, and no categories."""
        data, y = columns
        X = rng.normal(size=(60, 3)) * (rng.random((60, 3)) < 0.5)
        X[rng.random((60, 3)) < 0.1] = np.nan
        dense, model = Estimator().fit(X, y), Estimator().fit(csr_array(X), y)
        np.testing.assert_array_equal(model.attention_weights(csr_array(X)), dense.attention_weights(X))
        with pytest.raises(TypeError, match=r"use X\.toarray\(\) to convert to a dense array"):
            Estimator(categorical_features=[0]).fit(csr_array(X), y)
        with pytest.raises(TypeError, match=r"use X\.toarray\(\) to convert to a dense array"):
            Estimator(categorical_features=[2]).fit(to_objects(data), y).predict(csr_array(np.ones((2, 4))))

    @each_estimator
    def test_projections(self, columns, Estimator):
        data, y = columns
        X = to_pandas(data)
        with pytest.raises(ValueError, match=r"^column 'city' of X holds text"):
            AttentionProjection(Estimator()).fit(X, y)
        with pytest.raises(ValueError, match="AttentionProjection requires features that are numbers"):
            AttentionProjection(Estimator(categorical_features=[3])).fit(X, y)
        with pytest.raises(ValueError, match="NaN"):
            AttentionProjection(Estimator()).fit(X[["size", "age"]], y)

    def test_densities(self, columns):
        """Those of tables are not defined."""
        data, y = columns
        X = to_pandas(data)
        for Z in (X, X[["size", "age"]], X[["size", "city"]]):
            model = NadarayaWatsonRegressor(0.7).fit(Z, y)
            assert not hasattr(model, "score_samples")
        assert hasattr(NadarayaWatsonRegressor(0.7).fit(X[["size", "new"]], y), "score_samples")


class TestTools:
    @each_estimator
    @pytest.mark.parametrize("bandwidth", ["silverman", "loo"])
    def test_pickles_and_clones(self, columns, Estimator, bandwidth):
        data, y = columns
        X = to_pandas(data)
        model = Estimator(bandwidth, n_neighbors=9).fit(X, y)
        for again in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model), clone(model).fit(X, y)):
            for asked in (X, None):
                np.testing.assert_array_equal(again.attention_weights(asked), model.attention_weights(asked))
            assert list(again.categories_[2]) == list(model.categories_[2])

    @each_estimator
    def test_selection_of_models(self, columns, Estimator):
        data, y = columns
        X = to_pandas(data)
        grid = {"bandwidth": [0.3, 0.6], "categorical_features": ["from_dtype", [2, 3]]}
        search = GridSearchCV(Estimator(), grid, cv=3).fit(X, y)
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()
        folds = [(np.arange(60) % 3 != k, np.arange(60) % 3 == k) for k in range(3)]
        folds = [(np.flatnonzero(train), np.flatnonzero(test)) for train, test in folds]
        predicted = cross_val_predict(Estimator("loo"), X, y, cv=folds)
        for train, test in folds:
            model = Estimator("loo").fit(X.iloc[train], y[train])
            np.testing.assert_array_equal(predicted[test], model.predict(X.iloc[test]))

    @each_estimator
    def test_columns_that_are_transformed_before(self, columns, Estimator):
        """By name, as the transformer keeps the data types of the others."""
        data, y = columns
        X = to_pandas(data)
        scale = ColumnTransformer([("scale", StandardScaler(), ["size", "age"])], remainder="passthrough")
        pipeline = make_pipeline(scale.set_output(transform="pandas"), Estimator("loo")).fit(X, y)
        np.testing.assert_array_equal(pipeline[-1].is_categorical_, [False, False, True, False])
        alone = Estimator("loo").fit(X, y)
        np.testing.assert_allclose(pipeline[-1].bandwidth_[2:], alone.bandwidth_[2:], rtol=1e-6)
        np.testing.assert_allclose(pipeline.predict(X), alone.predict(X), rtol=1e-6)

    @every_estimator
    def test_tags(self, Estimator):
        tags = Estimator().__sklearn_tags__().input_tags
        assert tags.allow_nan
        assert tags.categorical
