"""The `autoencoder` run: data in, a deep autoencoder out, pretrained or from random weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import checkpoints
from pipelines.preparation import PreparedData
from pipelines.pretraining import greedy_run
from pipelines.progress import PROGRESS_SECONDS, TrainingProgress
from pipelines.provenance import origin
from pipelines.resuming import Resuming
from pretrain import Finetuning, GreedyPretraining, unroll
from pretrain.baselines import AUTOENCODER_BASELINES, scratch_autoencoder
from pretrain.device import resolve_device
from pretrain.exceptions import DivergenceError
from pretrain.network import Network
from pretrain.random_streams import RandomStreams
from pretrain.rehearsal import rehearse_finetuning
from pretrain.scaling import in_unit_interval
from pretrain.settings import FinetuneSettings, LayerSettings, to_dict
from pretrain.training import Record

STARTS = ("pretrained", *AUTOENCODER_BASELINES)


def run_autoencoder(
    prepared: PreparedData,
    layers: Sequence[int],
    settings: FinetuneSettings,
    *,
    start: str,
    pretraining: Sequence[LayerSettings],
    output: str,
    overwrite: bool,
    resuming: Resuming,
    seed: int,
    device: str,
    command: str,
    tensorboard: Path | None = None,
) -> dict[str, Any]:
    """Pretrain (or draw weights), fine-tune, save, and return what the command reports.

    Parameters
    ----------
    layers : sequence of int
        Units of the encoder's layers, the code last.
    start : str
        "pretrained", or a name in `AUTOENCODER_BASELINES` for random weights.
    pretraining : sequence of settings
        One a layer, for "pretrained".
    """
    of_run = {
        "data": prepared.describe(),
        "split": prepared.split.to_dict(),
        "settings": {
            "start": start,
            "hidden_layer_sizes": list(layers),
            "layers": [to_dict(layer) for layer in pretraining] if start == "pretrained" else [],
            "finetune": to_dict(settings),
        },
    }
    identity = {**of_run, "scaling": prepared.scaling.kind, "seed": seed}
    with TrainingProgress(tensorboard=tensorboard) as progress, resuming.begin("autoencoder", device, **identity):
        validation = prepared.validation_rows()
        if start == "pretrained":
            greedy = greedy_run(prepared, layers, pretraining, seed=seed, device=device)
            rehearse_finetuning(
                unroll(greedy.rehearse(), "autoencoder"),
                settings,
                validated=len(validation) > 0,
                image_shape=prepared.dataset.image_shape,
            )
            history = _pretrained(greedy, progress, resuming)
            network = unroll(greedy.stack, "autoencoder")
        else:
            network, history = _scratch(prepared, layers, start, seed), []
        pretrain_seconds = sum(record["seconds"] for record in history)
        run = Finetuning(
            network,
            prepared.train_rows(),
            None,
            settings,
            seed=seed,
            device=device,
            validation=(validation, None) if len(validation) else None,
            image_shape=prepared.dataset.image_shape,
            progress_seconds=PROGRESS_SECONDS,
        )
        history += progress.follow(resuming.records("finetune", run))
    seconds = resuming.seconds
    provenance = {**origin(command=command, seed=seed, seconds=seconds, device=resolve_device(device)), **of_run}
    checkpoints.save(network.cpu(), output, overwrite=overwrite, history=history, provenance=provenance)
    resuming.finish()
    return {
        "output": output,
        "start": start,
        "layers": [network.n_visible, *layers],
        "n_train": len(prepared.split.train),
        "n_parameters": network.n_parameters,
        "loss": history[-1]["loss"] if history else None,
        "pretrain_seconds": pretrain_seconds,
        "seconds": seconds,
    }


def _pretrained(greedy: GreedyPretraining, progress: TrainingProgress, resuming: Resuming) -> list[Record]:
    try:
        return list(progress.follow(resuming.records("pretrain", greedy)))
    except DivergenceError as error:
        raise DivergenceError(
            f"{error} The options of `autoencoder` are those of fine-tuning, but for --scaling: pretrain by "
            "`pretrain stack`, whose layers have settings of their own, and go on by `pretrain finetune --into "
            "autoencoder`."
        ) from error


def _scratch(prepared: PreparedData, layers: Sequence[int], start: str, seed: int) -> Network:
    network = scratch_autoencoder(
        start,
        prepared.dataset.X.shape[1],
        layers,
        output_activation="sigmoid" if in_unit_interval(prepared.train_rows()) else "identity",
        generator=RandomStreams(seed).generator("init"),
    )
    network.scaling = prepared.scaling
    return network
