"""
Kernels
=======

Five kernels with the same bandwidth: their shapes, their predictions from the same fifty observations, and their
attention weights. A kernel K defines how the weight of a key decreases with its distance u from the query, in units of
the bandwidth.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from sknw import AttentionDisplay, CurveDisplay, NadarayaWatsonRegressor
from sknw.datasets import make_sine_trend

COLOURS = {
    "gaussian": "#0072B2",
    "boxcar": "#D55E00",
    "constant": "#000000",
    "triangular": "#009E73",
    "epanechnikov": "#CC79A7",
}
STYLES = dict(zip(COLOURS, ["-", "--", ":", "-.", "-"], strict=True))


def six_panels(**shared):
    """A figure with a panel for each kernel, and one for all of them."""
    figure, axes = plt.subplots(2, 3, figsize=(8, 5), layout="constrained", **shared)
    *panels, last = axes.flat
    for ax, kernel in zip(panels, COLOURS, strict=True):
        ax.set_title(kernel)
    return figure, dict(zip(COLOURS, panels, strict=True)), last


def draw_line(ax, x, y, kernel):
    ax.plot(x, y, color=COLOURS[kernel], linestyle=STYLES[kernel], label=kernel)


# %%
# Shapes
# ------
# The attention weights of a query at 0, divided by the weight of the key at 0, are the values K(u) of the kernel. The
# Gaussian and the constant kernel give weight to every key, the others to keys within one bandwidth. Some textbooks on
# attention pooling use the name "Epanechnikov" for max(0, 1 - u), which is the triangular kernel; the Epanechnikov
# kernel is the parabola max(0, 1 - u²).
u = np.linspace(-2.5, 2.5, 501)
_, panels, together = six_panels(sharex=True, sharey=True)
shapes = {}
for kernel, ax in panels.items():
    weights = NadarayaWatsonRegressor(1.0, kernel=kernel).fit(u[:, None], u).attention_weights([[0.0]])[0]
    shapes[kernel] = weights / weights[250]
    for panel in (ax, together):
        draw_line(panel, u, shapes[kernel], kernel)
together.set_title("all five")
for ax in (*list(panels.values())[3:], together):
    ax.set_xlabel("u")
for ax in (panels["gaussian"], panels["triangular"]):
    ax.set_ylabel("K(u)")
for kernel, shape in shapes.items():
    print(f"shape of {kernel:<12} K(0.5) = {shape[300]:.3f}, K(2) = {shape[450]:.3f}")
textbook, parabola = np.maximum(0, 1 - np.abs(u)), np.maximum(0, 1 - u**2)
print(f"triangular - max(0, 1 - u): at most {np.abs(shapes['triangular'] - textbook).max():.0e}")
print(f"epanechnikov - max(0, 1 - u²): at most {np.abs(shapes['epanechnikov'] - parabola).max():.0e}")

# %%
# Predictions
# -----------
# With h = 1 the prediction of the boxcar kernel jumps wherever a key enters or leaves its support: its largest step
# between neighbouring queries, 0.01 apart, is far above those of the Gaussian, the triangular and the Epanechnikov
# kernel. The prediction of the constant kernel has no steps.
X, y = make_sine_trend(random_state=0)
models = {kernel: NadarayaWatsonRegressor(1.0, kernel=kernel).fit(X, y) for kernel in COLOURS}
queries = np.linspace(0, 5, 500)[:, None]
truth = 2 * np.sin(queries[:, 0]) + queries[:, 0] ** 0.8
_, panels, together = six_panels(sharex=True, sharey=True)
for kernel, ax in panels.items():
    CurveDisplay.from_estimator(models[kernel], truth=lambda X: 2 * np.sin(X[:, 0]) + X[:, 0] ** 0.8, ax=ax)
    predictions = models[kernel].predict(queries)
    error, step = np.mean(np.square(predictions - truth)), np.abs(np.diff(predictions)).max()
    print(f"fit by {kernel:<12} mean squared error {error:.3f}, largest step {step:.3f}")
together.set_axis_off()
together.legend(*ax.get_legend_handles_labels(), loc="center", frameon=False)
for ax in panels.values():
    ax.get_legend().remove()
    ax.label_outer()
panels["constant"].tick_params(labelbottom=True)
panels["constant"].set(ylim=(-1, 4.5), xlabel="x")

# %%
# Attention
# ---------
# The weights of 50 queries, and in the last panel those of a query in the middle. Each heatmap has its own colour
# scale. With the three kernels of bounded support, most pairs have zero weight. The other kernels give weight to all
# pairs, the constant kernel the same weight to each.
queries = np.linspace(0, 5, 50)[:, None]
figure, panels, together = six_panels()
for kernel, ax in panels.items():
    AttentionDisplay.from_estimator(models[kernel], queries, ax=ax, colorbar=False)
    attention = models[kernel].attention_weights(queries)
    pairs = np.mean(attention > 0)
    draw_line(together, X[:, 0], attention[25], kernel)
    print(f"attention by {kernel:<12} pairs with weight {pairs:4.0%}, weights up to {attention.max():.3f}")
together.set(title=f"query at {queries[25, 0]:.2f}", xlabel="x of the key", ylabel="attention weight")
figure.legend(*together.get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
for ax in panels.values():
    ax.label_outer()
panels["constant"].tick_params(labelbottom=True)

# %%
# Figures are shown, or saved into the folder that is given on the command line.
if len(sys.argv) > 1:
    for number in plt.get_fignums():
        plt.figure(number).savefig(Path(sys.argv[1], f"{Path(sys.argv[0]).stem}_{number}.png"))
else:
    plt.show()
