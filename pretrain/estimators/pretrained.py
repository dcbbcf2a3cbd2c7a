"""Networks that are pretrained layer by layer without labels, then fine-tuned with them."""

from abc import abstractmethod
from typing import Any

import numpy as np

from pretrain._validation import one_per_layer
from pretrain.estimators.diagnosis import EXAMINED_ROWS, Diagnosis, Fitted, diagnose
from pretrain.estimators.inputs import check_rows
from pretrain.estimators.pretraining_cache import Pretraining, pretrained
from pretrain.estimators.supervised import SupervisedEstimator, Targets, TrainingRows
from pretrain.exceptions import SettingsError
from pretrain.network import Network
from pretrain.pretrained_networks import pretrained_network
from pretrain.random_streams import RandomStreams
from pretrain.rehearsal import rehearse_finetuning
from pretrain.scaling import Scaling
from pretrain.settings import LayerSettings
from pretrain.stack import Stack
from pretrain.training_settings import LINE_SEARCHES
from pretrain.unrolling import TASKS_OF, unroll

CLASSIFIER_DROPOUT = 0.2  # of hidden units, at 500-500-2000 on MNIST and 256-256 on digits better than none
INTO = {task: into for into, task in TASKS_OF.items()}
# Fields of TrainingSettings and the parameters that fill them in pretraining.
PRETRAINING_PARAMETERS = {
    "epochs": "pretrain_epochs",
    "batch_size": "pretrain_batch_size",
    "learning_rate": "pretrain_learning_rate",
    "precision": "precision",
}
RBM_PARAMETERS = {**PRETRAINING_PARAMETERS, "momentum": "pretrain_momentum", "weight_decay": "pretrain_weight_decay"}
AUTOENCODER_PARAMETERS = {**PRETRAINING_PARAMETERS, "optimizer": "pretrain_solver"}


class PretrainedEstimator(SupervisedEstimator):
    """Greedy pretraining on all rows, labelled or not, then fine-tuning on the labelled ones."""

    @abstractmethod
    def _layer_settings(self) -> LayerSettings:
        """Settings of each layer, from the estimator's parameters."""

    def _initial_network(self, X: Any, rows: TrainingRows, scaling: Scaling, streams: RandomStreams) -> Network:
        targets = rows.targets
        finetuning, validated = self._finetune_settings(), self.early_stopping

        def rehearse(untrained: Stack) -> None:
            rehearse_finetuning(self._unrolled(untrained, targets, streams), finetuning, validated=validated)

        pretraining = Pretraining(
            X,
            self.hidden_layer_sizes,
            self._layer_settings(),
            streams.seed,
            scaling,
            self.device,
            sample_weight=rows.sample_weight,
        )
        stack, self.report_ = pretrained(pretraining, memory=self.memory, note=self._note, rehearse=rehearse)
        network = self._unrolled(stack, targets, streams)
        self._stack = stack.cpu()  # the network has copies
        return network

    def diagnose(self, X: Any, y: Any = None) -> Diagnosis:
        """Why did pretraining do nothing? What it and fine-tuning have made of each layer, and what to change.

        Each layer is looked at as it was before pretraining, after it, and after fine-tuning: how well a linear probe
        reads y from its code, in cross-validation, and which of its units are dead or saturated.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The training rows, or others; at most 2,000 are drawn from them.
        y : array-like of shape (n_samples,) or None
            As in `fit`; without it there is no probe.

        Returns
        -------
        Diagnosis
            `print` shows a table and the advice; `to_dict` is ready for JSON.

        Raises
        ------
        SettingsError
            If the estimator came from a checkpoint, which holds the fine-tuned network alone.
        """
        network = self._model
        if not hasattr(self, "_stack"):
            raise SettingsError(
                f"This {type(self).__name__} came from a checkpoint, which holds the fine-tuned network and not the "
                "layers before that: diagnose it where it was fitted, or after a pickle."
            )
        X, y = self._diagnosed_rows(X, y)
        n_layers = len(self._stack.layers)
        settings: list[LayerSettings] = one_per_layer("the stack", "settings", self._layer_settings(), n_layers)
        return diagnose(self, Fitted(self._stack, network, settings, self.seed_, self.report_), X, y)

    def _diagnosed_rows(self, X: Any, y: Any) -> tuple[Any, np.ndarray | None]:
        """Some of the rows, scaled, and their labels or targets; rows without a label only where none has one."""
        if y is None:
            X = check_rows(self, X, accept_sparse=True)
            labelled = np.zeros(X.shape[0], dtype=bool)
        else:
            X, y, labelled = self._check_training_data(X, y, reset=False, classes=None)
        chosen = np.flatnonzero(labelled) if labelled.any() else np.arange(X.shape[0])
        if len(chosen) > EXAMINED_ROWS:
            rng = np.random.default_rng(RandomStreams(self.seed_).integer_seed("monitoring"))
            chosen = np.sort(rng.choice(chosen, EXAMINED_ROWS, replace=False))
        return self.network_.scaling.apply(X[chosen]), y[chosen] if labelled.any() else None

    def _unrolled(self, stack: Stack, targets: Targets, streams: RandomStreams) -> Network:
        if self.kind is not None:
            return pretrained_network(
                self.kind,
                stack,
                targets.n_outputs,
                task=targets.task,
                dropout=None if self.dropout == "auto" else self.dropout,
                input_dropout=None if self.input_dropout == "auto" else self.input_dropout,
                generator=streams.generator("init"),
            )
        return unroll(
            stack,
            INTO[targets.task],
            n_outputs=targets.n_outputs,
            dropout=self._dropout(targets.task) if self.dropout == "auto" else self.dropout,
            input_dropout=0.0 if self.input_dropout == "auto" else self.input_dropout,
            generator=streams.generator("head"),
        )

    def _dropout(self, task: str) -> float:
        return 0.0 if task == "regression" or self.solver in LINE_SEARCHES else CLASSIFIER_DROPOUT
