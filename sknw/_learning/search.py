"""The search for the bandwidth of least loss, for any loss that is a function of the bandwidth.

Bandwidths are a start vector times factors from 1/256 to 256. A sweep over a grid of factors common to all features
locates the basin of the global minimum. From its best factor, either a bounded search in one dimension refines the
common factor, or a factor is learned for each feature. Since many factors can fit noise, they are learned from one half
of the rows, and validated on the other half: a descent ends when the validation loss no longer decreases. The mean of
the bandwidths learned from several halves is returned if the gain on validation rows, relative to the common factor, is
larger than expected by chance.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar

from .minimize import BOUND_TOLERANCE, OCTAVES, TIE, Descents, Stage

BASINS = 2
"""Number of local minima of the sweep whose surroundings are evaluated."""

PRECISION = 0.02
"""The precision of a common factor, in octaves."""

N_DRAWS = 2
"""How often the rows are divided into halves, if there are fewer than ENOUGH_ROWS for each feature."""

FEWEST_HALVED = 4
"""The smallest number of rows that are divided into halves."""

POOR_MINIMUM = 5
"""Ratio of the loss of a learned bandwidth to the least one of all halves above which it is left out of the mean."""

ENOUGH_ROWS = 100
"""Rows for each feature from which on the search ends at the minimum on all rows."""

OVERFITTING = 0.7
"""Ratio of the loss of all rows at its minimum to the validation loss below which the minimum is not accepted."""

AT_LOWER_BOUND = (
    "the leave-one-out loss is least at the lower end of the search, 1/256 of Silverman's bandwidth, which happens if "
    "rows are copies, or nearly copies, of each other; remove copies, set bandwidth to a number, or use another kernel"
)
NOT_CONVERGED = (
    "the search for bandwidths stopped after {} evaluations, before it converged; scale the features, remove features "
    'that do not matter, or set bandwidth="loo"'
)


class Learned(NamedTuple):
    """The result of a search.

    Parameters
    ----------
    bandwidth : (n_features,) float ndarray
    path : dict
        The factors and the losses of the sweep.
    n_evaluations : int
    warning : str
        Empty if there is none.
    loss : float, default=None
        The loss over validation rows. None if the bandwidth was learned from all rows.
    """

    bandwidth: np.ndarray
    path: dict
    n_evaluations: int
    warning: str
    loss: float | None = None


class Search:
    """A search for the bandwidth (n_features,) of least loss.

    Parameters
    ----------
    start : (n_features,) float ndarray
        The bandwidth to which factors are applied. Features where it is inf remain ignored.
    first_loss : LeaveOneOutLoss
        The loss that is minimised until convergence.
    final_loss : LeaveOneOutLoss
        The loss that is then minimised in a small number of steps; may be the same object.
    make_halves : callable
        Function that maps a number of draws to a `CrossValidation`.
    task : Task
        The task whose subtasks report the stages of the search.
    """

    def __init__(self, start, first_loss, final_loss, make_halves, task):
        self.start, self.first_loss, self.final_loss = start, first_loss, final_loss
        self.make_halves, self.task = make_halves, task
        self.n_evaluations, self.stopped, self.warning = 0, False, ""
        self.path = self._sweep()
        self.descents = Descents(start, self.path["loss"].max())

    def factor(self):
        """Learn one factor common to all features."""
        best, self.warning = self._best_factor(), ""
        if np.isinf(best) or self._is_flat():
            return self._learned(best * self.start)
        bandwidth = self._in_stage("refinement", self.final_loss, self._refine, best * self.start)
        if self.descents.octaves(bandwidth).min() < BOUND_TOLERANCE - OCTAVES:
            self.warning = AT_LOWER_BOUND
        return self._learned(bandwidth)

    def each(self, by_gradient):
        """Learn a factor for each feature; fall back to a common factor if the gain is not significant."""
        n_used, n_rows = len(self.descents.used), self.first_loss.n_rows
        if self._is_flat() or n_used < 2 or n_rows < FEWEST_HALVED:
            return self.factor()
        initial, enough_rows = self._best_factor(finite=True) * self.start, n_rows >= ENOUGH_ROWS * n_used
        halves = self.make_halves(1 if enough_rows else N_DRAWS)
        learned = self._learn_halves(halves.folds, initial, by_gradient, enough_rows)
        if self.stopped:
            return self._learned(initial)
        bandwidth = self._combine(learned)
        comparison = halves.compare(learned, bandwidth, self._best_factor() * self.start)
        if not comparison.is_significant():
            return self.factor()
        loss = comparison.loss
        if self.final_loss(bandwidth) > loss:  # the minima are so far apart that their mean is not near one
            bandwidth = min(learned, key=self.final_loss)
        if by_gradient and enough_rows:
            bandwidth, loss = self._finish(bandwidth, loss)
        return self._learned(
            self._in_stage("smoothing out", self.final_loss, self.descents.smooth_out, bandwidth), loss
        )

    def _learn_halves(self, folds, initial, by_gradient, enough_rows):
        """The bandwidth learned in each fold; with a larger tolerance if the search is to end on all rows."""
        minimise = self.descents.search_pattern
        if by_gradient:
            tolerance = 1e-3 if enough_rows else 1e-4
            minimise = partial(self.descents.descend, is_repeated=not enough_rows, tolerance=tolerance)
        return [self._in_stage("search", loss, minimise, initial, validation) for loss, validation in folds]

    def _combine(self, learned):
        """The mean of the learned bandwidths, without those of poor local minima."""
        losses = [self.first_loss(bandwidth) for bandwidth in learned]
        largest = POOR_MINIMUM * min(losses)
        return self.descents.mean([h for h, loss in zip(learned, losses, strict=True) if loss <= largest])

    def _finish(self, bandwidth, loss):
        """The minimum on all rows, and None; or the given bandwidth and validation loss, if the minimum overfits."""
        refine = partial(self.descents.refine, tolerance=1e-6 if self.final_loss is self.first_loss else 1e-5)
        refined = self._in_stage("final search", self.final_loss, refine, bandwidth)
        return (refined, None) if self.final_loss(refined) >= OVERFITTING * loss else (bandwidth, loss)

    def _learned(self, bandwidth, loss=None):
        return Learned(bandwidth, self.path, self.n_evaluations, self.warning, loss)

    def _in_stage(self, name, loss, minimise, start, validation=None):
        """The best bandwidth of a stage; the start, if the search was stopped before the stage."""
        if self.stopped:
            return start
        with Stage(loss, self.task, name, validation=validation) as stage:
            stage.validate(start)
            if minimise(stage, start) is False:
                self.warning = NOT_CONVERGED.format(len(stage.losses))
        self.n_evaluations += len(stage.losses)
        self.stopped = stage.stopped
        return start if stage.best is None else stage.best

    def _sweep(self):
        """Factors in ascending order, and their losses, as a dict; factors near 1 are evaluated first."""
        octaves = [*sorted(range(-OCTAVES, OCTAVES + 1), key=abs), np.inf]
        stage = Stage(self.first_loss, self.task, "sweep", len(octaves) + 2 * BASINS)
        with stage:
            stage.sweep(self.start, octaves)
            order = np.argsort(octaves)
            minima = order[_local_minima(np.array(stage.losses)[order])[:BASINS]]
            halfway = [octaves[k] + half for k in minima for half in (-0.5, 0.5) if abs(octaves[k] + half) < OCTAVES]
            octaves += halfway
            stage.sweep(self.start, halfway)
        octaves = octaves[: len(stage.losses)]
        self.n_evaluations, self.stopped = len(stage.losses), stage.stopped
        order = np.argsort(octaves)
        return {"factor": 2.0 ** np.array(octaves)[order], "loss": np.array(stage.losses)[order]}

    def _is_flat(self):
        return np.ptp(self.path["loss"]) <= TIE * self.path["loss"].max()

    def _best_factor(self, finite=False):
        """The factor of least loss; the largest one if several losses are equal, and 1 if all are."""
        if self._is_flat():
            return 1.0
        factor, loss = self.path["factor"], self.path["loss"]
        is_candidate = np.isfinite(factor) if finite else np.full(len(factor), True)
        return factor[is_candidate & (loss <= loss[is_candidate].min() * (1 + TIE))].max()

    def _refine(self, stage, bandwidth):
        """Bounded search around a point of the sweep, which moves to a minimum of the final loss first."""

        def loss(octave):
            return stage(2.0**octave * self.start)

        octave, radius = self.descents.octaves(bandwidth)[0], 0.5
        if self.final_loss is not self.first_loss:
            octave, radius = self._walk(loss, octave), 1.0
        else:
            loss(octave)
        bounds = np.clip([octave - radius, octave + radius], -OCTAVES, OCTAVES)
        minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": PRECISION})

    @staticmethod
    def _walk(loss, octave):
        """The local minimum that steps of one octave lead to, as a loss over fewer rows may have another minimum."""
        least = loss(octave)
        for step in (1, -1):
            before = least
            while abs(octave + step) <= OCTAVES and (found := loss(octave + step)) < least:
                octave, least = octave + step, found
            if least < before:
                break
        return octave


def _local_minima(losses):
    """The positions of local minima by increasing loss; the last position of a plateau."""
    following, preceding = np.append(losses[1:], np.inf), np.append(np.inf, losses[:-1])
    minima = np.flatnonzero((losses < following) & (losses <= preceding))
    return minima[np.argsort(losses[minima], kind="stable")]
