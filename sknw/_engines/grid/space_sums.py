"""Gaussian sums over keys of three features, by tensor Chebyshev expansions on cells, a slab of space at a time.

It knows cells, moments and expansions, and how much of them is held at once; not what sums are for. Where all moments
are too much to hold, the columns are summed one after the other, and the cells of queries are cut into slabs along the
first feature, such that the moments of all cells within reach of one fit into memory; they are made for the slab, and
forgotten after it.

The expansion on a cell of queries is made in three steps. Along the first feature the moments of each line of cells are
translated to the place of the query's cell; that serves all queries at this place. Of what results, lines along the
second feature are translated to the cell's place there, and the last line along the third.

A tensor is a matrix (p, n_pairs): one row for each term along the feature that is translated next, and columns for
`Pairs` of terms along the two others. Tensors of consecutive cells of a line are one matrix (n_cells * p, n_pairs). The
translations (p, n_cells * p) times that are the tensor at the place of the query, which is turned round for the next
step: its rows become one of each pair.

Error. With distances x, y and z along the features, and k, k' and g of `translation`, k'(x) k'(y) k'(z) and
k(x) k(y) k(z) differ by at most

    3 INTERPOLATION g(x) g(y) g(z)

for each unit of mass, but for INTERPOLATION²: features are exchanged one after the other, as for two. Pairs that are
not kept add LEFT_OUT g(x) g(y) g(z), see `pairs`. Rounding is bounded alike, with CELL_ROUNDING for each feature.
"""

from functools import cached_property
from math import ceil
from typing import NamedTuple

import numpy as np

from ..chebyshev import n_gaussian_terms, polynomials
from .cells import bounds_of, pieces
from .pairs import Pairs
from .translation import CELL_ROUNDING, REACH, Translation

WIDTH = 4.5
"""Bandwidths that a cell is wide. Wider cells are fewer, but have more terms."""

MARGIN = ceil(REACH / WIDTH)
"""Cells that reach as far."""

UNITS = 10
"""Bits to which widths are rounded up, so that positions are exact."""

INTERPOLATION = 5e-15
"""Error of the interpolation along one feature, for each unit of mass and of g."""

LEFT_OUT = 15e-15
"""Error of leaving out pairs of terms, for each unit of mass and of g."""

TENSOR_VALUES = 11 * 2**22
"""Numbers that moments and their translations along the first feature may take: 352 MiB."""

LINE_CELLS = 16
"""Cells of queries whose expansions are held together."""

PIECE_ROWS = 2**9
"""Keys, or queries, whose products of Chebyshev polynomials are taken together."""

BOUND_CELLS = 2**12
"""Cells of queries whose errors are bounded together."""


def cell_widths(bandwidth):
    """The width of cells along each feature: `units` times two to the `exponent`, [(exponent, units)]."""
    mantissas, exponents = np.frexp(bandwidth)
    return list(zip((exponents - UNITS).tolist(), _units(mantissas).tolist(), strict=True))


def _units(mantissas):
    return np.ceil(np.ldexp(WIDTH * mantissas, UNITS)).astype(int)


class Tensors(NamedTuple):
    """Tensors (n_columns, n_cells, p, n_pairs) on cells, in the order of their numbers.

    Numbers are those of cells with the features turned round: the next one moves fastest.
    """

    numbers: np.ndarray
    values: np.ndarray


class Space:
    """Keys (n, 3) in cells `WIDTH` bandwidths wide, ready for queries."""

    def __init__(self, cells, kernel, bandwidth):
        self.cells, self.n_columns = cells, cells.columns.shape[1]
        self._n_places = [axis.n_places for axis in cells.axes]
        mantissas, _ = np.frexp(bandwidth)
        widths = np.ldexp(_units(mantissas) / mantissas, -UNITS)
        self.n_terms = n_gaussian_terms(widths.max(), INTERPOLATION)
        self.pairs = Pairs(widths.max(), self.n_terms, LEFT_OUT)
        self._turn = self.pairs.turn
        self.along = [Translation(kernel, width, self.n_terms) for width in widths]
        self._matrices = [self._turned_matrices(one) for one in self.along]
        self._planes = cells.occupied // (self._n_places[1] * self._n_places[2])

    def _turned_matrices(self, translation):
        """Matrices (n_offsets, n_terms, n_terms), from terms of moments in ascending cells to terms of expansions."""
        by_terms = translation.matrices[0].reshape(self.n_terms, -1, self.n_terms)
        return np.ascontiguousarray(by_terms.transpose(1, 2, 0))

    def sums(self, cells, positions):
        """Sums (b, 1, n_columns) for queries in ascending cells.

        And a bound (b,) on their errors; inf in cell -1.
        """
        sums, error = np.zeros((len(cells), 1, self.n_columns)), np.full(len(cells), np.inf)
        bounds = bounds_of(cells)
        targets = cells[bounds[:-1]]
        error[bounds[0] :] = np.repeat(self._errors(targets), np.diff(bounds))
        together, largest = self.room
        for first, last in self._slabs(targets, largest):
            rows = slice(bounds[first], bounds[last])
            slab = targets[first:last], bounds[first : last + 1] - bounds[first], positions[:, rows]
            for k in range(0, self.n_columns, together):
                columns = range(k, min(k + together, self.n_columns))
                sums[rows, 0, k : k + together] = self._slab_sums(*slab, columns)
        return sums, error

    def _errors(self, targets):
        """Bounds (n_targets,) on the errors of sums in cells."""
        mass, far_weight = self.cells.mass, max(one.far_weight for one in self.along)
        x, y, z = (np.arange(-one.reach, one.reach + 1) for one in self.along)
        offsets = ((x[:, None] * self._n_places[1] + y)[:, :, None] * self._n_places[2] + z).reshape(-1)
        near = np.empty(len(targets))
        for begin in range(0, len(targets), BOUND_CELLS):
            block = slice(begin, begin + BOUND_CELLS)
            masses = mass[self.cells.find(targets[block, None] + offsets)].reshape(-1, len(x), len(y), len(z))
            near[block] = masses @ self.along[2].decay @ self.along[1].decay @ self.along[0].decay
        share = 3 * (INTERPOLATION + CELL_ROUNDING) + LEFT_OUT
        return share * near + self.cells.columns.T[-1].sum() * far_weight

    @cached_property
    def room(self):
        """How many columns are summed together, and of how many cells of keys.

        All cells if possible, otherwise one column of a slab; 0 cells where those within reach of one place are too
        many. As many tensors as there are lines of cells along the first feature are held besides.
        """
        n_lines, n_most = self._n_places[1] * self._n_places[2], TENSOR_VALUES // self._turn.size
        planes = np.unique(self._planes)
        begin, end = np.searchsorted(self._planes, planes), self._reached(planes + MARGIN)
        most = (end - begin).max(initial=0)
        if most > n_most:
            return 1, 0
        lines = [len(np.unique(self.cells.occupied[a:b] % n_lines)) for a, b in zip(begin, end, strict=True)]
        together = n_most // (len(self._planes) + max(lines, default=1))
        if together > 0:
            return min(together, self.n_columns), len(self._planes)
        largest = n_most - max(lines)
        return 1, largest if most <= largest else 0

    def _reached(self, places):
        """The ends of the cells of keys within reach of places along the first feature, or before."""
        return np.searchsorted(self._planes, places + MARGIN, side="right")

    def _slabs(self, targets, largest):
        """Cut cells of queries into first ... last that are within reach of at most `largest` cells of keys."""
        places = targets // (self._n_places[1] * self._n_places[2])
        ends, first = self._reached(places), 0
        while first < len(targets):
            begin = np.searchsorted(self._planes, places[first] - MARGIN)
            last = int(np.searchsorted(ends, begin + largest, side="right"))
            yield first, last
            first = last

    def _slab_sums(self, targets, bounds, positions, columns):
        """Sums (b, n_columns) for queries bounds[c] ... bounds[c + 1] in cells targets[c] of a slab."""
        x, y, z = np.unravel_index(targets, self._n_places)
        sources = self._moments(x[0], x[-1], columns)
        sums = np.zeros((bounds[-1], len(sources.values)))
        for first, last in _runs(x, 0, len(x)):
            lines = self._translate(sources, 0, x[first])
            for begin, end in _runs(y, first, last):
                line = self._translate(lines, 1, y[begin])
                for c in range(begin, end if len(line.numbers) else begin, LINE_CELLS):
                    here = slice(c, min(c + LINE_CELLS, end))
                    local = [self._translate(line, 2, place).values for place in z[here]]
                    rows = slice(bounds[c], bounds[here.stop])
                    sums[rows] = self._evaluate(local, bounds[c : here.stop + 1] - bounds[c], positions[:, rows])
        return sums

    def _moments(self, first, last, columns):
        """The moments of columns, of all cells within reach of places first ... last along the first feature."""
        begin, end = np.searchsorted(self._planes, [first - MARGIN, last + MARGIN + 1])
        numbers = self._turned(self.cells.occupied[begin:end], 0)
        order = np.argsort(numbers)
        bounds, positions, weights = self.cells.sorted_keys(begin, end, columns)
        moments = np.zeros((len(weights), len(order), *self._turn.shape))
        place_of, products = np.argsort(order), Products(self.pairs)
        for rows, blocks in pieces(bounds, PIECE_ROWS):
            x, y, z = self._polynomials(positions[:, rows])
            weighted = (weights[:, None, rows] * x).reshape(-1, x.shape[1])
            for c, block in blocks:
                found = weighted[:, block] @ products(y[:, block], z[:, block]).T
                moments[:, place_of[c]] += found.reshape(len(weights), self.n_terms, -1)
        return Tensors(numbers[order], moments)

    def _turned(self, numbers, feature):
        """Numbers of cells over the features from one on, with that one moved from the slowest to the fastest."""
        n_others = int(np.prod(self._n_places[feature + 1 :]))
        return numbers % n_others * self._n_places[feature] + numbers // n_others

    def _translate(self, sources, feature, place):
        """Translate tensors along a feature, to a place; those of lines that have some within reach."""
        n_here, n_pairs = self._n_places[feature], len(self.pairs)
        lines = np.unique(sources.numbers // n_here)
        begin, end = np.searchsorted(sources.numbers, lines * n_here + place + [[-MARGIN], [MARGIN + 1]])
        near = np.flatnonzero(end > begin)
        numbers = self._turned(lines[near], feature + 1) if feature < 2 else lines[near]
        order = np.argsort(numbers)
        values = np.empty((len(sources.values), len(near), *self._turn.shape))
        memory = np.zeros(self._turn.size + 1)
        found = memory[:-1].reshape(self._turn.shape)
        for i, (a, b) in enumerate(zip(begin[near[order]], end[near[order]], strict=True)):
            matrices = self._matrices[feature][sources.numbers[a:b] % n_here - place + MARGIN].reshape(-1, self.n_terms)
            for terms, one in zip(sources.values, values, strict=True):
                np.matmul(matrices.T, terms[a:b].reshape(-1, n_pairs), out=found if feature < 2 else one[i])
                if feature < 2:
                    np.take(memory, self._turn, out=one[i], mode="clip")
        return Tensors(numbers[order], values)

    def _evaluate(self, local, bounds, positions):
        """Sums (b, n_columns) for queries bounds[c] ... bounds[c + 1] in the cell of local[c], which is empty for 0."""
        n_columns, products = len(local[0]), Products(self.pairs)
        sums = np.empty((positions.shape[1], n_columns))
        for rows, blocks in pieces(bounds, PIECE_ROWS):
            x, y, z = self._polynomials(positions[:, rows])
            terms = np.zeros((n_columns * self.n_terms, x.shape[1]))
            for c, block in blocks:
                if local[c].size:
                    tensors = local[c].reshape(-1, len(self.pairs))
                    np.matmul(tensors, products(x[:, block], y[:, block]), out=terms[:, block])
            sums[rows] = (terms.reshape(n_columns, *z.shape) * z).sum(axis=1).T
        return sums

    def _polynomials(self, positions):
        """The Chebyshev polynomials (3, n_terms, b) at positions (3, b)."""
        return polynomials(positions.reshape(-1), self.n_terms).reshape(self.n_terms, 3, -1).swapaxes(0, 1)


class Products:
    """The products (n_pairs, b) of polynomials (p, b) along two features, in memory that is used again."""

    def __init__(self, pairs):
        self._pairs, self._memory = pairs, np.empty((2, len(pairs) * PIECE_ROWS))

    def __call__(self, y, z):
        first, second = self._memory[:, : len(self._pairs) * y.shape[1]].reshape(2, -1, y.shape[1])
        np.take(y, self._pairs.first, axis=0, out=first, mode="clip")
        first *= np.take(z, self._pairs.second, axis=0, out=second, mode="clip")
        return first


def _runs(places, first, last):
    """Cut first ... last into runs of equal places."""
    cuts = np.flatnonzero(np.diff(places[first:last])) + first + 1
    return zip([first, *cuts.tolist()], [*cuts.tolist(), last], strict=True)
