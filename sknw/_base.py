"""The base class of both estimators: scikit-learn's conventions, and all that does not depend on the meaning of y."""

import warnings
from functools import partial
from importlib.metadata import PackageNotFoundError, metadata
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
from scipy.sparse import issparse
from scipy.special import softmax
from sklearn.base import BaseEstimator, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import (
    Interval,
    InvalidParameterError,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.validation import check_is_fitted, validate_data

from ._attention import BLOCK_WEIGHTS, AttentionView, sparse_attention
from ._engines import ENGINES, Poolers, check_algorithm
from ._inputs import check_queries, check_weights, in_dense_blocks
from ._kernels import KERNELS, Kernel, name_hint
from ._learning.copies import make_sample
from ._learning.loss import CrossValidation, make_losses
from ._learning.progress import CallbackSupportMixin, Task
from ._learning.rules import RULES, choose_bandwidth, robust_scales, rule_of_thumb
from ._learning.search import N_DRAWS, Search
from ._one_hot import value_ranges
from ._problem import Problem
from ._threads import single_threaded_blas
from ._weights import has_one_unit

STAGES = {"loo": 2, "loo_ard": 3 + 2 * N_DRAWS}
"""The largest number of stages of the search, for each learned bandwidth."""

LEARNED_ATTRIBUTES = ("loo_loss_", "loo_path_", "loo_rows_", "n_iter_", "_start")
"""Attributes that exist only if the bandwidth was learned."""

PREDICTION_CONSTRAINTS = {
    "empty": [StrOptions({"nearest", "mean", "nan", "raise"})],
    "tol": [Interval(Real, 0, None, closed="left")],
    "n_jobs": [None, Integral],
}
"""Constraints of the parameters that predictions use as well, which may have been set after `fit`."""

API_PAGE = "generated/{estimator_module}.{estimator_name}.html"
"""The path of the page of an estimator, relative to the root of the documentation."""


def _page_template():
    """The URL of the page of an estimator, to which scikit-learn's HTML representation links.

    The root is the documentation URL in the metadata of the distribution, which come from `[project.urls]` of
    pyproject.toml. Empty if there is none.
    """
    try:
        urls = metadata("scikit-nw").get_all("Project-URL", [])
    except PackageNotFoundError:  # a checkout that is not installed
        return ""
    for url in urls:
        label, root = url.split(", ", 1)
        if label.lower() == "documentation":
            return f"{root.rstrip('/')}/{API_PAGE}"
    return ""


class NadarayaWatson(CallbackSupportMixin, BaseEstimator):
    """Base class of the estimators, which define how y becomes values and what pooled values are."""

    _parameter_constraints: ClassVar = {
        "bandwidth": [Interval(Real, 0, np.inf, closed="right"), "array-like", StrOptions({*RULES, *STAGES})],
        "kernel": [StrOptions(set(KERNELS)), Kernel],
        "algorithm": [StrOptions({"auto", *ENGINES})],
        "random_state": ["random_state"],
        **PREDICTION_CONSTRAINTS,
    }

    _doc_link_module = "sknw"
    _doc_link_template = _page_template()

    def __init__(
        self,
        bandwidth="silverman",
        *,
        kernel="gaussian",
        empty="nearest",
        algorithm="auto",
        tol=1e-10,
        n_jobs=None,
        random_state=0,
    ):
        self.bandwidth = bandwidth
        self.kernel = kernel
        self.empty = empty
        self.algorithm = algorithm
        self.tol = tol
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _validate_params(self):
        try:
            super()._validate_params()
        except InvalidParameterError as error:
            raise InvalidParameterError(f"{error}{name_hint(self.kernel)}") from None

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Store the training points, and determine the bandwidth.

        Parameters
        ----------
        X : array-like or sparse matrix (n, n_features)
            Training inputs, the keys. A sparse matrix (csr, csc or coo) is converted to a dense array.
        y : array-like (n,), for the regressor also (n, n_outputs)
            Training targets, the values: numbers for the regressor, labels of any type for the classifier.
        sample_weight : array-like (n,), default=None
            Non-negative weights. If all are whole numbers they are counts: a weight of k is equivalent to k copies of
            the row. Otherwise they are importances, of which only the ratios matter, up to 1e250. Rows of weight zero
            are ignored.

        Returns
        -------
        self : object
            Fitted estimator.

        Raises
        ------
        ValueError
            If an input or a parameter is not valid, or if a sparse X would not fit into memory as a dense array. The
            estimator is then not changed.

        Notes
        -----
        The cost is O(n log n) time for each feature, and O(n) memory. Learning a bandwidth costs more: see
        :ref:`details of the search <search-details>`.
        """
        keys, targets = self._check_training(X, y)
        weights = check_weights(sample_weight, len(keys))
        kernel = KERNELS[self.kernel] if isinstance(self.kernel, str) else self.kernel
        n_stages = STAGES.get(self.bandwidth, 0) if isinstance(self.bandwidth, str) else 0
        bandwidth = None if n_stages else choose_bandwidth(self.bandwidth, keys, weights, kernel)
        check_algorithm(self.algorithm, kernel, keys.shape[1])
        if n_stages and has_one_unit(weights):
            raise ValueError(
                f"bandwidth={self.bandwidth!r} requires at least two samples of positive weight, got n_samples=1"
            )
        validate_data(self, X, skip_check_array=True)  # sets the number and the names of the features
        values = self._encode_y(targets)
        poolers = Poolers(Problem(keys, values, weights), self.algorithm, kernel, self.tol)
        fitted_with = self._make_attributes(keys, values, weights, poolers)
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        data = {"estimator": self, "X": X, "y": y, "metadata": metadata}
        task = Task(self._init_callback_context(max_subtasks=n_stages), data, fitted_with)
        learned = {"bandwidth_": bandwidth}
        if n_stages:
            sample = make_sample(keys, targets, values, weights)
            if sample.keys is not keys:
                problem = Problem(sample.keys, sample.values, sample.weights)
                poolers = Poolers(problem, self.algorithm, kernel, self.tol)
            learned = self._learn(sample, poolers, task)
        for name in LEARNED_ATTRIBUTES:
            vars(self).pop(name, None)
        vars(self).update(fitted_with(learned["bandwidth_"]) | learned)
        task.end(self.bandwidth_)
        return self

    def _make_attributes(self, keys, values, weights, poolers):
        """A function that maps a bandwidth (n_features,) to the attributes of an estimator fitted with it."""
        data = {"keys_": keys, "_values": values, "_weights": weights, "_kernel": poolers.kernel}
        data["_range"] = value_ranges(values, weights > 0)

        def fitted_with(bandwidth):
            pooler = poolers(bandwidth)
            return data | {"bandwidth_": bandwidth, "algorithm_": pooler.algorithm, "_pooler": pooler}

        return fitted_with

    def _learn(self, sample, poolers, task):
        """Learn a bandwidth from a sample; returns the attributes of the estimator that record the search."""
        start = rule_of_thumb("silverman", sample.keys, sample.weights, poolers.kernel)
        random_state = check_random_state(self.random_state)
        first_loss, final_loss = make_losses(
            poolers,
            sample,
            is_linear=poolers(start).cost == "linear",
            random_state=random_state,
            mean_where_empty=self.empty == "mean",
            tol=self.tol,
            n_jobs=self.n_jobs,
        )
        with single_threaded_blas():  # set once for all evaluations of the loss
            make_halves = partial(CrossValidation, first_loss, final_loss, random_state)
            search = Search(start, first_loss, final_loss, make_halves, task)
            by_gradient = poolers.kernel.log_slope is not None
            learned = search.each(by_gradient) if self.bandwidth == "loo_ard" else search.factor()
        if learned.warning:
            warnings.warn(learned.warning, ConvergenceWarning, stacklevel=4)
        loss = final_loss(learned.bandwidth) if learned.loss is None else learned.loss
        with np.errstate(over="ignore"):  # a loss above 1e308 becomes inf
            loss, losses = (np.ldexp(losses, 2 * final_loss.exponent) for losses in (loss, learned.path["loss"]))
        return {
            "bandwidth_": learned.bandwidth,
            "loo_loss_": loss,
            "loo_path_": learned.path | {"loss": losses},
            "loo_rows_": np.flatnonzero(np.isin(sample.rows, final_loss.rows)),
            "n_iter_": learned.n_evaluations,
            "_start": start,
        }

    def __getstate__(self):
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_pooler"}

    def __setstate__(self, state):
        super().__setstate__(state)
        if "keys_" in state:
            problem = Problem(self.keys_, self._values, self._weights)
            self._pooler = Poolers(problem, self.algorithm_, self._kernel, self.tol)(self.bandwidth_)

    @property
    def attention_weights_(self):
        """The attention weights of the training points, (n, n): a view that computes rows on demand."""
        check_is_fitted(self, "keys_")
        fitted = object.__new__(type(self))
        vars(fitted).update(vars(self))  # a copy, so that the view stays the same if the estimator is fitted again
        return AttentionView(partial(fitted._attend, fitted.keys_), len(fitted.keys_))

    @property
    def values_(self):
        """The training targets (n, n_outputs), one-hot encoded for a classifier."""
        check_is_fitted(self, "keys_")
        return self._values[:]

    @property
    def feature_importances_(self):
        """The scale of each feature divided by its bandwidth, (n_features,), normalised to sum to one."""
        check_is_fitted(self, "keys_")
        scales, importances = robust_scales(self.keys_, self._weights), np.zeros(len(self.bandwidth_))
        used = np.isfinite(scales) & np.isfinite(self.bandwidth_)
        if used.any():
            importances[used] = softmax(np.log(scales[used]) - np.log(self.bandwidth_[used]))
        return importances

    def attention_weights(self, X=None, *, sparse_output=False):
        """Compute the attention weights of each query on all training points.

        Parameters
        ----------
        X : array-like or sparse matrix (n_queries, n_features), default=None
            Queries. None uses the training points as queries, each of which attends to all others but not to itself.
        sparse_output : bool, default=False
            Whether to return a sparse array. It omits zeros and, for kernels of unbounded support, the smallest weights
            of each row as long as their sum is at most `tol`. The other weights are not changed.

        Returns
        -------
        weights : (n_queries, n) float ndarray or csr_array
            Attention weights. They are non-negative, and each row sums to one. Rows of queries without a training point
            inside the support of the kernel are determined by `empty`.

        Raises
        ------
        ValueError
            If X is not valid; if `empty="raise"` and a query has no training point within the support of the kernel;
            if X is None and there is only one training point.

        Notes
        -----
        The cost is O(n_queries n n_features) time, and the memory of the result.
        """
        queries = self._check_queries(X)
        if not sparse_output:
            return self._attend(queries)
        shape = (self.keys_ if queries is None else queries).shape[0], len(self.keys_)
        blocks = self._attention_blocks(queries, np.arange(shape[0]))
        return sparse_attention(blocks, shape, 0 if self._kernel.compact else self.tol)

    def _attention_blocks(self, queries, rows):
        """Yield the attention weights of queries[rows] in consecutive blocks."""
        if self.empty == "raise":
            self._pool(queries)  # raises with the number of empty queries in all blocks, not in the first one
        step = max(1, BLOCK_WEIGHTS // len(self.keys_))
        for start in range(0, len(rows), step):
            yield self._attend(queries, rows[start : start + step])

    def _check_queries(self, X):
        """Validated queries as a dense or sparse array; None, which requests leave-one-out, is returned as it is."""
        check_is_fitted(self, "keys_")
        parameters = {name: getattr(self, name) for name in PREDICTION_CONSTRAINTS}
        validate_parameter_constraints(PREDICTION_CONSTRAINTS, parameters, type(self).__name__)
        if X is not None:
            return check_queries(X, self)
        if has_one_unit(self._weights):
            raise ValueError(
                "X=None predicts each training point from the others, which requires at least two samples of positive "
                "weight; the estimator was fitted with n_samples=1"
            )
        return None

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _pool(self, queries):
        """Pooled values (n_queries, n_values), clipped to the range of each value column."""
        values = self._evaluate(lambda pooler, *which: pooler.pool(*which, self.n_jobs, self.tol)[:2], queries)
        return np.clip(values, *self._range, out=values)

    def _attend(self, queries, rows=slice(None)):
        """Attention weights of queries[rows]."""
        return self._evaluate(lambda pooler, *which: pooler.attention(*which, self.n_jobs), queries, rows)

    def _evaluate(self, function, queries, rows=slice(None)):
        """The first result of `function(pooler, queries, rows)`, with `empty` applied; the second is `log_mass`."""
        if issparse(queries):
            queries, rows = queries.tocsr()[rows], slice(None)
        result, log_mass = in_dense_blocks(lambda queries: function(self._pooler, queries, rows), queries)
        empty = np.flatnonzero(np.isneginf(log_mass))
        if len(empty) == 0 or self.empty == "nearest":
            return result
        if self.empty == "raise":
            raise ValueError(
                f"{len(empty)} of {len(result)} queries have no training point within the support of the kernel; "
                'increase bandwidth, use a kernel of unbounded support, or set empty="nearest"'
            )
        result[empty] = np.nan
        if self.empty == "mean":
            average = self._pooler.at(np.full(len(self.bandwidth_), np.inf))
            if queries is None:
                which = None, np.arange(len(self.keys_))[rows][empty]
            else:
                which = self.keys_[:1], slice(None)  # the average is the same for every query
            result[empty], _ = function(average, *which)
        return result
