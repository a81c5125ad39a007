"""The tables: generators of rows, which are dicts by column. An error must not exceed the `bound` beside it."""

from collections import defaultdict
from functools import partial
from itertools import chain, product

import numpy as np
from contenders import LINES, PEERS, contenders, define, disagreement, softmax
from distribution_times import compare_methods
from learning_peers import CHOICES, can_learn
from mixed_times import compare_peer, compare_table_times
from problems import FUNCTIONS, ONE_SIZE, PROBLEMS, Draw, draw_problems, make_problem, make_sample
from speed import SPEED
from timing import cut_queries, ratio, time_call, time_interleaved, time_prediction

TOL = 1e-10
"""What every engine promises: the default of `tol`."""

CHECKED_PAIRS, CHECKED_QUERIES, FAR_QUERIES = 2e8, 2000, 16
"""The definition is computed for so many pairs, or queries, of a problem; and for so many queries farthest out."""

FAILURES = (ImportError, RuntimeError, ValueError, MemoryError)
"""What a peer may raise where a problem is beyond it."""


# Contenders.


def time_contenders(problem, rows, rounds):
    """By name of a contender, for those that manage: how many queries are timed, the predictions of these and of those
    farthest out; and seconds for all.
    """
    found, far = {}, problem.farthest(FAR_QUERIES)
    for name, contender in rows.items():
        try:
            m = cut_queries(contender.predict, problem, contender.cost)
            found[name] = m, contender.predict(problem.first(m)), contender.predict(far)
        except FAILURES:
            if name not in PEERS:
                raise
    measures = {name: partial(time_prediction, rows[name].predict, problem, m) for name, (m, *_) in found.items()}
    return found, time_interleaved(measures, rounds)


def compare_contenders(only, rounds):
    """All contenders on all problems: errors, and seconds for fit and predict."""
    for name, problem in ((name, make_problem(**sizes)) for name, sizes in PROBLEMS.items() if only in name):
        found, seconds = time_contenders(problem, contenders(problem), rounds)
        means = define(problem.first(int(min(CHECKED_QUERIES, CHECKED_PAIRS // len(problem.keys)))))
        far_means = define(problem.farthest(FAR_QUERIES))
        for contender, (m, prediction, far_prediction) in found.items():
            error, _ = disagreement(problem, prediction, means)
            far_error, unanswered = disagreement(problem, far_prediction, far_means)
            row = {"problem": name, "contender": contender, "error": error, "far error": far_error}
            row |= {"bound": None if contender in PEERS else TOL, "no answer": unanswered, "timed": m}
            row |= {f"x {own}": ratio(seconds[contender], seconds[own]) for own in ("dense", "auto")}
            yield row | {"seconds": np.median(seconds[contender])}


def compare_costs(only, rounds):
    """Contenders with the Gaussian kernel: seconds for fit and predict, by n = m."""
    for d, n in product((1, 2), (10**3, 10**4, 10**5, 10**6)):
        problem = make_problem(d, n, n)
        rows = {name: row for name, row in contenders(problem).items() if name in LINES and only in name}
        for name, seconds in time_contenders(problem, rows, rounds)[1].items():
            yield {"features": d, "n": n, "contender": name, "seconds": np.median(seconds)}


def compare_kernels(only, rounds):
    """This package's kernels: seconds for fit and predict, and how far attention times values is from predictions."""
    problems = {name: make_problem(**sizes) for name, sizes in ONE_SIZE.items() if sizes["n_features"] <= 10}
    calls = {name: partial(time_call, lambda p: p.predict(p.fit()), problem) for name, problem in problems.items()}
    seconds = time_interleaved(calls, rounds)
    for name, problem in problems.items():
        model, queries = problem.fit(), problem.queries[:500]
        pooled = model.attention_weights(queries) @ model.values_[:, 0]
        relative = ratio(seconds[name], seconds[f"gaussian {name.split()[1]}"])
        error = np.abs(pooled - model.predict(queries)).max() / np.ptp(problem.targets)
        row = {"problem": name, "seconds": np.median(seconds[name]), "x gaussian": relative}
        yield row | {"error": error, "bound": TOL}


# Learners.


def compare_learners(data, learners, rounds):
    """Rows from (name, splits): losses at rows that `fit` has not seen, in those of "loo", and seconds to fit."""
    for name, splits in data:
        losses, expected, seconds = defaultdict(list), defaultdict(list), defaultdict(list)
        for X, y, X_test, y_test in splits:
            models = {learner: make() for learner, make in learners.items() if can_learn(learner, X)}
            calls = {learner: partial(time_call, model.fit, X, y) for learner, model in models.items()}
            for learner, times in time_interleaved(calls, rounds, fewest=1).items():
                seconds[learner].append(np.median(times))
                losses[learner].append(np.mean(np.square(models[learner].predict(X_test) - y_test)))
                expected[learner].append(getattr(models[learner], "loo_loss_", np.nan))
        loss = {learner: np.mean(values) for learner, values in losses.items()}
        row = {"data": name, "n": len(X), "features": X.shape[1]}
        row |= {f"{learner} / loo": loss[learner] / loss["loo"] for learner in loss if learner != "loo"}
        row |= {f"{own} seen / expected": loss[own] / np.mean(expected[own]) for own in ("loo", "loo_ard")}
        yield row | {f"{learner}, seconds": np.mean(times) for learner, times in seconds.items()}


def compare_choices(only, rounds):
    """Ways to choose bandwidths, on problems of which 4,000 more rows are held out."""
    draws = [Draw("additive", d, d, n) for n, d in ((300, 1), (2000, 1), (2000, 3), (10**4, 2), (10**5, 1), (10**6, 1))]
    draws += [Draw(name, 3, k, 300, seed=seed) for k in (3, 2, 1) for seed, name in enumerate(FUNCTIONS)]
    data = ((str(draw), [make_sample(draw)]) for draw in chain(draws, draw_problems()) if only in str(draw))
    return compare_learners(data, CHOICES, rounds)


# Corners.


def compare_many_features(rounds):
    """Predictions with keys far from the queries, as in many features, against a softmax of numpy."""
    for d, factor in product((20, 64, 200, 784), (1.0, 0.7, 0.3, 0.15)):
        problem = make_problem(d, 2000, 200, factor=factor)
        model, exact = problem.fit(), problem._replace(tol=0).fit()
        error, _ = disagreement(problem, problem.predict(model), problem.predict(exact))
        row = {"corner": f"predict, d={d}, {factor}h, beside a softmax", "error": error, "bound": TOL}
        times = compare_calls(partial(problem.predict, model), partial(softmax, problem), rounds)
        yield row | {"times as long": times}


def compare_fits(rounds):
    """The cost of the default bandwidth; and how many queries a compact kernel leaves without a neighbour."""
    for n, d in ((10**6, 1), (2 * 10**4, 30), (5000, 784)):
        problem = make_problem(d, n, 1)
        times = compare_calls(problem._replace(bandwidth="silverman").fit, problem.fit, rounds)
        yield {"corner": f"fit, n={n}, d={d}, beside a given bandwidth", "times as long": times}
    for d in (5, 10, 20):
        problem = make_problem(d, 1000, 5000, kernel="epanechnikov")._replace(empty="nan")
        share = np.isnan(problem.predict(problem.fit())).mean()
        yield {"corner": f"epanechnikov, n=1000, d={d}", "without a neighbour": share}


def compare_calls(call, other, rounds):
    """How many times longer one call takes than the other."""
    seconds = time_interleaved({each: partial(time_call, each) for each in (call, other)}, rounds)
    return ratio(seconds[call], seconds[other])


def compare_corners(only, rounds):
    """Rows far from all keys, the cost of a default, and queries without a neighbour."""
    return (row for row in chain(compare_many_features(rounds), compare_fits(rounds)) if only in row["corner"])


TABLES = {
    "problems": compare_contenders,
    "costs": compare_costs,
    "kernels": compare_kernels,
    "learning": compare_choices,
    "corners": compare_corners,
    "distribution_times": compare_methods,
    "tables_peer": compare_peer,
    "tables_times": compare_table_times,
    **SPEED,
}
"""Functions of a part of a row's name, and the most rounds of timing, that yield rows."""
