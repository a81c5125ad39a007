"""
Widths by local density
=======================

One width for all queries is a compromise where the training points are dense in one region and sparse in another. A
heuristic is to choose the width by the local density (Silverman 1986, section 5.2). Here the width of each query is
proportional to the distance to its k-th nearest training point. ``n_neighbors=k`` requests it, and
``n_neighbors="loo"`` chooses k by leave-one-out.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from sknw import NadarayaWatsonRegressor

# %%
# Data of uneven density
# ----------------------
# Nearly half of the 150 points lie in the first tenth of the range, where the function oscillates fast. The others are
# sparse, and the function is slow there.
rng = np.random.default_rng(0)


def truth(x):
    return np.sin(4 * np.log(x))


def sample(n):
    x = np.exp(rng.uniform(np.log(0.1), np.log(10), size=n))
    return x[:, None], truth(x) + 0.2 * rng.normal(size=n)


X, y = sample(150)
X_test, y_test = sample(5000)
print(f"points in the first tenth of the range: {np.mean(X < 1):.0%}")

# %%
# A fixed width and one that follows the density
# ----------------------------------------------
# The learned fixed width is right for the dense points, and too small for the sparse ones, where the prediction jumps
# from one training point to the next. With a larger width the oscillations near zero disappear. The width of the
# neighbours is small on the left and large on the right.
models = {
    "fixed, learned": NadarayaWatsonRegressor("loo").fit(X, y),
    "fixed, 0.4": NadarayaWatsonRegressor(0.4).fit(X, y),
    "neighbours, learned": NadarayaWatsonRegressor(n_neighbors="loo").fit(X, y),
}
learned = models["neighbours, learned"]
print(f"fixed width: {models['fixed, learned'].bandwidth_[0]:.3f}")
print(f"number of neighbours: {learned.n_neighbors_}")
for name, model in models.items():
    print(f"{name}: mean squared error {np.mean((model.predict(X_test) - y_test) ** 2):.4f}")
print(f"leave-one-out: fixed {models['fixed, learned'].loo_loss_:.4f}, neighbours {learned.loo_loss_:.4f}")

line = np.geomspace(0.1, 10, 800)[:, None]
figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.6), layout="constrained", sharey=True)
for ax, (name, model) in zip(axes, models.items(), strict=True):
    ax.scatter(X[:, 0], y, s=12, color="#999999", label="training points")
    ax.plot(line, truth(line), color="#009E73", linestyle="--", label="truth")
    ax.plot(line, model.predict(line), color="#0072B2", linewidth=2, label="prediction")
    ax.set(title=name, xlabel="x")
axes[0].set_ylabel("y")
axes[0].legend(loc="lower right")

# %%
# Widths and attention
# --------------------
# For the Gaussian kernel the width is half the distance to the k-th neighbour. The effective number of training points
# that a query attends to, 1 / sum a_i², is nearly the same everywhere. With a fixed width it is large where points are
# dense, and one where they are sparse.
distances = np.sort(np.abs(line - X[:, 0]), axis=1)
widths = distances[:, learned.n_neighbors_ - 1] / 2
print(f"width by neighbours from {widths.min():.4f} to {widths.max():.4f}")
attention = {name: model.attention_weights(line) for name, model in models.items()}
gaussian = np.exp(-(((line - X[:, 0]) / widths[:, None]) ** 2) / 2)
gaussian /= gaussian.sum(axis=1, keepdims=True)
print(f"largest difference from the formula: {np.abs(attention['neighbours, learned'] - gaussian).max():.0e}")
effective = {name: 1 / np.square(weights).sum(axis=1) for name, weights in attention.items()}
for name in ("fixed, learned", "neighbours, learned"):
    low, high = np.quantile(effective[name], [0.05, 0.95])
    print(f"{name}: effective number of points from {low:.1f} to {high:.1f}")

figure, (top, bottom) = plt.subplots(2, 1, figsize=(7, 5), layout="constrained", sharex=True)
top.plot(line, widths, color="#0072B2", label="neighbours")
top.axhline(models["fixed, learned"].bandwidth_[0], color="#D55E00", linestyle="--", label="fixed")
top.set(ylabel="width", yscale="log", xscale="log")
top.legend()
bottom.plot(line, effective["neighbours, learned"], color="#0072B2")
bottom.plot(line, effective["fixed, learned"], color="#D55E00", linestyle="--")
bottom.plot(X[:, 0], np.full(len(X), 0.7), "|", color="#555555")
_ = bottom.set(ylabel="effective number of points", yscale="log", xlabel="x; ticks are the training points")

# %%
# Figures are shown, or saved into the folder that is given on the command line.
if len(sys.argv) > 1:
    for number in plt.get_fignums():
        plt.figure(number).savefig(Path(sys.argv[1], f"{Path(sys.argv[0]).stem}_{number}.png"))
else:
    plt.show()
