"""Pairs of queries and keys: squared distances t, a block of keys at a time, and what leave-one-out does to them.

There are three ways to take distances, in bandwidths, since no one of them is right everywhere:

* by product: one matrix product of augmented rows, [-2q, 1, |q|²] [x; |x|²; 1], centred on the median key. Rounding
  errs by the order of eps |q|² in t, for the keys that matter to q.
* by difference: sum_f ((q - x)_f / h_f)², from coordinates as they were given: exact to a few units in the last place
  of t, wherever the origin is.
* relative: t_i - t_0 for an anchor key x_0, as sum_f (x_i - x_0)_f ((x_i - q) + (x_0 - q))_f / h_f² in twice the
  precision. It stays exact where q is so far away that t_i and t_0 agree in nearly all their digits.

A query can have a width of its own: t is then multiplied by its scale. All that is said of t, of |q|² and of distances
holds in units of that width too, as |q - x|², |q|² and |x|² have the same factor.
"""

import numpy as np
from scipy.spatial.distance import cdist

from ..error_free import two_product, two_sum

SAFE_NORM = 1e-13 / np.finfo(float).eps
"""|q|², in bandwidths from the centre, up to which a product gives t to about 1e-13."""


class Pairs:
    """Some queries and all keys, which are cut into `blocks`.

    Parameters
    ----------
    keys : Keys
    raw : (b, n_used) float ndarray
        The queries, in the units of `Keys.raw`.
    centred : (b, n_used) float ndarray
        The same in bandwidths from the centre of the keys.
    norms : (b,) float ndarray
        Their squares, times the scale.
    self_index : (b,) int ndarray or None
        In leave-one-out, the position of the query's own row among the keys, -1 without one.
    retained : (b,) float ndarray or None
        The share of its weight that the own row retains.
    scale : (b,) float ndarray or None
        The factor of all t of a query; None: 1.
    blocks : list of slices, default=None
        None: as suits so many queries.
    """

    def __init__(self, keys, raw, centred, norms, self_index=None, retained=None, scale=None, blocks=None):
        self.keys, self.kernel, self.raw, self.centred, self.norms = keys, keys.kernel, raw, centred, norms
        self.self_index, self.retained, self.scale = self_index, retained, scale
        self.blocks = keys.blocks(len(raw)) if blocks is None and len(raw) else blocks

    def __len__(self):
        return len(self.raw)

    def take(self, rows, blocks=None):
        """Some of the queries, with the same blocks of keys unless others are given."""
        fields = (self.raw, self.centred, self.norms, self.self_index, self.retained, self.scale)
        fields = (None if field is None else field[rows] for field in fields)
        return type(self)(self.keys, *fields, self.blocks if blocks is None else blocks)

    def split(self, rows):
        """Some of the queries, with blocks of keys that suit them."""
        return self.take(rows, self.keys.blocks(max(1, np.count_nonzero(rows))))

    # Distances.

    @property
    def largest_key_norm(self):
        """The greatest |x|² of the keys, times the scale of each query (b,) where these have one."""
        largest = self.keys.largest_norm
        return largest if self.scale is None else largest * self.scale

    def stream_t(self, by_product, factor=1.0, blocks=None):
        """Stream (block of keys, factor * t (b, n_block)), in a buffer that is used again."""
        blocks = self.blocks if blocks is None else blocks
        augmented, buffer = None, np.empty(len(self) * width(blocks[0]))
        if by_product:
            scale = np.ones(len(self)) if self.scale is None else self.scale
            augmented = factor * np.column_stack([-2 * self.centred * scale[:, None], scale, self.norms])
        for block in blocks:
            t = buffer[: len(self) * width(block)].reshape(len(self), -1)
            if by_product:
                np.matmul(augmented, self.keys.augmented[:, block], out=t)
                if not self.kernel.is_even:
                    np.maximum(t, np.zeros(t.shape[1]), out=t)
            else:
                self._write_differences(slice(None), block, t)
                if factor != 1.0:
                    t *= factor
            yield block, t

    def differences(self, block, rows=slice(None)):
        """t (b, n_block) of some queries as a new array, from differences."""
        t = np.empty((len(np.arange(len(self))[rows]), width(block)))
        self._write_differences(rows, block, t)
        return t

    def _write_differences(self, rows, block, out):
        raw = self.raw[rows]
        if self.keys.is_uniform:
            cdist(raw, self.keys.raw[block], "sqeuclidean", out=out)
            out *= self.keys.squares[0]
        else:
            cdist(raw, self.keys.raw[block], "sqeuclidean", out=out, w=self.keys.squares)
        if self.scale is not None:
            out *= self.scale[rows, None]

    def to_key(self, key, rows=slice(None)):
        """t (b,) between some queries and one key each (b,), from differences."""
        t = np.square(self.raw[rows] - self.keys.raw[key]) @ self.keys.squares
        return t if self.scale is None else t * self.scale[rows]

    def relative(self, anchor, key, rows):
        """t - t_0 (p,) for pairs of a query and a key (p,), with an anchor key each (p,)."""
        queries, keys = self.raw[rows], self.keys.raw
        total, error, rest = np.zeros((3, len(rows)))
        for f, (square, square_error) in enumerate(zip(*self.keys.exact_squares, strict=True)):
            q, x, x0 = queries[:, f], keys[key, f], keys[anchor, f]
            step, step_error = two_sum(x, -x0)
            near, near_error = two_sum(x, -q)
            far, far_error = two_sum(x0, -q)
            both, both_error = two_sum(near, far)
            # of queries so far that x is lost in both, it is all that tells apart keys at equal distances
            rest += square * (step * (both_error + near_error + far_error))
            term, term_error = two_product(step, both)
            term_error = term_error + step_error * both
            scaled, scaled_error = two_product(square, term)
            total, sum_error = two_sum(total, scaled)
            error += sum_error + scaled_error + square * term_error + square_error * term
        total = total + error + rest
        return total if self.scale is None else total * self.scale[rows]

    # Leave-one-out.

    def self_pairs(self, block, rows=slice(None)):
        """Among some queries, those whose own key is in a block of keys; its column; what it retains."""
        index, step = self.self_index[rows], block.step or 1
        inside = (index >= block.start) & (index < block.stop)
        if step > 1:
            inside &= (index - block.start) % step == 0
        inside = np.flatnonzero(inside)
        return inside, (index[inside] - block.start) // step, self.retained[rows][inside]

    def retain(self, weights, block, rows=slice(None)):
        """Reduce the weights (b, n_block) of own keys to what they retain, for some queries."""
        if self.self_index is not None:
            i, j, retained = self.self_pairs(block, rows)
            weights[i, j] = np.where(retained > 0, retained * weights[i, j], 0.0)
        return weights

    def hide_self(self, t, block, rows=slice(None)):
        """Put own keys that retain no weight out of reach, for some queries."""
        if self.self_index is not None:
            i, j, retained = self.self_pairs(block, rows)
            t[i[retained == 0], j[retained == 0]] = np.inf
        return t

    def place_self(self, t, block, hidden=np.inf):
        """Put own keys where they are, at 0, and those that retain no weight out of reach, which is `hidden`."""
        if self.self_index is not None:
            i, j, retained = self.self_pairs(block)
            t[i, j] = np.where(retained > 0, 0.0, hidden)
        return t


def slices(n, step, start=0):
    """Consecutive slices of start ... n."""
    return [slice(first, min(first + step, n)) for first in range(start, n, step)]


def width(block):
    """The number of keys in a slice."""
    return len(range(block.start, block.stop, block.step or 1))
