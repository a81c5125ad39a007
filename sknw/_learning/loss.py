"""The leave-one-out loss of a bandwidth: the mean squared error of predicting each training point from all others.

Squared errors are summed over value columns, which gives the Brier score for one-hot values, and averaged over rows by
sample weight. They are divided by 4^exponent, where 2^exponent is the magnitude of the largest value, so that squares
neither overflow nor underflow. A row without a neighbour inside the support is predicted by its nearest other keys, or
by the mean of the others. If such rows were left out, the loss would be least for bandwidths at which no row has a
neighbour.
"""

from typing import NamedTuple

import numpy as np

from .._engines.left_out import subset
from .._one_hot import OneHot, value_ranges
from .._weights import sample_size

SEARCH_PAIRS, FINAL_PAIRS = 10**7, 10**8
"""Pairs of a row and a key in an evaluation, during a search and at its end, if the cost is proportional to pairs."""

SEARCH_ROWS = 5000
"""Rows in an evaluation during a search, if the cost is not proportional to pairs."""

FEWEST_ROWS = 1000
"""The smallest number of rows in an evaluation. With fewer rows the noise of the loss would exceed possible gains."""

SEARCH_TOL = 1e-5
"""What predictions may err by in a search, as a fraction of the range of a value, where `tol` is less but not 0."""

ROUGH_KEYS = 1000
"""The largest number of keys for which searches use `tol` itself: they are fast, and as reproducible as predictions."""

LEAST_ROUGH = 1e-2
"""The least root mean squared error, as a fraction of the range, that is taken from such predictions. They change the
loss by 0.2 % of itself at most; below, that would be more."""

CACHE_SIZE = 4
"""Number of bandwidths whose squared errors are cached, as the comparison evaluates bandwidths again."""

SIGNIFICANCE = 2
"""Standard errors by which one bandwidth for each feature must improve on a common factor; half as many if the gain
exceeds the loss / sqrt(n).
"""

FEWEST_CONTRIBUTING = 6
"""The smallest effective number of rows that contribute to a gain; a gain of fewer rows, such as a few misclassified
ones, may be due to chance whatever its standard error.
"""


class LeaveOneOutLoss:
    """The leave-one-out loss over scoring rows, as a function of the bandwidth.

    Parameters
    ----------
    pooler_of : callable
        Function that maps a bandwidth (n_features,) or a projection (r, n_features), and a number of neighbours or
        None, to the `Pooler` of the sample.
    sample : Sample
    rows : (n_rows,) int ndarray
        The scoring rows, as indices in the sample.
    mean_where_empty : bool
        Whether rows without a neighbour are predicted by the mean of all others, and not by the nearest.
    tol : float
    n_jobs : int or None
    rough : RoughLoss, default=None
        The same with a larger `tol`, which a search takes losses from as long as these are not too small.
    """

    def __init__(self, pooler_of, sample, rows, mean_where_empty, tol, n_jobs, rough=None):
        self.rough, self.least_rough = rough, 0.0 if rough is None else LEAST_ROUGH**2 * rough.largest
        self.pooler_of, self.sample, self.rows, self.mean_where_empty = pooler_of, sample, rows, mean_where_empty
        self.values, self.tol, self.n_jobs = sample.values, tol, n_jobs
        every = np.arange(len(sample.keys))
        self.queries = slice(0, len(every)) if np.array_equal(rows, every) else rows  # numpy is faster along slices
        self.average = pooler_of(np.full(sample.keys.shape[1], np.inf)) if mean_where_empty else None
        self.shares, self.cache = _shares(sample.weights[rows]), {}
        self.exponent = _exponent(sample)
        self.unit = 2.0**-self.exponent

    @property
    def n_rows(self):
        """Number of scoring rows."""
        return len(self.rows)

    @property
    def largest(self):
        """The sum of the squared ranges of the values, in units of the loss."""
        low, high = value_ranges(self.values, self.sample.weights > 0)
        return np.square((high - low) * self.unit).sum()

    def subset(self, positions):
        """The loss over the scoring rows at these positions."""
        rows, rough = self.rows[positions], None if self.rough is None else self.rough.subset(positions)
        return type(self)(self.pooler_of, self.sample, rows, self.mean_where_empty, self.tol, self.n_jobs, rough)

    def __call__(self, bandwidth):
        """The loss of a bandwidth (n_features,), as a search needs it; to `tol` if it is known."""
        is_known = (bandwidth.tobytes(), None) in self.cache
        if not is_known and self.rough is not None and (loss := self.rough(bandwidth)) >= self.least_rough:
            return loss
        return self.exact(bandwidth)

    def exact(self, bandwidth, n_neighbors=None):
        """The loss of a bandwidth (n_features,), with the width of the n_neighbors-th neighbour if it is not None."""
        return self.shares @ self.squares(bandwidth, n_neighbors)

    def of(self, predictions):
        """The loss of predictions (n_rows, n_values) of the scoring rows."""
        return self.shares @ np.square(predictions * self.unit - self.values[self.rows] * self.unit).sum(axis=1)

    def sweep(self, bandwidth, octaves):
        """Yield the loss of 2^octave times the bandwidth for each of the octaves."""
        if self.rough is not None:
            for octave, loss in zip(octaves, self.rough.sweep(bandwidth, octaves), strict=True):
                yield loss if loss >= self.least_rough else self.exact(2.0**octave * bandwidth)
            return
        for pooled in self.pooler_of(bandwidth).sweep(octaves, self.queries, self.n_jobs, self.tol):
            yield self.shares @ self._squares(pooled)

    def sweep_neighbors(self, bandwidth, ks):
        """Yield the squared errors (n_rows,) with the width of the k-th neighbour for each of the numbers k."""
        for pooled in self.pooler_of(bandwidth, ks[0]).sweep_neighbors(ks, self.queries, self.n_jobs, self.tol):
            yield self._squares(pooled)

    def with_gradient(self, bandwidth):
        """The loss, and its derivatives (n_features,) with respect to log bandwidths, as a search needs them."""
        if self.rough is not None and (found := self.rough.with_gradient(bandwidth))[0] >= self.least_rough:
            return found
        squares, gradient = self._squares_with_gradient(bandwidth)
        return self.shares @ squares, gradient

    def in_units_of_y(self, losses):
        """Losses times 4^exponent; above 1e308 they become inf."""
        with np.errstate(over="ignore"):
            return np.ldexp(losses, 2 * self.exponent)

    def record(self, loss):
        """The attributes of an estimator that record its loss over the scoring rows."""
        rows = np.flatnonzero(np.isin(self.sample.rows, self.rows))
        return {"loo_loss_": self.in_units_of_y(loss), "loo_rows_": rows}

    def squares(self, bandwidth, n_neighbors=None):
        """Squared errors (n_rows,), which are cached for the last bandwidths."""
        key = bandwidth.tobytes(), n_neighbors
        if key not in self.cache:
            pooler = self.pooler_of(bandwidth, n_neighbors)
            self._remember(key, self._squares(pooler.pool(None, self.queries, self.n_jobs, self.tol)))
        return self.cache[key]

    def _remember(self, key, squares):
        """Cache squared errors (n_rows,) by a bandwidth in bytes and a number of neighbours."""
        self.cache[key] = squares
        if len(self.cache) > CACHE_SIZE:
            del self.cache[next(iter(self.cache))]

    def compare(self, squares, common):
        """A `Comparison` of the squared errors (n_rows,) of a learned bandwidth with those of a common one."""
        gains = common - squares
        gain, largest = self.shares @ gains, np.abs(gains).max() or 1
        gains /= largest  # so that squares do not overflow
        n = sample_size(self.sample.weights[self.rows])
        error = largest * np.sqrt(self.shares @ np.square(gains - gain / largest) / n)
        n_contributing = n * (self.shares @ np.abs(gains)) ** 2 / (self.shares @ np.square(gains) or 1)
        return Comparison(self.shares @ squares, gain, error, n, n_contributing)

    def _squares_with_gradient(self, bandwidth):
        """Squared errors (n_rows,), and the derivatives (n_features,) of the loss."""
        pooled, gradient = self.pooler_of(bandwidth).gradient(self._cotangents, self.queries, self.n_jobs, self.tol)
        return self._squares(pooled), gradient

    def _squares(self, pooled):
        """Squared errors (n_rows,) of the `Pooled` values of all scoring rows."""
        errors = self._errors(pooled, self.queries)
        return np.square(errors, out=errors).sum(axis=1)

    def _cotangents(self, pooled, positions):
        """The derivatives (b, n_values) of the loss with respect to the `Pooled` values of rows[positions]."""
        return 2 * self.unit * self.shares[positions, None] * self._errors(pooled, self.rows[positions])

    def _errors(self, pooled, rows):
        """Errors (b, n_values), divided by 2^exponent, of the `Pooled` values of rows, a slice or (b,)."""
        predictions = pooled.values
        if self.average is not None:
            empty = np.flatnonzero(np.isneginf(pooled.log_mass))
            if len(empty):
                predictions[empty] = self.average.pool(None, subset(rows, empty)).values
        errors = predictions * self.unit
        errors -= self.values[rows] * self.unit
        return errors


class RoughLoss(LeaveOneOutLoss):
    """The loss with a `tol` that is enough for a search; squared errors that come with a gradient are cached too."""

    def _squares_with_gradient(self, bandwidth):
        squares, gradient = super()._squares_with_gradient(bandwidth)
        self._remember((bandwidth.tobytes(), None), squares)
        return squares, gradient


def _exponent(sample):
    """The exponent of the power of two above the largest absolute value of a row of positive weight."""
    if isinstance(sample.values, OneHot):
        return 1
    largest = np.abs(sample.values).max(where=sample.weights[:, None] > 0, initial=0)
    return int(np.clip(np.frexp(largest)[1], -1000, 1000))


def _shares(weights):
    shares = weights / weights.max()
    return shares / shares.sum()


def make_losses(pooler_of, sample, is_linear, random_state, tol, **parameters):
    """The losses of the search and of its end, which are the same object if their scoring rows are the same.

    `is_linear` tells whether the cost of an evaluation is proportional to n, and not to n². Scoring rows are drawn
    without replacement from the rows of positive weight. `parameters` are the others of `LeaveOneOutLoss`.
    """
    n, active = len(sample.keys), np.flatnonzero(sample.weights)
    n_final, n_search = (n, SEARCH_ROWS) if is_linear else (FINAL_PAIRS // n, SEARCH_PAIRS // n)

    def subsample(rows, n_rows):
        n_rows = max(n_rows, FEWEST_ROWS)
        return rows if len(rows) <= n_rows else np.sort(random_state.choice(rows, n_rows, replace=False))

    def make_loss(rows):
        rough = None
        if n > ROUGH_KEYS and 0 < tol < SEARCH_TOL:
            rough = RoughLoss(pooler_of.with_tol(SEARCH_TOL), sample, rows, tol=SEARCH_TOL, **parameters)
        return LeaveOneOutLoss(pooler_of, sample, rows, tol=tol, rough=rough, **parameters)

    final_rows = subsample(active, n_final)
    final_loss, search_rows = make_loss(final_rows), subsample(final_rows, n_search)
    return (final_loss if len(search_rows) == len(final_rows) else make_loss(search_rows)), final_loss


class Comparison(NamedTuple):
    """Comparison of learned bandwidths with a common factor on validation rows.

    Parameters
    ----------
    loss : float
        The loss of the learned bandwidths.
    gain : float
        The decrease of the loss from the common factor to the learned bandwidths.
    error : float
        The standard error of the gain.
    n : float
        The effective number of validation rows.
    n_contributing : float
        The effective number of rows that contribute to the gain, (sum |g|)² / sum g² for gains g (Kish).
    """

    loss: float
    gain: float
    error: float
    n: float
    n_contributing: float

    def is_significant(self):
        """Whether the gain is larger than expected by chance."""
        is_large = self.gain > (self.loss + self.gain) / np.sqrt(self.n)
        n_errors = SIGNIFICANCE / 2 if is_large else SIGNIFICANCE
        return self.gain > n_errors * self.error and self.n_contributing >= FEWEST_CONTRIBUTING


class CrossValidation:
    """Two-fold cross-validation: the bandwidths learned from one half of the rows are validated on the other half.

    All rows remain keys. The halves do not depend on the order of the rows, nor on that of the codes of categories, if
    these are `Sample.unordered`.

    Parameters
    ----------
    loss : LeaveOneOutLoss
        The loss over the rows that are divided into halves.
    final_loss : LeaveOneOutLoss
        The loss over these rows, or over a larger set that contains them.
    random_state : RandomState
    n_draws : int
        How often the rows are divided into halves.

    Attributes
    ----------
    folds : list of (LeaveOneOutLoss, LeaveOneOutLoss)
        The loss to minimise, and the loss over the validation rows.
    """

    def __init__(self, loss, final_loss, random_state, n_draws):
        self.rows, self.final_loss, self.n_draws, self.positions = loss.rows, final_loss, n_draws, []
        values = loss.values.labels if isinstance(loss.values, OneHot) else loss.values
        keys, unordered = loss.sample.keys[loss.rows], list(loss.sample.unordered)
        values = values[loss.rows].reshape(len(keys), -1)
        categories = [_means_by_category(codes, values[:, 0]) for codes in keys[:, unordered].T]
        order = np.lexsort([*categories, *values.T, *np.delete(keys, unordered, axis=1).T])
        for _ in range(n_draws):
            one, other = map(np.sort, np.array_split(random_state.permutation(order), 2))
            self.positions += [(one, other), (other, one)]
        self.folds = [(loss.subset(learning), loss.subset(validation)) for learning, validation in self.positions]

    def compare(self, learned, mean, common):
        """A `Comparison` of learned bandwidths with a common one.

        Parameters
        ----------
        learned : list of (n_features,) float ndarrays
            The bandwidth learned in each fold, which its validation rows evaluate.
        mean : (n_features,) float ndarray
            The mean of the learned bandwidths, which all other rows of the final loss evaluate.
        common : (n_features,) float ndarray
        """
        squares = self.final_loss.squares(mean).copy()
        squares[np.isin(self.final_loss.rows, self.rows)] = 0
        for (_, loss), bandwidth in zip(self.folds, learned, strict=True):
            squares[np.searchsorted(self.final_loss.rows, loss.rows)] += loss.squares(bandwidth) / self.n_draws
        return self.final_loss.compare(squares, self.final_loss.squares(common))


def _means_by_category(codes, values):
    """The mean of the values (n,) of the rows of the same category, for each row, (n,)."""
    _, place = np.unique(codes, return_inverse=True)
    return (np.bincount(place, values) / np.bincount(place))[place]
