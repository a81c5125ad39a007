"""Draw cost against n = m, for this package beside peers, from the table of costs."""

import matplotlib
from contenders import LINES


def plot_costs(rows, path):
    """Draw the rows of costs into a file, 900 pixels wide."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from PIL import Image

    figure, panels = plt.subplots(1, 2, figsize=(6, 4), sharey=True, layout="constrained")
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
    figure.savefig(path, dpi=150)
    plt.close(figure)
    Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)
