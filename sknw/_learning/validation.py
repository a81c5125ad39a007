"""Whether a bandwidth for each feature is better than a common one: judged by rows that it was not learned from.

Many bandwidths can fit the noise of the rows that they are learned from, and the loss of these rows then says nothing.
So the rows are drawn into halves, of which each learns for the other to judge.
"""

from typing import NamedTuple

import numpy as np

from .._one_hot import OneHot
from .._weights import sample_size

SIGNIFICANT = 2
"""Standard errors that bandwidths of their own must gain on a common one; half as many, if the gain is large: more
than the loss / sqrt(n).
"""

FEWEST_GAINS = 6
"""Rows that must carry a gain: that of fewer, as of some misclassified rows, may be chance whatever its error."""


class Comparison(NamedTuple):
    """The loss of n rows that were not learned from, what they gain on a common bandwidth, the standard error of that,
    and how many rows carry it: Kish's (sum |g|)² / sum g².
    """

    loss: float
    gain: float
    error: float
    n: float
    n_carrying: float

    def is_significant(self):
        """Whether the gain is more than chance, by its standard error and the number of rows behind it."""
        is_large = self.gain > (self.loss + self.gain) / np.sqrt(self.n)
        n_errors = SIGNIFICANT / 2 if is_large else SIGNIFICANT
        return self.gain > n_errors * self.error and self.n_carrying >= FEWEST_GAINS


class CrossValidation:
    """The rows of a loss in halves: what is learned from one half is validated on the other, and the other way round.

    All rows stay keys. The rows are drawn into halves several times, whatever order they are in.

    Parameters
    ----------
    loss : LeaveOneOutLoss
        On the rows that are learned from.
    final_loss : LeaveOneOutLoss
        On these rows and more, or the same.
    random_state : RandomState
    n_draws : int

    Attributes
    ----------
    folds : list of (LeaveOneOutLoss, LeaveOneOutLoss)
        The loss to learn from, and that of the validation rows.
    """

    def __init__(self, loss, final_loss, random_state, n_draws):
        self.rows, self.final_loss, self.n_draws, self.positions = loss.rows, final_loss, n_draws, []
        values = loss.values.labels if isinstance(loss.values, OneHot) else loss.values
        order = np.lexsort([*values[loss.rows].reshape(len(loss.rows), -1).T, *loss.sample.keys[loss.rows].T])
        for _ in range(n_draws):
            one, other = map(np.sort, np.array_split(random_state.permutation(order), 2))
            self.positions += [(one, other), (other, one)]
        self.folds = [(loss.on(learning), loss.on(validation)) for learning, validation in self.positions]

    def compare(self, learned, mean, common):
        """A `Comparison` of what the folds have learned with a common bandwidth.

        Each validation row has the loss of what its folds learned, and each further row that of the mean of all.
        """
        squares, shares = self.final_loss.squares(mean).copy(), self.final_loss.shares
        squares[np.isin(self.final_loss.rows, self.rows)] = 0
        for (_, loss), bandwidth in zip(self.folds, learned, strict=True):
            squares[np.searchsorted(self.final_loss.rows, loss.rows)] += loss.squares(bandwidth) / self.n_draws
        gains = self.final_loss.squares(common) - squares
        gain, largest = shares @ gains, np.abs(gains).max() or 1
        gains /= largest  # whose squares could overflow
        n = sample_size(self.final_loss.sample.weights[self.final_loss.rows])
        error = largest * np.sqrt(shares @ np.square(gains - gain / largest) / n)
        n_carrying = n * (shares @ np.abs(gains)) ** 2 / (shares @ np.square(gains) or 1)
        return Comparison(shares @ squares, gain, error, n, n_carrying)
