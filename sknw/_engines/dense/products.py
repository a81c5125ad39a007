"""The fast pass of kernels without an edge: weights of all keys, from distances by matrix products.

A plain pass takes weights as they are. Where the mass of a query nearly underflows, as that of every query may in many
features, weights are relative to the largest of the query. That is not known before all keys are, so they are relative
to exp(shift), and where a block of keys has a much larger weight, the shift is raised and what has been collected
decays (Milakov & Gimelshein 2018, "Online normalizer calculation for softmax").

Error. A product of d features errs in t by at most t_error(d) (|q| + |x|)², in bandwidths from the centre, where |x| is
at most |q| + sqrt(t). What matters is what log K errs by for the keys that have weight, which are near the least t of
the query: half of the error of t for the Gaussian, 1 / (2 sqrt(t)) of it for the exponential and the logistic kernel,
whose queries with a small t take it from differences. If no log K errs by more than e, weights err by e of themselves,
and a mean of values by e / 2 of their range. Queries take products where this is less than SHARE tol. Whatever `tol`
is, they do so where |q|² <= SAFE_NORM and the query has some mass, which makes t right to 1e-13.
"""

import numpy as np

from .pairs import SAFE_NORM
from .stable import LOWEST_EXPONENT, TINY_MASS, raise_exponents

EPS = np.finfo(float).eps

SHARE = 0.9
"""Share of `tol` for products; the rest is for rounding elsewhere."""

CLOSE = 1e-3
"""sqrt(t) / (1 + |q|²) from which on sqrt(t) from products is right to 3e-13."""

FARTHEST = np.sqrt(-2 * np.log(TINY_MASS))
"""An upper bound on the least distance of a query of the Gaussian that has some mass."""

ROOM = 50.0
"""How far the logarithm of a relative weight may rise before the shift follows."""

SAMPLE_QUERIES, SAMPLE_KEYS = 16, 256
"""Size of the sample of pairs that decides for a block."""


def has_tail(kernel):
    """Whether K falls exponentially or faster, so that masses underflow, and these sums know it."""
    return kernel.form in ("gaussian", "exponential", "logistic")


def may_be_relative(kernel, tol):
    """Whether queries may take relative weights at all."""
    return tol > 0 and has_tail(kernel)


def takes_products(pairs, tol):
    """Which queries (b,) take distances from products; or given ones as if these were from products, at an edge."""
    kernel = pairs.kernel
    if not pairs.keys.has_coordinates:
        return np.full(len(pairs), kernel.compact)
    if not (kernel.smooth or kernel.form == "exponential"):
        return np.zeros(len(pairs), dtype=bool)
    safe = pairs.norms <= SAFE_NORM
    if safe.all() or not may_be_relative(kernel, tol):
        return safe
    if kernel.form == "gaussian":
        return safe | (_norms(pairs, FARTHEST) <= largest_norm(pairs.raw.shape[1], tol))
    sample = pairs.take(np.flatnonzero(~safe)[:SAMPLE_QUERIES])
    sample.retained = np.zeros(len(sample))  # own keys have their place without distances
    rarely_close = np.mean(_least_of_sample(sample) < 4 * _closest(sample, tol)) < 0.1
    return safe | rarely_close


def collect_by_products(pairs, reduce, tol):
    """What `reduce` makes of all weights of some pairs, and log_mass (b,), nan for queries that need more care."""
    if underflows(pairs, tol):
        return _collect_relative(pairs, reduce, tol)
    result, mass = reduce(_plain_weights(pairs, tol), len(pairs))
    log_mass = np.log(mass)
    unresolved = np.flatnonzero(~(mass >= TINY_MASS))
    log_mass[unresolved] = np.nan
    if len(unresolved) and may_be_relative(pairs.kernel, tol):
        result[unresolved], log_mass[unresolved] = _collect_relative(pairs.take(unresolved), reduce, tol)
    return result, log_mass


def largest_norm(n_features, tol):
    """|q|² up to which products are precise enough for the Gaussian and keys near by."""
    return max(SAFE_NORM, SHARE * tol / t_error(n_features))


def t_error(n_features):
    """The error of t by a product, as a fraction of (|q| + |x|)²: 1.5 times what was seen where no rounding cancels."""
    return EPS * (2 + np.sqrt(n_features) / 4)


def _norms(pairs, distance):
    """An upper bound on (|q| + |x|)² / 4 for keys x at a distance from each query, in bandwidths."""
    query = np.sqrt(pairs.norms)
    return np.square((query + np.minimum(query + distance, np.sqrt(pairs.largest_key_norm))) / 2)


def _closest(pairs, tol):
    """t (b,) below which its square root, from products, errs by too much for keys near by."""
    close = CLOSE if tol == 0 else min(CLOSE, t_error(pairs.raw.shape[1]) / (SHARE * tol))
    return np.square(close * (1 + pairs.norms))


def _sample(pairs):
    """The first queries, some of the keys, and t between them."""
    sample, n_keys = pairs.take(slice(SAMPLE_QUERIES)), len(pairs.keys.weights)
    ((block, t),) = sample.stream_t(True, blocks=[slice(0, n_keys, max(1, n_keys // SAMPLE_KEYS))])
    return sample, block, t


def _least_of_sample(pairs):
    """The least t of the first queries among some of the keys."""
    sample, block, t = _sample(pairs)
    return np.maximum(sample.hide_self(t, block).min(axis=1), 0.0)


def _has_far_pairs(pairs):
    """Whether a weight may underflow, judged by norms alone."""
    farthest = np.max(np.sqrt(pairs.norms) + np.sqrt(pairs.largest_key_norm))
    return pairs.kernel.log(np.square(farthest)) < LOWEST_EXPONENT


def underflows(pairs, tol):
    """Whether the masses of most queries nearly underflow, judged by a sample, and relative weights are possible."""
    if not may_be_relative(pairs.kernel, tol) or not _has_far_pairs(pairs):
        return False
    return np.mean(pairs.kernel.log(_least_of_sample(pairs)) < np.log(TINY_MASS)) > 0.5


def _plain_weights(pairs, tol):
    """Stream (queries, block of keys, weights as they are)."""
    kernel = pairs.kernel
    if kernel.form == "gaussian":
        for block, weights in gaussian_weights(pairs, pairs.blocks):
            yield slice(None), block, weights
        return
    closest = _closest(pairs, tol)
    may_magnify = kernel.form == "exponential" or (kernel.form == "logistic" and pairs.norms.max() > SAFE_NORM)
    for block, t in pairs.stream_t(by_product=True):
        if may_magnify:
            _refine_small(pairs, block, t, closest)
        yield slice(None), block, pairs.retain(kernel.in_place(t), block)


def gaussian_weights(pairs, blocks):
    """Stream (block of keys, weights) of a Gaussian, in a buffer that is used again."""
    often_underflow = _weights_often_underflow(pairs)
    for block, exponents in pairs.stream_t(by_product=True, factor=-0.5, blocks=blocks):
        if often_underflow:
            raise_exponents(exponents)
        yield block, pairs.retain(np.exp(exponents, out=exponents), block)


def _weights_often_underflow(pairs):
    """Whether, judged by norms and a sample, exp would often underflow: that costs more than a floor."""
    return _has_far_pairs(pairs) and np.mean(_sample(pairs)[2] > -2 * LOWEST_EXPONENT) > 0.01


def _refine_small(pairs, block, t, closest):
    """Take queries with a small t from differences: its square root would magnify the rounding of a product."""
    pairs.place_self(t, block)
    close = np.flatnonzero(t.min(axis=1) < closest)
    if len(close):
        t[close] = pairs.differences(block, close)
        pairs.place_self(t, block)


def _collect_relative(pairs, reduce, tol):
    """What `reduce` makes of relative weights, and log_mass (b,), nan for queries whose products are too imprecise."""
    relative = RelativeWeights(pairs, tol)
    result, mass = reduce(relative.stream(), len(pairs))
    return result, np.where(relative.are_precise() & (mass > 0), np.log(mass) + relative.shift, np.nan)


class RelativeWeights:
    """Weights of some pairs in units of exp(shift) (b,), which follows the largest weight of each query."""

    def __init__(self, pairs, tol):
        self.pairs, self.form = pairs, pairs.kernel.form
        self.largest_norm, self.closest = largest_norm(pairs.raw.shape[1], tol), _closest(pairs, tol)
        self.shift = np.full(len(pairs), -1e300)

    def stream(self):
        """Stream (queries, block of keys, weights); with None for keys, multiply what has been collected."""
        for block, decay, weights, _ in self.blocks(self.pairs.blocks):
            if decay is not None:
                yield slice(None), None, decay
            yield slice(None), block, weights

    def blocks(self, blocks, log_slopes=False):
        """Stream (block of keys, decay, weights, d log K / dt if asked for).

        decay (b, 1) is the factor on weights of earlier blocks in the new units; None if these are the old ones.
        """
        pairs, factor = self.pairs, -0.5 if self.form == "gaussian" else 1.0
        for block, t in pairs.stream_t(True, factor, blocks):
            slope = None
            if self.form == "gaussian":
                pairs.place_self(t, block, -np.inf)
            else:
                _refine_small(pairs, block, t, self.closest)
                slope = pairs.kernel.log_slope(t) if log_slopes else None
                np.negative(np.sqrt(t, out=t), out=t)
            decay = self._follow(t.max(axis=1))
            yield block, decay, pairs.retain(self._weigh(t), block), slope

    def _follow(self, largest):
        """Raise the shift where the logarithm of the largest weight is far above it."""
        higher = largest > self.shift + ROOM
        if not higher.any():
            return None
        before, self.shift = self.shift, np.where(higher, largest, self.shift)
        return np.exp(before - self.shift)[:, None]

    def _weigh(self, exponents):
        """Relative weights from -t / 2, or from -sqrt(t), in place."""
        exponents -= self.shift[:, None]
        weights = np.exp(raise_exponents(exponents), out=exponents)
        if self.form == "logistic":
            weights *= 4 / np.square(1 + weights * np.exp(self.shift)[:, None])
        return weights

    def are_precise(self):
        """Which queries (b,) err by no more than they may, judged by their least t or somewhat more."""
        least = -self.shift
        if self.form == "gaussian":
            return _norms(self.pairs, np.sqrt(2 * least)) <= self.largest_norm
        norms = _norms(self.pairs, least)
        return (np.square(least) < self.closest) | (1 + norms <= self.largest_norm * least)
