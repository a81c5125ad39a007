"""The sum of the squares of the weights of a local line: the variance of its value in units of that of targets.

A line weighs target i by l_i = a_i (1 + g' (u_i - m)), g = (C + ridge s² I)^-1 (q - m), in the terms of `_lines`. With
the mean m2 and the covariance C2 of the keys under weights proportional to a_i²,

    sum_i l_i² = sum_i a_i² ((1 + g' (m2 - m))² + g' C2 g).

These are pooled with K², as the sum of the a_i² is. The trend is taken as given.
"""

from typing import NamedTuple

import numpy as np

from ._distribution import Masses
from ._engines.pooler import Pooler
from ._lines import LocalLines, covariances

BLOCK_NUMBERS = 2**22
"""Moments of queries that are held at once: 32 MiB."""


class LineMasses(NamedTuple):
    """The `Masses` of the attention of lines, with the sums of squares of the weights of lines.

    Attributes
    ----------
    masses : Masses
    lines : LocalLines
    pooler : Pooler
        The moments of the lines.
    squares : Pooler or None
        The coordinates of keys and their products, with K² and squared weights. None if these could underflow, or if
        there are too many features for columns.
    ridge : float
    """

    masses: Masses
    lines: LocalLines
    pooler: Pooler
    squares: Pooler | None
    ridge: float

    @classmethod
    def of(cls, masses, lines, pooler, ridge):
        """Those of the lines of a pooler."""
        squares = masses.squares if lines.by_columns else None
        if squares is not None:
            squares = squares.derive(squares.problem.with_values(lines.squares()))
        return cls(masses, lines, pooler, squares, ridge)

    def without(self, ignored):
        """The same without some features, given as a mask (n_features,)."""
        masses, pooler, squares = self.masses.without(ignored), self.pooler.without(ignored), self.squares
        if squares is not None:
            squares = squares.at.with_widths(masses.squares.bandwidth, pooler.widths)
        return self._replace(masses=masses, pooler=pooler, squares=squares)

    def pool(self, queries, rows, n_jobs, tol):
        """As `Masses.pool`, the last being the sums of squares of the weights of lines."""
        pooled, numbers, sums = self.masses.pool(queries, rows, n_jobs, tol)
        positions = np.arange(len(self.lines.coordinates) if queries is None else len(queries))[rows]
        step = max(1, BLOCK_NUMBERS // self.pooler.problem.n_values)
        for start in range(0, len(positions), step):
            block = slice(start, start + step)
            scales = None if pooled.scales is None else pooled.scales[block]
            sums[block] *= self._ratios(queries, positions[block], numbers[block], n_jobs, tol, scales)
        return pooled, numbers, sums

    @np.errstate(all="ignore")
    def _ratios(self, queries, rows, numbers, n_jobs, tol, scales):
        """The sums of squares of the weights of lines over those of attention weights, (m,)."""
        lines, d = self.lines, len(self.lines.used)
        moments = lines.moments(self.pooler, queries, rows, self.ridge, n_jobs)
        slopes = moments.weights(self.ridge)
        centred = lines.coordinates[rows] if queries is None else lines.centred(queries[rows])
        ratios = np.ones(len(rows))
        if self.squares is not None:
            found = self.squares.pool(queries, rows, n_jobs, tol, scales).values
            means, spread = found[:, :d], covariances(found[:, :d], found[:, d:])
            shifts = np.einsum("md,md->m", slopes, means - centred + moments.steps)
            ratios = np.square(1 + shifts) + np.maximum(np.einsum("md,mde,me->m", slopes, spread, slopes), 0)
        rest = np.flatnonzero((moments.by_attention | (self.squares is None)) & slopes.any(axis=1))
        for some in lines.blocks(rest):
            shares = self.masses.shares(queries, rows[some], n_jobs, None if scales is None else scales[some])
            relative = lines.coordinates - centred[some, None] + moments.steps[some, None]
            factors = 1 + np.einsum("mnd,md->mn", relative, slopes[some])
            ratios[some] = numbers[some] * np.einsum("mn,mn->m", shares, np.square(factors))
        return ratios
