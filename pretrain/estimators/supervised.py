"""The story that classifiers and regressors share: scale, make a network, fine-tune it, predict."""

import dataclasses
from abc import abstractmethod
from typing import Any, NamedTuple, Self

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils import Tags
from sklearn.utils.validation import _check_sample_weight

from pretrain._validation import require_flag, require_number
from pretrain.estimators.base import ModelEstimator
from pretrain.estimators.inputs import choose_scaling, require_verbose, seed_from, training_settings
from pretrain.estimators.progress_line import close_line
from pretrain.exceptions import DataError, SettingsError
from pretrain.finetuning import Finetuning
from pretrain.network import Network
from pretrain.random_streams import RandomStreams
from pretrain.scaling import Scaling
from pretrain.settings import FinetuneSettings

# Fields of FinetuneSettings that are parameters of some estimators by the same names.
OWN_FINETUNING = ("head_epochs", "pseudo_labels", "shift", "flip", "crop", "rotation", "noise")
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

    `values` are the targets of all rows as the network's loss takes them, of no meaning where a row is unlabelled;
    `task` is what the network is for (see `Architecture`); `classes` (of a classifier) and `scaling` lead from the
    network's outputs back to labels and targets; `weight` is what each row counts in the loss, or None.
    """

    values: np.ndarray
    n_outputs: int
    task: str
    classes: np.ndarray | None
    scaling: Scaling
    weight: np.ndarray | None = None


class TrainingRows(NamedTuple):
    """Raw rows with what they count (or None), which of them have a target to be trained on, and the targets."""

    X: Any
    sample_weight: np.ndarray | None
    labelled: np.ndarray
    targets: Targets


class SupervisedEstimator(ModelEstimator):
    """Base of the classifiers and regressors: everything but where the network comes from.

    Attributes
    ----------
    network_ : Network
        The trained network; it holds the scaling and the classes.
    n_iter_ : int
        Epochs of supervised training that ran.
    """

    stage = "finetune"
    network_: Network
    _piece_state: dict[str, Any]  # what the next `partial_fit` goes on from

    @abstractmethod
    def _initial_network(self, X: Any, rows: TrainingRows, scaling: Scaling, streams: RandomStreams) -> Network:
        """The network before supervised training, and its records in `report_`; `X` are the scaled rows."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit to rows and labels or targets.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,), or (n_samples, n_targets) for a regressor
            0 and 1 of shape (n_samples, n_labels) for a classifier of rows that may have any number of labels; -1
            throughout a row without.
            A classifier's label marks an unlabelled row where it is the integer -1, or None or NaN among objects: the
            row is used for pretraining and, unless by `pseudo_labels`, not for fine-tuning. Labels that are exactly
            -1 and 1 are two classes.
        sample_weight : array-like of shape (n_samples,) or None
            What each row counts, in pretraining and in fine-tuning; only their ratios matter. A row of weight 0 is
            left out, but its class is not.

        Returns
        -------
        self
        """
        self._check_parameters()
        settings = self._finetune_settings()
        fitted = self.network_ if self.warm_start and hasattr(self, "network_") else None
        if fitted is not None:
            self._require_same_sizes()
            if settings.head_epochs == "auto":  # its output layer is not random any more
                settings = dataclasses.replace(settings, head_epochs=0)
        rows = self._training_rows(X, y, sample_weight, fitted)
        if not rows.labelled.any():
            raise DataError("No row with a label has a sample_weight above 0; nothing can be learned from them.")
        self.__dict__.pop("_piece_state", None)
        self.seed_ = seed_from(self.random_state)
        used, held_out = np.flatnonzero(rows.labelled), None
        if settings.training.early_stopping:  # what cannot be split is said before pretraining
            used, held_out = self._hold_out(used, rows.targets.values)
        scaled = self._begin(rows) if fitted is None else fitted.scaling.apply(rows.X)
        self.n_iter_ = 0
        unlabelled = np.flatnonzero(~rows.labelled) if settings.pseudo_labels > 0 else None
        for record in self._finetuning(scaled, rows.targets, settings, used, held_out, unlabelled):
            self._note(record)
            self.n_iter_ += record["stage"] == self.stage
        if self.verbose and self.n_iter_:
            close_line(self.report_[-1])
        return self

    def _fit_piece(self, X: Any, y: Any, sample_weight: Any, classes: np.ndarray | None = None) -> Self:
        """`partial_fit`: one epoch of supervised training, at a constant rate, that goes on from the last call."""
        self._check_parameters()
        if self.early_stopping:
            raise SettingsError("partial_fit holds no rows out; early_stopping must be False for it.")
        fitted = getattr(self, "network_", None)
        rows = self._training_rows(X, y, sample_weight, fitted, classes)
        if fitted is None:
            self.seed_, self.n_iter_ = seed_from(self.random_state), 0
        scaled = self._begin(rows) if fitted is None else fitted.scaling.apply(rows.X)
        labelled = np.flatnonzero(rows.labelled)
        if len(labelled) == 0:  # the first rows may be for pretraining alone
            return self
        settings = self._finetune_settings()
        training = dataclasses.replace(settings.training, epochs=1, schedule="constant")
        settings = dataclasses.replace(settings, head_epochs=0, training=training)
        run = self._finetuning(scaled, rows.targets, settings, labelled)
        if hasattr(self, "_piece_state"):
            run.carry_on(self._piece_state)
        for record in run:
            self.n_iter_ += 1
            self._note({**record, "epoch": self.n_iter_, "n_epochs": self.n_iter_})
        assert run.run is not None
        self._piece_state = run.run.carried_state()
        return self

    def _training_rows(
        self, X: Any, y: Any, sample_weight: Any, fitted: Network | None, classes: np.ndarray | None = None
    ) -> TrainingRows:
        X, y, labelled = self._check_training_data(X, y, reset=fitted is None, classes=classes)
        if sample_weight is None:
            return TrainingRows(X, None, labelled, self._encode_targets(y, labelled, labelled, fitted, classes))
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        counted = weight > 0
        if not counted.any():  # newer scikit-learn has said so already
            raise DataError("No row has a sample_weight above 0: a non-zero number is needed.")
        targets = self._encode_targets(y, labelled, labelled & counted, fitted, classes)
        own = weight if targets.weight is None else weight * targets.weight
        targets = targets._replace(values=targets.values[counted], weight=own[counted])
        return TrainingRows(X if counted.all() else X[counted], weight[counted], labelled[counted], targets)

    @abstractmethod
    def _check_training_data(
        self, X: Any, y: Any, *, reset: bool, classes: np.ndarray | None
    ) -> tuple[Any, np.ndarray, np.ndarray]:
        """X and y as scikit-learn checks them, and which rows have a label, (n_samples,) bool."""

    @abstractmethod
    def _encode_targets(
        self,
        y: np.ndarray,
        labelled: np.ndarray,
        used: np.ndarray,
        fitted: Network | None,
        classes: np.ndarray | None,
    ) -> Targets:
        """Targets of the labelled rows, of which those that are `used` are trained on.

        They must be such as the `fitted` network has, and among `classes`, where these are given.
        """

    def _begin(self, rows: TrainingRows) -> Any:
        """Make the network, pretrained where it is to be; the scaled rows."""
        scaling = choose_scaling(self, rows.X)
        scaled = scaling.apply(rows.X)
        self.report_ = []
        self.network_ = self._initial_network(scaled, rows, scaling, RandomStreams(self.seed_))
        self.network_.classes, self.network_.target_scaling = rows.targets.classes, rows.targets.scaling
        return scaled

    def _require_same_sizes(self) -> None:
        fitted, asked = self.network_.architecture.hidden_layer_sizes, tuple(self.hidden_layer_sizes)
        if fitted != asked:
            raise SettingsError(
                f"warm_start continues a network with hidden_layer_sizes {fitted}; got {asked}. Fit with "
                "warm_start=False to begin anew."
            )

    def _finetuning(
        self,
        X: Any,
        targets: Targets,
        settings: FinetuneSettings,
        rows: np.ndarray,
        held_out: Any = None,
        unlabelled: np.ndarray | None = None,
    ) -> Finetuning:
        weight = targets.weight
        return Finetuning(
            self.network_,
            X if len(rows) == X.shape[0] else X[rows],
            targets.values[rows],
            settings,
            seed=self.seed_,
            sample_weight=None if weight is None else weight[rows],
            device=self.device,
            image_shape=getattr(self, "image_shape", None),
            unlabelled=None if unlabelled is None else X[unlabelled],
            validation=None if held_out is None else (X[held_out], targets.values[held_out]),
            validation_weight=None if held_out is None or weight is None else weight[held_out],
            stage=self.stage,
        )

    def _check_parameters(self) -> None:
        # What no settings check, or only when pretraining is over.
        owner = type(self).__name__
        require_flag(owner, "warm_start", self.warm_start)
        require_verbose(self)
        require_number(owner, "validation_fraction", self.validation_fraction, at_least=0, below=1)
        if self.early_stopping:
            require_number(owner, "validation_fraction", self.validation_fraction, above=0, below=1)
        for name in ("dropout", "input_dropout"):
            if getattr(self, name) not in (None, "auto"):
                require_number(owner, name, getattr(self, name), at_least=0, below=1)

    def _hold_out(self, labelled: np.ndarray, targets: np.ndarray) -> list[np.ndarray]:
        """Indices of rows to train on, and of those to validate on."""
        return train_test_split(
            labelled,
            test_size=self.validation_fraction,
            stratify=targets[labelled] if targets.dtype == np.int64 else None,  # class indices, one a row
            random_state=RandomStreams(self.seed_).integer_seed("split") % 2**32,
        )

    def _finetune_settings(self) -> FinetuneSettings:
        own = {name: getattr(self, name) for name in OWN_FINETUNING if hasattr(self, name)}
        return FinetuneSettings(**own, training=training_settings(self, FINETUNING_PARAMETERS))

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
        if "validation_error" in (validated[0] if validated else {}):
            return [1 - record["validation_error"] / 100 for record in validated]
        return [-record["validation_loss"] for record in validated]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = "gaussian" not in str(getattr(self, "visible_units", ""))  # which are standardised
        return tags
