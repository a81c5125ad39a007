"""Predictions as functions of one feature."""

from numbers import Integral

import numpy as np

from .._base import KernelEstimator
from .drawing import add_legend, import_pyplot, line_colours, make_axes, plot_band, plot_line
from .pipelines import feature_names, find_scalers, split_steps
from .points import as_columns, evaluate, find_feature, make_grid, points_and_values

MOST_CLASSES = 10
"""The largest number of classes that are drawn."""

RUG_STEP, RUG_HEIGHT = 0.05, 0.25
"""The largest height of the row of marks of a class below the probabilities, and of all rows of marks."""

STEP_WIDTH, POINTS_WIDTH = 0.8, 0.4
"""The widths of the line, and of the points, of a category; categories are at a distance of one."""

MOST_LETTERS = 60
"""The largest number of letters in the names of all categories that are written from left to right."""


class CurveDisplay:
    """Predictions as a function of one feature, with the training points.

    Use `from_estimator` to construct it from a fitted estimator. All parameters are stored as attributes.

    Parameters
    ----------
    grid : (n_grid,) float ndarray
        Values of the feature, or positions of its categories.
    prediction : (n_grid, n_lines) float ndarray
        Predictions, with a column for each output; for a classifier probabilities, with a column for each class.
    x : (n_points,) float ndarray, default=None
        Values of the feature at the training points.
    y : (n_points, n_lines) float ndarray, default=None
        Targets of the training points, one-hot encoded for a classifier.
    truth : (n_grid, n_lines) float ndarray, default=None
        The true values that the predictions estimate.
    interval : (n_grid, n_lines, 2) float ndarray, default=None
        Lower and upper bounds of intervals for new targets.
    coverage : float, default=None
        The coverage of the intervals, for the legend.
    quantiles : (n_grid, n_lines, n_levels) float ndarray, default=None
        Quantiles of the targets.
    levels : sequence of float, default=None
        The levels of the quantiles, for the legend.
    classes : (n_lines,) ndarray, default=None
        The class labels. None for a regressor. If there are more than 10 classes, `plot` draws the 10 with the largest
        mean probability over the grid, and the legend has a title that says so.
    feature_name : str, default="x"
        The name of the feature.
    at_medians : bool, default=False
        Whether there are other features that are numbers, which are fixed at their medians.
    at_modes : bool, default=False
        Whether there are other features that are categories, which are fixed at their most frequent value.
    categories : (n_grid,) ndarray, default=None
        The categories of the feature. None for a number.

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        The predictions, one line for each column that is drawn.
    points_ : list of matplotlib Line2D
        The training points, one element for each column that is drawn: the targets, or for a class a row of marks below
        the probabilities.
    truth_ : list of matplotlib Line2D
        The true values, one line for each column that is drawn.
    bands_ : list of matplotlib PolyCollection
        The intervals, one band for each column that is drawn.
    quantile_lines_ : list of matplotlib Line2D
        The quantiles, one line for each level of each column that is drawn.
    ax_ : matplotlib Axes
        Axes with the lines.
    figure_ : matplotlib Figure
        Figure with the axes.

    Examples
    --------
    >>> import numpy as np
    >>> from sknw import CurveDisplay, NadarayaWatsonRegressor
    >>> from sknw.datasets import make_sine_trend
    >>> X, y = make_sine_trend(random_state=0)
    >>> model = NadarayaWatsonRegressor("loo").fit(X, y)
    >>> def truth(X):
    ...     return 2 * np.sin(X[:, 0]) + X[:, 0] ** 0.8
    >>> display = CurveDisplay.from_estimator(model, truth=truth, interval=0.8)
    >>> [text.get_text() for text in display.ax_.get_legend().get_texts()]
    ['data', 'prediction', 'truth', '80 % interval']
    """

    def __init__(
        self,
        grid,
        prediction,
        *,
        x=None,
        y=None,
        truth=None,
        interval=None,
        coverage=None,
        quantiles=None,
        levels=None,
        classes=None,
        feature_name="x",
        at_medians=False,
        at_modes=False,
        categories=None,
    ):
        self.grid = grid
        self.prediction = prediction
        self.x = x
        self.y = y
        self.truth = truth
        self.interval = interval
        self.coverage = coverage
        self.quantiles = quantiles
        self.levels = levels
        self.classes = classes
        self.feature_name = feature_name
        self.at_medians = at_medians
        self.at_modes = at_modes
        self.categories = categories

    @classmethod
    def from_estimator(
        cls,
        estimator,
        *,
        feature=0,
        X=None,
        y=None,
        truth=None,
        interval=None,
        quantiles=None,
        grid_resolution=500,
        ax=None,
        line_kw=None,
        point_kw=None,
        truth_kw=None,
        band_kw=None,
        quantile_kw=None,
    ):
        """Draw predictions as a function of a feature.

        Parameters
        ----------
        estimator : estimator object
            A fitted NadarayaWatsonRegressor or NadarayaWatsonClassifier, a Pipeline that ends with one, or a search
            over one of these, such as GridSearchCV, with `refit=True`.
        feature : int or str, default=0
            Position or name of the feature among those of the axes (see Notes). All other features are fixed over X:
            numbers at their medians, categories (ordered ones, too) at their most frequent value.
        X : array-like (n_points, n_features), default=None
            Points to draw, in the form that `estimator.predict` accepts. The grid covers their range, or all
            categories. If None, the training points are drawn. Points that miss the feature are left out.
        y : array-like (n_points,) or (n_points, n_outputs), default=None
            Targets of the points. Pass it if and only if X is passed.
        truth : callable, default=None
            Function that maps points (n_grid, n_features) to their true values (n_grid,), or (n_grid, n_lines) for
            several outputs or classes. The points are an ndarray of the features of the axes (see Notes), in which
            categories are positions in `categories_`.
        interval : float, default=None
            The coverage of intervals for new targets, by `predict_interval`, which are drawn as a band; for regressors.
        quantiles : float or sequence of float, default=None
            The levels of quantiles, by `predict_quantiles`, which are drawn as lines; for regressors.
        grid_resolution : int, default=500
            Number of values of a number at which predictions are computed, at least 2.
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a figure is created.
        line_kw, point_kw, truth_kw : dict, default=None
            Keywords for `Axes.plot`, for predictions, points and truth.
        band_kw : dict, default=None
            Keywords for `Axes.fill_between`, for intervals.
        quantile_kw : dict, default=None
            Keywords for `Axes.plot`, for quantiles.

        Returns
        -------
        display : CurveDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        NotFittedError
            If `estimator` is not fitted.
        TypeError
            If `estimator` is not one of the above.
        ValueError
            If an input or a parameter is not valid; if the estimator has no features, as with `metric="precomputed"`;
            if all points miss the feature; if `interval` or `quantiles` is passed with a classifier; also in the cases
            of `predict`, `predict_interval` and `predict_quantiles`.

        Notes
        -----
        The features of the axes are the columns of X in their original units, if every step of a pipeline before the
        last one is a scaler of single columns: `MaxAbsScaler`, `MinMaxScaler`, `PowerTransformer`,
        `QuantileTransformer`, `RobustScaler` or `StandardScaler`. The training points are then transformed back.
        Otherwise, and if some of them are categories, the features are the inputs of the last step, with names from
        `get_feature_names_out` if available.

        Along a category, predictions are drawn as a step for each category, with points at random places within it.
        """
        import_pyplot(f"{cls.__name__}.from_estimator")
        transformers, last = split_steps(estimator, cls.__name__, KernelEstimator)
        if not isinstance(grid_resolution, Integral) or grid_resolution < 2:
            raise ValueError(f"grid_resolution must be a whole number, 2 or more, got {grid_resolution!r}")
        if last._table.holds_distances:
            raise ValueError(f'{cls.__name__} requires features, but metric="precomputed" has distances')
        names = feature_names(transformers, last)
        position = find_feature(feature, names)
        points, values = points_and_values(transformers, last, X, y)
        is_known = ~np.isnan(points[:, position])
        if not is_known.any():
            raise ValueError(f"feature {names[position]!r} cannot be drawn, since all of its values are missing")
        grid = make_grid(points, position, last.categories_, grid_resolution)
        others = [found is None for other, found in enumerate(last.categories_) if other != position]
        display = cls(
            grid[:, position],
            x=points[is_known, position],
            y=values[is_known],
            truth=None if truth is None else as_columns(truth(grid), (len(grid), values.shape[1]), "truth(grid)"),
            classes=getattr(last, "classes_", None),
            feature_name=names[position],
            at_medians=any(others),
            at_modes=not all(others),
            categories=last.categories_[position],
            **evaluate(find_scalers(transformers, last), last, grid, interval, quantiles),
        )
        keywords = {"line_kw": line_kw, "point_kw": point_kw, "truth_kw": truth_kw}
        return display.plot(ax=ax, **keywords, band_kw=band_kw, quantile_kw=quantile_kw)

    def plot(self, *, ax=None, line_kw=None, point_kw=None, truth_kw=None, band_kw=None, quantile_kw=None):
        """Draw the lines, the points and the bands.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a figure is created.
        line_kw, point_kw, truth_kw : dict, default=None
            Keywords for `Axes.plot`, for predictions, points and truth.
        band_kw : dict, default=None
            Keywords for `Axes.fill_between`, for intervals.
        quantile_kw : dict, default=None
            Keywords for `Axes.plot`, for quantiles.

        Returns
        -------
        display : CurveDisplay
            The display itself.
        """
        self.ax_ = ax = make_axes(f"{type(self).__name__}.plot", ax)
        self.figure_ = ax.figure
        drawn = self._drawn_columns()
        colours = line_colours(len(drawn))
        self.points_ = [] if self.x is None else self._plot_points(drawn, colours, point_kw)
        self.lines_ = self._plot_columns(self.prediction[:, drawn], colours, self._labels(drawn), line_kw, linewidth=2)
        self.truth_ = [] if self.truth is None else self._plot_truth(drawn, colours, truth_kw)
        self.bands_ = [] if self.interval is None else self._plot_bands(drawn, colours, band_kw)
        self.quantile_lines_ = [] if self.quantiles is None else self._plot_quantiles(drawn, colours, quantile_kw)
        fixed = " or ".join(["medians"] * self.at_medians + ["modes"] * self.at_modes)
        others = f"\n(other features at their {fixed})" if fixed else ""
        ax.set(xlabel=f"{self.feature_name}{others}", ylabel="y" if self.classes is None else "probability")
        if self.categories is not None:
            labels = [str(category) for category in self.categories]
            ax.set_xticks(self.grid, labels, rotation=90 if len("".join(labels)) > MOST_LETTERS else 0)
        n_columns = self.prediction.shape[1]
        add_legend(ax, None if len(drawn) == n_columns else f"the {MOST_CLASSES} most probable of {n_columns} classes")
        return self

    def _drawn_columns(self):
        """The columns to draw in ascending order: all, or the classes of largest mean probability if there are many."""
        n_columns = self.prediction.shape[1]
        if self.classes is None or n_columns <= MOST_CLASSES:
            return np.arange(n_columns)
        sums = np.nansum(self.prediction, axis=0)  # a prediction is nan in all columns or in none
        return np.sort(np.argsort(-sums, kind="stable")[:MOST_CLASSES])

    def _steps(self, *columns):
        """The grid and columns (n_grid,) at its points, or along the step of each category, with gaps between these."""
        if self.categories is None:
            return self.grid, *columns
        x = self.grid[:, None] + [-STEP_WIDTH / 2, STEP_WIDTH / 2, np.nan]
        return x.ravel(), *(np.repeat(column, 3) for column in columns)

    def _labels(self, drawn):
        if self.classes is not None:
            return [str(self.classes[k]) for k in drawn]
        return ["prediction"] if len(drawn) == 1 else [f"prediction of output {k}" for k in drawn]

    def _plot_columns(self, columns, colours, labels, given, **style):
        return [
            plot_line(self.ax_, *self._steps(column), given, color=colour, label=label, **style)
            for column, colour, label in zip(columns.T, colours, labels, strict=True)
        ]

    def _plot_truth(self, drawn, colours, given):
        """Draw dashed lines, of which the legend has the first."""
        labels = ["truth"] + [None] * (len(colours) - 1)
        colours = ["black"] if len(colours) == 1 else colours
        style = {"linewidth": 1.2, "linestyle": "--"}
        return self._plot_columns(self.truth[:, drawn], colours, labels, given, **style)

    def _plot_bands(self, drawn, colours, given):
        """Draw light bands below everything else, of which the legend has the first."""
        labels = [f"{100 * self.coverage:g} % interval"] + [None] * (len(drawn) - 1)
        style = {"alpha": 0.2, "linewidth": 0, "zorder": 0.9}
        return [
            plot_band(self.ax_, *self._steps(*bounds.T), given, color=colour, label=label, **style)
            for bounds, colour, label in zip(self.interval[:, drawn].swapaxes(0, 1), colours, labels, strict=True)
        ]

    def _plot_quantiles(self, drawn, colours, given):
        """Draw a thin line for each level of each column, of which the legend has the first."""
        columns = self.quantiles[:, drawn].reshape(len(self.grid), -1)
        labels = [f"quantiles {', '.join(f'{level:g}' for level in self.levels)}"] + [None] * (columns.shape[1] - 1)
        return self._plot_columns(columns, np.repeat(colours, len(self.levels), axis=0), labels, given, linewidth=0.8)

    def _plot_points(self, drawn, colours, given):
        """Draw targets, with smaller and fainter markers if there are many, or a row of marks for each class."""
        density, x = 1 / np.sqrt(len(self.x)), self.x
        if self.categories is not None:
            x = x + np.random.default_rng(0).uniform(-POINTS_WIDTH / 2, POINTS_WIDTH / 2, size=len(x))
        style = {"linestyle": "none", "alpha": np.clip(15 * density, 0.1, 0.6), "zorder": 1}
        if self.classes is None:
            points = [(x, column) for column in self.y.T[drawn]]
            style |= {"marker": "o", "markeredgewidth": 0, "markersize": np.clip(90 * density, 2, 5)}
        else:
            step = min(RUG_STEP, RUG_HEIGHT / len(colours))
            members = enumerate(self.y.T[drawn] > 0, start=1)
            points = [(x[is_member], np.full(is_member.sum(), -step * k)) for k, is_member in members]
            style |= {"marker": "|", "markersize": 120 * step}
            self.ax_.set_yticks(np.linspace(0, 1, 6))
        if len(colours) == 1:
            colours, style["label"] = ["#555555"], "data"
        return [
            plot_line(self.ax_, *point, given, color=colour, **style)
            for point, colour in zip(points, colours, strict=True)
        ]
