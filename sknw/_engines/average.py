"""Average pooling: where the kernel is flat or no feature counts, every query gets the mean of all values."""

from functools import cached_property

import numpy as np


def is_flat(kernel, bandwidth):
    """Whether all keys weigh the same, however far away."""
    return kernel.flat or not np.isfinite(bandwidth).any()


class AveragePooler:
    """A dense pooler whose weights are all the same, which leaves little to do."""

    linear, multiples, pull = True, None, None

    def __init__(self, dense):
        self.engine, self.kernel, self.attention = dense.engine, dense.kernel, dense.attention

    @cached_property
    def total(self):
        """Sums of the columns over all keys, (1, n_columns)."""
        return np.ascontiguousarray(np.asarray(self.engine.columns).T).sum(axis=1)[None]

    @cached_property
    def others(self):
        """Sums over all keys but what goes with each row in leave-one-out, (n_rows, n_columns).

        From the sums before and after a row, since taking a large weight away from a total would cancel.
        """
        columns, active = np.asarray(self.engine.columns), self.engine.active
        nothing = np.zeros((1, columns.shape[1]))
        before = np.cumsum(np.vstack([nothing, columns[:-1]]), axis=0)
        after = np.cumsum(np.vstack([nothing, columns[:0:-1]]), axis=0)[::-1]
        others = np.tile(self.total, (len(self.engine.rows), 1))
        others[active] = before + after + self.engine.kept[active, None] * columns
        return others

    def pool(self, queries=None, rows=slice(None), n_jobs=None, tol=0.0):
        """Pooled values (m, n_values) and log_mass (m,), as every engine gives them."""
        if queries is None:
            sums = self.others[rows]
        else:
            sums = np.broadcast_to(self.total, (len(queries), self.total.shape[1]))[rows]
        log_weight = self.kernel.log(np.zeros(1)) + np.log(self.engine.largest_weight)
        return self.engine.mean(sums), np.log(sums[:, -1]) + log_weight

    def slopes(self, rows=slice(None), n_jobs=None, tol=0.0):
        """Pooled values, log_mass and slopes, which are zero, in leave-one-out, as every engine gives them."""
        pooled, log_mass = self.pool(rows=rows)
        return pooled, log_mass, np.zeros((len(pooled), self.engine.rows.shape[1], pooled.shape[1]))
