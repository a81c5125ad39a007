"""Leaves of a k-d tree: groups of neighbouring keys, and bounds on their weights that do not look at each key.

Of a leaf b we keep its box, its mass c_b = sum w_i, its weighted mean mu_b and its spread s_b², the weighted mean of
|x_i - mu_b|². For the queries q in a box of their own this bounds

* t from below and above, by the least and the greatest distance of the two boxes;
* the mass of each query from below. A kernel convex in t obeys Jensen's inequality, and the weighted mean of t over
  a leaf is |q - mu_b|² + s_b², hence sum_i w_i K(t_i) >= sum_b c_b K(|q - mu_b|² + s_b²). Any of the leaves may be
  left out of such a bound. In leave-one-out, a query's own key has t = 0: taking the mass g off its leaf leaves the
  mass c_b - g, with the mean of t multiplied by c_b / (c_b - g).

Rounding: boxes are subtracted in the units of the keys, which keeps the relative precision of gaps wherever the
origin is. Means are held as (low corner + offset), and products are centred on the queries; what they err by is
below SLACK times the squares they are made of, and these are added.
"""

from functools import cached_property

import numpy as np

from ..._one_hot import OneHotColumns

SLACK = 1e-12
"""Relative widening of the bounds, far above their rounding."""

LEAF_KEYS = 64
"""The most keys in a leaf."""

GATHERED_NUMBERS = 2**21
"""The largest copy of keys that matter."""

BOUND_LEAVES = 128
"""Leaves whose masses make the lower bound."""

NEGLIGIBLE = -50.0
"""Logarithm of a share of the mass that is far less than SLACK."""

TINY = np.finfo(float).tiny
"""Lower bound of weights, of which logarithms are taken."""


def kd_order(points, most):
    """An order (n,) of points (n, d) and a size <= `most`, such that slices of that size are leaves of a k-d tree.

    The tree halves its nodes along their longest side, all nodes of a level together. Rows of NaN fill up the last
    leaves: they sort behind all numbers.
    """
    n, d = points.shape
    depth = max(0, int(np.ceil(np.log2(n / most))))
    size = -(-n // 2**depth)
    order = np.arange(size << depth)
    x = np.full((d, len(order)), np.nan)
    x[:, :n] = points.T
    for level in range(depth):
        nodes = x.reshape(d, 1 << level, -1)
        longest = np.argmax(np.fmax.reduce(nodes, axis=2) - np.fmin.reduce(nodes, axis=2), axis=0)
        half = nodes.shape[2] // 2
        split = np.argpartition(nodes[longest, np.arange(1 << level)], half, axis=1)
        split += (np.arange(1 << level) * nodes.shape[2])[:, None]
        split = split.ravel()
        order, x = order[split], x.take(split, axis=1)
    return order[order < n], size


def with_level_numbers(points, raw, keys):
    """Points (n, d) in bandwidths, in which the columns of a category are one, which halves of a node can divide.

    It is the number of the level, in units of the distance of two levels. `raw` are the same points in the units of the
    `Keys`.
    """
    if not keys.levels:
        return points
    numbers = [
        raw[:, columns].argmax(axis=1) * (np.sqrt(2) * raw[:, columns].max() / keys.mantissa[columns.start])
        for columns in keys.levels
    ]
    return np.column_stack([np.delete(points, np.r_[tuple(keys.levels)], axis=1), *numbers])


class Leaves:
    """Keys in kd order, cut into leaves of `size`; the last may be shorter.

    `raw` (n, d) and all boxes are in the units of `Keys.raw`, of which `mantissa` (d,) make a bandwidth.
    """

    def __init__(self, raw, weights, size, mantissa):
        start = np.arange(0, len(raw), size)
        leaf = np.arange(len(raw)) // size
        self.n_keys, self.size, self.counts = len(raw), size, np.diff(np.append(start, len(raw)))
        weights = np.maximum(weights, TINY)
        self.mantissa = mantissa[:, None]
        self.low = np.ascontiguousarray(np.minimum.reduceat(raw, start).T)
        self.high = np.ascontiguousarray(np.maximum.reduceat(raw, start).T)
        heaviest = np.maximum.reduceat(weights, start)
        shares = weights / heaviest[leaf]
        total = np.add.reduceat(shares, start)
        self.mass, self.log_mass = heaviest * total, np.log(heaviest) + np.log(total)
        offset = raw - self.low.T[leaf]
        self.offset = (np.add.reduceat(shares[:, None] * offset, start) / total[:, None]).T
        squares = np.square((offset - self.offset.T[leaf]) / mantissa).sum(axis=1)
        diagonal = np.square((self.high - self.low) / self.mantissa).sum(axis=0)
        self.spread = np.add.reduceat(shares * squares, start) / total + SLACK * diagonal

    def nearest(self, low, high):
        """The least t between boxes, given by corners (n_boxes, d), and each leaf, (n_boxes, n_leaves)."""
        t = np.zeros((len(low), len(self.counts)))
        for f, mantissa in enumerate(self.mantissa[:, 0]):
            gap = np.maximum(self.low[f] - high[:, f, None], low[:, f, None] - self.high[f])
            np.maximum(gap, 0.0, out=gap)
            gap /= mantissa
            t += np.square(gap, out=gap)
        return t

    def furthest(self, low, high):
        """The greatest t between a box, given by corners (d,), and each leaf, (n_leaves,)."""
        gap = np.maximum(self.high - low[:, None], high[:, None] - self.low)
        gap /= self.mantissa
        return np.einsum("fb,fb->b", gap, gap)

    @np.errstate(all="ignore")
    def log_mass_bound(self, kernel, raw, self_place, removed, scale=None):
        """A lower bound (b,) of log sum_i w_i K(t_i), for the queries (b, d) of a block.

        `self_place` is None, or the places (b,) of the queries' own keys in kd order, -1 without one, and `removed`
        (b,) what is left out of their weights. `scale` is the factor of t of each query, None for 1.
        """
        centre = (raw.min(axis=0) + raw.max(axis=0)) / 2
        means = (self.low - centre[:, None] + self.offset) / self.mantissa
        constant = np.einsum("fb,fb->b", means, means) + self.spread
        heaviest = slice(None)
        if len(constant) > BOUND_LEAVES:
            t = constant if scale is None else constant * scale.mean()
            heaviest = np.argpartition(self.log_mass + kernel.log(t), -BOUND_LEAVES)[-BOUND_LEAVES:]
            means = means[:, heaviest]
        queries = (raw - centre) / self.mantissa[:, 0]
        norms = np.einsum("if,if->i", queries, queries)
        t = (-2 * queries) @ means
        t += (1 + SLACK) * constant[heaviest]
        t += (1 + SLACK) * norms[:, None]
        log_mass = np.broadcast_to(self.log_mass[heaviest], t.shape)
        if self_place is not None:
            log_mass = log_mass.copy()
            self._leave_out(t, log_mass, np.arange(len(self.counts))[heaviest], self_place, removed)
        if scale is not None:
            t *= scale[:, None]
        logs = kernel.log(t)
        logs += log_mass
        most = logs.max(axis=1)
        logs -= most[:, None]
        np.maximum(logs, NEGLIGIBLE, out=logs)  # exp is slow where it underflows
        bound = most + np.log(np.exp(logs, out=logs).sum(axis=1))
        return np.where(np.isneginf(most), -np.inf, bound - SLACK * (1 + np.abs(bound)))

    def _leave_out(self, t, log_mass, leaves, self_place, removed):
        """Take the queries' own keys off the mean t (b, n_leaves) and the log_mass (b, n_leaves) of some leaves."""
        column = np.full(len(self.counts) + 1, -1)
        column[leaves] = np.arange(len(leaves))
        leaf = np.where(self_place >= 0, self_place // self.size, len(self.counts))
        rows = np.flatnonzero(column[leaf] >= 0)
        leaf = leaf[rows]
        mass = (1 - SLACK) * self.mass[leaf] - removed[rows]
        pairs = rows, column[leaf]
        t[pairs] *= np.where(mass > 0, self.mass[leaf] / mass, 1.0)
        log_mass[pairs] = np.log(np.maximum(mass, 0.0))


class KeyTree:
    """Keys in the order of a k-d tree, cut into leaves.

    Attributes
    ----------
    leaves : Leaves
        What is known of them.
    order : (n_keys,) int ndarray
        The position among the keys of each key in this order.
    place : (n_keys + 1,) int ndarray
        The place of each key in this order, and -1 at the end; made for the first queries that are keys.
    raw, columns : (n_leaves, size, d) and (n_leaves, size, n_columns) float ndarrays
        The keys as in `Keys.raw`, and their columns; the last leaf is filled up with zeros.
    """

    def __init__(self, keys):
        raw, mantissa = keys.make_raw(), keys.mantissa
        order, size = kd_order(with_level_numbers(raw / mantissa, raw, keys), LEAF_KEYS)
        self.order, raw = order, raw[order]
        self.leaves = Leaves(raw, keys.weights[order], size, mantissa)
        self.raw, self.columns = _cut(raw, size), _cut(keys.columns.take(order, axis=0), size)

    @cached_property
    def place(self):
        place = np.full(len(self.order) + 1, -1)
        place[self.order] = np.arange(len(self.order))
        return place

    def keys_of(self, kept):
        """The positions of the keys of a slice of leaves."""
        return self.order[kept.start * self.leaves.size : kept.stop * self.leaves.size]

    def gather(self, kept):
        """The keys and the columns of the leaves `kept`."""
        n_keys = self.leaves.counts[kept].sum()
        return [array[kept].reshape((-1, array.shape[2]))[:n_keys] for array in (self.raw, self.columns)]

    def fits(self, kept):
        """Whether a copy of these is not too large."""
        n_columns = 2 if isinstance(self.columns, OneHotColumns) else self.columns.shape[2]
        numbers = 2 * self.raw.shape[2] + 2 + n_columns
        return self.leaves.counts[kept].sum() * numbers <= GATHERED_NUMBERS

    def index_among(self, kept, place):
        """Places in the order as positions among the keys of the leaves `kept`, -1 where absent."""
        leaf, offset = np.divmod(place, self.leaves.size)
        at = np.minimum(np.searchsorted(kept, leaf), len(kept) - 1)
        return np.where(kept[at] == leaf, at * self.leaves.size + offset, -1)


def _cut(rows, size):
    """Rows (n, k) as leaves (n_leaves, size, k), the last filled up with zeros."""
    shape = -(-len(rows) // size), size, rows.shape[1]
    if isinstance(rows, OneHotColumns):
        return rows.padded(shape[0] * size).reshape(shape)
    leaves = np.zeros(shape)
    leaves.reshape(-1, rows.shape[1])[: len(rows)] = rows
    return leaves
