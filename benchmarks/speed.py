"""What the fast ways of this package cost: beside sorting, compiled peers, its other engines, and data that they do not
apply to.
"""

from functools import partial
from itertools import product
from unittest.mock import patch

import numpy as np
from contenders import COMPACT, PEERS, define, disagreement, nonuniform_fft, own_contenders, predict_own
from memory import trace
from problems import LEVELS, make_problem
from sklearn.neighbors import KNeighborsRegressor
from timing import cut_queries, ratio, time_call, time_interleaved, time_prediction
from versions import ask, learn

from sknw import NadarayaWatsonRegressor
from sknw._engines.pooler import Pooler

FAR, CHECKED_PAIRS = 16, 2e8
"""Queries farthest out whose errors are looked at apart, and pairs for which the definition is computed."""

ROUNDS = 5
"""The fewest rounds of timing, if as many are allowed."""


def compare(calls, rounds):
    """Seconds in interleaved rounds, of partial functions by name."""
    measures = {name: partial(time_call, call) for name, call in calls.items()}
    return time_interleaved(measures, rounds, fewest=ROUNDS)


def describe_errors(problem, prediction, means):
    """Errors of the first queries of a problem, of which the farthest ones come first; and the share without answer."""
    far_error, _ = disagreement(problem, prediction[:FAR], means[:FAR])
    error, _ = disagreement(problem, prediction[FAR:], means[FAR:])
    return {"error": error, "far error": far_error, "no answer": disagreement(problem, prediction, means)[1]}


def define_first(problem):
    """The definition for the first queries, as many as are affordable."""
    return define(problem.first(max(2 * FAR, int(min(2000, CHECKED_PAIRS // len(problem.keys))))))


# One feature.


SORTS = "two argsorts"
"""The name of the unit of time."""

SORTED, SORTED_KERNELS = 10**6, ("gaussian", "exponential", "logistic", "boxcar", "epanechnikov", "tricube")
"""n = m, and kernels."""

FFT = "nonuniform_fft"
"""The name of finufft."""

SORTED_PEERS = (FFT, "fft_kde")
"""Contenders with the Gaussian."""


def sort_both(problem):
    """Stable argsorts of the training points and of the queries."""
    return [np.argsort(rows[:, 0], kind="stable") for rows in (problem.keys, problem.queries)]


def make_gaps(kernel):
    """Clusters with gaps between them; the first queries are anywhere between, and up to 20 bandwidths outside."""
    problem = make_problem(1, SORTED, SORTED, "clustered", 0.3, kernel)
    margin, m = 20 * problem.bandwidth, min(200, len(problem.queries) // 2)
    low, high = problem.keys.min(axis=0) - margin, problem.keys.max(axis=0) + margin
    anywhere = np.random.default_rng(0).uniform(low, high, size=(m, 1))
    return problem._replace(queries=np.concatenate([anywhere, problem.queries[m:]])), m


def sort_contenders(problem):
    """This package, and the peers that a problem of one feature is compared with."""
    peers = {name: PEERS[name] for name in SORTED_PEERS if problem.kernel == "gaussian"}
    return {"auto": predict_own} | {name: peer.predict for name, peer in peers.items() if peer.can_do(problem)}


def compare_sorts(only, rounds):
    """Kernels in one feature in units of two argsorts, and peers with the Gaussian; errors also in gaps."""
    kernels = [kernel for kernel in SORTED_KERNELS if only in kernel]
    problems = {kernel: make_problem(1, SORTED, SORTED, kernel=kernel).farthest_first(FAR) for kernel in kernels}
    rows = {kernel: sort_contenders(problem) for kernel, problem in problems.items()}
    calls = {(k, name): partial(call, problems[k]) for k, calls in rows.items() for name, call in calls.items()}
    seconds = compare({SORTS: partial(sort_both, make_problem(1, SORTED, SORTED))} | calls, rounds)
    for kernel, problem in problems.items():
        gaps, m = make_gaps(kernel)
        means, gap_means = define_first(problem), define(gaps.first(m))
        for name, predict in rows[kernel].items():
            times, fft = seconds[kernel, name], seconds.get((kernel, FFT))
            row = {"kernel": kernel, "contender": name, f"x {SORTS}": ratio(times, seconds[SORTS])}
            row |= {f"x {FFT}": None if fft is None else ratio(times, fft), "seconds": np.median(times)}
            row |= describe_errors(problem, predict(problem), means)
            row["gap error"], row["no answer in gaps"] = disagreement(gaps, predict(gaps), gap_means)
            yield row | {"bound": problem.tol if name == "auto" else None}


# Three features.


GRIDS = ((10**5, 1e-10), (10**5, 1e-6), (3 * 10**5, 1e-10))
"""n = m and `tol`."""

FFT_EPS = 1e-3
"""The relative accuracy that finufft is asked for, in `tol`."""

CUT = ("blocks", "dense")
"""Algorithms that are timed on part of the queries where they are slow."""


def count_timed(name, contender, problem):
    """How many queries of a problem a contender is timed on."""
    algorithm = problem.fit().algorithm_ if name == "auto" else name
    return cut_queries(contender.predict, problem, contender.cost) if algorithm in CUT else len(problem.queries)


def watch(predict, problem):
    """Predictions, the bytes allocated at the peak, and the share of queries that the first engine leaves to others."""
    left, run_engine = [], Pooler._run_engine

    def count(*arguments):
        unresolved = run_engine(*arguments)
        left.append(len(unresolved) / len(problem.queries))
        return unresolved

    with patch.object(Pooler, "_run_engine", count):
        prediction, _, peak = trace(predict, problem)
    return prediction, peak, left[0] if left else None


def grid_contenders(problem):
    """The engines of this package, and finufft."""
    peer = PEERS[FFT]._replace(predict=partial(nonuniform_fft, eps=FFT_EPS * problem.tol))
    return own_contenders(problem) | ({FFT: peer} if peer.can_do(problem) else {})


def compare_engines(problem, rounds):
    """Rows of the contenders on a problem."""
    rows = grid_contenders(problem)
    timed = {name: count_timed(name, contender, problem) for name, contender in rows.items()}
    measures = {name: partial(time_prediction, rows[name].predict, problem, m) for name, m in timed.items()}
    seconds, means = time_interleaved(measures, rounds), define_first(problem)
    best = min(rows.keys() - {"auto", FFT}, key=lambda name: np.median(seconds[name]))
    for name, m in timed.items():
        units = {"dense": "dense", "best": best} | ({FFT: FFT} if FFT in rows else {})
        row = {"contender": name, "timed": m}
        row |= {f"x {unit}": ratio(seconds[name], seconds[key]) for unit, key in units.items()}
        prediction, peak, left = watch(rows[name].predict, problem.first(m))
        row |= {"seconds": np.median(seconds[name])} | describe_errors(problem, prediction, means)
        if name != FFT:
            row |= {"bound": problem.tol, "MiB": peak / 2**20, "left to others": left}
        yield row


def compare_grids(only, rounds):
    """The Gaussian in three features, by each engine and by finufft."""
    for n, tol in GRIDS:
        label = f"n={n} tol={tol}"
        if only in label:
            problem = make_problem(3, n, n)._replace(tol=tol).farthest_first(FAR)
            yield from ({"problem": label} | row for row in compare_engines(problem, rounds))


# Lower precision.


ROUGH, TOL = 1e-5, 1e-10
"""Values of `tol`: one that allows errors of float32, and the default."""


def compare_precisions(only, rounds):
    """The dense engine at two values of `tol`."""
    for d in (3, 10, 100):
        label, problem = f"d={d}", make_problem(d, 10**4, 2000).farthest_first(FAR)
        if only not in label:
            continue
        means, problems = define_first(problem), {tol: problem._replace(tol=tol) for tol in (TOL, ROUGH)}
        seconds = compare({tol: partial(predict_own, problems[tol], "dense") for tol in problems}, rounds)
        for tol in problems:
            row = {"problem": label, "tol": tol, f"x tol={TOL}": ratio(seconds[tol], seconds[TOL])}
            row |= {"seconds": np.median(seconds[tol]), "bound": tol}
            yield row | describe_errors(problem, predict_own(problems[tol], "dense"), means)


# One row at a time.


SINGLE = 200
"""So many rows, one call for each."""

NEIGHBORS = "k_neighbors"
"""The name of scikit-learn's regressor."""

ROW_SIZES = tuple((1, n) for n in (10**3, 10**4, 10**5, 10**6)) + tuple(product((2, 3), (10**3, 10**4, 10**5)))
"""Features and n; in one feature with all kernels of bounded support, too."""


def predict_rows(model, queries):
    """One call of `predict` for each row."""
    for row in queries:
        model.predict(row[None])


def compare_rows(only, rounds):
    """Microseconds of a call with one row, beside the Gaussian and nearest neighbours."""
    for d, n in ROW_SIZES:
        label, kernels = f"d={d} n={n}", ("gaussian", *(COMPACT if d == 1 else ()))
        if only not in label:
            continue
        problem = make_problem(d, n, SINGLE)
        models = {kernel: make_problem(d, n, 1, kernel=kernel).fit() for kernel in kernels}
        models[NEIGHBORS] = KNeighborsRegressor(5).fit(problem.keys, problem.targets)
        seconds = compare({name: partial(predict_rows, models[name], problem.queries) for name in models}, rounds)
        for name in models:
            row = {"problem": label, "kernel": name, "µs": 1e6 * np.median(seconds[name]) / SINGLE}
            yield row | {f"x {unit}": ratio(seconds[name], seconds[unit]) for unit in ("gaussian", NEIGHBORS)}


# Memory.


KEPT = 10**5
"""n."""


def fit_and_predict(problem):
    """A model that has predicted."""
    model = problem.fit()
    problem.predict(model)
    return model


def compare_memory(only, rounds):
    """Bytes for each row that a model keeps besides X and y, after `fit` and after predictions."""
    for d in (1, 2, 3, 10):
        label, problem = f"d={d} n={KEPT}", make_problem(d, KEPT, 1000)
        if only in label:
            fit_and_predict(problem)  # what is imported is not counted
            kept = {"after fit": type(problem).fit, "after predict": fit_and_predict}
            yield {"problem": label} | {f"bytes {when}": trace(call, problem)[1] / KEPT for when, call in kept.items()}


# Equal rows.


EQUAL = 20_000
"""n = m."""


def predict_categories(problem):
    """This package, with the features as categories."""
    model = NadarayaWatsonRegressor(problem.bandwidth, categorical_features=list(range(problem.keys.shape[1])))
    return model.fit(problem.keys, problem.targets).predict(problem.queries)


def to_columns(problem):
    """The same as numbers: a column for each level, with 1 / h² between the squares of different ones."""

    def encode(rows):
        return 0.5**0.5 * (rows[:, :, None] == np.arange(LEVELS)).reshape(len(rows), -1)

    bandwidth = np.repeat(problem.bandwidth, LEVELS)
    return problem._replace(keys=encode(problem.keys), queries=encode(problem.queries), bandwidth=bandwidth)


def jitter(problem):
    """The same with no two rows equal."""
    rng = np.random.default_rng(0)
    keys, queries = (rows + 1e-6 * rng.normal(size=rows.shape) for rows in (problem.keys, problem.queries))
    return problem._replace(keys=keys, queries=queries)


COPIES = {
    f"three categories of {LEVELS} levels": (predict_categories, to_columns),
    f"lattice of {LEVELS}³ points": (predict_own, lambda problem: problem),
}
"""How to predict, and the problem as numbers."""


def compare_copies(only, rounds):
    """Tables of many equal rows beside the same with no two rows equal."""
    problem = make_problem(3, EQUAL, EQUAL, "lattice")
    for name in (name for name in COPIES if only in name):
        predict, as_numbers = COPIES[name]
        numbers = as_numbers(problem)
        calls = {"copies": partial(predict, problem), "jittered": partial(predict_own, jitter(numbers))}
        seconds, means = compare(calls, rounds), define_first(numbers)
        error, unanswered = disagreement(problem, predict(problem), means)
        row = {"data": name, "n": EQUAL, "x jittered": ratio(seconds["copies"], seconds["jittered"])}
        row |= {"error": error, "bound": 1e-12, "no answer": unanswered}
        yield row | {f"{key}, seconds": np.median(times) for key, times in seconds.items()}


# Learning.


LEARNED = (("loo", 1, 10**5), ("loo", 1, 10**6), ("loo_ard", 3, 10**4))
"""Bandwidth, features and n."""


def compare_learning(after, before, only, rounds):
    """Seconds to learn a bandwidth, of this checkout and of another one; None if there is none."""
    for bandwidth, d, n in LEARNED:
        label = f"{bandwidth} d={d} n={n}"
        if only not in label:
            continue
        problem = make_problem(d, n, 1)._replace(bandwidth=bandwidth)
        versions = {"after": after, "before": before} if before else {"after": after}
        measures = {name: partial(ask, version, learn, problem) for name, version in versions.items()}
        found = time_interleaved(measures, rounds)
        seconds, learned = ({name: rows[:, part] for name, rows in found.items()} for part in (0, slice(1, None)))
        row = {"problem": label, "seconds": np.median(seconds["after"])}
        if before:
            octaves = np.abs(np.log2(learned["after"][0] / learned["before"][0])).max()
            row |= {"seconds before": np.median(seconds["before"]), "octaves apart": octaves}
            row["after / before"] = ratio(seconds["after"], seconds["before"])
        yield row


SPEED = {
    "speed_sorts": compare_sorts,
    "speed_grid": compare_grids,
    "speed_precision": compare_precisions,
    "speed_rows": compare_rows,
    "speed_memory": compare_memory,
    "speed_copies": compare_copies,
}
"""Tables of the group but that of learning, as those in `tables.TABLES`."""
