"""Tables: what must not matter, what X may be, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from sknw import (
    LocalLinearClassifier,
    LocalLinearRegressor,
    NadarayaWatsonClassifier,
    NadarayaWatsonRegressor,
)
from sknw._learning.loss import CrossValidation

BOTH = [NadarayaWatsonRegressor, NadarayaWatsonClassifier]
ALL = [*BOTH, LocalLinearRegressor, LocalLinearClassifier]
BANDWIDTHS = ["silverman", "loo", "loo_ard"]
each_estimator = pytest.mark.parametrize("Estimator", BOTH)
each_search = pytest.mark.parametrize(
    ("Estimator", "bandwidth"), [*((BOTH[0], h) for h in BANDWIDTHS), *((BOTH[1], h) for h in BANDWIDTHS[:2])]
)
CITIES = np.array(["Bonn", "Graz", "Lyon", "Oslo"], dtype=object)


@pytest.fixture
def table(rng):
    """A frame with numbers, one of them with holes, categories, one of them with holes, and a boolean; and targets."""
    n = 60
    frame = pd.DataFrame(
        {
            "size": rng.normal(size=n),
            "age": np.where(rng.random(n) < 0.2, np.nan, 10 * rng.normal(size=n)),
            "city": rng.choice(CITIES, size=n),
            "colour": np.where(rng.random(n) < 0.2, None, rng.choice(["red", "green", "blue"], size=n)),
            "new": np.arange(n) % 4 == 0,
        }
    )
    y = np.sin(2 * frame["size"]) + (frame["city"] < "H") + 0.1 * rng.normal(size=n)
    return frame, y.to_numpy()


def targets(Estimator, y):
    """Numbers, or classes."""
    return y if Estimator in (NadarayaWatsonRegressor, LocalLinearRegressor) else np.where(y > 0.5, "high", "low")


def numeric(model, X):
    """Predictions of a regressor, or probabilities."""
    return getattr(model, "predict_proba", model.predict)(X)


def assert_same(one, X, other, Z, rtol=1e-12):
    """Two models predict the same for X and for Z, and in leave-one-out; so are their bandwidths."""
    np.testing.assert_allclose(one.bandwidth_, other.bandwidth_, rtol=rtol)
    np.testing.assert_allclose(numeric(one, X), numeric(other, Z), rtol=0, atol=rtol)
    np.testing.assert_allclose(numeric(one, None), numeric(other, None), rtol=0, atol=rtol)


class TestWhatDoesNotMatter:
    @each_search
    def test_data_types_and_unused_levels_of_categories(self, table, Estimator, bandwidth):
        X, y = table
        y = targets(Estimator, y)
        plain = Estimator(bandwidth).fit(X, y)
        for levels in (CITIES, ["Rome", *CITIES[::-1], "Wien"]):
            Z = X.assign(city=pd.Categorical(X["city"], categories=levels))
            model = Estimator(bandwidth).fit(Z, y)
            assert_same(plain, X, model, Z, 0)
            assert list(model.categories_[2]) == list(CITIES)

    @each_estimator
    @pytest.mark.parametrize("bandwidth", ["silverman", "loo", 0.7])
    def test_names_and_order_of_categories(self, table, Estimator, bandwidth):
        X, y = table
        y = targets(Estimator, y)
        plain = Estimator(bandwidth).fit(X, y)
        for names in (["w", "b", "z", "a"], [True, 7.5, "x", -1], [3, 1, 0, 2]):
            Z = X.assign(city=X["city"].map(dict(zip(CITIES, names, strict=True))).astype("category"))
            model = Estimator(bandwidth).fit(Z, y)
            assert_same(plain, X, model, Z, 1e-7 if bandwidth == "loo" else 1e-12)
            assert set(model.categories_[2]) == set(names)

    @each_estimator
    def test_halves_of_rows_do_not_depend_on_names(self, table, Estimator, monkeypatch):
        """Rows that agree in all numbers and targets are ordered by something else than names."""
        (X, y), found, init = table, [], CrossValidation.__init__

        def record(self, loss, *args):
            init(self, loss, *args)
            keys = np.nan_to_num(loss.sample.keys[loss.rows], nan=-1)
            keys[:, 1] = np.argsort(names)[keys[:, 1].astype(int)]
            rows = np.column_stack([keys, loss.values[:][loss.rows]])
            found.append([sorted(map(tuple, rows[half])) for pair in self.positions for half in pair])

        monkeypatch.setattr(CrossValidation, "__init__", record)
        X, y = X.assign(size=X["size"].round()).drop(columns="age"), targets(Estimator, y.round(1))
        for names in (CITIES, ["w", "b", "z", "a"], [3, 1, 0, 2]):
            Z = X.assign(city=X["city"].map(dict(zip(CITIES, names, strict=True))).astype("category"))
            Estimator("loo_ard").fit(Z, y)
        assert found[1:] == found[:1] * 2

    @each_search
    def test_two_categories_are_zero_and_one(self, table, Estimator, bandwidth):
        """A quarter of these is True, where a quartile of 0 and 1 is 1/2."""
        X, y = table
        X, y = X.drop(columns="age"), targets(Estimator, y)
        plain = Estimator(bandwidth).fit(X, y)
        ranks = pd.Categorical(np.where(X["new"], "yes", "no"), categories=["no", "yes"], ordered=True)
        for new in (
            X["new"].astype(int),
            X["new"].astype(float),
            np.where(X["new"], "yes", "no"),
            ranks,
            X["new"].astype("category"),
        ):
            Z = X.assign(new=new)
            assert_same(plain, X, Estimator(bandwidth).fit(Z, y), Z)

    @each_estimator
    def test_the_order_of_rows_and_features(self, table, rng, Estimator):
        X, y = table
        y, order = targets(Estimator, y), rng.permutation(len(X))
        for bandwidth in ("silverman", "loo"):
            one, other = Estimator(bandwidth).fit(X, y), Estimator(bandwidth).fit(X.iloc[order, ::-1], y[order])
            np.testing.assert_allclose(
                one.bandwidth_, other.bandwidth_[::-1], rtol=1e-12 if bandwidth == "silverman" else 1e-7
            )
            np.testing.assert_allclose(
                numeric(one, X), numeric(other, X.iloc[:, ::-1]), rtol=0, atol=1e-7 if bandwidth == "loo" else 1e-12
            )
            np.testing.assert_allclose(
                numeric(one, None)[order], numeric(other, None), rtol=0, atol=1e-7 if bandwidth == "loo" else 1e-12
            )

    @each_search
    def test_units_of_numbers(self, table, Estimator, bandwidth):
        """Scales are powers of two, and numbers are multiples of 2^-20, so that both are exact."""
        X, y = table
        X, y = (
            X.assign(size=np.round(2**20 * X["size"]) / 2**20, age=np.round(2**20 * X["age"]) / 2**20),
            targets(Estimator, y),
        )
        Z = X.assign(size=8 * X["size"] - 16, age=X["age"] / 4 + 1024)
        one, other = Estimator(bandwidth).fit(X, y), Estimator(bandwidth).fit(Z, y)
        np.testing.assert_allclose(one.bandwidth_ * [8, 0.25, 1, 1, 1], other.bandwidth_, rtol=1e-7)
        np.testing.assert_allclose(numeric(one, X), numeric(other, Z), rtol=0, atol=1e-8)

    @each_estimator
    @pytest.mark.parametrize("bandwidth", [*BANDWIDTHS, [0.5, 5.0, 0.7, 0.6, 0.8]])
    def test_counts_are_repetitions(self, table, rng, Estimator, bandwidth):
        """A category that only a row of weight zero has is unknown, as without the row."""
        X, y = table
        X, y, counts = X.copy(), targets(Estimator, y), rng.integers(1, 4, size=len(X))
        X.loc[[3, 8], ["city", "age"]] = [["Rome", 1e6], ["Wien", np.nan]]
        counts[[3, 8, 20]] = 0
        Z, repeated = X.loc[X.index.repeat(counts)], np.repeat(y, counts)
        one, other = Estimator(bandwidth).fit(X, y, counts), Estimator(bandwidth).fit(Z, repeated)
        tol = 1e-7 if isinstance(bandwidth, str) and "loo" in bandwidth else 1e-12
        np.testing.assert_allclose(one.bandwidth_, other.bandwidth_, rtol=tol)
        np.testing.assert_allclose(numeric(one, X), numeric(other, X), rtol=0, atol=tol)
        np.testing.assert_allclose(numeric(one, None).repeat(counts, axis=0), numeric(other, None), rtol=0, atol=tol)
        assert [list(found) for found in one.categories_[2:4]] == [list(found) for found in other.categories_[2:4]]
        assert "Rome" not in one.categories_[2]
        assert np.isnan(one.keys_[[3, 8], 2]).all()

    @each_estimator
    def test_copies_are_found_where_values_are_missing(self, table, Estimator):
        X, y = table
        y = targets(Estimator, y)
        twice = pd.concat([X, X], ignore_index=True)
        one, other = Estimator("loo").fit(X, y), Estimator("loo").fit(twice, np.tile(y, 2))
        np.testing.assert_allclose(other.bandwidth_, one.bandwidth_ * (other.bandwidth_ / one.bandwidth_)[0], rtol=1e-6)
        assert (other.bandwidth_ > 0.5 * one.bandwidth_).all()

    @each_search
    def test_complete_numbers_are_arrays(self, rng, Estimator, bandwidth):
        """Bit for bit, whatever holds them, by the same algorithm."""
        for d, n in ((1, 900), (3, 60)):
            X = rng.normal(size=(n, d))
            y = targets(Estimator, np.sin(X[:, 0]))
            frame = pd.DataFrame(X, columns=list("abc")[:d])
            array = Estimator(bandwidth).fit(X, y)
            others = [(frame, "from_dtype"), (X.astype(object), "from_dtype")]
            if d > 1:
                others += [(frame.astype("Float64"), []), (frame.astype(object), "from_dtype"), (X.tolist(), None)]
            for Z, chosen in others:
                other = Estimator(bandwidth, categorical_features=chosen).fit(Z, y)
                np.testing.assert_array_equal(other.bandwidth_, array.bandwidth_)
                np.testing.assert_array_equal(numeric(other, Z), numeric(array, X))
                assert other.algorithm_ == array.algorithm_ == ("sorted" if d == 1 else "dense")
                assert other.is_categorical_ is None
                assert other.categories_ == [None] * d

    def test_two_classes_are_the_regressor_on_0_and_1(self, table):
        X, y = table
        classifier, regressor = (
            NadarayaWatsonClassifier("loo").fit(X, y > 0.5),
            NadarayaWatsonRegressor("loo").fit(X, y > 0.5),
        )
        np.testing.assert_allclose(classifier.predict_proba(X)[:, 1], regressor.predict(X), rtol=0, atol=1e-7)


class TestMissing:
    @each_estimator
    @pytest.mark.parametrize("name", ["size", "age", "city", "colour", "new"])
    def test_unseen_is_missing_is_ignored(self, table, Estimator, name):
        X, y = table
        y, h, f = targets(Estimator, y), np.array([0.6, 6.0, 0.5, 0.7, 0.4]), list(X).index(name)
        model = Estimator(h).fit(X, y)
        ignored = Estimator(np.where(np.arange(5) == f, np.inf, h)).fit(X, y)
        queries = X.assign(**{name: np.nan if name in ("size", "age") else None})
        np.testing.assert_allclose(numeric(model, queries), numeric(ignored, X), rtol=0, atol=1e-13)
        if name in ("city", "colour"):
            for unseen in ("Rome", 3, True):
                np.testing.assert_array_equal(numeric(model, X.assign(**{name: unseen})), numeric(model, queries))

    @each_estimator
    @pytest.mark.parametrize("empty", ["nearest", "mean", "nan", "raise"])
    def test_nothing_known_gets_the_mean(self, table, Estimator, empty):
        X, y = table
        weights, labels = np.linspace(0.5, 2, len(y)), targets(Estimator, y)
        model = Estimator("silverman", kernel="epanechnikov", empty=empty).fit(X, labels, weights)
        nothing = pd.DataFrame({name: [None] for name in X})
        mean = np.average(model.values_, axis=0, weights=weights)
        np.testing.assert_allclose(np.ravel(numeric(model, nothing)), mean, rtol=1e-12)
        np.testing.assert_allclose(model.attention_weights(nothing), [weights / weights.sum()], rtol=1e-12)

    @each_estimator
    @pytest.mark.parametrize("missing", [None, np.nan, pd.NA, float("nan")])
    def test_whatever_says_that_a_value_is_missing(self, table, Estimator, missing):
        X, y = table
        y, expected = targets(Estimator, y), Estimator().fit(X, targets(Estimator, y))
        objects = X.astype(object)
        objects = objects.where(X.notna(), missing)
        frames = [objects, X.assign(age=objects["age"]), X.assign(colour=objects["colour"])]
        for Z in frames:
            assert_same(expected, X, Estimator().fit(Z, y), Z, 0)
        arrays = Estimator(categorical_features=[2, 3]).fit(objects.to_numpy(), y)
        assert_same(expected, X, arrays, objects.to_numpy(), 0)
        known = X[["size", "age"]].to_numpy()
        numbers, plain = objects[["size", "age"]].to_numpy(), Estimator().fit(known, y)
        for Z in (numbers, numbers.tolist()):
            assert_same(plain, known, Estimator().fit(Z, y), Z, 0)

    def test_nullable_data_types(self, table):
        X, y = table
        X = X.assign(
            floor=np.where(X["age"] > 12, np.nan, np.arange(60) % 3), old=np.where(X["age"] < -10, None, X["new"])
        )
        expected = NadarayaWatsonRegressor().fit(X.assign(old=X["old"].astype(float)), y)
        nullable = {
            "size": "Float64",
            "age": "Float64",
            "city": "string",
            "colour": "string",
            "new": "boolean",
            "floor": "Int64",
            "old": "boolean",
        }
        Z = X.astype(nullable)
        assert_same(expected, X.assign(old=X["old"].astype(float)), NadarayaWatsonRegressor().fit(Z, y), Z, 0)
        numbers = ["size", "age", "floor"]
        plain = NadarayaWatsonRegressor().fit(X[numbers], y)
        assert_same(plain, X[numbers], NadarayaWatsonRegressor().fit(Z[numbers], y), Z[numbers], 0)

    @each_search
    @pytest.mark.parametrize("nothing", [np.nan, None, pd.NA])
    def test_a_feature_without_any_value(self, table, Estimator, bandwidth, nothing):
        """It is ignored, whatever it is at a query."""
        X, y = table
        y, plain = targets(Estimator, y), Estimator(bandwidth).fit(X, targets(Estimator, y))
        Z = X.assign(nothing=pd.Series([nothing] * len(X), dtype=float if nothing is np.nan else object))
        for chosen in ("from_dtype", ["city", "colour", "nothing"]):
            model = Estimator(bandwidth, categorical_features=chosen).fit(Z, y)
            np.testing.assert_allclose(model.bandwidth_, [*plain.bandwidth_, np.inf], rtol=1e-12)
            for value in (nothing, 3.0):
                np.testing.assert_allclose(
                    numeric(model, X.assign(nothing=value)), numeric(plain, X), rtol=0, atol=1e-12
                )
        fixed = Estimator(0.7).fit(Z, y)
        assert fixed.bandwidth_[-1] == np.inf
        assert fixed.feature_importances_[-1] == 0

    @each_search
    def test_nothing_is_known_at_all(self, Estimator, bandwidth):
        y = np.arange(12.0)
        model = Estimator(bandwidth).fit(np.full((12, 2), np.nan), targets(Estimator, y))
        mean = model.values_.mean(axis=0)
        for X in ([[np.nan, np.nan]], [[1.0, 2.0]]):
            np.testing.assert_allclose(np.ravel(numeric(model, X)), mean, rtol=1e-12)
        np.testing.assert_allclose(np.ravel(numeric(model, None)[:1]), model.values_[1:].mean(axis=0), rtol=1e-12)

    @each_estimator
    def test_a_row_without_any_value_is_at_the_mean_distance(self, table, Estimator):
        X, y = table
        X = X.astype({"new": object})
        X.loc[7] = [np.nan, np.nan, None, None, None]
        model = Estimator(0.8).fit(X, targets(Estimator, y))
        np.testing.assert_allclose(model.attention_weights(X[7:8])[0], 1 / 60, rtol=1e-12)
        others = np.arange(60) != 7
        np.testing.assert_allclose(model.attention_weights(None)[7], others / 59, rtol=1e-12)
        assert (model.attention_weights(X)[others, 7] > 0).all()

    @each_search
    def test_a_constant_category_is_ignored(self, table, Estimator, bandwidth):
        X, y = table
        y, plain = targets(Estimator, y), Estimator(bandwidth).fit(X, targets(Estimator, y))
        Z = X.assign(constant="x")
        for chosen in ("from_dtype", ["city", "colour", "constant"]):
            model = Estimator(bandwidth, categorical_features=chosen).fit(Z, y)
            assert model.bandwidth_[-1] == np.inf
            np.testing.assert_allclose(model.bandwidth_[:-1], plain.bandwidth_, rtol=1e-12)
            np.testing.assert_allclose(numeric(model, Z), numeric(plain, X), rtol=0, atol=1e-12)
        Z.loc[:5, "constant"] = None
        model = Estimator().fit(Z, y)
        assert model.bandwidth_[-1] == np.inf
        np.testing.assert_allclose(numeric(model, Z), numeric(Estimator().fit(X, y), X), rtol=0, atol=1e-12)
