"""Fine-tuning, made once on one row and never begun: what it would refuse is refused before pretraining."""

import numpy as np

from pretrain.finetuning import Finetuning
from pretrain.network import Network
from pretrain.settings import FinetuneSettings


def rehearse_finetuning(
    network: Network,
    settings: FinetuneSettings,
    *,
    validated: bool = False,
    image_shape: tuple[int, ...] | None = None,
) -> None:
    """Raise the SettingsError that `Finetuning` of such a network would, at its start or in a later stage.

    Parameters
    ----------
    network : Network
        As it will be, whatever its weights: unrolled from `GreedyPretraining.rehearse()`. It is not of use
        afterwards.
    settings : FinetuneSettings
    validated : bool
        Whether there will be validation rows.
    image_shape : tuple of int or None
        See `Finetuning`.
    """
    spec = network.architecture
    X = np.zeros((1, spec.n_features), dtype=np.float32)
    targets: dict[str, np.ndarray | None] = {
        "classification": np.zeros(1, dtype=np.int64),
        "multilabel": np.zeros((1, spec.n_outputs), dtype=np.float32),
        "regression": np.zeros((1, spec.n_outputs), dtype=np.float32),
        "reconstruction": None,
    }
    y = targets[spec.task]
    validation = (X, y) if validated else None
    run = Finetuning(network, X, y, settings, seed=0, device="cpu", validation=validation, image_shape=image_shape)
    run.rehearse()
