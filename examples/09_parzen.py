"""
Parzen windows
==============

A Parzen classifier estimates the density of each class by kernels, multiplies it by the share of the class, and
predicts the class with the largest product. Nadaraya-Watson classification with the same kernel and bandwidth is the
same classifier: it needs only the share of each class in the sum of kernels, and no densities.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons
from sklearn.inspection import DecisionBoundaryDisplay
from sklearn.neighbors import KernelDensity

from sknw import NadarayaWatsonClassifier

H = 0.3

# %%
# Two classifiers
# ---------------
# Two half-moons, the second with a third as many points as the first. Scikit-learn's ``KernelDensity`` estimates the
# density p of each class, and the sign of w1 p1 - w0 p0 decides, where w is the share of the class among the points.
X, y = make_moons((150, 50), noise=0.25, random_state=0)
model = NadarayaWatsonClassifier(H).fit(X, y)
densities = [KernelDensity(bandwidth=H).fit(X[y == label]) for label in (0, 1)]
shares = np.bincount(y) / len(y)
print(f"shares of the classes: {shares[0]:.2f} and {shares[1]:.2f}")


def parzen(queries):
    """w1 p1 - w0 p0, and the share of the second class in w1 p1 + w0 p0."""
    first, second = (
        share * np.exp(density.score_samples(queries)) for share, density in zip(shares, densities, strict=True)
    )
    return second - first, second / (first + second)


# %%
# Agreement
# ---------
# On a grid of 40,000 queries all decisions are the same, and so are the probabilities, up to rounding. Without the
# shares of the classes, the densities lead to different decisions at some queries.
grid = np.stack(np.meshgrid(np.linspace(-2, 3, 200), np.linspace(-1.5, 2, 200)), axis=-1).reshape(-1, 2)
difference, probability = parzen(grid)
chosen = model.predict(grid)
print(f"signs that agree: {np.sum((difference > 0) == (chosen == 1))} of {len(grid)}")
print(f"largest difference of probabilities: {np.abs(probability - model.predict_proba(grid)[:, 1]).max():.0e}")
unweighted = densities[1].score_samples(grid) > densities[0].score_samples(grid)
print(f"without shares: {np.sum(unweighted == (chosen == 1))} of {len(grid)}")

# %%
# Decision boundary
# -----------------
# The colour is the probability of the second class by attention, and the points are the training points. At the line
# the weighted densities are equal.
figure, ax = plt.subplots(figsize=(6.4, 4.4), layout="constrained")
filled = DecisionBoundaryDisplay.from_estimator(
    model, X, response_method="predict_proba", plot_method="pcolormesh", cmap="cividis", vmin=0, vmax=1, eps=0.3, ax=ax
)
rows = np.stack([filled.xx0, filled.xx1], axis=-1).reshape(-1, 2)
ax.contour(filled.xx0, filled.xx1, parzen(rows)[0].reshape(filled.xx0.shape), levels=[0], colors="white", linewidths=2)
for label, marker, colour in [(0, "o", "#56B4E9"), (1, "^", "#E69F00")]:
    ax.scatter(*X[y == label].T, s=22, marker=marker, color=colour, edgecolors="black", linewidths=0.6, label=label)
ax.set(xlabel="x0", ylabel="x1")
ax.legend(title="class", loc="upper left")
_ = figure.colorbar(filled.surface_, ax=ax, label="probability of class 1")

# %%
# Figures are shown, or saved into the folder that is given on the command line.
if len(sys.argv) > 1:
    for number in plt.get_fignums():
        plt.figure(number).savefig(Path(sys.argv[1], f"{Path(sys.argv[0]).stem}_{number}.png"))
else:
    plt.show()
