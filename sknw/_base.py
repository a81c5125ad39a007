"""The base class of both estimators: scikit-learn's conventions, and all that does not depend on the meaning of y."""

import warnings
from functools import partial
from importlib.metadata import PackageNotFoundError, metadata
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
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

from ._columns import Columns
from ._engines import ENGINES, Poolers, check_algorithm
from ._evaluation import Evaluation
from ._inputs import check_queries, check_weights
from ._kernels import KERNELS, Kernel, name_hint
from ._learning.copies import make_sample
from ._learning.loss import CrossValidation, make_losses
from ._learning.progress import CallbackSupportMixin, Task
from ._learning.rules import RULES, check_bandwidth, rule_of_thumb
from ._learning.search import N_DRAWS, Search
from ._memo import Memo
from ._patterns import TablePoolers
from ._table import Table
from ._threads import single_threaded_blas
from ._weights import has_one_unit, share_memory

STAGES = {
    "bandwidth": {"loo": 2, "loo_ard": 3 + 2 * N_DRAWS},
    "n_neighbors": {"loo": 1},
    "ridge": {"loo": 1},
    "trend": {"loo": 2},
}
"""The largest number of stages of the search, for each value of a parameter that is learned."""

LEARNED_ATTRIBUTES = ("loo_loss_", "loo_path_", "loo_rows_", "n_iter_", "_start")
"""Attributes that exist only if a parameter was learned."""

REBUILT = ("_pooler", "_model", "_memo")
"""Attributes that are not pickled, as they follow from others."""

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


class KernelEstimator(Evaluation, CallbackSupportMixin, BaseEstimator):
    """Base class of the estimators, which define their parameters, how y becomes values, and how they predict.

    They have a parameter `n_neighbors`, methods that tell whether more than a bandwidth is learned, and learn it, and
    what `Evaluation` requires.
    """

    _parameter_constraints: ClassVar = {
        "bandwidth": [
            Interval(Real, 0, np.inf, closed="right"),
            "array-like",
            StrOptions({*RULES, *STAGES["bandwidth"]}),
        ],
        "n_neighbors": [None, Interval(Integral, 1, None, closed="left"), StrOptions({*STAGES["n_neighbors"]})],
        "kernel": [StrOptions(set(KERNELS)), Kernel],
        "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
        "algorithm": [StrOptions({"auto", *ENGINES})],
        "random_state": ["random_state"],
        **PREDICTION_CONSTRAINTS,
    }

    _doc_link_module = "sknw"
    _doc_link_template = _page_template()

    def _validate_params(self):
        try:
            super()._validate_params()
        except InvalidParameterError as error:
            raise InvalidParameterError(f"{error}{name_hint(self.kernel)}") from None
        if isinstance(self.n_neighbors, bool):
            raise InvalidParameterError(f"n_neighbors must be None, an int or 'loo', got {self.n_neighbors!r}")

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Store the training points, and determine the bandwidth and other parameters.

        Parameters
        ----------
        X : array-like, data frame or sparse matrix (n, n_features)
            Training inputs, the keys. Values may be missing: nan, None or pd.NA. A sparse matrix (csr, csc or coo) is
            converted to a dense array.
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
        The cost is O(n log n) time for each feature, and O(n) memory; for local lines, O(n) for each of
        :ref:`their columns <line-cost>`. Learning a parameter costs more: see
        :ref:`details of the search <search-details>`.
        """
        keys, targets, table = self._check_training(X, y)
        weights = check_weights(sample_weight, len(keys))
        table.forget_unseen(keys, weights)
        columns = self._make_columns(keys, weights, table)
        kernel = KERNELS[self.kernel] if isinstance(self.kernel, str) else self.kernel
        stages = self._stages()
        bandwidth = None if "bandwidth" in stages else self._given_bandwidth(columns, keys, weights, kernel)
        check_algorithm(self.algorithm, kernel, columns.n_columns, self.n_neighbors)
        if stages and has_one_unit(weights):
            chosen = [f"{name}={getattr(self, name)!r}" for name in stages if hasattr(self, name)]
            name = (chosen or [type(self).__name__])[0]
            raise ValueError(f"{name} requires at least two samples of positive weight, got n_samples=1")
        validate_data(self, X, skip_check_array=True)  # sets the number and the names of the features
        values = self._encode_y(targets)
        poolers = Poolers(columns.make_problem(keys, values, weights), self.algorithm, kernel, self.tol)
        initial = {"_table": table, "_columns": columns} | self._initial_attributes(columns, keys, values, weights)
        fitted_with = self._make_attributes(keys, values, weights, poolers, initial)
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        data = {"estimator": self, "X": X, "y": y, "metadata": metadata}
        task = Task(self._init_callback_context(max_subtasks=sum(stages.values())), data, fitted_with)
        learned = initial | {"bandwidth_": bandwidth}
        if stages:
            points = columns.points(keys)
            sample = make_sample(points, targets, values, weights)._replace(unordered=columns.unordered)
            problem = poolers.problem
            if sample.keys is not points:
                problem = columns.make_problem(keys, sample.values, sample.weights, sample.keys)
            # what engines keep for the bandwidths of a search ends with it
            poolers = Poolers(problem, self.algorithm, kernel, self.tol)
            learned |= self._learn(sample, poolers, learned, task)
        for name in LEARNED_ATTRIBUTES:
            vars(self).pop(name, None)
        vars(self).update(fitted_with(**learned))
        task.end(self.bandwidth_, n_neighbors_=self.n_neighbors_)
        return self

    def _make_table(self, X):
        """The `Table` of training inputs."""
        return Table(X, self.categorical_features)

    def _make_columns(self, keys, weights, table):
        """The `Columns` of training codes."""
        return Columns(keys, weights, table.n_categories(keys.shape[1]))

    def _given_bandwidth(self, columns, keys, weights, kernel):
        """The bandwidth (n_features,), as given or by a rule of thumb."""
        if isinstance(self.bandwidth, str):
            return rule_of_thumb(self.bandwidth, columns.scales(keys, weights), weights, kernel)
        return np.where(columns.is_known, check_bandwidth(self.bandwidth, len(columns.is_known)), np.inf)

    def _stages(self):
        """The largest number of stages of the search for each parameter that is to be learned."""
        chosen = {name: getattr(self, name, None) for name in STAGES}
        return {
            name: STAGES[name][value]
            for name, value in chosen.items()
            if isinstance(value, str) and value in STAGES[name]
        }

    def _initial_attributes(self, columns, keys, values, weights):
        """The fitted attributes, other than the bandwidth, as they are before anything is learned."""
        return {"n_neighbors_": None if self.n_neighbors == "loo" else self.n_neighbors}

    def _make_attributes(self, keys, values, weights, poolers, initial):
        """A function that maps what was learned, with `bandwidth_` (n_features,) at least, to the fitted attributes."""
        data = {"keys_": keys, "_values": values, "_weights": weights, "_kernel": poolers.kernel, **initial}

        def fitted_with(bandwidth_, **learned):
            fitted = data | learned | {"bandwidth_": bandwidth_}
            return fitted | self._prepare(fitted, poolers) | {"_memo": Memo()}

        return fitted_with

    def _learn(self, sample, poolers, initial, task):
        """Learn the parameters that are to be learned from a sample; returns the attributes that record the search.

        `initial` are attributes as they are before; the bandwidth is None if it is to be learned.
        """
        start, columns = initial["bandwidth_"], initial["_columns"]
        if start is None:
            scales = columns.scales(sample.keys, sample.weights)
            start = rule_of_thumb("silverman", scales, sample.weights, poolers.kernel)
        if not columns.is_trivial:
            poolers = TablePoolers(columns, np.isnan(sample.keys), poolers)
        random_state, is_linear = check_random_state(self.random_state), poolers(start).cost == "linear"
        losses = self._make_losses(sample, poolers, is_linear, random_state)
        learned, stopped = initial | {"n_iter_": 0}, False
        with single_threaded_blas():  # set once for all evaluations of the loss
            if initial["bandwidth_"] is None:
                found, stopped = self._learn_bandwidth(start, losses, random_state, task)
                learned |= found
            if self._learns_more():
                if is_linear:  # which it is for a fixed width only
                    losses = self._make_losses(sample, poolers, False, random_state)
                learned |= self._learn_more(learned, losses, random_state, task, stopped)
        return learned

    def _make_losses(self, sample, poolers, is_linear, random_state):
        """The losses of the search and of its end, as `make_losses`."""
        parameters = {"mean_where_empty": self.empty == "mean", "tol": self.tol, "n_jobs": self.n_jobs}
        return make_losses(poolers, sample, is_linear, random_state, **parameters)

    def _learn_bandwidth(self, start, losses, random_state, task):
        """Learn the bandwidth from Silverman's, `start`.

        Returns it with the attributes that record the search, and whether a callback has requested to stop.
        """
        make_halves, final_loss = partial(CrossValidation, *losses, random_state), losses[1]
        search = Search(start, *losses, make_halves, task)
        by_gradient = final_loss.pooler_of.kernel.log_slope is not None
        learned = search.each(by_gradient) if self.bandwidth == "loo_ard" else search.factor()
        if learned.warning:
            warnings.warn(learned.warning, ConvergenceWarning, stacklevel=5)
        loss = final_loss.exact(learned.bandwidth) if learned.loss is None else learned.loss
        found = {
            "bandwidth_": learned.bandwidth,
            "loo_path_": learned.path | {"loss": final_loss.in_units_of_y(learned.path["loss"])},
            "n_iter_": learned.n_evaluations,
            "_start": start,
        }
        return found | final_loss.record(loss), search.stopped

    def __getstate__(self):
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name not in REBUILT}

    def __setstate__(self, state):
        super().__setstate__(state)
        if "keys_" in state:
            self._weights = share_memory(self._weights)
            problem = self._columns.make_problem(self.keys_, self._values, self._weights)
            poolers = Poolers(problem, self.algorithm_, self._kernel, self.tol)
            vars(self).update(self._prepare(vars(self), poolers) | {"_memo": Memo()})

    @property
    def values_(self):
        """The training targets (n, n_outputs), one-hot encoded for a classifier."""
        check_is_fitted(self, "keys_")
        return self._values[:]

    def _check_queries(self, X):
        """Validated queries as a dense or sparse array; None, which requests leave-one-out, is returned as it is."""
        check_is_fitted(self, "keys_")
        parameters = {name: getattr(self, name) for name in PREDICTION_CONSTRAINTS}
        validate_parameter_constraints(PREDICTION_CONSTRAINTS, parameters, type(self).__name__)
        if X is not None:
            return check_queries(X, self, self._table)
        if has_one_unit(self._weights):
            raise ValueError(
                "X=None predicts each training point from the others, which requires at least two samples of positive "
                "weight; the estimator was fitted with n_samples=1"
            )
        return None

    @property
    def categories_(self):
        """The categories of each feature, a list (n_features,) of ndarrays; None for a number."""
        check_is_fitted(self, "keys_")
        return self._table.categories or [None] * self.n_features_in_

    @property
    def is_categorical_(self):
        """Which features have categories, (n_features,) bool; None if none has."""
        check_is_fitted(self, "keys_")
        return self._table.is_categorical

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = tags.input_tags.allow_nan = tags.input_tags.categorical = True
        return tags
