"""What the fast engines must reach, each line measured in this run: `what | bar | measured`."""

import subprocess
import sys
from functools import partial
from math import inf
from pathlib import Path
from typing import NamedTuple

import numpy as np
from contenders import PEERS, scikit_nw
from definition import define, disagreement
from problems import Row, make_problem
from tables import fastest, own_engines
from timing import cut_queries, ratio, time_call, time_interleaved, time_prediction

from sknw import NadarayaWatsonRegressor
from sknw._engines import ENGINES
from sknw._kernels import KERNELS

ARGSORTS = {
    "gaussian": (0.8, 1e-10),
    "exponential": (1.0, 1e-10),
    "boxcar": (1.2, 1e-9),
    "epanechnikov": (1.8, 1e-9),
    "tricube": (5.0, 1e-9),
}
"""Bars for kernels of one feature: the most time, in units of two stable argsorts, and the largest error."""

FAST_KERNELS = (*ARGSORTS, "logistic", "triangular", "biweight", "triweight", "cosine")
"""Kernels whose cost in one feature must be nearly linear."""

CHECKED = 500
"""Queries that are compared with the definition."""


ALLOTMENT = 2.0
"""Seconds for the rounds of a call, more than elsewhere."""


class SpeedUp(NamedTuple):
    """An engine must be `least` times as fast as a contender, and take `most_seconds`. The kernel of `row` sets h."""

    engine: str
    row: Row
    kernel: str
    tol: float
    against: str
    least: float
    most_seconds: float = inf


SPEED_UPS = [
    SpeedUp("grid", Row(2, 10**5, 10**5), "gaussian", 1e-10, "dense", 80),
    SpeedUp("grid", Row(2, 10**5, 10**5, factor=0.3), "gaussian", 1e-10, "dense", 15),
    SpeedUp("grid", Row(2, 10**6, 10**6), "gaussian", 1e-10, "dense", 500, 5),
    SpeedUp("blocks", Row(3, 10**5, 10**5, factor=0.3), "gaussian", 1e-6, "dense", 5),
    *(
        SpeedUp("blocks", Row(d, 10**5, 10**5, factor=2.2), "epanechnikov", 1e-10, "chunked_cdist", least)
        for d, least in {2: 13, 3: 10, 4: 9, 6: 5}.items()
    ),
]


def print_bar(what, relation, bar, measured, form=".2f", error=None):
    """A line of the table, with the error of what was timed; measured is None where the engine does not exist."""
    if measured is None:
        shown = "not available"
    else:
        reached = measured <= bar if relation == "<=" else measured >= bar
        shown = f"{measured:{form}}" + ("" if reached else " missed")
    if error is not None:
        shown += f" (error {error:.1e})"
    print(f"{what:<72} | {relation} {bar:<5g} | {shown}", flush=True)


def can_do(engine, kernel, n_features):
    """Whether an engine exists and supports a kernel."""
    return engine in ENGINES and ENGINES[engine].supports(KERNELS[kernel], n_features)


def measured_error(problem, predict):
    """The disagreement with the definition at the first queries, those among all predicted at once."""
    return disagreement(problem, predict(problem), define(problem.first(CHECKED)))[0]


def time_one_feature(kernel, rounds, n):
    """Rounds of seconds for one kernel in one feature, n = m normal, the sorted engine, and its error."""
    predict = partial(scikit_nw, algorithm="sorted")
    problem, small = make_problem(1, n, n, kernel=kernel), make_problem(1, n // 100, n // 100, kernel=kernel)
    measures = {name: partial(time_call, predict, p) for name, p in {"n": problem, "n / 100": small}.items()}
    if kernel not in ARGSORTS:
        return time_interleaved(measures, rounds, ALLOTMENT), None
    keys = problem.keys.copy()
    keys[0] = 1e9
    model = NadarayaWatsonRegressor(problem.bandwidth, kernel=kernel, algorithm="sorted")
    model.fit(problem.keys, problem.targets)
    measures |= {
        "argsorts": lambda: sum(
            time_call(partial(np.argsort, rows[:, 0], kind="stable")) for rows in (problem.keys, problem.queries)
        ),
        "far key": partial(time_call, predict, problem._replace(keys=keys)),
        "predict": partial(time_call, model.predict, problem.queries),
        "leave-one-out": partial(time_call, model.predict, None),
    }
    if kernel == "gaussian":
        measures["dense"] = partial(time_prediction, scikit_nw, problem, cut_queries(scikit_nw, problem))
    return time_interleaved(measures, rounds, ALLOTMENT), measured_error(problem, predict)


def print_one_feature(rounds, n=10**6):
    """The bars of the sorted engine."""
    able = [kernel for kernel in FAST_KERNELS if can_do("sorted", kernel, 1)]
    timed = {kernel: time_one_feature(kernel, rounds, n) for kernel in able}
    seconds = {kernel: times for kernel, (times, _) in timed.items()}
    for kernel, (most, largest) in ARGSORTS.items():
        times, error = timed.get(kernel, (None, None))
        cost = times and ratio(times["n"], times["argsorts"])
        print_bar(f"d=1 {kernel} n=m={n:.0e}: fit + predict, in two stable argsorts", "<=", most, cost)
        print_bar(f"d=1 {kernel} n=m={n:.0e}: error", "<=", largest, error, ".1e")
    gaussian = seconds.get("gaussian")
    gain = gaussian and ratio(gaussian["dense"], gaussian["n"])
    print_bar(f"d=1 gaussian n=m={n:.0e}: times as fast as dense", ">=", 1000, gain, ".0f")
    for kernel in FAST_KERNELS:
        exponent = (
            np.log(ratio(seconds[kernel]["n"], seconds[kernel]["n / 100"])) / np.log(100) if kernel in able else None
        )
        print_bar(f"d=1 {kernel}: exponent of the cost from n=m={n / 100:.0e} to {n:.0e}", "<=", 1.15, exponent)
    for kernel in ARGSORTS:
        times = seconds.get(kernel)
        alone = times and ratio(times["leave-one-out"], times["predict"])
        far = times and ratio(times["far key"], times["n"])
        print_bar(f"d=1 {kernel} n={n:.0e}: predict(None) in predictions of that size", "<=", 1.3, alone)
        print_bar(f"d=1 {kernel} n=m={n:.0e}: one key at 1e9, in times without", "<=", 1.5, far)


def print_speed_up(speed_up, rounds):
    """The bars of one problem in several features, and the error of what is timed."""
    engine, row, kernel, tol, against, least, most_seconds = speed_up
    what = f"d={row.n_features} {kernel} n=m={row.n:.0e} {row.factor}h tol={tol:.0e} {engine}:"
    gain = error = seconds = None
    if can_do(engine, kernel, row.n_features):
        problem = make_problem(*row)._replace(kernel=kernel)
        fast = partial(scikit_nw, algorithm=engine, tol=tol)
        slow = scikit_nw if against == "dense" else PEERS[against].predict
        error = measured_error(problem, fast)
        cut = cut_queries(slow, problem)
        measures = {"fast": partial(time_call, fast, problem), "slow": partial(time_prediction, slow, problem, cut)}
        times = time_interleaved(measures, rounds, ALLOTMENT)
        gain, seconds = ratio(times["slow"], times["fast"]), np.median(times["fast"])
    print_bar(f"{what} times {against}", ">=", least, gain, ".1f", error)
    if most_seconds < inf:
        print_bar(f"{what} seconds", "<=", most_seconds, seconds)


def memory_of_process(n, n_features, algorithm):
    """Peak MiB of a process of its own that fits and predicts."""
    command = [sys.executable, str(Path(__file__).with_name("run.py")), "--memory", str(n), str(n_features), algorithm]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def print_memory():
    """The bars of memory."""
    for n_features, engine in {1: "sorted", 2: "grid"}.items():
        peak = memory_of_process(10**6, n_features, engine) if can_do(engine, "gaussian", n_features) else None
        print_bar(f"d={n_features} gaussian n=m=1e+06: peak MiB of the process", "<=", 600, peak, ".0f")


def print_choice(everything):
    """The bars of "auto", over the problems of 1e6 pairs and more."""
    ratios = {"its fastest engine": {}, "dense": {}}
    for name, results in everything.items():
        auto, best = results["auto"].seconds, fastest(results, own_engines(results))
        ratios["its fastest engine"][name] = ratio(auto, results[best].seconds)
        ratios["dense"][name] = ratio(auto, results["dense"].seconds)
    for other, bar in {"its fastest engine": 1.3, "dense": 1.1}.items():
        worst = max(ratios[other], key=ratios[other].get)
        print_bar(f"auto / {other}, worst: {worst}", "<=", bar, ratios[other][worst])


def print_bars(everything, rounds):
    """All bars; `everything` are the results of `compare_contenders`."""
    print(f"\n{'what':<72} | bar      | measured")
    print_one_feature(rounds)
    for speed_up in SPEED_UPS:
        print_speed_up(speed_up, rounds)
    print_memory()
    print_choice(everything)
