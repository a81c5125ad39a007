"""The two estimators: what the values are, and what the pool means."""

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets

from ._base import NadarayaWatson
from ._inputs import check_training
from ._one_hot import OneHot


class NadarayaWatsonRegressor(RegressorMixin, NadarayaWatson):
    """Nadaraya-Watson regression: attention pooling of training targets.

    The prediction for a query is the mean of the training targets, weighted by a kernel of the distance between
    the query and each training point: a_i(q) proportional to w_i K(sum_f ((q - x_i)_f / h_f)²), with weights
    that sum to one at every query, however far away.

    Parameters
    ----------
    bandwidth : float, array-like (n_features,) or {"silverman", "scott", "loo", "loo_ard"}, default="silverman"
        The width h of the kernel, in the units of X: one number for every feature, or one number for each; inf
        ignores a feature. "silverman" and "scott" are rules of thumb that follow the scale of each feature and
        the shape of the kernel. "loo" learns one factor common to Silverman's bandwidths, "loo_ard" a bandwidth for
        each feature where that is better, by the least squared error of leave-one-out predictions: see Notes. Above
        about 8 features, learn it.
    kernel : str or Kernel, default="gaussian"
        "gaussian", "exponential", "logistic", "cauchy", "constant" (average pooling), or one of bounded support:
        "boxcar", "triangular", "epanechnikov", "biweight", "triweight", "tricube", "cosine". Textbooks on
        attention pooling print max(0, 1 - u) under the name "Epanechnikov"; here it is "triangular".
    empty : {"nearest", "mean", "nan", "raise"}, default="nearest"
        What a query gets when no training point has weight, which kernels of bounded support let happen: the
        mean of its nearest training points, the mean of all, nan, or a ValueError.
    algorithm : {"auto", "sorted", "grid", "blocks", "dense"}, default="auto"
        How the sums are done. "dense" takes every pair of query and training point. "sorted", for one feature,
        sorts both instead; "grid", for the gaussian kernel of two features, expands the sums on cells; "blocks", for
        every kernel above, puts both into blocks of neighbours and leaves out pairs of blocks too far apart to
        matter. "auto" takes the first of these that is expected to be faster than "dense" for as many queries as
        training points; "dense" for up to 800 training points and where `tol` is 0. `algorithm_` tells which. "blocks"
        with up to 50,000 training points does as "dense" for less than 4,000 queries, or if most pairs matter.
    tol : float, default=1e-10
        The largest error of a prediction, as a fraction of the range of y. "dense" uses it only where training points
        or queries are many bandwidths from the centre of the training points, as in many features; with 0 all is exact
        up to rounding, and takes several times as long there.
    n_jobs : int, default=None
        Threads over blocks of queries, as joblib understands it. Results do not depend on it.
    random_state : int, RandomState or None, default=0
        How rows are drawn for learning: into halves for "loo_ard", and where there are too many for all of them. The
        default draws the same rows each time.

    Attributes
    ----------
    bandwidth_ : (n_features,) float ndarray
        The bandwidth of each feature.
    attention_weights_ : AttentionView (n, n)
        The attention that each training point, as a query, pays to all training points. An array-like view that
        computes rows when they are asked for; `attention_weights_ @ values_` are the predictions for the
        training points, and `np.asarray` makes an ndarray of it.
    keys_ : (n, n_features) float ndarray
        The training inputs.
    values_ : (n, n_outputs) float ndarray
        The training targets.
    algorithm_ : str
        The algorithm in use.
    feature_importances_ : (n_features,) float ndarray
        The scale of each feature over its bandwidth, in fractions of their sum; 0 where the bandwidth is infinite. What
        attention pays to a feature, for `SelectFromModel` and `RFE`; it says nothing about causes.
    loo_loss_ : float
        Of a learned bandwidth: the mean squared error to expect, summed over outputs. That of leave-one-out over
        `loo_rows_`; for a bandwidth each, with less than 100 rows for each feature, that of rows which the bandwidths
        were not learned from.
    loo_rows_ : (n_rows,) int ndarray
        Of a learned bandwidth: the rows that it is validated on; all of positive weight unless there are too many.
    loo_path_ : dict of float ndarrays
        Of a learned bandwidth: "factor" (on Silverman's bandwidths of the rows that are learned from, ascending, inf at
        last) and "loss" of the sweep.
    n_iter_ : int
        Of a learned bandwidth: how often the loss was evaluated.
    n_features_in_ : int
        The number of features.
    feature_names_in_ : (n_features,) ndarray of str
        The names of the features, if X had names that are all strings.

    Notes
    -----
    A learned bandwidth minimises the mean over rows, by `sample_weight`, of the squared difference between the values
    and their predictions from all other rows: `predict(None)`, with the nearest rows where `empty` is "nan" or "raise".
    This is least-squares cross-validation (Härdle & Marron 1985, "Optimal bandwidth selection in nonparametric
    regression function estimation"), and the parametric attention pooling of textbooks, whose width is w = 1 / h.

    The search runs from 1/256 to 256 times Silverman's bandwidths: a sweep over factors common to all features by
    octaves, closer where the loss is least, and for "loo" a bounded search in one dimension. "loo_ard" goes on from the
    best common factor. Many bandwidths can fit noise, so the rows are drawn into halves, which learn with all rows as
    keys: a descent on one half, L-BFGS-B with the exact gradient (a pattern search for kernels without one), ends where
    the other half gains nothing more. The geometric mean of what all halves have learned is kept if the rows that each
    was not learned from gain more than chance: two standard errors of the gain, or one if the gain is more than the
    loss / sqrt(n), carried by six rows or more. If not, the common factor stays, as "loo" has it. Rows are drawn twice,
    with two descents each; with 100 rows or more for each feature once, with one descent, and the search then ends at
    the minimum on all rows, unless that is more than 30 % below the loss of rows that were not learned from. A feature
    that can be ignored without raising the loss gets inf; so do all if nothing is better than the mean. A
    ConvergenceWarning says if the search stopped early, or if the best common factor is the smallest.

    Learning does not see copies. A bootstrap sample, an oversampled class, a table joined twice, or whole numbers as
    weights would have each row predicted by itself. Rows that agree in x and y are taken as copies where x alone, or y
    alone, nearly identifies them: where distinct x, or distinct y, are at least 95 % of the distinct (x, y), and these
    at least the square root of n. They are then one row with their summed weight, all of which is left out. In tables
    of few values one unit of a row is left out, as `predict(None)` does everywhere.

    Its cost is bounded. With up to 3,162 rows, every evaluation of the sweep predicts all of them; with more, the
    search predicts 10^7 / n (at least 1,000), and ends with a few evaluations on 10^8 / n (at least 1,000).
    `random_state` draws the rows, and each is still predicted from all others. Where "sorted" or "grid" do the sums,
    the search predicts 5,000 rows, and ends on all. Looking for copies costs a sort.

    How far off `loo_loss_` may be: on 72 real data sets of up to 600 rows, the loss at rows that `fit` has not seen was
    1.02 times as much in the median, and 0.98 to 1.19 times but for the tenth of them at either end. With 10,000 rows
    in 3 or 10 features, validated on 1,000 of them, it was off by up to 7 %, and the bandwidths lost up to 0.4 % by
    looking at so few. (`python benchmarks/run.py trust learning`.) Rows in groups, or in time, are beyond it: there,
    cross-validate by groups. `score(None, y)` after learning is measured on the very rows that the bandwidth was
    learned from, each without itself: it is what the search made as good as it could, and tells less than `loo_loss_`
    about other rows.

    References
    ----------
    Nadaraya (1964), "On estimating regression". Watson (1964), "Smooth regression analysis".

    Examples
    --------
    >>> from sknw import NadarayaWatsonRegressor
    >>> model = NadarayaWatsonRegressor(bandwidth=0.5).fit([[0], [1], [2]], [0, 1, 4])
    >>> model.predict([[1], [9]]).round(3)
    array([1.213, 4.   ])
    >>> model.attention_weights([[1]]).round(3)
    array([[0.107, 0.787, 0.107]])

    The second feature does not matter, which "loo_ard" finds out:

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(0, 6, size=(300, 2))
    >>> y = np.sin(X[:, 0]) + 0.3 * rng.normal(size=300)
    >>> learned = NadarayaWatsonRegressor("loo_ard").fit(X, y)
    >>> learned.bandwidth_.round(1)
    array([0.1, inf])
    """

    def _check_training(self, X, y):
        return check_training(X, y, self, y_numeric=True, multi_output=True)

    def _encode_y(self, y):
        self._y_ndim = y.ndim
        return y.astype(np.float64).reshape(len(y), -1)

    def predict(self, X):
        """Predict the target of each query.

        Parameters
        ----------
        X : array-like or sparse matrix (n_queries, n_features), or None
            Queries; sparse ones are made dense, some at a time. None predicts each training point from all others.

        Returns
        -------
        y : (n_queries,) or (n_queries, n_outputs) float ndarray
            As many dimensions as the y of `fit`; each prediction lies within the range of its training targets.

        Raises
        ------
        ValueError
            If X is not valid; if `empty="raise"` and a query has no training point within the support of the
            kernel; if X is None and there is a single training point.

        Notes
        -----
        "dense" costs O(n_queries n n_features) time, "blocks" a part of that, "sorted" O(n_queries log n), and "grid"
        O(n_queries) beside a fixed cost for each cell that holds queries; O(n_queries) memory.
        """
        pooled = self._pool(self._check_queries(X))
        return pooled[:, 0] if self._y_ndim == 1 else pooled

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class NadarayaWatsonClassifier(ClassifierMixin, NadarayaWatson):
    """Nadaraya-Watson classification: attention pooling of one-hot training labels.

    The probability of a class at a query is the share of its attention that goes to training points of that
    class: a_i(q) proportional to w_i K(sum_f ((q - x_i)_f / h_f)²), with weights that sum to one at every query,
    however far away. With two classes it is `NadarayaWatsonRegressor` on 0 and 1.

    Parameters
    ----------
    bandwidth : float, array-like (n_features,) or {"silverman", "scott", "loo", "loo_ard"}, default="silverman"
        The width h of the kernel, in the units of X: one number for every feature, or one number for each; inf
        ignores a feature. "silverman" and "scott" are rules of thumb that follow the scale of each feature and
        the shape of the kernel. "loo" learns one factor common to Silverman's bandwidths, "loo_ard" a bandwidth for
        each feature where that is better, by the least Brier score of leave-one-out probabilities: see Notes. Above
        about 8 features, learn it.
    kernel : str or Kernel, default="gaussian"
        "gaussian", "exponential", "logistic", "cauchy", "constant" (average pooling), or one of bounded support:
        "boxcar", "triangular", "epanechnikov", "biweight", "triweight", "tricube", "cosine". Textbooks on
        attention pooling print max(0, 1 - u) under the name "Epanechnikov"; here it is "triangular".
    empty : {"nearest", "mean", "nan", "raise"}, default="nearest"
        What a query gets when no training point has weight, which kernels of bounded support let happen: the
        classes of its nearest training points, the class frequencies, nan, or a ValueError.
    algorithm : {"auto", "sorted", "grid", "blocks", "dense"}, default="auto"
        How the sums are done. "dense" takes every pair of query and training point. "sorted", for one feature,
        sorts both instead; "grid", for the gaussian kernel of two features, expands the sums on cells; "blocks", for
        every kernel above, puts both into blocks of neighbours and leaves out pairs of blocks too far apart to
        matter. "auto" takes the first of these that is expected to be faster than "dense" for as many queries as
        training points; "dense" for up to 800 training points and where `tol` is 0. `algorithm_` tells which. "blocks"
        with up to 50,000 training points does as "dense" for less than 4,000 queries, or if most pairs matter.
    tol : float, default=1e-10
        The largest error of a probability. "dense" uses it only where training points or queries are many bandwidths
        from the centre of the training points, as in many features; with 0 all is exact up to rounding, and takes
        several times as long there.
    n_jobs : int, default=None
        Threads over blocks of queries, as joblib understands it. Results do not depend on it.
    random_state : int, RandomState or None, default=0
        How rows are drawn for learning: into halves for "loo_ard", and where there are too many for all of them. The
        default draws the same rows each time.

    Attributes
    ----------
    classes_ : (n_classes,) ndarray
        The labels, sorted.
    bandwidth_ : (n_features,) float ndarray
        The bandwidth of each feature.
    attention_weights_ : AttentionView (n, n)
        The attention that each training point, as a query, pays to all training points. An array-like view that
        computes rows when they are asked for; `attention_weights_ @ values_` are the probabilities for the
        training points, and `np.asarray` makes an ndarray of it.
    keys_ : (n, n_features) float ndarray
        The training inputs.
    values_ : (n, n_classes) float ndarray
        The training labels, one-hot; made of the labels, which are stored, each time it is asked for.
    algorithm_ : str
        The algorithm in use.
    feature_importances_ : (n_features,) float ndarray
        The scale of each feature over its bandwidth, in fractions of their sum; 0 where the bandwidth is infinite. What
        attention pays to a feature, for `SelectFromModel` and `RFE`; it says nothing about causes.
    loo_loss_ : float
        Of a learned bandwidth: the mean Brier score to expect. That of leave-one-out over `loo_rows_`; for a bandwidth
        each, with less than 100 rows for each feature, that of rows which the bandwidths were not learned from.
    loo_rows_ : (n_rows,) int ndarray
        Of a learned bandwidth: the rows that it is validated on; all of positive weight unless there are too many.
    loo_path_ : dict of float ndarrays
        Of a learned bandwidth: "factor" (on Silverman's bandwidths of the rows that are learned from, ascending, inf at
        last) and "loss" of the sweep.
    n_iter_ : int
        Of a learned bandwidth: how often the loss was evaluated.
    n_features_in_ : int
        The number of features.
    feature_names_in_ : (n_features,) ndarray of str
        The names of the features, if X had names that are all strings.

    Notes
    -----
    The notes on `NadarayaWatsonRegressor` say how bandwidths are learned, from which rows, and at what cost. The loss
    is the Brier score, the squared difference between one-hot labels and probabilities.

    References
    ----------
    Nadaraya (1964), "On estimating regression". Watson (1964), "Smooth regression analysis".

    Examples
    --------
    >>> from sknw import NadarayaWatsonClassifier
    >>> model = NadarayaWatsonClassifier(bandwidth=0.5).fit([[0], [1], [2]], ["no", "no", "yes"])
    >>> model.predict([[0.5], [9]])
    array(['no', 'yes'], dtype='<U3')
    >>> model.predict_proba([[1.5]]).round(3)
    array([[0.505, 0.495]])
    """

    def _check_training(self, X, y):
        keys, labels = check_training(X, y, self)
        check_classification_targets(labels)
        return keys, labels

    def _encode_y(self, y):
        self.classes_, positions = np.unique(y, return_inverse=True)
        return OneHot(positions.reshape(-1), len(self.classes_))

    def predict_proba(self, X):
        """The probability of each class at each query.

        Parameters
        ----------
        X : array-like or sparse matrix (n_queries, n_features), or None
            Queries; sparse ones are made dense, some at a time. None predicts each training point from all others.

        Returns
        -------
        probabilities : (n_queries, n_classes) float ndarray
            Each within [0, 1]; the columns are in the order of `classes_`.

        Raises
        ------
        ValueError
            If X is not valid; if `empty="raise"` and a query has no training point within the support of the
            kernel; if X is None and there is a single training point.

        Notes
        -----
        "dense" costs O(n_queries n n_features) time, "blocks" a part of that, "sorted" O(n_queries log n), and "grid"
        O(n_queries) beside a fixed cost for each cell that holds queries; O(n_queries) memory.
        """
        return self._pool(self._check_queries(X))

    def predict(self, X):
        """The most probable class at each query; of equally probable ones, the first.

        Parameters
        ----------
        X : array-like or sparse matrix (n_queries, n_features), or None
            Queries; sparse ones are made dense, some at a time. None predicts each training point from all others.

        Returns
        -------
        y : (n_queries,) ndarray
            Labels from `classes_`.

        Raises
        ------
        ValueError
            As `predict_proba`; also if `empty="nan"` and a query has no training point within the support of
            the kernel.

        Notes
        -----
        "dense" costs O(n_queries n n_features) time, "blocks" a part of that, "sorted" O(n_queries log n), and "grid"
        O(n_queries) beside a fixed cost for each cell that holds queries; O(n_queries) memory.
        """
        probabilities = self.predict_proba(X)
        unknown = np.count_nonzero(np.isnan(probabilities[:, 0]))
        if unknown:
            raise ValueError(
                f"{unknown} of {len(probabilities)} queries have no training point within the support of the kernel "
                'and empty="nan" gives them no class; use predict_proba, increase bandwidth, or set empty="nearest"'
            )
        return self.classes_[probabilities.argmax(axis=1)]
