"""Supervised training of a network by backpropagation: the output layer alone first, then everything."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from pretrain._validation import one_per_layer
from pretrain.augmentation import (
    Augmentation,
    ImageCrop,
    ImageFlip,
    ImageRotation,
    ImageShift,
    RowNoise,
    Transform,
)
from pretrain.backprop import BackpropLearner, network_loss
from pretrain.batches import Batch, BatchSource, as_dense_tensor, mean_one_weight
from pretrain.budget import FINETUNING_EPOCHS, resolve_budget, resolve_head_epochs
from pretrain.device import resolve_device, resolve_precision
from pretrain.dropout import RandomLayer
from pretrain.exceptions import DataError, SettingsError
from pretrain.network import Network
from pretrain.pseudo_labels import UNLABELLED_RATIO, PseudoLabelLearner
from pretrain.random_streams import RandomStreams
from pretrain.settings import FinetuneSettings, TrainingSettings
from pretrain.training import Record, TrainingRun


class Finetuning:
    """Trains a network, pretrained or not: an iterator of records (see `TrainingRun`).

    Stage "head" moves the output layer alone for `head_epochs`, then stage "finetune" (or `stage`) moves all
    layers that are not frozen. The network is trained in place and left in evaluation mode.

    Parameters
    ----------
    network : Network
    X : ndarray, Tensor or scipy sparse matrix of shape (n_samples, n_features)
        Scaled training rows.
    y : ndarray or None
        Class indices (n_samples,), 0 or 1 for each of several labels or scaled targets (n_samples, n_outputs), or
        None for a reconstruction, whose targets are the rows.
    settings : FinetuneSettings
    seed : int
    sample_weight : array of shape (n_samples,) or None
        What each row counts in the loss; only their ratios matter.
    device : {"auto", "cpu", "cuda"} or torch.device
    validation : (X, y) or None
        Scaled validation rows: every record then has `validation_error` (in % of the rows, of a classifier) and
        `validation_loss`.
    validation_weight : array or None
        What each validation row counts in these.
    unlabelled : ndarray, Tensor or scipy sparse matrix of shape (n_unlabelled, n_features) or None
        Scaled rows without a label, for `settings.pseudo_labels`; without any there are no pseudo-labels.
    image_shape : tuple of int or None
        Shape of a row before it was flattened, for `shift`, `flip`, `crop` and `rotation` of `settings`.
    stage : str
        Name of the main stage in the records.
    progress_seconds : float or None

    Raises
    ------
    DataError
        If the rows or targets do not fit the network.
    SettingsError
        If `settings` name layers that the network lacks, leave nothing to train, ask for a reconstruction loss or
        an augmentation that the rows do not fit, or for pseudo-labels of a network that is no classifier.
    """

    def __init__(
        self,
        network: Network,
        X: Any,
        y: np.ndarray | None,
        settings: FinetuneSettings,
        *,
        seed: int,
        sample_weight: Any = None,
        device: str | torch.device = "auto",
        validation: tuple[Any, np.ndarray | None] | None = None,
        validation_weight: Any = None,
        unlabelled: Any = None,
        image_shape: tuple[int, ...] | None = None,
        stage: str = "finetune",
        progress_seconds: float | None = None,
    ) -> None:
        self.settings, self.stage, self.progress_seconds = settings, stage, progress_seconds
        self.device = resolve_device(device)
        self.network = network.to(self.device)
        self._validation_rows = None if validation is None else validation[0]
        self._validation_targets = None if validation is None else _targets(network, *validation)
        self._validation_weight = (
            None
            if validation is None or validation_weight is None
            else mean_one_weight(validation_weight, validation[0].shape[0])
        )
        self._rates = _rate_factors(settings, len(network.hidden) + 1)
        _require_loss(network, settings.reconstruction_loss)
        training = resolve_budget(settings.training, X.shape[0], fewest_epochs=FINETUNING_EPOCHS)
        self._training = training
        self._head_epochs = resolve_head_epochs(settings.head_epochs, training, X.shape[0])
        n_weights = max(p.numel() for p in network.parameters())
        self._dtype = resolve_precision(training.precision, self.device, n_weights)
        streams = RandomStreams(seed)
        self._dropout_generator = streams.generator("dropout", device=self.device)
        self._augment = _augmentation(settings, image_shape, streams, self.device)
        self._batches = BatchSource(
            X,
            _targets(network, X, y),
            sample_weight=sample_weight,
            batch_size=int(training.batch_size),
            generator=streams.generator("batches"),
            device=self.device,
        )
        self._unlabelled = self._unlabelled_batches(unlabelled, streams)
        self._plan = [stage] if self._head_epochs == 0 else ["head", stage]
        self.run: TrainingRun | None = None

    def __iter__(self) -> Iterator[Record]:
        return self

    def __next__(self) -> Record:
        while self.run is None or self.run.finished:
            if not self._plan:
                self._close()
                raise StopIteration
            self.run = self._stage_run(self._plan.pop(0))
        return next(self.run)

    def rehearse(self) -> None:
        """Make the run of every stage and begin none: SettingsError where one cannot be."""
        for stage in self._plan:
            self._stage_run(stage)

    def _stage_run(self, stage: str) -> TrainingRun:
        factors, training = self._rates, self._training
        if stage == "head":
            factors = [0.0] * (len(factors) - 1) + factors[-1:]
            training = _head_training(training, self._head_epochs)
        self.network.eval()
        options: dict[str, Any] = {
            "rate_factors": factors,
            "generator": self._dropout_generator,
            "dtype": self._dtype,
            "loss": self.settings.reconstruction_loss,
            "augment": self._augment,
        }
        learner = BackpropLearner(self.network, **options)
        if self._unlabelled is not None and stage != "head":
            weight = self.settings.pseudo_labels
            learner = PseudoLabelLearner(self.network, unlabelled=self._unlabelled, weight=weight, **options)
        return TrainingRun(
            learner,
            self._batches,
            training,
            stage=stage,
            validation=None if self._validation_rows is None else self._validate,
            progress_seconds=self.progress_seconds,
        )

    def _unlabelled_batches(self, X: Any, streams: RandomStreams) -> BatchSource | None:
        task = self.network.architecture.task
        if self.settings.pseudo_labels == 0:
            return None
        if task != "classification":
            raise SettingsError(f"pseudo_labels is for classifiers; this network is for {task}. Leave it at 0.")
        if X is None or X.shape[0] == 0:
            return None
        _require_rows(self.network, X)
        return BatchSource(
            X,
            batch_size=UNLABELLED_RATIO * self._batches.batch_size,
            generator=streams.generator("pseudo_labels"),
            device=self.device,
        )

    def carry_on(self, state: dict[str, Any]) -> None:
        """Begin the first stage where a run on other rows ended (`TrainingRun.carried_state`)."""
        self.run = self._stage_run(self._plan.pop(0))
        self.run.carry_on(state)

    def state_dict(self) -> dict[str, Any]:
        """Everything that continues the stages exactly: those left, and the run of the one that was begun."""
        return {"plan": list(self._plan), "run": None if self.run is None else self.run.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken, from the same rows and settings; before the first record."""
        while len(self._plan) > len(state["plan"]):
            self.run = self._stage_run(self._plan.pop(0))
        if self.run is not None:
            self.run.load_state_dict(state["run"])

    def _validate(self) -> dict[str, float]:
        X, y, weight = self._validation_rows, self._validation_targets, self._validation_weight
        output = torch.from_numpy(self.network.output_rows(X))
        rows = as_dense_tensor(X).cpu() if y is None else torch.empty(0)
        loss = float(network_loss(self.network, output, Batch(rows, y, weight), self.settings.reconstruction_loss))
        task = self.network.architecture.task
        if task not in ("classification", "multilabel"):
            return {"validation_loss": loss}
        assert y is not None
        differs = torch.ne(output.argmax(dim=1), y) if task == "classification" else ((output > 0) != y).any(dim=1)
        wrong = differs.double()
        error = 100 * float((wrong if weight is None else wrong * weight).mean())
        return {"validation_error": error, "validation_loss": loss}

    def _close(self) -> None:
        self.network.eval()
        self.network.requires_grad_(True)
        for parameter in self.network.parameters():
            parameter.grad = None
        for module in self.network.modules():
            if isinstance(module, RandomLayer):
                module.generator = None


def _augmentation(
    settings: FinetuneSettings, image_shape: tuple[int, ...] | None, streams: RandomStreams, device: torch.device
) -> Augmentation | None:
    """What the settings do to the rows; None where that is nothing."""
    transforms: list[Transform] = []
    if settings.shift > 0:
        generator = streams.generator("shift", device=device)
        transforms.append(ImageShift(image_shape, settings.shift, generator=generator))
    if settings.flip:
        transforms.append(ImageFlip(image_shape, generator=streams.generator("flip", device=device)))
    if settings.crop > 0:
        generator = streams.generator("crop", device=device)
        transforms.append(ImageCrop(image_shape, settings.crop, generator=generator))
    if settings.rotation > 0:
        generator = streams.generator("rotation", device=device)
        transforms.append(ImageRotation(image_shape, settings.rotation, generator=generator))
    if settings.noise > 0:
        transforms.append(RowNoise(settings.noise, generator=streams.generator("noise", device=device)))
    return Augmentation(transforms) if transforms else None


def _head_training(training: TrainingSettings, epochs: int) -> TrainingSettings:
    return dataclasses.replace(training, epochs=epochs, schedule="constant", early_stopping=False)


def _rate_factors(settings: FinetuneSettings, n_layers: int) -> list[float]:
    given = 1.0 if settings.layer_learning_rates is None else tuple(settings.layer_learning_rates)
    factors: list[float] = one_per_layer("fine-tuning", "layer_learning_rates", given, n_layers)
    for layer in settings.frozen_layers:
        if layer >= n_layers:
            raise SettingsError(
                f"frozen_layers counts from 0: this network has 0 to {n_layers - 1}, the output layer included; "
                f"got {layer}."
            )
        factors[layer] = 0.0
    if not any(factors):
        raise SettingsError("Every layer is frozen; leave at least one free, or do not fine-tune.")
    if settings.head_epochs != 0 and factors[-1] == 0:
        raise SettingsError(
            f"head_epochs of fine-tuning is {settings.head_epochs}, but the output layer is frozen; "
            "free it, or set head_epochs to 0."
        )
    return [float(factor) for factor in factors]


def _require_loss(network: Network, kind: str) -> None:
    spec = network.architecture
    if spec.task == "reconstruction" and kind == "cross_entropy" and spec.output_activation != "sigmoid":
        raise SettingsError(
            f"reconstruction_loss 'cross_entropy' needs sigmoid outputs, for data in [0, 1]; the network's are "
            f"{spec.output_activation!r}. Take 'squared_error' or 'auto'."
        )


def _require_rows(network: Network, X: Any) -> None:
    n_features = network.architecture.n_features
    if len(X.shape) != 2 or X.shape[1] != n_features or X.shape[0] == 0:
        raise DataError(f"The network takes rows of {n_features} features; got shape {tuple(X.shape)}.")


def _targets(network: Network, X: Any, y: np.ndarray | None) -> torch.Tensor | None:
    """Targets as the loss takes them, None for a reconstruction; DataError where they do not fit the network."""
    spec = network.architecture
    _require_rows(network, X)
    if spec.task == "reconstruction":
        return None
    classes = spec.task == "classification"
    expected = (X.shape[0],) if classes else (X.shape[0], spec.n_outputs)
    if y is None or tuple(y.shape) != expected:
        got = "none" if y is None else f"shape {tuple(y.shape)}"
        raise DataError(f"Targets of a {spec.task} network must have shape {expected}; got {got}.")
    values = np.array(y, dtype=np.int64 if classes else np.float32)  # a copy: torch takes no read-only memory
    if classes and (values.min() < 0 or values.max() >= spec.n_outputs):
        raise DataError(f"Class indices must lie in 0 to {spec.n_outputs - 1}; got {values.min()} to {values.max()}.")
    return torch.from_numpy(values)
