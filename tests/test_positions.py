"""Positions among ascending keys by a table, against np.searchsorted."""

import numpy as np
import pytest
from engines import constants
from samples import SCATTER

from sknw._engines.sorted.positions import FEW_KEYS, Positions

HARD = SCATTER | {
    "ends at 1e300": lambda rng, n, d: np.r_[-1e300, rng.normal(size=n - 2), 1e300],
    "tiny": lambda rng, n, d: 1e-300 * rng.normal(size=n),
    "subnormal": lambda rng, n, d: 5e-324 * rng.integers(0, n, size=n),
    "hardly apart": lambda rng, n, d: 2.0**52 + rng.integers(0, n, size=n),
    "a crowd": lambda rng, n, d: np.r_[rng.random(2 * n // 3), 0.4 + 1e-9 * rng.random(n - 2 * n // 3)],
    "one": lambda rng, n, d: np.ones(1),
}
"""Keys (n,) or (n, 1)."""


def make_positions(scatter, n):
    """`Positions` that are ready for a table, and numbers at keys, beside them, between them and far from all."""
    rng = np.random.default_rng(0)
    keys = np.unique(HARD[scatter](rng, n, 1))
    near = np.quantile(keys, rng.random(n))
    beyond = [-np.inf, -1e307, np.nextafter(keys[0], -np.inf), np.nextafter(keys[-1], np.inf), 1e307, np.inf]
    x = np.concatenate([keys, np.nextafter(keys, np.inf), np.nextafter(keys, -np.inf), near, beyond, [-0.0, 0.0]])
    positions = Positions(keys)
    positions.n_searched = len(keys)
    return positions, x


@pytest.mark.parametrize("scatter", sorted(HARD))
@pytest.mark.parametrize("n", [50, 6000])
@pytest.mark.parametrize("side", ["left", "right"])
def test_positions_are_those_of_searchsorted(scatter, n, side):
    with constants("positions looked up", "sorted"):
        positions, x = make_positions(scatter, n)
        np.testing.assert_array_equal(positions.search(x, side), np.searchsorted(positions.keys, x, side=side))


@pytest.mark.parametrize("scatter", ["normal", "gaps", "heavy", "a crowd", "offset", "ends at 1e300", "outlier"])
def test_most_keys_are_in_a_table(scatter):
    positions, x = make_positions(scatter, 3 * FEW_KEYS)
    near = x[(x > np.quantile(positions.keys, 0.02)) & (x < np.quantile(positions.keys, 0.98))]
    assert (positions.table[positions._steps(near)] >= 0).mean() > 0.6


@pytest.mark.parametrize("scatter", ["cauchy", "clusters", "lattice", "one"])
def test_there_is_no_table_where_it_would_not_pay(scatter):
    assert make_positions(scatter, 3 * FEW_KEYS)[0].table is None
