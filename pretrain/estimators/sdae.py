"""Stacked denoising autoencoders as classifiers and regressors."""

from typing import Any

from pretrain.estimators.classification import NetworkClassifier, takes_classifier_parameters
from pretrain.estimators.inputs import training_settings
from pretrain.estimators.pretrained import AUTOENCODER_PARAMETERS, PretrainedEstimator
from pretrain.estimators.regression import NetworkRegressor
from pretrain.settings import AutoencoderSettings, LayerSettings


class SDAEEstimator(PretrainedEstimator):
    """Stacked denoising autoencoders [1]_: trained greedily, unrolled and fine-tuned.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default=(256, 256)
    corruption : {"masking", "gaussian", "salt_and_pepper", "swap", "none"}, default="masking"
        Noise on the input of each layer in pretraining: cells set to zero, Gaussian noise added, cells set to the
        smallest or largest value, cells that take the value of another row ("swap noise", for tables).
    corruption_level : float, default=0.5
        Share of cells that the noise takes, or standard deviation of Gaussian noise. Half of the cells serves few
        labels; with tens of thousands a quarter or a third does better.
    emphasis : float, default=0.0
        In the loss a cell that the noise took weighs 1 and any other 1 - emphasis; not for Gaussian noise.
    sparsity_target, sparsity_cost : float or None, float, default=None, 0.1
        Mean activation that hidden units are pulled to, and the weight of that penalty; for sigmoid and tanh.
    contraction : float, default=0.0
        Weight of the squared Frobenius norm of the code's Jacobian, the penalty of contractive autoencoders.
    tied : bool, default=True
    activation : {"sigmoid", "tanh", "relu", "leaky_relu", "softplus", "gelu", "identity"}, default="sigmoid"
    pretrain_epochs : int or "auto", default="auto"
        Epochs a layer; "auto" is 10 on large data, more on small (see `pretrain.budget`).
    pretrain_learning_rate : float, default=1e-3
    pretrain_batch_size : int or "auto", default="auto"
        "auto" is a fiftieth of the rows, between 10 and 100.
    pretrain_solver : str, default="adam"
    kind : str or None, default=None
        Of the network that is fine-tuned: None for the stack unrolled; or a name in `pretrain.baselines.BASELINES`,
        such as "relu-bn" or "residual", whose first weights are those of the stack, rescaled (see
        `pretrain.pretrained_networks`).
    head_epochs, solver, learning_rate_init, schedule, momentum, max_iter, batch_size, alpha, max_norm, dropout,\
 input_dropout, early_stopping, validation_fraction, n_iter_no_change, tol, warm_start, memory, device, precision,\
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
        corruption_level: float = 0.5,
        emphasis: float = 0.0,
        sparsity_target: float | None = None,
        sparsity_cost: float = 0.1,
        contraction: float = 0.0,
        tied: bool = True,
        activation: str = "sigmoid",
        pretrain_epochs: Any = "auto",
        pretrain_learning_rate: float = 1e-3,
        pretrain_batch_size: Any = "auto",
        pretrain_solver: str = "adam",
        kind: str | None = None,
        head_epochs: Any = "auto",
        solver: str = "adam",
        learning_rate_init: float = 1e-3,
        schedule: str = "cosine",
        momentum: float = 0.9,
        max_iter: Any = "auto",
        batch_size: Any = "auto",
        alpha: float = 0.0,
        max_norm: float | None = None,
        dropout: Any = "auto",
        input_dropout: Any = "auto",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 0.0,
        scaling: str = "auto",
        warm_start: bool = False,
        memory: Any = None,
        device: str = "auto",
        precision: str = "auto",
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.corruption = corruption
        self.corruption_level = corruption_level
        self.emphasis = emphasis
        self.sparsity_target = sparsity_target
        self.sparsity_cost = sparsity_cost
        self.contraction = contraction
        self.tied = tied
        self.activation = activation
        self.pretrain_epochs = pretrain_epochs
        self.pretrain_learning_rate = pretrain_learning_rate
        self.pretrain_batch_size = pretrain_batch_size
        self.pretrain_solver = pretrain_solver
        self.kind = kind
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
        self.memory = memory
        self.device = device
        self.precision = precision
        self.verbose = verbose
        self.random_state = random_state

    def _layer_settings(self) -> LayerSettings:
        return AutoencoderSettings(
            corruption=self.corruption,
            corruption_level=self.corruption_level,
            emphasis=self.emphasis,
            sparsity_target=self.sparsity_target,
            sparsity_cost=self.sparsity_cost,
            contraction=self.contraction,
            tied=self.tied,
            activation=self.activation,
            training=training_settings(self, AUTOENCODER_PARAMETERS),
        )


@takes_classifier_parameters
class SDAEClassifier(SDAEEstimator, NetworkClassifier):
    __doc__ = SDAEEstimator.__doc__


class SDAERegressor(SDAEEstimator, NetworkRegressor):
    __doc__ = SDAEEstimator.__doc__
