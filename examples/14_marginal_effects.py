"""
Marginal effects
================

How much does the expected target change with a feature? The gradient of a prediction answers this at every query, and
its mean over the rows is the average marginal effect. Gradients here are exact derivatives of ``predict``. This page
compares them with central differences, with the true effects, and with those of statsmodels, where it is installed.
"""

import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from sknw import LocalLinearRegressor, NadarayaWatsonRegressor

BLUE, ORANGE = "#0072B2", "#D55E00"
rng = np.random.default_rng(0)

# %%
# Average marginal effects
# ------------------------
# The target is a sine of the first feature plus a line of the second. Averages of targets flatten slopes, above all at
# the edges of the data, and their effects are too small. Those of local lines are nearer to the true ones.
n = 400
X = rng.uniform(0, 3, size=(n, 2))
y = 2 * np.sin(X[:, 0]) + 0.5 * X[:, 1] + 0.3 * rng.normal(size=n)
true = np.column_stack([2 * np.cos(X[:, 0]), np.full(n, 0.5)])
models = {"average": NadarayaWatsonRegressor("loo_ard").fit(X, y), "local line": LocalLinearRegressor().fit(X, y)}
print("true: average effects {:.3f} and {:.3f}".format(*true.mean(axis=0)))
for name, model in models.items():
    effects = model.gradients(X)
    error = np.sqrt(np.mean((effects - true) ** 2))
    print(
        "{}: average effects {:.3f} and {:.3f}, ".format(name, *effects.mean(axis=0))
        + f"root mean squared error of the effects of rows {error:.2f}"
    )

# %%
# Central differences
# -------------------
# Gradients agree with differences of predictions at both sides of each row. By default, the width of local lines
# follows the distance to a neighbour. Where another row becomes this neighbour between the two sides, predictions have
# a kink, and the difference is not a derivative.


def central_differences(model, queries, step=1e-5):
    slopes = np.empty(queries.shape)
    for feature in range(queries.shape[1]):
        shift = np.zeros(queries.shape[1])
        shift[feature] = step
        slopes[:, feature] = (model.predict(queries + shift) - model.predict(queries - shift)) / (2 * step)
    return slopes


for name, model in models.items():
    difference = np.abs(model.gradients(X) - central_differences(model, X)).max(axis=1)
    print(
        f"{name}: difference from central differences {np.median(difference):.0e} in the median, "
        f"larger than 0.0001 at {np.sum(difference > 1e-4)} of {n} rows"
    )

# %%
# statsmodels
# -----------
# ``KernelReg`` with ``reg_type="lc"`` and the same bandwidths makes the same predictions as the average. Its marginal
# effects are not their derivatives: they are close to zero, and the same for both features.
if find_spec("statsmodels"):
    from statsmodels.nonparametric.kernel_regression import KernelReg

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # about a random generator that a given bandwidth does not use
        peer = KernelReg(y, X, "cc", reg_type="lc", bw=models["average"].bandwidth_)
        predictions, effects = peer.fit(X)
    print(
        f"statsmodels: largest difference of predictions {np.abs(predictions - models['average'].predict(X)).max():.0e}"
    )
    print("statsmodels: average effects {:.3f} and {:.3f}".format(*effects.mean(axis=0)))
else:
    print("statsmodels is not installed")

# %%
# Effects along a feature
# -----------------------
# The effect of each feature along its axis, with the other feature at its median. Effects vary more than predictions,
# since the bandwidths were learned for predictions. Those of local lines jump where their width begins to follow
# another neighbour. Dots are central differences.
figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.8), sharey=True, layout="constrained")
for feature, ax in enumerate(axes):
    grid = np.tile(np.median(X, axis=0), (121, 1))
    grid[:, feature] = np.linspace(0, 3, 121)
    truth = 2 * np.cos(grid[:, 0]) if feature == 0 else np.full(121, 0.5)
    ax.plot(grid[:, feature], truth, color="black", linewidth=1.2, linestyle="--", label="truth")
    for (name, model), color in zip(models.items(), (BLUE, ORANGE), strict=True):
        ax.plot(grid[:, feature], model.gradients(grid)[:, feature], color=color, linewidth=1.6, label=name)
        some = grid[::10]
        slopes = central_differences(model, some)[:, feature]
        ax.plot(some[:, feature], slopes, "o", color=color, markersize=4)
    ax.set(xlabel=f"x{feature}", ylabel=f"effect of x{feature}")
axes[0].legend()

# %%
# Figures are shown, or saved into the folder that is given on the command line.
if len(sys.argv) > 1:
    for number in plt.get_fignums():
        plt.figure(number).savefig(Path(sys.argv[1], f"{Path(sys.argv[0]).stem}_{number}.png"))
else:
    plt.show()
