"""The search for a learned bandwidth as a plot of the loss."""

import numpy as np
from sklearn.base import is_classifier

from .drawing import COLOURS, add_legend, import_pyplot, make_axes, plot_line
from .pipelines import split_steps


class BandwidthDisplay:
    """The leave-one-out loss as a function of a common factor on Silverman's bandwidths, and the learned bandwidth.

    Use `from_estimator` to construct it from a fitted estimator. All parameters are stored as attributes.

    Parameters
    ----------
    factor : (n_factors,) float ndarray
        Factors on Silverman's bandwidths, in ascending order; inf is average pooling.
    loss : (n_factors,) float ndarray
        The loss of each factor.
    best_loss : float
        The loss of the learned bandwidth.
    best_factor : float, default=None
        The learned common factor. None if each feature has its own factor, or if the width follows neighbours.
    n_neighbors : int, default=None
        The number of neighbours that the width of a query follows. None if the width is fixed.
    loss_name : str, default="squared error"
        The name of the loss.

    Attributes
    ----------
    line_ : matplotlib Line2D
        The losses of finite factors.
    average_ : matplotlib Line2D or None
        The loss of average pooling, as a horizontal line. None if the search was stopped before its evaluation.
    best_ : matplotlib Line2D
        The learned bandwidth, as a point, or as a horizontal line if it is not a finite common factor.
    ax_ : matplotlib Axes
        Axes with the lines.
    figure_ : matplotlib Figure
        Figure with the axes.

    Examples
    --------
    >>> from sknw import BandwidthDisplay, NadarayaWatsonRegressor
    >>> from sknw.datasets import make_sine_trend
    >>> X, y = make_sine_trend(random_state=0)
    >>> model = NadarayaWatsonRegressor("loo").fit(X, y)
    >>> display = BandwidthDisplay.from_estimator(model)
    >>> bool(display.best_loss <= display.loss.min())
    True
    """

    def __init__(self, factor, loss, *, best_loss, best_factor=None, n_neighbors=None, loss_name="squared error"):
        self.factor = factor
        self.loss = loss
        self.best_loss = best_loss
        self.best_factor = best_factor
        self.n_neighbors = n_neighbors
        self.loss_name = loss_name

    @classmethod
    def from_estimator(cls, estimator, *, ax=None, line_kw=None):
        """Draw the losses of the search for a learned bandwidth.

        Parameters
        ----------
        estimator : estimator object
            A NadarayaWatsonRegressor or NadarayaWatsonClassifier fitted with `bandwidth` "loo" or "loo_ard", a Pipeline
            that ends with one, or a search over one of these, such as GridSearchCV, with `refit=True`.
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a figure is created.
        line_kw : dict, default=None
            Keywords for `Axes.plot` of the line.

        Returns
        -------
        display : BandwidthDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        NotFittedError
            If `estimator` is not fitted.
        TypeError
            If `estimator` is not one of the above.
        ValueError
            If the bandwidth was not learned.

        Notes
        -----
        For a pipeline or a search, the bandwidth is that of the last step.

        The line is `loo_path_`, the first stage of the search, and the learned bandwidth is drawn at `loo_loss_`. The
        point need not be on the line: with many rows the first stage uses fewer scoring rows, and the loss of one
        bandwidth for each feature is that of validation rows.
        """
        import_pyplot(f"{cls.__name__}.from_estimator")
        _, last = split_steps(estimator, cls.__name__)
        if not hasattr(last, "loo_path_"):
            raise ValueError(
                f"{cls.__name__} draws the search for a learned bandwidth, but the estimator was fitted with "
                f'bandwidth={last.bandwidth!r}; fit it with bandwidth="loo" or bandwidth="loo_ard"'
            )
        display = cls(
            last.loo_path_["factor"],
            last.loo_path_["loss"],
            best_loss=last.loo_loss_,
            best_factor=None if last.n_neighbors_ else _common_factor(last),
            n_neighbors=last.n_neighbors_,
            loss_name="Brier score" if is_classifier(last) else "squared error",
        )
        return display.plot(ax=ax, line_kw=line_kw)

    def plot(self, *, ax=None, line_kw=None):
        """Draw the losses.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a figure is created.
        line_kw : dict, default=None
            Keywords for `Axes.plot` of the line.

        Returns
        -------
        display : BandwidthDisplay
            The display itself.
        """
        self.ax_ = ax = make_axes(f"{type(self).__name__}.plot", ax)
        self.figure_ = ax.figure
        finite = np.isfinite(self.factor)
        path, average = (self.factor[finite], self.loss[finite]), self.loss[~finite]
        style = {"color": COLOURS[0], "marker": "o", "markersize": 4, "label": "common factor"}
        self.line_ = plot_line(ax, *path, line_kw, **style)
        ax.set_xscale("log", base=2)
        ax.set_xticks(2.0 ** np.arange(-8, 9, 4), ["1/256", "1/16", "1", "16", "256"])
        if self.n_neighbors is not None:
            label = f"width by n_neighbors = {self.n_neighbors}"
            self.best_ = ax.axhline(self.best_loss, color=COLOURS[1], label=label)
        elif self.best_factor is None:
            self.best_ = ax.axhline(self.best_loss, color=COLOURS[1], label="learned: one bandwidth a feature")
        elif np.isinf(self.best_factor):
            self.best_ = ax.axhline(self.best_loss, color=COLOURS[1], linewidth=4, label="learned: average pooling")
        else:
            label = f"learned: {self.best_factor:.2g} × Silverman's"
            style = {"color": COLOURS[1], "marker": "D", "markersize": 8, "linestyle": "none", "zorder": 3}
            self.best_ = plot_line(ax, [self.best_factor], [self.best_loss], None, label=label, **style)
        self.average_ = None
        if len(average):
            self.average_ = ax.axhline(average[0], color="#555555", linestyle="--", label="average pooling")
        ax.set(xlabel="bandwidth / Silverman's bandwidth", ylabel=f"leave-one-out {self.loss_name}")
        add_legend(ax)
        return self


def _common_factor(estimator):
    """The common factor of the bandwidths of an estimator on Silverman's; None if the factors differ."""
    silverman = estimator._start
    used = np.isfinite(silverman)
    if not used.any():
        return 1.0
    factors = estimator.bandwidth_[used] / silverman[used]
    return factors[0] if np.all(factors == factors[0]) or np.ptp(factors) <= 1e-9 * factors[0] else None
