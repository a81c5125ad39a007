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

    def _gradients_at(self, queries):
        """Gradients (m, n_values, n_features), and log_mass (m,)."""
        model, pooler, (values, log_mass) = self._model, self._attention_pooler, self._lines_at(queries)
        points = None if queries is None else model.in_units(queries)
        gradients = np.empty((*values.shape, len(pooler.bandwidth)))

        def write(block):
            gradients[block] = gradients_of(model, pooler, self.ridge_, points, np.arange(len(values))[block])

        each_block(write, len(values), len(pooler.problem.keys), sum(gradients.shape[1:]), self.n_jobs)
        low, high = model.ranges(queries, np.arange(len(values)))
        gradients[(values < low) | (values > high)] = 0
        with np.errstate(all="ignore"):
            return np.ldexp(gradients, model.value_exponents[:, None] - model.exponents, out=gradients), log_mass


def gradients_of(model, pooler, ridge, queries, rows):
    """Gradients (b, n_values, n_features) of a `LocalModel` at some rows of the queries, without clipping.

    `pooler` is that of its attention. None is leave-one-out: the training rows are the queries.
    """
    trend, key_rows = model.trend, pooler.problem.key_rows
    is_changed = queries is None and trend.is_linear
    columns = trend.residuals[key_rows]
    if is_changed:
        columns = np.column_stack([columns, trend.standardised(pooler.problem.keys)])
    used = np.flatnonzero(np.isfinite(pooler.bandwidth))
    lines = np.zeros((len(rows), columns.shape[1], len(pooler.bandwidth)))
    if len(used):
        around, unit = Surroundings.find(pooler, queries, rows), unit_bandwidth(pooler.problem, pooler.bandwidth)
        lines[:, :, used] = _line_gradients(around, columns, ridge) / unit[used]
    gradients, of_features = np.split(lines, [model.n_values], axis=1)
    if trend.is_linear:
        gradients += (trend.slopes / trend.scales[:, None]).T
    if is_changed:
        missed = np.diag(1 / trend.scales) - of_features
        gradients += np.swapaxes(trend.slope_changes(model.keys[rows], rows), 1, 2) @ missed
    return gradients


@np.errstate(all="ignore")
def _line_gradients(around, values, ridge):
    """The derivatives (b, n_values, d) of local lines through values (n_keys, n_values), in units of `Surroundings`."""
    means = np.einsum("bdn,bn->bd", around.offsets, around.attention)
    deviations, steps = around.offsets - means[:, :, None], around.steps - means
    residuals = values.T - values[around.origins][:, :, None]
    residuals -= np.einsum("bvn,bn->bv", residuals, around.attention)[:, :, None]
    weighted = around.attention[:, None] * deviations
    spread, cross = weighted @ np.swapaxes(deviations, 1, 2), weighted @ np.swapaxes(residuals, 1, 2)
    by_attention = np.ones(len(steps), dtype=bool)
    moments = Moments(values[around.origins], steps, spread, cross, around.squares, around.log_mass, by_attention)
    solutions = moments.solve(ridge, np.concatenate([steps[:, :, None], cross], axis=2))
    weights, slopes = solutions[:, :, 0], np.swapaxes(solutions[:, :, 1:], 1, 2)
    residuals -= slopes @ deviations
    residuals *= 1 + np.einsum("bd,bdn->bn", weights, deviations)[:, None]
    gradients = around.covariances(residuals) + slopes
    if around.growth is not None and np.isfinite(ridge):
        shrinkage = ridge * around.squares[:, None] * np.einsum("bvd,bd->bv", slopes, weights)
        gradients -= shrinkage[:, :, None] * around.growth[:, None]
    return gradients
