"""
A learned plane
===============

:class:`~sknw.AttentionProjection` learns a linear projection of queries and keys by the leave-one-out loss of an
estimator. With two components, it is a plane to look at. The wine data have 13 features and three classes.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.neighbors import NeighborhoodComponentsAnalysis
from sklearn.preprocessing import StandardScaler

from sknw import AttentionProjection, NadarayaWatsonClassifier

data = load_wine()
X, X_test, y, y_test = train_test_split(data.data, data.target, test_size=0.5, random_state=0, stratify=data.target)
scaler = StandardScaler().fit(X)
X, X_test = scaler.transform(X), scaler.transform(X_test)

# %%
# Three planes
# ------------
# PCA does not know the classes. scikit-learn's neighborhood components analysis maximises the probability that the
# nearest neighbours are of the same class. `AttentionProjection` minimises the Brier score of the pooled probabilities.
# A classifier with the bandwidth of "loo" predicts on each plane: shades are its probabilities, filled points are the
# training rows, and circles are test rows. Their Brier score and accuracy are in the titles.
projections = {
    "PCA": PCA(2),
    "NCA": NeighborhoodComponentsAnalysis(2, random_state=0),
    "AttentionProjection": AttentionProjection(NadarayaWatsonClassifier(), n_components=2),
}
colours = np.array([[0, 114, 178], [213, 94, 0], [0, 158, 115]]) / 255
figure, axes = plt.subplots(1, 3, figsize=(11, 4.3), layout="constrained")
for ax, (name, projection) in zip(axes, projections.items(), strict=True):
    Z, Z_test = projection.fit(X, y).transform(X), projection.transform(X_test)
    model = NadarayaWatsonClassifier("loo").fit(Z, y)
    score = np.square(model.predict_proba(Z_test) - np.eye(3)[y_test]).sum(axis=1).mean()
    accuracy = model.score(Z_test, y_test)
    low, high = np.min([Z.min(axis=0), Z_test.min(axis=0)], axis=0), np.max([Z.max(axis=0), Z_test.max(axis=0)], axis=0)
    margin = 0.05 * (high - low)
    across, up = (np.linspace(a, b, 120) for a, b in zip(low - margin, high + margin, strict=True))
    grid = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    shades = 1 - 0.35 * model.predict_proba(grid) @ (1 - colours)
    extent = (across[0], across[-1], up[0], up[-1])
    ax.imshow(shades.reshape(120, 120, 3), origin="lower", extent=extent, aspect="auto", interpolation="bilinear")
    for k, marker in enumerate("os^"):
        ax.scatter(*Z[y == k].T, s=16, color=colours[k], marker=marker)
        ax.scatter(*Z_test[y_test == k].T, s=22, facecolor="none", edgecolor=colours[k], marker=marker)
    ax.set(title=f"{name}\nBrier {score:.3f}, accuracy {accuracy:.3f}", xticks=[], yticks=[])
    print(f"{name}: Brier {score:.3f}, accuracy {accuracy:.3f}")

# %%
# What the axes are
# -----------------
# X is standardised, so that the elements of `components_` show how much each feature contributes to the two axes.
components = projections["AttentionProjection"].components_
figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
positions = np.arange(len(data.feature_names))
for k, component in enumerate(components):
    ax.barh(positions + 0.4 * k - 0.2, component, height=0.4, color=["#0072B2", "#D55E00"][k], label=f"component {k}")
ax.set(yticks=positions, yticklabels=data.feature_names, xlabel="element of components_")
ax.axvline(0, color="k", linewidth=0.8)
ax.legend(frameon=False, loc="lower left")
largest = np.argsort(-np.linalg.norm(components, axis=0))[:3]
print("largest:", ", ".join(data.feature_names[feature] for feature in largest))

# %%
# Figures are shown, or saved into the folder that is given on the command line.
if len(sys.argv) > 1:
    for number in plt.get_fignums():
        plt.figure(number).savefig(Path(sys.argv[1], f"{Path(sys.argv[0]).stem}_{number}.png"))
else:
    plt.show()
