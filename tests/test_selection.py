import numpy as np
import pytest

from sknw._learning import rules
from sknw._learning.rules import order_statistics

VALUES = {
    "normal": lambda rng, n: rng.normal(size=n),
    "sorted": lambda rng, n: np.sort(rng.normal(size=n)),
    "cauchy": lambda rng, n: rng.standard_cauchy(size=n),
    "equal": lambda rng, n: np.ones(n),
    "few values": lambda rng, n: rng.integers(0, 4, size=n) * 0.1,
    "fill values": lambda rng, n: np.where(rng.random(n) < 0.4, 9.97e36, rng.normal(size=n)),
    "one ulp apart": lambda rng, n: np.where(rng.random(n) < 0.5, 0.3, 0.1 + 0.2),
    "subnormal": lambda rng, n: rng.integers(0, 9, size=n) * 5e-324,
}


@pytest.mark.parametrize("n", [1, 7, 2001, 20_011])
@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("few", [0, 10**9])
def test_order_statistics_are_those_of_sorted_values(name, n, few, monkeypatch):
    monkeypatch.setattr(rules, "PARTITION_VALUES", few if n >= rules.SAMPLE else 10**9)
    rng = np.random.default_rng(n)
    values = VALUES[name](rng, n)
    ranks = np.r_[0, n - 1, rng.integers(0, n, size=5)]
    np.testing.assert_array_equal(order_statistics(values, ranks), np.sort(values)[ranks])
