"""`pretrain autoencoder`: a deep autoencoder in one command."""

import dataclasses
from pathlib import Path
from typing import Any

import click

from pipelines.autoencoding import STARTS, run_autoencoder
from pipelines.commands.idle_options import CheckedCommand
from pipelines.commands.options import (
    AUGMENTATION,
    TRAINING_OPTIONS,
    augmentation_options,
    command_line,
    data_options,
    output_option,
    report_result,
    require_free_output,
    resume_options,
    run_options,
    settings_options,
    tensorboard_option,
    training_settings,
)
from pipelines.commands.parameter_types import LAYER_SIZES, AutoOr
from pipelines.preparation import prepare, wants_unit_interval
from pipelines.resuming import Resuming
from pretrain.autoencoder_settings import RECONSTRUCTION_LOSSES
from pretrain.settings import (
    DECODING_KINDS,
    LAYER_SETTINGS,
    FinetuneSettings,
    LayerSettings,
    RBMSettings,
    encoder_settings,
)


def _settings(given: dict[str, Any]) -> FinetuneSettings:
    base = FinetuneSettings(**{name: given[name] for name in ("reconstruction_loss", *AUGMENTATION)})
    return dataclasses.replace(base, training=training_settings(base.training, given))


def _pretraining(layers: tuple[int, ...], given: dict[str, Any]) -> list[LayerSettings]:
    kind = LAYER_SETTINGS[given["kind"]]
    training = dataclasses.replace(kind().training, epochs=given["pretrain_epochs"])
    # Of other kinds the units are an option that does nothing, which `CheckedCommand` says.
    own = {"visible_units": given["visible_units"]} if given["visible_units"] and kind is RBMSettings else {}
    return encoder_settings(kind(training=training, **own), len(layers))


def _settle(params: dict[str, Any]) -> list[dict[str, Any]]:
    _pretraining(params["layers"], params)
    return [{**params, **vars(_settings(params).training), "pretrained": params["start"] == "pretrained"}]


@click.command(
    cls=CheckedCommand, settle=_settle, epilog="Example: pretrain autoencoder mnist --layers 1000,500,250,30 -o ae.h5"
)
@click.argument("data")
@click.option("--layers", type=LAYER_SIZES, required=True, help="Units of the encoder, the code last.")
@click.option("--kind", type=click.Choice(DECODING_KINDS), default="rbm", show_default=True, help="Layers.")
@click.option(
    "--start",
    type=click.Choice(STARTS),
    default="pretrained",
    show_default=True,
    help="Weights before fine-tuning: pretrained, or random in a network of sigmoid, ... units.",
)
@click.option("--pretrain-epochs", type=AutoOr(click.INT), default="auto", show_default=True, help="Epochs a layer.")
@click.option("--visible-units", help="rbm: units on the data, gaussian for standardised data.")
@click.option(
    "--reconstruction-loss",
    type=click.Choice(RECONSTRUCTION_LOSSES),
    default="auto",
    show_default=True,
    help="Of fine-tuning; auto: cross-entropy for data in [0, 1].",
)
@click.option("--validation-fraction", type=float, help="Share of validation rows; 0.1 with early stopping, else 0.")
@augmentation_options
@output_option("the autoencoder (HDF5)")
@settings_options(TRAINING_OPTIONS)
@data_options
@resume_options
@tensorboard_option
@run_options
def autoencoder(
    data: str,
    layers: tuple[int, ...],
    start: str,
    validation_fraction: float | None,
    output: Path,
    overwrite: bool,
    checkpoint_every: float,
    resume: bool,
    target: str | None,
    scaling: str,
    test_fraction: float,
    split_seed: int,
    tensorboard: Path | None,
    seed: int,
    device: str,
    as_json: bool,
    **given: Any,
) -> None:
    """Pretrain an encoder on DATA, unroll it into encoder and decoder, and fine-tune both as one network.

    The code layer is linear. Training options are those of fine-tuning; for layers with settings of their own run
    `pretrain stack` and `pretrain finetune --into autoencoder`. `pretrain evaluate` prints the squared error of the
    test rows, with --baselines that of PCA too, which minimises it: compare them under --reconstruction-loss
    squared_error.
    """
    settings, pretraining = _settings(given), _pretraining(layers, given)
    resuming = Resuming(output, every=checkpoint_every, resume=resume, overwrite=overwrite)
    require_free_output(output, overwrite)
    if validation_fraction is None:
        validation_fraction = 0.1 if settings.training.early_stopping else 0.0
    prepared = prepare(
        data,
        target=target,
        scaling=scaling,
        seed=split_seed,
        test_fraction=test_fraction,
        validation_fraction=validation_fraction,
        unit_interval=start == "pretrained" and wants_unit_interval(pretraining[0]),
    )
    result = run_autoencoder(
        prepared,
        layers,
        settings,
        start=start,
        pretraining=pretraining,
        output=str(output),
        overwrite=overwrite,
        resuming=resuming,
        seed=seed,
        device=device,
        command=command_line(),
        tensorboard=tensorboard,
    )
    sizes = "-".join(map(str, result["layers"]))
    trained = "not trained" if result["loss"] is None else f"training loss {result['loss']:.4g}"
    line = f"{output}: {sizes} autoencoder, {start}, {trained}, {result['seconds']:.1f} s"
    report_result(result, [line], as_json)
