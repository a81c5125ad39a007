"""scikit-learn's own checks, and its tools used for real."""

import io
import re
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import AdaBoostRegressor, BaggingRegressor, VotingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_selection import RFE, SelectFromModel
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, LeaveOneOut, cross_val_predict, cross_validate
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sknw import (
    LocalLinearClassifier,
    LocalLinearRegressor,
    NadarayaWatsonClassifier,
    NadarayaWatsonRegressor,
)
from sknw._base import API_PAGE, KernelEstimator, _page_template
from sknw._kernels import KERNELS

EMPTY = ("nearest", "mean", "nan", "raise")


def matrix():
    """Kernels x bandwidths x policies. A bandwidth for each feature fits no check, since each chooses its own d."""
    for Estimator in (NadarayaWatsonRegressor, NadarayaWatsonClassifier):
        yield Estimator()
        for name, kernel in KERNELS.items():
            for bandwidth in (1.0, "silverman", "scott"):
                for empty in EMPTY if kernel.compact else EMPTY[:1]:  # nothing else is ever empty
                    yield Estimator(bandwidth, kernel=name, empty=empty)
        for kernel in ("gaussian", "exponential", "epanechnikov", "boxcar"):
            for bandwidth in ("loo", "loo_ard"):
                yield Estimator(bandwidth, kernel=kernel)


def local_lines():
    """Widths x ridges x bandwidths, a trend or none, and policies where queries can be empty."""
    for Estimator in (LocalLinearRegressor, LocalLinearClassifier):
        yield Estimator()
        yield Estimator("loo")
        yield Estimator(1.0, kernel="epanechnikov", empty="mean")
        for ridge in (1e-3, 0.1, np.inf):
            for n_neighbors in (None, 5):
                yield Estimator("silverman", n_neighbors=n_neighbors, ridge=ridge)
    yield LocalLinearRegressor("silverman", trend=False)


def expected_failed_checks(estimator):
    regressor = isinstance(estimator, NadarayaWatsonRegressor)
    if estimator.kernel == "constant":
        check = "check_regressors_train" if regressor else "check_classifiers_train"
        return {check: "asks for a good fit in sample; average pooling does not fit"}
    if regressor and estimator.bandwidth == 1.0 and estimator.kernel in ("cauchy", "logistic"):
        return {"check_regressors_train": "asks for R² > 0.5 in sample; the tails of this kernel are too heavy"}
    return {}


def refuses_queries(estimator, error):
    """Whether the cause of an error is a query without a neighbour, which `empty` does not allow."""
    while error is not None and "no training point within the support" not in str(error):
        error = error.__cause__ or error.__context__
    return error is not None and estimator.empty in ("nan", "raise")


@pytest.mark.filterwarnings("ignore:the leave-one-out loss is least at the lower end")  # where each row counts thrice
@parametrize_with_checks(list(matrix()), expected_failed_checks=expected_failed_checks)
def test_scikit_learn_checks(estimator, check):
    try:
        check(estimator)
    except (AssertionError, ValueError) as error:
        if not refuses_queries(estimator, error):
            raise
        pytest.xfail("predicts at queries without a neighbour, which this policy refuses")


@pytest.mark.filterwarnings("ignore:the leave-one-out loss is least at the lower end")  # where each row counts thrice
@parametrize_with_checks(list(local_lines()))
def test_scikit_learn_checks_of_local_lines(estimator, check):
    check(estimator)


def test_the_defaults_need_no_exception():
    assert not expected_failed_checks(NadarayaWatsonRegressor())
    assert not expected_failed_checks(NadarayaWatsonClassifier())


@pytest.fixture(scope="module")
def diabetes():
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    return X[["bmi", "bp", "s5"]], y


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True, as_frame=True)


def test_bandwidths_for_each_feature(iris):
    X, y = iris
    model = NadarayaWatsonClassifier([0.4, np.inf, 0.4, 0.2]).fit(X, y)
    assert model.score(None, y) > 0.93


def test_grid_search_over_floats_and_strings(diabetes):
    X, y = diabetes
    pipeline = make_pipeline(StandardScaler(), NadarayaWatsonRegressor())
    grid = {
        "nadarayawatsonregressor__bandwidth": [0.3, 1, "silverman", "scott", [0.5, 0.7, 0.5]],
        "nadarayawatsonregressor__kernel": ["gaussian", "tricube"],
    }
    search = GridSearchCV(pipeline, grid, cv=3).fit(X, y)
    assert search.best_score_ > 0.35
    assert len(pd.DataFrame(search.cv_results_)) == 10


def test_halving_search(diabetes):
    search = HalvingGridSearchCV(
        make_pipeline(MinMaxScaler(), NadarayaWatsonRegressor()),
        {"nadarayawatsonregressor__bandwidth": [0.05, 0.1, 0.2, 0.4, "silverman"]},
        cv=3,
        random_state=0,
        min_resources=60,
    ).fit(*diabetes)
    assert search.best_score_ > 0.2


def test_cross_validation(iris):
    scores = cross_validate(NadarayaWatsonClassifier(), *iris, cv=5, scoring=["accuracy", "neg_log_loss"], n_jobs=2)
    assert scores["test_accuracy"].mean() > 0.93
    assert np.isfinite(scores["test_neg_log_loss"]).all()


def test_leave_one_out_scores_are_cross_validation_without_refitting(iris):
    X, y = iris
    model = NadarayaWatsonClassifier(0.3).fit(X, y)
    by_refitting = cross_val_predict(NadarayaWatsonClassifier(0.3), X, y, cv=LeaveOneOut(), method="predict_proba")
    np.testing.assert_allclose(model.predict_proba(None), by_refitting, atol=1e-12)
    assert log_loss(y, model.predict_proba(None)) < 0.3


def test_clone_and_persistence(diabetes, tmp_path):
    X, y = diabetes
    model = NadarayaWatsonRegressor([1, 2, 3], kernel="biweight", n_jobs=2).fit(X, y)
    assert clone(model).get_params() == model.get_params()
    joblib.dump(model, tmp_path / "model.joblib")
    for mode in (None, "r"):
        loaded = joblib.load(tmp_path / "model.joblib", mmap_mode=mode)
        np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


def test_ensembles(diabetes):
    X, y = diabetes
    assert BaggingRegressor(NadarayaWatsonRegressor(), n_estimators=10, random_state=0).fit(X, y).score(X, y) > 0.4
    assert AdaBoostRegressor(NadarayaWatsonRegressor(), n_estimators=5, random_state=0).fit(X, y).score(X, y) > 0.4
    assert (
        TransformedTargetRegressor(NadarayaWatsonRegressor(), func=np.log, inverse_func=np.exp).fit(X, y).score(X, y)
        > 0.4
    )


def test_calibration_and_voting(iris):
    X, y = iris
    for model in (
        CalibratedClassifierCV(NadarayaWatsonClassifier(), cv=3),
        VotingClassifier(
            [("nw", NadarayaWatsonClassifier()), ("lr", LogisticRegression(max_iter=1000))], voting="soft", n_jobs=2
        ),
    ):
        assert model.fit(X, y).score(X, y) > 0.93
    multi = MultiOutputClassifier(NadarayaWatsonClassifier()).fit(X, np.c_[y, y == 1])
    assert multi.predict(X).shape == (150, 2)


def test_inspection(diabetes):
    X, y = diabetes
    model = NadarayaWatsonRegressor().fit(X, y)
    assert permutation_importance(model, X, y, n_repeats=3, random_state=0).importances_mean.shape == (3,)
    assert np.isfinite(partial_dependence(model, X, ["bmi"], grid_resolution=10)["average"]).all()


def test_feature_names(diabetes):
    X, y = diabetes
    model = NadarayaWatsonRegressor().fit(X, y)
    np.testing.assert_array_equal(model.feature_names_in_, ["bmi", "bp", "s5"])
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(X[["bp", "bmi", "s5"]])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(X.to_numpy())
    inside = ColumnTransformer([("scale", StandardScaler(), ["bmi", "s5"])])
    assert make_pipeline(inside, NadarayaWatsonRegressor()).fit(X, y).score(X, y) > 0.4


def test_metadata_routing(diabetes):
    X, y = diabetes
    weights = np.random.default_rng(0).integers(0, 3, size=len(y))
    with sklearn.config_context(enable_metadata_routing=True):
        model = NadarayaWatsonRegressor().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        scores = cross_validate(model, X, y, params={"sample_weight": weights}, cv=3)["test_score"]
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        routed = make_pipeline(scaler, model).fit(X, y, sample_weight=weights)[-1]
    assert scores.min() > 0.2
    expected = NadarayaWatsonRegressor().fit(StandardScaler().fit_transform(X), y, weights)
    np.testing.assert_array_equal(routed.bandwidth_, expected.bandwidth_)


def test_html_repr_of_a_pipeline(diabetes):
    pipeline = make_pipeline(StandardScaler(), NadarayaWatsonRegressor()).fit(*diabetes)
    assert "NadarayaWatsonRegressor" in pipeline._repr_html_()


def test_joblib_round_trip_in_memory(iris):
    X, y = iris
    model = NadarayaWatsonClassifier("scott").fit(X, y)
    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    buffer.seek(0)
    np.testing.assert_array_equal(joblib.load(buffer).predict_proba(X), model.predict_proba(X))


@pytest.fixture
def publish(monkeypatch, tmp_path):
    """A function that gives the installed distribution these URLs, as estimators see them at import."""

    def install(*urls):
        folder = tmp_path / "scikit_nw-0.dist-info"
        folder.mkdir()
        lines = ["Metadata-Version: 2.1", "Name: scikit-nw", "Version: 0", *(f"Project-URL: {url}" for url in urls)]
        (folder / "METADATA").write_text("\n".join(lines))
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(KernelEstimator, "_doc_link_template", _page_template())

    return install


@pytest.mark.parametrize("Estimator", [NadarayaWatsonRegressor, NadarayaWatsonClassifier])
def test_html_links_to_the_page_of_the_estimator(Estimator, publish, iris):
    publish("Source, https://example.org/code", "Documentation, https://example.org/nw/")
    page = f"https://example.org/nw/generated/sknw.{Estimator.__name__}.html"
    for model in (Estimator(), Estimator().fit(*iris), make_pipeline(StandardScaler(), Estimator())):
        assert f'href="{page}"' in model._repr_html_()


def test_html_links_nowhere_while_nothing_is_published(publish):
    publish("Source, https://example.org/code")
    assert "href=" not in NadarayaWatsonRegressor()._repr_html_()


def test_html_links_nowhere_from_a_checkout_that_is_not_installed(monkeypatch):
    monkeypatch.setattr("sys.path", [])
    assert _page_template() == ""


def test_html_of_a_subclass_elsewhere_does_not_link_to_our_pages(publish):
    publish("Documentation, https://example.org/nw")

    class Theirs(NadarayaWatsonRegressor):
        pass

    assert "href=" not in Theirs()._repr_html_()


def test_the_reference_holds_the_pages_that_estimators_link_to():
    reference = (Path(__file__).parent.parent / "docs" / "api.rst").read_text()
    assert ".. currentmodule:: sknw\n" in reference
    listed = re.findall(r"\.\. autosummary::\n   :toctree: (\w+)\n((?:\n|   \w.*\n)+)", reference)
    pages = {f"{folder}/sknw.{name}.html" for folder, names in listed for name in names.split()}
    for Estimator in (NadarayaWatsonRegressor, NadarayaWatsonClassifier):
        assert API_PAGE.format(estimator_module="sknw", estimator_name=Estimator.__name__) in pages


def test_features_are_selected_by_their_importance():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 5))
    y = np.sin(2 * X[:, 1]) + X[:, 3] + 0.2 * rng.normal(size=200)
    model = NadarayaWatsonRegressor("loo_ard")
    for selector in (SelectFromModel(model), RFE(model, n_features_to_select=2)):
        np.testing.assert_array_equal(np.flatnonzero(selector.fit(X, y).get_support()), [1, 3])
