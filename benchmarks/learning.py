"""Learned bandwidths: how long it takes to choose them, how good they are, and what they must reach."""

from functools import partial
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
from bars import print_bar
from contenders import chunked_cdist, scikit_nw
from learning_peers import FACTORS, FOLDS, SELECTORS, SLOW, able_selectors, learn
from learning_problems import FUNCTIONS, Draw, draw_problems, make_sample, make_smooth
from problems import make_problem
from sklearn.datasets import load_digits
from timing import cut_queries, ratio, time_call, time_interleaved, time_prediction

from sknw import NadarayaWatsonRegressor, _loo
from sknw._copies import Sample
from sknw._engines import _pulled_slopes, make_engines
from sknw._kernels import KERNELS

ALLOTMENT = 2.0
"""Seconds for the rounds of a call."""

SIZES = ((300, 1), (300, 3), (2000, 1), (2000, 3), (10_000, 2))
"""n and d of the problems for which all ways to choose a bandwidth are compared."""

PEER_DRAWS = [Draw(name, 3, k, 300, 0.3, "normal", seed) for k in (3, 2, 1) for seed, name in enumerate(FUNCTIONS)]
"""The problems of the bars against statsmodels, which takes several times longer where a feature does not matter."""

RATE_SIZES, RATE_SEEDS = (250, 1000, 4000, 16_000), 10


def loss_of(bandwidth, X, y):
    """The leave-one-out mean squared error on all rows, by this package."""
    return float(np.mean(np.square(NadarayaWatsonRegressor(bandwidth).fit(X, y).predict(None) - y)))


EVERY_ROW = {"SEARCH_PAIRS": 10**15, "FINAL_PAIRS": 10**15, "SEARCH_ROWS": 10**15}
"""Searches look at all rows, from their beginning to their end."""

FEWEST_ROWS = {"SEARCH_PAIRS": 0, "FINAL_PAIRS": 0}
"""Searches look at 1,000 rows, as they do from 1e5 training points on."""


# Selection.


def time_selection(X, y, names, rounds):
    """Seconds (rounds,), the bandwidth that some ways choose, and its loss, each by name."""
    chosen = {}

    def choose(name):
        chosen[name] = SELECTORS[name](X, y)

    measures = {name: partial(time_call, choose, name) for name in names}
    slow = {name: measures.pop(name) for name in names if name in SLOW}
    seconds = time_interleaved(measures, rounds, ALLOTMENT) | time_interleaved(slow, 1)
    return seconds, chosen, {name: loss_of(chosen[name], X, y) for name in names}


def compare_selection(sizes, rounds):
    """A table of all ways to choose; returns {size: (seconds, losses)}, both by name."""
    print(
        f"\n{'n':>6} {'d':>3} {'chosen by':<14} {'seconds':>9} {'x loo_ard':>9} {'loss':>12} {'/ least':>9}  bandwidth"
    )
    everything = {}
    for n, d in sizes:
        problem = make_problem(d, n, 1)
        seconds, chosen, losses = time_selection(problem.keys, problem.targets, able_selectors(n), rounds)
        for name, loss in losses.items():
            relative, excess = ratio(seconds[name], seconds["loo_ard"]), loss / min(losses.values())
            print(
                f"{n:>6} {d:>3} {name:<14} {np.median(seconds[name]):9.4f} {relative:9.3g} {loss:12.7f} {excess:9.5f}  "
                f"{' '.join(f'{h:.3g}' for h in chosen[name])}",
                flush=True,
            )
        everything[n, d] = seconds, losses
    return everything


def compare_peers(draws, rounds):
    """A table of statsmodels beside "loo_ard"; returns {draw: (how many times longer it takes, by what fraction the
    loss is above its)}.
    """
    names = [name for name in able_selectors(300) if name in ("loo_ard", "any_gain", "statsmodels")]
    if "statsmodels" not in names:
        return {}
    print(f"\n{'problem':<58} {'loo_ard':>8} {'statsmodels':>11} {'ratio':>6} {'loss / its - 1':>14}")
    results = {}
    for draw in draws:
        sample = make_sample(draw)
        seconds, _, losses = time_selection(sample.X, sample.y, names, rounds)
        ours, theirs = np.median(seconds["loo_ard"]), seconds["statsmodels"][0]
        excess = losses["any_gain"] / losses["statsmodels"] - 1
        results[draw] = theirs / ours, excess
        print(f"{draw!s:<58} {ours:8.4f} {theirs:11.2f} {theirs / ours:6.0f} {excess:14.1e}", flush=True)
    return results


def print_peers(results):
    """The bars against statsmodels, from the results of `compare_peers`."""
    what = "d=3 n=300 loo_ard: times statsmodels' cv_ls, median of"
    for some, which in (
        (list(results), ""),
        ([draw for draw in results if draw.n_relevant == draw.n_features], " where all features matter"),
    ):
        median = np.median([results[draw][0] for draw in some]) if some else None
        print_bar(f"{what} {len(some)}{which}", ">=", 330, median, ".0f")
    good = sum(excess <= 1e-3 for _, excess in results.values()) if results else None
    what = f"any gain: loss <= statsmodels' (1 + 1e-3), of {len(results)} on"
    print_bar(f"d=3 n=300 loo_ard, {what}", ">=", 5 * len(results) // 6, good, "d")


# Large n.


def grid_search_folds(problem):
    """The first fold of a grid search as the queries of a problem, with three of its bandwidths."""
    n = len(problem.keys) // FOLDS
    fold = problem._replace(keys=problem.keys[n:], targets=problem.targets[n:], queries=problem.keys[:n])
    return [fold._replace(bandwidth=factor * problem.bandwidth) for factor in FACTORS[[0, len(FACTORS) // 2, -1]]]


def print_one_factor(rounds, n=10**5):
    """The bars of "loo" with one feature: seconds, and against a grid search with the dense engine; n and 10 n."""
    problem, large = make_problem(1, n, 1), make_problem(1, 10 * n, 1)
    measures = {
        f"fold {i}": partial(time_prediction, scikit_nw, fold, cut_queries(scikit_nw, fold))
        for i, fold in enumerate(grid_search_folds(problem))
    }
    folds = list(measures)
    for name, data in {"loo": problem, "large": large}.items():
        measures[name] = partial(time_call, learn, "loo", data.keys, data.targets)
    seconds = time_interleaved(measures, rounds, ALLOTMENT)
    common = min(len(seconds[fold]) for fold in folds)
    grid = len(FACTORS) * FOLDS * np.mean([seconds[fold][:common] for fold in folds], axis=0)
    print_bar(f"d=1 gaussian n={n:.0e} loo: seconds", "<=", 0.5, np.median(seconds["loo"]))
    print_bar(f"d=1 gaussian n={n:.0e} loo: times GridSearchCV, dense", ">=", 100, ratio(grid, seconds["loo"]), ".0f")
    print_bar(f"d=1 gaussian n={10 * n:.0e} loo: seconds", "<=", 4, np.median(seconds["large"]))


def print_each_feature(rounds, n=10**4):
    """The bars of "loo_ard": its time in leave-one-out passes by chunked `cdist`, and its loss."""
    for d, most in {3: 20, 10: 30}.items():
        problem, chosen = make_problem(d, n, 1), []
        data = problem.keys, problem.targets

        def choose(data=data, chosen=chosen):
            chosen.append(learn("loo_ard", *data))

        measures = {
            "pass": partial(time_call, chunked_cdist, problem._replace(queries=problem.keys)),
            "loo_ard": partial(time_call, choose),
        }
        seconds = time_interleaved(measures, rounds, ALLOTMENT)
        with patch.multiple(_loo, **EVERY_ROW):
            full = loss_of(learn("loo_ard", *data), *data)
        cost = ratio(seconds["loo_ard"], seconds["pass"])
        print_bar(f"d={d} n={n:.0e} loo_ard: in passes by chunked_cdist", "<=", most, cost)
        what = f"d={d} n={n:.0e} loo_ard: loss / loss of a search on all rows"
        print_bar(what, "<=", 1.005, loss_of(chosen[-1], *data) / full, ".5f")
        print_few_rows(f"d={d} n={n:.0e} loo_ard", data, full)


def print_few_rows(what, data, full, seeds=4):
    """What searches on the fewest rows lose by their noise, and by how much their own `loo_loss_` is off."""
    excess, error = [], []
    with patch.multiple(_loo, **FEWEST_ROWS):
        models = [NadarayaWatsonRegressor("loo_ard", random_state=seed).fit(*data) for seed in range(seeds)]
    silverman = loss_of(learn("silverman", *data), *data) / full - 1
    for model in models:
        excess.append(loss_of(model.bandwidth_, *data) / full - 1)
        error.append(abs(model.loo_loss_ / full - 1))
    print(
        f"{what}, on 1,000 rows only: loss {min(excess):.2%} to {max(excess):.2%} above that of a search on all rows; "
        f"loo_loss_ off by {min(error):.0%} to {max(error):.0%}; Silverman's bandwidth {silverman:.0%} above",
        flush=True,
    )


def dense_loss(keys, values, kernel="gaussian"):
    """The leave-one-out loss on all rows as a function of the bandwidth, with the dense engine."""
    sample = Sample(keys, values, np.ones(len(keys)), np.arange(len(keys)))
    prepare = partial(make_engines(*sample[:3], np.zeros(len(keys)))["dense"].prepare, KERNELS[kernel])
    return _loo.LeaveOneOutLoss(prepare, sample, sample.rows, mean_where_empty=False, tol=0, n_jobs=None)


def print_gradient(rounds, n=10**4):
    """The bar of one evaluation of the loss and its gradient."""
    problem = make_problem(3, n, 1)
    loss = dense_loss(problem.keys, problem.targets[:, None])
    measures = {
        "pass": partial(time_call, chunked_cdist, problem._replace(queries=problem.keys)),
        "gradient": partial(time_call, loss.with_gradient, problem.bandwidth),
    }
    seconds = time_interleaved(measures, rounds, ALLOTMENT)
    cost = ratio(seconds["gradient"], seconds["pass"])
    print_bar(f"d=3 n={n:.0e} dense: loss and gradient, in passes by chunked_cdist", "<=", 0.7, cost)


def print_pulled_gradient(rounds):
    """The bar of one evaluation for ten classes and 64 features, against one by the slopes of all pooled values."""
    X, y = load_digits(return_X_y=True)
    loss, bandwidth = dense_loss(X, np.eye(10)[y]), learn("silverman", X, y)

    def by_slopes():
        with patch.object(_pulled_slopes, "MANY_COLUMNS", np.inf):
            return time_call(loss.with_gradient, bandwidth)

    measures = {"pulled": partial(time_call, loss.with_gradient, bandwidth), "slopes": by_slopes}
    seconds = time_interleaved(measures, rounds, ALLOTMENT)
    cost = ratio(seconds["slopes"], seconds["pulled"])
    print_bar("10 classes, d=64 n=1797 dense: loss and gradient, times slopes", ">=", 3, cost, ".1f")


# Quality.


class HeldOut(NamedTuple):
    """Root mean squared errors at held-out points, from their noisy targets and from the true function, and the first
    bandwidth in Silverman's.
    """

    noisy: float
    true: float
    factor: float


def hold_out(sample):
    """HeldOut by the name of what chose the bandwidth."""
    results, silverman = {}, learn("silverman", sample.X, sample.y)
    for name in ("grid_search", "loo", "loo_ard"):
        bandwidth = SELECTORS[name](sample.X, sample.y)
        prediction = NadarayaWatsonRegressor(bandwidth).fit(sample.X, sample.y).predict(sample.X_test)
        noisy, true = (np.sqrt(np.mean(np.square(prediction - target))) for target in (sample.y_test, sample.truth))
        results[name] = HeldOut(noisy, true, bandwidth[0] / silverman[0])
    return results


def relative(results, name, kind):
    """An error in that of the grid search."""
    return getattr(results[name], kind) / getattr(results["grid_search"], kind)


def compare_quality(draws):
    """A table of held-out errors in those of a grid search; returns {draw: results}."""
    print(f"\n{'held-out RMSE, in that of grid_search':<58} {'':>8} {'noisy targets':>15} {'true function':>15}")
    print(f"{'problem':<58} {'factor':>8} {'loo':>7} {'loo_ard':>7} {'loo':>7} {'loo_ard':>7}")
    everything = {}
    for draw in draws:
        results = everything[draw] = hold_out(make_sample(draw))
        ratios = (relative(results, name, kind) for kind in ("noisy", "true") for name in ("loo", "loo_ard"))
        print(f"{draw!s:<58} {results['grid_search'].factor:8.3g} {' '.join(f'{r:7.3f}' for r in ratios)}", flush=True)
    return everything


def print_quality(everything):
    """The bars of "loo_ard" against a grid search, from the results by draw."""
    for kind, what in {"noisy": "held-out RMSE", "true": "RMSE from the true function"}.items():
        ratios = {draw: relative(results, "loo_ard", kind) for draw, results in everything.items()}
        worst = max(ratios, key=ratios.get)
        what = f"loo_ard / grid_search: {what}, worst: {worst.function} d={worst.n_features}"
        print_bar(what, "<=", 1.02, ratios[worst], ".3f")
    some = [results for draw, results in everything.items() if draw.n_relevant < draw.n_features]
    better = sum(relative(results, "loo_ard", "noisy") < 1 for results in some)
    what = f"loo_ard better than grid_search, of {len(some)} where some features do not matter"
    print_bar(what, ">=", len(some) - 1, better, "d")


# Rates.


def rate(n_features, sizes, seeds):
    """The medians over seeds of the learned h, by n, and the exponent of a power of n fitted to them."""
    medians = [np.median([learn("loo", *make_smooth(n_features, n, seed))[0] for seed in range(seeds)]) for n in sizes]
    return medians, np.polyfit(np.log(sizes), np.log(medians), 1)[0]


def print_rates(sizes=RATE_SIZES, seeds=RATE_SEEDS):
    """The learned h must fall as theory says."""
    for d in (1, 2):
        medians, exponent = rate(d, sizes, seeds)
        print(f"d={d}: median h {', '.join(f'{h:.4f} at n={n}' for n, h in zip(sizes, medians, strict=True))}")
        what = f"d={d} loo: exponent of h in n, {exponent:.3f}, minus {-1 / (d + 4):.3f}"
        print_bar(what, "<=", 0.1, abs(exponent + 1 / (d + 4)), ".3f")


def print_learning(rounds):
    """All about learned bandwidths."""
    compare_selection(SIZES, rounds)
    peers = compare_peers(PEER_DRAWS, rounds)
    held_out = compare_quality(draw_problems())
    print(f"\n{'what':<72} | bar      | measured")
    print_peers(peers)
    print_one_factor(rounds)
    print_each_feature(rounds)
    print_gradient(rounds)
    print_pulled_gradient(rounds)
    print_quality(held_out)
    print_rates()
