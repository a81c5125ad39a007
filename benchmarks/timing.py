"""Processor time in interleaved rounds, one thread. What is slow is timed on few queries and extrapolated."""

import time
from math import ceil

import numpy as np
from threadpoolctl import threadpool_limits

BUDGETS = {"pairs": (0.25, 0), "linear": (8.0, 1 / 64)}
"""By how the time of a call grows: the most seconds of a call, and the share of queries to begin with."""

ALLOTMENT = 0.5
"""Seconds after which a call takes part in no round beyond the fewest."""


def time_call(call, *arguments):
    """Seconds of processor time that a call takes, with one BLAS and OpenMP thread; others may use the machine too."""
    with threadpool_limits(1):
        start = time.process_time()
        call(*arguments)
        return time.process_time() - start


def time_prediction(predict, problem, m):
    """Seconds for all queries of a problem, from m of them: along the line through m / 8 and m if those are not all."""
    large = time_call(predict, problem.first(m))
    rest = len(problem.queries) - m
    if rest == 0:
        return large
    small = time_call(predict, problem.first(m // 8))
    return large + max(large - small, 0) / (m - m // 8) * rest


def cut_queries(predict, problem, cost="pairs"):
    """How many queries to time: as many as take the budget for a cost beyond what one query takes; warms up first."""
    m = len(problem.queries)
    predict(problem.first(1))
    budget, part = BUDGETS[cost]
    one, count = time_call(predict, problem.first(1)), min(max(8, ceil(m * part)), m)
    while count < m and time_call(predict, problem.first(count)) - one < budget / 4:
        count = min(4 * count, m)
    return count


def time_interleaved(measures, rounds, fewest=3, allotment=ALLOTMENT):
    """Seconds from each measure (a dict by name) in up to `rounds` rounds of one call each; the slow drop out first."""
    seconds, spent = {name: [] for name in measures}, dict.fromkeys(measures, 0.0)
    for _ in range(rounds):
        for name, measure in measures.items():
            if len(seconds[name]) < fewest or spent[name] < allotment:
                start = time.perf_counter()
                seconds[name].append(measure())
                spent[name] += time.perf_counter() - start
    return {name: np.array(values) for name, values in seconds.items()}


def ratio(seconds, others):
    """The median over common rounds of how many times longer one took than the other."""
    rounds = min(len(seconds), len(others))
    return float(np.median(seconds[:rounds] / others[:rounds]))
