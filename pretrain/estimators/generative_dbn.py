"""The deep belief net as a generative model: a classifier that draws what it knows, or a density model."""

import dataclasses
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from pretrain._validation import one_per_layer, require_sequence
from pretrain.class_indices import encode_labels, labelled_rows
from pretrain.dbn import DBN
from pretrain.dbn_training import DBNTraining
from pretrain.estimators.base import ModelEstimator
from pretrain.estimators.generation import GenerativeEstimator
from pretrain.estimators.inputs import (
    check_labelled_rows,
    check_rows,
    choose_scaling,
    initial_momentum,
    like_input,
    require_verbose,
    seed_from,
    training_settings,
)
from pretrain.estimators.pretrained import RBM_PARAMETERS
from pretrain.estimators.scoring import labelled_accuracy
from pretrain.exceptions import SettingsError
from pretrain.settings import RBMSettings
from pretrain.stack import map_rows
from pretrain.training import Record
from pretrain.up_down_settings import UP_DOWN_TRAINING, UpDownSettings

GREEDY_PARAMETERS = {**RBM_PARAMETERS, "schedule": "pretrain_schedule"}
# Fields of the up-down TrainingSettings and the parameters that fill them.
UP_DOWN_PARAMETERS = {
    "epochs": "up_down_epochs",
    "batch_size": "up_down_batch_size",
    "optimizer": "up_down_solver",
    "learning_rate": "up_down_learning_rate",
    "schedule": "up_down_schedule",
    "momentum": "up_down_momentum",
    "weight_decay": "up_down_weight_decay",
    "precision": "precision",
}


class GenerativeDBN(GenerativeEstimator, ClassifierMixin, ModelEstimator):
    """A deep belief net with labels as a generative model [1]_.

    RBMs are stacked greedily, the last with softmax label units beside the codes that it sees; then all layers are
    trained together by the up-down algorithm, contrastive wake-sleep. The net classifies by the free energies of the
    labels, draws rows of a class, and bounds the likelihood of rows. Without labels, `fit(X)`, it is a density model.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default=(256, 256)
        The last layer is the top of the memory.
    visible_units : str, default="bernoulli"
        Units on the data: "bernoulli" for values in [0, 1], "gaussian" for standardised real values; "softmax",
        "spin", "noisy_relu", or types with widths.
    binarize : bool, default=False
        Draw 0/1 states from values in [0, 1], anew every time.
    n_gibbs_steps : int or tuple of int, default=1
        The k of CD-k in greedy training, one for all layers or one a layer. On large data a memory with
        labels gains by more than one, see `initial_gibbs_steps`.
    initial_gibbs_steps : int or None, default=None
        Gibbs steps of the first epoch, from which they grow to `n_gibbs_steps` in the last.
    pretrain_epochs : int or "auto", default="auto"
        Epochs a layer; "auto" is 10 on large data, more on small (see `pretrain.budget`).
    pretrain_learning_rate : float or "auto", default="auto"
        "auto" is 0.1 for binary units, 0.01 for Gaussian data.
    pretrain_schedule : {"constant", "linear", "cosine", "step", "exponential", "inverse_time"}, default="constant"
    pretrain_batch_size : int or "auto", default="auto"
        "auto" is a fiftieth of the rows, between 10 and 100. Every batch has the classes in their shares.
    pretrain_momentum : float, default=0.9
        0.5 in the first 5 epochs, then this.
    pretrain_weight_decay : float, default=2e-4
    up_down_epochs : int or "auto", default="auto"
        Epochs of up-down; 0 leaves greedy training alone. "auto" is 20 on large data, more on small.
    up_down_gibbs_steps : tuple of int, default=(3, 6, 10)
        Gibbs steps of the memory, each for an equal part of the epochs.
    up_down_batch_size : int or "auto", default="auto"
    up_down_solver : {"sgd", "adam", "adamw", "adagrad", "rmsprop"}, default="sgd"
    up_down_learning_rate : float, default=0.01
    up_down_schedule : {"constant", "linear", "cosine", "step", "exponential", "inverse_time"}, default="constant"
    up_down_momentum : float, default=0.9
    up_down_weight_decay : float, default=2e-4
    scaling : {"auto", "none", "minmax", "standard"}, default="auto"
        Learned on the training rows and applied to every input; "auto" is what the visible units need.
    device : {"auto", "cpu", "cuda"}, default="auto"
    precision : {"auto", "float32", "bfloat16"}, default="auto"
    verbose : bool, default=False
        Show a bar in a terminal or a notebook, and print one line an epoch elsewhere.
    random_state : int, RandomState, Generator or None, default=None

    Attributes
    ----------
    dbn_ : DBN
    classes_ : ndarray of shape (n_classes,), or None without labels
    report_ : list of dict
        The records of every epoch.
    n_iter_ : int
        Epochs of up-down.
    mean_ : ndarray of shape (n_codes + n_classes,)
        Mean of what the memory sees of the training rows: where annealing starts.
    n_features_in_ : int
    feature_names_in_ : ndarray of str, where the input had column names

    References
    ----------
    .. [1] Hinton, G. E., Osindero, S. & Teh, Y.-W. (2006). A fast learning algorithm for deep belief nets. Neural
           Computation 18, 1527-1554.
    """

    model_name = "dbn_"

    def __init__(
        self,
        hidden_layer_sizes: Any = (256, 256),
        *,
        visible_units: str = "bernoulli",
        binarize: bool = False,
        n_gibbs_steps: Any = 1,
        initial_gibbs_steps: int | None = None,
        pretrain_epochs: Any = "auto",
        pretrain_learning_rate: Any = "auto",
        pretrain_schedule: str = "constant",
        pretrain_batch_size: Any = "auto",
        pretrain_momentum: float = 0.9,
        pretrain_weight_decay: float = 2e-4,
        up_down_epochs: Any = "auto",
        up_down_gibbs_steps: Any = (3, 6, 10),
        up_down_batch_size: Any = "auto",
        up_down_solver: str = "sgd",
        up_down_learning_rate: float = 0.01,
        up_down_schedule: str = "constant",
        up_down_momentum: float = 0.9,
        up_down_weight_decay: float = 2e-4,
        scaling: str = "auto",
        device: str = "auto",
        precision: str = "auto",
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.visible_units = visible_units
        self.binarize = binarize
        self.n_gibbs_steps = n_gibbs_steps
        self.initial_gibbs_steps = initial_gibbs_steps
        self.pretrain_epochs = pretrain_epochs
        self.pretrain_learning_rate = pretrain_learning_rate
        self.pretrain_schedule = pretrain_schedule
        self.pretrain_batch_size = pretrain_batch_size
        self.pretrain_momentum = pretrain_momentum
        self.pretrain_weight_decay = pretrain_weight_decay
        self.up_down_epochs = up_down_epochs
        self.up_down_gibbs_steps = up_down_gibbs_steps
        self.up_down_batch_size = up_down_batch_size
        self.up_down_solver = up_down_solver
        self.up_down_learning_rate = up_down_learning_rate
        self.up_down_schedule = up_down_schedule
        self.up_down_momentum = up_down_momentum
        self.up_down_weight_decay = up_down_weight_decay
        self.scaling = scaling
        self.device = device
        self.precision = precision
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit to rows, (n_samples, n_features), dense or sparse, and labels, (n_samples,), if there are any.

        An integer label -1, or None or NaN among objects, marks a row without a label, unless the labels are exactly
        -1 and 1: a label is drawn from what the net makes of the row, anew each time, and the row trains everything
        but the label units.
        """
        require_verbose(self)
        layers, up_down = self._layer_settings(), self._up_down_settings()
        if y is None:
            X, indices, classes = check_rows(self, X, reset=True, accept_sparse=True), None, None
        else:
            X, y, known = check_labelled_rows(self, X, y, reset=True)
            indices, classes = encode_labels(y, known & labelled_rows(y))
        scaling = choose_scaling(self, X)
        self.seed_ = seed_from(self.random_state)
        rows = scaling.apply(X)
        run = DBNTraining(
            rows,
            indices,
            self.hidden_layer_sizes,
            layers,
            up_down,
            seed=self.seed_,
            classes=classes,
            device=self.device,
            scaling=scaling,
        )
        self.report_: list[Record] = []
        for record in run:
            self._note(record)
        self.dbn_ = run.dbn
        self.n_iter_ = sum(record["stage"] != "pretrain" for record in self.report_)
        seen = map_rows(self.dbn_, DBN.memory_rows, rows, self.dbn_.memory.n_visible)
        self.mean_ = seen.double().mean(dim=0).numpy(force=True)
        self._log_partition = None
        return self

    @property
    def classes_(self) -> np.ndarray | None:
        """Labels in the order of the columns of `predict_proba`, (n_classes,); None after a fit without labels."""
        return self.dbn_.classes

    def predict(self, X: Any) -> np.ndarray:
        """Labels of the lowest free energy: (n_samples, n_features) -> (n_samples,)."""
        check_is_fitted(self)
        return self.dbn_.predict(check_rows(self, X, accept_sparse=True))

    def predict_proba(self, X: Any) -> np.ndarray:
        """p(label | codes of the row): -> (n_samples, n_classes), columns in the order of `classes_`."""
        check_is_fitted(self)
        X = check_rows(self, X, accept_sparse=True)
        return like_input(self.dbn_.predict_proba(X), X)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of `predict_proba`."""
        check_is_fitted(self)
        X = check_rows(self, X, accept_sparse=True)
        return like_input(self.dbn_.predict_log_proba(X), X)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Accuracy on the rows that have a label; after a fit without labels the mean of `score_samples`."""
        check_is_fitted(self)
        if self.classes_ is None:
            return float(np.average(self.score_samples(X), weights=sample_weight))
        return labelled_accuracy(self, X, y, sample_weight)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        tags.input_tags.sparse = "gaussian" not in str(self.visible_units)  # whose rows are standardised
        return tags

    def _layer_settings(self) -> list[RBMSettings]:
        require_sequence(type(self).__name__, "hidden_layer_sizes", self.hidden_layer_sizes)
        momentum = initial_momentum(self.pretrain_momentum)
        training = training_settings(self, GREEDY_PARAMETERS, initial_momentum=momentum)
        steps = one_per_layer(type(self).__name__, "n_gibbs_steps", self.n_gibbs_steps, len(self.hidden_layer_sizes))
        layers = [
            RBMSettings(n_gibbs_steps=k, initial_gibbs_steps=self.initial_gibbs_steps, training=training)
            for k in steps
        ]
        if layers:
            layers[0] = dataclasses.replace(layers[0], visible_units=self.visible_units, binarize=self.binarize)
        return layers

    def _up_down_settings(self) -> UpDownSettings:
        training = training_settings(self, UP_DOWN_PARAMETERS, UP_DOWN_TRAINING)
        try:
            return UpDownSettings(self.up_down_gibbs_steps, self.binarize, training)
        except SettingsError as error:
            said = str(error).replace("n_gibbs_steps of UpDownSettings", "up_down_gibbs_steps of GenerativeDBN")
            raise SettingsError(said) from error
