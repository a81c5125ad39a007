"""Kernel regression and classification of real data: default, learned and tuned bandwidths, and attention weights."""

import numpy as np
from sklearn.datasets import load_diabetes, load_wine
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknw import LocalLinearClassifier, LocalLinearRegressor, NadarayaWatsonClassifier, NadarayaWatsonRegressor

BANDWIDTHS = ["silverman", "scott", *np.geomspace(0.2, 3, 12).round(2)]
NEIGHBORS = [1, 2, 3, 5, 8, 12, 20, 30, 50]


def tuned(model, parameter, candidates, inner):
    """The model behind a scaler, with one parameter chosen by cross-validation."""
    pipeline = make_pipeline(StandardScaler(), model)
    return GridSearchCV(pipeline, {f"{type(model).__name__.lower()}__{parameter}": candidates}, cv=inner)


def print_scores(title, models, X, y, outer):
    """One row for each model: the mean and the standard deviation of its score over the folds."""
    print(f"\n{title}")
    for name, model in models.items():
        scores = cross_val_score(model, X, y, cv=outer)
        print(f"  {name:<38} {scores.mean():6.3f} ± {scores.std():.3f}")


def print_attention(X, y, feature_names):
    """The three training points that one query attends to most."""
    train, query = np.arange(1, len(X)), 0
    scaler = StandardScaler().fit(X[train])
    model = NadarayaWatsonRegressor().fit(scaler.transform(X[train]), y[train])
    attention = model.attention_weights(scaler.transform(X[[query]]))[0]
    print(f"\nPatient 0 (progression {y[query]:.0f}) attends most to, by {', '.join(feature_names)}:")
    for position in attention.argsort()[::-1][:3]:
        row = train[position]
        print(f"  patient {row:>3}   weight {attention[position]:.3f}   progression {y[row]:3.0f}")
    prediction = model.predict(scaler.transform(X[[query]]))[0]
    low, high = model.predict_interval(scaler.transform(X[[query]]), coverage=0.9)[0]
    print(f"  all {len(train)} training points, weighted: {prediction:.0f}, 90 % interval from {low:.0f} to {high:.0f}")


def main():
    diabetes = load_diabetes(scaled=False)
    columns = [diabetes.feature_names.index(name) for name in ("bmi", "bp", "s5")]
    X, y = diabetes.data[:, columns], diabetes.target
    inner, outer = KFold(5, shuffle=True, random_state=1), KFold(5, shuffle=True, random_state=0)
    models = {
        "mean of the training targets": DummyRegressor(),
        "KNeighborsRegressor": make_pipeline(StandardScaler(), KNeighborsRegressor()),
        "KNeighborsRegressor, tuned": tuned(KNeighborsRegressor(), "n_neighbors", NEIGHBORS, inner),
        "NadarayaWatsonRegressor": make_pipeline(StandardScaler(), NadarayaWatsonRegressor()),
        "NadarayaWatsonRegressor, learned": NadarayaWatsonRegressor("loo"),
        "NadarayaWatsonRegressor, tuned": tuned(NadarayaWatsonRegressor(), "bandwidth", BANDWIDTHS, inner),
        "LocalLinearRegressor, learned": LocalLinearRegressor(),
    }
    print_scores("Diabetes progression from bmi, bp, s5: R², 5 folds", models, X, y, outer)
    search = models["NadarayaWatsonRegressor, tuned"].fit(X, y)
    print(f"  tuned on all rows: bandwidth {search.best_params_['nadarayawatsonregressor__bandwidth']}")
    print_attention(X, y, ("bmi", "bp", "s5"))

    X, y = load_wine(return_X_y=True)
    inner, outer = (StratifiedKFold(5, shuffle=True, random_state=seed) for seed in (1, 0))
    models = {
        "most frequent class": DummyClassifier(),
        "KNeighborsClassifier": make_pipeline(StandardScaler(), KNeighborsClassifier()),
        "KNeighborsClassifier, tuned": tuned(KNeighborsClassifier(), "n_neighbors", NEIGHBORS, inner),
        "NadarayaWatsonClassifier": make_pipeline(StandardScaler(), NadarayaWatsonClassifier()),
        "NadarayaWatsonClassifier, learned": NadarayaWatsonClassifier("loo"),
        "NadarayaWatsonClassifier, tuned": tuned(NadarayaWatsonClassifier(), "bandwidth", BANDWIDTHS, inner),
        "LocalLinearClassifier, learned": LocalLinearClassifier(),
    }
    print_scores("Wine cultivar from 13 measurements: accuracy, 5 folds", models, X, y, outer)


if __name__ == "__main__":
    main()
