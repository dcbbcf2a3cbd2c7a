"""The `evaluate` run: the error of a model on test rows, by scikit-learn's metrics."""

import time
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, confusion_matrix, root_mean_squared_error

import checkpoints
from pretrain import DBM, DBN, Stack
from pretrain.class_indices import UNLABELLED
from pretrain.device import resolve_device
from pretrain.exceptions import DataError, SettingsError
from pretrain.monte_carlo import predict_by_dropout
from pretrain.network import Network
from pretrain.reconstruction import reconstruction_errors

UNITS = {
    "classification": "% of the rows wrong",
    "multilabel": "% of the rows with a label wrong",
    "regression": "root mean squared error in the target's units",
    "reconstruction": "squared error per row, summed over the scaled features",
}

LARGEST_CONFUSION = 100  # classes; beyond them the counts say little and take much room


def task_of_model(model: Any) -> str:
    """ "classification", "multilabel", "regression" or "reconstruction": what the model can be tested on."""
    module = module_of(model)
    if isinstance(module, DBN):
        return "classification" if module.n_classes else "reconstruction"
    return module.architecture.task if isinstance(module, Network) else "reconstruction"


def on_device(model: Any, device: str) -> Any:
    """The model, moved to the device that "auto", "cpu" or "cuda" stands for."""
    module_of(model).to(resolve_device(device))
    return model


def network_or_stack(model: Any) -> Network | Stack:
    """The torch module inside a Stack, a Network or a fitted estimator; SettingsError where that is a DBN."""
    module = module_of(model)
    if isinstance(module, DBN):
        raise SettingsError(
            "This is for stacks and networks, and the file holds a deep belief net. `pretrain sample` and `pretrain "
            "evaluate` take it."
        )
    return module


def module_of(model: Any) -> Network | Stack | DBN:
    """The torch module inside a Stack, a Network, a DBN or a fitted estimator; SettingsError for anything else."""
    if isinstance(model, checkpoints.RunState):
        raise SettingsError("The file holds the state of an unfinished run: repeat its command with --resume.")
    if isinstance(model, DBM):
        raise SettingsError(
            "The file holds a deep Boltzmann machine, which `pretrain inspect` alone takes. Use it in Python, where "
            "`checkpoints.load` gives it."
        )
    inside = (getattr(model, name, None) for name in ("network_", "stack_", "dbn_"))
    return next((module for module in inside if module is not None), model)


def evaluate(model: Any, X: np.ndarray, y: np.ndarray | None) -> dict[str, Any]:
    """Test a model once.

    Parameters
    ----------
    model : Stack, Network, DBN or fitted estimator
    X : ndarray of shape (n_test, n_features)
        Raw rows.
    y : ndarray of shape (n_test,) or None
        Labels or targets; None for a reconstruction.

    Returns
    -------
    dict
        `test_error` (see `UNITS`), `unit`, `task`, `n_test`, `seconds`; and `n_unlabelled`, where rows without a
        label were left out: those of integer -1, of a model that does not know it as a class.

    Raises
    ------
    DataError
        If the labels are not those of the model, or no row has one.
    """
    task = task_of_model(model)
    if task == "multilabel":
        raise SettingsError(
            "The model predicts several labels a row, and the data have one. Test it in Python, with its `score`."
        )
    n_given, started = len(X), time.perf_counter()
    if task == "classification" and y is not None:
        known = _known_rows(model, y)
        X, y = (X, y) if known.all() else (X[known], y[known])
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
        **({"n_unlabelled": n_given - len(X)} if n_given > len(X) else {}),
        "seconds": time.perf_counter() - started,
    }


def confusion_counts(network: Network, X: np.ndarray, y: np.ndarray) -> list[list[int]] | None:
    """How often test rows of each class (first index) are given each class, in the order of the network's classes.

    Rows of classes that the network does not know are left out. None of a network that is no classifier, or has more
    than 100 classes.
    """
    classes = network.classes
    if classes is None or len(classes) > LARGEST_CONFUSION:
        return None
    known = np.isin(y, classes)
    return confusion_matrix(y[known], network.predict(X[known]), labels=classes).tolist()


def evaluate_by_dropout(
    network: Any, X: np.ndarray, y: np.ndarray | None, *, dropout_draws: int, seed: int
) -> dict[str, Any]:
    """The error of predictions averaged over networks with units dropped, see `pretrain.monte_carlo`.

    Parameters
    ----------
    network : Network
    X, y : ndarray
        As in `evaluate`.
    dropout_draws, seed : int
        See `predict_by_dropout`.

    Returns
    -------
    dict
        `dropout_draws`, `dropout_test_error` in the unit of `test_error`, and `dropout_standard_deviation`: that of
        the draws of an output (a class probability, or a target in its units), on average.
    """
    if not isinstance(network, Network):
        raise SettingsError(f"--dropout-draws is for networks; the file holds a {type(network).__name__}.")
    assert y is not None
    if network.architecture.task == "classification":
        known = _known_rows(network, y)
        X, y = X[known], y[known]
    found = predict_by_dropout(network, X, dropout_draws=dropout_draws, seed=seed)
    if network.architecture.task == "classification":
        index = found.mean.argmax(axis=1)
        predicted = index if network.classes is None else network.classes[index]
        error = 100.0 * (1.0 - accuracy_score(y, predicted))
    else:
        error = float(root_mean_squared_error(y, found.mean.reshape(np.shape(y))))
    return {
        "dropout_draws": dropout_draws,
        "dropout_test_error": round(error, 10),
        "dropout_standard_deviation": float(np.sqrt(found.variance).mean(dtype=np.float64)),
    }


def _known_rows(model: Any, y: np.ndarray) -> np.ndarray:
    """Which rows have a label, (n_test,) bool; DataError if none has."""
    classes = _classes_of(model)
    if classes is None or classes.dtype.kind not in "iu" or y.dtype.kind != "i" or UNLABELLED in classes:
        return np.ones(len(y), dtype=bool)
    known = y != UNLABELLED
    if not known.any():
        raise DataError(f"All {len(y)} rows are unlabelled (-1), so no error can be measured. Give rows with labels.")
    return known


def _classes_of(model: Any) -> np.ndarray | None:
    module = module_of(model)
    assert isinstance(module, Network | DBN)
    return None if module.classes is None else np.asarray(module.classes)


def _require_known_labels(model: Any, y: np.ndarray) -> None:
    classes = _classes_of(model)
    if classes is None:
        return
    if classes.dtype.kind != y.dtype.kind or not np.isin(y, classes).all():
        raise DataError(
            f"The labels of the data ({_examples(y)}) are not those that the model was trained on "
            f"({_examples(classes)}). Give data with the same classes."
        )


def _examples(labels: np.ndarray) -> str:
    return ", ".join(repr(label) for label in np.unique(labels)[:4].tolist())


def _reconstruction_error(model: Any, X: np.ndarray) -> float:
    # In the scaled space, where 1.0 is the full range of a pixel: the papers' unit.
    module = module_of(model).eval()
    return float(reconstruction_errors(module, module.scaled(X)).mean(dtype=np.float64))
