"""How pooled values change with the bandwidth: derivatives by log h_f, and the gradient of a loss, in leave-one-out.

With attention a_i, and u_if the distance along feature f in bandwidths, d log K(t_i) / d log h_f = g(t_i) u_if² where
g = -2 d log K / dt. The pooled value is a mean over a, so its derivative is a covariance under the attention,

    d pooled_k / d log h_f = sum_i a_i (g(t_i) u_if² - mean) (v_ik - pooled_k) = (D_fk - pooled_k D_f,mass) / S_mass.

With x in bandwidths from the centre of the distances, G(t) = -2 dK/dt, and C_ic the columns of the problem,

    S_c = sum_i K(t_i) C_ic,    D_fc = sum_i G(t_i) (q_f - x_if)² C_ic = (q_f² A_0 - 2 q_f A_1f + A_2f)_c

where A_0, A_1f and A_2f are sums of G times C, x_f C and x_f² C: one product of weights and `expanded` columns. G = K
for the Gaussian. The gradient of a loss takes derivatives times cotangents p_qk, summed over queries and values. Where
there are many values and features, the sum over values comes first (a vector-Jacobian product), with one column of sums
for each feature instead of two for each feature and value:

    sum_k p_qk d pooled_qk / d log h_f = sum_i P_qi (q_f - x_if)² / S_mass,
    P_qi = G(t_i) w_i sum_k p_qk (v_ik - pooled_qk).

Error. Let g be the mean of G / K under the attention of a query. Rounding of t, by some eps (1 + |q|²), changes weights
and pooled values by g eps (1 + |q|²) of themselves. The three terms of D_f / S are of the order g (1 + |q|²) for the
keys that matter, so that is what their sum errs by, in units of eps. A derivative is a covariance, and errs by that
times the range of the values. Queries are resolved where max(g, 1) (1 + |q|²) is below a bound: about 1e-12 / eps if t
comes from products, since pooled values have to be as good as elsewhere; 1e-11 / eps if t comes from differences, since
only derivatives suffer then; or what `products` allows for `tol`. Of relative weights, whose own error is known,
g (1 + |q|²) is to be as small. Near the edge of a support g grows beyond any bound, so windows with little mass are not
resolved. Nor is a mass near underflow, or one so small that the least weights, times the largest x², would show. All
these take their derivatives from the attention itself.
"""

import numpy as np

from ..summation import Sums, put
from .collect import collect_sums, collect_weights
from .pairs import slices
from .products import RelativeWeights, gaussian_weights, has_tail, largest_norm, may_be_relative, underflows
from .stable import TINY_MASS, t_slack

DERIVATIVE_PAIRS = 2**16
"""Pairs of queries and keys in a block of weights."""

DERIVATIVE_NUMBERS = 2**19
"""The most sums of a block of queries, and the most expanded columns at a time."""

MANY_COLUMNS = 150
"""Number of expanded columns from which on the vector-Jacobian product is faster."""

VJP_PAIRS, VJP_QUERIES = 2**17, 16
"""Pairs of which weights are kept until cotangents are known; and queries, at least."""

COVARIANCE_PAIRS = 2**18
"""Pairs whose derivatives are taken from the attention together."""

PRODUCT_BOUND = 1e-12 / np.finfo(float).eps
"""max(g, 1) (1 + |q|²) up to which t may come from products."""

DIFFERENCE_BOUND = 1e-11 / np.finfo(float).eps
"""The same where t comes from differences."""

LARGEST_TOL = 1e-9
"""An upper bound on `tol` for products, as derivatives are to be right to 1e-8 of the range."""

LEAST_MASS = 1e-280
"""Times 1 + x², mass to which n weights of exp(-700), the floor of exponents, are nothing."""

LEAST_ATTENTION = 1e-280
"""Far above exp(-700). What is less matters to no derivative: the real weight falls as u² grows."""

NEGLIGIBLE_COTANGENT = 1e-16
"""A fraction of the largest cotangent that is less than rounding."""

LIFT = 300
"""The largest cotangent becomes 2^300: products with the least weights would be denormal, and slow."""


def can_sum(kernel):
    """Whether sums of G are of use for the kernel."""
    return not kernel.jumps


@np.errstate(all="ignore")
def derivative_sums(pairs, tol=0.0):
    """`Sums` for some pairs, with derivatives."""
    if not can_sum(pairs.kernel):
        return _attention_sums(pairs)
    relative = _relative_weights(pairs, tol) if underflows(pairs, tol) else None
    sums, resolved = _expanded_sums(pairs, tol, relative)
    if relative is None and may_be_relative(pairs.kernel, tol):
        light = np.flatnonzero(~(sums.columns[:, -1] >= TINY_MASS))
        if len(light):
            light_pairs = pairs.take(light)
            found, resolved[light] = _expanded_sums(light_pairs, tol, _relative_weights(light_pairs, tol))
            put(found, sums, light)
    unresolved = np.flatnonzero(~resolved)
    if len(unresolved):
        put(_attention_sums(pairs.take(unresolved)), sums, unresolved)
    return sums


def _relative_weights(pairs, tol):
    """Relative weights that are precise enough for derivatives too."""
    return RelativeWeights(pairs, min(tol, LARGEST_TOL))


def _expanded_sums(pairs, tol, relative):
    """`Sums` by expanded columns, of weights as they are or relative ones, and which queries are resolved (b,)."""
    totals = np.ascontiguousarray(_sum_expanded(pairs, relative).T)  # numpy is slow along a last axis that is short
    n_columns, (n_queries, d) = pairs.keys.columns.shape[1], pairs.centred.shape
    is_gaussian = pairs.kernel.form == "gaussian"
    expanded = totals[: n_expanded(pairs)].reshape(-1, n_columns, n_queries)
    if not is_gaussian:
        expanded = -2 * expanded
    q = np.ascontiguousarray(pairs.centred.T)[:, None]
    derivatives = q * expanded[0]
    derivatives -= 2 * expanded[1 : 1 + d]
    derivatives *= q
    derivatives += expanded[1 + d :]
    columns = expanded[0] if is_gaussian else totals[-n_columns:]
    resolved = _are_resolved(pairs, expanded[0, -1], columns[-1], tol, relative)
    log_mass = np.log(columns[-1]) + (0.0 if relative is None else relative.shift)
    sums = Sums(columns.T, log_mass, np.zeros(n_queries), derivatives.transpose(2, 0, 1))
    empty = np.flatnonzero(np.isneginf(log_mass)) if pairs.kernel.compact else []
    if len(empty):
        found = collect_sums(pairs.take(empty))
        put(found._replace(derivatives=sums.derivatives[empty]), sums, empty)
        resolved |= np.isneginf(log_mass)
    return sums, resolved


def _are_resolved(pairs, growth, mass, tol, relative):
    """Which queries (b,) have sums to rely on, by those of G (b,) and of K (b,) times the weights of keys."""
    bound = PRODUCT_BOUND if pairs.kernel.smooth else DIFFERENCE_BOUND
    if has_tail(pairs.kernel):
        bound = max(bound, largest_norm(pairs.raw.shape[1], min(tol, LARGEST_TOL)))
    growth = growth / mass
    resolved = mass >= LEAST_MASS * (1 + pairs.keys.largest_norm)
    if relative is None:
        return resolved & (np.maximum(growth, 1) * (1 + pairs.norms) <= bound)
    return resolved & (growth * (1 + pairs.norms) <= bound) & relative.are_precise()


def n_expanded(pairs):
    """The number of expanded columns."""
    return (1 + 2 * pairs.raw.shape[1]) * pairs.keys.columns.shape[1]


def _n_sums(pairs):
    """The number of sums for each query: of G times expanded columns; then of K times columns, if K is not G."""
    return n_expanded(pairs) + (0 if pairs.kernel.form == "gaussian" else pairs.keys.columns.shape[1])


def _sum_expanded(pairs, relative):
    """Those sums (b, k)."""
    columns, sums = pairs.keys.columns, np.zeros((len(pairs), _n_sums(pairs)))
    step, k = max(1, DERIVATIVE_PAIRS // len(pairs)), n_expanded(pairs)
    for panel in slices(len(pairs.keys.weights), max(1, DERIVATIVE_NUMBERS // k)):
        expanded = _expand(pairs.keys, panel)
        for block, decay, weights, derivatives in _stream(pairs, slices(panel.stop, step, panel.start), relative):
            if decay is not None:
                sums *= decay
            sums[:, :k] += derivatives @ expanded[block.start - panel.start : block.stop - panel.start]
            if derivatives is not weights:
                sums[:, k:] += weights @ columns[block]
    return sums


def _expand(keys, block):
    """[1, x_f, x_f²] times the columns of a block of keys, (n_block, k)."""
    x, columns = keys.centred[:, block][:, None], np.ascontiguousarray(keys.columns[block].T)
    d, n_block = len(x), columns.shape[1]
    expanded = np.empty((1 + 2 * d, *columns.shape))
    expanded[0] = columns
    np.multiply(x, columns, out=expanded[1 : 1 + d])
    np.multiply(x, expanded[1 : 1 + d], out=expanded[1 + d :])
    return np.ascontiguousarray(expanded.reshape(-1, n_block).T)


def _stream(pairs, blocks, relative):
    """Stream (block of keys, decay as of `RelativeWeights`, K, and dK / dt; for the Gaussian G, which is K)."""
    kernel = pairs.kernel
    if relative is not None:
        for block, decay, weights, log_slope in relative.blocks(blocks, log_slopes=True):
            yield block, decay, weights, weights if log_slope is None else _differentiate(log_slope, weights)
    elif kernel.form == "gaussian":
        for block, weights in gaussian_weights(pairs, blocks):
            yield block, None, weights, weights
    else:
        for block, t in pairs.stream_t(kernel.smooth, blocks=blocks):
            if kernel.compact:
                _decide_edge(pairs, block, t)
            log_slope = kernel.log_slope(t)
            weights = pairs.retain(kernel.in_place(t), block)
            yield block, None, weights, _differentiate(log_slope, weights)


def _differentiate(log_slope, weights):
    """dK / dt; zero at t = 0, where u is 0, and at the edge of a support, where K is."""
    derivatives = log_slope * weights
    known = np.isfinite(derivatives)
    if not known.all():
        derivatives[~known] = 0
    return derivatives


def _decide_edge(pairs, block, t):
    """Decide by differences which of the pairs at the edge of the support are inside: G may jump there."""
    edge = pairs.keys.edge
    inside, clearly_inside = t < edge + t_slack(edge), t < edge - t_slack(edge)
    if np.count_nonzero(inside) > np.count_nonzero(clearly_inside):
        i, j = np.nonzero(inside != clearly_inside)
        exact = pairs.to_key(block.start + j, i)
        t[i, j] = np.where(pairs.kernel.inside(exact), exact, 2 * edge)


# From the attention itself: right wherever attention is, and several times slower than pooling.


def _attention_sums(pairs):
    """`Sums` of which the derivatives are the covariances of g u² with the values; with the mass they are zero."""
    columns, n_keys = np.asarray(pairs.keys.columns), len(pairs.keys.weights)
    values, shape = columns[:, :-1] / columns[:, -1:], (len(pairs), pairs.raw.shape[1], columns.shape[1])
    sums = Sums(np.empty((len(pairs), shape[2])), *np.empty((2, len(pairs))), np.zeros(shape))
    for rows in slices(len(pairs), max(1, COVARIANCE_PAIRS // n_keys)):
        block = pairs.take(rows)
        attention, sums.log_mass[rows], sums.nearest_t[rows] = normalised_attention(block)
        means = attention @ values
        sums.columns[rows, :-1], sums.columns[rows, -1] = means, attention.any(axis=1)
        factor = -2 * log_slopes(block, attention, sums.log_mass[rows])
        for f, differences in enumerate(stream_differences(block)):
            growth = factor * np.square(differences)
            growth -= np.einsum("bn,bn->b", attention, growth)[:, None]
            growth *= attention
            sums.derivatives[rows, f, :-1] = growth @ values - means * growth.sum(axis=1, keepdims=True)
    return sums


def normalised_attention(pairs):
    """Attention (b, n_keys) from differences, log_mass and nearest t (b,); of zeros where no key is known."""
    attention, log_mass, nearest_t = collect_weights(pairs, by_difference=True)
    total = attention.sum(axis=1, keepdims=True)
    return np.divide(attention, total, out=attention, where=total > 0), log_mass, nearest_t


def log_slopes(pairs, attention, log_mass):
    """d log K / dt (b, n_keys); zero for pairs that do not matter."""
    t = pairs.differences(slice(0, len(pairs.keys.raw)))
    matters = (attention > LEAST_ATTENTION) & ~np.isneginf(log_mass)[:, None] & (t > 0)
    return np.where(matters, pairs.kernel.log_slope(t), 0.0)


@np.errstate(all="ignore")
def attention_slopes(pairs):
    """Attention weights, and d log K / dt as `log_slopes` has it, both (b, n_keys), and log_mass (b,)."""
    attention, log_mass, _ = normalised_attention(pairs)
    return attention, log_slopes(pairs, attention, log_mass), log_mass


def stream_differences(pairs):
    """Stream q_f - x_if (b, n_keys) in bandwidths, one feature after the other."""
    for query, key, mantissa in zip(pairs.raw.T, pairs.keys.raw.T, pairs.keys.mantissa, strict=True):
        yield np.subtract.outer(query, key) / mantissa


# The vector-Jacobian product.


@np.errstate(all="ignore")
def vjp(pairs, tol, cotangents):
    """The sum of derivatives times cotangents (n_used,), which are as in `Summation.gradient`."""
    if can_sum(pairs.kernel) and n_expanded(pairs) > MANY_COLUMNS:
        step = max(VJP_QUERIES, VJP_PAIRS // len(pairs.keys.weights))
        return sum(_vjp_by_products(pairs, rows, tol, cotangents) for rows in slices(len(pairs), step))
    return _vjp_by_derivatives(pairs, np.arange(len(pairs)), tol, cotangents)


def _vjp_by_derivatives(pairs, rows, tol, cotangents):
    """The same for some queries (p,), from the derivative of each value."""
    gradient = 0.0
    for block in slices(len(rows), max(1, DERIVATIVE_NUMBERS // _n_sums(pairs))):
        sums = derivative_sums(pairs.take(rows[block]), tol)
        gradient = gradient + sums.contract(cotangents(sums, rows[block]))
    return gradient


def _vjp_by_products(pairs, rows, tol, cotangents):
    """The same for a slice of the queries, from weights that are kept until the cotangents are known."""
    slopes, shares, lift, matters, unresolved = pulled_slopes(pairs, rows, tol, cotangents)
    x, q = pairs.keys.centred, pairs.centred[matters]
    gradient = np.einsum("qf,qf,q->f", q, q, slopes.sum(axis=1) * shares)
    gradient -= 2 * np.einsum("qf,qf,q->f", q, slopes @ x.T, shares)
    gradient += np.einsum("fi,fi,i->f", x, x, shares @ slopes)
    return np.ldexp(-2 * gradient, -lift) + _vjp_by_derivatives(pairs, unresolved, tol, cotangents)


def pulled_slopes(pairs, rows, tol, cotangents):
    """The derivatives of a loss by t for a slice of the queries, dL / dt = slopes * shares[:, None] * 2^-lift.

    Returns
    -------
    slopes : (b, n_keys) float ndarray
    shares : (b,) float ndarray
    lift : int
    matters : slice or (b,) int ndarray
        The resolved queries whose cotangents are not negligible.
    unresolved : (p,) int ndarray
        The queries of which `slopes` are not precise enough.
    """
    queries, keys, is_gaussian = pairs.take(rows), pairs.keys, pairs.kernel.form == "gaussian"
    relative = _relative_weights(queries, tol) if underflows(queries, tol) else None
    ((_, _, weights, slopes),) = _stream(queries, [slice(0, len(keys.weights))], relative)
    sums = weights @ keys.columns
    log_mass = np.log(sums[:, -1]) + (0.0 if relative is None else relative.shift)
    growth = sums[:, -1] if is_gaussian else -2 * (slopes @ keys.weights)
    resolved = _are_resolved(queries, growth, sums[:, -1], tol, relative)
    found = cotangents(Sums(sums, log_mass), rows)
    size = np.where(resolved, np.abs(found).max(axis=1), 0)
    matters = size > NEGLIGIBLE_COTANGENT * size.max()
    if not matters.all():
        slopes, sums, found = slopes[matters], sums[matters], found[matters]
    shares, lift = 1 / sums[:, -1], LIFT - np.frexp(np.abs(found).max(initial=0))[1]
    found = np.ldexp(found, lift)
    constant = -np.einsum("qv,qv->q", found, sums[:, :-1] * shares[:, None])
    slopes *= np.column_stack([found, constant]) @ keys.columns.T
    shares *= -0.5 if is_gaussian else 1
    positions = np.arange(rows.start, rows.stop)
    return slopes, shares, lift, rows if matters.all() else positions[matters], positions[~resolved]
