"""How the networks of the studies are trained, where nothing else is what a study is about."""

from typing import Any

from pretrain.settings import FinetuneSettings, RBMSettings, TrainingSettings

BATCH_SIZE = 50
RBM_TRAINING = RBMSettings().training


def plan(epochs: int, learning_rate: float = 1e-3, optimizer: str = "adam", **training: Any) -> FinetuneSettings:
    """Supervised training with batches of 50 rows; Adam at 0.001 unless something else is said."""
    settings: dict[str, Any] = {"batch_size": BATCH_SIZE, "momentum": 0.0, **training}
    return FinetuneSettings(
        training=TrainingSettings(epochs=epochs, learning_rate=learning_rate, optimizer=optimizer, **settings)
    )


def rbm_layers(epochs: int) -> RBMSettings:
    """RBMs by CD-1 with their default settings, but for the epochs."""
    settings = {**vars(RBM_TRAINING), "epochs": epochs}
    return RBMSettings(training=TrainingSettings(**settings))
