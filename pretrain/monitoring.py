"""What a layer in training looks like: figures that tell dead units, saturation and overfitting."""

import dataclasses
from typing import Any

import torch

from pretrain.activations import LAYER_ACTIVATIONS
from pretrain.column_groups import parse_groups
from pretrain.likelihood import pseudo_log_likelihood
from pretrain.rbm import RBM
from pretrain.reconstruction import reconstruction_errors
from pretrain.stack import DecodingLayer
from pretrain.unit_states import can_be_listed

MONITORED_ROWS = 1000
# A bounded unit is dead below this share of its range on every row, and saturated above the rest of it.
MARGIN = 0.05
RANGES = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "softmax": (0.0, 1.0)}


@dataclasses.dataclass
class LayerMonitor:
    """Measures a layer on some training rows, and on validation rows where there are any.

    Parameters
    ----------
    layer : Layer
    rows : Tensor of shape (n, n_visible)
        Training rows as the layer sees them; the first 1,000 are used.
    validation_rows : Tensor of shape (m, n_visible) or None
    seed : int
        Chooses the features of stochastic pseudo-likelihoods, the same in every epoch: figures of one run compare,
        and a resumed run has the same.
    """

    layer: Any
    rows: torch.Tensor
    validation_rows: torch.Tensor | None
    seed: int

    @torch.no_grad()
    def __call__(self) -> dict[str, float]:
        """The figures of the layer as it is now, by name.

        `reconstruction_error` (squared, summed over features, mean over rows; of the validation rows where there are
        any; only of a layer that decodes), `dead_units` and `saturated_units` (shares of the hidden units),
        `weight_norm` and `gradient_norm` (Frobenius, of the last batch), and for RBMs `pseudo_log_likelihood` (nats a
        row, training rows, where the visible units are Bernoulli, spin or softmax units) and `free_energy_gap` (mean
        free energy of validation rows less that of training rows: it grows when the model fits the one better than
        the other).
        """
        rows = self.rows[:MONITORED_ROWS]
        judged = rows if self.validation_rows is None else self.validation_rows[:MONITORED_ROWS]
        weight = self.layer.weight
        decodes = isinstance(self.layer, DecodingLayer)
        figures = {
            **({"reconstruction_error": float(reconstruction_errors(self.layer, judged).mean())} if decodes else {}),
            **unit_shares(self.layer.encode(rows), self.layer.activation),
            "weight_norm": float(weight.norm()),
            "gradient_norm": 0.0 if weight.grad is None else float(weight.grad.norm()),
        }
        if isinstance(self.layer, RBM):
            if can_be_listed(self.layer.visible_units):
                generator = torch.Generator().manual_seed(self.seed)
                pseudo = pseudo_log_likelihood(self.layer, rows, generator=generator)
                figures["pseudo_log_likelihood"] = float(pseudo.mean())
            if self.validation_rows is not None:
                figures["free_energy_gap"] = free_energy_gap(self.layer, rows, judged)
        return figures


@torch.no_grad()
def free_energy_gap(rbm: RBM, rows: torch.Tensor, validation_rows: torch.Tensor) -> float:
    """Mean free energy of validation rows less that of training rows, in nats."""
    return float(rbm.free_energy(validation_rows).mean() - rbm.free_energy(rows).mean())


def unit_shares(codes: torch.Tensor, activation: str) -> dict[str, float]:
    """`dead_units` and `saturated_units`: shares of units that are off, or fully on, for every row.

    Parameters
    ----------
    codes : Tensor of shape (n, n_units)
    activation : str
        A bounded unit is off below 5 % of its range and fully on above 95 %; a rectified one is off at 0. Other units
        are dead where they do not vary, and never saturated. Units of several types are judged each by its own.
    """
    groups = parse_groups("activation", activation, codes.shape[1], LAYER_ACTIVATIONS)
    dead, saturated = zip(*(_dead_and_saturated(codes[:, k.columns], k.name) for k in groups), strict=True)
    return {
        "dead_units": float(torch.cat(dead).float().mean()),
        "saturated_units": float(torch.cat(saturated).float().mean()),
    }


def _dead_and_saturated(codes: torch.Tensor, activation: str) -> tuple[torch.Tensor, torch.Tensor]:
    lowest, highest = codes.amin(dim=0), codes.amax(dim=0)
    if activation in RANGES:
        low, high = RANGES[activation]
        margin = MARGIN * (high - low)
        return highest < low + margin, lowest > high - margin
    dead = highest <= 0 if activation == "relu" else highest - lowest < 1e-6
    return dead, torch.zeros_like(dead)
