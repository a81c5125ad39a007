"""The leave-one-out loss: the rows that it looks at, its values, and its gradient."""

from functools import partial

import numpy as np
import oracle
import pytest
from engines import constants, make_poolers, pool
from samples import wave, weighting

from sknw import NadarayaWatsonRegressor
from sknw._learning import loss as losses
from sknw._learning.copies import Sample
from sknw._learning.loss import CrossValidation
from sknw._weights import sample_size

each = pytest.mark.parametrize("bandwidth", ["loo", "loo_ard"])


@pytest.fixture
def few_pairs(monkeypatch):
    """A hundred rows in a search, and two hundred at its end."""
    monkeypatch.setattr(losses, "FEWEST_ROWS", 10)
    monkeypatch.setattr(losses, "SEARCH_PAIRS", 100 * 1000)
    monkeypatch.setattr(losses, "FINAL_PAIRS", 200 * 1000)


@each
def test_many_rows_are_scored_by_some(few_pairs, bandwidth):
    X, y = wave(n=1000, d=3)
    model = NadarayaWatsonRegressor(bandwidth).fit(X, y)
    errors = np.square(model.predict(None) - y)
    assert model.loo_rows_.shape == (200,)
    exact = 1e-12 if bandwidth == "loo" else 0.1  # of which rows that were learned from have been left out
    assert model.loo_loss_ == pytest.approx(errors[model.loo_rows_].mean(), rel=exact)
    again = NadarayaWatsonRegressor(bandwidth).fit(X, y)
    np.testing.assert_array_equal(again.bandwidth_, model.bandwidth_)
    other = NadarayaWatsonRegressor(bandwidth, random_state=1).fit(X, y)
    assert not np.array_equal(other.loo_rows_, model.loo_rows_)
    assert other.loo_loss_ == pytest.approx(model.loo_loss_, rel=0.5)


def test_losses_look_at_some_of_the_rows_that_have_weight(few_pairs):
    first, final = make_test_losses(1000, (np.arange(1000) % 2) * 1.0)
    assert len(first.rows) == 100
    assert len(final.rows) == 200
    assert set(first.rows) < set(final.rows)
    assert np.all(final.rows % 2)
    first, final = make_test_losses(300, np.arange(300) % 2 * 1.0, linear=True)
    assert first is final


def make_test_losses(n, weights=None, linear=False, prepare=None, data=None):
    X, y = data or (np.arange(n)[:, None], np.zeros(n))
    sample = Sample(X, y.reshape(n, -1), np.ones(n) if weights is None else weights, np.arange(n))
    parameters = {"mean_where_empty": False, "tol": 0, "n_jobs": None}
    return losses.make_losses(prepare, sample, linear, np.random.RandomState(0), **parameters)


@pytest.mark.parametrize("name", ["none", "counts", "importances"])
def test_halves_validate_what_the_others_learned(name):
    """The loss and the gain are those of the rows that a bandwidth was not learned from, in whatever order."""
    X, y = wave(n=31)
    weights = weighting(name, 31)
    weights = np.ones(31) if weights is None else weights
    learned, common = [np.array([h, 1.0]) for h in (0.1, 0.2, 0.3, 0.4)], np.array([0.5, 0.5])
    results = []
    for order in (np.arange(31), np.random.default_rng(0).permutation(31)):
        X_, y_, w = X[order], y[order], weights[order]
        poolers = make_poolers("dense", X_, y_[:, None], w)
        _, loss = make_test_losses(31, w, False, partial(poolers, "gaussian"), (X_, y_))
        halves = CrossValidation(loss, loss, np.random.RandomState(0), 2)
        squares, shares = np.zeros(31), w / w.sum()
        for (one, other), (learning, validation), h in zip(halves.positions, halves.folds, learned, strict=True):
            assert set(loss.rows[one]) | set(loss.rows[other]) == set(loss.rows)
            assert not set(one) & set(other)
            np.testing.assert_array_equal(validation.rows, loss.rows[other])
            np.testing.assert_array_equal(learning.rows, loss.rows[one])
            rows = validation.rows
            squares[rows] += np.square(pool(poolers("gaussian", h), rows=rows)[0][:, 0] - y_[rows])
        gains = np.square(pool(poolers("gaussian", common))[0][:, 0] - y_) - squares / 2
        squares, gains = squares * loss.unit**2, gains * loss.unit**2
        mean = shares @ gains
        error = np.sqrt(shares @ np.square(gains - mean) / sample_size(w[w > 0]))
        found = halves.compare(learned, common, common)
        n = sample_size(w[w > 0])
        n_contributing = np.square(shares @ np.abs(gains)) / (shares @ np.square(gains)) * n
        assert found == pytest.approx((shares @ squares / 2, mean, error, n, n_contributing), rel=1e-10)
        results.append(found)
    assert results[0] == pytest.approx(results[1], rel=1e-10)


@pytest.mark.parametrize("kernel", ["gaussian", "exponential", "epanechnikov"])
@pytest.mark.parametrize("mean_where_empty", [False, True])
@pytest.mark.parametrize("name", ["none", "counts", "importances"])
def test_many_columns_have_the_same_gradient(kernel, mean_where_empty, name):
    X, y = wave(n=200, d=6)
    X[:2] *= 1e4  # far from all others
    values, weights = np.column_stack([y, 1e140 * y**2]), weighting(name, 200)
    weights = np.ones(200) if weights is None else weights
    poolers, sample, results = make_poolers("dense", X, values, weights), Sample(X, values, weights, np.arange(200)), []
    for order, n_jobs in (("features summed first", None), ("values summed first", None), ("values summed first", 3)):
        parameters = {"mean_where_empty": mean_where_empty, "tol": 0, "n_jobs": n_jobs}
        loss, _ = losses.make_losses(partial(poolers, kernel), sample, False, None, **parameters)
        with constants(order, "gradient"):
            results.append(loss.with_gradient(np.r_[0.8, 1.0, 1.5, 2.0, 3.0, np.inf]))
    (expected, slopes), (found, gradient), threads = results
    assert found == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(gradient, slopes, rtol=1e-9, atol=1e-11 * np.abs(slopes).max())
    assert threads[0] == found
    np.testing.assert_array_equal(threads[1], gradient)


def test_no_error_is_evaluated_twice():
    X, y = wave(n=100)
    asked, poolers = [], make_poolers("dense", X, y[:, None])

    def prepare(bandwidth, n_neighbors):
        asked.append(bandwidth)
        return poolers("gaussian", bandwidth)

    one, other = np.array([0.1, 0.2]), np.array([0.3, 0.2])
    _, loss = make_test_losses(100, None, False, prepare, (X, y))
    assert loss(one) != loss(other)
    assert loss(one) == pytest.approx(loss.squares(one).mean(), rel=1e-12)
    assert len(asked) == 2


@each
def test_rows_without_weight_are_not_scored(few_pairs, bandwidth):
    X, y = wave(n=1000)
    weights = (np.arange(1000) % 4 == 0) * 1.0
    rows = NadarayaWatsonRegressor(bandwidth).fit(X, y, weights).loo_rows_
    assert len(rows) == 200
    assert np.all(rows % 4 == 0)


@each
@pytest.mark.parametrize(("d", "name"), [(1, "sorted"), (2, "grid")])
def test_fast_engines_score_all_rows(d, name, bandwidth, monkeypatch):
    monkeypatch.setattr(losses, "SEARCH_ROWS", 500)
    X, y = wave(n=6000, d=d)
    fast = NadarayaWatsonRegressor(bandwidth, algorithm=name).fit(X, y)
    exact = NadarayaWatsonRegressor(bandwidth, algorithm="dense").fit(X, y)
    assert len(fast.loo_rows_) == 6000
    np.testing.assert_allclose(fast.loo_loss_, exact.loo_loss_, rtol=1e-4)


@each
def test_threads_do_not_change_it(bandwidth):
    X, y = wave(n=1500, d=3)
    one, two = (NadarayaWatsonRegressor(bandwidth, n_jobs=n_jobs).fit(X, y) for n_jobs in (1, 2))
    np.testing.assert_array_equal(one.bandwidth_, two.bandwidth_)


def test_the_oracle_agrees_on_the_loss(enough_rows):
    X, y = wave(n=40)
    model = NadarayaWatsonRegressor("loo_ard").fit(X, y)
    attention, _ = oracle.attention(X, X, model.bandwidth_, leave_one_out=True)
    assert model.loo_loss_ == pytest.approx(np.mean(np.square(attention @ y - y)), rel=1e-12)


def test_predictions_in_sample_would_choose_no_width_at_all():
    """The textbook's trap: a query that attends to itself is predicted best by attending to nothing else."""
    X, y = wave(d=1)
    in_sample = {h: NadarayaWatsonRegressor(h).fit(X, y).score(X, y) for h in np.geomspace(1e-3, 10, 30)}
    assert max(in_sample, key=in_sample.get) == min(in_sample)
    assert in_sample[min(in_sample)] > 0.999
    learned = NadarayaWatsonRegressor("loo").fit(X, y).bandwidth_[0]
    assert 0.05 < learned < 1


def test_leaving_out_rows_without_neighbours_would_choose_no_width_at_all():
    rng = np.random.default_rng(0)
    X, y = rng.uniform(0, 5, size=(100, 1)), rng.normal(size=100)
    y[1], X[1] = y[0], X[0]  # twins, the last to have a neighbour
    dropped = {}
    for h in np.geomspace(1e-6, 5, 40):
        error = np.square(NadarayaWatsonRegressor(h, kernel="boxcar", empty="nan").fit(X, y).predict(None) - y)
        dropped[h] = np.nanmean(error)
    assert min(dropped, key=dropped.get) == min(dropped)
    assert NadarayaWatsonRegressor("loo", kernel="boxcar").fit(X, y).bandwidth_[0] > 0.5
