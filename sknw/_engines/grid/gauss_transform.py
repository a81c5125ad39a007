"""Gaussian sums over keys of two features, by tensor Chebyshev expansions on cells.

`PlaneCells` know the keys: which cells hold some, and the moments of these. A `Grid` makes expansions of moments for
one bandwidth. Cells are two to four bandwidths wide, a power of two, so bandwidths within a factor of two share them.

Error. With distances x and y along the two features, and k, k' and g of `translation`,

    |k'(x) k'(y) - k(x) k(y)| <= |k'(x) - k(x)| |k'(y)| + |k(x)| |k'(y) - k(y)| <= 2 INTERPOLATION g(x) g(y)

for each unit of mass, but for INTERPOLATION². Rounding is bounded alike, with CELL_ROUNDING.

Sums of u_f² K, u_f being the distance along feature f in bandwidths, come from the same moments, with translations of
k2(u) = u² k(u) along f. By `chebyshev` k2 and its interpolant from p terms differ by less than
(p + 2.5) INTERPOLATION g, and k2 = u² g(u)² <= 1.5 g(u), so

    |k2'(x) k'(y) - k2(x) k(y)| <= (p + 4) INTERPOLATION g(x) g(y),

but for INTERPOLATION²: less than REACH² / 2 times as much as above. Keys left out add at most REACH² exp(-REACH² / 2)
each. All in all such a sum errs by no more than REACH² times what one of K may err by.

A few queries are answered from the moments of the cells within reach, without expansions on their own cells.
"""

from functools import cached_property
from math import ceil

import numpy as np

from ..._threads import single_threaded_blas
from ..chebyshev import n_gaussian_terms, polynomials
from .cells import Cells, bounds_of, pieces
from .translation import CELL_ROUNDING, REACH, Translation

MARGIN = ceil(REACH / 2)
"""Cells that reach as far, however many bandwidths wide."""

INTERPOLATION = 2e-15
"""Error of the interpolation along one feature, for each unit of mass and of g."""

PIECE_ROWS = 2**11
"""Sorted keys, or queries, whose Chebyshev polynomials are taken together."""

SUMS, DERIVATIVES = ((0, 0),), ((0, 0), (1, 0), (0, 1))
"""What is expanded: powers of u² that the kernel is multiplied by, along each feature."""

FEW_QUERIES = 8
"""Queries up to which expansions on their cells take longer than sums of moments."""

GATHER_VALUES = 2**19
"""Numbers in the moments that are translated together."""


class PlaneCells(Cells):
    """Keys (n, 2) in cells, and their moments, for all bandwidths that `fit`."""

    def __init__(self, keys, columns, bandwidth):
        self.exponents, self._latest = _exponents(bandwidth), (None, None)
        super().__init__(keys, columns, [(exponent, 1) for exponent in self.exponents], MARGIN)

    def fit(self, bandwidth):
        """Whether cells are as wide as for another bandwidth."""
        return (_exponents(bandwidth) == self.exponents).all()

    def moments(self, n_terms):
        """Moments (n_cells + 1, n_x, n_columns * n_y) for (n_x, n_y) terms, kept until others are asked for.

        Those of the last cell are zero.
        """
        latest = self._latest
        if latest[0] != n_terms:
            latest = self._latest = None, None
            with single_threaded_blas():
                latest = self._latest = n_terms, self._make_moments(*n_terms)
        return latest[1]

    def _make_moments(self, n_x, n_y):
        columns = self.columns.T.take(self._order, axis=1)
        moments = np.zeros((len(self._bounds), n_x, len(columns) * n_y))
        for rows, blocks in pieces(self._bounds, PIECE_ROWS):
            x, y = _polynomials(self.positions(rows), n_x, n_y)
            weighted = (columns[:, None, rows] * y).reshape(len(columns) * n_y, -1)
            for c, block in blocks:
                moments[c] += x[:, block] @ weighted[:, block].T
        return moments


def _exponents(bandwidth):
    return np.frexp(bandwidth)[1] + 1


def _n_terms(width):
    n_terms = n_gaussian_terms(width, INTERPOLATION)
    return n_terms + n_terms % 2  # so that more bandwidths share moments


def _polynomials(positions, n_x, n_y):
    """The Chebyshev polynomials (n_x, b) and (n_y, b) at positions (2, b); made together, to be quick."""
    both = polynomials(positions.reshape(-1), max(n_x, n_y)).reshape(-1, *positions.shape)
    return both[:n_x, 0], both[:n_y, 1]


class Grid:
    """Cells with one bandwidth, ready for queries."""

    def __init__(self, cells, kernel, bandwidth):
        self.cells, self.n_columns = cells, cells.columns.shape[1]
        self.along = [Translation(kernel, width, _n_terms(width)) for width in 2 / np.frexp(bandwidth)[0]]
        self.n_terms = tuple(one.n_terms for one in self.along)
        self.cell_values = self.n_columns * self.n_terms[0] * self.n_terms[1]

    def prepare(self):
        """Have the moments made."""
        self.moments = self.cells.moments(self.n_terms)
        self.far_mass = self.cells.columns.T[-1].sum() * max(one.far_weight for one in self.along)

    def sums(self, cells, positions, powers=SUMS):
        """Sums (b, n_expansions, n_columns) for queries in ascending cells, an expansion for each of the `powers`.

        And a bound (b,) on the errors of those of the kernel; inf in cell -1.
        """
        sums, error = np.zeros((len(cells), len(powers), self.n_columns)), np.full(len(cells), np.inf)
        if len(cells) <= FEW_QUERIES and powers is SUMS:
            for i in np.flatnonzero(cells >= 0):
                sums[i, 0], error[i] = self._single_sums(cells[i], positions[:, i])
            return sums, error
        bounds = bounds_of(cells)
        targets = cells[bounds[:-1]]
        for first, last in self._runs(targets):
            local, bound = self._expansions(targets[first:last], powers)
            rows = slice(bounds[first], bounds[last])
            counts = np.diff(bounds[first : last + 1])
            error[rows] = np.repeat(bound, counts)
            sums[rows] = self._evaluate(local, bounds[first : last + 1] - bounds[first], positions[:, rows])
        return sums, error

    @cached_property
    def _window(self):
        """What to add to a cell for all cells within reach, (n_x, n_y)."""
        x, y = (np.arange(-one.reach, one.reach + 1) for one in self.along)
        return x[:, None] * self.cells.axes[1].n_places + y

    def _single_sums(self, cell, position):
        """Sums (n_columns,) for a query at a position (2,) in a cell, and a bound on their errors."""
        x, y = self.along
        at = self.cells.find(cell + self._window)
        is_occupied, along_x, along_y = at < len(self.moments) - 1, *map(Translation.coefficients, self.along, position)
        partial = np.empty((np.count_nonzero(is_occupied), self.n_columns * y.n_terms))
        end = 0
        for places, mask, coefficients in zip(at, is_occupied, along_x, strict=True):
            near = places[mask]  # these follow each other
            if len(near):
                begin, end = end, end + len(near)
                np.matmul(coefficients, self.moments[near[0] : near[-1] + 1], out=partial[begin:end])
        along_y = along_y[np.nonzero(is_occupied)[1]]
        sums = np.einsum("bct,bt->c", partial.reshape(-1, self.n_columns, y.n_terms), along_y)
        return sums, self._bound(x.decay @ self.cells.mass[at] @ y.decay)

    def _bound(self, near):
        """The bound on errors of sums, for masses of cells within reach times their decay."""
        return 2 * (INTERPOLATION + CELL_ROUNDING) * near + self.far_mass

    def _runs(self, targets):
        """Cut cells into first ... last that share their place along the first feature; not too many."""
        most = max(1, GATHER_VALUES // (4 * self.cell_values))
        changes = np.flatnonzero(np.diff(targets // self.cells.axes[1].n_places)) + 1
        for first, last in zip(np.append(0, changes), np.append(changes, len(targets)), strict=True):
            for begin in range(first, last, most):
                yield begin, min(begin + most, last)

    def _expansions(self, targets, powers):
        """Expansions (n_targets, n_expansions, n_terms, n_terms * n_columns) on cells of one column, and their error.

        Translated along the first feature, to the places along the second that are within reach of a target; these
        are the rows of `near`, in which the places within reach of one target follow each other.
        """
        x, y = self.along
        near, window = np.unique(targets[:, None] + np.arange(-y.reach, y.reach + 1), return_inverse=True)
        window = window.reshape(len(targets), -1)
        sources = near[:, None] + np.arange(-x.reach, x.reach + 1) * self.cells.axes[1].n_places
        at = self.cells.find(sources)
        mass = self.cells.mass[at]
        error = self._bound((mass @ x.decay)[window] @ y.decay)

        along_x = self._translate_along_x(at, mass.any(axis=1), 1 + max(i for i, _ in powers))
        local = np.empty((len(targets), len(powers), *along_x.shape[2:]))
        for c, first in enumerate(window[:, 0]):
            for e, (i, j) in enumerate(powers):
                sources = along_x[i, first : first + window.shape[1]].reshape(-1, local.shape[3])
                np.matmul(y.matrices[j], sources, out=local[c, e])
        return local, error

    def _translate_along_x(self, at, occupied, n_powers):
        """The moments at[b] of rows of cells along the first feature, as expansions there; moments along the second.

        For the first powers of u², (n_powers, b, n_terms, n_terms * n_columns); zero but where `occupied`.
        """
        x, y = self.along
        translated = np.zeros((n_powers, len(at), y.n_terms, x.n_terms * self.n_columns))
        occupied = np.flatnonzero(occupied)
        matrices = x.matrices[:n_powers].reshape(n_powers * x.n_terms, -1)
        step = max(1, GATHER_VALUES // (self.cell_values * at.shape[1]))
        for begin in range(0, len(occupied), step):
            block = occupied[begin : begin + step]
            moments = np.take(self.moments, at[block], axis=0).reshape(len(block), -1, self.n_columns * y.n_terms)
            along_x = (matrices @ moments).reshape(len(block), n_powers, -1, y.n_terms)
            translated[:, block] = along_x.transpose(1, 0, 3, 2)
        return translated

    def _evaluate(self, local, bounds, positions):
        """Sums (b, n_expansions, n_columns) for queries bounds[c] ... bounds[c + 1] in the cell of local[c]."""
        sums = np.empty((positions.shape[1], local.shape[1], self.n_columns))
        for rows, blocks in pieces(bounds, PIECE_ROWS):
            x, y = _polynomials(positions[:, rows], *self.n_terms)
            terms = np.empty((local.shape[3], x.shape[1]))
            for e in range(local.shape[1]):
                for c, block in blocks:
                    np.matmul(local[c, e].T, y[:, block], out=terms[:, block])
                products = terms.reshape(len(x), self.n_columns, -1)
                products *= x[:, None]
                sums[rows, e] = products.sum(axis=0).T
        return sums
