"""Other implementations: R np on its own data sets, and statsmodels."""

import json
from pathlib import Path

import numpy as np
import pytest

from sknw import NadarayaWatsonRegressor

REFERENCE = json.loads((Path(__file__).parent / "data" / "np_local_constant.json").read_text())

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


@pytest.mark.filterwarnings("ignore:After 0.17:FutureWarning")
@pytest.mark.parametrize("d", [1, 2, 3])
def test_statsmodels_local_constant(d):
    kernel_regression = pytest.importorskip("statsmodels.nonparametric.kernel_regression")
    rng = np.random.default_rng(d)
    X, queries = rng.normal(size=(80, d)), rng.normal(size=(20, d))
    y, bandwidth = rng.normal(size=80), rng.uniform(0.5, 1, size=d)
    reference = kernel_regression.KernelReg(y, X, "c" * d, reg_type="lc", bw=bandwidth).fit(queries)[0]
    np.testing.assert_allclose(NadarayaWatsonRegressor(bandwidth).fit(X, y).predict(queries), reference, rtol=1e-10)
