"""Positions of numbers among ascending keys: by bisection, and of many numbers by a table.

The table counts the keys in equal steps, as many as there are keys. The step of a number is a monotone function of it,
in floating point too, so that keys of lower steps are smaller, and those of higher ones are larger. What remains is to
compare with the few keys of its own step one by one. Where these are many, numbers are found by bisection, and so are
those beyond the first and the last hundredth of the keys, which would make all steps wide where there are heavy tails.
"""

from functools import cached_property

import numpy as np

MOST_IN_STEP = 8
"""Keys in a step up to which they are compared one by one."""

FEW_KEYS, FEW_NUMBERS = 2**12, 2**8
"""Keys, and numbers in one call, up to which bisection is as fast."""

FEWEST = 8
"""Numbers up to which bisection takes all keys."""

KEYS_FOR_EACH = 8
"""The table is made when one number for so many keys has been searched for."""

BLOCK_KEYS = 2**14
"""Keys whose steps are found together."""


class Positions:
    """Positions among ascending keys (n,)."""

    def __init__(self, keys):
        self.keys, self.n_searched = keys, 0

    def search(self, x, side):
        """np.searchsorted for x (b,) that are near each other."""
        self.n_searched += len(x)
        is_worth_it = len(x) > FEW_NUMBERS and KEYS_FOR_EACH * self.n_searched > len(self.keys)
        if is_worth_it and self.table is not None:
            return self._look_up(x, side)
        return self._bisect(x, side)

    def _bisect(self, x, side):
        """Of many, among the keys between the least and the largest x only."""
        if len(x) <= FEWEST:
            return np.searchsorted(self.keys, x, side=side)
        first, last = np.searchsorted(self.keys, [x.min(), x.max()], side=side)
        return first + np.searchsorted(self.keys[first:last], x, side=side)

    def _look_up(self, x, side):
        is_below = np.less if side == "left" else np.less_equal
        position = np.take(self.table, self._steps(x)).astype(np.intp)
        unknown = np.flatnonzero(position < 0)
        if len(unknown):
            position[unknown] = self._bisect(x[unknown], side)
        below = is_below(np.take(self.keys, position, mode="clip"), x)
        below[unknown] = False
        position += below
        rows = np.flatnonzero(below)
        while len(rows):  # a key of the last step ends this at the latest
            rows = rows[is_below(np.take(self.keys, position[rows]), x[rows])]
            position[rows] += 1
        return position

    @cached_property
    def _range(self):
        """Where steps begin, and how many there are in a unit; zero where the keys allow for none."""
        low, high = np.quantile(self.keys[:: max(1, len(self.keys) // 1000)], [0.01, 0.99])
        with np.errstate(over="ignore", divide="ignore"):
            per_unit = len(self.keys) / (high - low)
        return low, per_unit if np.isfinite(per_unit) else 0.0

    def _steps(self, x):
        """The step of each x, of which those outside are in the first and the last one."""
        low, per_unit = self._range
        with np.errstate(over="ignore"):
            steps = x - low
            steps *= per_unit
        np.clip(steps, 0, len(self.keys) - 1, out=steps)
        return steps.astype(np.intp)

    @cached_property
    def table(self):
        """How many keys are in lower steps, -1 where many are in the step; None if these are most of the keys."""
        n = len(self.keys)
        if not FEW_KEYS < n < 2**31 or self._range[1] == 0:
            return None
        table = np.zeros(n + 1, dtype=np.int32)
        for begin in range(0, n, BLOCK_KEYS):
            steps = self._steps(self.keys[begin : begin + BLOCK_KEYS])
            table[steps[0] + 1 : steps[-1] + 2] += np.bincount(steps - steps[0]).astype(np.int32)
        crowded = np.flatnonzero(table > MOST_IN_STEP) - 1
        if table[crowded + 1].sum() > n / 2:
            return None
        np.cumsum(table, out=table)
        table[crowded] = table[[0, n - 1]] = -1
        return table
