"""Networks trained from scratch with the modern tricks, behind the same face as the pretrained ones."""

from typing import Any

from pretrain.baselines import scratch_network
from pretrain.estimators.classification import NetworkClassifier, takes_classifier_parameters
from pretrain.estimators.inputs import require_image_shape
from pretrain.estimators.regression import NetworkRegressor
from pretrain.estimators.supervised import SupervisedEstimator, TrainingRows
from pretrain.image_networks import IMAGE_BASELINES
from pretrain.network import Network
from pretrain.random_streams import RandomStreams
from pretrain.scaling import Scaling


class ScratchEstimator(SupervisedEstimator):
    """A network with random initial weights: what pretraining is compared with.

    Parameters
    ----------
    kind : str, default="relu"
        Activation, initialisation and tricks: a name in `pretrain.baselines.BASELINES`, such as "relu", "sigmoid",
        "relu-dropout", "relu-bn", "relu-ln", "residual", "stochastic-depth", "dense"; or, where rows are images, in
        `pretrain.image_networks.IMAGE_BASELINES`: "lenet", "resnet-20", "densenet-40-12" and others.
    hidden_layer_sizes : tuple of int, default=(256, 256)
        Convolutional networks have sizes of their own.
    image_shape : tuple of int or None, default=None
        Height and width, and channels if there are any, of a row before it was flattened.
    activation : {"sigmoid", "tanh", "relu", "leaky_relu", "softplus", "gelu", "identity"} or None, default=None
        Of the hidden units; None takes that of the kind.
    initialisation : {"gaussian", "sparse", "xavier_normal", "xavier_uniform", "he_normal", "he_uniform",\
 "orthogonal"} or None, default=None
        Of the hidden layers, see `pretrain.initialisation`; None takes that of the kind.
    dropout, input_dropout : float or None, default=None
        Probability of dropping a hidden unit, an input; None takes the rates of the kind.
    shift : int, default=0
        Training moves half of the images by up to so many pixels each way, anew every time.
    flip : bool, default=False
        Training mirrors half of the images, left to right.
    crop : int, default=0
        Training puts so many zeros around an image and cuts its size out of that.
    rotation : float, default=0.0
        Training turns images by up to so many degrees.
    noise : float, default=0.0
        Standard deviation of the noise that training adds to scaled rows, which need not be images.
    solver, learning_rate_init, schedule, momentum, max_iter, batch_size, alpha, max_norm, early_stopping,\
 validation_fraction, n_iter_no_change, tol, scaling, warm_start, device, precision, verbose, random_state
        As in `DBNClassifier`.
    """

    stage = "train"

    def __init__(
        self,
        kind: str = "relu",
        hidden_layer_sizes: Any = (256, 256),
        *,
        image_shape: Any = None,
        activation: str | None = None,
        initialisation: str | None = None,
        dropout: float | None = None,
        input_dropout: float | None = None,
        shift: int = 0,
        flip: bool = False,
        crop: int = 0,
        rotation: float = 0.0,
        noise: float = 0.0,
        solver: str = "adam",
        learning_rate_init: float = 1e-3,
        schedule: str = "cosine",
        momentum: float = 0.9,
        max_iter: Any = "auto",
        batch_size: Any = "auto",
        alpha: float = 0.0,
        max_norm: float | None = None,
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
        self.kind = kind
        self.hidden_layer_sizes = hidden_layer_sizes
        self.image_shape = image_shape
        self.activation = activation
        self.initialisation = initialisation
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.shift = shift
        self.flip = flip
        self.crop = crop
        self.rotation = rotation
        self.noise = noise
        self.solver = solver
        self.learning_rate_init = learning_rate_init
        self.schedule = schedule
        self.momentum = momentum
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.alpha = alpha
        self.max_norm = max_norm
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

    def _initial_network(self, X: Any, rows: TrainingRows, scaling: Scaling, streams: RandomStreams) -> Network:
        require_image_shape(self)
        network = scratch_network(
            self.kind,
            X.shape[1],
            self.hidden_layer_sizes,
            rows.targets.n_outputs,
            task=rows.targets.task,
            activation=self.activation,
            initialisation=self.initialisation,
            dropout=self.dropout,
            input_dropout=self.input_dropout,
            image_shape=self.image_shape,
            generator=streams.generator("init"),
        )
        network.scaling = scaling
        return network

    def _require_same_sizes(self) -> None:
        if self.kind not in IMAGE_BASELINES:
            super()._require_same_sizes()


@takes_classifier_parameters
class ScratchClassifier(ScratchEstimator, NetworkClassifier):
    __doc__ = ScratchEstimator.__doc__


class ScratchRegressor(ScratchEstimator, NetworkRegressor):
    __doc__ = ScratchEstimator.__doc__
