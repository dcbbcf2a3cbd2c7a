"""From a data set to scaled training, validation and test rows, with a record of how they were made."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.data import Dataset, load_dataset, task_of
from pipelines.split import Split, make_split, remake_split
from pretrain.exceptions import DataError
from pretrain.scaling import Scaling, in_unit_interval
from pretrain.settings import AutoencoderSettings, LayerSettings, RBMSettings


@dataclass(frozen=True, eq=False)
class PreparedData:
    """A data set, its split, and the scaling that was learned on the training rows.

    Rows are scaled when they are asked for: `train_rows()` and the like give float32 (n, n_features).
    """

    dataset: Dataset
    split: Split
    scaling: Scaling

    def train_rows(self) -> np.ndarray:
        """Scaled training rows."""
        return self.scaling.apply(take_rows(self.dataset.X, self.split.train))

    def validation_rows(self) -> np.ndarray:
        """Scaled validation rows; none where the split has none."""
        return self.scaling.apply(take_rows(self.dataset.X, self.split.validation))

    def raw_test_rows(self) -> np.ndarray:
        """Test rows as they are in the data; DataError where there are none."""
        if self.split.n_test == 0:
            raise DataError(f"{self.dataset.name}: no test rows were set aside, so nothing can be tested.")
        if self.dataset.X_test is not None:
            return self.dataset.X_test
        return self.dataset.X[self.split.test]

    def train_labels(self) -> np.ndarray:
        """Labels or targets of the training rows."""
        return self.labels()[self.split.train]

    def labels(self) -> np.ndarray:
        """Labels or targets of all rows of `dataset.X`; DataError where there are none."""
        if self.dataset.y is None:
            raise DataError(
                f"{self.dataset.name}: there are no labels, and this command needs them. Give data with labels "
                "(a csv: name their column with --target)."
            )
        return self.dataset.y

    def test_labels(self) -> np.ndarray:
        """Labels or targets of the test rows; DataError where there are none."""
        if self.dataset.X_test is None:
            return self.labels()[self.split.test]
        if self.dataset.y_test is None:
            raise DataError(f"{self.dataset.name}: the test rows have no labels, so nothing can be tested.")
        return self.dataset.y_test

    @property
    def task(self) -> str:
        """ "classification" or "regression", from the labels."""
        return task_of(self.labels())

    def describe(self) -> dict[str, Any]:
        """What a file or a report says of the data: JSON-able."""
        dataset, shape = self.dataset, self.dataset.image_shape
        return {
            "name": dataset.name,
            "sha256": dataset.sha256,
            "n_samples": len(dataset.X),
            "n_features": dataset.X.shape[1],
            "image_shape": None if shape is None else list(shape),
            "value_range": None if dataset.value_range is None else list(dataset.value_range),
        }


def prepare(
    source: str,
    *,
    target: str | None = None,
    scaling: str = "range",
    seed: int = 0,
    validation_fraction: float = 0.0,
    test_fraction: float = 0.2,
    unit_interval: bool = False,
) -> PreparedData:
    """Load data, split them, and learn the scaling on the training rows.

    Parameters
    ----------
    source, target
        See `pipelines.data.load_dataset`.
    scaling : {"range", "none", "minmax", "standard"}
        "range" divides by the range that the format declares (255 for bytes) and leaves other data alone.
    seed, validation_fraction, test_fraction
        See `pipelines.split.make_split`.
    unit_interval : bool
        Whether values outside [0, 1] are refused, see `wants_unit_interval`.

    Raises
    ------
    DataError
        If the data cannot be read, split or modelled.
    """
    dataset = load_dataset(source, target=target)
    split = make_split(dataset, seed=seed, validation_fraction=validation_fraction, test_fraction=test_fraction)
    learned = Scaling.fit(scaling, take_rows(dataset.X, split.train), dataset.value_range)
    prepared = PreparedData(dataset, split, learned)
    if unit_interval:
        require_unit_interval(prepared)
    return prepared


def prepare_as_before(
    source: str,
    record: Mapping[str, Any],
    scaling: Scaling,
    *,
    target: str | None = None,
    seed: int = 0,
    validation_fraction: float | None = None,
) -> PreparedData:
    """Load data for a model that exists: its scaling, and its split where the data are the same.

    Parameters
    ----------
    record : mapping
        The provenance of the model's file. Where its data digest is that of these data, the test rows are the
        ones recorded there; other data are split anew.
    scaling : Scaling
        The model's.
    validation_fraction : float or None
        None keeps the recorded one. Test rows do not depend on it.

    Raises
    ------
    DataError
        If the data cannot be read, or have another number of features than the model.
    """
    dataset = load_dataset(source, target=target)
    split = split_as_before(dataset, record, seed=seed, validation_fraction=validation_fraction)
    return PreparedData(dataset, split, scaling)


def split_as_before(
    dataset: Dataset, record: Mapping[str, Any], *, seed: int = 0, validation_fraction: float | None = None
) -> Split:
    """The split of `prepare_as_before`: the recorded one where the data are the same, else a new one."""
    if not same_data(record, dataset):
        return make_split(dataset, seed=seed, validation_fraction=validation_fraction or 0.0)
    known = record["split"]
    if validation_fraction is None or validation_fraction == known["validation_fraction"]:
        return remake_split(dataset, known)
    return make_split(
        dataset, seed=known["seed"], validation_fraction=validation_fraction, test_fraction=known["test_fraction"]
    )


def same_data(record: Mapping[str, Any], dataset: Dataset) -> bool:
    """Whether the provenance of a file names exactly these data."""
    return (record.get("split") or {}).get("data_sha256") == dataset.sha256


def require_features(dataset: Dataset, n_features: int, model: str) -> None:
    """DataError unless the data have the model's number of features."""
    found = dataset.X.shape[1]
    if found != n_features:
        raise DataError(
            f"{dataset.name}: the rows have {found} features, but {model} was trained on {n_features}. "
            "Give data of the same kind."
        )


def wants_unit_interval(layer: LayerSettings) -> bool:
    """Whether the first layer models values in [0, 1] alone: Bernoulli visible units, or the cross-entropy."""
    if isinstance(layer, RBMSettings):
        return layer.visible_units == "bernoulli"
    return isinstance(layer, AutoencoderSettings) and layer.reconstruction_loss == "cross_entropy"


def require_unit_interval(prepared: PreparedData) -> None:
    """DataError unless the scaled training rows lie in [0, 1]."""
    X = take_rows(prepared.dataset.X, prepared.split.train)
    low, high = float(X.min()), float(X.max())
    scaled = prepared.scaling.apply(np.array([X.min(axis=0), X.max(axis=0)]))
    if not in_unit_interval(scaled):
        raise DataError(
            f"{prepared.dataset.name}: the values run from {low:g} to {high:g}, but Bernoulli visible units and the "
            "cross-entropy model values in [0, 1]. Give --scaling minmax (or, for layers of RBMs, --visible-units "
            "gaussian --scaling standard)."
        )


def take_rows(X: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """X[rows], without a copy where that is all rows in order."""
    return X if len(rows) == len(X) else X[rows]
