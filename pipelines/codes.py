"""Codes and reconstructions of rows that a model was not trained on, beside those of principal components."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.evaluation import evaluate, network_or_stack, task_of_model
from pipelines.pca import fit_pca, squared_error
from pipelines.preparation import PreparedData, same_data, take_rows
from pretrain import Stack
from pretrain.exceptions import DataError, SettingsError

TITLES = {
    "classification": "Classifier",
    "multilabel": "Classifier",
    "regression": "Regressor",
    "reconstruction": "Deep autoencoder",
}
MOST_SIZES = 7  # of layers in a model's name
TEST, TRAINING, DRAWN = "test", "training", "drawn"


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows to show.

    Attributes
    ----------
    X : np.ndarray of shape (n_rows, n_features)
        As they are in the data.
    y : np.ndarray of shape (n_rows,) or None
    kind : {"test", "training", "drawn"}
        Test rows; training rows, where no test rows were set aside; rows drawn anew of data that have no test rows
        of their own and are not known to be those that the model was trained on.
    """

    X: np.ndarray
    y: np.ndarray | None
    kind: str


@dataclass(frozen=True, eq=False)
class Reconstructions:
    """The first rows, in the units of the data, and squared errors.

    Attributes
    ----------
    originals, rebuilt, by_pca : np.ndarray of shape (n_shown, n_features)
    error, pca_error : float
        Squared error of a row, summed over its scaled features and averaged over all `n_rows` rows.
    n_components : int
        Of the PCA: the size of the code, or fewer where the training rows have no more.
    n_rows : int
    kind : str
        See `Rows`.
    """

    originals: np.ndarray
    rebuilt: np.ndarray
    by_pca: np.ndarray
    error: float
    pca_error: float
    n_components: int
    n_rows: int
    kind: str


@dataclass(frozen=True, eq=False)
class Codes:
    """Codes in two dimensions.

    Attributes
    ----------
    code : np.ndarray of shape (n_rows, 2)
        The code itself if it has two units, else its first two principal components.
    code_size : int
    by_pca : np.ndarray of shape (n_rows, 2)
        The first two principal components of the scaled rows.
    y : np.ndarray of shape (n_rows,) or None
    kind : str
        See `Rows`.
    """

    code: np.ndarray
    code_size: int
    by_pca: np.ndarray
    y: np.ndarray | None
    kind: str


def name_model(model: Any) -> str:
    """What a model is and the sizes of its layers up to the code: "Stack 784-1000-500-250-30"."""
    module = network_or_stack(model)
    if isinstance(module, Stack):
        title, sizes = "Stack", module.hidden_layer_sizes
    else:
        spec = module.architecture
        title, sizes = TITLES[spec.task], spec.hidden_layer_sizes[: spec.n_encoder_layers]
    numbers = [str(size) for size in (module.n_visible, *sizes)]
    if len(numbers) > MOST_SIZES:
        numbers[3:-3] = ["..."]
    return f"{title} {'-'.join(numbers)}"


def rows_to_show(prepared: PreparedData, record: Mapping[str, Any]) -> Rows:
    """Test rows wherever there are such.

    Parameters
    ----------
    prepared : PreparedData
        The data, with the model's split where it is recorded.
    record : mapping
        The provenance of the model's file.
    """
    dataset, split = prepared.dataset, prepared.split
    if dataset.X_test is not None:
        return Rows(dataset.X_test, dataset.y_test, TEST)
    known = same_data(record, dataset)
    shown, kind = (split.test, TEST if known else DRAWN) if split.n_test else (split.train, TRAINING)
    return Rows(take_rows(dataset.X, shown), None if dataset.y is None else dataset.y[shown], kind)


def reconstruct(model: Any, prepared: PreparedData, rows: Rows, n_shown: int) -> Reconstructions:
    """Reconstruct rows by the model and by as many principal components as its code has units.

    Parameters
    ----------
    model : Stack, Network or fitted estimator
    prepared : PreparedData
        With the model's scaling. The components are fitted on its scaled training rows.
    rows : Rows
        The errors are over all of them.
    n_shown : int
        Reconstructions of the first ones are returned.

    Raises
    ------
    SettingsError
        If the model is a classifier or a regressor.
    DataError
        If there are too few training rows.
    """
    task = task_of_model(model)
    if task != "reconstruction":
        raise SettingsError(
            f"The model is a {TITLES[task].lower()} and reconstructs nothing. Give a stack or a deep autoencoder; "
            "`plot codes` draws the last hidden layer of any network."
        )
    module = network_or_stack(model)
    first = rows.X[:n_shown]
    rebuilt = (
        module.inverse_transform(module.transform(first)) if isinstance(module, Stack) else module.predict(first)
    )
    pca = fit_pca(prepared.train_rows(), module.n_hidden)
    scaled = prepared.scaling.apply(rows.X)
    by_pca = pca.inverse_transform(pca.transform(scaled))
    return Reconstructions(
        originals=first,
        rebuilt=rebuilt,
        by_pca=prepared.scaling.undo(by_pca[:n_shown]),
        error=evaluate(model, rows.X, None)["test_error"],
        pca_error=squared_error(by_pca, scaled),
        n_components=int(pca.n_components_),
        n_rows=len(rows.X),
        kind=rows.kind,
    )


def encode(model: Any, prepared: PreparedData, rows: Rows) -> Codes:
    """Encode rows: the code of a stack or a deep autoencoder, the last hidden layer of other networks.

    Parameters
    ----------
    model, prepared, rows
        See `reconstruct`. Projections are fitted on the training rows, or on their codes.

    Raises
    ------
    DataError
        If the code or the rows have fewer than two dimensions.
    """
    module = network_or_stack(model)
    if module.n_hidden < 2 or module.n_visible < 2:
        raise DataError(
            f"Codes are drawn in two dimensions: the code has {module.n_hidden} units and a row has "
            f"{module.n_visible} features; each needs at least 2."
        )
    code = module.transform(rows.X)
    if module.n_hidden > 2:
        train_codes = module.transform(take_rows(prepared.dataset.X, prepared.split.train))
        code = fit_pca(train_codes, 2).transform(code)
    by_pca = fit_pca(prepared.train_rows(), 2).transform(prepared.scaling.apply(rows.X))
    return Codes(code, module.n_hidden, by_pca, rows.y, rows.kind)
