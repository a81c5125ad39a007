"""Chebyshev expansions of kernels of one feature on cells: how many terms, the polynomials, and the translations.

Interpolating a kernel K(u) in both arguments on two cells w bandwidths wide, from p Chebyshev nodes each, errs by at
most (1 + the Lebesgue constant of p nodes), which is below 2 + (2 / pi) log(p + 1), times what it errs in one argument:

* the Gaussian, by 2 (w / 4)^p / p! max |K^(p)|, with |K^(p)| <= 1.09 sqrt(p!) exp(-u² / 4) (Cramér's inequality):
  the bound falls as exp(-d² / 4) with the distance d between the cells;
* u² times the Gaussian, which is K'' + K, and the p-th derivative of which is therefore at most
  1.09 (sqrt((p + 2)!) + sqrt(p!)) exp(-u² / 4), by 1 + sqrt((p + 1) (p + 2)) < p + 2.5 times that bound;
* the logistic kernel, analytic and at most M = 2 / (1 + cos(b)) where the imaginary part of u is at most b < pi, by
  4 M rho^(1 - p) / (rho - 1), with the Bernstein ellipse of parameter rho, b = w (rho - 1 / rho) / 4 (Trefethen 2013,
  "Approximation theory and approximation practice", theorem 8.2).
"""

from itertools import count
from math import cos, exp, log, pi

import numpy as np
from scipy.special import gammaln

RHO = 10.0
"""A Bernstein ellipse in which the logistic kernel on cells of width 1 is analytic."""


def n_gaussian_terms(width, error):
    """How many terms bring the interpolation of the Gaussian on cells of a width under `error`."""
    return _first(lambda p: 2.18 * exp(p * log(width / 4) - gammaln(p + 1) / 2), error)


def n_logistic_terms(error):
    """How many terms bring the interpolation of the logistic kernel on cells of width 1 under `error`."""
    largest = 2 / (1 + cos((RHO - 1 / RHO) / 4))
    return _first(lambda p: 4 * largest * RHO ** (1 - p) / (RHO - 1), error)


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
    odd = 2 * np.arange(n_terms) + 1
    angles = np.arange(n_terms)[:, None] * odd % (4 * n_terms)  # in units of pi / (2 n_terms), exact
    to_coefficients = np.cos(angles * (pi / (2 * n_terms))) * (2 / n_terms)
    to_coefficients[0] /= 2
    nodes = np.cos(odd * (pi / (2 * n_terms)))
    u = width * (offsets[:, None, None] + (nodes[:, None] - nodes) / 2)
    return np.hstack(list(to_coefficients @ kernel(np.square(u)) @ to_coefficients.T))
