"""Ways to learn from a table: this package's, and an encoder and an imputer in front of a method that needs them."""

from functools import partial

from quality_peers import NEIGHBORS, SQUARED_ERROR, tuned
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sknw import LocalLinearRegressor, NadarayaWatsonRegressor


class MeanImputer(TransformerMixin, BaseEstimator):
    """The mean of a number, and the most frequent category, where a value is missing; a table remains a table."""

    def fit(self, X, y=None):
        is_number = X.columns.isin(X.select_dtypes("number").columns)
        self.fill_ = {
            name: X[name].mean() if number else X[name].mode()[0] for name, number in zip(X, is_number, strict=True)
        }
        return self

    def transform(self, X):
        return X.fillna(self.fill_)


def one_hot(*steps):
    """A column for each category, and numbers with their means for holes and columns that say where; then steps."""
    is_category = make_column_selector(dtype_include="category")
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = make_column_transformer((encoder, is_category), remainder=SimpleImputer(add_indicator=True))
    return make_pipeline(columns, *steps)


def one_hot_neighbors():
    """Nearest neighbours in standardised columns; how many is chosen in five folds."""
    model = one_hot(StandardScaler(), KNeighborsRegressor())
    return tuned(model, SQUARED_ERROR, kneighborsregressor__n_neighbors=NEIGHBORS)


BOOSTING = partial(HistGradientBoostingRegressor, categorical_features="from_dtype", random_state=0)

MIXED = {
    "silverman": NadarayaWatsonRegressor,
    "loo": partial(NadarayaWatsonRegressor, "loo"),
    "loo_ard": partial(NadarayaWatsonRegressor, "loo_ard"),
    "local_linear": LocalLinearRegressor,
    "one-hot, loo": lambda: one_hot(NadarayaWatsonRegressor("loo")),
    "one-hot, loo_ard": lambda: one_hot(NadarayaWatsonRegressor("loo_ard")),
    "one-hot, k_neighbors": one_hot_neighbors,
    "boosting": BOOSTING,
    "boosting, rate 0.05": partial(BOOSTING, learning_rate=0.05),
}
"""Functions that make an estimator of a table with categories."""

HOLES = {
    "loo_ard": MIXED["loo_ard"],
    "means, loo_ard": lambda: make_pipeline(MeanImputer(), NadarayaWatsonRegressor("loo_ard")),
    "boosting": BOOSTING,
}
"""Functions that make an estimator of a table with missing values."""
