"""The leave-one-out loss of a bandwidth: the mean squared error of predicting each training point from all others.

Squared errors are summed over value columns (for one-hot values that is the Brier score) and averaged over rows by
sample weight. They are in units of 4^exponent, where 2^exponent is the size of the largest value: squares then neither
overflow nor underflow. A row without a neighbour inside the support keeps the prediction by its nearest other keys, or
by the mean of the others: to drop such rows would make ever smaller bandwidths look ever better.
"""

from typing import NamedTuple

import numpy as np

from .._one_hot import OneHot
from .._weights import sample_size

SEARCH_PAIRS, FINAL_PAIRS = 10**7, 10**8
"""Pairs of a row and a key in one evaluation, during a search and at its end, where the cost grows with them."""

SEARCH_ROWS = 5000
"""Rows in an evaluation during a search, where the cost does not grow with pairs."""

FEWEST_ROWS = 1000
"""Rows in an evaluation, at least: with fewer its noise would be larger than what there is to gain."""

KNOWN = 4
"""Bandwidths of just before whose squared errors are kept, as the best of a few is compared and evaluated again."""


SIGNIFICANT = 2
"""Standard errors that bandwidths of their own must gain on a common one; half as many, if the gain is large: more
than the loss / sqrt(n).
"""

FEWEST_GAINS = 6
"""Rows that must carry a gain: that of fewer, as of some misclassified rows, may be chance whatever its error."""


class LeaveOneOutLoss:
    """The loss on some rows, as a function of the bandwidth.

    Parameters
    ----------
    pooler_of : callable
        bandwidth (n_features,) -> `Pooler` of the sample.
    sample : Sample
    rows : (n_rows,) int ndarray
        The rows of the sample that the loss is a mean over.
    mean_where_empty : bool
        Whether rows without a neighbour are predicted by the mean of all others, not by the nearest.
    tol : float
    n_jobs : int or None
    """

    def __init__(self, pooler_of, sample, rows, mean_where_empty, tol, n_jobs):
        self.pooler_of, self.sample, self.rows, self.mean_where_empty = pooler_of, sample, rows, mean_where_empty
        self.values, self.tol, self.n_jobs = sample.values, tol, n_jobs
        self.average = pooler_of(np.full(sample.keys.shape[1], np.inf)) if mean_where_empty else None
        self.shares, self.known = _shares(sample.weights[rows]), {}
        self.exponent = _exponent(sample)
        self.unit = 2.0**-self.exponent

    @property
    def n_rows(self):
        """How many rows the loss is a mean over."""
        return len(self.rows)

    def on(self, positions):
        """The loss on some of its rows."""
        rows = self.rows[positions]
        return LeaveOneOutLoss(self.pooler_of, self.sample, rows, self.mean_where_empty, self.tol, self.n_jobs)

    def __call__(self, bandwidth):
        """The loss."""
        return self.shares @ self.squares(bandwidth)

    def along(self, bandwidth, octaves):
        """Yield the losses of 2^octave times the bandwidth, one after the other."""
        for pooled in self.pooler_of(bandwidth).sweep(octaves, self.rows, self.n_jobs, self.tol):
            yield self.shares @ self._squares(pooled)

    def with_gradient(self, bandwidth):
        """The loss, and its derivatives (n_features,) by log bandwidths."""
        pooled, gradient = self.pooler_of(bandwidth).gradient(self._cotangents, self.rows, self.n_jobs, self.tol)
        return self.shares @ self._squares(pooled), gradient

    def squares(self, bandwidth):
        """Squared errors (n_rows,), not evaluated again for a bandwidth of just before."""
        key = bandwidth.tobytes()
        if key not in self.known:
            self.known[key] = self._squares(self.pooler_of(bandwidth).pool(None, self.rows, self.n_jobs, self.tol))
            if len(self.known) > KNOWN:
                del self.known[next(iter(self.known))]
        return self.known[key]

    def _squares(self, pooled):
        """Squared errors (n_rows,) of the `Pooled` values of all rows."""
        return np.square(self._errors(pooled, self.rows)).sum(axis=1)

    def _cotangents(self, pooled, places):
        """The derivatives (b, n_values) of the loss by the `Pooled` values of rows[places]."""
        return 2 * self.unit * self.shares[places, None] * self._errors(pooled, self.rows[places])

    def _errors(self, pooled, rows):
        """The errors (b, n_values) of the `Pooled` values of some rows of the sample, in units of 2^exponent."""
        predictions = pooled.values
        if self.average is not None:
            empty = np.flatnonzero(np.isneginf(pooled.log_mass))
            predictions[empty] = self.average.pool(None, rows[empty]).values
        return predictions * self.unit - self.values[rows] * self.unit


def _exponent(sample):
    """The exponent of the power of two above the largest value that counts."""
    if isinstance(sample.values, OneHot):
        return 1
    largest = np.abs(sample.values).max(where=sample.weights[:, None] > 0, initial=0)
    return int(np.clip(np.frexp(largest)[1], -1000, 1000))


def _shares(weights):
    shares = weights / weights.max()
    return shares / shares.sum()


def make_losses(pooler_of, sample, is_linear, random_state, **parameters):
    """The loss of a search, and that of its end; the same if all rows fit into both.

    `is_linear` says whether the cost of an evaluation grows with n, not with n². Rows are drawn at random, without
    replacement, from those of positive weight.
    """
    n, rows = len(sample.keys), np.flatnonzero(sample.weights)
    final, first = (n, SEARCH_ROWS) if is_linear else (FINAL_PAIRS // n, SEARCH_PAIRS // n)

    def draw(rows, n_rows):
        n_rows = max(n_rows, FEWEST_ROWS)
        return rows if len(rows) <= n_rows else np.sort(random_state.choice(rows, n_rows, replace=False))

    chosen = draw(rows, final)
    final_loss = LeaveOneOutLoss(pooler_of, sample, chosen, **parameters)
    few = draw(chosen, first)
    if len(few) == len(chosen):
        return final_loss, final_loss
    return LeaveOneOutLoss(pooler_of, sample, few, **parameters), final_loss


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
