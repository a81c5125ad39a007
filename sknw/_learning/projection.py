"""The search for a projection of keys and queries with the least leave-one-out loss, at a bandwidth of one.

Keys are in bandwidths of the common factor that "loo" learns, in which the identity is the initial projection. L-BFGS
minimises the loss over all elements of a matrix (Weinberger & Tesauro 2007, "Metric learning for kernel regression").
As a matrix has many elements, its minimum overfits. A projection is therefore learned from one half of the rows, and
validated on the other half:

* Validation rows are no keys of the loss that is minimised. Otherwise the descent would move them to rows with the same
  target, which decreases their own loss as well.
* All other rows are keys of a validation row. A descent ends when the validation loss no longer decreases.
* The singular vectors of the solution are initial projections of lower rank, each of which is followed by a descent.

The metrics that are learned from several halves have a mean, of which a projection of the best rank is returned if the
gain on validation rows, relative to the common factor, is larger than expected by chance.
"""

from contextlib import suppress

import numpy as np
from scipy.optimize import minimize

from .._engines import Poolers
from .._problem import Problem
from .copies import Sample
from .loss import CrossValidation, LeaveOneOutLoss, make_losses
from .minimize import Overfitted, Stage

N_DRAWS = 3
"""How often the rows are divided into halves."""

TOLERANCE = 1e-6
"""Decrease of the loss in a step, in units of the loss of the initial projection, that ends a descent."""


class Projections:
    """The poolers of projections of a sample with a bandwidth of one, as `Poolers` are those of bandwidths.

    Parameters
    ----------
    sample : Sample
    kernel : Kernel
    tol : float
    """

    def __init__(self, sample, kernel, tol):
        self.sample, self.kernel, self.tol = sample, kernel, tol

    def __call__(self, projection, n_neighbors=None):
        """The pooler of a projection (r, n_features), or of a bandwidth (n_features,), and a number of neighbours."""
        keys = self.sample.keys
        if projection.ndim == 1:
            return self._poolers(keys)(projection, n_neighbors)
        return ProjectedPooler(keys, self._poolers(keys @ projection.T)(np.ones(len(projection)), n_neighbors))

    def with_tol(self, tol):
        """The same for another `tol`."""
        return Projections(self.sample, self.kernel, tol)

    def _poolers(self, keys):
        return Poolers(Problem(keys, self.sample.values, self.sample.weights), "dense", self.kernel, self.tol)


class ProjectedPooler:
    """A pooler of projected keys, whose gradient is one by the projection.

    Parameters
    ----------
    keys : (n, n_features) float ndarray
        The keys before they are projected.
    pooler : Pooler
    """

    def __init__(self, keys, pooler):
        self.keys, self.pooler, self.pool = keys, pooler, pooler.pool

    def gradient(self, cotangents, rows, n_jobs, tol):
        """`Pooled` values of some rows, and the derivatives (r, n_features) of a loss by the projection."""
        pooled, gradient = self.pooler.key_gradient(cotangents, rows, n_jobs, tol)
        return pooled, gradient.T @ self.keys


def make_halves(sample, bandwidth, kernel, random_state, **parameters):
    """The `CrossValidation` of losses as functions of a projection of keys in bandwidths.

    Features whose bandwidth (n_features,) is infinite are omitted. `parameters` are those of `LeaveOneOutLoss`.
    """
    used = np.isfinite(bandwidth)
    keys = sample.keys[:, used]
    sample = sample._replace(keys=(keys - np.median(keys, axis=0)) / bandwidth[used])
    pooler_of = Projections(sample, kernel, parameters["tol"])
    losses = make_losses(pooler_of, sample, is_linear=False, random_state=random_state, **parameters)
    return CrossValidation(*losses, random_state, N_DRAWS)


class ProjectionSearch:
    """A search for the projection (r, n_features) of least loss.

    Parameters
    ----------
    ranks : list of int
        The ranks to choose from, the largest of which is at most n_features.
    max_iter : int
        The largest number of steps of a descent.
    task : Task
        The task whose subtasks report the descents.
    """

    def __init__(self, ranks, max_iter, task):
        self.ranks, self.max_iter, self.task = ranks, max_iter, task
        self.n_evaluations, self.stopped = 0, False

    def learn(self, halves, common, must_learn):
        """The learned projection (r, n_features), and its loss over validation rows, or None if there is none.

        Parameters
        ----------
        halves : CrossValidation
            Of losses as functions of a projection of keys in bandwidths of the common factor.
        common : (n_features, n_features) float ndarray
            The projection of the common factor, which is returned if the gain is not significant.
        must_learn : bool
            Whether the projection of the common factor is not returned, as its rank is too large.
        """
        learned = self._learn_halves(halves, len(common))
        if self.stopped:
            return learned[self.ranks[0]][-1] if must_learn else common, None
        means = {rank: mean_projection(found, rank) for rank, found in learned.items()}
        comparisons = {rank: halves.compare(found, means[rank], common) for rank, found in learned.items()}
        best = min(comparisons, key=lambda rank: comparisons[rank].loss)
        comparison, matrix = comparisons[best], means[best]
        if not (must_learn or comparison.is_significant()):
            return common, None
        if halves.final_loss(matrix) > comparison.loss:  # the minima are so far apart that their mean is not near one
            matrix = min(learned[best], key=halves.final_loss)
        return matrix, comparison.loss

    def _learn_halves(self, halves, n_features):
        """The projections of each rank, one for each fold, as a dict of lists."""
        learned = {rank: [] for rank in self.ranks}
        for loss, validation in halves.folds:
            loss = _without_keys(loss, validation.rows)
            full = self._descend(loss, validation, np.eye(n_features))
            for rank in self.ranks:
                is_full = rank == n_features
                learned[rank].append(full if is_full else self._descend(loss, validation, reduce_rank(full, rank)))
        return learned

    def _descend(self, loss, validation, matrix):
        """The projection of least validation loss among the steps of L-BFGS from an initial projection."""
        if self.stopped:
            return matrix
        shape = matrix.shape
        with Stage(loss, self.task, "search", validation=validation) as stage:
            stage.validate(matrix)
            largest = stage.with_gradient(matrix)[0] or 1.0

            def relative_loss(elements):
                loss, gradient = stage.with_gradient(elements.reshape(shape))
                return loss / largest, gradient.ravel() / largest

            def step(elements):
                stage.gradients.clear()  # which would take more memory than L-BFGS
                stage.step(elements.reshape(shape))

            options = {"maxiter": self.max_iter, "ftol": TOLERANCE}
            with suppress(Overfitted):
                minimize(relative_loss, matrix.ravel(), jac=True, method="L-BFGS-B", callback=step, options=options)
        self.n_evaluations += len(stage.losses)
        self.stopped = stage.stopped
        return matrix if stage.best is None else stage.best


def reduce_rank(matrix, rank):
    """The projection (rank, n_features) whose metric is nearest to that of a matrix, by its singular vectors."""
    _, sizes, axes = np.linalg.svd(matrix, full_matrices=False)
    return sizes[:rank, None] * axes[:rank]


def mean_projection(matrices, rank):
    """A projection (rank, n_features) for the mean of the metrics AᵀA of matrices A (r, n_features)."""
    return reduce_rank(np.vstack(matrices) / np.sqrt(len(matrices)), rank)


def _without_keys(loss, rows):
    """The same loss, in which some rows (k,) of the sample are no keys."""
    sample = loss.sample
    kept = np.setdiff1d(np.arange(len(sample.keys)), rows)
    sample = Sample(sample.keys[kept], sample.values.take(kept, axis=0), sample.weights[kept], np.arange(len(kept)))
    pooler_of = Projections(sample, loss.pooler_of.kernel, loss.tol)
    return LeaveOneOutLoss(
        pooler_of, sample, np.searchsorted(kept, loss.rows), loss.mean_where_empty, loss.tol, loss.n_jobs
    )
