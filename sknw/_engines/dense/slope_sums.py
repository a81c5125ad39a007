"""The sums behind slopes, by matrix products: fast, and right for queries that are neither far off nor isolated.

With x in bandwidths from the centre of the distances, G(t) = -2 dK/dt, and C_ic the columns of the engine,

    S_c = sum_i K(t_i) C_ic,    D_fc = sum_i G(t_i) (q_f - x_if)² C_ic = (q_f² A_0 - 2 q_f A_1f + A_2f)_c

where A_0, A_1f and A_2f are sums of G times C, x_f C and x_f² C: one product of weights and `expanded` columns. G = K
for the Gaussian.

Error: let g be the mean of G / K under the attention of a query. Rounding of t, by some eps (1 + |q|²), changes weights
and pooled values by g eps (1 + |q|²) of themselves. The three terms of D_f / S are of the order g (1 + |q|²) for the
keys that matter, so that is what their sum errs by, in units of eps. A slope is a covariance, and errs by that times
the range of the values. Rows are trusted where max(g, 1) (1 + |q|²) is below a bound: about 1e-12 / eps if t comes
from products, since pooled values have to be as good as elsewhere; 1e-11 / eps if t comes from differences, since only
slopes suffer then; or what `_products` allows for `tol`. Of relative weights, whose own error is known, g (1 + |q|²) is
to be as small. Near the edge of a support g grows beyond any bound, so windows with little mass are not trusted. Nor is
a mass near underflow, or one so small that the least weights, times the largest x², would show.
"""

import numpy as np

from ..._threads import run_blocks
from .stable import slack
from .products import RelativeWeights, gaussian_weights, has_tail, is_weak, largest_norm

SIDE = 256
"""Queries, and keys, in a block of weights that serves both ways: small enough for products without packing."""

MOST_ROWS = 512
"""The most queries in a block of weights that serves one way."""

BLOCK_NUMBERS = 2**19
"""The most sums of a block of queries, and the most expanded columns at a time."""

MOST_STRIPES = 8
"""Sums of all pairs are done in as many stripes, however many threads there are."""

STRIPE_NUMBERS = 2**22
"""Numbers in the sums of all stripes: 32 MiB."""

PRODUCT_BOUND = 1e-12 / np.finfo(float).eps
"""max(g, 1) (1 + |q|²) up to which t may come from products."""

DIFFERENCE_BOUND = 1e-11 / np.finfo(float).eps
"""The same where t comes from differences."""

LARGEST_TOL = 1e-9
"""`tol` for products, at most: slopes are to be right to 1e-8 of the range."""

LEAST_MASS = 1e-280
"""Times 1 + x², mass to which n weights of exp(-700), the floor of exponents, are nothing."""


def can_sum(kernel):
    """Whether these sums know the kernel."""
    return not kernel.jumps


def can_sum_all_pairs(pooler, rows, tol):
    """Whether `rows` are all keys, each in its place, few enough to be summed for all at once, and have some mass."""
    n = len(pooler.engine.keys)
    good_size = n > 2 * SIDE and n * _n_sums(pooler) <= STRIPE_NUMBERS // 2
    all_keys = good_size and len(rows) == n == len(pooler.engine.rows) and np.array_equal(rows, np.arange(n))
    return all_keys and can_sum(pooler.kernel) and not is_weak(pooler, pooler.block(None, rows), tol)


def n_expanded(pooler):
    """The number of expanded columns."""
    return (1 + 2 * pooler.distances.raw.shape[1]) * pooler.engine.columns.shape[1]


def _n_sums(pooler):
    """The number of sums for each query: of G times expanded columns; then of K times columns, if K is not G."""
    return n_expanded(pooler) + (0 if pooler.kernel.gaussian else pooler.engine.columns.shape[1])


def block_rows(pooler, n_rows):
    """The number of queries in a block."""
    return max(1, min(n_rows, MOST_ROWS, BLOCK_NUMBERS // _n_sums(pooler)))


@np.errstate(all="ignore")
def sum_block(pooler, block, relative=None):
    """The sums (b, k) for a block of queries; of `RelativeWeights` if they are given."""
    n, sums = len(pooler.engine.weights), np.zeros((block.n_rows, _n_sums(pooler)))
    step = max(1, SIDE * SIDE // block.n_rows)
    for panel in _slices(0, n, max(1, BLOCK_NUMBERS // n_expanded(pooler))):
        expanded = _expand(pooler, panel)
        key_blocks = _slices(panel.start, panel.stop, step)
        for keys, decay, plain, grown in growing_weights(pooler, block, key_blocks, relative):
            if decay is not None:
                sums *= decay
            here = slice(keys.start - panel.start, keys.stop - panel.start)
            _add(sums, plain, grown, pooler.engine.columns[keys], expanded[here])
    return sums


def sum_all_pairs(pooler, n_jobs):
    """The sums (n, k) of all keys as queries, in leave-one-out: a block of weights serves both ways."""
    n, columns = len(pooler.engine.keys), pooler.engine.columns
    expanded, slices = _expand(pooler, slice(None)), _slices(0, n, SIDE)
    stripes = np.zeros((min(MOST_STRIPES, STRIPE_NUMBERS // (n * _n_sums(pooler))), n, _n_sums(pooler)))

    @np.errstate(all="ignore")
    def add_stripe(part):
        sums = stripes[part.start]
        for i in range(part.start, len(slices), len(stripes)):
            rows = slices[i]
            block = pooler.block(None, np.arange(rows.start, rows.stop))
            for keys, _, plain, grown in growing_weights(pooler, block, slices[i:]):
                _add(sums[rows], plain, grown, columns[keys], expanded[keys])
                if keys != rows:
                    _add(sums[keys], plain.T, grown.T, columns[rows], expanded[rows])

    run_blocks(add_stripe, len(stripes), 1, n_jobs)
    for stripe in stripes[1:]:
        stripes[0] += stripe
    return stripes[0]


@np.errstate(all="ignore")
def to_moments(pooler, block, sums, tol, relative=None):
    """Moments (b, (d + 1) n_columns) of a block, D_f for each feature and then S; and which rows to trust (b,)."""
    n_columns, kernel, d = pooler.engine.columns.shape[1], pooler.kernel, block.centred.shape[1]
    sums = np.ascontiguousarray(sums.T)  # numpy is slow along a last axis that is short
    grown = sums[: n_expanded(pooler)].reshape(-1, n_columns, block.n_rows)
    if not kernel.gaussian:
        grown = -2 * grown
    q = np.ascontiguousarray(block.centred.T)[:, None]
    moments = np.empty((d + 1, n_columns, block.n_rows))
    changes = np.multiply(q, grown[0], out=moments[:d])
    changes -= 2 * grown[1 : 1 + d]
    changes *= q
    changes += grown[1 + d :]
    moments[d] = grown[0] if kernel.gaussian else sums[-n_columns:]
    return moments.reshape(-1, block.n_rows).T, is_trusted(pooler, block, grown[0, -1], moments[d, -1], tol, relative)


def is_trusted(pooler, block, growth, mass, tol, relative=None):
    """Which rows of a block (b,) have sums to trust, by those of G (b,) and of K (b,) times the weights of keys."""
    bound = PRODUCT_BOUND if pooler.kernel.smooth else DIFFERENCE_BOUND
    if has_tail(pooler.kernel):
        bound = max(bound, largest_norm(pooler, min(tol, LARGEST_TOL)))
    growth = growth / mass
    trusted = mass >= LEAST_MASS * (1 + pooler.distances.largest_norm)
    if relative is None:
        return trusted & (np.maximum(growth, 1) * (1 + block.norms) <= bound)
    return trusted & (growth * (1 + block.norms) <= bound) & relative.are_precise()


def make_relative(pooler, block, tol):
    """Relative weights for a block, precise enough for slopes too."""
    return RelativeWeights(pooler, block, min(tol, LARGEST_TOL))


def _slices(start, stop, step):
    return [slice(first, min(first + step, stop)) for first in range(start, stop, step)]


def _expand(pooler, keys):
    """[1, x_f, x_f²] times the columns of some keys, (n_keys, k)."""
    x, columns = pooler.distances.centred[:, keys][:, None], np.ascontiguousarray(pooler.engine.columns[keys].T)
    d, n_keys = len(x), columns.shape[1]
    expanded = np.empty((1 + 2 * d, *columns.shape))
    expanded[0] = columns
    np.multiply(x, columns, out=expanded[1 : 1 + d])
    np.multiply(x, expanded[1 : 1 + d], out=expanded[1 + d :])
    return np.ascontiguousarray(expanded.reshape(-1, n_keys).T)


def _add(sums, plain, grown, columns, expanded):
    n_expanded = expanded.shape[1]
    sums[:, :n_expanded] += grown @ expanded
    if sums.shape[1] > n_expanded:
        sums[:, n_expanded:] += plain @ columns


def growing_weights(pooler, block, key_blocks, relative=None):
    """Stream (block of keys, decay, K, G), own keys reduced to what they keep; G is without its factor of -2.

    `relative` are RelativeWeights that take the place of K; decay is theirs, else None.
    """
    kernel = pooler.kernel
    if relative is not None:
        for keys, decay, weights, slope in relative.blocks(key_blocks, slopes=True):
            yield keys, decay, weights, weights if kernel.gaussian else _grow(slope, weights)
    elif kernel.gaussian:
        for keys, weights in gaussian_weights(pooler, block, key_blocks):
            yield keys, None, weights, weights
    else:
        for keys, t in pooler.distance_blocks(block, key_blocks, by_product=kernel.smooth):
            if kernel.compact:
                _settle_edge(pooler, block, keys, t)
            slope = kernel.log_slope(t)
            plain = pooler.leave_out(block, slice(None), keys, kernel.plain(t))
            yield keys, None, plain, _grow(slope, plain)


def _grow(slope, weights):
    """d K / dt; zero at t = 0, where u is 0, and at the edge of a support, where K is."""
    grown = slope * weights
    known = np.isfinite(grown)
    if not known.all():
        grown[~known] = 0
    return grown


def _settle_edge(pooler, block, keys, t):
    """Decide by differences which of the pairs at the edge of the support are inside: G may jump there."""
    edge = pooler.edge
    inside, surely = t < edge + slack(edge), t < edge - slack(edge)
    if np.count_nonzero(inside) > np.count_nonzero(surely):
        i, j = np.nonzero(inside != surely)
        exact = pooler.distances.to_key(block.raw[i], keys.start + j)
        t[i, j] = np.where(pooler.kernel.inside(exact), exact, 2 * edge)
