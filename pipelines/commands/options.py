"""Options that several commands share, and options made from the settings classes, one spelling for both."""

import dataclasses
import json
import shlex
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from checkpoints import output_lock
from pipelines.commands.parameter_types import AutoOr, CommaList
from pipelines.resuming import CHECKPOINT_SECONDS
from pretrain.activations import ACTIVATIONS
from pretrain.autoencoder_settings import CORRUPTIONS, RECONSTRUCTION_LOSSES
from pretrain.device import DEVICES
from pretrain.exceptions import SettingsError
from pretrain.rbm_settings import GRADIENT_ESTIMATORS, INITIAL_WEIGHTS, VISIBLE_BIASES
from pretrain.settings import LAYER_SETTINGS, LayerSettings, TrainingSettings
from pretrain.training_settings import OPTIMIZERS, PRECISIONS, SCHEDULES

AUGMENTATION = ("shift", "flip", "crop", "rotation", "noise")  # fields of FinetuneSettings
F = TypeVar("F", bound=Callable[..., Any])
# Keys of click's context: what was typed, whether a recipe prints instead, and what the command found.
ARGUMENTS, QUIET, RESULT = "pretrain.arguments", "pretrain.quiet", "pretrain.result"
SCALINGS = ("range", "none", "minmax", "standard")

# One row a setting: type, help. Ranges are checked by the settings classes, which know them.
TRAINING_OPTIONS: dict[str, tuple[Any, str]] = {
    "epochs": (AutoOr(click.INT), "Passes over the training rows."),
    "batch_size": (AutoOr(click.INT), "Rows a step; auto: a fiftieth of the rows, between 10 and 100."),
    "optimizer": (click.Choice(OPTIMIZERS), "torch's optimiser."),
    "learning_rate": (AutoOr(click.FLOAT), "Initial step size; auto: what the units of an rbm bear."),
    "momentum": (click.FLOAT, "Momentum of sgd and rmsprop."),
    "nesterov": (click.BOOL, "Nesterov's momentum for sgd."),
    "initial_momentum": (click.FLOAT, "Momentum of the first epochs, before --momentum."),
    "initial_momentum_epochs": (click.INT, "How many epochs --initial-momentum lasts."),
    "schedule": (click.Choice(SCHEDULES), "Course of the learning rate."),
    "decay": (click.FLOAT, "Factor (step, exponential) or slope (inverse_time) of the schedule."),
    "decay_epochs": (click.INT, "Epochs between two steps of the schedule `step`."),
    "weight_decay": (click.FLOAT, "L2 penalty on weights."),
    "l1": (click.FLOAT, "L1 penalty on weights."),
    "max_norm": (click.FLOAT, "Largest norm of the weights into one unit."),
    "early_stopping": (click.BOOL, "Stop on the validation rows and keep the best weights."),
    "n_iter_no_change": (click.INT, "Epochs without improvement before early stopping."),
    "tol": (click.FLOAT, "Improvement that counts for early stopping."),
    "precision": (click.Choice(PRECISIONS), "Arithmetic of the matrix products."),
}
# But for `missing`: data files hold no missing values, arrays in Python may.
LAYER_OPTIONS: dict[str, tuple[Any, str]] = {
    "visible_units": (click.STRING, "rbm: units on the data, a type or bernoulli:3+gaussian:2+softmax:4."),
    "hidden_units": (click.STRING, "rbm: hidden units, bernoulli, gaussian, noisy_relu, spin or softmax."),
    "gradient_estimator": (click.Choice(GRADIENT_ESTIMATORS), "rbm: where the negative phase comes from."),
    "n_gibbs_steps": (click.INT, "rbm: the k of CD-k, Gibbs steps an update."),
    "initial_gibbs_steps": (click.INT, "rbm: Gibbs steps of the first epoch, growing to --n-gibbs-steps."),
    "sample_reconstruction": (click.BOOL, "rbm: whether CD samples the last reconstruction."),
    "n_chains": (AutoOr(click.INT), "rbm: persistent chains; auto: as many as a batch has rows."),
    "n_temperatures": (click.INT, "rbm: temperatures of tempering."),
    "fast_learning_rate": (click.FLOAT, "rbm: step size of the fast weights of fast_pcd."),
    "fast_decay": (click.FLOAT, "rbm: what a step leaves of the fast weights."),
    "centered": (AutoOr(click.BOOL), "rbm: gradient of centred units; auto: for Gaussian visible units."),
    "binarize": (click.BOOL, "rbm: draw 0/1 states from the data, anew every time."),
    "sparsity_target": (click.FLOAT, "rbm, autoencoder: mean activation that hidden units are pulled to."),
    "sparsity_cost": (click.FLOAT, "rbm, autoencoder: weight of the sparsity penalty."),
    "sparsity_decay": (click.FLOAT, "rbm: what an update leaves of the running mean activation."),
    "hidden_dropout": (click.FLOAT, "rbm: probability of leaving a hidden unit out."),
    "initial_weights": (click.Choice(INITIAL_WEIGHTS), "rbm: transposed: begin as the layer below upside down."),
    "weight_scale": (click.FLOAT, "rbm: standard deviation of the initial random weights."),
    "initial_visible_bias": (click.Choice(VISIBLE_BIASES), "rbm: whether visible biases begin at the data's means."),
    "corruption": (click.Choice(CORRUPTIONS), "autoencoder: noise on the input."),
    "corruption_level": (click.FLOAT, "autoencoder: share of cells, or standard deviation."),
    "emphasis": (click.FLOAT, "autoencoder: cells without noise weigh 1 less this in the loss; 1: full emphasis."),
    "tied": (click.BOOL, "autoencoder: the decoder has the encoder's weights, transposed."),
    "activation": (click.Choice(tuple(ACTIVATIONS)), "autoencoder, supervised: activation of the hidden units."),
    "reconstruction_loss": (click.Choice(RECONSTRUCTION_LOSSES), "autoencoder: loss of the reconstruction."),
    "contraction": (click.FLOAT, "autoencoder: weight of the squared norm of the code's Jacobian."),
    "contraction_higher_order": (click.FLOAT, "autoencoder: weight of the Jacobian's squared change under noise."),
    "contraction_noise": (click.FLOAT, "autoencoder: standard deviation of that noise on the input."),
}
# Without early stopping: greedy pretraining holds no labels out to stop on, and in a comparison validation rows would
# be labels beyond the budget.
UNSTOPPED_OPTIONS = {
    name: row for name, row in TRAINING_OPTIONS.items() if name not in ("early_stopping", "n_iter_no_change", "tol")
}


def settings_options(table: Mapping[str, tuple[Any, str]], *, per_layer: bool = False) -> Callable[[F], F]:
    """One option for each row of a table; what is not given is left to the defaults of the settings."""

    def decorate(command: F) -> F:
        for name, (kind, text) in reversed(list(table.items())):
            value_type = CommaList(kind, scalar=True) if per_layer else kind
            command = click.option(_spelling(name), name, type=value_type, default=None, help=text)(command)
        return command

    return decorate


def setting_options(params: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a command's options that are settings of layers or of training."""
    return {name: value for name, value in params.items() if name in LAYER_OPTIONS or name in TRAINING_OPTIONS}


def layer_settings(kind: str, n_layers: int, given: Mapping[str, Any]) -> list[LayerSettings]:
    """Settings of each layer from the options that were given, one value for all layers or one a layer."""
    cls = LAYER_SETTINGS[kind]
    own = {field.name for field in dataclasses.fields(cls)}
    present = {name: value for name, value in given.items() if value is not None}
    for name in present:
        if name not in own and name not in TRAINING_OPTIONS:
            raise SettingsError(f"{_spelling(name)} is not for --kind {kind}; leave it out or change the kind.")
    return [_one_layer(cls(), k, n_layers, present) for k in range(n_layers)]


def _one_layer(base: LayerSettings, k: int, n_layers: int, given: Mapping[str, Any]) -> LayerSettings:
    values = {name: _of_layer(name, value, k, n_layers) for name, value in given.items()}
    training = {name: value for name, value in values.items() if name in TRAINING_OPTIONS}
    own = {name: value for name, value in values.items() if name not in TRAINING_OPTIONS}
    return dataclasses.replace(base, training=dataclasses.replace(base.training, **training), **own)


def _of_layer(name: str, value: Any, k: int, n_layers: int) -> Any:
    if not isinstance(value, tuple):
        return value
    if len(value) != n_layers:
        raise SettingsError(
            f"{_spelling(name)} takes one value for all layers or exactly {n_layers}, one a layer; got {len(value)}."
        )
    return value[k]


def training_settings(base: TrainingSettings, given: Mapping[str, Any]) -> TrainingSettings:
    """`base` with the options that were given."""
    return dataclasses.replace(
        base, **{name: value for name, value in given.items() if name in TRAINING_OPTIONS and value is not None}
    )


def data_options(command: F) -> F:
    """--target, --scaling, --test-fraction, --split-seed."""
    for decorator in (
        click.option("--target", help="Name of the label column of a csv file."),
        click.option(
            "--scaling",
            type=click.Choice(SCALINGS),
            default="range",
            show_default=True,
            help="range: divide by the range that the format declares (pixels by 255). Learned on training rows.",
        ),
        click.option(
            "--test-fraction",
            type=float,
            default=0.2,
            show_default=True,
            help="Share of test rows, for data that have none of their own.",
        ),
        click.option(
            "--split-seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the split."
        ),
    ):
        command = decorator(command)
    return command


def run_options(command: F) -> F:
    """--seed, --device, --json."""
    for decorator in (
        click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the run."),
        device_option,
        json_option,
    ):
        command = decorator(command)
    return command


def device_option(command: F) -> F:
    """--device."""
    text = "auto: a GPU where torch finds one."
    return click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True, help=text)(command)


def augmentation_options(command: F) -> F:
    """--shift, --flip, --crop, --rotation, --noise."""
    for name, kind, help_text in (
        ("noise", click.FloatRange(min=0), "Standard deviation of noise on the scaled rows, anew every time."),
        ("rotation", click.FloatRange(0, 180), "Turn images by up to so many degrees, anew every time."),
        ("crop", click.IntRange(min=0), "Put so many zeros around images and cut their size out, anew every time."),
    ):
        command = click.option(f"--{name}", type=kind, default=0, show_default=True, help=help_text)(command)
    command = click.option("--flip", is_flag=True, help="Mirror half of the images, anew every time.")(command)
    text = "Move half of the images by up to so many pixels each way, anew every time."
    return click.option("--shift", type=click.IntRange(min=0), default=0, show_default=True, help=text)(command)


def tensorboard_option(command: F) -> F:
    """--tensorboard."""
    text = "Folder for the records of every epoch as TensorBoard's event files."
    return click.option("--tensorboard", type=click.Path(path_type=Path), metavar="DIR", help=text)(command)


def json_option(command: F) -> F:
    """--json."""
    return click.option("--json", "as_json", is_flag=True, help="Print exactly one JSON object.")(command)


def output_option(what: str) -> Callable[[F], F]:
    """-o/--output and --overwrite."""

    def decorate(command: F) -> F:
        command = click.option("--overwrite", is_flag=True, help="Replace an existing output.")(command)
        return click.option(
            "-o",
            "--output",
            required=True,
            type=click.Path(path_type=Path),
            callback=_require_file,
            help=f"Where {what} goes.",
        )(command)

    return decorate


def _require_file(context: click.Context, parameter: click.Parameter, output: Path) -> Path:
    # Before anything else looks at it: a path without a name, as "." or "", has no files beside it.
    if output.is_dir():
        raise click.BadParameter(f"{str(output)!r} is a folder; give the name of a file.")
    return output


def resume_options(command: F) -> F:
    """--checkpoint-every and --resume."""
    text = "Go on with the run that was stopped: the same command, and this."
    command = click.option("--resume", is_flag=True, help=text)(command)
    return click.option(
        "--checkpoint-every",
        type=click.FloatRange(min=0),
        default=CHECKPOINT_SECONDS,
        show_default=True,
        help="Seconds between two states of the run beside the output; 0: only when it is stopped.",
    )(command)


def require_free_output(output: Path, overwrite: bool) -> None:
    """Refuse, before any work is done, an output that exists, whose folder does not, or that another process writes.

    No other process can take it until the command ends.
    """
    if output.exists() and not overwrite:
        raise SettingsError(f"{output} exists. Give another -o, or --overwrite to replace it.")
    if not output.parent.is_dir():
        raise SettingsError(f"The folder {output.parent} of -o does not exist. Make it first, or give another.")
    try:
        with tempfile.TemporaryFile(dir=output.parent):
            pass
    except OSError as error:
        raise SettingsError(f"Nothing can be written to the folder {output.parent}: {error.strerror}.") from error
    click.get_current_context().with_resource(output_lock(output))


def report_result(result: Mapping[str, Any], lines: Sequence[str], as_json: bool) -> None:
    """Print one JSON object, or lines for a person, on standard output.

    As a step of a recipe the result is handed to the recipe, which prints the one JSON object.
    """
    meta = click.get_current_context().meta
    meta[RESULT] = dict(result)
    if not meta.get(QUIET):
        click.echo(json.dumps(result) if as_json else "\n".join(lines))


def wide_console() -> Console:
    """Standard output for tables: as wide as the terminal, and 140 columns where it is none."""
    return Console(width=None if sys.stdout.isatty() else 140)


def is_quiet() -> bool:
    """Whether a recipe prints the result in this command's place."""
    return bool(click.get_current_context().meta.get(QUIET))


def command_line() -> str:
    """The command as it was typed, for provenance."""
    typed = click.get_current_context().meta.get(ARGUMENTS, sys.argv[1:])
    return shlex.join(["pretrain", *typed])


def _spelling(name: str) -> str:
    return "--" + name.replace("_", "-")
