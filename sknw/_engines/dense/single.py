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
also at most 1 - m², as values are moved to [-1, 1]. With k values, either errs by no more than 2 k |e|, and by
6 k CHUNK u for rounding.

Sums are taken in double precision over CHUNK keys each, which are summed in single precision, in whatever order: a sum
of positive terms errs by CHUNK u of itself. A mean errs by CHUNK u / 2 times |v| + |m|, as a fraction of the range of
the values, and |v| is at most 1.

Terms of second order are at most |e|² / 2 and what keys far away add, which have a large e. There |x|² <= 2 |q|² + 4 T
makes e <= MOST_ERROR + 5 u (d + 3) T, a small fraction of T, and exp(e - T) next to nothing. All this is less than a
tenth of the bound, or a hundredth of the least `tol`. So are weights below exp(LOWEST), which are raised to that, in a
mass of at least LEAST_MASS, and keys that are dropped for their weights, which are at most MOST_DROPPED of the mass.
"""

from functools import partial
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

MOST_ERROR = 1e-4
"""The largest |e|, and so the largest error of log_mass."""

LEAST_MASS = 1e-15
"""The least mass, in units of the largest weight."""

MOST_LIFT = 64.0
"""What |q|² / 2 is reduced by at most, so that fewer weights are next to nothing."""

LOWEST = -80.0
"""The lowest logarithm of a weight. Below -87 exponentials may take ten times as long, and products too."""

WORTH = 0.75
"""The share of queries in a block that may keep `tol`, from which on single precision is tried for all of them."""

OFTEN = 0.002
"""The share of weights that are next to nothing from which on a floor costs less than they do."""

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


def takes_single(problem, kernel, tol):
    """Whether sums can be in single precision, for queries that all have the same width.

    Not if the problem, or keys in its place, have no values, and masses are what is asked for; nor for many classes.
    """
    is_able = tol >= SINGLE_TOL and kernel.form == "gaussian"
    return is_able and isinstance(problem.columns, np.ndarray) and problem.columns.shape[1] > 1


def may_be_single(pairs, tol):
    """Whether most queries may keep `tol` in single precision, by |q|² and the standard deviation of the values."""
    keys = pairs.keys
    if pairs.scale is not None or not keys.has_coordinates or not takes_single(keys, keys.kernel, tol):
        return False
    error = _log_error(pairs, 2 * pairs.norms, 0.0)
    may, most = error <= MOST_ERROR, WORTH * len(pairs)
    if np.count_nonzero(may) > most:  # else keys need not be made
        may &= (error + CHUNK * UNIT) * keys.single_columns.spread / 2 < SHARE * tol
    return np.count_nonzero(may) > most


def collect_single(pairs):
    """`SingleSums` of some pairs."""
    with np.errstate(all="ignore"):
        sums, log_units = _sum_columns(pairs, pairs.keys.single)
        log_error = partial(_key_log_error, pairs)
        return known_sums(pairs.keys.single_columns, sums, log_units, log_error)


def known_sums(columns, sums, log_units, log_error):
    """`SingleSums` of sums (b, n_values + 3) of `SingleColumns`, and of fourth powers of distances.

    `log_units` are the logarithms of the units of weights, and `log_error` is a function from the mean of the fourth
    powers, and from L, to a bound on |e|, all (b,).
    """
    mass = sums[:, -3]
    means, log_mass = sums / mass[:, None], np.log(mass) + log_units
    log_ratio = np.maximum(columns.log_weight - log_mass, 0.0)
    error = _error(columns, means, log_mass, log_error(FARTHEST**2 * means[:, -1], log_ratio))
    error = np.where(mass >= LEAST_MASS, error, np.inf)
    return SingleSums(columns.move_back(sums[:, :-2]), log_mass, error / SHARE)


def _sum_columns(pairs, single):
    """Sums (b, n_values + 3) of the columns of `SingleKeys`, and the logarithms (b,) of the units of weights."""
    augmented, log_units = _augment(pairs, single)
    step = min(len(single.columns), max(1, BLOCK_PAIRS // len(pairs) // CHUNK))
    buffer = np.empty((step * CHUNK, len(pairs)), dtype=np.float32)
    lowest = None
    if _often_underflow(augmented, single):
        lowest = np.full((CHUNK, len(pairs)), LOWEST / single.log_base, dtype=np.float32)
    sums = np.zeros((single.columns.shape[1], len(pairs)))
    for chunks in slices(len(single.columns), step):
        block = slice(chunks.start * CHUNK, chunks.stop * CHUNK)
        weights = np.matmul(single.augmented[:, block].T, augmented, out=buffer[: block.stop - block.start])
        weights_of_chunks = weights.reshape(-1, CHUNK, len(pairs))
        if lowest is not None:
            np.maximum(weights_of_chunks, lowest, out=weights_of_chunks)
        single.exp(weights, out=weights)
        pairs.retain(weights.T, block)
        sums += (single.columns[chunks] @ weights_of_chunks).sum(axis=0, dtype=float)
    return sums.T, log_units


def _augment(pairs, single):
    """Queries as `SingleKeys.augmented` takes them (n_used + 2, b), and the logarithms (b,) of the units of weights."""
    queries = (pairs.centred.T / single.log_base).astype(np.float32)
    half_norms = squared_norms(queries) * single.log_base**2 / 2
    lift = (np.minimum(MOST_LIFT - half_norms, 0.0) / single.log_base).astype(np.float32)
    augmented = np.vstack([queries, np.ones_like(lift), lift])
    return augmented, -half_norms - single.log_base * lift.astype(float)


def _often_underflow(augmented, single):
    """Whether, judged by a sample, weights would often be denormal or zero."""
    n_keys, n_queries = single.augmented.shape[1], augmented.shape[1]
    keys, queries = slice(None, None, 1 + n_keys // 256), slice(None, None, 1 + n_queries // 16)
    return np.mean(single.augmented[:, keys].T @ augmented[:, queries] < LOWEST / single.log_base) > OFTEN


def _error(columns, means, log_mass, log_error):
    """What means err by (b,), as a fraction of the range of the values; inf where terms of second order may matter."""
    squares, means = means[:, -2], np.square(means[:, :-3])
    variance = np.maximum(np.minimum(squares - means.sum(axis=1), 1 - means.min(axis=1)), 0.0)
    variance += 6 * means.shape[1] * (log_error + CHUNK * UNIT)
    rounding = CHUNK * UNIT / 2 * (np.sqrt(np.minimum(squares, 1.0)) + np.sqrt(means.max(axis=1)))
    is_known = (log_error <= MOST_ERROR) & (np.log(columns.dropped) <= log_mass + np.log(MOST_DROPPED))
    return np.where(is_known, log_error * np.sqrt(variance) / 2 + rounding, np.inf)


def _key_log_error(pairs, fourth, log_ratio):
    """The bound (b,) on |e|, from E |x|⁴ and from L."""
    return _log_error(pairs, pairs.norms + np.sqrt(fourth), log_ratio)


def _log_error(pairs, norms, log_ratio):
    """The bound (b,) on |e|, from |g| and from L."""
    t = log_ratio + np.sqrt(2)
    excess = np.maximum(log_ratio - np.minimum(pairs.norms, 2 * MOST_LIFT), 0.0) + np.sqrt(2)
    n_roundings = pairs.raw.shape[1] + 1 + (pairs.norms > 2 * MOST_LIFT)
    return UNIT * (n_roundings * (norms + excess) / 2 + 2 * np.sqrt(norms * t) + 10)
