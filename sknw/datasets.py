"""Example data: the sine with a trend that textbooks on attention pooling use."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_random_state


def make_sine_trend(n_samples=50, *, exponent=0.8, noise=0.5, random_state=None):
    """Generate noisy observations of 2 sin(x) + x^exponent.

    x is uniform on [0, 5] and sorted, and the noise is normal. Textbooks use the defaults, or `n_samples=40`,
    `exponent=1` and `noise=1`.

    Parameters
    ----------
    n_samples : int, default=50
        The number of observations.
    exponent : float, default=0.8
        The exponent of the trend, 0 or larger.
    noise : float, default=0.5
        The standard deviation of the noise.
    random_state : int, RandomState or None, default=None
        Seeds the inputs and the noise. Pass an int for reproducible output.

    Returns
    -------
    X : (n_samples, 1) float ndarray
        The inputs, in ascending order.
    y : (n_samples,) float ndarray
        The observations.

    Raises
    ------
    ValueError
        If a parameter is outside its range.

    Examples
    --------
    >>> from sknw import NadarayaWatsonRegressor
    >>> from sknw.datasets import make_sine_trend
    >>> X, y = make_sine_trend(random_state=0)
    >>> X.shape, y.shape
    ((50, 1), (50,))
    >>> average = NadarayaWatsonRegressor(kernel="constant").fit(X, y)
    >>> round(average.score(X, y), 3)
    0.0
    >>> round(NadarayaWatsonRegressor("loo").fit(X, y).score(X, y), 1)
    0.8
    """
    if not isinstance(n_samples, Integral) or n_samples < 1:
        raise ValueError(f"n_samples must be a whole number, 1 or more, got {n_samples!r}")
    for name, value in {"exponent": exponent, "noise": noise}.items():
        if not isinstance(value, Real) or not 0 <= value < np.inf:
            raise ValueError(f"{name} must be a finite number, 0 or more, got {value!r}")
    random_state = check_random_state(random_state)
    x = np.sort(random_state.uniform(0, 5, n_samples))
    y = 2 * np.sin(x) + x**exponent + noise * random_state.normal(size=n_samples)
    return x[:, None], y
