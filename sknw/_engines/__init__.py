"""Engines: how the sums over keys are done. They know kernels by their facts and nothing of estimators.

An engine works in three stages, and every engine keeps this contract:

`Engine.supports(kernel, n_features)`
    Whether it can do the job.
`Engine(keys, values, weights, kept)`
    What all bandwidths share. `kept` (n,) is the fraction of its own weight that each key keeps as its own
    query in leave-one-out. Keys of weight zero have no attention, but are queries in leave-one-out.
`engine.prepare(kernel, bandwidth) -> pooler`
    What one bandwidth needs. A single query then costs no second preparation.
`pooler.pool(queries=None, n_jobs=None) -> pooled (m, n_values), log_mass (m,)`
    The attention-weighted means of the values, and log_mass = log sum_i w_i K(t_i). Where log_mass is -inf no
    key has weight, and pooled is the limit of a shrinking Gaussian: the mean of the nearest keys, ties
    (t <= t_min (1 + 1e-12)) sharing by weight. queries=None is leave-one-out on the keys.

The dense engine alone also gives rows of attention.
"""

from ._dense import DenseEngine

ENGINES = {"dense": DenseEngine}


def choose_engine(algorithm, kernel, n_features):
    """The name of the engine: the one asked for, or for "auto" the first in `ENGINES` that can do the job."""
    if algorithm != "auto":
        return algorithm
    return next(name for name, engine in ENGINES.items() if engine.supports(kernel, n_features))


__all__ = ["ENGINES", "choose_engine"]
