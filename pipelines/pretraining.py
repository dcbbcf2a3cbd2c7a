"""The `stack` run: data in, a greedily pretrained stack out."""

import time
from collections.abc import Sequence
from typing import Any

import torch
from sklearn.utils.class_weight import compute_sample_weight

import checkpoints
from pipelines.preparation import PreparedData
from pipelines.progress import PROGRESS_SECONDS, TrainingProgress
from pipelines.provenance import origin
from pretrain import GreedyPretraining, Stack
from pretrain.device import resolve_device
from pretrain.settings import LayerSettings, to_dict
from pretrain.training import Record


def pretrain_stack(
    prepared: PreparedData,
    hidden_layer_sizes: Sequence[int],
    settings: LayerSettings | Sequence[LayerSettings],
    *,
    seed: int,
    device: str | torch.device = "auto",
    monitor: bool = False,
    class_weight: str = "none",
    progress: TrainingProgress,
    title: str = "",
    transient: bool = False,
) -> tuple[Stack, list[Record]]:
    """Pretrain a stack on all training rows, without their labels; return it with its records.

    With `monitor`, or validation rows in the split, the records have the figures of `LayerMonitor`. `class_weight`
    "balanced" weighs the rows by their labels, so that all labels count alike.
    """
    validation = prepared.validation_rows()
    weight = compute_sample_weight("balanced", prepared.train_labels()) if class_weight == "balanced" else None
    run = GreedyPretraining(
        prepared.train_rows(),
        hidden_layer_sizes,
        settings,
        seed=seed,
        sample_weight=weight,
        validation_rows=validation if monitor and len(validation) else None,
        monitor=monitor,
        device=device,
        scaling=prepared.scaling,
        progress_seconds=PROGRESS_SECONDS,
    )
    history = list(progress.follow(run, title, transient=transient))
    return run.stack, history


def run_stack(
    prepared: PreparedData,
    hidden_layer_sizes: Sequence[int],
    settings: LayerSettings | Sequence[LayerSettings],
    *,
    output: str,
    overwrite: bool,
    seed: int,
    device: str,
    command: str,
    monitor: bool = False,
    class_weight: str = "none",
) -> dict[str, Any]:
    """Pretrain, save, and return what the command reports: seconds, loss a layer, sizes."""
    started = time.perf_counter()
    with TrainingProgress() as progress:
        stack, history = pretrain_stack(
            prepared,
            hidden_layer_sizes,
            settings,
            seed=seed,
            device=device,
            monitor=monitor or len(prepared.split.validation) > 0,
            class_weight=class_weight,
            progress=progress,
        )
    seconds = time.perf_counter() - started
    given = settings if isinstance(settings, Sequence) else [settings] * len(stack.layers)
    provenance = {
        **origin(command=command, seed=seed, seconds=seconds, device=resolve_device(device)),
        "data": prepared.describe(),
        "split": prepared.split.to_dict(),
        "settings": {
            "hidden_layer_sizes": list(stack.hidden_layer_sizes),
            "layers": [to_dict(s) for s in given],
            "class_weight": class_weight,
        },
    }
    checkpoints.save(stack.cpu(), output, overwrite=overwrite, history=history, provenance=provenance)
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
