"""Slopes of many values along many features, summed up before they are made: what a gradient asks for.

A gradient is a sum of slopes, each times a factor, the pull p_qk on the pooled value k of query q: a vector-Jacobian
product. With the sum over values taken first, there is one column of sums for each feature, where `_slope_sums` has two
for each feature and value:

    sum_k p_qk d pooled_qk / d log h_f = sum_i P_qi (q_f - x_if)² / S_mass,
    P_qi = G(t_i) w_i sum_k p_qk (v_ik - pooled_qk).

Sums over queries and keys need those of P, of P x_f, and of P over queries for x_f². Weights stay in memory until pulls
are known, which depend on pooled values. Rows that `_slope_sums` does not trust get slopes of their own.
"""

import numpy as np

from ..._threads import run_blocks
from .products import is_weak
from .slope_sums import can_sum, growing_weights, is_trusted, make_relative, n_expanded
from .gradient import dense_slopes

MANY_COLUMNS = 150
"""Columns of `_slope_sums` from which on they take longer."""

PULLED_PAIRS, FEWEST_ROWS = 2**17, 16
"""Pairs of queries and keys that are kept at a time; and queries, at least."""

NO_PULL = 1e-16
"""A fraction of the largest pull that is less than rounding."""

LIFT = 300
"""The largest pull is made 2^300: products with the least weights would be denormal, and slow."""


def does_pull(pooler):
    """Whether pulled slopes are faster than slopes."""
    return can_sum(pooler.kernel) and n_expanded(pooler) > MANY_COLUMNS


def pull_slopes(pooler, pulls_of, rows, n_jobs=None, tol=0.0):
    """Pooled values (m, n_values) and log_mass (m,) in leave-one-out, and the sum of slopes times pulls (n_features,).

    `pulls_of(pooled, log_mass, part)` gives the pulls on the pooled values of some of the rows.
    """
    engine, n = pooler.engine, len(pooler.engine.keys)
    step = max(FEWEST_ROWS, PULLED_PAIRS // n)
    pooled, log_mass = np.empty((len(rows), engine.columns.shape[1] - 1)), np.empty(len(rows))
    trusted, gradients = np.empty(len(rows), dtype=bool), np.zeros((-(-len(rows) // step), engine.rows.shape[1]))

    @np.errstate(all="ignore")
    def pull_rows(part):
        block = pooler.block(None, rows[part])
        relative = make_relative(pooler, block, tol) if is_weak(pooler, block, tol) else None
        ((_, _, plain, grown),) = growing_weights(pooler, block, [slice(0, n)], relative)
        sums, growth = plain @ engine.columns, grown @ engine.weights
        pooled[part], log_mass[part] = engine.mean(sums), np.log(sums[:, -1]) + np.log(engine.largest_weight)
        log_mass[part] += 0.0 if relative is None else relative.shift
        growth = growth if pooler.kernel.gaussian else -2 * growth
        trusted[part] = is_trusted(pooler, block, growth, sums[:, -1], tol, relative)
        pulls = pulls_of(pooled[part], log_mass[part], part)
        size = np.where(trusted[part], np.abs(pulls).max(axis=1), 0)
        some = size > NO_PULL * size.max()
        some = slice(None) if some.all() else some
        pulled = _pull(pooler, block.take(some), grown[some], sums[some], pulls[some])
        gradients[part.start // step, pooler.distances.features] = pulled

    run_blocks(pull_rows, len(rows), step, n_jobs)
    others = np.flatnonzero(~trusted)
    if len(others):
        pooled[others], log_mass[others], slopes = dense_slopes(pooler, rows[others], n_jobs, tol)
        pulls = pulls_of(pooled[others], log_mass[others], others)
        gradients[0] += np.einsum("qv,qfv->f", pulls, slopes)
    return pooled, log_mass, gradients.sum(axis=0)


def _pull(pooler, block, grown, sums, pulls):
    """The sum of slopes times pulls, (d,), for queries of which G (b, n), and sums over columns, are known."""
    engine, x, q, shares = pooler.engine, pooler.distances.centred, block.centred, 1 / sums[:, -1]
    pulls = np.ldexp(pulls, engine.exponents)
    lift = LIFT - np.frexp(np.abs(pulls).max(initial=0))[1]
    pulls = np.ldexp(pulls, lift)
    constant = -np.einsum("qv,qv->q", pulls, sums[:, :-1] * shares[:, None])
    grown *= np.column_stack([pulls, constant]) @ engine.columns.T
    gradient = np.einsum("qf,qf,q->f", q, q, grown.sum(axis=1) * shares)
    gradient -= 2 * np.einsum("qf,qf,q->f", q, grown @ x.T, shares)
    gradient += np.einsum("fi,fi,i->f", x, x, shares @ grown)
    return np.ldexp(gradient if pooler.kernel.gaussian else -2 * gradient, -lift)
