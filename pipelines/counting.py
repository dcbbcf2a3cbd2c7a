"""What training costs besides seconds: epochs, steps, and the multiply-adds of its matrix products.

Multiply-adds are measured, not derived: torch counts those of two epochs of one batch, and the rest is proportional
to rows and epochs. So whatever a learning rule does is in them (Gibbs steps, chains, noise, unlabelled rows).
"""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from torch.utils.flop_counter import FlopCounterMode

from pretrain.budget import resolve_budget
from pretrain.settings import FinetuneSettings, LayerSettings
from pretrain.training import Record
from pretrain.training_settings import TrainingSettings

FLOPS = 2  # of a multiply-add, as torch counts them
REHEARSED_EPOCHS = 2  # the first has in it what is done once a run: the rows pass through the layers below

S = TypeVar("S", LayerSettings, FinetuneSettings)


@dataclass(frozen=True)
class Cost:
    """What a training has cost.

    Attributes
    ----------
    epochs, steps : int
        Passes over the rows, of greedy layers those of each added up, and updates of weights.
    multiply_adds : int
        Of all matrix products and convolutions; what is done to each element is not in it.
    """

    epochs: int = 0
    steps: int = 0
    multiply_adds: int = 0


def one_batch(settings: S, n_rows: int, *, fewest_epochs: int) -> tuple[S, int]:
    """Settings of a run on one batch that `count_cost` can measure, and the rows that it takes.

    Parameters
    ----------
    settings : LayerSettings or FinetuneSettings
        Of the training on `n_rows` rows.
    fewest_epochs : int
        See `pretrain.budget.resolve_budget`.
    """
    training = resolve_budget(settings.training, n_rows, fewest_epochs=fewest_epochs)
    batch_size = min(int(training.batch_size), n_rows)
    short = dataclasses.replace(training, epochs=REHEARSED_EPOCHS, batch_size=batch_size, early_stopping=False)
    return dataclasses.replace(settings, training=_with_plain_schedule(short)), batch_size


def count_cost(rehearsal: Iterable[Record], batch_size: int, history: Sequence[Record], n_rows: int) -> Cost:
    """The cost of a training from a rehearsal of it on one batch.

    Parameters
    ----------
    rehearsal : iterable of records
        The run of `one_batch`, not begun; it is run here.
    batch_size : int
        Its rows.
    history : sequence of records
        Of the training whose cost is asked for.
    n_rows : int
        Rows of that training.

    Notes
    -----
    With a(1), a(2) the multiply-adds of the rehearsed epochs of a stage and E its epochs, the training took
    n_rows / batch_size * (a(1) - a(2) + E a(2)) of them. Line searches, which differ from step to step, and growing
    numbers of Gibbs steps make that an estimate.
    """
    measured: dict[tuple[str, int | None], list[int]] = defaultdict(list)
    counter, counted = FlopCounterMode(display=False), 0
    with counter:
        for record in rehearsal:
            if "progress" not in record:
                flops = counter.get_total_flops()
                measured[record["stage"], record["layer"]].append(flops - counted)
                counted = flops
    epochs = Counter((record["stage"], record["layer"]) for record in history)
    multiply_adds = 0.0
    for stage, n_epochs in epochs.items():
        first, second = measured[stage]
        multiply_adds += n_rows / batch_size * (first - second + n_epochs * second) / FLOPS
    n_epochs = sum(epochs.values())
    return Cost(n_epochs, n_epochs * -(-n_rows // batch_size), round(multiply_adds))


def _with_plain_schedule(training: TrainingSettings) -> TrainingSettings:
    """The same work without a schedule, which may want more steps than two."""
    return dataclasses.replace(training, schedule="constant")
