"""Gradients of local lines by the query.

The value of the line at a query q is p + w' c, with the mean p of the values, the mean m and the covariance C of the
keys under the attention, their covariance c with the values, and w = (C + ridge s² I)^-1 (q - m). With the slopes
b = (C + ridge s² I)^-1 c, its derivative is

    b + sum_i (da_i / dq) (1 + w' (x_i - m)) (v_i - p - b' (x_i - m)) - ridge (ds² / dq) w' b.

The second term is the covariance, under the attention, of d log a / dq with the residuals of the line times the factors
that make weights of the line of attention weights. For ridge = inf it is the derivative of a mean.

The prediction is the line of the residuals of a trend, plus the trend. If row j is left out of a ridge regression on
standardised features z, its slopes change by db, and the prediction at q by (z(q) - line of z at q)' db, the derivative
of which takes lines of z as further values.
"""

import numpy as np

from ._engines.neighbors import unit_bandwidth
from ._gradients import Gradients, Surroundings, each_block
from ._lines import Moments


class LineGradients(Gradients):
    """The gradients of local lines around a trend."""

    def _gradients_of(self, queries):
        model, (values, log_mass) = self._model, self._lines_at(queries)
        (gradients,) = self._each_pattern(self._gradients_at, self._attention_pooler, queries)
        low, high = model.ranges(queries, np.arange(len(values)))
        gradients[(values < low) | (values > high)] = 0
        with np.errstate(all="ignore"):
            return np.ldexp(gradients, model.value_exponents[:, None] - model.exponents, out=gradients), log_mass

    def _gradients_at(self, pooler, queries, rows):
        """Gradients (m, n_values, n_columns) at some rows of the queries, in units of the model, and not clipped."""
        model, rows = self._model, np.arange(len(self.keys_ if queries is None else queries))[rows]
        gradients = np.empty((len(rows), model.n_values, len(pooler.bandwidth)))

        def write(block):
            gradients[block] = gradients_of(model, pooler, self.ridge_, queries, rows[block])

        each_block(write, len(rows), len(pooler.problem.keys), sum(gradients.shape[1:]), self.n_jobs)
        return (gradients,)


def gradients_of(model, pooler, ridge, queries, rows):
    """Gradients (b, n_values, n_columns) of a `LocalModel` at some rows of the queries, without clipping.

    They are zero for columns that are no numbers. `pooler` is that of its attention. None is leave-one-out: the
    training rows are the queries.
    """
    trend, key_rows, numbers, is_number = model.trend, pooler.problem.key_rows, model.columns.numbers, model.is_number
    is_changed = queries is None and trend.is_linear
    columns = trend.residuals[key_rows]
    if is_changed:
        columns = np.column_stack([columns, trend.standardised(model.terms(model.codes[key_rows]))])
    used = np.flatnonzero(np.isfinite(pooler.bandwidth))
    axes = np.flatnonzero(np.isin(used, numbers))
    axes = slice(None) if len(axes) == len(used) else axes
    lines = np.zeros((len(rows), columns.shape[1], len(pooler.bandwidth)))
    if len(used):
        around, unit = Surroundings.find(pooler, queries, rows), unit_bandwidth(pooler.problem, pooler.bandwidth)
        lines[:, :, used[axes]] = _line_gradients(around, columns, ridge, axes) / unit[used[axes]]
    gradients, of_terms = np.split(lines, [model.n_values], axis=1)
    if trend.is_linear:
        gradients[:, :, numbers] += (trend.slopes / trend.scales[:, None])[is_number].T
    if is_changed:
        missed = np.zeros(of_terms.shape[1:])
        missed[is_number, numbers] = 1 / trend.scales[is_number]
        changes = trend.slope_changes(model.terms(model.codes[rows]), rows)
        gradients += np.swapaxes(changes, 1, 2) @ (missed - of_terms)
    return gradients


@np.errstate(all="ignore")
def _line_gradients(around, values, ridge, axes):
    """The derivatives (b, n_values, d) of local lines through values (n_keys, n_values), in units of `Surroundings`.

    `axes` are the features, among those, along which there are slopes.
    """
    offsets = around.offsets[:, axes]
    means = np.einsum("bdn,bn->bd", offsets, around.attention)
    deviations, steps = offsets - means[:, :, None], around.steps[:, axes] - means
    residuals = values.T - values[around.origins][:, :, None]
    residuals -= np.einsum("bvn,bn->bv", residuals, around.attention)[:, :, None]
    weighted = around.attention[:, None] * deviations
    spread, cross = weighted @ np.swapaxes(deviations, 1, 2), weighted @ np.swapaxes(residuals, 1, 2)
    flags = np.ones(len(steps), dtype=bool), np.ones(steps.shape[1], dtype=bool)
    moments = Moments(values[around.origins], steps, spread, cross, around.squares, around.log_mass, *flags)
    solutions = moments.solve(ridge, np.concatenate([steps[:, :, None], cross], axis=2))
    weights, slopes = solutions[:, :, 0], np.swapaxes(solutions[:, :, 1:], 1, 2)
    residuals -= slopes @ deviations
    residuals *= 1 + np.einsum("bd,bdn->bn", weights, deviations)[:, None]
    gradients = around.covariances(residuals)[:, :, axes] + slopes
    if around.growth is not None and np.isfinite(ridge):
        shrinkage = ridge * around.squares[:, None] * np.einsum("bvd,bd->bv", slopes, weights)
        gradients -= shrinkage[:, :, None] * around.growth[:, None, axes]
    return gradients
