"""The dense engine: every (query, key) pair, any kernel, any number of features, in blocks.

A fast pass over all pairs is right for nearly every query. The few that it may have got wrong are known by
their mass, the sum of their weights, and are done again with more care:

* A kernel without an edge is pooled without a look at the largest weight of a row. Rows whose mass nearly underflows
  are pooled relative to it, from products as far as `tol` allows, see `_products`; else they get their exact softmax,
  with exponents log K(t_i) - log K(t_0) relative to the nearest key.
* A compact kernel whose window holds little mass is sensitive to rounding at its edge. Such rows take their
  distances from differences.

The second pass looks only into those blocks of keys that hold a key near enough to matter.
"""

from copy import copy
from functools import cached_property, partial

import numpy as np

from ..._one_hot import OneHot, OneHotColumns
from ..._threads import run_blocks
from ..._weights import scale_values
from ..average import AveragePooler, is_flat
from .stable import LOWEST_EXPONENT, TINY_MASS, collect_nearby, raise_exponents, slack, survey
from .distances import SAFE_NORM, Distances, extent_of
from .sweep import pool_multiples
from ..blocks.nearest import Nearest
from .products import collect_by_products, takes_products
from .pulled_slopes import does_pull, pull_slopes
from .gradient import dense_slopes

BLOCK_PAIRS = 512 * 256
"""Pairs in a block: a MiB of weights, which stays in the cache of a core."""

MIN_KEY_ROWS = 256
"""The fewest keys in a block, where there are as many."""

MAX_KEY_BLOCKS = 1024
"""The largest number of blocks that the keys are cut into."""


FEW_CLASSES = 16
"""Classes up to which products with an array of columns are as fast as with labels."""


class DenseEngine:
    """Keys of positive weight, and their values moved to [0, 2]: sums neither cancel nor overflow."""

    @staticmethod
    def supports(kernel, n_features):
        """Every kernel, any number of features."""
        return True

    def __init__(self, keys, values, weights, kept):
        self.rows, self.kept = keys, kept
        self.active = np.flatnonzero(weights)
        if len(self.active) < len(keys):
            keys, weights = keys[self.active], weights[self.active]
            values = values.take(self.active, axis=0)
        self.keys, self.largest_weight = keys, weights.max()
        self.weights = weights / self.largest_weight
        self.exponents, self.lowest, self.columns = _make_columns(values, self.weights)

    @cached_property
    def extent(self):
        """What distances need to know of the keys, whatever the bandwidth."""
        return extent_of(self.keys)

    @cached_property
    def own(self):
        """The position of each row (n_rows,) among the keys, -1 without weight."""
        own = np.full(len(self.rows), -1)
        own[self.active] = np.arange(len(self.active))
        return own

    @cached_property
    def gone(self):
        """What goes with each row in leave-one-out, (n_rows, n_columns)."""
        gone, share = self.columns.take(self.own, axis=0), np.where(self.own >= 0, 1 - self.kept, 0.0)
        if isinstance(gone, OneHotColumns):
            return gone.scaled(share)
        gone *= share[:, None]
        return gone

    def prepare(self, kernel, bandwidth):
        """A pooler for one kernel and one bandwidth vector (n_features,)."""
        pooler = DensePooler(self, kernel, Distances(self.keys, self.extent, bandwidth))
        return AveragePooler(pooler) if is_flat(kernel, bandwidth) else pooler

    def offer(self, kernel, bandwidth, tol):
        """A pooler, always."""
        return self.prepare(kernel, bandwidth)

    def among(self, columns):
        """The same engine with other keys, given by their rows of `columns` alone: enough to collect weights."""
        few = copy(self)
        few.columns, few.weights = columns, columns.T[-1]
        return few

    def mean(self, sums):
        """Means of the values (b, n_values) from sums of `columns` (b, n_values + 1)."""
        return np.ldexp(sums[:, :-1] / sums[:, -1:] + self.lowest, self.exponents)


def _make_columns(values, weights):
    """Exponents (n_values,), lowest values (n_values,) and columns of values as `DenseEngine` has them."""
    if isinstance(values, OneHot):
        columns = OneHotColumns(values.labels, weights, values.shape[1])
        return 0, 0.0, columns if values.shape[1] > FEW_CLASSES else np.asarray(columns)
    scaled, exponents = scale_values(values)
    lowest = scaled.min(axis=0)
    return exponents, lowest, np.column_stack([(scaled - lowest) * weights[:, None], weights])


def _width(keys):
    return len(range(keys.start, keys.stop, keys.step or 1))


class DensePooler:
    """The engine's keys with one kernel and their distances in bandwidths, ready for queries."""

    linear = False

    def __init__(self, engine, kernel, distances, has_nearest=True):
        self.engine, self.kernel, self.distances, self.has_nearest = engine, kernel, distances, has_nearest
        self.even = kernel.gaussian or (bool(kernel.coefficients) and not any(kernel.coefficients[1::2]))
        self.edge = kernel.support**2

    def pool(self, queries=None, rows=slice(None), n_jobs=None, tol=0.0):
        """Pooled values (m, n_values) and log_mass (m,), as every engine gives them, to `tol`."""
        rows = np.arange(len(self.engine.rows if queries is None else queries))[rows]
        pooled = np.empty((len(rows), self.engine.columns.shape[1] - 1))
        log_mass = np.empty(len(rows))

        def pool_rows(part):
            sums, log_mass[part] = self.collect_sums(self.block(queries, rows[part]), tol)
            pooled[part] = self.engine.mean(sums)

        run_blocks(pool_rows, len(rows), self._block_rows(len(rows)), n_jobs)
        return pooled, log_mass

    def attention(self, queries=None, rows=slice(None), n_jobs=None):
        """Attention weights (m, n) and log_mass (m,) for some rows of the queries; None leaves one out."""
        rows = np.arange(len(self.engine.rows if queries is None else queries))[rows]
        attention = np.zeros((len(rows), len(self.engine.rows)))
        log_mass = np.empty(len(rows))

        def attend(part):
            weights, log_mass[part] = self.collect_products(self.block(queries, rows[part]))
            attention[part, self.engine.active] = weights / weights.sum(axis=1, keepdims=True)

        block_rows = min(self._block_rows(len(rows)), max(1, 2**20 // len(self.engine.weights)))
        run_blocks(attend, len(rows), block_rows, n_jobs)
        return attention, log_mass

    def slopes(self, rows=slice(None), n_jobs=None, tol=0.0):
        """Pooled values, log_mass and slopes in leave-one-out, as every engine gives them."""
        return dense_slopes(self, np.arange(len(self.engine.rows))[rows], n_jobs, tol)

    @property
    def pull(self):
        """A function that sums up slopes, as every engine gives it, or None."""
        return partial(pull_slopes, self) if does_pull(self) else None

    def multiples(self, octaves, rows=slice(None), n_jobs=None):
        """Leave-one-out for multiples of the bandwidth, as every engine that has them gives them."""
        return pool_multiples(self, octaves, np.arange(len(self.engine.rows))[rows], n_jobs)

    # Blocks of queries and of keys.

    def _least_key_rows(self):
        return max(MIN_KEY_ROWS, -(-len(self.engine.weights) // MAX_KEY_BLOCKS))

    def _block_rows(self, n_rows):
        return max(1, min(n_rows, BLOCK_PAIRS // self._least_key_rows()))

    def _key_blocks(self, n_rows):
        n, step = len(self.engine.weights), max(self._least_key_rows(), BLOCK_PAIRS // n_rows)
        return [slice(start, min(start + step, n)) for start in range(0, n, step)]

    def block(self, queries, rows):
        """A block of some rows of the queries; None leaves one out."""
        if queries is not None:
            return self.distances.block(self.distances.to_raw(queries[rows]))
        own, kept = self.engine.own[rows], self.engine.kept[rows]
        if own.min(initial=0) >= 0:
            return self.distances.own_block(own, kept)
        return self.distances.block(self.distances.to_raw(self.engine.rows[rows]), own, kept)

    def among(self, raw, columns, centre, has_nearest):
        """A pooler of some keys, given as in `Distances.raw` and `DenseEngine.columns`, around another centre.

        `has_nearest` says whether the nearest keys of all queries are there, which matter where none has weight.
        """
        return DensePooler(self.engine.among(columns), self.kernel, self.distances.among(raw, centre), has_nearest)

    def collect_sums(self, block, tol=0.0):
        """Weighted sums of the columns (b, n_values + 1) for a block of queries, and log_mass (b,), to `tol`.

        Where log_mass is -inf, sums are those of the nearest keys, or zero if this pooler may not have them.
        """
        return self._collect(block, self._sums, tol)

    def collect_products(self, block, careful=False):
        """Weights (b, n_keys), kernel times key, up to a factor for each query, and log_mass (b,).

        `careful` ones come from differences even where products are safe.
        """
        if careful:
            return self._collect_alike(block, self._products, False, 0.0)
        return self._collect(block, self._products, 0.0)

    # Collecting a stream of (rows, keys, weights) into one array, and the mass of its rows.

    def _sums(self, stream, n_rows):
        sums = np.zeros((n_rows, self.engine.columns.shape[1]))
        for rows, keys, weights in stream:
            if keys is None:
                sums *= weights
            else:
                sums[rows] += weights @ self.engine.columns[keys]
        return sums, sums[:, -1].copy()

    def _products(self, stream, n_rows):
        products = np.zeros((n_rows, len(self.engine.weights)))
        for rows, keys, weights in stream:
            products[rows, keys] = weights * self.engine.weights[keys]
        return products, products.sum(axis=1)

    @np.errstate(all="ignore")
    def _collect(self, block, reduce, tol):
        """What `reduce` makes of all weights of a block, and log_mass."""
        safe = takes_products(self, block, tol)
        if safe.all() or not safe.any():
            return self._collect_alike(block, reduce, safe[0], tol)
        log_mass = np.empty(block.n_rows)
        near, log_mass[safe] = self._collect_alike(block.take(safe), reduce, True, tol)
        far, log_mass[~safe] = self._collect_alike(block.take(~safe), reduce, False, tol)
        result = np.empty((block.n_rows, near.shape[1]))
        result[safe], result[~safe] = near, far
        return result, log_mass

    @np.errstate(all="ignore")
    def _collect_alike(self, block, reduce, by_product, tol):
        """`_collect` for queries that all take products, or all take differences."""
        key_blocks, nearest = self._key_blocks(block.n_rows), None
        if by_product and not self.kernel.compact:
            result, log_mass = collect_by_products(self, block, key_blocks, reduce, tol)
        else:
            if self._is_crowded(block, key_blocks[0]):
                stream = self._crowded_weights(block, key_blocks, by_product)
            else:
                nearest = Nearest.among(key_blocks, block.n_rows)
                stream = self._sparse_weights(block, key_blocks, nearest, by_product)
            result, mass = reduce(stream, block.n_rows)
            log_mass = np.where(mass >= self._enough(block, by_product), np.log(mass), np.nan)
        weak = np.flatnonzero(np.isnan(log_mass))
        if len(weak):
            few = block.take(weak)
            by_product = by_product and self.kernel.compact  # near enough for windows
            nearest = survey(self, few, key_blocks, by_product) if nearest is None else nearest.take(weak)
            result[weak], log_mass[weak] = collect_nearby(self, few, key_blocks, nearest, reduce)
        return result, log_mass + np.log(self.engine.largest_weight)

    def _enough(self, block, by_product):
        """The mass from which on rounding does no harm."""
        if not self.kernel.compact:
            return TINY_MASS
        return (1 + block.norms) / SAFE_NORM if by_product and not self.kernel.jumps else np.finfo(float).tiny

    def distance_blocks(self, block, key_blocks, by_product, factor=1.0):
        """Stream (block of keys, factor * t), t in a buffer that is used again."""
        source = self.distances.by_product if by_product else self.distances.by_difference
        write = source(block, factor)
        buffer = np.empty(block.n_rows * _width(key_blocks[0]))
        for keys in key_blocks:
            width = _width(keys)
            t = buffer[: block.n_rows * width].reshape(block.n_rows, width)
            write(keys, t)
            if by_product and not self.even:
                np.maximum(t, np.zeros(width), out=t)
            yield keys, t

    @staticmethod
    def leave_out(block, rows, keys, weights):
        """Reduce the weights of own keys to what they keep; `weights` are those of some rows of the block."""
        if block.own is not None:
            i, columns, kept = block.own_pairs(rows, keys)
            weights[i, columns] = np.where(kept > 0, kept * weights[i, columns], 0.0)
        return weights

    @staticmethod
    def hide_own(block, rows, keys, t):
        """Put own keys that keep no weight out of reach; `t` are the distances of some rows of the block."""
        if block.own is not None:
            i, columns, kept = block.own_pairs(rows, keys)
            t[i[kept == 0], columns[kept == 0]] = np.inf
        return t

    @staticmethod
    def settle_own(block, keys, t, hidden=np.inf):
        """Put own keys where they are, at 0, and those that keep no weight out of reach, which is `hidden`."""
        if block.own is not None:
            i, columns, kept = block.own_pairs(slice(None), keys)
            t[i, columns] = np.where(kept > 0, 0.0, hidden)

    # The fast pass of compact kernels, and of all where few keys matter to a query.

    def _is_crowded(self, block, keys):
        """Whether most queries, judged by the first few, have some of `keys` near."""
        few = slice(16)
        t = self.hide_own(block, few, keys, self.distances.differences(block.raw[few], keys))
        return np.mean(self._is_near(t.min(axis=1))) > 0.5

    def _crowded_weights(self, block, key_blocks, by_product):
        """Stream all weights."""
        weigh = self._weigh_products if by_product else self._weigh_differences
        rows = slice(None)
        for keys, t in self.distance_blocks(block, key_blocks, by_product):
            yield rows, keys, self.leave_out(block, rows, keys, weigh(block, rows, keys, t))

    def _sparse_weights(self, block, key_blocks, nearest, by_product):
        """Stream the weights of the rows that have a key near, noting the nearest keys of every row."""
        weigh = self._weigh_products if by_product else self._weigh_differences
        for j, (keys, t) in enumerate(self.distance_blocks(block, key_blocks, by_product)):
            least = nearest.note(j, keys, self.hide_own(block, slice(None), keys, t))
            rows = np.flatnonzero(self._is_near(least))
            if len(rows):
                yield rows, keys, self.leave_out(block, rows, keys, weigh(block, rows, keys, t[rows]))

    def _is_near(self, t):
        """Whether keys at t may be inside the support, or have a weight that shows in a mass of TINY_MASS."""
        if self.kernel.compact:
            return t <= self.edge + slack(self.edge)
        return self.kernel.log(t) > LOWEST_EXPONENT / 2

    def _weigh_differences(self, block, rows, keys, t):
        if self.kernel.gaussian:
            t *= -0.5
            return np.exp(raise_exponents(t), out=t)
        return self.kernel(t)

    def _weigh_products(self, block, rows, keys, t):
        """Weights from t with the rounding of a matrix product; a jump at the edge is decided by differences."""
        weight = self.kernel.plain
        if not self.kernel.jumps:
            return weight(t)
        inside, surely = t <= self.edge + slack(self.edge), t <= self.edge - slack(self.edge)
        weights = weight(t)
        if np.count_nonzero(inside) != np.count_nonzero(surely):
            unsure = np.flatnonzero((inside != surely).any(axis=1))
            weights[unsure] = self.kernel(self.distances.differences(block.raw[rows][unsure], keys))
        return weights
