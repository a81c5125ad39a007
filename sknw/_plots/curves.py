"""Predictions as functions of one feature."""

from numbers import Integral

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils import check_array, check_consistent_length, column_or_1d

from .._base import KernelEstimator
from .._inputs import to_dense
from .drawing import add_legend, import_pyplot, line_colours, make_axes, plot_line
from .pipelines import feature_names, find_scalers, inverse_transform, split_steps, transform, unnamed_columns

MOST_CLASSES = 10
"""The largest number of classes that are drawn."""

RUG_STEP, RUG_HEIGHT = 0.05, 0.25
"""The largest height of the row of marks of a class below the probabilities, and of all rows of marks."""


class CurveDisplay:
    """Predictions as a function of one feature, with the training points.

    Use `from_estimator` to construct it from a fitted estimator. All parameters are stored as attributes.

    Parameters
    ----------
    grid : (n_grid,) float ndarray
        Values of the feature.
    prediction : (n_grid, n_lines) float ndarray
        Predictions, with a column for each output; for a classifier probabilities, with a column for each class.
    x : (n_points,) float ndarray, default=None
        Values of the feature at the training points.
    y : (n_points, n_lines) float ndarray, default=None
        Targets of the training points, one-hot encoded for a classifier.
    truth : (n_grid, n_lines) float ndarray, default=None
        The true values that the predictions estimate.
    classes : (n_lines,) ndarray, default=None
        The class labels. None for a regressor. If there are more than 10 classes, `plot` draws the 10 with the largest
        mean probability over the grid, and the legend has a title that says so.
    feature_name : str, default="x"
        The name of the feature.
    at_medians : bool, default=False
        Whether there are other features, which are fixed at their medians.

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        The predictions, one line for each column that is drawn.
    points_ : list of matplotlib Line2D
        The training points, one element for each column that is drawn: the targets, or for a class a row of marks below
        the probabilities.
    truth_ : list of matplotlib Line2D
        The true values, one line for each column that is drawn.
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
    >>> display = CurveDisplay.from_estimator(model, truth=lambda X: 2 * np.sin(X[:, 0]) + X[:, 0] ** 0.8)
    >>> [text.get_text() for text in display.ax_.get_legend().get_texts()]
    ['data', 'prediction', 'truth']
    """

    def __init__(
        self,
        grid,
        prediction,
        *,
        x=None,
        y=None,
        truth=None,
        classes=None,
        feature_name="x",
        at_medians=False,
    ):
        self.grid = grid
        self.prediction = prediction
        self.x = x
        self.y = y
        self.truth = truth
        self.classes = classes
        self.feature_name = feature_name
        self.at_medians = at_medians

    @classmethod
    def from_estimator(
        cls,
        estimator,
        *,
        feature=0,
        X=None,
        y=None,
        truth=None,
        grid_resolution=500,
        ax=None,
        line_kw=None,
        point_kw=None,
        truth_kw=None,
    ):
        """Draw predictions as a function of a feature.

        Parameters
        ----------
        estimator : estimator object
            A fitted NadarayaWatsonRegressor or NadarayaWatsonClassifier, a Pipeline that ends with one, or a search
            over one of these, such as GridSearchCV, with `refit=True`.
        feature : int or str, default=0
            Position or name of the feature among those of the axes (see Notes). All other features are fixed at their
            medians over X.
        X : array-like (n_points, n_features), default=None
            Points to draw, in the form that `estimator.predict` accepts. The grid covers their range. If None, the
            training points are drawn.
        y : array-like (n_points,) or (n_points, n_outputs), default=None
            Targets of the points. Pass it if and only if X is passed.
        truth : callable, default=None
            Function that maps points (n_grid, n_features) to their true values (n_grid,), or (n_grid, n_lines) for
            several outputs or classes. The points are an ndarray of the features of the axes (see Notes).
        grid_resolution : int, default=500
            Number of values of the feature at which predictions are computed, at least 2.
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a figure is created.
        line_kw, point_kw, truth_kw : dict, default=None
            Keywords for `Axes.plot`, for predictions, points and truth.

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
            If an input or a parameter is not valid; also in the cases of `predict`.

        Notes
        -----
        The features of the axes are the columns of X in their original units, if every step of a pipeline before the
        last one is a scaler of single columns: `MaxAbsScaler`, `MinMaxScaler`, `PowerTransformer`,
        `QuantileTransformer`, `RobustScaler` or `StandardScaler`. The training points are then transformed back.
        Otherwise the features are the inputs of the last step, with names from `get_feature_names_out` if available.
        """
        import_pyplot(f"{cls.__name__}.from_estimator")
        transformers, last = split_steps(estimator, cls.__name__, KernelEstimator)
        if not isinstance(grid_resolution, Integral) or grid_resolution < 2:
            raise ValueError(f"grid_resolution must be a whole number, 2 or more, got {grid_resolution!r}")
        names = feature_names(transformers, last)
        position = _find_feature(feature, names)
        points, values = _points_and_values(transformers, last, X, y)
        grid = np.tile(np.median(points, axis=0), (grid_resolution, 1))
        grid[:, position] = np.linspace(points[:, position].min(), points[:, position].max(), grid_resolution)
        shape = grid_resolution, values.shape[1]
        display = cls(
            grid[:, position],
            _predict(find_scalers(transformers), last, grid),
            x=points[:, position],
            y=values,
            truth=None if truth is None else _as_columns(truth(grid), shape, "truth(grid)"),
            classes=getattr(last, "classes_", None),
            feature_name=names[position],
            at_medians=len(names) > 1,
        )
        return display.plot(ax=ax, line_kw=line_kw, point_kw=point_kw, truth_kw=truth_kw)

    def plot(self, *, ax=None, line_kw=None, point_kw=None, truth_kw=None):
        """Draw the lines and the points.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a figure is created.
        line_kw, point_kw, truth_kw : dict, default=None
            Keywords for `Axes.plot`, for predictions, points and truth.

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
        self.truth_ = []
        if self.truth is not None:
            labels = ["truth"] + [None] * (len(colours) - 1)
            colours = ["black"] if len(colours) == 1 else colours
            style = {"linewidth": 1.2, "linestyle": "--"}
            self.truth_ = self._plot_columns(self.truth[:, drawn], colours, labels, truth_kw, **style)
        medians = "\n(other features at their medians)" if self.at_medians else ""
        ax.set(xlabel=f"{self.feature_name}{medians}", ylabel="y" if self.classes is None else "probability")
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

    def _labels(self, drawn):
        if self.classes is not None:
            return [str(self.classes[k]) for k in drawn]
        return ["prediction"] if len(drawn) == 1 else [f"prediction of output {k}" for k in drawn]

    def _plot_columns(self, columns, colours, labels, given, **style):
        return [
            plot_line(self.ax_, self.grid, column, given, color=colour, label=label, **style)
            for column, colour, label in zip(columns.T, colours, labels, strict=True)
        ]

    def _plot_points(self, drawn, colours, given):
        """Draw targets, with smaller and fainter markers if there are many, or a row of marks for each class."""
        density = 1 / np.sqrt(len(self.x))
        style = {"linestyle": "none", "alpha": np.clip(15 * density, 0.1, 0.6), "zorder": 1}
        if self.classes is None:
            points = [(self.x, column) for column in self.y.T[drawn]]
            style |= {"marker": "o", "markeredgewidth": 0, "markersize": np.clip(90 * density, 2, 5)}
        else:
            step = min(RUG_STEP, RUG_HEIGHT / len(colours))
            members = enumerate(self.y.T[drawn] > 0, start=1)
            points = [(self.x[is_member], np.full(is_member.sum(), -step * k)) for k, is_member in members]
            style |= {"marker": "|", "markersize": 120 * step}
            self.ax_.set_yticks(np.linspace(0, 1, 6))
        if len(colours) == 1:
            colours, style["label"] = ["#555555"], "data"
        return [
            plot_line(self.ax_, *point, given, color=colour, **style)
            for point, colour in zip(points, colours, strict=True)
        ]


def _find_feature(feature, names):
    """The position of a feature, given its position or its name."""
    if isinstance(feature, str) and feature in names:
        return names.index(feature)
    if isinstance(feature, Integral) and 0 <= feature < len(names):
        return feature
    raise ValueError(f"feature must be one of {names}, or a position from 0 to {len(names) - 1}, got {feature!r}")


def _predict(scalers, last, grid):
    """Pooled values at points in the space of the axes."""
    with unnamed_columns():
        queries = last._check_queries(transform(scalers, grid))
    return last._predict_values(queries)


def _points_and_values(transformers, last, X, y):
    """The points to draw, in the space of the axes, and their values, one-hot encoded for classes."""
    if (X is None) != (y is None):
        raise ValueError("X and y must be passed together; pass neither of them to draw the training points")
    scalers = find_scalers(transformers)
    if X is None:
        return inverse_transform(scalers, last.keys_), last.values_
    points = to_dense(last._check_queries(transform(transformers, X)))
    if scalers:
        points = to_dense(check_array(X, accept_sparse=True, dtype=np.float64))
    check_consistent_length(points, y)
    if not is_classifier(last):
        return points, _as_columns(y, (len(points), last.values_.shape[1]), "y")
    labels = column_or_1d(y).astype(object)
    values = labels[:, None] == last.classes_.astype(object)
    unknown = set(labels[~values.any(axis=1)])
    if unknown:
        raise ValueError(f"y holds labels {unknown} that the estimator was not fitted with: {last.classes_}")
    return points, values.astype(float)


def _as_columns(values, shape, name):
    """Numbers as an array of this shape, which may be passed without the axis of a single column."""
    values = np.asarray(values, dtype=np.float64)
    if values.shape != shape and (shape[1] > 1 or values.shape != shape[:1]):
        expected = shape if shape[1] > 1 else shape[:1]
        raise ValueError(f"{name} has shape {values.shape}, but must have shape {expected}")
    return values.reshape(shape)
