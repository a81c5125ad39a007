"""Classes as value columns: only labels are stored, and columns of zeros and ones are computed where needed."""

import numpy as np
from scipy.sparse import csc_array


class OneHot:
    """One-hot values (n, n_classes) of a classifier, computed from labels (n,) when they are indexed."""

    def __init__(self, labels, n_classes):
        self.labels, self.shape = labels, (len(labels), n_classes)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, rows):
        labels = self.labels[rows]
        values = np.zeros((len(labels), self.shape[1]))
        values[np.arange(len(labels)), labels] = 1.0
        return values

    def take(self, rows, axis=0):
        """The selected rows as a `OneHot`."""
        return OneHot(self.labels[rows], self.shape[1])


def value_ranges(values, is_active):
    """The minimum and the maximum of each column of values (n, n_values) over the active rows, (n_values,) each.

    Parameters
    ----------
    values : (n, n_values) float ndarray or OneHot
    is_active : (n,) bool ndarray
    """
    if isinstance(values, OneHot):
        counts = np.bincount(values.labels[is_active], minlength=values.shape[1])
        return (counts == counts.sum()).astype(float), (counts > 0).astype(float)
    active = values if is_active.all() else values[is_active]
    return active.min(axis=0), active.max(axis=0)


class OneHotColumns:
    """Weighted one-hot values, and the weights as a last column: (..., n_classes + 1) for labels and weights (...).

    Rows are selected by indexing. The cost of the product `array @ columns` does not grow with the number of classes.
    `np.asarray` converts the columns to an ndarray.
    """

    __array_ufunc__ = None  # ndarray @ columns then calls __rmatmul__

    def __init__(self, labels, weights, n_classes):
        self.labels, self.weights, self.n_classes = labels, weights, n_classes
        self.shape = (*labels.shape, n_classes + 1)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, rows):
        return OneHotColumns(self.labels[rows], self.weights[rows], self.n_classes)

    def __array__(self, dtype=None, copy=None):
        columns = np.zeros(self.shape)
        np.put_along_axis(columns, self.labels[..., None], self.weights[..., None], axis=-1)
        columns[..., -1] = self.weights
        return columns

    def __rmatmul__(self, left):
        one_hot = csc_array((self.weights, self.labels, np.arange(len(self) + 1)), shape=(self.n_classes, len(self)))
        products = np.empty((len(left), self.n_classes + 1))
        products[:, :-1], products[:, -1] = (one_hot @ left.T).T, left @ self.weights
        return products

    @property
    def T(self):
        return _Transposed(self)

    def take(self, rows, axis=0):
        """The selected rows, as indexing returns them."""
        return self[rows]

    def scaled(self, factors):
        """The rows multiplied by factors (n,)."""
        return OneHotColumns(self.labels, self.weights * factors, self.n_classes)

    def sum_groups(self, place):
        """The sums of rows that have the same place (n,), (n_places, n_classes + 1), as an ndarray."""
        mass, k = np.bincount(place, self.weights), self.n_classes
        sums = np.bincount(place * k + self.labels, self.weights, minlength=len(mass) * k).reshape(-1, k)
        return np.column_stack([sums, mass])

    def reshape(self, shape):
        """The rows in a shape (..., n_classes + 1)."""
        return OneHotColumns(self.labels.reshape(shape[:-1]), self.weights.reshape(shape[:-1]), self.n_classes)

    def padded(self, n):
        """The rows, followed by rows of zeros up to a length of n."""
        labels, weights = np.zeros(n, dtype=np.intp), np.zeros(n)
        labels[: len(self)], weights[: len(self)] = self.labels, self.weights
        return OneHotColumns(labels, weights, self.n_classes)


class _Transposed:
    """The transpose of `OneHotColumns`, (n_classes + 1, n)."""

    __array_ufunc__ = None

    def __init__(self, columns):
        self.columns, self.shape = columns, columns.shape[::-1]

    def __array__(self, dtype=None, copy=None):
        return self.take(slice(None))

    def __getitem__(self, column):
        labels, weights, n_classes = self.columns.labels, self.columns.weights, self.columns.n_classes
        return weights if column in (-1, n_classes) else np.where(labels == column, weights, 0.0)

    def __rmatmul__(self, left):
        products = left[:, self.columns.labels]
        products += left[:, -1:]
        products *= self.columns.weights
        return products

    def take(self, order, axis=1):
        """The selected rows of the columns, as an ndarray (n_classes + 1, k)."""
        labels, weights = self.columns.labels[order], self.columns.weights[order]
        rows = np.zeros((self.columns.shape[1], len(labels)))
        rows[labels, np.arange(len(labels))] = weights
        rows[-1] = weights
        return rows
