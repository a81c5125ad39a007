"""How fitted estimators answer queries: in groups that miss the same features, with `empty` applied."""

import numpy as np
from scipy.sparse import issparse

from ._distribution import Masses
from ._inputs import in_dense_blocks
from ._patterns import by_pattern
from ._weights import has_one_unit


class Evaluation:
    """Methods of the estimators, for validated queries, which are codes (m, n_features), or None for leave-one-out.

    Estimators define the `Pooler` of their attention, `_attention_pooler`; `_to_pooler`, which takes codes to columns
    in its units; and `_predict_values`, the predictions (m, n_values) for queries.
    """

    @property
    def _width_parameter(self):
        """The name of the parameter that the width depends on."""
        return "bandwidth" if self.n_neighbors_ is None else "n_neighbors"

    def _empty_rows(self, log_mass):
        """The positions of queries without a training point inside the support, if `empty` says what to predict.

        Raises
        ------
        ValueError
            If there are any, and `empty="raise"`.
        """
        empty = np.flatnonzero(np.isneginf(log_mass)) if self.empty != "nearest" else np.empty(0, dtype=np.intp)
        if len(empty) and self.empty == "raise":
            raise ValueError(
                f"{len(empty)} of {len(log_mass)} queries have no training point within the support of the kernel; "
                f"increase {self._width_parameter}, use a kernel of unbounded support, or "
                'set empty="nearest"'
            )
        return empty

    def _evaluate(self, function, pooler, queries, rows=slice(None)):
        """The first result of `function(pooler, queries, rows)`, with `empty` applied; the second is `log_mass`.

        Queries are passed on as columns in the units of the pooler, those that miss the same features together, with
        the pooler `without` these. It needs this method only, as `Pooler` has it.
        """
        if queries is not None and not isinstance(rows, slice):
            queries, rows = (queries.tocsr() if issparse(queries) else queries)[rows], slice(None)

        def evaluate(queries):
            return self._each_pattern(function, pooler, queries, rows)

        result, log_mass = in_dense_blocks(evaluate, queries)
        empty = self._empty_rows(log_mass)
        result[empty] = np.nan
        if self.empty == "mean" and len(empty):
            average = pooler.without(np.ones(self._columns.n_columns, dtype=bool))
            if queries is None:
                which = None, np.arange(len(self.keys_))[rows][empty]
            else:  # any query will do
                which = np.repeat(self._to_pooler(self.keys_[:1]), len(empty), axis=0), slice(None)
            result[empty], _ = function(average, *which)
        return result

    def _each_pattern(self, function, pooler, queries, rows=slice(None)):
        """The results of `function(pooler, queries, rows)`, as `_evaluate` calls it, for dense queries or None."""
        points, codes = (None, self.keys_) if queries is None else (self._to_pooler(queries), queries)

        def evaluate(pooler, rows):
            return function(pooler, points, rows)

        return by_pattern(evaluate, pooler, self._columns, codes, rows)

    def _make_masses(self, values):
        """The `Masses` of other values (n, n_values) under the same attention."""
        pooler = self._attention_pooler
        return Masses.of(pooler.derive(pooler.problem.with_values(values)), self._weights)

    def _fitted_copy(self):
        """The same fitted estimator, which stays the same if this one is fitted again."""
        fitted = object.__new__(type(self))
        vars(fitted).update(vars(self))
        return fitted

    def _without_gaps(self):
        """The same fitted estimator, which predicts for all queries, as it does while it learns."""
        fitted = self._fitted_copy()
        fitted.empty = "mean" if self.empty == "mean" else "nearest"
        return fitted

    def _errors(self):
        """Leave-one-out errors of the values, (n, n_values), also where `empty` does not allow a prediction."""
        if has_one_unit(self._weights):
            raise ValueError(
                "errors are estimated by leave-one-out, which requires at least two samples of positive weight; the "
                "estimator was fitted with n_samples=1"
            )
        return self._once("errors", lambda: self._values[:] - self._without_gaps()._predict_values(None))

    def _once(self, name, compute):
        """The result of `compute()` for a name, which is computed again if parameters that errors depend on change."""
        return self._memo.get(name, (self.empty == "mean", self.tol), compute)
