"""Searches take losses from predictions that err by more than `tol`, as long as that cannot decide."""

import numpy as np
import pytest
from engines import make_poolers
from samples import wave

from sknw import NadarayaWatsonRegressor
from sknw._engines import Poolers
from sknw._kernels import KERNELS
from sknw._learning import loss as losses
from sknw._learning.copies import Sample
from sknw._learning.loss import LEAST_ROUGH, SEARCH_TOL, make_losses
from sknw._problem import Problem

OCTAVES = [0, -2, 3, np.inf]


def make_loss(X, y, tol=1e-10, algorithm="dense"):
    sample = Sample(X, y[:, None], np.ones(len(X)), np.arange(len(X)))
    poolers = Poolers(Problem(X, sample.values, sample.weights), algorithm, KERNELS["gaussian"], tol)
    _, loss = make_losses(poolers, sample, False, None, mean_where_empty=False, tol=tol, n_jobs=None)
    return loss


def evaluations(loss, h):
    return [loss(h), loss.with_gradient(h)[0], *loss.sweep(h, OCTAVES)]


@pytest.mark.parametrize("algorithm", ["dense", "blocks"])
def test_rough_losses_are_nearly_the_losses(algorithm):
    X, y = wave(n=1200, noise=0.3)
    loss, h = make_loss(X, y, algorithm=algorithm), np.array([0.3, 0.6])
    found = evaluations(loss, h)
    exact = [loss.exact(h), loss.exact(h), *(loss.exact(2.0**octave * h) for octave in OCTAVES)]
    assert found[0] != exact[0]
    np.testing.assert_allclose(found, exact, rtol=2 * SEARCH_TOL / LEAST_ROUGH)


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_small_losses_are_exact(scale, monkeypatch):
    """Predictions are made to err by SEARCH_TOL, all to one side."""
    X, y = wave(n=1100, d=1, noise=0)
    h, loss = np.array([0.01]), make_loss(X, scale * y)
    rough_pool = loss.rough._errors
    error = SEARCH_TOL * np.ptp(scale * y) * loss.unit
    monkeypatch.setattr(loss.rough, "_errors", lambda pooled, rows: rough_pool(pooled, rows) + error)
    assert loss.exact(h) < loss.least_rough < loss.exact(100 * h)
    np.testing.assert_allclose(loss(h), loss.exact(h), rtol=1e-14)
    np.testing.assert_allclose(loss.with_gradient(h)[0], loss.exact(h), rtol=1e-9)
    loss.cache.clear()
    assert loss(100 * h) == loss.rough(100 * h) != loss.exact(100 * h) == loss(100 * h)
    for octave, found in zip(OCTAVES, loss.sweep(h, OCTAVES), strict=True):
        np.testing.assert_allclose(found, loss.exact(2.0**octave * h), rtol=2 * SEARCH_TOL / LEAST_ROUGH)
        if loss.exact(2.0**octave * h) < loss.least_rough:
            np.testing.assert_allclose(found, loss.exact(2.0**octave * h), rtol=1e-14)


@pytest.mark.parametrize("algorithm", ["dense", "blocks"])
def test_a_gradient_tells_the_loss(algorithm, monkeypatch):
    X, y = wave(n=1200, noise=0.3)
    loss, h = make_loss(X, y, algorithm=algorithm), np.array([0.3, 0.6])
    found, _ = loss.with_gradient(h)
    monkeypatch.setattr("sknw._engines.pooler.Pooler.pool", None)
    assert loss(h) == found


@pytest.mark.parametrize("tol", [0, SEARCH_TOL, 1e-3])
def test_a_tol_that_is_zero_or_large_holds_in_searches_too(tol):
    assert make_loss(*wave(n=1100), tol=tol).rough is None


def test_few_keys_take_tol_itself():
    assert make_loss(*wave(n=1000)).rough is None
    assert make_loss(*wave(n=1001)).rough is not None


@pytest.mark.parametrize("bandwidth", ["loo", "loo_ard"])
def test_learned_bandwidths_are_those_of_exact_losses(bandwidth, monkeypatch):
    X, y = wave(n=1100, noise=0.3)
    found = NadarayaWatsonRegressor(bandwidth).fit(X, y)
    monkeypatch.setattr(losses, "SEARCH_TOL", 0)
    exact = NadarayaWatsonRegressor(bandwidth).fit(X, y)
    np.testing.assert_allclose(found.bandwidth_, exact.bandwidth_, rtol=1e-3)
    assert found.loo_loss_ == pytest.approx(exact.loo_loss_, rel=1e-4)
    errors = np.square(found.predict(None) - y)[found.loo_rows_]
    assert found.loo_loss_ == pytest.approx(errors.mean(), rel=1e-9 if bandwidth == "loo" else 0.1)


def test_poolers_of_another_tol_share_engines():
    X, y = wave(n=3000, d=1)
    poolers = make_poolers("sorted", X, y[:, None])
    one = poolers("gaussian", 0.3).at
    other = one.with_tol(SEARCH_TOL)
    assert other.tol == SEARCH_TOL
    assert one.tol == 1e-10
    assert other(np.array([0.3])).chain[0] is one(np.array([0.3])).chain[0]
