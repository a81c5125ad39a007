"""Learned projections follow scikit-learn's conventions."""

import pickle

import numpy as np
import pytest
from samples import index_model
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sknw import AttentionProjection, NadarayaWatsonClassifier, NadarayaWatsonRegressor
from sknw._learning import loss
from sknw._learning.projection import N_DRAWS

REGRESSION = AttentionProjection(NadarayaWatsonRegressor())
CLASSIFICATION = AttentionProjection(NadarayaWatsonClassifier())


@parametrize_with_checks([clone(model).set_params(max_iter=2) for model in (REGRESSION, CLASSIFICATION)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def test_pickles_and_clones():
    X, y, _ = index_model(n=100, d=3)
    model = clone(REGRESSION).fit(X, y)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))
    again = clone(model).fit(X, y)
    np.testing.assert_array_equal(again.components_, model.components_)


def test_as_a_transformer_and_in_a_grid_search():
    pd = pytest.importorskip("pandas")
    X, y, _ = index_model(n=100, d=3)
    frame = pd.DataFrame(X, columns=list("abc"))
    pipeline = make_pipeline(StandardScaler(), clone(REGRESSION).set_params(n_components=2), Ridge())
    columns = pipeline.set_output(transform="pandas").fit(frame, y)[:-1].transform(frame).columns
    assert list(columns) == ["attentionprojection0", "attentionprojection1"]
    search = GridSearchCV(clone(REGRESSION), {"n_components": [1, 3]}, cv=2).fit(frame, y)
    assert search.best_params_ == {"n_components": 1}
    assert list(search.best_estimator_.feature_names_in_) == list("abc")


def test_many_rows_are_scored_by_some(monkeypatch):
    X, y, _ = index_model(n=400, d=3)
    monkeypatch.setattr(loss, "FEWEST_ROWS", 50)
    monkeypatch.setattr(loss, "SEARCH_PAIRS", 100 * 400)
    monkeypatch.setattr(loss, "FINAL_PAIRS", 200 * 400)
    model = clone(REGRESSION).fit(X, y)
    assert model.loo_loss_ < 0.5 * np.var(y)


class Recorder:
    """Records the tasks that begin and end, and stops at the end of an evaluation."""

    max_propagation_depth = None

    def __init__(self, stop_after=np.inf):
        self.stop_after, self.begun, self.ended, self.shapes = stop_after, [], [], []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        self.begun.append(context.task_name)

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        self.ended.append(context.task_name)
        if fitted_estimator is not None:
            self.shapes.append(fitted_estimator.predict(None).shape)
        return self.ended.count("evaluation") >= self.stop_after


@pytest.mark.parametrize("stop_after", [np.inf, 1, 20])
@pytest.mark.parametrize("n_components", [None, 1])
def test_callbacks_see_and_stop_the_search(stop_after, n_components):
    pytest.importorskip("sklearn.callback", reason="scikit-learn 1.9 has callbacks")
    X, y, _ = index_model(n=60, d=3)
    recorder, model = Recorder(stop_after), clone(REGRESSION).set_params(n_components=n_components)
    model.set_callbacks(recorder).fit(X, y)
    start = NadarayaWatsonRegressor("loo").fit(X, y)
    assert sorted(recorder.begun) == sorted(recorder.ended)
    assert recorder.ended[-1] == "fit"
    assert recorder.ended.count("evaluation") == model.n_iter_ - start.n_iter_
    assert set(recorder.shapes) == {(60,)}
    if stop_after < np.inf:
        assert recorder.ended.count("evaluation") == stop_after
    else:
        assert recorder.ended.count("search") == 2 * N_DRAWS * (3 if n_components is None else 2)
    if n_components is None and stop_after < np.inf:
        np.testing.assert_array_equal(model.components_, np.diag(1 / start.bandwidth_))


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"estimator": Ridge()}, TypeError, "NadarayaWatsonRegressor"),
        ({"estimator": NadarayaWatsonRegressor(kernel="boxcar")}, ValueError, "kernel='boxcar' has no derivative"),
        ({"estimator": NadarayaWatsonRegressor(kernel="rbf")}, ValueError, "gaussian"),
        ({"estimator": NadarayaWatsonRegressor(algorithm="sorted")}, ValueError, "algorithm='sorted'"),
        ({"n_components": 4}, ValueError, "n_components=4 must not be larger than n_features=3"),
        ({"n_components": 0}, ValueError, "n_components"),
        ({"max_iter": 0}, ValueError, "max_iter"),
    ],
)
def test_errors_leave_it_unfitted(parameters, error, message):
    X, y, _ = index_model(n=20, d=3)
    model = clone(REGRESSION).set_params(**parameters)
    before = dict(vars(model))
    with pytest.raises(error, match=message):
        model.fit(X, y)
    assert vars(model) == before


def test_an_algorithm_for_one_feature_serves_one_component():
    X, y, _ = index_model(n=60, d=3)
    model = AttentionProjection(NadarayaWatsonRegressor(algorithm="sorted"), n_components=1).fit(X, y)
    assert model.estimator_.algorithm_ == "sorted"
