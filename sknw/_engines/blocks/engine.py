"""The blocks engine: any number of features; keys and queries in blocks of neighbours, and only the pairs of blocks
that matter.

Keys and queries are put into the order of a k-d tree in bandwidths. For each block of queries a plan takes the
leaves of keys that matter; these keys are then summed as the dense engine sums all, around a centre of their own.

* Compact kernel: a leaf matters if its box is within the support of the box of the queries. This is exact. Queries
  that find no key there are answered by a tree of all keys, or done again with all leaves that may hold their nearest
  keys: those no further away than the least upper bound of a leaf.
* Kernel convex in t: a leaf b of mass c_b holds at most the weight c_b K(least t) for a query, and `Leaves` knows a
  lower bound D of the query's mass. The greatest c_b K(least t) / D, over the parts of the block, bounds the share of
  the leaf in the mass of each query. Leaves are left out, the lightest first, while these shares sum to no more than
  tol.

Error: let tau <= tol be the share of all left out weights in the mass of a query. Its exact pool is
(1 - tau) (pool of the kept keys) + tau (pool of the others), which differs from the pool of the kept keys by tau
times a difference of convex combinations of values: by at most tol times their range. log_mass is too small, by at
most -log(1 - tol). All bounds are in logarithms, which are right to a relative SLACK: it is added to upper bounds and
taken off lower ones; the sum of the shares, of positive terms, stays below 0.99 tol.

Derivatives are covariances of the values and c = g(t) u_f², g = -2 d log K / dt (see `dense.gradient`). Without keys of
share tau they change by at most tau times the range times 2 (mean of c among the kept keys) + (mean of c among the
others), weighted by the attention. That last mean is moderate, since shares fall as c grows: for the Gaussian c <= t,
and a leaf of share s_b has t <= max(2, 2 log(c_b / (D s_b))); by the inequality of log sums, tau times the mean is then
at most 2 tau (1 + log(W / (D tau))), W being the mass of all keys at distance 0. The exponential kernel has c <= u, the
logistic kernel half of that, the cauchy kernel c <= 2. With tol = 1e-10 and D > 1e-10 W that makes some 1e-8 of the
range, and some 1e-3 with tol = 1e-5, enough for a descent, which compares losses.

Where `tol` allows it, the kept keys are summed in single precision, for most of `tol`; see `single`. Queries that then
err by too much are done again in double precision.

Queries with a width of their own have their t, and so all these bounds, multiplied by their scale. For a part of a
block the least t of a leaf is multiplied by the least scale of the part, and D by that of each query.
"""

from functools import cached_property

import numpy as np
from scipy.spatial.distance import cdist

from ..dense.collect import collect_sums
from ..dense.gradient import derivative_sums
from ..dense.keys import Keys
from ..dense.pairs import slices
from ..dense.single import takes_single
from ..dense.stable import T_ROUNDING
from ..neighbors import MOST_FEATURES
from ..summation import Engine, Summation, Sums, put
from .leaves import LEAF_KEYS, SLACK, TINY, KeyTree, kd_order, with_level_numbers
from .nearest import NearestTree
from .single import SingleLeaves

BLOCK_QUERIES = 128
"""The most queries in a block."""

PARTS = 4
"""A block of queries has as many boxes, which are tighter than one."""

FEWEST_QUERIES = 32
"""The most queries in a block where queries are very few, or too many keys matter to more."""

BLOCKS_TOGETHER = 8
"""Blocks of queries that make one task for a thread."""

MOST_KEPT = 0.6
"""The share of pairs from which on the dense engine is faster."""

SINGLE_SHARE, SINGLE_GAIN = 0.7, 4 / 3
"""The part of `tol` that is for single precision, if that is of use, the rest being for leaves that are left out; and
by how much the share of pairs may then be larger. Queries are near the centre of their block, but far from that of all
keys, which keeps the dense engine from single precision.
"""

PLANNED = 2**13
"""Pairs of a part of a block and a leaf that are planned together."""

FEW_QUERIES, MANY_KEYS = 4000, 50_000
"""Queries up to which the dense engine is done before the leaves are made, unless there are so many keys."""

SAMPLE_BLOCKS = 10
"""Blocks of keys as queries that estimate the share of pairs that matter."""


class BlocksEngine(Engine):
    """The keys of the problem; their order depends on the bandwidth."""

    fewest_keys, fewest_queries, takes_scales = 4001, FEW_QUERIES, True

    @staticmethod
    def supports(kernel, n_features):
        """Compact kernels, and kernels convex in t, of any number of features."""
        return kernel.compact or kernel.convex

    def prepare(self, kernel, bandwidth, tol, scales_of=None):
        """The sums, if not too many pairs matter."""
        keys = self.problem.keys
        summation = BlocksSummation(self.problem, kernel, bandwidth, scales_of)
        if expected_share(kernel, keys, bandwidth, tol, scales_of) > summation.most_kept(tol):
            return None
        is_worth_it = len(keys) <= MANY_KEYS or summation.kept_share(tol) <= summation.most_kept(tol)
        return summation if is_worth_it else None


class BlocksSummation(Summation):
    """Keys in kd order, with one kernel and one bandwidth."""

    cost, chunk_numbers = "pairs", 2**19

    def __init__(self, problem, kernel, bandwidth, scales_of):
        self.problem, self.kernel, self.bandwidth, self.scales_of = problem, kernel, bandwidth, scales_of
        self._shares = {}

    @cached_property
    def keys(self):
        """The keys in units of the bandwidth; made for the first queries that need them."""
        return Keys(self.problem, self.kernel, self.bandwidth)

    @cached_property
    def tree(self):
        """The keys in leaves."""
        return KeyTree(self.keys)

    @cached_property
    def single(self):
        """The leaves in single precision."""
        return SingleLeaves(self.tree)

    @cached_property
    def nearest(self):
        """The tree for queries without any weight."""
        return NearestTree(self.keys)

    def accepts(self, n_queries, tol, gradient):
        """Whether there are many queries, or very many keys, and not too many pairs matter."""
        if len(self.problem.keys) > MANY_KEYS:
            return True
        return n_queries >= FEW_QUERIES and self.kept_share(tol) <= self.most_kept(tol)

    def locate(self, points, left_out, scale=None):
        """Queries in kd order, in blocks that are leaves too."""
        return LocatedBlocks(self.keys.pairs(points, left_out, scale), self._block_rows(len(points)))

    def _block_rows(self, n_queries):
        """Few queries lie far apart: blocks of fewer then matter to fewer keys."""
        ratio = n_queries / len(self.problem.keys)
        return int(np.clip(BLOCK_QUERIES * np.sqrt(ratio), FEWEST_QUERIES, BLOCK_QUERIES))

    def most_kept(self, tol):
        """The share of pairs that matter from which on the dense engine is faster."""
        return MOST_KEPT * (SINGLE_GAIN if self._single_tol(tol) else 1)

    def _single_tol(self, tol):
        """The part of `tol` that is for single precision; 0 where that is of no use."""
        is_of_use = self.scales_of is None and takes_single(self.problem.columns, self.kernel, tol)
        return SINGLE_SHARE * tol if is_of_use else 0.0

    def kept_share(self, tol):
        """The share of pairs that matter, estimated from some blocks of the keys as queries."""
        if tol not in self._shares:
            leaves, total = self.tree.leaves, 0
            together = max(1, BLOCK_QUERIES // leaves.size)
            for first in np.linspace(0, (len(leaves.counts) - 1) // together, SAMPLE_BLOCKS).astype(int) * together:
                points = self.problem.keys[self.tree.keys_of(slice(first, first + together))]
                pairs = self.keys.pairs(points, scale=self.scales_of and self.scales_of(points))
                order, _ = _order_blocks(pairs, len(pairs))
                (kept,) = self._plan(pairs.take(order), len(pairs), tol)
                total += leaves.counts[kept].sum()
            self._shares[tol] = total / (SAMPLE_BLOCKS * leaves.n_keys)
        return self._shares[tol]

    @np.errstate(all="ignore")
    def sums(self, queries, tol, derivatives=False):
        """`Sums` for pairs in kd order, in blocks of a size; unresolved where a copy of the keys would be too large."""
        pairs, size = queries
        collect = derivative_sums if derivatives else collect_sums
        sums = (self._single_sums if self._single_tol(tol) else self._sums)(pairs, size, tol, collect)
        empty = np.flatnonzero(sums.columns[:, -1] == 0)
        if len(empty) and self.keys.n_used <= MOST_FEATURES:
            sums.columns[empty], sums.nearest_t[empty], resolved = self.nearest.sums(pairs.take(empty))
            empty = empty[~resolved]
        for rows in slices(len(empty), size):
            found = self._nearest_sums(pairs.take(empty[rows]))
            sums.columns[empty[rows]], sums.nearest_t[empty[rows]] = found.columns, found.nearest_t
        return sums

    def _single_sums(self, pairs, size, tol, collect):
        """The same in single precision; in double precision for queries whose means then err by too much."""
        place = np.full(len(pairs), -1) if pairs.self_index is None else self.tree.place[pairs.self_index]
        single_tol, derivatives, found = self._single_tol(tol), collect is derivative_sums, []
        for rows, kept in self._plans(pairs, size, tol - single_tol):
            is_able = self.tree.fits(kept) and self.single.are_narrow(kept)
            kept = kept if is_able else kept[:0]  # queries without any weight are not known
            found.append(self.single.sums(kept, pairs.take(rows), place[rows], derivatives))
        found = self.single.known(np.concatenate(found, axis=1), derivatives)
        sums, left = found.as_sums(), np.flatnonzero(~(found.error <= single_tol))
        if len(left):
            put(self._sums(pairs.take(left), size, tol, collect), sums, left)
        return sums

    def _sums(self, pairs, size, tol, collect):
        """The sums for queries in kd order, in blocks of a size, by `collect(pairs)` of the keys that matter."""
        blocks = [(pairs.take(rows), kept) for rows, kept in self._plans(pairs, size, tol)]
        return _join([self._block_sums(block, kept, tol, collect) for block, kept in blocks])

    def _block_sums(self, pairs, kept, tol, collect):
        """The sums for a block of queries, from the keys of the leaves `kept`."""
        if self.tree.fits(kept):
            return self._sums_among(kept, pairs, collect, has_nearest=not self.kernel.compact)
        if len(pairs) <= max(FEWEST_QUERIES, PARTS):
            return self._constant_sums(len(pairs), np.nan)
        return self._sums(pairs, PARTS * -(-len(pairs) // (2 * PARTS)), tol, collect)

    def _nearest_sums(self, pairs):
        """Sums over the nearest keys, for a block of queries without any weight."""
        leaves, box = self.tree.leaves, _box(pairs.raw)
        (least,), furthest = leaves.nearest(*np.array(box)[:, None]), leaves.furthest(*box)
        has_others = leaves.counts > (pairs.self_index is not None)
        reach = np.min(furthest, where=has_others, initial=np.inf) * (1 + T_ROUNDING)
        return self._sums_among(np.flatnonzero(least <= reach), pairs, collect_sums, has_nearest=True)

    def _sums_among(self, kept, pairs, collect, has_nearest):
        """The sums for a block of queries, from the keys of the leaves `kept`."""
        if len(kept) == 0:
            return self._constant_sums(len(pairs), 0.0)
        if not self.tree.fits(kept):
            return collect(pairs)
        raw, columns = self.tree.gather(kept)
        subset = self.keys.subset(raw, columns, np.mean(_box(pairs.raw), axis=0), has_nearest)
        index = None if pairs.self_index is None else self.tree.index_among(kept, self.tree.place[pairs.self_index])
        return collect(subset.raw_pairs(pairs.raw, index, pairs.retained, pairs.scale))

    def _constant_sums(self, n_queries, value):
        """Sums of zero, without any weight, or of nan, which are unresolved."""
        derivatives = np.full((n_queries, self.keys.n_used, self.keys.columns.shape[1]), value)
        return Sums(derivatives[:, 0], np.full(n_queries, np.log(value)), np.zeros(n_queries), derivatives)

    def _plans(self, pairs, size, tol):
        """Blocks of a size of queries in kd order, as slices, and the leaves (n_kept,) that matter to each."""
        together = size * max(1, PLANNED // (PARTS * len(self.tree.leaves.counts)))
        for group in slices(len(pairs), together):
            plan = self._plan(pairs.take(group), size, tol)
            yield from zip(slices(group.stop, size, group.start), plan, strict=True)

    @np.errstate(all="ignore")
    def _plan(self, pairs, size, tol):
        """The leaves (n_kept,) that matter to each block of a size of queries in kd order, ascending, as a list."""
        leaves, step = self.tree.leaves, -(-size // PARTS)
        parts = np.arange(0, len(pairs), step)
        blocks = np.arange(0, len(parts), PARTS)
        t = leaves.nearest(np.minimum.reduceat(pairs.raw, parts), np.maximum.reduceat(pairs.raw, parts))
        if pairs.scale is not None:
            t *= np.minimum.reduceat(pairs.scale, parts)[:, None]
        if self.kernel.compact:
            matters = np.minimum.reduceat(t, blocks) <= self.keys.edge * (1 + T_ROUNDING)
            return [np.flatnonzero(row) for row in matters]
        place = removed = None
        if pairs.self_index is not None:
            place = self.tree.place[pairs.self_index]
            removed = (1 - pairs.retained) * np.maximum(self.keys.weights[pairs.self_index], TINY)
        bound = leaves.log_mass_bound(self.kernel, pairs.raw, place, removed, pairs.scale)
        upper = self.kernel.log(t)
        upper += leaves.log_mass
        upper += SLACK * (1 + np.abs(upper))
        upper -= np.minimum.reduceat(bound, parts)[:, None]
        return [_heaviest(shares, tol) for shares in np.maximum.reduceat(upper, blocks)]


class LocatedBlocks:
    """Pairs in the order of a k-d tree of the queries, in blocks of a size whose PARTS are leaves."""

    def __init__(self, pairs, most):
        self.pairs = pairs
        self.order, self.size = _order_blocks(pairs, most)
        self.step = self.size * BLOCKS_TOGETHER

    def __getitem__(self, places):
        return self.pairs.take(self.order[places]), self.size


def _order_blocks(pairs, most):
    """kd order of the queries, and the size <= `most` of blocks, or PARTS, whose PARTS are leaves too."""
    order, size = kd_order(with_level_numbers(pairs.centred, pairs.raw, pairs.keys), max(1, most // PARTS))
    return order, size * PARTS


def _join(blocks):
    """`Sums` of blocks that follow one another, as one."""
    blocks = zip(*blocks, strict=True)
    return Sums(*(None if any(field is None for field in fields) else np.concatenate(fields) for fields in blocks))


@np.errstate(all="ignore")
def expected_share(kernel, keys, bandwidth, tol, scales_of=None, n_queries=16, n_sample=512):
    """A lower estimate of the share of pairs that matter, from a few keys, in far less time than a plan takes."""
    used = np.isfinite(bandwidth)
    sample = keys[:: -(-len(keys) // n_sample)]
    queries = sample[:: -(-len(sample) // n_queries)]
    scale = 1.0 if scales_of is None else scales_of(queries)[:, None]
    sample, queries = (points[:, used] / bandwidth[used] for points in (sample, queries))
    t = cdist(queries, sample, "sqeuclidean") if used.any() else np.zeros((len(queries), len(sample)))
    # the radius that holds as many keys as a block of queries and a leaf, from one that holds some of the sample
    rank = min(8, len(sample) - 1)
    growth = (BLOCK_QUERIES + LEAF_KEYS) / len(keys) * len(sample) / max(rank, 1)
    radius = np.sqrt(np.partition(t, rank, axis=1)[:, rank]) * growth ** (1 / max(1, used.sum()))
    least = np.square(np.maximum(np.sqrt(t) - radius[:, None], 0)) * scale
    if kernel.compact:
        return np.mean(least <= kernel.support**2)
    logs = kernel.log(t * scale)
    most = logs.max(axis=1, keepdims=True)
    log_mean = most + np.log(np.exp(logs - most).mean(axis=1, keepdims=True))
    return np.mean(kernel.log(least) > log_mean + np.log(tol))


def _box(raw):
    return raw.min(axis=0), raw.max(axis=0)


def _heaviest(log_shares, tol):
    """The positions that are left when the smallest shares are left out, while their sum is no more than tol."""
    log_shares = log_shares - np.log(tol)
    negligible = -np.log(1e3 * len(log_shares))  # all of these together are a thousandth
    doubtful = np.sort(log_shares[(log_shares > negligible) & (log_shares <= 0)])
    n_out = np.searchsorted(np.cumsum(np.exp(doubtful)), 0.99, side="right")
    return np.flatnonzero(~(log_shares < (doubtful[n_out] if n_out < len(doubtful) else 0)))
