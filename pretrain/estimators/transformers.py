"""Feature extractors: one RBM, or a stack of layers."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.utils import Tags, check_array, column_or_1d
from sklearn.utils.validation import _check_sample_weight

from pretrain._validation import require_choice
from pretrain.class_indices import encode_labels, fill_missing_labels, labelled_rows
from pretrain.estimators.base import CodeTransformer
from pretrain.estimators.inputs import require_verbose, training_settings
from pretrain.exceptions import DataError
from pretrain.scaling import Scaling
from pretrain.settings import LAYER_SETTINGS, AutoencoderSettings, LayerSettings, SupervisedSettings

AUTOENCODER_FIELDS = tuple(f.name for f in dataclasses.fields(AutoencoderSettings) if f.name != "training")
# Fields of TrainingSettings and the parameters that fill them.
LAYER_PARAMETERS = {"epochs": "n_iter", "batch_size": "batch_size", "precision": "precision"}


class StackEstimator(CodeTransformer):
    """Base of the transformers that hold a stack.

    Attributes
    ----------
    stack_ : Stack
    n_iter_ : int
        Epochs a layer.
    """

    model_name = "stack_"

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Pretrain on the rows of X, (n_samples, n_features), dense or sparse.

        Only supervised layers look at y. `sample_weight`, (n_samples,), is what each row counts.
        """
        require_verbose(self)
        settings = self._layer_settings()
        X = self._check_rows(X, reset=True)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        self.stack_, rows = self._pretrain(X, self._sizes(), settings, self._targets(y), sample_weight)
        self.n_iter_ = self.report_[-1]["n_epochs"] if self.report_ else 0
        self._after_fit(rows)
        return self

    def _after_fit(self, rows: Any) -> None:
        """What a subclass keeps of the scaled training rows."""

    def _targets(self, y: Any) -> np.ndarray | None:
        """What supervised layers learn to predict, as `GreedyPretraining` takes it."""
        return None

    def _sizes(self) -> Sequence[int]:
        raise NotImplementedError

    def _layer_settings(self) -> LayerSettings:
        raise NotImplementedError


class StackTransformer(StackEstimator):
    """Layers pretrained greedily, each on the code of the one below.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default=(256, 256)
    kind : {"rbm", "autoencoder", "supervised"}, default="rbm"
        RBMs by contrastive divergence; tied denoising autoencoders with masking noise; or hidden layers of networks
        that predict y, whose output layers are thrown away. Only these need y: labels, of which integer -1 marks a
        row without one (see `DBNClassifier`), or numbers. They decode nothing: `inverse_transform` is not for them.
    learning_rate : float or None, default=None
        None is the default of the kind: for RBMs what their units bear (`RBM.default_learning_rate`, 0.1 here) with
        momentum, 1e-3 with Adam for the others.
    corruption, corruption_level, emphasis, sparsity_target, sparsity_cost, contraction, tied
        Of autoencoders, see `SDAEClassifier`.
    contraction_higher_order, contraction_noise : float, default=0.0, 0.1
        Of autoencoders: weight of the change of the code's Jacobian under small noise, and that noise's standard
        deviation.
    activation : {"sigmoid", "tanh", "relu", "leaky_relu", "softplus", "gelu", "identity"}, default="sigmoid"
        Of autoencoders and supervised layers.
    reconstruction_loss : {"auto", "cross_entropy", "squared_error"}, default="auto"
        Of autoencoders; "auto" is cross-entropy for input in [0, 1], else squared error.
    batch_size : int or "auto", default="auto"
        "auto" is a fiftieth of the rows, between 10 and 100.
    n_iter : int or "auto", default="auto"
        Epochs a layer.
    scaling : {"auto", "none", "minmax", "standard"}, default="auto"
    device : {"auto", "cpu", "cuda"}, default="auto"
    precision : {"auto", "float32", "bfloat16"}, default="auto"
    verbose : bool, default=False
    random_state : int, RandomState, Generator or None, default=None
    """

    def __init__(
        self,
        hidden_layer_sizes: Any = (256, 256),
        *,
        kind: str = "rbm",
        learning_rate: float | None = None,
        corruption: str = "masking",
        corruption_level: float = 0.25,
        emphasis: float = 0.0,
        sparsity_target: float | None = None,
        sparsity_cost: float = 0.1,
        contraction: float = 0.0,
        contraction_higher_order: float = 0.0,
        contraction_noise: float = 0.1,
        tied: bool = True,
        activation: str = "sigmoid",
        reconstruction_loss: str = "auto",
        batch_size: Any = "auto",
        n_iter: Any = "auto",
        scaling: str = "auto",
        device: str = "auto",
        precision: str = "auto",
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.kind = kind
        self.learning_rate = learning_rate
        self.corruption = corruption
        self.corruption_level = corruption_level
        self.emphasis = emphasis
        self.sparsity_target = sparsity_target
        self.sparsity_cost = sparsity_cost
        self.contraction = contraction
        self.contraction_higher_order = contraction_higher_order
        self.contraction_noise = contraction_noise
        self.tied = tied
        self.activation = activation
        self.reconstruction_loss = reconstruction_loss
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.scaling = scaling
        self.device = device
        self.precision = precision
        self.verbose = verbose
        self.random_state = random_state

    def _sizes(self) -> Sequence[int]:
        return self.hidden_layer_sizes

    def _targets(self, y: Any) -> np.ndarray | None:
        if self.kind != "supervised":
            return None
        if y is None:
            raise DataError("StackTransformer(kind='supervised') requires y to be passed, but the target y is None.")
        y, known = fill_missing_labels(y)
        y = check_array(y, ensure_2d=False, dtype=None, input_name="y")
        if y.dtype.kind == "f" and (y.ndim == 2 or (y % 1).any()):
            columns = y.reshape(len(y), -1)
            return Scaling.fit("standard", columns).apply(columns)
        y = column_or_1d(y, warn=True)
        return encode_labels(y, labelled_rows(y) if known is None else known & labelled_rows(y))[0]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self.kind == "supervised"
        return tags

    def _layer_settings(self) -> LayerSettings:
        require_choice("StackTransformer", "kind", self.kind, LAYER_SETTINGS)
        # An illegal value is one whatever the kind.
        autoencoder = AutoencoderSettings(**{name: getattr(self, name) for name in AUTOENCODER_FIELDS})
        own: dict[str, LayerSettings] = {
            "autoencoder": autoencoder,
            "supervised": SupervisedSettings(activation=self.activation),
        }
        settings = own.get(self.kind, LAYER_SETTINGS[self.kind]())
        given = {} if self.learning_rate is None else {"learning_rate": "learning_rate"}
        training = training_settings(self, {**LAYER_PARAMETERS, **given}, settings.training)
        return dataclasses.replace(settings, training=training)
