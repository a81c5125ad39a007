"""Gaussian and logistic sums over sorted keys, by cells.

A fast Gauss transform (Greengard & Strain 1991) on sorted keys, with Chebyshev expansions on cells one bandwidth
wide. The keys of a cell enter through their moments in the Chebyshev basis; p x p matrices, one for each distance
between cells, turn moments into an expansion of the sums over each cell that holds queries; a query evaluates it.

Error. The expansions err by at most EXPANSION for each unit of mass, as `_chebyshev` proves. Keys more than `reach`
cells away are left out, and weigh less than NEGLECTED each; positions are rounded to eps times the span of their
segment, which changes a weight by |d log K / du| times that. Values lie in [0, range], so the error of a prediction, as
a fraction of the range, is at most twice the error of the mass over the mass. Queries for which that exceeds `tol` (in
tails and gaps, and in leave-one-out where little else is near) are left to others; Gaussian ones sum their window
directly where it is short: the exact softmax over all keys but those that, all together, weigh less than tol / 4 of the
nearest.
"""

from math import log

import numpy as np

from ._chebyshev import n_gaussian_terms, n_logistic_terms, polynomials, translations
from ._radix import argsort, argsort_coarsely
from ._windows import take_gone

EXPANSION = 1e-14
"""Error of the expansions for each unit of mass."""

ROUNDING = 64 * np.finfo(float).eps
"""Rounding of the sums of up to 17 terms, for each unit of mass."""

NEGLECTED = 3e-18
"""Weight of keys out of reach, at most."""

GAUSSIAN_REACH, LOGISTIC_REACH = 9, 42
"""Cells on each side that a query takes keys from."""

MIN_OCCUPANCY = 8
"""Keys in a cell, on average, under which windows are cheaper than cells."""

BLOCK_ROWS = 2**14
"""Sorted keys done together."""

BLOCK_CELLS = 256
"""Cells done together."""


class CellSums:
    """Sums of the columns of `Windows`, weighted by a Gaussian or logistic kernel."""

    def __init__(self, windows, kernel, h):
        self.windows, self.h, self.gaussian = windows, h, kernel.gaussian
        self.total, self.lightest = windows.columns[-1].sum(), windows.columns[-1].min()
        self.cells = Cells(windows.keys, windows.columns, kernel, h)

    def order(self, q):
        """An order of queries that puts those of a cell together."""
        low, high = self.cells.span
        one_grid = len(self.cells.origins) == 1 and high - low < 2**16 * self.h
        return argsort_coarsely(q, low, self.h) if one_grid else argsort(q)

    def sums(self, q, gone, tol):
        """Sums (n_columns, b) for ordered queries (b,), up to a factor, and the logarithm of that factor (b,).

        NaN for queries that are left to others. `gone` is as in `Windows`.
        """
        log_scale = np.zeros(len(q))
        if tol == 0 or self.cells.moments is None:
            sums, weak = np.full((len(self.windows.columns), len(q)), np.nan), np.arange(len(q))
        else:
            sums, error = self.cells.sums(q)
            error += self.total * NEGLECTED
            if gone is not None:
                sums -= gone
                error += np.finfo(float).eps * gone[-1]
            weak = np.flatnonzero(~(sums[-1] * tol > 2 * error))
        if len(weak) and self.gaussian:
            sums[:, weak], log_scale[weak] = self._window_sums(q[weak], take_gone(gone, weak), tol)
        elif len(weak):
            sums[:, weak] = np.nan
        return sums, log_scale

    def _window_sums(self, q, gone, tol):
        """Sums by the exact softmax over windows, relative to the weight of the nearest key, and its logarithm."""
        keys = self.windows.keys
        anchor = keys[self.windows.nearest(q, gone)]
        to_anchor = anchor - q
        spread = log(4 * self.total / (tol * self.lightest)) if tol > 0 else np.inf
        start, stop = self.windows.within(q, np.sqrt(np.square(to_anchor) + 2 * self.h**2 * max(spread, 0.0)))

        def weigh(query, key):
            x = keys[key]
            both = (x - q[query]) + to_anchor[query]
            # an own key that goes may be nearer than the anchor
            return np.exp(np.minimum((x - anchor[query]) * both / (-2 * self.h**2), 0.0))

        return self.windows.sums(q, start, stop, weigh, gone), -np.square(to_anchor / self.h) / 2


class Cells:
    """Chebyshev moments of sorted keys on cells one bandwidth wide; none where cells would hold too few keys.

    Keys are cut into segments at gaps that no query can feel both sides of, each with an origin of its own: one
    far key would otherwise cost all others their digits.
    """

    def __init__(self, keys, columns, kernel, h):
        self.h = h
        if kernel.gaussian:
            self.reach, self.n_terms, steepest = GAUSSIAN_REACH, n_gaussian_terms(1.0, EXPANSION), GAUSSIAN_REACH
        else:
            self.reach, self.n_terms, steepest = LOGISTIC_REACH, n_logistic_terms(EXPANSION), 1
        breaks = np.flatnonzero(np.diff(keys) > 2 * (self.reach + 1) * h) + 1
        first = np.concatenate([[0], breaks])
        self.origins = keys[first]
        self.ends = keys[np.append(breaks, len(keys)) - 1]
        margin = self.reach * h
        self.span = self.origins[0] - margin, self.ends[-1] + margin
        lengths = np.floor((self.ends - self.origins) / h) + 2 * self.reach + 3
        self.base = np.concatenate([[0.0], np.cumsum(lengths)[:-1]])
        self.rounding = 4 * np.finfo(float).eps * steepest * ((self.ends - self.origins) / h + self.reach)
        segment = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(keys))))
        cell, position = self._locate(keys, segment)
        start = np.concatenate([[0], np.flatnonzero(np.diff(cell)) + 1])
        self.moments = None
        if len(keys) < MIN_OCCUPANCY * len(start):
            return
        self.sources = cell[start]
        self.mass = np.append(np.add.reduceat(columns[-1], start), 0.0)
        self.moments = self._moments(position, columns, start)
        self.translations = translations(kernel, self.n_terms, 1.0, np.arange(-self.reach, self.reach + 1))

    def _locate(self, x, segment):
        """The cell of each x, counted through all segments, and its position there in [-1, 1]."""
        g = (x - self.origins[segment]) / self.h
        floor = np.floor(g)
        return self.base[segment] + floor, 2 * (g - floor) - 1

    def _moments(self, position, columns, start):
        """Moments (n_cells + 1, n_terms, n_columns) of the cells that begin at `start`, and zeros."""
        moments = np.zeros((len(start) + 1, self.n_terms, len(columns)))
        bounds = np.append(start, len(position))
        for begin in range(0, len(position), BLOCK_ROWS):
            end = min(begin + BLOCK_ROWS, len(position))
            basis = polynomials(position[begin:end], self.n_terms)
            for c in range(np.searchsorted(start, begin, side="right") - 1, np.searchsorted(start, end)):
                first, last = max(bounds[c], begin), min(bounds[c + 1], end)
                moments[c] += basis[:, first - begin : last - begin] @ columns[:, first:last].T
        return moments

    def _segment_of(self, q):
        """The segment (b,) that is nearest to each query."""
        if len(self.origins) == 1:
            return np.zeros(len(q), dtype=np.intp)
        after = np.searchsorted(self.origins, q, side="right")
        left, right = np.maximum(after - 1, 0), np.minimum(after, len(self.origins) - 1)
        beyond = np.maximum(q - self.ends[left], self.origins[left] - q)
        return np.where(beyond <= self.origins[right] - q, left, right)

    def sums(self, q):
        """Sums of the columns for ordered queries (b,), and a bound (b,) on the error of each; inf out of reach."""
        segment = self._segment_of(q)
        margin = self.reach * self.h
        near = np.clip(q, self.origins[segment] - margin, self.ends[segment] + margin)
        cell, position = self._locate(near, segment)
        start = np.concatenate([[0], np.flatnonzero(cell[1:] != cell[:-1]) + 1])
        ends = np.append(start[1:], len(cell))
        local, mass = self._expansions(cell[start])
        basis = polynomials(position, self.n_terms)
        sums = np.empty((self.moments.shape[2], len(q)))
        for c, (first, last) in enumerate(zip(start, ends, strict=True)):
            np.matmul(local[c].T, basis[:, first:last], out=sums[:, first:last])
        error = self.rounding[segment] * sums[-1]
        error += (EXPANSION + ROUNDING) * np.repeat(mass, ends - start)
        error[near != q] = np.inf
        return sums, error

    def _expansions(self, targets):
        """Expansions (n_targets, n_terms, n_columns) of the sums on target cells, and the mass within their reach."""
        sources = targets[:, None] - np.arange(-self.reach, self.reach + 1)
        at = np.minimum(np.searchsorted(self.sources, sources), len(self.sources) - 1)
        at[self.sources[at] != sources] = len(self.sources)
        local = np.empty((len(targets), *self.moments.shape[1:]))
        for begin in range(0, len(targets), BLOCK_CELLS):
            moments = self.moments[at[begin : begin + BLOCK_CELLS]]
            local[begin : begin + BLOCK_CELLS] = self.translations @ moments.reshape(
                len(moments), -1, moments.shape[-1]
            )
        return local, self.mass[at].sum(axis=1)
