"""The table of layers under an estimator's picture in a notebook."""

import html
from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import nn

from pretrain.dbn import DBN, DirectedLayer
from pretrain.network import Network
from pretrain.stack import Stack

HEADER = ("layer", "units", "parameters", "state")
STYLE = "border-collapse:collapse;margin-top:0.5em;font-variant-numeric:tabular-nums"
CELL = "text-align:left;padding:0.1em 1em 0.1em 0"


class LayerRow(NamedTuple):
    """One layer: what it is, its units, its trainable numbers (None before a fit), and how far it is trained."""

    name: str
    n_units: int
    n_parameters: int | None
    state: str


def layers_html(rows: list[LayerRow]) -> str:
    """The table as HTML, the layers from the data upwards; nothing without layers."""
    if not rows:
        return ""
    cells = [
        (k.name, f"{k.n_units:,}", "" if k.n_parameters is None else f"{k.n_parameters:,}", k.state) for k in rows
    ]
    lines = [_line("th", HEADER), *(_line("td", row) for row in cells)]
    return f'<table class="pretrain-layers" style="{STYLE}">{"".join(lines)}</table>'


def planned_rows(sizes: Any) -> list[LayerRow]:
    """Rows of an estimator that is not fitted, from its `hidden_layer_sizes` or `n_components`."""
    given = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
    whole = [size for size in given if hasattr(size, "__index__")]  # what is none, a fit refuses
    return [LayerRow(f"hidden {k}", int(size), None, "not fitted") for k, size in enumerate(whole, start=1)]


def fitted_rows(model: Any, *, hidden: str, output: str) -> list[LayerRow]:
    """Rows of a fitted model; `hidden` and `output` say how far such layers are trained."""
    return list(_rows(model, hidden, output))


def _rows(model: Stack | Network | DBN, hidden: str, output: str) -> Iterator[LayerRow]:
    if isinstance(model, Network):
        activations = model.architecture.activations
        sizes = model.architecture.hidden_layer_sizes
        for k, (layer, activation, size) in enumerate(zip(model.hidden, activations, sizes, strict=True), start=1):
            yield LayerRow(f"hidden {k}, {activation}", size, _count(layer), hidden)
        spec = model.architecture
        yield LayerRow(f"output, {spec.output_activation}", spec.n_outputs, _count(model.head), output)
        return
    layers = [*model.layers, model.memory] if isinstance(model, DBN) else list(model.layers)
    for k, layer in enumerate(layers, start=1):
        activation = "sigmoid" if isinstance(layer, DirectedLayer) else layer.activation
        yield LayerRow(f"{layer.kind} {k}, {activation}", layer.n_hidden, _count(layer), hidden)


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _line(tag: str, cells: tuple[str, ...]) -> str:
    inside = "".join(f'<{tag} style="{CELL}">{html.escape(cell)}</{tag}>' for cell in cells)
    return f"<tr>{inside}</tr>"
