"""The base class of the Nadaraya-Watson estimators: pooled values, and attention weights."""

from functools import partial
from typing import ClassVar

import numpy as np
from scipy.special import softmax
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from ._attention import BLOCK_WEIGHTS, AttentionView, sparse_attention
from ._base import KernelEstimator
from ._diagnostics import Diagnostics
from ._distances import Distances, DistanceTable, check_precomputed
from ._learning.loss import CrossValidation
from ._learning.neighbors import can_choose, choose_neighbors
from ._learning.search import N_DRAWS
from ._one_hot import value_ranges


class NadarayaWatson(Diagnostics, KernelEstimator):
    """Base class of the estimators whose predictions are means of the values, weighted by attention."""

    _parameter_constraints: ClassVar = KernelEstimator._parameter_constraints | {
        "metric": [StrOptions({"euclidean", "precomputed"})]
    }

    def __init__(
        self,
        bandwidth="silverman",
        *,
        n_neighbors=None,
        kernel="gaussian",
        categorical_features="from_dtype",
        metric="euclidean",
        empty="nearest",
        algorithm="auto",
        tol=1e-10,
        n_jobs=None,
        random_state=0,
    ):
        self.bandwidth = bandwidth
        self.n_neighbors = n_neighbors
        self.kernel = kernel
        self.categorical_features = categorical_features
        self.metric = metric
        self.empty = empty
        self.algorithm = algorithm
        self.tol = tol
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _make_table(self, X):
        if self.metric == "euclidean":
            return super()._make_table(X)
        check_precomputed(self)
        return DistanceTable()

    def _make_columns(self, keys, weights, table):
        if table.holds_distances:
            return Distances(keys, weights)
        return super()._make_columns(keys, weights, table)

    def _initial_attributes(self, columns, keys, values, weights):
        initial = super()._initial_attributes(columns, keys, values, weights)
        return initial | {"_range": value_ranges(values, weights > 0)}

    def _prepare(self, fitted, poolers):
        """The attributes that follow from what is fitted."""
        pooler = poolers(fitted["_columns"].spread(fitted["bandwidth_"]), fitted["n_neighbors_"])
        return {"algorithm_": pooler.algorithm, "_pooler": pooler}

    def _learns_more(self):
        return self.n_neighbors is not None

    def _learn_more(self, learned, losses, random_state, task, stopped):
        """The number of neighbours in use, with the attributes that record the loss of the width in use.

        `learned` has the attributes of the bandwidth. If a callback has requested to stop, no number is learned.
        """
        bandwidth, (loss, final_loss) = learned["bandwidth_"], losses
        n_copies = final_loss.sample.n_copies
        if self.n_neighbors != "loo":
            found, number = {"n_neighbors_": self.n_neighbors}, max(1, round(self.n_neighbors / n_copies))
            return found | final_loss.record(final_loss.exact(bandwidth, number))
        number, n_evaluations = None, 0
        if not stopped and can_choose(loss):
            halves = CrossValidation(loss, final_loss, random_state, N_DRAWS)
            number, n_evaluations = choose_neighbors(bandwidth, loss, halves, task)
        found = {"n_iter_": learned["n_iter_"] + n_evaluations}
        if number is not None:
            found["n_neighbors_"] = max(1, round(number * n_copies))
        is_known = number is None and "loo_loss_" in learned
        return found if is_known else found | final_loss.record(final_loss.exact(bandwidth, number))

    @property
    def attention_weights_(self):
        """The attention weights of the training points, (n, n): a view that computes rows on demand."""
        check_is_fitted(self, "keys_")
        fitted = self._fitted_copy()
        return AttentionView(partial(fitted._attend, fitted.keys_), len(fitted.keys_))

    @property
    def feature_importances_(self):
        """The scale of each feature divided by its bandwidth, (n_features,), normalised to sum to one."""
        check_is_fitted(self, "keys_")
        scales, importances = self._columns.scales(self.keys_, self._weights), np.zeros(len(self.bandwidth_))
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
            self._predict_values(queries)  # raises with the number of empty queries in all blocks, not in the first one
        step = max(1, BLOCK_WEIGHTS // len(self.keys_))
        for start in range(0, len(rows), step):
            yield self._attend(queries, rows[start : start + step])

    def _predict_values(self, queries):
        """Pooled values (n_queries, n_values), clipped to the range of each value column."""
        values = self._evaluate(self._pool, self._pooler, queries)
        return np.clip(values, *self._range, out=values)

    def _pool(self, pooler, queries, rows):
        """Pooled values of queries[rows], and log_mass."""
        return pooler.pool(queries, rows, self.n_jobs, self.tol)[:2]

    def _attend(self, queries, rows=slice(None)):
        """Attention weights of queries[rows]."""
        return self._evaluate(lambda pooler, *which: pooler.attention(*which, self.n_jobs), self._pooler, queries, rows)

    @property
    def _attention_pooler(self):
        return self._pooler

    def _to_pooler(self, queries):
        return self._columns.of(queries)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        if self.metric == "precomputed":
            tags.input_tags.pairwise = tags.input_tags.positive_only = True
            tags.input_tags.sparse = tags.input_tags.allow_nan = tags.input_tags.categorical = False
        return tags
