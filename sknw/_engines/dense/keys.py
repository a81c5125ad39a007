"""Keys in units of one bandwidth, and the queries that they make pairs with."""

from copy import copy
from functools import cached_property

import numpy as np

from ..error_free import inverse_square
from .pairs import Pairs, slices
from .single_keys import SingleKeys

BLOCK_PAIRS = 512 * 256
"""Pairs in a block: a MiB of weights, which stays in the cache of a core."""

MIN_KEY_ROWS, MAX_KEY_BLOCKS = 256, 1024
"""The fewest keys in a block, where there are as many, and the largest number of blocks."""

FAR = 2.0**502
"""Powers of two of the bandwidth, along a feature, beyond which only the direction of a query matters: more than there
are between two keys."""


class KeyBlocks:
    """What keys with one kernel are summed with, in blocks.

    Attributes
    ----------
    kernel : Kernel
    edge : float
        t at the edge of its support.
    columns : (n_keys, n_columns) float ndarray or OneHotColumns
        Those of the problem.
    weights : (n_keys,) float ndarray
    has_nearest : bool
        Whether the nearest keys of all queries are among them, which matter where no key has weight.
    """

    has_coordinates = True
    """Whether distances can come from products, and neighbours from a tree."""

    def __init__(self, problem, kernel):
        self.kernel, self.edge, self.has_nearest = kernel, kernel.support**2, True
        self.columns, self.weights = problem.columns, problem.weights

    @property
    def _least_block(self):
        """The fewest keys in a block."""
        return max(MIN_KEY_ROWS, -(-len(self.weights) // MAX_KEY_BLOCKS))

    def block_rows(self, n_queries):
        """The number of queries in a block."""
        return max(1, min(n_queries, BLOCK_PAIRS // self._least_block))

    def blocks(self, n_queries):
        """Slices of the keys, for a block of so many queries."""
        return slices(len(self.weights), max(self._least_block, BLOCK_PAIRS // n_queries))


class Keys(KeyBlocks):
    """The keys of a problem with one kernel and one bandwidth vector (n_features,); inf ignores a feature.

    Attributes
    ----------
    mantissa : (n_used,) float ndarray
        The bandwidths over powers of two. Division by these powers loses no digit.
    raw : (n_keys, n_used) float ndarray
        The keys in units of the powers of two; made for the first differences that need them.
    augmented : (n_used + 2, n_keys) float ndarray
        The keys x in bandwidths from their centre, |x|², and ones; made for the first products that need them.
    levels : list of slices
        The columns of each feature that is several columns, one for each level of a category.
    """

    def __init__(self, problem, kernel, bandwidth):
        super().__init__(problem, kernel)
        self._features = np.isfinite(bandwidth)
        low, high, half_median = self._used(problem.extent)
        spread = np.maximum(high / 2 - half_median, half_median - low / 2)
        bandwidth = bandwidth[self._features] if self._features.any() else np.ones(1)
        # squares must not overflow; at 2**-500 of the spread every weight has long reached its limit
        largest = np.maximum(high, -low)
        bandwidth = np.maximum(bandwidth, np.maximum(spread * 2.0**-500, largest * 2.0**-1000))
        self.mantissa, self._exponents = np.frexp(bandwidth)
        self.squares = 1 / np.square(self.mantissa)
        self.levels = problem.levels(self._features)
        self._keys, self._centre = problem.keys, np.ldexp(half_median, 1 - self._exponents)

    def subset(self, raw, columns, centre, has_nearest):
        """Some of the keys, given as in `raw` and `columns`, around another centre (n_used,)."""
        keys = copy(self)
        vars(keys).pop("single", None)
        keys.columns, keys.weights, keys.has_nearest = columns, columns.T[-1], has_nearest
        keys.raw, keys._centre = raw, centre
        keys.augmented = keys._augment(raw.T)
        return keys

    @property
    def n_used(self):
        """The number of features in use, at least one."""
        return len(self.mantissa)

    @cached_property
    def raw(self):
        return self.make_raw()

    def make_raw(self):
        """`raw` as a new array."""
        return np.ascontiguousarray(self._raw_features().T)

    @cached_property
    def augmented(self):
        return self.make_augmented()

    def make_augmented(self):
        """`augmented` as a new array."""
        return self._augment(self._raw_features())

    def _raw_features(self):
        """The features of the keys (n_used, n_keys), in units of the powers of two."""
        return np.ldexp(np.ascontiguousarray(self._used(self._keys).T), -self._exponents[:, None])

    def _augment(self, raw):
        """`augmented` of keys (n_used, n_keys) in units of the powers of two."""
        d, n_keys = raw.shape
        augmented = np.empty((d + 2, n_keys))
        centred = np.subtract(raw, self._centre[:, None], out=augmented[:d])
        centred /= self.mantissa[:, None]
        np.square(centred).sum(axis=0, out=augmented[d])
        augmented[d + 1] = 1.0
        return augmented

    @property
    def centred(self):
        """The keys (n_used, n_keys) in bandwidths from their centre."""
        return self.augmented[:-2]

    @property
    def largest_norm(self):
        """The greatest |x|² of the keys, in bandwidths from their centre."""
        return self.augmented[-2].max()

    @cached_property
    def single(self):
        """The keys in single precision."""
        return SingleKeys(self)

    @cached_property
    def is_uniform(self):
        """Whether all bandwidths are alike, but for powers of two."""
        return np.all(self.squares == self.squares[0])

    @cached_property
    def exact_squares(self):
        """1 / mantissa², and the errors of these, (2, n_used)."""
        return inverse_square(self.mantissa)

    def _used(self, rows):
        """The features of finite bandwidth, or one of zeros."""
        if self._features.all():
            return rows
        return rows[:, self._features] if self._features.any() else np.zeros((len(rows), 1))

    def to_units(self, gradient):
        """A gradient (b, n_used) by coordinates in bandwidths as one (b, n_features) by coordinates in units of X."""
        result = np.zeros((len(gradient), len(self._features)))
        if self._features.any():
            result[:, self._features] = np.ldexp(gradient / self.mantissa, -self._exponents)
        return result

    # Queries.

    def pairs(self, queries, left_out=None, scale=None):
        """Pairs of queries (b, n_features) and all keys; rows of the problem are left out of their own sums."""
        own = (None, None) if left_out is None else (left_out.self_index, left_out.retained)
        return self.raw_pairs(self._to_raw(queries), *own, scale)

    def raw_pairs(self, raw, self_index=None, retained=None, scale=None):
        """The same for queries (b, n_used) in units of the powers of two."""
        centred = self._centred(raw)
        norms = np.einsum("ij,ij->i", centred, centred)
        return Pairs(self, raw, centred, norms if scale is None else norms * scale, self_index, retained, scale)

    def to_centred(self, queries):
        """Queries (b, n_features) in bandwidths from the centre of the keys."""
        return self._centred(self._to_raw(queries))

    def _centred(self, raw):
        return (raw - self._centre) / self.mantissa

    def _to_raw(self, queries):
        """Queries (b, n_features) in units of the powers of two; beyond FAR they are moved towards the centre."""
        queries = self._used(queries)
        with np.errstate(over="ignore"):
            raw = np.ldexp(queries, -self._exponents, order="C")
        far = np.flatnonzero(~(np.abs(raw - self._centre) <= FAR).all(axis=1))
        if len(far):
            raw[far] = self._centre + self._directions(queries[far])
        return raw

    def _directions(self, queries):
        """Steps of the length FAR, or half of that, from the centre towards queries (b, n_used), in the same units."""
        steps, exponents = np.frexp(queries / 4 - np.ldexp(self._centre, self._exponents - 2))
        exponents -= self._exponents
        largest = exponents.max(axis=1, keepdims=True, where=steps != 0, initial=-(2**20))
        return np.ldexp(steps * FAR, exponents - largest)
