"""Leave-one-out with multiples of one bandwidth: distances, most of what a sweep costs, are taken once.

2^octave times the bandwidth divides t by 4^octave. Distances come from differences, and where weights would underflow
they are relative to that of the nearest key, so that narrow bandwidths need no more care than others. Only two kinds of
rows get a pooler of the multiple itself: those so far from all other keys that the rounding of t would show in the
weights, by 1e-6 at most elsewhere, and those whose nearest keys weigh next to nothing.
"""

from functools import cached_property

import numpy as np

from ..._kernels import EDGE
from ..._threads import run_blocks
from .stable import LOWEST_EXPONENT, TINY_MASS, is_sure, raise_exponents, slack

MULTIPLE_PAIRS = 2**17
"""Pairs in a block: a MiB of distances, and another of weights."""

MOST_POWERS = 4
"""Weights are taken to the fourth power so many times in a row: that multiplies their error by 256."""

LEAST_ROOT = 1e-76
"""The fourth root of numbers near underflow, where arithmetic is slow."""

SOUND_MASS = 1e-3
"""Mass to which the weights of keys at the edge of a support, some 1e-12, are nothing."""


def pool_multiples(pooler, octaves, rows, n_jobs):
    """Yield pooled values (m, n_values) and log_mass (m,) for each octave, in leave-one-out, from a dense pooler."""
    engine, shape = pooler.engine, (len(octaves), len(rows))
    pooled = np.empty((*shape, engine.columns.shape[1] - 1))
    log_mass, right = np.empty(shape), np.empty(shape, dtype=bool)
    kind = _Windows if pooler.kernel.compact else _Gaussian if pooler.kernel.gaussian else _Unbounded

    @np.errstate(all="ignore")
    def pool_rows(part):
        block = pooler.block(None, rows[part])
        collect = kind(pooler, block)
        for k in np.argsort(octaves)[::-1]:
            sums, log_mass[k, part], right[k, part] = collect(4.0 ** -octaves[k])
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
        self.pooler, self.kernel, self.block = pooler, pooler.kernel, block
        self.keys = slice(0, len(pooler.engine.keys))
        self.t = pooler.hide_own(block, slice(None), self.keys, pooler.distances.differences(block.raw, self.keys))
        self.least, self.scaled = self.t.min(axis=1), np.empty(self.t.shape)
        i, j, self.kept = block.own_pairs(slice(None), self.keys)
        self.own = i, j
        self.t[self.own] = self.least[i]  # hidden keys, as 4^-inf times infinity is nan; others are at 0 already

    def sums(self, weights, rows=slice(None)):
        """Weighted sums of the columns (b, n_columns) for some rows of the block."""
        return self.pooler.leave_out(self.block, rows, self.keys, weights) @ self.pooler.engine.columns

    def plain_sums(self, scale, rows=slice(None)):
        """The same with K where t is `scale` times as large, but for the rule about the edge of a support."""
        t = np.multiply(self.t[rows], scale, out=self.scaled[: len(self.least[rows])])
        return self.sums(self.kernel.plain(t), rows)


class _Gaussian(_Pairs):
    """Weights relative to that of the nearest key: their exponents scale as t does.

    Asked for octaves from the widest to the narrowest, as K(4 t) = K(t)⁴ is cheaper than exp.
    """

    def __init__(self, pooler, block):
        super().__init__(pooler, block)
        self.t -= self.least[:, None]
        self.t *= -0.5
        self.lowest, self.scale, self.n_powers = self.t.min(initial=0), np.nan, 0

    def __call__(self, scale):
        """Sums (b, n_columns), log_mass (b,), and whether they are right, where t is `scale` times as large."""
        weights = self._weights(scale)
        weights[self.own] = self.kept  # times the weight of the nearest key, 1
        sums = weights @ self.pooler.engine.columns
        mass, least = sums[:, -1], scale * self.least
        return sums, np.log(mass) - least / 2, (mass >= TINY_MASS) & is_sure(self.kernel, least)

    def _weights(self, scale):
        """The weights (b, n), in a buffer that is used again."""
        weights, deep = self.scaled, not scale * self.lowest >= LOWEST_EXPONENT
        if scale == 4 * self.scale and self.n_powers < MOST_POWERS:
            if deep:
                np.maximum(weights, LEAST_ROOT, out=weights)
            np.square(np.square(weights, out=weights), out=weights)
            self.n_powers += 1
        else:
            exponents = np.multiply(self.t, scale, out=weights)
            if deep:
                raise_exponents(exponents)
            np.exp(exponents, out=weights)
            self.n_powers = 0
        self.scale = scale
        return weights


class _Unbounded(_Pairs):
    """Weights as they are, and relative to that of the nearest key for rows whose mass nearly underflows."""

    def __call__(self, scale):
        """The same."""
        sums = self.plain_sums(scale)
        log_mass, right = np.log(sums[:, -1]), np.full(len(sums), True)
        weak = np.flatnonzero(~(sums[:, -1] >= TINY_MASS))
        if len(weak):
            shift = self.kernel.log(scale * self.least[weak])
            exponents = self.kernel.log(scale * self.t[weak]) - shift[:, None]
            sums[weak] = self.sums(np.exp(raise_exponents(exponents)), weak)
            mass = sums[weak, -1]
            log_mass[weak] = np.log(mass) + shift
            right[weak] = (mass >= TINY_MASS) & is_sure(self.kernel, scale * self.least[weak])
        return sums, log_mass, right


class _Windows(_Pairs):
    """Weights of a kernel of bounded support; where no key has weight, of the nearest keys."""

    @cached_property
    def nearest(self):
        """Sums over the nearest keys, (b, n_columns)."""
        return self.sums((self.t <= self.least[:, None] * (1 + EDGE)).astype(float))

    def __call__(self, scale):
        """The same."""
        sums, log_mass = self.nearest.copy(), np.full(len(self.least), -np.inf)
        edge = self.pooler.edge
        near = np.flatnonzero(scale * self.least <= edge + slack(edge))
        found = self.plain_sums(scale, near if len(near) < len(sums) else slice(None))
        weak = np.flatnonzero(~(found[:, -1] >= SOUND_MASS))
        if len(weak):
            found[weak] = self.sums(self.kernel(scale * self.t[near[weak]]), near[weak])
        some = found[:, -1] > 0
        sums[near[some]], log_mass[near[some]] = found[some], np.log(found[some, -1])
        return sums, log_mass, True
