"""Compare this checkout with an earlier one: results, and processor time in interleaved rounds.

Each version runs in a process of its own, with one thread, and gets the same problems through a pipe.
"""

import os
import pickle
import subprocess
import sys
import time
import warnings
from functools import partial
from itertools import chain, product
from pathlib import Path

import numpy as np
from problems import PROBLEMS, make_problem, random_problem
from threadpoolctl import threadpool_limits
from timing import ratio, time_interleaved

MOST_KEYS, MOST_QUERIES, LEARNED_KEYS = 12_000, 5000, 400
"""Up to which sizes results are compared: with a given bandwidth, and with a learned one."""

FEW_KEYS = 300
"""Up to so many keys all of their attention is compared."""

BLOCK_QUERIES = 4100
"""Enough queries for "blocks" to use its blocks with few keys."""

SHORTEST, ALLOTMENT = 0.02, 1.0
"""Seconds: a call is repeated to take the first; after the second only the fewest rounds are completed."""


def start(path):
    """The checkout at `path` at work: a process that calls functions of this module with its own `sknw`."""
    path = Path(path).resolve()
    if not (path / "sknw" / "__init__.py").exists():
        raise ValueError(f"{path} holds no package sknw")
    environment = os.environ | {"PYTHONPATH": f"{path}{os.pathsep}{Path(__file__).resolve().parent}"}
    command = [sys.executable, "-P", "-c", "import versions; versions.serve()"]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def send(version, function, *arguments):
    """Begin a call in the process of a version."""
    pickle.dump((function, arguments), version.stdin)
    version.stdin.flush()


def ask(version, function, *arguments):
    """The result of a call in the process of a version."""
    send(version, function, *arguments)
    return pickle.load(version.stdout)


def serve():
    """Do the calls that come through the standard input, until it ends."""
    results, sys.stdout = sys.stdout.buffer, sys.stderr
    warnings.simplefilter("ignore")
    with threadpool_limits(1):
        while sys.stdin.buffer.peek(1):
            function, arguments = pickle.load(sys.stdin.buffer)
            pickle.dump(function(*arguments), results)
            results.flush()


# Results.


RESULTS = {
    "predictions": lambda problem, model: problem.predict(model),
    "leave-one-out": lambda problem, model: problem._replace(queries=None).predict(model),
    "attention": lambda problem, model: model.attention_weights(problem.queries[:30]),
    "attention, leave-one-out": lambda problem, model: model.attention_weights(),
    "bandwidths": lambda problem, model: np.append(model.bandwidth_, model.loo_loss_),
}
"""What is compared: functions of a problem and a model; the last for bandwidths that are learned."""


def answer(problem):
    """The results of a problem, by (kind, algorithm); where the package refuses, the name of the error."""
    results, kinds = {}, list(RESULTS)[: 4 if len(problem.keys) <= FEW_KEYS else 3]
    if isinstance(problem.bandwidth, str):
        kinds = ["bandwidths"]
    for algorithm, kind in product(["auto", *problem.algorithms()], kinds):
        try:
            results[kind, algorithm] = RESULTS[kind](problem, problem.fit(algorithm))
        except ValueError as error:
            results[kind, algorithm] = type(error).__name__
    return results


def named_problems():
    """(name, problem): the named problems, with fewer points, and with learned bandwidths."""
    for name, sizes in PROBLEMS.items():
        problem = make_problem(**sizes | {"n": min(sizes["n"], MOST_KEYS), "m": min(sizes["m"], MOST_QUERIES)})
        yield name, problem
        few = problem._replace(keys=problem.keys[:LEARNED_KEYS], targets=problem.targets[:LEARNED_KEYS])
        yield from ((f"{name} {learned}", few._replace(bandwidth=learned)) for learned in ("loo", "loo_ard"))


def varied_problem(seed):
    """A random problem of any size, with several outputs, with classes, or with a bandwidth that is learned."""
    rng = np.random.default_rng(seed)
    is_learned = rng.random() < 1 / 8
    n = int(rng.choice([rng.integers(2, 3001), 2 * 1500 ** rng.random()]))
    n, d = min(n, LEARNED_KEYS) if is_learned else n, int(rng.choice([1, 1, 2, 2, *range(1, 13)]))
    problem = random_problem(rng, n, d, BLOCK_QUERIES if rng.random() < 0.2 else int(rng.integers(1, 200)))
    kind, targets = rng.choice(["one", "several", "classes"]), problem.targets
    if kind == "several":
        targets = np.column_stack([targets, 1e3 * rng.normal(size=n), np.arange(n)])
    elif kind == "classes":
        targets = np.searchsorted(np.quantile(targets, [0.2, 0.5, 0.9]), targets)
    bandwidth = str(rng.choice(["loo", "loo_ard"])) if is_learned else problem.bandwidth
    empty, tol = str(rng.choice(["nearest", "mean", "nan", "raise"])), float(rng.choice([0, 1e-10, 1e-6]))
    return problem._replace(targets=targets, is_classes=kind == "classes", bandwidth=bandwidth, empty=empty, tol=tol)


def difference(kind, problem, before, after):
    """How far a result is from the one before, in its kind's unit; inf where only one of them is a number."""
    if isinstance(before, str) or isinstance(after, str):
        return 0.0 if np.array_equal(before, after) else np.inf
    scale = np.abs(before)
    if kind != "bandwidths":
        scale = 1.0 if problem.is_classes or "attention" in kind else np.ptp(problem.targets, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        off = np.abs(after - before) / np.where(scale == 0, 1, scale)
    off = np.where((before == after) | (np.isnan(before) & np.isnan(after)), 0, off)
    return float(np.nan_to_num(off, nan=np.inf).max(initial=0))


def compare_results(before, after, n_random, only=""):
    """Rows: by kind of result, the largest difference between two versions, and how many are above the bound."""
    found = {kind: {} for kind in RESULTS}
    for name, problem in chain(named_problems(), ((f"random {i}", varied_problem(i)) for i in range(n_random))):
        if only in name:
            send(before, answer, problem)
            new, old = ask(after, answer, problem), pickle.load(before.stdout)
            for kind, algorithm in old:
                off = difference(kind, problem, old[kind, algorithm], new[kind, algorithm])
                found[kind][f"{name}, {algorithm}"] = off
    for kind, differences in found.items():
        bound, worst = 1e-9 if kind == "bandwidths" else 1e-12, max(differences, key=differences.get, default=None)
        row = {"result": kind, "compared": len(differences), "error": differences.get(worst, 0.0), "bound": bound}
        row["above the bound"] = sum(off > bound for off in differences.values())
        yield row | {"largest at": worst if row["error"] else None}


# Times.


ACTIONS = {
    "fit": lambda problem, model: problem.fit().predict(problem.queries[:1]),  # with what waits for the first query
    "predict": lambda problem, model: model.predict(problem.queries),
    "predict(None)": lambda problem, model: model.predict(None),
    "one query": lambda problem, model: [model.predict(query[None]) for query in problem.queries[:100]],
    "attention": lambda problem, model: model.attention_weights(problem.queries),
}

TIMED = {
    "dense": [(3, 3000, kernel) for kernel in ("gaussian", "epanechnikov", "boxcar", "exponential", "custom")]
    + [(30, 3000, "gaussian"), (64, 3000, "gaussian")],
    "sorted": [(1, 10**5, kernel) for kernel in ("gaussian", "exponential", "epanechnikov", "tricube")],
    "grid": [(2, 10**5, "gaussian"), (3, 10**5, "gaussian")],
    "blocks": [(3, 5 * 10**4, "gaussian"), (3, 5 * 10**4, "epanechnikov")],
    "average": [(3, 10**5, "constant")],
}
"""By engine: d, n = m, and the kernel of what is timed."""

LEARNED = ((3, 500, 1), (8, 2000, 1), (64, 1797, 10), (2, 20_000, 1), (1, 100_000, 1))
"""d, n, and the number of classes of fits that learn a bandwidth; with one class, a regression."""

PREPARED = {}
"""The problem that is timed, and its model."""


def prepare(problem):
    """Take a problem to time."""
    PREPARED.update(problem=problem, model=problem.fit())


def time_action(action, repeats=1):
    """Processor time of an action on the problem: of one call, among as many as take long enough."""
    start = time.process_time()
    for _ in range(repeats):
        ACTIONS[action](**PREPARED)
    spent = time.process_time() - start
    is_long = repeats > 1 or spent > SHORTEST
    return spent / repeats if is_long else time_action(action, 2 + int(SHORTEST / max(spent, 1e-5)))


def learn(problem):
    """Seconds of processor time to fit a problem, and the bandwidths, (1 + n_features,)."""
    start = time.process_time()
    model = problem.fit()
    return np.append(time.process_time() - start, model.bandwidth_)


def timed_problems():
    """(name, problem, action): what is timed."""
    for engine, (d, n, kernel) in ((engine, size) for engine, sizes in TIMED.items() for size in sizes):
        problem = make_problem(d, n, n, kernel=kernel)
        for action in ACTIONS if engine == "dense" else list(ACTIONS)[:-1]:
            yield f"{engine} {kernel} n={n} d={d}: {action}", problem, action
    rough, equal = make_problem(10, 3000, 3000)._replace(tol=1e-5), make_problem(3, 10**4, 10**4, "lattice")
    others = {"dense gaussian n=3000 d=10 tol=1e-5": rough, "equal rows gaussian n=10000 d=3": equal}
    for (name, problem), action in product(others.items(), list(ACTIONS)[:-1]):
        yield f"{name}: {action}", problem, action
    for (d, n, n_classes), bandwidth in product(LEARNED, ("loo", "loo_ard")):
        problem = make_problem(d, n, 1)._replace(bandwidth=bandwidth, is_classes=n_classes > 1)
        if n_classes > 1:
            problem = problem._replace(targets=n_classes * np.argsort(np.argsort(problem.targets)) // n)
        yield f"{bandwidth} n={n} d={d} classes={n_classes}: fit", problem, "fit"


def compare_times(before, after, rounds, only=""):
    """Rows: by case, processor time before, one thread, and the median over rounds of the ratio of both versions."""
    ratios = {}
    for name, problem, action in timed_problems():
        if only in name:
            for version in (before, after):
                ask(version, prepare, problem)
            measures = {version: partial(ask, version, time_action, action) for version in (before, after)}
            seconds = time_interleaved(measures, rounds, fewest=5, allotment=ALLOTMENT)
            ratios[name] = ratio(seconds[after], seconds[before])
            yield {"case": name, "seconds before": np.median(seconds[before]), "after / before": ratios[name]}
    if ratios:
        worst, mean = max(ratios, key=ratios.get), np.exp(np.mean(np.log(list(ratios.values()))))
        yield {"case": f"worst: {worst}", "after / before": ratios[worst]}
        yield {"case": f"geometric mean of {len(ratios)}", "after / before": mean}
