"""What the data look like to the visible units of a first layer."""

from typing import Any

import torch

from pretrain.column_groups import parse_groups
from pretrain.rbm import RBM
from pretrain.unit_types import UNIT_TYPES


def input_figures(layer: Any, rows: torch.Tensor) -> dict[str, Any]:
    """`range_problem`, `gaussian_spread`, `spin_lowest` (see `LayerFigures`) of rows (n, n_visible) under an RBM."""
    if not isinstance(layer, RBM):
        return {}
    low, high = rows.amin(dim=0), rows.amax(dim=0)
    problem = layer.visible_units.range_problem(low.numpy(force=True), high.numpy(force=True))
    variance = rows.double().var(dim=0, correction=0)
    of_gaussian = variance[_columns(layer, "gaussian")]
    of_gaussian = of_gaussian[of_gaussian > 0]
    of_spin = low[_columns(layer, "spin")]
    return {
        "range_problem": problem,
        "gaussian_spread": float(of_gaussian.mean().sqrt()) if len(of_gaussian) else None,
        "spin_lowest": float(of_spin.min()) if len(of_spin) else None,
    }


def _columns(rbm: RBM, unit_type: str) -> list[int]:
    groups = parse_groups("visible_units", rbm.visible_units.name, rbm.n_visible, UNIT_TYPES)
    return [k for group in groups if group.name == unit_type for k in range(group.columns.start, group.columns.stop)]
