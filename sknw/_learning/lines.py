"""The number of neighbours and the ridge of local lines, of least leave-one-out loss, and the share of the prior.

All pairs of some numbers of neighbours and some ridges are compared on all scoring rows. These are two numbers for all
features, so the least loss is hardly optimistic.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar

from .._weights import sample_size

NEIGHBORS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384)
"""Numbers of neighbours that are tried if they are less than the number of rows, besides a fixed width."""

RIDGES = (1e-3, 1e-2, 0.1, 1.0, 10.0, np.inf)
"""Ridges that are tried, in squared bandwidths."""

CLEARLY_LOWER = 0.8
"""Ratio of losses below which lines without a trend are chosen. The loss with a trend is honest, as the trend is fitted
to other rows; without one it is optimistic, since bandwidths were learned from the same rows.
"""

LEAST_SHARE = 1e-6
"""The smallest share of the prior, so that no probability is zero."""


class Choice(NamedTuple):
    """The number of neighbours, None for a fixed width, and the ridge of least loss among some.

    Parameters
    ----------
    loss : float
    n_neighbors : int or None
    ridge : float
    n_evaluations : int
    stopped : bool
        Whether a callback has requested to stop, so that not all have been evaluated.
    """

    loss: float
    n_neighbors: int | None
    ridge: float
    n_evaluations: int = 0
    stopped: bool = False


def candidate_neighbors(sample):
    """The numbers of neighbours that are tried, None for a fixed width, which comes first."""
    return [None, *(k for k in NEIGHBORS if k < sample_size(sample.weights))]


def choose_line(candidates, ridges, predict, loss, task):
    """The `Choice` of least loss.

    Parameters
    ----------
    candidates : list of int or None
    ridges : list of float
    predict : callable
        Number of neighbours -> the leave-one-out predictions (n_rows, n_values) of the scoring rows for each ridge.
    loss : LeaveOneOutLoss
    task : Task
        The task whose subtasks report the losses. A callback that requests to stop ends the search at the best so far.
    """
    losses, stage = {}, task.subtask("lines", len(candidates))
    for n_neighbors in candidates:
        step = stage.subtask("evaluation", 0)
        for ridge, predictions in zip(ridges, predict(n_neighbors), strict=True):
            losses[n_neighbors, ridge] = loss.of(predictions)
        stopped = step.end(None)
        if stopped:
            break
    stage.end(None)
    best = min(losses, key=losses.get)
    return Choice(losses[best], *best, len(losses), stopped)


def choose_trend(choices):
    """The position of the first `Choice`, unless a later one has a clearly lower loss."""
    chosen = 0
    for k, choice in enumerate(choices):
        if choice.loss < CLEARLY_LOWER * choices[chosen].loss:
            chosen = k
    return chosen


def choose_prior_share(probabilities, priors, shares):
    """The share of the prior of least log loss, where (1 - share) p + share prior are the probabilities.

    Parameters
    ----------
    probabilities, priors : (n_rows,) float ndarray
        Of the class of each scoring row, as predicted from the others.
    shares : (n_rows,) float ndarray
        Weights of the rows. A row that is the only one of its class does not count, as no share helps.
    """
    shares = np.where(priors > np.finfo(float).eps, shares, 0.0)

    def log_loss(log_share):
        share = np.exp(log_share)
        return -shares @ np.log((1 - share) * probabilities + share * priors + np.finfo(float).tiny)

    bounds = np.log(LEAST_SHARE), 0.0
    return float(np.exp(minimize_scalar(log_loss, bounds=bounds, method="bounded", options={"xatol": 1e-3}).x))
