"""Prediction intervals: their coverage on simulated data, and beside those of other packages on real data."""

from collections.abc import Callable
from itertools import product
from statistics import mean, stdev
from typing import NamedTuple

import numpy as np
import pandas as pd
from distribution_peers import COVERAGE, INTERVALS, installed
from real_data import load, names, standardised_splits
from sklearn.model_selection import ShuffleSplit
from timing import time_call

SIZES, SEEDS, QUERIES, BINS = (300, 1000), range(20), 2000, 10
"""Of simulated problems: training points, draws, test points of a draw, and bins of the first feature of these."""

DISTANCE = "off by, in bins"
"""The column of how far coverage is from what was asked for, as a root mean square over bins."""

SIMULATED = ("loo", "loo, CV+", "quantile_forest")
"""Contenders on simulated problems."""

MOST_FEATURES, FEWEST_VALUES, SPLITS = 10, 50, 10
"""Of real data sets: at most how many features they have, and at least how many values of the target, as a coverage of
0.9 may be out of reach with few; and how often a third of the rows, drawn at random, is held out.
"""


# Simulated problems.


def normal(rng, n):
    return rng.normal(size=n)


def lognormal(rng, n):
    """Log-normal noise with a shape of 0.8: skewed to the right."""
    centred = rng.lognormal(sigma=0.8, size=n) - np.exp(0.32)
    return centred / np.sqrt((np.exp(0.64) - 1) * np.exp(0.64))


def student(rng, n):
    """Student's noise with five degrees of freedom: heavy tails."""
    return rng.standard_t(5, size=n) / np.sqrt(5 / 3)


def uniform(d):
    return lambda rng, n: rng.uniform(size=(n, d))


def islands(rng, n):
    """Three clusters with gaps between them; they hold 60, 30 and 10 % of the points, and are the wider the fewer."""
    place = rng.choice(3, p=[0.6, 0.3, 0.1], size=(n, 1))
    return 4 * place + np.array([0.3, 0.6, 1.0])[place] * rng.uniform(-1, 1, size=(n, 1))


class Simulation(NamedTuple):
    """How inputs (n, d) are drawn; of these, the mean of the target and its standard deviation; and how its noise is
    drawn, which has mean 0 and variance 1.
    """

    inputs: Callable
    mean: Callable
    std: Callable
    noise: Callable = normal

    def draw(self, rng, n):
        X = self.inputs(rng, n)
        return X, self.mean(X) + self.std(X) * self.noise(rng, n)


SIMULATIONS = {
    "constant noise": Simulation(uniform(1), lambda x: 4 * x[:, 0] * np.cos(5 * x[:, 0]), lambda x: 0.5),
    "growing noise": Simulation(uniform(1), lambda x: np.log(1 + 9 * x[:, 0]), lambda x: np.exp(2.5 * x[:, 0] - 2)),
    "skewed noise": Simulation(uniform(1), lambda x: np.sqrt(x[:, 0]), lambda x: 0.2 + 0.4 * x[:, 0], lognormal),
    "steep, little noise": Simulation(uniform(1), lambda x: 5 * np.tanh(8 * x[:, 0] - 4), lambda x: 0.2),
    "gaps": Simulation(islands, lambda x: np.cos(1.5 * x[:, 0]), lambda x: 0.2 + 0.04 * x[:, 0]),
    "two features": Simulation(
        uniform(2), lambda x: 3 * np.exp(-8 * np.square(x - 0.5).sum(axis=1)), lambda x: 0.1 + 0.6 * x[:, 0]
    ),
    "three features": Simulation(
        uniform(3), lambda x: 4 * x[:, 0] * x[:, 1] + np.sin(4 * x[:, 2]), lambda x: 0.6 - 0.4 * x[:, 0], student
    ),
    "six features": Simulation(
        uniform(6), lambda x: 4 * x[:, 0] + np.sin(3 * x[:, 1]) + 2 * x[:, 2] * x[:, 3], lambda x: 0.2 + 0.6 * x[:, 0]
    ),
}


# Scores.


def score_interval(bounds, y):
    """The share of targets between two bounds, the mean width, and the mean interval score (Gneiting & Raftery 2007,
    section 6.2): the width, and for a target outside its distance to the interval times 2 / (1 - coverage).
    """
    low, high = bounds
    outside = np.maximum(low - y, 0) + np.maximum(y - high, 0)
    score = high - low + 2 / (1 - COVERAGE) * outside
    return {"coverage": np.mean(outside == 0), "width": np.mean(high - low), "score": np.mean(score)}


def coverage_by_bins(bounds, x, y):
    """The share of targets between two bounds, in bins of x that have equally many."""
    low, high = bounds
    inside = ((low <= y) & (y <= high))[np.argsort(x)]
    return np.array([part.mean() for part in np.array_split(inside, BINS)])


def deviation(shares):
    """The root of the mean squared distance from the coverage that is asked for."""
    return np.sqrt(np.mean(np.square(shares - COVERAGE)))


# Tables.


def measure_simulation(simulation, n, interval, seeds):
    """Means over seeds; the standard deviation of the coverage over these; and the coverage of each bin."""
    scores, bins = [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        (X, y), (X_test, y_test) = simulation.draw(rng, n), simulation.draw(rng, QUERIES)
        bounds = interval(X, y, X_test)
        bins.append(coverage_by_bins(bounds, X_test[:, 0], y_test))
        scores.append(score_interval(bounds, y_test) | {DISTANCE: deviation(bins[-1])})
    row = average(scores) | {"std over draws": stdev(score["coverage"] for score in scores)}
    return row | {f"bin {k}": share for k, share in enumerate(np.mean(bins, axis=0), 1)}


def compare_coverage(only):
    """Contenders on simulated problems: a row for each of both and each size."""
    chosen = installed(SIMULATED)
    for (k, name), n in product(enumerate(SIMULATIONS), SIZES):
        for contender in chosen if only in name else ():
            row, seeds = {"problem": name, "n": n, "contender": contender}, product([k], [n], SEEDS)
            yield row | measure_simulation(SIMULATIONS[name], n, INTERVALS[contender], seeds)


def measure_split(interval, X, y, X_test, y_test):
    """Scores at the test rows, and seconds of processor time to fit and to predict intervals."""
    found = {}

    def learn():
        found["bounds"] = interval(X, y, X_test)

    seconds = time_call(learn)
    return score_interval(found["bounds"], y_test) | {"seconds": seconds}


def compare_intervals(only):
    """All contenders on real data: a row for each of both."""
    chosen, splitter = installed(INTERVALS), ShuffleSplit(SPLITS, test_size=1 / 3, random_state=300)
    for data in (name for name in names("regression") if only in name):
        X, y = load(data)
        if X.shape[1] > MOST_FEATURES or len(np.unique(y)) < FEWEST_VALUES:
            continue
        splits = list(standardised_splits(X, y, splitter))
        n, d = splits[0][0].shape
        for contender in chosen:
            row = {"data": data, "n": n, "features": d, "contender": contender}
            yield row | average([measure_split(INTERVALS[contender], *split) for split in splits])


def average(rows):
    """The mean of each column."""
    return {column: float(mean(row[column] for row in rows)) for column in rows[0]}


# What is computed from them.


def by_contender(rows, column, *index):
    """A column with a row for each problem or data set, and a column for each contender."""
    return rows.pivot_table(column, list(index), "contender", sort=False)


def show_coverage(rows):
    """A row for each simulated problem and size: coverage, its distance in bins, and scores relative to "loo"."""
    coverage, spread, distance, score = (
        by_contender(rows, column, "problem", "n") for column in ("coverage", "std over draws", DISTANCE, "score")
    )
    parts = {"coverage": coverage, "std over draws": spread[["loo"]], DISTANCE: distance}
    parts["score / loo"] = score.div(score["loo"], axis=0).drop(columns="loo")
    named = [part.add_prefix(f"{column}: ") for column, part in parts.items()]
    return pd.concat(named, axis=1).reset_index()


def relative_scores(rows):
    """A row for each data set, a column for each contender: interval scores in those of "loo"."""
    scores = by_contender(rows, "score", "data", "n", "features")
    return scores.div(scores["loo"], axis=0).reset_index()


def rank_intervals(rows):
    """A row for each contender: coverage over data sets; scores in those of "loo", in the geometric mean; scores and
    seconds in those of the same estimator within MAPIE, in the mean.
    """
    coverage, score, seconds = (by_contender(rows, column, "data") for column in ("coverage", "score", "seconds"))
    table = coverage.agg(["mean", "min", "max"]).T.add_prefix("coverage, ")
    table["score / loo"] = np.exp(np.log(score.div(score["loo"], axis=0)).mean())
    ratios = beside_conformal(score)
    table["score / CV+"] = ratios.mean()
    table["better than CV+"] = (ratios < 1).sum().where(ratios.notna().any()).astype("Int64")
    return table.assign(**{"seconds / CV+": beside_conformal(seconds).mean(), "seconds": seconds.mean()}).reset_index()


def beside_conformal(wide):
    """Each column over that of the same estimator within MAPIE, nan where there is none."""
    return wide / wide.reindex(columns=[f"{name}, CV+" for name in wide]).set_axis(wide.columns, axis=1)
