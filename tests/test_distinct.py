"""Queries are answered from distinct keys, with the same results as from all keys."""

import numpy as np
import pytest
from engines import attention, constants, engines_and_kernels, features, make_poolers, pool
from properties import check_definition
from samples import SCATTER, WEIGHTS, assert_close, spread
from samples import Problem as Drawn

from sknw import LocalLinearRegressor, NadarayaWatsonClassifier, NadarayaWatsonRegressor, _distinct
from sknw._distinct import distinct_rows, find_copies, has_many_copies
from sknw._kernels import KERNELS
from sknw._one_hot import OneHot
from sknw._problem import Problem

TOL = 1e-12


@pytest.fixture
def without_condensing(monkeypatch):
    """A function that calls another one, while no problem is condensed."""

    def call(function, *args):
        with monkeypatch.context() as patch:
            patch.setattr(Problem, "condensed", None)
            return function(*args)

    return call


@pytest.fixture(autouse=True)
def few_keys():
    with constants("distinct rows of few", "cells for few keys", "blocks for few keys"):
        yield


def levels(n, n_levels, d, seed=0):
    return np.random.default_rng(seed).integers(n_levels, size=(n, d)).astype(float)


@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("n", [1, 2, 300, 3000])
@pytest.mark.parametrize("factor", [1.0, 0.1, 1e300, 1e-310])
def test_distinct_rows(d, n, factor):
    rows = factor * (levels(n, 4, d) - 1)
    rows[::2] *= -1  # zeros of both signs
    first, place = distinct_rows(rows)
    assert len(first) == len(np.unique(rows + 0.0, axis=0))
    np.testing.assert_array_equal(rows[first][place], rows)


def test_rows_of_the_same_hash_are_told_apart(monkeypatch):
    monkeypatch.setattr(_distinct, "_hash", lambda rows: rows[:, 0].astype(np.uint64))
    rows = levels(200, 3, 2)
    first, place = distinct_rows(rows)
    assert len(first) == 9
    np.testing.assert_array_equal(rows[first][place], rows)


@pytest.mark.parametrize("n", [1000, 100_000])
def test_copies_are_seen_in_a_sample(n):
    rng = np.random.default_rng(0)
    distinct = rng.normal(size=(n // 8, 3))
    copies = np.tile(distinct, (8, 1)), np.repeat(distinct, 8, axis=0), distinct[rng.integers(n // 8, size=n)]
    assert all(map(has_many_copies, (*copies, levels(n, 4, 3), levels(n, 2, 1))))
    assert not any(
        map(has_many_copies, (rng.normal(size=(n, 3)), rng.normal(size=(n, 1)), rng.permutation(n)[:, None]))
    )


@pytest.mark.parametrize(("engine", "kernel"), engines_and_kernels(KERNELS))
@pytest.mark.parametrize("scatter", ["lattice", "years", "duplicates"])
def test_the_definition(engine, kernel, scatter):
    rng = np.random.default_rng(3)
    d = features(engine, kernel, 2)
    for weighting in WEIGHTS.values():
        keys, queries = np.split(SCATTER[scatter](rng, 129, d), [120])
        for bandwidth in spread(keys) * np.array([[0.1], [0.5], [3.0]]):
            asked = np.r_[queries, queries + 0.3 * bandwidth, keys[:5], keys[:5] + 20 * bandwidth]
            problem = Drawn(keys, rng.normal(size=(120, 2)), weighting(rng, 120), bandwidth, asked)
            check_definition(engine, kernel, problem, 1e-12)


@pytest.mark.parametrize("algorithm", ["dense", "blocks"])
@pytest.mark.parametrize("kernel", ["gaussian", "epanechnikov", "exponential"])
@pytest.mark.parametrize("n_classes", [None, 3, 20])
@pytest.mark.parametrize("weighting", ["none", "counts", "decades"])
def test_all_keys_and_distinct_keys_agree(algorithm, kernel, n_classes, weighting, without_condensing):
    """For several outputs at an offset, classes, weights of any size, and queries far away."""
    rng, n = np.random.default_rng(0), 1000
    keys = levels(n, 3, 3)
    queries = np.r_[levels(200, 3, 3, 1), rng.normal(size=(30, 3)), 1e3 * rng.normal(size=(30, 3))]
    assert find_copies(queries) is not None
    values = rng.normal(size=(n, 2)) + 1e3 if n_classes is None else OneHot(rng.integers(n_classes, size=n), n_classes)
    weights = 10.0 ** rng.uniform(-240, 0, size=n) if weighting == "decades" else WEIGHTS[weighting](rng, n)
    for n_neighbors in (None, 300):

        def ask(n_neighbors=n_neighbors):
            pooler = make_poolers(algorithm, keys, values, weights)(kernel, 0.6, TOL, n_neighbors)
            pooled = pooler.pool(queries, tol=TOL)
            return pooler, pooled, pooler.without(np.array([True, False, False])).pool(queries, tol=TOL)

        pooler, *found = ask()
        assert len(pooler._condensed.problem.keys) == 27
        _, *expected = without_condensing(ask)
        for one, other in zip(found, expected, strict=True):
            assert_close(one.values, other.values, values[:], 2 * TOL)
            np.testing.assert_allclose(one.log_mass, other.log_mass, rtol=TOL, atol=2 * TOL)
            np.testing.assert_allclose(one.nearest_t, other.nearest_t, rtol=TOL)
            if n_neighbors is not None:
                np.testing.assert_array_equal(one.scales, other.scales)


@pytest.mark.parametrize("n_neighbors", [None, 300])
def test_some_rows_of_equal_queries(n_neighbors):
    keys, queries, rows = levels(900, 3, 2), levels(2000, 3, 2, 1), np.arange(1500, 40, -1)
    pooler = make_poolers("dense", keys, keys @ [[1.0], [3.0]])(bandwidth=0.5, n_neighbors=n_neighbors)
    found, expected = pooler.pool(queries, rows), pooler.pool(queries).take(rows)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(found.values, [pooler.pool(q[None]).values[0] for q in queries[rows]], rtol=1e-13)


def test_other_values_have_their_own_means():
    rng = np.random.default_rng(0)
    keys, (one, other) = levels(500, 3, 2), rng.normal(size=(2, 500, 1))
    pooler = make_poolers("dense", keys, one)(bandwidth=0.5)
    for values, derived in ((one, pooler), (other, pooler.derive(pooler.problem.with_values(other)))):
        expected = attention(derived, keys)[0] @ values
        np.testing.assert_allclose(pool(derived, keys)[0], expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("values", "is_condensed"), [(np.ones((900, 1)), True), (OneHot(np.arange(900), 900), False)])
def test_means_of_classes_take_no_more_memory_than_labels(values, is_condensed):
    pooler = make_poolers("dense", levels(900, 3, 2), values)()
    assert (pooler._condensed is not None) == is_condensed


def test_leave_one_out_keeps_all_rows():
    keys, values = levels(900, 3, 2), np.random.default_rng(0).normal(size=(900, 1))
    pooler = make_poolers("dense", keys, values)(bandwidth=0.5)
    np.testing.assert_allclose(pool(pooler)[0], attention(pooler)[0] @ values, rtol=0, atol=1e-13)


@pytest.mark.parametrize("model", [NadarayaWatsonRegressor, NadarayaWatsonClassifier, LocalLinearRegressor])
@pytest.mark.parametrize("parameters", [{}, {"kernel": "epanechnikov"}, {"n_neighbors": 300}])
def test_estimators(model, parameters, without_condensing):
    """With missing values, which other poolers answer for."""
    rng, n = np.random.default_rng(0), 1500
    X, queries, y = levels(n, 3, 3), levels(60, 4, 3, 1), rng.integers(3, size=n)
    queries[::3, 0] = queries[::4, 1] = X[::7, 2] = np.nan
    options = {"n_neighbors": None, "ridge": 0.1} if model is LocalLinearRegressor else {}

    def ask():
        fitted = model(0.7, tol=TOL, **options | parameters).fit(X, y, 1.0 + (y == 0))
        found = [fitted.predict_proba(queries) if hasattr(fitted, "predict_proba") else fitted.predict(queries)]
        if model is NadarayaWatsonRegressor:
            found += [fitted.predict_interval(queries), fitted.predict_quantiles(queries), fitted.predict(None)]
        return found

    for one, other in zip(ask(), without_condensing(ask), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-10)
