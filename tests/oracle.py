"""The definition, in plain numpy: a(q) = softmax(log K(t) + log w), pool(q) = a(q) @ values."""

import numpy as np

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
def attention(queries, keys, bandwidth, kernel="gaussian", weights=None, leave_one_out=False):
    """Attention weights (m, n), and which queries (m,) are empty and attend to their nearest keys instead."""
    t, w, logits = _logits(queries, keys, bandwidth, kernel, weights, leave_one_out)
    empty = np.isneginf(logits).all(axis=1)
    nearest = np.where(w > 0, t, np.inf).min(axis=1, keepdims=True) * (1 + EDGE)
    logits[empty] = np.where(t <= nearest, np.log(w), -np.inf)[empty]
    a = np.exp(logits - logits.max(axis=1, keepdims=True))
    return a / a.sum(axis=1, keepdims=True), empty


@np.errstate(all="ignore")
def log_mass(queries, keys, bandwidth, kernel="gaussian", weights=None, leave_one_out=False):
    """The logarithm (m,) of the sum of kernel times weight."""
    return np.logaddexp.reduce(_logits(queries, keys, bandwidth, kernel, weights, leave_one_out)[2], axis=1)


def _logits(queries, keys, bandwidth, kernel, weights, leave_one_out):
    """t, weights in leave-one-out, and log K + log w, all (m, n)."""
    bandwidth = np.broadcast_to(bandwidth, keys.shape[1])
    t = (((queries[:, None] - keys[None]) / bandwidth) ** 2).sum(axis=-1)
    w = np.tile(np.ones(len(keys)) if weights is None else weights, (len(queries), 1))
    if leave_one_out:
        counts = np.all(w == np.rint(w))
        np.fill_diagonal(w, np.maximum(w.diagonal() - 1, 0) if counts else 0)
    return t, w, (KERNELS[kernel] if isinstance(kernel, str) else kernel)(t) + np.log(w)


@np.errstate(all="ignore")
def nearest_t(queries, keys, bandwidth, weights, leave_one_out=False):
    """The least t (m,) of the keys that have weight."""
    t, w, _ = _logits(queries, keys, bandwidth, "constant", weights, leave_one_out)
    return np.where(w > 0, t, np.inf).min(axis=1)


def rounding_decides(queries, keys, bandwidth):
    """For which queries (m,) it is rounding that says whether a key is tied for the nearest; t = 0 is never rounded."""
    bandwidth = np.broadcast_to(bandwidth, keys.shape[1])
    t = (((queries[:, None] - keys[None]) / bandwidth) ** 2).sum(axis=-1)
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
def neighbor_attention(queries, keys, bandwidth, ratio, n_neighbors, kernel="gaussian", weights=None, own=False):
    """Attention weights (m, n) where the width of a query follows the distance to its k-th neighbour, log_mass (m,).

    `ratio` is the canonical one of the kernel. With `own`, queries are the keys, and one unit of each is left out.
    """
    t, w, _ = _logits(queries, keys, bandwidth, "constant", weights, own)
    scale = 1 / np.square(ratio / 2) / kth_t(queries, keys, bandwidth, n_neighbors, weights, own)[:, None]
    logits = (KERNELS[kernel] if isinstance(kernel, str) else kernel)(t * scale) + np.log(w)
    empty = np.isneginf(logits).all(axis=1)
    nearest = np.where(w > 0, t, np.inf).min(axis=1, keepdims=True) * (1 + EDGE)
    mass = np.logaddexp.reduce(logits, axis=1)
    logits[empty] = np.where(t <= nearest, np.log(w), -np.inf)[empty]
    a = np.exp(logits - logits.max(axis=1, keepdims=True))
    return a / a.sum(axis=1, keepdims=True), mass


@np.errstate(all="ignore")
def kth_t(queries, keys, bandwidth, k, weights=None, own=False):
    """The least t (m,) within which there are k units of weight, the greatest if there are not; not 0 but the next."""
    t, w, _ = _logits(queries, keys, bandwidth, "constant", weights, own)
    weights = np.ones(t.shape[1]) if weights is None else weights
    is_count = np.all(weights == np.rint(weights))
    units = w if is_count else w * (weights.sum() / np.square(weights).sum())
    found = np.ones(len(t))
    for i in range(len(t)):
        order = np.argsort(t[i])
        order = order[w[i, order] > 0]
        reached = np.cumsum(units[i, order]) >= k * (1 - 1e-9)
        positive = t[i, order][t[i, order] > 0]
        kth = t[i, order][np.argmax(reached) if reached.any() else -1] if len(order) else 0
        found[i] = kth or positive.min(initial=np.inf)
    return np.where(np.isfinite(found), found, 1.0)
