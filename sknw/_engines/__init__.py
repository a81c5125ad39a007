"""Engines: how the sums over keys are done. They know kernels by their facts and nothing of estimators.

`summation` has the contract that every engine keeps, `pooler` all that is common to them, and `ENGINES` their list.
"""

from functools import cached_property

from .._problem import DistanceProblem
from .average import AverageEngine, is_flat
from .blocks.engine import BlocksEngine
from .dense.engine import DenseEngine
from .grid.engine import GridEngine
from .neighbors import Neighbors, Widths, unit_bandwidth
from .pooler import Pooler
from .sorted.engine import SortedEngine

ENGINES = {"sorted": SortedEngine, "grid": GridEngine, "blocks": BlocksEngine, "dense": DenseEngine}
"""In the order in which "auto" asks them."""

FEW_ROWS = 800
"""Up to here the dense engine is as fast as any, and exact."""

FALLBACK = ("blocks", "dense")
"""What an engine leaves unresolved, or cannot do at all, goes to those of these that come after it."""


def check_algorithm(algorithm, kernel, n_features, n_neighbors=None):
    """Refuse an engine that cannot do the job.

    Raises
    ------
    ValueError
        Naming those that can.
    """
    able = [name for name, engine in ENGINES.items() if engine.supports(kernel, n_features)]
    job = f"this kernel in {n_features} dimension{'s' if n_features > 1 else ''}"
    if n_neighbors is not None:
        able = [name for name in able if ENGINES[name].takes_scales]
        job += f" and n_neighbors={n_neighbors!r}"
    if algorithm != "auto" and algorithm not in able:
        raise ValueError(f"algorithm={algorithm!r} does not support {job}; use 'auto', or one of {able}")


class Poolers:
    """The engines of one problem with one kernel: called with a bandwidth, they make its `Pooler`.

    The width of a query can follow the distance to its k-th neighbour, see `neighbors`.

    Parameters
    ----------
    problem : Problem
    algorithm : str
        The name of an engine that supports the kernel, or "auto".
    kernel : Kernel
    tol : float
        What errors of means are allowed to be, as a fraction of the range of the values.
    """

    def __init__(self, problem, algorithm, kernel, tol):
        self.problem, self.algorithm, self.kernel, self.tol = problem, algorithm, kernel, tol
        self.average, self.engines, self.neighbors = AverageEngine(problem), {}, {}
        self.candidates = self._fastest_first() if algorithm == "auto" else self._chain(algorithm)

    def __call__(self, bandwidth, n_neighbors=None):
        """The pooler of a bandwidth vector (n_features,), and a number of neighbours or None, by the first engine that
        takes it.

        Where all keys weigh the same that is average pooling, which counts as "dense". Else it is the engine that was
        asked for, or one of its fallback. "auto" takes the first of these that applies:

        1. "dense", if there are up to 800 training points, if `tol` is 0, or if only distances are known;
        2. "sorted", for one feature, if the kernel has a short cut (all named ones but cauchy and constant);
        3. "grid", from 2501 keys on, for the Gaussian of two or three features, if its cells hold keys enough, and, of
           three, if as many queries as keys take it less time than the pairs that "blocks" looks at;
        4. "blocks", from 4001 keys on, if far less than all pairs of a query and a key matter at `tol`, judged by some
           of the keys as queries;
        5. "dense".

        With `n_neighbors`, "sorted" and "grid" do not apply.
        """
        if n_neighbors is None or is_flat(self.kernel, bandwidth):
            return self.with_widths(bandwidth)
        bandwidth = unit_bandwidth(self.problem, bandwidth)
        return self.with_widths(bandwidth, Widths(self._neighbors(bandwidth), n_neighbors))

    def with_widths(self, bandwidth, widths=None):
        """The same, for queries with `Widths` in units of the bandwidth, or None."""
        average = self.average.prepare(self.kernel, bandwidth, self.tol)
        if average is not None:
            return self._pooler("dense", [self.average, self._engine("dense")], average, bandwidth)
        for name in self.candidates:
            if widths is not None and not ENGINES[name].takes_scales:
                continue
            widths_or_none = () if widths is None else (widths,)
            summation = self._engine(name).prepare(self.kernel, bandwidth, self.tol, *widths_or_none)
            if summation is not None:
                chain = [self._engine(other) for other in self._chain(name)]
                return self._pooler(name, chain, summation, bandwidth, widths)
        raise AssertionError("the dense engine takes everything")

    @cached_property
    def condensed(self):
        """The same for distinct keys, by the parameter `algorithm`; None if these are not far fewer."""
        problem = self.problem.condensed
        return None if problem is None else self.derive(problem)

    def derive(self, problem, kernel=None, algorithm=None):
        """The same for another problem, kernel, or algorithm; one that does not support the kernel is left out."""
        return Poolers(problem, algorithm or self.algorithm, kernel or self.kernel, self.tol)

    def with_tol(self, tol):
        """The same for another `tol`, with the same engines."""
        poolers = Poolers(self.problem, self.algorithm, self.kernel, tol)
        poolers.average, poolers.engines, poolers.neighbors = self.average, self.engines, self.neighbors
        return poolers

    def _pooler(self, name, chain, first, bandwidth, widths=None):
        return Pooler(self.problem, chain, first, name, self.kernel, bandwidth, self.tol, at=self, widths=widths)

    def _neighbors(self, bandwidth):
        """The `Neighbors` of a bandwidth, of which those of the last one are kept."""
        key = bandwidth.tobytes()
        if key not in self.neighbors:
            self.neighbors = {key: Neighbors(self.problem, self.kernel, bandwidth)}
        return self.neighbors[key]

    def _chain(self, name):
        """The names of an engine and of its fallback, as far as these support the kernel."""
        after = FALLBACK[FALLBACK.index(name) + 1 :] if name in FALLBACK else FALLBACK
        return [other for other in (name, *after) if self._supports(other)]

    def _fastest_first(self):
        """The names of the engines that may be faster than the dense one, and of that."""
        if self.tol == 0 or len(self.problem.rows) <= FEW_ROWS or isinstance(self.problem, DistanceProblem):
            return ["dense"]
        n_keys = len(self.problem.keys)
        return [name for name in ENGINES if self._supports(name) and n_keys >= ENGINES[name].fewest_keys]

    def _supports(self, name):
        return ENGINES[name].supports(self.kernel, self.problem.rows.shape[1])

    def _engine(self, name):
        """The engine of a name, made once."""
        if name not in self.engines:
            self.engines[name] = ENGINES[name](self.problem)
        return self.engines[name]


__all__ = ["ENGINES", "Poolers", "check_algorithm"]
