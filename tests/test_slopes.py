"""The derivatives of pooled values by log-bandwidths equal finite differences."""

import numpy as np
import pytest

from sknw._engines import ENGINES, make_engines
from sknw._kernels import KERNELS
from sknw._weights import kept_fraction

SMOOTH = [name for name, kernel in KERNELS.items() if kernel.log_slope is not None]
PAIRS = [(e, k) for e in ENGINES for k in SMOOTH if any(ENGINES[e].supports(KERNELS[k], d) for d in (1, 2))]
every_engine_and_kernel = pytest.mark.parametrize(("engine", "kernel"), PAIRS)
WEIGHTS = {
    "none": lambda rng, n: np.ones(n),
    "counts": lambda rng, n: np.r_[1.0, rng.integers(0, 4, size=n - 1)],
    "importances": lambda rng, n: np.r_[0.5, rng.random(n - 1) * (rng.random(n - 1) < 0.8)],
}


def has_key_at_edge(keys, bandwidth, kernel):
    """The queries (n,) of which a key is so near the edge of the support that differences see its kink."""
    u = np.sqrt(np.square((keys[:, None] - keys) / bandwidth).sum(axis=-1))
    return (np.abs(u - kernel.support) < 1e-3).any(axis=1)


def problem(engine, kernel, weighting, n=60, seed=0):
    rng = np.random.default_rng(seed)
    d = next(d for d in (3, 1, 2) if ENGINES[engine].supports(KERNELS[kernel], d))
    weights = WEIGHTS[weighting](rng, n)
    made = make_engines(rng.normal(size=(n, d)), rng.normal(size=(n, 2)), weights, kept_fraction(weights))
    return made[engine], np.array([0.8, 1.5, 2.5])[:d] * (2.5 if KERNELS[kernel].compact else 1)


@pytest.mark.parametrize("weighting", WEIGHTS)
@every_engine_and_kernel
def test_slopes_are_finite_differences(engine, kernel, weighting):
    made, bandwidth = problem(engine, kernel, weighting)
    kernel = KERNELS[kernel]
    pooled, log_mass, slopes = made.prepare(kernel, bandwidth).slopes(tol=1e-12)
    expected, expected_mass = made.prepare(kernel, bandwidth).pool(tol=1e-12)
    np.testing.assert_allclose(pooled, expected, atol=1e-11)
    np.testing.assert_allclose(log_mass, expected_mass, rtol=1e-11)
    smooth, step = ~has_key_at_edge(made.dense.rows if hasattr(made, "dense") else made.rows, bandwidth, kernel), 1e-4
    assert smooth.mean() > 0.5
    for f in range(len(bandwidth)):
        up, down = (
            made.prepare(kernel, np.where(np.arange(len(bandwidth)) == f, bandwidth * np.exp(s), bandwidth)).pool(
                tol=1e-13
            )[0]
            for s in (step, -step)
        )
        np.testing.assert_allclose(slopes[smooth, f], ((up - down) / (2 * step))[smooth], atol=1e-6)
