"""The `stack` run: data in, a greedily pretrained stack out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.utils.class_weight import compute_sample_weight

import checkpoints
from pipelines.finetuning import Targets
from pipelines.preparation import PreparedData, take_rows
from pipelines.progress import PROGRESS_SECONDS, TrainingProgress
from pipelines.provenance import origin
from pipelines.resuming import Resuming
from pretrain import GreedyPretraining, Stack
from pretrain.device import resolve_device
from pretrain.settings import LayerSettings, SupervisedSettings, to_dict
from pretrain.training import Record


def greedy_run(
    prepared: PreparedData,
    hidden_layer_sizes: Sequence[int],
    settings: LayerSettings | Sequence[LayerSettings],
    *,
    rows: np.ndarray | None = None,
    seed: int,
    device: str | torch.device = "auto",
    **options: Any,
) -> GreedyPretraining:
    """The pretraining of a stack, not begun, on all training rows or on `rows` of them, with labels if need be.

    `options` are those of `GreedyPretraining`.
    """
    rows = prepared.split.train if rows is None else rows
    return GreedyPretraining(
        prepared.scaling.apply(take_rows(prepared.dataset.X, rows)),
        hidden_layer_sizes,
        settings,
        seed=seed,
        y=_targets(prepared, rows) if _supervised(settings) else None,
        device=device,
        scaling=prepared.scaling,
        progress_seconds=PROGRESS_SECONDS,
        **options,
    )


def pretrain_stack(
    prepared: PreparedData,
    hidden_layer_sizes: Sequence[int],
    settings: LayerSettings | Sequence[LayerSettings],
    *,
    seed: int,
    rows: np.ndarray | None = None,
    device: str | torch.device = "auto",
    monitor: bool = False,
    class_weight: str = "none",
    progress: TrainingProgress,
    resuming: Resuming | None = None,
    title: str = "",
    transient: bool = False,
) -> tuple[Stack, list[Record]]:
    """Pretrain a stack on all training rows, or on `rows` of them; return it with its records.

    Labels are read for supervised layers and for `class_weight` alone. With `monitor`, or validation rows in the
    split, the records have the figures of `LayerMonitor`. `class_weight` "balanced" weighs the rows by their labels,
    so that all labels count alike. With `resuming` the training goes on where it was stopped.
    """
    validation = prepared.validation_rows()
    rows = prepared.split.train if rows is None else rows
    weight = compute_sample_weight("balanced", prepared.labels()[rows]) if class_weight == "balanced" else None
    run = greedy_run(
        prepared,
        hidden_layer_sizes,
        settings,
        rows=rows,
        seed=seed,
        device=device,
        sample_weight=weight,
        validation_rows=validation if monitor and len(validation) else None,
        monitor=monitor,
    )
    records = run if resuming is None else resuming.records("pretrain", run)
    history = list(progress.follow(records, title, transient=transient))
    return run.stack, history


def _supervised(settings: LayerSettings | Sequence[LayerSettings]) -> bool:
    layers = settings if isinstance(settings, Sequence) else [settings]
    return any(isinstance(layer, SupervisedSettings) for layer in layers)


def _targets(prepared: PreparedData, rows: np.ndarray) -> np.ndarray:
    return Targets.of(prepared.train_labels(), prepared.task).encode(prepared.labels()[rows])


def run_stack(
    prepared: PreparedData,
    hidden_layer_sizes: Sequence[int],
    settings: LayerSettings | Sequence[LayerSettings],
    *,
    output: str,
    overwrite: bool,
    resuming: Resuming,
    seed: int,
    device: str,
    command: str,
    tensorboard: Path | None = None,
    monitor: bool = False,
    class_weight: str = "none",
) -> dict[str, Any]:
    """Pretrain, save, and return what the command reports: seconds, loss a layer, sizes."""
    monitor = monitor or len(prepared.split.validation) > 0
    given = settings if isinstance(settings, Sequence) else [settings] * len(hidden_layer_sizes)
    of_run = {
        "data": prepared.describe(),
        "split": prepared.split.to_dict(),
        "settings": {
            "hidden_layer_sizes": list(hidden_layer_sizes),
            "layers": [to_dict(s) for s in given],
            "class_weight": class_weight,
        },
    }
    identity = {**of_run, "scaling": prepared.scaling.kind, "monitor": monitor, "seed": seed}
    with TrainingProgress(tensorboard=tensorboard) as progress, resuming.begin("stack", device, **identity):
        stack, history = pretrain_stack(
            prepared,
            hidden_layer_sizes,
            settings,
            seed=seed,
            device=device,
            monitor=monitor,
            class_weight=class_weight,
            progress=progress,
            resuming=resuming,
        )
    seconds = resuming.seconds
    provenance = {**origin(command=command, seed=seed, seconds=seconds, device=resolve_device(device)), **of_run}
    checkpoints.save(stack.cpu(), output, overwrite=overwrite, history=history, provenance=provenance)
    resuming.finish()
    return {
        "output": output,
        "kind": stack.layers[0].kind,
        "layers": [stack.n_visible, *stack.hidden_layer_sizes],
        "n_train": len(prepared.split.train),
        "losses": last_losses(history),
        "seconds": seconds,
    }


def last_losses(history: Sequence[Record]) -> list[float]:
    """Loss of the last epoch of each layer."""
    losses = {record["layer"]: record["loss"] for record in history}
    return [losses[layer] for layer in sorted(losses)]
