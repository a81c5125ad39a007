"""Sums of the Gaussian in mixed precision: in double for the keys that have nearly all of a query's attention.

In many features products in single precision err by too much, but few keys matter to a query. All keys are summed in
single precision, in chunks. Those chunks that have more than a small share of the mass of a query are heavy: they are
summed again, in double precision, and take the place of the first sums.

Error. All is as in `single`, but for sums over light keys only. Let these have a share s of the attention, and let E
and |f| = sqrt(E f²) be their means. As logarithms of weights err by e_i for light keys alone, a mean m of values v
errs by s E (v - m) e, up to terms of second order: by at most s |v - m| |e|. Here |v - m|² = E v² - 2 m E v + m²,
summed over values, comes from the sums over light keys; s |v - m|² is at most the variance of v under all of the
attention, and so at most 1 - m². With k values, its error is at most 14 k |e| and 14 k CHUNK u. The bound on |e| is
that of `single` with |g| and |T| of light keys. Attention to keys with T > L + r is at most exp(-r), so that to light
keys, as a fraction of theirs, is at most exp(-r) / s, and L has to be replaced by L - log(s). That is the logarithm of
the ratio of the sum of the weights of all keys to the mass of light keys. Rounding of sums is s times what it is
there.

Logarithms of masses err by s |e|, which is at most MOST_ERROR, and terms of second order are at most s |e|² / 2, which
is less than a hundredth of the least `tol` where |e| is at most MOST_LIGHT_ERROR. There (d + 2) |q|² is at most
2 MOST_LIGHT_ERROR / u, and what products in double precision err by, see `products`, is less than DOUBLE_ERROR.
"""

import numpy as np

from .single import (
    MOST_ERROR,
    MOST_LIGHT_ERROR,
    SHARE,
    WORTH,
    augment,
    bound_sums,
    expected_error,
    is_able,
    key_log_error,
    step_of_chunks,
    weights_of_chunks,
)
from .single_keys import CHUNK

MOST_SUMS = 2**22
"""Sums over single chunks that are held at once: 16 MiB."""

FEWEST_CHUNKS, FEWEST_QUERIES, FEWEST_FEATURES = 96, 256, 48
"""With fewer in a block, or of which products take less time, it is not worth it."""

LIGHT = 1 / 8
"""The largest share of a light chunk, in units of the share that all of them may have."""

MOST_HEAVY = 0.05
"""The share of chunks that may be heavy: a pair in one takes several times as long as in a product of large blocks."""

SAMPLE_QUERIES = 8
"""Queries that it is judged by."""


def may_be_mixed(pairs, tol):
    """Whether most queries may keep `tol` in mixed precision, with few heavy chunks, judged by a sample."""
    if not is_able(pairs, tol) or len(pairs) < FEWEST_QUERIES or pairs.raw.shape[1] < FEWEST_FEATURES:
        return False
    n_chunks = -(-len(pairs.keys.weights) // CHUNK)
    n_sums = n_chunks * (pairs.keys.columns.shape[1] + 2) * len(pairs)
    may = expected_error(pairs) <= MOST_LIGHT_ERROR
    if n_chunks < FEWEST_CHUNKS or n_sums > MOST_SUMS or np.mean(may) <= WORTH:
        return False
    sample = pairs.take(slice(None, None, len(pairs) // SAMPLE_QUERIES))
    with np.errstate(all="ignore"):
        are_heavy, is_enough = _find_heavy(sample, _sum_chunks(sample)[0], tol)
    return np.mean(are_heavy) < MOST_HEAVY and np.mean(is_enough) > WORTH


def collect_mixed(pairs, tol):
    """`SingleSums` of some pairs."""
    with np.errstate(all="ignore"):
        sums, log_units = _sum_chunks(pairs)
        chunks, queries = np.nonzero(_find_heavy(pairs, sums, tol)[0])
        sums[chunks, :, queries] = 0.0
        heavy = _sum_heavy(pairs, chunks, queries, log_units)
        light = sums.sum(axis=0, dtype=float)[:, : len(pairs)].T
        return bound_sums(pairs.keys.single, light, log_units, key_log_error(pairs), heavy)


def _sum_chunks(pairs):
    """Sums (n_chunks, n_values + 3, width) of the columns of `SingleKeys`, and the logarithms (b,) of units."""
    single = pairs.keys.single
    augmented, log_units = augment(pairs, single)
    sums = np.empty((*single.columns.shape[:2], augmented.shape[1]), dtype=np.float32)
    for chunks, weights in weights_of_chunks(pairs, single, augmented, step_of_chunks(single, augmented)):
        np.matmul(single.columns[chunks], weights, out=sums[chunks])
    return sums, log_units


def _find_heavy(pairs, sums, tol):
    """Which chunks (n_chunks, b) are heavy, and for which queries (b,) the others are light enough together."""
    masses, error = sums[:, -3, : len(pairs)], expected_error(pairs)
    share = np.minimum(SHARE * tol / (error * pairs.keys.single.spread / 2), np.minimum(MOST_ERROR / error, 1.0))
    allowed = share.astype(np.float32) * masses.sum(axis=0)
    are_heavy = masses > LIGHT * allowed
    return are_heavy, np.sum(masses, axis=0, where=~are_heavy) <= allowed


def _sum_heavy(pairs, chunks, queries, log_units):
    """Sums (b, n_columns) of the columns of the problem, over some pairs of a chunk of keys, in order, and a query."""
    keys, sums = pairs.keys, np.zeros((len(pairs), pairs.keys.columns.shape[1]))
    augmented = np.column_stack([pairs.centred, np.full(len(pairs), -0.5), -pairs.norms / 2 - log_units])
    heavy, starts = np.unique(chunks, return_index=True)
    for chunk, start, stop in zip(heavy, starts, np.append(starts, len(chunks))[1:], strict=True):
        first, rows = chunk * CHUNK, queries[start:stop]
        block = slice(first, min(first + CHUNK, len(keys.weights)))
        weights = augmented[rows] @ keys.augmented[:, block]
        weights = pairs.retain(np.exp(weights, out=weights), block, rows)
        sums[rows] += weights @ keys.columns[block]
    return sums
