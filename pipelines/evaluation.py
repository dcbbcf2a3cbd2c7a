"""The `evaluate` run: the error of a model on test rows, by scikit-learn's metrics."""

import time
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, root_mean_squared_error

from pretrain import Stack
from pretrain.exceptions import DataError
from pretrain.network import Network

UNITS = {
    "classification": "% of the rows wrong",
    "regression": "root mean squared error in the target's units",
    "reconstruction": "squared error per row, summed over the scaled features",
}


def task_of_model(model: Any) -> str:
    """ "classification", "regression" or "reconstruction": what the model can be tested on."""
    if isinstance(model, Stack):
        return "reconstruction"
    if isinstance(model, Network):
        return model.architecture.task
    if hasattr(model, "network_"):
        return model.network_.architecture.task
    return "reconstruction"


def evaluate(model: Any, X: np.ndarray, y: np.ndarray | None) -> dict[str, Any]:
    """Test a model once.

    Parameters
    ----------
    model : Stack, Network or fitted estimator
    X : ndarray of shape (n_test, n_features)
        Raw rows.
    y : ndarray of shape (n_test,) or None
        Labels or targets; None for a reconstruction.

    Returns
    -------
    dict
        `test_error` (see `UNITS`), `unit`, `task`, `n_test`, `seconds`.
    """
    task = task_of_model(model)
    started = time.perf_counter()
    if task == "reconstruction":
        error = _reconstruction_error(model, X)
    else:
        assert y is not None
        predicted = model.predict(X)
        if task == "classification":
            _require_known_labels(model, y)
            error = 100.0 * (1.0 - accuracy_score(y, predicted))
        else:
            error = float(root_mean_squared_error(y, predicted))
    return {
        "test_error": round(error, 10),  # 100 * (1 - accuracy) leaves dust in the last digits
        "unit": UNITS[task],
        "task": task,
        "n_test": len(X),
        "seconds": time.perf_counter() - started,
    }


def _require_known_labels(model: Any, y: np.ndarray) -> None:
    classes = model.classes if isinstance(model, Network) else model.classes_
    if classes is None:
        return
    if np.asarray(classes).dtype.kind != y.dtype.kind or not np.isin(y, classes).any():
        raise DataError(
            f"The labels of the data ({_examples(y)}) are not those that the model was trained on "
            f"({_examples(classes)}). Give data with the same classes."
        )


def _examples(labels: np.ndarray) -> str:
    return ", ".join(repr(label) for label in np.unique(labels)[:4].tolist())


def _reconstruction_error(model: Any, X: np.ndarray) -> float:
    # In the scaled space, where 1.0 is the full range of a pixel: the papers' unit.
    if isinstance(model, Network):
        scaling, rebuilt = model.scaling, model.predict(X)
    else:
        stack = model if isinstance(model, Stack) else model.stack_
        scaling, rebuilt = stack.scaling, stack.inverse_transform(stack.transform(X))
    difference = scaling.apply(X).astype(np.float64) - scaling.apply(rebuilt)
    return float(np.square(difference).sum(axis=1).mean())
