"""Standard deviations, intervals, sets, densities and diagnostics: those of the definition, for every engine."""

import pickle
import threading
from itertools import pairwise

import numpy as np
import oracle
import pytest
from engines import engines_and_kernels, features
from samples import WEIGHTS, wave
from scipy.integrate import quad
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknw import Kernel, LocalLinearClassifier, LocalLinearRegressor, NadarayaWatsonClassifier, NadarayaWatsonRegressor
from sknw._distribution import Scores
from sknw._kernels import KERNELS

every_engine_and_kernel = pytest.mark.parametrize(("engine", "kernel"), engines_and_kernels(KERNELS))
every_weighting = pytest.mark.parametrize("weighting", WEIGHTS)
every_regressor = pytest.mark.parametrize("Regressor", [NadarayaWatsonRegressor, LocalLinearRegressor])


def fit(engine, kernel, weighting, n_outputs=1, n=150, **parameters):
    """A regressor with queries, some of them far away, of which rows 5 and 6 of the keys are equal."""
    rng, d = np.random.default_rng(0), features(engine, kernel, 2)
    X = rng.normal(size=(n, d))
    X[6] = X[5]
    y = np.sin(X[:, :1]) + 0.3 * rng.normal(size=(n, n_outputs))
    model = NadarayaWatsonRegressor(0.4, kernel=kernel, algorithm=engine, **parameters)
    model.fit(X, y if n_outputs > 1 else y[:, 0], WEIGHTS[weighting](rng, n))
    return model, np.r_[rng.normal(size=(30, d)), 5 * rng.normal(size=(10, d))]


def definition(model, queries):
    """Attention weights, effective numbers, standard deviations of targets (m, t) and errors (n, t), by the oracle."""
    X, values, weights, kernel = model.keys_, model.values_, model._weights, model.kernel
    left_out, _ = oracle.attention(X, X, model.bandwidth_, kernel, weights, leave_one_out=True)
    asked = X if queries is None else queries
    a, _ = oracle.attention(asked, X, model.bandwidth_, kernel, weights, leave_one_out=queries is None)
    errors, numbers = values - left_out @ values, oracle.effective_numbers(a, weights, queries is None)
    return a, numbers, oracle.deviations(a, numbers, errors, weights), errors


@pytest.mark.usefixtures("small_problems")
@every_engine_and_kernel
@every_weighting
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_spread_is_the_definition(engine, kernel, weighting, n_outputs):
    model, queries = fit(engine, kernel, weighting, n_outputs)
    for asked in (queries, None):
        _, numbers, deviations, _ = definition(model, asked)
        shape = deviations.shape if n_outputs > 1 else -1
        stds = deviations * np.sqrt(1 + 1 / numbers)[:, None]
        mean, std = model.predict(asked, return_std=True)
        np.testing.assert_array_equal(mean, model.predict(asked))
        np.testing.assert_allclose(model.effective_neighbors(asked), numbers, rtol=1e-9)
        np.testing.assert_allclose(std, stds.reshape(shape), rtol=1e-9)
        error = model.standard_error(asked)
        np.testing.assert_allclose(error, (deviations / np.sqrt(numbers)[:, None]).reshape(shape), rtol=1e-9)


@pytest.mark.usefixtures("small_problems")
@every_engine_and_kernel
@pytest.mark.parametrize("weighting", ["none", "counts"])
def test_intervals_are_order_statistics_of_leave_one_out(engine, kernel, weighting):
    model, queries = fit(engine, kernel, weighting)
    _, numbers, deviations, errors = definition(model, None)
    z = errors / (deviations * np.sqrt(1 + 1 / numbers)[:, None])
    low, high = oracle.end_scores(z[:, 0], model._weights, 0.8)
    for asked in (queries, None):
        mean, std = model.predict(asked, return_std=True)
        expected = np.column_stack([mean + low * std, mean + high * std])
        np.testing.assert_allclose(model.predict_interval(asked, coverage=0.8), expected, rtol=1e-8, atol=1e-9)


@pytest.mark.usefixtures("small_problems")
@every_engine_and_kernel
@every_weighting
def test_leverage_and_residuals_are_those_of_attention(engine, kernel, weighting):
    model, _ = fit(engine, kernel, weighting, 2)
    found, weights, y = model.diagnostics(), model._weights, model.values_
    a, _ = oracle.attention(model.keys_, model.keys_, model.bandwidth_, kernel, weights)
    is_counts = weighting != "importances"
    leverage = a.diagonal() / (np.maximum(weights, 1) if is_counts else 1)
    residuals = y - a @ y
    active, units = weights > 0, weights if is_counts else weights > 0
    np.testing.assert_allclose(found.leverage, leverage, atol=1e-9)
    np.testing.assert_allclose(found.residuals[active], residuals[active], atol=1e-9)
    np.testing.assert_allclose(found.loo_residuals[active], (y - model.predict(None))[active], atol=1e-12)
    n, dof = units.sum(), units @ leverage
    mse, variance = (
        np.average(np.square(rows), axis=0, weights=weights) for rows in (residuals, y - weights @ y / weights.sum())
    )
    assert found.dof == pytest.approx(dof, rel=1e-9)
    np.testing.assert_allclose(found.gcv, mse / (1 - dof / n) ** 2, rtol=1e-8)
    if n > dof + 2:
        np.testing.assert_allclose(found.aicc, np.log(mse) + (1 + dof / n) / (1 - (dof + 2) / n), rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(found.r2, 1 - mse / variance, atol=1e-8)


@pytest.mark.parametrize("kernel", ["gaussian", "epanechnikov", "cauchy"])
@every_weighting
def test_widths_that_follow_a_neighbor(kernel, weighting):
    model, queries = fit("dense", kernel, weighting, n_neighbors=9)
    weights, active = model._weights, model._weights > 0
    left_out = model.attention_weights(None)
    errors = model.values_ - left_out @ model.values_
    for asked in (queries, None):
        a = model.attention_weights(asked)
        numbers = oracle.effective_numbers(a, weights, asked is None)
        stds = oracle.deviations(a, numbers, errors, weights) * np.sqrt(1 + 1 / numbers)[:, None]
        np.testing.assert_allclose(model.effective_neighbors(asked), numbers, rtol=1e-9)
        np.testing.assert_allclose(model.predict(asked, return_std=True)[1], stds[:, 0], rtol=1e-9)
    a, found = np.asarray(model.attention_weights_), model.diagnostics()
    units = np.ones(len(a)) if weighting == "importances" else np.maximum(weights, 1)
    np.testing.assert_allclose(found.leverage, a.diagonal() / units, atol=1e-9)
    np.testing.assert_allclose(found.residuals[active], (model.values_[:, 0] - model.predict(model.keys_))[active])
    with pytest.raises(AttributeError, match="has no attribute 'score_samples'") as error:
        model.score_samples(queries)
    assert "score_samples requires n_neighbors=None, got 9" in str(error.value.__cause__)


@pytest.mark.parametrize(
    "parameters",
    [
        {"n_neighbors": None, "ridge": 0.1},
        {"n_neighbors": None, "ridge": 0.0, "kernel": "epanechnikov"},
        {"n_neighbors": 20, "ridge": 0.01},
        {"n_neighbors": 20, "ridge": np.inf},
    ],
    ids=str,
)
@every_weighting
@pytest.mark.parametrize("by_columns", [True, False])
def test_standard_errors_of_lines_are_those_of_their_weights(parameters, weighting, by_columns, monkeypatch):
    if not by_columns:
        monkeypatch.setattr("sknw._lines.MOST_NUMBERS", 0)
    rng = np.random.default_rng(0)
    X, queries, weights = rng.normal(size=(80, 2)), 1.3 * rng.normal(size=(15, 2)), WEIGHTS[weighting](rng, 80)
    model = LocalLinearRegressor(0.9, **parameters, trend=False).fit(X, X[:, 0] + rng.normal(size=80), weights)
    settings = X, model.bandwidth_, model.ridge_, model.kernel, model._weights, model.n_neighbors_
    for asked in (queries, None):
        rows = range(80) if asked is None else [None] * 15
        lines = np.array(
            [oracle.line_weights(q, *settings, row) for q, row in zip(X if asked is None else asked, rows, strict=True)]
        )
        factors = 1 / np.sqrt(oracle.effective_numbers(np.abs(lines), model._weights, asked is None))
        mean, std = model.predict(asked, return_std=True)
        error = model.standard_error(asked)
        np.testing.assert_allclose(error / np.sqrt(np.square(std) - np.square(error)), factors, rtol=1e-8)
        assert mean.shape == (len(rows),)


@every_regressor
def test_counts_are_repetitions(Regressor):
    X, y = wave(n=40)
    counts = np.random.default_rng(0).integers(0, 4, size=40)
    parameters = {} if Regressor is NadarayaWatsonRegressor else {"n_neighbors": None, "ridge": 0.1}
    weighted = Regressor(0.5, **parameters).fit(X, y, counts)
    repeated = Regressor(0.5, **parameters).fit(np.repeat(X, counts, axis=0), np.repeat(y, counts))
    queries = X[:9] + 0.1
    for method in ("predict_interval", "standard_error"):
        one, other = getattr(weighted, method)(queries), getattr(repeated, method)(queries)
        np.testing.assert_allclose(one, other, rtol=1e-9)
    if Regressor is NadarayaWatsonRegressor:
        one, other = weighted.diagnostics(), repeated.diagnostics()
        for name in ("dof", "gcv", "aicc", "r2", "loo_r2"):
            assert one[name] == pytest.approx(other[name], rel=1e-9)


@every_regressor
@pytest.mark.parametrize(("scale", "shift"), [(-3.0, 1e3), (2.0**300, 0.0), (2.0**-300, 0.0)])
def test_units_of_y(Regressor, scale, shift):
    X, y = wave()
    model, moved = Regressor(0.5).fit(X, y), Regressor(0.5).fit(X, scale * y + shift)
    _, std = model.predict(X, return_std=True)
    _, moved_std = moved.predict(X, return_std=True)
    np.testing.assert_allclose(moved_std, np.abs(scale) * std, rtol=1e-8)
    expected = scale * model.predict_interval(X)[:, :: int(np.sign(scale))] + shift
    np.testing.assert_allclose(moved.predict_interval(X), expected, rtol=1e-8, atol=1e-7 * std.min() * abs(scale))


def test_order_of_rows_and_units_of_x():
    X, y = wave()
    order = np.random.default_rng(1).permutation(len(X))
    model, other = (NadarayaWatsonRegressor().fit(*rows) for rows in ((X, y), (1e3 * X[order] + 7, y[order])))
    np.testing.assert_allclose(other.predict_interval(1e3 * X + 7), model.predict_interval(X), rtol=1e-9)
    np.testing.assert_allclose(other.effective_neighbors(1e3 * X + 7), model.effective_neighbors(X), rtol=1e-9)
    np.testing.assert_allclose(other.score_samples(1e3 * X + 7) + 2 * np.log(1e3), model.score_samples(X), rtol=1e-9)


def test_boxcar_counts_neighbors():
    X = np.arange(10.0)[:, None]
    model = NadarayaWatsonRegressor(2.0, kernel="boxcar").fit(X, X[:, 0], np.r_[3.0, np.ones(9)])
    np.testing.assert_allclose(model.effective_neighbors([[0.0], [5.0], [9.0], [11.5]]), [5, 5, 3, 1])
    np.testing.assert_allclose(model.effective_neighbors(None)[[0, 5]], [4, 4])


def test_constant_kernel_gives_moments_of_the_sample():
    y = np.random.default_rng(0).normal(size=50)
    model = NadarayaWatsonRegressor(kernel="constant").fit(np.zeros((50, 1)), y)
    mean, std = model.predict([[1.0]], return_std=True)
    assert mean[0] == pytest.approx(y.mean())
    assert std[0] == pytest.approx(y.std() * 50 / 49 * np.sqrt(1 + 1 / 50))
    assert model.diagnostics().dof == pytest.approx(1)


@pytest.mark.parametrize("kernel", ["gaussian", "exponential", "logistic", "cauchy", "epanechnikov"])
@every_weighting
def test_effective_numbers_far_away(kernel, weighting):
    """Logarithms of masses are -1e12 and more, and the nearest keys, which are alike but for 1e-7, share."""
    weights = WEIGHTS[weighting](np.random.default_rng(0), 8)
    X = np.r_[np.zeros(4), 1 + 1e-7 * np.arange(4)][:, None]
    model = NadarayaWatsonRegressor(1.0, kernel=kernel).fit(X, X[:, 0], weights)
    queries = np.array([[1e6], [-1e6], [3e7]])
    numbers = oracle.effective_numbers(model.attention_weights(queries), model._weights)
    np.testing.assert_allclose(model.effective_neighbors(queries), numbers, rtol=1e-9)
    assert np.isfinite(model.predict(queries, return_std=True)[1]).all()


def test_importances_whose_squares_underflow():
    X = np.r_[np.zeros(3), 100 + np.zeros(2)][:, None]
    model = NadarayaWatsonRegressor(1.0).fit(X, X[:, 0], [1.0, 1.0, 0.5, 1e-200, 1e-200])
    np.testing.assert_allclose(model.effective_neighbors([[0.0], [100.0]]), [2.5**2 / 2.25, 2.0], rtol=1e-9)


@pytest.mark.parametrize("kernel", ["epanechnikov", "boxcar"])
def test_empty_queries(kernel):
    X, y = wave(d=1)
    far, both = [[50.0]], [[0.0], [50.0]]
    models = {
        empty: NadarayaWatsonRegressor(0.3, kernel=kernel, empty=empty).fit(X, y)
        for empty in ("nearest", "mean", "nan", "raise")
    }
    assert models["nearest"].effective_neighbors(far) == [1.0]
    assert models["mean"].effective_neighbors(far) == pytest.approx(60)
    assert models["mean"].standard_error(far) == pytest.approx(models["mean"]._errors().std() / np.sqrt(60), rel=1e-2)
    for method in ("effective_neighbors", "standard_error", "predict_interval"):
        found = getattr(models["nan"], method)(both)
        assert np.isfinite(found[0]).all()
        assert np.isnan(found[1]).all()
        np.testing.assert_allclose(found[0], getattr(models["nearest"], method)(both)[0])
        with pytest.raises(ValueError, match="1 of 2 queries have no training point"):
            getattr(models["raise"], method)(both)
    for model in models.values():
        assert np.isneginf(model.score_samples(far))
    found = [model.diagnostics().dof for model in models.values()]
    np.testing.assert_allclose(found, found[0])


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("d", [1, 2])
def test_densities_integrate_to_one(kernel, d):
    model = NadarayaWatsonRegressor(0.7, kernel=kernel).fit(np.zeros((3, d)), [0, 1, 2], [1, 2, 1])
    if kernel == "constant" or (kernel == "cauchy" and d == 2):
        with pytest.raises(AttributeError, match="has no attribute 'score_samples'") as error:
            model.score_samples(np.zeros((1, d)))
        assert f"finite integral over {d} features, such as ['gaussian'" in str(error.value.__cause__)
        return

    def ring(r):
        return np.exp(model.score_samples(np.eye(1, d) * r)[0]) * (2 if d == 1 else 2 * np.pi * r)

    points = [0.7] if KERNELS[kernel].compact else [1.0, 5.0, 20.0]
    end = 0.7 if KERNELS[kernel].compact else 1e5 if kernel == "cauchy" else 40.0
    edges = [0.0, *points[:-1], end]
    total = sum(quad(ring, *pair, limit=200)[0] for pair in pairwise(edges))
    assert total == pytest.approx(1, abs=1e-5 if kernel == "cauchy" else 1e-7)


@pytest.mark.parametrize("kernel", ["gaussian", "exponential", "epanechnikov", "linear", "tophat", "cosine"])
@pytest.mark.parametrize("d", [1, 2, 4])
def test_densities_are_those_of_scikit_learn(kernel, d):
    if kernel == "cosine" and d > 1:
        pytest.skip("KernelDensity does not integrate to one there")
    rng = np.random.default_rng(d)
    X, queries, weights = rng.normal(size=(80, d)), rng.normal(size=(30, d)), rng.random(80)
    expected = KernelDensity(bandwidth=2.0, kernel=kernel).fit(X, sample_weight=weights).score_samples(queries)
    ours = {"linear": "triangular", "tophat": "boxcar"}.get(kernel, kernel)
    model = NadarayaWatsonRegressor(2.0, kernel=ours).fit(X, X[:, 0], weights)
    np.testing.assert_allclose(model.score_samples(queries), expected, rtol=1e-9, atol=1e-9)


@every_weighting
def test_leave_one_out_densities(weighting):
    X, y = wave(n=30)
    weights = WEIGHTS[weighting](np.random.default_rng(0), 30)
    found = NadarayaWatsonRegressor(0.5).fit(X, y, weights).score_samples(None)
    for row in range(30):
        others = NadarayaWatsonRegressor(0.5).fit(X, y, oracle.without_unit(weights, row))
        assert found[row] == pytest.approx(others.score_samples(X[[row]])[0], abs=1e-9)


def test_features_that_are_ignored_have_no_density(plane):
    used = NadarayaWatsonRegressor([1, 1]).fit(plane.keys_[:, :2], plane.values_, plane._weights)
    np.testing.assert_allclose(plane.score_samples(plane.keys_), used.score_samples(plane.keys_[:, :2]))


def test_a_kernel_of_ones_own():
    student = Kernel(lambda t: -2 * np.log1p(t))
    X, y = wave(d=1)
    model = NadarayaWatsonRegressor(0.5, kernel=student).fit(X, y)
    numbers = oracle.effective_numbers(model.attention_weights(X), np.ones(60))
    np.testing.assert_allclose(model.effective_neighbors(X), numbers, rtol=1e-9)
    assert np.exp(model.score_samples([[0.0]])[0]) == pytest.approx(
        np.mean((1 + np.square(X / 0.5)) ** -2) / 0.5 / (np.pi / 2), rel=1e-9
    )


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9])
def test_ranks_of_scores(coverage):
    """Against sorted lists of scores, as many of each as its count; equal importances are no weights."""
    rng = np.random.default_rng(0)
    for n in (19, 20, 57):
        z, counts = rng.normal(size=n), rng.integers(0, 4, size=n).astype(float)
        share = (1 + coverage) / 2
        for weights in (np.ones(n), counts):
            found = Scores(z[:, None], weights)
            assert (found.lowest(share, ""), found.highest(share, "")) == oracle.end_scores(z, weights, coverage)
        found = Scores(z[:, None], np.full(n, 0.3))
        assert (found.lowest(share, ""), found.highest(share, "")) == oracle.end_scores(z, np.ones(n), coverage)


def test_importances_move_quantiles_of_scores():
    z, weights = np.arange(100.0)[:, None], np.r_[np.full(50, 0.5), np.full(50, 0.25)]
    assert Scores(z, weights).highest(2 / 3, "") < 51
    assert Scores(z, np.ones(100)).highest(2 / 3, "") > 66


def test_coverage_that_needs_more_rows():
    X, y = wave(n=50)
    model, classifier = NadarayaWatsonRegressor().fit(X, y), NadarayaWatsonClassifier().fit(X, y > 0)
    with pytest.raises(ValueError, match=r"coverage=0\.99 requires 199 training points or more, got 50"):
        model.predict_interval(X, coverage=0.99)
    with pytest.raises(ValueError, match=r"coverage=0\.99 requires 99 training points or more, got 50"):
        classifier.predict_set(X, coverage=0.99)
    X, y = wave(n=199)
    assert np.isfinite(NadarayaWatsonRegressor().fit(X, y).predict_interval(X, coverage=0.99)).all()
    for coverage in (0, 1, -0.5, 90, "0.9", np.nan):
        for method in (model.predict_interval, classifier.predict_set):
            with pytest.raises(ValueError, match="coverage must be between 0 and 1, got"):
                method(X, coverage=coverage)


@pytest.mark.parametrize("weights", [[1.0], [0.5], [0.0, 3.5]])
def test_a_single_row(weights):
    X, y = np.zeros((len(weights), 1)), np.arange(len(weights))
    model = NadarayaWatsonRegressor(1.0).fit(X, y, weights)
    for call in (
        lambda: model.predict(X, return_std=True),
        lambda: model.predict_interval(X),
        lambda: model.standard_error(X),
        model.diagnostics,
        lambda: NadarayaWatsonClassifier(1.0).fit(X, y, weights).predict_set(X),
    ):
        with pytest.raises(ValueError, match="requires at least two samples of positive weight"):
            call()
    assert model.effective_neighbors(X)[0] == 1


@every_regressor
def test_constant_targets(Regressor):
    X, _ = wave(n=30)
    model = Regressor(0.5).fit(X, np.full(30, 2.5))
    mean, std = model.predict(X, return_std=True)
    assert not std.any()
    np.testing.assert_allclose(model.predict_interval(X), np.column_stack([mean, mean]))


@pytest.mark.parametrize(
    "Classifier",
    [lambda: NadarayaWatsonClassifier("loo"), lambda: LocalLinearClassifier("silverman", n_neighbors=None)],
)
def test_sets_are_those_of_leave_one_out_scores(Classifier):
    X, y = wave(n=90)
    labels = np.array(["a", "b", "c"])[np.digitize(y, [-0.5, 0.5])]
    model = Classifier().fit(X, labels)
    scores = np.sort(1 - model.predict_proba(None)[np.arange(90), np.searchsorted(model.classes_, labels)])
    for coverage in (0.5, 0.9):
        probabilities, threshold = model.predict_proba(X), scores[int(np.ceil(91 * coverage - 1e-9)) - 1]
        expected = 1 - probabilities <= threshold
        expected[np.arange(90), probabilities.argmax(axis=1)] = True
        np.testing.assert_array_equal(model.predict_set(X, coverage), expected)
        left_out = model.predict_set(None, coverage)[np.arange(90), np.searchsorted(model.classes_, labels)]
        assert left_out.mean() >= coverage - 0.02


def test_sets_without_neighbors():
    X, y = wave(n=90, d=1)
    model = NadarayaWatsonClassifier(0.3, kernel="boxcar", empty="nan").fit(X, y > 0)
    with pytest.raises(ValueError, match="no class can be predicted"):
        model.predict_set([[50.0]])


def test_diagnostics_of_a_classifier_are_those_of_one_hot_targets(iris):
    one_hot = NadarayaWatsonRegressor(iris.bandwidth_).fit(iris.keys_, iris.values_)
    found, expected = iris.diagnostics(), one_hot.diagnostics()
    np.testing.assert_allclose(found.residuals, expected.residuals, atol=1e-12)
    np.testing.assert_allclose([found.dof, found.gcv], [expected.dof, expected.gcv.sum()], rtol=1e-9)
    brier = np.square(found.loo_residuals).sum(axis=1).mean()
    assert found.loo_r2 == pytest.approx(1 - brier / iris.values_.var(axis=0).sum())


def test_intervals_cover_new_rows():
    """On 12 samples with noise that grows along x; the bound is four standard deviations of the mean coverage."""
    found = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        X = rng.uniform(0, 3, size=(1200, 1))
        y = np.sin(2 * X[:, 0]) + (0.1 + 0.3 * X[:, 0]) * rng.normal(size=1200)
        low, high = NadarayaWatsonRegressor("loo").fit(X[:200], y[:200]).predict_interval(X[200:]).T
        is_left, inside = X[200:, 0] < 1.5, (low <= y[200:]) & (y[200:] <= high)
        found.append([inside[is_left].mean(), inside[~is_left].mean(), inside.mean()])
    left, right, both = np.mean(found, axis=0)
    assert abs(both - 0.9) < 0.025
    assert abs(left - right) < 0.1


@every_regressor
def test_imputer_draws_from_the_posterior(Regressor):
    X = np.random.default_rng(0).normal(size=(80, 3))
    X[:, 2] += X[:, 0]
    holes = X.copy()
    holes[::7, 2] = np.nan
    imputer = IterativeImputer(Regressor(0.5), sample_posterior=True, random_state=0, max_iter=2)
    filled = imputer.fit_transform(holes)
    assert np.isfinite(filled).all()
    assert (filled[::7, 2] != IterativeImputer(Regressor(0.5), max_iter=2).fit_transform(holes)[::7, 2]).all()


def test_pipelines_pass_the_keyword_on():
    X, y = wave()
    pipe = make_pipeline(StandardScaler(), NadarayaWatsonRegressor()).fit(X, y)
    _, std = pipe.predict(X, return_std=True)
    np.testing.assert_array_equal(pipe[-1].predict_interval(pipe[:-1].transform(X)).shape, (60, 2))
    assert (std > 0).all()


@every_regressor
def test_copies_and_pickles_give_the_same_answers(Regressor):
    X, y = wave()
    model = Regressor(0.5).fit(X, y)
    unused = pickle.loads(pickle.dumps(model))
    state = set(vars(model))
    expected = model.predict_interval(X)
    assert set(vars(model)) == state
    used = pickle.loads(pickle.dumps(model))
    assert len(pickle.dumps(used)) == len(pickle.dumps(unused))
    for other in (unused, used):
        np.testing.assert_array_equal(other.predict_interval(X), expected)
    model.fit(X, -y)
    np.testing.assert_allclose(model.predict_interval(X), -expected[:, ::-1])


def test_results_are_not_what_is_kept():
    X, y = wave()
    model, other = (NadarayaWatsonRegressor(0.5).fit(X, y) for _ in range(2))
    model.diagnostics().loo_residuals[:] = 0
    assert model.diagnostics().loo_residuals.any()
    np.testing.assert_array_equal(model.predict_interval(X), other.predict_interval(X))


def test_settings_that_change_after_a_call():
    X, y = wave(d=1)
    changed = NadarayaWatsonRegressor(0.05, kernel="boxcar").fit(X, y)
    changed.predict_interval(X)
    changed.set_params(empty="mean")
    fresh = NadarayaWatsonRegressor(0.05, kernel="boxcar", empty="mean").fit(X, y)
    np.testing.assert_array_equal(changed.predict_interval(X), fresh.predict_interval(X))


def test_threads_compute_what_is_shared_once(monkeypatch):
    X, y = wave(n=300)
    model, calls, found = NadarayaWatsonRegressor(0.5).fit(X, y), [], [None] * 6
    made = Scores.__init__
    monkeypatch.setattr(Scores, "__init__", lambda *args: (calls.append(1), made(*args))[1])

    def ask(position):
        found[position] = model.predict_interval(X)

    threads = [threading.Thread(target=ask, args=(position,)) for position in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])
