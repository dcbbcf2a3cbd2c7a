"""`pretrain inspect`: what a file holds, and how healthy the layers of its stack are."""

import json
import textwrap
from typing import Any

import click
from click.core import ParameterSource
from rich import box
from rich.table import Table

import checkpoints
from pipelines.commands.options import device_option, json_option, wide_console
from pipelines.evaluation import on_device
from pipelines.health import Health, examine
from pipelines.preparation import prepare_as_before, require_features, same_data
from pretrain import Stack
from pretrain.exceptions import SettingsError
from pretrain.layer_figures import LayerFigures

HEALTH_OPTIONS = {"target": "--target", "device": "--device"}
LEGEND = (
    "dead, saturated, copies: shares of the units; at an end: share of code values within 1 % of an end of their "
    "range; error/mean: squared error of the reconstruction by that of the mean; moved: distance from the initial "
    "weights by their norm; loss: first and last epoch; gap: free energy of held-out less training rows, nats; "
    "probe: error of a linear classifier."
)
COLUMNS = (
    "layer",
    "units",
    "dead",
    "saturated",
    "at an end",
    "copies",
    "error/mean",
    "moved",
    "loss",
    "gap",
    "probe",
)


@click.command(epilog="Example: pretrain inspect stack.h5 --health digits")
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--health", "data", metavar="DATA", help="Examine the layers on the training rows of DATA.")
@click.option("--target", help="With --health: name of the label column of a csv file.")
@device_option
@json_option
@click.pass_context
def inspect(
    context: click.Context, file: str, data: str | None, target: str | None, device: str, as_json: bool
) -> None:
    """Print what FILE holds: layers, sizes, settings, data, split, versions; everything but the weights.

    With --health, say instead what is wrong with each layer of its stack and what to change: dead, saturated or
    copied units, weights that exploded or hardly moved, a loss that rose, overfitting, a reconstruction no better
    than the mean, a layer that adds nothing for a linear probe. Test rows are not read.
    """
    if data is not None:
        _print_health(_health(file, data, target, device), file, data, as_json)
        return
    for name, option in HEALTH_OPTIONS.items():
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{option} goes with --health DATA; without it no data are read.")
    _print_description(checkpoints.describe(file), as_json)


def _health(file: str, data: str, target: str | None, device: str) -> Health:
    model = checkpoints.load(file)
    stack = getattr(model, "stack_", model)
    if not isinstance(stack, Stack):
        raise SettingsError(
            f"{file} holds a {type(model).__name__}; --health takes a stack, which `pretrain stack` makes."
        )
    record = checkpoints.describe(file).get("provenance") or {}
    prepared = prepare_as_before(data, record, stack.scaling, target=target)
    require_features(prepared.dataset, stack.n_visible, file)
    return examine(
        on_device(stack, device),
        prepared,
        trained_on=same_data(record, prepared.dataset),
        history=checkpoints.read_history(file),
        record=record,
    )


def _print_health(health: Health, file: str, data: str, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"path": file, "data": data, **health.to_dict()}))
        return
    wide_console().print(_table(health))
    click.echo("\n".join([textwrap.fill(LEGEND, 118), "", *health.notes, ""]))
    for finding in health.findings:
        click.echo(f"{finding.severity}: {finding.sentence()}")
    if not health.findings:
        click.echo("Nothing to remark.")


def _table(health: Health) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    if health.raw_probe_error is not None:
        table.add_row("input", *[""] * (len(COLUMNS) - 2), f"{health.raw_probe_error:.1f} %")
    for layer in health.layers:
        table.add_row(*_cells(layer))
    return table


def _cells(layer: LayerFigures) -> list[str]:
    shares = (layer.dead_units, layer.saturated_units, layer.stiff_codes, layer.copied_units)
    ratios = (layer.reconstruction_ratio, layer.weight_change)
    loss = "—" if layer.loss_first is None else f"{layer.loss_first:.4g} → {layer.loss_last:.4g}"
    gap = layer.recorded_gap if layer.gap is None else layer.gap
    return [
        str(layer.layer),
        f"{layer.n_visible} → {layer.n_hidden}",
        *("—" if share is None else f"{100 * share:.0f} %" for share in shares),
        *("—" if ratio is None else f"{ratio:.2f}" for ratio in ratios),
        loss,
        "—" if gap is None else f"{gap:.3g}",
        "—" if layer.probe_error is None else f"{layer.probe_error:.1f} %",
    ]


def _print_description(description: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(description))
        return
    # Of all but networks the settings of the layers are the whole configuration: they are printed once.
    repeated = description["config"] == {"layers": description["layers"]}
    rows = flatten({name: value for name, value in description.items() if not (repeated and name == "config")})
    width = max(len(name) for name, _ in rows)
    # Plain lines and no table: the names are long, and lines can be searched and compared.
    for name, value in rows:
        click.echo(f"{name:<{width}}  {value}")


def flatten(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested mappings and lists of mappings as rows of (dotted name, text); what is None is left out."""
    if value is None:
        return []
    if isinstance(value, dict) and value:
        return [row for key, inner in value.items() for row in flatten(inner, f"{prefix}.{key}" if prefix else key)]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [row for k, inner in enumerate(value) for row in flatten(inner, f"{prefix}[{k}]")]
    return [(prefix, value if isinstance(value, str) else json.dumps(value))]
