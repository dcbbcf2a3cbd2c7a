"""`pretrain dbn`: a generative deep belief net in one command."""

import dataclasses
from pathlib import Path
from typing import Any

import click

from pipelines.belief_nets import run_dbn
from pipelines.commands.idle_options import UP_DOWN, CheckedCommand
from pipelines.commands.options import (
    LAYER_OPTIONS,
    TRAINING_OPTIONS,
    UNSTOPPED_OPTIONS,
    command_line,
    data_options,
    layer_settings,
    output_option,
    report_result,
    require_free_output,
    resume_options,
    run_options,
    settings_options,
    tensorboard_option,
    training_settings,
)
from pipelines.commands.parameter_types import LAYER_SIZES, CommaList
from pipelines.preparation import prepare
from pipelines.resuming import Resuming
from pretrain.settings import RBMSettings
from pretrain.up_down_settings import UP_DOWN_TRAINING, UpDownSettings

ON_DATA = ("visible_units", "binarize")  # one value: of the first layer alone
MEMORY_OPTIONS = {
    name: row
    for name, row in LAYER_OPTIONS.items()
    if name in {field.name for field in dataclasses.fields(RBMSettings)} - {*ON_DATA, "hidden_units"}
}
UP_DOWN_OPTIONS = {f"{UP_DOWN}{name}": (kind, f"up-down: {text}") for name, (kind, text) in TRAINING_OPTIONS.items()}


def _greedy(layers: tuple[int, ...], given: dict[str, Any]) -> list[Any]:
    upper = {name: value for name, value in given.items() if name in {**UNSTOPPED_OPTIONS, **MEMORY_OPTIONS}}
    settings: list[Any] = layer_settings("rbm", len(layers), upper)
    settings[0] = dataclasses.replace(settings[0], **{name: given[name] for name in ON_DATA})
    return settings


def _up_down(given: dict[str, Any]) -> UpDownSettings:
    training = {name.removeprefix(UP_DOWN): given[name] for name in UP_DOWN_OPTIONS}
    return UpDownSettings(
        given["up_down_gibbs_steps"], given["binarize"], training_settings(UP_DOWN_TRAINING, training)
    )


def _settle(params: dict[str, Any]) -> list[dict[str, Any]]:
    up_down = {f"{UP_DOWN}{name}": value for name, value in vars(_up_down(params).training).items()}
    return [
        {**vars(layer), **vars(layer.training), **up_down, "kind": layer.kind, "pretrained": True}
        for layer in _greedy(params["layers"], params)
    ]


@click.command(
    cls=CheckedCommand,
    settle=_settle,
    epilog="Example: pretrain dbn digits --layers 200,200,500 --up-down-epochs 30 -o dbn.h5",
)
@click.argument("data")
@click.option("--layers", type=LAYER_SIZES, required=True, help="Hidden units of each layer, bottom first.")
@click.option("--without-labels", is_flag=True, help="Model the rows alone, though the data have labels.")
@output_option("the deep belief net (HDF5)")
@settings_options(UNSTOPPED_OPTIONS, per_layer=True)
@settings_options(MEMORY_OPTIONS, per_layer=True)
@click.option("--visible-units", default="bernoulli", show_default=True, help="Units on the data.")
@click.option("--binarize", type=click.BOOL, default=False, help="Draw 0/1 states from the data, anew every time.")
@settings_options(UP_DOWN_OPTIONS)
@click.option(
    "--up-down-gibbs-steps",
    type=CommaList(click.INT),
    default="3,6,10",
    show_default=True,
    help="up-down: Gibbs steps of the memory, each for an equal part of the epochs.",
)
@click.option(
    "--validation-fraction",
    type=float,
    default=0.0,
    show_default=True,
    help="Share of rows that are not trained on: the error of every epoch of up-down.",
)
@data_options
@resume_options
@tensorboard_option
@run_options
def dbn(
    data: str,
    layers: tuple[int, ...],
    without_labels: bool,
    output: Path,
    overwrite: bool,
    checkpoint_every: float,
    resume: bool,
    validation_fraction: float,
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
    """Train a deep belief net on DATA: RBMs layer by layer, the last with the labels, then all by up-down.

    Options of greedy training take one value for all layers, or one for each; those of up-down begin with --up-down-.
    An integer label -1 marks a row without a label, unless the labels are exactly -1 and 1: it trains everything but
    the label units, and no error is measured on it.

    `pretrain sample` draws from the net, `pretrain evaluate` tests it.
    """
    settings, up_down = _greedy(layers, given), _up_down(given)
    resuming = Resuming(output, every=checkpoint_every, resume=resume, overwrite=overwrite)
    require_free_output(output, overwrite)
    prepared = prepare(
        data,
        target=target,
        scaling=scaling,
        seed=split_seed,
        test_fraction=test_fraction,
        validation_fraction=validation_fraction,
        unit_interval=given["visible_units"] == "bernoulli",
    )
    result = run_dbn(
        prepared,
        layers,
        settings,
        up_down,
        with_labels=prepared.dataset.y is not None and not without_labels,
        output=str(output),
        overwrite=overwrite,
        resuming=resuming,
        seed=seed,
        device=device,
        command=command_line(),
        tensorboard=tensorboard,
    )
    sizes = "-".join(map(str, result["layers"]))
    labels = f"with {result['n_classes']} classes" if result["n_classes"] else "without labels"
    unlabelled = result["n_unlabelled"]
    if unlabelled:
        labels += f" ({unlabelled} of {result['n_train']} training rows unlabelled)"
    report_result(result, [f"{output}: {sizes} deep belief net {labels}, {result['seconds']:.1f} s"], as_json)
