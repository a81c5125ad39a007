"""Kernels: log K as a function of t = (distance / bandwidth)², with the properties that engines rely on.

Every kernel has K(0) = 1 and does not increase with the distance. Normalising constants cancel in attention weights.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import comb, inf, pi

import numpy as np

EDGE = 1e-12
"""Relative width, in t, of the edge of a support: a kernel that jumps includes it, a continuous one is zero on it."""

FORMS = ("", "gaussian", "exponential", "logistic", "cosine", "squared logistic", "squared cosine")
"""The closed forms that fast algorithms use."""


@dataclass(frozen=True)
class Kernel:
    """A radial kernel K, defined by its logarithm as a function of t = (distance / bandwidth)².

    Only `log` is required. The other fields describe K, and allow faster computation with the same accuracy.

    Parameters
    ----------
    log : callable
        Function t -> log K(t), for an ndarray t >= 0 of any shape. It must not increase with t; -inf means that K is
        zero.
    weight : callable, default=None
        Function t -> K(t), if there is a faster one than exp(log K). It must return zero outside the support, and may
        overwrite t.
    log_slope : callable, default=None
        Function t -> d log K / dt, for t > 0 inside the support. If None, bandwidths are learned without a gradient.
    support : float, default=inf
        K is zero where distance > support * bandwidth.
    coefficients : tuple of float, default=()
        Coefficients of K as a polynomial in distance / bandwidth inside the support, beginning with the constant term;
        empty if K is not a polynomial.
    convex : bool, default=False
        Whether K is convex in t.
    smooth : bool, default=False
        Whether dK/dt is bounded inside the support, so that K is insensitive to rounding errors of t near 0.
    form : {"", "gaussian", "exponential", "logistic", "cosine", "squared logistic", "squared cosine"}, default=""
        The closed form of K, if it is one of these: exp(-t / 2), exp(-sqrt(t)), 1 / cosh²(sqrt(t) / 2), or
        cos(pi sqrt(t) / 2) inside a support of 1. Fast algorithms use it in place of `log`.

    Raises
    ------
    TypeError
        If `log` is not callable.
    ValueError
        If `support` is not positive, or `form` is not one of those above.

    Examples
    --------
    >>> import numpy as np
    >>> from sknw import Kernel, NadarayaWatsonRegressor
    >>> student = Kernel(lambda t: -2 * np.log1p(t))
    >>> NadarayaWatsonRegressor(1.0, kernel=student).fit([[0], [2]], [0, 1]).predict([[0]]).round(4)
    array([0.0385])
    """

    log: Callable
    weight: Callable | None = None
    log_slope: Callable | None = None
    support: float = inf
    coefficients: tuple = ()
    convex: bool = False
    smooth: bool = False
    form: str = ""

    def __post_init__(self):
        if not callable(self.log):
            raise TypeError(f"log must be a function of t = (distance / bandwidth)², got {self.log!r}")
        if not self.support > 0:
            raise ValueError(f"support must be positive, got {self.support!r}; use inf for an unbounded support")
        if self.form not in FORMS:
            raise ValueError(f"form must be one of {FORMS}, got {self.form!r}")

    def __call__(self, t):
        """K(t) as a new array, which is zero outside the support.

        An edge where K jumps belongs to the support, so that the weights of points on a lattice do not depend on the
        rounding of their distances. Where K is continuous, it is zero on the edge.
        """
        t = np.asarray(t, dtype=np.float64)
        with np.errstate(all="ignore"):
            weights = np.exp(self.log(t)) if self.weight is None else self.weight(t.copy())
        return np.where(self.inside(t), weights, 0.0) if self.compact else weights

    @property
    def in_place(self):
        """A fast function t -> K(t), which may overwrite t and need not apply the rule for the edge."""
        return self.weight or self

    def inside(self, t):
        """Whether t is inside the support, by the rule for its edge."""
        edge = self.support**2
        return t <= edge * (1 + EDGE) if self.jumps else t < edge * (1 - EDGE)

    @cached_property
    def compact(self):
        """Whether the support is bounded."""
        return self.support < inf

    @cached_property
    def is_even(self):
        """Whether K is a smooth function of t around 0, so that a t that is negative by rounding is harmless."""
        return self.form == "gaussian" or (bool(self.coefficients) and not any(self.coefficients[1::2]))

    @cached_property
    def flat(self):
        """Whether K is the same at every distance."""
        with np.errstate(all="ignore"):
            at_zero, far_away = self.log(np.array([0.0, np.finfo(float).max]))
        return not self.compact and bool(at_zero == far_away)

    @cached_property
    def jumps(self):
        """Whether K drops to zero from a positive value at the edge of its support."""
        if not self.compact:
            return False
        with np.errstate(all="ignore"):
            return bool(np.exp(self.log(np.array([self.support**2])))[0] > EDGE)


def _positive_part(s):
    # numpy's maximum is faster with a row of zeros than with a scalar
    return np.maximum(s, np.zeros(s.shape[-1:]), out=s)


def _log_inside(s):
    """log s where s > 0, else -inf."""
    return np.log(np.maximum(s, 0.0))


def _gaussian_log(t):
    return -0.5 * t


def _gaussian(t):
    return np.exp(np.multiply(t, -0.5, out=t), out=t)


def _gaussian_slope(t):
    return np.full_like(t, -0.5)


def _exponential_log(t):
    return -np.sqrt(t)


def _exponential(t):
    return np.exp(np.negative(np.sqrt(t, out=t), out=t), out=t)


def _exponential_slope(t):
    return -0.5 / np.sqrt(t)


def _logistic_log(t):
    u = np.sqrt(t)
    return np.log(4.0) - u - 2 * np.log1p(np.exp(-u))


def _logistic(t):
    e = _exponential(t)
    s = e + 1
    e *= 4
    e /= s
    e /= s
    return e


def _logistic_slope(t):
    u = np.sqrt(t)
    return -0.5 * np.tanh(u / 2) / u


def _cauchy_log(t):
    return -np.log1p(t)


def _cauchy(t):
    t += 1
    return np.divide(1.0, t, out=t)


def _cauchy_slope(t):
    return -1 / (1 + t)


def _constant_log(t):
    return np.zeros_like(t)


def _constant(t):
    t[...] = 1
    return t


def _constant_slope(t):
    return np.zeros_like(t)


def _boxcar_log(t):
    return np.where(t <= 1 + EDGE, 0.0, -inf)


def _boxcar(t):
    np.copyto(t, t <= 1 + EDGE)
    return t


@dataclass(frozen=True)
class _Power:
    """A function of the family (1 - u^p)^q, a class so that equal functions compare equal after pickling."""

    function: Callable
    p: int
    q: int

    def __call__(self, t):
        return self.function(t, self.p, self.q)


def _power(t, p):
    """u^p for u = sqrt(t); t itself for p = 2."""
    if p == 1:
        return np.sqrt(t)
    s = t
    for _ in range(p // 2 - 1):
        s = s * t
    return s * np.sqrt(t) if p % 2 else s


def _power_log(t, p, q):
    return q * _log_inside(1 - _power(t, p))


def _power_weight(t, p, q):
    s = _positive_part(np.subtract(1.0, _power(t, p), out=t))
    base = s.copy() if q > 2 else s
    for _ in range(q - 1):
        s *= base
    return s


def _power_slope(t, p, q):
    if p == 1:
        u = np.sqrt(t)
        return -q / 2 / (u * (1 - u))
    if p == 2:
        return -q / (1 - t)
    lower = _power(t, p - 2)
    return -q * p / 2 * lower / (1 - lower * t)


def _power_kernel(p, q):
    """The kernel (1 - u^p)^q inside a support of 1, for whole numbers p and q."""
    coefficients = np.zeros(p * q + 1)
    coefficients[::p] = [comb(q, j) * (-1) ** j for j in range(q + 1)]
    log, weight, slope = (_Power(function, p, q) for function in (_power_log, _power_weight, _power_slope))
    return Kernel(log, weight, slope, 1.0, tuple(coefficients), convex=p <= 2, smooth=p >= 2)


def _cosine_log(t):
    return np.log(_cosine(t.copy()))


def _cosine(t):
    u = np.sqrt(np.minimum(t, 1.0, out=t), out=t)
    # cos(pi u / 2) as a sine, which is exactly zero at the edge
    return np.sin(np.multiply(np.subtract(1.0, u, out=u), pi / 2, out=u), out=u)


def _cosine_slope(t):
    u = np.sqrt(t)
    return -pi / 4 * np.tan(pi / 2 * u) / u


def squared(kernel):
    """K², as a kernel and the factor of its bandwidth; of the same closed form where it has one.

    Examples
    --------
    >>> kernel, factor = squared(KERNELS["exponential"])
    >>> kernel is KERNELS["exponential"], factor
    (True, 0.5)
    """
    if kernel.form in ("gaussian", "exponential"):
        return kernel, 0.5 if kernel.form == "exponential" else 0.5**0.5
    if kernel.flat or kernel.coefficients == (1.0,):
        return kernel, 1.0
    if isinstance(kernel.log, _Power):
        return _power_kernel(kernel.log.p, 2 * kernel.log.q), 1.0
    coefficients = tuple(np.convolve(kernel.coefficients, kernel.coefficients)) if kernel.coefficients else ()
    facts = {"support": kernel.support, "convex": kernel.convex, "smooth": kernel.smooth, "coefficients": coefficients}
    if kernel.form in ("logistic", "cosine"):
        facts["form"] = f"squared {kernel.form}"
    return Kernel(lambda t: 2 * kernel.log(t), lambda t: np.square(kernel.in_place(t)), **facts), 1.0


KERNELS = {
    "gaussian": Kernel(_gaussian_log, _gaussian, _gaussian_slope, convex=True, smooth=True, form="gaussian"),
    "exponential": Kernel(_exponential_log, _exponential, _exponential_slope, convex=True, form="exponential"),
    "logistic": Kernel(_logistic_log, _logistic, _logistic_slope, convex=True, smooth=True, form="logistic"),
    "cauchy": Kernel(_cauchy_log, _cauchy, _cauchy_slope, convex=True, smooth=True),
    "constant": Kernel(_constant_log, _constant, _constant_slope, convex=True, smooth=True),
    "boxcar": Kernel(_boxcar_log, _boxcar, None, 1.0, (1.0,), smooth=True),
    "triangular": _power_kernel(1, 1),
    "epanechnikov": _power_kernel(2, 1),
    "biweight": _power_kernel(2, 2),
    "triweight": _power_kernel(2, 3),
    "tricube": _power_kernel(3, 3),
    "cosine": Kernel(_cosine_log, _cosine, _cosine_slope, 1.0, convex=True, smooth=True, form="cosine"),
}
"""The kernels by name."""

DIFFERENTIABLE = [name for name, kernel in KERNELS.items() if kernel.log_slope is not None]
"""The names of kernels that have a derivative."""

OTHER_NAMES = {
    "rbf": "gaussian",
    "normal": "gaussian",
    "laplacian": "exponential",
    "tophat": "boxcar",
    "uniform": "boxcar",
    "rectangular": "boxcar",
    "linear": "triangular",
    "quartic": "biweight",
}
"""Names of kernels in other packages."""


def name_hint(kernel):
    """A sentence for error messages that says what to use in place of an invalid `kernel`, or an empty string."""
    if isinstance(kernel, str) and kernel in OTHER_NAMES:
        return f' Use "{OTHER_NAMES[kernel]}", which is the name of the kernel "{kernel}" in this package.'
    if callable(kernel) and not isinstance(kernel, Kernel):
        return " To use a function t -> log K(t) of t = (distance / bandwidth)², pass Kernel(function)."
    return ""
