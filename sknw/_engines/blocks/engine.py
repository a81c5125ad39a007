"""The blocks engine: any number of features; keys and queries in blocks of neighbours, and only the pairs of blocks
that matter.

Keys and queries are put into the order of a k-d tree in bandwidths. For each block of queries a plan takes the
leaves of keys that matter; the dense engine then pools these keys, around a centre of their own, with all its care.

* Compact kernel: a leaf matters if its box is within the support of the box of the queries. This is exact. Queries
  that find no key there are answered by a tree of all keys, or done again with all leaves that may hold their nearest
  keys: those no further than any leaf is at most.
* Kernel convex in t: a leaf b of mass c_b holds at most the weight c_b K(least t) for a query, and `Leaves` knows a
  lower bound D of the query's mass. The greatest c_b K(least t) / D, over the parts of the block, bounds the share of
  the leaf in the mass of each query. Leaves are left out, the lightest first, while these shares sum to no more than
  tol.

Error: let tau <= tol be the share of all left out weights in the mass of a query. Its exact pool is
(1 - tau) (pool of the kept keys) + tau (pool of the others), which differs from the pool of the kept keys by tau
times a difference of convex combinations of values: by at most tol times their range. log_mass is too small, by at
most -log(1 - tol). All bounds are in logarithms, which are right to a relative SLACK: it is added to upper bounds and
taken off lower ones; the sum of the shares, of positive terms, stays below 0.99 tol.

Slopes are covariances of the values and c = g(t) u_f², g = -2 d log K / dt (see `_slopes`). Without keys of share tau
they change by at most tau times the range times 2 (mean of c among the kept keys) + (mean of c among the others),
weighted by the attention. That last mean is moderate, since shares fall as c grows: for the Gaussian c <= t, and a
leaf of share s_b has t <= max(2, 2 log(c_b / (D s_b))); by the inequality of log sums, tau times the mean is then at
most 2 tau (1 + log(W / (D tau))), W being the mass of all keys at distance 0. The exponential and the logistic kernel
have c <= u and half of that, the cauchy kernel c <= 2. With tol = 1e-10 and D > 1e-10 W that makes some 1e-8 of the
range, more than enough for a search.
"""

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist

from ..._one_hot import OneHotColumns
from ..._threads import run_blocks
from ..average import is_flat
from .leaves import SLACK, Leaves, kd_order
from .nearest import MOST_FEATURES, NearestTree
from ..dense.gradient import collect_slopes, empty_slopes, n_moments, put_slopes

LEAF_KEYS = 64
"""The most keys in a leaf."""

BLOCK_QUERIES = 128
"""The most queries in a block."""

PARTS = 4
"""A block of queries has as many boxes, which are tighter than one."""

FEWEST_QUERIES = 32
"""The most queries in a block where queries are very few, or too many keys matter to more."""

BLOCKS_TOGETHER = 8
"""Blocks of queries that make one task for a thread."""

SORTED_NUMBERS = 2**19
"""Coordinates of queries that are put in order together."""

GATHERED_NUMBERS = 2**21
"""The largest copy of keys that matter."""

MOST_KEPT = 0.6
"""The share of pairs from which on the dense engine is faster."""

FEW_KEYS, MANY_KEYS = 4000, 50_000
"""Up to the first, blocks save nothing; up to the second they are made on demand: to make and to judge them takes a
part of what they save."""

FEW_QUERIES = 4000
"""Queries up to which the dense engine is done before the blocks are made."""

ROUNDING = 1e-9
"""Relative widening of distances, far above their rounding."""


class BlocksEngine:
    """The dense engine, for pruning; the order of the keys depends on the bandwidth."""

    @staticmethod
    def supports(kernel, n_features):
        """Compact kernels, and kernels convex in t, of any number of features."""
        return kernel.compact or kernel.convex

    def __init__(self, dense):
        self.dense = dense

    def offer(self, kernel, bandwidth, tol):
        """A pooler, if not too many pairs matter."""
        keys = self.dense.keys
        if len(keys) <= FEW_KEYS or expected_share(kernel, keys, bandwidth, tol) > MOST_KEPT:
            return None
        pooler = self.prepare(kernel, bandwidth)
        pays = isinstance(pooler, BlocksOnDemand) or pooler.kept_share(tol) <= MOST_KEPT
        return pooler if pays else None

    def prepare(self, kernel, bandwidth):
        """A pooler for one kernel and one bandwidth vector (n_features,)."""
        if len(self.dense.keys) <= MANY_KEYS:
            return self.prepare_on_demand(kernel, bandwidth)
        return self._prepare(BlocksPooler, kernel, bandwidth)

    def prepare_on_demand(self, kernel, bandwidth):
        """The same, with blocks only for many queries, and if not too many pairs matter."""
        return self._prepare(BlocksOnDemand, kernel, bandwidth)

    def _prepare(self, blocks, kernel, bandwidth):
        dense = self.dense.prepare(kernel, bandwidth)
        return dense if is_flat(kernel, bandwidth) else blocks(dense)


class _Wanted(NamedTuple):
    """What is wanted of queries, to `tol`: `collect(dense, block)` gives sums (b, width) and log_mass (b,).

    The weighted sums of the columns are the last ones.
    """

    collect: Callable
    width: int
    tol: float


class BlocksOnDemand:
    """The dense pooler, and blocks of the same keys once they pay."""

    linear, multiples, pull = False, None, None

    def __init__(self, dense):
        self.dense, self.attention = dense, dense.attention

    @cached_property
    def blocks(self):
        return BlocksPooler(self.dense)

    def pool(self, queries=None, rows=slice(None), n_jobs=None, tol=0.0):
        """Pooled values (m, n_values) and log_mass (m,), as every engine gives them, to `tol`."""
        rows = np.arange(len(self.dense.engine.rows if queries is None else queries))[rows]
        return self._choose(rows, tol).pool(queries, rows, n_jobs, tol)

    def slopes(self, rows=slice(None), n_jobs=None, tol=0.0):
        """Pooled values, log_mass and slopes in leave-one-out, as every engine gives them."""
        rows = np.arange(len(self.dense.engine.rows))[rows]
        return self._choose(rows, tol).slopes(rows, n_jobs, tol)

    def _choose(self, rows, tol):
        few = len(rows) < FEW_QUERIES or self.blocks.kept_share(tol) > MOST_KEPT
        return self.dense if few else self.blocks


class BlocksPooler:
    """The keys of a dense pooler in kd order, ready for queries."""

    linear, multiples, pull = False, None, None

    def __init__(self, dense):
        self.dense, self.kernel = dense, dense.kernel
        distances, columns = dense.distances, dense.engine.columns
        order, size = kd_order(distances.raw / distances.mantissa, LEAF_KEYS)
        self.place = np.empty(len(order) + 1, dtype=np.intp)
        self.place[order], self.place[-1] = np.arange(len(order)), -1
        raw, columns = distances.raw[order], columns.take(order, axis=0)
        self.leaves = Leaves(raw, dense.engine.weights[order], size, distances.mantissa)
        self.raw, self.columns = _cut(raw, size), _cut(columns, size)

    @cached_property
    def nearest(self):
        """The tree for queries without any weight; made for the first of them."""
        return NearestTree(self.dense)

    def attention(self, queries=None, rows=slice(None), n_jobs=None):
        """Attention weights, by the dense engine."""
        return self.dense.attention(queries, rows, n_jobs)

    def slopes(self, rows=slice(None), n_jobs=None, tol=0.0):
        """Pooled values, log_mass and slopes in leave-one-out, as every engine gives them."""
        rows = np.arange(len(self.dense.engine.rows))[rows]
        results = empty_slopes(self.dense.engine, len(rows))

        def put(places, moments, log_mass):
            put_slopes(self.dense, results, places, moments, log_mass)

        self._collect(None, rows, n_jobs, _Wanted(collect_slopes, n_moments(self.dense), tol), put)
        return results

    def pool(self, queries=None, rows=slice(None), n_jobs=None, tol=0.0):
        """Pooled values (m, n_values) and log_mass (m,), as every engine gives them, to `tol`."""
        engine = self.dense.engine
        rows = np.arange(len(engine.rows if queries is None else queries))[rows]
        n_columns = engine.columns.shape[1]
        pooled, log_mass = np.empty((len(rows), n_columns - 1)), np.empty(len(rows))

        def put(places, sums, mass):
            pooled[places], log_mass[places] = engine.mean(sums), mass

        wanted = _Wanted(lambda dense, block: dense.collect_sums(block), n_columns, tol)
        self._collect(queries, rows, n_jobs, wanted, put)
        return pooled, log_mass

    def _collect(self, queries, rows, n_jobs, wanted, put):
        """Call `put(places, sums, log_mass)` for blocks of neighbours among the queries `rows` (m,)."""
        step = max(1, SORTED_NUMBERS // self.raw.shape[2])
        for start in range(0, len(rows), step):
            queued = self.dense.block(queries, rows[start : start + step])
            order, size = self._order(queued, self._block_rows(queued.n_rows))

            def collect_blocks(part, start=start, queued=queued, order=order, size=size):
                put(start + order[part], *self._sums(queued, order[part], size, wanted))

            run_blocks(collect_blocks, queued.n_rows, size * BLOCKS_TOGETHER, n_jobs)

    def kept_share(self, tol, n_blocks=20):
        """The share of pairs that matter, judged by some blocks of the keys as queries."""
        total, n_leaves = 0, max(1, BLOCK_QUERIES // self.leaves.size)
        for first in np.linspace(0, (len(self.raw) - 1) // n_leaves, n_blocks).astype(int) * n_leaves:
            block = self.dense.distances.block(self._gather(self.raw, slice(first, first + n_leaves)))
            order, _ = self._order(block, block.n_rows)
            total += self.leaves.counts[self._plan(block.take(order), tol)].sum()
        return total / (n_blocks * self.leaves.n_keys)

    @staticmethod
    def _order(block, most):
        """kd order of queries, and the size <= `most` of blocks, or PARTS, whose PARTS are leaves too."""
        order, size = kd_order(block.centred, max(1, most // PARTS))
        return order, size * PARTS

    def _block_rows(self, n_rows):
        """Few queries lie far apart: blocks of fewer then matter to fewer keys."""
        ratio = n_rows / self.leaves.n_keys
        return int(np.clip(BLOCK_QUERIES * np.sqrt(ratio), FEWEST_QUERIES, BLOCK_QUERIES))

    @np.errstate(all="ignore")
    def _sums(self, queued, places, size, wanted):
        """The sums that are wanted, and log_mass, for queries in kd order, in blocks of `size`."""
        sums, log_mass = np.empty((len(places), wanted.width)), np.empty(len(places))
        for piece in _pieces(len(places), size):
            sums[piece], log_mass[piece] = self._block_sums(queued.take(places[piece]), wanted)
        empty = np.flatnonzero(sums[:, -1] == 0)
        if len(empty) and self.raw.shape[2] <= MOST_FEATURES:
            sums[empty, -self.columns.shape[2] :], sure = self.nearest.sums(queued.take(places[empty]))
            empty = empty[~sure]
        for piece in _pieces(len(empty), size):
            sums[empty[piece]] = self._nearest_sums(queued.take(places[empty[piece]]), wanted)
        return sums, log_mass

    def _block_sums(self, block, wanted):
        """The sums that are wanted, and log_mass, by the keys that matter to a block."""
        kept, half = self._plan(block, wanted.tol), block.n_rows // 2
        if self._fits(kept) or block.n_rows <= FEWEST_QUERIES:
            return self._sums_among(kept, block, wanted, has_nearest=not self.kernel.compact)
        halves = [self._block_sums(block.take(part), wanted) for part in (slice(half), slice(half, None))]
        return tuple(map(np.concatenate, zip(*halves, strict=True)))

    def _fits(self, kept):
        """Whether a copy of the keys of the leaves `kept` is not too large."""
        n_columns = 2 if isinstance(self.columns, OneHotColumns) else self.columns.shape[2]
        numbers = 2 * self.raw.shape[2] + 2 + n_columns
        return self.leaves.counts[kept].sum() * numbers <= GATHERED_NUMBERS

    def _nearest_sums(self, block, wanted):
        """Sums over the nearest keys, for a block of queries without any weight."""
        least, furthest = self.leaves.nearest(*_box(block.raw)), self.leaves.furthest(*_box(block.raw))
        others = self.leaves.counts > (block.own is not None)  # leaves with a key that is left
        reach = np.min(furthest, where=others, initial=np.inf) * (1 + ROUNDING)
        return self._sums_among(np.flatnonzero(least <= reach), block, wanted, has_nearest=True)[0]

    def _sums_among(self, kept, block, wanted, has_nearest):
        """The sums that are wanted, and log_mass, by the keys of the leaves `kept`."""
        if len(kept) == 0:
            return np.zeros((block.n_rows, wanted.width)), np.full(block.n_rows, -np.inf)
        if not self._fits(kept):
            return wanted.collect(self.dense, block)
        raw, columns = self._gather(self.raw, kept), self._gather(self.columns, kept)
        few = self.dense.among(raw, columns, np.mean(_box(block.raw), axis=0), has_nearest)
        own = None if block.own is None else self._own_among(kept, self.place[block.own])
        return wanted.collect(few, few.distances.block(block.raw, own, block.kept))

    def _gather(self, leaves, kept):
        """The rows of the leaves `kept` out of all leaves (n_leaves, size, k)."""
        return leaves[kept].reshape((-1, leaves.shape[2]))[: self.leaves.counts[kept].sum()]

    def _own_among(self, kept, place):
        """Positions in kd order as positions among the keys of the leaves `kept`, -1 where absent."""
        leaf, offset = np.divmod(place, self.leaves.size)
        at = np.minimum(np.searchsorted(kept, leaf), len(kept) - 1)
        return np.where(kept[at] == leaf, at * self.leaves.size + offset, -1)

    # The plan: which leaves matter to a block.

    @np.errstate(all="ignore")
    def _plan(self, block, tol):
        """The leaves (n_kept,) that matter to a block in kd order, ascending."""
        if self.kernel.compact:
            return np.flatnonzero(self.leaves.nearest(*_box(block.raw)) <= self.kernel.support**2 * (1 + ROUNDING))
        own = None if block.own is None else self.place[block.own]
        bound = self.leaves.log_mass_bound(self.kernel, block.raw, own, block.kept)
        shares = np.full(len(self.raw), -np.inf)
        for part in _pieces(block.n_rows, -(-block.n_rows // PARTS)):
            most = self.leaves.log_mass + self.kernel.log(self.leaves.nearest(*_box(block.raw[part])))
            most += SLACK * (1 + np.abs(most))
            np.maximum(shares, most - bound[part].min(), out=shares)
        return _heaviest(shares, tol)


def expected_share(kernel, keys, bandwidth, tol, n_queries=16, n_sample=512):
    """The share of pairs that a plan may keep at least, judged by a few keys, in far less time than a plan takes."""
    used = np.isfinite(bandwidth)
    sample = keys[:: -(-len(keys) // n_sample), used] / bandwidth[used]
    queries = sample[:: -(-len(sample) // n_queries)]
    t = cdist(queries, sample, "sqeuclidean") if used.any() else np.zeros((len(queries), len(sample)))
    # the radius that holds as many keys as a block of queries and a leaf, from one that holds some of the sample
    rank = min(8, len(sample) - 1)
    growth = (BLOCK_QUERIES + LEAF_KEYS) / len(keys) * len(sample) / max(rank, 1)
    radius = np.sqrt(np.partition(t, rank, axis=1)[:, rank]) * growth ** (1 / max(1, used.sum()))
    least = np.square(np.maximum(np.sqrt(t) - radius[:, None], 0))
    with np.errstate(all="ignore"):
        if kernel.compact:
            return np.mean(least <= kernel.support**2)
        logs = kernel.log(t)
        most = logs.max(axis=1, keepdims=True)
        log_mean = most + np.log(np.exp(logs - most).mean(axis=1, keepdims=True))
        return np.mean(kernel.log(least) > log_mean + np.log(tol))


def _cut(rows, size):
    """Rows (n, k) as leaves (n_leaves, size, k), the last filled up with zeros."""
    shape = -(-len(rows) // size), size, rows.shape[1]
    if isinstance(rows, OneHotColumns):
        return rows.padded(shape[0] * size).reshape(shape)
    leaves = np.zeros(shape)
    leaves.reshape(-1, rows.shape[1])[: len(rows)] = rows
    return leaves


def _pieces(n, size):
    """Slices of `size` out of n."""
    return [slice(first, first + size) for first in range(0, n, size)]


def _box(raw):
    return raw.min(axis=0), raw.max(axis=0)


def _heaviest(log_shares, tol):
    """The positions that are left when the smallest shares are left out, while their sum is no more than tol."""
    log_shares = log_shares - np.log(tol)
    negligible = -np.log(1e3 * len(log_shares))  # all of these together are a thousandth
    doubtful = np.sort(log_shares[(log_shares > negligible) & (log_shares <= 0)])
    n_out = np.searchsorted(np.cumsum(np.exp(doubtful)), 0.99, side="right")
    return np.flatnonzero(~(log_shares < (doubtful[n_out] if n_out < len(doubtful) else 0)))
