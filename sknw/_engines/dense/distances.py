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

import numpy as np
from scipy.spatial.distance import cdist

from ..error_free import inverse_square, two_product, two_sum

SAFE_NORM = 1e-13 / np.finfo(float).eps
"""|q|², in bandwidths from the centre, up to which `by_product` gives t to about 1e-13."""

FAR = 2.0**502
"""Powers of two of the bandwidth, along a feature, beyond which only the direction of a query matters: more than there
are between two keys."""


class Distances:
    """Keys (n, d) prepared for one bandwidth vector (d,); an infinite bandwidth ignores its feature.

    `extent` (3, d) is that of `Problem`.
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
        self._set_keys(np.ascontiguousarray(columns.T), np.ldexp(centre, 1 - self._exponents))

    def _set_keys(self, raw, centre):
        """Take the keys (n, d), in powers of two of the bandwidth, around a centre (d,) in the same."""
        self.raw, self._centre = raw, centre
        n, d = raw.shape
        self._augmented = np.empty((d + 2, n))
        centred = np.subtract(raw.T, centre[:, None], out=self._augmented[:d])
        centred /= self.mantissa[:, None]
        np.square(centred).sum(axis=0, out=self._augmented[d])
        self._augmented[d + 1] = 1.0

    def subset(self, raw, centre):
        """The same distances from some of the keys, around another centre (d,), both as in `raw`."""
        distances = copy(self)
        distances._set_keys(raw, centre)
        return distances

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

    def centre(self, raw):
        """Queries (b, d) as `to_raw` gives them, in bandwidths from the centre, and their squared norms (b,)."""
        centred = (raw - self._centre) / self.mantissa
        return centred, np.einsum("ij,ij->i", centred, centred)

    def at_keys(self, index):
        """Keys (b,) as queries: what `to_raw` and `centre` give for them, without computing it again."""
        return self.raw[index], self.centred[:, index].T, self._augmented[-2, index]

    def by_product(self, centred, norms, factor=1.0):
        """A function (keys, out) that writes factor * t into out, (b, n_keys), for queries as `centre` gives them."""
        augmented = factor * np.column_stack([-2 * centred, np.ones(len(norms)), norms])

        def write(keys, out):
            np.matmul(augmented, self._augmented[:, keys], out=out)

        return write

    def by_difference(self, raw, factor=1.0):
        """A function (keys, out) that writes factor * t into out, (b, n_keys), for queries as `to_raw` gives them."""

        def write(keys, out):
            self._write_differences(raw, keys, out)
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
        """t, (b, n_keys) as a new array, for queries as `to_raw` gives them (b, d)."""
        t = np.empty((len(raw), keys.stop - keys.start))
        self._write_differences(raw, keys, t)
        return t

    def to_key(self, raw, key):
        """t, (b,) between each query, as `to_raw` gives it (b, d), and one key each (b,)."""
        return np.square(raw - self.raw[key]) @ self._squares

    def relative(self, raw, anchor, key):
        """t - t_0, (p,) for p queries, as `to_raw` gives them (p, d), each with a key (p,) and an anchor key (p,)."""
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
