import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from sknw import (
    BandwidthDisplay,
    CurveDisplay,
    LocalLinearRegressor,
    NadarayaWatsonClassifier,
    NadarayaWatsonRegressor,
)
from sknw.datasets import make_sine_trend

pytestmark = pytest.mark.usefixtures("plt")


def labels(display):
    legend = display.ax_.get_legend()
    return [text.get_text() for text in legend.get_texts()]


class TestCurve:
    def test_one_feature(self, sine):
        def truth(X):
            return 2 * np.sin(X[:, 0])

        display = CurveDisplay.from_estimator(sine, truth=truth, grid_resolution=77)
        (line,), (points,), (true,) = display.lines_, display.points_, display.truth_
        grid = np.linspace(sine.keys_.min(), sine.keys_.max(), 77)
        np.testing.assert_array_equal(line.get_xdata(), grid)
        np.testing.assert_array_equal(line.get_ydata(), sine.predict(grid[:, None]))
        np.testing.assert_array_equal(points.get_xydata(), np.column_stack([sine.keys_, sine.values_]))
        np.testing.assert_array_equal(true.get_xydata(), np.column_stack([grid, truth(grid[:, None])]))
        assert labels(display) == ["data", "prediction", "truth"]
        assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("x", "y")

    def test_slice_at_the_medians(self, plane):
        display = CurveDisplay.from_estimator(plane, feature=1, truth=lambda X: X[:, [0, 2]])
        grid = np.tile(np.median(plane.keys_, axis=0), (500, 1))
        grid[:, 1] = np.linspace(plane.keys_[:, 1].min(), plane.keys_[:, 1].max(), 500)
        drawn = np.column_stack([line.get_ydata() for line in display.lines_])
        np.testing.assert_array_equal(drawn, plane.predict(grid))
        for k, (points, true) in enumerate(zip(display.points_, display.truth_, strict=True)):
            np.testing.assert_array_equal(
                points.get_xydata(), np.column_stack([plane.keys_[:, 1], plane.values_[:, k]])
            )
            np.testing.assert_array_equal(true.get_ydata(), grid[:, [0, 2]][:, k])
            assert points.get_color() == display.lines_[k].get_color() == true.get_color()
        assert display.ax_.get_xlabel() == "x1\n(other features at their medians)"
        assert labels(display) == ["prediction of output 0", "prediction of output 1", "truth"]

    def test_classes(self, iris):
        display = CurveDisplay.from_estimator(iris, feature="petal width (cm)")
        grid = np.tile(np.median(iris.keys_, axis=0), (500, 1))
        grid[:, 3] = np.linspace(iris.keys_[:, 3].min(), iris.keys_[:, 3].max(), 500)
        frame = load_iris(as_frame=True).data.iloc[[0] * 500].copy()
        frame[:] = grid
        drawn = np.column_stack([line.get_ydata() for line in display.lines_])
        np.testing.assert_array_equal(drawn, iris.predict_proba(frame))
        assert labels(display) == ["setosa", "versicolor", "virginica"]
        assert display.ax_.get_ylabel() == "probability"
        assert display.ax_.get_xlabel().startswith("petal width (cm)\n")
        colours = [line.get_color() for line in display.lines_]
        assert len(set(colours)) == 3
        heights = set()
        for k, (points, colour) in enumerate(zip(display.points_, colours, strict=True)):
            np.testing.assert_array_equal(points.get_xdata(), iris.keys_[iris.values_[:, k] == 1, 3])
            assert points.get_color() == colour
            heights |= set(points.get_ydata())
        assert len(heights) == 3
        assert max(heights) < 0

    def test_up_to_ten_classes_are_drawn(self, rng):
        X = rng.uniform(size=(200, 1))
        display = CurveDisplay.from_estimator(NadarayaWatsonClassifier(0.05).fit(X, (X[:, 0] * 10).astype(int)))
        assert len({tuple(line.get_color()) for line in display.lines_}) == 10
        assert min(points.get_ydata().min() for points in display.points_) >= -0.25 - 1e-15
        assert labels(display) == list("0123456789")
        assert display.ax_.get_legend().get_title().get_text() == ""

    @pytest.mark.parametrize("empty", ["nearest", "nan"])
    def test_of_more_classes_the_ten_most_probable(self, empty, rng):
        X = rng.uniform(0, 3, size=(2000, 2))
        y = np.floor(200 * rng.beta(2, 4, size=2000)).astype(int)
        model = NadarayaWatsonClassifier(0.5, kernel="boxcar", empty=empty).fit(X[X[:, 0] % 2 < 1], y[X[:, 0] % 2 < 1])
        truth = rng.uniform(size=(500, len(model.classes_)))
        display = CurveDisplay.from_estimator(model, truth=lambda X: truth)
        display.figure_.canvas.draw()
        assert display.prediction.shape == display.truth.shape == (500, len(display.classes))
        assert np.isnan(display.prediction).any() == (empty == "nan")
        means = display.prediction[~np.isnan(display.prediction[:, 0])].mean(axis=0)
        drawn = [int(line.get_label()) for line in display.lines_]
        assert drawn == sorted(model.classes_[np.argsort(-means, kind="stable")[:10]])
        for label, line, points, true in zip(drawn, display.lines_, display.points_, display.truth_, strict=True):
            column = list(model.classes_).index(label)
            np.testing.assert_array_equal(line.get_ydata(), display.prediction[:, column])
            np.testing.assert_array_equal(points.get_xdata(), display.x[display.y[:, column] == 1])
            np.testing.assert_array_equal(true.get_ydata(), truth[:, column])
            assert len({tuple(shown.get_color()) for shown in (line, points, true)}) == 1
        assert labels(display) == [*map(str, drawn), "truth"]
        title = display.ax_.get_legend().get_title().get_text()
        assert title == f"the 10 most probable of {len(model.classes_)} classes"

    def test_one_class(self):
        model = NadarayaWatsonClassifier(1).fit([[0], [1]], ["a", "a"])
        display = CurveDisplay.from_estimator(model)
        np.testing.assert_array_equal(display.lines_[0].get_ydata(), 1)
        assert "a" in labels(display)

    def test_other_points(self, sine, iris):
        X, y = make_sine_trend(12, random_state=5)
        display = CurveDisplay.from_estimator(sine, X=X, y=y)
        np.testing.assert_array_equal(display.points_[0].get_xydata(), np.column_stack([X, y]))
        assert display.grid[[0, -1]].tolist() == [X.min(), X.max()]
        frame = load_iris(as_frame=True).data
        display = CurveDisplay.from_estimator(iris, X=frame[:60], y=["setosa"] * 59 + ["virginica"])
        assert [len(points.get_xdata()) for points in display.points_] == [59, 0, 1]

    def test_no_points(self):
        display = CurveDisplay(np.arange(3.0), np.arange(3.0)[:, None]).plot()
        assert display.points_ == []
        assert display.truth_ == []

    def test_legend_lies_above_the_data(self, iris, sine, plt):
        narrow = plt.figure(figsize=(4, 3)).subplots()
        for display in (
            CurveDisplay.from_estimator(sine),
            CurveDisplay.from_estimator(iris),
            CurveDisplay.from_estimator(iris, ax=narrow),
            BandwidthDisplay.from_estimator(sine),
        ):
            display.figure_.canvas.draw()
            ax = display.ax_
            highest = max(np.max(line.get_ydata()) for line in ax.get_lines() if len(line.get_ydata()))
            box = ax.get_legend().get_window_extent()
            assert box.y0 > ax.transData.transform((0, highest))[1]
            assert box.width <= ax.bbox.width

    def test_many_points_are_fainter_but_not_in_the_legend(self):
        few, many = (
            CurveDisplay.from_estimator(NadarayaWatsonRegressor().fit(*make_sine_trend(n, random_state=0)))
            for n in (50, 10_000)
        )
        assert many.points_[0].get_alpha() < few.points_[0].get_alpha()
        assert many.points_[0].get_markersize() < few.points_[0].get_markersize()
        assert many.ax_.get_legend().get_lines()[0].get_alpha() == 1

    def test_keywords(self, sine):
        display = CurveDisplay.from_estimator(
            sine,
            truth=lambda X: X[:, 0],
            line_kw={"lw": 5, "c": "red"},
            point_kw={"marker": "s", "label": None},
            truth_kw={"ls": ":"},
        )
        assert (display.lines_[0].get_linewidth(), display.lines_[0].get_color()) == (5, "red")
        assert display.points_[0].get_marker() == "s"
        assert display.truth_[0].get_linestyle() == ":"
        assert labels(display) == ["prediction", "truth"]
        unnamed = {"label": None}
        assert CurveDisplay.from_estimator(sine, line_kw=unnamed, point_kw=unnamed).ax_.get_legend() is None

    @pytest.mark.parametrize("feature", [3, -1, "x3", 1.0, None])
    def test_refuses_features(self, plane, feature):
        with pytest.raises(ValueError, match=r"feature must be one of \['x0', 'x1', 'x2'\], or a position from 0 to 2"):
            CurveDisplay.from_estimator(plane, feature=feature)

    @pytest.mark.parametrize("grid_resolution", [1, 2.5, None])
    def test_refuses_grids(self, sine, grid_resolution):
        with pytest.raises(ValueError, match="grid_resolution must be a whole number, 2 or more, got"):
            CurveDisplay.from_estimator(sine, grid_resolution=grid_resolution)

    def test_refuses_points(self, sine, iris):
        with pytest.raises(ValueError, match="X and y must be passed together"):
            CurveDisplay.from_estimator(sine, X=[[1]])
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            CurveDisplay.from_estimator(sine, X=[[1]], y=[1, 2])
        with pytest.raises(ValueError, match=r"y has shape \(1, 2\), but must have shape \(1,\)"):
            CurveDisplay.from_estimator(sine, X=[[1]], y=[[1, 2]])
        with pytest.raises(ValueError, match=r"labels {'rose'} that the estimator was not fitted with"):
            CurveDisplay.from_estimator(iris, X=load_iris(as_frame=True).data[:2], y=["rose", "setosa"])
        with pytest.raises(ValueError, match=r"labels \{0\} that the estimator was not fitted with"):
            CurveDisplay.from_estimator(iris, X=load_iris(as_frame=True).data[:2], y=[0, 0])

    def test_refuses_truths(self, sine, plane):
        with pytest.raises(ValueError, match=r"truth\(grid\) has shape \(\), but must have shape \(500,\)"):
            CurveDisplay.from_estimator(sine, truth=lambda X: 1)
        with pytest.raises(ValueError, match=r"truth\(grid\) has shape \(500,\), but must have shape \(500, 2\)"):
            CurveDisplay.from_estimator(plane, truth=lambda X: X[:, 0])


def outline(band):
    """The vertices of a band as rows: those of its lower edge, and those of its upper edge in reverse."""
    (path,) = band.get_paths()
    return path.vertices


def as_hex(colour):
    from matplotlib.colors import to_hex

    return to_hex(colour)


class TestBandsAndQuantiles:
    @pytest.mark.parametrize("regressor", [NadarayaWatsonRegressor("loo"), LocalLinearRegressor(0.5, n_neighbors=9)])
    def test_interval(self, regressor, sine):
        model = regressor.fit(sine.keys_, sine.values_[:, 0])
        display = CurveDisplay.from_estimator(model, interval=0.8, grid_resolution=33)
        grid = np.linspace(sine.keys_.min(), sine.keys_.max(), 33)
        expected = model.predict_interval(grid[:, None], 0.8)
        np.testing.assert_array_equal(display.interval[:, 0], expected)
        (band,) = display.bands_
        lowest, highest = (outline(band)[:, 1].min(), outline(band)[:, 1].max())
        assert (lowest, highest) == (expected.min(), expected.max())
        assert {tuple(row) for row in np.column_stack([grid, expected[:, 1]])} <= {tuple(row) for row in outline(band)}
        assert labels(display) == ["data", "prediction", "80 % interval"]
        assert band.get_zorder() < display.points_[0].get_zorder()
        assert display.coverage == 0.8
        assert display.quantile_lines_ == []

    def test_quantiles(self, sine):
        display = CurveDisplay.from_estimator(sine, quantiles=(0.1, 0.5, 0.9), grid_resolution=33)
        expected = sine.predict_quantiles(display.grid[:, None], (0.1, 0.5, 0.9))
        drawn = np.column_stack([line.get_ydata() for line in display.quantile_lines_])
        np.testing.assert_array_equal(drawn, expected)
        assert all(line.get_linewidth() < display.lines_[0].get_linewidth() for line in display.quantile_lines_)
        assert labels(display) == ["data", "prediction", "quantiles 0.1, 0.5, 0.9"]
        assert list(display.levels) == [0.1, 0.5, 0.9]
        assert display.bands_ == []

    def test_several_outputs(self, plane):
        display = CurveDisplay.from_estimator(plane, interval=0.5, quantiles=[0.25, 0.75], grid_resolution=20)
        grid = np.tile(np.median(plane.keys_, axis=0), (20, 1))
        grid[:, 0] = display.grid
        intervals, quantiles = plane.predict_interval(grid, 0.5), plane.predict_quantiles(grid, [0.25, 0.75])
        for k, (band, line) in enumerate(zip(display.bands_, display.lines_, strict=True)):
            assert outline(band)[:, 1].max() == intervals[:, k, 1].max()
            assert outline(band)[:, 1].min() == intervals[:, k, 0].min()
            own = display.quantile_lines_[2 * k : 2 * k + 2]
            np.testing.assert_array_equal(np.column_stack([drawn.get_ydata() for drawn in own]), quantiles[:, k])
            assert {as_hex(shown.get_color()) for shown in own} == {as_hex(line.get_color())}
            assert as_hex(band.get_facecolor()[0]) == as_hex(line.get_color())
        assert len(display.quantile_lines_) == 4
        assert labels(display)[2:] == ["50 % interval", "quantiles 0.25, 0.75"]

    def test_pipeline_of_a_frame(self):
        frame = load_iris(as_frame=True).data
        X, y = frame.iloc[:, :2], frame.iloc[:, 2]
        model = make_pipeline(MinMaxScaler(), NadarayaWatsonRegressor(0.2)).fit(X, y)
        display = CurveDisplay.from_estimator(model, feature=1, interval=0.9, quantiles=(0.5,), grid_resolution=9)
        grid = X.iloc[[0] * 9].copy()
        grid[:] = X.median()
        grid["sepal width (cm)"] = np.linspace(X.iloc[:, 1].min(), X.iloc[:, 1].max(), 9)
        scaled = model[:-1].transform(grid)
        np.testing.assert_allclose(display.interval[:, 0], model[-1].predict_interval(scaled), rtol=1e-13)
        np.testing.assert_allclose(display.quantiles[:, 0], model[-1].predict_quantiles(scaled, (0.5,)), rtol=1e-13)

    def test_gaps(self):
        X = np.arange(10)[:, None] ** 2
        model = NadarayaWatsonRegressor(0.6, kernel="boxcar", empty="nan").fit(X, X[:, 0] % 7)
        display = CurveDisplay.from_estimator(model, interval=0.5)
        display.figure_.canvas.draw()
        assert len(display.bands_[0].get_paths()) == 9  # 0 and 1 share the first

    def test_keywords(self, sine):
        display = CurveDisplay.from_estimator(
            sine, interval=0.9, quantiles=[0.5], band_kw={"fc": "red", "label": None}, quantile_kw={"ls": ":", "lw": 3}
        )
        assert as_hex(display.bands_[0].get_facecolor()[0]) == "#ff0000"
        assert (display.quantile_lines_[0].get_linestyle(), display.quantile_lines_[0].get_linewidth()) == (":", 3)
        assert labels(display) == ["data", "prediction", "quantiles 0.5"]

    def test_arrays(self):
        grid, line = np.arange(3.0), np.arange(3.0)[:, None]
        bounds, quantiles = np.stack([line - 1, line + 2], axis=-1), line[:, :, None] + [0.0, 1.0]
        display = CurveDisplay(
            grid, line, interval=bounds, coverage=0.95, quantiles=quantiles, levels=(0.25, 0.75)
        ).plot()
        assert sorted(set(outline(display.bands_[0])[:, 1])) == [-1, 0, 1, 2, 3, 4]
        assert [list(shown.get_ydata()) for shown in display.quantile_lines_] == [[0, 1, 2], [1, 2, 3]]
        assert labels(display) == ["prediction", "95 % interval", "quantiles 0.25, 0.75"]

    def test_legend_lies_above_bands(self, sine):
        display = CurveDisplay.from_estimator(sine, interval=0.95)
        display.figure_.canvas.draw()
        highest = display.ax_.transData.transform((0, display.interval.max()))[1]
        assert display.ax_.get_legend().get_window_extent().y0 > highest

    @pytest.mark.parametrize("given", [{"interval": 0.9}, {"quantiles": [0.5]}])
    def test_refuses_classifiers(self, iris, given):
        message = "interval and quantiles require a regressor, such as .*, got NadarayaWatsonClassifier"
        with pytest.raises(ValueError, match=message):
            CurveDisplay.from_estimator(iris, **given)

    def test_refuses_coverages(self, sine):
        with pytest.raises(ValueError, match=r"coverage must be between 0 and 1, got 90"):
            CurveDisplay.from_estimator(sine, interval=90)


class TestBandwidth:
    def test_common_factor(self, sine):
        display = BandwidthDisplay.from_estimator(sine)
        factor, loss = sine.loo_path_["factor"], sine.loo_path_["loss"]
        np.testing.assert_array_equal(display.line_.get_xydata(), np.column_stack([factor, loss])[:-1])
        np.testing.assert_array_equal(display.average_.get_ydata(), loss[-1])
        silverman = NadarayaWatsonRegressor().fit(sine.keys_, sine.values_).bandwidth_
        ((best_factor, best_loss),) = display.best_.get_xydata()
        assert best_factor * silverman == pytest.approx(sine.bandwidth_, rel=1e-12)
        assert best_loss == sine.loo_loss_
        assert display.ax_.get_xscale() == "log"
        assert display.ax_.get_ylabel() == "leave-one-out squared error"
        assert labels(display) == ["common factor", f"learned: {best_factor:.2g} × Silverman's", "average pooling"]

    def test_classifier(self, iris):
        assert BandwidthDisplay.from_estimator(iris).ax_.get_ylabel() == "leave-one-out Brier score"

    def test_one_bandwidth_a_feature(self, rng):
        X = rng.uniform(0, 6, size=(60, 2))
        model = NadarayaWatsonRegressor("loo_ard").fit(X, np.sin(X[:, 0]))
        display = BandwidthDisplay.from_estimator(model)
        assert display.best_factor is None
        np.testing.assert_array_equal(display.best_.get_ydata(), model.loo_loss_)
        assert labels(display)[1] == "learned: one bandwidth a feature"

    def test_average_pooling(self):
        model = NadarayaWatsonRegressor("loo").fit(np.arange(30)[:, None], np.arange(30) % 2)
        assert np.isinf(model.bandwidth_)
        display = BandwidthDisplay.from_estimator(model)
        np.testing.assert_array_equal(display.best_.get_ydata(), model.loo_loss_)
        assert labels(display)[1] == "learned: average pooling"

    def test_constant_features(self):
        X = np.column_stack([np.arange(30), np.ones(30)])
        display = BandwidthDisplay.from_estimator(NadarayaWatsonRegressor("loo").fit(X, np.sin(X[:, 0] / 3)))
        assert display.best_factor > 0
        display = BandwidthDisplay.from_estimator(NadarayaWatsonRegressor("loo").fit(X[:, [1]], X[:, 0]))
        assert display.best_factor == 1

    def test_without_average_pooling(self):
        display = BandwidthDisplay(np.array([1.0]), np.array([2.0]), best_loss=2.0, best_factor=1.0).plot()
        assert display.average_ is None
        np.testing.assert_array_equal(display.line_.get_xydata(), [[1, 2]])

    def test_keywords(self, sine):
        display = BandwidthDisplay.from_estimator(sine, line_kw={"color": "red", "lw": 3})
        assert (display.line_.get_color(), display.line_.get_linewidth()) == ("red", 3)

    @pytest.mark.parametrize("bandwidth", ["silverman", 0.5])
    def test_refuses_bandwidths_that_were_not_learned(self, sine, bandwidth):
        model = NadarayaWatsonRegressor(bandwidth).fit(sine.keys_, sine.values_)
        with pytest.raises(ValueError, match=f'fitted with bandwidth={bandwidth!r}; fit it with bandwidth="loo"'):
            BandwidthDisplay.from_estimator(model)
