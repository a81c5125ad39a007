"""Sums over the windows of a compact kernel in one feature, as differences of prefix moments.

Keys are cut into cells one support wide, or narrower for polynomials of high degree, whose terms would cancel. Where
the kernel is a polynomial in the distance, or the cosine or its square, it separates about the centre of a cell,
K = sum_r A_r(a) B_r(b) with a and b the query and the key in supports from that centre, and the sum over some keys of
the cell is sum_r A_r(a) M_r, with the moments M_r = sum_i B_r(b_i) v_i as differences of prefix sums. A window touches
three cells of one support or so. Odd powers of the distance change sign at the query, where the window is then cut in
two.

Error. Prefix sums of floats lose the digits of long sums, and a difference of two of them more. Here they are integers:
terms in [-1, 1] are rounded to multiples of 2^-s, with s such that sums over a cell fit 63 bits; sums of integers and
their differences are exact (modulo 2^64, so the prefix sums may overflow). A sum over k keys of a cell then errs by
k (2^-(s+1) + rounding of a term) sum_r |A_r(a)| at most, times the largest weight. Values lie in [0, range], so the
error of a prediction, as a fraction of the range, is at most twice the error of the mass over the mass. Queries for
which that exceeds `tol` (all keys at the edge, or none but oneself) sum their window directly.
"""

from math import comb, pi

import numpy as np

from .windows import leave_out, take

BLOCK_KEYS = 2**14
"""Keys done together."""

FEW_QUERIES = 2**8
"""Queries up to which all moments, on both sides, are taken at once: slower for each moment, but fewer calls."""

MOST_CELLS = 2.0**40
"""Cells on each side of the first key, or of the middle one where the first is as far off."""


LOW_DEGREE, NARROW_CELLS = 9, 4
"""The degree of a polynomial up to which cells are one support wide, and the cells for each support beyond."""


class Polynomial:
    """sum_j c_j |a - b|^j, separated into A_r(a) (2 k b)^r for b in [-1/2k, 1/2k], with k cells for each support."""

    def __init__(self, coefficients):
        self.coefficients = np.array(coefficients)
        self.size = len(coefficients)
        self.odd = any(coefficients[1::2])
        self.n_cells = 1 if self.size <= LOW_DEGREE + 1 else NARROW_CELLS
        half, factors = 0.5 / self.n_cells, np.zeros((self.size, self.size))
        for r in range(self.size):
            row = [coefficients[j] * comb(j, r) * (-half) ** r for j in range(r, self.size)]
            factors[r, : len(row)] = row
        self._factors = factors  # (size, size), of the powers of a in A_r(a)

    def of_keys(self, b):
        """Stream the terms (2 b)^r."""
        power = np.ones_like(b)
        for _ in range(self.size):
            yield power
            power = power * (2 * self.n_cells * b)

    def of_queries(self, a, sign):
        """The factors A_r(a), (size, b), for keys on one side: sign (b,) is 1 if b <= a, -1 if b > a, where |a - b| is
        the same of -a and -b.
        """
        powers = np.empty((self.size, len(a)))
        powers[0], x = 1, a * sign
        for j in range(1, self.size):
            np.multiply(powers[j - 1], x, out=powers[j])
        factors = self._factors @ powers
        factors[1::2] *= sign
        return factors

    def bound(self, a):
        """sum_r |A_r(a)|, at most."""
        return _horner(np.abs(self.coefficients), np.abs(a) + 0.5 / self.n_cells)


class Cosine:
    """cos(pi (a - b) / 2), separated by the addition theorem."""

    size, odd, n_cells = 2, False, 1

    def of_keys(self, b):
        yield from (np.cos(pi / 2 * b), np.sin(pi / 2 * b))

    def of_queries(self, a, sign):
        return np.stack([np.cos(pi / 2 * a), np.sin(pi / 2 * a)])

    def bound(self, a):
        return 1.5  # |cos| + |sin| <= sqrt(2)


class SquaredCosine:
    """cos²(pi (a - b) / 2) = (1 + cos(pi (a - b))) / 2, separated likewise."""

    size, odd, n_cells = 3, False, 1

    def of_keys(self, b):
        yield from (np.ones_like(b), np.cos(pi * b), np.sin(pi * b))

    def of_queries(self, a, sign):
        return np.stack([np.ones_like(a), np.cos(pi * a), np.sin(pi * a)]) / 2

    def bound(self, a):
        return 1.25  # 1 / 2 + (|cos| + |sin|) / 2


def _horner(coefficients, x):
    value = np.full_like(x, coefficients[-1])
    for c in coefficients[-2::-1]:
        value *= x
        if c:
            value += c
    return value


def has_basis(kernel):
    """Whether a kernel is compact and separates."""
    return kernel.compact and (bool(kernel.coefficients) or kernel.form in ("cosine", "squared cosine"))


def _basis(kernel):
    """How a kernel separates, with distances in supports."""
    if kernel.form in ("cosine", "squared cosine"):
        return Cosine() if kernel.form == "cosine" else SquaredCosine()
    return Polynomial([c * kernel.support**j for j, c in enumerate(kernel.coefficients)])


class PrefixSums:
    """Sums of the columns of `Windows`, weighted by a compact kernel."""

    def __init__(self, windows, kernel, h):
        self.windows, self.kernel, self.h = windows, kernel, h
        self.radius, self.basis = kernel.support * h, _basis(kernel)
        self.keys, columns = windows.keys, windows.columns
        self.cell, self.bounds = self._cells()
        self.first = self.keys[self.bounds[:-1]]
        largest = columns.max(axis=1)
        largest[largest == 0] = 1.0
        unit = 2.0 ** -(62 - int(np.diff(self.bounds).max()).bit_length())
        self.units = largest * unit
        self.term_error = (unit / 2 + 8 * (self.basis.size + 1) * np.finfo(float).eps) * largest[-1]
        self.prefix = self._prefix_sums(columns)

    def _cells(self):
        """The cell of each key (n,), and where each begins and the last one ends (n_cells + 1,).

        Far from the others, where floats are too coarse for cells, all keys begin one. A constant needs no centre.
        """
        n = len(self.keys)
        if self.basis.size == 1:
            return None, np.array([0, n])
        first, middle = self.keys[0], self.keys[n // 2]
        width = self.radius / self.basis.n_cells
        origin = first if middle - first <= MOST_CELLS * width else middle
        cell, last = np.zeros(n, dtype=np.int32), np.nan
        for begin in range(0, n, BLOCK_KEYS):
            block = slice(begin, begin + BLOCK_KEYS)
            number = np.floor((self.keys[block] - origin) / width)
            new = (np.append(last, number[:-1]) != number) | (np.abs(number) > MOST_CELLS)
            np.cumsum(new, dtype=np.int32, out=cell[block])
            cell[block] += cell[begin - 1] if begin else -1
            last = number[-1]
        return cell, np.concatenate([[0], np.flatnonzero(cell[1:] != cell[:-1]) + 1, [n]])

    def _place(self, x, cell):
        """Where x are, in supports from the centre of cells, which begin at their first key."""
        place = x - np.take(self.first, cell)
        place /= self.radius
        place -= 0.5 / self.basis.n_cells
        return place

    def _prefix_sums(self, columns):
        """Integers (n_columns, n_moments, n + 1), in `units`."""
        n_columns, n = columns.shape
        prefix = np.zeros((n_columns, self.basis.size, n + 1), dtype=np.int64)
        for begin in range(0, n, BLOCK_KEYS):
            block = slice(begin, min(begin + BLOCK_KEYS, n))
            b = self.keys[block] if self.cell is None else self._place(self.keys[block], self.cell[block])
            scaled = columns[:, block] / self.units[:, None]
            for r, term in enumerate(self.basis.of_keys(b)):
                for sums, column in zip(prefix[:, r], scaled, strict=True):
                    moments = np.rint(term * column).astype(np.int64)
                    moments[:1] += sums[begin : begin + 1]
                    np.cumsum(moments, out=sums[begin + 1 : block.stop + 1])
        return prefix

    def looks_up(self, n_queries):
        """Queries are needed in order."""
        return False

    def order(self, q):
        """An order of queries in which neighbours are near each other."""
        return self.windows.order(q)

    def sums(self, q, removed, tol):
        """Sums (n_columns, b) for ordered queries (b,), nan where a window is too long, and log of their factor, 0.

        `removed` is as in `Windows`.
        """
        start, stop = self._window(q)
        if tol == 0:
            sums, unresolved = np.empty((len(self.windows.columns), len(q))), np.arange(len(q))
        else:
            sums, error = self._moment_sums(q, start, stop)
            unresolved = leave_out(sums, error, removed, tol)
        if len(unresolved):

            def weigh(query, key):
                return self.kernel(np.square((self.keys[key] - q[unresolved][query]) / self.h))

            found = self.windows.sums(
                q[unresolved], start[unresolved], stop[unresolved], weigh, take(removed, unresolved)
            )
            sums[:, unresolved] = found
        return sums, np.zeros(len(q))

    def _window(self, q):
        """Where the keys inside the support of each query start and stop, by the kernel's own rule at the edge."""
        start, stop = self.windows.search(q - self.radius), self.windows.search(q + self.radius, side="right")
        if len(q) >= FEW_QUERIES:
            return self._settle(start, q, -1), self._settle(stop, q, 1)
        outward = np.repeat([-1, 1], len(q))
        return np.split(self._settle(np.append(start, stop), np.append(q, q), outward), 2)

    def _settle(self, end, q, outward):
        """Move ends of windows outward over keys that are inside, and inward over keys that are not.

        `outward` is -1 for windows that end below q, and 1 above: one number, or (b,).
        """
        for are_inside in (True, False):
            rows = self._misplaced(end, q, outward, are_inside)
            while len(rows):
                some = outward if np.isscalar(outward) else outward[rows]
                end[rows] += some if are_inside else -some
                rows = rows[self._misplaced(end[rows], q[rows], some, are_inside)]
        return end

    def _misplaced(self, end, q, outward, are_inside):
        """The queries with a window end that has to move over a key that is inside, or over one that is not."""
        at = end + ((outward - 1) // 2 if are_inside else -(outward + 1) // 2)
        away = np.take(self.keys, at, mode="clip")
        away -= q
        if not are_inside:
            away = np.where(away * outward > 0, away, 0.0)
        away /= self.h
        inside = self.kernel.inside(np.square(away, out=away))
        misplaced = np.flatnonzero(inside if are_inside else ~inside)
        if len(misplaced):  # seldom, and then beyond the first or the last key there is none
            misplaced = misplaced[(at[misplaced] >= 0) & (at[misplaced] < len(self.keys))]
        return misplaced

    def _moment_sums(self, q, start, stop):
        """Sums (n_columns, b) over the keys start ... stop, and a bound (b,) on the error of the mass."""
        if self.cell is None:
            a = np.zeros(1)
            sums = self._sums_between(start, stop, self.basis.of_queries(a, np.ones(1)))
            return sums, self.term_error * self.basis.bound(a) * (stop - start)
        below = np.ones(len(q))
        if not self.basis.odd:
            return self._sums_beside(q, below, start, stop)
        middle = np.clip(self.windows.search(q, side="right"), start, stop)
        sides = [(q, below, start, middle), (q, -below, middle, stop)]
        if len(q) >= FEW_QUERIES:
            (one, error), (other, more) = (self._sums_beside(*side) for side in sides)
            return one + other, error + more
        sums, error = self._sums_beside(*map(np.concatenate, zip(*sides, strict=True)))
        return sums[:, : len(q)] + sums[:, len(q) :], error[: len(q)] + error[len(q) :]

    def _sums_beside(self, q, sign, start, stop):
        """The same over keys below q, where sign (b,) is 1, and above it, where it is -1."""
        rows, cell, begin, end = self._pieces(start, stop)
        a = self._place(q[rows], cell)
        found = self._sums_between(begin, end, self.basis.of_queries(a, sign[rows]))
        sums, error = np.zeros((len(found), len(q))), np.zeros(len(q))
        for total, part in zip([*sums, error], [*found, (end - begin) * self.basis.bound(a)], strict=True):
            total += np.bincount(rows, part, minlength=len(q))  # of integers, if there are no rows
        return sums, self.term_error * error

    def _pieces(self, start, stop):
        """Windows cut at cells: the query, the cell, the first key and the end of each piece."""
        rows = np.flatnonzero(stop > start)
        first, last = self.cell[start[rows]], self.cell[stop[rows] - 1]
        counts = last - first + 1
        rows = np.repeat(rows, counts)
        cell = np.arange(len(rows)) + np.repeat(first - np.cumsum(counts) + counts, counts)
        return rows, cell, np.maximum(start[rows], self.bounds[cell]), np.minimum(stop[rows], self.bounds[cell + 1])

    def _sums_between(self, begin, end, factors):
        """Sums (n_columns, b) over the keys begin ... end, of one cell each, by factors (n_moments, b)."""
        if len(begin) < FEW_QUERIES:
            moments = self.prefix[:, :, end] - self.prefix[:, :, begin]
            sums = np.einsum("rb,crb->cb", factors, moments.astype(float))
        else:
            sums = np.zeros((len(self.prefix), len(begin)))
            for found, prefix in zip(sums, self.prefix, strict=True):
                for moments, factor in zip(prefix, factors, strict=True):
                    found += factor * (moments.take(end) - moments.take(begin))
        sums *= self.units[:, None]
        return sums
