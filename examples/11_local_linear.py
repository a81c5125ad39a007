"""
Local lines
===========

A weighted average is level, and therefore biased where the targets have a slope. Local linear regression fits a line to
the neighbours of a query, with their attention weights, and predicts its value at the query. This page compares it with
the average, and shows what its two penalties do: the ridge of local slopes, and the trend to which it shrinks them.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_friedman1

from sknw import CurveDisplay, LocalLinearRegressor, NadarayaWatsonRegressor
from sknw.datasets import make_sine_trend

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#555555"
H = 0.4

X, y = make_sine_trend(100, random_state=0)
grid = np.linspace(0, 5, 501)[:, None]
truth = 2 * np.sin(grid[:, 0]) + grid[:, 0] ** 0.8

# %%
# Edges
# -----
# At the left edge all neighbours of a query are on its right, where the targets are larger, and their average is too
# large. The line continues their slope. Both have the same bandwidth, and neither has a penalty here.
average = NadarayaWatsonRegressor(H).fit(X, y)
line = LocalLinearRegressor(H, n_neighbors=None, ridge=0, trend=False).fit(X, y)
figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
curve = CurveDisplay.from_estimator(average, ax=ax, line_kw={"label": "average", "color": BLUE})
ax.plot(grid, line.predict(grid), color=ORANGE, linewidth=2, label="local line")
ax.plot(grid, truth, color="black", linewidth=1.2, linestyle="--", label="truth")
ax.legend()
at_edges = np.abs(grid[:, 0] - 2.5) > 2.25
for name, model in {"average": average, "local line": line}.items():
    errors = np.abs(model.predict(grid) - truth)
    edges, inside = errors[at_edges].mean(), errors[~at_edges].mean()
    print(f"{name}: mean absolute error {edges:.2f} at the edges, {inside:.2f} inside")

# %%
# Weights
# -------
# A line is linear in the targets, too: its prediction is a sum of targets with weights a (1 + (q - m) (u - m) / C),
# where a are the attention weights, u the keys and q the query in bandwidths, and m and C the mean and the variance of
# u under a. These weights sum to one, but some are negative. They are not attention.
query = np.array([0.0])
attention = average.attention_weights([query])[0]
u = X[:, 0] / H
mean = attention @ u
variance = attention @ (u - mean) ** 2
weights = attention * (1 + (query / H - mean) * (u - mean) / variance)
figure, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
ax.axhline(0, color=GREY, linewidth=0.8)
ax.plot(X, attention, "o", color=BLUE, markersize=4, label="attention weights")
ax.plot(X, weights, "^", color=ORANGE, markersize=5, label="weights of the local line")
ax.set(xlabel="key", ylabel=f"weight for the query {query[0]:.0f}", xlim=(-0.05, 2.05))
ax.legend()
print(f"sum of the weights of the line: {weights.sum():.6f}, of which negative: {weights[weights < 0].sum():.3f}")
print(f"largest difference from the prediction: {np.abs(weights @ y - line.predict([query])).max():.0e}")

# %%
# Ridge and trend
# ---------------
# The middle of the data is missing here, and the bandwidth is small. Without a ridge, the line at a query in the gap is
# determined by rows that are close to each other, and is steep. A ridge shrinks its slope: to zero without a trend, or
# to that of a global linear model with it.
rng = np.random.default_rng(3)
x = np.concatenate([rng.uniform(0, 1.8, 25), rng.uniform(3.2, 5, 25)])
gap_y = 0.8 * x + 0.6 * np.sin(4 * x) + 0.25 * rng.normal(size=50)
settings = {
    "ridge=0": (GREY, {"ridge": 0, "trend": False}),
    "ridge=1, trend=False": (BLUE, {"ridge": 1, "trend": False}),
    "ridge=1, trend=True": (ORANGE, {"ridge": 1, "trend": True}),
}
figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
ax.plot(x, gap_y, "o", color="black", markersize=3, alpha=0.5, label="data")
for name, (color, parameters) in settings.items():
    model = LocalLinearRegressor(0.15, n_neighbors=None, **parameters).fit(x[:, None], gap_y)
    predictions = model.predict(grid)
    ax.plot(grid, predictions, color=color, linewidth=1.6, label=name)
    steps = np.abs(np.diff(predictions))
    print(f"{name}: largest step between neighbouring queries {steps.max():.2f}")
ax.set(xlabel="x", ylabel="y")
ax.legend()

# %%
# Learned parameters
# ------------------
# By default, the bandwidths, the number of neighbours that the width of a query follows, and the ridge are learned by
# leave-one-out. The data are a smooth function of five of ten features, and R² is that on new rows.
X, y = make_friedman1(300, noise=1.0, random_state=0)
X_test, y_test = make_friedman1(1000, random_state=1)
models = {
    "average, loo": NadarayaWatsonRegressor("loo"),
    "average, loo_ard": NadarayaWatsonRegressor("loo_ard"),
    "local line, loo": LocalLinearRegressor("loo"),
    "local line, loo_ard": LocalLinearRegressor(),
}
scores = {name: model.fit(X, y).score(X_test, y_test) for name, model in models.items()}
for name, score in scores.items():
    print(f"{name}: R² {score:.2f}")
learned = models["local line, loo_ard"]
print(f"learned: neighbours {learned.n_neighbors_}, ridge {learned.ridge_:g}")
figure, ax = plt.subplots(figsize=(6.4, 2.8), layout="constrained")
bars = ax.barh(list(scores), list(scores.values()), color=[BLUE, BLUE, ORANGE, ORANGE])
ax.bar_label(bars, fmt="%.2f", padding=3)
ax.invert_yaxis()
ax.set(xlabel="R² on new rows", xlim=(0, 1.08))

# %%
# Figures are shown, or saved into the folder that is given on the command line.
if len(sys.argv) > 1:
    for number in plt.get_fignums():
        plt.figure(number).savefig(Path(sys.argv[1], f"{Path(sys.argv[0]).stem}_{number}.png"))
else:
    plt.show()
