"""An engine and a kernel that are registered here alone have all properties: to add one takes no more."""

import numpy as np
import oracle
import pytest
from engines import is_served_by, make_pooler
from properties import PROPERTIES, properties_of

from sknw import Kernel
from sknw._engines import ENGINES, summation
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


class ToyEngine(summation.Engine):
    """All pairs at once, by the definition."""

    @staticmethod
    def supports(kernel, n_features):
        return True

    def prepare(self, kernel, bandwidth, tol):
        return ToySummation(self.problem, kernel, bandwidth)


class ToySummation(summation.Summation):
    def __init__(self, problem, kernel, bandwidth):
        self.problem, self.kernel, self.bandwidth = problem, kernel, bandwidth

    def accepts(self, n_queries, tol, gradient):
        return not gradient

    def locate(self, points, left_out):
        return summation.Located([points.T], np.arange(len(points))[::-1], 10, left_out)

    @np.errstate(divide="ignore", invalid="ignore")
    def sums(self, queries, tol, derivatives=False):
        """Unresolved where leave-one-out, or rounding, would cost digits."""
        points, removed = queries
        t = np.square((points.T[:, None] - self.problem.keys) / self.bandwidth).sum(axis=2)
        columns = self.kernel(t) @ np.asarray(self.problem.columns)
        if removed is not None:
            columns -= removed.T
        return summation.Sums(columns, np.where(columns[:, -1] > 0.01, np.log(columns[:, -1]), np.nan))


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
