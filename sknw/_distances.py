"""`metric="precomputed"`: X is distances, from each row to each training point, in the place of features.

t = (D / h)² for a distance D and one bandwidth h. The rule of thumb takes distances as those of one feature, of which
the variance is half the mean squared distance of two rows.
"""

from typing import ClassVar

import numpy as np
from sklearn.utils.validation import check_non_negative

from ._problem import DistanceProblem
from ._table import Table

BLOCK_NUMBERS = 2**17
"""Distances that are squared together: 1 MiB."""


class DistanceTable(Table):
    """In the place of a `Table` of features, of which there are none."""

    valid_inputs: ClassVar = {"accept_sparse": False, "ensure_all_finite": True}
    holds_distances = True

    def __init__(self):
        super().__init__(None, None)

    def check(self, codes):
        """Refuse negative distances.

        Raises
        ------
        ValueError
        """
        check_non_negative(codes, "a precomputed distance matrix")

    def check_training(self, codes):
        """The same for training inputs, which also must be square."""
        if codes.shape[0] != codes.shape[1]:
            raise ValueError(f"Precomputed matrix must be square. Input is a {codes.shape[0]}x{codes.shape[1]} matrix.")
        self.check(codes)


class Distances:
    """In the place of `Columns`, for training distances (n, n), which have one bandwidth in common.

    The methods are those of `Columns`, for distances in the place of codes.
    """

    is_trivial, n_columns = True, 1

    def __init__(self, distances, weights):
        self.is_known = np.ones(1, dtype=bool)
        self._scales = np.array([_scale(distances, weights)])

    def of(self, codes):
        """The distances themselves."""
        return codes

    def spread(self, of_features):
        """What the distances have, such as a bandwidth (1,)."""
        return of_features

    def scales(self, codes, weights):
        """The scale (1,) of the training distances; merging equal rows does not change it."""
        return self._scales

    def miss_any(self, codes):
        """No distance is missing."""
        return False

    def points(self, codes):
        """The position (n, 1) of the first row at distance zero from each row, which equal rows have in common."""
        rows, nearest = np.arange(len(codes)), codes.argmin(axis=1)
        return np.where(codes[rows, nearest] == 0, nearest, rows)[:, None]

    def make_problem(self, codes, values, weights, points=None):
        """The `DistanceProblem` of all rows, or of those at positions (n, 1) among them."""
        points = np.arange(len(codes))[:, None] if points is None else points
        return DistanceProblem(codes, points, values, weights)


def check_precomputed(estimator):
    """Refuse parameters that distances do not allow.

    Raises
    ------
    ValueError
    """
    if isinstance(estimator.bandwidth, str):
        if estimator.bandwidth == "loo_ard":
            raise ValueError(
                'bandwidth="loo_ard" learns a bandwidth for each feature, but metric="precomputed" has distances and '
                'no features; use "loo", which learns one bandwidth'
            )
    elif np.size(estimator.bandwidth) != 1:
        raise ValueError(
            'metric="precomputed" has distances and no features, and takes one number as bandwidth; got '
            f"{estimator.bandwidth!r}"
        )
    if estimator.algorithm not in ("auto", "dense"):
        raise ValueError(
            f'algorithm={estimator.algorithm!r} requires features, but metric="precomputed" has distances; use "auto" '
            'or "dense"'
        )
    if not (estimator.categorical_features is None or isinstance(estimator.categorical_features, str)):
        raise ValueError('metric="precomputed" has distances and no features, of which none can be categorical')


def _scale(distances, weights):
    """sqrt(mean D² / 2) over all pairs of rows, as drawn by weight; inf if all distances are zero.

    For distances |x - x'| of one feature this is its standard deviation.
    """
    shares, largest, total = weights / weights.sum(), distances.max(), 0.0
    if largest == 0:
        return np.inf
    step = max(1, BLOCK_NUMBERS // len(distances))
    for rows in (slice(start, start + step) for start in range(0, len(distances), step)):
        total += shares[rows] @ (np.square(distances[rows] / largest) @ shares)
    return largest * np.sqrt(total / 2) if total > 0 else np.inf
