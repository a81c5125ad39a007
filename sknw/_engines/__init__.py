"""Engines: how the sums over keys are done. They know kernels by their facts and nothing of estimators.

An engine works in three stages, and every engine keeps this contract:

`Engine.supports(kernel, n_features)`
    Whether it can do the job.
`Engine(keys, values, weights, kept)`
    What all bandwidths share. `kept` (n,) is the fraction of its own weight that each key keeps as its own
    query in leave-one-out. Keys of weight zero have no attention, but are queries in leave-one-out.
`engine.prepare(kernel, bandwidth) -> pooler`
    What one bandwidth needs. A single query then costs no second preparation.
`pooler.pool(queries=None, rows=slice(None), n_jobs=None, tol=0.0) -> pooled (m, n_values), log_mass (m,)`
    For some rows of the queries, the attention-weighted means of the values, off by at most `tol` times the range
    of each, and log_mass = log sum_i w_i K(t_i). Where log_mass is -inf no key has weight, and pooled is the limit
    of a shrinking Gaussian: the mean of the nearest keys, ties (t <= t_min (1 + 1e-12)) sharing by weight.
    queries=None is leave-one-out on the keys.

`pooler.attention(queries=None, rows=slice(None), n_jobs=None) -> weights (m, n), log_mass (m,)`
    Rows of attention, which are the dense engine's.
"""

from ._blocks import BlocksEngine
from ._dense import DenseEngine
from ._grid import GridEngine
from ._sorted import SortedEngine

ENGINES = {"sorted": SortedEngine, "grid": GridEngine, "blocks": BlocksEngine, "dense": DenseEngine}

FEW_KEYS = 2000
"""Up to here the dense engine is as fast as any, and exact."""


def choose_engine(algorithm, kernel, n_features, n_keys, tol):
    """The name of the engine. "auto" takes the first of these that applies:

    1. "dense", if there are up to 2000 keys, or if `tol` is 0;
    2. "sorted", for the Gaussian and the exponential kernel of one feature;
    3. "dense".

    Raises
    ------
    ValueError
        If the engine asked for cannot do the job.
    """
    able = [name for name, engine in ENGINES.items() if engine.supports(kernel, n_features)]
    if algorithm == "auto":
        return "sorted" if "sorted" in able and n_keys > FEW_KEYS and tol > 0 else "dense"
    if algorithm not in able:
        raise ValueError(
            f"algorithm={algorithm!r} cannot do this kernel with {n_features} features; use 'auto', or one of {able}"
        )
    return algorithm


__all__ = ["ENGINES", "choose_engine"]
