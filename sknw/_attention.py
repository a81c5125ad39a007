"""Rows of attention as arrays: a view that computes only what is asked, and sparse rows."""

import numpy as np
from scipy.sparse import csr_array

BLOCK_WEIGHTS = 2**20
"""Attention weights computed at a time: 8 MiB."""


class AttentionView:
    """A read-only (n, n) array of attention weights that computes its rows when they are asked for.

    It indexes like an ndarray, multiplies vectors and matrices from both sides, sums along its axes, and turns
    into an ndarray through `np.asarray`. Everything but the last works in blocks of rows, in O(n) memory.

    Parameters
    ----------
    compute_rows : callable
        Indices (k,) -> weights (k, n).
    n : int
        The number of rows and columns.
    """

    __array_ufunc__ = None  # ndarray @ view is then left to __rmatmul__

    ndim = 2
    dtype = np.dtype(np.float64)

    def __init__(self, compute_rows, n):
        self._compute_rows = compute_rows
        self.shape = (n, n)

    def __repr__(self):
        return f"<attention {len(self)}x{len(self)}>"

    def __len__(self):
        return self.shape[0]

    def __array__(self, dtype=None, copy=None):
        if copy is False:
            raise ValueError("attention weights are computed on demand: an array of them is always a new one")
        return self[:].astype(self.dtype if dtype is None else dtype, copy=False)

    def __getitem__(self, key):
        row_key, column_key = self._split(key)
        rows, columns = np.arange(len(self))[row_key], np.arange(len(self))[column_key]
        if np.ndim(rows) == 0:
            return self._compute_rows(np.array([rows]))[0][column_key]
        if not isinstance(row_key, slice) and not isinstance(column_key, slice):
            rows, columns = np.broadcast_arrays(rows, columns)
            return self._elements(rows, columns)
        result = np.empty(rows.shape + columns.shape)
        for part, weights in self._blocks(rows.ravel()):
            result.reshape(rows.size, *columns.shape)[part] = weights[:, column_key]
        return result

    def __matmul__(self, other):
        other = np.asarray(other)
        result = np.empty((len(self), *other.shape[1:]))
        for part, weights in self._blocks():
            result[part] = weights @ other
        return result

    def __rmatmul__(self, other):
        other = np.asarray(other)
        return sum(other[..., part] @ weights for part, weights in self._blocks())

    def sum(self, axis=None, dtype=None, out=None):
        """Sums of the weights, as `ndarray.sum`."""
        ones = np.ones(len(self))
        if axis is None:
            total = (self @ ones).sum()
        elif axis in (1, -1):
            total = self @ ones
        elif axis in (0, -2):
            total = ones @ self
        else:
            raise ValueError(f"axis must be None, 0 or 1, got {axis!r}")
        if out is None:
            return total if dtype is None else np.asarray(total).astype(dtype)[()]
        np.copyto(out, total, casting="same_kind")
        return out

    def _split(self, key):
        """The keys of rows and of columns."""
        key = key if isinstance(key, tuple) else (key,)
        if len(key) > 1 and key[0] is Ellipsis:
            key = (slice(None),) * (3 - len(key)) + key[1:]
        key = tuple(k for k in key if k is not Ellipsis)
        if len(key) > 2 or any(k is None for k in key):
            raise IndexError(f"attention weights have 2 axes, got the index {key!r}; use np.asarray first")
        key += (slice(None),) * (2 - len(key))
        return tuple(k if isinstance(k, slice) else np.asarray(k) for k in key)

    def _blocks(self, rows=None):
        """(slice of `rows`, their weights), a block at a time."""
        rows = np.arange(len(self)) if rows is None else rows
        step = max(1, BLOCK_WEIGHTS // len(self))
        for start in range(0, len(rows), step):
            part = slice(start, min(start + step, len(rows)))
            yield part, self._compute_rows(rows[part])

    def _elements(self, rows, columns):
        """The elements at (rows, columns), two arrays of one shape; each row is computed once."""
        needed, position = np.unique(rows, return_inverse=True)
        position = position.reshape(rows.shape)
        result = np.empty(rows.shape)
        for part, weights in self._blocks(needed):
            here = (position >= part.start) & (position < part.stop)
            result[here] = weights[position[here] - part.start, columns[here]]
        return result


def sparse_attention(blocks, shape, drop):
    """A csr_array of attention rows that come in dense blocks.

    Exact zeros are left out; so are the smallest weights of each row while their sum stays <= `drop`.
    """
    data, columns, counts = [], [], []
    for weights in blocks:
        if drop > 0:
            order = weights.argsort(axis=1)
            ascending = np.take_along_axis(weights, order, axis=1)
            np.put_along_axis(weights, order, np.where(ascending.cumsum(axis=1) <= drop, 0.0, ascending), axis=1)
        rows, nonzero = np.nonzero(weights)
        data.append(weights[rows, nonzero])
        columns.append(nonzero)
        counts.append(np.bincount(rows, minlength=len(weights)))
    indptr = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    return csr_array((np.concatenate(data), np.concatenate(columns), indptr), shape=shape)
