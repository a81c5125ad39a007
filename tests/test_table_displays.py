"""Displays of tables with categories, ordered categories and missing values."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknw import (
    AttentionDisplay,
    BandwidthDisplay,
    CurveDisplay,
    NadarayaWatsonClassifier,
    NadarayaWatsonRegressor,
)

pd = pytest.importorskip("pandas")
pytestmark = pytest.mark.usefixtures("plt")

LEVELS = ["poor", "fair", "good", "excellent"]
DISTRICTS = ["east", "north", "south", "west"]


@pytest.fixture
def table(rng):
    """A number, a category and an ordered category, of which the last level does not occur, with holes; and targets."""
    X = pd.DataFrame(
        {
            "size": rng.uniform(20, 120, size=80),
            "district": rng.choice(DISTRICTS, size=80, p=[0.2, 0.5, 0.2, 0.1]),
            "condition": pd.Categorical(rng.choice(LEVELS[:3], size=80), categories=LEVELS, ordered=True),
        }
    )
    y = X["size"] * X["district"].map(dict(zip(DISTRICTS, [8, 8, 12, 10], strict=True))) + rng.normal(size=80)
    return X.mask(rng.random(X.shape) < 0.2), y


@pytest.fixture
def model(table):
    return NadarayaWatsonRegressor([15, 0.6, 1.0]).fit(*table)


def slice_along(X, name, values):
    """A data frame in which the other columns are at the median or the most frequent value of X."""
    fixed = {
        "size": X["size"].median(),
        "district": X["district"].value_counts().index[0],
        "condition": X["condition"].value_counts().index[0],
    }
    rows = pd.DataFrame([fixed] * len(values)).assign(**{name: values})
    return rows.astype({"condition": X["condition"].dtype})


def ticks(display):
    return [label.get_text() for label in display.ax_.get_xticklabels()]


class TestCurve:
    @pytest.mark.parametrize(("name", "names"), [("district", DISTRICTS), ("condition", LEVELS)])
    def test_along_a_category(self, table, model, name, names):
        display = CurveDisplay.from_estimator(model, feature=name, interval=0.8, quantiles=[0.1, 0.9])
        X, y = table
        queries, steps = slice_along(X, name, names), np.arange(4)[:, None] + [-0.4, 0.4]
        (line,), (band,), (points,) = display.lines_, display.bands_, display.points_
        drawn = line.get_xydata().reshape(4, 3, 2)
        np.testing.assert_allclose(drawn[:, :2, 0], steps)
        assert np.isnan(drawn[:, 2, 0]).all()
        np.testing.assert_array_equal(drawn[:, :2, 1], np.repeat(model.predict(queries)[:, None], 2, axis=1))
        np.testing.assert_array_equal(display.interval[:, 0], model.predict_interval(queries, 0.8))
        np.testing.assert_array_equal(display.quantiles[:, 0], model.predict_quantiles(queries, [0.1, 0.9]))
        assert len(band.get_paths()) == 4
        np.testing.assert_allclose(band.get_paths()[2].get_extents().intervalx, steps[2])
        known = X[name].notna()
        positions = X[name][known].map(names.index).to_numpy(dtype=float)
        assert np.abs(points.get_xdata() - positions).max() <= 0.2
        np.testing.assert_array_equal(points.get_ydata(), y[known])
        assert ticks(display) == names
        assert display.ax_.get_xlabel() == f"{name}\n(other features at their medians or modes)"

    def test_along_a_number_rows_without_it_are_left_out(self, table, model):
        display = CurveDisplay.from_estimator(model, feature="size", grid_resolution=20)
        X, y = table
        grid = np.linspace(X["size"].min(), X["size"].max(), 20)
        np.testing.assert_array_equal(display.lines_[0].get_ydata(), model.predict(slice_along(X, "size", grid)))
        known = X["size"].notna()
        np.testing.assert_array_equal(display.points_[0].get_xydata(), np.column_stack([X["size"], y])[known])
        assert display.ax_.get_xlabel() == "size\n(other features at their modes)"

    def test_marks_of_classes_within_a_category(self, table):
        X, y = table
        expensive = np.where(y > y.median(), "yes", "no")
        classifier = NadarayaWatsonClassifier(0.6).fit(X[["district"]], expensive)
        display = CurveDisplay.from_estimator(classifier)
        probabilities = classifier.predict_proba(pd.DataFrame({"district": DISTRICTS}))
        for k, (line, points) in enumerate(zip(display.lines_, display.points_, strict=True)):
            np.testing.assert_array_equal(line.get_ydata()[::3], probabilities[:, k])
            assert len(points.get_xdata()) == (X["district"].notna() & (expensive == classifier.classes_[k])).sum()
        assert display.ax_.get_xlabel() == "district"

    def test_given_points_of_unseen_categories_are_left_out(self, table, model):
        X, y = table[0].iloc[:6].copy(), table[1].iloc[:6]
        X["district"] = ["north", "abroad", None, "west", "east", "north"]
        display = CurveDisplay.from_estimator(model, feature="district", X=X, y=y)
        np.testing.assert_array_equal(display.x, [1, 3, 0, 1])
        np.testing.assert_array_equal(display.y[:, 0], y.iloc[[0, 3, 4, 5]])

    def test_the_truth_has_positions_of_categories(self, table, model):
        display = CurveDisplay.from_estimator(model, feature="district", truth=lambda X: 10 * X[:, 1])
        np.testing.assert_array_equal(display.truth_[0].get_ydata()[::3], [0, 10, 20, 30])

    def test_numbers_as_categories(self, rng):
        X = np.column_stack([rng.normal(size=30), rng.choice([2, 5, 7], size=30)])
        model = NadarayaWatsonRegressor([1, 0.5], categorical_features=[1]).fit(X, rng.normal(size=30))
        display = CurveDisplay.from_estimator(model, feature=1)
        assert ticks(display) == ["2.0", "5.0", "7.0"]
        queries = np.column_stack([np.full(3, np.median(X[:, 0])), [2, 5, 7]])
        np.testing.assert_array_equal(display.prediction[:, 0], model.predict(queries))

    def test_long_names_are_written_upwards(self, rng):
        X = pd.DataFrame({"name": rng.choice([f"a long name of category {k}" for k in range(4)], size=30)})
        display = CurveDisplay.from_estimator(NadarayaWatsonRegressor(0.5).fit(X, rng.normal(size=30)))
        assert {label.get_rotation() for label in display.ax_.get_xticklabels()} == {90.0}

    def test_features_without_any_value(self, table):
        X, y = table
        X = X.assign(size=np.nan)
        model = NadarayaWatsonRegressor(0.6).fit(X, y)
        display = CurveDisplay.from_estimator(model, feature="district")
        queries = slice_along(X, "district", DISTRICTS)
        np.testing.assert_array_equal(display.prediction[:, 0], model.predict(queries))
        with pytest.raises(ValueError, match="feature 'size' cannot be drawn, since all of its values are missing"):
            CurveDisplay.from_estimator(model, feature="size")

    def test_scaled_numbers_with_holes(self, rng):
        X, y = rng.normal(50, 9, size=(40, 2)), rng.normal(size=40)
        X[:5, 0] = X[3:9, 1] = np.nan
        pipeline = make_pipeline(StandardScaler(), NadarayaWatsonRegressor(0.5)).fit(X, y)
        for given in ({}, {"X": X, "y": y}):
            display = CurveDisplay.from_estimator(pipeline, grid_resolution=9, **given)
            np.testing.assert_allclose(display.x, X[5:, 0])
            queries = np.column_stack([np.linspace(X[5:, 0].min(), X[5:, 0].max(), 9), [np.nanmedian(X[:, 1])] * 9])
            np.testing.assert_allclose(display.prediction[:, 0], pipeline.predict(queries), rtol=1e-12)

    def test_in_a_pipeline(self, table):
        scaler = make_column_transformer(
            (StandardScaler(), ["size"]), remainder="passthrough", verbose_feature_names_out=False
        ).set_output(transform="pandas")
        pipeline = make_pipeline(scaler, NadarayaWatsonRegressor([0.5, 0.6, 1.0])).fit(*table)
        display = CurveDisplay.from_estimator(pipeline, feature="district")
        assert ticks(display) == DISTRICTS
        predictions = pipeline.predict(slice_along(table[0], "district", DISTRICTS))
        np.testing.assert_allclose(display.prediction[:, 0], predictions, rtol=1e-12)

    def test_scaled_categories_are_drawn_as_the_last_step_has_them(self, rng):
        X = rng.integers(0, 3, size=(30, 1)).astype(float)
        model = NadarayaWatsonRegressor(0.5, categorical_features=[0])
        pipeline = make_pipeline(StandardScaler(), model).fit(X, rng.normal(size=30))
        display = CurveDisplay.from_estimator(pipeline)
        assert ticks(display) == [str(value) for value in np.unique(pipeline[0].transform(X))]
        np.testing.assert_allclose(display.prediction[:, 0], pipeline.predict([[0.0], [1.0], [2.0]]))


class TestAttention:
    def test_one_category(self, table):
        X, y = table
        model = NadarayaWatsonRegressor(0.6).fit(X[["district"]], y)
        display = AttentionDisplay.from_estimator(model)
        order = X["district"].map(DISTRICTS.index, na_action="ignore").to_numpy(dtype=float).argsort(kind="stable")
        np.testing.assert_array_equal(display.key_order, order)
        np.testing.assert_allclose(display.attention, model.attention_weights(None)[np.ix_(order, order)])
        assert display.sorted_by == "district"

    def test_categories_that_alone_matter_stay_together(self, table):
        X, y = table
        model = NadarayaWatsonRegressor([np.inf, 0.6, np.inf]).fit(X, y)
        display = AttentionDisplay.from_estimator(model, X)
        sorted_districts = model.keys_[display.query_order, 1]
        known = sorted_districts[~np.isnan(sorted_districts)]
        assert np.count_nonzero(np.diff(known)) == 3
        assert np.isfinite(display.attention).all()
        assert display.sorted_by == "leading component"

    def test_missing_numbers_are_at_the_mean(self, table):
        X, y = table
        model = NadarayaWatsonRegressor([15, np.inf, np.inf]).fit(X, y)
        queries = X.assign(size=X["size"].sample(frac=1, random_state=0).to_numpy())
        display = AttentionDisplay.from_estimator(model, queries)
        for order, sizes in ((display.query_order, queries["size"]), (display.key_order, X["size"])):
            assert np.all(np.diff(sizes.fillna(X["size"].mean()).to_numpy()[order]) >= 0)

    def test_missing_values_of_queries_only(self, rng):
        X = rng.normal(size=(30, 2)) + 100
        model = NadarayaWatsonRegressor([1, np.inf]).fit(X, rng.normal(size=30))
        queries = np.where(rng.random(X.shape) < 0.3, np.nan, X)
        dense = AttentionDisplay.from_estimator(model, queries)
        filled = np.where(np.isnan(queries[:, 0]), X[:, 0].mean(), queries[:, 0])
        assert np.all(np.diff(filled[dense.query_order]) >= 0)
        sparse = AttentionDisplay.from_estimator(model, csr_array(queries))
        np.testing.assert_array_equal(sparse.query_order, dense.query_order)


def test_bandwidths_are_compared_with_the_rule_of_the_table(table):
    model = NadarayaWatsonRegressor("loo").fit(*table)
    display = BandwidthDisplay.from_estimator(model)
    rule = NadarayaWatsonRegressor("silverman").fit(*table).bandwidth_
    np.testing.assert_allclose(display.best_factor * rule, model.bandwidth_)


def test_html_names_the_parameter(model):
    assert "categorical_features" in model._repr_html_()
