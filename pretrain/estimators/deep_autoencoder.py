"""The deep autoencoder of 2006 as a transformer: pretrained layer by layer, unrolled, fine-tuned."""

import dataclasses
from typing import Any, Self

import numpy as np

from pretrain._validation import require_choice, require_sequence
from pretrain.autoencoder_settings import RECONSTRUCTION_LOSSES
from pretrain.estimators.base import CodeTransformer
from pretrain.estimators.inputs import require_image_shape, require_verbose, training_settings
from pretrain.finetuning import Finetuning
from pretrain.network import Network
from pretrain.reconstruction import reconstruction_errors
from pretrain.rehearsal import rehearse_finetuning
from pretrain.settings import (
    DECODING_KINDS,
    LAYER_SETTINGS,
    FinetuneSettings,
    LayerSettings,
    RBMSettings,
    encoder_settings,
)
from pretrain.stack import Stack
from pretrain.unrolling import unroll

PRETRAINING_PARAMETERS = {"epochs": "pretrain_epochs", "batch_size": "pretrain_batch_size", "precision": "precision"}
FINETUNING_PARAMETERS = {
    "optimizer": "solver",
    "learning_rate": "learning_rate_init",
    "schedule": "schedule",
    "epochs": "max_iter",
    "batch_size": "batch_size",
    "weight_decay": "alpha",
    "momentum": "momentum",
    "nesterov": "nesterov",
    "precision": "precision",
}


class DeepAutoencoder(CodeTransformer):
    """Deep autoencoder [1]_: a stack with a linear code, unrolled into encoder and decoder and fine-tuned.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default=(256, 64, 16)
        Units of the encoder's layers, the code last; the decoder mirrors them.
    kind : {"rbm", "autoencoder"}, default="rbm"
        Layers of the pretraining.
    visible_units : str, default="bernoulli"
        Of the first RBM; "gaussian" for real data, which are then standardised ("auto" scaling goes by it for
        both kinds).
    pretrain_epochs : int or "auto", default="auto"
        Epochs a layer.
    pretrain_batch_size : int or "auto", default="auto"
    reconstruction_loss : {"auto", "cross_entropy", "squared_error"}, default="auto"
        Of fine-tuning; "auto" is cross-entropy for data in [0, 1], else squared error.
    solver : str, default="adam"
        A torch optimiser by name, or "lbfgs" or "cg" (conjugate gradients, as in [1]_) with large batches.
    learning_rate_init : float, default=1e-3
    schedule : str, default="one_cycle"
    max_iter : int or "auto", default="auto"
        Epochs of fine-tuning.
    batch_size : int or "auto", default="auto"
    alpha : float, default=0.0
        L2 penalty.
    momentum, nesterov : float, bool, default=0.9, False
        Of the solvers "sgd" and (momentum alone) "rmsprop".
    image_shape : tuple of int or None, default=None
        Height and width, and channels if there are any, of a row that is a flattened image, for `shift` and `flip`.
    shift : int, default=0
        Fine-tuning moves half of the images by up to so many pixels each way, anew every time.
    flip : bool, default=False
        Fine-tuning mirrors half of the images, left to right.
    scaling : {"auto", "none", "minmax", "standard"}, default="auto"
    memory : None, str or joblib.Memory, default=None
        Folder where pretraining is kept by its rows and settings, as in scikit-learn's `Pipeline`: with an integer as
        `random_state`, a search over settings of fine-tuning pretrains once a fold.
    device : {"auto", "cpu", "cuda"}, default="auto"
    precision : {"auto", "float32", "bfloat16"}, default="auto"
    verbose : bool, default=False
    random_state : int, RandomState, Generator or None, default=None

    Attributes
    ----------
    network_ : Network
    report_ : list of dict
        One record an epoch of pretraining and fine-tuning.
    n_iter_ : int
        Epochs of fine-tuning.
    n_features_in_ : int

    References
    ----------
    .. [1] Hinton, G. E. & Salakhutdinov, R. R. (2006). Reducing the dimensionality of data with neural networks.
           Science 313, 504-507.
    """

    network_: Network

    def __init__(
        self,
        hidden_layer_sizes: Any = (256, 64, 16),
        *,
        kind: str = "rbm",
        visible_units: str = "bernoulli",
        pretrain_epochs: Any = "auto",
        pretrain_batch_size: Any = "auto",
        reconstruction_loss: str = "auto",
        solver: str = "adam",
        learning_rate_init: float = 1e-3,
        schedule: str = "one_cycle",
        max_iter: Any = "auto",
        batch_size: Any = "auto",
        alpha: float = 0.0,
        momentum: float = 0.9,
        nesterov: bool = False,
        image_shape: tuple[int, ...] | None = None,
        shift: int = 0,
        flip: bool = False,
        scaling: str = "auto",
        memory: Any = None,
        device: str = "auto",
        precision: str = "auto",
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.kind = kind
        self.visible_units = visible_units
        self.pretrain_epochs = pretrain_epochs
        self.pretrain_batch_size = pretrain_batch_size
        self.reconstruction_loss = reconstruction_loss
        self.solver = solver
        self.learning_rate_init = learning_rate_init
        self.schedule = schedule
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.alpha = alpha
        self.momentum = momentum
        self.nesterov = nesterov
        self.image_shape = image_shape
        self.shift = shift
        self.flip = flip
        self.scaling = scaling
        self.memory = memory
        self.device = device
        self.precision = precision
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Pretrain and fine-tune on the rows of X, (n_samples, n_features), dense or sparse; y is ignored."""
        require_verbose(self)
        require_sequence("DeepAutoencoder", "hidden_layer_sizes", self.hidden_layer_sizes)
        layers, finetuning = self._layer_settings(), self._finetune_settings()
        X = self._check_rows(X, reset=True)
        require_image_shape(self)
        stack, rows = self._pretrain(X, self.hidden_layer_sizes, layers)
        network = unroll(stack, "autoencoder")
        run = Finetuning(
            network,
            rows,
            None,
            finetuning,
            seed=self.seed_,
            device=self.device,
            image_shape=self.image_shape,
        )
        for record in run:
            self._note(record)
        self.n_iter_ = sum(record["stage"] == "finetune" for record in self.report_)
        self.network_ = network
        return self

    def reconstruction_error(self, X: Any) -> np.ndarray:
        """Squared error of the scaled rows, summed over features: (n_samples, n_features) -> (n_samples,)."""
        network, X = self._model, self._check_rows(X)
        return reconstruction_errors(network.eval(), network.scaling.apply(X, np.float64))

    def score(self, X: Any, y: Any = None) -> float:
        """Minus the mean of `reconstruction_error`, of scaled rows as that is: higher is better."""
        return -float(self.reconstruction_error(X).mean())

    def _rehearse(self, untrained: Stack) -> None:
        network = unroll(untrained, "autoencoder")
        rehearse_finetuning(network, self._finetune_settings(), image_shape=self.image_shape)

    def _layer_settings(self) -> list[LayerSettings]:
        require_choice("DeepAutoencoder", "kind", self.kind, DECODING_KINDS)
        on_units = RBMSettings(visible_units=self.visible_units)  # an illegal value is one whatever the kind
        base = on_units if self.kind == "rbm" else LAYER_SETTINGS[self.kind]()
        training = training_settings(self, PRETRAINING_PARAMETERS, base.training)
        return encoder_settings(dataclasses.replace(base, training=training), len(self.hidden_layer_sizes))

    def _finetune_settings(self) -> FinetuneSettings:
        require_choice("DeepAutoencoder", "reconstruction_loss", self.reconstruction_loss, RECONSTRUCTION_LOSSES)
        training = training_settings(self, FINETUNING_PARAMETERS)
        return FinetuneSettings(
            reconstruction_loss=self.reconstruction_loss, shift=self.shift, flip=self.flip, training=training
        )
