"""
From average pooling to attention
=================================

Fifty noisy observations of 2 sin(x) + x^0.8 are predicted in two ways. Average pooling gives the same weight to every
observation. Attention pooling gives more weight to those that are near the query. The two differ only in the kernel.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from sknw import AttentionDisplay, CurveDisplay, NadarayaWatsonRegressor
from sknw.datasets import make_sine_trend


def truth(X):
    return 2 * np.sin(X[:, 0]) + X[:, 0] ** 0.8


X, y = make_sine_trend(random_state=0)
queries = np.linspace(0, 5, 50)[:, None]


def draw(model):
    """The prediction, and the attention weights of 50 evenly spaced queries on the 50 keys."""
    _, (left, right) = plt.subplots(1, 2, figsize=(8, 3.6), layout="constrained", width_ratios=(1, 1.15))
    CurveDisplay.from_estimator(model, truth=truth, ax=left)
    AttentionDisplay.from_estimator(model, queries, ax=right)


def print_errors(name, model):
    error = np.mean(np.square(model.predict(queries) - truth(queries)))
    print(f"{name}: mean squared error against the truth {error:.3f}")


# %%
# Average pooling
# ---------------
# With the constant kernel the query has no influence. Each of the 50 keys has the weight 1/50, so the heatmap has a
# single colour, and the prediction is the mean of y everywhere: a horizontal line.
average = NadarayaWatsonRegressor(kernel="constant").fit(X, y)
attention = average.attention_weights(queries)
print(f"weights from {attention.min():.4f} to {attention.max():.4f}")
print(f"predictions from {average.predict(queries).min():.4f} to {average.predict(queries).max():.4f}")
print(f"mean of y {y.mean():.4f}")
print_errors("average pooling", average)
draw(average)

# %%
# Attention pooling
# -----------------
# The Gaussian kernel with h = 1 weights the keys by their distance from the query. The heatmap has a bright band where
# query and key are near, which is the diagonal, since both are sorted. The prediction follows the data, and has a
# smaller error. It is still flatter than the true function, because the band is wide: its range is smaller.
attending = NadarayaWatsonRegressor(1.0).fit(X, y)
attention = attending.attention_weights(queries)
nearest = np.abs(queries - X[:, 0]).argmin(axis=1)
print(f"weights from {attention.min():.6f} to {attention.max():.4f}")
print(f"queries whose largest weight is that of the nearest key: {np.sum(attention.argmax(axis=1) == nearest)} of 50")
print_errors("attention pooling", attending)
print(f"range of the prediction {np.ptp(attending.predict(queries)):.2f}, of the truth {np.ptp(truth(queries)):.2f}")
draw(attending)

# %%
# The weights are a softmax
# -------------------------
# The weights are the softmax of -(q - x)² / 2. Each row sums to one, and the prediction is the average of y with these
# weights.
scores = -np.square(queries - X[:, 0]) / 2
softmax = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
print(f"largest difference from a softmax: {np.abs(attention - softmax).max():.0e}")
print(f"largest difference of a row's sum from one: {np.abs(attention.sum(axis=1) - 1).max():.0e}")
print(f"largest difference from attention @ y: {np.abs(attending.predict(queries) - attention @ y).max():.0e}")

# %%
# Figures are shown, or saved into the folder that is given on the command line.
if len(sys.argv) > 1:
    for number in plt.get_fignums():
        plt.figure(number).savefig(Path(sys.argv[1], f"{Path(sys.argv[0]).stem}_{number}.png"))
else:
    plt.show()
