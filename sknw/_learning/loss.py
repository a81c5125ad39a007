"""The leave-one-out loss of a bandwidth: the mean squared error of predicting each training point from all others.

Squared errors are summed over value columns (for one-hot values that is the Brier score) and averaged over rows by
sample weight. They are in units of 4^exponent, where 2^exponent is the size of the largest value: squares then neither
overflow nor underflow. A row without a neighbour inside the support keeps the prediction by its nearest other keys, or
by the mean of the others: to drop such rows would make ever smaller bandwidths look ever better.
"""

import numpy as np

from .._one_hot import OneHot
from .._weights import means_of_others

SEARCH_PAIRS, FINAL_PAIRS = 10**7, 10**8
"""Pairs of a row and a key in one evaluation, during a search and at its end, where the cost grows with them."""

SEARCH_ROWS = 5000
"""Rows in an evaluation during a search, where the cost does not grow with pairs."""

FEWEST_ROWS = 1000
"""Rows in an evaluation, at least: with fewer its noise would be larger than what there is to gain."""

SLOPE_NUMBERS = 2**22
"""Slopes, or pooled values of several bandwidths, held at once."""

KNOWN = 4
"""Bandwidths of just before whose squared errors are kept, as the best of a few is compared and evaluated again."""


class LeaveOneOutLoss:
    """The loss on some rows, as a function of the bandwidth.

    Parameters
    ----------
    prepare : callable
        bandwidth (n_features,) -> pooler of the sample.
    sample : Sample
    rows : (n_rows,) int ndarray
        The rows of the sample that the loss is a mean over.
    mean_where_empty : bool
        Whether rows without a neighbour are predicted by the mean of all others, not by the nearest.
    tol : float
    n_jobs : int or None
    """

    def __init__(self, prepare, sample, rows, mean_where_empty, tol, n_jobs):
        self.prepare, self.sample, self.rows, self.mean_where_empty = prepare, sample, rows, mean_where_empty
        self.values, self.tol, self.n_jobs = sample.values, tol, n_jobs
        self.others = means_of_others(sample.values[:], sample.weights) if mean_where_empty else None
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
        return LeaveOneOutLoss(self.prepare, self.sample, rows, self.mean_where_empty, self.tol, self.n_jobs)

    def __call__(self, bandwidth):
        """The loss."""
        return self.shares @ self.squares(bandwidth)

    def along(self, bandwidth, octaves):
        """Yield the losses of 2^octave times the bandwidth, one after the other."""
        pooler = self.prepare(bandwidth)
        if pooler.multiples is None:
            yield from (self(2.0**octave * bandwidth) for octave in octaves)
            return
        losses = np.zeros(len(octaves))
        for part in self._parts(len(octaves)):
            for k, result in enumerate(pooler.multiples(octaves, self.rows[part], self.n_jobs)):
                losses[k] += self._share_of_loss(*result, part)[0]
        yield from losses

    def with_gradient(self, bandwidth):
        """The loss, and its derivatives (n_features,) by log bandwidths."""
        pooler = self.prepare(bandwidth)
        if pooler.pull is not None:
            pooled, log_mass, gradient = pooler.pull(self._pulls_of, self.rows, self.n_jobs, self.tol)
            return self._share_of_loss(pooled, log_mass, slice(None))[0], gradient
        loss, gradient = 0.0, np.zeros(len(bandwidth))
        for part in self._parts(len(bandwidth)):
            pooled, log_mass, slopes = pooler.slopes(self.rows[part], self.n_jobs, self.tol)
            share, errors = self._share_of_loss(pooled, log_mass, part)
            loss += share
            gradient += np.einsum("qv,qfv->f", self._pulls(errors, part), slopes)
        return loss, gradient

    def squares(self, bandwidth):
        """Squared errors (n_rows,), not evaluated again for a bandwidth of just before."""
        key = bandwidth.tobytes()
        if key not in self.known:
            pooled, log_mass = self.prepare(bandwidth).pool(None, self.rows, self.n_jobs, self.tol)
            self.known[key] = np.square(self._errors(pooled, log_mass, self.rows)).sum(axis=1)
            if len(self.known) > KNOWN:
                del self.known[next(iter(self.known))]
        return self.known[key]

    def _parts(self, n_numbers):
        """Cut the rows into slices, where there are so many numbers for each of their values."""
        step = max(1, SLOPE_NUMBERS // (n_numbers * self.values.shape[1]))
        return [slice(start, start + step) for start in range(0, len(self.rows), step)]

    def _share_of_loss(self, pooled, log_mass, part):
        """What some of the rows contribute to the loss, and their errors (b, n_values)."""
        errors = self._errors(pooled, log_mass, self.rows[part])
        return self.shares[part] @ np.square(errors).sum(axis=1), errors

    def _pulls_of(self, pooled, log_mass, part):
        """The derivatives of the loss by what some of the rows pooled."""
        return self._pulls(self._errors(pooled, log_mass, self.rows[part]), part)

    def _pulls(self, errors, part):
        """The derivatives of the loss by errors (b, n_values)."""
        return 2 * self.unit * self.shares[part, None] * errors

    def _errors(self, pooled, log_mass, rows):
        """What predictions of some rows (b, n_values) are off by, in units of 2^exponent."""
        if self.others is not None:
            empty = np.isneginf(log_mass)
            pooled[empty] = self.others[rows[empty]]
        return pooled * self.unit - self.values[rows] * self.unit


def _exponent(sample):
    """The exponent of the power of two above the largest value that counts."""
    if isinstance(sample.values, OneHot):
        return 1
    largest = np.abs(sample.values).max(where=sample.weights[:, None] > 0, initial=0)
    return int(np.clip(np.frexp(largest)[1], -1000, 1000))


def _shares(weights):
    shares = weights / weights.max()
    return shares / shares.sum()


def make_losses(prepare, sample, linear, random_state, **parameters):
    """The loss of a search, and that of its end; the same if all rows fit into both.

    `linear` says whether the cost of an evaluation grows with n, not with n². Rows are drawn at random, without
    replacement, from those of positive weight.
    """
    n, rows = len(sample.keys), np.flatnonzero(sample.weights)
    final, first = (n, SEARCH_ROWS) if linear else (FINAL_PAIRS // n, SEARCH_PAIRS // n)

    def draw(rows, n_rows):
        n_rows = max(n_rows, FEWEST_ROWS)
        return rows if len(rows) <= n_rows else np.sort(random_state.choice(rows, n_rows, replace=False))

    chosen = draw(rows, final)
    final_loss = LeaveOneOutLoss(prepare, sample, chosen, **parameters)
    few = draw(chosen, first)
    if len(few) == len(chosen):
        return final_loss, final_loss
    return LeaveOneOutLoss(prepare, sample, few, **parameters), final_loss
