"""Engines: how the sums over keys are done. They know kernels by their facts and nothing of estimators.

An engine works in three stages, and every engine keeps this contract:

`Engine.supports(kernel, n_features)`
    Whether it can do the job.
`Engine(dense)`
    What all bandwidths share, from a `DenseEngine(keys, values, weights, kept)`. `kept` (n,) is the fraction of its
    own weight that each key keeps as its own query in leave-one-out. Keys of weight zero have no attention, but are
    queries in leave-one-out.
`engine.prepare(kernel, bandwidth) -> pooler`
    What one bandwidth needs. A single query then costs no second preparation.
`engine.offer(kernel, bandwidth, tol) -> pooler or None`
    The same, if the engine expects to be faster than the dense one for as many queries as keys.
`pooler.linear`
    Whether the cost of pooling all keys grows with their number, and not with its square.
`pooler.pool(queries=None, rows=slice(None), n_jobs=None, tol=0.0) -> pooled (m, n_values), log_mass (m,)`
    For some rows of the queries, the attention-weighted means of the values, off by at most `tol` times the range
    of each, and log_mass = log sum_i w_i K(t_i). Where log_mass is -inf no key has weight, and pooled is the limit
    of a shrinking Gaussian: the mean of the nearest keys, ties (t <= t_min (1 + 1e-12)) sharing by weight.
    queries=None is leave-one-out on the keys.
`pooler.slopes(rows=slice(None), n_jobs=None, tol=0.0) -> pooled (m, n_values), log_mass (m,), slopes`
    Leave-one-out for some rows, and slopes (m, n_features, n_values), the derivatives of `pooled` by log h_f: zero
    where h_f is inf, and where log_mass is -inf; right to about 1e-8 of the range of a value. For kernels with a
    `log_slope`.
`pooler.pull(pulls_of, rows, n_jobs=None, tol=0.0) -> pooled (m, n_values), log_mass (m,), (n_features,)`
    Leave-one-out for some rows, and the sum over rows and values of slopes times `pulls_of(pooled, log_mass, part)`,
    which is asked for parts of the rows. None where it would save no time.
`pooler.multiples(octaves, rows=slice(None), n_jobs=None) -> iterator`
    Leave-one-out for some rows with 2^octave times the bandwidth: yields `pooled`, off by at most 1e-6 of the range of
    each value, and log_mass, for one of the octaves (k,) after the other. None where it would save no time.
`pooler.attention(queries=None, rows=slice(None), n_jobs=None) -> weights (m, n), log_mass (m,)`
    Rows of attention, which are the dense engine's.
"""

from .blocks.engine import BlocksEngine
from .dense.engine import DenseEngine
from .grid.engine import GridEngine
from .sorted.engine import SortedEngine

ENGINES = {"sorted": SortedEngine, "grid": GridEngine, "blocks": BlocksEngine, "dense": DenseEngine}

FEW_KEYS = 800
"""Up to here the dense engine is as fast as any, and exact."""


def check_algorithm(algorithm, kernel, n_features):
    """Refuse an engine that cannot do the job.

    Raises
    ------
    ValueError
        Naming those that can.
    """
    able = [name for name, engine in ENGINES.items() if engine.supports(kernel, n_features)]
    if algorithm not in ("auto", *able):
        raise ValueError(
            f"algorithm={algorithm!r} cannot do this kernel with {n_features} features; use 'auto', or one of {able}"
        )


def make_engines(keys, values, weights, kept):
    """All engines for one problem, by name; they do their work when it is first wanted."""
    dense = DenseEngine(keys, values, weights, kept)
    return {name: dense if engine is DenseEngine else engine(dense) for name, engine in ENGINES.items()}


def prepare(algorithm, engines, kernel, bandwidth, tol):
    """The name of one of the engines that `make_engines` made, and its pooler.

    "auto" takes the first of these that applies:

    1. "dense", if there are up to 800 keys, or if `tol` is 0;
    2. "sorted", for one feature, if the kernel has a short cut (all named ones but cauchy and constant);
    3. "grid", from 2501 keys on, for the Gaussian of two features, if its cells hold keys enough;
    4. "blocks", from 4001 keys on, if far less than all pairs of a query and a key matter at `tol`, judged by some of
       the keys as queries;
    5. "dense".
    """
    keys = engines["dense"].rows
    if algorithm == "auto" and (len(keys) <= FEW_KEYS or tol == 0):
        algorithm = "dense"
    if algorithm != "auto":
        return algorithm, engines[algorithm].prepare(kernel, bandwidth)
    for name, engine in engines.items():
        if engine.supports(kernel, keys.shape[1]):
            pooler = engine.offer(kernel, bandwidth, tol)
            if pooler is not None:
                return name, pooler
    raise AssertionError("the dense engine always offers")


__all__ = ["ENGINES", "check_algorithm", "make_engines", "prepare"]
