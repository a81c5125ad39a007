"""
A learned width
===============

The error on the training points themselves does not show which width is best. The error of predicting each point from
all others does. Learning the width by this error is known as parametric attention pooling, and in statistics as
leave-one-out cross-validation. Textbooks use gradient descent with respect to w = 1 / h; ``bandwidth="loo"`` searches
for the optimum.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from sknw import AttentionDisplay, BandwidthDisplay, CurveDisplay, NadarayaWatsonRegressor
from sknw.datasets import make_sine_trend

COLOURS = ("#0072B2", "#D55E00", "#009E73")


def truth(X):
    return 2 * np.sin(X[:, 0]) + X[:, 0] ** 0.8


X, y = make_sine_trend(random_state=0)
learned = NadarayaWatsonRegressor("loo").fit(X, y)
h = learned.bandwidth_[0]


def in_sample(h):
    return np.mean(np.square(NadarayaWatsonRegressor(h).fit(X, y).predict(X) - y))


def leave_one_out(h):
    return np.mean(np.square(NadarayaWatsonRegressor(h).fit(X, y).predict(None) - y))


# %%
# The training error is no guide
# ------------------------------
# A training point that can attend to itself is predicted best if it attends to nothing else. The training error
# decreases with h down to zero, where nothing has been learned. A point that is left out of its own prediction needs
# its neighbours, and the leave-one-out error has a minimum at a useful width.
widths = np.geomspace(1e-4, 10, 101)
_, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
for name, error_at, style in [("in sample", in_sample, "--"), ("leave-one-out", leave_one_out, "-")]:
    errors = [error_at(width) for width in widths]
    ax.semilogx(widths, errors, style, color=COLOURS[name == "in sample"], label=name)
    print(f"{name}: of h from {widths[0]:g} to {widths[-1]:g}, best {widths[np.argmin(errors)]:.4f}: {min(errors):.4f}")
ax.plot(h, learned.loo_loss_, "D", color="black", label="learned")
ax.set(xlabel="bandwidth h", ylabel="mean squared error")
ax.xaxis.set_major_formatter("{x:g}")
ax.legend(frameon=False)
print(f"learned: h = {h:.4f}, w = {1 / h:.3f}, leave-one-out error {learned.loo_loss_:.4f}")

# %%
# The search
# ----------
# The search evaluates factors on Silverman's bandwidth, and then refines the best of them. The learned factor is below
# 1: Silverman's rule does not use y, and this function varies more than the rule assumes.
BandwidthDisplay.from_estimator(learned)
silverman = NadarayaWatsonRegressor().fit(X, y)
print(
    f"Silverman's h = {silverman.bandwidth_[0]:.4f}, leave-one-out error {leave_one_out(silverman.bandwidth_[0]):.4f}"
)
print(f"factor {h / silverman.bandwidth_[0]:.3f}, evaluations {learned.n_iter_}")

# %%
# Gradient descent
# ----------------
# The textbook starts from a random w in [0, 1] and takes five steps with a rate of 0.5. The same is done here from
# three values of w, with central differences as gradients. Every step decreases the loss, but none reaches the learned
# loss. From w = 0.1 the descent goes in the wrong direction, towards w = 0, which is average pooling.
starts, steps, rate = (0.1, 0.5, 0.9), 5, 0.5
_, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
for start, marker, colour in zip(starts, "osv", COLOURS, strict=True):
    w, losses = start, [leave_one_out(1 / start)]
    for _ in range(steps):
        w -= rate * (leave_one_out(1 / (w + 1e-5)) - leave_one_out(1 / (w - 1e-5))) / 2e-5
        losses.append(leave_one_out(1 / w))
    ax.plot(losses, f"{marker}-", color=colour, label=f"descent from w = {start}")
    print(f"descent from w = {start}: w = {w:.3f}, losses {' '.join(f'{loss:.6f}' for loss in losses)}")
ax.axhline(learned.loo_loss_, color="black", linestyle="--", label="learned")
ax.set(xlabel="step", ylabel="leave-one-out error", ylim=(0, None))
ax.legend(loc="lower center", ncols=2, frameon=False)
print(f"learned loss {learned.loo_loss_:.6f}")

# %%
# A wide kernel
# -------------
# With h = 1, which is wider than Silverman's bandwidth, attention is spread over many keys, and the prediction is
# flatter than the true function.
grid = np.linspace(0, 5, 500)[:, None]


def draw(name, model):
    """The prediction, and the attention weights of the training points."""
    _, (left, right) = plt.subplots(1, 2, figsize=(7, 3.2), layout="constrained", width_ratios=(1, 1.15))
    CurveDisplay.from_estimator(model, truth=truth, ax=left)
    AttentionDisplay.from_estimator(model, X, ax=right)
    error = np.mean(np.square(model.predict(grid) - truth(grid)))
    weights = model.attention_weights_.max(axis=1)
    print(f"{name}: median largest weight {np.median(weights):.3f}, error against the truth {error:.3f}")


draw("h = 1", NadarayaWatsonRegressor(1.0).fit(X, y))

# %%
# Sharper attention
# -----------------
# With the learned width the heatmap is sharper, and the prediction follows the true function.
draw("learned", learned)

# %%
# Figures are shown, or saved into the folder that is given on the command line.
if len(sys.argv) > 1:
    for number in plt.get_fignums():
        plt.figure(number).savefig(Path(sys.argv[1], f"{Path(sys.argv[0]).stem}_{number}.png"))
else:
    plt.show()
