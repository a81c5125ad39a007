"""An engine and a kernel that are registered here alone have all properties: to add one takes no more."""

import numpy as np
import oracle
import pytest
from engines import is_served_by, make_pooler
from properties import PROPERTIES, properties_of

from sknw import Kernel
from sknw._engines import ENGINES
from sknw._kernels import KERNELS

TOY_KERNEL = Kernel(
    lambda t: 4 * np.log(np.maximum(1 - t, 0.0)),
    log_slope=lambda t: -4 / (1 - t),
    support=1.0,
    coefficients=(1.0, 0.0, -4.0, 0.0, 6.0, 0.0, -4.0, 0.0, 1.0),
    convex=True,
    smooth=True,
)
TOYS = [("toy", kernel) for kernel in (*KERNELS, "toy")] + [(engine, "toy") for engine in ENGINES]


class ToyEngine:
    """An engine that pools by rows of attention."""

    @staticmethod
    def supports(kernel, n_features):
        return True

    def __init__(self, dense):
        self.dense = dense

    def prepare(self, kernel, bandwidth):
        return ToyPooler(self.dense.prepare(kernel, bandwidth))

    def offer(self, kernel, bandwidth, tol):
        return None


class ToyPooler:
    linear, multiples, pull = False, None, None

    def __init__(self, dense):
        self.engine, self.attention, self.slopes = dense.engine, dense.attention, dense.slopes

    def pool(self, queries=None, rows=slice(None), n_jobs=None, tol=0.0):
        attention, log_mass = self.attention(queries, rows, n_jobs)
        shares = attention[:, self.engine.active] / self.engine.weights
        return self.engine.mean(shares @ self.engine.columns), log_mass


@pytest.fixture(autouse=True)
def toys(monkeypatch, small_problems):
    monkeypatch.setitem(ENGINES, "toy", ToyEngine)
    monkeypatch.setitem(KERNELS, "toy", TOY_KERNEL)
    monkeypatch.setitem(oracle.KERNELS, "toy", lambda t: np.log(np.where(t < 1 - oracle.EDGE, (1 - t) ** 4, 0.0)))


@pytest.mark.parametrize(("engine", "kernel"), TOYS)
@pytest.mark.parametrize("seed", range(3))
def test_toys_have_all_properties(engine, kernel, seed):
    for prop in properties_of(engine, kernel):
        prop(engine, kernel, seed)


def test_toys_are_what_is_tested():
    assert properties_of("toy", "toy") == PROPERTIES
    assert is_served_by(make_pooler("toy", np.eye(3), np.eye(3), kernel="toy"), "toy")
    assert all(properties_of(engine, "toy") for engine in ("sorted", "blocks", "dense"))
