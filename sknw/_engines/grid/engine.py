"""The grid engine: the Gaussian kernel of two and three features, O(n + m) for a fixed number of cells.

A fast Gauss transform (Greengard & Strain 1991) with tensor Chebyshev expansions on cells some bandwidths wide, of
which only those that hold keys exist. Keys enter through the moments of their cell, p x p or p x p x p numbers for each
column. The Gaussian is a product over features, so moments become the expansion of the sums over a cell of queries
by p x p matrices, one for each distance between cells: first along the first feature, then along the next.

In two features moments are kept for later queries. In three they are many, and made anew for each batch of queries,
on one thread; a few queries are answered from the keys near them, and derivatives are left to the next engine.

Error. `gauss_transform`, `space_sums` and `near_keys` bound the errors of sums. Values lie in [0, range], so the error
of a prediction, as a fraction of the range, is at most twice the error of the mass over the mass. Queries for which
that exceeds `tol` (in tails and gaps, and in leave-one-out where little else is near) are unresolved.

Derivatives. With u_f the distance along feature f in bandwidths, S_k = sum_i K c_ik and D_fk = sum_i u_if² K c_ik over
the columns c, the last of which is the weight, the derivatives by log h_f are

    (D_fk - pooled_k D_f,last) / S_last.

If S errs by e for each unit of the range, and D by REACH² e, a derivative errs by no more than

    (2 REACH² + 3 D_f,last / S_last) e / S_last

of the range, but for products of errors: its size is at most D_f,last / S_last, and pooled_k errs by 2 e / S_last.
Queries for which that exceeds DERIVATIVE_ERROR are unresolved too, whatever `tol` is.
"""

from functools import cached_property
from math import log, pi, sqrt

import numpy as np

from ..summation import DERIVATIVE_ERROR, Engine, Located, Summation, Sums
from .cells import Cells
from .gauss_transform import DERIVATIVES, FEW_QUERIES, Grid, PlaneCells
from .near_keys import NearKeys
from .space_sums import MARGIN, WIDTH, Space, cell_widths
from .translation import REACH

CHECKED_KEYS = 9000
"""Up to here, cells made in vain would cost a part of the time of other engines."""

CELL_PAIRS = 50_000
"""Pairs of a query and a key that take other engines as long as the expansion on a cell."""

QUERY_PAIRS = 20_000
"""The same as long as a query takes that is one of a few; in three features the same as a plan of it."""

MOMENT_VALUES = 3 * 2**23
"""Numbers that moments may take: 192 MiB."""

FEW_COLUMNS = 16
"""Columns from which on moments may take no more numbers than the columns of the keys."""

CELL_QUERIES = 2**14
"""Queries of two features done together."""

SPACE_CELL_PAIRS, SPACE_POINT_PAIRS = 800_000, 2000
"""Pairs that take other engines as long as expansions on a cell take in three features, and as a query or a key does;
for each column."""

LEAF_RADIUS = 2
"""Bandwidths by which blocks of queries and keys extend how far the "blocks" engine looks, about."""

SAMPLED_KEYS = 2**15
"""The most keys that tell how many cells hold keys."""


class GridEngine(Engine):
    """The keys of the problem in cells."""

    fewest_keys = 2501

    @staticmethod
    def supports(kernel, n_features):
        """The Gaussian kernel of two or three features."""
        return kernel.form == "gaussian" and n_features in (2, 3)

    def __init__(self, problem):
        super().__init__(problem)
        self._cells = None

    def prepare(self, kernel, bandwidth, tol):
        """The sums, if cells are worth it."""
        if not np.isfinite(bandwidth).all():
            return None
        return (self._prepare_plane if len(bandwidth) == 2 else self._prepare_space)(kernel, bandwidth, tol)

    def _prepare_space(self, kernel, bandwidth, tol):
        summation = SpaceSummation(self.problem, kernel, bandwidth)
        return summation if summation.is_worth_it(len(self.problem.keys), tol) else None

    def _prepare_plane(self, kernel, bandwidth, tol):
        keys = self.problem.keys
        if len(keys) <= CHECKED_KEYS and not _may_be_worth_it(keys, bandwidth):
            return None
        grid = Grid(self._cells_for(bandwidth), kernel, bandwidth)
        n_cells, n_keys = len(grid.cells.occupied), len(keys)
        largest = MOMENT_VALUES if grid.n_columns <= FEW_COLUMNS else min(MOMENT_VALUES, n_keys * grid.n_columns)
        is_worth_it = n_cells * CELL_PAIRS <= n_keys**2 and n_cells * grid.cell_values <= largest
        if n_cells == 0 or not is_worth_it:
            return None
        grid.prepare()
        return GridSummation(grid, n_keys)

    def _cells_for(self, bandwidth):
        """The keys in cells, kept for other bandwidths of about that size, as a search tries many."""
        cells = self._cells
        if cells is None or not cells.fit(bandwidth):
            cells = self._cells = None
            cells = self._cells = PlaneCells(self.problem.keys, self.problem.columns, bandwidth)
        return cells


@np.errstate(all="ignore")
def _may_be_worth_it(keys, bandwidth):
    """Whether few enough cells hold keys, told from few of the keys where these lie in clearly fewer, or in more."""
    for step in (16, 4, 1):
        x, y = np.floor(np.ldexp(keys[::step], -1 - np.frexp(bandwidth)[1])).T
        pairs = len(np.unique(x + 1j * y)) * CELL_PAIRS
        if pairs > len(keys) ** 2 or 3 * pairs < len(keys) ** 2:
            break
    return pairs <= len(keys) ** 2


class GridSummation(Summation):
    """Cells with one bandwidth."""

    chunk_numbers = 2**21

    def __init__(self, grid, n_keys):
        self.grid, self.n_keys = grid, n_keys

    def accepts(self, n_queries, tol, gradient):
        """Whether some error is allowed, and cells pay for so many queries."""
        if n_queries <= FEW_QUERIES and not gradient:
            return tol > 0 and self.n_keys >= QUERY_PAIRS
        n_cells = min(n_queries, len(self.grid.cells.occupied))
        return tol > 0 and n_cells * CELL_PAIRS <= n_queries * self.n_keys

    def locate(self, points, left_out):
        """Cells and positions in them, in the order of the cells."""
        cells, positions = self.grid.cells.locate(points)
        return Located([cells, positions], np.argsort(cells), CELL_QUERIES, left_out)

    @np.errstate(divide="ignore", invalid="ignore")
    def sums(self, queries, tol, derivatives=False):
        """`Sums` for queries in cells; unresolved where their errors may be too much for `tol`, or for derivatives.

        Own weights are K(0) = 1, and add nothing to sums with u².
        """
        cells, positions, removed = queries
        sums, error = self.grid.sums(cells, positions, *((DERIVATIVES,) if derivatives else ()))
        if removed is not None:
            sums[:, 0] -= removed.T
            error += np.finfo(float).eps * removed[-1]
        mass = sums[:, 0, -1]
        resolved = mass * tol > 2 * error
        for moment in sums[:, 1:, -1].T:
            resolved &= mass * DERIVATIVE_ERROR > (2 * REACH**2 + 3 * moment / mass) * error
        return Sums(sums[:, 0], np.where(resolved, np.log(mass), np.nan), None, sums[:, 1:])


class SpaceSummation(GridSummation):
    """Keys of three features with one bandwidth; in cells for the first queries that are worth it."""

    cost, chunk_numbers = "pairs", 3 * 2**20

    def __init__(self, problem, kernel, bandwidth):
        self.problem, self.kernel, self.bandwidth = problem, kernel, bandwidth

    @cached_property
    def grid(self):
        """The keys in cells."""
        cells = Cells(self.problem.keys, self.problem.columns, cell_widths(self.bandwidth), MARGIN)
        return Space(cells, self.kernel, self.bandwidth)

    @cached_property
    def near_keys(self):
        """The keys for a few queries."""
        return NearKeys(self.problem, self.kernel, self.bandwidth)

    def locate(self, points, left_out):
        """A few queries as `NearKeys` take them, others as cells and positions in these; all are done together."""
        if len(points) <= FEW_QUERIES:
            located = [self.near_keys.locate(points)]
            return Located(located, np.arange(len(points)), FEW_QUERIES, left_out)
        cells, positions = self.grid.cells.locate(points)
        return Located([cells, positions], np.argsort(cells), len(points), left_out)

    def sums(self, queries, tol, derivatives=False):
        """`Sums` for a few queries, or for queries in cells."""
        *located, removed = queries
        return self.near_keys.sums(*located, removed, tol) if len(located) == 1 else super().sums(queries, tol)

    def accepts(self, n_queries, tol, gradient):
        """Whether some error is allowed, and there are queries enough for cells, or few."""
        if n_queries <= FEW_QUERIES and not gradient:
            return tol > 0 and len(self.problem.keys) >= QUERY_PAIRS
        return tol > 0 and not gradient and self.is_worth_it(n_queries, tol) and self.grid.room[1] > 0

    def is_worth_it(self, n_queries, tol):
        """Whether cells take less time than the pairs that the "blocks" or the "dense" engine looks at."""
        n_keys, n_columns = self.problem.columns.shape
        if n_queries * n_keys <= (n_queries + n_keys) * n_columns * SPACE_POINT_PAIRS:
            return False
        n_cells, n_together = self._occupied
        ball = 4 / 3 * pi * ((sqrt(-2 * log(min(tol, 1))) + LEAF_RADIUS) / WIDTH) ** 3 if tol > 0 else np.inf
        n_pairs = n_queries * min(n_keys, ball * n_together)
        return n_pairs > n_columns * (n_cells * SPACE_CELL_PAIRS + (n_queries + n_keys) * SPACE_POINT_PAIRS)

    @cached_property
    @np.errstate(all="ignore")
    def _occupied(self):
        """How many cells hold keys, and how many keys a key shares its cell with, on average; told from some keys."""
        keys = self.problem.keys
        step = -(-len(keys) // SAMPLED_KEYS)
        cells = np.floor(keys[::step] / (WIDTH * self.bandwidth))
        cells = np.where(np.isfinite(cells), cells, keys[::step]) @ np.sqrt([1, 2, 3])
        _, counts = np.unique(cells, return_counts=True)
        return len(counts), 1 + step * (np.square(counts).sum() / len(cells) - 1)
