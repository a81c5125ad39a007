"""A part of a search with one loss: every evaluation is reported, and the best bandwidth remembered."""

import numpy as np

TIE = 1e-10
"""Losses that differ by less than this fraction are the same."""

PATIENCE = 2
"""Steps without a gain on validation rows after which a descent ends."""


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
