"""Networks that are pretrained layer by layer without labels, then fine-tuned with them."""

from abc import abstractmethod
from typing import Any

import numpy as np

from pretrain.estimators.inputs import initial_momentum, training_settings
from pretrain.estimators.supervised import NetworkClassifier, NetworkRegressor, SupervisedEstimator
from pretrain.greedy import GreedyPretraining
from pretrain.network import Network, unroll
from pretrain.random_streams import RandomStreams
from pretrain.scaling import Scaling
from pretrain.settings import AutoencoderSettings, LayerSettings, RBMSettings

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

    def _initial_network(self, X: np.ndarray, scaling: Scaling, n_outputs: int, streams: RandomStreams) -> Network:
        sizes, settings = self.hidden_layer_sizes, self._layer_settings()
        run = GreedyPretraining(X, sizes, settings, seed=streams.seed, device=self.device, scaling=scaling)
        for record in run:
            self._note(record)
        return unroll(
            run.stack,
            "classifier" if self.task == "classification" else "regressor",
            n_outputs=n_outputs,
            dropout=self.dropout,
            input_dropout=self.input_dropout,
            generator=streams.generator("head"),
        )


class DBNEstimator(PretrainedEstimator):
    """A deep belief net [1]_: restricted Boltzmann machines stacked greedily, unrolled and fine-tuned.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default=(256, 256)
    visible_units : {"bernoulli", "gaussian"}, default="bernoulli"
        Units on the data: for values in [0, 1], or for standardised real values.
    n_gibbs_steps : int, default=1
        The k of CD-k.
    pretrain_epochs : int or "auto", default="auto"
        Epochs a layer; "auto" is 10 on large data, more on small (see `pretrain.budget`).
    pretrain_learning_rate : float, default=0.1
        For Gaussian units about a tenth to a hundredth of the default.
    pretrain_batch_size : int or "auto", default="auto"
        "auto" is a fiftieth of the rows, between 10 and 100.
    pretrain_momentum : float, default=0.9
        0.5 in the first 5 epochs, then this.
    pretrain_weight_decay : float, default=2e-4
    head_epochs : int, default=0
        Epochs in which the output layer learns alone, before `max_iter` epochs of fine-tuning.
    solver : {"adam", "adamw", "sgd", "adagrad", "rmsprop", "lbfgs"}, default="adam"
        torch's optimiser for fine-tuning.
    learning_rate_init : float, default=1e-3
    schedule : {"cosine", "constant", "step", "exponential", "inverse_time"}, default="cosine"
        Course of the learning rate over `max_iter` epochs.
    momentum : float, default=0.9
        For "sgd" and "rmsprop".
    max_iter : int or "auto", default="auto"
        Epochs of fine-tuning; "auto" is 20 on large data, more on small (see `pretrain.budget`).
    batch_size : int or "auto", default="auto"
        "auto" is a fiftieth of the labelled rows, between 10 and 100.
    alpha : float, default=0.0
        L2 penalty on the weights in fine-tuning.
    max_norm : float or None, default=None
        Largest norm of the weights into one unit in fine-tuning.
    dropout, input_dropout : float, default=0.0
        Probability of dropping a hidden unit, an input, in fine-tuning.
    early_stopping : bool, default=False
        Hold out `validation_fraction` of the labelled rows, stop after `n_iter_no_change` epochs without an
        improvement by `tol`, and keep the best weights.
    validation_fraction : float, default=0.1
    n_iter_no_change : int, default=10
    tol : float, default=0.0
    scaling : {"auto", "none", "minmax", "standard"}, default="auto"
        Learned on the training rows and applied to every input; "auto" is what the visible units need.
    warm_start : bool, default=False
        Fine-tune the fitted network further instead of beginning anew.
    device : {"auto", "cpu", "cuda"}, default="auto"
    precision : {"auto", "float32", "bfloat16"}, default="auto"
    verbose : bool, default=False
        Print one line an epoch.
    random_state : int, RandomState, Generator or None, default=None

    References
    ----------
    .. [1] Hinton, G. E. & Salakhutdinov, R. R. (2006). Science 313, 504-507.
    """

    def __init__(
        self,
        hidden_layer_sizes: Any = (256, 256),
        *,
        visible_units: str = "bernoulli",
        n_gibbs_steps: int = 1,
        pretrain_epochs: Any = "auto",
        pretrain_learning_rate: float = 0.1,
        pretrain_batch_size: Any = "auto",
        pretrain_momentum: float = 0.9,
        pretrain_weight_decay: float = 2e-4,
        head_epochs: int = 0,
        solver: str = "adam",
        learning_rate_init: float = 1e-3,
        schedule: str = "cosine",
        momentum: float = 0.9,
        max_iter: Any = "auto",
        batch_size: Any = "auto",
        alpha: float = 0.0,
        max_norm: float | None = None,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 0.0,
        scaling: str = "auto",
        warm_start: bool = False,
        device: str = "auto",
        precision: str = "auto",
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.visible_units = visible_units
        self.n_gibbs_steps = n_gibbs_steps
        self.pretrain_epochs = pretrain_epochs
        self.pretrain_learning_rate = pretrain_learning_rate
        self.pretrain_batch_size = pretrain_batch_size
        self.pretrain_momentum = pretrain_momentum
        self.pretrain_weight_decay = pretrain_weight_decay
        self.head_epochs = head_epochs
        self.solver = solver
        self.learning_rate_init = learning_rate_init
        self.schedule = schedule
        self.momentum = momentum
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.alpha = alpha
        self.max_norm = max_norm
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.scaling = scaling
        self.warm_start = warm_start
        self.device = device
        self.precision = precision
        self.verbose = verbose
        self.random_state = random_state

    def _layer_settings(self) -> LayerSettings:
        return RBMSettings(
            visible_units=self.visible_units,
            n_gibbs_steps=self.n_gibbs_steps,
            training=training_settings(
                self, RBM_PARAMETERS, initial_momentum=initial_momentum(self.pretrain_momentum)
            ),
        )


class SDAEEstimator(PretrainedEstimator):
    """Stacked denoising autoencoders [1]_: trained greedily, unrolled and fine-tuned.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default=(256, 256)
    corruption : {"masking", "gaussian", "none"}, default="masking"
    corruption_level : float, default=0.25
        Share of masked inputs, or standard deviation of the noise.
    tied : bool, default=True
    activation : {"sigmoid", "tanh", "relu", "leaky_relu", "softplus", "identity"}, default="sigmoid"
    pretrain_epochs : int or "auto", default="auto"
        Epochs a layer; "auto" is 10 on large data, more on small (see `pretrain.budget`).
    pretrain_learning_rate : float, default=1e-3
    pretrain_batch_size : int or "auto", default="auto"
        "auto" is a fiftieth of the rows, between 10 and 100.
    pretrain_solver : str, default="adam"
    head_epochs, solver, learning_rate_init, schedule, momentum, max_iter, batch_size, alpha, max_norm, dropout,\
 input_dropout, early_stopping, validation_fraction, n_iter_no_change, tol, warm_start, device, precision,\
 verbose, random_state
        As in `DBNClassifier`.
    scaling : {"auto", "none", "minmax", "standard"}, default="auto"
        "auto" brings the data into [0, 1], where the loss is the cross-entropy; elsewhere it is squared error.

    References
    ----------
    .. [1] Vincent, P. et al. (2010). Stacked denoising autoencoders. JMLR 11, 3371-3408.
    """

    def __init__(
        self,
        hidden_layer_sizes: Any = (256, 256),
        *,
        corruption: str = "masking",
        corruption_level: float = 0.25,
        tied: bool = True,
        activation: str = "sigmoid",
        pretrain_epochs: Any = "auto",
        pretrain_learning_rate: float = 1e-3,
        pretrain_batch_size: Any = "auto",
        pretrain_solver: str = "adam",
        head_epochs: int = 0,
        solver: str = "adam",
        learning_rate_init: float = 1e-3,
        schedule: str = "cosine",
        momentum: float = 0.9,
        max_iter: Any = "auto",
        batch_size: Any = "auto",
        alpha: float = 0.0,
        max_norm: float | None = None,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 0.0,
        scaling: str = "auto",
        warm_start: bool = False,
        device: str = "auto",
        precision: str = "auto",
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.corruption = corruption
        self.corruption_level = corruption_level
        self.tied = tied
        self.activation = activation
        self.pretrain_epochs = pretrain_epochs
        self.pretrain_learning_rate = pretrain_learning_rate
        self.pretrain_batch_size = pretrain_batch_size
        self.pretrain_solver = pretrain_solver
        self.head_epochs = head_epochs
        self.solver = solver
        self.learning_rate_init = learning_rate_init
        self.schedule = schedule
        self.momentum = momentum
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.alpha = alpha
        self.max_norm = max_norm
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.scaling = scaling
        self.warm_start = warm_start
        self.device = device
        self.precision = precision
        self.verbose = verbose
        self.random_state = random_state

    def _layer_settings(self) -> LayerSettings:
        return AutoencoderSettings(
            corruption=self.corruption,
            corruption_level=self.corruption_level,
            tied=self.tied,
            activation=self.activation,
            training=training_settings(self, AUTOENCODER_PARAMETERS),
        )


class DBNClassifier(DBNEstimator, NetworkClassifier):
    __doc__ = DBNEstimator.__doc__


class DBNRegressor(DBNEstimator, NetworkRegressor):
    __doc__ = DBNEstimator.__doc__


class SDAEClassifier(SDAEEstimator, NetworkClassifier):
    __doc__ = SDAEEstimator.__doc__


class SDAERegressor(SDAEEstimator, NetworkRegressor):
    __doc__ = SDAEEstimator.__doc__
