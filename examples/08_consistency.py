"""
Consistency
===========

With more data, a learned bandwidth gets smaller, and so does the error. For a smooth function of d features, theory
predicts the rates: the best h decreases as n^(-1/(d+4)), and the root mean squared error as n^(-2/(d+4)). Where the
function is steep at the boundary of the data, another rate holds.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from sknw import NadarayaWatsonRegressor

DRAWS = (100, 25, 12)
"""How many data sets of each size: more of the small ones, which cost less and differ more."""


def flat(X):
    """Its slope is zero at the edges, 0 and 1."""
    return np.cos(2 * np.pi * X).mean(axis=1)


def steep(X):
    """Its slope is largest at the edges."""
    return np.sin(2 * np.pi * X).mean(axis=1)


def learn(function, n_features, n, seed):
    """The learned h, and the error at 1000 other points, of n observations with noise of 0.5."""
    rng = np.random.default_rng((n_features, n, seed))
    X, queries = rng.uniform(size=(n, n_features)), rng.uniform(size=(1000, n_features))
    model = NadarayaWatsonRegressor("loo").fit(X, function(X) + 0.5 * rng.normal(size=n))
    error = np.sqrt(np.mean(np.square(model.predict(queries) - function(queries))))
    return model.bandwidth_[0], error


# %%
# Rates
# -----
# Each point is the geometric mean over draws of the data, and each line has the slope predicted by theory, through the
# mean of its points. The learned h and the error differ from draw to draw: the exponents fitted here have standard
# errors of 0.01 to 0.02. The theory is asymptotic, and differs from the exponents at these sizes: all below are within
# 0.03, plus three standard errors, of it.
#
# At a steep boundary all neighbours are on one side, so the bias there is of order h instead of h². This holds for a
# share h of the data, and the mean squared bias is of order h³ instead of h⁴. The best h of one feature then decreases
# as n^(-1/4), and the error as n^(-3/8).
cases = {
    "flat at the edges, d = 1": (flat, 1, (200, 1600, 12800), (-1 / 5, -2 / 5), "#0072B2", "o"),
    "flat at the edges, d = 2": (flat, 2, (200, 600, 1800), (-1 / 6, -2 / 6), "#009E73", "s"),
    "steep at the edges, d = 1": (steep, 1, (200, 1600, 12800), (-1 / 4, -3 / 8), "#D55E00", "v"),
}
figure, axes = plt.subplots(1, 2, figsize=(7.5, 4.2), layout="constrained")
for name, (function, n_features, sizes, exponents, colour, marker) in cases.items():
    draws = [
        np.log([learn(function, n_features, n, seed) for seed in range(count)])
        for n, count in zip(sizes, DRAWS, strict=True)
    ]
    means = np.stack([logs.mean(axis=0) for logs in draws])
    variances = np.stack([logs.var(axis=0, ddof=1) / len(logs) for logs in draws])
    centred = np.log(sizes) - np.log(sizes).mean()
    slope = centred / np.sum(centred**2)
    for ax, what, measured, exponent, standard_error, expected in zip(
        axes, ("learned h", "error"), means.T, slope @ means, np.sqrt(slope**2 @ variances), exponents, strict=True
    ):
        print(
            f"{name}, {what}: n^{exponent:.3f} ± {standard_error:.3f}, theory n^{expected:.3f}; "
            f"{', '.join(f'{mean:.4f}' for mean in np.exp(measured))}"
        )
        ax.loglog(sizes, np.exp(measured), marker, color=colour, label=name)
        ax.loglog(sizes, np.exp(measured.mean() + expected * centred), "--", color=colour)
        ax.set(xlabel="n", ylabel=what)
axes[0].plot([], "--", color="black", label="slope by theory")
for ax in axes:
    ax.set_xticks([200, 1600, 12800])
    ax.set_yticks([0.02, 0.03, 0.05, 0.1])
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")
_ = figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)

# %%
# Figures are shown, or saved into the folder that is given on the command line.
if len(sys.argv) > 1:
    for number in plt.get_fignums():
        plt.figure(number).savefig(Path(sys.argv[1], f"{Path(sys.argv[0]).stem}_{number}.png"))
else:
    plt.show()
