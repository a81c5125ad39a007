"""Cells of keys: where cells are, and which of them hold keys; in any number of features.

Positions. Cells are a whole number of powers of two wide and begin at multiples of their width, so the cell of x and
what remains of x are exact, wherever x is: neither a far key nor an offset costs a digit. Keys and queries more than
FARTHEST_CELL cells from zero, where floats are too coarse for cells, have no cell.
"""

from functools import cached_property

import numpy as np

FARTHEST_CELL = 2.0**50
"""Cells a power of two wide from zero up to which keys and queries have a cell."""


class Axis:
    """Cells along one feature: where they are.

    Places count the cells without the gaps that no query can feel both sides of. Of all places, the first and the
    last `margin` hold no key.

    Parameters
    ----------
    x : (n,) float ndarray
        The keys.
    exponent, units : int
        A cell is `units` times two to the `exponent` wide.
    margin : int
        Cells that a query can feel on each side of its own.
    """

    def __init__(self, x, exponent, units, margin):
        self.exponent, self.units, self.farthest = exponent, units, FARTHEST_CELL / units
        with np.errstate(over="ignore", invalid="ignore"):
            cell, _ = self._cells(x)
        cell = np.unique(np.where(np.abs(cell) < self.farthest, cell, 0.0))
        last = np.flatnonzero(np.diff(cell) > 2 * margin)
        self.low = cell[np.append(0, last + 1)] - margin
        self.high = cell[np.append(last, -1)] + margin
        ends = np.cumsum(self.high - self.low + 1)
        self.base = np.append(0.0, ends[:-1]) - self.low
        self.n_places = int(ends[-1])

    def _cells(self, x):
        """The cell of each x, and the part of the cell that lies before x."""
        x = np.ldexp(x, -self.exponent)
        if self.units == 1:
            cell = np.floor(x)
            return cell, x - cell
        cell = np.floor(x / self.units)
        cell += np.floor((x - cell * self.units) / self.units)  # -1 where the quotient was rounded up to a whole number
        return cell, (x - cell * self.units) / self.units

    @np.errstate(over="ignore", invalid="ignore")
    def position(self, x):
        """The position of each x (b,) in its cell, in [-1, 1]."""
        return 2 * self._cells(x)[1] - 1

    def locate(self, x):
        """The place of each x (b,), -1 where no key is within reach, and its position in the cell, in [-1, 1]."""
        cell, part = self._cells(x)
        segment = np.maximum(np.searchsorted(self.low, cell, side="right") - 1, 0)
        within = (cell >= self.low[segment]) & (cell <= self.high[segment]) & (np.abs(cell) < self.farthest)
        return np.where(within, cell + self.base[segment], -1).astype(np.int64), 2 * part - 1


class Cells:
    """Keys (n, n_features) and their columns (n, n_columns) in cells.

    A cell is its place along the first feature times the number of places along the second, plus its place there, and
    so on. Where that would overflow, no point has a cell.
    """

    def __init__(self, keys, columns, widths, margin):
        self.columns = columns
        self.axes = [Axis(keys[:, f], *width, margin) for f, width in enumerate(widths)]
        self._is_countable = np.prod([float(axis.n_places) for axis in self.axes]) < 2.0**62
        self._keys, (cells, _) = keys, self.locate(keys)
        self._order = np.argsort(cells)[np.count_nonzero(cells < 0) :]
        cells = cells[self._order]
        self._bounds = bounds_of(cells)
        self.occupied = cells[self._bounds[:-1]]

    @np.errstate(over="ignore", invalid="ignore")
    def locate(self, points):
        """The cell of each point (b, n_features), -1 where no key is within reach, and its position there."""
        places, positions = zip(*(axis.locate(points[:, f]) for f, axis in enumerate(self.axes)), strict=True)
        cells, within = places[0], (places[0] >= 0) & self._is_countable
        for place, axis in zip(places[1:], self.axes[1:], strict=True):
            cells, within = cells * axis.n_places + place, within & (place >= 0)
        return np.where(within, cells, -1), np.stack(positions)

    def find(self, cells):
        """The positions of cells, of any shape, among those that are occupied; the number of these where one is not."""
        at = np.minimum(np.searchsorted(self.occupied, cells), len(self.occupied) - 1)
        return np.where(self.occupied[at] == cells, at, len(self.occupied))

    def positions(self, rows):
        """The positions (n_features, b) in their cells of some keys, by rows in the order of the cells."""
        keys = np.take(self._keys, self._order[rows], axis=0)
        return np.stack([axis.position(keys[:, f]) for f, axis in enumerate(self.axes)])

    def sorted_keys(self, first, last, columns):
        """The keys of the occupied cells first ... last, in their order.

        Returns bounds (n_cells + 1,) of the cells, and of the keys positions (n_features, b) and some columns
        (n_columns, b).
        """
        bounds = self._bounds[first : last + 1]
        rows = slice(bounds[0], bounds[-1])
        columns = np.stack([self.columns.T[k][self._order[rows]] for k in columns])
        return bounds - bounds[0], self.positions(rows), columns

    @cached_property
    def mass(self):
        """The mass of each cell, and 0, (n_cells + 1,)."""
        return np.append(np.add.reduceat(np.take(self.columns.T[-1], self._order), self._bounds[:-1]), 0.0)


def bounds_of(cells):
    """Where each cell begins in ascending cells (n,), and where the last one ends; points in cell -1 are left out."""
    return np.append(np.flatnonzero(np.diff(cells, prepend=-1)), len(cells))


def pieces(bounds, step):
    """Cut rows bounds[c] ... bounds[c + 1] of cells c into (slice of at most `step` rows,
    [(c, block of that cell in the slice)])."""
    for begin in range(0, bounds[-1], step):
        end = min(begin + step, bounds[-1])
        first, last = np.searchsorted(bounds, begin, side="right") - 1, np.searchsorted(bounds, end)
        cuts = (np.clip(bounds[first : last + 1], begin, end) - begin).tolist()
        yield slice(begin, end), [(first + c, slice(*cuts[c : c + 2])) for c in range(last - first)]
