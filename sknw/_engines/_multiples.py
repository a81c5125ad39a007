"""Leave-one-out with multiples of one bandwidth: distances, most of what a sweep costs, are taken once.

2^octave times the bandwidth divides t by 4^octave. Distances come from differences, and weights of unbounded kernels
are relative to that of the nearest key, so that narrow bandwidths need no more care than others. Only two kinds of rows
get a pooler of the multiple itself: those so far from all other keys that the rounding of t would show in the weights,
by 1e-6 at most elsewhere, and those whose nearest keys weigh next to nothing.
"""

import numpy as np

from .._kernels import EDGE
from .._threads import run_blocks
from ._careful import LOWEST_EXPONENT, TINY_MASS, is_sure

MULTIPLE_PAIRS = 2**17
"""Pairs in a block: a MiB of distances, and another of weights."""


def pool_multiples(pooler, octaves, rows, n_jobs):
    """Yield pooled values (m, n_values) and log_mass (m,) for each octave, in leave-one-out, from a dense pooler."""
    engine, shape = pooler.engine, (len(octaves), len(rows))
    pooled = np.empty((*shape, engine.columns.shape[1] - 1))
    log_mass, right = np.empty(shape), np.empty(shape, dtype=bool)

    @np.errstate(all="ignore")
    def pool_rows(part):
        block = pooler.block(None, rows[part])
        collect = (_Windows if pooler.kernel.compact else _Softmax)(pooler, block)
        for k, octave in enumerate(octaves):
            sums, log_mass[k, part], right[k, part] = collect(4.0**-octave)
            pooled[k, part] = engine.mean(sums)

    run_blocks(pool_rows, len(rows), max(1, MULTIPLE_PAIRS // len(engine.keys)), n_jobs)
    log_mass += np.log(engine.largest_weight)
    for k in range(len(octaves)):
        wrong = np.flatnonzero(~right[k])
        if len(wrong):
            multiple = engine.prepare(pooler.kernel, 2.0 ** octaves[k] * pooler.distances.bandwidth)
            pooled[k, wrong], log_mass[k, wrong] = multiple.pool(None, rows[wrong], n_jobs)
        yield pooled[k], log_mass[k]


class _Pairs:
    """All pairs of a block: t (b, n), and the least of each row (b,) but for own keys."""

    def __init__(self, pooler, block):
        self.pooler, self.block, self.keys = pooler, block, slice(0, len(pooler.engine.keys))
        self.t = pooler.hide_own(block, slice(None), self.keys, pooler.distances.differences(block.raw, self.keys))
        self.least, self.scaled = self.t.min(axis=1), np.empty(self.t.shape)
        np.copyto(self.t, self.least[:, None], where=np.isinf(self.t))  # hidden keys: nan at 4^-inf otherwise

    def sums(self, weights, rows=slice(None)):
        """Weighted sums of the columns (b, n_columns) for some rows of the block."""
        return self.pooler.leave_out(self.block, rows, self.keys, weights) @ self.pooler.engine.columns


class _Softmax(_Pairs):
    """Weights of a kernel of unbounded support, relative to that of the nearest key."""

    def __init__(self, pooler, block):
        super().__init__(pooler, block)
        if pooler.kernel.gaussian:  # log K(t) - log K(least), which scales as t does
            self.t -= self.least[:, None]
            self.t *= -0.5
            self.lowest = self.t.min(initial=0)
        else:
            self.farthest = self.t.max(initial=0)

    def _exponents(self, scale, shift):
        """log K relative to the nearest key (b, n), no less than LOWEST_EXPONENT, where t is `scale` times as large."""
        kernel, exponents = self.pooler.kernel, np.multiply(self.t, scale, out=self.scaled)
        if kernel.gaussian:
            lowest = scale * self.lowest
        else:
            lowest = kernel.log(scale * self.farthest)
            exponents = kernel.log(exponents) - shift[:, None]
        if lowest >= LOWEST_EXPONENT:
            return exponents
        return np.maximum(exponents, np.full(exponents.shape[1], LOWEST_EXPONENT), out=exponents)

    def __call__(self, scale):
        """Sums (b, n_columns), log_mass (b,), and whether they are right, where t is `scale` times as large."""
        kernel, least = self.pooler.kernel, scale * self.least
        shift = kernel.log(least)
        exponents = self._exponents(scale, shift)
        sums = self.sums(np.exp(exponents, out=exponents))
        mass = sums[:, -1]
        return sums, np.log(mass) + shift, (mass >= TINY_MASS) & is_sure(kernel, least)


class _Windows(_Pairs):
    """Weights of a kernel of bounded support."""

    def __call__(self, scale):
        """The same; where no key has weight, sums of the nearest keys and -inf."""
        sums = self.sums(self.pooler.kernel(np.multiply(self.t, scale, out=self.scaled)))
        log_mass = np.log(sums[:, -1])
        empty = np.flatnonzero(np.isneginf(log_mass))
        if len(empty):
            ties = self.t[empty] <= self.least[empty, None] * (1 + EDGE)
            sums[empty] = self.sums(ties.astype(float), empty)
        return sums, log_mass, True
