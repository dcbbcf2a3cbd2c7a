"""What can be measured of one pretrained layer: from its weights, some rows and the records of its training."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pretrain.activations import LAYER_ACTIVATIONS
from pretrain.column_groups import parse_groups
from pretrain.gaussian_units import HIGHEST_VARIANCE, LOWEST_VARIANCE
from pretrain.input_figures import input_figures
from pretrain.monitoring import RANGES, free_energy_gap, unit_shares
from pretrain.rbm import RBM
from pretrain.reconstruction import reconstruction_errors
from pretrain.stack import DecodingLayer
from pretrain.weight_change import weight_change, weight_structure

END_MARGIN = 0.01  # of the range: code values closer to an end than this pass hardly any gradient
COPY_CORRELATION = 0.99
FEWEST_ROWS = 50  # below, units correlate by chance
CORRELATED_UNITS = 1024  # at a time: bounds the memory


@dataclass(frozen=True)
class LayerFigures:
    """What was measured of one layer; None where it could not be, or does not apply.

    Attributes
    ----------
    layer : int
        Counted from 1, as the progress bar does.
    kind, activation : str
    n_visible, n_hidden : int
    dead_units, saturated_units, copied_units : float or None
        Shares of the hidden units: off, or fully on, on every row; with the code of another unit.
    stiff_codes : float or None
        Share of code values within 1 % of an end of their range; None for units without a range.
    input_spread : float
        Standard deviation of the input, root mean square over its features.
    reconstruction_ratio : float or None
        Squared error of the reconstruction by that of the mean of the input; None for layers that do not decode.
    weight_rms : float
        Root mean square of the weights; on features of learned variance, of weight times standard deviation.
    code_growth : float or None
        Root mean square of the code by that of the input, for units without a range.
    variances_low, variances_high : float or None
        Shares of the features that vary whose learned variance stands at its lower or upper limit.
    loss_first, loss_lowest, loss_last : float or None
        Of the recorded epochs.
    recorded_gap_lowest, recorded_gap : float or None
        Recorded free-energy gap in nats, its lowest and the last.
    gap, gap_error : float or None
        Free energy of held-out rows less that of training rows, in nats, and its standard error.
    free_energy_spread : float or None
        Standard deviation of the free energy over training rows, in nats.
    probe_error : float or None
        Error of a linear probe on the code in %.
    probe_gain, probe_gain_error : float or None
        Error of the probe on the layer's input less that on its code, in points, and its standard error.
    weight_change : float or None
        Norm of the weights' distance from their initial values by the norm of these.
    weight_structure : float or None
        Largest singular value of the weights by that of noise of the same size and root mean square.
    bias_by_weight : float or None
        Root mean square of the hidden biases, which begin at zero, by that of the weights.
    learning_rate : float or None
        The recorded one of the first epoch.
    epochs : int or None
        How many are recorded.
    range_problem : str or None
        How the data leave the range of the visible units, in words.
    gaussian_spread : float or None
        Standard deviation of the data under Gaussian units of variance 1, root mean square over features that vary.
    spin_lowest : float or None
        Smallest value of the data under spin units.
    finite : bool
        Whether all codes are finite numbers.
    """

    layer: int
    kind: str
    activation: str
    n_visible: int
    n_hidden: int
    dead_units: float | None = None
    saturated_units: float | None = None
    copied_units: float | None = None
    stiff_codes: float | None = None
    input_spread: float = 1.0
    reconstruction_ratio: float | None = None
    weight_rms: float = 0.1
    code_growth: float | None = None
    variances_low: float | None = None
    variances_high: float | None = None
    loss_first: float | None = None
    loss_lowest: float | None = None
    loss_last: float | None = None
    recorded_gap_lowest: float | None = None
    recorded_gap: float | None = None
    gap: float | None = None
    gap_error: float | None = None
    free_energy_spread: float | None = None
    probe_error: float | None = None
    probe_gain: float | None = None
    probe_gain_error: float | None = None
    weight_change: float | None = None
    weight_structure: float | None = None
    bias_by_weight: float | None = None
    learning_rate: float | None = None
    epochs: int | None = None
    range_problem: str | None = None
    gaussian_spread: float | None = None
    spin_lowest: float | None = None
    finite: bool = True


@torch.no_grad()
def measure_layer(
    layer: Any,
    number: int,
    rows: torch.Tensor,
    held_out: torch.Tensor | None,
    *,
    history: Sequence[Mapping[str, Any]] = (),
    initial_weight: torch.Tensor | None = None,
) -> LayerFigures:
    """Everything of one layer but the linear probe.

    Parameters
    ----------
    layer : Layer
    number : int
        Of the layer, from 1.
    rows : Tensor of shape (n, n_visible)
        Training rows as the layer sees them.
    held_out : Tensor of shape (m, n_visible) or None
        Rows that it was not trained on.
    history : sequence of records
        Of the whole stack.
    initial_weight : Tensor of shape (n_hidden, n_visible) or None
        What the training began with.
    """
    codes = layer.encode(rows)
    figures = LayerFigures(
        number,
        layer.kind,
        layer.activation,
        layer.n_visible,
        layer.n_hidden,
        finite=bool(torch.isfinite(codes).all()),
        input_spread=float(rows.double().var(dim=0, correction=0).mean().sqrt()),
        weight_rms=float(_standardised_weight(layer).double().square().mean().sqrt()),
        weight_structure=weight_structure(layer.weight),
        bias_by_weight=_bias_by_weight(layer),
        weight_change=weight_change(layer.weight, initial_weight),
        **(input_figures(layer, rows) if number == 1 else {}),
        **_learned_variances(layer, rows),
        **training_figures(history, number),
    )
    if not figures.finite:
        return figures
    return dataclasses.replace(
        figures,
        **code_figures(codes, layer.activation),
        copied_units=copied_share(codes),
        code_growth=_code_growth(codes, rows, layer.activation),
        reconstruction_ratio=_reconstruction_ratio(layer, rows),
        **_free_energy_figures(layer, rows, held_out),
    )


def code_figures(codes: torch.Tensor, activation: str) -> dict[str, Any]:
    """`dead_units`, `saturated_units` and `stiff_codes` of codes (n, n_hidden), each type of unit on its columns."""
    dead = saturated = stiff = bounded = 0.0
    for group in parse_groups("activation", activation, codes.shape[1], LAYER_ACTIVATIONS):
        own = codes[:, group.columns]
        shares = unit_shares(own, group.name)
        dead += group.width * shares["dead_units"]
        saturated += group.width * shares["saturated_units"]
        if group.name in RANGES and group.name != "softmax":  # one of many categories: near 0 as it should be
            low, high = RANGES[group.name]
            margin = END_MARGIN * (high - low)
            stiff += group.width * float(((own < low + margin) | (own > high - margin)).double().mean())
            bounded += group.width
    n_units = codes.shape[1]
    return {
        "dead_units": dead / n_units,
        "saturated_units": saturated / n_units,
        "stiff_codes": stiff / bounded if bounded else None,
    }


def copied_share(codes: torch.Tensor) -> float | None:
    """Share of units whose code (n, n_hidden) is that of a unit before them, up to its scale; None for few rows.

    Units that vary hardly, by the side of the one that varies most, are no copies: they are dead or saturated.
    """
    if len(codes) < FEWEST_ROWS:
        return None
    centred = codes.double() - codes.double().mean(dim=0)
    norm = centred.norm(dim=0)
    alive = norm > max(1e-2 * float(norm.max()), 1e-6 * math.sqrt(len(codes)))
    unit = (centred[:, alive] / norm[alive]).float()
    copied = 0
    for start in range(0, unit.shape[1], CORRELATED_UNITS):
        block = unit[:, start : start + CORRELATED_UNITS]
        correlation = block.T @ unit[:, : start + block.shape[1]]  # (block, units up to its end)
        copied += int((correlation.tril(start - 1) > COPY_CORRELATION).any(dim=1).sum())
    return copied / codes.shape[1]


def training_figures(history: Sequence[Mapping[str, Any]], number: int) -> dict[str, Any]:
    """What the records say of the layer `number` (from 1): losses, free-energy gaps, learning rate, epochs."""
    own = [record for record in history if record.get("layer") == number - 1]
    losses = _numbers(own, "loss")
    gaps = _numbers(own, "free_energy_gap")
    rates = _numbers(own, "learning_rate")
    return {
        "loss_first": losses[0] if losses else None,
        "loss_lowest": min(losses, default=None),
        "loss_last": losses[-1] if losses else None,
        "recorded_gap_lowest": min(gaps, default=None),
        "recorded_gap": gaps[-1] if gaps else None,
        "learning_rate": rates[0] if rates else None,
        "epochs": len(losses) or None,
    }


def _numbers(records: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    values = [record.get(name) for record in records]
    return [float(value) for value in values if isinstance(value, int | float) and math.isfinite(value)]


def _bias_by_weight(layer: Any) -> float | None:
    weight, bias = (values.double().square().mean().sqrt() for values in (layer.weight, layer.hidden_bias))
    return float(bias / weight) if weight > 0 else None


def _standardised_weight(layer: Any) -> torch.Tensor:
    # As a feature of unit variance would meet it: the plain weight depends on the unit of a learned variance.
    variance = layer.visible_units.variance() if isinstance(layer, RBM) else None
    return layer.weight if variance is None else layer.encoder_weight * variance.sqrt()


def _learned_variances(layer: Any, rows: torch.Tensor) -> dict[str, Any]:
    learned = layer.visible_units.log_variances() if isinstance(layer, RBM) else []
    at_limits = []
    for columns, log_variance in learned:
        varies = rows[:, columns].amax(dim=0) > rows[:, columns].amin(dim=0)  # a constant has no variance to learn
        variance = log_variance.exp()[varies]
        at_limits.append(torch.stack([variance < 1.01 * LOWEST_VARIANCE, variance > 0.99 * HIGHEST_VARIANCE]))
    found = torch.cat(at_limits, dim=1) if at_limits else torch.zeros(2, 0)
    if found.shape[1] == 0:
        return {}
    low, high = found.double().mean(dim=1).tolist()
    return {"variances_low": low, "variances_high": high}


def _code_growth(codes: torch.Tensor, rows: torch.Tensor, activation: str) -> float | None:
    if activation in RANGES or not rows.any():
        return None
    return float(codes.double().square().mean().sqrt() / rows.double().square().mean().sqrt())


def _reconstruction_ratio(layer: Any, rows: torch.Tensor) -> float | None:
    if not isinstance(layer, DecodingLayer):
        return None
    of_mean = float(rows.double().var(dim=0, correction=0).sum())
    error = float(reconstruction_errors(layer, rows).mean())
    return error / of_mean if of_mean > 0 and math.isfinite(error) else None


def _free_energy_figures(layer: Any, rows: torch.Tensor, held_out: torch.Tensor | None) -> dict[str, Any]:
    if not isinstance(layer, RBM) or len(rows) < 2:
        return {}
    energy = layer.free_energy(rows).double()
    figures = {"free_energy_spread": float(energy.std())}
    if held_out is not None and len(held_out) > 1:
        other = layer.free_energy(held_out).double()
        error = float((energy.var() / len(rows) + other.var() / len(held_out)).sqrt())
        figures |= {"gap": free_energy_gap(layer, rows, held_out), "gap_error": error}
    return {name: value for name, value in figures.items() if math.isfinite(value)}
