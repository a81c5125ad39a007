"""Real data: losses of contenders in folds, and what is computed from them."""

from statistics import mean

import numpy as np
import pandas as pd
from quality_peers import CONTENDERS, OUTSIDE, can_learn_data
from real_data import names, real_folds
from timing import time_call

NAMES = list(dict.fromkeys(name for makers in CONTENDERS.values() for name in makers))
"""All contenders."""

UNIT = ["loo", "loo_ard"]
"""The better of these on a data set is the unit of losses."""


def measure_probabilities(probabilities, classes, y):
    """The Brier score summed over classes, the log loss of probabilities clipped at 1e-15, and the accuracy."""
    of_truth = (probabilities * (y[:, None] == classes)).sum(axis=1)
    brier = np.square(probabilities).sum(axis=1) - 2 * of_truth + 1
    log_loss = -np.log(np.maximum(of_truth, 1e-15))
    accuracy = classes[probabilities.argmax(axis=1)] == y
    return {"loss": brier.mean(), "log loss": log_loss.mean(), "accuracy": accuracy.mean()}


def measure_fold(kind, model, X, y, X_test, y_test):
    """Losses at the test rows, what the model expects there, and seconds of processor time to fit and to predict."""
    found = {}

    def learn():
        model.fit(X, y)
        found["prediction"] = model.predict(X_test) if kind == "regression" else model.predict_proba(X_test)

    seconds = time_call(learn)
    expected = {"expected": model.loo_loss_} if hasattr(model, "loo_loss_") else {}
    if kind == "regression":
        losses = {"loss": np.mean(np.square(found["prediction"] - y_test))}
    else:
        losses = measure_probabilities(found["prediction"], model.classes_, y_test)
    return losses | expected | {"seconds": seconds}


def summarise(kind, folds):
    """Means over folds; for regression the loss becomes the root of the mean squared error."""
    means = {column: float(mean(fold[column] for fold in folds)) for column in folds[0]}
    if "expected" in means:
        means["seen / expected"] = means["loss"] / means.pop("expected")
    return means | {"loss": means["loss"] ** 0.5 if kind == "regression" else means["loss"]}


def compare_quality(only, chosen=()):
    """Contenders, or those that are chosen, on real data sets: a row for each of both."""
    for kind, makers in CONTENDERS.items():
        for data in (name for name in names(kind) if only in name):
            splits = list(real_folds(data, kind))
            n, d = splits[0][0].shape
            for contender in (name for name in makers if not chosen or name in chosen):
                if can_learn_data(contender, d):
                    folds = [measure_fold(kind, makers[contender](split[0].shape[1]), *split) for split in splits]
                    row = {"kind": kind, "data": data, "n": n, "features": d, "contender": contender}
                    yield row | summarise(kind, folds)


def relative_losses(rows, kind):
    """A row for each data set, a column for each contender: losses in those of the better of "loo" and "loo_ard"."""
    losses = rows[rows["kind"] == kind].pivot_table("loss", ["data", "n", "features"], "contender", sort=False)
    return losses[[name for name in CONTENDERS[kind] if name in losses]].div(losses[UNIT].min(axis=1), axis=0)


def ranked_losses(rows, kind):
    """Those of contenders that have a rank, by mean rank, on the data sets that all of them have learned."""
    losses = relative_losses(rows, kind)
    losses = losses[[name for name in losses if name not in OUTSIDE]].dropna()
    return losses[losses.rank(axis=1).mean().sort_values(kind="stable").index]


def rank(rows):
    """A row for each kind and contender, by mean rank, on the data sets of `ranked_losses`."""
    for kind, part in rows.groupby("kind", sort=False):
        ranks, groups = ranked_losses(rows, kind).rank(axis=1), part.groupby("contender")
        ratios = relative_losses(rows, kind).loc[ranks.index]
        table = pd.DataFrame({"kind": kind, "contender": list(ratios), "data sets": ratios.count()})
        table["mean rank"], table["wins"] = ranks.mean(), ranks.eq(ranks.min(axis=1), axis=0).sum()
        table["wins"] = table["wins"].astype("Int64")
        table["ratio, median"], table["ratio, 90 %"] = ratios.median(), ratios.quantile(0.9)
        table[["log loss", "accuracy"]] = groups[["log loss", "accuracy"]].mean()
        table["seen / expected"], table["seconds"] = groups["seen / expected"].median(), groups["seconds"].mean()
        table["commit"] = groups["commit"].first()
        yield from records(table.sort_values("mean rank", kind="stable"))


def describe_expectations(rows):
    """How far held-out losses are from `loo_loss_`, in quantiles over data sets."""
    groups = rows.dropna(subset="seen / expected").groupby(["kind", "contender"], sort=False)["seen / expected"]
    quantiles = {"10 %": 0.1, "median": 0.5, "90 %": 0.9, "largest": 1.0}
    return pd.DataFrame({name: groups.quantile(share) for name, share in quantiles.items()}).reset_index()


def records(frame):
    """The rows of a frame as dicts, None for what is missing."""
    return frame.astype(object).where(frame.notna(), None).to_dict("records")
