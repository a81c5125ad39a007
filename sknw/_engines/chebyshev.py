"""Chebyshev expansions of kernels of one feature on cells: how many terms, the polynomials, and the translations.

Interpolating a kernel K(u) in both arguments on two cells w bandwidths wide, from p Chebyshev nodes each, errs by at
most (1 + the Lebesgue constant of p nodes), which is below 2 + (2 / pi) log(p + 1), times what it errs in one argument:

* the Gaussian, by 2 (w / 4)^p / p! max |K^(p)|, with |K^(p)(u)| <= 1.09 sqrt(p!) exp(-u² / 4) (Cramér's inequality);
* the logistic kernel, analytic and at most M where the imaginary part of u is at most b < pi, by
  4 M rho^(1 - p) / (rho - 1), with the Bernstein ellipse of parameter rho, b = w (rho - 1 / rho) / 4 (Trefethen 2013,
  "Approximation theory and approximation practice", theorem 8.2).

Its coefficient of degree k >= 1 in one argument is 2 (w / 4)^k / k! times a mean of K^(k), by Rodrigues' formula and k
integrations by parts: at most 2.18 (w / 4)^k / sqrt(k!), and at most twice the maximum of K.

On cells r bandwidths apart both err less: by exp(-r² / 4) for the Gaussian. For the logistic kernel K = 1 / cosh², with
u / 2 = x + iy, |cosh|² = cosh² x - sin² y >= cosh² x cos² y, so that M = 1 / cos²(b / 2). The ellipse begins at r - b
or further, where 1 / cosh² x <= 4 exp(b - r): it errs less by 45 exp(-r), where that is below 1. Its square is at most
M² in place of M, and errs less by the square of 45 exp(-r).

Derivatives by log h of the Gaussian take E(u) = -u dK / du = u² K = K'' + K too. |E^(p)| <= 1.09 sqrt(p!)
(1 + sqrt((p + 1) (p + 2))) exp(-u² / 4), so E errs by at most p + 2.5 times the bound for K.
"""

from itertools import count
from math import cos, exp, log, pi, sqrt

import numpy as np
from scipy.special import gammaln

STRIP = 2.4
"""The imaginary part b up to which the logistic kernel is bounded: near the best for cells of any width up to 1."""


def n_gaussian_terms(width, error):
    """The number of terms that brings the interpolation of the Gaussian on cells of a width below `error`."""
    return _first(lambda p: 2.18 * exp(p * log(width / 4) - gammaln(p + 1) / 2), error)


def gaussian_coefficients(width, n_terms):
    """Bounds (n_terms,) on the coefficients of the Gaussian on cells of a width, none above the one before."""
    k = np.arange(n_terms)
    return np.minimum(2.18 * np.exp(k * np.log(width / 4) - gammaln(k + 1) / 2), 2.0)


def n_logistic_terms(width, error, power=1):
    """The number of terms that brings the interpolation of a power of the logistic kernel on cells below `error`."""
    largest, half = 1 / cos(STRIP / 2) ** (2 * power), 2 * STRIP / width
    rho = half + sqrt(half**2 + 1)
    return _first(lambda p: 4 * largest * rho ** (1 - p) / (rho - 1), error)


def gaussian_share(distance):
    """By how much the Gaussian errs less on cells some bandwidths apart."""
    return np.exp(-np.square(distance) / 4)


def logistic_share(distance, power=1):
    """By how much a power of the logistic kernel errs less on cells some bandwidths apart."""
    return np.minimum(45 * np.exp(-distance), 1.0) ** power


def _first(bound, error):
    return next(p for p in count(2) if bound(p) * 2 * (1 + log(p + 1) / pi) <= error)


def polynomials(t, n_terms):
    """The Chebyshev polynomials (n_terms, len(t)) at t in [-1, 1]."""
    values = np.empty((n_terms, len(t)))
    values[0], values[1] = 1, t
    twice = 2 * t
    for k in range(2, n_terms):
        np.multiply(twice, values[k - 1], out=values[k])
        values[k] -= values[k - 2]
    return values


def translations(kernel, n_terms, width, offsets):
    """Matrices from moments to expansions, for cells `offsets` apart, side by side: (n_terms, n_offsets * n_terms)."""
    nodes, to_coefficients = interpolation(n_terms)
    u = width * (offsets[:, None, None] + (nodes[:, None] - nodes) / 2)
    return np.hstack(list(to_coefficients @ kernel(np.square(u)) @ to_coefficients.T))


def interpolation(n_terms):
    """The Chebyshev nodes (n_terms,), and the matrix from values at these to coefficients of the polynomials."""
    odd = 2 * np.arange(n_terms) + 1
    angles = np.arange(n_terms)[:, None] * odd % (4 * n_terms)  # in units of pi / (2 n_terms), exact
    to_coefficients = np.cos(angles * (pi / (2 * n_terms))) * (2 / n_terms)
    to_coefficients[0] /= 2
    return np.cos(odd * (pi / (2 * n_terms))), to_coefficients
