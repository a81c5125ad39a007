"""Attention weights as a heatmap of queries x keys, sorted so that neighbours are next to each other.

Weights are computed in blocks of rows, and each block is averaged into pixels, so that no n x n array is allocated.
"""

import numpy as np
from scipy.linalg import eigh

from .._inputs import in_dense_blocks, to_dense
from .drawing import import_pyplot, make_axes
from .pipelines import feature_names, split_steps, transform

MOST_PIXELS = 1000
"""The largest number of pixels along each side."""


class AttentionDisplay:
    """Heatmap of attention weights, queries x keys.

    Use `from_estimator` to construct it from a fitted estimator. All parameters are stored as attributes.

    Parameters
    ----------
    attention : (n_rows, n_columns) float ndarray
        The weights in the order of the heatmap, or means of blocks of weights if there are many.
    query_order : (n_queries,) int ndarray, default=None
        Indices of the queries from top to bottom. If None, they are in their original order, and all blocks are full.
    key_order : (n_keys,) int ndarray, default=None
        Indices of the training points from left to right. If None, they are in their original order, and all blocks are
        full.
    block : tuple of two ints, default=(1, 1)
        Number of queries and number of keys in a block. The blocks of the last row and column may be smaller.
    sorted_by : str, default=None
        The variable that queries and keys are sorted by, for the labels of the axes.

    Attributes
    ----------
    im_ : matplotlib AxesImage
        The heatmap.
    colorbar_ : matplotlib Colorbar or None
        The colour bar of the heatmap.
    ax_ : matplotlib Axes
        Axes with the heatmap.
    figure_ : matplotlib Figure
        Figure with the axes.

    Examples
    --------
    >>> from sknw import AttentionDisplay, NadarayaWatsonRegressor
    >>> from sknw.datasets import make_sine_trend
    >>> X, y = make_sine_trend(random_state=0)
    >>> model = NadarayaWatsonRegressor().fit(X, y)
    >>> display = AttentionDisplay.from_estimator(model, X)
    >>> display.attention.shape
    (50, 50)
    >>> display.ax_.get_xlabel()
    'keys, sorted by x'
    """

    def __init__(self, attention, *, query_order=None, key_order=None, block=(1, 1), sorted_by=None):
        self.attention = attention
        self.query_order = query_order
        self.key_order = key_order
        self.block = block
        self.sorted_by = sorted_by

    @classmethod
    def from_estimator(cls, estimator, X=None, *, order="sorted", ax=None, colorbar=True, im_kw=None):
        """Draw the attention weights of queries on the training points.

        Parameters
        ----------
        estimator : estimator object
            A fitted NadarayaWatsonRegressor or NadarayaWatsonClassifier, a Pipeline that ends with one, or a search
            over one of these, such as GridSearchCV, with `refit=True`.
        X : array-like (n_queries, n_features), default=None
            Queries in the form that `estimator.predict` accepts. None uses the training points as queries, each of
            which attends to all others but not to itself. Pass the training inputs to draw `attention_weights_`, in
            which they also attend to themselves.
        order : {"sorted", "given"}, default="sorted"
            "sorted" sorts queries and keys by the feature, with missing values at the end. If there are several
            features, it sorts by the leading principal component of the keys in units of the bandwidth, the direction
            along which attention varies most, with the sign that makes the largest coefficient positive; a category is
            a column of zeros and ones for each of its values, and a missing value is at the mean. In a pipeline, the
            features are those of the last step. With `metric="precomputed"`, it sorts by the distance to the training
            row that is the farthest from the first one. "given" keeps the original order.
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a figure is created.
        colorbar : bool, default=True
            Whether to add a colour bar.
        im_kw : dict, default=None
            Keywords for `imshow`.

        Returns
        -------
        display : AttentionDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        NotFittedError
            If `estimator` is not fitted.
        TypeError
            If `estimator` is not one of the above.
        ValueError
            In the cases of `attention_weights`; also if `order` is not one of the above.

        Notes
        -----
        If there are more than 1000 queries or keys, means of blocks are drawn. A block that contains a row of nan
        (`empty="nan"`) is left blank. The colour scale starts at zero and ends at twice the median of the rows' largest
        weights, so that a small number of isolated points does not darken the heatmap. If some weights are larger, the
        colour bar ends in an arrow. To change the scale, pass `im_kw={"vmax": 1}` or a "norm".

        The cost is O(n_queries n n_features) time, and the memory of the heatmap.
        """
        import_pyplot(f"{cls.__name__}.from_estimator")
        transformers, last = split_steps(estimator, cls.__name__)
        if order not in ("sorted", "given"):
            raise ValueError(f'order must be "sorted" or "given", got {order!r}')
        queries = last._check_queries(None if X is None else transform(transformers, X))
        keys = last.keys_
        sides = [keys if queries is None else queries, keys]
        if order == "given":
            orders, sorted_by = [np.arange(points.shape[0]) for points in sides], None
        else:
            coordinates, sorted_by = _coordinates(transformers, last, sides)
            orders = [np.argsort(coordinate, kind="stable") for coordinate in coordinates]
        block = tuple(-(-len(side) // MOST_PIXELS) for side in orders)
        attention = _block_means(last._attention_blocks(queries, orders[0]), *orders, *block)
        display = cls(attention, query_order=orders[0], key_order=orders[1], block=block, sorted_by=sorted_by)
        return display.plot(ax=ax, colorbar=colorbar, im_kw=im_kw)

    def plot(self, *, ax=None, colorbar=True, im_kw=None):
        """Draw the heatmap.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a figure is created.
        colorbar : bool, default=True
            Whether to add a colour bar.
        im_kw : dict, default=None
            Keywords for `imshow`.

        Returns
        -------
        display : AttentionDisplay
            The display itself.
        """
        self.ax_ = ax = make_axes(f"{type(self).__name__}.plot", ax)
        self.figure_ = ax.figure
        n_queries, n_keys = bottom, right = np.multiply(self.attention.shape, self.block)
        if self.query_order is not None:
            n_queries = len(self.query_order)
        if self.key_order is not None:
            n_keys = len(self.key_order)
        defaults = {
            "cmap": "viridis",
            "aspect": "equal" if n_queries == n_keys else "auto",
            "extent": (-0.5, right - 0.5, bottom - 0.5, -0.5),
        }
        im_kw = im_kw or {}
        if "norm" not in im_kw:
            defaults |= {"vmin": 0, "vmax": self._largest_colour()}
        self.im_ = ax.imshow(self.attention, **(defaults | im_kw))
        by = "" if self.sorted_by is None else f", sorted by {self.sorted_by}"
        ax.set(xlim=(-0.5, n_keys - 0.5), ylim=(n_queries - 0.5, -0.5), xlabel=f"keys{by}", ylabel=f"queries{by}")
        ax.locator_params(integer=True)
        self.colorbar_ = None
        if colorbar:
            rows, columns = self.block
            label = "attention weight" if rows == columns == 1 else f"attention weight, means of {rows} × {columns}"
            extend = "max" if np.any(self.attention > self.im_.norm.vmax) else "neither"
            self.colorbar_ = self.figure_.colorbar(self.im_, ax=ax, label=label, extend=extend)
        return self

    def _largest_colour(self):
        """The weight at the end of the colour scale."""
        largest = self.attention.max(axis=1)
        largest = largest[np.isfinite(largest)]
        return min(largest.max(), 2 * np.median(largest)) if len(largest) else 1.0


def _coordinates(transformers, last, sides):
    """What queries and keys are sorted by, and what that is called."""
    if last._table.holds_distances:
        farthest = last.keys_[0].argmax()
        return [distances[:, farthest] for distances in sides], f"distance to training row {farthest}"
    if last.n_features_in_ == 1:
        return [to_dense(codes)[:, 0] for codes in sides], feature_names(transformers, last)[0]
    columns = last._columns
    mean = columns.of(last.keys_).mean(axis=0)

    def fill(codes):
        missing = np.repeat(np.isnan(codes), columns.widths, axis=1)
        return np.where(missing, mean, columns.of(codes))

    direction = _leading_direction(fill(last.keys_), columns.spread(last.bandwidth_))
    along = [in_dense_blocks(lambda block: (fill(block) @ direction,), codes)[0] for codes in sides]
    return along, "leading component"


def _leading_direction(keys, bandwidth):
    """The direction (n_columns,) to sort along, with a largest coefficient of 1; zero if all columns are ignored."""
    scaled = keys / bandwidth
    scaled -= scaled.mean(axis=0)
    scaled /= np.abs(scaled).max() or 1.0
    last = len(bandwidth) - 1
    _, components = eigh(scaled.T @ scaled, subset_by_index=[last, last])
    direction = components[:, 0] / bandwidth
    return direction / (direction[np.abs(direction).argmax()] or 1.0)


def _block_means(row_blocks, query_order, key_order, query_block, key_block):
    """Means of blocks of attention weights, from consecutive blocks of rows in the order of the queries."""
    starts = [np.arange(0, len(query_order), query_block), np.arange(0, len(key_order), key_block)]
    sums, first = np.zeros((len(starts[0]), len(starts[1]))), 0
    for weights in row_blocks:
        positions = np.arange(first, first + len(weights)) // query_block
        np.add.at(sums, positions, np.add.reduceat(weights.take(key_order, axis=1), starts[1], axis=1))
        first += len(weights)
    query_counts, key_counts = (
        np.diff(side, append=len(order)) for side, order in zip(starts, (query_order, key_order), strict=True)
    )
    return sums / (query_counts[:, None] * key_counts)
