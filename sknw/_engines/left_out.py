"""Rows of a problem that are queries of leave-one-out, and positions of rows as slices or arrays."""

import numpy as np


class LeftOut:
    """Rows of a problem, a slice or (m,) positions, that are queries, each without one unit of its own weight."""

    def __init__(self, problem, rows):
        self._problem, self.rows = problem, rows

    def __len__(self):
        return n_rows(self.rows)

    def __getitem__(self, positions):
        """Some of them."""
        return LeftOut(self._problem, subset(self.rows, positions))

    @property
    def points(self):
        """The rows themselves, (m, n_features)."""
        return self._problem.rows[self.rows]

    @property
    def is_all(self):
        """Whether these are all rows of the problem, in their order."""
        return isinstance(self.rows, slice) and len(self) == len(self._problem.rows)

    @property
    def self_index(self):
        """The position of each among the keys (m,), -1 without weight."""
        return self._problem.self_index(self.rows)

    @property
    def retained(self):
        """The share of its weight that each retains, (m,)."""
        return self._problem.retained[self.rows]

    @property
    def columns(self):
        """What each takes out of the sums of the columns, (n_values + 1, m)."""
        return np.asarray(self._problem.removed_columns[self.rows]).T


def subset(rows, positions):
    """Some of the rows, which are a slice, or an array; so are the positions of these."""
    if not isinstance(rows, slice):
        return rows[positions]
    if not isinstance(positions, slice):
        return positions + rows.start if rows.start else positions
    start, stop, _ = positions.indices(n_rows(rows))
    return slice(rows.start + start, rows.start + stop)


def n_rows(rows):
    """The number of rows in a slice, or an array."""
    return rows.stop - rows.start if isinstance(rows, slice) else len(rows)
