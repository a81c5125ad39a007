"""What pooling returns."""

from typing import NamedTuple

import numpy as np


class Pooled(NamedTuple):
    """Means of the values for m queries.

    Attributes
    ----------
    values : (m, n_values) float ndarray
        Weighted by attention. Where no key has weight, the limit of a shrinking Gaussian: the mean of the nearest keys,
        of which ties (t <= t_min (1 + 1e-12)) share by weight.
    log_mass : (m,) float ndarray
        log sum_i w_i K(t_i); -inf where no key has weight.
    nearest_t : (m,) float ndarray
        t of the nearest keys where no key has weight, else 0.
    scales : (m,) float ndarray, default=None
        Factors of t, where the width of a query follows the distance to a neighbour.
    """

    values: np.ndarray
    log_mass: np.ndarray
    nearest_t: np.ndarray
    scales: np.ndarray | None = None

    @classmethod
    def empty(cls, n_queries, n_values, scales=None):
        """Arrays to be filled in."""
        return cls(np.empty((n_queries, n_values)), np.empty(n_queries), np.zeros(n_queries), scales)

    def take(self, places):
        """Some of them."""
        return Pooled(*(None if field is None else field[places] for field in self))
