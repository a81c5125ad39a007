"""Gaussian sums for single queries, over the keys near each.

It knows keys in the order of a k-d tree, and nothing of cells. The leaves of the tree that matter to a query make a few
runs of keys that follow each other, of which nothing is copied. Leaves between two of them are summed as well if these
are few, which takes less time than another run.

Error. Leaves are left out while their weights sum to no more than LEFT_OUT tol D, where D is a lower bound on the mass
of the query; `blocks` has the proof that this changes a prediction by at most LEFT_OUT tol of the range, and the bounds
on weights and the mass. These are rounded by less than a millionth of themselves. Where a row is left out of its sums,
half of the mass must remain, and LEFT_OUT is below one half. Distances come from products, which are precise up to
SAFE_NORM, see `dense.products`. Other queries, and those of hardly any mass, are unresolved.
"""

import numpy as np

from ..blocks.leaves import Leaves, kd_order
from ..dense.keys import Keys
from ..dense.pairs import SAFE_NORM
from ..dense.stable import TINY_MASS
from ..summation import Sums

LEAF_KEYS, MOST_LEAVES = 256, 1024
"""The most keys in a leaf, unless there are more leaves than these."""

GAP_KEYS = 1000
"""Keys between two leaves that are summed as well."""

LEFT_OUT = 0.49
"""Share of `tol` for keys that are left out."""


class NearKeys:
    """The keys of a problem in the order of a k-d tree, with a Gaussian and one bandwidth."""

    def __init__(self, problem, kernel, bandwidth):
        self._keys = Keys(problem, kernel, bandwidth)
        augmented = self._keys.make_augmented()
        order, self._size = kd_order(augmented[:-2].T, max(LEAF_KEYS, -(-augmented.shape[1] // MOST_LEAVES)))
        self._augmented, self._columns = augmented.take(order, axis=1), problem.columns.take(order, axis=0)
        leaves = Leaves(self._augmented[:-2].T, problem.weights[order], self._size, np.ones(len(augmented) - 2))
        self._masses = leaves.mass
        self._middle, self._half = (leaves.low + leaves.high) / 2, (leaves.high - leaves.low) / 2
        means = leaves.low + leaves.offset
        exponents = np.square(means).sum(axis=0) + leaves.spread - 2 * leaves.log_mass
        self._means = np.vstack([means, exponents, np.ones_like(exponents)])

    def locate(self, points):
        """Queries (n_features, b) in bandwidths from the centre of the keys."""
        return self._keys.to_centred(points).T

    @np.errstate(all="ignore")
    def sums(self, queries, removed, tol):
        """`Sums` for such queries, without what is removed from them, (n_columns, b) or None."""
        sums = np.array([self._row_sums(query, tol) for query in queries.T])
        least = np.maximum(sums[:, -1] / 2, TINY_MASS)
        if removed is not None:
            sums -= removed.T
        resolved = (sums[:, -1] >= least) & (np.square(queries).sum(axis=0) <= SAFE_NORM)
        return Sums(sums, np.where(resolved, np.log(sums[:, -1]), np.nan))

    def _row_sums(self, query, tol):
        """Sums (n_columns,) for one query."""
        factors = np.concatenate([query, [-0.5, query @ query / -2]])[None]
        sums = np.zeros((1, self._columns.shape[1]))
        for first, last in self._runs(query, factors, tol):
            exponents = np.matmul(factors, self._augmented[:, first:last])
            sums += np.exp(exponents, out=exponents) @ self._columns[first:last]
        return sums[0]

    def _runs(self, query, factors, tol):
        """Where runs of keys that matter to a query begin and end."""
        gaps = np.abs(self._middle - query[:, None])
        gaps -= self._half
        np.maximum(gaps, 0.0, out=gaps)
        weights = self._masses * np.exp(np.einsum("fb,fb->b", gaps, gaps) / -2)
        ascending, mass = np.sort(weights), np.exp(factors @ self._means).sum()
        n_out = np.searchsorted(ascending.cumsum(), LEFT_OUT * tol * mass, side="right")
        kept = np.flatnonzero(weights >= ascending[min(n_out, len(ascending) - 1)])
        cuts = np.flatnonzero((kept[1:] - kept[:-1] - 1) * self._size > GAP_KEYS)
        first, last = [kept[0], *kept[cuts + 1].tolist()], [*kept[cuts].tolist(), kept[-1]]
        return [(a * self._size, (b + 1) * self._size) for a, b in zip(first, last, strict=True)]
