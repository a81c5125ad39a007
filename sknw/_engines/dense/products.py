"""The fast pass of kernels without an edge: weights of all keys, from distances by matrix products.

A plain pass takes weights as they are. Where the mass of a row nearly underflows, as that of every row may in many
features, weights are relative to the largest of the row. That is not known before all keys are, so they are relative to
exp(shift), and where a block of keys has a much larger weight, the shift is raised and what has been collected decays
(Milakov & Gimelshein 2018, "Online normalizer calculation for softmax").

Error. A product of d features errs in t by at most t_error(d) (|q| + |x|)², in bandwidths from the centre, where |x| is
at most |q| + sqrt(t). What matters is what log K errs by for the keys that have weight, which are near the least t of
the row: half of the error of t for the Gaussian, 1 / (2 sqrt(t)) of it for the exponential and the logistic kernel,
whose rows with a small t take it from differences. If no log K errs by more than e, weights err by e of themselves, and
a mean of values by e / 2 of their range. Rows take products where this is less than SHARE tol. Whatever `tol` is, they
do so where |q|² <= SAFE_NORM and the row has some mass, which makes t right to 1e-13.
"""

import numpy as np

from .stable import LOWEST_EXPONENT, TINY_MASS, raise_exponents
from .distances import SAFE_NORM

EPS = np.finfo(float).eps

SHARE = 0.9
"""Of `tol`, for products; the rest is for rounding elsewhere."""

CLOSE = 1e-3
"""sqrt(t) / (1 + |q|²) from which on sqrt(t) from products is right to 3e-13."""

FARTHEST = np.sqrt(-2 * np.log(TINY_MASS))
"""The least distance, at most, of a row of the Gaussian that has some mass."""

ROOM = 50.0
"""How far the logarithm of a relative weight may rise before the shift follows."""

SAMPLE_ROWS, SAMPLE_KEYS = 16, 256
"""Queries and keys that are looked at to judge a block."""


def has_tail(kernel):
    """Whether K falls exponentially or faster, so that masses underflow, and these sums know it."""
    return kernel.gaussian or kernel.exponential or kernel.logistic


def may_be_relative(pooler, tol):
    """Whether rows may take relative weights at all."""
    return tol > 0 and has_tail(pooler.kernel)


def takes_products(pooler, block, tol):
    """Which rows of a block (b,) take their distances from products."""
    kernel = pooler.kernel
    if not (kernel.smooth or kernel.exponential):
        return np.zeros(block.n_rows, dtype=bool)
    safe = block.norms <= SAFE_NORM
    if safe.all() or not may_be_relative(pooler, tol):
        return safe
    if kernel.gaussian:
        return safe | (_norms(pooler, block, FARTHEST) <= largest_norm(pooler, tol))
    few = block.take(np.flatnonzero(~safe)[:SAMPLE_ROWS])
    few = few._replace(kept=np.zeros(few.n_rows))  # own keys have their place without distances
    rarely_close = np.mean(_least_of_sample(pooler, few) < 4 * _closest(pooler, few, tol)) < 0.1
    return safe | rarely_close


def collect_by_products(pooler, block, key_blocks, reduce, tol):
    """What `reduce` makes of all weights of a block, and log_mass (b,), NaN for rows that need more care."""
    if is_weak(pooler, block, tol):
        return _collect_relative(pooler, block, key_blocks, reduce, tol)
    result, mass = reduce(_plain_weights(pooler, block, key_blocks, tol), block.n_rows)
    log_mass = np.log(mass)
    weak = np.flatnonzero(~(mass >= TINY_MASS))
    log_mass[weak] = np.nan
    if len(weak) and may_be_relative(pooler, tol):
        result[weak], log_mass[weak] = _collect_relative(pooler, block.take(weak), key_blocks, reduce, tol)
    return result, log_mass


def t_error(n_features):
    """The error of t by a product, as a fraction of (|q| + |x|)²: 1.5 times what was seen where no rounding cancels."""
    return EPS * (2 + np.sqrt(n_features) / 4)


def largest_norm(pooler, tol):
    """|q|² up to which products are precise enough for the Gaussian and keys near by."""
    return max(SAFE_NORM, SHARE * tol / t_error(len(pooler.distances.features)))


def _norms(pooler, block, distance):
    """(|q| + |x|)² / 4, at most, for keys x at a distance from the queries of a block, in bandwidths."""
    query = np.sqrt(block.norms)
    return np.square((query + np.minimum(query + distance, np.sqrt(pooler.distances.largest_norm))) / 2)


def _closest(pooler, block, tol):
    """t (b,) under which its square root, from products, errs by too much for keys near by."""
    close = CLOSE if tol == 0 else min(CLOSE, t_error(len(pooler.distances.features)) / (SHARE * tol))
    return np.square(close * (1 + block.norms))


def _sample(pooler, block):
    """The first rows of a block, some of the keys, and t between them."""
    few, n = block.take(slice(SAMPLE_ROWS)), len(pooler.engine.weights)
    ((keys, t),) = pooler.distance_blocks(few, [slice(0, n, max(1, n // SAMPLE_KEYS))], by_product=True)
    return few, keys, t


def _least_of_sample(pooler, block):
    """The least t of the first rows of a block among some of the keys."""
    few, keys, t = _sample(pooler, block)
    return np.maximum(pooler.hide_own(few, slice(None), keys, t).min(axis=1), 0.0)


def _may_underflow(pooler, block):
    """Whether a weight may underflow, judged by norms alone."""
    farthest = np.sqrt(block.norms.max()) + np.sqrt(pooler.distances.largest_norm)
    return pooler.kernel.log(np.square(farthest)) < LOWEST_EXPONENT


def is_weak(pooler, block, tol):
    """Whether the masses of most rows nearly underflow, judged by a sample of pairs, and relative weights may do."""
    if not may_be_relative(pooler, tol) or not _may_underflow(pooler, block):
        return False
    return np.mean(pooler.kernel.log(_least_of_sample(pooler, block)) < np.log(TINY_MASS)) > 0.5


def _plain_weights(pooler, block, key_blocks, tol):
    """Stream the weights as they are."""
    if pooler.kernel.gaussian:
        for keys, weights in gaussian_weights(pooler, block, key_blocks):
            yield slice(None), keys, weights
        return
    weight, closest = pooler.kernel.plain, _closest(pooler, block, tol)
    may_magnify = pooler.kernel.exponential or (pooler.kernel.logistic and block.norms.max() > SAFE_NORM)
    for keys, t in pooler.distance_blocks(block, key_blocks, by_product=True):
        if may_magnify:
            _mend(pooler, block, keys, t, closest)
        yield slice(None), keys, pooler.leave_out(block, slice(None), keys, weight(t))


def gaussian_weights(pooler, block, key_blocks):
    """Stream (block of keys, weights) of a Gaussian, in a buffer that is used again."""
    deep = _is_deep(pooler, block)
    for keys, exponents in pooler.distance_blocks(block, key_blocks, by_product=True, factor=-0.5):
        if deep:
            raise_exponents(exponents)
        yield keys, pooler.leave_out(block, slice(None), keys, np.exp(exponents, out=exponents))


def _mend(pooler, block, keys, t, closest):
    """Take rows with a small t from differences: its square root would magnify the rounding of a product."""
    pooler.settle_own(block, keys, t)
    close = np.flatnonzero(t.min(axis=1) < closest)
    if len(close):
        t[close] = pooler.distances.differences(block.raw[close], keys)
        pooler.settle_own(block, keys, t)


def _is_deep(pooler, block):
    """Whether, judged by norms and a sample of pairs, exp would often underflow: that costs more than a floor."""
    if not _may_underflow(pooler, block):
        return False
    _, _, t = _sample(pooler, block)
    return np.mean(t > -2 * LOWEST_EXPONENT) > 0.01


def _collect_relative(pooler, block, key_blocks, reduce, tol):
    """What `reduce` makes of relative weights, and log_mass (b,), NaN for rows whose products are too imprecise."""
    relative = RelativeWeights(pooler, block, tol)
    result, mass = reduce(relative.stream(key_blocks), block.n_rows)
    return result, np.where(relative.are_precise() & (mass > 0), np.log(mass) + relative.shift, np.nan)


class RelativeWeights:
    """Weights of a block of queries in units of exp(shift) (b,), which follows the largest weight of each row."""

    def __init__(self, pooler, block, tol):
        self.pooler, self.kernel, self.block = pooler, pooler.kernel, block
        self.largest_norm, self.closest = largest_norm(pooler, tol), _closest(pooler, block, tol)
        self.shift = np.full(block.n_rows, -1e300)

    def stream(self, key_blocks):
        """Stream (rows, block of keys, weights); with None for keys, what has been collected is to be multiplied."""
        for keys, decay, weights, _ in self.blocks(key_blocks):
            if decay is not None:
                yield slice(None), None, decay
            yield slice(None), keys, weights

    def blocks(self, key_blocks, slopes=False):
        """Stream (block of keys, decay, weights, d log K / dt if wanted).

        decay (b, 1) is by how much weights of earlier blocks are smaller in the new units; None if these are the old.
        """
        factor = -0.5 if self.kernel.gaussian else 1.0
        for keys, t in self.pooler.distance_blocks(self.block, key_blocks, True, factor):
            slope = None
            if self.kernel.gaussian:
                self.pooler.settle_own(self.block, keys, t, -np.inf)
            else:
                _mend(self.pooler, self.block, keys, t, self.closest)
                slope = self.kernel.log_slope(t) if slopes else None
                np.negative(np.sqrt(t, out=t), out=t)
            decay = self._follow(t.max(axis=1))
            weights = self._weigh(t)
            yield keys, decay, self.pooler.leave_out(self.block, slice(None), keys, weights), slope

    def _follow(self, most):
        """Raise the shift where the logarithm of the largest weight is far above it."""
        higher = most > self.shift + ROOM
        if not higher.any():
            return None
        before, self.shift = self.shift, np.where(higher, most, self.shift)
        return np.exp(before - self.shift)[:, None]

    def _weigh(self, exponents):
        """Relative weights from -t / 2, or from -sqrt(t), in place."""
        exponents -= self.shift[:, None]
        weights = np.exp(raise_exponents(exponents), out=exponents)
        if self.kernel.logistic:
            weights *= 4 / np.square(1 + weights * np.exp(self.shift)[:, None])
        return weights

    def are_precise(self):
        """Which rows (b,) err by no more than they may, judged by their least t or somewhat more."""
        least = -self.shift
        if self.kernel.gaussian:
            return _norms(self.pooler, self.block, np.sqrt(2 * least)) <= self.largest_norm
        norms = _norms(self.pooler, self.block, least)
        return (np.square(least) < self.closest) | (1 + norms <= self.largest_norm * least)
