"""Leave-one-out with multiples of one bandwidth: distances, most of what a sweep costs, are taken once.

2^octave times the bandwidth divides t by 4^octave. Distances come from differences, and where weights would underflow
they are relative to that of the nearest key, so that narrow bandwidths need no more care than others. Only two kinds of
queries are left unresolved: those so far from all other keys that the rounding of t would show in the weights, by 1e-6
at most elsewhere, and those whose nearest keys weigh next to nothing.
"""

from functools import cached_property

import numpy as np

from ..._kernels import EDGE
from ..._threads import run_blocks
from ..summation import Sums
from .stable import LOWEST_EXPONENT, TINY_MASS, is_resolved, raise_exponents, t_slack

SWEEP_PAIRS = 2**17
"""Pairs in a block: a MiB of distances, and another of weights."""

SWEEP_NUMBERS = 2**23
"""Sums of several octaves that are held at once: 64 MiB."""

MOST_POWERS = 4
"""Weights are taken to the fourth power so many times in a row: that multiplies their error by 256."""

LEAST_ROOT = 1e-76
"""The fourth root of numbers near underflow, where arithmetic is slow."""

SOUND_MASS = 1e-3
"""Mass to which the weights of keys at the edge of a support, some 1e-12, are nothing."""


def sweep(keys, octaves, left_out, n_jobs):
    """Yield `Sums` of the queries that are `left_out`, with 2^octave times the bandwidth of `Keys`, for each octave."""
    step = max(1, SWEEP_NUMBERS // (len(left_out) * keys.columns.shape[1]))
    for start in range(0, len(octaves), step):
        yield from _sweep_together(keys, np.array(octaves[start : start + step]), left_out, n_jobs)


def _sweep_together(keys, octaves, left_out, n_jobs):
    """The same, with distances taken once for all octaves."""
    shape = len(octaves), len(left_out)
    columns, (log_mass, nearest_t) = np.empty((*shape, keys.columns.shape[1])), np.empty((2, *shape))
    Sweep = _UnboundedSweep
    if keys.kernel.compact:
        Sweep = _WindowSweep
    elif keys.kernel.form == "gaussian":
        Sweep = _GaussianSweep

    @np.errstate(all="ignore")
    def sum_block(rows):
        sums_of = Sweep(keys, left_out[rows])
        for k in np.argsort(octaves)[::-1]:
            columns[k, rows], log_mass[k, rows], nearest_t[k, rows] = sums_of(4.0 ** -octaves[k])

    run_blocks(sum_block, len(left_out), max(1, SWEEP_PAIRS // len(keys.weights)), n_jobs)
    yield from map(Sums, columns, log_mass, nearest_t)


class _Sweep:
    """All pairs of some rows: t (b, n_keys), and the least of each query (b,) but for own keys."""

    def __init__(self, keys, left_out):
        self.kernel, self.columns, self.edge = keys.kernel, keys.columns, keys.edge
        self.pairs, self.block = keys.pairs(left_out.points, left_out), slice(0, len(keys.weights))
        self.t = self.pairs.hide_self(self.pairs.differences(self.block), self.block)
        self.least, self.scaled = self.t.min(axis=1), np.empty(self.t.shape)
        i, j, self.retained = self.pairs.self_pairs(self.block)
        self.self_pairs = i, j
        self.t[self.self_pairs] = self.least[i]  # hidden keys, as 4^-inf times infinity is nan; others are at 0 already

    def sums(self, weights, rows=slice(None)):
        """Weighted sums of the columns (b, n_columns) for some queries."""
        return self.pairs.retain(weights, self.block, rows) @ self.columns

    def plain_sums(self, scale, rows=slice(None)):
        """The same with K where t is `scale` times as large, but for the rule about the edge of a support."""
        t = np.multiply(self.t[rows], scale, out=self.scaled[: len(self.least[rows])])
        return self.sums(self.kernel.in_place(t), rows)


class _GaussianSweep(_Sweep):
    """Weights relative to that of the nearest key: their exponents scale as t does.

    Asked for octaves from the widest to the narrowest, as K(4 t) = K(t)⁴ is cheaper than exp.
    """

    def __init__(self, keys, left_out):
        super().__init__(keys, left_out)
        self.t -= self.least[:, None]
        self.t *= -0.5
        self.lowest, self.scale, self.n_powers = self.t.min(initial=0), np.nan, 0

    def __call__(self, scale):
        """Sums (b, n_columns), log_mass (b,), nan if unresolved, and the nearest t where no key has weight."""
        weights = self._weights(scale)
        weights[self.self_pairs] = self.retained  # times the weight of the nearest key, 1
        sums = weights @ self.columns
        mass, least = sums[:, -1], scale * self.least
        resolved = (mass >= TINY_MASS) & is_resolved(self.kernel, least)
        return sums, np.where(resolved, np.log(mass) - least / 2, np.nan), 0.0

    def _weights(self, scale):
        """The weights (b, n_keys), in a buffer that is used again."""
        weights, underflow = self.scaled, not scale * self.lowest >= LOWEST_EXPONENT
        if scale == 4 * self.scale and self.n_powers < MOST_POWERS:
            if underflow:
                np.maximum(weights, LEAST_ROOT, out=weights)
            np.square(np.square(weights, out=weights), out=weights)
            self.n_powers += 1
        else:
            exponents = np.multiply(self.t, scale, out=weights)
            if underflow:
                raise_exponents(exponents)
            np.exp(exponents, out=weights)
            self.n_powers = 0
        self.scale = scale
        return weights


class _UnboundedSweep(_Sweep):
    """Weights as they are, and relative to that of the nearest key for queries whose mass nearly underflows."""

    def __call__(self, scale):
        """The same."""
        sums = self.plain_sums(scale)
        log_mass = np.log(sums[:, -1])
        light = np.flatnonzero(~(sums[:, -1] >= TINY_MASS))
        if len(light):
            shift = self.kernel.log(scale * self.least[light])
            exponents = self.kernel.log(scale * self.t[light]) - shift[:, None]
            sums[light] = self.sums(np.exp(raise_exponents(exponents)), light)
            mass = sums[light, -1]
            resolved = (mass >= TINY_MASS) & is_resolved(self.kernel, scale * self.least[light])
            log_mass[light] = np.where(resolved, np.log(mass) + shift, np.nan)
        return sums, log_mass, 0.0


class _WindowSweep(_Sweep):
    """Weights of a kernel of bounded support; where no key has weight, of the nearest keys."""

    @cached_property
    def nearest(self):
        """Sums over the nearest keys, (b, n_columns)."""
        return self.sums((self.t <= self.least[:, None] * (1 + EDGE)).astype(float))

    def __call__(self, scale):
        """The same."""
        sums, log_mass, nearest_t = self.nearest.copy(), np.full(len(self.least), -np.inf), scale * self.least
        near = np.flatnonzero(nearest_t <= self.edge + t_slack(self.edge))
        found = self.plain_sums(scale, near if len(near) < len(sums) else slice(None))
        light = np.flatnonzero(~(found[:, -1] >= SOUND_MASS))
        if len(light):
            found[light] = self.sums(self.kernel(scale * self.t[near[light]]), near[light])
        positive = found[:, -1] > 0
        filled = near[positive]
        sums[filled], log_mass[filled], nearest_t[filled] = found[positive], np.log(found[positive, -1]), 0.0
        return sums, log_mass, nearest_t
