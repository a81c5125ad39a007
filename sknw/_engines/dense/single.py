"""Sums of the Gaussian in single precision, for queries of which these are known to keep `tol`.

Products, exponentials and sums take half the time that they take in double precision. What the results err by is known
for each query afterwards, from the same sums; queries for which it is too much are left to double precision.

Error. Let u = 2^-24, T = t / 2, and let a be the attention of a query, E the mean over it, |f| = sqrt(E f²). If the
logarithms of the weights err by e_i, a mean m of values v errs by E (v - m) e, up to terms of second order: by at most
sd(v) |e|. With g_i = |q|² + |x_i|², in bandwidths from the centre,

    |e| <= u ((d + 1 + [|q|² > 2 M]) (|g| + |(T - min(|q|², 2 M))_+|) / 2 + 2 sqrt(|g| |T|) + 10),    M = MOST_LIFT.

The exponent is a sum of q_f x_f, which are at most g / 2 in total, -|x|² / 2, and, where |q|² > 2 M, M - |q|² / 2.
It is known, as is a bound on the sum of the absolute values of its terms; so those of either sign are at most
(g + (T - min(|q|², 2 M))_+) / 2, and so is any part of them. The result of each of d additions, or d + 1, in whatever
order, is rounded by u of itself at most, and so is each product, which is no more than that in total. Rounding of q
and x moves them by u (|q| + |x|), and T by 2 u sqrt(g T); |q|² and |x|² are those of the rounded points. Weights of
keys make up for the rounding of |x|² / 2, and log_mass for that of M - |q|² / 2. The 10 are for the exponential, which
numpy has to 4 units in the last place, and for weights and values. In another base, the exponent and what it errs by
have a common factor.

|g| is at most |q|² + sqrt(E |x|⁴), and E |x|⁴ is one more column of the sums. |T| <= L + sqrt(2), where L is the
logarithm of the ratio of the sum of the weights of all keys to the mass: the attention to keys with T > L + s is at
most exp(-s), so T is stochastically less than L plus an exponential variable. So |(T - c)_+| <= (L - c)_+ + sqrt(2).
sd(v)² is at most the sum over values of their variances, which takes the sum of their squares, another column. It is
also at most 1 - m², as values are moved to [-1, 1]. With k values, either errs by no more than 14 k |e|, and by
14 k CHUNK u for rounding.

Sums are taken in double precision over CHUNK keys each, which are summed in single precision, in whatever order: a sum
of positive terms errs by CHUNK u of itself. A mean errs by CHUNK u / 2 times |v| + |m|, as a fraction of the range of
the values, and |v| is at most 1.

Terms of second order are at most |e|² / 2 and what keys far away add, which have a large e. There |x|² <= 2 |q|² + 4 T
makes e <= MOST_ERROR + 5 u (d + 3) T, a small fraction of T, and exp(e - T) next to nothing. All this is less than a
tenth of the bound, or a hundredth of the least `tol`. So are weights below exp(LOWEST), which are raised to that, in a
mass of at least LEAST_MASS, and keys that are dropped for their weights, which are at most MOST_DROPPED of the mass.
"""

from typing import NamedTuple

import numpy as np

from ..summation import Sums
from .pairs import slices
from .single_keys import CHUNK, FARTHEST, squared_norms

SINGLE_TOL = 1e-5
"""The least `tol` for which single precision is of use."""

SHARE = 0.9
"""Share of an error for the terms of first order."""

UNIT = 2.0**-24
"""The largest relative error of a rounded number."""

BLOCK_PAIRS = 512 * 256
"""Pairs in a block: half a MiB of weights."""

CHUNK_SUMS = 2**17
"""Sums over single chunks that are held at once: half a MiB."""

CROWDED, SPARE = 128, 8
"""Rows of a multiple of CROWDED numbers compete for the same places in a cache, and get SPARE more."""

MOST_ERROR = 1e-4
"""The largest |e|, and so the largest error of log_mass."""

MOST_LIGHT_ERROR = 20 * MOST_ERROR
"""The largest |e| of light keys, see `mixed`."""

DOUBLE_ERROR = 1e-9
"""More than sums in double precision err by, see `mixed`."""

LEAST_MASS = 1e-15
"""The least mass, in units of the largest weight."""

MOST_LIFT = 64.0
"""What |q|² / 2 is reduced by at most, so that fewer weights are next to nothing."""

LOWEST = -80.0
"""The lowest logarithm of a weight, where there is a floor."""

UNDERFLOW = -87.0
"""The logarithm of a weight below which exponentials may take ten times as long, and products too."""

WORTH = 0.75
"""The share of queries in a block that may keep `tol`, from which on single precision is tried for all of them."""

OFTEN = 0.005
"""The share of weights that underflow from which on a floor costs less than they do."""

MOST_DROPPED = 1e-2 * SINGLE_TOL
"""The largest sum of these, as a share of the mass."""


class SingleSums(NamedTuple):
    """Sums of some queries in single precision, and what they err by.

    Attributes
    ----------
    columns : (b, n_columns) float ndarray
        Of the columns of the problem.
    log_mass : (b,) float ndarray
        Right to MOST_ERROR, where `error` is finite.
    error : (b,) float ndarray
        A bound on the error of means, as a fraction of the range of the values; inf if there is none.
    derivatives : (b, n_used, n_columns) float ndarray, default=None
        As of `Sums`.
    """

    columns: np.ndarray
    log_mass: np.ndarray
    error: np.ndarray
    derivatives: np.ndarray | None = None

    def as_sums(self):
        """The same as `Sums`."""
        return Sums(self.columns, self.log_mass, np.zeros(len(self.columns)), self.derivatives)


def is_able(pairs, tol):
    """Whether single precision is possible; not with a width for each query."""
    keys = pairs.keys
    return keys.has_coordinates and pairs.scale is None and takes_single(keys.columns, keys.kernel, tol)


def takes_single(columns, kernel, tol):
    """Whether sums of columns can be in single precision.

    Not if there are no values, and masses are what is asked for; nor for many classes.
    """
    is_one = tol >= SINGLE_TOL and kernel.form == "gaussian"
    return is_one and isinstance(columns, np.ndarray) and columns.shape[1] > 1


def may_be_single(pairs, tol):
    """Whether most queries may keep `tol`, judged by |q|² and the standard deviation of the values."""
    if not is_able(pairs, tol):
        return False
    error = expected_error(pairs)
    may, most = error <= MOST_ERROR, WORTH * len(pairs)
    if np.count_nonzero(may) > most:  # else keys need not be made
        may &= (error + CHUNK * UNIT) * pairs.keys.single.spread / 2 < SHARE * tol
    return np.count_nonzero(may) > most


def expected_error(pairs):
    """The bound (b,) on |e| of queries whose attention goes to keys as far from the centre as they are."""
    return _log_error(pairs, 2 * pairs.norms, 0.0)


def collect_single(pairs):
    """`SingleSums` of some pairs."""
    with np.errstate(all="ignore"):
        sums, log_units = _sum_columns(pairs, pairs.keys.single)
        return bound_sums(pairs.keys.single, sums, log_units, key_log_error(pairs))


def bound_sums(single, light, log_units, log_error, heavy=0.0):
    """`SingleSums` of some queries.

    Parameters
    ----------
    single : SingleColumns
    light : (b, n_values + 3) float ndarray
        Sums of its columns, and of |x|⁴ in units of FARTHEST², over light keys.
    log_units : (b,) float ndarray
        The logarithms of the units of weights.
    log_error : callable
        Function from E |x|⁴ and L to the bound on |e|, all (b,).
    heavy : (b, n_columns) float ndarray, default=0
        Sums of the columns of the problem over heavy keys, in the same units; 0: all keys are light.
    """
    mass = light[:, -3:-2]
    columns = single.move_back(light[:, :-2]) + heavy
    log_mass = np.log(columns[:, -1]) + log_units
    half_range = np.where(single.half_range > 0, single.half_range, 1.0)
    means = (columns[:, :-1] / columns[:, -1:] - single.middle) / half_range
    error = _error(single, light / mass, mass[:, 0] / columns[:, -1], means, log_mass, log_error)
    return SingleSums(columns, log_mass, np.where(columns[:, -1] >= LEAST_MASS, error / SHARE, np.inf))


def key_log_error(pairs):
    """The bound on |e| of some pairs, as `bound_sums` takes it."""
    return lambda fourth, log_ratio: _log_error(pairs, pairs.norms + np.sqrt(fourth), log_ratio)


def _sum_columns(pairs, single):
    """Sums (b, n_values + 3) of the columns of `SingleKeys`, and the logarithms (b,) of the units of weights."""
    augmented, log_units = augment(pairs, single)
    (n_chunks, n_columns, _), width = single.columns.shape, augmented.shape[1]
    step = step_of_chunks(single, augmented)
    held = max(1, CHUNK_SUMS // (step * n_columns * width)) * step
    sums_of_chunks = np.empty((min(n_chunks, held), n_columns, width), dtype=np.float32)
    sums = np.zeros((n_columns, width))
    for chunks, weights in weights_of_chunks(pairs, single, augmented, step):
        place = chunks.start % held
        found = np.matmul(single.columns[chunks], weights, out=sums_of_chunks[place : place + len(weights)])
        if chunks.stop % held == 0 or chunks.stop == n_chunks:
            sums += sums_of_chunks[: place + len(found)].sum(axis=0, dtype=float)
    return sums[:, : len(pairs)].T, log_units


def step_of_chunks(single, augmented):
    """The number of chunks in a block."""
    return min(len(single.columns), max(1, BLOCK_PAIRS // augmented.shape[1] // CHUNK))


def weights_of_chunks(pairs, single, augmented, step):
    """Stream (some chunks, their weights (step, CHUNK, width)), in a buffer that is used again."""
    shape, lowest = (CHUNK, augmented.shape[1]), None
    buffer = np.empty((step, *shape), dtype=np.float32)
    if _often_underflow(augmented, single):
        lowest = np.full(shape, LOWEST / single.log_base, dtype=np.float32)
    for chunks in slices(len(single.columns), step):
        block, weights = slice(chunks.start * CHUNK, chunks.stop * CHUNK), buffer[: chunks.stop - chunks.start]
        flat = weights.reshape(-1, shape[1])
        np.matmul(single.augmented[block], augmented, out=flat)
        if lowest is not None:
            np.maximum(weights, lowest, out=weights)
        single.exp(flat, out=flat)
        pairs.retain(flat.T, block)
        yield chunks, weights


def augment(pairs, single):
    """Queries as `SingleKeys.augmented` takes them (n_used + 2, width), and the logarithms (b,) of units of weights.

    The width is b, or, where rows would be CROWDED, somewhat more.
    """
    queries = (pairs.centred / single.log_base).astype(np.float32)
    half_norms = squared_norms(queries) * single.log_base**2 / 2
    lift = (np.minimum(MOST_LIFT - half_norms, 0.0) / single.log_base).astype(np.float32)
    width = len(pairs) + (SPARE if len(pairs) % CROWDED == 0 else 0)
    augmented = np.zeros((single.d + 2, width), dtype=np.float32)
    augmented[:-2, : len(pairs)], augmented[-2], augmented[-1, : len(pairs)] = queries.T, 1.0, lift
    return augmented, -half_norms - single.log_base * lift.astype(float)


def _often_underflow(augmented, single):
    """Whether, judged by a sample, weights would often underflow."""
    n_keys, n_queries = len(single.augmented), augmented.shape[1]
    keys, queries = slice(None, None, 1 + n_keys // 256), slice(None, None, 1 + n_queries // 16)
    return np.mean(single.augmented[keys] @ augmented[:, queries] < UNDERFLOW / single.log_base) > OFTEN


def _error(single, light, share, means, log_mass, log_error):
    """What means (b, n_values) err by (b,), as a fraction of the range of the values; inf if that is not known.

    `light` are the means of the columns that are summed (b, n_values + 3) over light keys, which have a share (b,) of
    the attention. See `mixed`; where all keys are light, the share is 1.
    """
    n_values = means.shape[1]
    log_ratio = np.maximum(single.log_weight - log_mass - np.log(share), 0.0)
    error = log_error(FARTHEST**2 * light[:, -1], log_ratio)
    squares, largest = light[:, -2], np.abs(means).max(axis=1)
    deviations = squares + np.einsum("bk,bk->b", means, means - 2 * light[:, :-3])
    variance = np.maximum(np.minimum(share * deviations, 1 - np.square(means).min(axis=1)), 0.0)
    variance += share * 14 * n_values * (error + CHUNK * UNIT)
    rounding = share * CHUNK * UNIT / 2 * (np.sqrt(np.minimum(squares, 1.0)) + largest)
    is_known = (share * error <= MOST_ERROR) & (error <= MOST_LIGHT_ERROR)
    is_known &= np.log(single.dropped) <= log_mass + np.log(MOST_DROPPED)
    return np.where(is_known, error * np.sqrt(share * variance) / 2 + rounding + DOUBLE_ERROR, np.inf)


def _log_error(pairs, norms, log_ratio):
    """The bound (b,) on |e|, from |g| and from L."""
    t = log_ratio + np.sqrt(2)
    excess = np.maximum(log_ratio - np.minimum(pairs.norms, 2 * MOST_LIFT), 0.0) + np.sqrt(2)
    n_roundings = pairs.raw.shape[1] + 1 + (pairs.norms > 2 * MOST_LIFT)
    return UNIT * (n_roundings * (norms + excess) / 2 + 2 * np.sqrt(norms * t) + 10)
