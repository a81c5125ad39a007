"""Squared distances, in bandwidths, between blocks of queries and slices of keys: fast, exact, or far away.

There are three ways, since no one of them is right everywhere:

* `by_product`: one matrix product of augmented rows, [-2q, 1, |q|²] [x; |x|²; 1], centred on the median key.
  Rounding errs by the order of eps |q|² in t, for the keys that matter to q.
* `by_difference`: sum_f ((q - x)_f / h_f)², from coordinates as they were given: exact to a few units in the
  last place of t, wherever the origin is.
* `relative`: t_i - t_0 for an anchor key x_0, as sum_f (x_i - x_0)_f ((x_i - q) + (x_0 - q))_f / h_f² in twice
  the precision. It stays exact where q is so far away that t_i and t_0 agree in nearly all their digits.
"""

from copy import copy
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist

from ..error_free import inverse_square, two_product, two_sum

SAFE_NORM = 1e-13 / np.finfo(float).eps
"""|q|², in bandwidths from the centre, up to which `by_product` gives t to about 1e-13."""

CENTRE_KEYS = 1000
"""Keys, or up to twice as many, that the centre is the median of: it is but a centre."""

FAR = 2.0**502
"""Powers of two of the bandwidth, along a feature, beyond which only the direction of a query matters: more than there
are between two keys."""


class Block(NamedTuple):
    """Some queries, (b, d) in powers of two of the bandwidth (`raw`) and in bandwidths from the centre.

    In leave-one-out, `own` (b,) is the position of the query's own row among the keys, -1 without one, and
    `kept` (b,) is the fraction of its weight that the own row keeps.
    """

    raw: np.ndarray
    centred: np.ndarray
    norms: np.ndarray
    own: np.ndarray | None
    kept: np.ndarray | None

    @property
    def n_rows(self):
        return len(self.raw)

    def take(self, rows):
        return Block(*(None if field is None else field[rows] for field in self))

    def own_pairs(self, rows, keys):
        """Among some rows of the block, those whose own key is in the slice `keys`; its column; what it keeps."""
        own, step = self.own[rows], keys.step or 1
        here = (own >= keys.start) & (own < keys.stop)
        here = np.flatnonzero(here if step == 1 else here & ((own - keys.start) % step == 0))
        return here, (own[here] - keys.start) // step, self.kept[rows][here]


def extent_of(keys):
    """The least and the greatest of each feature of the keys (n, d), and half the median of some of them, (3, d)."""
    some = np.ascontiguousarray(keys[:: max(1, len(keys) // CENTRE_KEYS)].T)
    middle = some.shape[1] // 2
    return np.stack([keys.min(axis=0), keys.max(axis=0), np.partition(some, middle, axis=1)[:, middle] / 2])


class Distances:
    """Keys (n, d) prepared for one bandwidth vector (d,); an infinite bandwidth ignores its feature.

    `extent` (3, d) is what `extent_of` the keys is.
    """

    def __init__(self, keys, extent, bandwidth):
        self.bandwidth, self.features = bandwidth, np.flatnonzero(np.isfinite(bandwidth))
        columns = np.ascontiguousarray(self._used(keys).T)
        bandwidth = bandwidth[self.features] if len(self.features) else np.ones(1)

        low, high, centre = self._used(extent)
        spread = np.maximum(high / 2 - centre, centre - low / 2)
        # squares must not overflow; at 2**-500 of the spread every weight has long reached its limit
        largest = np.maximum(high, -low)
        bandwidth = np.maximum(bandwidth, np.maximum(spread * 2.0**-500, largest * 2.0**-1000))
        self.mantissa, self._exponents = np.frexp(bandwidth)
        self._squares = 1 / np.square(self.mantissa)
        columns = np.ldexp(columns, -self._exponents[:, None])  # a power of two loses no digit
        self._put(np.ascontiguousarray(columns.T), np.ldexp(centre, 1 - self._exponents))

    def _put(self, raw, centre):
        """Take the keys (n, d), in powers of two of the bandwidth, around a centre (d,) in the same."""
        self.raw, self._centre = raw, centre
        n, d = raw.shape
        self._augmented = np.empty((d + 2, n))
        centred = np.subtract(raw.T, centre[:, None], out=self._augmented[:d])
        centred /= self.mantissa[:, None]
        np.square(centred).sum(axis=0, out=self._augmented[d])
        self._augmented[d + 1] = 1.0

    def among(self, raw, centre):
        """The same distances from other keys, around another centre (d,), both as in `raw`."""
        few = copy(self)
        few._put(raw, centre)
        return few

    @cached_property
    def _is_uniform(self):
        return np.all(self._squares == self._squares[0])

    @cached_property
    def _exact_squares(self):
        """What `_squares` are, with their errors, (2, d)."""
        return inverse_square(self.mantissa)

    @property
    def centred(self):
        """The keys (d, n) in bandwidths from the centre."""
        return self._augmented[:-2]

    @property
    def largest_norm(self):
        """The greatest |x|² of the keys, in bandwidths from the centre."""
        return self._augmented[-2].max()

    def _used(self, rows):
        if len(self.features) == rows.shape[1]:
            return rows
        return rows[:, self.features] if len(self.features) else np.zeros((len(rows), 1))

    def to_raw(self, queries):
        """Queries (b, d) in powers of two of the bandwidth; those further than FAR are moved towards the centre."""
        queries = self._used(queries)
        with np.errstate(over="ignore"):
            raw = np.ldexp(queries, -self._exponents)
        far = np.flatnonzero(~(np.abs(raw - self._centre) <= FAR).all(axis=1))
        if len(far):
            raw[far] = self._centre + self._directions(queries[far])
        return raw

    def _directions(self, queries):
        """Steps of the length FAR, or half of that, from the centre towards queries (b, d), in the same units."""
        steps, exponents = np.frexp(queries / 4 - np.ldexp(self._centre, self._exponents - 2))
        exponents -= self._exponents
        largest = exponents.max(axis=1, keepdims=True, where=steps != 0, initial=-(2**20))
        return np.ldexp(steps * FAR, exponents - largest)

    def block(self, raw, own=None, kept=None):
        """A `Block` of queries as `to_raw` gives them."""
        centred = (raw - self._centre) / self.mantissa
        return Block(raw, centred, np.einsum("ij,ij->i", centred, centred), own, kept)

    def own_block(self, own, kept):
        """A `Block` of keys as their own queries."""
        return Block(self.raw[own], self.centred[:, own].T, self._augmented[-2, own], own, kept)

    def by_product(self, block, factor=1.0):
        """A function (keys, out) that writes factor * t into out, (b, n_keys)."""
        ones = np.ones(block.n_rows)
        augmented = factor * np.column_stack([-2 * block.centred, ones, block.norms])

        def write(keys, out):
            np.matmul(augmented, self._augmented[:, keys], out=out)

        return write

    def by_difference(self, block, factor=1.0):
        """A function (keys, out) that writes factor * t into out, (b, n_keys)."""

        def write(keys, out):
            self._write_differences(block.raw, keys, out)
            if factor != 1.0:
                out *= factor

        return write

    def _write_differences(self, raw, keys, out):
        if self._is_uniform:
            cdist(raw, self.raw[keys], "sqeuclidean", out=out)
            out *= self._squares[0]
        else:
            cdist(raw, self.raw[keys], "sqeuclidean", out=out, w=self._squares)

    def differences(self, raw, keys):
        """t, (b, n_keys) as a new array, for queries as they are in `Block.raw` (b, d)."""
        t = np.empty((len(raw), keys.stop - keys.start))
        self._write_differences(raw, keys, t)
        return t

    def to_key(self, raw, key):
        """t, (b,) between each query, as in `Block.raw` (b, d), and one key each (b,)."""
        return np.square(raw - self.raw[key]) @ self._squares

    def relative(self, raw, anchor, key):
        """t - t_0, (p,) for p queries, as in `Block.raw` (p, d), each with a key (p,) and an anchor key (p,)."""
        total, error = np.zeros((2, len(raw)))
        for f, (square, square_error) in enumerate(zip(*self._exact_squares, strict=True)):
            q, x, x0 = raw[:, f], self.raw[key, f], self.raw[anchor, f]
            step, step_error = two_sum(x, -x0)
            near, near_error = two_sum(x, -q)
            far, far_error = two_sum(x0, -q)
            both, both_error = two_sum(near, far)
            both_error = both_error + near_error + far_error
            term, term_error = two_product(step, both)
            term_error = term_error + step * both_error + step_error * both
            scaled, scaled_error = two_product(square, term)
            total, sum_error = two_sum(total, scaled)
            error += sum_error + scaled_error + square * term_error + square_error * term
        return total + error
