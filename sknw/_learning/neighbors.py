"""The number of neighbours that the width of a query follows, or none, by leave-one-out losses.

The number of least loss on one half of the rows is compared with the fixed width on the other half, both ways. The
width follows neighbours if that decreases the loss on the rows of comparison.
"""

import numpy as np

from .._weights import sample_size
from .search import FEWEST_HALVED

FEWEST, MOST, N_CANDIDATES = 2, 120, 13
"""The smallest and the largest number of neighbours that are tried, and how many numbers."""


def candidate_neighbors(n):
    """The numbers of neighbours that are tried for n observations, in ascending order; all are less than n."""
    ks = np.unique(np.rint(np.geomspace(FEWEST, MOST, N_CANDIDATES)).astype(int))
    return ks[ks < n].tolist()


def can_choose(loss):
    """Whether there are enough rows to choose a number of neighbours, and to compare it with the fixed width."""
    return loss.n_rows >= FEWEST_HALVED and len(candidate_neighbors(sample_size(loss.sample.weights))) > 0


def choose_neighbors(bandwidth, loss, halves, task):
    """The number of neighbours of the sample, or None for the fixed width, and the number of evaluations.

    Parameters
    ----------
    bandwidth : (n_features,) float ndarray
    loss : LeaveOneOutLoss
    halves : CrossValidation
        Halves of the rows of the loss.
    task : Task
        The task whose subtasks report the losses. If a callback requests to stop, the width is fixed.
    """
    ks, squares = candidate_neighbors(sample_size(loss.sample.weights)), []
    stage, found = task.subtask("neighbors", len(ks)), loss.sweep_neighbors(bandwidth, ks)
    for _ in ks:
        step = stage.subtask("evaluation", 0)
        squares.append(next(found))
        best = ks[_least(loss, squares)]
        if step.end(bandwidth, n_neighbors_=max(1, round(best * loss.sample.n_copies))):
            stage.end(bandwidth)
            return None, len(squares)
    fixed, gain = loss.squares(bandwidth), 0.0
    for learning, rows in halves.positions:
        gain += loss.shares[rows] @ (fixed - squares[_least(loss, squares, learning)])[rows]
    stage.end(bandwidth)
    return best if gain > 0 else None, len(ks)


def _least(loss, squares, rows=slice(None)):
    """The position of the least loss on some rows, from squared errors (n_rows,) of each number of neighbours."""
    return int(np.argmin([loss.shares[rows] @ square[rows] for square in squares]))
