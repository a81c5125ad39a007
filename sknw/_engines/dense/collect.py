"""Sums over all keys: a fast pass that is right for nearly every query, and a stable pass for those that it is not.

The few queries that the fast pass may have got wrong are known by their mass, the sum of their weights:

* A kernel without an edge is pooled without a look at the largest weight of a query. Queries whose mass nearly
  underflows are pooled relative to it, from products as far as `tol` allows, see `products`; else they get their exact
  softmax, with exponents log K(t_i) - log K(t_0) relative to the nearest key.
* A compact kernel whose window holds little mass is sensitive to rounding at its edge. Such queries take their
  distances from differences.

The stable pass looks only into those blocks of keys that hold a key near enough to matter.
"""

from functools import partial

import numpy as np

from ..summation import Sums, put
from .mixed import collect_mixed, may_be_mixed
from .pairs import SAFE_NORM
from .products import SAMPLE_QUERIES, collect_by_products, takes_products
from .single import collect_single, may_be_single
from .stable import LOWEST_EXPONENT, TINY_MASS, Nearest, collect_stable, raise_exponents, t_slack


def collect_sums(pairs, tol=0.0):
    """`Sums` for some pairs, to `tol`; where no key has weight, of zero if the keys may lack the nearest ones."""
    reduce = partial(_sum_columns, pairs.keys)
    if may_be_single(pairs, tol):
        found = collect_single(pairs)
    elif may_be_mixed(pairs, tol):
        found = collect_mixed(pairs, tol)
    else:
        return Sums(*_collect(pairs, reduce, tol))
    sums, left = found.as_sums(), ~(found.error <= tol)
    if left.any():
        put(Sums(*_collect(pairs.split(left), reduce, tol)), sums, left)
    return sums


def collect_weights(pairs, by_difference=False):
    """Weights (b, n_keys), kernel times key, up to a factor for each query; log_mass and nearest t (b,) as in `Sums`.

    If asked for, distances are taken from differences even where products are safe.
    """
    reduce = partial(_store_weights, pairs.keys)
    collect = partial(_collect_alike, by_product=False) if by_difference else _collect
    return collect(pairs, reduce, tol=0.0)


def _sum_columns(keys, stream, n_queries):
    """Sums (n_queries, n_columns) from a stream of (queries, block of keys, weights), and the mass (n_queries,)."""
    sums = np.zeros((n_queries, keys.columns.shape[1]))
    for rows, block, weights in stream:
        if block is None:
            sums *= weights
        else:
            sums[rows] += weights @ keys.columns[block]
    return sums, sums[:, -1].copy()


def _store_weights(keys, stream, n_queries):
    """Weights (n_queries, n_keys) from such a stream, and the mass (n_queries,)."""
    products = np.zeros((n_queries, len(keys.weights)))
    for rows, block, weights in stream:
        products[rows, block] = weights * keys.weights[block]
    return products, products.sum(axis=1)


@np.errstate(all="ignore")
def _collect(pairs, reduce, tol):
    """What `reduce` makes of all weights, log_mass (b,), and t (b,) of the nearest keys where no key has weight."""
    by_product = takes_products(pairs, tol)
    if by_product.all() or not by_product.any():
        return _collect_alike(pairs, reduce, by_product=bool(by_product.any()), tol=tol)
    near = _collect_alike(pairs.split(by_product), reduce, by_product=True, tol=tol)
    far = _collect_alike(pairs.split(~by_product), reduce, by_product=False, tol=tol)
    results = [np.empty((len(pairs), *result.shape[1:])) for result in near]
    for result, near_result, far_result in zip(results, near, far, strict=True):
        result[by_product], result[~by_product] = near_result, far_result
    return results


@np.errstate(all="ignore")
def _collect_alike(pairs, reduce, by_product, tol):
    """The same for queries that all take products, or all take differences."""
    nearest, nearest_t = None, np.zeros(len(pairs))
    if by_product and not pairs.kernel.compact:
        result, log_mass = collect_by_products(pairs, reduce, tol)
    else:
        if _is_dense_window(pairs):
            stream = _all_weights(pairs, by_product)
        else:
            nearest = Nearest.empty(pairs)
            stream = _sparse_weights(pairs, nearest, by_product)
        result, mass = reduce(stream, len(pairs))
        log_mass = np.where(mass >= _least_mass(pairs, by_product), np.log(mass), np.nan)
    unresolved = np.flatnonzero(np.isnan(log_mass))
    if len(unresolved):
        unresolved_pairs = pairs.take(unresolved)
        by_product = by_product and pairs.kernel.compact  # near enough for windows
        nearest = Nearest.find(unresolved_pairs, by_product) if nearest is None else nearest.take(unresolved)
        found = collect_stable(unresolved_pairs, nearest, reduce)
        result[unresolved], log_mass[unresolved], nearest_t[unresolved] = found
    return result, log_mass, nearest_t


def _least_mass(pairs, by_product):
    """The mass from which on rounding does no harm."""
    if not pairs.kernel.compact:
        return TINY_MASS
    return (1 + pairs.norms) / SAFE_NORM if by_product and not pairs.kernel.jumps else np.finfo(float).tiny


# The fast pass of compact kernels, and of all where few keys matter to a query.


def _is_dense_window(pairs):
    """Whether most queries, judged by the first few, have a key of the first block near."""
    sample = slice(SAMPLE_QUERIES)
    t = pairs.hide_self(pairs.differences(pairs.blocks[0], sample), pairs.blocks[0], sample)
    return np.mean(_is_near(pairs, t.min(axis=1))) > 0.5


def _all_weights(pairs, by_product):
    """Stream all weights."""
    weigh, rows = _weigh_products if by_product else _weigh_differences, slice(None)
    for block, t in pairs.stream_t(by_product):
        yield rows, block, pairs.retain(weigh(pairs, rows, block, t), block)


def _sparse_weights(pairs, nearest, by_product):
    """Stream the weights of the queries that have a key near, and note the nearest keys of every query."""
    weigh = _weigh_products if by_product else _weigh_differences
    for j, (block, t) in enumerate(pairs.stream_t(by_product)):
        least = nearest.note(j, pairs.hide_self(t, block))
        rows = np.flatnonzero(_is_near(pairs, least))
        if len(rows):
            yield rows, block, pairs.retain(weigh(pairs, rows, block, t[rows]), block, rows)


def _is_near(pairs, t):
    """Whether keys at t may be inside the support, or have a weight that shows in a mass of TINY_MASS."""
    if pairs.kernel.compact:
        return t <= pairs.keys.edge + t_slack(pairs.keys.edge)
    return pairs.kernel.log(t) > LOWEST_EXPONENT / 2


def _weigh_differences(pairs, rows, block, t):
    """Weights from t that is exact to a few units in the last place."""
    if pairs.kernel.form == "gaussian":
        t *= -0.5
        return np.exp(raise_exponents(t), out=t)
    return pairs.kernel(t) if pairs.kernel.compact else pairs.kernel.in_place(t)


def _weigh_products(pairs, rows, block, t):
    """Weights from t with the rounding of a matrix product; differences decide where K jumps at the edge."""
    kernel, edge = pairs.kernel, pairs.keys.edge
    if not kernel.jumps:
        return kernel.in_place(t)
    inside, clearly_inside = t <= edge + t_slack(edge), t <= edge - t_slack(edge)
    weights = kernel.in_place(t)
    if np.count_nonzero(inside) != np.count_nonzero(clearly_inside):
        at_edge = np.flatnonzero((inside != clearly_inside).any(axis=1))
        weights[at_edge] = kernel(pairs.differences(block, np.arange(len(pairs))[rows][at_edge]))
    return weights
