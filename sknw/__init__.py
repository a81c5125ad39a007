"""Nadaraya-Watson regression and classification for scikit-learn, as attention pooling."""

from . import datasets
from ._estimators import NadarayaWatsonClassifier, NadarayaWatsonRegressor
from ._kernels import Kernel
from ._local_estimators import LocalLinearClassifier, LocalLinearRegressor
from ._plots.attention import AttentionDisplay
from ._plots.bandwidth import BandwidthDisplay
from ._plots.curves import CurveDisplay

__version__ = "0.1.0"

__all__ = [
    "AttentionDisplay",
    "BandwidthDisplay",
    "CurveDisplay",
    "Kernel",
    "LocalLinearClassifier",
    "LocalLinearRegressor",
    "NadarayaWatsonClassifier",
    "NadarayaWatsonRegressor",
    "datasets",
]
