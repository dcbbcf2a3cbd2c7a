"""The health of a pretrained stack: the figures of each layer, and what they say is wrong with it."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pipelines.data import task_of
from pipelines.preparation import PreparedData
from pretrain import RBM, Stack
from pretrain.columns import require_rows
from pretrain.health_findings import Finding, findings_of
from pretrain.layer_figures import LayerFigures, measure_layer
from pretrain.linear_probe import probe, probe_gains, probed_rows, why_no_probe
from pretrain.supervised_layer import SupervisedLayer
from pretrain.weight_change import initial_weight

EXAMINED_ROWS = 2000  # drawn from the training rows, and as many held-out ones: shares are then exact to a per cent


@dataclass(frozen=True)
class Health:
    """What the examination of a stack found.

    Attributes
    ----------
    n_rows, n_held_out : int
        Rows that were looked at.
    raw_probe_error : float or None
        Error in % of a linear probe on the rows themselves.
    layers : list of LayerFigures
    findings : list of Finding
        From the first layer up, problems before remarks.
    notes : list of str
        What could not be measured, and why.
    """

    n_rows: int
    n_held_out: int
    raw_probe_error: float | None
    layers: list[LayerFigures]
    findings: list[Finding]
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return dataclasses.asdict(self)


def examine(
    stack: Stack,
    prepared: PreparedData,
    *,
    trained_on: bool,
    history: Sequence[Mapping[str, Any]] = (),
    record: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Health:
    """Measure every layer on training rows and say what is wrong.

    Test rows are not read. Held-out rows are the validation rows of the split: a stack that was trained on all
    training rows has none, and its free-energy gap cannot be measured afterwards.

    Parameters
    ----------
    stack : Stack
        On the device that computes.
    prepared : PreparedData
    trained_on : bool
        Whether the data are the ones that the stack was trained on, so that it has not seen the validation rows.
    history : sequence of records
        Of the training.
    record : mapping or None
        Provenance of the stack's file: its seed and settings, from which the initial weights are drawn again.
    seed : int
        Draws the rows that are looked at, and the folds of the probe.
    """
    rng = np.random.default_rng(seed)
    chosen = _draw(prepared.split.train, rng)
    device = stack.layers[0].weight.device
    rows = _scaled(prepared, chosen, device)
    if isinstance(stack.layers[0], RBM):
        require_rows(stack.layers[0].visible_units, rows)
    held_out = _scaled(prepared, _draw(prepared.split.validation, rng), device) if trained_on else rows[:0]
    notes = _notes(stack, prepared, trained_on, len(rows), len(held_out))
    figures, codes = _measured(stack, rows, held_out if len(held_out) else None, history, record or {})
    if len(codes) <= len(stack.layers):
        notes.append(f"The layers above layer {len(figures)} were not looked at: its codes are not finite.")
    y = None if prepared.dataset.y is None else prepared.dataset.y[chosen]
    reason = why_not_probed(y)
    raw_error = None
    if y is None or reason is not None:
        notes.append(f"No linear probe: {reason}.")
    else:
        raw_error, figures = _probed(figures, codes, y, seed)
    findings = [finding for layer in figures for finding in findings_of(layer)]
    return Health(len(rows), len(held_out), raw_error, figures, findings, notes)


def why_not_probed(y: np.ndarray | None) -> str | None:
    """Why the labels (n,) of the rows cannot be probed, in words; None if they can."""
    if y is not None and task_of(y) != "classification":
        return "the labels are a regression target"
    return why_no_probe(y)


def _draw(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    # Drawn, not the first: files are often sorted by class.
    return rows if len(rows) <= EXAMINED_ROWS else np.sort(rng.choice(rows, EXAMINED_ROWS, replace=False))


def _scaled(prepared: PreparedData, rows: np.ndarray, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.array(prepared.scaling.apply(prepared.dataset.X[rows]))).to(device)


@torch.no_grad()
def _measured(
    stack: Stack,
    rows: torch.Tensor,
    held_out: torch.Tensor | None,
    history: Sequence[Mapping[str, Any]],
    record: Mapping[str, Any],
) -> tuple[list[LayerFigures], list[np.ndarray]]:
    """Figures of the layers, and the rows with their codes up to the first layer whose codes are not finite."""
    figures: list[LayerFigures] = []
    codes = [rows.numpy(force=True)]
    for k, layer in enumerate(stack.layers):
        weight = initial_weight(record, stack, k)
        figures.append(measure_layer(layer, k + 1, rows, held_out, history=history, initial_weight=weight))
        if not figures[-1].finite:
            break
        rows = layer.encode(rows)
        held_out = None if held_out is None else layer.encode(held_out)
        codes.append(rows.numpy(force=True))
    return figures, codes


def _probed(
    figures: list[LayerFigures], codes: list[np.ndarray], y: np.ndarray, seed: int
) -> tuple[float, list[LayerFigures]]:
    used = probed_rows(y)
    wrong = [probe(code[used], y[used], seed=seed) for code in codes]
    probed = [
        dataclasses.replace(
            layer, probe_error=100.0 * float(here.mean()), probe_gain=gain, probe_gain_error=gain_error
        )
        for layer, here, (gain, gain_error) in zip(figures, wrong[1:], probe_gains(wrong), strict=False)
    ]
    return 100.0 * float(wrong[0].mean()), [*probed, *figures[len(probed) :]]


def _notes(stack: Stack, prepared: PreparedData, trained_on: bool, n_rows: int, n_held_out: int) -> list[str]:
    name = prepared.dataset.name
    if not trained_on:
        return [
            f"The file does not say that the stack was trained on {name}: the figures are those of {n_rows:,} rows "
            "of them, and no free-energy gap is measured."
        ]
    n_train = len(prepared.split.train)
    which = f"all {n_train:,}" if n_rows == n_train else f"{n_rows:,} of the {n_train:,}"
    notes = [f"Measured on {which} training rows; test rows are not read."]
    if any(isinstance(layer, SupervisedLayer) for layer in stack.layers):
        notes.append(
            "Supervised layers have no reconstruction to judge, and have seen the labels that the probe reads: on "
            "new rows its error is larger."
        )
    if n_held_out == 0 and any(isinstance(layer, RBM) for layer in stack.layers):
        notes.append(
            "No free-energy gap now: the stack was trained on all rows but the test rows, so none are held out "
            "(`pretrain stack --validation-fraction 0.1` holds some out)."
        )
    return notes
