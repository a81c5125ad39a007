"""Integrals of kernels, and canonical bandwidths, at which two kernels smooth as much as each other."""

from functools import cache, lru_cache

import numpy as np
from scipy.special import gammaln

from ._kernels import KERNELS


@lru_cache(maxsize=256)
def canonical_ratio(kernel, n_features):
    """The bandwidth of `kernel` that smooths as much as the Gaussian kernel with bandwidth 1, in n_features dimensions.

    The ratio of canonical bandwidths δ(K) / δ(gaussian), δ(K)^(d+4) = R(K) / μ₂(K)², of the radial kernel in d
    dimensions (Marron & Nolan 1988, "Canonical kernels for density estimation"). It is 1 for kernels whose
    second moment is infinite.
    """
    if not _falls_faster(kernel, n_features + 2):
        return 1.0
    log_delta, log_gaussian = _log_canonical(kernel, n_features), _log_canonical(KERNELS["gaussian"], n_features)
    return float(np.exp(log_delta - log_gaussian))


@lru_cache(maxsize=256)
def log_integral(kernel, n_features):
    """The logarithm of the integral of the radial kernel over n_features dimensions; inf if it diverges."""
    d = n_features
    if d == 0:
        return 0.0
    if not _falls_faster(kernel, d):
        return np.inf
    log_area = np.log(2) + d / 2 * np.log(np.pi) - gammaln(d / 2)  # of the unit sphere
    return float(log_area + _log_moment(kernel, d - 1, 1, n_panels=8))


def _falls_faster(kernel, power):
    """Whether d log K / d log u is below -power at large u; a quadrature does not detect divergence."""
    if kernel.compact:
        return True
    with np.errstate(all="ignore"):
        outer, inner = kernel.log(1e24 * np.exp(np.array([0.5, -0.5])))
    # "not (>=)" is True for nan, the difference where both are -inf
    return not outer - inner >= -power / 2


def _log_canonical(kernel, n_features):
    """log δ(K), up to a constant that depends only on the dimension."""
    d = n_features
    mass = _log_moment(kernel, d - 1, 1)
    roughness = _log_moment(kernel, d - 1, 2) - 2 * mass
    second = _log_moment(kernel, d + 1, 1) - mass
    return (roughness - 2 * second) / (d + 4)


@cache
def _legendre_rule():
    return np.polynomial.legendre.leggauss(200)


def _log_moment(kernel, power, exponent, n_panels=1):
    """The logarithm of the integral of u^power K(u)^exponent over the distance u, by quadrature in s = log u."""

    def log_integrand(s):
        with np.errstate(all="ignore"):
            return (power + 1) * s + exponent * kernel.log(np.exp(2 * s))

    end = np.log(kernel.support) if kernel.compact else np.log(1e12)
    coarse = np.linspace(end - 100, end, 50_001)
    values = log_integrand(coarse)
    peak = np.nanmax(values)
    contributing = np.flatnonzero(values > peak - 45)
    low, high = coarse[max(contributing[0] - 1, 0)], coarse[min(contributing[-1] + 1, len(coarse) - 1)]
    nodes, weights = _legendre_rule()
    width = (high - low) / n_panels
    s = low + width * np.arange(n_panels)[:, None] + width * (nodes + 1) / 2
    return peak + np.log(np.nansum(weights * np.exp(log_integrand(s) - peak)) * width / 2)
