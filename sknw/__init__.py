"""Nadaraya-Watson regression and classification for scikit-learn, as attention pooling."""

from ._estimators import NadarayaWatsonClassifier, NadarayaWatsonRegressor
from ._kernels import Kernel

__version__ = "0.1.0"

__all__ = ["Kernel", "NadarayaWatsonClassifier", "NadarayaWatsonRegressor"]
