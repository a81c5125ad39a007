"""Learned projections: held-out errors relative to `bandwidth="loo"`, and the time of an evaluation.

Prints one line for each size and for each problem: `python benchmarks/projection.py [number of seeds]`. Errors are
those of the true function where there is one, otherwise those of held-out targets. The times are beside those of
metric-learn, which works with scikit-learn below 1.8; without it they are omitted.
"""

import os

os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}

import sys
import time
import warnings
from importlib.util import find_spec

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine, make_friedman1
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from sknw import AttentionProjection, NadarayaWatsonClassifier, NadarayaWatsonRegressor
from sknw._kernels import KERNELS
from sknw._learning.copies import Sample
from sknw._learning.loss import LeaveOneOutLoss
from sknw._learning.projection import Projections
from sknw._threads import single_threaded_blas

N_TRAIN, N_TEST = 400, 2000


def _rotated_ridge(rng, n):
    X, Q = rng.normal(size=(n, 8)), np.linalg.qr(rng.normal(size=(8, 8)))[0]
    return X, np.sin(2 * X @ Q[0]) + 0.5 * (X @ Q[1]) ** 2, 0.3


def _single_index(rng, n):
    X, direction = rng.normal(size=(n, 20)), rng.normal(size=20)
    return X, np.sin(1.5 * X @ direction / np.linalg.norm(direction)), 0.3


def _friedman(rng, n):
    return *make_friedman1(n, noise=0.0, random_state=rng.integers(2**31)), 1.0


def _noise(rng, n):
    return rng.normal(size=(n, 8)), np.zeros(n), 1.0


FUNCTIONS = {
    "rotated ridge, d = 8": _rotated_ridge,
    "single index, d = 20": _single_index,
    "friedman": _friedman,
    "noise": _noise,
}
DATA = {"diabetes": load_diabetes, "wine": load_wine, "cancer": load_breast_cancer, "digits": load_digits}


def draw(name, seed):
    """Training inputs and targets, test inputs, and what is to be predicted there."""
    if name in FUNCTIONS:
        rng = np.random.default_rng(seed)
        X, truth, noise = FUNCTIONS[name](rng, N_TRAIN + N_TEST)
        y = truth + noise * rng.normal(size=len(X))
        return X[:N_TRAIN], y[:N_TRAIN], X[N_TRAIN:], truth[N_TRAIN:]
    X, y = DATA[name](return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, random_state=seed)
    scaler = StandardScaler().fit(X)
    return scaler.transform(X), y, scaler.transform(X_test), y_test


def loss(model, X, y):
    """The mean squared error, or the Brier score."""
    is_classifier = hasattr(model, "classes_")
    errors = model.predict_proba(X) - (y[:, None] == model.classes_) if is_classifier else model.predict(X) - y
    return np.square(errors).sum() / len(y)


def compare(name, n_seeds):
    """Print the held-out errors of a learned projection and of "loo" over all seeds."""
    losses, expected, ranks, seconds = np.empty((n_seeds, 3)), [], [], 0.0
    for seed in range(n_seeds):
        X, y, X_test, y_test = draw(name, seed)
        is_classes = name in ("wine", "cancer", "digits")
        estimator = NadarayaWatsonClassifier("loo") if is_classes else NadarayaWatsonRegressor("loo")
        start = time.process_time()
        learned = AttentionProjection(estimator).fit(X, y)
        seconds += time.process_time() - start
        mean = np.nan if is_classes else np.square(y.mean() - y_test).mean()
        losses[seed] = loss(learned, X_test, y_test), loss(estimator.fit(X, y), X_test, y_test), mean
        expected.append(learned.loo_loss_)
        ranks.append(len(learned.components_))
    total = losses.sum(axis=0)
    if name == "noise":
        excess = losses[:, 0] - losses[:, 2]
        text = f"error over that of the mean: {np.count_nonzero(excess <= 0.01)} of {n_seeds} at most 0.01"
    else:
        ratios = losses[:, 0] / losses[:, 1]
        text = f"ratio to loo: {total[0] / total[1]:.3f} (each {ratios.min():.2f} to {ratios.max():.2f})"
    if name in DATA:
        text += f", held-out loss / loo_loss_: {total[0] / np.sum(expected):.2f}"
    print(f"{name}: {text}, ranks {sorted(ranks)}, {seconds / n_seeds:.2f} s", flush=True)


def evaluations(n, d):
    """Functions of this package and of metric-learn that return the same loss; both compute its gradient as well."""
    from metric_learn import MLKR

    rng = np.random.default_rng(0)
    X, matrix = rng.normal(size=(n, d)), 1.2 * np.eye(d)
    y = np.sin(X[:, 0]) + 0.1 * rng.normal(size=n)
    sample = Sample(X, y[:, None], np.ones(n), np.arange(n))
    ours = LeaveOneOutLoss(Projections(sample, KERNELS["gaussian"], 1e-10), sample, np.arange(n), False, 1e-10, None)
    theirs = MLKR()
    theirs.n_iter_ = 0

    def mlkr():
        return theirs._loss(matrix.ravel() / np.sqrt(2), X, y)[0] / n  # its kernel is exp(-t)

    return lambda: ours.with_gradient(matrix)[0] * 4.0**ours.exponent, mlkr


def measure(n, d, n_repeats):
    """Print the processor time of a loss and its gradient, interleaved with metric-learn."""
    functions, times = evaluations(n, d), np.empty((n_repeats, 2))
    with single_threaded_blas():
        values = [function() for function in functions]
        assert np.isclose(*values, rtol=1e-9)
        for repeat in range(n_repeats):
            for k, function in enumerate(functions):
                start = time.process_time()
                function()
                times[repeat, k] = time.process_time() - start
    ours, theirs = np.median(times, axis=0)
    least = times.min(axis=0)
    print(
        f"n = {n}, d = {d}: {1e3 * ours:.1f} ms, metric-learn {1e3 * theirs:.1f} ms: {theirs / ours:.1f} times in the "
        f"median, {least[1] / least[0]:.1f} of the least"
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if find_spec("metric_learn"):
        for n, n_repeats in ((500, 60), (2000, 12)):
            measure(n, 10, n_repeats)
    n_seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    for name in (*FUNCTIONS, *DATA):
        compare(name, n_seeds)
