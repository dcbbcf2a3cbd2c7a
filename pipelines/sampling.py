"""The `sample` run: rows that a deep belief net generates, as shades of a picture or frames of a film."""

from collections.abc import Sequence
from itertools import islice

import numpy as np
import torch

from pretrain import DBN
from pretrain.exceptions import DataError
from pretrain.fantasies import Fantasies
from pretrain.random_streams import RandomStreams
from pretrain.scaling import Scaling, in_unit_interval


def class_index(dbn: DBN, label: str) -> int:
    """Place of a class that is given as text; DataError where the net has none such."""
    if dbn.classes is None:
        raise DataError("The net has no labels to clamp: it was trained without. Leave --label and --each-label out.")
    names = [str(name) for name in dbn.classes]
    if label not in names:
        raise DataError(f"The net has the classes {', '.join(names)}; got --label {label}.")
    return names.index(label)


def draw_frames(
    dbn: DBN,
    labels: Sequence[int] | None,
    n_samples: int,
    *,
    n_gibbs: int,
    n_frames: int = 1,
    every: int = 1,
    states: bool = False,
    seed: int,
) -> np.ndarray:
    """Rows in the model's own values, (n_frames, n_samples, n_visible).

    The first frame comes after `n_gibbs` steps of the memory, further ones after every `every` steps. `labels` are
    class indices to clamp, one a sample.
    """
    device = dbn.memory.weight.device
    clamped = None if labels is None else torch.tensor(labels, device=device)
    generator = RandomStreams(seed).generator("fantasies", device=device)
    fantasies = Fantasies(dbn, n_samples, labels=clamped, generator=generator)
    fantasies.advance(n_gibbs)
    frames = islice(fantasies.watch(every=every, states=states), n_frames)
    return np.stack([rows.numpy(force=True) for rows in frames])


def shades(rows: np.ndarray, scaling: Scaling, value_range: Sequence[float] | None) -> np.ndarray:
    """Rows in the model's own values as greys in [0, 1]: (..., n_visible) -> (..., n_visible).

    The scaling is undone: a pixel that varied little in the data varies little in the picture. Black and white are
    the ends of `value_range`, which the format of the data declares; without one 0 and 1 if all values lie
    between them, else the smallest and the largest.
    """
    raw = scaling.undo(rows).astype(np.float64)
    if value_range is not None:
        low, high = value_range
    elif in_unit_interval(raw):
        low, high = 0.0, 1.0
    else:
        low, high = float(raw.min()), float(raw.max())
    return np.clip((raw - low) / (high - low if high > low else 1.0), 0, 1)
