"""Pictures for the documentation, 900 pixels wide: costs against n = m, losses on real data, coverage of intervals."""

import matplotlib
from contenders import LINES
from distribution import BINS
from distribution_peers import COVERAGE
from quality import ranked_losses

OWN = ("local_linear", "loo_ard", "loo", "silverman")
"""Contenders with a rank on real data that are of this package."""

GROWING = ("growing noise", "three features")
"""Simulated problems whose noise depends on the first feature."""

INTERVALS = {
    "loo": ("scikit-nw, loo", "#0072B2"),
    "loo, CV+": ("MAPIE's CV+ of the same", "#D55E00"),
    "quantile_forest": ("quantile forest", "#009E73"),
}
"""How contenders on simulated problems are drawn: label and colour."""

RATIOS = (0.5, 0.7, 1, 1.4, 2, 3)
"""Ticks of an axis of relative losses."""


def plot_costs(rows, path):
    """Draw this package beside peers, from the rows of the table of costs."""
    figure, panels = _panels(sharey=True)
    for panel, n_features in zip(panels, (1, 2), strict=True):
        for name, (label, colour, style) in LINES.items():
            points = [(n, seconds) for d, n, contender, seconds in rows if (d, contender) == (n_features, name)]
            if points:
                panel.loglog(*zip(*points, strict=True), style, color=colour, label=label, lw=1.5, ms=4)
        panel.set_title(f"{n_features} feature{'s' if n_features > 1 else ''}", fontsize=10)
        panel.set_xlabel("n training points = n queries")
        panel.grid(color="#dddddd", lw=0.5)
    panels[0].set_ylabel("seconds, one thread")
    handles = {line.get_label(): line for panel in panels for line in panel.lines}
    figure.legend(handles=handles.values(), loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    _save(figure, path)


def plot_ratios(rows, path):
    """Draw quantiles of losses over data sets, in those of the better of "loo" and "loo_ard", by mean rank."""
    figure, panels = _panels()
    for panel, kind, loss in zip(panels, ("regression", "classification"), ("RMSE", "Brier score"), strict=True):
        ratios = ranked_losses(rows, kind)
        for place, name in enumerate(ratios):
            low, first, middle, third, high = ratios[name].quantile([0.1, 0.25, 0.5, 0.75, 0.9])
            colour = "#0072B2" if name in OWN else "#777777"
            panel.plot([low, high], [place, place], color=colour, lw=1)
            panel.plot([first, third], [place, place], color=colour, lw=5, solid_capstyle="butt")
            panel.plot(middle, place, "o", color="white", mec=colour, ms=5)
        panel.axvline(1, color="#000000", lw=0.5)
        panel.set_title(f"{kind}, {len(ratios)} data sets", fontsize=10)
        panel.set_xlabel(f"{loss}, in that of\nthe better of loo and loo_ard", fontsize=9)
        panel.set_xscale("log")
        panel.set_xticks(RATIOS, RATIOS, fontsize=8)
        panel.minorticks_off()
        panel.set_yticks(range(len(ratios.columns)), ratios, fontsize=8)
        panel.invert_yaxis()
        panel.grid(axis="x", color="#dddddd", lw=0.5)
    _save(figure, path)


def plot_coverage(rows, path):
    """Draw the coverage of intervals in bins of the first feature, where the noise depends on it."""
    figure, panels = _panels(sharey=True)
    bins, n = range(1, BINS + 1), rows["n"].max()
    for panel, problem in zip(panels, GROWING, strict=True):
        shares = rows[(rows["problem"] == problem) & (rows["n"] == n)].set_index("contender")
        for name, (label, colour) in INTERVALS.items():
            if name in shares.index:
                share = shares.loc[name, [f"bin {k}" for k in bins]]
                panel.plot(bins, share, "o-", color=colour, label=label, lw=1.5, ms=4)
        panel.axhline(COVERAGE, color="#000000", lw=0.5)
        panel.set_title(f"{problem}, n = {n:,}", fontsize=10)
        panel.set_xlabel("bin of the first feature")
        panel.grid(color="#dddddd", lw=0.5)
    panels[0].set_ylabel("coverage of 0.9 intervals")
    lines, texts = panels[0].get_legend_handles_labels()
    figure.legend(lines, texts, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    _save(figure, path)


def _panels(**keywords):
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt.subplots(1, 2, figsize=(6, 4), layout="constrained", **keywords)


def _save(figure, path):
    import matplotlib.pyplot as plt
    from PIL import Image

    figure.savefig(path, dpi=150)
    plt.close(figure)
    Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)
