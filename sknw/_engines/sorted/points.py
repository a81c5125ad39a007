"""Weighted points in cells: keys, or a few points in the place of many keys.

A cell is a power of two wide and begins at a multiple of it, so that x / width, its floor and what remains are exact,
wherever x is: neither a far key nor an offset costs a digit.

A point at each Chebyshev node, with the weights of Gauss quadrature, has the same moments of up to p Chebyshev
polynomials as all keys of its cell; on wider cells too, where these polynomials are other ones of the same degrees.
Keys are condensed once, in narrow cells, and what a bandwidth needs then comes from far fewer points.
"""

from typing import NamedTuple

import numpy as np

from ..chebyshev import interpolation, polynomials

FULL = 256
"""Keys in a condensed cell, where they are as dense as in the middle half of them."""

POLYNOMIAL_POINTS = 2**13
"""Points whose polynomials are taken together."""

FEW_NUMBERS = 64
"""Points in a cell, in the mean, times columns, up to which sums are faster for all cells together than by a product
for each.
"""


class Points(NamedTuple):
    """Points in cells 2^exponent wide; those of a cell are together, and cells ascend."""

    exponent: int
    cells: np.ndarray  # (n_cells,) their numbers
    bounds: np.ndarray  # (n_cells + 1,) where each begins, and the last one ends
    position: np.ndarray  # (n,) of the points in their cells, from -1 to 1
    columns: np.ndarray  # (n_columns, n)
    n_before: np.ndarray  # (n_cells + 1,) keys before each cell

    @classmethod
    def at_keys(cls, keys, columns, exponent):
        """Keys (n,) themselves, of which those of a cell are together, and cells ascend."""
        cell, position = locate(times_power(keys, -exponent))
        bounds = bounds_of(cell)
        return cls(exponent, cell[bounds[:-1]], bounds, position, columns, bounds)

    def coarser(self, exponent):
        """The same points in wider cells."""
        ratio = np.ldexp(1.0, min(exponent - self.exponent, 1000))  # from there on, all cells are one or two
        wide = np.floor(self.cells / ratio)
        shift = np.repeat(2 * (self.cells - wide * ratio) + 1, np.diff(self.bounds))
        first = bounds_of(wide)
        position = (shift + self.position) / ratio - 1
        return Points(exponent, wide[first[:-1]], self.bounds[first], position, self.columns, self.n_before[first])

    def moments(self, n_terms, cells):
        """Moments (len(cells), n_terms, n_columns) of the points in some of the cells, in ascending order."""
        starts, stops = self.bounds[cells], self.bounds[cells + 1]
        moments = np.zeros((len(cells), n_terms, len(self.columns)))
        for begin in range(0, len(self.position), POLYNOMIAL_POINTS):
            end = min(begin + POLYNOMIAL_POINTS, len(self.position))
            first, last = np.searchsorted(stops, begin, side="right"), np.searchsorted(starts, end)
            if first < last:
                pieces = np.clip([starts[first:last], stops[first:last]], begin, end) - begin
                basis = polynomials(self.position[begin:end], n_terms)
                _add_moments(moments[first:last], basis, self.columns[:, begin:end], *pieces)
        return moments


def _add_moments(moments, basis, columns, starts, stops):
    """Add the moments of points starts[c] ... stops[c] to those of each cell c (n_cells, n_terms, n_columns)."""
    if columns.size >= FEW_NUMBERS * len(starts):
        for c, (start, stop) in enumerate(zip(starts.tolist(), stops.tolist(), strict=True)):
            moments[c] += basis[:, start:stop] @ columns[:, start:stop].T
        return
    ends = np.stack([starts, stops], axis=1).reshape(-1)
    for k, column in enumerate(columns):
        products = np.zeros((len(basis), columns.shape[1] + 1))
        np.multiply(basis, column, out=products[:, :-1])
        moments[:, :, k] += np.add.reduceat(products, ends, axis=1)[:, ::2].T


def gather(columns, rows):
    """Columns (n_columns, n), an array or the transpose of `OneHotColumns`, of some rows (k,): (n_columns, k)."""
    if isinstance(columns, np.ndarray):
        return np.take(columns.T, rows, axis=0).T
    return columns.take(rows, axis=1)


def times_power(x, exponent):
    """x (n,) times 2^exponent, which is inf where it overflows."""
    with np.errstate(over="ignore"):
        return x * 2.0**exponent if abs(exponent) < 1000 else np.ldexp(x, exponent)


def locate(x):
    """The cell (n,) of each x, given in widths of cells, and its position (n,) there."""
    cell = np.floor(x)
    position = x - cell
    position *= 2
    position -= 1
    return cell, position


def bounds_of(cell):
    """Where each cell begins (n_cells,) in an order that has those of a cell together, and where the last ends."""
    return np.flatnonzero(np.concatenate([[len(cell) > 0], cell[1:] != cell[:-1], [True]]))


def condense(keys, columns, n_terms):
    """`Points` with `n_terms` moments of ascending keys (n,): in cells that are narrow where keys are dense."""
    n = len(keys)
    width = max((keys[-1 - n // 4] - keys[n // 4]) * 2 * FULL / n, np.abs(keys[[0, -1]]).max() * 2.0**-400)
    points = Points.at_keys(keys, columns, int(np.frexp(width)[1]))
    sizes = np.diff(points.bounds)
    full = sizes > n_terms
    if not full.any():
        return points
    is_full = np.repeat(full, sizes)
    nodes, to_coefficients = interpolation(n_terms)
    moments = points.moments(n_terms, np.flatnonzero(full))
    weights = np.einsum("kj,ckv->vcj", to_coefficients, moments).reshape(len(points.columns), -1)
    n_points = np.where(full, n_terms, sizes)
    is_node = np.repeat(full, n_points)
    position, columns = np.empty(len(is_node)), np.empty((len(weights), len(is_node)))
    position[is_node], position[~is_node] = np.tile(nodes, full.sum()), points.position[~is_full]
    columns[:, is_node], columns[:, ~is_node] = weights, points.columns[:, ~is_full]
    bounds = np.append(0, np.cumsum(n_points))
    return points._replace(bounds=bounds, position=position, columns=columns)
