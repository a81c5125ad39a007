"""Weighted points in cells: sorted keys, or a n_points points in the place of many keys.

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


class Points(NamedTuple):
    """Points in ascending cells 2^exponent wide."""

    exponent: int
    cell: np.ndarray
    position: np.ndarray  # (n,) in the cell, from -1 to 1
    columns: np.ndarray  # (n_columns, n)
    n_before: np.ndarray  # (n + 1,) keys before the cell of each

    @classmethod
    def at_keys(cls, windows, exponent):
        """The keys of `Windows` themselves."""
        n = len(windows.keys)
        return cls(exponent, *locate(np.ldexp(windows.keys, -exponent)), windows.columns, np.arange(n + 1))

    def coarser(self, exponent):
        """The same points in wider cells."""
        ratio = np.ldexp(1.0, min(exponent - self.exponent, 1000))  # from there on, all cells are one or two
        cell = np.floor(self.cell / ratio)
        position = (2 * (self.cell - cell * ratio) + 1 + self.position) / ratio - 1
        return self._replace(exponent=exponent, cell=cell, position=position)

    def take(self, kept):
        """The points where `kept` (n,) holds."""
        n_before = np.append(self.n_before[:-1][kept], self.n_before[-1])
        return Points(self.exponent, self.cell[kept], self.position[kept], self.columns[:, kept], n_before)


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


def moments_of(points, bounds, n_terms, cells=slice(None)):
    """Moments (n_cells, n_terms, n_columns) of the points bounds[c] ... bounds[c + 1] of some cells."""
    starts, stops, columns = bounds[:-1][cells], bounds[1:][cells], points.columns
    moments = np.zeros((len(starts), n_terms, len(columns)))
    for begin in range(0, len(points.position), POLYNOMIAL_POINTS):
        end = min(begin + POLYNOMIAL_POINTS, len(points.position))
        basis = polynomials(points.position[begin:end], n_terms)
        for c in range(np.searchsorted(stops, begin, side="right"), np.searchsorted(starts, end)):
            first, last = max(starts[c], begin), min(stops[c], end)
            moments[c] += basis[:, first - begin : last - begin] @ columns[:, first:last].T
    return moments


def condense(windows, n_terms):
    """`Points` with `n_terms` moments of the keys: in cells that are narrow where keys are dense."""
    keys = windows.keys
    low, high = keys[len(keys) // 4], keys[-1 - len(keys) // 4]
    width = max((high - low) * 2 * FULL / len(keys), np.abs(keys[[0, -1]]).max() * 2.0**-400)
    points = Points.at_keys(windows, int(np.frexp(width)[1]))
    bounds = bounds_of(points.cell)
    sizes = np.diff(bounds)
    full = sizes > n_terms
    if not full.any():
        return points
    is_full = np.repeat(full, sizes)
    nodes, to_coefficients = interpolation(n_terms)
    moments = moments_of(points, bounds, n_terms, np.flatnonzero(full))
    weights = np.einsum("kj,ckv->vcj", to_coefficients, moments).reshape(len(points.columns), -1)
    n_points = np.where(full, n_terms, sizes)
    is_node = np.repeat(full, n_points)
    position, columns = np.empty(len(is_node)), np.empty((len(weights), len(is_node)))
    position[is_node], position[~is_node] = np.tile(nodes, full.sum()), points.position[~is_full]
    columns[:, is_node], columns[:, ~is_node] = weights, points.columns[:, ~is_full]
    cells = points.cell[bounds[:-1]]
    n_before = np.append(np.repeat(bounds[:-1], n_points), len(keys))
    return Points(points.exponent, np.repeat(cells, n_points), position, columns, n_before)
