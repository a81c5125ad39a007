"""Rows of attention as arrays: a view that computes only what is asked, and sparse rows."""

from functools import reduce

import numpy as np
from scipy.sparse import csr_array

BLOCK_WEIGHTS = 2**20
"""Attention weights computed at a time: 8 MiB."""

USE_ARRAY = "use np.asarray(view), an ndarray of n x n numbers"
"""The end of error messages."""


class AttentionView(np.lib.mixins.NDArrayOperatorsMixin):
    """A read-only (n, n) array of attention weights that computes its rows when they are asked for.

    It is indexed like an ndarray, and multiplies vectors and matrices from both sides, by `@` or `np.matmul`. Its
    methods `sum`, `mean`, `max`, `min` and `argmax`, and numpy's functions of these names, reduce it along its axes.
    All of this, `diagonal` and iteration work in blocks of rows, in O(n) memory beside the result.

    Parameters
    ----------
    compute_rows : callable
        Indices (k,) -> weights (k, n). Pickling the view pickles it.
    n : int
        The number of rows and columns.

    Attributes
    ----------
    shape : tuple of two ints
        (n, n).
    ndim : int
        2.
    dtype : dtype
        float64.
    size : int
        The number of weights.
    nbytes : int
        The bytes that the weights take as an ndarray.
    T : AttentionView
        The transpose, a view too.

    Notes
    -----
    `np.asarray`, `copy`, `astype` and `tolist` compute all n x n weights and keep them in memory, and so do functions
    that convert their arguments to ndarrays, such as `np.sort` and `pandas.DataFrame`. Arithmetic, comparisons (also
    `==`) and ufuncs other than `np.matmul` raise a TypeError, and other attributes of ndarrays an AttributeError; both
    say to use `np.asarray`. Like ndarrays, views are not hashable.

    A row costs O(n n_features) time, also where only a part of it is used. A column, or a block of them, costs as much
    as all rows, and so does a row of the transpose.

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
        for part in self._parts(len(self)):
            yield from self[part]

    def __getattr__(self, name):
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}: {USE_ARRAY}")

    def __array__(self, dtype=None, copy=None):
        if copy is False:
            raise ValueError("attention weights are computed on demand: an array of them is always a new one")
        return self[:].astype(self.dtype if dtype is None else dtype, copy=False)

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if ufunc is not np.matmul or method != "__call__" or kwargs:
            raise TypeError(f"AttentionView does not support the ufunc {ufunc.__name__!r}, only `@`: {USE_ARRAY}")
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
        for part, weights in self._blocks(rows.ravel()):
            result.reshape(rows.size, *columns.shape)[part] = weights[:, column_key]
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
        """The weights as a new ndarray of another type, as `ndarray.astype`."""
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
        """Sums of the weights, as `ndarray.sum`."""
        return self._reduce(np.add, axis, dtype).sum(axis, dtype, out, keepdims)

    def mean(self, axis=None, dtype=None, out=None, *, keepdims=False):
        """Means of the weights, as `ndarray.mean`."""
        return (self._reduce(np.add, axis, dtype) / len(self)).mean(axis, dtype, out, keepdims)

    def max(self, axis=None, out=None, *, keepdims=False):
        """The largest weights, as `ndarray.max`."""
        return self._reduce(np.maximum, axis).max(axis, out, keepdims)

    def min(self, axis=None, out=None, *, keepdims=False):
        """The smallest weights, as `ndarray.min`."""
        return self._reduce(np.minimum, axis).min(axis, out, keepdims)

    def argmax(self, axis=None, out=None, *, keepdims=False):
        """The positions of the largest weights, the first of equal ones, as `ndarray.argmax`."""
        values, positions = self._fold(_peaks, _higher_peaks, _normalized(axis))
        if axis is None:
            row = values.argmax()
            positions = row * len(self) + positions[[row]]
        return positions.astype(np.intp).max(axis, out, keepdims)

    def _reduce(self, ufunc, axis, dtype=None):
        """`ufunc.reduce` of the weights: (1, n) for axis 0, (n, 1) for axis 1 and for None.

        The caller reduces this along the same axis, by the ndarray's method, which knows `out` and `keepdims`.
        """

        def collapse(weights, axis, _):
            return ufunc.reduce(weights, axis=axis, dtype=dtype, keepdims=True)

        return self._fold(collapse, ufunc, _normalized(axis))

    def _fold(self, collapse, join, axis):
        """The weights, collapsed along an axis that is kept: (..., 1, n) for axis 0, (..., n, 1) for axis 1.

        `collapse(weights, axis, first_row)` does it for a block of rows, and `join` makes one of two such blocks for
        axis 0.
        """
        blocks = (collapse(weights, axis, part.start) for part, weights in self._blocks())
        return reduce(join, blocks) if axis == 0 else np.concatenate(list(blocks), axis=-2)

    def _matmul(self, right):
        """The product with an ndarray on the right."""
        return np.concatenate([weights @ right for _, weights in self._blocks()], axis=-2 if right.ndim > 1 else 0)

    def _rmatmul(self, left):
        """The product with an ndarray on the left."""
        return sum(left[..., part] @ weights for part, weights in self._blocks())

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
        for part in self._parts(len(rows)):
            yield part, self._compute_rows(rows[part])

    def _parts(self, n_rows):
        """Slices of some number of rows, of a block each."""
        step = max(1, BLOCK_WEIGHTS // len(self))
        return [slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step)]

    def _elements(self, rows, columns):
        """The elements at (rows, columns), two arrays of one shape; each row is computed once."""
        needed, position = np.unique(rows, return_inverse=True)
        position = position.reshape(rows.shape)
        result = np.empty(rows.shape)
        for part, weights in self._blocks(needed):
            here = (position >= part.start) & (position < part.stop)
            result[here] = weights[position[here] - part.start, columns[here]]
        return result


class TransposedView(AttentionView):
    """The transpose of a view, which reads and reduces columns of the view as its rows."""

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
    """Matrices are transposed, vectors stay as they are."""
    return array if array.ndim < 2 else array.swapaxes(-2, -1)


def _normalized(axis):
    """The axis as 0 or 1; None, which reduces first along the rows and then what is left, as 1."""
    if axis not in (None, 0, 1, -1, -2):
        raise ValueError(f"axis must be None, 0 or 1, got {axis!r}")
    return 1 if axis is None else axis % 2


def _peaks(weights, axis, first_row):
    """(largest weights, their positions) along an axis, which is kept, of a block from row `first_row` on."""
    positions = weights.argmax(axis=axis, keepdims=True)
    values = np.take_along_axis(weights, positions, axis)
    return np.stack([values, positions + (first_row if axis == 0 else 0)])


def _higher_peaks(first, second):
    """The higher of two, the first of equal ones; nan is the highest, as in `ndarray.argmax`."""
    return np.where(np.stack([first[0], second[0]]).argmax(axis=0), second, first)


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
