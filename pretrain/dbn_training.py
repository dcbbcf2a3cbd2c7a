"""Training of a deep belief net: layer by layer, the memory with its labels last, then all of it by up-down.

References
----------
.. [1] Hinton, G. E., Osindero, S. & Teh, Y.-W. (2006). A fast learning algorithm for deep belief nets. Neural
       Computation 18, 1527-1554.
"""

import functools
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from pretrain.associative_memory import MemoryRule, make_memory
from pretrain.batches import BatchSource
from pretrain.budget import FINETUNING_EPOCHS, resolve_budget
from pretrain.class_indices import class_indices, classes_of, validation_indices
from pretrain.columns import column_mean, column_range, require_rows
from pretrain.dbn import DBN, DirectedLayer
from pretrain.deep_settings import deep_layer_settings
from pretrain.deep_training import DeepTraining
from pretrain.device import resolve_device, resolve_precision
from pretrain.exceptions import DataRangeWarning, SettingsError
from pretrain.greedy import GreedyPretraining, require_layer_sizes
from pretrain.layer_run import layer_run
from pretrain.random_streams import RandomStreams
from pretrain.rbm import RBM
from pretrain.scaling import Scaling
from pretrain.settings import RBMSettings
from pretrain.stack import Stack, encode_rows, map_rows
from pretrain.training import TrainingRun
from pretrain.transposed_weights import begin_transposed
from pretrain.unit_types import make_units
from pretrain.up_down import UpDown
from pretrain.up_down_settings import UpDownSettings

MEMORY, STAGE = "memory", "up_down"  # the second is the name in the records


class DBNTraining(DeepTraining):
    """Trains a deep belief net [1]_: an iterator of records.

    Stage "pretrain" trains one RBM after another on the codes of those below, the last with the labels beside its
    visible units. Stage "up_down" then trains all of them together. With labels every batch holds each class in its
    share of the rows.

        run = DBNTraining(X, y, (500, 500, 2000), RBMSettings(), UpDownSettings(), seed=0)
        for record in run:
            print(record["stage"], record["epoch"], record["loss"])
        run.dbn.predict(X)

    Parameters
    ----------
    X : ndarray, Tensor or scipy sparse matrix of shape (n_samples, n_features)
        Scaled training rows.
    y : ndarray of shape (n_samples,) or None
        Class indices, and -1 for rows without a label: theirs are drawn from what the net makes of the row, anew each
        time, and train everything but the label units. None for a net without labels.
    hidden_layer_sizes : sequence of int
        Units of each layer, from the data upwards, the memory's last.
    settings : RBMSettings or a list of them
        One for all layers, or exactly one a layer.
    up_down : UpDownSettings
        With 0 epochs greedy training is all.
    seed : int
    classes : ndarray of shape (n_classes,) or None
        The labels that the indices stand for; None: 0, 1, ..., the largest index.
    sample_weight : array of shape (n_samples,) or None
        What each row counts in the gradients.
    validation : (X, y) or None
        Scaled rows and class indices, none of them -1: the records of up-down then have `validation_error`, in %.
    device : {"auto", "cpu", "cuda"} or torch.device
    scaling : Scaling or None
        Kept with the net; `X` is taken as scaled already.
    progress_seconds : float or None
        See `TrainingRun`.

    Raises
    ------
    DataError
        If X or y cannot be trained on, or the validation rows do not fit them.
    SettingsError
        For layers that a deep belief net cannot have, or what a layer, the memory or up-down cannot be trained with.
    """

    def __init__(
        self,
        X: Any,
        y: np.ndarray | None,
        hidden_layer_sizes: Sequence[int],
        settings: RBMSettings | Sequence[RBMSettings],
        up_down: UpDownSettings,
        *,
        seed: int,
        classes: np.ndarray | None = None,
        sample_weight: Any = None,
        validation: tuple[Any, np.ndarray] | None = None,
        device: str | torch.device = "auto",
        scaling: Scaling | None = None,
        progress_seconds: float | None = None,
    ) -> None:
        sizes = require_layer_sizes("the DBN", hidden_layer_sizes)
        super().__init__(sizes, [MEMORY, STAGE])
        self.settings = deep_layer_settings("DBN", settings, len(self.sizes))
        self._units = self.settings[0].visible_units if len(self.sizes) == 1 else "bernoulli"  # of the memory
        self.up_down, self.scaling, self.progress_seconds = up_down, scaling, progress_seconds
        self.streams, self.device = RandomStreams(seed), resolve_device(device)
        self.X, self.sample_weight = X, sample_weight
        self.classes = None if y is None else classes_of(y, classes)
        self._y = None if y is None else torch.from_numpy(class_indices(y, X.shape[0], self._n_classes))
        self._validation = None
        if validation is not None:
            self._validation = validation[0], validation_indices(*validation, X.shape[1], self._n_classes)
        self._greedy = self._greedy_run() if len(self.sizes) > 1 else None
        self._memory: RBM | None = None
        self._dbn: DBN | None = None
        self.rehearse()

    @property
    def dbn(self) -> DBN:
        """The net, in training until the records end; SettingsError while greedy training is not over."""
        if self._dbn is None:
            raise SettingsError("The DBN is not there before its greedy training is over; iterate over the records.")
        return self._dbn

    def rehearse(self) -> None:
        """Make the run of every stage, on a net of zero weights, and begin none: SettingsError where one cannot be.

        What cannot be trained at the end is so refused before the layers below have taken their minutes.
        """
        below = [] if self._greedy is None else list(self._greedy.rehearse().layers)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataRangeWarning)  # training says it
            memory = self._make_memory(below[-1].n_hidden if below else self.X.shape[1], below)
        dbn = self._joined(below, memory)
        rows = torch.zeros(1, max(dbn.n_visible, dbn.n_codes)).expand(self.X.shape[0], -1)
        self._memory_run(memory, rows[:, : dbn.n_codes])
        self._up_down_run(dbn, rows[:, : dbn.n_visible])

    def _greedy_run(self) -> GreedyPretraining:
        return GreedyPretraining(
            self.X,
            self.sizes[:-1],
            self.settings[:-1],
            seed=self.streams.seed,
            sample_weight=self.sample_weight,
            strata=self._y,
            device=self.device,
            progress_seconds=self.progress_seconds,
        )

    def _begin(self, stage: str) -> TrainingRun:
        if stage == MEMORY:
            codes = encode_rows(Stack(self._below), self.X) if self._below else self.X
            self._memory = self._new_memory(codes)
            return self._memory_run(self._memory, codes)
        assert self._memory is not None
        self._dbn = self._joined(self._below, self._memory)
        return self._up_down_run(self._dbn, self.X)

    def _joined(self, below: list[RBM], memory: RBM) -> DBN:
        directed = [DirectedLayer.from_rbm(rbm) for rbm in below]
        return DBN(directed, memory, classes=self.classes, scaling=self.scaling)

    def _new_memory(self, codes: Any) -> RBM:
        """An untrained memory on these codes; its label units begin at the shares of the classes, or at zero."""
        top = len(self.sizes) - 1
        require_rows(make_units(self._units, codes.shape[1]), codes)
        labels = np.empty(0, dtype=int) if self._y is None else self._y[self._y >= 0].numpy()
        shares = np.bincount(labels, minlength=self._n_classes) / max(len(labels), 1)
        memory = self._make_memory(
            codes.shape[1],
            self._below,
            data_mean=torch.from_numpy(np.append(column_mean(codes), shares)).float(),
            generator=self.streams.generator("init", layer=top),
        )
        return memory.to(self.device)

    def _make_memory(self, n_codes: int, below: list[RBM], **start: Any) -> RBM:
        memory = make_memory(
            n_codes,
            self.sizes[-1],
            self.settings[-1],
            units=self._units,
            n_classes=self._n_classes,
            data_range=column_range(self.X) if len(self.sizes) == 1 else (np.zeros(n_codes), np.ones(n_codes)),
            **start,
        )
        if self.settings[-1].initial_weights == "transposed":
            begin_transposed(memory, below[-1] if below else None, "the memory")
        return memory

    def _memory_run(self, memory: RBM, codes: Any) -> TrainingRun:
        settings, top = self.settings[-1], len(self.sizes) - 1
        generator = self.streams.generator("sampling", layer=top, device=memory.weight.device)
        options: dict[str, Any] = {"n_classes": self._n_classes, "unlabelled": self.n_unlabelled > 0}
        return layer_run(
            memory,
            codes,
            settings,
            streams=self.streams,
            layer_index=top,
            learner=functools.partial(MemoryRule, memory, settings, generator=generator, **options),
            y=self._y,
            sample_weight=self.sample_weight,
            strata=self._y,
            progress_seconds=self.progress_seconds,
        )

    def _up_down_run(self, dbn: DBN, X: Any) -> TrainingRun:
        device = dbn.memory.weight.device
        training = resolve_budget(self.up_down.training, X.shape[0], fewest_epochs=FINETUNING_EPOCHS)
        rule = UpDown(
            dbn,
            self.up_down,
            generator=self.streams.generator("sampling", device=device),
            dtype=resolve_precision(training.precision, device, max(p.numel() for p in dbn.parameters())),
            unlabelled=self.n_unlabelled > 0,
        )
        batches = BatchSource(
            X,
            self._y,
            sample_weight=self.sample_weight,
            strata=self._y,
            batch_size=int(training.batch_size),
            generator=self.streams.generator("batches"),
            device=device,
        )
        return TrainingRun(
            rule,
            batches,
            training,
            stage=STAGE,
            validation=None if self._validation is None else self._validate,
            progress_seconds=self.progress_seconds,
        )

    def _validate(self) -> dict[str, float]:
        assert self._validation is not None
        X, y = self._validation
        found = map_rows(self.dbn, DBN.label_scores, X, self._n_classes).argmax(dim=1).numpy(force=True)
        return {"validation_error": 100 * float((found != y).mean())}

    @property
    def _n_classes(self) -> int:
        return 0 if self.classes is None else len(self.classes)

    @property
    def n_unlabelled(self) -> int:
        """Training rows without a label, of a net with labels; 0 for a net without."""
        return 0 if self._y is None else int((self._y < 0).sum())
