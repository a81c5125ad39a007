"""Quantiles of attention: at which row attention, summed in the order of a value, reaches a level.

The attention weights of a query sum to one over the training rows. Their sums over the first of these, in the order of
a value, are a distribution function F. `OrderSearch` finds the row at which F reaches a level, or F at a threshold,
without the weights of all rows: it goes down a tree. A node is a range of consecutive rows, cut into bins. Pooling the
one-hot labels of the bins returns the share of each bin in the attention of a query to the node, for all queries whose
search has come to the node; each then goes on to one bin. In a leaf, the attention weights themselves are summed.

A node is pooled as a problem of its own, by the engine that is fastest for it. Shares are relative to the node, and
therefore exact at any distance from its rows, and leave-one-out does not subtract from large sums.

Error. The sums of an engine are linear in the columns, so a cumulative sum of shares errs by no more than the mean of
one column in [0, 1]: by `tol`. Let F be off by at most e at both ends of a bin of share p, and by e' relative to the
bin at a row in it. Then it is off by at most e + p e' at the row: in all, by `tol` for each level of the tree.
"""

from math import ceil, log

import numpy as np

from ._engines.left_out import subset
from ._one_hot import OneHot
from ._threads import single_threaded_blas

LEAF_ROWS = 256
"""The most rows of a leaf."""

MOST_BINS = 6
"""The most bins of a node that is no leaf."""

BLOCK_SHARES = 2**18
"""Shares that are held at once: 2 MiB."""

SLACK = 5.0
"""By how many times `tol` a level may be missed: more than the errors in four levels of the tree."""

LEAST_SLACK = 1e-12
"""By how much a level may be missed if `tol` is less: more than rounding."""


class OrderSearch:
    """Some queries, ready to search the training rows in the order of any value.

    Parameters
    ----------
    pooler : Pooler
    queries, rows, n_jobs, tol
        As for `Pooler.pool`; None is leave-one-out.
    """

    def __init__(self, pooler, queries, rows, n_jobs, tol):
        self.pooler, self.n_jobs, self.tol = pooler, n_jobs, tol
        self.scales = pooler.scales(queries, rows, n_jobs)
        self.points = (pooler.problem.rows if queries is None else queries)[rows]
        self.left_out = None if queries is not None else pooler.problem.self_index(rows)

    def __len__(self):
        return len(self.points)

    def quantiles(self, values, levels):
        """The rows (m, k) of the least values (n,) at which F reaches levels (m, k) in (0, 1], and log_mass (m,).

        Levels may be missed by `SLACK` times `tol`, and by at most half of themselves.
        """
        slack, order = max(SLACK * self.tol, LEAST_SLACK), self._order(values)
        levels = np.maximum(levels - slack, levels / 2)
        positions, _, log_mass = self._descend(order, levels, _reach)
        return subset(self.pooler.problem.key_rows, order[positions]), log_mass

    def shares(self, values, thresholds):
        """F (m, k) at thresholds (m, k): the attention to rows whose value (n,) is no greater; and log_mass (m,)."""
        order = self._order(values)
        ranks = np.searchsorted(values[self.pooler.problem.key_rows][order], thresholds, side="right")
        _, shares, log_mass = self._descend(order, ranks, _enter)
        shares[ranks == len(order)] = 1.0
        return shares, log_mass

    def _order(self, values):
        """The positions of the keys in ascending order of values (n,) of the rows."""
        return np.argsort(values[self.pooler.problem.key_rows], kind="stable")

    def _descend(self, order, targets, choose):
        """Search for targets (m, k) of each query among the keys in an order.

        `choose` is `_reach` or `_enter`. Returns the positions in the order at which searches end (m, k), the attention
        to all keys before (m, k), and log_mass (m,).
        """
        (m, k), own = targets.shape, self._own_positions(order)
        searches, log_mass = _Searches(targets.ravel(), choose), np.empty(m)
        ranges = [(0, len(order), np.arange(targets.size))]
        with single_threaded_blas():
            while ranges:
                first, last, active = ranges.pop()
                node, bins = _Node(self, order, own, first, last), np.empty(len(active), dtype=np.uint16)
                step = max(1, BLOCK_SHARES // len(node.edges))
                for block in (slice(start, start + step) for start in range(0, len(active), step)):
                    queries, place = np.unique(active[block] // k, return_inverse=True)
                    shares, masses = node.shares(queries)
                    if last - first == len(order):
                        log_mass[queries] = masses
                    shares = shares if len(queries) == len(place) else shares[place]
                    bins[block] = searches.advance(active[block], shares, node.edges)
                if not node.is_leaf:
                    parts = np.split(active[np.argsort(bins, kind="stable")], np.cumsum(np.bincount(bins))[:-1])
                    ranges += [part for part in zip(node.edges, node.edges[1:], parts, strict=False) if len(part[2])]
        return searches.positions.reshape(m, k), searches.low.reshape(m, k), log_mass

    def _own_positions(self, order):
        """The position in the order of the key that is left out (m,), -1 without one."""
        if self.left_out is None:
            return np.full(len(self), -1)
        positions = np.empty(len(order), dtype=np.intp)
        positions[order] = np.arange(len(order))
        return np.where(self.left_out >= 0, positions[self.left_out], -1)


def _reach(shares, edges, levels):
    """The bin (p,) in which shares (p, n_bins + 1) of the keys before each edge reach levels (p,)."""
    return np.count_nonzero(shares[:, 1:-1] < levels[:, None], axis=1)


def _enter(shares, edges, ranks):
    """The bin (p,) between edges (n_bins + 1,) that ranks (p,) fall into."""
    return np.minimum(np.searchsorted(edges, ranks, side="right") - 1, len(edges) - 2)


class _Searches:
    """Where searches for targets (p,) have come to: a range of keys that starts at `positions`, all (p,).

    `low` and `high` are the attention to all keys before the range, and to these and the range.
    """

    def __init__(self, targets, choose):
        self.targets, self.choose = targets, choose
        self.positions = np.empty(len(targets), dtype=np.intp)
        self.low, self.high = np.zeros(len(targets)), np.ones(len(targets))

    def advance(self, some, shares, edges):
        """Let some of them go on to a bin, and return it (b,); `shares` (b, n_bins + 1) are relative to the range."""
        low, high, each = self.low[some], self.high[some], np.arange(len(some))
        shares *= (high - low)[:, None]
        shares += low[:, None]
        bins = self.choose(shares, edges, self.targets[some])
        self.low[some], self.high[some] = shares[each, bins], shares[each, bins + 1]
        self.positions[some] = edges[bins]
        return bins


class _Node:
    """The keys from `first` to `last` in an order, in bins between edges (n_bins + 1,); in a leaf, each key is a bin.

    `own` (m,) is the position in the order of the key that is left out for each query.
    """

    def __init__(self, search, order, own, first, last):
        n = last - first
        self.search, self.own, self.first, self.last, self.is_leaf = search, own, first, last, n <= LEAF_ROWS
        n_bins = n if self.is_leaf else _count_bins(n)
        self.edges = first + np.arange(n_bins + 1) * n // n_bins
        labels = OneHot(np.repeat(np.arange(n_bins), np.diff(self.edges)), n_bins)
        problem = search.pooler.problem.of_keys(order[first:last], labels)
        self.pooler = search.pooler.derive(problem, algorithm="dense" if self.is_leaf else None)

    def shares(self, queries):
        """The share (q, n_bins + 1) of the keys before each edge in the attention to the node, and log_mass (q,)."""
        own = self.own[queries]
        is_inside = (self.first <= own) & (own < self.last)
        shares, log_mass = np.zeros((len(queries), len(self.edges))), np.empty(len(queries))
        for some in filter(len, (np.flatnonzero(is_inside), np.flatnonzero(~is_inside))):
            scales = None if self.search.scales is None else self.search.scales[queries[some]]
            if is_inside[some[0]]:
                bins, log_mass[some] = self._pool(None, own[some] - self.first, scales)
            else:
                bins, log_mass[some] = self._pool(self.search.points, queries[some], scales)
            shares[some, 1:] = bins
        np.cumsum(shares, axis=1, out=shares)
        shares[:, -1] = 1.0
        return shares, log_mass

    def _pool(self, queries, rows, scales):
        """The share of each bin (q, n_bins), and log_mass (q,)."""
        if self.is_leaf:
            return self.pooler.attention(queries, rows, self.search.n_jobs, scales)
        return self.pooler.pool(queries, rows, self.search.n_jobs, self.search.tol, scales)[:2]


def _count_bins(n):
    """The number of bins of a node of n keys, which makes a balanced tree."""
    depth = ceil(log(n / LEAF_ROWS) / log(MOST_BINS))
    return ceil((n / LEAF_ROWS) ** (1 / depth))
