"""Networks that are pretrained layer by layer without labels, then fine-tuned with them."""

from abc import abstractmethod
from typing import Any

from pretrain.estimators.pretraining_cache import Pretraining, pretrained
from pretrain.estimators.supervised import SupervisedEstimator, Targets, TrainingRows
from pretrain.network import Network
from pretrain.pretrained_networks import pretrained_network
from pretrain.random_streams import RandomStreams
from pretrain.rehearsal import rehearse_finetuning
from pretrain.scaling import Scaling
from pretrain.settings import LayerSettings
from pretrain.stack import Stack
from pretrain.unrolling import TASKS_OF, unroll

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
        return self._unrolled(stack, targets, streams)

    def _unrolled(self, stack: Stack, targets: Targets, streams: RandomStreams) -> Network:
        if self.kind is not None:
            return pretrained_network(
                self.kind,
                stack,
                targets.n_outputs,
                task=targets.task,
                dropout=self.dropout,
                input_dropout=self.input_dropout,
                generator=streams.generator("init"),
            )
        return unroll(
            stack,
            INTO[targets.task],
            n_outputs=targets.n_outputs,
            dropout=self.dropout,
            input_dropout=self.input_dropout,
            generator=streams.generator("head"),
        )
