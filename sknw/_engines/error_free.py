"""Error-free transformations: a sum or a product of two floats as a float and its rounding error.

Dekker (1971), "A floating-point technique for extending the available precision"; Ogita, Rump & Oishi (2005),
"Accurate sum and dot product".
"""

import numpy as np


def two_sum(a, b):
    """a + b as (rounded, error)."""
    total = a + b
    b_part = total - a
    return total, (a - (total - b_part)) + (b - b_part)


def excess(x, low, high):
    """(x - low) - (high - x), to a few units of its own last place unless it is 1e-30 of either."""
    to_low, low_error = two_sum(x, -low)
    to_high, high_error = two_sum(high, -x)
    return (to_low - to_high) + (low_error - high_error)


def _split(a):
    """a as a sum of two floats of half the digits."""
    scaled = 134217729.0 * a  # 2**27 + 1
    high = scaled - (scaled - a)
    return high, a - high


def two_product(a, b):
    """a * b as (rounded, error); the error of a product near overflow is taken as 0."""
    product = a * b
    a_high, a_low = _split(a)
    b_high, b_low = _split(b)
    error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    return product, np.where(np.isfinite(error), error, 0.0)


def inverse_square(a):
    """1 / a² as (rounded, error)."""
    square, square_error = two_product(a, a)
    inverse = 1 / square
    product, product_error = two_product(inverse, square)
    return inverse, inverse * ((1 - product) - product_error - inverse * square_error)
