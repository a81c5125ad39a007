"""Cost against n = m for this package beside peers, Gaussian kernel, one and two features."""

from functools import partial

import matplotlib
import numpy as np
from contenders import contenders
from PIL import Image
from problems import make_problem
from tables import FAILURES
from timing import cut_queries, time_interleaved, time_prediction

LINES = {
    "auto": ("scikit-nw, auto", "#0072B2", "o-"),
    "dense": ("scikit-nw, dense", "#000000", "^-"),
    "nonuniform_fft": ("finufft", "#D55E00", "s:"),
    "fft_kde": ("KDEpy FFTKDE", "#E69F00", "D:"),
    "torch_attention": ("torch attention", "#56B4E9", "v--"),
    "keops": ("KeOps", "#CC79A7", "P--"),
    "statsmodels": ("statsmodels", "#777777", "X--"),
    "kernel_density": ("KernelDensity", "#009E73", "d--"),
}
"""Contenders that are drawn: label, colour (Okabe & Ito's, for all kinds of sight), marker and dash; this package's
lines are solid, and those of contenders that are wrong in the tails dotted."""

SIZES = (10**3, 10**4, 10**5, 10**6)


def time_sizes(n_features, rounds):
    """Median seconds of each contender that is drawn: a dict by name of dicts by n."""
    costs = {name: {} for name in LINES}
    for n in SIZES:
        problem = make_problem(n_features, n, n)
        measures = {}
        for name, contender in contenders(problem).items():
            if name not in LINES:
                continue
            try:
                timed = cut_queries(contender.predict, problem, contender.cost)
            except FAILURES:
                continue
            measures[name] = partial(time_prediction, contender.predict, problem, timed)
        for name, seconds in time_interleaved(measures, rounds).items():
            costs[name][n] = np.median(seconds)
    return costs


def plot_costs(path, rounds):
    """Draw the figure, 600 pixels wide on a page, into a file."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(6, 4), sharey=True, layout="constrained")
    for n_features, panel in enumerate(panels, start=1):
        for name, costs in time_sizes(n_features, rounds).items():
            if not costs:
                continue
            label, colour, style = LINES[name]
            width = 2 if style.endswith("-") and not style.endswith("--") else 1.2
            panel.loglog(list(costs), list(costs.values()), style, color=colour, label=label, lw=width, ms=4)
        panel.set_title(f"{n_features} feature{'s' if n_features > 1 else ''}", fontsize=10)
        panel.set_xlabel("n training points = n queries")
        panel.grid(color="#dddddd", lw=0.5)
    panels[0].set_ylabel("seconds, one thread")
    handles = {line.get_label(): line for panel in panels for line in panel.lines}
    figure.legend(
        handles=[handles[label] for label, *_ in LINES.values() if label in handles],
        loc="outside lower center",
        ncols=4,
        fontsize=8,
        frameon=False,
    )
    figure.savefig(path, dpi=150)
    Image.open(path).convert("RGB").quantize(64).save(path, optimize=True)
