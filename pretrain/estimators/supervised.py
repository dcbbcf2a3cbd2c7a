"""The story that classifiers and regressors share: scale, make a network, fine-tune it, predict."""

from abc import abstractmethod
from typing import Any, NamedTuple, Self

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.model_selection import train_test_split
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from pretrain._validation import require_flag, require_number
from pretrain.class_indices import labelled_rows
from pretrain.estimators.base import ModelEstimator
from pretrain.estimators.inputs import (
    check_rows,
    choose_scaling,
    like_input,
    require_verbose,
    seed_from,
    training_settings,
)
from pretrain.exceptions import DataError, SettingsError
from pretrain.finetuning import Finetuning
from pretrain.network import Network
from pretrain.random_streams import RandomStreams
from pretrain.scaling import Scaling
from pretrain.settings import FinetuneSettings

# Fields of TrainingSettings and the parameters that fill them.
FINETUNING_PARAMETERS = {
    "epochs": "max_iter",
    "batch_size": "batch_size",
    "optimizer": "solver",
    "learning_rate": "learning_rate_init",
    "schedule": "schedule",
    "momentum": "momentum",
    "weight_decay": "alpha",
    "max_norm": "max_norm",
    "early_stopping": "early_stopping",
    "n_iter_no_change": "n_iter_no_change",
    "tol": "tol",
    "precision": "precision",
}


class Targets(NamedTuple):
    """What a network is trained towards.

    `labelled` says which rows have a target; `values` are the targets of those rows as the network's loss takes
    them; `classes` (of a classifier) and `scaling` lead from its outputs back to labels and targets.
    """

    labelled: np.ndarray
    values: np.ndarray
    n_outputs: int
    classes: np.ndarray | None
    scaling: Scaling


class SupervisedEstimator(ModelEstimator):
    """Base of the classifiers and regressors: everything but where the network comes from.

    Attributes
    ----------
    network_ : Network
        The trained network; it holds the scaling and the classes.
    n_iter_ : int
        Epochs of supervised training that ran.
    """

    task: str
    stage = "finetune"
    network_: Network

    @abstractmethod
    def _initial_network(self, X: np.ndarray, scaling: Scaling, n_outputs: int, streams: RandomStreams) -> Network:
        """The network before supervised training, and its records in `report_`; `X` is scaled."""

    def fit(self, X: Any, y: Any) -> Self:
        """Fit to rows and labels or targets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,), or (n_samples, n_targets) for a regressor
            A classifier's integer label -1 marks an unlabelled row: it is used for pretraining and not for
            fine-tuning. Labels that are exactly -1 and 1 are two classes.

        Returns
        -------
        self
        """
        self._check_parameters()
        settings = self._finetune_settings()
        warm = self.warm_start and hasattr(self, "network_")
        if warm:
            self._require_same_sizes()
        X, y = self._check_training_data(X, y, reset=not warm)
        targets = self._encode_targets(y, self.network_ if warm else None)
        scaling = self.network_.scaling if warm else choose_scaling(self, X)
        scaled = scaling.apply(X)
        self.seed_ = seed_from(self.random_state)
        parts: list[Any] = [np.flatnonzero(targets.labelled), None, targets.values, None]
        if settings.training.early_stopping:  # what cannot be split is said before pretraining
            parts = self._hold_out(parts[0], targets.values, self.seed_)
        if not warm:
            self.report_ = []
            self.network_ = self._initial_network(scaled, scaling, targets.n_outputs, RandomStreams(self.seed_))
            self.network_.classes, self.network_.target_scaling = targets.classes, targets.scaling
        self._finetune(scaled, parts, settings)
        return self

    def _require_same_sizes(self) -> None:
        fitted, asked = self.network_.architecture.hidden_layer_sizes, tuple(self.hidden_layer_sizes)
        if fitted != asked:
            raise SettingsError(
                f"warm_start continues a network with hidden_layer_sizes {fitted}; got {asked}. Fit with "
                "warm_start=False to begin anew."
            )

    def _finetune(self, X: np.ndarray, parts: list[Any], settings: FinetuneSettings) -> None:
        rows, held_out, targets, held_out_targets = parts
        run = Finetuning(
            self.network_,
            X if len(rows) == len(X) else X[rows],
            targets,
            settings,
            seed=self.seed_,
            device=self.device,
            validation=None if held_out is None else (X[held_out], held_out_targets),
            stage=self.stage,
        )
        self.n_iter_ = 0
        for record in run:
            self._note(record)
            self.n_iter_ += record["stage"] == self.stage

    def _check_parameters(self) -> None:
        # What no settings check, or only when pretraining is over.
        owner = type(self).__name__
        require_flag(owner, "warm_start", self.warm_start)
        require_verbose(self)
        require_number(owner, "validation_fraction", self.validation_fraction, at_least=0, below=1)
        if self.early_stopping:
            require_number(owner, "validation_fraction", self.validation_fraction, above=0, below=1)
        for name in ("dropout", "input_dropout"):
            if getattr(self, name) is not None:
                require_number(owner, name, getattr(self, name), at_least=0, below=1)

    def _hold_out(self, X: np.ndarray, targets: np.ndarray, seed: int) -> list[np.ndarray]:
        stratify = targets if self.task == "classification" else None
        return train_test_split(
            X,
            targets,
            test_size=self.validation_fraction,
            stratify=stratify,
            random_state=RandomStreams(seed).integer_seed("split") % 2**32,
        )

    def _finetune_settings(self) -> FinetuneSettings:
        return FinetuneSettings(
            head_epochs=getattr(self, "head_epochs", 0),
            training=training_settings(self, FINETUNING_PARAMETERS),
        )

    @property
    def loss_curve_(self) -> list[float]:
        """Training loss of each epoch of supervised training."""
        return [record["loss"] for record in self.report_ if record["stage"] == self.stage]

    @property
    def validation_scores_(self) -> list[float] | None:
        """Validation accuracy (classifier) or negative loss (regressor) of each epoch, with early stopping."""
        if not self.early_stopping:
            return None
        validated = [r for r in self.report_ if r["stage"] == self.stage and "validation_loss" in r]
        if self.task == "classification":
            return [1 - record["validation_error"] / 100 for record in validated]
        return [-record["validation_loss"] for record in validated]


class NetworkClassifier(ClassifierMixin, SupervisedEstimator):
    """Labels in, labels out.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    """

    task = "classification"

    @property
    def classes_(self) -> np.ndarray | None:
        """Labels in the order of the network's outputs, (n_classes,)."""
        return self.network_.classes

    def predict(self, X: Any) -> np.ndarray:
        """Labels of rows: (n_samples, n_features) -> (n_samples,)."""
        return self._model.predict(check_rows(self, X))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Class probabilities of rows: -> (n_samples, n_classes), columns in the order of `classes_`."""
        network, X = self._model, check_rows(self, X)
        return like_input(network.predict_proba(X), X)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of `predict_proba`, finite where a probability is too small for a float."""
        network, X = self._model, check_rows(self, X)
        return like_input(network.predict_log_proba(X), X)

    def _check_training_data(self, X: Any, y: Any, *, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        X, y = validate_data(self, X, y, dtype="numeric", reset=reset)
        check_classification_targets(y)
        return X, y

    def _encode_targets(self, y: np.ndarray, fitted: Network | None) -> Targets:
        labelled = labelled_rows(y)
        if not labelled.any():
            raise DataError("Every row is unlabelled (y == -1); give labels for some rows of each class.")
        classes, indices = np.unique(y[labelled], return_inverse=True)
        if fitted is not None and classes.tolist() != np.asarray(fitted.classes).tolist():
            raise DataError(
                f"warm_start continues a network for the classes {fitted.classes}, but y holds {classes}; "
                "give the same classes, or fit with warm_start=False."
            )
        return Targets(labelled, indices.astype(np.int64), len(classes), classes, Scaling.none())


class NetworkRegressor(RegressorMixin, SupervisedEstimator):
    """Real targets, one or several; they are standardised for training and given back in their own units."""

    task = "regression"

    def predict(self, X: Any) -> np.ndarray:
        """Targets of rows: (n_samples, n_features) -> (n_samples,) or (n_samples, n_targets)."""
        network, X = self._model, check_rows(self, X)
        return like_input(network.predict(X), X)

    def _check_training_data(self, X: Any, y: Any, *, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        return validate_data(self, X, y, dtype="numeric", multi_output=True, y_numeric=True, reset=reset)

    def _encode_targets(self, y: np.ndarray, fitted: Network | None) -> Targets:
        targets = y.reshape(len(y), -1)
        n_outputs = targets.shape[1]
        if fitted is not None and fitted.architecture.n_outputs != n_outputs:
            raise DataError(
                f"warm_start continues a network with {fitted.architecture.n_outputs} outputs, but y has "
                f"{n_outputs}; give as many, or fit with warm_start=False."
            )
        # Continued training goes on in the units that the network has learned.
        scaling = Scaling.fit("standard", targets) if fitted is None else fitted.target_scaling
        return Targets(np.ones(len(y), dtype=bool), scaling.apply(targets), n_outputs, None, scaling)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
