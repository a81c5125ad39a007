import os

import numpy as np
import pytest
from engines import SMALL_BLOCKS, constants
from hypothesis import HealthCheck, settings
from sklearn.datasets import load_iris

from sknw import NadarayaWatsonClassifier, NadarayaWatsonRegressor
from sknw._learning import search
from sknw.datasets import make_sine_trend

os.environ.setdefault("MPLBACKEND", "Agg")

settings.register_profile(
    "suite",
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,  # what fails there, then fails because of the change
)
settings.load_profile("suite")


@pytest.fixture
def plt():
    """matplotlib.pyplot, without the figures that doctests leave open; its own are closed after the test."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.close("all")
    yield pyplot
    pyplot.close("all")


@pytest.fixture(scope="module")
def small_blocks():
    """Every engine works in tiny blocks, until the end of the module."""
    with constants(*SMALL_BLOCKS):
        yield


@pytest.fixture(scope="module")
def small_problems():
    """The engines for many keys serve few keys too, until the end of the module."""
    with constants("cells for few keys", "blocks for few keys"):
        yield


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def sine():
    """A learned regressor of one feature, with its rows out of order."""
    X, y = make_sine_trend(40, random_state=0)
    order = np.random.default_rng(1).permutation(40)
    return NadarayaWatsonRegressor("loo").fit(X[order], y[order])


@pytest.fixture(scope="module")
def iris():
    frame = load_iris(as_frame=True)
    return NadarayaWatsonClassifier("loo").fit(frame.data, frame.target_names[frame.target])


@pytest.fixture
def plane(rng):
    """A regressor of three features, two outputs, an ignored feature and sample weights."""
    X = rng.normal(size=(30, 3)) * [1, 5, 100]
    weights = rng.integers(0, 3, size=30)
    return NadarayaWatsonRegressor([1, 1, np.inf]).fit(X, rng.normal(size=(30, 2)), weights)


@pytest.fixture
def enough_rows(monkeypatch):
    """However few rows there are, the search ends at the minimum on all of them."""
    monkeypatch.setattr(search, "ENOUGH_ROWS", 0)
    monkeypatch.setattr(search, "OVERFITTING", 0)
