import fuzz
import numpy as np
import pytest
from problems import random_problem

from sknw import NadarayaWatsonRegressor


@pytest.mark.parametrize("seed", range(8))
def test_nothing_fails(seed):
    assert not fuzz.check(seed)


def test_there_are_short_cuts_to_force():
    modules = [module for name, module in fuzz.sys.modules.items() if name.startswith("sknw._engines")]
    for constant in fuzz.FORCED:
        assert any(hasattr(module, constant) for module in modules)


@pytest.mark.parametrize("asked", ["queries", "leave-one-out"])
@pytest.mark.parametrize("kernel", ["gaussian", "epanechnikov"])
def test_what_is_wrong_is_found(asked, kernel):
    rng = np.random.default_rng(3)
    problem = random_problem(rng, 9, 2, 5)._replace(kernel=kernel, weights=None, bandwidth=np.ones(2))
    with fuzz.set_digits(problem):
        truths = dict(zip(["queries", "leave-one-out"], fuzz.find_truths(problem, rng), strict=True))[asked]
    model = NadarayaWatsonRegressor(1.0, kernel=kernel).fit(problem.keys, problem.targets)
    queries = problem.queries if asked == "queries" else None
    pooled, attention = model.predict(queries), model.attention_weights(queries)
    assert any(truth is not None for truth in truths)
    assert not fuzz.find_failures(problem, truths, pooled, attention)
    span = np.ptp(problem.targets)
    assert set(fuzz.find_failures(problem, truths, pooled + 1e-6 * span, attention)) == {"predictions"}
    assert set(fuzz.find_failures(problem, truths, pooled * np.nan, attention)) == {"predictions"}
    assert set(fuzz.find_failures(problem, truths, pooled, attention + 1e-6)) == {"attention", "sum"}
