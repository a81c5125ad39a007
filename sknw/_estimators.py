"""The estimators: what the values are, what the pool means, and scikit-learn's conventions."""

from numbers import Integral, Real
from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_is_fitted, check_X_y, validate_data

from ._attention import BLOCK_WEIGHTS, AttentionView, sparse_attention
from ._bandwidth import RULES, choose_bandwidth
from ._engines import ENGINES, check_algorithm, make_engines, prepare
from ._kernels import KERNELS, Kernel
from ._weights import has_one_unit, kept_fraction, means_of_others


class _NadarayaWatson(BaseEstimator):
    """What both estimators share: everything but the meaning of y."""

    _parameter_constraints: ClassVar = {
        "bandwidth": [Interval(Real, 0, np.inf, closed="right"), "array-like", StrOptions(set(RULES))],
        "kernel": [StrOptions(set(KERNELS)), Kernel],
        "empty": [StrOptions({"nearest", "mean", "nan", "raise"})],
        "algorithm": [StrOptions({"auto", *ENGINES})],
        "tol": [Interval(Real, 0, None, closed="left")],
        "n_jobs": [None, Integral],
    }

    def __init__(
        self,
        bandwidth="silverman",
        *,
        kernel="gaussian",
        empty="nearest",
        algorithm="auto",
        tol=1e-10,
        n_jobs=None,
    ):
        self.bandwidth = bandwidth
        self.kernel = kernel
        self.empty = empty
        self.algorithm = algorithm
        self.tol = tol
        self.n_jobs = n_jobs

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Keep the training points, and choose the bandwidth.

        Parameters
        ----------
        X : array-like (n, n_features)
            Training inputs, the keys.
        y : array-like (n,), for the regressor also (n, n_outputs)
            Training targets, the values: numbers for the regressor, labels of any type for the classifier.
        sample_weight : array-like (n,), default=None
            Non-negative weights. If all are whole numbers they are counts: a weight k is the row k times. If
            not, they are importances, of which only the ratios matter. A row of weight zero counts nowhere.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If an input or a parameter is not valid; the estimator then stays as it was.

        Notes
        -----
        Costs O(n log n) time for each feature, and O(n) memory.
        """
        keys, targets = self._check_training(X, y)
        weights = _check_weights(sample_weight, len(keys))
        kernel = KERNELS[self.kernel] if isinstance(self.kernel, str) else self.kernel
        bandwidth = choose_bandwidth(self.bandwidth, keys, weights, kernel)
        check_algorithm(self.algorithm, kernel, keys.shape[1])
        validate_data(self, X, skip_check_array=True)  # sets the number and the names of the features
        self.keys_, self.values_, self.bandwidth_ = keys, self._encode_y(targets), bandwidth
        self._weights, self._kernel = weights, kernel
        self._prepare(self.algorithm)
        return self

    def _prepare(self, algorithm):
        engines = make_engines(self.keys_, self.values_, self._weights, kept_fraction(self._weights))
        self.algorithm_, self._pooler = prepare(algorithm, engines, self._kernel, self.bandwidth_, self.tol)
        counted = self.values_ if self._weights.all() else self.values_[self._weights > 0]
        self._range = counted.min(axis=0), counted.max(axis=0)

    def __getstate__(self):
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name not in ("_pooler", "_range")}

    def __setstate__(self, state):
        super().__setstate__(state)
        if "keys_" in state:
            self._prepare(self.algorithm_)

    @property
    def attention_weights_(self):
        """The attention among the training points: a view of shape (n, n) that computes rows on demand."""
        check_is_fitted(self, "keys_")
        return AttentionView(lambda rows: self._attend(self.keys_, rows), len(self.keys_))

    def attention_weights(self, X=None, *, sparse_output=False):
        """The attention that each query pays to each training point.

        Parameters
        ----------
        X : array-like (n_queries, n_features), default=None
            Queries. None asks for the training points, each of which attends to the others but not to itself.
        sparse_output : bool, default=False
            Whether to leave out zeros, and for kernels of unbounded support the smallest weights of each row
            while their sum stays <= `tol`. The other weights stay as they are.

        Returns
        -------
        weights : (n_queries, n) float ndarray or csr_array
            Non-negative, and each row sums to one. Rows without any weight follow `empty`.

        Raises
        ------
        ValueError
            If X is not valid; if `empty="raise"` and a query has no training point within the support of the
            kernel; if X is None and there is a single training point.

        Notes
        -----
        Costs O(n_queries n n_features) time, and the memory of the result.
        """
        queries = self._check_queries(X)
        if not sparse_output:
            return self._attend(queries)
        if self.empty == "raise":
            self._pool(queries)  # counts the empty queries of all blocks before the first
        n_queries, n = len(self.keys_ if queries is None else queries), len(self.keys_)
        step = max(1, BLOCK_WEIGHTS // n)
        blocks = (self._attend(queries, slice(start, start + step)) for start in range(0, n_queries, step))
        return sparse_attention(blocks, (n_queries, n), 0 if self._kernel.compact else self.tol)

    def _check_queries(self, X):
        """X as an array; None, which stands for the training points without themselves, as None."""
        check_is_fitted(self, "keys_")
        if X is not None:
            return validate_data(self, X, dtype=np.float64, reset=False)
        if has_one_unit(self._weights):
            raise ValueError(
                "X=None predicts each training point from the others, which needs two samples of positive weight "
                "or more; the estimator was fitted with n_samples=1"
            )
        return None

    def _pool(self, queries):
        """Pooled values (n_queries, n_values), each inside the range of its column."""

        def means(rows):
            if queries is None:
                return means_of_others(self.values_, self._weights)[rows]
            return np.average(self.values_, weights=self._weights, axis=0)

        pooled, log_mass = self._pooler.pool(queries, n_jobs=self.n_jobs, tol=self.tol)
        self._fill_empty(pooled, log_mass, means)
        return np.clip(pooled, *self._range, out=pooled)

    def _attend(self, queries, rows=slice(None)):
        """Attention weights of some rows of the queries."""

        def means(empty):
            weights = np.tile(self._weights, (len(empty), 1))
            if queries is None:
                own = np.arange(len(self.keys_))[rows][empty]
                weights[np.arange(len(empty)), own] *= kept_fraction(self._weights)[own]
            weights /= weights.max(axis=1, keepdims=True)
            return weights / weights.sum(axis=1, keepdims=True)

        attention, log_mass = self._pooler.attention(queries, rows, n_jobs=self.n_jobs)
        self._fill_empty(attention, log_mass, means)
        return attention

    def _fill_empty(self, result, log_mass, means):
        """Apply `empty` to the rows without any weight, which engines answer by the nearest keys."""
        empty = np.flatnonzero(np.isneginf(log_mass))
        if len(empty) == 0 or self.empty == "nearest":
            return
        if self.empty == "raise":
            raise ValueError(
                f"{len(empty)} of {len(result)} queries have no training point within the support of the kernel; "
                'increase bandwidth, take a kernel of unbounded support, or set empty="nearest"'
            )
        result[empty] = np.nan if self.empty == "nan" else means(empty)


def _check_weights(sample_weight, n):
    if sample_weight is None or isinstance(sample_weight, Real):
        sample_weight = np.full(n, 1.0 if sample_weight is None else sample_weight)
    weights = check_array(sample_weight, dtype=np.float64, ensure_2d=False, copy=True, input_name="sample_weight")
    if weights.shape != (n,):
        raise ValueError(f"sample_weight has shape {weights.shape}, but X has {n} rows: give one weight for each")
    if np.any(weights < 0):
        raise ValueError(
            f"sample_weight must not be negative, got a smallest weight of {weights.min():g}; "
            "a weight of 0 leaves a row out"
        )
    if not np.any(weights > 0):
        raise ValueError("sample_weight is zero for every row; give one row or more a positive weight")
    return weights


class NadarayaWatsonRegressor(RegressorMixin, _NadarayaWatson):
    """Nadaraya-Watson regression: attention pooling of training targets.

    The prediction for a query is the mean of the training targets, weighted by a kernel of the distance between
    the query and each training point: a_i(q) proportional to w_i K(sum_f ((q - x_i)_f / h_f)²), with weights
    that sum to one at every query, however far away.

    Parameters
    ----------
    bandwidth : float, array-like (n_features,) or {"silverman", "scott"}, default="silverman"
        The width h of the kernel, in the units of X: one number for every feature, or one number for each; inf
        ignores a feature. "silverman" and "scott" are rules of thumb that follow the scale of each feature and
        the shape of the kernel. Above about 8 features, tune the bandwidth instead.
    kernel : str or Kernel, default="gaussian"
        "gaussian", "exponential", "logistic", "cauchy", "constant" (average pooling), or one of bounded support:
        "boxcar", "triangular", "epanechnikov", "biweight", "triweight", "tricube", "cosine". Textbooks on
        attention pooling print max(0, 1 - u) under the name "Epanechnikov"; here it is "triangular".
    empty : {"nearest", "mean", "nan", "raise"}, default="nearest"
        What a query gets when no training point has weight, which kernels of bounded support let happen: the
        mean of its nearest training points, the mean of all, nan, or a ValueError.
    algorithm : {"auto", "sorted", "grid", "blocks", "dense"}, default="auto"
        How the sums are done. "dense" takes every pair of query and training point. "sorted", for one feature,
        sorts both instead; "grid", for the gaussian kernel of two features, expands the sums on cells; "blocks", for
        every kernel above, puts both into blocks of neighbours and leaves out pairs of blocks too far apart to
        matter. "auto" takes the first of these that is expected to be faster than "dense" for as many queries as
        training points; "dense" for up to 800 training points and where `tol` is 0. `algorithm_` tells which. "blocks"
        with up to 50,000 training points does as "dense" for less than 4,000 queries, or if most pairs matter.
    tol : float, default=1e-10
        The largest error that a fast algorithm may make in a prediction, as a fraction of the range of y.
        "dense" is exact up to rounding whatever `tol` is.
    n_jobs : int, default=None
        Threads over blocks of queries, as joblib understands it. Results do not depend on it.

    Attributes
    ----------
    bandwidth_ : (n_features,) float ndarray
        The bandwidth of each feature.
    attention_weights_ : AttentionView (n, n)
        The attention that each training point, as a query, pays to all training points. An array-like view that
        computes rows when they are asked for; `attention_weights_ @ values_` are the predictions for the
        training points, and `np.asarray` makes an ndarray of it.
    keys_ : (n, n_features) float ndarray
        The training inputs.
    values_ : (n, n_outputs) float ndarray
        The training targets.
    algorithm_ : str
        The algorithm in use.
    n_features_in_ : int
        The number of features.
    feature_names_in_ : (n_features,) ndarray of str
        The names of the features, if X had names that are all strings.

    References
    ----------
    Nadaraya (1964), "On estimating regression". Watson (1964), "Smooth regression analysis".

    Examples
    --------
    >>> from sknw import NadarayaWatsonRegressor
    >>> model = NadarayaWatsonRegressor(bandwidth=0.5).fit([[0], [1], [2]], [0, 1, 4])
    >>> model.predict([[1], [9]]).round(3)
    array([1.213, 4.   ])
    >>> model.attention_weights([[1]]).round(3)
    array([[0.107, 0.787, 0.107]])
    """

    def _check_training(self, X, y):
        return check_X_y(X, y, dtype=np.float64, copy=True, y_numeric=True, multi_output=True, estimator=self)

    def _encode_y(self, y):
        self._y_ndim = y.ndim
        return y.astype(np.float64).reshape(len(y), -1)

    def predict(self, X):
        """Predict the target of each query.

        Parameters
        ----------
        X : array-like (n_queries, n_features) or None
            Queries. None predicts each training point from all others.

        Returns
        -------
        y : (n_queries,) or (n_queries, n_outputs) float ndarray
            As many dimensions as the y of `fit`; each prediction lies within the range of its training targets.

        Raises
        ------
        ValueError
            If X is not valid; if `empty="raise"` and a query has no training point within the support of the
            kernel; if X is None and there is a single training point.

        Notes
        -----
        "dense" costs O(n_queries n n_features) time, "blocks" a part of that, "sorted" O(n_queries log n), and "grid"
        O(n_queries) beside a fixed cost for each cell that holds queries; O(n_queries) memory.
        """
        pooled = self._pool(self._check_queries(X))
        return pooled[:, 0] if self._y_ndim == 1 else pooled

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class NadarayaWatsonClassifier(ClassifierMixin, _NadarayaWatson):
    """Nadaraya-Watson classification: attention pooling of one-hot training labels.

    The probability of a class at a query is the share of its attention that goes to training points of that
    class: a_i(q) proportional to w_i K(sum_f ((q - x_i)_f / h_f)²), with weights that sum to one at every query,
    however far away. With two classes it is `NadarayaWatsonRegressor` on 0 and 1.

    Parameters
    ----------
    bandwidth : float, array-like (n_features,) or {"silverman", "scott"}, default="silverman"
        The width h of the kernel, in the units of X: one number for every feature, or one number for each; inf
        ignores a feature. "silverman" and "scott" are rules of thumb that follow the scale of each feature and
        the shape of the kernel. Above about 8 features, tune the bandwidth instead.
    kernel : str or Kernel, default="gaussian"
        "gaussian", "exponential", "logistic", "cauchy", "constant" (average pooling), or one of bounded support:
        "boxcar", "triangular", "epanechnikov", "biweight", "triweight", "tricube", "cosine". Textbooks on
        attention pooling print max(0, 1 - u) under the name "Epanechnikov"; here it is "triangular".
    empty : {"nearest", "mean", "nan", "raise"}, default="nearest"
        What a query gets when no training point has weight, which kernels of bounded support let happen: the
        classes of its nearest training points, the class frequencies, nan, or a ValueError.
    algorithm : {"auto", "sorted", "grid", "blocks", "dense"}, default="auto"
        How the sums are done. "dense" takes every pair of query and training point. "sorted", for one feature,
        sorts both instead; "grid", for the gaussian kernel of two features, expands the sums on cells; "blocks", for
        every kernel above, puts both into blocks of neighbours and leaves out pairs of blocks too far apart to
        matter. "auto" takes the first of these that is expected to be faster than "dense" for as many queries as
        training points; "dense" for up to 800 training points and where `tol` is 0. `algorithm_` tells which. "blocks"
        with up to 50,000 training points does as "dense" for less than 4,000 queries, or if most pairs matter.
    tol : float, default=1e-10
        The largest error that a fast algorithm may make in a probability. "dense" is exact up to rounding
        whatever `tol` is.
    n_jobs : int, default=None
        Threads over blocks of queries, as joblib understands it. Results do not depend on it.

    Attributes
    ----------
    classes_ : (n_classes,) ndarray
        The labels, sorted.
    bandwidth_ : (n_features,) float ndarray
        The bandwidth of each feature.
    attention_weights_ : AttentionView (n, n)
        The attention that each training point, as a query, pays to all training points. An array-like view that
        computes rows when they are asked for; `attention_weights_ @ values_` are the probabilities for the
        training points, and `np.asarray` makes an ndarray of it.
    keys_ : (n, n_features) float ndarray
        The training inputs.
    values_ : (n, n_classes) float ndarray
        The training labels, one-hot.
    algorithm_ : str
        The algorithm in use.
    n_features_in_ : int
        The number of features.
    feature_names_in_ : (n_features,) ndarray of str
        The names of the features, if X had names that are all strings.

    References
    ----------
    Nadaraya (1964), "On estimating regression". Watson (1964), "Smooth regression analysis".

    Examples
    --------
    >>> from sknw import NadarayaWatsonClassifier
    >>> model = NadarayaWatsonClassifier(bandwidth=0.5).fit([[0], [1], [2]], ["no", "no", "yes"])
    >>> model.predict([[0.5], [9]])
    array(['no', 'yes'], dtype='<U3')
    >>> model.predict_proba([[1.5]]).round(3)
    array([[0.505, 0.495]])
    """

    def _check_training(self, X, y):
        keys, labels = check_X_y(X, y, dtype=np.float64, copy=True, estimator=self)
        check_classification_targets(labels)
        return keys, labels

    def _encode_y(self, y):
        self.classes_, positions = np.unique(y, return_inverse=True)
        return np.eye(len(self.classes_))[positions]

    def predict_proba(self, X):
        """The probability of each class at each query.

        Parameters
        ----------
        X : array-like (n_queries, n_features) or None
            Queries. None predicts each training point from all others.

        Returns
        -------
        probabilities : (n_queries, n_classes) float ndarray
            Each within [0, 1]; the columns are in the order of `classes_`.

        Raises
        ------
        ValueError
            If X is not valid; if `empty="raise"` and a query has no training point within the support of the
            kernel; if X is None and there is a single training point.

        Notes
        -----
        "dense" costs O(n_queries n n_features) time, "blocks" a part of that, "sorted" O(n_queries log n), and "grid"
        O(n_queries) beside a fixed cost for each cell that holds queries; O(n_queries) memory.
        """
        return self._pool(self._check_queries(X))

    def predict(self, X):
        """The most probable class at each query; of equally probable ones, the first.

        Parameters
        ----------
        X : array-like (n_queries, n_features) or None
            Queries. None predicts each training point from all others.

        Returns
        -------
        y : (n_queries,) ndarray
            Labels from `classes_`.

        Raises
        ------
        ValueError
            As `predict_proba`; also if `empty="nan"` and a query has no training point within the support of
            the kernel.

        Notes
        -----
        "dense" costs O(n_queries n n_features) time, "blocks" a part of that, "sorted" O(n_queries log n), and "grid"
        O(n_queries) beside a fixed cost for each cell that holds queries; O(n_queries) memory.
        """
        probabilities = self.predict_proba(X)
        unknown = np.count_nonzero(np.isnan(probabilities[:, 0]))
        if unknown:
            raise ValueError(
                f"{unknown} of {len(probabilities)} queries have no training point within the support of the kernel "
                'and empty="nan" gives them no class; use predict_proba, increase bandwidth, or set empty="nearest"'
            )
        return self.classes_[probabilities.argmax(axis=1)]
