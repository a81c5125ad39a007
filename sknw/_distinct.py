"""Rows that are equal: which ones, and whether there are many.

Rows are compared by a hash of 64 bits, a sum of products with odd numbers, and then by their values: if different rows
have the same hash, all rows are sorted.
"""

import numpy as np

FEW_ROWS = 800
"""Number of rows up to which equal ones are not looked for."""

SAMPLE = np.sort(np.random.default_rng(0).random(512))
"""Where the rows of a sample that is searched for equal ones are, as fractions of all rows."""

FACTOR = 0x9E3779B97F4A7C15
"""The odd number closest to 2^64 divided by the golden ratio, of which the factors of a hash are powers."""


def find_copies(rows):
    """What `distinct_rows` finds among rows (n, d); None if these are few, or if most of them seem to be distinct."""
    return distinct_rows(rows) if len(rows) > FEW_ROWS and has_many_copies(rows) else None


def has_many_copies(rows):
    """Whether half of the rows (n, d) or more seem to be copies of others, judged by a sample.

    If each row has a copy, s of n rows contain about s² / 2n copies: each of s² / 2 pairs is equal with a probability
    of 1 / n. If rows have more copies, it is more.
    """
    sample = (SAMPLE * len(rows)).astype(np.intp)
    n_sample = _count_distinct(sample)
    n_copies = n_sample - _count_distinct(np.sort(_hash(rows[sample])))
    return n_copies > 0 and 2 * n_copies * len(rows) >= n_sample**2


def _count_distinct(ascending):
    return 1 + np.count_nonzero(ascending[1:] != ascending[:-1])


def distinct_rows(rows):
    """The positions of distinct rows, and for each row that of its equal among these, (n,)."""
    _, first, place = np.unique(_hash(rows), return_index=True, return_inverse=True)
    if np.array_equal(rows[first][place], rows):
        return first, place
    order = np.lexsort(rows.T)
    is_new = np.append(True, (rows[order[1:]] != rows[order[:-1]]).any(axis=1))
    place = np.empty(len(rows), dtype=np.intp)
    place[order] = np.cumsum(is_new) - 1
    return order[is_new], place


def _hash(rows):
    """A number (n,) for each of the rows (n, d) of finite floats."""
    bits = np.add(rows, 0.0, order="C").view(np.uint64)  # -0.0 becomes 0.0
    bits ^= bits >> np.uint64(32)  # small whole numbers differ in the upper half only
    return bits @ np.multiply.accumulate(np.full(rows.shape[1], FACTOR, dtype=np.uint64))
