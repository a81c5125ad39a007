import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from sknw import (
    AttentionDisplay,
    BandwidthDisplay,
    CurveDisplay,
    NadarayaWatsonRegressor,
)

pytestmark = pytest.mark.usefixtures("plt")
DISPLAYS = [AttentionDisplay, CurveDisplay, BandwidthDisplay]


def blocks_of(array, rows, columns):
    """Means of blocks, by loops."""
    starts = [range(0, array.shape[0], rows), range(0, array.shape[1], columns)]
    return np.array([[array[i : i + rows, j : j + columns].mean() for j in starts[1]] for i in starts[0]])


class TestAttention:
    @pytest.mark.parametrize("in_sample", [False, True])
    def test_one_feature_is_sorted_by_it(self, sine, in_sample, rng):
        queries = rng.uniform(-1, 6, size=(17, 1)) if in_sample else None
        display = AttentionDisplay.from_estimator(sine, queries)
        rows, columns = np.argsort((sine.keys_ if queries is None else queries)[:, 0]), np.argsort(sine.keys_[:, 0])
        expected = sine.attention_weights(queries)[np.ix_(rows, columns)]
        np.testing.assert_allclose(display.im_.get_array(), expected, rtol=1e-12)
        np.testing.assert_array_equal(display.query_order, rows)
        np.testing.assert_array_equal(display.key_order, columns)
        assert display.ax_.get_xlabel() == "keys, sorted by x"
        assert display.ax_.get_ylabel() == "queries, sorted by x"

    def test_without_X_it_leaves_one_out(self, sine):
        assert not np.diagonal(AttentionDisplay.from_estimator(sine).attention).any()
        assert np.diagonal(AttentionDisplay.from_estimator(sine, sine.keys_).attention).all()

    @pytest.mark.parametrize("queries", [None, 7])
    def test_several_features_are_sorted_along_the_leading_component(self, plane, queries, rng):
        queries = queries and rng.normal(size=(queries, 3))
        display = AttentionDisplay.from_estimator(plane, queries)
        # bandwidths of 1, and the third feature is ignored: the component is that of the first two columns
        component = np.linalg.svd(plane.keys_[:, :2] - plane.keys_[:, :2].mean(axis=0))[2][0]
        component *= np.sign(component[np.abs(component).argmax()])
        points = plane.keys_ if queries is None else queries
        np.testing.assert_array_equal(display.query_order, np.argsort(points[:, :2] @ component))
        np.testing.assert_array_equal(display.key_order, np.argsort(plane.keys_[:, :2] @ component))
        expected = plane.attention_weights(queries)[np.ix_(display.query_order, display.key_order)]
        np.testing.assert_allclose(display.im_.get_array(), expected, rtol=1e-12)
        assert display.ax_.get_xlabel() == "keys, sorted by leading component"

    def test_component_is_in_units_of_the_bandwidth(self, rng):
        X = rng.normal(size=(50, 2)) * [1, 1000]
        model = NadarayaWatsonRegressor([0.1, 1e6]).fit(X, X[:, 0])
        np.testing.assert_array_equal(AttentionDisplay.from_estimator(model).key_order, np.argsort(X[:, 0]))

    def test_component_without_any_direction_leaves_the_order(self, rng):
        model = NadarayaWatsonRegressor(np.inf).fit(rng.normal(size=(9, 2)), rng.normal(size=9))
        np.testing.assert_array_equal(AttentionDisplay.from_estimator(model).key_order, np.arange(9))

    def test_order_given(self, plane):
        display = AttentionDisplay.from_estimator(plane, plane.keys_[:4], order="given")
        np.testing.assert_allclose(display.im_.get_array(), plane.attention_weights(plane.keys_[:4]), rtol=1e-12)
        assert display.ax_.get_xlabel() == "keys"
        assert display.ax_.get_ylabel() == "queries"

    @pytest.mark.parametrize(("n_queries", "query_block"), [(None, 4), (23, 3), (8, 1)])
    @pytest.mark.parametrize("block_weights", [2**20, 70])
    def test_large_matrices_are_means_of_blocks(self, sine, n_queries, query_block, block_weights, monkeypatch, rng):
        monkeypatch.setattr("sknw._plots.attention.MOST_PIXELS", 10)
        monkeypatch.setattr("sknw._nadaraya_watson.BLOCK_WEIGHTS", block_weights)
        sine.fit(sine.keys_[:37], sine.values_[:37, 0])
        queries = None if n_queries is None else rng.uniform(0, 5, size=(n_queries, 1))
        display = AttentionDisplay.from_estimator(sine, queries)
        everything = sine.attention_weights(queries)[np.ix_(display.query_order, display.key_order)]
        expected = blocks_of(everything, query_block, 4)
        np.testing.assert_allclose(display.im_.get_array(), expected, rtol=1e-12)
        assert max(expected.shape) <= 10
        assert display.block == (query_block, 4)
        assert f"means of {query_block} × 4" in display.colorbar_.ax.get_ylabel()
        # the last row and column of pixels may reach over the edge, where they are cut
        left, right, bottom, top = display.im_.get_extent()
        assert (left, top) == (-0.5, -0.5)
        assert (right, bottom) == (4 * expected.shape[1] - 0.5, query_block * expected.shape[0] - 0.5)
        assert display.ax_.get_xlim() == (-0.5, 36.5)
        assert display.ax_.get_ylim() == (len(everything) - 0.5, -0.5)

    def test_memory_is_bounded(self, rng):
        X = rng.normal(size=(20_000, 1))
        model = NadarayaWatsonRegressor(kernel="boxcar").fit(X, X[:, 0])
        tracemalloc.start()
        display = AttentionDisplay.from_estimator(model)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert display.attention.shape == (1000, 1000)
        np.testing.assert_allclose(display.attention.sum(axis=1), 1 / 20, rtol=1e-12)
        assert peak - display.attention.nbytes < 64 * 2**20

    @pytest.mark.parametrize(("policy", "blank"), [("nan", True), ("mean", False)])
    def test_empty_queries(self, policy, blank):
        model = NadarayaWatsonRegressor(1, kernel="boxcar", empty=policy).fit([[0], [1], [9]], [0, 1, 2])
        display = AttentionDisplay.from_estimator(model)
        np.testing.assert_allclose(display.attention[2], [np.nan] * 3 if blank else [0.5, 0.5, 0])
        assert np.ma.is_masked(display.im_.get_array()) == blank
        display.figure_.canvas.draw()

    def test_all_queries_empty(self):
        model = NadarayaWatsonRegressor(1, kernel="boxcar", empty="nan").fit([[0], [5]], [0, 1])
        assert np.isnan(AttentionDisplay.from_estimator(model).attention).all()

    def test_refused_empty_queries_are_counted_over_all_blocks(self, monkeypatch):
        monkeypatch.setattr("sknw._nadaraya_watson.BLOCK_WEIGHTS", 2)
        model = NadarayaWatsonRegressor(1, kernel="boxcar", empty="raise").fit([[0], [1]], [0, 1])
        with pytest.raises(ValueError, match="2 of 3 queries"):
            AttentionDisplay.from_estimator(model, [[7], [0], [8]])

    def test_colours_end_at_twice_the_median_of_the_largest(self):
        even = AttentionDisplay(np.array([[0.5, 0.5], [0.4, 0.6], [0.1, 0.9]])).plot()
        assert (even.im_.norm.vmin, even.im_.norm.vmax, even.colorbar_.extend) == (0, 0.9, "neither")
        assert even.colorbar_.ax.get_ylabel() == "attention weight"
        lone = AttentionDisplay(np.array([[0.3, 0.3, 0.4], [0.3, 0.4, 0.3], [0.0, 0.0, 1.0]])).plot()
        assert (lone.im_.norm.vmin, lone.im_.norm.vmax, lone.colorbar_.extend) == (0, 0.8, "max")

    def test_keywords(self, sine, plt):
        norm = plt.matplotlib.colors.PowerNorm(0.5)
        display = AttentionDisplay.from_estimator(sine, im_kw={"cmap": "gray", "norm": norm}, colorbar=False)
        assert display.im_.get_cmap().name == "gray"
        assert display.im_.norm is norm
        assert display.colorbar_ is None
        assert len(display.figure_.axes) == 1
        assert AttentionDisplay.from_estimator(sine, im_kw={"vmax": 1}).im_.norm.vmax == 1

    def test_names_of_features(self):
        pandas = pytest.importorskip("pandas")
        frame = pandas.DataFrame({"length": [1.0, 3.0, 2.0]})
        model = NadarayaWatsonRegressor(1).fit(frame, [1, 2, 3])
        display = AttentionDisplay.from_estimator(model, frame)
        assert display.ax_.get_xlabel() == "keys, sorted by length"
        np.testing.assert_array_equal(display.key_order, [0, 2, 1])

    def test_plot_again(self):
        display = AttentionDisplay(np.eye(3), block=(2, 2), sorted_by="z")
        assert display.plot() is display
        assert display.ax_.get_xlabel() == "keys, sorted by z"
        assert display.ax_.get_xlim() == (-0.5, 5.5)
        before = display.figure_
        assert display.plot().figure_ is not before

    def test_refuses_another_order(self, sine):
        with pytest.raises(ValueError, match='order must be "sorted" or "given", got \'clustered\''):
            AttentionDisplay.from_estimator(sine, order="clustered")


@pytest.mark.parametrize("display", DISPLAYS)
class TestEveryDisplay:
    def test_axes(self, display, sine, plt):
        _, ax = plt.subplots()
        drawn = display.from_estimator(sine, ax=ax)
        assert drawn.ax_ is ax
        assert drawn.figure_ is ax.figure
        assert drawn.plot(ax=ax) is drawn
        before = plt.get_fignums()
        assert display.from_estimator(sine).ax_ is not ax
        assert len(plt.get_fignums()) == len(before) + 1

    def test_estimators_stay_as_they_are(self, display, sine):
        before = {name: np.copy(value) for name, value in vars(sine).items() if isinstance(value, np.ndarray)}
        names = set(vars(sine))
        display.from_estimator(sine)
        assert set(vars(sine)) == names
        for name, value in before.items():
            np.testing.assert_array_equal(getattr(sine, name), value)

    def test_labels_do_not_overlap(self, display, iris):
        drawn = display.from_estimator(iris)
        drawn.figure_.set_size_inches(6, 4.5)
        drawn.figure_.canvas.draw()
        for axis in (drawn.ax_.xaxis, drawn.ax_.yaxis):
            low, high = sorted(axis.get_view_interval())
            shown = [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            boxes = [text.get_window_extent() for text in (*shown, axis.label)]
            assert not any(box.overlaps(other) for i, box in enumerate(boxes) for other in boxes[:i])
            assert len(shown) > 3
            corners = np.array([corner for box in boxes for corner in (box.min, box.max)])
            assert (corners >= drawn.figure_.bbox.min).all()
            assert (corners <= drawn.figure_.bbox.max).all()

    def test_refuses_what_is_not_fitted(self, display):
        with pytest.raises(NotFittedError):
            display.from_estimator(NadarayaWatsonRegressor("loo"))

    def test_message_without_matplotlib(self, display, sine, monkeypatch):
        drawn = display.from_estimator(sine)
        monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
        message = "{}.{} requires matplotlib. You can install matplotlib with `pip install matplotlib`"
        with pytest.raises(ImportError, match=message.format(display.__name__, "from_estimator")):
            display.from_estimator(sine)
        with pytest.raises(ImportError, match=message.format(display.__name__, "plot")):
            drawn.plot()


@pytest.mark.parametrize("missing", [(), ("matplotlib", "pandas")])
def test_import_needs_neither_matplotlib_nor_pandas(missing):
    # scikit-learn itself imports pandas where it is there, so what counts is what comes on top
    check = f"""
import sys
sys.modules.update(dict.fromkeys({missing}))
import sklearn
before = set(sys.modules)
import sknw
print(*{{"matplotlib", "pandas"}} & (set(sys.modules) - before), end="")
"""
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("", "")
