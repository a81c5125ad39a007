"""The grid engine: the Gaussian kernel of two features, O(n + m) for a fixed number of cells.

A fast Gauss transform (Greengard & Strain 1991) with tensor Chebyshev expansions on cells two to four bandwidths
wide, of which only those that hold keys exist. Keys enter through the moments of their cell, p x p numbers for each
column. The Gaussian is a product over features, so moments become the expansion of the sums over a cell of queries
by p x p matrices, one for each distance between cells: first along the first feature, then along the second.

Error. `_tensor_cells` bounds the errors of sums. Values lie in [0, range], so the error of a prediction, as a fraction
of the range, is at most twice the error of the mass over the mass. Queries for which that exceeds `tol` (in tails and
gaps, and in leave-one-out where little else is near) are left to the blocks engine.

Slopes. With u_f the distance along feature f in bandwidths, S_k = sum_i K c_ik and D_fk = sum_i u_if² K c_ik over the
columns c, the last of which is the weight, the slopes are

    (D_fk - pooled_k D_f,last) / S_last.

If S errs by e for each unit of the range, and D by REACH² e, a slope errs by no more than

    (2 REACH² + 3 D_f,last / S_last) e / S_last

of the range, but for products of errors: |slope_k| is at most D_f,last / S_last, and pooled_k errs by 2 e / S_last.
Rows for which that exceeds SLOPE_ERROR are left to the blocks engine too, whatever `tol` is.
"""

from functools import cached_property

import numpy as np

from ..._threads import run_blocks
from ..blocks.engine import BlocksEngine
from ..dense.gradient import SLOPE_ERROR
from .gauss_transform import REACH, SLOPES, SUMS, Cells, Grid

FEW_KEYS, MANY_KEYS = 2500, 9000
"""Up to the first the dense engine is as fast; up to the second, cells made in vain would cost a part of its time."""

CELL_PAIRS = 50_000
"""Pairs of a query and a key that take other engines as long as the expansion on a cell."""

MOMENT_VALUES = 3 * 2**23
"""Numbers that moments may take: 192 MiB."""

FEW_COLUMNS = 16
"""Columns from which on moments may take no more numbers than the columns of the keys."""

SORTED_ROWS = 2**20
"""Queries sorted together."""

BLOCK_ROWS = 2**14
"""Sorted queries done together."""


class GridEngine:
    """Keys of positive weight, with the columns of the dense engine."""

    @staticmethod
    def supports(kernel, n_features):
        """The Gaussian kernel of two features."""
        return kernel.gaussian and n_features == 2

    def __init__(self, dense):
        self.dense, self.blocks = dense, BlocksEngine(dense)  # blocks are for what cells are not worth
        self._cells = None

    def offer(self, kernel, bandwidth, tol):
        """A pooler, if cells are worth it."""
        keys = self.dense.keys
        if len(keys) <= FEW_KEYS or (len(keys) <= MANY_KEYS and not _may_be_worth_it(keys, bandwidth)):
            return None
        pooler = self.prepare(kernel, bandwidth)
        return pooler if isinstance(pooler, GridPooler) else None

    def prepare(self, kernel, bandwidth):
        """A pooler for one kernel and one bandwidth vector (2,); that of blocks where cells would not be worth it."""
        if np.isfinite(bandwidth).all():
            grid = Grid(self._cells_for(bandwidth), kernel, bandwidth)
            n_cells, n_keys = len(grid.cells.occupied), len(self.dense.keys)
            largest = MOMENT_VALUES if grid.n_columns <= FEW_COLUMNS else min(MOMENT_VALUES, n_keys * grid.n_columns)
            if n_cells and n_cells * CELL_PAIRS <= n_keys**2 and n_cells * grid.cell_values <= largest:
                grid.prepare()
                return GridPooler(self, kernel, bandwidth, grid)
        return self.blocks.prepare(kernel, bandwidth)

    def _cells_for(self, bandwidth):
        """The keys in cells, kept for other bandwidths of about that size, as a search tries many."""
        cells = self._cells
        if cells is None or not cells.fit(bandwidth):
            cells = self._cells = None
            cells = self._cells = Cells(self.dense.keys, self.dense.columns, bandwidth)
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


class GridPooler:
    """The engine's keys with one bandwidth, ready for queries."""

    linear, multiples, pull = True, None, None

    def __init__(self, engine, kernel, bandwidth, grid):
        self.engine, self.kernel, self.bandwidth, self.grid = engine, kernel, bandwidth, grid

    @cached_property
    def _blocks(self):
        return self.engine.blocks.prepare_on_demand(self.kernel, self.bandwidth)

    def attention(self, queries=None, rows=slice(None), n_jobs=None):
        """Attention weights, by the dense engine."""
        return self._blocks.attention(queries, rows, n_jobs)

    def pool(self, queries=None, rows=slice(None), n_jobs=None, tol=0.0):
        """Pooled values (m, n_values) and log_mass (m,), as every engine gives them, to `tol`."""
        return self._collect(lambda *rest: self._blocks.pool(queries, *rest), SUMS, queries, rows, n_jobs, tol)

    def slopes(self, rows=slice(None), n_jobs=None, tol=0.0):
        """Pooled values, log_mass and slopes in leave-one-out, as every engine gives them."""
        return self._collect(lambda *rest: self._blocks.slopes(*rest), SLOPES, None, rows, n_jobs, tol)

    def _collect(self, by_blocks, powers, queries, rows, n_jobs, tol):
        """Pooled values, log_mass, and slopes if `powers` are SLOPES; from the blocks engine what cells cannot do."""
        if tol == 0:
            return by_blocks(rows, n_jobs, tol)
        points, n_values = self.engine.dense.rows if queries is None else queries, self.grid.n_columns - 1
        rows = np.arange(len(points))[rows]
        shapes = [(n_values,), (), (2, n_values)][: 3 if powers is SLOPES else 2]
        results, weak = [np.empty((len(rows), *shape)) for shape in shapes], np.empty(len(rows), dtype=bool)
        for start in range(0, len(rows), SORTED_ROWS):
            cells, positions = self.grid.cells.locate(np.take(points, rows[start : start + SORTED_ROWS], axis=0))
            order = np.argsort(cells)

            def collect_rows(part, start=start, cells=cells, positions=positions, order=order):
                place = order[part]
                sums, error = self.grid.sums(cells[place], np.take(positions, place, axis=1), powers)
                place += start
                if queries is None:
                    self._leave_out(rows[place], sums, error)
                weak[place] = self._is_weak(sums, error, tol)
                for result, found in zip(results, self._means(sums), strict=True):
                    result[place] = found

            run_blocks(collect_rows, len(order), BLOCK_ROWS, n_jobs)
        if weak.any():
            for result, found in zip(results, by_blocks(rows[weak], n_jobs, tol), strict=True):
                result[weak] = found
        return tuple(results)

    def _leave_out(self, rows, sums, error):
        """Take what goes with each row off its sums: own weights are K(0) = 1, and add nothing to those with u²."""
        gone = np.asarray(self.engine.dense.gone[rows])
        sums[:, 0] -= gone
        error += np.finfo(float).eps * gone[:, -1]

    @staticmethod
    @np.errstate(divide="ignore", invalid="ignore")
    def _is_weak(sums, error, tol):
        """Whether the sums (b, n_expansions, n_columns) of a query may err by too much for `tol`, or for slopes."""
        mass = sums[:, 0, -1]
        weak = ~(mass * tol > 2 * error)
        for moment in sums[:, 1:, -1].T:
            weak |= ~(mass * SLOPE_ERROR > (2 * REACH**2 + 3 * moment / mass) * error)
        return weak

    @np.errstate(divide="ignore", invalid="ignore")
    def _means(self, sums):
        """Pooled values, log_mass, and slopes if they are wanted, from sums (b, n_expansions, n_columns)."""
        dense, mass = self.engine.dense, sums[:, 0, -1]
        pooled, log_mass = dense.mean(sums[:, 0]), np.log(mass) + np.log(dense.largest_weight)
        if sums.shape[1] == 1:
            return pooled, log_mass
        relative = sums / mass[:, None, None]
        means, moments = relative[:, :1, :-1], relative[:, 1:]
        slopes = np.ldexp(moments[:, :, :-1] - means * moments[:, :, -1:], dense.exponents)
        return pooled, log_mass, slopes
