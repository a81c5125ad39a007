"""Corners: gaps between keys, rows far from all keys in many features, many classes, and the cost of a default."""

import tracemalloc
from functools import partial

import mpmath
import numpy as np
from bars import print_bar
from fuzz import LOGS
from problems import PROBLEMS, make_problem
from timing import cut_queries, ratio, time_call, time_interleaved, time_prediction

import sknw
from sknw import NadarayaWatsonClassifier, NadarayaWatsonRegressor

DIMENSIONS, MULTIPLES = (20, 64, 200, 784), (1.0, 0.7, 0.3, 0.15)

FIT_SIZES = {(10**6, 1): 1.3, (2 * 10**4, 30): 2.0, (5000, 784): 2.0}
"""Sizes (n, d), and the bars of the time of `fit` with a default over that with a given bandwidth."""

KERNELS_IN_ONE_FEATURE = ("gaussian", "logistic")


def exact_gaps(kernel, keys, values, queries, h):
    """The definition in 60 digits, from the keys that have weight."""
    pooled = []
    with mpmath.workdps(60):
        for q in queries.tolist():
            logs = [LOGS[kernel](((mpmath.mpf(q) - mpmath.mpf(x)) / mpmath.mpf(h)) ** 2) for x in keys.tolist()]
            most = max(logs)
            weights = [mpmath.exp(value - most) for value in logs]
            pooled.append(float(mpmath.fdot(weights, map(mpmath.mpf, values.tolist())) / mpmath.fsum(weights)))
    return np.array(pooled)


def print_gaps(seeds=(1, 2, 3)):
    """Errors at queries in the middle of a gap of 1 to 1e8 bandwidths."""
    for kernel in KERNELS_IN_ONE_FEATURE:
        for tol in (1e-6, 1e-10, 1e-12):
            worst = 0.0
            for seed in seeds:
                for gap in 10.0 ** np.arange(9):
                    rng = np.random.default_rng(seed)
                    keys, values = np.sort(rng.normal(size=60)) + rng.normal(), rng.normal(size=60)
                    keys[30:] += 1e4
                    low, high = keys[29:31]
                    h = (high - low) / gap
                    step = h / gap if kernel == "gaussian" else h
                    queries = (low + high) / 2 + step * np.linspace(-3, 3, 11)
                    exact = exact_gaps(kernel, keys, values, queries, h)
                    model = NadarayaWatsonRegressor(h, kernel=kernel, tol=tol, algorithm="sorted")
                    found = model.fit(keys[:, None], values).predict(queries[:, None])
                    worst = max(worst, np.abs(found - exact).max() / np.ptp(values))
            print_bar(f"{kernel}, gaps of 1 to 1e8 bandwidths, tol {tol:.0e}: error", "<=", tol, worst, ".1e")


def softmax(keys, targets, queries, h, step=64):
    """A Gaussian of bandwidths h by four lines of numpy, with the largest exponent of a row taken off."""
    keys, queries = keys / h, queries / h
    norms = np.square(keys).sum(axis=1) / 2
    pooled = []
    for start in range(0, len(queries), step):
        weights = queries[start : start + step] @ keys.T - norms
        weights -= weights.max(axis=1, keepdims=True)
        np.exp(weights, out=weights)
        pooled.append(weights @ targets / weights.sum(axis=1))
    return np.concatenate(pooled)


def _draw(d, n=2000, m=200):
    rng = np.random.default_rng(d)
    X, queries = rng.normal(size=(n, d)), rng.normal(size=(m, d))
    return X, X[:, 0] + rng.normal(size=n), queries


def print_cliff(rounds):
    """Predictions in many features against a softmax, and each other."""
    worst = 0.0
    for d in DIMENSIONS:
        X, y, queries = _draw(d)
        silverman = NadarayaWatsonRegressor().fit(X, y).bandwidth_
        for multiple in MULTIPLES:
            h = multiple * silverman
            model = NadarayaWatsonRegressor(h).fit(X, y)
            exact = NadarayaWatsonRegressor(h, tol=0).fit(X, y).predict(queries)
            measures = {
                "sknw": partial(time_call, model.predict, queries),
                "softmax": partial(time_call, softmax, X, y, queries, h),
            }
            seconds = time_interleaved(measures, rounds)
            times, error = ratio(seconds["sknw"], seconds["softmax"]), np.abs(model.predict(queries) - exact).max()
            print(f"gaussian d={d} {multiple} of Silverman's: {times:.2f} of a softmax, error {error / np.ptp(y):.0e}")
            worst = max(worst, times)
    print_bar("predict, gaussian, 4 dimensions x 4 bandwidths: time / softmax, worst", "<=", 1.3, worst)
    for kernel in ("exponential", "logistic"):
        X, y, queries = _draw(784)
        measures = {}
        for multiple in (1, 4):
            h = multiple * NadarayaWatsonRegressor(kernel=kernel).fit(X, y).bandwidth_
            model = NadarayaWatsonRegressor(h, kernel=kernel).fit(X, y)
            measures[multiple] = partial(time_call, model.predict, queries)
        seconds = time_interleaved(measures, rounds)
        print_bar(f"predict, {kernel}, d = 784: time / that at 4 h", "<=", 3, ratio(seconds[1], seconds[4]))


def print_leave_one_out(rounds):
    """A pass at a quarter of Silverman's bandwidth against one at Silverman's."""
    for kernel in ("gaussian", "exponential", "logistic"):
        worst = 0.0
        for d in (20, 64, 200):
            X, y, _ = _draw(d, 1000)
            h, measures = NadarayaWatsonRegressor(kernel=kernel).fit(X, y).bandwidth_, {}
            for multiple in (1, 0.25):
                model = NadarayaWatsonRegressor(multiple * h, kernel=kernel).fit(X, y)
                measures[multiple] = partial(time_call, model.predict, None)
            seconds = time_interleaved(measures, rounds)
            worst = max(worst, ratio(seconds[0.25], seconds[1]))
        print_bar(f"leave-one-out, {kernel}, d = 20, 64, 200: time at h / 4 over h, worst", "<=", 2.5, worst)


def print_fit(rounds):
    """`fit` with the default bandwidth against a given one."""
    for (n, d), bar in FIT_SIZES.items():
        X, y, _ = _draw(d, n, 1)
        h = NadarayaWatsonRegressor().fit(X, y).bandwidth_
        measures = {
            name: partial(time_call, NadarayaWatsonRegressor(b).fit, X, y) for name, b in (("d", "silverman"), ("h", h))
        }
        seconds = time_interleaved(measures, rounds, 5.0)
        print_bar(
            f"fit, n = {n:,}, d = {d}: time / that with a bandwidth", "<=", bar, ratio(seconds["d"], seconds["h"])
        )


def print_classes():
    """Memory of `fit` with many classes."""
    for n, n_classes in ((10**5, 300), (10**6, 100)):
        for d in (1, 2, 3, 10):
            rng = np.random.default_rng(d)
            X, y = rng.normal(size=(n, d)), rng.integers(0, n_classes, size=n)
            tracemalloc.start()
            model = NadarayaWatsonClassifier().fit(X, y)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            what = f"fit, {n:.0e} rows x {n_classes} classes, d = {d} ({model.algorithm_}): peak "
            if n == 10**5:
                print_bar(what + "/ one-hot matrix", "<=", 2, peak / (8 * n * n_classes))
            else:
                print_bar(what + "GiB", "<=", 4, peak / 2**30)


def compare_problems(before, rounds):
    """`fit` and predictions of all problems, and leave-one-out of the small ones, against another version."""
    ratios = {}
    for name, row in PROBLEMS.items():
        problem = make_problem(*row)
        measures = {}
        for package in (sknw, before):
            predict = partial(_fit_predict, package)
            measures[package] = partial(time_prediction, predict, problem, cut_queries(predict, problem))
        seconds = time_interleaved(measures, rounds)
        ratios[name] = ratio(seconds[sknw], seconds[before])
        print(f"{name:<45} {ratios[name]:.2f} of the time before", flush=True)
    mean = np.exp(np.mean(np.log(list(ratios.values()))))
    print_bar(f"fit and predict, {len(ratios)} problems: time / before, geometric mean", "<=", 1.05, mean)


def _fit_predict(package, problem):
    model = package.NadarayaWatsonRegressor(problem.bandwidth, kernel=problem.kernel)
    return model.fit(problem.keys, problem.targets).predict(problem.queries)


def print_corners(rounds):
    """All of the corners."""
    print(f"\n{'what':<72} | bar      | measured")
    print_gaps()
    print_cliff(rounds)
    print_leave_one_out(rounds)
    print_fit(rounds)
    print_classes()
