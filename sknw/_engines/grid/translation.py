"""Translations along one feature: what it takes to get from the moments of cells to expansions on cells.

Error. Let k be the Gaussian of one feature and k' its interpolant on two cells at distance d. They differ by at most
`interpolation` g(d), as `chebyshev` proves, where g(d) = exp(-d² / 4), and k <= g². Rounding is bounded alike, with
CELL_ROUNDING: sums of terms up to k round by as much as k, and a distance u that is off by eps u changes k by
eps u² k(u) <= 1.5 eps g(u). Keys more than REACH bandwidths away along a feature may be left out, and weigh less than
exp(-REACH² / 2) each.

For a single query the kernel is interpolated in its other argument alone, which errs by less than k' does.
"""

from functools import cached_property
from math import ceil, exp

import numpy as np

from ..chebyshev import interpolation, translations

REACH = 9
"""Bandwidths along each feature within which all keys count: exp(-81 / 2) = 3e-18."""

CELL_ROUNDING = 32 * np.finfo(float).eps
"""Rounding of the sums along one feature, for each unit of mass; up to 16 eps were seen, where keys are equal."""


class Translation:
    """From cells `width` bandwidths wide, with moments of `n_terms` polynomials, to cells within reach."""

    def __init__(self, kernel, width, n_terms):
        self.kernel, self.width, self.n_terms, self.reach = kernel, width, n_terms, ceil(REACH / width)

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
    def _interpolation(self):
        return interpolation(self.n_terms)

    def coefficients(self, position):
        """Those of the kernel around a point at a position in its cell, in the polynomials of all cells within reach.

        They are (n_offsets, n_terms), and make a sum over the keys of a cell of its moments.
        """
        nodes, to_coefficients = self._interpolation
        u = self.width * (self._offsets()[:, None] + (position - nodes) / 2)
        return self.kernel(np.square(u)) @ to_coefficients.T

    @cached_property
    def decay(self):
        """exp(-d² / 4) at the least distance d between two cells, for all cells within reach."""
        return np.exp(np.square(self.width * np.maximum(np.abs(self._offsets()) - 1, 0)) / -4)

    def _offsets(self):
        return np.arange(self.reach, -self.reach - 1, -1)
