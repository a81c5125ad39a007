"""The definition, and ways to get the same predictions: each takes a Problem and returns predictions, fit included.

`PEERS` says of each other way what it can do; a package is imported only when its contender is called.
"""

import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial, reduce
from importlib.util import find_spec
from math import inf
from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.neighbors import KernelDensity, KNeighborsRegressor, RadiusNeighborsRegressor

KERNELS = {
    "gaussian": lambda t, m: m.exp(-t / 2),
    "exponential": lambda t, m: m.exp(-m.sqrt(t)),
    "logistic": lambda t, m: 1 / m.cosh(m.sqrt(t) / 2) ** 2,
    "cauchy": lambda t, m: 1 / (1 + t),
    "constant": lambda t, m: 1 + 0 * t,
    "boxcar": lambda t, m: 1 + 0 * t,
    "triangular": lambda t, m: 1 - m.sqrt(t),
    "epanechnikov": lambda t, m: 1 - t,
    "biweight": lambda t, m: (1 - t) ** 2,
    "triweight": lambda t, m: (1 - t) ** 3,
    "tricube": lambda t, m: (1 - t * m.sqrt(t)) ** 3,
    "cosine": lambda t, m: m.cos(m.pi * m.sqrt(t) / 2),
}
"""K as a function of t = (distance / bandwidth)² inside the support; m is numpy or mpmath."""

COMPACT = ("boxcar", "triangular", "epanechnikov", "biweight", "triweight", "tricube", "cosine")
"""Kernels that are zero for t > 1."""

LOGITS = {"gaussian": lambda t: t * -0.5, "exponential": lambda t: -t.sqrt()}
"""t -> log K for the tensors of torch and KeOps."""

DENSITY_KERNELS = {
    "gaussian": "gaussian",
    "exponential": "exponential",
    "epanechnikov": "epanechnikov",
    "boxcar": "tophat",
}
"""scikit-learn's names of kernels."""

FFT_KERNELS = {
    "gaussian": ("gaussian", 1),
    "exponential": ("exponential", 2),
    "epanechnikov": ("epa", 1 / 5),
    "boxcar": ("box", 1 / 3),
}
"""KDEpy's names of kernels, and the variance of each at bandwidth 1: its bandwidths are standard deviations."""

FAST = ("gaussian", "exponential", "epanechnikov", "boxcar", "tricube")
"""Kernels of contenders that take any."""

MOST_NODES = 2**25
"""Up to how many grid points or frequencies a contender may take."""


def kernel_weights(kernel, t):
    """K(t) in float64, zero outside the support."""
    weights = KERNELS[kernel](t, np)
    return weights * (t <= 1) if kernel in COMPACT else weights


def define(problem):
    """The definition in float64, by all distances of some queries at a time; nan where no key has weight.

    Gaussian weights depend on differences of t alone, so each query's least t is taken off: far away all would be zero.
    """
    keys, queries = problem.scaled()
    means, step = np.empty(len(queries)), max(1, 2**20 // len(keys))
    for i in range(0, len(queries), step):
        t = cdist(queries[i : i + step], keys, "sqeuclidean")
        if problem.kernel == "gaussian":
            t -= t.min(axis=1, keepdims=True)
        weights = kernel_weights(problem.kernel, t)
        with np.errstate(invalid="ignore"):
            means[i : i + step] = weights @ problem.targets / weights.sum(axis=1)
    return means


def disagreement(problem, prediction, means):
    """How far a prediction of the first queries is from their means: the largest difference as a fraction of the range
    of the targets, and the share of queries that have a mean but no finite prediction.
    """
    means, prediction = means[: len(prediction)], prediction[: len(means)]
    weighted, answered = np.isfinite(means), np.isfinite(prediction)
    error = np.abs(prediction - means)[weighted & answered].max(initial=0) / np.ptp(problem.targets)
    return error, (weighted & ~answered).sum() / max(weighted.sum(), 1)


def full_matrix(problem):
    """The textbook's one-liner: all distances, all weights."""
    keys, queries = problem.scaled()
    weights = kernel_weights(problem.kernel, cdist(queries, keys, "sqeuclidean"))
    with np.errstate(invalid="ignore"):
        return weights @ problem.targets / weights.sum(axis=1)


def chunked_cdist(problem):
    """The same, 64 queries by 1024 keys at a time."""
    keys, queries = problem.scaled()
    sums = np.zeros((len(queries), 2))
    for i in range(0, len(queries), 64):
        for k in range(0, len(keys), 1024):
            t = cdist(queries[i : i + 64], keys[k : k + 1024], "sqeuclidean")
            weights = kernel_weights(problem.kernel, t)
            sums[i : i + 64, 0] += weights @ problem.targets[k : k + 1024]
            sums[i : i + 64, 1] += weights.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return sums[:, 0] / sums[:, 1]


def softmax(problem):
    """A Gaussian by four lines of numpy, 64 queries at a time, with the largest exponent of a row taken off."""
    keys, queries = problem.scaled()
    norms, pooled = np.square(keys).sum(axis=1) / 2, []
    for start in range(0, len(queries), 64):
        weights = queries[start : start + 64] @ keys.T - norms
        weights -= weights.max(axis=1, keepdims=True)
        np.exp(weights, out=weights)
        pooled.append(weights @ problem.targets / weights.sum(axis=1))
    return np.concatenate(pooled)


def _callable_weights(problem):
    weight = partial(kernel_weights, problem.kernel)

    def weights(distances):
        if distances.dtype != object:
            return weight(distances**2)
        ragged = np.empty(len(distances), dtype=object)
        for i, row in enumerate(distances):
            ragged[i] = weight(row**2)
        return ragged

    return weights


def k_neighbors(problem):
    """scikit-learn's KNeighborsRegressor with all training points and a callable."""
    model = KNeighborsRegressor(len(problem.keys), weights=_callable_weights(problem))
    keys, queries = problem.scaled()
    model.fit(keys, problem.targets)
    with np.errstate(invalid="ignore"):  # empty neighbourhoods
        return model.predict(queries)


def radius_neighbors(problem):
    """scikit-learn's RadiusNeighborsRegressor with a callable; a Gaussian needs a radius that holds it, 9."""
    radius = 9.0 if problem.kernel == "gaussian" else 1.0
    model = RadiusNeighborsRegressor(radius, weights=_callable_weights(problem))
    keys, queries = problem.scaled()
    model.fit(keys, problem.targets)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # empty neighbourhoods
        return model.predict(queries)


def kernel_density(problem):
    """scikit-learn's KernelDensity (rtol=1e-6): the density weighted by the targets, over the density.

    Weights must be positive, so the targets are shifted to [range, 2 range].
    """
    shift = np.ptp(problem.targets) - problem.targets.min()
    shifted = problem.targets + shift
    tree = KernelDensity(kernel=DENSITY_KERNELS[problem.kernel], rtol=1e-6)
    keys, queries = problem.scaled()
    weighted, plain = (tree.fit(keys, sample_weight=w).score_samples(queries) for w in (shifted, None))
    with np.errstate(invalid="ignore", over="ignore"):
        return np.exp(weighted - plain) * shifted.mean() - shift


def statsmodels(problem):
    """statsmodels' KernelReg, local constant, bandwidth given; Gaussian only, its other kernels are products."""
    from statsmodels.nonparametric.kernel_regression import KernelReg

    types = "c" * problem.keys.shape[1]
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", FutureWarning)  # about a random generator that a given bandwidth does not use
        model = KernelReg(problem.targets, problem.keys, types, reg_type="lc", bw=problem.bandwidth)
        return model.fit(problem.queries)[0]


def fft_kde(problem):
    """KDEpy's FFTKDE: two densities as in `kernel_density`, on 64 grid points a bandwidth, interpolated."""
    from KDEpy import FFTKDE

    name, variance = FFT_KERNELS[problem.kernel]
    keys, queries = (rows[:, 0] for rows in problem.scaled())
    low, high = min(keys.min(), queries.min()) - 1, max(keys.max(), queries.max()) + 1
    grid = np.linspace(low, high, _affordable(int(64 * (high - low))))
    shift = np.ptp(problem.targets) - problem.targets.min()
    shifted = problem.targets + shift
    kde = FFTKDE(kernel=name, bw=variance**0.5)
    weighted, plain = (np.interp(queries, grid, kde.fit(keys, w).evaluate(grid)) for w in (shifted, None))
    with np.errstate(invalid="ignore", divide="ignore"):
        return weighted / plain * shifted.mean() - shift


def keops(problem):
    """KeOps on the CPU: `sumsoftmaxweight`. Compiles its formula once, into a cache in the home folder."""
    with redirect_stdout(None):  # it reports that it found no GPU
        import pykeops
        from pykeops.numpy import Vi, Vj
    pykeops.set_verbose(False)

    keys, queries = problem.scaled()
    logits = LOGITS[problem.kernel](Vi(queries).sqdist(Vj(keys)))
    return logits.sumsoftmaxweight(Vj(problem.targets[:, None]), axis=1, backend="CPU")[:, 0]


def torch_softmax(problem):
    """torch: softmax of the logits, as many queries at a time as make 2^20 pairs, float64, one thread."""
    import torch

    torch.set_num_threads(1)
    keys, queries, targets = (torch.from_numpy(rows) for rows in (*problem.scaled(), problem.targets))
    step = max(1, 2**20 // len(keys))
    chunks = (torch.cdist(queries[i : i + step], keys).square() for i in range(0, len(queries), step))
    return torch.cat([torch.softmax(LOGITS[problem.kernel](t), dim=1) @ targets for t in chunks]).numpy()


def torch_attention(problem):
    """torch's scaled_dot_product_attention: queries [q, 1], keys [x, -|x|² / 2], values padded so that it need not
    build the matrix; float64, one thread.
    """
    import torch

    torch.set_num_threads(1)
    centre = problem.keys.mean(axis=0)
    keys, queries = ((rows - centre) / problem.bandwidth for rows in (problem.keys, problem.queries))
    keys = np.column_stack([keys, -np.square(keys).sum(axis=1) / 2])
    queries = np.column_stack([queries, np.ones(len(queries))])
    values = np.zeros_like(keys)
    values[:, 0] = problem.targets
    heads = (torch.from_numpy(rows)[None, None] for rows in (queries, keys, values))
    return torch.nn.functional.scaled_dot_product_attention(*heads, scale=1.0)[0, 0, :, 0].numpy()


def nonuniform_fft(problem, eps=1e-12):
    """finufft: a fast Gauss transform, keys to frequencies, times the kernel's transform, to queries.

    Copies of the data lie r bandwidths apart, and frequencies end at r per bandwidth, where e^(-r² / 2) = eps / 10.
    """
    import finufft

    n, n_features = problem.keys.shape
    rows = np.concatenate(problem.scaled())
    reach = np.sqrt(2 * np.log(10 / eps))
    unit = 2 * np.pi / (np.ptp(rows, axis=0) + reach)
    last = np.ceil(reach / unit).astype(int)
    _affordable(np.prod(2 * last + 1))
    angles = np.ascontiguousarray(((rows - rows.min(axis=0)) * unit - np.pi).T)
    axes = (np.exp(-np.square(np.arange(-k, k + 1) * step) / 2) for k, step in zip(last, unit, strict=True))
    transform = reduce(np.multiply.outer, axes)
    gather, spread = (getattr(finufft, f"nufft{n_features}d{kind}") for kind in (1, 2))
    targets = problem.targets - problem.targets.mean()
    modes = gather(*angles[:, :n], 1 + 1j * targets, transform.shape, eps=eps, isign=-1, nthreads=1)
    sums = spread(*angles[:, n:], modes * transform, eps=eps, isign=1, nthreads=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums.imag / sums.real + problem.targets.mean()


def _affordable(n_nodes):
    if n_nodes > MOST_NODES:
        raise ValueError(f"needs {n_nodes:.0e} nodes")
    return n_nodes


class Contender(NamedTuple):
    """A way to predict and what it can do. Its time grows with the "pairs" of queries and keys, or is about "linear" in
    their sum; `accuracy` is what it reaches on well-behaved data, as a fraction of the range of the targets.
    """

    predict: Callable
    package: str
    cost: str
    accuracy: float
    kernels: tuple
    most_features: float = inf
    most_keys: float = inf

    def can_do(self, problem):
        """Whether it is installed and the problem is within its means."""
        n, n_features = problem.keys.shape
        fits = n_features <= self.most_features and n <= self.most_keys
        return fits and problem.kernel in self.kernels and find_spec(self.package) is not None


PEERS = {
    "full_matrix": Contender(full_matrix, "scipy", "pairs", 1e-12, FAST, most_keys=1e4),
    "chunked_cdist": Contender(chunked_cdist, "scipy", "pairs", 1e-12, FAST),
    "k_neighbors": Contender(k_neighbors, "sklearn", "pairs", 1e-12, FAST, 10, 1e4),
    "radius_neighbors": Contender(
        radius_neighbors, "sklearn", "pairs", 1e-8, ("gaussian", "epanechnikov", "boxcar", "tricube"), 10, 1e5
    ),
    "kernel_density": Contender(kernel_density, "sklearn", "pairs", 1e-5, tuple(DENSITY_KERNELS), 10, 1e5),
    "statsmodels": Contender(statsmodels, "statsmodels", "pairs", 1e-12, ("gaussian",), 10),
    "fft_kde": Contender(fft_kde, "KDEpy", "linear", 1e-2, tuple(FFT_KERNELS), 1),
    "keops": Contender(keops, "pykeops", "pairs", 1e-12, tuple(LOGITS)),
    "torch_softmax": Contender(torch_softmax, "torch", "pairs", 1e-12, tuple(LOGITS)),
    "torch_attention": Contender(torch_attention, "torch", "pairs", 1e-12, ("gaussian",)),
    "nonuniform_fft": Contender(nonuniform_fft, "finufft", "linear", 1e-9, ("gaussian",), 3),
}

LINES = {
    "auto": ("scikit-nw, auto", "#0072B2", "o-"),
    "dense": ("scikit-nw, dense", "#000000", "^-"),
    "nonuniform_fft": ("finufft", "#D55E00", "s:"),
    "fft_kde": ("KDEpy FFTKDE", "#E69F00", "D:"),
    "torch_attention": ("torch attention", "#56B4E9", "v--"),
    "keops": ("KeOps", "#CC79A7", "P--"),
    "statsmodels": ("statsmodels", "#777777", "X--"),
    "kernel_density": ("KernelDensity", "#009E73", "d--"),
}
"""How contenders are drawn: label, colour (Okabe & Ito's, for all kinds of sight), marker and dash; this package's
lines are solid, and those of contenders that are wrong in the tails dotted."""


def predict_own(problem, algorithm="auto"):
    """This package."""
    return problem.predict(problem.fit(algorithm))


def own_contenders(problem):
    """This package's engines that can do a problem, and its own choice of one."""
    costs = {name: "pairs" if name == "dense" else "linear" for name in problem.algorithms()}
    costs["auto"] = costs[problem.fit().algorithm_]
    return {
        name: Contender(partial(predict_own, algorithm=name), "sknw", cost, 1e-10, tuple(KERNELS))
        for name, cost in costs.items()
    }


def contenders(problem):
    """The contenders that can do a problem, this package first."""
    return own_contenders(problem) | {name: peer for name, peer in PEERS.items() if peer.can_do(problem)}
