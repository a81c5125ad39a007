"""Pairs of Chebyshev terms along two features: which of them are worth to be kept.

It knows the sizes of terms, and nothing of cells and keys.

Error. Let k be the Gaussian of one feature between a source and a target in two cells, and g as in `translation`. The
coefficients of k in the polynomials of the source are functions of the target, at most c_a g for term a, and so are
those of the target, see `gaussian_coefficients`. Interpolation adds less than a twentieth to them, as the coefficients
c_(2p - a), c_(2p + a) ... alias, and the interpolation of a coefficient errs by less than 1e-6 of c_a. Let D be the sum
of c_a c_b over the pairs left out. Three features are translated one after the other, and pairs are left out

* of the moments, along the second feature and the third. The sum of the expansions changes by at most D, times g of
  each feature;
* of sources along the third and targets along the first, after the first translation. What is left of the second is a
  partial sum of its terms, at most C, the sum of all c_a. That makes C D;
* of targets along the first and the second, after the second translation. The coefficients of these are those of
  partial sums, of terms of the source, of the coefficients of k: at most 4.5 c_b, as partial sums of up to 32 terms are
  at most 4 log(32) / pi² + 3 times as large as what they are of (Trefethen 2013, theorem 15.3). Summed over the third
  feature, that makes 4.5 C D.

In total, with 1.05² for aliases, the sums of expansions change by at most (1.2 + 6.1 C) D.
"""

import numpy as np

from ..chebyshev import gaussian_coefficients


class Pairs:
    """Pairs (first, second) of terms, each (n_pairs,), without those that change sums by up to `error` in total."""

    def __init__(self, width, n_terms, error):
        sizes = gaussian_coefficients(width, n_terms)
        products = np.outer(sizes, sizes)
        ascending = np.sort(products, axis=None)
        n_out = np.searchsorted(np.cumsum(ascending), error / (1.2 + 6.1 * sizes.sum()))
        self.first, self.second = np.nonzero(products >= ascending[n_out])
        self.n_terms = n_terms

    def __len__(self):
        return len(self.first)

    @property
    def turn(self):
        """Where values (n_terms, n_pairs) for terms a and pairs (b, c) have those for b and (c, a), if flattened.

        One further place is for those that are not there, (n_terms, n_pairs).
        """
        place = np.full((self.n_terms, self.n_terms), -1)
        place[self.first, self.second] = np.arange(len(self))
        here = place[:, self.first]
        return np.ascontiguousarray(np.where(here >= 0, self.second * len(self) + here, self.n_terms * len(self)))
