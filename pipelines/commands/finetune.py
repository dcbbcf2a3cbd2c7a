"""`pretrain finetune`: unroll a stack and fine-tune it."""

import dataclasses
from pathlib import Path
from typing import Any

import click

import checkpoints
from pipelines.commands.idle_options import CheckedCommand
from pipelines.commands.options import (
    AUGMENTATION,
    TRAINING_OPTIONS,
    augmentation_options,
    command_line,
    output_option,
    report_result,
    require_free_output,
    resume_options,
    run_options,
    settings_options,
    tensorboard_option,
    training_settings,
)
from pipelines.commands.parameter_types import AutoOr, CommaList
from pipelines.finetuning import INTO, PRETRAINED, run_finetune
from pipelines.preparation import prepare_as_before, require_features, same_data
from pipelines.resuming import Resuming
from pretrain import Stack
from pretrain.baselines import BASELINES
from pretrain.exceptions import SettingsError
from pretrain.image_networks import IMAGE_BASELINES
from pretrain.pretrained_networks import PRETRAINED_BASELINES
from pretrain.settings import FinetuneSettings

STARTS = ("pretrained", *(PRETRAINED + kind for kind in PRETRAINED_BASELINES), *BASELINES, *IMAGE_BASELINES)
TASKS = {name: task for task, name in INTO.items()}


def _settings(given: dict[str, Any]) -> FinetuneSettings:
    own = ("head_epochs", "layer_learning_rates", "frozen_layers", *AUGMENTATION)
    base = FinetuneSettings(**{name: given[name] for name in own})
    return dataclasses.replace(base, training=training_settings(base.training, given))


@click.command(
    cls=CheckedCommand,
    settle=lambda params: [vars(_settings(params).training)],
    epilog="Example: pretrain finetune stack.h5 digits --epochs 20 -o net.h5",
)
@click.argument("stack_file", metavar="STACK", type=click.Path(dir_okay=False))
@click.argument("data")
@click.option(
    "--into",
    type=click.Choice(tuple(TASKS)),
    help="What the stack is unrolled into; the default follows from the labels.",
)
@click.option(
    "--start",
    type=click.Choice(STARTS),
    default="pretrained",
    show_default=True,
    help="Weights: the stack's, also in a network of another kind, or random in one of its sizes, the control.",
    metavar="pretrained|pretrained-KIND|KIND",
)
@click.option(
    "--head-epochs", type=AutoOr(click.INT), default=0, show_default=True, help="Of the output layer alone."
)
@click.option("--layer-learning-rates", type=CommaList(click.FLOAT), help="One factor a layer, output layer last.")
@click.option("--frozen-layers", type=CommaList(click.INT), default=(), help="Layers that stay as they are, from 0.")
@click.option(
    "--dropout", type=float, help="Probability of dropping a hidden unit.  [default: 0, or that of --start]"
)
@click.option(
    "--input-dropout", type=float, help="Probability of dropping an input.  [default: 0, or that of --start]"
)
@click.option("--target", help="Name of the label column of a csv file.")
@click.option("--validation-fraction", type=float, help="Share of validation rows; 0.1 with early stopping, else 0.")
@augmentation_options
@output_option("the network (HDF5)")
@settings_options(TRAINING_OPTIONS)
@resume_options
@tensorboard_option
@run_options
def finetune(
    stack_file: str,
    data: str,
    into: str | None,
    start: str,
    dropout: float | None,
    input_dropout: float | None,
    target: str | None,
    validation_fraction: float | None,
    output: Path,
    overwrite: bool,
    checkpoint_every: float,
    resume: bool,
    tensorboard: Path | None,
    seed: int,
    device: str,
    as_json: bool,
    **given: Any,
) -> None:
    """Unroll the stack in STACK into a network and fine-tune it on the labels of DATA.

    The test rows are the ones that were set aside when the stack was pretrained. Early stopping holds
    validation rows out of the training rows. With --start KIND (sigmoid, relu, relu-bn, residual, dense, ...) the
    weights of STACK are not used: its sizes, split and scaling are; with --start pretrained-KIND its weights,
    rescaled, are the first ones of a network of that kind. Where rows are images, KIND may be a convolutional
    network: lenet, resnet-20, densenet-40-12, ...
    """
    settings = _settings(given)
    if start != "pretrained" and into == "autoencoder":
        raise click.UsageError(
            "--start is for classifiers and regressors; `pretrain autoencoder --start` is for these."
        )
    resuming = Resuming(output, every=checkpoint_every, resume=resume, overwrite=overwrite)
    require_free_output(output, overwrite)
    stack = checkpoints.load(stack_file)
    if not isinstance(stack, Stack):
        raise SettingsError(
            f"{stack_file} holds a {type(stack).__name__}; finetune takes a stack, which `pretrain stack` makes."
        )
    described = checkpoints.describe(stack_file)
    record = described["provenance"] or {}
    if validation_fraction is None and settings.training.early_stopping:
        validation_fraction = 0.1
    prepared = prepare_as_before(
        data, record, stack.scaling, target=target, seed=seed, validation_fraction=validation_fraction
    )
    require_features(prepared.dataset, stack.n_visible, stack_file)
    if not same_data(record, prepared.dataset):
        click.echo(
            f"{data} is not the file that {stack_file} was pretrained on: its rows are split anew, and if they are "
            "the same rows, test rows may have been pretrained on.",
            err=True,
        )
    result = run_finetune(
        stack,
        prepared,
        settings,
        task=TASKS[into] if into else prepared.task,
        start=start,
        dropout=dropout,
        input_dropout=input_dropout,
        output=str(output),
        overwrite=overwrite,
        resuming=resuming,
        seed=seed,
        device=device,
        command=command_line(),
        tensorboard=tensorboard,
        pretraining=record,
        stack_digest=described["digest"],
    )
    report_result(result, [_line(result)], as_json)


def _line(result: dict[str, Any]) -> str:
    parts = [f"{result['output']}: {result['task']}, {result['epochs']} epochs"]
    if result["loss"] is not None:
        parts.append(f"loss {result['loss']:.4g}")
    if "validation_error" in result:
        parts.append(f"validation error {result['validation_error']:.2f} %")
    return ", ".join([*parts, f"{result['seconds']:.1f} s"])
