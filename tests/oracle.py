"""The definition, in plain numpy: a(q) = softmax(log K(t) + log w), pool(q) = a(q) @ values."""

import numpy as np

from sknw._canonical import canonical_ratio
from sknw._kernels import KERNELS as FACTS

EDGE = 1e-12


def _inside(t, weights):
    return np.where(t < 1 - EDGE, weights, 0.0)


KERNELS = {
    "gaussian": lambda t: -t / 2,
    "exponential": lambda t: -np.sqrt(t),
    "logistic": lambda t: np.log(4) - np.sqrt(t) - 2 * np.log1p(np.exp(-np.sqrt(t))),
    "cauchy": lambda t: -np.log(1 + t),
    "constant": lambda t: 0 * t,
    "boxcar": lambda t: np.log(np.where(t <= 1 + EDGE, 1.0, 0.0)),
    "triangular": lambda t: np.log(_inside(t, 1 - np.sqrt(t))),
    "epanechnikov": lambda t: np.log(_inside(t, 1 - t)),
    "biweight": lambda t: np.log(_inside(t, (1 - t) ** 2)),
    "triweight": lambda t: np.log(_inside(t, (1 - t) ** 3)),
    "tricube": lambda t: np.log(_inside(t, (1 - t**1.5) ** 3)),
    "cosine": lambda t: np.log(_inside(t, np.cos(np.pi / 2 * np.sqrt(t)))),
}


@np.errstate(all="ignore")
def squared_distances(queries, keys, bandwidth):
    """t (m, n)."""
    bandwidth = np.broadcast_to(bandwidth, keys.shape[1])
    return (((queries[:, None] - keys[None]) / bandwidth) ** 2).sum(axis=-1)


def attention(queries, keys, bandwidth, kernel="gaussian", weights=None, leave_one_out=False):
    """Attention weights (m, n), and which queries (m,) are empty and attend to their nearest keys instead."""
    return attention_at(squared_distances(queries, keys, bandwidth), kernel, weights, leave_one_out)


@np.errstate(all="ignore")
def attention_at(t, kernel="gaussian", weights=None, leave_one_out=False):
    """The same as `attention`, from squared distances t (m, n) in bandwidths."""
    w, logits = _logits(t, kernel, weights, leave_one_out)
    empty = np.isneginf(logits).all(axis=1)
    return _softmax(t, w, logits, empty), empty


def _softmax(t, w, logits, empty):
    """Attention weights (m, n); empty queries attend to their nearest keys."""
    nearest = np.where(w > 0, t, np.inf).min(axis=1, keepdims=True) * (1 + EDGE)
    logits = np.where(empty[:, None], np.where(t <= nearest, np.log(w), -np.inf), logits)
    a = np.exp(logits - logits.max(axis=1, keepdims=True))
    return a / a.sum(axis=1, keepdims=True)


@np.errstate(all="ignore")
def log_mass(queries, keys, bandwidth, kernel="gaussian", weights=None, leave_one_out=False):
    """The logarithm (m,) of the sum of kernel times weight."""
    t = squared_distances(queries, keys, bandwidth)
    return np.logaddexp.reduce(_logits(t, kernel, weights, leave_one_out)[1], axis=1)


def _logits(t, kernel, weights, leave_one_out):
    """Weights in leave-one-out, and log K + log w, both (m, n)."""
    w = np.tile(np.ones(t.shape[1]) if weights is None else weights, (len(t), 1))
    if leave_one_out:
        counts = np.all(w == np.rint(w))
        np.fill_diagonal(w, np.maximum(w.diagonal() - 1, 0) if counts else 0)
    return w, (KERNELS[kernel] if isinstance(kernel, str) else kernel)(t) + np.log(w)


@np.errstate(all="ignore")
def nearest_t(queries, keys, bandwidth, weights, leave_one_out=False):
    """The least t (m,) of the keys that have weight."""
    t = squared_distances(queries, keys, bandwidth)
    w, _ = _logits(t, "constant", weights, leave_one_out)
    return np.where(w > 0, t, np.inf).min(axis=1)


def rounding_decides(queries, keys, bandwidth):
    """For which queries (m,) it is rounding that says whether a key is tied for the nearest; t = 0 is never rounded."""
    t = squared_distances(queries, keys, bandwidth)
    t[t == 0] = np.inf
    edge = np.minimum(t.min(axis=1, keepdims=True), 1e300) * (1 + EDGE)
    return (np.abs(t - edge) <= 5e-15 * edge).any(axis=1)


@np.errstate(all="ignore")
def growth(attention, keys, bandwidth, kernel):
    """d log K / d log h_f (n, n, d) of all pairs of keys that have attention (n, n), for a `Kernel`."""
    squares = np.square((keys[:, None] - keys) / bandwidth)
    t = squares.sum(axis=-1)
    where = (attention > 1e-280) & (t > 0) & kernel.inside(t)
    return np.where(where, -2 * kernel.log_slope(t), 0.0)[:, :, None] * squares


def jacobian(attention, growth, values):
    """d pooled / d log h_f (n, d, n_values): the covariance of growth and values under the attention."""
    means = np.einsum("ij,ijf->if", attention, growth)
    deviations = attention[:, :, None] * (growth - means[:, None])
    return deviations.swapaxes(1, 2) @ (values - (attention @ values)[:, None])


@np.errstate(all="ignore")
def query_gradients(queries, keys, values, bandwidth, kernel="gaussian", weights=None, leave_one_out=False):
    """The derivatives (m, n_values, d) of pooled values by the queries, zero where no key has weight."""
    a, empty = attention(queries, keys, bandwidth, kernel, weights, leave_one_out)
    differences = (queries[:, None] - keys) / bandwidth
    t = np.square(differences).sum(axis=-1)
    where = (a > 0) & (t > 0) & ~empty[:, None]
    growth = np.where(where, 2 * FACTS[kernel].log_slope(t), 0.0)[:, :, None] * differences
    growth -= np.einsum("qi,qif->qf", a, growth)[:, None]
    return np.einsum("qi,qif,qiv->qvf", a, growth, values - (a @ values)[:, None]) / bandwidth


def neighbor_attention(queries, keys, bandwidth, ratio, n_neighbors, kernel="gaussian", weights=None, own=False):
    """Attention weights (m, n) where the width of a query follows the distance to its k-th neighbour, log_mass (m,).

    `ratio` is the canonical one of the kernel. With `own`, queries are the keys, and one unit of each is left out.
    """
    return neighbor_attention_at(squared_distances(queries, keys, bandwidth), ratio, n_neighbors, kernel, weights, own)


@np.errstate(all="ignore")
def neighbor_attention_at(t, ratio, n_neighbors, kernel="gaussian", weights=None, own=False):
    """The same as `neighbor_attention`, from squared distances t (m, n) in bandwidths."""
    scale = 1 / np.square(ratio / 2) / _kth_t(t, n_neighbors, weights, own)[:, None]
    w, logits = _logits(t * scale, kernel, weights, own)
    mass = np.logaddexp.reduce(logits, axis=1)
    return _softmax(t, w, logits, np.isneginf(mass)), mass


def kth_t(queries, keys, bandwidth, k, weights=None, own=False):
    """The least t (m,) within which there are k units of weight, the greatest if there are not; not 0 but the next."""
    return _kth_t(squared_distances(queries, keys, bandwidth), k, weights, own)


@np.errstate(all="ignore")
def _kth_t(t, k, weights, own):
    w, _ = _logits(t, "constant", weights, own)
    weights = np.ones(t.shape[1]) if weights is None else weights
    return np.array([_kth(*pair, weights, k) for pair in zip(t, w, strict=True)])


def _kth(t, left, weights, k):
    """The same for one query with t (n,); `left` (n,) are the weights, or those without one unit."""
    is_count = np.all(weights == np.rint(weights))
    units = left * (1 if is_count else weights.sum() / np.square(weights).sum())
    order = np.argsort(t)
    order = order[left[order] > 0]
    within = np.cumsum(units[order]) >= k * (1 - 1e-9)
    kth = t[order][within.argmax() if within.any() else -1] if len(order) else 0
    kth = kth or t[order][t[order] > 0].min(initial=np.inf)
    return kth if np.isfinite(kth) else 1.0


def without_unit(weights, row):
    """Weights (n,) without one repetition of a row if they are counts, and without the row otherwise."""
    left = weights.copy()
    left[row] = max(left[row] - 1, 0) if np.all(weights == np.rint(weights)) else 0
    return left


def squared_width(query, keys, bandwidth, kernel, weights, left, n_neighbors):
    """The squared width of a query in bandwidths, which follows its n_neighbors-th neighbour unless that is None.

    `left` (n,) are the weights, or those without one unit.
    """
    if n_neighbors is None or kernel == "constant":
        return 1.0
    used = np.isfinite(bandwidth)
    kth = _kth(np.square((query - keys) / bandwidth).sum(axis=1), left, weights, n_neighbors)
    return (canonical_ratio(FACTS[kernel], used.sum()) / 2) ** 2 * kth


def local_line(
    query, keys, values, bandwidth, ridge, kernel="gaussian", weights=None, n_neighbors=None, penalties=None, row=None
):
    """The value (n_values,) of the local line at a query around a trend, which is a mean without `penalties`.

    With `row`, one unit of it is left out. Values are not clipped.
    """
    weights = np.ones(len(keys)) if weights is None else weights
    bandwidth = np.broadcast_to(np.asarray(bandwidth, dtype=float), keys.shape[1])
    left = weights if row is None else without_unit(weights, row)
    square = squared_width(query, keys, bandwidth, kernel, weights, left, n_neighbors)
    a = attention(query[None], keys, bandwidth * np.sqrt(square), kernel, left)[0][0]
    trend = _trend(keys, values, left, weights, penalties)
    return _line(query, keys, values - trend(keys), a, bandwidth, ridge * square) + trend(query[None])[0]


def _line(query, keys, values, attention, bandwidth, penalty):
    """The value (n_values,) at a query of the line through values; `penalty` is in squared bandwidths."""
    mean_value, used = attention @ values, np.isfinite(bandwidth)
    if np.isinf(penalty) or not used.any():
        return mean_value
    origin = keys[attention.argmax()]
    u, step = ((keys - origin) / bandwidth)[:, used], ((query - origin) / bandwidth)[used]
    mean = attention @ u
    weighted = attention[:, None] * (u - mean)
    spread = weighted.T @ (u - mean) + penalty * np.eye(u.shape[1])
    slopes = np.linalg.lstsq(spread, weighted.T @ (values - mean_value), rcond=1e-14)[0]
    return mean_value + (step - mean) @ slopes


def _trend(keys, values, left, weights, penalties):
    """A function of points (m, n_features): the mean of the values, or a ridge regression on standardised features.

    Standard deviations, and the units of the penalties, are those of `weights`, and the others those of `left`.
    """
    centre, mean_value = np.average(keys, axis=0, weights=left), np.average(values, axis=0, weights=left)
    if penalties is None:
        return lambda points: np.tile(mean_value, (len(points), 1))
    deviations = keys - np.average(keys, axis=0, weights=weights)
    scales = np.sqrt(np.average(np.square(deviations), axis=0, weights=weights))
    scales[np.ptp(keys[weights > 0], axis=0) == 0] = np.inf
    z, slopes = (keys - centre) / scales, np.empty((keys.shape[1], values.shape[1]))
    for column, penalty in enumerate(penalties):
        gram = (left[:, None] * z).T @ z + penalty * weights.sum() * np.eye(len(centre))
        slopes[:, column] = np.linalg.solve(gram, (left[:, None] * z).T @ (values[:, column] - mean_value[column]))
    return lambda points: mean_value + (points - centre) / scales @ slopes


def effective_numbers(attention, weights, own=False):
    """1 / sum of squares (m,) of attention weights (m, n); with `own`, queries are the rows, each without one unit."""
    units = np.ones(attention.shape)
    if np.all(weights == np.rint(weights)):
        units *= weights
        if own:
            np.fill_diagonal(units, [without_unit(weights, row)[row] for row in range(len(weights))])
    return 1 / np.sum(np.divide(np.square(attention), units, out=np.zeros_like(units), where=attention > 0), axis=1)


def deviations(attention, numbers, errors, weights):
    """Standard deviations (m, n_values) of targets, from leave-one-out errors (n, n_values)."""
    squares, n = np.square(np.where(weights[:, None] > 0, errors, 0)), numbers[:, None]
    return np.sqrt((n * (attention @ squares) + 5 * np.average(squares, axis=0, weights=weights)) / (n + 5))


def end_scores(scores, weights, coverage):
    """z_(k) and z_(n + 1 - k) of scores (n,), each repeated as often as its count."""
    z = np.sort(np.repeat(scores, weights.astype(int)))
    k = int((len(z) + 1) * (1 - coverage) / 2 + 1e-9)
    return z[k - 1], z[len(z) - k]


def line_weights(query, keys, bandwidth, ridge, kernel, weights, n_neighbors=None, row=None):
    """The weights (n,) of values in the local line at a query around their mean; with `row`, without one unit of it."""
    left = weights if row is None else without_unit(weights, row)
    square = squared_width(query, keys, bandwidth, kernel, weights, left, n_neighbors)
    a = attention(query[None], keys, bandwidth * np.sqrt(square), kernel, left)[0][0]
    return _line(query, keys, np.eye(len(keys)), a, bandwidth, ridge * square)
