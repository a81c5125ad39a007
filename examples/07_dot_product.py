"""
Dot-product attention
=====================

The attention of transformers, softmax(q·k / h²), is Gaussian attention pooling wherever all keys have the same length:
there ‖q - k‖² = ‖q‖² + ‖k‖² - 2 q·k, and the first two terms are the same for all keys and cancel in the softmax.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from sknw import AttentionDisplay, NadarayaWatsonRegressor

try:
    import torch
except ImportError:
    torch = None


def dot_product_attention(queries, keys, values, h):
    """softmax(q·k / h²) @ values, by torch where it is installed."""
    if torch is not None:
        tensors = [torch.from_numpy(array) for array in (queries, keys, values)]
        return torch.nn.functional.scaled_dot_product_attention(*tensors, scale=1 / h**2).numpy()
    scores = queries @ keys.T / h**2
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True) @ values


print(f"dot-product attention by {'numpy' if torch is None else 'torch'}")

# %%
# On the unit sphere
# ------------------
# Random queries and keys in 16 dimensions, of length one, and values in 5. At h = 2 the scale 1 / h² is the 1 / √16
# that transformers use: their softmax(q·k / √d) has h = d^(1/4).
rng = np.random.default_rng(0)
queries, keys, values = rng.normal(size=(100, 16)), rng.normal(size=(200, 16)), rng.normal(size=(200, 5))
sphere_queries, sphere_keys = (points / np.linalg.norm(points, axis=1, keepdims=True) for points in (queries, keys))
for h in (0.1, 0.5, 2.0):
    pooled = NadarayaWatsonRegressor(h).fit(sphere_keys, values).predict(sphere_queries)
    difference = np.abs(pooled - dot_product_attention(sphere_queries, sphere_keys, values, h)).max()
    print(f"on the sphere, h = {h:<3g}   largest difference {difference:.0e}")

# %%
# Off the sphere
# --------------
# Dot products give more weight to long keys, since exp(q·k / h²) = exp(-‖q - k‖² / 2h²) exp(‖k‖² / 2h²) times a factor
# that depends on q only. The two therefore differ. With the second factor as the sample weight of the keys they agree.
h = 2.0
weights = np.exp(np.square(keys).sum(axis=1) / (2 * h**2))
for name, sample_weight in {"without weights": None, "with weights": weights}.items():
    pooled = NadarayaWatsonRegressor(h).fit(keys, values, sample_weight).predict(queries)
    difference = np.abs(pooled - dot_product_attention(queries, keys, values, h)).max()
    print(f"off the sphere, {name}   largest difference {difference:.0e}")

# %%
# On a circle
# -----------
# In two dimensions the sphere is a circle, and the heatmap is a bright band of keys in the direction of the query. The
# band continues from the last key to the first, since they are neighbours. Dot-product attention with the identity as
# values returns its weights, which are the same.
angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
circle = np.column_stack([np.cos(angles), np.sin(angles)])
model = NadarayaWatsonRegressor(0.5).fit(circle, np.sin(angles))
softmax = dot_product_attention(circle, circle, np.eye(60), 0.5)
figure, (left, right) = plt.subplots(1, 2, figsize=(7.5, 3.9), layout="constrained")
AttentionDisplay.from_estimator(model, circle, order="given", ax=left, colorbar=False)
AttentionDisplay(softmax).plot(ax=right, colorbar=False)
left.set(title="gaussian, h = 0.5", xlabel="keys, by angle", ylabel="queries, by angle")
right.set(title="softmax(q·k / h²)", xlabel="keys, by angle", ylabel="")
figure.colorbar(left.images[0], ax=[left, right], label="attention weight", shrink=0.8)
print(
    f"on the circle, largest difference of weights {np.abs(np.asarray(model.attention_weights_) - softmax).max():.0e}"
)
print(f"weight of the last key at the first query {softmax[0, -1]:.4f}, of the second {softmax[0, 1]:.4f}")

# %%
# Figures are shown, or saved into the folder that is given on the command line.
if len(sys.argv) > 1:
    for number in plt.get_fignums():
        plt.figure(number).savefig(Path(sys.argv[1], f"{Path(sys.argv[0]).stem}_{number}.png"))
else:
    plt.show()
