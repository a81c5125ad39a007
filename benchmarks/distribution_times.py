"""What predictions beyond the mean cost: processor time and memory of each method, beside `predict`."""

from functools import partial
from typing import NamedTuple

import numpy as np
from memory import trace
from problems import make_problem
from timing import cut_queries, ratio, time_call, time_interleaved, time_prediction

MEDIAN, ROWS = "predict_quantiles, median", "median of attention rows"
"""The names of a median, and of what it is compared with."""

METHODS = {
    "predict": lambda model, X: model.predict(X),
    "predict, with std": lambda model, X: model.predict(X, return_std=True),
    "predict_interval": lambda model, X: model.predict_interval(X, coverage=0.9),
    "standard_error": lambda model, X: model.standard_error(X),
    "effective_neighbors": lambda model, X: model.effective_neighbors(X),
    "score_samples": lambda model, X: model.score_samples(X),
    MEDIAN: lambda model, X: model.predict_quantiles(X, [0.5]),
    "predict_cdf, 10 thresholds": lambda model, X: model.predict_cdf(X, np.linspace(-1, 1, 10)),
    "sample_y": lambda model, X: model.sample_y(X),
    "gradients": lambda model, X: model.gradients(X),
}
"""What is called with a fitted model and queries."""


class Size(NamedTuple):
    """n = m, the number of features, an algorithm, and what is called."""

    n: int
    n_features: int
    algorithm: str = "auto"
    methods: tuple = tuple(METHODS)


SIZES = (
    Size(10**5, 1),
    Size(10**5, 2),
    Size(10**6, 1, methods=("predict", "predict_interval")),
    Size(10**4, 3, "dense", ("predict", "predict_interval", MEDIAN)),
)


def attention_medians(model, problem, block=2**22):
    """Medians of the targets from rows of attention, in the order of the targets, and their cumulated sums."""
    order = np.argsort(model.values_[:, 0], kind="stable")
    ordered, step, medians = model.values_[order, 0], max(1, block // len(order)), []
    for start in range(0, len(problem.queries), step):
        shares = np.cumsum(model.attention_weights(problem.queries[start : start + step])[:, order], axis=1)
        medians.append(ordered[np.argmax(shares >= 0.5 - 1e-12, axis=1)])
    return np.concatenate(medians)


def time_first(problem, algorithm, method):
    """Seconds of processor time of the first call after `fit`."""
    return time_call(method, problem.fit(algorithm), problem.queries)


def peak_memory(call, *arguments):
    """MiB that a call allocates through Python and numpy at its peak, besides what it returns."""
    result, _, peak = trace(call, *arguments)
    returned = result if isinstance(result, tuple) else (result,)
    return (peak - sum(array.nbytes for array in returned)) / 2**20


def measure_methods(problem, size, rounds):
    """Seconds of first and of later calls, and peaks of memory, by what is called."""
    measures, memory = {}, {}
    for name in size.methods:
        model = problem.fit(size.algorithm)
        first, later = (peak_memory(METHODS[name], model, problem.queries) for _ in range(2))
        memory[name] = {"first call, MiB": first, "MiB": later}
        measures[name] = partial(time_call, METHODS[name], model, problem.queries)
        measures[f"first {name}"] = partial(time_first, problem, size.algorithm, METHODS[name])
    if MEDIAN in size.methods:
        medians = partial(attention_medians, model)
        measures[ROWS] = partial(time_prediction, medians, problem, cut_queries(medians, problem))
    return time_interleaved(measures, rounds), memory


def compare_methods(only, rounds):
    """Each method at each size: seconds, also in those of `predict` and for the first call, and memory."""
    for size in SIZES:
        label = f"n={size.n} d={size.n_features} {size.algorithm}"
        if only not in label:
            continue
        problem = make_problem(size.n_features, size.n, size.n)
        seconds, memory = measure_methods(problem, size, rounds)
        for name in (name for name in seconds if not name.startswith("first ")):
            row = {"problem": label, "method": name, "x predict": ratio(seconds[name], seconds["predict"])}
            if name in memory:
                row["first call, x predict"] = ratio(seconds[f"first {name}"], seconds["predict"])
            elif name == ROWS:
                row["x median"] = ratio(seconds[name], seconds[MEDIAN])
            yield row | {"seconds": np.median(seconds[name])} | memory.get(name, {})
