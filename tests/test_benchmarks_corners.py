import corners
import fuzz
import mpmath
import numpy as np
import pytest

from sknw import NadarayaWatsonRegressor


@pytest.mark.parametrize("seed", range(8))
def test_fuzz_finds_nothing(seed):
    assert not fuzz.check(seed)[1]


@pytest.mark.parametrize("what", ["predict", "attention", "leave-one-out", "slopes"])
def test_fuzz_finds_what_is_wrong(what):
    rng = np.random.default_rng(3)
    keys = rng.normal(size=(9, 2))
    problem = fuzz.Problem("gaussian", keys, rng.normal(size=9), np.ones(9), np.ones(2), keys[:2] + 0.1)
    with mpmath.workdps(60):
        truth, found = fuzz.find_truth(problem, rng), fuzz.answers(problem, "dense", 1e-10)
        assert not list(fuzz.failures(truth, found, 1e-10))
        found[what][0] += 1e-6
        assert what in dict(fuzz.failures(truth, found, 1e-10))
        found[what][0] = np.nan
        assert dict(fuzz.failures(truth, found, 1e-10))[what] == np.inf


def test_softmax_and_gaps_are_the_definition():
    X, y, queries = corners._draw(3, 100, 9)
    model = NadarayaWatsonRegressor(0.7, tol=0).fit(X, y)
    np.testing.assert_allclose(corners.softmax(X, y, queries, 0.7), model.predict(queries), rtol=1e-10)
    for kernel in corners.KERNELS_IN_ONE_FEATURE:
        model = NadarayaWatsonRegressor(0.7, kernel=kernel, tol=0).fit(X[:, :1], y)
        exact = corners.exact_gaps(kernel, X[:, 0], y, queries[:, 0], 0.7)
        np.testing.assert_allclose(exact, model.predict(queries[:, :1]), rtol=1e-12)
