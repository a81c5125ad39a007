"""Gaussian sums over keys of two features, by tensor Chebyshev expansions on cells.

`Cells` know the keys: which cells hold some, and the moments of these. A `Grid` makes expansions of moments for one
bandwidth. Cells are two to four bandwidths wide, so bandwidths within a factor of two share them.

Positions. Cells are a power of two wide and begin at multiples of it, so x / width, its floor and what remains are
exact, wherever x is: neither a far key nor an offset costs a digit. Keys and queries more than FARTHEST_CELL cells from
zero, where floats are too coarse for cells, have no cell.

Error. Let k be the Gaussian of one feature and k' its interpolant on two cells at distance d. They differ by at most
INTERPOLATION g(d), as `chebyshev` proves, where g(d) = exp(-d² / 4), and k <= g². With distances x and y along the two
features

    |k'(x) k'(y) - k(x) k(y)| <= |k'(x) - k(x)| |k'(y)| + |k(x)| |k'(y) - k(y)| <= 2 INTERPOLATION g(x) g(y)

for each unit of mass, but for INTERPOLATION². Rounding is bounded alike, with CELL_ROUNDING: sums of terms up to k
round by as much as k, and a distance u that is off by eps u changes k by eps u² k(u) <= 1.5 eps g(u). Keys more than
REACH bandwidths away along a feature may be left out, and weigh less than exp(-REACH² / 2) each.

Sums of u_f² K, u_f being the distance along feature f in bandwidths, come from the same moments, with translations of
k2(u) = u² k(u) along f. By `chebyshev` k2 and its interpolant from p terms differ by less than
(p + 2.5) INTERPOLATION g, and k2 = u² g(u)² <= 1.5 g(u), so

    |k2'(x) k'(y) - k2(x) k(y)| <= (p + 4) INTERPOLATION g(x) g(y),

but for INTERPOLATION²: less than REACH² / 2 times as much as above. Keys left out add at most REACH² exp(-REACH² / 2)
each. All in all such a sum errs by no more than REACH² times what one of K may err by.
"""

from functools import cached_property
from math import ceil, exp

import numpy as np

from ..._threads import single_threaded_blas
from ..chebyshev import n_gaussian_terms, polynomials, translations

REACH = 9
"""Bandwidths along each feature within which all keys count: exp(-81 / 2) = 3e-18."""

MARGIN = ceil(REACH / 2)
"""Cells that reach as far, however many bandwidths wide."""

INTERPOLATION = 2e-15
"""Error of the interpolation along one feature, for each unit of mass and of g."""

CELL_ROUNDING = 32 * np.finfo(float).eps
"""Rounding of the sums along one feature, for each unit of mass; up to 16 eps were seen, where keys are equal."""

SUMS, DERIVATIVES = ((0, 0),), ((0, 0), (1, 0), (0, 1))
"""What is expanded: powers of u² that the kernel is multiplied by, along each feature."""

FARTHEST_CELL = 2.0**50
"""Cells from zero up to which keys and queries have a cell."""

GATHER_VALUES = 2**19
"""Numbers in the moments that are translated together."""

PIECE_ROWS = 2**11
"""Sorted keys, or queries, whose Chebyshev polynomials are taken together."""


class Axis:
    """Cells along one feature: where they are.

    Places count the cells without the gaps that no query can feel both sides of. Of all places, the first and the
    last MARGIN hold no key.
    """

    def __init__(self, x, exponent):
        self.exponent = exponent
        cell, _ = self._cells(x)
        cell = np.unique(np.where(np.abs(cell) < FARTHEST_CELL, cell, 0.0))
        last = np.flatnonzero(np.diff(cell) > 2 * MARGIN)
        self.low = cell[np.append(0, last + 1)] - MARGIN
        self.high = cell[np.append(last, -1)] + MARGIN
        ends = np.cumsum(self.high - self.low + 1)
        self.base = np.append(0.0, ends[:-1]) - self.low
        self.n_places = int(ends[-1])

    def _cells(self, x):
        with np.errstate(over="ignore"):
            x = np.ldexp(x, -self.exponent)
        return np.floor(x), x

    def position(self, x):
        """The position of each x (b,) in its cell, in [-1, 1]."""
        cell, x = self._cells(x)
        return 2 * (x - cell) - 1

    def locate(self, x):
        """The place of each x (b,), -1 where no key is within reach, and its position in the cell, in [-1, 1]."""
        cell, x = self._cells(x)
        segment = np.maximum(np.searchsorted(self.low, cell, side="right") - 1, 0)
        within = (cell >= self.low[segment]) & (cell <= self.high[segment]) & (np.abs(cell) < FARTHEST_CELL)
        with np.errstate(invalid="ignore"):
            return np.where(within, cell + self.base[segment], -1).astype(np.int64), 2 * (x - cell) - 1


class Cells:
    """Keys (n, 2) in the order of their cells, for all bandwidths that `fit`.

    A cell is its place along the first feature times the number of places along the second, plus its place there.
    """

    def __init__(self, keys, columns, bandwidth):
        self.exponents, self.columns, self._latest = _exponents(bandwidth), columns, (None, None)
        self.axes = [Axis(keys[:, f], exponent) for f, exponent in enumerate(self.exponents)]
        self._keys, (cells, _) = keys, self.locate(keys)
        self._order = np.argsort(cells)[np.count_nonzero(cells < 0) :]
        cells = cells[self._order]
        self._bounds = np.append(np.flatnonzero(np.diff(cells, prepend=-1)), len(cells))
        self.occupied = cells[self._bounds[:-1]]

    def fit(self, bandwidth):
        """Whether cells are as wide as for another bandwidth."""
        return (_exponents(bandwidth) == self.exponents).all()

    def locate(self, points):
        """The cell of each point (b, 2), -1 where no key is within reach, and its position (2, b) there."""
        (x, x_position), (y, y_position) = (axis.locate(points[:, f]) for f, axis in enumerate(self.axes))
        cells = np.where((x >= 0) & (y >= 0), x * self.axes[1].n_places + y, -1)
        return cells, np.stack([x_position, y_position])

    @cached_property
    def mass(self):
        """The mass of each cell, and 0, (n_cells + 1,)."""
        return np.append(np.add.reduceat(np.take(self.columns.T[-1], self._order), self._bounds[:-1]), 0.0)

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
        for rows, blocks in _pieces(self._bounds):
            keys = np.take(self._keys, self._order[rows], axis=0)
            positions = np.stack([axis.position(keys[:, f]) for f, axis in enumerate(self.axes)])
            x, y = _polynomials(positions, n_x, n_y)
            weighted = (columns[:, None, rows] * y).reshape(len(columns) * n_y, -1)
            for c, block in blocks:
                moments[c] += x[:, block] @ weighted[:, block].T
        return moments


def _exponents(bandwidth):
    return np.frexp(bandwidth)[1] + 1


def _polynomials(positions, n_x, n_y):
    """The Chebyshev polynomials (n_x, b) and (n_y, b) at positions (2, b); made together, to be quick."""
    both = polynomials(positions.reshape(-1), max(n_x, n_y)).reshape(-1, *positions.shape)
    return both[:n_x, 0], both[:n_y, 1]


class Translation:
    """What it takes to get from moments to expansions along one feature."""

    def __init__(self, kernel, h):
        self.kernel, self.width = kernel, 2 / np.frexp(h)[0]
        self.n_terms, self.reach = n_gaussian_terms(self.width, INTERPOLATION), ceil(REACH / self.width)
        self.n_terms += self.n_terms % 2  # so that more bandwidths share moments

    @property
    def far_weight(self):
        """What a key out of reach weighs at most, also if u² / REACH² comes on top, which falls from u² = 2 on."""
        t = (self.width * self.reach) ** 2
        return t / REACH**2 * exp(-t / 2)

    @cached_property
    def matrices(self):
        """Matrices from the moments of all cells within reach to an expansion, side by side.

        For the kernel and u² times the kernel: (2, n_terms, n_offsets * n_terms).
        """
        kernels = self.kernel, lambda t: t * self.kernel(t)
        return np.stack([translations(kernel, self.n_terms, self.width, self._offsets()) for kernel in kernels])

    @cached_property
    def decay(self):
        """exp(-d² / 4) at the least distance d between two cells, for all cells within reach."""
        return np.exp(np.square(self.width * np.maximum(np.abs(self._offsets()) - 1, 0)) / -4)

    def _offsets(self):
        return np.arange(self.reach, -self.reach - 1, -1)


class Grid:
    """Cells with one bandwidth, ready for queries."""

    def __init__(self, cells, kernel, bandwidth):
        self.cells, self.n_columns = cells, cells.columns.shape[1]
        self.along = [Translation(kernel, h) for h in bandwidth]
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
        start = np.flatnonzero(np.diff(cells, prepend=-1))
        bounds = np.append(start, len(cells))
        targets = cells[start]
        for first, last in self._runs(targets):
            local, bound = self._expansions(targets[first:last], powers)
            rows = slice(bounds[first], bounds[last])
            counts = np.diff(bounds[first : last + 1])
            error[rows] = np.repeat(bound, counts)
            sums[rows] = self._evaluate(local, bounds[first : last + 1] - bounds[first], positions[:, rows])
        return sums, error

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
        (x, y), occupied = self.along, self.cells.occupied
        near, window = np.unique(targets[:, None] + np.arange(-y.reach, y.reach + 1), return_inverse=True)
        window = window.reshape(len(targets), -1)
        sources = near[:, None] + np.arange(-x.reach, x.reach + 1) * self.cells.axes[1].n_places
        at = np.minimum(np.searchsorted(occupied, sources), len(occupied) - 1)
        at = np.where(occupied[at] == sources, at, len(occupied))
        mass = self.cells.mass[at]
        error = 2 * (mass @ x.decay)[window] @ y.decay

        along_x = self._translate_along_x(at, mass.any(axis=1), 1 + max(i for i, _ in powers))
        local = np.empty((len(targets), len(powers), *along_x.shape[2:]))
        for c, first in enumerate(window[:, 0]):
            for e, (i, j) in enumerate(powers):
                sources = along_x[i, first : first + window.shape[1]].reshape(-1, local.shape[3])
                np.matmul(y.matrices[j], sources, out=local[c, e])
        return local, (INTERPOLATION + CELL_ROUNDING) * error + self.far_mass

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
        for rows, blocks in _pieces(bounds):
            x, y = _polynomials(positions[:, rows], *self.n_terms)
            terms = np.empty((local.shape[3], x.shape[1]))
            for e in range(local.shape[1]):
                for c, block in blocks:
                    np.matmul(local[c, e].T, y[:, block], out=terms[:, block])
                products = terms.reshape(len(x), self.n_columns, -1)
                products *= x[:, None]
                sums[rows, e] = products.sum(axis=0).T
        return sums


def _pieces(bounds):
    """Cut rows bounds[c] ... bounds[c + 1] of cells c into (slice of rows, [(c, block of that cell in the slice)])."""
    for begin in range(0, bounds[-1], PIECE_ROWS):
        end = min(begin + PIECE_ROWS, bounds[-1])
        first, last = np.searchsorted(bounds, begin, side="right") - 1, np.searchsorted(bounds, end)
        cuts = (np.clip(bounds[first : last + 1], begin, end) - begin).tolist()
        yield slice(begin, end), [(first + c, slice(*cuts[c : c + 2])) for c in range(last - first)]
