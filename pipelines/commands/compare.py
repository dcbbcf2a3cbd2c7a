"""`pretrain compare`: pretrained and from-scratch networks at every label budget."""

import dataclasses
from pathlib import Path
from typing import Any

import click

from pipelines.arms import ARMS, DEFAULT_ARMS, Arm, arms_named
from pipelines.commands.idle_options import CheckedCommand
from pipelines.commands.options import (
    AUGMENTATION,
    UNSTOPPED_OPTIONS,
    augmentation_options,
    command_line,
    data_options,
    resume_options,
    run_options,
    settings_options,
    tensorboard_option,
    training_settings,
)
from pipelines.commands.parameter_types import LAYER_SIZES, AutoOr, CommaList
from pipelines.commands.verdict_output import print_verdict
from pipelines.comparison import Comparison
from pipelines.preparation import prepare, wants_unit_interval
from pipelines.progress import TrainingProgress

TUNING_FRACTION = 0.1  # of the rows, for validation, where --tune is given and no fraction is


class Labels(click.ParamType):
    """A number of labels, or "all"."""

    name = "integer|all"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """ "all" stays a word."""
        return value if value == "all" else click.IntRange(min=1).convert(value, param, ctx)


def _arms(given: dict[str, Any]) -> list[Arm]:
    return [_with_settings(arm, given["pretrain_epochs"], given) for arm in arms_named(given["arms"])]


def _settle(params: dict[str, Any]) -> list[dict[str, Any]]:
    arms = _arms(params)
    return [{**vars(a.finetune.training), "pretrained": a.pretrained, "labels": params["labels"]} for a in arms]


@click.command(
    cls=CheckedCommand,
    settle=_settle,
    epilog="Example: pretrain compare digits --arms dbn,relu --labels 50,all --seeds 3 -o runs/digits",
)
@click.argument("data")
@click.option(
    "--arms",
    type=CommaList(click.STRING),
    default=",".join(DEFAULT_ARMS),
    show_default=True,
    help=f"Of {', '.join(ARMS)}.",
)
@click.option(
    "--labels",
    type=CommaList(Labels()),
    default="all",
    show_default=True,
    help="Numbers of labelled rows; dbn and sdae see the other rows without labels.",
)
@click.option("--seeds", type=click.IntRange(1, 1000), default=5, show_default=True, help="How many, from --seed up.")
@click.option(
    "--layers",
    type=LAYER_SIZES,
    default="500,500,2000",
    show_default=True,
    help="Hidden units of each arm.",
)
@click.option("--pretrain-epochs", type=AutoOr(click.INT), help="Epochs a layer of the pretrained arms.")
@click.option(
    "--pseudo-labels",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Weight of the classes that a network itself gives to the rows beyond --labels; 0: they are not trained on.",
)
@click.option(
    "--tune",
    "n_trials",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Trials of the settings of each arm at each budget, judged by validation rows; 0: the arms' own settings.",
)
@click.option(
    "--validation-fraction",
    type=click.FloatRange(min=0, max=1, max_open=True),
    help="Share of rows that are not trained on but draw validation curves.  [default: 0, with --tune 0.1]",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Cells that are trained at a time, in processes that share the threads.",
)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Run folder, e.g. runs/NAME.")
@click.option("--overwrite", is_flag=True, help="Begin the run folder anew instead of going on in it.")
@augmentation_options
@settings_options(UNSTOPPED_OPTIONS)
@data_options
@resume_options
@tensorboard_option
@run_options
def compare(
    data: str,
    labels: tuple[Any, ...],
    seeds: int,
    layers: tuple[int, ...],
    n_trials: int,
    validation_fraction: float | None,
    jobs: int,
    output: Path,
    overwrite: bool,
    target: str | None,
    scaling: str,
    test_fraction: float,
    split_seed: int,
    checkpoint_every: float,
    resume: bool,
    tensorboard: Path | None,
    seed: int,
    device: str,
    as_json: bool,
    **given: Any,
) -> None:
    """Train every arm on DATA at every label budget for every seed, and report which is better.

    Pretrained arms pretrain on all training rows without their labels; greedy-supervised, which tells whether that
    matters, pretrains with the labels of the budget and on no other rows. Options of the training change the
    supervised training of every arm alike. A repeated command does only what is not done yet, and goes
    on inside the cell that was stopped; with --resume it does nothing where there is no such run folder.

    With --tune each arm searches its own space of settings, as many times as every other; the space lies around the
    settings that it would have without.
    """
    if resume and overwrite:
        raise click.UsageError("--resume goes on and --overwrite begins anew; give one of them.")
    chosen = _arms(given)
    if validation_fraction is None:
        validation_fraction = TUNING_FRACTION if n_trials > 0 else 0.0
    prepared = prepare(
        data,
        target=target,
        scaling=scaling,
        seed=split_seed,
        test_fraction=test_fraction,
        validation_fraction=validation_fraction,
        unit_interval=any(arm.layer is not None and wants_unit_interval(arm.layer) for arm in chosen),
    )
    comparison = Comparison(
        prepared,
        arms=chosen,
        hidden_layer_sizes=layers,
        labels=sorted(set(labels), key=lambda budget: float("inf") if budget == "all" else budget),
        seeds=range(seed, seed + seeds),
        output=output,
        device=device,
        command=command_line(),
        n_trials=n_trials,
        jobs=jobs,
        checkpoint_every=checkpoint_every,
    )
    comparison.open_folder(overwrite=overwrite, resume=resume)
    with TrainingProgress(tensorboard=tensorboard) as progress:
        results = comparison.run(progress)
    print_verdict(results, output, as_json)


def _with_settings(arm: Arm, pretrain_epochs: Any, given: dict[str, Any]) -> Arm:
    training = training_settings(arm.finetune.training, given)
    own = {name: given[name] for name in ("pseudo_labels", *AUGMENTATION)}
    finetune = dataclasses.replace(arm.finetune, training=training, **own)
    layer = arm.layer
    if layer is not None and pretrain_epochs is not None:
        layer = dataclasses.replace(layer, training=dataclasses.replace(layer.training, epochs=pretrain_epochs))
    return dataclasses.replace(arm, finetune=finetune, layer=layer)
