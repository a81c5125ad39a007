"""Sums of the Gaussian, the logistic kernel or its square over sorted keys, by Chebyshev expansions on cells.

A fast Gauss transform (Greengard & Strain 1991) with cells half a bandwidth to one bandwidth wide. The keys of a cell
enter through their moments in the Chebyshev basis; p x p matrices, one for each distance between cells, turn moments
into an expansion of the sums over each cell that holds queries; a query evaluates it.

Only cells with many keys within reach are expanded, and only keys that may be within reach of such a cell have moments:
others cost less one by one. From 2^52 cells on, where neighbours of a cell have no numbers of their own, no two keys
share a cell, and none has many within reach.
"""

from functools import cached_property, partial
from math import ceil, log, sqrt

import numpy as np

from ..chebyshev import gaussian_share, logistic_share, n_gaussian_terms, n_logistic_terms, polynomials, translations
from .points import FEW_NUMBERS, bounds_of, locate
from .tables import LEBESGUE, PARTS, Table

LEAST_ERROR, LEAST_SQUARE_ERROR, MOST_ERROR = 1e-14, 1e-13, 1e-4
"""Errors of the expansions for each unit of mass nearby: of kernels, and of the square of the logistic kernel."""

TOL_SHARE = 1e-4
"""The error of the expansions as a fraction of `tol`: the inverse is about how much more mass than its own a query may
have nearby.
"""

NEGLECTED_SHARE = 1e-7
"""The weight of a key out of reach, at most, as a fraction of the error of the expansions."""

SUM_ROUNDING = 64 * np.finfo(float).eps
"""Rounding of the sums of all terms, for each unit of mass nearby."""

CROWD = 4
"""Keys for each cell within reach, up to which sums key by key are cheaper."""

MOST_LOOKED_UP = 2**19
"""Numbers in a `Table`, at most."""

MOST_EXPANDED = 2**18
"""Numbers in expansions up to which those of all cells are kept."""

GATHER_VALUES = 2**19
"""Numbers in the moments that are translated together."""


class Expansion:
    """What expansions of a kernel at a `tol` take on cells of a width, in bandwidths.

    Attributes
    ----------
    error : float
        Their error, for each unit of mass nearby.
    neglected : float
        The weight of a key out of reach, at most.
    reach : int
        Cells on each side within which all keys count.
    n_terms, n_powers : int
        Terms on these cells, and on the parts of one.
    most_terms : int
        Terms on the widest cells at the least error.
    """

    def __init__(self, kernel, width, tol):
        power = 2 if kernel.form == "squared logistic" else 1
        least = LEAST_ERROR if power == 1 else LEAST_SQUARE_ERROR
        self.error = min(max(TOL_SHARE * tol, least), MOST_ERROR)
        self.neglected = NEGLECTED_SHARE * self.error
        if kernel.form == "gaussian":
            reach, self._share, n_terms = sqrt(-2 * log(self.neglected)), gaussian_share, n_gaussian_terms
        else:
            reach = log(4) - log(self.neglected) / power
            self._share, n_terms = partial(logistic_share, power=power), partial(n_logistic_terms, power=power)
        self.kernel, self.width, self.reach = kernel, width, ceil(reach / width)
        self.n_terms, self.n_powers = n_terms(width, self.error), n_terms(width / PARTS, self.error)
        self.most_terms = n_terms(1.0, least)

    @property
    def offsets(self):
        """How many cells apart cells within reach are, (2 reach + 1,)."""
        return np.arange(-self.reach, self.reach + 1)

    @property
    def shares(self):
        """By how much the sums on such cells err less, (2 reach + 1,)."""
        return self._share(self.width * np.maximum(np.abs(self.offsets) - 1, 0))


class CellMoments:
    """Chebyshev moments of `Points`, or `Buckets`, on cells that are as wide as theirs, 1 / 2 to 1 bandwidth."""

    def __init__(self, points, expansion):
        self.expansion, self.n_terms, self.reach = expansion, expansion.n_terms, expansion.reach
        self.offsets, self.shares = expansion.offsets, expansion.shares
        crowded = self._are_crowded(points.cells, points.cells, points.n_before, 2 * self.reach)
        self.sources = points.cells[crowded]
        self.n_before = np.append(0, np.cumsum(np.diff(points.n_before)[crowded]))
        self.moments = points.moments(self.n_terms, np.flatnonzero(crowded))

    def _are_crowded(self, targets, sources, n_before, reach):
        """Whether cells (n_targets,) have many keys within reach; there are n_before[s] keys before source cell s."""
        first, last = np.searchsorted(sources, targets - reach), np.searchsorted(sources, targets + reach, side="right")
        return n_before[last] - n_before[first] > CROWD * len(self.offsets)

    @cached_property
    def translations(self):
        """From the moments of all cells within reach to the expansion of the sums."""
        return translations(self.expansion.kernel, self.n_terms, self.expansion.width, self.offsets)

    def sums(self, x):
        """Sums of the columns (n_columns, b) for ordered queries (b,), and a bound (b,) on the error of each.

        inf, and no sums, where few keys are within reach. Queries are given in widths of cells.
        """
        cell, position = locate(x)
        bounds = bounds_of(cell)
        local, mass = self._expansions(cell[bounds[:-1]])
        counts, basis = np.diff(bounds), polynomials(position, self.n_terms)
        if len(x) * local.shape[2] < FEW_NUMBERS * len(mass):
            sums = np.einsum("qpv,pq->vq", np.repeat(local, counts, axis=0), basis)
        else:
            sums = np.full((local.shape[2], len(x)), np.nan)
            for c in np.flatnonzero(np.isfinite(mass)):
                block = slice(bounds[c], bounds[c + 1])
                np.matmul(local[c].T, basis[:, block], out=sums[:, block])
        return sums, np.repeat((self.expansion.error + SUM_ROUNDING) * mass, counts)

    @cached_property
    def table(self):
        """The sums on all cells as a `Table`; None if these are too many."""
        if self._kept is None:
            return None
        first, local, mass = self._kept
        n_powers = self.expansion.n_powers
        if len(local) * PARTS * n_powers * local.shape[2] > MOST_LOOKED_UP:
            return None
        return Table(first, local, ((LEBESGUE + 1) * self.expansion.error + SUM_ROUNDING) * mass, n_powers)

    @cached_property
    def _kept(self):
        """The first cell that may be expanded, and the expansions of all such cells and of one that is not; or None."""
        ends = self.sources[[0, -1]] + [-self.reach, self.reach + 1] if len(self.sources) else np.zeros(2)
        if np.ptp(ends) * self.moments[:1].size > MOST_EXPANDED:
            return None
        return ends[0], *self._expand(np.arange(ends[0], ends[1] + 1))

    def _expansions(self, targets):
        """Expansions (n_targets, n_terms, n_columns) of the sums on cells, and the mass nearby (n_targets,).

        Mass counts the less the further it is, as errors do; it is inf for cells that are not expanded.
        """
        if self._kept is None:
            return self._expand(targets)
        first, local, mass = self._kept
        at = np.where(targets >= first, np.minimum(targets - first, len(mass) - 1), -1).astype(np.intp)
        return local[at], mass[at]

    def _expand(self, targets):
        n_columns = self.moments.shape[2]
        local, mass = np.full((len(targets), self.n_terms, n_columns), np.nan), np.full(len(targets), np.inf)
        crowded = np.flatnonzero(self._are_crowded(targets, self.sources, self.n_before, self.reach))
        step = max(1, GATHER_VALUES // (self.translations.shape[1] * n_columns))
        for begin in range(0, len(crowded), step):
            block = crowded[begin : begin + step]
            moments = self._moments_around(targets[block])
            mass[block] = moments[:, :, 0, -1] @ self.shares
            local[block] = self.translations @ moments.reshape(len(block), -1, n_columns)
        return local, mass

    def _moments_around(self, targets):
        """Moments (n_targets, 2 reach + 1, n_terms, n_columns) of the cells around each target, the last one first."""
        sources = targets[:, None] - self.offsets
        at = np.minimum(np.searchsorted(self.sources, sources), len(self.sources) - 1)
        moments = self.moments[at]
        moments[self.sources[at] != sources] = 0.0
        return moments
