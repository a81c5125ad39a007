"""Nadaraya-Watson regression and classification for scikit-learn, as attention pooling."""

from . import datasets
from ._estimators import NadarayaWatsonClassifier, NadarayaWatsonRegressor
from ._kernels import Kernel
from ._local_classifier import LocalLinearClassifier
from ._local_regressor import LocalLinearRegressor
from ._plots.attention import AttentionDisplay
from ._plots.bandwidth import BandwidthDisplay
from ._plots.curves import CurveDisplay
from ._projection import AttentionProjection

__version__ = "0.1.0"

__all__ = [
    "AttentionDisplay",
    "AttentionProjection",
    "BandwidthDisplay",
    "CurveDisplay",
    "Kernel",
    "LocalLinearClassifier",
    "LocalLinearRegressor",
    "NadarayaWatsonClassifier",
    "NadarayaWatsonRegressor",
    "datasets",
]
