"""The pooler: everything that pooling takes but the sums over keys, which are the work of engines.

The pooler chooses rows, cuts queries into blocks for threads, hands what an engine leaves unresolved to the next one of
a chain, and turns sums into means of the values. `summation` has the contract of engines.
"""

from functools import cached_property

import numpy as np

from .._distinct import find_copies
from .._threads import run_blocks
from .left_out import LeftOut, n_rows, subset
from .pooled import Pooled
from .summation import put

ATTENTION_PAIRS = 2**20
"""Attention weights that a thread computes together."""

MOST_KEPT, KEPT_NUMBERS = 64, 2**24
"""The most poolers without some features that are kept, and coordinates of keys in all of them."""


class Pooler:
    """A problem with one kernel and one bandwidth vector (n_features,), ready for queries.

    Parameters
    ----------
    problem : Problem
    chain : list of engines
        Each does what those before it leave unresolved. The last one is the dense engine.
    first : Summation
        What the first one has prepared.
    algorithm : str
        Its name.
    kernel : Kernel
    bandwidth : (n_features,) float ndarray
    tol : float
        What the others are prepared for.
    at : Poolers
        Called with another bandwidth (n_features,), it makes the `Pooler` of that.
    widths : Widths, default=None
        The widths of queries, where these follow the distance to a neighbour.
    """

    def __init__(self, problem, chain, first, algorithm, kernel, bandwidth, tol, at, widths=None):
        self.problem, self.chain, self.algorithm, self.kernel = problem, chain, algorithm, kernel
        self.bandwidth, self.tol, self.at, self.widths = bandwidth, tol, at, widths
        self._summations, self._without = {0: first}, {}

    @property
    def cost(self):
        """How the cost of pooling all keys grows: "linear" in their number, or with the number of "pairs"."""
        return self._summations[0].cost

    def derive(self, problem, kernel=None, factor=1.0, algorithm=None):
        """A pooler of another problem, with another kernel and `factor` times the bandwidth, and the same widths.

        The algorithm is the same too, if it is not given. Where widths follow a neighbour, leave-one-out takes the
        scales of queries from the caller.
        """
        poolers = self.at.derive(problem, kernel, algorithm or self.algorithm)
        return poolers.with_widths(factor * self.bandwidth, self.widths)

    def without(self, ignored):
        """The pooler that ignores some features, given as a mask (n_features,); the last ones are kept."""
        key = ignored.tobytes()
        pooler = self._without.get(key)
        if pooler is None:
            n_neighbors = None if self.widths is None else self.widths.n_neighbors
            pooler = self.at(np.where(ignored, np.inf, self.bandwidth), n_neighbors)
            if len(self._without) >= min(MOST_KEPT, KEPT_NUMBERS // self.problem.keys.size):
                self._without.pop(next(iter(self._without), None), None)
            self._without[key] = pooler
        return pooler

    def scales(self, queries=None, rows=slice(None), n_jobs=None):
        """The factors (m,) of t of some rows of the queries; None if all have the same width."""
        if self.widths is None:
            return None
        return self.widths(*self._points(queries, self._positions(queries, rows)), n_jobs)

    def pool(self, queries=None, rows=slice(None), n_jobs=None, tol=0.0, scales=None):
        """`Pooled` values of some rows of the queries (m, n_features), off by at most `tol` times their range.

        None is leave-one-out: the training rows are the queries. `scales` (m,) are those of the rows, if known.
        """
        rows = self._positions(queries, rows)
        if scales is None:
            scales = self.scales(queries, rows, n_jobs)
        if queries is not None and self._condensed is not None:
            return self._condensed._pool_copies(queries[rows], n_jobs, tol, scales)
        pooled = Pooled.empty(n_rows(rows), self.problem.n_values, scales)

        def pool_block(summation, located, places):
            sums = summation.sums(located, tol)
            self._finish(sums, pooled, places)
            return np.isnan(sums.log_mass), None

        self._run(pool_block, queries, rows, n_jobs, tol, scales=scales)
        return pooled

    def gradient(self, cotangents, rows=slice(None), n_jobs=None, tol=0.0):
        """`Pooled` values of some rows in leave-one-out, and a vector-Jacobian product by log bandwidths.

        Parameters
        ----------
        cotangents : callable
            (pooled, places) -> (p, n_values), the derivatives of a loss by the `Pooled` values of rows[places].

        Returns
        -------
        pooled : Pooled
        gradient : (n_features,) float ndarray
            The derivatives of the loss by log h_f; zero where h_f is inf. Each derivative of a value is right to about
            1e-8 of its range, and zero where log_mass is -inf. For kernels with a `log_slope`.
        """
        rows = self._positions(None, rows)
        pooled = Pooled.empty(n_rows(rows), self.problem.n_values)

        def differentiate_block(summation, located, places):
            def block_cotangents(sums, positions):
                found = subset(places, positions)
                self._finish(sums, pooled, found)
                return self.problem.scale_cotangents(cotangents(pooled.take(found), found))

            return summation.gradient(located, tol, block_cotangents)

        gradient = np.zeros(len(self.bandwidth))
        gradient[np.isfinite(self.bandwidth)] += sum(self._run(differentiate_block, None, rows, n_jobs, tol, True))
        return pooled, gradient

    def key_gradient(self, cotangents, rows=slice(None), n_jobs=None, tol=0.0):
        """`Pooled` values of some rows in leave-one-out, and the gradient of a loss by queries and keys.

        Parameters
        ----------
        cotangents : callable
            As in `gradient`.

        Returns
        -------
        pooled : Pooled
        gradient : (n, n_features) float ndarray
            The derivatives of the loss by the features of each row, in the units of X. They err by what those of
            `gradient` do. For kernels with a `log_slope`.

        Notes
        -----
        All pairs are evaluated, by the dense engine.
        """
        rows, dense, found = self._positions(None, rows), self._summation(len(self.chain) - 1), {}
        pooled = Pooled.empty(n_rows(rows), self.problem.n_values)
        located = self._locate(dense, None, rows)

        def differentiate(block):
            def block_cotangents(sums, positions):
                places = subset(block, positions)
                self._finish(sums, pooled, places)
                return self.problem.scale_cotangents(cotangents(pooled.take(places), places))

            found[block.start] = dense.key_gradient(located[block], tol, block_cotangents)

        run_blocks(differentiate, n_rows(rows), located.step, n_jobs)
        gradient = np.zeros_like(self.problem.rows)
        by_queries, by_keys = zip(*(found[first] for first in sorted(found)), strict=True)
        gradient[self.problem.key_rows] = sum(by_keys)
        gradient[rows] += np.concatenate(by_queries)
        return pooled, gradient

    def sweep(self, octaves, rows=slice(None), n_jobs=None, tol=0.0):
        """Yield the `Pooled` values of some rows in leave-one-out with 2^octave times the bandwidth, for each octave.

        Where the engine that does so many rows has a sweep of its own, they are off by at most 1e-6 of their range.
        """
        rows = self._positions(None, rows)
        own_sweep = self._first_to_accept(n_rows(rows), tol).sweep
        if own_sweep is None:
            for octave in octaves:
                yield self.at(2.0**octave * self.bandwidth).pool(None, rows, n_jobs, tol)
            return
        for octave, sums in zip(octaves, own_sweep(octaves, LeftOut(self.problem, rows), n_jobs), strict=True):
            pooled = Pooled.empty(n_rows(rows), self.problem.n_values)
            self._finish(sums, pooled, slice(None))
            unresolved = np.flatnonzero(np.isnan(sums.log_mass))
            if len(unresolved):
                found = self.at(2.0**octave * self.bandwidth).pool(None, subset(rows, unresolved), n_jobs)
                put(found[:3], pooled[:3], unresolved)
            yield pooled

    def sweep_neighbors(self, ks, rows=slice(None), n_jobs=None, tol=0.0):
        """Yield the `Pooled` values of some rows in leave-one-out with other numbers of neighbours, for each of `ks`.

        The neighbours are searched for once.
        """
        rows, scales = self._positions(None, rows), [None] * len(ks)
        if self.widths is not None:
            scales = self.widths.neighbors.scales(*self._points(None, rows), ks, n_jobs)
        for k, scale in zip(ks, scales, strict=True):
            yield self.at(self.bandwidth, k).pool(None, rows, n_jobs, tol, scale)

    def attention(self, queries=None, rows=slice(None), n_jobs=None, scales=None):
        """Attention weights (m, n) and log_mass (m,) for some rows of the queries, given as to `pool`."""
        rows, dense = self._positions(queries, rows), self._summation(len(self.chain) - 1)
        m = n_rows(rows)
        attention, log_mass = np.zeros((m, len(self.problem.rows))), np.empty(m)
        if scales is None:
            scales = self.scales(queries, rows, n_jobs)
        located = self._locate(dense, queries, rows, scales)

        def attend(block):
            weights, log_mass[block] = dense.weights(located[block])
            attention[block, self.problem.key_rows] = weights / weights.sum(axis=1, keepdims=True)

        step = min(located.step, max(1, ATTENTION_PAIRS // len(self.problem.keys)))
        run_blocks(attend, m, step, n_jobs)
        return attention, log_mass + np.log(self.problem.largest_weight)

    def slopes(self, queries=None, rows=slice(None)):
        """How attention changes with a few queries: some rows of the queries, given as to `pool`.

        Returns
        -------
        attention : (m, n_keys) float ndarray
            Attention weights on the keys.
        slopes : (m, n_keys) float ndarray
            d log K / dt; zero for keys at t = 0, and where no key has weight. For kernels with a `log_slope`.
        log_mass : (m,) float ndarray
        scales : (m,) float ndarray
            Factors of t; ones if all queries have the same width.
        """
        rows, dense = self._positions(queries, rows), self._summation(len(self.chain) - 1)
        scales = self.scales(queries, rows)
        found = dense.slopes(self._locate(dense, queries, rows, scales)[:])
        return *found, np.ones(n_rows(rows)) if scales is None else scales

    def _pool_copies(self, queries, n_jobs, tol, scales):
        """`pool` for queries of which many may be equal, as keys are: distinct ones are pooled."""
        copies = find_copies(queries)
        if copies is None:
            return self.pool(queries, n_jobs=n_jobs, tol=tol, scales=scales)
        first, place = copies
        return self.pool(
            queries[first], n_jobs=n_jobs, tol=tol, scales=scales if scales is None else scales[first]
        ).take(place)

    @cached_property
    def _condensed(self):
        """The pooler of distinct keys, which answers queries in the place of this one; None if it is not faster."""
        if self.cost == "linear" or self.at.condensed is None:
            return None
        return self.at.condensed.with_widths(self.bandwidth, self.widths)

    def _positions(self, queries, rows):
        """Some rows of the queries as a slice if they are all, else as positions (m,)."""
        n = len(self.problem.rows if queries is None else queries)
        if isinstance(rows, slice):
            is_all = rows.indices(n) == (0, n, 1)
        else:
            is_all = len(rows) == n and np.array_equal(rows, np.arange(n))
        return slice(0, n) if is_all else np.arange(n)[rows]

    def _summation(self, k):
        """What engine k of the chain has prepared; None if it does not do this bandwidth."""
        if k not in self._summations:
            widths = () if self.widths is None else (self.widths,)
            self._summations[k] = self.chain[k].prepare(self.kernel, self.bandwidth, self.tol, *widths)
        return self._summations[k]

    def _first_to_accept(self, n_queries, tol):
        """The first summation of the chain that accepts so many queries; the dense engine accepts any."""
        summations = filter(None, map(self._summation, range(len(self.chain))))
        return next(found for found in summations if found.accepts(n_queries, tol, gradient=False))

    def _points(self, queries, rows):
        """Some rows of the queries, and what leave-one-out takes away, or None."""
        if queries is None:
            return self.problem.rows[rows], LeftOut(self.problem, rows)
        return queries[rows], None

    def _locate(self, summation, queries, rows, scales=None):
        """Some rows of the queries as a summation wants them."""
        return summation.locate(*self._points(queries, rows), *(() if scales is None else (scales,)))

    def _run(self, do_block, queries, rows, n_jobs, tol, gradient=False, scales=None):
        """Let the chain of engines do the rows, and return the results of all blocks, in an order.

        `do_block(summation, located, places)` does a block of rows[places], and returns which of them are unresolved,
        and a result.
        """
        places, results = slice(0, n_rows(rows)), []
        for k, engine in enumerate(self.chain):
            m = n_rows(places)
            if k and m < max(1, engine.fewest_queries):
                continue
            summation = self._summation(k)
            if summation is not None and summation.accepts(m, tol, gradient):

                def locate(chunk, summation=summation):
                    scale = None if scales is None else scales[chunk]
                    return self._locate(summation, queries, subset(rows, chunk), scale)

                places = self._run_engine(summation, do_block, locate, places, n_jobs, results)
        return results

    def _run_engine(self, summation, do_block, locate, places, n_jobs, results):
        """Let one engine do rows[places], and return the places that it leaves unresolved."""
        unresolved = [np.empty(0, dtype=np.intp)]
        step = max(1, summation.chunk_numbers // self.problem.rows.shape[1])
        for start in range(0, n_rows(places), step):
            chunk = subset(places, slice(start, start + step))
            located, found = locate(chunk), {}

            def run_block(block, chunk=chunk, located=located, found=found):
                block_places = subset(chunk, block if located.order is None else located.order[block])
                is_unresolved, found[block.start] = do_block(summation, located[block], block_places)
                if is_unresolved.any():
                    unresolved.append(subset(block_places, np.flatnonzero(is_unresolved)))

            run_blocks(run_block, n_rows(chunk), located.step, n_jobs)
            results += [found[first] for first in sorted(found)]
        return np.sort(np.concatenate(unresolved))

    @np.errstate(all="ignore")
    def _finish(self, sums, pooled, places):
        """Write what sums mean into some places of `pooled`."""
        values, means = pooled.values, self.problem.means(sums.columns)
        if self.problem.n_values == 1:  # numpy writes faster along one axis
            values, means = values[:, 0], means[:, 0]
        values[places] = means
        pooled.log_mass[places] = sums.log_mass + np.log(self.problem.largest_weight)
        if sums.nearest_t is not None:
            pooled.nearest_t[places] = sums.nearest_t
