"""Training of a deep Boltzmann machine: layer by layer, then all of it together.

References
----------
.. [1] Salakhutdinov, R. & Hinton, G. E. (2009). Deep Boltzmann machines. AISTATS.
"""

from collections.abc import Sequence
from typing import Any

import torch

from pretrain.batches import BatchSource
from pretrain.budget import FINETUNING_EPOCHS, resolve_budget
from pretrain.dbm import DBM
from pretrain.dbm_settings import DBMSettings
from pretrain.deep_settings import deep_layer_settings
from pretrain.deep_training import DeepTraining
from pretrain.device import resolve_device, resolve_precision
from pretrain.doubled_rbm import DoubledRBM
from pretrain.exceptions import SettingsError
from pretrain.greedy import GreedyPretraining, require_layer_sizes
from pretrain.random_streams import RandomStreams
from pretrain.rbm_settings import RBMSettings
from pretrain.scaling import Scaling
from pretrain.training import TrainingRun
from pretrain.variational_learning import VariationalLearning

STAGE = "joint"  # in the records


class DBMTraining(DeepTraining):
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
        super().__init__(require_layer_sizes("the DBM", hidden_layer_sizes), [STAGE])
        self.settings = deep_layer_settings("DBM", settings, len(self.sizes))
        if any(layer.initial_weights != "random" for layer in self.settings):
            raise SettingsError(
                "The layers of a DBM begin at random weights; initial_weights='transposed' is for deep belief nets."
            )
        self.joint, self.scaling, self.progress_seconds = joint, scaling, progress_seconds
        self.streams, self.device = RandomStreams(seed), resolve_device(device)
        self.X, self.sample_weight = X, sample_weight
        self._dbm: DBM | None = None
        self._greedy = DoubledPretraining(
            X,
            self.sizes,
            self.settings,
            seed=seed,
            sample_weight=sample_weight,
            device=self.device,
            progress_seconds=progress_seconds,
        )
        self._rehearse(self._greedy)

    @property
    def dbm(self) -> DBM:
        """The model, in training until the records end; SettingsError while greedy training is not over."""
        if self._dbm is None:
            raise SettingsError("The DBM is not there before its greedy training is over; iterate over the records.")
        return self._dbm

    def _rehearse(self, greedy: GreedyPretraining) -> None:
        """Make the joint run and do not begin it: SettingsError for what cannot be trained, before minutes have gone.

        Greedy training has done so for its own runs.
        """
        dbm = DBM.from_rbms(list(greedy.rehearse().layers))
        self._joint_run(dbm, torch.zeros(1, self.X.shape[1]), sample_weight=None)

    def _begin(self, stage: str) -> TrainingRun:
        assert stage == STAGE
        self._dbm = DBM.from_rbms(self._below, scaling=self.scaling)
        return self._joint_run(self._dbm, self.X)

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


class DoubledPretraining(GreedyPretraining):
    """Greedy pretraining of the layers of a deep Boltzmann machine: `DoubledRBM`, with the copies of their places."""

    def _make_layer(self, k: int, below: Any, **start: Any) -> DoubledRBM:
        layer = super()._make_layer(k, below, **start)
        return layer.with_copies(k, len(self.sizes))

    def _layer_class(self, k: int) -> Any:
        return DoubledRBM
