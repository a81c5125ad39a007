"""The base class of the local linear estimators: a trend, and local lines of what it leaves."""

from functools import cached_property, partial
from numbers import Real
from typing import ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval, InvalidParameterError, StrOptions

from ._base import STAGES, KernelEstimator
from ._inputs import in_dense_blocks
from ._learning.lines import RIDGES, Choice, candidate_neighbors, choose_line, choose_trend
from ._line_masses import LineMasses
from ._lines import LARGEST, LocalLines
from ._patterns import by_pattern
from ._threads import single_threaded_blas
from ._weights import retained_share, scale_values

FIRST_RIDGE = 0.1
"""The ridge while bandwidths are learned, which is in use if a callback ends the search."""

LARGEST_EXPONENT = 100
"""Exponents of 2 in numbers whose products need no care."""

BLOCK_NUMBERS = 2**24
"""Moments of queries that are held at once: 128 MiB."""


class LocalModel:
    """A trend and local lines of what it leaves, for one bandwidth vector (n_features,).

    Columns and values are divided by powers of two 2^exponent where their products could overflow or underflow. Lines
    have slopes along numbers and ranks, but not along those that a query misses. The trend is one of the terms of all
    features. A missing number of a key is at the mean of the known ones.

    Parameters
    ----------
    columns : Columns
    codes : (n, n_features) float ndarray
        nan where a value is missing.
    values : (n, n_values) float ndarray
    weights : (n,) float ndarray
    bandwidth : (n_features,) float ndarray
    make_trend : callable
        Function of the terms (n, n_terms), the values, the weights over their sum, what leave-one-out takes of these,
        and the exponents of terms, to a trend.
    **options : dict
        `algorithm`, `kernel` and `tol`, as for `Poolers`.
    """

    def __init__(self, columns, codes, values, weights, bandwidth, make_trend, **options):
        active, keys, bandwidth = weights > 0, columns.of(codes), columns.spread(bandwidth)
        self.columns, self.codes = columns, codes
        self.exponents, self.value_exponents = _extreme_exponents(keys[active]), _extreme_exponents(values[active])
        keys = _divided(keys, self.exponents, LARGEST)
        values = _divided(values, self.value_exponents, 2.0**LARGEST_EXPONENT)  # those of weight zero may be larger
        bandwidth = np.maximum(_divided(bandwidth, self.exponents, np.inf), np.finfo(float).tiny)
        self.is_number = np.repeat(columns.n_categories == 0, columns.n_terms)
        self.is_local, self.term_exponents = self.is_number.copy(), np.zeros(len(self.is_number), dtype=int)
        self.is_local[self.is_number] = np.isfinite(bandwidth[columns.numbers])
        self.term_exponents[self.is_number] = self.exponents[columns.numbers]
        terms, self.values, self.n_values = self.terms(codes), values, values.shape[1]
        shares, retained = weights / weights.sum(), retained_share(weights)
        self.mean, self.removed = shares @ values, (1 - retained) * shares
        self.is_left_out = (weights > 0) & (retained == 0)
        self.trend = make_trend(terms, values, shares, self.removed, self.term_exponents)
        residuals = self.trend.residuals
        if self.trend.is_linear and not self.is_local.all():
            # leave-one-out changes the trend, and so what is left of terms without a local slope
            residuals = np.column_stack([residuals, self.trend.standardised(terms)[:, ~self.is_local]])
        self.lines = LocalLines(keys, residuals, weights, bandwidth, columns.numbers, **options)

    def predict(self, n_neighbors, ridges, queries=None, rows=slice(None), n_jobs=None):
        """Predictions (m, n_values) of some rows of the queries for each ridge, and log_mass (m,).

        None is leave-one-out: the training rows are the queries, each predicted as if one unit of it were missing.
        """
        codes, points = (self.codes, None) if queries is None else (queries, self.in_units(queries))

        def predict(pooler, rows):
            rows, parts = np.arange(len(codes))[rows], []
            step = max(1, BLOCK_NUMBERS // pooler.problem.n_values)
            for start in range(0, max(1, len(rows)), step):
                some = rows[start : start + step]
                moments = self.lines.moments(pooler, points, some, min(ridges), n_jobs)
                where = self.terms(codes[some]), some if queries is None else None
                parts.append([*(self._predict(moments, ridge, *where) for ridge in ridges), moments.log_mass])
            return list(map(np.concatenate, zip(*parts, strict=True)))

        *predictions, log_mass = by_pattern(predict, self.lines.pooler(n_neighbors), self.columns, codes, rows)
        return predictions, log_mass

    def in_units(self, codes):
        """The columns (m, n_columns) of codes (m, n_features), in the units of the keys."""
        return _divided(self.columns.of(codes), self.exponents, LARGEST)

    def terms(self, codes):
        """The terms (m, n_terms) of codes (m, n_features), in the units of the keys."""
        return _divided(self.columns.terms(codes), self.term_exponents, LARGEST)

    def _predict(self, moments, ridge, terms, rows):
        """Predictions (m, n_values) for one ridge at points with some terms; training `rows` are left out if given."""
        values, shifts = moments.lines(ridge)
        lines, trend = values[:, : self.n_values], self.trend
        if rows is None:
            predictions = lines + trend(terms)
        else:
            missed = self._missed(terms, shifts, values) if trend.is_linear else None
            predictions = lines + trend.left_out(terms, rows, missed)
        with np.errstate(over="ignore"):
            return np.ldexp(predictions, self.value_exponents)

    def _missed(self, terms, shifts, values):
        """Standardised terms (m, n_terms) without the local lines of the terms themselves."""
        missed, is_local = self.trend.standardised(terms), self.is_local
        missed[:, is_local] = -shifts * (self.lines.unit[self.lines.used] / self.trend.scales[is_local])
        missed[:, ~is_local] -= values[:, self.n_values :]
        return missed

    def means(self, queries, rows):
        """The means of the values (m, n_values); of the others for some rows that are left out."""
        means = np.tile(self.mean, (len(rows), 1))
        if queries is None:
            removed = self.removed[rows, None]
            means = (means - removed * self.values[rows]) / (1 - removed)
        return np.ldexp(means, self.value_exponents)

    def ranges(self, queries, rows):
        """The minimum and the maximum of the values; of the others (m, n_values) for some rows that are left out."""
        (low, second_low), (high, second_high) = self._extremes
        if queries is None:
            values, is_left_out = self.values[rows], self.is_left_out[rows, None]
            low = np.where(is_left_out & (values == low), second_low, low)
            high = np.where(is_left_out & (values == high), second_high, high)
        return np.ldexp(low, self.value_exponents), np.ldexp(high, self.value_exponents)

    @cached_property
    def _extremes(self):
        """The two least and the two greatest divided values, (2, n_values) each; of a single row, that row twice."""
        active = self.values[self.removed > 0]
        second = min(1, len(active) - 1)
        ends = [0, second], [-1, -1 - second]
        return [np.partition(active, end, axis=0)[end] for end in ends]


def _extreme_exponents(columns):
    """Exponents (k,) of the largest absolute value of columns (n, k) if it is very large or small, else 0."""
    exponents = scale_values(columns)[1]
    return np.where(np.abs(exponents) > LARGEST_EXPONENT, exponents, 0)


def _divided(rows, exponents, largest):
    """Rows (n, k) divided by 2^exponents, as far as the absolute value is at most `largest`."""
    with np.errstate(over="ignore"):
        return np.clip(np.ldexp(rows, -exponents), -largest, largest)


class LocalLinear(KernelEstimator):
    """Base class of the estimators whose predictions are local lines.

    Subclasses define

    * `_make_trend(fitted)`: the `make_trend` of `LocalModel`, from fitted attributes;
    * `_trends(columns, sample)`: fitted attributes of the trends of a sample of which one is to be chosen, as dicts,
      and `_spread(trend, rows)`: the same for all training rows;
    * `_finish(model, values, queries, rows, **last)`: predictions (m, n_values) from values of lines at some rows of
      the queries;
    * `_learn_last(model, predictions, loss)`: fitted attributes that the last step of `_finish` takes, as a dict, from
      leave-one-out predictions of the scoring rows of a loss.
    """

    _parameter_constraints: ClassVar = {
        **KernelEstimator._parameter_constraints,
        "ridge": [Interval(Real, 0, np.inf, closed="both"), StrOptions({*STAGES["ridge"]})],
    }

    _last: ClassVar = ()
    """Names of the fitted attributes that `_finish` takes."""

    def _validate_params(self):
        super()._validate_params()
        if isinstance(self.ridge, bool):
            raise InvalidParameterError(f"ridge must be a float or 'loo', got {self.ridge!r}")

    def _initial_attributes(self, columns, keys, values, weights):
        ridge = FIRST_RIDGE if isinstance(self.ridge, str) else float(self.ridge)
        return super()._initial_attributes(columns, keys, values, weights) | {"ridge_": ridge}

    def _prepare(self, fitted, poolers):
        """The attributes that follow from what is fitted."""
        model = self._make_model(fitted, poolers)
        return {"_model": model, "algorithm_": model.lines.pooler(fitted["n_neighbors_"]).algorithm}

    def _make_model(self, fitted, poolers):
        """The `LocalModel` of what is fitted."""
        return LocalModel(
            fitted["_columns"],
            fitted["keys_"],
            fitted["_values"][:],
            fitted["_weights"],
            fitted["bandwidth_"],
            self._make_trend(fitted),
            algorithm=poolers.algorithm,
            kernel=poolers.kernel,
            tol=poolers.tol,
        )

    def _learns_more(self):
        return True

    def _learn_more(self, learned, losses, random_state, task, stopped):
        """The number of neighbours, the ridge, and what `_finish` takes, with the attributes that record the loss."""
        first_loss, final_loss = losses
        sample, poolers = final_loss.sample, final_loss.pooler_of
        data = learned | {"keys_": sample.keys, "_values": sample.values, "_weights": sample.weights}
        numbers, ridges = self._candidates(sample, learned)
        models, choices = [], []
        trends = self._trends(learned["_columns"], sample)
        for trend in trends:
            models.append(self._make_model(data | trend, poolers))
            choices.append(Choice(np.inf, numbers[0], ridges[0], stopped=stopped))
            if len(trends) * len(numbers) * len(ridges) > 1 and not stopped:
                left_out = partial(self._left_out, models[-1], first_loss.rows, ridges)
                choices[-1] = choose_line(numbers, ridges, left_out, first_loss, task)
            if choices[-1].stopped:
                break
        k = choose_trend(choices)
        model, ridge = models[k], choices[k].ridge
        (predictions,) = self._left_out(model, final_loss.rows, [ridge], choices[k].n_neighbors)
        last = self._learn_last(model, predictions, final_loss)
        predictions = self._finish(model, predictions, None, final_loss.rows, **last)
        n_evaluations = sum(choice.n_evaluations for choice in choices)
        found = {"ridge_": ridge, "n_iter_": learned["n_iter_"] + n_evaluations}
        if self.n_neighbors == "loo" and choices[k].n_neighbors is not None:
            found["n_neighbors_"] = max(1, round(choices[k].n_neighbors * sample.n_copies))
        return found | last | self._spread(trends[k], sample.rows) | final_loss.record(final_loss.of(predictions))

    def _left_out(self, model, rows, ridges, n_neighbors):
        """Leave-one-out predictions (m, n_values) of some rows for each ridge, without the last step of `_finish`."""
        lines, _ = model.predict(n_neighbors, ridges, None, rows, self.n_jobs)
        return [self._finish(model, values, None, rows) for values in lines]

    def _candidates(self, sample, learned):
        """The numbers of neighbours of the sample, and the ridges, of which the best are to be learned."""
        ridges = list(RIDGES) if self.ridge == "loo" else [learned["ridge_"]]
        if self.n_neighbors == "loo":
            return candidate_neighbors(sample), ridges
        return [self.n_neighbors and max(1, round(self.n_neighbors / sample.n_copies))], ridges

    def _predict_values(self, queries):
        """Predictions (n_queries, n_values)."""
        values, log_mass = in_dense_blocks(self._lines_at, queries)
        last = {name: getattr(self, name) for name in self._last}
        values = self._finish(self._model, values, queries, np.arange(len(values)), **last)
        empty = self._empty_rows(log_mass)
        values[empty] = np.nan
        if self.empty == "mean":
            values[empty] = self._model.means(queries, empty)
        return values

    @property
    def _attention_pooler(self):
        return self._model.lines.pooler(self.n_neighbors_)

    def _to_pooler(self, queries):
        return self._model.in_units(queries)

    def _make_masses(self, values):
        lines, pooler = self._model.lines, self._attention_pooler
        return LineMasses.of(super()._make_masses(values), lines, pooler, self.ridge_)

    def _lines_at(self, queries):
        """Values (n_queries, n_values) of lines, and log_mass (n_queries,)."""
        with single_threaded_blas():
            (values,), log_mass = self._model.predict(self.n_neighbors_, [self.ridge_], queries, n_jobs=self.n_jobs)
        return values, log_mass
