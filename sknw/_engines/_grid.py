"""The grid engine: the Gaussian kernel of two features, O(n + m) for a fixed number of cells.

A fast Gauss transform (Greengard & Strain 1991) with tensor Chebyshev expansions on cells two to four bandwidths
wide, of which only those that hold keys exist. Keys enter through the moments of their cell, p x p numbers for each
column. The Gaussian is a product over features, so moments become the expansion of the sums over a cell of queries
by p x p matrices, one for each distance between cells: first along the first feature, then along the second.

Positions. Cells are a power of two wide and begin at multiples of it, so x / width, its floor and what remains are
exact, wherever x is: neither a far key nor an offset costs a digit. Keys and queries more than FAR cells from zero,
where floats are too coarse for cells, have no cell.

Error. Let k be the Gaussian of one feature and k' its interpolant on two cells at distance d. They differ by at most
EXPANSION g(d), as `_chebyshev` proves, where g(d) = exp(-d² / 4), and k <= g². With distances x and y along the two
features

    |k'(x) k'(y) - k(x) k(y)| <= |k'(x) - k(x)| |k'(y)| + |k(x)| |k'(y) - k(y)| <= 2 EXPANSION g(x) g(y)

for each unit of mass, but for EXPANSION². Rounding is bounded alike, with ROUNDING: sums of terms up to k round by as
much as k, and a distance u that is off by eps u changes k by eps u² k(u) <= 1.5 eps g(u). Keys more than REACH
bandwidths away along a feature may be left out, and weigh less than exp(-REACH² / 2) each.
Values lie in [0, range], so the error of a prediction, as a fraction of the range, is at most twice the error of the
mass over the mass. Queries for which that exceeds `tol` (in tails and gaps, and in leave-one-out where little else
is near) are left to the blocks engine.

Slopes. With u_f the distance along feature f in bandwidths, S_k = sum_i K c_ik and D_fk = sum_i u_if² K c_ik over the
columns c, the last of which is the weight, the slopes are

    (D_fk - pooled_k D_f,last) / S_last.

D comes from the same moments, with translations of k2(u) = u² k(u) along its feature. By `_chebyshev` k2 and its
interpolant from p terms differ by less than (p + 2.5) EXPANSION g, and k2 = u² g(u)² <= 1.5 g(u), so

    |k2'(x) k'(y) - k2(x) k(y)| <= (p + 4) EXPANSION g(x) g(y),

but for EXPANSION²: less than REACH² / 2 times as much as above. Keys left out add at most REACH² exp(-REACH² / 2) each.
So if S errs by e for each unit of the range, and D by REACH² e, a slope errs by no more than

    (2 REACH² + 3 D_f,last / S_last) e / S_last

of the range, but for products of errors: |slope_k| is at most D_f,last / S_last, and pooled_k errs by 2 e / S_last.
Rows for which that exceeds SLOPE_ERROR are left to the blocks engine too, whatever `tol` is.
"""

from functools import cached_property
from math import ceil, exp

import numpy as np

from .._threads import run_blocks, single_threaded_blas
from ._blocks import BlocksEngine
from ._chebyshev import n_gaussian_terms, polynomials, translations

REACH = 9
"""Bandwidths along each feature within which all keys count: exp(-81 / 2) = 3e-18."""

EXPANSION = 2e-15
"""Error of the interpolation along one feature, for each unit of mass and of g."""

ROUNDING = 32 * np.finfo(float).eps
"""Rounding of the sums along one feature, for each unit of mass; up to 16 eps were seen, where keys are equal."""

SLOPE_ERROR = 1e-8
"""What slopes may err by, as a fraction of the range."""

SUMS, SLOPES = ((0, 0),), ((0, 0), (1, 0), (0, 1))
"""What is expanded: powers of u² that the kernel is multiplied by, along each feature."""

FEW_KEYS, MANY_KEYS = 2500, 9000
"""Up to the first the dense engine is as fast; up to the second, cells made in vain would cost a part of its time."""

FAR = 2.0**50
"""Cells from zero up to which keys and queries have a cell."""

CELL_PAIRS = 50_000
"""Pairs of a query and a key that take other engines as long as the expansion on a cell."""

MOMENT_VALUES = 3 * 2**23
"""Numbers that moments may take: 192 MiB."""

GATHER_VALUES = 2**19
"""Numbers in the moments that are translated together."""

SORTED_ROWS = 2**20
"""Queries sorted together."""

BLOCK_ROWS = 2**14
"""Sorted queries done together."""

PIECE_ROWS = 2**11
"""Sorted keys, or queries, whose Chebyshev polynomials are taken together."""


class GridEngine:
    """Keys of positive weight, with the columns of the dense engine."""

    @staticmethod
    def supports(kernel, n_features):
        """The Gaussian kernel of two features."""
        return kernel.gaussian and n_features == 2

    def __init__(self, dense):
        self.dense, self.blocks = dense, BlocksEngine(dense)  # blocks are for what cells are not worth

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
            grid = Grid(self.dense.keys, self.dense.columns, kernel, bandwidth)
            if grid.moments is not None:
                return GridPooler(self, kernel, bandwidth, grid)
        return self.blocks.prepare(kernel, bandwidth)


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
            cells, positions = self.grid.locate(points[rows[start : start + SORTED_ROWS]])
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
        gone = np.take(self.engine.dense.gone, rows, axis=0)
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


class Axis:
    """Cells along one feature: where they are, and what expansions on them need.

    Places count the cells without the gaps that no query can feel both sides of. Of all places, the first and the
    last `reach` hold no key.
    """

    def __init__(self, kernel, x, h):
        mantissa, self.exponent = np.frexp(h)
        self.exponent += 1
        width = 2 / mantissa
        self.n_terms, self.reach = n_gaussian_terms(width, EXPANSION), ceil(REACH / width)
        self.kernel, self.width = kernel, width

        cell, _ = self._cells(x)
        cell = np.unique(np.where(np.abs(cell) < FAR, cell, 0.0))
        last = np.flatnonzero(np.diff(cell) > 2 * self.reach)
        self.low = cell[np.append(0, last + 1)] - self.reach
        self.high = cell[np.append(last, -1)] + self.reach
        ends = np.cumsum(self.high - self.low + 1)
        self.base = np.append(0.0, ends[:-1]) - self.low
        self.n_places = int(ends[-1])

    @property
    def far_weight(self):
        """What a key out of reach weighs at most, also if u² / REACH² comes on top, which falls from u² = 2 on."""
        t = (self.width * self.reach) ** 2
        return t / REACH**2 * exp(-t / 2)

    @cached_property
    def translations(self):
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

    def _cells(self, x):
        with np.errstate(over="ignore"):
            x = np.ldexp(x, -self.exponent)
        return np.floor(x), x

    def locate(self, x):
        """The place of each x (b,), -1 where no key is within reach, and its position in the cell, in [-1, 1]."""
        cell, x = self._cells(x)
        segment = np.maximum(np.searchsorted(self.low, cell, side="right") - 1, 0)
        within = (cell >= self.low[segment]) & (cell <= self.high[segment]) & (np.abs(cell) < FAR)
        with np.errstate(invalid="ignore"):
            return np.where(within, cell + self.base[segment], -1).astype(np.int64), 2 * (x - cell) - 1


class Grid:
    """Chebyshev moments of keys (n, 2) on cells; None where they would be too many, or hold too few keys.

    A cell is its place along the first feature times the number of places along the second, plus its place there.
    """

    def __init__(self, keys, columns, kernel, bandwidth):
        self.n_columns, self.moments = columns.shape[1], None
        self.axes = [Axis(kernel, keys[:, f], bandwidth[f]) for f in (0, 1)]
        self.far_mass = columns[:, -1].sum() * max(axis.far_weight for axis in self.axes)
        cells, positions = self.locate(keys)
        order = np.argsort(cells)[np.count_nonzero(cells < 0) :]
        cells = cells[order]
        bounds = np.append(np.flatnonzero(np.diff(cells, prepend=-1)), len(cells))
        self.cells = cells[bounds[:-1]]
        self.cell_values = self.n_columns * self.axes[0].n_terms * self.axes[1].n_terms
        n_cells = len(self.cells)
        if n_cells == 0 or n_cells * CELL_PAIRS > len(keys) ** 2 or n_cells * self.cell_values > MOMENT_VALUES:
            return
        columns = np.take(columns.T, order, axis=1)
        self.mass = np.append(np.add.reduceat(columns[-1], bounds[:-1]), 0.0)
        with single_threaded_blas():
            self.moments = self._moments(np.take(positions, order, axis=1), columns, bounds)

    def locate(self, points):
        """The cell of each point (b, 2), -1 where no key is within reach, and its position (2, b) there."""
        (x, x_position), (y, y_position) = (axis.locate(points[:, f]) for f, axis in enumerate(self.axes))
        cells = np.where((x >= 0) & (y >= 0), x * self.axes[1].n_places + y, -1)
        return cells, np.stack([x_position, y_position])

    def _polynomials(self, positions):
        """The Chebyshev polynomials (n_terms, b) at positions (2, b), for both features; made together, to be quick."""
        n_terms = [axis.n_terms for axis in self.axes]
        both = polynomials(positions.reshape(-1), max(n_terms)).reshape(-1, *positions.shape)
        return both[: n_terms[0], 0], both[: n_terms[1], 1]

    def _moments(self, positions, columns, bounds):
        """Moments (n_cells + 1, n_terms, n_columns * n_terms) of sorted keys; those of the last cell are zero."""
        n_x, n_y = (axis.n_terms for axis in self.axes)
        moments = np.zeros((len(bounds), n_x, self.n_columns * n_y))
        for rows, parts in _pieces(bounds):
            x, y = self._polynomials(positions[:, rows])
            weighted = (columns[:, None, rows] * y).reshape(self.n_columns * n_y, -1)
            for c, part in parts:
                moments[c] += x[:, part] @ weighted[:, part].T
        return moments

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
        changes = np.flatnonzero(np.diff(targets // self.axes[1].n_places)) + 1
        for first, last in zip(np.append(0, changes), np.append(changes, len(targets)), strict=True):
            for begin in range(first, last, most):
                yield begin, min(begin + most, last)

    def _expansions(self, targets, powers):
        """Expansions (n_targets, n_expansions, n_terms, n_terms * n_columns) on cells of one column, and their error.

        Translated along the first feature, to the places along the second that are within reach of a target; these
        are the rows of `near`, in which the places within reach of one target follow each other.
        """
        x, y = self.axes
        near, window = np.unique(targets[:, None] + np.arange(-y.reach, y.reach + 1), return_inverse=True)
        window = window.reshape(len(targets), -1)
        sources = near[:, None] + np.arange(-x.reach, x.reach + 1) * y.n_places
        at = np.minimum(np.searchsorted(self.cells, sources), len(self.cells) - 1)
        at = np.where(self.cells[at] == sources, at, len(self.cells))
        mass = self.mass[at]
        error = 2 * (mass @ x.decay)[window] @ y.decay

        along_x = self._translate_along_x(at, mass.any(axis=1), 1 + max(i for i, _ in powers))
        local = np.empty((len(targets), len(powers), *along_x.shape[2:]))
        for c, first in enumerate(window[:, 0]):
            for e, (i, j) in enumerate(powers):
                sources = along_x[i, first : first + window.shape[1]].reshape(-1, local.shape[3])
                np.matmul(y.translations[j], sources, out=local[c, e])
        return local, (EXPANSION + ROUNDING) * error + self.far_mass

    def _translate_along_x(self, at, occupied, n_powers):
        """The moments at[b] of rows of cells along the first feature, as expansions there; moments along the second.

        For the first powers of u², (n_powers, b, n_terms, n_terms * n_columns); zero but where `occupied`.
        """
        x, y = self.axes
        translated = np.zeros((n_powers, len(at), y.n_terms, x.n_terms * self.n_columns))
        occupied = np.flatnonzero(occupied)
        matrices = x.translations[:n_powers].reshape(n_powers * x.n_terms, -1)
        step = max(1, GATHER_VALUES // (self.cell_values * at.shape[1]))
        for begin in range(0, len(occupied), step):
            some = occupied[begin : begin + step]
            moments = np.take(self.moments, at[some], axis=0).reshape(len(some), -1, self.n_columns * y.n_terms)
            along_x = (matrices @ moments).reshape(len(some), n_powers, -1, y.n_terms)
            translated[:, some] = along_x.transpose(1, 0, 3, 2)
        return translated

    def _evaluate(self, local, bounds, positions):
        """Sums (b, n_expansions, n_columns) for queries bounds[c] ... bounds[c + 1] in the cell of local[c]."""
        sums = np.empty((positions.shape[1], local.shape[1], self.n_columns))
        for rows, parts in _pieces(bounds):
            x, y = self._polynomials(positions[:, rows])
            terms = np.empty((local.shape[3], x.shape[1]))
            for e in range(local.shape[1]):
                for c, part in parts:
                    np.matmul(local[c, e].T, y[:, part], out=terms[:, part])
                products = terms.reshape(len(x), self.n_columns, -1)
                products *= x[:, None]
                sums[rows, e] = products.sum(axis=0).T
        return sums


def _pieces(bounds):
    """Cut rows bounds[c] ... bounds[c + 1] of cells c into (slice of rows, [(c, the cell's part of that slice)])."""
    for begin in range(0, bounds[-1], PIECE_ROWS):
        end = min(begin + PIECE_ROWS, bounds[-1])
        first, last = np.searchsorted(bounds, begin, side="right") - 1, np.searchsorted(bounds, end)
        cuts = (np.clip(bounds[first : last + 1], begin, end) - begin).tolist()
        yield slice(begin, end), [(first + c, slice(*cuts[c : c + 2])) for c in range(last - first)]
