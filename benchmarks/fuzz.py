"""Compare predictions, attention and slopes with the definition in 60 digits or more, on problems made to be hard.

`python benchmarks/fuzz.py --problems 5000 --seed 0`: keys in clusters, on lattices, one unit in the last place apart,
at scales from 1e-300 to 1e300, with repeated and with widely differing weights; queries on keys, in the middle of gaps,
and as far away as floats go; every kernel and every algorithm, half of the time with all short cuts forced. Warnings
are errors.
"""

import argparse
import warnings
from collections import Counter
from contextlib import ExitStack
from typing import NamedTuple
from unittest.mock import patch

import mpmath
import numpy as np

from sknw import NadarayaWatsonRegressor
from sknw._engines import ENGINES, _blocks, _cells, _grid
from sknw._kernels import EDGE, KERNELS
from sknw._weights import kept_fraction

mp = mpmath.mp

LOGS = {
    "gaussian": lambda t: -t / 2,
    "exponential": lambda t: -mpmath.sqrt(t),
    "logistic": lambda t: mpmath.log(4) - mpmath.sqrt(t) - 2 * mpmath.log1p(mpmath.exp(-mpmath.sqrt(t))),
    "cauchy": lambda t: -mpmath.log1p(t),
    "constant": lambda t: mpmath.mpf(0),
    "boxcar": lambda t: mpmath.mpf(0),
    "triangular": lambda t: mpmath.log(1 - mpmath.sqrt(t)),
    "epanechnikov": lambda t: mpmath.log(1 - t),
    "biweight": lambda t: 2 * mpmath.log(1 - t),
    "triweight": lambda t: 3 * mpmath.log(1 - t),
    "tricube": lambda t: 3 * mpmath.log(1 - t * mpmath.sqrt(t)),
    "cosine": lambda t: mpmath.log(mpmath.cos(mpmath.pi / 2 * mpmath.sqrt(t))),
}

GROWTHS = {  # -2 d log K / dt
    "gaussian": lambda t: mpmath.mpf(1),
    "exponential": lambda t: 1 / mpmath.sqrt(t),
    "logistic": lambda t: mpmath.tanh(mpmath.sqrt(t) / 2) / mpmath.sqrt(t),
    "cauchy": lambda t: 2 / (1 + t),
}

FORCED = [(_grid, "CELL_PAIRS", 0), (_grid, "FEW_KEYS", 0), (_blocks, "MANY_KEYS", 0), (_cells, "CROWD", 0)]
"""What makes small problems take the short cuts of large ones."""

T_ERROR = 16 * np.finfo(float).eps
"""The relative error of t that compact kernels may feel near their edge."""

EXACT = 1e-11
"""What an answer may err by besides `tol`, as a fraction of the range."""

SLOPE_ERROR = 1e-8
"""What a slope may err by, as a fraction of the range, and of the slope itself."""


class Problem(NamedTuple):
    """A regression with one output."""

    kernel: str
    keys: np.ndarray
    values: np.ndarray
    weights: np.ndarray
    bandwidth: np.ndarray
    queries: np.ndarray


def make_keys(rng, n, d):
    """Keys (n, d) around zero, of the size of one, but for gaps."""
    kind = rng.choice(["normal", "lattice", "twins", "clusters", "heavy", "few"])
    keys = rng.normal(size=(n, d))
    if kind == "lattice":
        keys = rng.integers(-4, 5, size=(n, d)) * rng.choice([0.1, 1.0, 1 / 3])
    elif kind == "twins":
        half = keys[: (n + 1) // 2]
        keys = np.vstack([half, np.where(rng.random(half.shape) < 0.7, np.nextafter(half, np.inf), half)])[:n]
    elif kind == "clusters":
        keys = keys + 10 ** rng.uniform(0, 8) * rng.integers(0, 2, size=(n, 1)) * (rng.random(d) < 0.7)
    elif kind == "heavy":
        keys = rng.standard_t(1, size=(n, d))
    elif kind == "few":
        keys = keys[rng.integers(0, min(n, 3), size=n)]
    return keys


def make_queries(rng, keys, bandwidth):
    """Queries on keys, among them, in the middle between two, and far away."""
    n, d = keys.shape
    pairs = keys[rng.integers(0, n, size=(3, 2))]
    step = pairs[:, 1] - pairs[:, 0]
    gap = np.maximum(np.abs(step), np.finfo(float).tiny)
    with np.errstate(all="ignore"):
        middle = pairs.mean(axis=1) + rng.uniform(-2, 2, size=(3, 1)) * np.minimum(bandwidth * (bandwidth / gap), gap)
        far = rng.normal(size=(3, d)) * np.abs(keys).max() * 10 ** rng.uniform(0, 300, size=(3, 1))
    far = np.where(np.isfinite(far), far, np.sign(rng.normal(size=(3, d))) * 1.7e308)
    near = keys[rng.integers(0, n, size=2)] + rng.normal(size=(2, d)) * bandwidth
    return np.vstack([keys[rng.integers(0, n, size=1)], near, np.where(np.isfinite(middle), middle, near[0]), far])


def make_weights(rng, n):
    """Ones, counts, importances, or such that differ by up to 1e240."""
    kind = rng.integers(4)
    if kind == 0:
        return np.ones(n)
    if kind == 1:
        return np.r_[1.0, rng.integers(0, 4, size=n - 1)]
    if kind == 2:
        return np.r_[0.5, rng.random(n - 1) * (rng.random(n - 1) < 0.8)]
    return 10.0 ** (rng.uniform(-240, 0, size=n) * (rng.random(n) < 0.5) + rng.choice([-60, 0, 300]))


def make_problem(rng):
    """A problem of few keys, most often in up to three features."""
    n, d = int(rng.integers(2, 25)), int(rng.choice([1, 1, 2, 3, 30], p=[0.3, 0.2, 0.25, 0.2, 0.05]))
    scale = 10.0 ** rng.choice([0, 0, 0, rng.uniform(-300, 299)])
    keys = (make_keys(rng, n, d) + rng.choice([0, 0, 1, 1e6])) * scale
    bandwidth = scale * 10.0 ** rng.uniform(-3, 2) * (rng.choice([1.0, 0.5, 3.0], size=d))
    values = rng.normal(size=n) * 10.0 ** rng.choice([0, 0, rng.uniform(-290, 290)])
    kernel = str(rng.choice(list(KERNELS)))
    return Problem(kernel, keys, values, make_weights(rng, n), bandwidth, make_queries(rng, keys, bandwidth))


def digits(problem):
    """Digits in which differences of distances are exact to some forty."""
    bandwidth = np.maximum(problem.bandwidth, np.finfo(float).tiny)
    with np.errstate(over="ignore"):
        largest = max(np.abs(problem.queries).max(), np.abs(problem.keys).max())
        exponent = np.log10(max(largest, 1e-300)) - np.log10(bandwidth.min())
    return int(60 + 2.2 * max(exponent, 0))


class Row(NamedTuple):
    """What the definition says of a query: attention (n,), the pooled value, and the slopes (d,) or None."""

    attention: list
    pooled: float
    slopes: list | None


def exact_row(problem, query, weights, change):
    """The definition with t times 1 + `change` (n,); None where rounding decides about an edge or a tie."""
    steps = [
        [((mp.mpf(q) - mp.mpf(x)) / mp.mpf(h)) ** 2 for q, x, h in zip(query, key, problem.bandwidth, strict=True)]
        for key in problem.keys.tolist()
    ]
    t = [mpmath.fsum(step) * (1 + mp.mpf(float(c))) for step, c in zip(steps, change, strict=True)]
    active, kernel = np.flatnonzero(weights), KERNELS[problem.kernel]
    edge = mp.mpf(1 + EDGE) if kernel.jumps else mp.mpf(1 - EDGE)
    if kernel.compact and any(abs(t[i] - edge) < 10 * T_ERROR for i in active):
        return None
    inside = [i for i in active if not kernel.compact or t[i] < edge]
    if inside:
        logs = {i: LOGS[problem.kernel](t[i]) + mpmath.log(mp.mpf(float(weights[i]))) for i in inside}
        most = max(logs.values())
        raw = {i: mpmath.exp(log - most) for i, log in logs.items()}
    else:
        least = min(t[i] for i in active) * (1 + mp.mpf(EDGE))
        if least > 0 and any(abs(t[i] - least) < 10 * T_ERROR * least for i in active):
            return None
        raw = {i: mp.mpf(float(weights[i])) for i in active if t[i] <= least}
    total = mpmath.fsum(raw.values())
    attention = {i: w / total for i, w in raw.items()}
    pooled = mpmath.fsum(a * mp.mpf(float(problem.values[i])) for i, a in attention.items())
    slopes = None
    if problem.kernel in GROWTHS:
        slopes = [_exact_slope(problem, attention, pooled, t, [s[f] for s in steps]) for f in range(len(query))]
    return Row([attention.get(i, mp.mpf(0)) for i in range(len(t))], pooled, slopes)


def _exact_slope(problem, attention, pooled, t, squares):
    growth = GROWTHS[problem.kernel]
    terms = {i: growth(t[i]) * squares[i] if t[i] > 0 else mp.mpf(0) for i in attention}
    mean = mpmath.fsum(a * terms[i] for i, a in attention.items())
    return mpmath.fsum(
        a * (terms[i] - mean) * (mp.mpf(float(problem.values[i])) - pooled) for i, a in attention.items()
    )


def expected(problem, query, weights, rng):
    """The definition's `Row`, and what rounding of t may change; None where it decides."""
    n = len(problem.keys)
    exact = exact_row(problem, query, weights, np.zeros(n))
    if exact is None or not KERNELS[problem.kernel].compact:
        return exact, 0.0
    error = 0.0
    for _ in range(3):
        moved = exact_row(problem, query, weights, rng.choice([-T_ERROR, T_ERROR], size=n))
        if moved is None:
            return None, 0.0
        error = max([error, *(float(abs(a - b)) for a, b in zip(exact.attention, moved.attention, strict=True))])
    return exact, len(problem.keys) * error


def rows_left(problem):
    """Weights (n, n) for the leave-one-out prediction of each row; None where nothing is left."""
    kept = kept_fraction(problem.weights)
    left = np.tile(problem.weights, (len(kept), 1))
    np.fill_diagonal(left, problem.weights * kept)
    return left if left.any(axis=1).all() else None


def answers(problem, algorithm, tol):
    """Pooled values and attention of the queries, and pooled values and slopes in leave-one-out."""
    model = NadarayaWatsonRegressor(problem.bandwidth, kernel=problem.kernel, algorithm=algorithm, tol=tol)
    model.fit(problem.keys, problem.values, problem.weights)
    found = {"predict": model.predict(problem.queries), "attention": model.attention_weights(problem.queries)}
    if rows_left(problem) is not None:
        found["leave-one-out"] = model.predict(None)
        if KERNELS[problem.kernel].log_slope is not None:
            found["slopes"] = model._pooler.slopes(tol=tol)[2][:, :, 0]
    return found


def _off(found, exact, span):
    """By how much a number is off, as a fraction of the range; inf if it is not finite."""
    return float(abs(mp.mpf(float(found)) - exact) / span) if np.isfinite(found) else np.inf


class Truth(NamedTuple):
    """What the definition says: (`Row`, slack) for each query, and for each row left out; and the range of values."""

    queries: list
    others: list
    span: object


def find_truth(problem, rng):
    """The `Truth` of a problem."""
    counted = problem.values[problem.weights > 0].tolist()
    span = (mp.mpf(max(counted)) - mp.mpf(min(counted))) or abs(mp.mpf(counted[0])) or mp.mpf(1)
    left = rows_left(problem)
    return Truth(
        [expected(problem, query, problem.weights, rng) for query in problem.queries.tolist()],
        [] if left is None else [expected(problem, *row, rng) for row in zip(problem.keys.tolist(), left, strict=True)],
        span,
    )


def failures(truth, found, tol):
    """Names of what is wrong, with by how much."""
    for k, (exact, slack) in enumerate(truth.queries):
        if exact is None:
            continue
        if (off := _off(found["predict"][k], exact.pooled, truth.span)) > tol + slack + EXACT:
            yield "predict", off
        row = found["attention"][k]
        off = max(_off(a, b, 1) for a, b in zip(row, exact.attention, strict=True))
        if off > slack + EXACT or abs(row.sum() - 1) > 1e-12 or row.min() < 0:
            yield "attention", off
    for i, (exact, slack) in enumerate(truth.others):
        if exact is None:
            continue
        if (off := _off(found["leave-one-out"][i], exact.pooled, truth.span)) > tol + slack + EXACT:
            yield "leave-one-out", off
        if "slopes" in found:
            yield from _wrong_slopes(found["slopes"][i], exact, truth.span)


def _wrong_slopes(found, exact, span):
    if not np.isfinite(found).all():
        yield "slopes", np.inf
    for slope, right in zip(found, exact.slopes or [], strict=False):
        off = _off(slope, right, span)
        if off > SLOPE_ERROR * (1 + float(abs(right) / span)):
            yield "slopes", off


def check(seed):
    """The problem of a seed, and what fails on it: a Counter of the largest errors by (algorithm, what)."""
    rng = np.random.default_rng(seed)
    problem, failed = make_problem(rng), Counter()
    tol = float(rng.choice([1e-12, 1e-10, 1e-6]))
    with mpmath.workdps(digits(problem)), warnings.catch_warnings():
        warnings.simplefilter("error")
        truth = find_truth(problem, rng)
        for algorithm, engine in ENGINES.items():
            if not engine.supports(KERNELS[problem.kernel], problem.keys.shape[1]):
                continue
            try:
                found = answers(problem, algorithm, tol)
            except Warning as warning:
                failed[algorithm, str(warning)] += 1
                continue
            for what, off in failures(truth, found, tol):
                failed[algorithm, what] = max(failed[algorithm, what], off)
    return problem, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    arguments = parser.parse_args()
    n_failed = 0
    for seed in range(arguments.seed, arguments.seed + arguments.problems):
        with ExitStack() as stack:
            for constant in FORCED if seed % 2 else []:
                stack.enter_context(patch.object(*constant))
            problem, failed = check(seed)
        n_failed += bool(failed)
        for (algorithm, what), off in failed.items():
            shape = f"{problem.kernel}, {problem.keys.shape}"
            print(f"seed {seed}: {shape}, {algorithm}: {what} {off:.1e}", flush=True)
    print(f"{arguments.problems} problems, {n_failed} failed")


if __name__ == "__main__":
    main()
