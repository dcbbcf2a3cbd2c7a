"""Networks that are pretrained layer by layer without labels, then fine-tuned with them."""

from abc import abstractmethod
from typing import Any

from pretrain.estimators.supervised import SupervisedEstimator, TrainingRows
from pretrain.greedy import GreedyPretraining
from pretrain.network import Network
from pretrain.random_streams import RandomStreams
from pretrain.rehearsal import rehearse_finetuning
from pretrain.scaling import Scaling
from pretrain.settings import LayerSettings
from pretrain.stack import Stack
from pretrain.unrolling import unroll

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
        run = GreedyPretraining(
            X,
            self.hidden_layer_sizes,
            self._layer_settings(),
            seed=streams.seed,
            sample_weight=rows.sample_weight,
            device=self.device,
            scaling=scaling,
        )
        n_outputs = rows.targets.n_outputs
        untrained = self._unrolled(run.rehearse(), n_outputs, streams)
        rehearse_finetuning(untrained, self._finetune_settings(), validated=self.early_stopping)
        for record in run:
            self._note(record)
        return self._unrolled(run.stack, n_outputs, streams)

    def _unrolled(self, stack: Stack, n_outputs: int, streams: RandomStreams) -> Network:
        return unroll(
            stack,
            "classifier" if self.task == "classification" else "regressor",
            n_outputs=n_outputs,
            dropout=self.dropout,
            input_dropout=self.input_dropout,
            generator=streams.generator("head"),
        )
