"""Compare predictions and attention with the definition in 60 digits or more, on random problems made to be hard.

`python benchmarks/fuzz.py --problems 5000 --seed 0`: numbers from 1e-300 to 1e300, every kernel and every algorithm,
half of the time with all short cuts forced. Warnings are errors.
"""

import argparse
import sys
import warnings
from contextlib import ExitStack
from unittest.mock import patch

import mpmath
import numpy as np
from contenders import COMPACT, KERNELS
from problems import random_problem

mp = mpmath.mp

FORCED = {"CELL_PAIRS": 0, "CROWD": 0, "FEW_ROWS": 0, "MANY_KEYS": 0, "MOST_KEPT": np.inf}
FORCED |= {"FEWEST_LOOKED_UP": 0, "PART_QUERIES": 0, "SPACE_CELL_PAIRS": 0, "SPACE_POINT_PAIRS": 0}
"""Constants of the engines that keep small problems from the short cuts of large ones, and values that force these."""

EDGE = 1e-12
"""Relative width, in t, of the edge of a support and of a tie between nearest keys."""

T_ERROR = 16 * np.finfo(float).eps
"""The relative error of t that compact kernels may feel near their edge."""

EXACT = 1e-11
"""What an answer may err by besides `tol`, as a fraction of the range."""


def set_digits(problem):
    """A context of digits in which differences of distances are exact to some forty."""
    with np.errstate(over="ignore"):
        largest = max(np.abs(problem.queries).max(), np.abs(problem.keys).max(), 1e-300)
        exponent = np.log10(largest) - np.log10(np.maximum(problem.bandwidth, np.finfo(float).tiny).min())
    return mpmath.workdps(int(60 + 2.2 * max(exponent, 0)))


def define(problem, query, weights, change=0.0):
    """Attention (n,) and the pooled value of a query with t times 1 + `change`; None where rounding decides about an
    edge or a tie.
    """
    steps = [zip(query.tolist(), key, problem.bandwidth.tolist(), strict=True) for key in problem.keys.tolist()]
    squares = [mpmath.fsum(((mp.mpf(q) - mp.mpf(x)) / mp.mpf(h)) ** 2 for q, x, h in step) for step in steps]
    t = [square * (1 + mp.mpf(c)) for square, c in zip(squares, np.broadcast_to(change, len(squares)), strict=True)]
    active, is_compact = np.flatnonzero(weights), problem.kernel in COMPACT
    edge = 1 + mp.mpf(EDGE if problem.kernel == "boxcar" else -EDGE)
    if is_compact and any(abs(t[i] - edge) < 10 * T_ERROR for i in active):
        return None
    raw = {i: KERNELS[problem.kernel](t[i], mpmath) for i in active if t[i] < edge or not is_compact}
    if not raw:
        nearest = min(t[i] for i in active) * (1 + mp.mpf(EDGE))
        if nearest > 0 and any(abs(t[i] - nearest) < 10 * T_ERROR * nearest for i in active):
            return None
        raw = {i: mp.mpf(1) for i in active if t[i] <= nearest}
    raw = [raw.get(i, 0) * mp.mpf(weight) for i, weight in enumerate(weights.tolist())]
    attention = [weight / mpmath.fsum(raw) for weight in raw]
    return np.array(attention, dtype=float), float(mpmath.fdot(attention, problem.targets.tolist()))


def find_truth(problem, query, weights, rng):
    """Attention (n,), the pooled value, and how much rounding of t may change them; None where rounding decides."""
    n_changes = 3 if problem.kernel in COMPACT else 0
    changes = rng.choice([-T_ERROR, T_ERROR], size=(n_changes, len(weights)))
    exact, *moved = (define(problem, query, weights, change) for change in (0.0, *changes))
    if exact is None or None in moved:
        return None
    return *exact, len(weights) * max((np.abs(attention - exact[0]).max() for attention, _ in moved), default=0.0)


def find_truths(problem, rng):
    """Truths of the queries, and of each row in leave-one-out, None if nothing is left of one."""
    n = len(problem.keys)
    weights = np.ones(n) if problem.weights is None else problem.weights
    left, are_counts = np.tile(weights, (n, 1)), weights.max() < 2**53 and np.all(weights == np.rint(weights))
    np.fill_diagonal(left, np.maximum(weights - 1, 0) if are_counts else 0)
    queries = [find_truth(problem, query, weights, rng) for query in problem.queries]
    if not left.any(axis=1).all():
        return queries, None
    return queries, [find_truth(problem, *row, rng) for row in zip(problem.keys, left, strict=True)]


def find_failures(problem, truths, pooled, attention):
    """The largest errors above what is allowed, nan among them: of predictions, and of attention."""
    counted = problem.targets if problem.weights is None else problem.targets[problem.weights > 0]
    span, failures = np.ptp(counted) or np.abs(counted[0]) or 1.0, {}
    for truth, found, row in zip(truths, pooled, attention, strict=True):
        if truth is None:
            continue
        exact_row, exact, slack = truth
        offs = {"predictions": abs(found - exact) / span - problem.tol, "attention": np.abs(row - exact_row).max()}
        offs["sum"] = abs(row.sum() - 1)
        failures |= {what: off for what, off in offs.items() if not off <= max(failures.get(what, 0), slack + EXACT)}
    return failures


def check(seed):
    """What fails on the problem of a seed: the largest errors by (algorithm, what)."""
    rng, failed = np.random.default_rng(seed), {}
    n, d = int(rng.integers(2, 25)), int(rng.choice([1, 2, 3, 30], p=[0.5, 0.25, 0.2, 0.05]))
    problem = random_problem(rng, n, d, 9, decades=300)._replace(tol=float(rng.choice([1e-12, 1e-10, 1e-6])))
    with set_digits(problem), warnings.catch_warnings(), ExitStack() as stack:
        warnings.simplefilter("error")
        engines = [module for name, module in sys.modules.items() if name.startswith("sknw._engines")]
        for module, name in [(module, name) for module in engines for name in FORCED if hasattr(module, name)]:
            stack.enter_context(patch.object(module, name, FORCED[name] if seed % 2 else getattr(module, name)))
        for asked, truths in zip((problem.queries, None), find_truths(problem, rng), strict=True):
            for algorithm in problem.algorithms() if truths else ():
                try:
                    model = problem.fit(algorithm)
                    found = find_failures(problem, truths, model.predict(asked), model.attention_weights(asked))
                except Warning as warning:
                    found = {str(warning): np.inf}
                failed |= {(algorithm, what): off for what, off in found.items()}
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    arguments = parser.parse_args()
    n_failed = 0
    for seed in range(arguments.seed, arguments.seed + arguments.problems):
        if failed := check(seed):
            n_failed += 1
            print(f"seed {seed}: {failed}", flush=True)
    print(f"{arguments.problems} problems, {n_failed} failed")
    sys.exit(n_failed > 0)


if __name__ == "__main__":
    main()
