"""scikit-learn's callbacks see the search, and can stop it."""

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknw import LocalLinearClassifier, LocalLinearRegressor, NadarayaWatsonClassifier, NadarayaWatsonRegressor
from sknw._learning.search import N_DRAWS

callback = pytest.importorskip("sklearn.callback", reason="scikit-learn 1.9 has callbacks")
each = pytest.mark.parametrize("bandwidth", ["loo", "loo_ard"])
rng = np.random.default_rng(0)
X = rng.uniform(-2, 2, size=(80, 2))
y = np.sin(2 * X[:, 0]) + 0.3 * rng.normal(size=80)


class Recorder:
    """Notes the tasks that begin and end, and the losses on the way; stops tasks of a name after a number of ends."""

    max_propagation_depth = None

    def __init__(self, stop=None, after=0):
        self.stop, self.after, self.begun, self.ended, self.losses = stop, after, [], [], []

    def setup(self, estimator, context):
        self.is_set_up = True

    def teardown(self, estimator, context):
        self.is_set_up = False

    def on_fit_task_begin(self, estimator, context):
        self.begun.append(context.task_name)

    def on_fit_task_end(self, estimator, context, *, X, y, metadata, fitted_estimator):
        self.ended.append(context.task_name)
        if fitted_estimator is not None and context.estimator_name == "NadarayaWatsonRegressor":
            self.losses.append(np.mean(np.square(fitted_estimator.predict(None) - y)))
        return context.task_name == self.stop and self.ended.count(self.stop) >= self.after


@each
def test_every_evaluation_is_a_task(bandwidth):
    recorder = Recorder()
    model = NadarayaWatsonRegressor(bandwidth).set_callbacks(recorder).fit(X, y)
    stages = ["sweep", "refinement"] if bandwidth == "loo" else ["sweep", *["search"] * 2 * N_DRAWS, "smoothing out"]
    assert sorted(recorder.begun) == sorted(recorder.ended) == sorted(["fit", *stages, *["evaluation"] * model.n_iter_])
    assert recorder.begun[:3] == ["fit", "sweep", "evaluation"]
    assert recorder.ended[-1] == "fit"
    if bandwidth == "loo":
        assert recorder.losses[-1] == pytest.approx(model.loo_loss_)
        assert min(recorder.losses) >= model.loo_loss_ * (1 - 1e-9)
    assert not recorder.is_set_up
    silent = NadarayaWatsonRegressor(bandwidth).fit(X, y)
    np.testing.assert_array_equal(model.bandwidth_, silent.bandwidth_)


def test_a_given_bandwidth_is_one_task():
    recorder = Recorder()
    NadarayaWatsonClassifier(1.0).set_callbacks(recorder).fit(X, y > 0)
    assert recorder.begun == recorder.ended == ["fit"]


@each
@pytest.mark.parametrize(("stop", "after"), [("evaluation", 1), ("evaluation", 10), ("evaluation", 30), ("sweep", 1)])
def test_a_search_can_be_stopped(bandwidth, stop, after):
    recorder = Recorder(stop, after)
    model = NadarayaWatsonRegressor(bandwidth).set_callbacks(recorder).fit(X, y)
    assert recorder.ended.count(stop) == after
    assert recorder.begun[-1] in ("evaluation", "sweep", "search", "refinement")
    assert recorder.ended[-1] == "fit"
    if bandwidth == "loo" or after < 30:  # a common factor is all that is known before halves have learned
        assert model.loo_loss_ == pytest.approx(min(recorder.losses))
    assert model.loo_loss_ == pytest.approx(np.mean(np.square(model.predict(None) - y)))


def test_a_scoring_monitor_logs_the_search():
    monitor = callback.ScoringMonitor(scoring="r2")
    model = NadarayaWatsonRegressor("loo").set_callbacks(monitor).fit(X, y)
    log = monitor.get_logs()
    log = log[0] if isinstance(log, list) else log
    scores = [row["r2"] for row in log.data if row["task_name"] == "evaluation"]
    assert len(scores) == model.n_iter_
    assert scores[-1] == pytest.approx(model.score(X, y))


def test_callbacks_reach_it_in_a_pipeline_and_a_search():
    recorder = Recorder()
    pipeline = make_pipeline(StandardScaler(), NadarayaWatsonRegressor())
    grid = {"nadarayawatsonregressor__bandwidth": ["loo", "silverman"]}
    GridSearchCV(pipeline, grid, cv=2).set_callbacks(recorder).fit(X, y)
    assert recorder.begun.count("sweep") in (2, 3)  # two folds, and the best on all rows
    assert sorted(recorder.begun) == sorted(recorder.ended)


def test_an_error_is_passed_on():
    class Failing(Recorder):
        def on_fit_task_end(self, estimator, context):
            raise RuntimeError("enough")

    model, failing = NadarayaWatsonRegressor("loo"), Failing()
    with pytest.raises(RuntimeError, match="enough"):
        model.set_callbacks(failing).fit(X, y)
    assert not failing.is_set_up
    assert not hasattr(model, "bandwidth_")


def test_numbers_of_neighbours_are_evaluations():
    recorder = Recorder()
    model = NadarayaWatsonRegressor(n_neighbors="loo").set_callbacks(recorder).fit(X, y)
    assert (
        sorted(recorder.begun)
        == sorted(recorder.ended)
        == sorted(["fit", "neighbors", *["evaluation"] * model.n_iter_])
    )
    assert recorder.begun[:3] == ["fit", "neighbors", "evaluation"]
    best = recorder.losses[: model.n_iter_]
    assert best == sorted(best, reverse=True)


@pytest.mark.parametrize(("stop", "after"), [("evaluation", 1), ("evaluation", 5), ("sweep", 1)])
def test_a_choice_of_neighbours_can_be_stopped(stop, after):
    """The width is fixed then."""
    recorder = Recorder(stop, after)
    bandwidth = "loo" if stop == "sweep" else 1.0
    model = NadarayaWatsonRegressor(bandwidth, n_neighbors="loo").set_callbacks(recorder).fit(X, y)
    assert model.n_neighbors_ is None
    assert recorder.ended.count(stop) == after
    assert ("neighbors" in recorder.begun) == (stop == "evaluation")
    assert model.loo_loss_ == pytest.approx(np.mean(np.square(model.predict(None) - y)))


@pytest.mark.parametrize("Estimator", [LocalLinearRegressor, LocalLinearClassifier])
def test_local_lines_are_one_more_stage(Estimator):
    recorder, targets = Recorder(), y if Estimator is LocalLinearRegressor else y > 0
    model = Estimator("loo").set_callbacks(recorder).fit(X, targets)
    assert sorted(recorder.begun) == sorted(recorder.ended)
    lines = ["lines"] * (1 if Estimator is LocalLinearRegressor else 2)  # of a classifier, with a trend and without
    assert [name for name in recorder.begun if name != "evaluation"] == ["fit", "sweep", "refinement", *lines]
    assert not recorder.is_set_up
    silent = Estimator("loo").fit(X, targets)
    assert (model.n_neighbors_, model.ridge_) == (silent.n_neighbors_, silent.ridge_)
    recorder = Recorder()
    Estimator("loo", n_neighbors=None, ridge=0.1, trend=True).set_callbacks(recorder).fit(X, targets)
    assert "lines" not in recorder.begun


@pytest.mark.parametrize(("stop", "after"), [("evaluation", 1), ("sweep", 1), ("refinement", 1), ("lines", 1)])
def test_a_search_for_local_lines_can_be_stopped(stop, after):
    recorder = Recorder(stop, after)
    model = LocalLinearRegressor("loo").set_callbacks(recorder).fit(X, y)
    assert recorder.ended.count(stop) == after
    assert ("lines" in recorder.begun) == (stop == "lines")
    assert recorder.ended[-1] == "fit"
    assert model.loo_loss_ == pytest.approx(np.mean(np.square(model.predict(None) - y)))


def test_local_lines_stop_at_the_best_of_some_numbers_of_neighbours():
    class Second(Recorder):
        def on_fit_task_end(self, estimator, context):
            self.ended.append(context.task_name)
            return self.ended.count("evaluation") == 2

    recorder = Second()
    model = LocalLinearRegressor(0.5).set_callbacks(recorder).fit(X, y)
    assert recorder.begun == ["fit", "lines", "evaluation", "evaluation"]
    assert model.n_neighbors_ in (None, 2)
    assert model.n_iter_ == 12
