"""Sums of the Gaussian in single precision, for queries of which these are known to keep `tol`.

Products, exponentials and sums take half the time that they take in double precision. What the results err by is known
for each query afterwards, from the same sums; queries for which it is too much are left to double precision.

Error. Let u = 2^-24, T = t / 2, and let a be the attention of a query, E the mean over it, |f| = sqrt(E f²). If the
logarithms of the weights err by e_i, a mean m of values v errs by E (v - m) e, up to terms of second order: by at most
sd(v) |e|. With g_i = |q|² + |x_i|², in bandwidths from the centre,

    |e| <= u ((d + 3) (|g| + |T|) / 2 + 2 sqrt(|g| |T|) + 8).

The exponent is a product of d + 2 terms: q_f x_f, which are at most g / 2 in total, and -|q|² / 2 and -|x|² / 2. They
make -T, so those of either sign make at most (g + T) / 2, and so does any part of them. The result of each of d + 1
additions, in whatever order, and of the multiplications, is rounded by u of itself at most: d + 2 times (g + T) / 2.
Rounding |x|² adds g / 2. Rounding of q and x moves them by u (|q| + |x|), and T by 2 u sqrt(g T); |q|² and |x|² are
those of the rounded points. The 8 are for the exponential, which numpy has to 3 units in the last place, and for
weights and values.

|g| is at most |q|² + sqrt(E |x|⁴), and E |x|⁴ is one more column of the sums. |T| <= L + sqrt(2), where L is the
logarithm of the ratio of the sum of the weights of all keys to the mass: the attention to keys with T > L + s is at
most exp(-s), so T is stochastically less than L plus an exponential variable. sd(v) comes from the sum over values of
their squares, which is another column, and bounds the standard deviation of each value. It errs by |e| and by
rounding, which is added.

Sums are taken in double precision over CHUNK keys each, which are summed in single precision, in whatever order: a sum
of positive terms errs by CHUNK u of itself. Values are moved to [-1, 1], so that a mean errs by CHUNK u / 2 times
|v| + |m|, as a fraction of their range.

Terms of second order are at most |e|² / 2 and what keys far away add, which have a large e. There |x|² <= 2 |q|² + 4 T
makes e <= MOST_ERROR + 5 u (d + 3) T, a small fraction of T, and exp(e - T) next to nothing. All this is less than a
tenth of the bound, or a hundredth of the least `tol`. So are weights below exp(LOWEST), which are raised to that, in a
mass of at least LEAST_MASS.
"""

from typing import NamedTuple

import numpy as np

from .pairs import slices

SINGLE_TOL = 1e-5
"""The least `tol` for which single precision is of use."""

SHARE = 0.9
"""Share of an error for the terms of first order."""

UNIT = 2.0**-24
"""The largest relative error of a rounded number."""

CHUNK = 64
"""Keys that are summed in single precision."""

BLOCK_PAIRS = 512 * 256
"""Pairs in a block: half a MiB of weights."""

MOST_ERROR = 1e-4
"""The largest |e|, and so the largest error of log_mass."""

LEAST_MASS = 1e-15
"""The least mass, in units of the largest weight."""

MOST_LIFT = 64.0
"""What |q|² / 2 is reduced by at most, so that fewer weights are next to nothing."""

LOWEST = np.float32(-80)
"""The lowest exponent. Numbers below exp(-87) are denormal, and slow in products."""

FARTHEST = 1e6
"""|x|² above this is replaced by it in E |x|⁴, as such keys have no weight for queries in question."""

LEAST_WEIGHT = 1e-30
"""Weights below this, in units of the largest, become zero, lest products are denormal."""


class SingleKeys:
    """Keys with one bandwidth in single precision, filled up to a multiple of CHUNK with keys of no weight.

    Attributes
    ----------
    augmented : (n_used + 2, n) float32 ndarray
        The keys x in bandwidths from their centre, -|x|² / 2, and ones.
    columns : (n / CHUNK, CHUNK, n_values + 3) float32 ndarray
        Times the weights: the values moved to [-1, 1], ones, the sum of the squares of the values, and |x|⁴ in units of
        FARTHEST².
    middle, half_range : (n_values,) float ndarray
        What values are moved by.
    spread : float
        The square root of the sum of the variances of the moved values.
    log_weight : float
        The logarithm of the sum of the weights.
    """

    def __init__(self, keys):
        self.d, n_keys = keys.centred.shape
        n = -(-n_keys // CHUNK) * CHUNK
        self.augmented = np.zeros((self.d + 2, n), dtype=np.float32)
        self.augmented[:-2, :n_keys] = np.clip(keys.centred, -FARTHEST, FARTHEST)
        norms = _squares(self.augmented[:-2])
        self.augmented[-2] = norms / -2
        self.augmented[-1] = 1.0
        weights = np.where(keys.weights > LEAST_WEIGHT, keys.weights, 0.0)
        total = weights.sum()
        self.log_weight = np.log(total)
        values = self._move(keys.columns[:, :-1] / keys.weights[:, None], weights > 0)
        squares = np.square(values).sum(axis=1)
        self.spread = np.sqrt(max(0.0, weights @ squares / total - np.square(weights @ values / total).sum()))
        columns = np.zeros((n, values.shape[1] + 3), dtype=np.float32)
        farness = np.square(np.minimum(norms[:n_keys] / FARTHEST, 1.0))
        columns[:n_keys] = np.column_stack([values, np.ones(n_keys), squares, farness]) * weights[:, None]
        self.columns = columns.reshape(-1, CHUNK, columns.shape[1])

    def _move(self, values, counts):
        """Values (n_keys, n_values) moved to [-1, 1], those of the keys that count."""
        low = values.min(axis=0, where=counts[:, None], initial=np.inf)
        high = values.max(axis=0, where=counts[:, None], initial=-np.inf)
        self.middle, self.half_range = (low + high) / 2, (high - low) / 2
        return (values - self.middle) / np.where(self.half_range > 0, self.half_range, 1.0)


def _squares(points):
    """|x|² (n,) of points (d, n), in double precision."""
    return np.einsum("fi,fi->i", points, points, dtype=float)


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
    """

    columns: np.ndarray
    log_mass: np.ndarray
    error: np.ndarray


def may_be_single(pairs, tol):
    """Which queries (b,) may keep `tol` in single precision, judged by |q|² and the standard deviation of the values.

    None of them if the problem has no values, and its masses are what is asked for; or if there are many classes, or a
    width for each query.
    """
    keys = pairs.keys
    is_able = tol >= SINGLE_TOL and keys.kernel.form == "gaussian" and keys.has_coordinates and pairs.scale is None
    if not (is_able and isinstance(keys.columns, np.ndarray) and keys.columns.shape[1] > 1):
        return np.zeros(len(pairs), dtype=bool)
    error = UNIT * (pairs.raw.shape[1] + 3) * pairs.norms
    return (error < MOST_ERROR) & (error * keys.single.spread / 2 < SHARE * tol)


def collect_single(pairs):
    """`SingleSums` of some pairs."""
    single = pairs.keys.single
    with np.errstate(all="ignore"):
        sums, log_units = _sum_columns(pairs, single)
        mass = sums[:, -3]
        means, log_mass = sums / mass[:, None], np.log(mass) + log_units
        error = np.where(mass >= LEAST_MASS, _error(pairs, single, means, log_mass), np.inf)
        values = (single.middle + single.half_range * means[:, :-3]) * mass[:, None]
        return SingleSums(np.column_stack([values, mass]), log_mass, error / SHARE)


def _sum_columns(pairs, single):
    """Sums (b, n_values + 3) of the columns of `SingleKeys`, and the logarithms (b,) of the units of weights."""
    augmented = np.empty((len(pairs), single.d + 2), dtype=np.float32)
    augmented[:, :-2] = pairs.centred
    augmented[:, -2] = 1.0
    half_norms = _squares(augmented[:, :-2].T) / 2
    augmented[:, -1] = np.minimum(MOST_LIFT - half_norms, 0.0)
    step = min(len(single.columns), max(1, BLOCK_PAIRS // len(pairs) // CHUNK))
    buffer, lowest = np.full((2, len(pairs) * step * CHUNK), LOWEST)
    often_underflow = _often_underflow(augmented, single)
    sums = np.zeros((len(pairs), single.columns.shape[2]))
    for chunks in slices(len(single.columns), step):
        block = slice(chunks.start * CHUNK, chunks.stop * CHUNK)
        flat = buffer[: len(pairs) * (block.stop - block.start)]
        weights = np.matmul(augmented, single.augmented[:, block], out=flat.reshape(len(pairs), -1))
        if often_underflow:
            np.maximum(flat, lowest[: len(flat)], out=flat)
        np.exp(flat, out=flat)
        pairs.retain(weights, block)
        weights = weights.reshape(len(pairs), -1, CHUNK).transpose(1, 0, 2)
        sums += (weights @ single.columns[chunks]).sum(axis=0, dtype=float)
    return sums, -np.minimum(half_norms, MOST_LIFT)


def _often_underflow(augmented, single):
    """Whether, judged by a sample, weights would often be denormal or zero."""
    n_queries, n_keys = len(augmented), single.augmented.shape[1]
    queries, keys = slice(None, None, 1 + n_queries // 16), slice(None, None, 1 + n_keys // 256)
    return np.mean(augmented[queries] @ single.augmented[:, keys] < LOWEST) > 0.01


def _error(pairs, single, means, log_mass):
    """What means err by (b,), as a fraction of the range of the values; inf where terms of second order may matter."""
    t = np.maximum(single.log_weight - log_mass, 0.0) + np.sqrt(2)
    norms = pairs.norms + FARTHEST * np.sqrt(means[:, -1])
    error = UNIT * ((single.d + 3) * (norms + t) / 2 + 2 * np.sqrt(norms * t) + 8)
    squares, means = means[:, -2], np.square(means[:, :-3])
    variance = np.maximum(squares - means.sum(axis=1), 0.0) + 4 * error + 2 * CHUNK * UNIT
    rounding = CHUNK * UNIT / 2 * (np.sqrt(squares) + np.sqrt(means.max(axis=1)))
    return np.where(error <= MOST_ERROR, error * np.sqrt(variance) / 2 + rounding, np.inf)
