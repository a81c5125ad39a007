"""Exponential sums over sorted keys, by a recursion from each side: exact, whatever the bandwidth and the distance.

The sum over the keys up to x_i, S_i = v_i + exp(-(x_i - x_{i-1}) / h) S_{i-1}, is a scan; so is the one over the keys
from x_i on. A query takes its two neighbours' sums, each with its decay. All terms are positive, so nothing cancels.
"""

import numpy as np

from ._exact import two_sum


class ExponentialSums:
    """Sums of the columns (n, n_columns), weighted by exp(-distance / h), over sorted keys (n,)."""

    def __init__(self, keys, columns, h):
        self.keys, self.columns, self.h = keys, columns, h
        self.up_to = _decaying_sums(keys, columns, h)
        self.from_on = _decaying_sums(-keys[::-1], columns[::-1], h)[::-1]

    def sums(self, q, own, tol):
        """Sums (b, n_columns) for sorted queries (b,), relative to the nearest key's weight, and its logarithm.

        `own` is None, or the positions (b,) of the queries' own keys, -1 without one, and what they keep (b,).
        """
        right = np.searchsorted(self.keys, q, side="right")
        left = right - 1
        if own is not None:
            position, kept = own
            has_own = position >= 0
            left, right = np.where(has_own, position - 1, left), np.where(has_own, position + 1, right)
        to_left, to_right, difference = self._distances(q, left, right)
        nearest = np.minimum(to_left, to_right)
        if own is not None:
            nearest[has_own & (kept > 0)] = 0.0
        # the farther side decays by the difference of the distances, which their own rounding would spoil
        left_decay = np.where(nearest == to_left, 0.0, np.where(nearest == 0, to_left, difference))
        right_decay = np.where(nearest == to_right, 0.0, np.where(nearest == 0, to_right, -difference))
        sums = np.exp(-left_decay)[:, None] * self.up_to[np.maximum(left, 0)]
        sums += np.exp(-right_decay)[:, None] * self.from_on[np.minimum(right, len(self.keys) - 1)]
        if own is not None:
            sums += np.where(has_own, kept, 0.0)[:, None] * self.columns[position]
        return sums, -nearest

    def _distances(self, q, left, right):
        """Distances (b,) to the neighbours in bandwidths, inf without one, and the left one minus the right one."""
        last = len(self.keys) - 1
        to_left, left_error = two_sum(q, -self.keys[np.maximum(left, 0)])
        to_right, right_error = two_sum(self.keys[np.minimum(right, last)], -q)
        difference = ((to_left - to_right) + (left_error - right_error)) / self.h
        no_left, no_right = left < 0, right > last
        difference[no_left], difference[no_right] = np.inf, -np.inf
        return np.where(no_left, np.inf, to_left / self.h), np.where(no_right, np.inf, to_right / self.h), difference


def _decaying_sums(x, columns, h):
    """sum_{k <= i} exp(-(x_i - x_k) / h) columns_k for ascending x (n,), in log2(n) steps (Hillis & Steele 1986)."""
    sums, step = columns.copy(), 1
    while step < len(x):
        decay = np.exp((x[:-step] - x[step:]) / h)
        if not decay.any():
            break
        sums[step:] += decay[:, None] * sums[:-step]
        step *= 2
    return sums
