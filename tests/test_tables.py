"""Tables with categories and missing values: every method is the definition, evaluated in loops over codes."""

import numpy as np
import oracle
import pytest
import table_oracle
from samples import weighting
from table_samples import NUMBERS, TABLES, draw_table

from sknw import NadarayaWatsonClassifier, NadarayaWatsonRegressor
from sknw._canonical import canonical_ratio
from sknw._engines import ENGINES
from sknw._kernels import KERNELS

TOL = 1e-10
"""What results may be off by, in units of the range of the targets."""

KERNEL_NAMES = ["gaussian", "exponential", "cauchy", "epanechnikov", "boxcar", "tricube"]
every_table = pytest.mark.parametrize("table", TABLES)
every_kernel = pytest.mark.parametrize("kernel", KERNEL_NAMES)
every_weighting = pytest.mark.parametrize("weights", ["none", "counts", "importances"])


def seen(sample, weights):
    """Codes of the training rows and of the queries, in which categories are missing if no row of weight has them."""
    return [
        table_oracle.as_seen(codes, sample.codes, weights, sample.is_category)
        for codes in (sample.codes, sample.queries)
    ]


def some_bandwidths(sample, kernel):
    """A number for each feature; categories are at distances on both sides of 1."""
    h = np.resize([0.7, 0.55, 1.3, 0.8, 1.7], len(sample.kinds)) * (2.5 if KERNELS[kernel].compact else 1)
    return np.where(sample.is_category & KERNELS[kernel].compact, 0.4 * h, h)


def supported(model):
    """The algorithms for a fitted model."""
    n_columns = model._columns.widths.sum()
    return [name for name, engine in ENGINES.items() if engine.supports(model._kernel, n_columns)]


def each_asked(sample, weights, bandwidth):
    """Yield what to ask for, codes and t of it, and whether these are training rows without one unit of their own."""
    keys, queries = seen(sample, weights)
    for asked, points, own in [(sample.frame(), keys, False), (sample.frame(sample.queries), queries, False)]:
        yield asked, table_oracle.squared_distances(points, keys, bandwidth, sample.is_category, weights), own
    yield None, table_oracle.squared_distances(keys, keys, bandwidth, sample.is_category, weights), True


def assert_is_the_definition(models, sample, weights, values):
    """Predictions and attention of fitted models, which differ by their algorithm, are those of the definition."""
    span = np.ptp(values, axis=0)
    for asked, t, own in each_asked(sample, weights, models[0].bandwidth_):
        expected, _ = oracle.attention_at(t, models[0].kernel, weights, own)
        for model in models:
            attention = model.attention_weights(asked)
            np.testing.assert_allclose(attention, expected, rtol=0, atol=TOL)
            np.testing.assert_allclose(attention.sum(axis=1), 1, rtol=1e-12)
            predicted = getattr(model, "predict_proba", model.predict)(asked)
            assert (np.abs(predicted - expected @ values) <= TOL * span).all()


def fit_all(Estimator, sample, targets, sample_weight, bandwidth, **parameters):
    """The same model with each of the algorithms."""
    parameters = {"tol": 1e-12, **parameters}
    auto = Estimator(bandwidth, **parameters).fit(sample.frame(), targets, sample_weight)
    others = [
        Estimator(bandwidth, algorithm=name, **parameters).fit(sample.frame(), targets, sample_weight)
        for name in supported(auto)
    ]
    for other in others:
        np.testing.assert_allclose(other.bandwidth_, auto.bandwidth_, rtol=1e-12)
    return [auto, *others]


@pytest.mark.usefixtures("small_problems")
@every_table
@every_kernel
@every_weighting
def test_predictions_and_attention_are_the_definition(table, kernel, weights):
    sample = draw_table(table)
    sample_weight = weighting(weights, len(sample.y))
    of_rows = np.ones(len(sample.y)) if sample_weight is None else sample_weight
    keys, _ = seen(sample, of_rows)
    rule = table_oracle.silverman(keys, sample.is_category, of_rows, kernel)
    given = np.where(np.isnan(keys[of_rows > 0]).all(axis=0), np.inf, some_bandwidths(sample, kernel))
    for bandwidth, expected in (("silverman", rule), (some_bandwidths(sample, kernel), given)):
        models = fit_all(NadarayaWatsonRegressor, sample, sample.y, sample_weight, bandwidth, kernel=kernel)
        np.testing.assert_allclose(models[0].bandwidth_, expected, rtol=1e-12)
        assert_is_the_definition(models, sample, of_rows, sample.y)


@pytest.mark.usefixtures("small_problems")
@every_table
@every_weighting
def test_probabilities_are_the_definition(table, weights):
    sample = draw_table(table)
    sample_weight = weighting(weights, len(sample.y))
    of_rows = np.ones(len(sample.y)) if sample_weight is None else sample_weight
    labels = np.array(["low", "middle", "high"])[np.digitize(sample.y, np.quantile(sample.y, [0.3, 0.7]))]
    for kernel in ("gaussian", "tricube"):
        models = fit_all(
            NadarayaWatsonClassifier, sample, labels, sample_weight, some_bandwidths(sample, kernel), kernel=kernel
        )
        one_hot = np.equal.outer(labels, models[0].classes_) * 1.0
        assert_is_the_definition(models, sample, of_rows, one_hot)


def test_every_algorithm_serves_a_table():
    """One column for one category of two, two with a number, two for a number with holes."""
    reached = {
        name: supported(NadarayaWatsonRegressor().fit(s.frame(), s.y)) for name in TABLES for s in [draw_table(name)]
    }
    assert reached["two categories"] == ["sorted", "blocks", "dense"]
    assert reached["a number and two categories"] == ["grid", "blocks", "dense"]
    assert reached["one number"] == ["grid", "blocks", "dense"]
    assert reached["all kinds"] == ["blocks", "dense"]


@pytest.mark.usefixtures("enough_rows")
@pytest.mark.parametrize("bandwidth", ["loo", "loo_ard"])
@pytest.mark.parametrize(
    ("table", "kernel"),
    [*((table, "gaussian") for table in TABLES), *(("all kinds", kernel) for kernel in KERNEL_NAMES)],
)
def test_learned_bandwidths_have_the_loss_of_the_definition(table, kernel, bandwidth):
    sample, ones = draw_table(table, n=30), np.ones(30)
    for weights in ("none", "importances"):
        sample_weight = weighting(weights, 30)
        of_rows = ones if sample_weight is None else sample_weight
        model = NadarayaWatsonRegressor(bandwidth, kernel=kernel).fit(sample.frame(), sample.y, sample_weight)
        assert_is_the_definition([model], sample, of_rows, sample.y)
        errors = np.square(sample.y - model.predict(None))
        assert model.loo_loss_ == pytest.approx(np.average(errors, weights=of_rows), rel=1e-9)
        assert model.loo_loss_ <= model.loo_path_["loss"].min() * (1 + 1e-12)


@every_table
@pytest.mark.parametrize("kernel", ["gaussian", "cauchy", "epanechnikov"])
@every_weighting
def test_widths_that_follow_a_neighbor(table, kernel, weights):
    sample = draw_table(table)
    sample_weight = weighting(weights, len(sample.y))
    of_rows = np.ones(len(sample.y)) if sample_weight is None else sample_weight
    model = NadarayaWatsonRegressor(some_bandwidths(sample, kernel), n_neighbors=7, kernel=kernel, tol=1e-12)
    model.fit(sample.frame(), sample.y, sample_weight)
    keys, queries = seen(sample, of_rows)
    for asked, t, own in each_asked(sample, of_rows, model.bandwidth_):
        points = queries if len(t) == len(queries) else keys
        n_known = (np.isfinite(model.bandwidth_) & ~np.isnan(points)).sum(axis=1)
        attention = model.attention_weights(asked)
        for d in np.unique(n_known):
            ratio = canonical_ratio(KERNELS[kernel], max(d, 1))
            expected, _ = oracle.neighbor_attention_at(t, ratio, 7, kernel, of_rows, own)
            np.testing.assert_allclose(attention[n_known == d], expected[n_known == d], rtol=0, atol=TOL)
        assert (np.abs(model.predict(asked) - attention @ sample.y) <= TOL * np.ptp(sample.y)).all()


@pytest.fixture(params=["none", "counts", "importances"])
def fitted(request):
    """A regressor of all kinds of features, with its sample and weights."""
    sample = draw_table("all kinds", n=80, m=20)
    sample_weight = weighting(request.param, len(sample.y))
    model = NadarayaWatsonRegressor(some_bandwidths(sample, "gaussian"), tol=1e-12)
    model.fit(sample.frame(), sample.y, sample_weight)
    return model, sample, np.ones(len(sample.y)) if sample_weight is None else sample_weight


def test_spread_and_intervals_are_those_of_attention(fitted):
    model, sample, weights = fitted
    left_out = model.attention_weights(None)
    errors = (sample.y - left_out @ sample.y)[:, None]
    numbers = oracle.effective_numbers(left_out, weights, own=True)
    z = errors / (oracle.deviations(left_out, numbers, errors, weights) * np.sqrt(1 + 1 / numbers)[:, None])
    for asked, _, own in each_asked(sample, weights, model.bandwidth_):
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
    model, sample, weights = fitted
    levels, thresholds = np.array([0.0513, 0.4987, 0.9511]), np.quantile(sample.y, [0.1, 0.5, 0.8])
    for asked, t, _ in each_asked(sample, weights, model.bandwidth_):
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
    model, sample, weights = fitted
    found, attention = model.diagnostics(), model.attention_weights(sample.frame())
    np.testing.assert_allclose(np.asarray(model.attention_weights_), attention, rtol=0, atol=TOL)
    is_counts = (weights == np.rint(weights)).all()
    leverage = attention.diagonal() / (np.maximum(weights, 1) if is_counts else 1)
    active, units = weights > 0, weights if is_counts else weights > 0
    np.testing.assert_allclose(found.leverage[active], leverage[active], rtol=0, atol=TOL)
    np.testing.assert_allclose(found.residuals[active], (sample.y - attention @ sample.y)[active], rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.loo_residuals[active], (sample.y - model.predict(None))[active], atol=1e-11)
    assert found.dof == pytest.approx(units[active] @ leverage[active], rel=1e-9)


@pytest.mark.parametrize("n_neighbors", [None, 9])
@pytest.mark.parametrize("kernel", ["gaussian", "exponential", "cauchy", "epanechnikov", "tricube"])
@pytest.mark.parametrize("table", ["all kinds", "numbers", "a number and two categories"])
def test_gradients_are_differences(table, kernel, n_neighbors):
    """By the numbers that are known; those of categories are nan, and so are those of what is missing."""
    sample, bandwidth = draw_table(table, n=80, m=40), some_bandwidths(draw_table(table), kernel)
    model = NadarayaWatsonRegressor(bandwidth, kernel=kernel, n_neighbors=n_neighbors, tol=0)
    model.fit(sample.frame(), sample.y)
    is_number = np.isin(sample.kinds, list(NUMBERS))
    queries, expected = sample.queries + 0.013 * is_number, np.full(sample.queries.shape, np.nan)
    for f in np.flatnonzero(is_number):
        step = 1e-4 * bandwidth[f] * (np.arange(len(sample.kinds)) == f)
        near, far = (
            model.predict(sample.frame(queries + k * step)) - model.predict(sample.frame(queries - k * step))
            for k in (1, 2)
        )
        expected[:, f] = (8 * near - far) / (12 * step[f])
    expected[np.isnan(queries)] = np.nan
    found = model.gradients(sample.frame(queries))
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    assert np.nanmax(np.abs(found - expected) * bandwidth / np.ptp(sample.y)) <= 1e-6
    left_out = model.gradients(None)
    np.testing.assert_array_equal(np.isnan(left_out), np.isnan(sample.codes) | ~is_number)
