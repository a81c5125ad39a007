"""Axes, colours, lines, bands and legends of displays; matplotlib is imported only when a display is drawn."""

import numpy as np

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""The palette of Okabe & Ito, which is suitable for colour-blind readers, without its yellow."""


def import_pyplot(caller):
    """Import matplotlib.pyplot; the ImportError names the caller."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{caller} requires matplotlib. You can install matplotlib with `pip install matplotlib`"
        ) from error
    return plt


def make_axes(caller, ax):
    """The given axes, or the axes of a new figure."""
    plt = import_pyplot(caller)
    return plt.subplots(layout="constrained")[1] if ax is None else ax


def line_colours(n):
    """Colours for n lines."""
    if n <= len(COLOURS):
        return COLOURS[:n]
    from matplotlib import colormaps

    return list(colormaps["viridis"](np.linspace(0, 0.95, n)))


def plot_line(ax, x, y, given, **style):
    """Plot one line, in a style that the given keywords override."""
    from matplotlib.cbook import normalize_kwargs
    from matplotlib.lines import Line2D

    return ax.plot(x, y, **(normalize_kwargs(style, Line2D) | normalize_kwargs(given or {}, Line2D)))[0]


def plot_band(ax, x, low, high, given, **style):
    """Fill the area between two lines, in a style that the given keywords override."""
    from matplotlib.cbook import normalize_kwargs
    from matplotlib.collections import PolyCollection

    return ax.fill_between(
        x, low, high, **(normalize_kwargs(style, PolyCollection) | normalize_kwargs(given or {}, PolyCollection))
    )


def add_legend(ax, title=None):
    """Add a legend above the data, with as many columns as fit, and extend the axis so that they do not overlap."""
    n_labels = len(ax.get_legend_handles_labels()[1])
    if n_labels == 0:
        return
    for n_columns in range(n_labels, 0, -1):
        style = {"loc": "upper center", "frameon": False, "handlelength": 1.6, "columnspacing": 1.4}
        legend = ax.legend(ncols=n_columns, title=title, **style)
        box = legend.get_window_extent()
        if box.width <= ax.bbox.width:
            break
    for line in legend.get_lines():
        line.set(alpha=1, markersize=6)
    ax.autoscale(axis="y")
    low, high = ax.get_ylim()
    share = min(box.height / ax.bbox.height, 0.5)
    ax.set_ylim(low, high + (high - low) * share / (1 - share))
