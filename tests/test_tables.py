"""Tables with categories and missing values: every method is the definition, evaluated in loops over codes."""

import numpy as np
import oracle
import pytest
import table_oracle
from table_samples import TABLES, draw_table

from sknw import NadarayaWatsonClassifier, NadarayaWatsonRegressor
from sknw._canonical import canonical_ratio
from sknw._engines import ENGINES, Poolers
from sknw._kernels import KERNELS
from sknw._learning.copies import Sample
from sknw._learning.loss import make_losses
from sknw._patterns import TablePoolers

TOL = 1e-10
"""What results may be off by, in units of the range of the targets."""

KERNELS_AND_WEIGHTS = [
    ("gaussian", "none"),
    ("gaussian", "counts"),
    ("gaussian", "importances"),
    ("exponential", "counts"),
    ("epanechnikov", "importances"),
    ("boxcar", "counts"),
    ("tricube", "none"),
]

every_table = pytest.mark.parametrize("table", TABLES)


def some_bandwidths(sample, kernel):
    """A number for each feature; categories are at distances on both sides of 1."""
    h = np.resize([0.7, 0.55, 1.3, 0.8, 1.7], len(sample.kinds)) * (2.5 if KERNELS[kernel].compact else 1)
    return np.where(sample.is_category & KERNELS[kernel].compact, 0.4 * h, h)


def fit(Estimator, sample, targets, bandwidth, **parameters):
    return Estimator(bandwidth, **{"tol": 1e-12, **parameters}).fit(sample.frame(), targets, sample.weights)


def fit_all(Estimator, sample, targets, bandwidth, **parameters):
    """The same model with each of the algorithms that support it; the last is "dense"."""
    model = fit(Estimator, sample, targets, bandwidth, **parameters)
    return [fit(Estimator, sample, targets, bandwidth, algorithm=name, **parameters) for name in supported(model)]


def supported(model):
    """The names of the algorithms for the columns of a fitted model."""
    return [name for name, engine in ENGINES.items() if engine.supports(model._kernel, model._columns.n_columns)]


def assert_are_the_definition(models, sample, values):
    """Predictions and attention of models, which differ by their algorithm, are those of the definition."""
    span = np.ptp(values, axis=0)
    for asked, _, t, own in sample.each_asked(models[0].bandwidth_):
        expected, _ = oracle.attention_at(t, models[0].kernel, sample.weights, own)
        for model in models:
            np.testing.assert_array_equal(model.bandwidth_, models[0].bandwidth_)
            attention = model.attention_weights(asked)
            np.testing.assert_allclose(attention, expected, rtol=0, atol=TOL)
            np.testing.assert_allclose(attention.sum(axis=1), 1, rtol=1e-12)
            predicted = getattr(model, "predict_proba", model.predict)(asked)
            assert (np.abs(predicted - expected @ values) <= TOL * span).all()


@pytest.mark.usefixtures("small_problems")
@every_table
@pytest.mark.parametrize(("kernel", "weights"), KERNELS_AND_WEIGHTS)
def test_predictions_and_attention_are_the_definition(table, kernel, weights):
    sample = draw_table(table, weights)
    given = some_bandwidths(sample, kernel)
    keys = table_oracle.as_seen(sample.codes, sample.codes, sample.weights, sample.is_category)
    rule = table_oracle.silverman(keys, sample.is_category, sample.weights, kernel)
    used = np.where(np.isnan(keys[sample.weights > 0]).all(axis=0), np.inf, given)
    for bandwidth, expected in (("silverman", rule), (given, used)):
        models = fit_all(NadarayaWatsonRegressor, sample, sample.y, bandwidth, kernel=kernel)
        np.testing.assert_allclose(models[0].bandwidth_, expected, rtol=1e-12)
        assert_are_the_definition(models, sample, sample.y)


@pytest.mark.usefixtures("small_problems")
@every_table
@pytest.mark.parametrize(("kernel", "weights"), [("gaussian", "importances"), ("tricube", "counts")])
def test_probabilities_are_the_definition(table, kernel, weights):
    sample = draw_table(table, weights)
    labels = np.array(["low", "middle", "high"])[np.digitize(sample.y, np.quantile(sample.y, [0.3, 0.7]))]
    models = fit_all(NadarayaWatsonClassifier, sample, labels, some_bandwidths(sample, kernel), kernel=kernel)
    assert_are_the_definition(models, sample, np.equal.outer(labels, models[0].classes_) * 1.0)


def test_every_algorithm_serves_a_table():
    """One column for one category of two, two with a number, two for a number with holes."""
    reached = {
        name: supported(NadarayaWatsonRegressor().fit(s.frame(), s.y)) for name in TABLES for s in [draw_table(name)]
    }
    assert reached["two categories"] == ["sorted", "blocks", "dense"]
    assert reached["a number and two categories"] == ["grid", "blocks", "dense"]
    assert reached["one number"] == ["grid", "blocks", "dense"]
    assert reached["all kinds"] == ["blocks", "dense"]


@pytest.mark.filterwarnings("ignore:the leave-one-out loss is least at the lower end")  # for cauchy it is
@pytest.mark.usefixtures("enough_rows")
@pytest.mark.parametrize(
    ("table", "kernel", "weights"),
    [
        *((table, "gaussian", "none") for table in TABLES),
        *(("all kinds", kernel, "importances") for kernel in ("exponential", "cauchy", "epanechnikov", "boxcar")),
    ],
)
@pytest.mark.parametrize("bandwidth", ["loo", "loo_ard"])
def test_learned_bandwidths_have_the_loss_of_the_definition(table, kernel, weights, bandwidth):
    sample = draw_table(table, weights, n=30)
    model = fit(NadarayaWatsonRegressor, sample, sample.y, bandwidth, kernel=kernel)
    assert_are_the_definition([model], sample, sample.y)
    *_, (_, _, t, _) = sample.each_asked(model.bandwidth_)
    left_out, _ = oracle.attention_at(t, kernel, sample.weights, True)
    error = np.average(np.square(sample.y - left_out @ sample.y), weights=sample.weights)
    assert model.loo_loss_ == pytest.approx(error, rel=1e-9)


@pytest.mark.parametrize(
    ("kernel", "weights"), [(k, w) for k, w in KERNELS_AND_WEIGHTS if KERNELS[k].log_slope is not None]
)
def test_gradients_of_the_loss_are_differences(kernel, weights):
    sample, n = draw_table("all kinds", weights, n=50), 50
    model = fit(NadarayaWatsonRegressor, sample, sample.y, 1.0, kernel=kernel)
    keys, values, columns = model.keys_, sample.y[:, None], model._columns
    problem = columns.make_problem(keys, values, sample.weights)
    poolers = TablePoolers(columns, np.isnan(keys), Poolers(problem, "dense", KERNELS[kernel], 0))
    rows = Sample(keys, values, sample.weights, np.arange(n))
    loss, _ = make_losses(poolers, rows, False, None, mean_where_empty=False, tol=0, n_jobs=None)
    bandwidth = some_bandwidths(sample, kernel)
    for ignored in (None, 1, 4):
        h = np.where(np.arange(len(bandwidth)) == ignored, np.inf, bandwidth)
        found, gradient = loss.with_gradient(h)
        assert found == pytest.approx(loss(h), rel=1e-12)
        near, far = (
            np.array([loss(h * np.exp(k * step)) - loss(h * np.exp(-k * step)) for step in 1e-4 * np.eye(len(h))])
            for k in (1, 2)
        )
        np.testing.assert_allclose(gradient, (8 * near - far) / 12e-4, rtol=0, atol=1e-6 * found)


@every_table
@pytest.mark.parametrize(
    ("kernel", "weights"), [("gaussian", "importances"), ("cauchy", "counts"), ("epanechnikov", "none")]
)
def test_widths_that_follow_a_neighbor(table, kernel, weights):
    """The canonical ratio is that of the features that are known at the query, and not ignored."""
    sample = draw_table(table, weights)
    bandwidth = some_bandwidths(sample, kernel)
    model = fit(NadarayaWatsonRegressor, sample, sample.y, bandwidth, kernel=kernel, n_neighbors=7)
    for asked, points, t, own in sample.each_asked(model.bandwidth_):
        n_known = (np.isfinite(model.bandwidth_) & ~np.isnan(points)).sum(axis=1)
        attention = model.attention_weights(asked)
        for d in np.unique(n_known):
            ratio = canonical_ratio(KERNELS[kernel], max(d, 1))
            expected, _ = oracle.neighbor_attention_at(t, ratio, 7, kernel, sample.weights, own)
            np.testing.assert_allclose(attention[n_known == d], expected[n_known == d], rtol=0, atol=TOL)
        assert (np.abs(model.predict(asked) - attention @ sample.y) <= TOL * np.ptp(sample.y)).all()


@pytest.fixture(params=["none", "counts", "importances"])
def fitted(request):
    """A regressor of all kinds of features, with its sample."""
    sample = draw_table("all kinds", request.param, n=80, m=20)
    return fit(NadarayaWatsonRegressor, sample, sample.y, some_bandwidths(sample, "gaussian")), sample


def test_spread_and_intervals_are_those_of_attention(fitted):
    model, sample = fitted
    weights = sample.weights
    left_out = model.attention_weights(None)
    errors = (sample.y - left_out @ sample.y)[:, None]
    numbers = oracle.effective_numbers(left_out, weights, own=True)
    z = errors / (oracle.deviations(left_out, numbers, errors, weights) * np.sqrt(1 + 1 / numbers)[:, None])
    for asked, _, _, own in sample.each_asked(model.bandwidth_):
        attention = model.attention_weights(asked)
        numbers = oracle.effective_numbers(attention, weights, own)
        np.testing.assert_allclose(model.effective_neighbors(asked), numbers, rtol=1e-9)
        deviations = oracle.deviations(attention, numbers, errors, weights)[:, 0]
        mean, std = model.predict(asked, return_std=True)
        np.testing.assert_allclose(std, deviations * np.sqrt(1 + 1 / numbers), rtol=1e-9)
        np.testing.assert_allclose(model.standard_error(asked), deviations / np.sqrt(numbers), rtol=1e-9)
        if (weights == np.rint(weights)).all():
            low, high = oracle.end_scores(z[:, 0], weights, 0.8)
            expected = np.column_stack([mean + low * std, mean + high * std])
            np.testing.assert_allclose(model.predict_interval(asked, coverage=0.8), expected, rtol=1e-8, atol=1e-9)


def test_distributions_are_those_of_attention(fitted):
    model, sample = fitted
    levels, thresholds = np.array([0.0513, 0.4987, 0.9511]), np.quantile(sample.y, [0.1, 0.5, 0.8])
    for asked, _, t, _ in sample.each_asked(model.bandwidth_):
        attention = model.attention_weights(asked)
        shares = attention @ (sample.y[:, None] <= thresholds)
        np.testing.assert_allclose(model.predict_cdf(asked, thresholds), shares, rtol=0, atol=TOL)
        found = model.predict_quantiles(asked, levels)
        up_to = np.einsum("qi,qik->qk", attention, sample.y[None, :, None] <= found[:, None])
        below = np.einsum("qi,qik->qk", attention, sample.y[None, :, None] < found[:, None])
        assert np.isin(found, sample.y).all()
        assert (up_to >= levels - TOL).all()
        assert (below < levels + TOL).all()
        drawn = model.sample_y(asked, n_samples=400, random_state=0)
        mean, variance = attention @ sample.y, attention @ np.square(sample.y) - np.square(attention @ sample.y)
        assert drawn.shape == (len(t), 400)
        assert (np.abs(drawn.mean(axis=1) - mean) < 5 * np.sqrt(np.maximum(variance, 0) / 400) + TOL).all()


def test_leverage_and_residuals_are_those_of_attention(fitted):
    model, sample = fitted
    weights = sample.weights
    found, attention = model.diagnostics(), model.attention_weights(sample.frame())
    np.testing.assert_allclose(np.asarray(model.attention_weights_), attention, rtol=0, atol=TOL)
    is_counts = (weights == np.rint(weights)).all()
    leverage = attention.diagonal() / (np.maximum(weights, 1) if is_counts else 1)
    active, units = weights > 0, weights if is_counts else weights > 0
    np.testing.assert_allclose(found.leverage[active], leverage[active], rtol=0, atol=TOL)
    np.testing.assert_allclose(found.residuals[active], (sample.y - attention @ sample.y)[active], rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.loo_residuals[active], (sample.y - model.predict(None))[active], atol=1e-11)
    assert found.dof == pytest.approx(units[active] @ leverage[active], rel=1e-9)
