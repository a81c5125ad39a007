"""The Nadaraya-Watson regressor and classifier: what pooled values are."""

from sklearn.base import ClassifierMixin, RegressorMixin

from ._mean_gradients import MeanGradients
from ._nadaraya_watson import NadarayaWatson
from ._quantiles import AttentionDistribution
from ._targets import LabelTargets, NumericTargets


class NadarayaWatsonRegressor(MeanGradients, AttentionDistribution, NumericTargets, RegressorMixin, NadarayaWatson):
    """Nadaraya-Watson regression: attention pooling of training targets.

    The prediction for a query q is the average of the training targets, weighted by a kernel of the distance between
    the query and each training point: sum_i a_i(q) y_i with attention weights a_i(q) proportional to w_i K(u_i), where
    u_i² = sum_f ((q_f - x_if) / h_f)². The attention weights sum to one at every query, at any distance.

    Parameters
    ----------
    bandwidth : float, array-like (n_features,) or {"silverman", "scott", "loo", "loo_ard"}, default="silverman"
        The width h of the kernel in the units of X: one number for all features, or one for each; inf ignores a
        feature. "silverman" and "scott" are rules of thumb based on the scale of each feature. "loo" learns one factor
        for all of Silverman's bandwidths, and "loo_ard" one bandwidth for each feature, by minimising the leave-one-out
        squared error (see Notes). With more than about eight features, learn the bandwidth.
    n_neighbors : int, "loo" or None, default=None
        With an int k, the width of each query follows the distance to its k-th nearest training point, and only the
        ratios of the bandwidths matter (see Notes). "loo" chooses k from 2 to 120 by leave-one-out, or None if the
        fixed width is better on validation rows. None: the width is the same for all queries.
    kernel : str or Kernel, default="gaussian"
        "gaussian", "exponential", "logistic", "cauchy", "constant" (average pooling), or a kernel of bounded support:
        "boxcar", "triangular", "epanechnikov", "biweight", "triweight", "tricube", "cosine". Some textbooks on
        attention pooling use the name "Epanechnikov" for max(0, 1 - u), which is "triangular".
    categorical_features : "from_dtype", None, or array-like of bool, int or str, default="from_dtype"
        The features that are categories, given as a mask (n_features,), positions or names. "from_dtype": columns of a
        data frame that hold categories by their data type, or text. Two different categories are at a distance of one;
        ordered categories of pandas are ranks 0, 1, 2, ... At most 255 categories a feature. See :doc:`/guide/tables`.
    metric : {"euclidean", "precomputed"}, default="euclidean"
        "precomputed": X is distances, in `fit` from each training point to all training points, (n, n), in `predict`
        from each query to these, (n_queries, n). There are no features: the bandwidth is one number, which "loo"
        learns, and the algorithm is "dense". See :doc:`/guide/metrics`.
    empty : {"nearest", "mean", "nan", "raise"}, default="nearest"
        What is predicted for a query without a training point inside the support of the kernel. "nearest": the mean
        target of its nearest training points. "mean": the mean of all targets. "nan": nan. "raise": a ValueError.
    algorithm : {"auto", "sorted", "grid", "blocks", "dense"}, default="auto"
        The algorithm that computes the sums over training points. "dense" evaluates all pairs of a query and a training
        point. "sorted" (one feature), "grid" (two or three features, Gaussian kernel) and "blocks" (every kernel above)
        are faster for many training points. "auto" uses the first of these that is expected to be faster than "dense"
        for as many queries as training points. "blocks" falls back to "dense" for fewer than 4,000 queries (up to
        50,000 training points), or when most pairs contribute. See :ref:`the table of algorithms <algorithm-table>`.
        "sorted" and "grid" do not support `n_neighbors`.
    tol : float, default=1e-10
        The largest error of a prediction, as a fraction of the range of y. The bound holds at every query. With 0,
        results are exact up to rounding, and "auto" uses "dense". "dense" uses `tol` only where training points or
        queries are many bandwidths from the centre of the training points, as in many features; and from 1e-5 on, with
        the Gaussian, to compute in single precision.
    n_jobs : int, default=None
        Number of threads over blocks of queries, as defined by joblib. Results do not depend on it.
    random_state : int, RandomState or None, default=0
        Seeds the halves of rows that "loo_ard" learns from and validates on, and the subsample of rows used to score
        bandwidths when the training set is large.

    Attributes
    ----------
    bandwidth_ : (n_features,) float ndarray
        The bandwidth of each feature.
    n_neighbors_ : int or None
        The number of neighbours in use; None if the width is fixed.
    attention_weights_ : AttentionView (n, n)
        The attention weights of the training points as queries, each of which also attends to itself: an array-like
        view that computes its rows on demand. `attention_weights_ @ values_` are the predictions for the training
        points, and `np.asarray` converts the view to an ndarray.
    keys_ : (n, n_features) float ndarray
        The training inputs: numbers, ranks, positions in `categories_` (nan where a value is missing), or distances.
    categories_ : list of ndarrays or None
        The categories of each feature; None for a number.
    is_categorical_ : (n_features,) bool ndarray or None
        Which features have categories; None if none has.
    values_ : (n, n_outputs) float ndarray
        The training targets.
    algorithm_ : str
        The algorithm in use. It can differ from `algorithm`: it is "dense" for average pooling (the constant kernel, or
        infinite bandwidths for all features), and where too many pairs contribute for another algorithm to be faster.
    feature_importances_ : (n_features,) float ndarray
        The scale of each feature divided by its bandwidth, normalised to sum to one; 0 where the bandwidth is infinite.
        `SelectFromModel` and `RFE` use it. It measures how much attention depends on a feature, not a causal effect.
    loo_loss_ : float
        Estimate of the mean squared error, summed over outputs, on new rows. Only if something was learned.
    loo_rows_ : (n_rows,) int ndarray
        The rows over which `loo_loss_` is computed: all rows of positive weight, or a subsample when the training set
        is large. Only if something was learned.
    loo_path_ : dict of float ndarrays
        The first stage of the search: "factor", on Silverman's bandwidths of the rows that are learned from, in
        ascending order with inf as the last, and the "loss" of each. Only if the bandwidth was learned.
    n_iter_ : int
        Number of loss evaluations. Only if something was learned.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : (n_features,) ndarray of str
        Names of the features. Only if X has feature names that are all strings.

    Notes
    -----
    A learned bandwidth minimises the mean squared error of `predict(None)`, the predictions of each row from all other
    rows, weighted by `sample_weight`. This is least-squares cross-validation (Härdle & Marron 1985, "Optimal bandwidth
    selection in nonparametric regression function estimation"). Textbooks on attention call it parametric attention
    pooling, with the width w = 1 / h. "loo_ard" returns the bandwidths of "loo" unless the gain on validation rows is
    larger than expected by chance: see :ref:`details of the search <search-details>`.

    Rows that are copies of each other, as in a bootstrap sample, are merged while a bandwidth is learned: see
    :ref:`copies of rows <copies>`. The cost of learning is bounded, since large training sets are subsampled: see
    :ref:`details of the search <search-details>`. `loo_loss_` is slightly optimistic, and more so for rows in groups or
    in time; `score(None, y)` after learning can be far too good: see :ref:`reliability of learned bandwidths <trust>`.

    With `n_neighbors` = k, a_i(q) is proportional to w_i K(u_i / s), where s = c u_(k) for the k-th smallest distance
    u_(k), and c depends on the kernel: see :doc:`/guide/neighbors`. Predictions for far queries tend to the mean.

    References
    ----------
    Nadaraya (1964), "On estimating regression". Watson (1964), "Smooth regression analysis". Loftsgaarden & Quesenberry
    (1965), "A nonparametric estimate of a multivariate density function". Silverman (1986), section 5.2.

    Examples
    --------
    >>> from sknw import NadarayaWatsonRegressor
    >>> model = NadarayaWatsonRegressor(bandwidth=0.5).fit([[0], [1], [2]], [0, 1, 4])
    >>> model.predict([[1], [9]]).round(3)
    array([1.213, 4.   ])
    >>> model.attention_weights([[1]]).round(3)
    array([[0.107, 0.787, 0.107]])
    >>> NadarayaWatsonRegressor(n_neighbors=2).fit([[0], [1], [2]], [0, 1, 4]).predict([[1]]).round(3)
    array([1.213])

    The second feature does not matter, and "loo_ard" ignores it:

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(0, 6, size=(300, 2))
    >>> y = np.sin(X[:, 0]) + 0.3 * rng.normal(size=300)
    >>> learned = NadarayaWatsonRegressor("loo_ard").fit(X, y)
    >>> learned.bandwidth_.round(1)
    array([0.1, inf])
    """

    def predict(self, X, return_std=False):
        """Predict the target of each query.

        Parameters
        ----------
        X : array-like or sparse matrix (n_queries, n_features), or None
            Queries. Sparse queries are converted to dense arrays in blocks. None predicts each training point from all
            other training points.
        return_std : bool, default=False
            Whether to return the standard deviations of new targets as well.

        Returns
        -------
        y : (n_queries,) or (n_queries, n_outputs) float ndarray
            Predictions, with as many dimensions as the y of `fit`. Each lies within the range of the training targets.

        std : (n_queries,) or (n_queries, n_outputs) float ndarray
            s sqrt(1 + 1 / n), where s is the standard deviation of targets around the query, a local mean of squared
            leave-one-out errors, and n the effective number of neighbours (see :ref:`intervals <intervals>`). Only if
            `return_std` is True.

        Raises
        ------
        ValueError
            If X is not valid; if `empty="raise"` and a query has no training point within the support of the kernel;
            if X is None or `return_std` is True, and there is only one training point.

        Notes
        -----
        The cost depends on `algorithm_`: see :ref:`the table of algorithms <algorithm-table>`. Standard deviations cost
        about two predictions more, and three of all training points at the first call.
        """
        return self._predict(X, return_std)


class NadarayaWatsonClassifier(LabelTargets, ClassifierMixin, NadarayaWatson):
    """Nadaraya-Watson classification: attention pooling of one-hot training labels.

    The probability of a class at a query q is the sum of the attention weights of the training points of that class:
    a_i(q) is proportional to w_i K(u_i), where u_i² = sum_f ((q_f - x_if) / h_f)². The attention weights sum to one at
    every query, at any distance. With two classes, the probabilities are the predictions of `NadarayaWatsonRegressor`
    for the targets 0 and 1.

    Parameters
    ----------
    bandwidth : float, array-like (n_features,) or {"silverman", "scott", "loo", "loo_ard"}, default="silverman"
        The width h of the kernel in the units of X: one number for all features, or one for each; inf ignores a
        feature. "silverman" and "scott" are rules of thumb based on the scale of each feature. "loo" learns one factor
        for all of Silverman's bandwidths, and "loo_ard" one bandwidth for each feature, by minimising the leave-one-out
        Brier score (see Notes). With more than about eight features, learn the bandwidth.
    n_neighbors : int, "loo" or None, default=None
        With an int k, the width of each query follows the distance to its k-th nearest training point, and only the
        ratios of the bandwidths matter (see Notes). "loo" chooses k from 2 to 120 by leave-one-out, or None if the
        fixed width is better on validation rows. None: the width is the same for all queries.
    kernel : str or Kernel, default="gaussian"
        "gaussian", "exponential", "logistic", "cauchy", "constant" (average pooling), or a kernel of bounded support:
        "boxcar", "triangular", "epanechnikov", "biweight", "triweight", "tricube", "cosine". Some textbooks on
        attention pooling use the name "Epanechnikov" for max(0, 1 - u), which is "triangular".
    categorical_features : "from_dtype", None, or array-like of bool, int or str, default="from_dtype"
        The features that are categories, given as a mask (n_features,), positions or names. "from_dtype": columns of a
        data frame that hold categories by their data type, or text. Two different categories are at a distance of one;
        ordered categories of pandas are ranks 0, 1, 2, ... At most 255 categories a feature. See :doc:`/guide/tables`.
    metric : {"euclidean", "precomputed"}, default="euclidean"
        "precomputed": X is distances, in `fit` from each training point to all training points, (n, n), in `predict`
        from each query to these, (n_queries, n). There are no features: the bandwidth is one number, which "loo"
        learns, and the algorithm is "dense". See :doc:`/guide/metrics`.
    empty : {"nearest", "mean", "nan", "raise"}, default="nearest"
        What is predicted for a query without a training point inside the support of the kernel. "nearest": the class
        frequencies among its nearest training points. "mean": those among all training points. "nan": nan. "raise": a
        ValueError.
    algorithm : {"auto", "sorted", "grid", "blocks", "dense"}, default="auto"
        The algorithm that computes the sums over training points. "dense" evaluates all pairs of a query and a training
        point. "sorted" (one feature), "grid" (two or three features, Gaussian kernel) and "blocks" (every kernel above)
        are faster for many training points. "auto" uses the first of these that is expected to be faster than "dense"
        for as many queries as training points. "blocks" falls back to "dense" for fewer than 4,000 queries (up to
        50,000 training points), or when most pairs contribute. See :ref:`the table of algorithms <algorithm-table>`.
        "sorted" and "grid" do not support `n_neighbors`.
    tol : float, default=1e-10
        The largest error of a probability. The bound holds at every query. With 0, results are exact up to rounding,
        and "auto" uses "dense". "dense" uses `tol` only where training points or queries are many bandwidths from the
        centre of the training points, as in many features; and from 1e-5 on, with the Gaussian, to compute in single
        precision.
    n_jobs : int, default=None
        Number of threads over blocks of queries, as defined by joblib. Results do not depend on it.
    random_state : int, RandomState or None, default=0
        Seeds the halves of rows that "loo_ard" learns from and validates on, and the subsample of rows used to score
        bandwidths when the training set is large.

    Attributes
    ----------
    classes_ : (n_classes,) ndarray
        The class labels, sorted.
    bandwidth_ : (n_features,) float ndarray
        The bandwidth of each feature.
    n_neighbors_ : int or None
        The number of neighbours in use; None if the width is fixed.
    attention_weights_ : AttentionView (n, n)
        The attention weights of the training points as queries, each of which also attends to itself: an array-like
        view that computes its rows on demand. `attention_weights_ @ values_` are the probabilities for the training
        points, and `np.asarray` converts the view to an ndarray.
    keys_ : (n, n_features) float ndarray
        The training inputs: numbers, ranks, positions in `categories_` (nan where a value is missing), or distances.
    categories_ : list of ndarrays or None
        The categories of each feature; None for a number.
    is_categorical_ : (n_features,) bool ndarray or None
        Which features have categories; None if none has.
    values_ : (n, n_classes) float ndarray
        The training labels, one-hot encoded. The array is computed at each access; only the labels are stored.
    algorithm_ : str
        The algorithm in use. It can differ from `algorithm`: it is "dense" for average pooling (the constant kernel, or
        infinite bandwidths for all features), and where too many pairs contribute for another algorithm to be faster.
    feature_importances_ : (n_features,) float ndarray
        The scale of each feature divided by its bandwidth, normalised to sum to one; 0 where the bandwidth is infinite.
        `SelectFromModel` and `RFE` use it. It measures how much attention depends on a feature, not a causal effect.
    loo_loss_ : float
        Estimate of the mean Brier score on new rows. Only if something was learned.
    loo_rows_ : (n_rows,) int ndarray
        The rows over which `loo_loss_` is computed: all rows of positive weight, or a subsample when the training set
        is large. Only if something was learned.
    loo_path_ : dict of float ndarrays
        The first stage of the search: "factor", on Silverman's bandwidths of the rows that are learned from, in
        ascending order with inf as the last, and the "loss" of each. Only if the bandwidth was learned.
    n_iter_ : int
        Number of loss evaluations. Only if something was learned.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : (n_features,) ndarray of str
        Names of the features. Only if X has feature names that are all strings.

    Notes
    -----
    A learned bandwidth minimises the leave-one-out Brier score, the squared difference between one-hot labels and
    probabilities. The notes on `NadarayaWatsonRegressor` about learned bandwidths and `n_neighbors` apply.

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

    def predict_proba(self, X):
        """Predict the probability of each class at each query.

        Parameters
        ----------
        X : array-like or sparse matrix (n_queries, n_features), or None
            Queries. Sparse queries are converted to dense arrays in blocks. None predicts each training point from all
            other training points.

        Returns
        -------
        probabilities : (n_queries, n_classes) float ndarray
            Probabilities, with columns in the order of `classes_`.

        Raises
        ------
        ValueError
            If X is not valid; if `empty="raise"` and a query has no training point within the support of the kernel;
            if X is None and there is only one training point.

        Notes
        -----
        The cost depends on `algorithm_`: see :ref:`the table of algorithms <algorithm-table>`.
        """
        return self._predict_values(self._check_queries(X))

    def predict(self, X):
        """Predict the most probable class at each query; of equally probable classes, the first.

        Parameters
        ----------
        X : array-like or sparse matrix (n_queries, n_features), or None
            Queries. Sparse queries are converted to dense arrays in blocks. None predicts each training point from all
            other training points.

        Returns
        -------
        y : (n_queries,) ndarray
            Class labels.

        Raises
        ------
        ValueError
            In the cases of `predict_proba`; also if `empty="nan"` and a query has no training point within the support
            of the kernel.

        Notes
        -----
        The cost depends on `algorithm_`: see :ref:`the table of algorithms <algorithm-table>`.
        """
        return self._most_probable(self.predict_proba(X))
