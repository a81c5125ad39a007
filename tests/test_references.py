"""Other implementations: R np on its own data sets, and statsmodels."""

import json
from pathlib import Path

import numpy as np
import pytest

from sknw import NadarayaWatsonRegressor

DATA = Path(__file__).parent / "data"
REFERENCE = json.loads((DATA / "np_local_constant.json").read_text())
STANDARD_ERRORS = json.loads((DATA / "np_standard_errors.json").read_text())

# np's Epanechnikov has unit variance
UNITS = {"gaussian": ("gaussian", 1.0), "epanechnikov": ("epanechnikov", 5**0.5), "uniform": ("boxcar", 1.0)}


@pytest.mark.parametrize("case", REFERENCE["cases"], ids=lambda case: case["id"])
def test_r_np_local_constant(case):
    data = {name: np.array(column) for name, column in REFERENCE["datasets"][case["dataset"]].items()}
    X, y = np.column_stack([data[name] for name in case["x"]]), data[case["y"]]
    kernel, unit = UNITS[case["kernel"]]
    model = NadarayaWatsonRegressor(unit * np.array(case["h"]), kernel=kernel, empty="nan").fit(X, y)
    queries = np.array(case["x_eval"]).reshape(-1, X.shape[1])
    for rows, expected in [(X, case["fitted"]), (queries, case["pred"])]:
        prediction = model.predict(rows)
        same = np.isfinite(prediction)  # np says 0 where no key has weight
        if kernel == "boxcar":  # np's uniform is open at the edge
            same &= (np.abs(np.abs(rows - X.T) - case["h"]) > 1e-9).all(axis=1)
        assert same.mean() > 0.5
        np.testing.assert_allclose(prediction[same], np.array(expected)[same], rtol=0, atol=1e-12 * np.ptp(y))


@pytest.mark.parametrize("case", STANDARD_ERRORS)
def test_r_np_standard_errors(case):
    """They are asymptotic: the variance of y under the attention, times the roughness of the kernel, over the mass."""
    (case,) = (reference for reference in REFERENCE["cases"] if reference["id"] == case)
    data = {name: np.array(column) for name, column in REFERENCE["datasets"][case["dataset"]].items()}
    X, y, (kernel, unit) = np.column_stack([data[name] for name in case["x"]]), data[case["y"]], UNITS[case["kernel"]]
    h, queries = unit * np.array(case["h"]), np.array(case["x_eval"]).reshape(-1, X.shape[1])
    model = NadarayaWatsonRegressor(h, kernel=kernel).fit(X, np.column_stack([y, np.square(y - y.mean())]))
    mean, square = model.predict(queries).T
    density = np.exp(model.score_samples(queries))
    roughness = {"gaussian": (2 * np.sqrt(np.pi)) ** -len(h), "epanechnikov": 3 / 5, "boxcar": 1 / 2}[kernel]
    with np.errstate(divide="ignore", invalid="ignore"):  # where no key has weight
        found = np.sqrt((square - np.square(mean - y.mean())) * roughness / (len(y) * h.prod() * density))
    several = (density > 0) & (model.effective_neighbors(queries) > 1.5)
    if kernel == "boxcar":  # np's uniform is open at the edge
        several &= (np.abs(np.abs(queries - X.T) - h) > 1e-9).all(axis=1)
    assert several.mean() > 0.5
    np.testing.assert_allclose(found[several], np.array(STANDARD_ERRORS[case["id"]])[several], rtol=1e-9)


@pytest.mark.filterwarnings("ignore:After 0.17:FutureWarning")
@pytest.mark.parametrize("d", [1, 2, 3])
def test_statsmodels_local_constant(d):
    kernel_regression = pytest.importorskip("statsmodels.nonparametric.kernel_regression")
    rng = np.random.default_rng(d)
    X, queries = rng.normal(size=(80, d)), rng.normal(size=(20, d))
    y, bandwidth = rng.normal(size=80), rng.uniform(0.5, 1, size=d)
    reference = kernel_regression.KernelReg(y, X, "c" * d, reg_type="lc", bw=bandwidth).fit(queries)[0]
    np.testing.assert_allclose(NadarayaWatsonRegressor(bandwidth).fit(X, y).predict(queries), reference, rtol=1e-10)


@pytest.mark.filterwarnings("ignore:After 0.17:FutureWarning")
def test_statsmodels_local_constant_with_a_category():
    kernel_regression = pytest.importorskip("statsmodels.nonparametric.kernel_regression")
    rng = np.random.default_rng(0)
    X, queries = (np.column_stack([rng.normal(size=n), rng.integers(4, size=n)]) for n in (80, 20))
    y, h, lam = rng.normal(size=80), 0.5, 0.3
    reference = kernel_regression.KernelReg(y, X, "cu", reg_type="lc", bw=[h, lam]).fit(queries)[0]
    of_category = 1 / np.sqrt(-2 * np.log(lam / (3 * (1 - lam))))  # Aitchison and Aitken's kernel for four categories
    model = NadarayaWatsonRegressor([h, of_category], categorical_features=[1]).fit(X, y)
    np.testing.assert_allclose(model.predict(queries), reference, rtol=1e-10)
