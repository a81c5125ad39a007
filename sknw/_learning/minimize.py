"""Descents: a loss is minimised over a bandwidth for each feature, from one bandwidth on.

They go by the logarithms of factors on a start vector, in octaves, from -OCTAVES to OCTAVES, so nothing can diverge.
With a gradient they are L-BFGS-B from two starts, else a pattern search along the coordinates. L-BFGS-B goes by
sharpness: the logarithm of 1 / h where h is small, and 1 / h² where h is large, so that an infinite bandwidth is not
far away. After each step, the stage that a descent is part of may end it.
"""

import numpy as np
from scipy.optimize import minimize

TIE = 1e-10
"""Losses that differ by less than this fraction are the same."""

PATIENCE = 2
"""Steps without a gain on validation rows after which a descent ends."""

OCTAVES = 8
"""Bandwidths are sought so many factors of two below and above the start."""

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


class Stopped(Exception):
    """Who watches the search wants no more evaluations."""


class Overfitted(Exception):
    """A descent goes on for the rows that it learns from alone."""


class Stage:
    """A part of a search: reports every evaluation, and remembers the best bandwidth, of ties the widest.

    Parameters
    ----------
    loss : callable
        bandwidth (n_features,) -> loss, with the further methods that a search asks for.
    task : Task
        Watches: it is asked for subtasks, which end with the best bandwidth so far and say whether to stop.
    name : str
    n_evaluations : int, default=None
        How many there will be, if that is known.
    validation : callable, default=None
        The loss of rows that `loss` does not know. It then says what is best, of the bandwidths that are `validate`d.
    """

    def __init__(self, loss, task, name, n_evaluations=None, validation=None):
        self.loss, self.validation, self.stopped = loss, validation, False
        self.task = task.subtask(name, n_evaluations)
        self.best, self.least, self.losses, self.gradients, self.validated = None, np.inf, [], {}, []

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
        """The loss and its derivatives (n_features,) by log bandwidths; not evaluated again where searches meet."""
        key = bandwidth.tobytes()
        if key not in self.gradients:
            self.gradients[key] = self._evaluate(lambda: self.loss.with_gradient(bandwidth), bandwidth)
        return self.gradients[key]

    def validate(self, bandwidth):
        """Evaluate the loss of the validation rows, if there are any."""
        if self.validation is not None:
            self.validated += self._evaluate(lambda: (self.validation(bandwidth),), bandwidth, is_candidate=True)

    def begin(self):
        """A descent begins."""
        self.validated = []

    def step(self, bandwidth):
        """A descent has come to a bandwidth.

        Raises
        ------
        Overfitted
            If the validation rows have gained nothing in its last steps.
        """
        self.validate(bandwidth)
        if self.validated and len(self.validated) - np.argmin(self.validated) > PATIENCE:
            raise Overfitted

    def _evaluate(self, evaluate, bandwidth, is_candidate=False):
        step = self.task.subtask("evaluation", 0)
        result = evaluate()
        if is_candidate or self.validation is None:
            self._consider(bandwidth, result[0])
        self.losses.append(result[0])
        if step.end(self.best):
            raise Stopped
        return result

    def _consider(self, bandwidth, loss):
        is_tie = self.best is not None and abs(loss - self.least) <= TIE * self.least
        if np.all(bandwidth >= self.best) if is_tie else loss < self.least:
            self.best = bandwidth
        self.least = min(loss, self.least)


class Arrived(Exception):
    """A descent has come near a minimum that is known."""


class Descents:
    """Ways to minimise the loss of a `Stage`, from a bandwidth (n_features,) on.

    Parameters
    ----------
    start : (n_features,) float ndarray
        What factors are on; features where it is inf stay ignored.
    largest : float
        The largest loss of the sweep.
    """

    def __init__(self, start, largest):
        self.start, self.largest, self.used = start, largest, np.flatnonzero(np.isfinite(start))

    def octaves(self, bandwidth):
        """The octaves (n_used,) of a bandwidth above the start."""
        return np.log2(bandwidth[self.used] / self.start[self.used])

    def bandwidth(self, octaves):
        """The bandwidth that is so many octaves (n_used,) above the start."""
        bandwidth = self.start.copy()
        bandwidth[self.used] *= 2.0**octaves
        return bandwidth

    def mean(self, bandwidths):
        """The geometric mean of some bandwidths."""
        return self.bandwidth(np.mean([self.octaves(bandwidth) for bandwidth in bandwidths], axis=0))

    def descend(self, stage, bandwidth, again, tolerance):
        """L-BFGS-B until the logarithm of the loss falls by less than the tolerance; `again` after strides, for the
        minimum of before may be a local one. Whether it converged.
        """
        start = _to_sharpness(self.octaves(bandwidth))
        converged = self._minimise(stage, start, MOST_EVALUATIONS, tolerance)
        if again:
            known = _to_sharpness(self.octaves(stage.best))
            converged &= self._minimise(stage, self._stride(stage, start), MOST_EVALUATIONS, tolerance, known)
        return converged

    def finish(self, stage, bandwidth, tolerance):
        """A few steps of L-BFGS-B."""
        self._minimise(stage, _to_sharpness(self.octaves(bandwidth)), FINAL_EVALUATIONS, tolerance)

    def _stride(self, stage, sharpness):
        """A few moves of an octave against the sign of the gradient, by half as much for a feature whose sign changed.

        They step over shallow minima next to the start.
        """
        octaves = _to_octaves(sharpness)[0]
        stride, sign = np.ones(len(octaves)), np.zeros(len(octaves))
        for _ in range(STRIDES):
            before, sign = sign, np.sign(stage.with_gradient(self.bandwidth(octaves))[1][self.used])
            stride = np.where(before * sign < 0, stride / 2, stride)
            octaves = np.clip(octaves - stride * sign, -OCTAVES, OCTAVES)
        return _to_sharpness(octaves)

    def _minimise(self, stage, sharpness, n_evaluations, tolerance, known=None):
        """L-BFGS-B on the logarithm of the loss, from some sharpness; whether it converged, or came near a minimum that
        is `known`, by its sharpness, or went on for noise alone.

        A run goes no further than REACH, and another one goes on from its bound: the first step of a run knows nothing
        of the curvature, and may end where the loss is flat.
        """

        def log_loss(sharpness):
            if known is not None and np.abs(sharpness - known).max() <= NEAR:
                raise Arrived
            octaves, octaves_slope = _to_octaves(sharpness)
            loss, gradient = stage.with_gradient(self.bandwidth(octaves))
            loss, gradient = loss / self.largest + NO_LOSS, gradient[self.used] / self.largest
            return np.log(loss), np.log(2) * gradient / loss * octaves_slope

        def step(sharpness):
            stage.step(self.bandwidth(_to_octaves(sharpness)[0]))

        least, most = _to_sharpness(np.array([OCTAVES, -OCTAVES]))
        last = len(stage.losses) + n_evaluations
        stage.begin()
        while last > len(stage.losses):
            low, high = np.clip([sharpness - REACH, sharpness + REACH], least, most)
            n_left = last - len(stage.losses)
            search = {"jac": True, "method": "L-BFGS-B", "bounds": np.c_[low, high], "callback": step}
            options = {"maxfun": n_left, "maxiter": n_left, "ftol": tolerance, "gtol": 1e-6}
            try:
                run = minimize(log_loss, sharpness, options=options, **search)
            except (Arrived, Overfitted):
                return True
            sharpness = run.x
            held = ((sharpness < low + EDGE) & (low > least)) | ((sharpness > high - EDGE) & (high < most))
            if not held.any():
                return run.status != 1
        return False

    def search_pattern(self, stage, bandwidth):
        """Moves of one feature at a time, by half as much when none was for the better. Whether it converged."""
        octaves, least, move = self.octaves(bandwidth), stage(bandwidth), 1.0
        while move >= SMALLEST_MOVE:
            before = least
            for feature in range(len(octaves)):
                for step in (move, -move):
                    trial = octaves.copy()
                    trial[feature] = np.clip(trial[feature] + step, -OCTAVES, OCTAVES)
                    loss = stage(self.bandwidth(trial))
                    if loss < least * (1 - TIE):
                        octaves, least = trial, loss
            if least == before:
                move /= 2
                continue
            if len(stage.losses) > MOST_EVALUATIONS * len(octaves):
                return False
            stage.validate(self.bandwidth(octaves))
        return True

    def smooth_out(self, stage, bandwidth):
        """Ignore all features, or those that hardly count, or one of these after the other, if that costs nothing."""
        stage(bandwidth)
        octaves = self.octaves(bandwidth)
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
