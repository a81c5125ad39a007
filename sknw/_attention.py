"""Attention weights as arrays: a view that computes rows on demand, and sparse arrays."""

from functools import reduce

import numpy as np
from scipy.sparse import csr_array

BLOCK_WEIGHTS = 2**20
"""Attention weights in a block of rows: 8 MiB."""

USE_ARRAY = "use np.asarray(view), an ndarray of n x n numbers"
"""The advice at the end of error messages."""


class AttentionView(np.lib.mixins.NDArrayOperatorsMixin):
    """A read-only (n, n) array of attention weights that computes its rows on demand.

    It supports the indexing of ndarrays, iteration, `diagonal`, products with vectors and matrices on either side by
    `@` or `np.matmul`, and reductions along its axes by `sum`, `mean`, `max`, `min` and `argmax`, as methods or as
    functions of numpy. These work in blocks of rows, and use O(n) memory in addition to the result.

    Parameters
    ----------
    compute_rows : callable
        Function that maps indices (k,) of rows to their weights (k, n). Pickling the view pickles it.
    n : int
        Number of rows and columns.

    Attributes
    ----------
    shape : tuple of two ints
        (n, n).
    ndim : int
        2.
    dtype : dtype
        float64.
    size : int
        Number of weights.
    nbytes : int
        Size of the weights as an ndarray, in bytes.
    T : AttentionView
        The transpose, which is a view as well.

    Notes
    -----
    `np.asarray`, `copy`, `astype` and `tolist` compute all n x n weights and store them in memory. The same is true of
    functions that convert their arguments to ndarrays, such as `np.sort` and `pandas.DataFrame`. Arithmetic,
    comparisons (including `==`) and ufuncs other than `np.matmul` raise a TypeError, and other attributes of ndarrays
    an AttributeError. Like ndarrays, views are not hashable.

    A row costs O(n n_features) time, even if only some of its elements are used. One column or several columns cost as
    much as all rows, and so does a row of the transpose.

    Examples
    --------
    >>> from sknw import NadarayaWatsonRegressor
    >>> view = NadarayaWatsonRegressor(bandwidth=0.5).fit([[0], [1], [2]], [0, 1, 4]).attention_weights_
    >>> view
    <attention 3x3>
    >>> (view @ [0, 1, 4]).round(3)
    array([0.12 , 1.213, 3.641])
    >>> view.T.argmax(axis=1)
    array([0, 1, 2])
    """

    ndim = 2
    dtype = np.dtype(np.float64)

    def __init__(self, compute_rows, n):
        self._compute_rows = compute_rows
        self.shape = (n, n)

    def __repr__(self):
        return f"<attention {len(self)}x{len(self)}>"

    def __len__(self):
        return self.shape[0]

    def __iter__(self):
        for block in self._slices(len(self)):
            yield from self[block]

    def __getattr__(self, name):
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}; {USE_ARRAY}")

    def __array__(self, dtype=None, copy=None):
        if copy is False:
            raise ValueError("attention weights are computed on demand, and cannot be returned without a copy")
        return self[:].astype(self.dtype if dtype is None else dtype, copy=False)

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if ufunc is not np.matmul or method != "__call__" or kwargs:
            raise TypeError(f"AttentionView does not support the ufunc {ufunc.__name__!r}, only `@`; {USE_ARRAY}")
        left, right = inputs
        is_left = isinstance(left, AttentionView)
        other = np.asarray(right if is_left else left)
        inner = other.shape[-2:][:1] if is_left else other.shape[-1:]
        if inner != (len(self),):
            raise ValueError(f"matmul: an operand of shape {other.shape} does not match the shape {self.shape}")
        return left._matmul(other) if is_left else right._rmatmul(other)

    def __getitem__(self, key):
        row_key, column_key = self._split(key)
        rows, columns = np.arange(len(self))[row_key], np.arange(len(self))[column_key]
        if np.ndim(rows) == 0:
            return self._compute_rows(np.array([rows]))[0][column_key]
        if not isinstance(row_key, slice) and not isinstance(column_key, slice):
            rows, columns = np.broadcast_arrays(rows, columns)
            return self._elements(rows, columns)
        result = np.empty(rows.shape + columns.shape)
        for block, weights in self._blocks(rows.ravel()):
            result.reshape(rows.size, *columns.shape)[block] = weights[:, column_key]
        return result

    @property
    def T(self):
        return TransposedView(self)

    @property
    def size(self):
        return self.shape[0] * self.shape[1]

    @property
    def nbytes(self):
        return self.size * self.dtype.itemsize

    def astype(self, dtype, order="K", casting="unsafe", subok=True, copy=True):
        """The weights as a new ndarray of another data type, as `ndarray.astype`."""
        return self[:].astype(dtype, order, casting, subok, copy)

    def copy(self, order="C"):
        """The weights as a new ndarray, as `ndarray.copy`."""
        return np.array(self, order=order)

    def tolist(self):
        """The weights as a list of lists, as `ndarray.tolist`."""
        return self[:].tolist()

    def diagonal(self, offset=0):
        """The elements (i, i + offset), as `ndarray.diagonal`."""
        rows = np.arange(max(0, -offset), min(len(self), len(self) - offset))
        return self[rows, rows + offset]

    def sum(self, axis=None, dtype=None, out=None, *, keepdims=False):
        """Sums of the weights along an axis, as `ndarray.sum`."""
        return self._reduce(np.add, axis, dtype).sum(axis, dtype, out, keepdims)

    def mean(self, axis=None, dtype=None, out=None, *, keepdims=False):
        """Means of the weights along an axis, as `ndarray.mean`."""
        return (self._reduce(np.add, axis, dtype) / len(self)).mean(axis, dtype, out, keepdims)

    def max(self, axis=None, out=None, *, keepdims=False):
        """The largest weights along an axis, as `ndarray.max`."""
        return self._reduce(np.maximum, axis).max(axis, out, keepdims)

    def min(self, axis=None, out=None, *, keepdims=False):
        """The smallest weights along an axis, as `ndarray.min`."""
        return self._reduce(np.minimum, axis).min(axis, out, keepdims)

    def argmax(self, axis=None, out=None, *, keepdims=False):
        """The positions of the largest weights along an axis, as `ndarray.argmax`."""
        values, positions = self._fold(_peaks, _higher_peaks, _normalized(axis))
        if axis is None:
            row = values.argmax()
            positions = row * len(self) + positions[[row]]
        return positions.astype(np.intp).max(axis, out, keepdims)

    def _reduce(self, ufunc, axis, dtype=None):
        """The result of `ufunc.reduce`: (1, n) for axis 0, (n, 1) for axis 1 and for None.

        The caller reduces this along the same axis by a method of ndarray, which implements `out` and `keepdims`.
        """

        def collapse(weights, axis, _):
            return ufunc.reduce(weights, axis=axis, dtype=dtype, keepdims=True)

        return self._fold(collapse, ufunc, _normalized(axis))

    def _fold(self, collapse, join, axis):
        """The weights reduced along an axis, which remains: (..., 1, n) for axis 0, (..., n, 1) for axis 1.

        `collapse(weights, axis, first_row)` reduces a block of rows, and `join` combines two such results for axis 0.
        """
        blocks = (collapse(weights, axis, block.start) for block, weights in self._blocks())
        return reduce(join, blocks) if axis == 0 else np.concatenate(list(blocks), axis=-2)

    def _matmul(self, right):
        """The product with an ndarray on the right."""
        return np.concatenate([weights @ right for _, weights in self._blocks()], axis=-2 if right.ndim > 1 else 0)

    def _rmatmul(self, left):
        """The product with an ndarray on the left."""
        return sum(left[..., block] @ weights for block, weights in self._blocks())

    def _split(self, key):
        """The index of rows and the index of columns that an index stands for."""
        key = key if isinstance(key, tuple) else (key,)
        if len(key) > 1 and key[0] is Ellipsis:
            key = (slice(None),) * (3 - len(key)) + key[1:]
        key = tuple(k for k in key if k is not Ellipsis)
        if len(key) > 2 or any(k is None for k in key):
            raise IndexError(f"attention weights have 2 axes, got the index {key!r}; use np.asarray first")
        key += (slice(None),) * (2 - len(key))
        return tuple(k if isinstance(k, slice) else np.asarray(k) for k in key)

    def _blocks(self, rows=None):
        """Yield slices of `rows`, and the weights of the rows in each."""
        rows = np.arange(len(self)) if rows is None else rows
        for block in self._slices(len(rows)):
            yield block, self._compute_rows(rows[block])

    def _slices(self, n_rows):
        """Consecutive slices of n_rows rows, one for each block."""
        step = max(1, BLOCK_WEIGHTS // len(self))
        return [slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step)]

    def _elements(self, rows, columns):
        """The elements at (rows, columns), two arrays of the same shape. Each row is computed once."""
        needed, position = np.unique(rows, return_inverse=True)
        position = position.reshape(rows.shape)
        result = np.empty(rows.shape)
        for block, weights in self._blocks(needed):
            in_block = (position >= block.start) & (position < block.stop)
            result[in_block] = weights[position[in_block] - block.start, columns[in_block]]
        return result


class TransposedView(AttentionView):
    """The transpose of a view, whose rows are the columns of the view."""

    def __init__(self, view):
        self._view = view
        self.shape = view.shape

    def __repr__(self):
        return f"{self._view!r}.T"

    def __getitem__(self, key):
        rows, columns = self._split(key)
        result = self._view[columns, rows]
        if isinstance(columns, slice):
            return np.moveaxis(result, 0, -1)
        return np.moveaxis(result, -1, 0) if isinstance(rows, slice) else result

    @property
    def T(self):
        return self._view

    def _fold(self, collapse, join, axis):
        return self._view._fold(collapse, join, 1 - axis).swapaxes(-2, -1)

    def _matmul(self, right):
        return _transposed(self._view._rmatmul(_transposed(right)))

    def _rmatmul(self, left):
        return _transposed(self._view._matmul(_transposed(left)))


def _transposed(array):
    """The transpose of the last two axes of an array; a vector is returned as it is."""
    return array if array.ndim < 2 else array.swapaxes(-2, -1)


def _normalized(axis):
    """The axis as 0 or 1; 1 for None, as a reduction to a scalar begins along axis 1."""
    if axis not in (None, 0, 1, -1, -2):
        raise ValueError(f"axis must be None, 0 or 1, got {axis!r}")
    return 1 if axis is None else axis % 2


def _peaks(weights, axis, first_row):
    """The largest weights of a block along an axis, which remains, and their positions, stacked.

    `first_row` is the position of the first row of the block in the view.
    """
    positions = weights.argmax(axis=axis, keepdims=True)
    values = np.take_along_axis(weights, positions, axis)
    return np.stack([values, positions + (first_row if axis == 0 else 0)])


def _higher_peaks(first, second):
    """The elementwise higher peaks, the first where they are equal; nan is the highest, as in `ndarray.argmax`."""
    return np.where(np.stack([first[0], second[0]]).argmax(axis=0), second, first)


def sparse_attention(blocks, shape, drop):
    """A csr_array of attention weights, from consecutive dense blocks of rows.

    It omits zeros, and the smallest weights of each row as long as their sum is at most `drop`.
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
