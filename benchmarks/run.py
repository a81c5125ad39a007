"""Check that all contenders agree with the definition, then time them: `python benchmarks/run.py`."""

import argparse
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

import joblib
import numpy as np
import scipy
import sklearn
from contenders import chunked_cdist, contenders, scikit_nw
from problems import PROBLEMS, make_problem
from threadpoolctl import threadpool_limits

from sknw import NadarayaWatsonRegressor

SLOW = 1.0
"""Seconds from which on a contender is timed three times at most."""


def time_interleaved(calls, repeats):
    """Median seconds of each call (a dict by name), over rounds in which each is called once."""
    seconds = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            if len(seconds[name]) >= 3 and seconds[name][0] > SLOW:
                continue
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: float(np.median(values)) for name, values in seconds.items()}


def disagreement(problem, prediction):
    """The largest difference from chunked cdist, as a fraction of the range of the targets, where keys have weight."""
    reference = chunked_cdist(problem)
    weighted = np.isfinite(reference) & np.isfinite(prediction)
    return np.abs(prediction - reference)[weighted].max() / np.ptp(problem.targets)


def compare_contenders(problems, repeats):
    """All contenders on all problems: disagreement, seconds, and how many times longer than this package."""
    print(f"\n{'problem':<20} {'contender':<18} {'disagreement':>12} {'seconds':>9} {'ratio':>8}")
    for name, problem in problems.items():
        calls = {call.__name__: (lambda call=call, problem=problem: call(problem)) for call in contenders(problem)}
        errors = {contender: disagreement(problem, call()) for contender, call in calls.items()}
        seconds = time_interleaved(calls, repeats)
        for contender, value in seconds.items():
            ratio = value / seconds["scikit_nw"]
            print(f"{name:<20} {contender:<18} {errors[contender]:12.1e} {value:9.4f} {ratio:8.2f}", flush=True)


def compare_kernels(problems, repeats):
    """This package alone: each kernel's time as a multiple of the Gaussian's in the same number of features."""
    seconds = time_interleaved({name: (lambda p=p: scikit_nw(p)) for name, p in problems.items()}, repeats)
    print(f"\n{'problem':<20} {'seconds':>9} {'x gaussian':>11} {'attention @ values - predict':>30}")
    for name, problem in problems.items():
        model = NadarayaWatsonRegressor(problem.bandwidth, kernel=problem.kernel).fit(problem.keys, problem.targets)
        queries = problem.queries[:500]
        pooled = model.attention_weights(queries) @ model.values_[:, 0]
        error = np.abs(pooled - model.predict(queries)).max() / np.ptp(problem.targets)
        ratio = seconds[name] / seconds[f"gaussian {name.split()[1]}"]
        print(f"{name:<20} {seconds[name]:9.4f} {ratio:11.2f} {error:30.1e}", flush=True)


def compare_sizes(kernel, repeats):
    """One feature, n = m, the sorted engine: its time in units of two stable argsorts; how many times longer the dense
    engine takes to predict, extrapolated from 2,000 queries; leave-one-out in units of a prediction of the same size;
    the largest difference between the engines.
    """
    print(
        f"\n{kernel + ' d=1':<16} {'seconds':>9} {'x 2 argsorts':>13} {'dense':>8} {'leave-one-out':>14} {'error':>9}"
    )
    for n in (10_000, 100_000, 1_000_000):
        problem = make_problem(1, kernel, n=n, m=n)
        fast, dense = (
            NadarayaWatsonRegressor(problem.bandwidth, kernel=kernel, algorithm=algorithm)
            for algorithm in ("sorted", "dense")
        )
        for model in (fast, dense):
            model.fit(problem.keys, problem.targets)
        few = problem.queries[:2000]
        calls = {
            "sorted": lambda p=problem: scikit_nw(p, "sorted"),
            "argsorts": lambda p=problem: [np.argsort(rows[:, 0], kind="stable") for rows in (p.keys, p.queries)],
            "dense": lambda dense=dense, few=few: dense.predict(few),
            "predict": lambda p=problem, fast=fast: fast.predict(p.queries),
            "leave-one-out": lambda fast=fast: fast.predict(None),
        }
        seconds = time_interleaved(calls, repeats)
        error = np.abs(fast.predict(few) - dense.predict(few)).max() / np.ptp(problem.targets)
        print(
            f"n = m = {n:<8.0e} {seconds['sorted']:9.4f} {seconds['sorted'] / seconds['argsorts']:13.2f} "
            f"{seconds['dense'] * n / len(few) / seconds['sorted']:8.0f} "
            f"{seconds['leave-one-out'] / seconds['predict']:14.2f} {error:9.1e}",
            flush=True,
        )


def measure_memory():
    """Peak MiB of a process that fits and predicts n = m = 1e5 in 3 features, data and libraries included (Linux)."""
    scikit_nw(make_problem(3, n=100_000, m=100_000))
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024


def print_empty_queries():
    """How many queries a compact kernel leaves without a neighbour at Silverman's bandwidth."""
    for n_features in (5, 10, 20):
        problem = make_problem(n_features, kernel="epanechnikov", n=1000, m=5000)
        model = NadarayaWatsonRegressor(kernel=problem.kernel, empty="nan").fit(problem.keys, problem.targets)
        share = np.isnan(model.predict(problem.queries)).mean()
        print(f"epanechnikov, n = 1000, d = {n_features}: {share:.0%} of queries have no neighbour")


def print_machine():
    versions = ", ".join(f"{module.__name__} {module.__version__}" for module in (np, scipy, sklearn, joblib))
    print(
        f"{platform.machine()}, {joblib.cpu_count()} cores; Python {platform.python_version()}, {versions}; one thread"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=11, help="rounds of timing (default 11)")
    parser.add_argument(
        "--memory", action="store_true", help="only print the peak memory of n = m = 1e5, d = 3, in MiB"
    )
    arguments = parser.parse_args()
    with threadpool_limits(1):
        if arguments.memory:
            print(f"{measure_memory():.0f}")
            return
        print_machine()
        problems = {name: make_problem(*problem) for name, problem in PROBLEMS.items()}
        compare_kernels({name: p for name, p in problems.items() if p.keys.shape[1] <= 10}, arguments.repeats)
        compare_contenders(problems, arguments.repeats)
        memory = subprocess.run([sys.executable, __file__, "--memory"], capture_output=True, text=True, check=True)
        for kernel in ("gaussian", "exponential"):
            compare_sizes(kernel, arguments.repeats)
        print()
        print_empty_queries()
        print(f"\npeak memory, n = m = 1e5, d = 3: {memory.stdout.strip()} MiB for the whole process")


if __name__ == "__main__":
    main()
