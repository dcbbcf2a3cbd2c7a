"""The `dbn` run: data in, a generative deep belief net out; and such a net in whatever a file holds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import checkpoints
from pipelines.evaluation import module_of
from pipelines.finetuning import Targets
from pipelines.preparation import PreparedData
from pipelines.pretraining import last_losses
from pipelines.progress import PROGRESS_SECONDS, TrainingProgress
from pipelines.provenance import origin
from pipelines.resuming import Resuming
from pretrain import DBN, DBNTraining, Stack
from pretrain.class_indices import encode_labels, labelled_rows
from pretrain.device import resolve_device
from pretrain.exceptions import DataError, SettingsError
from pretrain.scaling import Scaling
from pretrain.settings import RBMSettings, to_dict
from pretrain.up_down_settings import UpDownSettings


def run_dbn(
    prepared: PreparedData,
    layers: Sequence[int],
    settings: Sequence[RBMSettings],
    up_down: UpDownSettings,
    *,
    with_labels: bool,
    output: str,
    overwrite: bool,
    resuming: Resuming,
    seed: int,
    device: str,
    command: str,
    tensorboard: Path | None = None,
) -> dict[str, Any]:
    """Train greedily, then by up-down, save, and return what the command reports.

    Parameters
    ----------
    with_labels : bool
        Whether the memory learns the labels of the data, which must be classes then. Integer -1 marks rows without a
        label (`pretrain.class_indices.labelled_rows`).
    """
    of_run = {
        "data": prepared.describe(),
        "split": prepared.split.to_dict(),
        "settings": {
            "hidden_layer_sizes": list(layers),
            "layers": [to_dict(one) for one in settings],
            "up_down": to_dict(up_down),
        },
    }
    identity = {**of_run, "scaling": prepared.scaling.kind, "with_labels": with_labels, "seed": seed}
    with TrainingProgress(tensorboard=tensorboard) as progress, resuming.begin("dbn", device, **identity):
        run = _training(prepared, layers, settings, up_down, with_labels=with_labels, seed=seed, device=device)
        history = list(progress.follow(resuming.records("dbn", run)))
    seconds = resuming.seconds
    provenance = {**origin(command=command, seed=seed, seconds=seconds, device=resolve_device(device)), **of_run}
    checkpoints.save(run.dbn.cpu(), output, overwrite=overwrite, history=history, provenance=provenance)
    resuming.finish()
    last = history[-1] if history else {}
    return {
        "output": output,
        "layers": [run.dbn.n_visible, *run.dbn.hidden_layer_sizes],
        "n_classes": run.dbn.n_classes,
        "n_train": len(prepared.split.train),
        "n_unlabelled": run.n_unlabelled,
        "losses": last_losses([record for record in history if record["stage"] == "pretrain"]),
        **{name: last[name] for name in ("validation_error",) if name in last},
        "seconds": seconds,
    }


def _training(
    prepared: PreparedData,
    layers: Sequence[int],
    settings: Sequence[RBMSettings],
    up_down: UpDownSettings,
    *,
    with_labels: bool,
    seed: int,
    device: str,
) -> DBNTraining:
    """The training of a net on the training rows, not begun."""
    y = classes = validation = None
    has_validation = len(prepared.split.validation) > 0
    if with_labels:
        if prepared.task != "classification":
            raise SettingsError("The labels are numbers to predict and no classes; give --without-labels.")
        y, classes, validation = _labels(prepared)
    elif has_validation:
        raise SettingsError(
            "--validation-fraction is for the error of the labels, and this net has none: --without-labels was "
            "given, or the data have no labels. Leave --validation-fraction out."
        )
    return DBNTraining(
        prepared.train_rows(),
        y,
        layers,
        settings,
        up_down,
        seed=seed,
        classes=classes,
        validation=validation,
        device=device,
        scaling=prepared.scaling,
        progress_seconds=PROGRESS_SECONDS,
    )


def _labels(prepared: PreparedData) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray] | None]:
    """Class indices of the training rows, the classes, and the labelled validation rows with their indices."""
    labels, split, name = prepared.labels(), prepared.split, prepared.dataset.name
    labelled = labelled_rows(labels)
    if not labelled[split.train].any():
        raise DataError(
            f"{name}: no training row has a label: all are -1, which marks rows without one. Give --without-labels."
        )
    y, classes = encode_labels(labels[split.train], labelled[split.train])
    if len(split.validation) == 0:
        return y, classes, None
    known = labelled[split.validation]
    if not known.any():
        raise DataError(
            f"{name}: none of the {len(known)} validation rows has a label: all are -1, which marks rows without "
            "one. Give a larger --validation-fraction, or leave it out."
        )
    targets = Targets("classification", len(classes), classes, Scaling.none())
    return y, classes, (prepared.validation_rows()[known], targets.encode(labels[split.validation[known]]))


def belief_net(model: Any) -> DBN:
    """The deep belief net that a DBN, an estimator around one or a stack of RBMs is.

    Raises
    ------
    SettingsError
        For any other model, and for the state of a run.
    """
    module = module_of(model)
    if isinstance(module, DBN):
        return module
    if isinstance(module, Stack):
        return DBN.from_stack(module)
    raise SettingsError(
        f"This takes a deep belief net or a stack of RBMs; this file holds a {type(model).__name__}. "
        "Make one with `pretrain dbn`."
    )
