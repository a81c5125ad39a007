"""How y becomes values: numbers as they are, and labels one-hot."""

import numpy as np
from sklearn.utils.multiclass import check_classification_targets

from ._inputs import check_training
from ._intervals import Intervals, PredictionSets
from ._one_hot import OneHot


class NumericTargets(Intervals):
    """Methods of regressors."""

    def _check_training(self, X, y):
        return check_training(X, y, self, y_numeric=True, multi_output=True)

    def _encode_y(self, y):
        self._y_ndim = y.ndim
        return y.astype(np.float64).reshape(len(y), -1)

    def _in_shape_of_y(self, values):
        """Predictions (n_queries, n_outputs) with as many dimensions as the y of `fit`."""
        return values[:, 0] if self._y_ndim == 1 else values

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class LabelTargets(PredictionSets):
    """Methods of classifiers."""

    def _check_training(self, X, y):
        keys, labels, table = check_training(X, y, self)
        check_classification_targets(labels)
        return keys, labels, table

    def _encode_y(self, y):
        self.classes_, positions = np.unique(y, return_inverse=True)
        return OneHot(positions.reshape(-1), len(self.classes_))

    def _most_probable(self, probabilities):
        """The class of each row of probabilities (n_queries, n_classes); of equally probable classes, the first.

        Raises
        ------
        ValueError
            If there are rows of nan.
        """
        unknown = np.count_nonzero(np.isnan(probabilities[:, 0]))
        if unknown:
            raise ValueError(
                f"{unknown} of {len(probabilities)} queries have no training point within the support of the kernel, "
                'and no class can be predicted with empty="nan"; use predict_proba, increase '
                f'{self._width_parameter}, or set empty="nearest"'
            )
        return self.classes_[probabilities.argmax(axis=1)]
