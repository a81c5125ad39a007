"""Minimisation of a loss over one bandwidth for each feature, from an initial bandwidth.

The variables are octaves: base-2 logarithms of factors on a start vector, bounded to [-OCTAVES, OCTAVES]. Kernels with
a gradient use L-BFGS-B, from one or two initial points, and others a pattern search along the coordinates. L-BFGS-B
works on the sharpness, which behaves like -log h for small h and like 1 / h² for large h, so that an infinite bandwidth
is at a finite distance. A `Stage` evaluates the losses, and may end a descent after each step.
"""

import numpy as np
from scipy.optimize import minimize

TIE = 1e-10
"""Losses whose relative difference is smaller are regarded as equal."""

PATIENCE = 2
"""Number of steps without a decrease of the validation loss after which a descent ends."""

OCTAVES = 8
"""The search covers factors from 2^-OCTAVES to 2^OCTAVES on the start."""

BOUND_TOLERANCE = 0.05
"""Distance from a bound, in octaves or in sharpness, up to which a point counts as on the bound."""

MOST_EVALUATIONS, FINAL_EVALUATIONS = 300, 10
"""Largest number of evaluations of a search by gradient, and of the final search that refines its result."""

NEGLIGIBLE_LOSS = 1e-14
"""A loss that is negligible, as a fraction of the largest loss. It is added to avoid the logarithm of zero."""

STRIDES = 4
"""Number of moves that lead to the second initial point of L-BFGS-B."""

TRANSITION = 1
"""The octave at which the sharpness changes from -log h to 1 / h²."""

TRUST_RADIUS = 3
"""Largest change of the sharpness in a run of L-BFGS-B."""

NEAR = 0.2
"""Distance from a known minimum, in sharpness, at which a descent ends."""

SMALLEST_MOVE = 1 / 16
"""The smallest move of a pattern search, in octaves."""

WIDE = 3
"""Octaves above the start from which a bandwidth may be replaced by inf."""


class Stopped(Exception):
    """A callback requests to stop the search."""


class Overfitted(Exception):
    """The validation loss no longer decreases."""


class Stage:
    """A stage of a search, which reports evaluations to callbacks and stores the best bandwidth; of ties, the largest.

    Parameters
    ----------
    loss : callable
        Function that maps a bandwidth (n_features,) to the loss, with the methods of `LeaveOneOutLoss`.
    task : Task
        The task whose subtasks report the stage and its evaluations.
    name : str
    n_evaluations : int, default=None
        The expected number of evaluations, if it is known.
    validation : callable, default=None
        The loss over validation rows. The best bandwidth is then the one of least validation loss among those that
        `validate` was called with.
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
        """The loss of a bandwidth."""
        return self._evaluate(lambda: (self.loss(bandwidth),), bandwidth)[0]

    def sweep(self, bandwidth, octaves):
        """Evaluate the loss of 2^octave times a bandwidth for each of the octaves."""
        losses = self.loss.sweep(bandwidth, octaves)
        for octave in octaves:
            self._evaluate(lambda: (next(losses),), 2.0**octave * bandwidth)

    def with_gradient(self, bandwidth):
        """The loss, and its derivatives (n_features,) with respect to log bandwidths, which are cached."""
        key = bandwidth.tobytes()
        if key not in self.gradients:
            self.gradients[key] = self._evaluate(lambda: self.loss.with_gradient(bandwidth), bandwidth)
        return self.gradients[key]

    def validate(self, bandwidth):
        """Evaluate the validation loss, if there is one."""
        if self.validation is not None:
            self.validated += self._evaluate(lambda: (self.validation(bandwidth),), bandwidth, is_candidate=True)

    def begin(self):
        """Begin a descent."""
        self.validated = []

    def step(self, bandwidth):
        """Validate the bandwidth that a descent has reached.

        Raises
        ------
        Overfitted
            If the validation loss has not decreased in the last steps.
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


class NearKnownMinimum(Exception):
    """A descent has reached a minimum that is known."""


class Descents:
    """Methods that minimise the loss of a `Stage` from a bandwidth (n_features,).

    Parameters
    ----------
    start : (n_features,) float ndarray
        The bandwidth to which factors are applied. Features where it is inf remain ignored.
    largest : float
        The largest loss of the sweep, in units of which losses are minimised.
    """

    def __init__(self, start, largest):
        self.start, self.largest, self.used = start, largest, np.flatnonzero(np.isfinite(start))

    def octaves(self, bandwidth):
        """The octaves (n_used,) of a bandwidth relative to the start."""
        return np.log2(bandwidth[self.used] / self.start[self.used])

    def bandwidth(self, octaves):
        """The bandwidth with these octaves (n_used,) relative to the start."""
        bandwidth = self.start.copy()
        bandwidth[self.used] *= 2.0**octaves
        return bandwidth

    def mean(self, bandwidths):
        """The geometric mean of bandwidths."""
        return self.bandwidth(np.mean([self.octaves(bandwidth) for bandwidth in bandwidths], axis=0))

    def descend(self, stage, bandwidth, is_repeated, tolerance):
        """Run L-BFGS-B until the logarithm of the loss decreases by less than `tolerance`.

        As the minimum may be a local one, a repeated descent runs again from a second initial point. Returns whether
        the descent converged.
        """
        initial = _to_sharpness(self.octaves(bandwidth))
        converged = self._minimise(stage, initial, MOST_EVALUATIONS, tolerance)
        if is_repeated:
            known_minimum = _to_sharpness(self.octaves(stage.best))
            second = self._stride(stage, initial)
            converged &= self._minimise(stage, second, MOST_EVALUATIONS, tolerance, known_minimum)
        return converged

    def refine(self, stage, bandwidth, tolerance):
        """Run L-BFGS-B for a limited number of evaluations."""
        self._minimise(stage, _to_sharpness(self.octaves(bandwidth)), FINAL_EVALUATIONS, tolerance)

    def _stride(self, stage, sharpness):
        """The second initial point: moves of an octave against the sign of the gradient.

        They pass over shallow minima near the first one. The move of a feature is halved where the sign changes.
        """
        octaves = _to_octaves(sharpness)[0]
        stride, sign = np.ones(len(octaves)), np.zeros(len(octaves))
        for _ in range(STRIDES):
            before, sign = sign, np.sign(stage.with_gradient(self.bandwidth(octaves))[1][self.used])
            stride = np.where(before * sign < 0, stride / 2, stride)
            octaves = np.clip(octaves - stride * sign, -OCTAVES, OCTAVES)
        return _to_sharpness(octaves)

    def _minimise(self, stage, sharpness, n_evaluations, tolerance, known_minimum=None):
        """Minimise the logarithm of the loss by L-BFGS-B, as a function of the sharpness. Returns whether it converged.

        A descent that comes near the sharpness of a known minimum, or that overfits, counts as converged. As the first
        step of a run has no information on the curvature, and could end where the loss is flat, a run is bounded to
        TRUST_RADIUS, and is followed by another one if it ends on a bound.
        """

        def log_loss(sharpness):
            if known_minimum is not None and np.abs(sharpness - known_minimum).max() <= NEAR:
                raise NearKnownMinimum
            octaves, octaves_slope = _to_octaves(sharpness)
            loss, gradient = stage.with_gradient(self.bandwidth(octaves))
            loss, gradient = loss / self.largest + NEGLIGIBLE_LOSS, gradient[self.used] / self.largest
            return np.log(loss), np.log(2) * gradient / loss * octaves_slope

        def step(sharpness):
            stage.step(self.bandwidth(_to_octaves(sharpness)[0]))

        least, most = _to_sharpness(np.array([OCTAVES, -OCTAVES]))
        last = len(stage.losses) + n_evaluations
        stage.begin()
        while last > len(stage.losses):
            low, high = np.clip([sharpness - TRUST_RADIUS, sharpness + TRUST_RADIUS], least, most)
            n_left = last - len(stage.losses)
            search = {"jac": True, "method": "L-BFGS-B", "bounds": np.c_[low, high], "callback": step}
            options = {"maxfun": n_left, "maxiter": n_left, "ftol": tolerance, "gtol": 1e-6}
            try:
                run = minimize(log_loss, sharpness, options=options, **search)
            except (NearKnownMinimum, Overfitted):
                return True
            sharpness = run.x
            is_low, is_high = sharpness < low + BOUND_TOLERANCE, sharpness > high - BOUND_TOLERANCE
            if not np.any((is_low & (low > least)) | (is_high & (high < most))):
                return run.status != 1
        return False

    def search_pattern(self, stage, bandwidth):
        """Move one feature at a time, and halve the move when none decreases the loss. Returns whether it converged."""
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
        """Ignore all features, those of wide bandwidth, or one of these after the other, where that costs no loss."""
        stage(bandwidth)
        octaves = self.octaves(bandwidth)
        wide = self.used[octaves >= WIDE]
        one_by_one = wide[np.argsort(-octaves[octaves >= WIDE])]
        for features in (self.used, wide, *one_by_one[:, None]):
            bandwidth = stage.best.copy()
            bandwidth[features] = np.inf
            if np.isfinite(stage.best[features]).any():
                stage(bandwidth)


def _to_sharpness(octaves):
    """log2(1 + 4^(TRANSITION - octave)) / 2: about TRANSITION - octave for small bandwidths, and 0 for inf."""
    return np.log2(1 + 4.0 ** (TRANSITION - octaves)) / 2


def _to_octaves(sharpness):
    """The octaves of a sharpness, and their derivatives with respect to it."""
    power = np.expm1(2 * np.log(2) * sharpness)  # 4^(TRANSITION - octave)
    return TRANSITION - np.log2(power) / 2, -(1 + power) / power
