"""
Classification
==============

Attention pooling of labels: the probability of a class at a query is the share of the attention weights that belongs to
training points of that class. Three cultivars of wine are classified by two of their measurements.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.calibration import CalibrationDisplay, calibration_curve
from sklearn.datasets import load_wine
from sklearn.inspection import DecisionBoundaryDisplay

from sknw import CurveDisplay, NadarayaWatsonClassifier

wine = load_wine(as_frame=True)
X, y = wine.data[["alcohol", "color_intensity"]], wine.target_names[wine.target]
model = NadarayaWatsonClassifier("loo").fit(X, y)
probabilities = model.predict_proba(None)

# %%
# Probabilities
# -------------
# The bandwidths are Silverman's times a learned factor. Accuracy and Brier score are computed by leave-one-out, and
# compared with those of predicting the class frequencies. The three lines sum to one everywhere.
one_hot = (y[:, None] == model.classes_).astype(float)
frequencies = (one_hot.sum(axis=0) - one_hot) / (len(y) - 1)
for name, given in {"classifier": probabilities, "class frequencies": frequencies}.items():
    brier, accuracy = np.square(given - one_hot).sum(axis=1).mean(), np.mean(model.classes_[given.argmax(axis=1)] == y)
    print(f"{name}: accuracy {accuracy:.3f}, Brier score {brier:.3f}")
print(f"bandwidths: {', '.join(f'{name} {h:.3f}' for name, h in zip(X.columns, model.bandwidth_, strict=True))}")
display = CurveDisplay.from_estimator(model, feature="color_intensity")
print(f"largest difference of the sum of the lines from one: {np.abs(display.prediction.sum(axis=1) - 1).max():.0e}")

# %%
# Decision boundary
# -----------------
# Each panel shows the probability of a class and its training points. At the white line the probability is one half.
# Most rows of each class are inside its line, even when they are left out of their own prediction.
figure, axes = plt.subplots(1, 3, figsize=(7.5, 3.4), layout="constrained", sharex=True, sharey=True)
for label, ax in zip(model.classes_, axes, strict=True):
    common = {"class_of_interest": label, "response_method": "predict_proba", "ax": ax, "grid_resolution": 100}
    filled = DecisionBoundaryDisplay.from_estimator(
        model, X, plot_method="pcolormesh", cmap="cividis", vmin=0, vmax=1, **common
    )
    DecisionBoundaryDisplay.from_estimator(model, X, plot_method="contour", levels=[0.5], colors="white", **common)
    ax.scatter(*X[y == label].to_numpy().T, s=14, color="white", edgecolors="black", linewidths=0.6)
    ax.set_title(label)
    ax.label_outer()
figure.colorbar(filled.surface_, ax=axes, label="probability")
hits = [np.mean(probabilities[is_in, column] > 0.5) for column, is_in in enumerate(one_hot.T > 0)]
print(f"rows that get more than half for their own class: {', '.join(f'{hit:.0%}' for hit in hits)}")

# %%
# Calibration
# -----------
# Each row is predicted from all others, and the probabilities are compared with the observed frequencies, in five bins
# with the same number of probabilities. The curve is close to the diagonal.
observed, predicted = one_hot.ravel(), probabilities.ravel()
figure, ax = plt.subplots(figsize=(5.2, 4.6), layout="constrained")
CalibrationDisplay.from_predictions(
    observed, predicted, n_bins=5, strategy="quantile", name="leave-one-out", color="#0072B2", ax=ax
)
ax.set(xlabel="predicted probability", ylabel="observed frequency")
rates, means = calibration_curve(observed, predicted, n_bins=5, strategy="quantile")
for mean, rate in zip(means, rates, strict=True):
    print(f"predicted {mean:.3f}, observed {rate:.3f}")
print(f"mean distance from the diagonal {np.abs(rates - means).mean():.3f}")

# %%
# Figures are shown, or saved into the folder that is given on the command line.
if len(sys.argv) > 1:
    for number in plt.get_fignums():
        plt.figure(number).savefig(Path(sys.argv[1], f"{Path(sys.argv[0]).stem}_{number}.png"))
else:
    plt.show()
