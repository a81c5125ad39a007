"""
Tables
======

A table with a category and missing values, as it is. Grunfeld's data, which statsmodels includes, have the investment
of eleven American firms in the years 1935 to 1954, the market value of each firm, and its capital. This page predicts
the logarithm of investment, removes values at random, and compares three methods: the estimator on the table, the same
estimator behind an imputer and a one-hot encoder, and gradient boosting, which accepts categories and missing values.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from statsmodels.datasets import grunfeld

from sknw import CurveDisplay, NadarayaWatsonRegressor

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#999999"
table = grunfeld.load_pandas().data
y = np.log(table.pop("invest"))
print(table.sample(5, random_state=0))

# %%
# Missing values
# --------------
# The same share of each column, the firm included, is removed from training and test rows. Imputation places a row
# where it is not: at the mean of a column, or in the most frequent firm. Leaving out what is not known loses less. Each
# point is the mean over two draws of the missing values, in five folds each.


def with_holes(X, share, seed):
    return X.mask(np.random.default_rng(seed).random(X.shape) < share)


firm = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
columns = make_column_transformer((firm, ["firm"]), (SimpleImputer(), ["value", "capital", "year"]))
methods = {
    "table": (NadarayaWatsonRegressor("loo"), BLUE),
    "imputed, one-hot": (make_pipeline(columns, NadarayaWatsonRegressor("loo")), ORANGE),
    "gradient boosting": (HistGradientBoostingRegressor(categorical_features="from_dtype", random_state=0), GREEN),
}
shares = [0.0, 0.1, 0.2, 0.3, 0.4]
figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
for name, (method, color) in methods.items():
    scores = np.empty((len(shares), 2))
    for draw in range(2):
        folds = KFold(5, shuffle=True, random_state=draw)
        for k, share in enumerate(shares):
            X = with_holes(table, share, draw).astype({"firm": "category"})
            scores[k, draw] = cross_val_score(method, X, y, cv=folds).mean()
    print(f"{name}: R²", *scores.mean(axis=1).round(2))
    ax.plot(shares, scores.mean(axis=1), "o-", color=color, label=name)
ax.set(xlabel="share of missing values", ylabel="R² on test rows", xticks=shares)
ax.legend()

# %%
# Attention to rows of other firms
# --------------------------------
# Two different firms are at a distance of one. The learned bandwidth of the firm is so small that a query attends to
# the rows of its own firm only. If its firm is not known, it attends to rows of any firm with a similar market value,
# capital and year. If its market value is not known either, attention is spread over more firms.
model = NadarayaWatsonRegressor("loo_ard").fit(with_holes(table, 0.2, seed=0), y)
for name, h in zip(table.columns, model.bandwidth_, strict=True):
    print(f"bandwidth of {name}: {h:.2f}")
query = table[(table["firm"] == "Westinghouse") & (table["year"] == 1946)]
queries = {"all known": query, "firm missing": query.assign(firm=None)}
queries["firm and value missing"] = query.assign(firm=None, value=np.nan)
position = table.columns.get_loc("firm")
firms = [*model.categories_[position], "missing"]
of_row = np.nan_to_num(model.keys_[:, position], nan=len(firms) - 1).astype(int)
figure, ax = plt.subplots(figsize=(6.4, 5), layout="constrained")
for k, (name, queried) in enumerate(queries.items()):
    by_firm = np.bincount(of_row, model.attention_weights(queried)[0], minlength=len(firms))
    print(f"{name}: attention to Westinghouse {by_firm[firms.index('Westinghouse')]:.2f}")
    places = np.arange(len(firms)) + 0.27 * (k - 1)
    ax.barh(places, by_firm, height=0.25, color=[BLUE, ORANGE, GREY][k], label=name)
ax.set_yticks(np.arange(len(firms)), firms)
ax.invert_yaxis()
ax.set(xlabel="attention to the rows of a firm, of a query of Westinghouse in 1946")
ax.legend()

# %%
# Predictions along a category
# ----------------------------
# ``CurveDisplay`` draws a step for each category, here with intervals for new targets. The other columns are at their
# medians.
figure, ax = plt.subplots(figsize=(6.4, 5), layout="constrained")
display = CurveDisplay.from_estimator(model, feature="firm", interval=0.8, ax=ax)
ax.set_ylabel("logarithm of investment")

# %%
# Figures are shown, or saved into the folder that is given on the command line.
if len(sys.argv) > 1:
    for number in plt.get_fignums():
        plt.figure(number).savefig(Path(sys.argv[1], f"{Path(sys.argv[0]).stem}_{number}.png"))
else:
    plt.show()
