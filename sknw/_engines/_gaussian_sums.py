"""Gaussian sums over sorted keys, by cells where that is accurate and by windows where it is not.

A fast Gauss transform (Greengard & Strain 1991) on sorted keys, with Chebyshev expansions on cells one bandwidth
wide. The keys of a cell enter through their moments in the Chebyshev basis; p x p matrices, one for each distance
between cells, turn moments into an expansion of the sums over each cell that holds queries; a query evaluates it.

Error. Interpolating exp(-u² / 2) in both arguments on cells of width 1 errs by at most EXPANSION for each unit of
mass (|f^(p)| <= 1.09 sqrt(p!) and the Lebesgue constant of p nodes); keys more than REACH cells away are left out, and
weigh less than exp(-REACH² / 2) each; positions are rounded to eps times the span of their segment, which changes a
weight by REACH times that. Values lie in [0, range], so the error of a prediction, as a fraction of the range, is at
most twice the error of the mass over the mass. Queries for which that exceeds `tol` (in tails and gaps, and in
leave-one-out where little else is near) sum their window directly: the exact softmax over all keys but those that,
all together, weigh less than tol / 4 of the nearest.
"""

from math import exp, log, pi

import numpy as np
from scipy.special import gammaln

REACH = 9
"""Cells on each side that a query takes keys from: exp(-81 / 2) = 3e-18."""

EXPANSION = 1e-14
"""Error of the expansions for each unit of mass."""

ROUNDING = 64 * np.finfo(float).eps
"""Rounding of the sums of up to 15 terms, for each unit of mass."""

MIN_OCCUPANCY = 8
"""Keys in a cell, on average, under which windows are cheaper than cells."""

BLOCK_ROWS = 2**15
"""Sorted queries, and sorted keys, done together."""

BLOCK_VALUES = 2**20
"""Numbers that a block of windows holds: a row of columns for each pair of a query and a key."""


class GaussianSums:
    """Sums of the columns (n, n_columns), weighted by the Gaussian of bandwidth h, over sorted keys (n,)."""

    def __init__(self, keys, columns, h):
        self.keys, self.columns, self.h = keys, columns, h
        self.total = columns[:, -1].sum()
        self.cells = Cells(keys, columns, h)

    @np.errstate(divide="ignore")
    def sums(self, q, own, tol):
        """Sums (b, n_columns) for sorted queries (b,), up to a factor, and the logarithm of that factor (b,).

        `own` is None, or the positions (b,) of the queries' own keys, -1 without one, and what they keep (b,).
        """
        log_scale = np.zeros(len(q))
        if tol == 0 or self.cells.moments is None:
            sums, weak = np.empty((len(q), self.columns.shape[1])), np.arange(len(q))
        else:
            sums, error = self.cells.sums(q)
            error += self.total * exp(-(REACH**2) / 2)
            if own is not None:
                position, kept = own
                gone = np.where(position >= 0, 1 - kept, 0.0)[:, None] * self.columns[position]
                sums -= gone
                error += np.finfo(float).eps * gone[:, -1]
            weak = np.flatnonzero(~(sums[:, -1] * tol > 2 * error))
        if len(weak):
            sums[weak], log_scale[weak] = self._window_sums(q[weak], take_own(own, weak), tol)
        return sums, log_scale

    def _nearest(self, q, own):
        """The position of the nearest key of each query; of the nearest other key, if the own one keeps nothing."""
        right = np.searchsorted(self.keys, q)
        left = right - 1
        if own is not None:
            position, kept = own
            gone = (position >= 0) & (kept == 0)
            left = np.where(gone, position - 1, left)
            right = np.where(gone, position + 1, right)
        last = len(self.keys) - 1
        to_left = np.where(left >= 0, q - self.keys[np.maximum(left, 0)], np.inf)
        to_right = np.where(right <= last, self.keys[np.minimum(right, last)] - q, np.inf)
        return np.where(to_left <= to_right, left, right)

    def _window_sums(self, q, own, tol):
        """Sums by the exact softmax over windows, relative to the weight of the nearest key, and its logarithm."""
        nearest = self._nearest(q, own)
        x0 = self.keys[nearest]
        spread = log(4 * self.total / (tol * self.columns[:, -1].min())) if tol > 0 else np.inf
        reach = np.sqrt(np.square(x0 - q) + 2 * self.h**2 * max(spread, 0.0))
        reach += 8 * np.finfo(float).eps * (np.abs(q) + reach)  # far away, rounding would lose the nearest keys
        start = np.searchsorted(self.keys, q - reach)
        stop = np.searchsorted(self.keys, q + reach, side="right")
        sums = np.zeros((len(q), self.columns.shape[1]))
        for part, begin, end in _window_parts(start, stop, BLOCK_VALUES // sums.shape[1]):
            sums[part] += self._ragged_sums(q[part], x0[part], begin, end, take_own(own, part))
        return sums, -np.square((x0 - q) / self.h) / 2

    def _ragged_sums(self, q, x0, start, stop, own):
        """Sums for queries with windows start ... stop, relative to the weights of their anchors x0."""
        counts = stop - start
        offsets = np.cumsum(counts) - counts
        key = np.arange(counts.sum()) + np.repeat(start - offsets, counts)
        x = self.keys[key]
        to_anchor = x - np.repeat(x0, counts)
        both = (x - np.repeat(q, counts)) + np.repeat(x0 - q, counts)
        # an own key that is left out may be nearer than the anchor
        weights = np.exp(np.minimum(to_anchor * both / (-2 * self.h**2), 0.0))
        if own is not None:
            position, kept = (np.repeat(a, counts) for a in own)
            weights *= np.where(position == key, kept, 1.0)
        return np.add.reduceat(weights[:, None] * self.columns[key], offsets, axis=0)


def take_own(own, rows):
    """`own`, None or a pair of arrays (b,), for some rows."""
    return None if own is None else (own[0][rows], own[1][rows])


def _window_parts(start, stop, pairs):
    """Cut windows start ... stop of successive queries into (slice of queries, start, stop) of at most `pairs` keys."""
    ends = np.cumsum(stop - start)
    first = 0
    while first < len(ends):
        done = ends[first - 1] if first else 0
        last = int(np.searchsorted(ends, done + pairs, side="right"))
        if last > first:
            yield slice(first, last), start[first:last], stop[first:last]
        else:  # one window alone is too long
            last = first + 1
            for begin in range(start[first], stop[first], pairs):
                yield slice(first, last), np.array([begin]), np.array([min(begin + pairs, stop[first])])
        first = last


class Cells:
    """Chebyshev moments of sorted keys on cells one bandwidth wide; none where cells would hold too few keys.

    Keys are cut into segments at gaps that no query can feel both sides of, each with an origin of its own: one
    far key would otherwise cost all others their digits.
    """

    def __init__(self, keys, columns, h):
        self.h, self.n_terms = h, _n_terms(EXPANSION)
        breaks = np.flatnonzero(np.diff(keys) > 2 * (REACH + 1) * h) + 1
        first = np.concatenate([[0], breaks])
        self.origins = keys[first]
        self.ends = keys[np.append(breaks, len(keys)) - 1]
        lengths = np.floor((self.ends - self.origins) / h) + 2 * REACH + 3
        self.base = np.concatenate([[0.0], np.cumsum(lengths)[:-1]])
        self.rounding = 4 * np.finfo(float).eps * REACH * (self.ends - self.origins + REACH * h) / h
        segment = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(keys))))
        cell, position = self._locate(keys, segment)
        start = np.concatenate([[0], np.flatnonzero(np.diff(cell)) + 1])
        self.moments = None
        if len(keys) < MIN_OCCUPANCY * len(start):
            return
        self.sources = cell[start]
        self.moments = self._moments(position, columns, start)
        self.mass = np.add.reduceat(columns[:, -1], start)
        self.translations = _translations(self.n_terms)

    def _locate(self, x, segment):
        """The cell of each x, counted through all segments, and its position there in [-1, 1]."""
        g = (x - self.origins[segment]) / self.h
        floor = np.floor(g)
        return self.base[segment] + floor, 2 * (g - floor) - 1

    def _moments(self, position, columns, start):
        """Moments (n_terms, n_cells, n_columns) of the cells that begin at `start`, a block of keys at a time."""
        moments = np.zeros((self.n_terms, len(start), columns.shape[1]))
        bounds = np.append(start, len(position))
        for begin in range(0, len(position), BLOCK_ROWS):
            end = min(begin + BLOCK_ROWS, len(position))
            basis = _chebyshev(position[begin:end], self.n_terms)
            for c in range(np.searchsorted(start, begin, side="right") - 1, np.searchsorted(start, end)):
                first, last = max(bounds[c], begin), min(bounds[c + 1], end)
                moments[:, c] += basis[:, first - begin : last - begin] @ columns[first:last]
        return moments

    def _segment_of(self, q):
        """The segment that is nearest to each query, and whether the query is within reach of it."""
        after = np.searchsorted(self.origins, q, side="right")
        left, right = np.maximum(after - 1, 0), np.minimum(after, len(self.origins) - 1)
        beyond = np.maximum(q - self.ends[left], self.origins[left] - q)
        segment = np.where(beyond <= self.origins[right] - q, left, right)
        outside = np.maximum(q - self.ends[segment], self.origins[segment] - q)
        return segment, outside <= REACH * self.h

    def sums(self, q):
        """Sums of the columns for sorted queries (b,), and a bound (b,) on the error of each; inf out of reach."""
        segment, within = self._segment_of(q)
        sums, error = np.zeros((len(q), self.moments.shape[2])), np.full(len(q), np.inf)
        inside = np.flatnonzero(within)
        if len(inside) == 0:
            return sums, error
        segment = segment[inside]
        cell, position = self._locate(q[inside], segment)
        start = np.concatenate([[0], np.flatnonzero(np.diff(cell)) + 1])
        ends = np.append(start[1:], len(cell))
        local, mass = self._expansions(cell[start])
        basis = _chebyshev(position, self.n_terms)
        found = np.empty((len(inside), sums.shape[1]))
        for c, (first, last) in enumerate(zip(start, ends, strict=True)):
            found[first:last] = basis[:, first:last].T @ local[:, c]
        sums[inside] = found
        error[inside] = (EXPANSION + ROUNDING) * np.repeat(mass, ends - start) + self.rounding[segment] * found[:, -1]
        return sums, error

    def _expansions(self, targets):
        """Expansions (n_terms, n_targets, n_columns) of the sums on target cells, and the mass within their reach."""
        n_columns = self.moments.shape[2]
        local = np.zeros((self.n_terms, len(targets), n_columns))
        mass = np.zeros(len(targets))
        for offset, translation in enumerate(self.translations, start=-REACH):
            at = np.minimum(np.searchsorted(self.sources, targets - offset), len(self.sources) - 1)
            here = np.flatnonzero(self.sources[at] == targets - offset)
            moments = self.moments[:, at[here]].reshape(self.n_terms, -1)
            local[:, here] += (translation @ moments).reshape(self.n_terms, -1, n_columns)
            mass[here] += self.mass[at[here]]
        return local, mass


def _n_terms(error):
    """How many Chebyshev terms bring the interpolation of exp(-u² / 2) on a cell of width 1 under `error`."""
    p = 2
    while 4.36 * exp(-p * log(4) - gammaln(p + 1) / 2) * (1 + log(p + 1) / pi) > error:
        p += 1
    return p


def _chebyshev(t, n_terms):
    """The Chebyshev polynomials (n_terms, len(t)) at t in [-1, 1]."""
    basis = np.empty((n_terms, len(t)))
    basis[0], basis[1] = 1, t
    twice = 2 * t
    for k in range(2, n_terms):
        np.multiply(twice, basis[k - 1], out=basis[k])
        basis[k] -= basis[k - 2]
    return basis


def _translations(n_terms):
    """Matrices (2 REACH + 1, p, p) from moments to expansions, for cells -REACH ... REACH widths apart."""
    nodes = np.cos(pi * (np.arange(n_terms) + 0.5) / n_terms)
    to_coefficients = np.cos(np.arange(n_terms)[:, None] * np.arccos(nodes)) * (2 / n_terms)
    to_coefficients[0] /= 2
    offsets = np.arange(-REACH, REACH + 1)[:, None, None]
    u = offsets + (nodes[:, None] - nodes) / 2
    return to_coefficients @ np.exp(-np.square(u) / 2) @ to_coefficients.T
