"""Sums of the Gaussian over leaves in single precision, with coordinates from a centre of each leaf.

It knows the leaves of a `KeyTree`, and what its sums err by for each query; not which leaves matter, nor what becomes
of queries for which it errs by too much.

Error. `dense.single` tells what means err by if the logarithms of the weights do so by e, with u, T, L, E and |f| as
here. For a query q, and a key x in a leaf around c, let p = q - c and v = x - c, in bandwidths. The exponent is a sum
of p_f v_f, -|v|² / 2 and -|p|² / 2, of which the absolute values are A <= (|p| + |v|)² / 2 in total. With
s = sqrt(2 T), |p| is at most s + |v|, and A at most (s + 2 |v|)² / 2. The exponent is known too, so terms of either
sign are at most (A + T) / 2, and so is any part of them. Each of d + 1 additions, and the products together, are
rounded by u of that at most, |v|² / 2 by u of itself, and |p|² / 2, made by d + 1 products and d - 1 additions, by
(d + 1) u of itself: by (d + 1) u A in total. Rounding of p and v moves them by u (2 |p| + |v|), and T by
u s (2 s + 3 |v|). With D = |v|², and since |s²| = 2 |T| and sqrt(E (f + g)⁴) <= (sqrt |f²| + sqrt |g²|)²,

    |e| <= u ((d + 2) (|A| + |T|) / 2 + (d + 1) |A| + 4 |T| + 3 sqrt(2 |T| |D|) + 10),
    |A| <= (sqrt(2 |T|) + 2 sqrt |D|)² / 2.

T is stochastically less than L plus an exponential variable, so |T|² <= L² + 2 L + 2. E |v|⁴ is one more column. With
r the largest |v| of a leaf, A <= 2 T + 4 r², so no logarithm errs by more than u ((6 d + 10) r² + (4 d + 12) (T + 1)).
That is LARGEST_ERROR and a small fraction of T, as leaves for which the first term is more are too wide. So terms of
second order, and what weights err by in the bound itself, are less than a hundredth of the bound.

Derivatives, see `dense.gradient`, take sums of the columns times x_f and times x_f², from the centre of the queries of
a block. Such a sum errs by (CHUNK + 4) u of its terms, and D_f, in which three are combined, by at most that times
E (|q_f| + |x_f|)² <= 2 E (q_f² + x_f²) for each unit of mass, if values are in [-1, 1]. A covariance of these, as a
fraction of their range, 2, errs by at most 2 (CHUNK + 4) u E (q_f² + x_f²), beside |e| times its terms. Where that is
more than LOOSE `tol` for one of the features, the query errs by too much. So derivatives err by about as much as they
do without the leaves that are left out.
"""

import numpy as np

from ..dense.pairs import slices
from ..dense.single import LOWEST, UNIT, bound_sums
from ..dense.single_keys import CHUNK, FARTHEST, SingleColumns, exponential, squared_norms

LARGEST_ERROR = 1e-2
"""What the logarithm of a weight may err by, but for a fraction of itself."""

LOOSE = 300
"""What derivatives may err by, in the error that means may have."""

BLOCK_PAIRS = 2**17
"""Pairs of which weights are held at once: half a MiB."""


class SingleLeaves:
    """Leaves of a `KeyTree`.

    Attributes
    ----------
    centre : (d, n_leaves) float ndarray
        The coordinate-wise median of the keys of each leaf, in the units of `Keys.raw`.
    augmented : (n_leaves, d + 2, size) float32 ndarray
        v, -|v|² / 2 over the logarithm of the base of exponents, and ones.
    columns : (n_leaves, n_values + 3, size) float32 ndarray
        Those of `SingleColumns`, and |v|⁴ in units of FARTHEST².
    """

    def __init__(self, tree):
        self.leaves, self.mantissa = tree.leaves, tree.leaves.mantissa
        self.exp, self.log_base = exponential()
        n_leaves, size, d = tree.raw.shape
        columns = tree.columns.reshape(-1, tree.columns.shape[2])[: self.leaves.n_keys]
        self.of_all = SingleColumns(columns, columns[:, -1], size)
        raw = tree.raw.transpose(2, 0, 1).copy()
        raw[:, -1, self.leaves.counts[-1] :] = raw[:, -1, :1]  # instead of zeros, which may be far
        self.centre = np.median(raw, axis=2)
        v = (raw - self.centre[:, :, None]) / self.mantissa[:, :, None]
        self._is_narrow = np.square(v).sum(axis=0).max(axis=1) <= LARGEST_ERROR / UNIT / (6 * d + 10)
        self.augmented = np.ones((n_leaves, d + 2, size), dtype=np.float32)
        self.augmented[:, :d] = np.clip(v, -FARTHEST, FARTHEST).transpose(1, 0, 2)
        squares = squared_norms(self.augmented[:, :d].transpose(0, 2, 1).reshape(-1, d)).reshape(n_leaves, size)
        self.augmented[:, d] = squares / (-2 * self.log_base)
        farness = self.of_all.chunks[:, -2] * np.square(np.minimum(squares / FARTHEST, 1.0))
        self.columns = np.concatenate([self.of_all.chunks, farness[:, None].astype(np.float32)], axis=1)

    def are_narrow(self, kept):
        """Whether the keys of all of some leaves are near its centre."""
        return self._is_narrow[kept].all()

    @np.errstate(all="ignore")
    def sums(self, kept, pairs, place, derivatives):
        """Sums (k, b) for a block of queries, from the keys of the leaves `kept`, all narrow, as `known` takes them.

        `place` (b,) are the places of the own keys of the queries in the order of the tree, -1 without one.
        """
        middle = np.mean([pairs.raw.min(axis=0), pairs.raw.max(axis=0)], axis=0)[:, None]
        queries = (pairs.raw.T - middle) / self.mantissa
        centre = (self.centre.take(kept, axis=1) - middle) / self.mantissa
        augmented = self._augment(queries, centre)
        own, n = self._own(kept, place, pairs.retained), self.columns.shape[1]
        sums = np.zeros((n + (2 * len(centre) * (n - 2) if derivatives else 0), len(pairs)))
        for part in slices(len(kept), max(1, BLOCK_PAIRS // (self.leaves.size * len(pairs)))):
            keys = self.augmented.take(kept[part], axis=0)
            weights = self._weigh(keys, augmented[part], own, part)
            columns = self.columns.take(kept[part], axis=0)
            if derivatives:
                columns = _expand(columns, keys[:, :-2] + centre.T[part, :, None].astype(np.float32))
            sums += (columns @ weights).sum(axis=0, dtype=float)
        return _differentiate(queries, sums, n) if derivatives else sums

    def known(self, sums, derivatives):
        """`SingleSums` of sums (k, b) of some queries."""
        n = self.columns.shape[1]
        with np.errstate(all="ignore"):
            found = bound_sums(self.of_all, sums[:n].T, 0.0, self._log_error)
            if not derivatives:
                return found
            by_log_h = self.of_all.move_back(sums[n:-1].reshape(len(self.mantissa), n - 2, -1).transpose(2, 0, 1))
            rounding = 2 * (CHUNK + 4) * UNIT * sums[-1]
            return found._replace(derivatives=by_log_h, error=np.maximum(found.error, rounding / LOOSE))

    def _augment(self, queries, centre):
        """p over the logarithm of the base of exponents, ones, and -|p|² / 2 over it, (n_kept, d + 2, b)."""
        d, b = queries.shape
        augmented = np.ones((centre.shape[1], d + 2, b), dtype=np.float32)
        p = augmented[:, :d]
        queries, centre = queries / self.log_base, (centre / self.log_base).T
        np.subtract(queries, centre[:, :, None], out=p, casting="same_kind")
        np.einsum("kfb,kfb->kb", p, p, out=augmented[:, d + 1])
        augmented[:, d + 1] *= np.float32(-self.log_base / 2)
        return augmented

    def _own(self, kept, place, retained):
        """Of own keys the position of their leaf among `kept`, their offset in it, the query, and what is retained."""
        position = np.full(len(self.leaves.counts) + 1, -1)
        position[kept] = np.arange(len(kept))
        leaf, offset = np.divmod(place, self.leaves.size)
        queries = np.flatnonzero((place >= 0) & (position[leaf] >= 0))
        retained = np.ones(0) if retained is None else retained
        return position[leaf[queries]], offset[queries], queries, retained[queries].astype(np.float32)

    def _weigh(self, keys, augmented, own, part):
        """Weights (n_part, size, b) of all keys of a slice of the leaves that are kept."""
        weights = keys.transpose(0, 2, 1) @ augmented
        lowest = np.full(weights.shape[1:], LOWEST / self.log_base, dtype=np.float32)
        self.exp(np.maximum(weights, lowest, out=weights), out=weights)
        position, offset, queries, retained = own
        here = np.flatnonzero((position >= part.start) & (position < part.stop))
        weights[position[here] - part.start, offset[here], queries[here]] *= retained[here]
        return weights

    def _log_error(self, fourth, log_ratio):
        """The bound (b,) on |e|, from E |v|⁴ and from L."""
        d, v = len(self.mantissa), fourth**0.25
        t = np.sqrt(np.square(log_ratio) + 2 * log_ratio + 2)
        s = np.sqrt(2 * t)
        terms = np.square(s + 2 * v) / 2
        return UNIT * ((d + 2) * (terms + t) / 2 + (d + 1) * terms + 4 * t + 3 * s * v + 10)


def _expand(columns, x):
    """The columns (n_leaves, k, size); then x_f (n_leaves, d, size) times values and ones, and x_f² times these."""
    n_leaves, n, size = columns.shape
    expanded = np.empty((n_leaves, n + 2 * x.shape[1] * (n - 2), size), dtype=np.float32)
    expanded[:, :n] = columns
    first, second = np.moveaxis(expanded[:, n:].reshape(n_leaves, 2, -1, n - 2, size), 1, 0)
    np.multiply(x[:, :, None], columns[:, None, :-2], out=first)
    np.multiply(x[:, :, None], first, out=second)
    return expanded


def _differentiate(queries, sums, n):
    """The first n of the sums (k, b), derivatives (d, n - 2, b) as of `Sums`, and the largest q_f² + E x_f²."""
    first, second = sums[n:].reshape(2, len(queries), n - 2, -1)
    q = queries[:, None]
    derivatives = q * (q * sums[: n - 2] - 2 * first) + second
    squares = (np.square(queries) + second[:, -1] / sums[n - 3]).max(axis=0, keepdims=True)
    return np.concatenate([sums[:n], derivatives.reshape(-1, sums.shape[1]), squares])
