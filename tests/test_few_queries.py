"""The grid engine asked for a few queries at a time."""

from functools import partial

import numpy as np
import pytest
from engines import constants, is_asked_first, make_pooler, n_unresolved, pool, pool_apart
from hypothesis import given
from hypothesis import strategies as st
from properties import check_like_dense
from samples import SCATTER, WEIGHTS, Problem, spread

from sknw import NadarayaWatsonClassifier, NadarayaWatsonRegressor
from sknw._engines.grid.near_keys import LEFT_OUT, NearKeys
from sknw._kernels import KERNELS
from sknw._problem import Problem as KeyProblem

pytestmark = pytest.mark.usefixtures("small_problems")


@given(
    seed=st.integers(0, 2**32 - 1),
    n_features=st.sampled_from([2, 3]),
    n=st.integers(5, 150),
    scatter=st.sampled_from(sorted(SCATTER)),
    weighting=st.sampled_from(sorted(WEIGHTS)),
    log_bandwidth=st.floats(-2, 1),
    n_together=st.sampled_from([1, 2]),
    tol=st.sampled_from([1e-2, 1e-4, 1e-8, 1e-12]),
)
def test_errors_stay_within_tol(seed, n_features, n, scatter, weighting, log_bandwidth, n_together, tol):
    rng = np.random.default_rng(seed)
    keys, weights = SCATTER[scatter](rng, n, n_features), WEIGHTS[weighting](rng, n)
    values = np.c_[rng.standard_t(2, size=n), rng.random(n) < 0.1]
    bandwidth = spread(keys) * 10 ** (log_bandwidth + rng.uniform(-0.5, 0.5, size=n_features))
    queries = np.r_[
        keys[rng.integers(0, n, size=20)] + bandwidth * rng.standard_t(1, size=(20, n_features)),
        [keys.min(axis=0) - 1e4 * bandwidth, keys.max(axis=0) + 1e4 * bandwidth],
    ]
    problem = Problem(keys, values, weights, bandwidth, queries)
    with constants("grid"):
        check_like_dense("grid", "gaussian", problem, tol, partial(pool_apart, n_together=n_together))


@pytest.mark.parametrize("weights", ["alike", "many decades"])
@pytest.mark.parametrize("tol", [1e-3, 1e-6, 1e-10])
def test_keys_left_out_are_many_and_light(tol, weights):
    """Their share in the mass of each query is at most what is proven, and most keys are left out."""
    rng, n = np.random.default_rng(0), 3000
    keys = np.r_[rng.random((n - 1, 3)), np.full((1, 3), 1e9)]
    weights = np.ones(n) if weights == "alike" else 10 ** rng.uniform(-30, 0, size=n)
    bandwidth = np.array([0.03, 0.05, 0.04])
    with constants("grid"):
        near = NearKeys(KeyProblem(keys, np.ones((n, 1)), weights), KERNELS["gaussian"], bandwidth)
    queries = rng.random((200, 3))
    sums = near.sums(near.locate(queries), None, tol)
    exact = np.exp(-np.square((queries[:, None] - keys) / bandwidth).sum(axis=-1) / 2) @ (weights / weights.max())
    lacking = 1 - sums.columns[:, -1] / exact
    assert (lacking > -1e-12).all()
    assert (lacking <= LEFT_OUT * tol + 1e-12).all()
    assert tol < 1e-6 or lacking.max() > 1e-4 * tol
    taken = [
        sum(last - first for first, last in near._runs(query, np.r_[query, -0.5, query @ query / -2][None], tol))
        for query in near.locate(queries).T
    ]
    assert np.mean(taken) < 0.5 * n


@pytest.mark.parametrize("n_features", [2, 3])
def test_a_few_queries_are_served(n_features):
    """By the engine itself, but for queries in tails."""
    rng = np.random.default_rng(0)
    keys, values = rng.normal(size=(3000, n_features)), rng.normal(size=(3000, 3))
    pooler = make_pooler("grid", keys, values, None, "gaussian", 0.3)
    assert all(is_asked_first(pooler, n_queries) for n_queries in (1, 2, 8))
    queries = rng.uniform(-1.5, 1.5, size=(40, n_features))
    assert n_unresolved(pooler, lambda: pool_apart(pooler, queries, tol=1e-10)) == 0
    apart = pool_apart(pooler, queries, tol=1e-10)
    expected = pool(make_pooler("dense", keys, values, None, "gaussian", 0.3), queries)
    np.testing.assert_allclose(apart[0], expected[0], rtol=0, atol=1e-10 * np.ptp(values))


@pytest.mark.parametrize("n_features", [2, 3])
def test_calls_before_do_not_matter(n_features):
    """A row has the same prediction, bit for bit, whatever else has been predicted before."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(4000, n_features)), rng.normal(size=4000)
    model, other = (NadarayaWatsonRegressor(0.4, algorithm="grid").fit(X, y) for _ in range(2))
    first = model.predict(X[:1])
    other.predict(X)
    other.predict(None)
    other.predict(X[:5])
    np.testing.assert_array_equal(other.predict(X[:1]), first)


@pytest.mark.parametrize("n_features", [2, 3])
def test_classes(n_features):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(3000, n_features)), rng.integers(0, 30, size=3000)
    model, exact = (NadarayaWatsonClassifier(0.4, algorithm=name).fit(X, y) for name in ("grid", "dense"))
    expected = exact.predict_proba(X[:20])
    for i, row in enumerate(X[:20]):
        np.testing.assert_allclose(model.predict_proba(row[None])[0], expected[i], rtol=0, atol=1e-10)


def test_the_lower_bound_on_the_mass_is_tight():
    """It is the mass itself where all keys of a leaf are equally far from the query."""
    directions = np.random.default_rng(0).normal(size=(50, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    keys = 1.5 * np.r_[directions, -directions]
    near = NearKeys(KeyProblem(keys, np.ones((100, 1)), np.ones(100)), KERNELS["gaussian"], np.ones(3))
    query = near.locate(np.zeros((1, 3)))[:, 0]
    bound = np.exp([*query, -0.5, query @ query / -2] @ near._means).sum()
    assert 100 * np.exp(-(1.5**2) / 2) == pytest.approx(bound, rel=1e-9)
