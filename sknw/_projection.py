"""Learned linear projections of queries and keys, as a meta-estimator."""

from copy import deepcopy
from numbers import Integral
from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, MetaEstimatorMixin, TransformerMixin, clone
from sklearn.utils import assert_all_finite, check_random_state, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from ._base import Interval, KernelEstimator, _fit_context
from ._engines import check_algorithm
from ._estimators import NadarayaWatsonClassifier, NadarayaWatsonRegressor
from ._inputs import check_queries
from ._kernels import DIFFERENTIABLE
from ._learning.copies import make_sample
from ._learning.progress import CallbackSupportMixin, Task
from ._learning.projection import N_DRAWS, ProjectionSearch, make_halves, reduce_rank
from ._learning.search import FEWEST_HALVED
from ._one_hot import OneHot
from ._threads import single_threaded_blas


class AttentionProjection(
    CallbackSupportMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, MetaEstimatorMixin, BaseEstimator
):
    """Learned linear projection of queries and keys for a Nadaraya-Watson estimator.

    The projection A minimises the leave-one-out loss of the estimator on A x with a bandwidth of one: the mean squared
    error of a regressor, or the Brier score of a classifier. The attention weights are proportional to w_i K(u_i),
    where u_i is the length of A (q - x_i). `transform` returns A x, and `predict` the predictions of the estimator.

    Parameters
    ----------
    estimator : NadarayaWatsonRegressor or NadarayaWatsonClassifier
        The estimator whose loss is minimised. Its `kernel`, `empty`, `tol` and `n_jobs` are used; its `bandwidth` is
        not, since the projection takes its place, and `n_neighbors` only in `estimator_`: the projection is learned at
        a fixed width. The kernel must have a derivative, which excludes "boxcar".
    n_components : int, default=None
        The rank of the projection, which is the number of columns that `transform` returns. None selects it by the loss
        on validation rows from 1, 2, 4, ... and the number of features.
    max_iter : int, default=100
        The largest number of steps in each descent.
    random_state : int, RandomState or None, default=0
        Seeds the division of the rows into halves, and the subsample of rows that are used to score projections when
        the training set is large.

    Attributes
    ----------
    estimator_ : NadarayaWatsonRegressor or NadarayaWatsonClassifier
        The estimator with a bandwidth of one, fitted to the projected training inputs.
    components_ : (n_components, n_features) float ndarray
        The projection, in inverse units of X. Constant features have columns of zeros. If no projection predicts better
        than one bandwidth for each feature by more than chance, and `n_components` is not less than the number of
        features, the rows are those of a diagonal matrix, the inverse bandwidths that "loo" learns.
    loo_loss_ : float
        Estimate of the mean squared error, summed over outputs, or of the mean Brier score, on new rows: the loss on
        validation rows where a projection was learned, otherwise the leave-one-out loss.
    n_iter_ : int
        Number of loss evaluations, including those of the search for the initial bandwidths.
    classes_ : (n_classes,) ndarray
        The class labels, sorted. Only if the estimator is a classifier.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : (n_features,) ndarray of str
        Names of the features. Only if X has feature names that are all strings.

    See Also
    --------
    sklearn.neighbors.NeighborhoodComponentsAnalysis : Learns a projection for nearest neighbours, of classes only.

    Notes
    -----
    The descent is L-BFGS over all elements of a matrix, from the bandwidths that `bandwidth="loo"` learns. For a
    regressor with the Gaussian kernel, the loss is that of metric learning for kernel regression (Weinberger & Tesauro
    2007, "Metric learning for kernel regression", section 3). Its minimum overfits, so that projections are learned
    from one half of the rows and validated on the other half, repeatedly: see :ref:`the guide <projection>`.

    The cost of one evaluation of the loss is O(n² (r + n_values)) time for rank r, up to about 3,000 rows. With more
    rows, a subsample of them is used as queries, and the cost is O(1000 n (r + n_values)). A fit takes some hundred
    evaluations. Memory is O(n n_features + n_features²).

    References
    ----------
    Weinberger & Tesauro (2007), "Metric learning for kernel regression".

    Examples
    --------
    The targets depend on one direction in ten dimensions:

    >>> import numpy as np
    >>> from sknw import AttentionProjection, NadarayaWatsonRegressor
    >>> rng = np.random.default_rng(0)
    >>> X, direction = rng.normal(size=(300, 10)), np.ones(10) / np.sqrt(10)
    >>> y = np.sin(2 * X @ direction) + 0.1 * rng.normal(size=300)
    >>> model = AttentionProjection(NadarayaWatsonRegressor(), n_components=1).fit(X, y)
    >>> model.transform(X).shape
    (300, 1)
    >>> component = model.components_[0] / np.linalg.norm(model.components_)
    >>> bool(abs(component @ direction) > 0.99)
    True
    """

    _parameter_constraints: ClassVar = {
        "estimator": [NadarayaWatsonRegressor, NadarayaWatsonClassifier],
        "n_components": [None, Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    _doc_link_module = KernelEstimator._doc_link_module
    _doc_link_template = KernelEstimator._doc_link_template

    def __init__(self, estimator, *, n_components=None, max_iter=100, random_state=0):
        self.estimator = estimator
        self.n_components = n_components
        self.max_iter = max_iter
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None):
        """Learn the projection, and fit the estimator to the projected training inputs.

        Parameters
        ----------
        X : array-like or sparse matrix (n, n_features)
            Training inputs. A sparse matrix (csr, csc or coo) is converted to a dense array.
        y : array-like (n,), for a regressor also (n, n_outputs)
            Training targets, as the estimator expects them.
        sample_weight : array-like (n,), default=None
            Non-negative weights: counts or importances, as for the estimator.

        Returns
        -------
        self : object
            Fitted estimator.

        Raises
        ------
        TypeError
            If `estimator` is not a Nadaraya-Watson estimator.
        ValueError
            If an input or a parameter is not valid; if a feature has categories or missing values, or if there are no
            features; if the kernel has no derivative; if `n_components` is larger than the number of features; if there
            are less than two samples of positive weight.
        """
        if self.estimator.metric == "precomputed":
            raise ValueError('AttentionProjection requires features, but metric="precomputed" has distances')
        if not (self.estimator.categorical_features is None or isinstance(self.estimator.categorical_features, str)):
            raise ValueError("AttentionProjection requires features that are numbers, without categorical_features")
        first = {"bandwidth": "loo", "n_neighbors": None, "algorithm": "auto", "categorical_features": None}
        start = clone(self.estimator).set_params(**first).fit(X, y, sample_weight)
        assert_all_finite(start.keys_, estimator_name=type(self).__name__, input_name="X")
        bandwidth, common = _initial_bandwidth(start)
        ranks = self._check_ranks(start._kernel, len(common), len(bandwidth))
        validate_data(self, X, skip_check_array=True)  # sets the number and the names of the features

        def fitted_with(matrix):
            components = self._to_components(matrix, bandwidth)
            estimator = clone(self.estimator).set_params(bandwidth=1.0)
            estimator.fit(start.keys_ @ components.T, y, sample_weight)
            return {"components_": components, "estimator_": estimator}

        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        data = {"estimator": self, "X": X, "y": y, "metadata": metadata}
        n_descents = 2 * N_DRAWS * len({len(common), *ranks})
        task = Task(self._init_callback_context(max_subtasks=n_descents), data, fitted_with)
        with single_threaded_blas():  # set once for all evaluations of the loss
            matrix, learned = self._learn(start, bandwidth, common, ranks, task)
        vars(self).update(fitted_with(matrix) | learned)
        task.end(matrix)
        return self

    def _check_ranks(self, kernel, n_used, n_features):
        """The ranks to choose from, for n_used features that are not constant."""
        if kernel.log_slope is None:
            raise ValueError(
                f"kernel={self.estimator.kernel!r} has no derivative (log_slope), by which a projection is learned; "
                f"use one of {DIFFERENTIABLE}"
            )
        if self.n_components is None:
            ranks = [max(1, n_used), *(2**k for k in reversed(range(n_used.bit_length())) if 2**k < n_used)]
        elif self.n_components > n_features:
            raise ValueError(f"n_components={self.n_components} must not be larger than n_features={n_features}")
        else:
            ranks = [self.n_components]
        for rank in ranks:
            check_algorithm(self.estimator.algorithm, kernel, rank)
        return [min(rank, n_used) for rank in ranks]

    def _learn(self, start, bandwidth, common, ranks, task):
        """The projection (r, n_used) of keys in bandwidths, and the attributes that record the search."""
        attributes = {"loo_loss_": start.loo_loss_, "n_iter_": start.n_iter_}
        if len(common) < 2:
            return common, attributes
        values = start._values
        targets = values.labels if isinstance(values, OneHot) else values
        sample = make_sample(start.keys_, targets, values, start._weights)
        parameters = {"mean_where_empty": start.empty == "mean", "tol": start.tol, "n_jobs": start.n_jobs}
        random_state = check_random_state(self.random_state)
        halves = make_halves(sample, bandwidth, start._kernel, random_state, **parameters)
        search, must_learn = ProjectionSearch(ranks, self.max_iter, task), ranks[0] < len(common)
        if len(halves.rows) >= FEWEST_HALVED:
            matrix, loss = search.learn(halves, common, must_learn)
        else:
            matrix, loss = reduce_rank(common, ranks[0]) if must_learn else common, None
        loss = halves.final_loss.exact(matrix) if loss is None else loss
        with np.errstate(over="ignore"):  # a loss above 1e308 becomes inf
            attributes["loo_loss_"] = np.ldexp(loss, 2 * halves.final_loss.exponent)
        attributes["n_iter_"] += search.n_evaluations
        return matrix, attributes

    def _to_components(self, matrix, bandwidth):
        """The projection (r, n_features) of keys in units of X, from that (k, n_used) of keys in bandwidths."""
        used = np.isfinite(bandwidth)
        components = np.zeros((max(self.n_components or 1, len(matrix)), len(bandwidth)))
        components[: len(matrix), used] = matrix / bandwidth[used]
        return components

    def _project(self, X):
        """Validated queries, projected; None, which requests leave-one-out, is returned as it is."""
        check_is_fitted(self, "components_")
        return None if X is None else self.transform(X)

    def transform(self, X):
        """Project queries.

        Parameters
        ----------
        X : array-like or sparse matrix (n_queries, n_features)
            Queries.

        Returns
        -------
        projected : (n_queries, n_components) float ndarray
            `X @ components_.T`, in bandwidths.

        Raises
        ------
        ValueError
            If X is not valid.
        """
        check_is_fitted(self, "components_")
        queries = check_queries(X, self, self.estimator_._table)
        assert_all_finite(queries, estimator_name=type(self).__name__, input_name="X")
        return queries @ self.components_.T

    def predict(self, X):
        """Predict the target of each query by the estimator.

        Parameters
        ----------
        X : array-like or sparse matrix (n_queries, n_features), or None
            Queries. None predicts each training point from all other training points.

        Returns
        -------
        y : (n_queries,) or (n_queries, n_outputs) ndarray
            Predictions.

        Raises
        ------
        ValueError
            If X is not valid, and in the cases in which `predict` of the estimator raises it.
        """
        projected = self._project(X)
        return self.estimator_.predict(projected)

    @available_if(lambda self: hasattr(self.estimator, "predict_proba"))
    def predict_proba(self, X):
        """Predict the probability of each class at each query; for classifiers.

        Parameters
        ----------
        X : array-like or sparse matrix (n_queries, n_features), or None
            Queries. None predicts each training point from all other training points.

        Returns
        -------
        probabilities : (n_queries, n_classes) float ndarray
            Probabilities, with columns in the order of `classes_`.

        Raises
        ------
        ValueError
            If X is not valid, and in the cases in which `predict_proba` of the estimator raises it.
        """
        projected = self._project(X)
        return self.estimator_.predict_proba(projected)

    def score(self, X, y, sample_weight=None):
        """Return the score of the estimator: R² of a regressor, the accuracy of a classifier.

        Parameters
        ----------
        X : array-like or sparse matrix (n_queries, n_features), or None
            Queries. None predicts each training point from all other training points.
        y : array-like (n_queries,) or (n_queries, n_outputs)
            True targets.
        sample_weight : array-like (n_queries,), default=None
            Sample weights.

        Returns
        -------
        score : float
        """
        projected = self._project(X)
        return self.estimator_.score(projected, y, sample_weight)

    @property
    def classes_(self):
        """The class labels (n_classes,), if the estimator is a classifier."""
        return self.estimator_.classes_

    @property
    def _n_features_out(self):
        return len(self.components_)

    def __sklearn_tags__(self):
        tags, estimator_tags = super().__sklearn_tags__(), get_tags(self.estimator)
        for name in ("estimator_type", "classifier_tags", "regressor_tags", "target_tags"):
            setattr(tags, name, deepcopy(getattr(estimator_tags, name)))
        tags.input_tags.sparse = estimator_tags.input_tags.sparse
        return tags


def _initial_bandwidth(start):
    """The bandwidth (n_features,) in units of which keys are projected, and its projection (n_used, n_used).

    This is the bandwidth that "loo" has learned. If that is infinite, it is the best of finite ones, and the projection
    maps all keys to zero.
    """
    bandwidth = start.bandwidth_
    if np.isfinite(bandwidth).any():
        return bandwidth, np.eye(np.count_nonzero(np.isfinite(bandwidth)))
    finite = np.isfinite(start.loo_path_["factor"])
    factor = start.loo_path_["factor"][finite][np.argmin(start.loo_path_["loss"][finite])]
    n_used = np.count_nonzero(np.isfinite(start._start))
    return factor * start._start, np.zeros((n_used, n_used))
