"""The `finetune` run: a stack and labelled data in, a fine-tuned network out."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import checkpoints
from pipelines.preparation import PreparedData
from pipelines.progress import PROGRESS_SECONDS, TrainingProgress
from pipelines.provenance import origin
from pipelines.resuming import Resuming
from pretrain import Finetuning, Stack, unroll
from pretrain.baselines import scratch_network
from pretrain.device import resolve_device
from pretrain.exceptions import DataError
from pretrain.network import Network
from pretrain.pretrained_networks import pretrained_network
from pretrain.random_streams import RandomStreams
from pretrain.scaling import Scaling
from pretrain.settings import FinetuneSettings, to_dict

INTO = {"classification": "classifier", "regression": "regressor", "reconstruction": "autoencoder"}
PRETRAINED = "pretrained-"  # before the kind of a network that begins with the weights of a stack


@dataclass(frozen=True, eq=False)
class Targets:
    """Labels as a network learns them: class indices and their names, or standardised targets."""

    task: str
    n_outputs: int
    classes: np.ndarray | None
    scaling: Scaling

    @classmethod
    def of(cls, y: np.ndarray, task: str) -> "Targets":
        """Learn the classes or the scaling from the training labels `y`, (n_samples,).

        Raises
        ------
        DataError
            If a classification has one class alone, or targets of a regression are no numbers.
        """
        if task == "classification":
            classes = np.unique(y)
            if len(classes) == 1:
                raise DataError(
                    f"A classifier needs training rows of two classes or more; all {len(y)} have the label "
                    f"{classes[0]}."
                )
            return cls(task, len(classes), classes, Scaling.none())
        if y.dtype.kind not in "iuf":
            raise DataError("A regressor needs numbers as targets, but the labels are text. Give --into classifier.")
        return cls(task, 1, None, Scaling.fit("standard", y.reshape(-1, 1)))

    def encode(self, y: np.ndarray) -> np.ndarray:
        """(n_samples,) labels -> int64 class indices, or float32 (n_samples, 1) scaled targets."""
        if self.classes is None:
            return self.scaling.apply(y.reshape(-1, 1))
        unknown = np.setdiff1d(y, self.classes)
        if len(unknown):
            raise DataError(f"The labels {unknown[:5].tolist()} do not occur among the training labels.")
        return np.searchsorted(self.classes, y)

    def attach(self, network: Network) -> Network:
        """Put the classes or the scaling of the targets onto the network."""
        network.classes, network.target_scaling = self.classes, self.scaling
        return network


def run_finetune(
    stack: Stack,
    prepared: PreparedData,
    settings: FinetuneSettings,
    *,
    task: str,
    start: str,
    dropout: float | None,
    input_dropout: float | None,
    output: str,
    overwrite: bool,
    resuming: Resuming,
    seed: int,
    device: str,
    command: str,
    tensorboard: Path | None = None,
    pretraining: dict[str, Any],
    stack_digest: str,
) -> dict[str, Any]:
    """Unroll, fine-tune, save, and return what the command reports.

    Parameters
    ----------
    start : str
        "pretrained", or a name in `BASELINES` for random weights in a network of the stack's sizes, or such a name
        after "pretrained-", for the stack's weights in a network of that kind.
    dropout, input_dropout : float or None
        None is 0, or what the baseline has.
    pretraining : dict
        Provenance of the stack: the network's file holds it, so that a result can be followed back to the raw data.
    stack_digest : str
        Of the stack's file.
    """
    network, y, validation = _initial(stack, prepared, task, start, dropout, input_dropout, seed)
    of_run = {
        "data": prepared.describe(),
        "split": prepared.split.to_dict(),
        "settings": {
            **to_dict(settings),
            "start": start,
            "dropout": network.architecture.dropout,
            "input_dropout": network.architecture.input_dropout,
        },
    }
    identity = {**of_run, "task": task, "stack": stack_digest, "seed": seed}
    with TrainingProgress(tensorboard=tensorboard) as progress, resuming.begin("finetune", device, **identity):
        run = Finetuning(
            network,
            prepared.train_rows(),
            y,
            settings,
            seed=seed,
            device=device,
            validation=validation,
            image_shape=prepared.dataset.image_shape,
            progress_seconds=PROGRESS_SECONDS,
        )
        run.rehearse()
        history = list(progress.follow(resuming.records("finetune", run)))
    seconds = resuming.seconds
    provenance = {
        **origin(command=command, seed=seed, seconds=seconds, device=resolve_device(device)),
        **of_run,
        "pretraining": pretraining,
    }
    checkpoints.save(network.cpu(), output, overwrite=overwrite, history=history, provenance=provenance)
    resuming.finish()
    last = history[-1] if history else {}
    return {
        "output": output,
        "task": task,
        "n_train": len(prepared.split.train),
        "n_parameters": network.n_parameters,
        "epochs": len(history),
        "loss": last.get("loss"),
        **{name: last[name] for name in ("validation_error", "validation_loss") if name in last},
        "seconds": seconds,
    }


def _initial(
    stack: Stack,
    prepared: PreparedData,
    task: str,
    start: str,
    dropout: float | None,
    input_dropout: float | None,
    seed: int,
) -> tuple[Network, np.ndarray | None, tuple[Any, np.ndarray | None] | None]:
    has_validation = len(prepared.split.validation) > 0
    validation_rows = prepared.validation_rows() if has_validation else None
    streams = RandomStreams(seed)
    unrolled = functools.partial(
        unroll, stack, INTO[task], dropout=dropout or 0.0, input_dropout=input_dropout or 0.0
    )
    if task == "reconstruction":
        return unrolled(), None, (validation_rows, None) if has_validation else None
    targets = Targets.of(prepared.train_labels(), task)
    if start == "pretrained":
        network = unrolled(n_outputs=targets.n_outputs, generator=streams.generator("head"))
    elif start.startswith(PRETRAINED):
        network = pretrained_network(
            start.removeprefix(PRETRAINED),
            stack,
            targets.n_outputs,
            task=task,
            dropout=dropout,
            input_dropout=input_dropout,
            generator=streams.generator("init"),
        )
    else:
        network = scratch_network(
            start,
            stack.n_visible,
            stack.hidden_layer_sizes,
            targets.n_outputs,
            task=task,
            dropout=dropout,
            input_dropout=input_dropout,
            image_shape=prepared.dataset.image_shape,
            generator=streams.generator("init"),
        )
        network.scaling = stack.scaling
    validation = None
    if has_validation:
        validation = (validation_rows, targets.encode(prepared.labels()[prepared.split.validation]))
    return targets.attach(network), targets.encode(prepared.train_labels()), validation
