"""How long to train when nobody says: batch sizes and epochs from the number of rows.

A fixed number of epochs starves small data sets: 20 epochs of 100 rows in batches of 100 are 20 steps. "auto"
shrinks the batches of small data sets and lengthens their training until there are enough steps, and leaves
large data sets with the batches and epochs that the papers use. It looks at the number of rows alone, so every
network of a comparison gets the same.
"""

import dataclasses

from pretrain.settings import TrainingSettings

LARGEST_BATCH, SMALLEST_BATCH, BATCHES_PER_EPOCH = 100, 10, 50
ENOUGH_STEPS = 3000
HEAD_STEPS = 1000
LONGEST = 10  # at most ten times the epochs of a large data set
PRETRAINING_EPOCHS, FINETUNING_EPOCHS = 10, 20


def resolve_budget(settings: TrainingSettings, n_samples: int, *, fewest_epochs: int) -> TrainingSettings:
    """The settings with "auto" replaced by numbers.

    Parameters
    ----------
    settings : TrainingSettings
        `batch_size="auto"` becomes a fiftieth of the rows, between 10 and 100; `epochs="auto"` what makes 3,000
        steps, between `fewest_epochs` and ten times as many. Numbers stay as they are.
    n_samples : int
        Training rows.
    fewest_epochs : int
        Epochs of a large data set.
    """
    batch_size, epochs = settings.batch_size, settings.epochs
    if batch_size == "auto":
        batch_size = min(LARGEST_BATCH, max(SMALLEST_BATCH, n_samples // BATCHES_PER_EPOCH))
    if epochs == "auto":
        steps_per_epoch = -(-n_samples // int(batch_size))
        enough = -(-ENOUGH_STEPS // steps_per_epoch)
        epochs = min(LONGEST * fewest_epochs, max(fewest_epochs, enough))
    return dataclasses.replace(settings, batch_size=batch_size, epochs=epochs)


def resolve_head_epochs(head_epochs: int | str, training: TrainingSettings, n_samples: int) -> int:
    """Epochs of the output layer alone: "auto" is what makes 1,000 steps, at most as many as `training` has epochs.

    `training` has numbers for its epochs and batches, as `resolve_budget` gives them.
    """
    if head_epochs != "auto":
        return int(head_epochs)
    steps_per_epoch = -(-n_samples // int(training.batch_size))
    return min(int(training.epochs), -(-HEAD_STEPS // steps_per_epoch))
