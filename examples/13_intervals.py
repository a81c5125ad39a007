"""
Intervals
=========

The noise of many targets changes with the inputs. An interval for a new target should then be wide where the noise is
strong, and contain the same share of targets everywhere. This page compares three methods with a nominal coverage of
90 %: the intervals of this package, cross-conformal intervals of MAPIE around the same estimator, and a quantile
forest. MAPIE and quantile-forest are optional, and left out where they are not installed.
"""

import sys
from importlib.util import find_spec
from pathlib import Path
from statistics import NormalDist

import matplotlib.pyplot as plt
import numpy as np

from sknw import CurveDisplay, NadarayaWatsonRegressor

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#555555"
COVERAGE = 0.9
rng = np.random.default_rng(0)


def draw(n):
    X = rng.uniform(0, 6, size=(n, 1))
    return X, np.sin(X[:, 0]) + noise(X[:, 0]) * rng.normal(size=n)


def noise(x):
    return 0.1 + 0.1 * x


# %%
# One training set
# ----------------
# The band is calibrated by the leave-one-out errors of the training rows, each in units of its own standard deviation.
# The dotted lines are the interval of the true distribution.
X, y = draw(300)
model = NadarayaWatsonRegressor("loo").fit(X, y)
figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
grid = np.linspace(0, 6, 301)
z = NormalDist().inv_cdf((1 + COVERAGE) / 2)
for sign, label in {-1: "true interval", 1: None}.items():
    ax.plot(grid, np.sin(grid) + sign * z * noise(grid), color="black", linewidth=1, linestyle=":", label=label)
CurveDisplay.from_estimator(model, interval=COVERAGE, truth=lambda X: np.sin(X[:, 0]), ax=ax)
X_new, y_new = draw(2000)
low, high = model.predict_interval(X_new, COVERAGE).T
print(f"coverage of {len(y_new)} new targets: {np.mean((low <= y_new) & (y_new <= high)):.3f}")

# %%
# Other methods
# -------------
# MAPIE's intervals add a quantile of the absolute errors of held-out rows to the predictions, so that they have nearly
# the same width everywhere. The estimator is the same, and learns its bandwidth in each of ten folds. A quantile forest
# returns quantiles of the training targets in its leaves.


def attention(X, y, queries):
    return NadarayaWatsonRegressor("loo").fit(X, y).predict_interval(queries, COVERAGE)


def conformal(X, y, queries):
    from mapie.regression import CrossConformalRegressor

    method = CrossConformalRegressor(NadarayaWatsonRegressor("loo"), confidence_level=COVERAGE, cv=10, random_state=0)
    return method.fit_conformalize(X, y).predict_interval(queries)[1][:, :, 0]


def forest(X, y, queries):
    from quantile_forest import RandomForestQuantileRegressor

    trees = RandomForestQuantileRegressor(min_samples_leaf=5, random_state=0).fit(X, y)
    return trees.predict(queries, quantiles=[(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])


methods = {"attention": (attention, "sknw", BLUE), "MAPIE CV+": (conformal, "mapie", ORANGE)}
methods["quantile forest"] = forest, "quantile_forest", GREEN
installed = {name: (method, color) for name, (method, module, color) in methods.items() if find_spec(module)}
for name in methods.keys() - installed.keys():
    print(f"{name} is not installed")

figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
ax.plot(X, y, "o", color=GREY, markersize=2, alpha=0.5)
for name, (method, color) in installed.items():
    ax.plot(grid, method(X, y, grid[:, None]), color=color, linewidth=1.4, label=[name, None])
ax.set(xlabel="x", ylabel="y")
ax.legend()

# %%
# Coverage by bins of x
# ---------------------
# The shares of new targets inside the intervals, as means over five training sets. The interval score is the mean width
# plus 2 / 0.1 times the distance of targets outside; less is better.
N_BINS = 10
bins = np.minimum((N_BINS * X_new[:, 0] / 6).astype(int), N_BINS - 1)
training = [draw(300) for _ in range(5)]
figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
ax.axhline(COVERAGE, color=GREY, linewidth=0.8)
for name, (method, color) in installed.items():
    intervals = np.array([method(*rows, X_new) for rows in training])
    low, high = intervals[:, :, 0], intervals[:, :, 1]
    inside = ((low <= y_new) & (y_new <= high)).mean(axis=0)
    outside = np.maximum(low - y_new, 0) + np.maximum(y_new - high, 0)
    score = np.mean(high - low + 2 / (1 - COVERAGE) * outside)
    by_bin = np.array([inside[bins == k].mean() for k in range(N_BINS)])
    print(
        f"{name}: coverage {inside.mean():.3f}, in bins from {by_bin.min():.2f} to {by_bin.max():.2f}, "
        f"interval score {score:.2f}"
    )
    ax.plot((np.arange(N_BINS) + 0.5) * 6 / N_BINS, by_bin, "o-", color=color, label=name)
ax.set(xlabel="x", ylabel="share of new targets inside the interval")
ax.legend()

# %%
# Figures are shown, or saved into the folder that is given on the command line.
if len(sys.argv) > 1:
    for number in plt.get_fignums():
        plt.figure(number).savefig(Path(sys.argv[1], f"{Path(sys.argv[0]).stem}_{number}.png"))
else:
    plt.show()
