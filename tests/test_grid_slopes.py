"""Slopes of the grid engine against the dense one, on problems large enough for its cells."""

import tracemalloc

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_grid import (
    GAUSSIAN,
    SCATTER,
    WEIGHTS,
    normal_problem,
    poolers,
    small_problems_have_cells,  # noqa: F401
    spread,
)

from sknw._engines import make_engines
from sknw._engines._grid import GridPooler
from sknw._engines._slopes import SLOPE_ERROR


def assert_like_dense(fast, exact, span, rows, tol):
    pooled, log_mass, slopes = fast.slopes(rows, tol=tol)
    expected, expected_mass, expected_slopes = exact.slopes(rows)
    assert slopes.shape == (len(pooled), 2, len(span))
    assert (np.abs(pooled - expected) <= (tol + 2e-12) * span).all()
    assert (np.abs(log_mass - expected_mass) <= 2 * tol + 1e-11 * (1 + np.abs(expected_mass))).all()
    assert (np.abs(slopes - expected_slopes) <= SLOPE_ERROR * span).all()


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(50, 600),
    scatter=st.sampled_from(sorted(SCATTER)),
    weighting=st.sampled_from(sorted(WEIGHTS)),
    n_values=st.sampled_from([1, 3]),
    log_bandwidth=st.tuples(st.floats(-4, 2), st.floats(-4, 2)),
    alike=st.booleans(),
    tol=st.sampled_from([1e-4, 1e-8, 1e-10, 1e-12]),
)
def test_slopes_equal_those_of_the_dense_engine(seed, n, scatter, weighting, n_values, log_bandwidth, alike, tol):
    rng = np.random.default_rng(seed)
    keys, values, weights = SCATTER[scatter](rng, n), rng.standard_t(2, size=(n, n_values)), WEIGHTS[weighting](rng, n)
    log_bandwidth = np.array(log_bandwidth)[[0, 0] if alike else [0, 1]]
    bandwidth = np.where(spread(keys) > 0, spread(keys), 1) * 10**log_bandwidth
    fast, exact = poolers(keys, values, weights, bandwidth)
    assert isinstance(fast, GridPooler)
    rows = slice(None) if n < 300 else np.flatnonzero(rng.random(n) < 0.5)
    assert_like_dense(fast, exact, np.ptp(values[weights > 0], axis=0), rows, tol)


@pytest.mark.parametrize("scatter", ["normal", "t(1.5)", "lattice"])
@pytest.mark.parametrize("bandwidth", [[0.05, 0.2], [0.5, 0.5], [30.0, 1.0]])
def test_slopes_of_many_keys(scatter, bandwidth):
    rng = np.random.default_rng(0)
    keys, values, weights = SCATTER[scatter](rng, 2000), rng.normal(size=(2000, 2)), WEIGHTS["counts"](rng, 2000)
    fast, exact = poolers(keys, values, weights, np.array(bandwidth))
    assert_like_dense(fast, exact, np.ptp(values[weights > 0], axis=0), slice(None), 1e-10)


def test_rows_and_pool_agree_with_all_slopes():
    fast = next(poolers(*normal_problem(2000, [0.3, 0.5])))
    pooled, log_mass, slopes = fast.slopes(tol=1e-10)
    expected, expected_mass = fast.pool(tol=1e-10)
    np.testing.assert_allclose(pooled, expected, atol=1e-10)
    np.testing.assert_allclose(log_mass, expected_mass, atol=1e-10)
    for rows in (slice(3, 1900, 7), np.array([1999, 0, 5, 5, 1000]), np.array([], dtype=int)):
        for found, whole in zip(fast.slopes(rows, tol=1e-10), (pooled, log_mass, slopes), strict=True):
            np.testing.assert_allclose(found, whole[rows], atol=1e-9)


def test_results_do_not_depend_on_n_jobs():
    fast = next(poolers(*normal_problem(40_000, 0.1)))
    oracle.assert_same_results(fast.slopes(tol=1e-4), fast.slopes(n_jobs=3, tol=1e-4))


def test_expansions_serve_nearly_all_rows(monkeypatch):
    fast, weak = next(poolers(*normal_problem(5000, 0.25))), []
    slopes = fast._blocks.slopes
    monkeypatch.setattr(fast._blocks, "slopes", lambda rows, *rest: weak.extend(rows) or slopes(rows, *rest))
    fast.slopes(tol=1e-10)
    assert len(weak) <= 20


@pytest.mark.parametrize("bandwidth", [0.05, 0.3])
def test_memory_is_bounded(bandwidth):
    """Temporaries do not grow with the number of rows, beyond the results and what orders the rows."""
    rng = np.random.default_rng(0)
    keys, values = rng.normal(size=(100_000, 2)), rng.normal(size=(100_000, 3))
    engine = make_engines(keys, values, np.ones(100_000), np.zeros(100_000))["grid"]
    pooler = engine.prepare(GAUSSIAN, np.full(2, bandwidth))
    rows = np.flatnonzero(np.abs(keys).max(axis=1) < 2)  # the tails are for other engines
    pooler.slopes(rows[:100], tol=1e-6)
    tracemalloc.start()
    results = pooler.slopes(rows, tol=1e-6)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < sum(result.nbytes for result in results) + 100 * len(rows) + 40 * 2**20
