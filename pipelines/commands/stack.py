"""`pretrain stack`: pretrain layers greedily."""

from pathlib import Path
from typing import Any

import click

from pipelines.commands.idle_options import CheckedCommand
from pipelines.commands.options import (
    LAYER_OPTIONS,
    UNSTOPPED_OPTIONS,
    command_line,
    data_options,
    layer_settings,
    output_option,
    report_result,
    require_free_output,
    resume_options,
    run_options,
    setting_options,
    settings_options,
    tensorboard_option,
)
from pipelines.commands.parameter_types import LAYER_SIZES
from pipelines.preparation import prepare, wants_unit_interval
from pipelines.pretraining import run_stack
from pipelines.resuming import Resuming
from pretrain.settings import LAYER_SETTINGS


def _settle(params: dict[str, Any]) -> list[dict[str, Any]]:
    settings = layer_settings(params["kind"], len(params["layers"]), setting_options(params))
    return [{**vars(s), **vars(s.training), "kind": s.kind, "pretrained": True} for s in settings]


@click.command(
    cls=CheckedCommand,
    settle=_settle,
    epilog="Example: pretrain stack digits --layers 200,200 --kind rbm --epochs 10 -o stack.h5",
)
@click.argument("data")
@click.option("--layers", type=LAYER_SIZES, required=True, help="Hidden units of each layer, bottom first.")
@click.option("--kind", type=click.Choice(tuple(LAYER_SETTINGS)), default="rbm", show_default=True, help="Layers.")
@output_option("the stack (HDF5)")
@settings_options(UNSTOPPED_OPTIONS, per_layer=True)
@settings_options(LAYER_OPTIONS, per_layer=True)
@click.option("--monitor", is_flag=True, help="Record dead units, norms, pseudo-likelihood, ... every epoch.")
@click.option(
    "--validation-fraction",
    type=float,
    default=0.0,
    show_default=True,
    help="Share of rows that are not trained on but monitored: the free-energy gap.",
)
@click.option(
    "--class-weight",
    type=click.Choice(("none", "balanced")),
    default="none",
    show_default=True,
    help="balanced: rows of rare labels count more, so that all labels count alike.",
)
@data_options
@resume_options
@tensorboard_option
@run_options
def stack(
    data: str,
    layers: tuple[int, ...],
    kind: str,
    output: Path,
    overwrite: bool,
    checkpoint_every: float,
    resume: bool,
    monitor: bool,
    validation_fraction: float,
    class_weight: str,
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
    """Pretrain a stack on DATA, layer by layer: RBMs or denoising autoencoders without labels, or with them.

    Layers of --kind supervised are trained on the labels of DATA, each as the hidden layer of a network whose output
    layer is thrown away: what finetune makes of them says whether it matters that pretraining has no labels.

    Options of the training take one value for all layers, or one for each: --learning-rate 0.1,0.1,0.001.
    """
    settings = layer_settings(kind, len(layers), given)
    resuming = Resuming(output, every=checkpoint_every, resume=resume, overwrite=overwrite)
    require_free_output(output, overwrite)
    prepared = prepare(
        data,
        target=target,
        scaling=scaling,
        seed=split_seed,
        test_fraction=test_fraction,
        validation_fraction=validation_fraction,
        unit_interval=wants_unit_interval(settings[0]),
    )
    result = run_stack(
        prepared,
        layers,
        settings,
        monitor=monitor,
        class_weight=class_weight,
        output=str(output),
        overwrite=overwrite,
        resuming=resuming,
        seed=seed,
        device=device,
        command=command_line(),
        tensorboard=tensorboard,
    )
    losses = ", ".join(f"{loss:.4g}" for loss in result["losses"])
    trained = f"last losses {losses}" if losses else "not trained"
    sizes = "-".join(map(str, result["layers"]))
    report_result(
        result,
        [f"{output}: {sizes} {kind} stack, {trained}, {result['seconds']:.1f} s"],
        as_json,
    )
