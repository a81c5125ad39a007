"""Pairs of queries and keys: squared distances t, a block of keys at a time, and what leave-one-out does to them."""

from functools import cached_property

import numpy as np

BLOCK_PAIRS = 512 * 256
"""Pairs in a block: a MiB of weights, which stays in the cache of a core."""

MIN_KEY_ROWS, MAX_KEY_BLOCKS = 256, 1024
"""The fewest keys in a block, where there are as many, and the largest number of blocks."""


class Keys:
    """Keys with one kernel and one bandwidth.

    Parameters
    ----------
    kernel : Kernel
    distances : Distances
    columns : (n_keys, n_columns) float ndarray or OneHotColumns
        Those of `Problem`.
    weights : (n_keys,) float ndarray
    has_nearest : bool
        Whether the nearest keys of all queries are among them, which matter where no key has weight.
    """

    def __init__(self, kernel, distances, columns, weights, has_nearest=True):
        self.kernel, self.distances, self.has_nearest = kernel, distances, has_nearest
        self.columns, self.weights = columns, weights
        self.edge = kernel.support**2

    def subset(self, raw, columns, centre, has_nearest):
        """Some of the keys, given as in `Distances.raw` and `columns`, with distances around another centre."""
        return Keys(self.kernel, self.distances.subset(raw, centre), columns, columns.T[-1], has_nearest)

    def pairs(self, queries, left_out=None):
        """Pairs of queries (b, n_features) and all keys; rows of the problem are left out of their own sums."""
        if left_out is None:
            return self.raw_pairs(self.distances.to_raw(queries))
        index, retained = left_out.self_index, left_out.retained
        if index.min(initial=0) >= 0:
            return Pairs(self, *self.distances.at_keys(index), index, retained)
        return self.raw_pairs(self.distances.to_raw(queries), index, retained)

    def raw_pairs(self, raw, self_index=None, retained=None):
        """The same for queries as in `Distances.raw`."""
        return Pairs(self, raw, *self.distances.centre(raw), self_index, retained)

    @cached_property
    def _least_key_rows(self):
        return max(MIN_KEY_ROWS, -(-len(self.weights) // MAX_KEY_BLOCKS))

    def block_rows(self, n_rows):
        """The number of queries in a block."""
        return max(1, min(n_rows, BLOCK_PAIRS // self._least_key_rows))

    def blocks(self, n_rows):
        """Slices of the keys, for a block of so many queries."""
        return slices(len(self.weights), max(self._least_key_rows, BLOCK_PAIRS // n_rows))


class Pairs:
    """Some queries and all keys, which are cut into `blocks`.

    Parameters
    ----------
    keys : Keys
    raw : (b, n_used) float ndarray
        The queries, in powers of two of the bandwidth.
    centred : (b, n_used) float ndarray
        The same in bandwidths from the centre of the keys.
    norms : (b,) float ndarray
        Their squares.
    self_index : (b,) int ndarray or None
        In leave-one-out, the position of the query's own row among the keys, -1 without one.
    retained : (b,) float ndarray or None
        The share of its weight that the own row retains.
    blocks : list of slices, default=None
        None: as suits so many queries.
    """

    def __init__(self, keys, raw, centred, norms, self_index=None, retained=None, blocks=None):
        self.keys, self.raw, self.centred, self.norms = keys, raw, centred, norms
        self.self_index, self.retained = self_index, retained
        self.blocks = keys.blocks(len(raw)) if blocks is None and len(raw) else blocks

    def __len__(self):
        return len(self.raw)

    @property
    def kernel(self):
        return self.keys.kernel

    def take(self, rows, blocks=None):
        """Some of the queries, with the same blocks of keys unless others are given."""
        fields = (self.raw, self.centred, self.norms, self.self_index, self.retained)
        fields = (None if field is None else field[rows] for field in fields)
        return Pairs(self.keys, *fields, self.blocks if blocks is None else blocks)

    def split(self, rows):
        """Some of the queries, with blocks of keys that suit them."""
        return self.take(rows, self.keys.blocks(max(1, np.count_nonzero(rows))))

    # Distances.

    def stream_t(self, by_product, factor=1.0, blocks=None):
        """Stream (block of keys, factor * t (b, n_block)), in a buffer that is used again."""
        blocks, distances = self.blocks if blocks is None else blocks, self.keys.distances
        if by_product:
            write = distances.by_product(self.centred, self.norms, factor)
        else:
            write = distances.by_difference(self.raw, factor)
        buffer = np.empty(len(self) * width(blocks[0]))
        for block in blocks:
            t = buffer[: len(self) * width(block)].reshape(len(self), -1)
            write(block, t)
            if by_product and not self.kernel.is_even:
                np.maximum(t, np.zeros(t.shape[1]), out=t)
            yield block, t

    def differences(self, block, rows=slice(None)):
        """t (b, n_block) of some queries as a new array, exact to a few units in the last place."""
        return self.keys.distances.differences(self.raw[rows], block)

    def to_key(self, key, rows=slice(None)):
        """t (b,) between some queries and one key each (b,)."""
        return self.keys.distances.to_key(self.raw[rows], key)

    def relative(self, anchor, key, rows):
        """t - t_0 (p,) for pairs of a query and a key (p,), with an anchor key each (p,)."""
        return self.keys.distances.relative(self.raw[rows], anchor, key)

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
