"""Learning bandwidths: the search for the least loss. It knows losses as functions, and nothing of what they measure.

Bandwidths are factors times a start vector, and all searches go by the logarithms of the factors, in octaves, from
-OCTAVES to OCTAVES. A sweep over a grid of factors common to all features finds the basin of the global minimum. From
its best factor, a bounded search in one dimension refines that, or each feature gets a factor of its own: by L-BFGS-B
from two starts where there is a gradient, else by a pattern search along the coordinates. L-BFGS-B goes by sharpness:
the logarithm of 1 / h where h is small, and 1 / h² where h is large, so that an infinite bandwidth is not far away.
Nothing leaves the bounds, so nothing can diverge. Where there are many rows, a first loss, on some of them, is
minimised to the end, and a second one, on more, from there on in a few steps.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize, minimize_scalar

OCTAVES = 8
"""Bandwidths are sought so many factors of two below and above the start."""

BASINS = 2
"""Local minima of a sweep that get a closer look."""

TIE = 1e-10
"""Losses that differ by less than this fraction are the same."""

PRECISION = 0.02
"""The precision of a common factor, in octaves."""

EDGE = 0.05
"""How near to a bound counts as on it, in octaves."""

MOST_EVALUATIONS, FINAL_EVALUATIONS = 300, 10
"""Evaluations of a search by gradient, and of one that only finishes another."""

NO_LOSS = 1e-14
"""A fraction of the largest loss that is as good as none."""

STRIDES = 4
"""Moves of an octave to another start of L-BFGS-B."""

BEND = 1
"""The octave at which the sharpness turns from log h to 1 / h²."""

REACH = 3
"""How far in sharpness a run of L-BFGS-B may go."""

NEAR = 0.2
"""How near to a minimum, in sharpness, a descent is taken to end there."""

SMALLEST_MOVE = 1 / 16
"""The last step of a pattern search, in octaves."""

SMOOTHED_OUT = 3
"""Octaves above the start from which on it is tried to ignore a feature."""

SIGNIFICANT = 2
"""Standard errors that a factor for each feature must gain on a common one, which has less to fit noise with."""

AT_THE_EDGE = (
    "the leave-one-out loss is least at the lower end of the search, 1/256 of Silverman's bandwidth; give bandwidth a "
    "number, or take another kernel"
)
NOT_CONVERGED = (
    "the search for bandwidths stopped after {} evaluations, before it converged; scale or leave out features that do "
    'not matter, or set bandwidth="loo"'
)


class Learned(NamedTuple):
    """A bandwidth (n_features,), the factors and losses of the sweep, the number of evaluations, and a warning."""

    bandwidth: np.ndarray
    path: dict
    n_evaluations: int
    warning: str


class Stopped(Exception):
    """Who watches the search wants no more evaluations."""


class Arrived(Exception):
    """A descent has come near a minimum that is known."""


class Stage:
    """A part of a search, with one loss: reports every evaluation, and remembers the best, of ties the widest.

    Gradients are all remembered: searches meet where one begins, or goes on.
    """

    def __init__(self, loss, task, name, n_evaluations=None):
        self.loss, self.task, self.stopped = loss, task.subtask(name, n_evaluations), False
        self.best, self.losses, self.gradients = None, [], {}

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind in (None, Stopped):
            self.stopped = self.task.end(self.best) or kind is Stopped
        return kind is Stopped

    def __call__(self, bandwidth):
        """The loss."""
        return self._evaluate(lambda: (self.loss(bandwidth),), bandwidth)[0]

    def along(self, bandwidth, octaves):
        """The losses of 2^octave times a bandwidth are looked at, one after the other."""
        losses = self.loss.along(bandwidth, octaves)
        for octave in octaves:
            self._evaluate(lambda: (next(losses),), 2.0**octave * bandwidth)

    def with_gradient(self, bandwidth):
        """The loss and its derivatives (n_features,) by log bandwidths."""
        key = bandwidth.tobytes()
        if key not in self.gradients:
            self.gradients[key] = self._evaluate(lambda: self.loss.with_gradient(bandwidth), bandwidth)
        return self.gradients[key]

    def _evaluate(self, evaluate, bandwidth):
        step = self.task.subtask("evaluation", 0)
        result = evaluate()
        if self.best is None or self._is_better(bandwidth, result[0]):
            self.best = bandwidth
        self.losses.append(result[0])
        if step.end(self.best):
            raise Stopped
        return result

    def _is_better(self, bandwidth, loss):
        least = min(self.losses)
        return np.all(bandwidth >= self.best) if abs(loss - least) <= TIE * least else loss < least


class Search:
    """A search for the bandwidth (n_features,) of least loss around a start; features where that is inf stay ignored.

    `first_loss` is minimised to the end, then `final_loss`, which may be the same, in a few steps. Losses go `along`
    octaves common to all features, have a gradient (`with_gradient`), and know by how many standard errors one
    bandwidth is better than another (`gain`). `task` watches: it is asked for subtasks, which end with the best
    bandwidth so far and say whether to stop.
    """

    def __init__(self, start, first_loss, final_loss, task):
        self.start, self.first_loss, self.final_loss, self.task = start, first_loss, final_loss, task
        self.used, self.n_evaluations, self.stopped, self.warning = np.flatnonzero(np.isfinite(start)), 0, False, ""
        self.path = self._sweep()

    def factor(self):
        """Learn one factor common to all features."""
        best = self._best_factor()
        if np.isfinite(best) and not self._is_flat():
            bandwidth = self._in_stage("refinement", self.final_loss, self._refine, best * self.start)
            if self._octaves(bandwidth).min() < EDGE - OCTAVES:
                self.warning = AT_THE_EDGE
            return self._learned(bandwidth)
        return self._learned(best * self.start)

    def each(self, by_gradient):
        """Learn a factor for each feature; a common one, if that is as good but for what may be chance."""
        if self._is_flat():
            return self._learned(self.start)
        bandwidth = self._best_factor(finite=True) * self.start
        minimise = self._descend if by_gradient else self._pattern_search
        bandwidth = self._in_stage("search", self.first_loss, minimise, bandwidth)
        if self.final_loss is not self.first_loss and by_gradient:
            bandwidth = self._in_stage("final search", self.final_loss, self._finish, bandwidth)
        bandwidth = self._in_stage("smoothing out", self.final_loss, self._smooth_out, bandwidth)
        common = self._best_factor() * self.start
        if not self.stopped and self.final_loss.gain(bandwidth, common) <= SIGNIFICANT:
            return self.factor()
        return self._learned(bandwidth)

    def _learned(self, bandwidth):
        return Learned(bandwidth, self.path, self.n_evaluations, self.warning)

    def _in_stage(self, name, loss, minimise, start):
        """The best bandwidth of a stage; the start, if the search was stopped before."""
        if self.stopped:
            return start
        with Stage(loss, self.task, name) as stage:
            minimise(stage, start)
        self.n_evaluations += len(stage.losses)
        self.stopped = stage.stopped
        return stage.best

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

        octave, reach = self._octaves(bandwidth)[0], 0.5
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

    # One factor for each feature.

    def _octaves(self, bandwidth):
        return np.log2(bandwidth[self.used] / self.start[self.used])

    def _bandwidth(self, octaves):
        bandwidth = self.start.copy()
        bandwidth[self.used] *= 2.0**octaves
        return bandwidth

    def _descend(self, stage, bandwidth):
        """L-BFGS-B to the end; and again after strides, for the minimum of before may be a local one."""
        start = _to_sharpness(self._octaves(bandwidth))
        converged = self._minimise(stage, start, MOST_EVALUATIONS, 1e-6)
        if len(start) > 1:
            known = _to_sharpness(self._octaves(stage.best))
            converged &= self._minimise(stage, self._stride(stage, start), MOST_EVALUATIONS, 1e-6, known)
        if not converged:
            self.warning = NOT_CONVERGED.format(len(stage.losses))

    def _finish(self, stage, bandwidth):
        """A few steps of L-BFGS-B."""
        self._minimise(stage, _to_sharpness(self._octaves(bandwidth)), FINAL_EVALUATIONS, 1e-5)

    def _stride(self, stage, sharpness):
        """A few moves of an octave against the sign of the gradient, by half as much for a feature whose sign changed.

        They step over shallow minima next to the start.
        """
        octaves = _to_octaves(sharpness)[0]
        stride, sign = np.ones(len(octaves)), np.zeros(len(octaves))
        for _ in range(STRIDES):
            before, sign = sign, np.sign(stage.with_gradient(self._bandwidth(octaves))[1][self.used])
            stride = np.where(before * sign < 0, stride / 2, stride)
            octaves = np.clip(octaves - stride * sign, -OCTAVES, OCTAVES)
        return _to_sharpness(octaves)

    def _minimise(self, stage, sharpness, n_evaluations, tolerance, known=None):
        """L-BFGS-B on the logarithm of the loss, from some sharpness; whether it converged, or came near a minimum that
        is `known`, by its sharpness.

        A run goes no further than REACH, and another one goes on from its bound: the first step of a run knows nothing
        of the curvature, and may end where the loss is flat.
        """

        def log_loss(sharpness):
            if known is not None and np.abs(sharpness - known).max() <= NEAR:
                raise Arrived
            octaves, octaves_slope = _to_octaves(sharpness)
            loss, gradient = stage.with_gradient(self._bandwidth(octaves))
            loss, gradient = loss / largest + NO_LOSS, gradient[self.used] / largest
            return np.log(loss), np.log(2) * gradient / loss * octaves_slope

        largest = self.path["loss"].max()
        least, most = _to_sharpness(np.array([OCTAVES, -OCTAVES]))
        last = len(stage.losses) + n_evaluations
        while last > len(stage.losses):
            low, high = np.clip([sharpness - REACH, sharpness + REACH], least, most)
            n_left = last - len(stage.losses)
            options = {"maxfun": n_left, "maxiter": n_left, "ftol": tolerance, "gtol": 1e-6}
            try:
                run = minimize(
                    log_loss, sharpness, jac=True, method="L-BFGS-B", bounds=np.c_[low, high], options=options
                )
            except Arrived:
                return True
            sharpness = run.x
            held = ((sharpness < low + EDGE) & (low > least)) | ((sharpness > high - EDGE) & (high < most))
            if not held.any():
                return run.status != 1
        return False

    def _pattern_search(self, stage, bandwidth):
        """Moves of one feature at a time, by half as much when none was for the better."""
        octaves, least, move = self._octaves(bandwidth), stage(bandwidth), 1.0
        while move >= SMALLEST_MOVE:
            before = least
            for feature in range(len(octaves)):
                for step in (move, -move):
                    trial = octaves.copy()
                    trial[feature] = np.clip(trial[feature] + step, -OCTAVES, OCTAVES)
                    loss = stage(self._bandwidth(trial))
                    if loss < least * (1 - TIE):
                        octaves, least = trial, loss
            if least == before:
                move /= 2
            elif len(stage.losses) > MOST_EVALUATIONS * len(octaves):
                self.warning = NOT_CONVERGED.format(len(stage.losses))
                return

    def _smooth_out(self, stage, bandwidth):
        """Ignore all features, or those that hardly count, or one of these after the other, if that costs nothing."""
        stage(bandwidth)
        octaves = self._octaves(bandwidth)
        wide = self.used[octaves >= SMOOTHED_OUT]
        one_by_one = wide[np.argsort(-octaves[octaves >= SMOOTHED_OUT])]
        for features in (self.used, wide, *one_by_one[:, None]):
            bandwidth = stage.best.copy()
            bandwidth[features] = np.inf
            if np.isfinite(stage.best[features]).any():
                stage(bandwidth)


def _to_sharpness(octaves):
    """log2(1 + 4^(BEND - octave)) / 2: minus the octave for narrow bandwidths, up to a constant, and 0 for infinite."""
    return np.log2(1 + 4.0 ** (BEND - octaves)) / 2


def _to_octaves(sharpness):
    """The octaves of some sharpness, and their derivatives by it."""
    narrow = np.expm1(2 * np.log(2) * sharpness)  # 4^(BEND - octave)
    return BEND - np.log2(narrow) / 2, -(1 + narrow) / narrow


def _local_minima(losses):
    """The positions of the local minima, the lowest first; on a plateau the last one."""
    ahead, behind = np.append(losses[1:], np.inf), np.append(np.inf, losses[:-1])
    minima = np.flatnonzero((losses < ahead) & (losses <= behind))
    return minima[np.argsort(losses[minima], kind="stable")]
