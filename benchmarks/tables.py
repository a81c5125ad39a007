"""The tables: all problems by all contenders, what "auto" makes of them, and this package's kernels side by side."""

import re
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from contenders import PEERS, contenders, scikit_nw
from definition import define, disagreement
from problems import make_problem
from timing import cut_queries, ratio, time_call, time_interleaved, time_prediction

from sknw import NadarayaWatsonRegressor

CHECKED_PAIRS, CHECKED_QUERIES = 2e8, 2000
"""The definition is computed for so many pairs and queries of a problem."""

FAR_QUERIES = 16

EXACT = 1e-6
"""Up to which disagreement a contender may be the best peer."""

FAILURES = (ImportError, RuntimeError, ValueError, MemoryError)
"""What a peer may raise where a problem is beyond it."""


class Result(NamedTuple):
    """Seconds (rounds,) for all queries; the disagreement at the first queries, and at those farthest out; the share of
    the latter that get no answer; and the number of queries timed.
    """

    seconds: np.ndarray
    error: float
    far_error: float
    unanswered: float
    timed: int


def time_contenders(problem, rows, rounds):
    """A Result for each contender (a dict by name), or the reason why there is none."""
    far = problem.farthest(FAR_QUERIES)
    means = define(problem.first(int(min(CHECKED_QUERIES, CHECKED_PAIRS // len(problem.keys)))))
    far_means = define(far)
    checks, reasons = {}, {}
    for name, contender in rows.items():
        try:
            timed = cut_queries(contender.predict, problem, contender.cost)
            prediction, far_prediction = contender.predict(problem.first(timed)), contender.predict(far)
        except FAILURES as failure:
            if name not in PEERS:
                raise
            reasons[name] = str(failure).split("\n")[0]
        else:
            error = disagreement(problem, prediction, means)[0]
            checks[name] = (error, *disagreement(problem, far_prediction, far_means), timed)
    measures = {
        name: partial(time_prediction, rows[name].predict, problem, timed) for name, (*_, timed) in checks.items()
    }
    seconds = time_interleaved(measures, rounds)
    return {name: Result(seconds[name], *check) for name, check in checks.items()}, reasons


def compare_contenders(problems, rounds, peers=True):
    """All contenders on all problems, printed and returned: by problem, then by contender."""
    print(
        f"\n{'problem':<36} {'contender':<16} {'error':>8} {'far error':>9} {'no answer':>9} {'timed':>8} "
        f"{'seconds':>9} {'x dense':>8} {'x auto':>8}"
    )
    everything = {}
    for name, row in problems.items():
        problem = make_problem(*row)
        results, reasons = time_contenders(problem, contenders(problem, peers), rounds)
        for contender, result in results.items():
            ratios = (ratio(result.seconds, results[own].seconds) for own in ("dense", "auto"))
            print(
                f"{name:<36} {contender:<16} {result.error:8.1e} {result.far_error:9.1e} {result.unanswered:9.0%} "
                f"{result.timed:8d} {np.median(result.seconds):9.4f} {' '.join(f'{value:8.3g}' for value in ratios)}",
                flush=True,
            )
        for contender, reason in reasons.items():
            print(f"{name:<36} {contender:<16} {reason}")
        everything[name] = results
    return everything


def fastest(results, among):
    """The name of the fastest contender among some, or None."""
    names = [name for name in results if name in among]
    return min(names, key=lambda name: np.median(results[name].seconds), default=None)


def own_engines(results):
    """The names of this package's engines in the results of a problem."""
    return set(results) - set(PEERS) - {"auto"}


def print_choices(everything):
    """For each problem: how many times longer than "auto" the fastest engine, dense and the fastest peer take."""
    print(f"\n{'problem':<36} {'auto':>9} {'fastest engine':>16} {'dense':>8}   fastest peer with error <= {EXACT:.0e}")
    for name, results in everything.items():
        auto, engine = results["auto"].seconds, fastest(results, own_engines(results))
        peer = fastest(results, {peer for peer in PEERS if peer in results and results[peer].error <= EXACT})
        best = f"{engine} {ratio(results[engine].seconds, auto):.2f}"
        beaten = f"{peer} {ratio(results[peer].seconds, auto):.3g}" if peer else ""
        dense = ratio(results["dense"].seconds, auto)
        print(f"{name:<36} {np.median(auto):9.4f} {best:>16} {dense:8.3g}   {beaten}", flush=True)


def compare_kernels(problems, rounds):
    """This package alone: each kernel's time as a multiple of the Gaussian's in the same number of features."""
    problems = {name: make_problem(*row) for name, row in problems.items()}
    seconds = time_interleaved({name: partial(time_call, scikit_nw, p) for name, p in problems.items()}, rounds)
    print(f"\n{'problem':<20} {'seconds':>9} {'x gaussian':>11} {'attention @ values - predict':>30}")
    for name, problem in problems.items():
        model = NadarayaWatsonRegressor(problem.bandwidth, kernel=problem.kernel).fit(problem.keys, problem.targets)
        queries = problem.queries[:500]
        pooled = model.attention_weights(queries) @ model.values_[:, 0]
        error = np.abs(pooled - model.predict(queries)).max() / np.ptp(problem.targets)
        relative = ratio(seconds[name], seconds[f"gaussian {name.split()[1]}"])
        print(f"{name:<20} {np.median(seconds[name]):9.4f} {relative:11.2f} {error:30.1e}", flush=True)


def print_empty_queries():
    """How many queries a compact kernel leaves without a neighbour at Silverman's bandwidth."""
    print()
    for n_features in (5, 10, 20):
        problem = make_problem(n_features, 1000, 5000, kernel="epanechnikov")
        model = NadarayaWatsonRegressor(kernel=problem.kernel, empty="nan").fit(problem.keys, problem.targets)
        share = np.isnan(model.predict(problem.queries)).mean()
        print(f"epanechnikov, n = 1000, d = {n_features}: {share:.0%} of queries have no neighbour")


def measure_memory(n, n_features, algorithm):
    """Peak MiB of this process after it fits and predicts n = m Gaussian, data and libraries included (Linux)."""
    scikit_nw(make_problem(int(n_features), int(n), int(n)), algorithm)
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
