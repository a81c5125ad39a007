"""
Widths
======

A Gaussian kernel of four widths, with the same fifty observations. The narrower the kernel, the sharper the attention
and the rougher the prediction.
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
models = {sigma: NadarayaWatsonRegressor(sigma).fit(X, y) for sigma in (0.1, 0.2, 0.5, 1.0)}

# %%
# Rougher predictions
# -------------------
# The total variation of the prediction decreases with the width of the kernel. With the narrowest kernel the prediction
# follows the noise, and varies more than the true function; with the widest it is too flat, and varies less. The error
# against the true function is smallest in between.
grid = np.linspace(0, 5, 1000)[:, None]
_, axes = plt.subplots(2, 2, figsize=(7, 5.5), layout="constrained", sharex=True, sharey=True)
for ax, (sigma, model) in zip(axes.flat, models.items(), strict=True):
    CurveDisplay.from_estimator(model, truth=truth, ax=ax)
    ax.set_title(f"σ = {sigma:g}")
    ax.label_outer()
    prediction = model.predict(grid)
    travelled, error = np.abs(np.diff(prediction)).sum(), np.mean(np.square(prediction - truth(grid)))
    print(f"sigma {sigma:<4g} total variation {travelled:5.2f}   mean squared error {error:.3f}")
for ax in axes.flat[1:]:
    ax.get_legend().remove()
print(f"truth      total variation {np.abs(np.diff(truth(grid))).sum():5.2f}")

# %%
# Sharper attention
# -----------------
# Each heatmap has its own colour scale. The narrower the kernel, the larger the largest weight, and the fewer keys
# share the attention: 1 / Σ a² is the effective number of keys, that is the number of keys of equal weight with the
# same sum of squares. With a width of 0.1 a query attends to a few keys where they are dense, and to a single one where
# they are not.
_, axes = plt.subplots(2, 2, figsize=(7, 5.8), layout="constrained")
queries = np.linspace(0, 5, 50)[:, None]
for ax, (sigma, model) in zip(axes.flat, models.items(), strict=True):
    AttentionDisplay.from_estimator(model, queries, ax=ax)
    ax.set_title(f"σ = {sigma:g}")
    attention = model.attention_weights(queries)
    sharing = 1 / np.square(attention).sum(axis=1)
    print(
        f"sigma {sigma:<4g} largest weight {attention.max():.3f}   "
        f"keys that share: median {np.median(sharing):4.1f}, least {sharing.min():.1f}"
    )

# %%
# Figures are shown, or saved into the folder that is given on the command line.
if len(sys.argv) > 1:
    for number in plt.get_fignums():
        plt.figure(number).savefig(Path(sys.argv[1], f"{Path(sys.argv[0]).stem}_{number}.png"))
else:
    plt.show()
