"""Read a classifier with h5py and NumPy alone, from what checkpoints/FORMAT.md says.

`predict_proba` below knows nothing of this toolkit. It understands networks of dense layers, with batch norm or
without; the page has a reader of all networks.
"""

import json
import math
import tempfile
from pathlib import Path

import h5py
import numpy as np

ACTIVATIONS = {
    "sigmoid": lambda a: 0.5 * (1 + np.tanh(a / 2)),
    "tanh": np.tanh,
    "relu": lambda a: np.maximum(a, 0),
    "leaky_relu": lambda a: np.where(a > 0, a, 0.01 * a),
    "softplus": lambda a: np.logaddexp(0, a),
    "gelu": lambda a: 0.5 * a * (1 + np.vectorize(math.erf)(a / math.sqrt(2))),
    "identity": lambda a: a,
}


def predict_proba(path, X):
    """Labels (n_classes,) and probabilities of raw rows: (n_samples, n_features) -> (n_samples, n_classes)."""
    with h5py.File(path) as file:
        network = file["network"]
        x = (X - network["scaling/offset"][()]) / network["scaling/scale"][()]
        activations = json.loads(network.attrs["config"])["activations"]
        for name, activation in zip(sorted(network["layers"]), activations, strict=True):
            layer = network["layers"][name]
            a = x @ layer["weight"][()].T + layer["bias"][()]
            if "norm_mean" in layer:
                deviation = np.sqrt(layer["norm_variance"][()].astype(float) + 1e-5)
                a = (a - layer["norm_mean"][()]) / deviation * layer["norm_weight"][()] + layer["norm_bias"][()]
            x = ACTIVATIONS[activation](a)
        a = x @ network["head/weight"][()].T + network["head/bias"][()]
        e = np.exp(a - a.max(axis=1, keepdims=True))
        labels = network["classes/values"][()] if "classes" in network else np.arange(a.shape[1])
        labels = np.array([label.decode() if isinstance(label, bytes) else label for label in labels.tolist()])
        return labels, e / e.sum(axis=1, keepdims=True)


if __name__ == "__main__":
    from sklearn.datasets import load_digits

    import checkpoints
    from pretrain import DBNClassifier

    X, y = load_digits(return_X_y=True)
    classifier = DBNClassifier((64,), pretrain_epochs=2, max_iter=5, random_state=0).fit(X[:500] / 16, y[:500])
    with tempfile.TemporaryDirectory() as folder:
        checkpoints.save(classifier, Path(folder) / "digits.h5")
        labels, probabilities = predict_proba(Path(folder) / "digits.h5", X[500:] / 16)
    difference = np.abs(probabilities - classifier.predict_proba(X[500:] / 16)).max()
    print(f"accuracy {(labels[probabilities.argmax(axis=1)] == y[500:]).mean():.3f}")
    print(f"largest difference from pretrain's own probabilities {difference:.1e}")
