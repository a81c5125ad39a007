"""Sums over a cell as polynomials of low degree on its parts, looked up for queries in any order.

It knows expansions of sums on cells, and neither keys nor kernels. Queries for which parts are looked up need no order:
from some thousands of queries on, this is faster than to bring those of a cell together.

Error. Let S be the sums over a cell, P the expansion that errs by at most e, and I the interpolation from p Chebyshev
nodes of a part, with Lebesgue constant L. I P errs by at most |I (P - S)| + |I S - S|
<= L e + e', where e' is the error of the interpolation on cells as narrow as a part, `chebyshev`.
"""

from functools import lru_cache

import numpy as np
from numpy.polynomial.chebyshev import cheb2poly

from ..chebyshev import interpolation, polynomials

PARTS = 32
"""Parts of a cell."""

LEBESGUE = 2.5
"""The Lebesgue constant of up to 16 Chebyshev nodes, at most (Trefethen 2013, theorem 15.2: 1 + (2 / pi) log p)."""

TOGETHER = 2**14
"""Queries that are looked up together."""


class Table:
    """Coefficients of powers on parts of consecutive cells, from `first` on.

    Parameters
    ----------
    first : float
        The number of the first cell.
    local : (n_cells, n_terms, n_columns) float ndarray
        Chebyshev expansions of the sums over each cell; nan for a cell that is not expanded.
    error : (n_cells,) float ndarray
        Bounds on their errors; inf for a cell that is not expanded, as the last one is not.
    n_powers : int
        Coefficients for each part.
    """

    def __init__(self, first, local, error, n_powers):
        self.first, self.n_parts = first * PARTS, len(local) * PARTS
        self.error = np.repeat(error, PARTS)
        coefficients = _restriction(local.shape[1], n_powers) @ local[:, None]
        self.coefficients = np.ascontiguousarray(coefficients.transpose(3, 2, 0, 1)).reshape(-1, n_powers, self.n_parts)

    def sums(self, x):
        """Sums (n_columns, b) for queries (b,) in widths of cells, and bounds (b,) on their errors; inf, if none."""
        sums, error = np.empty((len(self.coefficients), len(x))), np.empty(len(x))
        for begin in range(0, len(x), TOGETHER):
            block = slice(begin, begin + TOGETHER)
            part, position = self._locate(x[block])
            self.error.take(part, out=error[block], mode="clip")
            for powers, found in zip(self.coefficients, sums[:, block], strict=True):
                powers[-1].take(part, out=found, mode="clip")
                for coefficients in powers[-2::-1]:
                    found *= position
                    found += coefficients.take(part)
        return sums, error

    def _locate(self, x):
        """The part (b,) that each x is in, which is the last one where there is none, and the position in [-1, 1]."""
        x = x * PARTS
        part = np.floor(x)
        x -= part
        x *= 2
        x -= 1
        part -= self.first
        part[(part < 0) | (part >= self.n_parts)] = self.n_parts - 1
        return part.astype(np.intp), x


@lru_cache(maxsize=32)
def _restriction(n_terms, n_powers):
    """From expansions on a cell to coefficients of powers on its parts, (PARTS, n_powers, n_terms)."""
    nodes, to_coefficients = interpolation(n_powers)
    x = (np.arange(PARTS)[:, None] * 2 + 1 + nodes) / PARTS - 1
    values = polynomials(x.reshape(-1), n_terms).reshape(n_terms, PARTS, n_powers)
    to_powers = np.zeros((n_powers, n_powers))
    for k in range(n_powers):
        to_powers[: k + 1, k] = cheb2poly(np.append(np.zeros(k), 1.0))
    return to_powers @ to_coefficients @ values.transpose(1, 2, 0)
