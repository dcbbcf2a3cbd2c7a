"""Training of a deep Boltzmann machine: layer by layer, then all of it together.

References
----------
.. [1] Salakhutdinov, R. & Hinton, G. E. (2009). Deep Boltzmann machines. AISTATS.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from pretrain._validation import one_per_layer, require_number, require_sequence
from pretrain.batches import BatchSource
from pretrain.budget import FINETUNING_EPOCHS, resolve_budget
from pretrain.columns import column_mean, column_range, require_rows
from pretrain.dbm import DBM
from pretrain.dbm_settings import DBMSettings
from pretrain.dbn import require_data_units
from pretrain.device import resolve_device, resolve_precision
from pretrain.doubled_rbm import DoubledRBM
from pretrain.exceptions import SettingsError
from pretrain.greedy import MOST_UNITS
from pretrain.layer_run import layer_run
from pretrain.random_streams import RandomStreams
from pretrain.rbm_settings import RBMSettings
from pretrain.scaling import Scaling
from pretrain.stack import encode_rows
from pretrain.training import Record, TrainingRun
from pretrain.unit_types import make_units
from pretrain.variational_learning import VariationalLearning

STAGE = "joint"  # in the records


class DBMTraining:
    """Trains a deep Boltzmann machine [1]_: an iterator of records.

    Stage "pretrain" trains one RBM after another on the codes of those below, each with the side doubled where the
    model will have another layer (`DoubledRBM`). They are composed (`DBM.from_rbms`), and stage "joint" trains all
    layers together (`VariationalLearning`).

        run = DBMTraining(X, (500, 1000), RBMSettings(), DBMSettings(), seed=0)
        for record in run:
            print(record["stage"], record["epoch"], record["loss"])
        run.dbm.encode(rows)

    Parameters
    ----------
    X : ndarray, Tensor or scipy sparse matrix of shape (n_samples, n_features)
        Scaled training rows.
    hidden_layer_sizes : sequence of int
        Units of each hidden layer, from the data upwards.
    settings : RBMSettings or a list of them
        One for all layers, or exactly one a layer.
    joint : DBMSettings
        With 0 epochs greedy training is all.
    seed : int
    sample_weight : array of shape (n_samples,) or None
        What each row counts in the gradients.
    device : {"auto", "cpu", "cuda"} or torch.device
    scaling : Scaling or None
        Kept with the model; `X` is taken as scaled already.
    progress_seconds : float or None
        See `TrainingRun`.

    Raises
    ------
    DataError
        If X cannot be trained on.
    SettingsError
        For layers that a deep Boltzmann machine cannot have.
    """

    def __init__(
        self,
        X: Any,
        hidden_layer_sizes: Sequence[int],
        settings: RBMSettings | Sequence[RBMSettings],
        joint: DBMSettings,
        *,
        seed: int,
        sample_weight: Any = None,
        device: str | torch.device = "auto",
        scaling: Scaling | None = None,
        progress_seconds: float | None = None,
    ) -> None:
        require_sequence("the DBM", "hidden_layer_sizes", hidden_layer_sizes)
        self.sizes = [*hidden_layer_sizes]
        if not self.sizes:
            raise SettingsError("hidden_layer_sizes must name at least one layer; got none.")
        for size in self.sizes:
            require_number("the DBM", "hidden_layer_sizes", size, at_least=1, at_most=MOST_UNITS, integer=True)
        self.settings: list[RBMSettings] = one_per_layer("the DBM", "settings", settings, len(self.sizes))
        for k, layer_settings in enumerate(self.settings):
            _require_legal(layer_settings, k)
        self.joint, self.scaling, self.progress_seconds = joint, scaling, progress_seconds
        self.streams, self.device = RandomStreams(seed), resolve_device(device)
        self.X, self.sample_weight = X, sample_weight
        self._range = column_range(X)
        require_rows(make_units(self.settings[0].visible_units, X.shape[1]), X)
        self._dbm: DBM | None = None
        self._rehearse()
        self._records = self._train()

    @property
    def dbm(self) -> DBM:
        """The model, in training until the records end; SettingsError while greedy training is not over."""
        if self._dbm is None:
            raise SettingsError("The DBM is not there before its greedy training is over; iterate over the records.")
        return self._dbm

    def __iter__(self) -> Iterator[Record]:
        return self

    def __next__(self) -> Record:
        return next(self._records)

    def _train(self) -> Iterator[Record]:
        rbms: list[DoubledRBM] = []
        codes = self.X
        for k in range(len(self.sizes)):
            rbms.append(self._new_layer(k, codes))
            for record in self._layer_run(k, rbms[-1], codes):
                yield {**record, "n_layers": len(self.sizes)}
            codes = encode_rows(rbms[-1], codes) if k + 1 < len(self.sizes) else None
        self._dbm = DBM.from_rbms(rbms, scaling=self.scaling)
        yield from self._joint_run(self._dbm, self.X)
        for parameter in self._dbm.parameters():
            parameter.grad = None

    def _rehearse(self) -> None:
        """Make every run and begin none: SettingsError for what cannot be trained, before minutes have gone."""
        rbms: list[DoubledRBM] = []
        for k in range(len(self.sizes)):
            rows = torch.zeros(1, rbms[-1].n_hidden if rbms else self.X.shape[1])
            rbms.append(DoubledRBM(rows.shape[1], self.sizes[k], visible_units=self._units(k)))
            self._layer_run(k, rbms[-1], rows, sample_weight=None)
        self._joint_run(DBM.from_rbms(rbms), torch.zeros(1, self.X.shape[1]), sample_weight=None)

    def _units(self, k: int) -> str:
        return self.settings[0].visible_units if k == 0 else "bernoulli"

    def _new_layer(self, k: int, codes: Any) -> DoubledRBM:
        settings = dataclasses.replace(self.settings[k], visible_units=self._units(k))
        rbm = DoubledRBM.from_settings(
            codes.shape[1],
            self.sizes[k],
            settings,
            data_range=self._range if k == 0 else (0.0, 1.0),
            data_mean=torch.from_numpy(column_mean(codes)).float(),
            generator=self.streams.generator("init", layer=k),
        )
        assert isinstance(rbm, DoubledRBM)
        return rbm.to(self.device).with_copies(k, len(self.sizes))

    def _layer_run(self, k: int, rbm: DoubledRBM, codes: Any, **options: Any) -> TrainingRun:
        return layer_run(
            rbm,
            codes,
            self.settings[k],
            streams=self.streams,
            layer_index=k,
            progress_seconds=self.progress_seconds,
            **{"sample_weight": self.sample_weight, **options},
        )

    def _joint_run(self, dbm: DBM, X: Any, **options: Any) -> TrainingRun:
        training = resolve_budget(self.joint.training, self.X.shape[0], fewest_epochs=FINETUNING_EPOCHS)
        rule = VariationalLearning(
            dbm,
            self.joint,
            generator=self.streams.generator("sampling", device=self.device),
            dtype=resolve_precision(training.precision, self.device, max(p.numel() for p in dbm.parameters())),
        )
        batches = BatchSource(
            X,
            batch_size=int(training.batch_size),
            generator=self.streams.generator("batches"),
            device=self.device,
            **{"sample_weight": self.sample_weight, **options},
        )
        return TrainingRun(rule, batches, training, stage=STAGE, progress_seconds=self.progress_seconds)


def _require_legal(settings: Any, k: int) -> None:
    """Raise SettingsError for layers that a deep Boltzmann machine cannot have."""
    if not isinstance(settings, RBMSettings):
        raise SettingsError(f"The layers of a DBM are RBMs; settings of layer {k} are {type(settings).__name__}.")
    if k == 0:
        require_data_units(settings.visible_units, "DBM")
    if settings.missing != "error":
        raise SettingsError("A DBM does not draw missing values; fill them, and leave missing at 'error'.")
    if settings.hidden_units != "bernoulli":
        raise SettingsError(
            f"The hidden units of a DBM are bernoulli units; layer {k} has {settings.hidden_units!r}."
        )
