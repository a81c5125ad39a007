"""Displays of pipelines and searches: what they accept, what they draw, and the space of their axes."""

import numpy as np
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, RandomizedSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

from sknw import (
    AttentionDisplay,
    BandwidthDisplay,
    CurveDisplay,
    NadarayaWatsonClassifier,
    NadarayaWatsonRegressor,
)

pytestmark = pytest.mark.usefixtures("plt")
DISPLAYS = [AttentionDisplay, CurveDisplay, BandwidthDisplay]
KERNELS = {"kernel": ["gaussian", "tricube"]}
PIPELINE_KERNELS = {f"nadarayawatsonregressor__{name}": values for name, values in KERNELS.items()}
SCALERS = [
    MaxAbsScaler(),
    MinMaxScaler(),
    PowerTransformer(),
    QuantileTransformer(n_quantiles=20),
    RobustScaler(),
    StandardScaler(),
]

TWICE = [("a", StandardScaler(), ["mass"]), ("b", MinMaxScaler(), ["mass"])]


def regressor():
    return NadarayaWatsonRegressor("loo")


def scaled():
    return make_pipeline(StandardScaler(), regressor())


WRAPPED = {
    "pipeline": scaled,
    "pipeline of one step": lambda: make_pipeline(regressor()),
    "passthrough": lambda: Pipeline([("a", "passthrough"), ("b", StandardScaler()), ("c", None), ("d", regressor())]),
    "pipeline before the last step": lambda: make_pipeline(make_pipeline(RobustScaler(), "passthrough"), regressor()),
    "pipeline as the last step": lambda: make_pipeline(MinMaxScaler(), scaled()),
    "search": lambda: GridSearchCV(regressor(), KERNELS, cv=2),
    "search over a pipeline": lambda: GridSearchCV(scaled(), PIPELINE_KERNELS, cv=2),
    "search at random": lambda: RandomizedSearchCV(scaled(), PIPELINE_KERNELS, n_iter=1, cv=2, random_state=0),
    "search by halving": lambda: HalvingGridSearchCV(scaled(), PIPELINE_KERNELS, cv=2, random_state=0),
    "search as the last step": lambda: make_pipeline(StandardScaler(), GridSearchCV(regressor(), KERNELS, cv=2)),
}
"""Each keeps columns apart, and ends with a regressor."""


def last_step(model):
    """The last step, by hand."""
    while not isinstance(model, NadarayaWatsonRegressor):
        model = model[-1] if isinstance(model, Pipeline) else model.best_estimator_
    return model


def seen_by_last_step(model, X):
    """X after all steps but the last."""
    if isinstance(model, GridSearchCV | RandomizedSearchCV | HalvingGridSearchCV):
        return seen_by_last_step(model.best_estimator_, X)
    if not isinstance(model, Pipeline):
        return X
    for _, step in model.steps[:-1]:
        X = X if step in (None, "passthrough") else step.transform(X)
    return seen_by_last_step(model[-1], X)


def like(X, values):
    """Values as a frame where X is one."""
    return values if isinstance(X, np.ndarray) else type(X)(values, columns=X.columns)


@pytest.fixture
def table(rng):
    """Three columns of different scales, their targets, and queries."""
    scales, means = [1, 50, 1000], [0, 300, -5]
    X, queries = (rng.normal(size=(n, 3)) * scales + means for n in (40, 15))
    return X, np.sin(X[:, 0]) + X[:, 1] / 50, queries


@pytest.fixture
def frames(table):
    pandas = pytest.importorskip("pandas")
    X, y, queries = table
    names = ["length", "width", "mass"]
    return pandas.DataFrame(X, columns=names), y, pandas.DataFrame(queries, columns=names)


@pytest.fixture(params=["table", "frames"])
def data(request):
    """The same as an array and as a frame."""
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("wrapped", WRAPPED)
class TestWhatIsAccepted:
    def test_attention_is_that_of_the_last_step(self, wrapped, data):
        X, y, queries = data
        model = WRAPPED[wrapped]().fit(X, y)
        last = last_step(model)
        expected = last.attention_weights(seen_by_last_step(model, queries))
        drawn = AttentionDisplay.from_estimator(model, queries, order="given")
        np.testing.assert_array_equal(drawn.attention, expected)
        drawn = AttentionDisplay.from_estimator(model)
        np.testing.assert_array_equal(drawn.attention, AttentionDisplay.from_estimator(last).attention)

    def test_curve_is_the_prediction_along_a_column_of_X(self, wrapped, data):
        X, y, queries = data
        model = WRAPPED[wrapped]().fit(X, y)
        display = CurveDisplay.from_estimator(model, feature=1, X=queries, y=np.arange(15), truth=lambda X: X[:, 2])
        values = np.asarray(queries)
        grid = np.tile(np.median(values, axis=0), (500, 1))
        grid[:, 1] = np.linspace(values[:, 1].min(), values[:, 1].max(), 500)
        np.testing.assert_array_equal(display.grid, grid[:, 1])
        np.testing.assert_array_equal(display.prediction[:, 0], model.predict(like(X, grid)))
        np.testing.assert_array_equal(display.truth[:, 0], grid[:, 2])
        np.testing.assert_array_equal(display.points_[0].get_xydata(), np.column_stack([values[:, 1], np.arange(15)]))
        name = "x1" if isinstance(X, np.ndarray) else "width"
        assert display.ax_.get_xlabel() == f"{name}\n(other features at their medians)"

    def test_curve_shows_the_training_points_as_they_were_given(self, wrapped, data):
        X, y, _ = data
        display = CurveDisplay.from_estimator(WRAPPED[wrapped]().fit(X, y), feature=2)
        np.testing.assert_allclose(display.x, np.asarray(X)[:, 2], rtol=1e-10)
        np.testing.assert_array_equal(display.y[:, 0], y)

    def test_path_is_that_of_the_last_step(self, wrapped, table):
        model = WRAPPED[wrapped]().fit(*table[:2])
        display = BandwidthDisplay.from_estimator(model)
        last = last_step(model)
        np.testing.assert_array_equal(display.loss, last.loo_path_["loss"])
        assert display.best_loss == last.loo_loss_


class TestSpaceOfTheAxes:
    @pytest.mark.parametrize("scaler", SCALERS, ids=lambda scaler: type(scaler).__name__)
    @pytest.mark.parametrize("as_frames", [False, True])
    def test_scalers_of_single_columns_are_undone(self, scaler, as_frames, data):
        X, y, _ = data
        step = clone(scaler).set_output(transform="pandas" if as_frames else "default")
        model = make_pipeline(step, NadarayaWatsonRegressor()).fit(X, y)
        display = CurveDisplay.from_estimator(model)
        x = np.asarray(X)[:, 0]
        np.testing.assert_allclose(display.x, x, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(display.grid, np.linspace(x.min(), x.max(), 500), rtol=1e-8, atol=1e-8)
        assert display.feature_name == ("x0" if isinstance(X, np.ndarray) else "length")

    def test_one_column_is_named_as_without_a_pipeline(self, table):
        X, y = table[0][:, :1], table[1]
        model = make_pipeline(StandardScaler(), NadarayaWatsonRegressor()).fit(X, y)
        assert CurveDisplay.from_estimator(model).ax_.get_xlabel() == "x"
        assert AttentionDisplay.from_estimator(model).ax_.get_xlabel() == "keys, sorted by x"

    def test_attention_is_sorted_in_the_space_of_the_last_step(self, frames):
        X, y, queries = frames
        model = make_pipeline(StandardScaler(), NadarayaWatsonRegressor()).fit(X, y)
        display = AttentionDisplay.from_estimator(model, queries)
        expected = AttentionDisplay.from_estimator(model[-1], model[:-1].transform(queries))
        np.testing.assert_array_equal(display.query_order, expected.query_order)
        np.testing.assert_array_equal(display.key_order, expected.key_order)
        model = make_pipeline(PCA(1), NadarayaWatsonRegressor()).fit(X, y)
        assert AttentionDisplay.from_estimator(model, queries).ax_.get_xlabel() == "keys, sorted by pca0"

    def test_components_are_drawn_as_the_last_step_sees_them(self, data):
        X, y, queries = data
        model = make_pipeline(StandardScaler(), PCA(2), NadarayaWatsonRegressor()).fit(X, y)
        display = CurveDisplay.from_estimator(model, feature="pca1", truth=lambda X: X.sum(axis=1))
        expected = CurveDisplay.from_estimator(model[-1], feature=1, truth=lambda X: X.sum(axis=1))
        for name in ("grid", "prediction", "x", "y", "truth"):
            np.testing.assert_array_equal(getattr(display, name), getattr(expected, name))
        assert display.ax_.get_xlabel() == "pca1\n(other features at their medians)"
        display = CurveDisplay.from_estimator(model, X=queries, y=np.arange(15))
        np.testing.assert_array_equal(display.x, model[:-1].transform(queries)[:, 0])

    @pytest.mark.parametrize("as_frames", [False, True])
    def test_columns_of_several_kinds(self, as_frames, frames):
        X, y, queries = frames
        X, queries = (frame.assign(colour=np.where(frame.length > 0, "red", "blue")) for frame in (X, queries))
        columns = make_column_transformer(
            (StandardScaler(), ["mass", "length"]), (OneHotEncoder(sparse_output=False), ["colour"])
        ).set_output(transform="pandas" if as_frames else "default")
        model = make_pipeline(columns, NadarayaWatsonRegressor()).fit(X, y)
        display = CurveDisplay.from_estimator(model, feature="standardscaler__length", X=queries, y=np.arange(15))
        np.testing.assert_array_equal(display.x, np.asarray(model[:-1].transform(queries))[:, 1])
        assert display.at_medians
        assert AttentionDisplay.from_estimator(model, queries).attention.shape == (15, 40)

    @pytest.mark.parametrize(
        ("step", "name"),
        [
            (FunctionTransformer(np.cbrt, inverse_func=np.positive, check_inverse=False, validate=True), "x0"),
            (FunctionTransformer(np.cbrt, validate=True, feature_names_out="one-to-one"), "length"),
            (FeatureUnion([("a", StandardScaler()), ("b", MinMaxScaler())]), "a__length"),
            (ColumnTransformer(TWICE, verbose_feature_names_out=False), "x0"),
        ],
        ids=["no names", "the same names", "union", "names twice"],
    )
    def test_names_of_other_steps(self, step, name, frames):
        X, y, _ = frames
        model = make_pipeline(step, StandardScaler(), NadarayaWatsonRegressor()).fit(X, y)
        display = CurveDisplay.from_estimator(model)
        assert display.feature_name == name
        np.testing.assert_array_equal(display.x, model[-1].keys_[:, 0])

    def test_codes_of_categories_are_not_undone(self, rng):
        X = rng.integers(5, size=(30, 1)) * 10
        model = make_pipeline(OrdinalEncoder(), NadarayaWatsonRegressor(1)).fit(X, X[:, 0])
        display = CurveDisplay.from_estimator(model)
        np.testing.assert_array_equal(display.x, X[:, 0] / 10)

    def test_points_outside_the_range_of_a_clipping_scaler(self, table):
        X, y, _ = table
        model = make_pipeline(MinMaxScaler(clip=True), NadarayaWatsonRegressor()).fit(X, y)
        display = CurveDisplay.from_estimator(model, X=3 * X, y=y)
        np.testing.assert_array_equal(display.x, 3 * X[:, 0])

    def test_nothing_is_changed_by_steps_that_write_into_their_input(self, table):
        X, y, queries = table
        model = make_pipeline(StandardScaler(copy=False), NadarayaWatsonRegressor()).fit(X.copy(), y)
        keys, given = model[-1].keys_.copy(), queries.copy()
        for _ in range(2):
            display = CurveDisplay.from_estimator(model)
            np.testing.assert_allclose(display.grid[[0, -1]], [X[:, 0].min(), X[:, 0].max()])
            CurveDisplay.from_estimator(model, X=queries, y=np.arange(15))
            AttentionDisplay.from_estimator(model, queries)
        np.testing.assert_array_equal(model[-1].keys_, keys)
        np.testing.assert_array_equal(queries, given)

    def test_classes(self):
        X, y = load_iris(return_X_y=True, as_frame=True)
        model = make_pipeline(StandardScaler(), NadarayaWatsonClassifier()).fit(X, y.map({0: "a", 1: "b", 2: "c"}))
        display = CurveDisplay.from_estimator(model, feature="petal width (cm)", X=X[:60], y=["a"] * 50 + ["c"] * 10)
        assert [len(points.get_xdata()) for points in display.points_] == [50, 0, 10]
        grid = X[:60].median().to_frame().T.loc[[0] * 500].assign(**{"petal width (cm)": display.grid})
        np.testing.assert_array_equal(display.prediction, model.predict_proba(grid))

    def test_X_is_checked_as_for_predictions(self, frames):
        X, y, queries = frames
        model = make_pipeline(StandardScaler(), NadarayaWatsonRegressor()).fit(X, y)
        for display, points in ((AttentionDisplay, {}), (CurveDisplay, {"y": np.arange(15)})):
            with pytest.raises(ValueError, match="feature names should match"):
                display.from_estimator(model, X=queries[["mass", "width", "length"]], **points)
            with pytest.warns(UserWarning, match="X does not have valid feature names"):
                display.from_estimator(model, X=queries.to_numpy(), **points)
        with pytest.raises(ValueError, match=r"feature must be one of \['length', 'width', 'mass'\]"):
            CurveDisplay.from_estimator(model, feature="depth")


@pytest.mark.parametrize("display", DISPLAYS)
class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("model", "given"),
        [
            (Ridge(), "Ridge"),
            (make_pipeline(StandardScaler(), Ridge()), "Pipeline that ends with Ridge"),
            (make_pipeline(StandardScaler(), "passthrough"), "Pipeline that ends with str"),
            (GridSearchCV(Ridge(), {"alpha": [1, 2]}), "GridSearchCV that ends with Ridge"),
            (GridSearchCV(regressor(), KERNELS, refit=False), "GridSearchCV with refit=False"),
            (
                make_pipeline(StandardScaler(), RandomizedSearchCV(Ridge(), {"alpha": stats.uniform()}, refit=False)),
                "Pipeline that ends with RandomizedSearchCV with refit=False",
            ),
        ],
        ids=lambda given: given if isinstance(given, str) else "",
    )
    def test_other_estimators(self, display, model, given, table):
        kind = "NadarayaWatsonRegressor or NadarayaWatsonClassifier"
        if display is CurveDisplay:
            kind = "Nadaraya-Watson or local linear estimator"
        accepted = (
            f"{display.__name__} requires a fitted {kind}, a Pipeline that ends with one, or a search over one of "
            "these, such as GridSearchCV, with refit=True; got "
        )
        with pytest.raises(TypeError) as error:
            display.from_estimator(model.fit(*table[:2]))
        assert str(error.value) == accepted + given

    @pytest.mark.parametrize("model", [None, "loo", NadarayaWatsonRegressor])
    def test_other_objects(self, display, model):
        with pytest.raises(TypeError, match=f"with refit=True; got {type(model).__name__}"):
            display.from_estimator(model)

    @pytest.mark.parametrize(
        "model", [scaled(), GridSearchCV(scaled(), PIPELINE_KERNELS), GridSearchCV(regressor(), KERNELS, refit=False)]
    )
    def test_what_is_not_fitted(self, display, model):
        name = type(model).__name__
        message = f"{display.__name__} requires a fitted estimator, but this {name} is not fitted; call fit first"
        with pytest.raises(NotFittedError, match=message):
            display.from_estimator(model)


def test_pipeline_of_which_only_the_last_step_is_fitted(table):
    X, y, queries = table
    model = make_pipeline(StandardScaler(), regressor().fit(X, y))
    with pytest.raises(NotFittedError, match="StandardScaler instance is not fitted"):
        AttentionDisplay.from_estimator(model, queries)
    with pytest.raises(NotFittedError, match="StandardScaler instance is not fitted"):
        CurveDisplay.from_estimator(model)


def test_bandwidth_that_was_not_learned(table):
    model = make_pipeline(StandardScaler(), NadarayaWatsonRegressor(0.5)).fit(*table[:2])
    with pytest.raises(ValueError, match=r"fitted with bandwidth=0\.5; fit it"):
        BandwidthDisplay.from_estimator(model)
