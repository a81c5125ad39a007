"""Learning bandwidths: the search for the least loss. It knows losses as functions, and nothing of what they measure.

Bandwidths are factors times a start vector, from 1/256 to 256. A sweep over a grid of factors common to all features
finds the basin of the global minimum. From its best factor, a bounded search in one dimension refines that, or each
feature gets a factor of its own. Many factors can fit noise, so they are learned from one half of the rows, and
validated on the other: a descent ends where the validation rows gain nothing more. The mean of what several halves have
learned is kept if the validation rows gain more on a common factor than chance would have it.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar

from .minimize import EDGE, OCTAVES, TIE, Descents, Stage

BASINS = 2
"""Local minima of a sweep that get a closer look."""

PRECISION = 0.02
"""The precision of a common factor, in octaves."""

N_DRAWS = 2
"""How often the rows are drawn into halves, unless they are enough."""

FEWEST_ROWS = 4
"""With fewer, there are no halves to learn from."""

STUCK = 5
"""The loss of what a half has learned, in the least of all halves, beyond which it does not count."""

ENOUGH_ROWS = 100
"""Rows for each feature from which on they determine the bandwidths: the search then ends at the minimum on all."""

UNSEEN = 0.7
"""The least loss of all rows that is no sign of overfitting, in that of rows that were not learned from."""

AT_THE_EDGE = (
    "the leave-one-out loss is least at the lower end of the search, 1/256 of Silverman's bandwidth, as it is where "
    "rows are copies, or nearly copies, of each other; leave copies out, give bandwidth a number, or take another "
    "kernel"
)
NOT_CONVERGED = (
    "the search for bandwidths stopped after {} evaluations, before it converged; scale or leave out features that do "
    'not matter, or set bandwidth="loo"'
)


class Learned(NamedTuple):
    """A bandwidth (n_features,), the factors and losses of the sweep, the number of evaluations, and a warning; its
    loss on rows that it was not learned from, or None.
    """

    bandwidth: np.ndarray
    path: dict
    n_evaluations: int
    warning: str
    loss: float | None = None


class Search:
    """A search for the bandwidth (n_features,) of least loss around a start; features where that is inf stay ignored.

    `first_loss` is minimised to the end, then `final_loss`, which may be the same, in a few steps. Losses go `along`
    octaves common to all features, have a gradient (`with_gradient`), and know their number of rows (`n_rows`).
    `make_halves` makes pairs of losses (`folds`), of rows to learn from and of validation rows, and can `compare` what
    they have learned, and its mean, with a common bandwidth: what is the `loss`, and whether the gain `is_significant`.
    `task` watches: it is asked for subtasks, which end with the best bandwidth so far and say whether to stop.
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
        if self.descents.octaves(bandwidth).min() < EDGE - OCTAVES:
            self.warning = AT_THE_EDGE
        return self._learned(bandwidth)

    def each(self, by_gradient):
        """Learn a factor for each feature; a common one, unless rows that were not learned from gain beyond chance."""
        n_used, n_rows = len(self.descents.used), self.first_loss.n_rows
        if self._is_flat() or n_used < 2 or n_rows < FEWEST_ROWS:
            return self.factor()
        begin, enough = self._best_factor(finite=True) * self.start, n_rows >= ENOUGH_ROWS * n_used
        halves = self.make_halves(1 if enough else N_DRAWS)
        learned = self._learn_halves(halves.folds, begin, by_gradient, enough)
        if self.stopped:
            return self._learned(begin)
        bandwidth = self._combine(learned)
        comparison = halves.compare(learned, bandwidth, self._best_factor() * self.start)
        if not comparison.is_significant():
            return self.factor()
        loss = comparison.loss
        if self.final_loss(bandwidth) > loss:  # minima so far apart that their mean is none
            bandwidth = min(learned, key=self.final_loss)
        if by_gradient and enough:
            bandwidth, loss = self._finish(bandwidth, loss)
        return self._learned(
            self._in_stage("smoothing out", self.final_loss, self.descents.smooth_out, bandwidth), loss
        )

    def _learn_halves(self, folds, begin, by_gradient, enough):
        """The bandwidth that each fold learns; less exact with rows enough, as the search then ends on all."""
        minimise = self.descents.search_pattern
        if by_gradient:
            minimise = partial(self.descents.descend, again=not enough, tolerance=1e-3 if enough else 1e-4)
        return [self._in_stage("search", loss, minimise, begin, validation) for loss, validation in folds]

    def _combine(self, learned):
        """The mean of what halves have learned, but for those that have ended in a minimum far above others."""
        losses = [self.first_loss(bandwidth) for bandwidth in learned]
        return self.descents.mean([h for h, loss in zip(learned, losses, strict=True) if loss <= STUCK * min(losses)])

    def _finish(self, bandwidth, loss):
        """The minimum on all rows, and None; the same bandwidth and its `loss` on rows that were not learned from, if
        the minimum is too low to be believed.
        """
        finish = partial(self.descents.finish, tolerance=1e-6 if self.final_loss is self.first_loss else 1e-5)
        finished = self._in_stage("final search", self.final_loss, finish, bandwidth)
        return (finished, None) if self.final_loss(finished) >= UNSEEN * loss else (bandwidth, loss)

    def _learned(self, bandwidth, loss=None):
        return Learned(bandwidth, self.path, self.n_evaluations, self.warning, loss)

    def _in_stage(self, name, loss, minimise, start, validation=None):
        """The best bandwidth of a stage; the start, if the search was stopped before."""
        if self.stopped:
            return start
        with Stage(loss, self.task, name, validation=validation) as stage:
            stage.validate(start)
            if minimise(stage, start) is False:
                self.warning = NOT_CONVERGED.format(len(stage.losses))
        self.n_evaluations += len(stage.losses)
        self.stopped = stage.stopped
        return start if stage.best is None else stage.best

    # The sweep.

    def _sweep(self):
        """The losses of common factors, {"factor": ascending, "loss": ...}; those next to 1 come first."""
        octaves = [*sorted(range(-OCTAVES, OCTAVES + 1), key=abs), np.inf]
        stage = Stage(self.first_loss, self.task, "sweep", len(octaves) + 2 * BASINS)
        with stage:
            stage.along(self.start, octaves)
            order = np.argsort(octaves)
            minima = order[_local_minima(np.array(stage.losses)[order])[:BASINS]]
            between = [octaves[k] + half for k in minima for half in (-0.5, 0.5) if abs(octaves[k] + half) < OCTAVES]
            octaves += between
            stage.along(self.start, between)
        octaves = octaves[: len(stage.losses)]
        self.n_evaluations, self.stopped = len(stage.losses), stage.stopped
        order = np.argsort(octaves)
        return {"factor": 2.0 ** np.array(octaves)[order], "loss": np.array(stage.losses)[order]}

    def _is_flat(self):
        return np.ptp(self.path["loss"]) <= TIE * self.path["loss"].max()

    def _best_factor(self, finite=False):
        """The factor of least loss; of equal ones the largest, which smooths most; 1 if all are equal."""
        if self._is_flat():
            return 1.0
        factor, loss = self.path["factor"], self.path["loss"]
        among = np.isfinite(factor) if finite else np.full(len(factor), True)
        return factor[among & (loss <= loss[among].min() * (1 + TIE))].max()

    # One factor.

    def _refine(self, stage, bandwidth):
        """Bounded search around a point of the sweep, which another loss may first move."""

        def loss(octave):
            return stage(2.0**octave * self.start)

        octave, reach = self.descents.octaves(bandwidth)[0], 0.5
        if self.final_loss is not self.first_loss:
            octave, reach = self._walk(loss, octave), 1.0
        else:
            loss(octave)
        bounds = np.clip([octave - reach, octave + reach], -OCTAVES, OCTAVES)
        minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": PRECISION})

    @staticmethod
    def _walk(loss, octave):
        """The octave, by steps of one, from which on no neighbour has less loss: rows that are few may mislead."""
        least = loss(octave)
        for step in (1, -1):
            before = least
            while abs(octave + step) <= OCTAVES and (found := loss(octave + step)) < least:
                octave, least = octave + step, found
            if least < before:
                break
        return octave


def _local_minima(losses):
    """The positions of the local minima, the lowest first; on a plateau the last one."""
    ahead, behind = np.append(losses[1:], np.inf), np.append(np.inf, losses[:-1])
    minima = np.flatnonzero((losses < ahead) & (losses <= behind))
    return minima[np.argsort(losses[minima], kind="stable")]
