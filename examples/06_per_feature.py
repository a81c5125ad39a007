"""
A width for each feature
========================

Friedman's first function has ten features, of which the last five do not matter. With ``bandwidth="loo_ard"`` every
feature learns a bandwidth of its own: small where the feature matters much, infinite where attention can ignore it.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_friedman1

from sknw import CurveDisplay, NadarayaWatsonRegressor

X, y = make_friedman1(600, noise=1.0, random_state=0)
X_test, y_test = make_friedman1(2000, noise=0.0, random_state=1)
common = NadarayaWatsonRegressor("loo").fit(X, y)
each = NadarayaWatsonRegressor("loo_ard").fit(X, y)

# %%
# What attention ignores
# ----------------------
# The bars are the sharpness w = 1 / h of each feature, learned from 600 noisy rows. All features are uniform on [0, 1],
# so with h > 1 a feature hardly distinguishes rows, and with w = 0 it is ignored. All features that matter are well
# above all that do not. A common factor is a compromise: not narrow enough for some features, too narrow for others.
figure, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
features = np.arange(10)
colours = ["#0072B2" if feature < 5 else "#D55E00" for feature in features]
ax.bar(features, 1 / each.bandwidth_, color=colours, hatch=[""] * 5 + ["//"] * 5)
ax.step(
    np.arange(11) - 0.5,
    np.r_[1 / common.bandwidth_, 1 / common.bandwidth_[-1]],
    "k--",
    where="post",
    label="common factor",
)
ax.set(xlabel="feature (0 to 4 matter)", ylabel="sharpness w = 1 / h", xticks=features)
ax.legend(frameon=False)
for feature, (h, shared) in enumerate(zip(each.bandwidth_, common.bandwidth_, strict=True)):
    print(f"feature {feature}: h = {h:.3f}, with a common factor {shared:.3f}")
print(f"widest that matters {each.bandwidth_[:5].max():.3f}, narrowest that does not {each.bandwidth_[5:].min():.3f}")

# %%
# The gain
# --------
# R² against the true function at 2000 new inputs, and the expected loss on new rows with noisy targets.
for name, model in {"common factor": common, "one each": each}.items():
    print(f"{name}: R² {model.score(X_test, y_test):.3f}, expected loss {model.loo_loss_:.2f}")

# %%
# Slices
# ------
# The function is linear in feature 3 and does not depend on feature 7. The other features are at their medians. The
# learned model is constant along feature 7, as the function is.
figure, axes = plt.subplots(1, 2, figsize=(8, 4), layout="constrained", sharey=True)


def friedman(X):
    return 10 * np.sin(np.pi * X[:, 0] * X[:, 1]) + 20 * (X[:, 2] - 0.5) ** 2 + 10 * X[:, 3] + 5 * X[:, 4]


for ax, feature in zip(axes, (3, 7), strict=True):
    display = CurveDisplay.from_estimator(each, feature=feature, truth=friedman, ax=ax)
    print(
        f"along feature {feature}: prediction over a range of {np.ptp(display.prediction):.2f}, "
        f"truth {np.ptp(display.truth):.2f}"
    )
    ax.label_outer()

# %%
# Figures are shown, or saved into the folder that is given on the command line.
if len(sys.argv) > 1:
    for number in plt.get_fignums():
        plt.figure(number).savefig(Path(sys.argv[1], f"{Path(sys.argv[0]).stem}_{number}.png"))
else:
    plt.show()
