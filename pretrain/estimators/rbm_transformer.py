"""One restricted Boltzmann machine as a feature extractor and a density model."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from scipy import sparse
from sklearn.utils import Tags

from pretrain._validation import require_number
from pretrain.batches import as_dense_tensor
from pretrain.columns import column_mean, column_range, require_rows
from pretrain.device import resolve_device
from pretrain.estimators.density import DensityEstimator
from pretrain.estimators.inputs import check_rows, choose_scaling, initial_momentum, seed_from, training_settings
from pretrain.estimators.transformers import LAYER_PARAMETERS, StackEstimator
from pretrain.exceptions import DataError
from pretrain.layer_run import layer_run
from pretrain.missing_values import fill_with_means
from pretrain.random_streams import RandomStreams
from pretrain.rbm import RBM
from pretrain.settings import RBMSettings
from pretrain.stack import Stack, map_rows
from pretrain.training import TrainingRun

# Fields of TrainingSettings, and of RBMSettings, and the parameters that fill them.
TRAINING_PARAMETERS = {
    **LAYER_PARAMETERS,
    "optimizer": "solver",
    "learning_rate": "learning_rate",
    "schedule": "schedule",
    "momentum": "momentum",
    "weight_decay": "weight_decay",
    "l1": "l1",
    "max_norm": "max_norm",
}
# But for those of a layer above another.
RBM_FIELDS = tuple(
    field.name for field in dataclasses.fields(RBMSettings) if field.name not in ("training", "initial_weights")
)


class RBMTransformer(DensityEstimator, StackEstimator):
    """One restricted Boltzmann machine, trained by contrastive divergence or its kin.

    It takes the place of scikit-learn's `BernoulliRBM`: the parameters that both have mean the same.

    Parameters
    ----------
    n_components : int, default=256
        Hidden units.
    learning_rate : float or "auto", default="auto"
        "auto" is 0.1, and less for units that are not binary (`RBM.default_learning_rate`).
    batch_size : int or "auto", default="auto"
    n_iter : int or "auto", default="auto"
        Epochs.
    visible_units, hidden_units : str, default="bernoulli"
        Unit types: "bernoulli", "gaussian", "gaussian_learned", "softmax", "replicated_softmax", "noisy_relu",
        "spin", or types with widths for the columns of a table, "bernoulli:3+gaussian:2+softmax:4".
    gradient_estimator : {"cd", "mean_field", "pcd", "fast_pcd", "tempering"}, default="cd"
        Where the negative phase comes from.
    n_gibbs_steps : int, default=1
    initial_gibbs_steps : int or None, default=None
        Gibbs steps of the first epoch, from which they grow to `n_gibbs_steps` in the last.
    sample_reconstruction : bool, default=True
        Whether "cd" samples the visible states that its chains end in. The papers, and stacks here, take their
        means (False); samples make the better density model and features for a linear classifier.
    n_chains : int or "auto", default="auto"
    n_temperatures : int, default=10
        Of "tempering".
    fast_learning_rate, fast_decay : float, default=0.01, 0.95
        Of "fast_pcd": step size of the fast weights, and what is left of them after a step.
    centered : bool or "auto", default="auto"
        Gradient of centred units; "auto" for Gaussian visible units.
    binarize : bool, default=False
        Draw states from values in [0, 1], anew every time.
    sparsity_target, sparsity_cost : float or None, float, default=None, 0.1
        Mean activation that the hidden units are pulled to, and how hard.
    sparsity_decay : float, default=0.9
        What an update leaves of the running mean activation.
    hidden_dropout : float, default=0.0
    missing : {"error", "gibbs"}, default="error"
        "gibbs": NaN stands for a missing value, drawn by Gibbs sampling in training and filled with its mean in
        `transform`; `impute` fills it in the rows.
    weight_scale : float, default=0.1
    initial_visible_bias : {"zero", "data"}, default="zero"
        "data" begins at the data's means.
    solver : {"sgd", "adagrad", "rmsprop", "adam", "adamw"}, default="sgd"
    schedule : {"constant", "step", "exponential", "inverse_time", "cosine", "linear"}, default="constant"
    momentum : float, default=0.9
        0.5 in the first 5 epochs, then this.
    weight_decay, l1 : float, default=0.0
    max_norm : float or None, default=None
    scaling : {"auto", "none", "minmax", "standard"}, default="auto"
    device : {"auto", "cpu", "cuda"}, default="auto"
    precision, verbose, random_state
        As in `StackTransformer`.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
    intercept_hidden_ : ndarray of shape (n_components,)
    intercept_visible_ : ndarray of shape (n_features,)
    mean_ : ndarray of shape (n_features,)
        Mean of the scaled training rows.
    """

    def __init__(
        self,
        n_components: int = 256,
        *,
        learning_rate: Any = "auto",
        batch_size: Any = "auto",
        n_iter: Any = "auto",
        visible_units: str = "bernoulli",
        hidden_units: str = "bernoulli",
        gradient_estimator: str = "cd",
        n_gibbs_steps: int = 1,
        initial_gibbs_steps: int | None = None,
        sample_reconstruction: bool = True,
        n_chains: Any = "auto",
        n_temperatures: int = 10,
        fast_learning_rate: float = 0.01,
        fast_decay: float = 0.95,
        centered: Any = "auto",
        binarize: bool = False,
        sparsity_target: float | None = None,
        sparsity_cost: float = 0.1,
        sparsity_decay: float = 0.9,
        hidden_dropout: float = 0.0,
        missing: str = "error",
        weight_scale: float = 0.1,
        initial_visible_bias: str = "zero",
        solver: str = "sgd",
        schedule: str = "constant",
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        l1: float = 0.0,
        max_norm: float | None = None,
        scaling: str = "auto",
        device: str = "auto",
        precision: str = "auto",
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.visible_units = visible_units
        self.hidden_units = hidden_units
        self.gradient_estimator = gradient_estimator
        self.n_gibbs_steps = n_gibbs_steps
        self.initial_gibbs_steps = initial_gibbs_steps
        self.sample_reconstruction = sample_reconstruction
        self.n_chains = n_chains
        self.n_temperatures = n_temperatures
        self.fast_learning_rate = fast_learning_rate
        self.fast_decay = fast_decay
        self.centered = centered
        self.binarize = binarize
        self.sparsity_target = sparsity_target
        self.sparsity_cost = sparsity_cost
        self.sparsity_decay = sparsity_decay
        self.hidden_dropout = hidden_dropout
        self.missing = missing
        self.weight_scale = weight_scale
        self.initial_visible_bias = initial_visible_bias
        self.solver = solver
        self.schedule = schedule
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.l1 = l1
        self.max_norm = max_norm
        self.scaling = scaling
        self.device = device
        self.precision = precision
        self.verbose = verbose
        self.random_state = random_state

    @property
    def components_(self) -> np.ndarray:
        """Weights, (n_components, n_features)."""
        return self._rbm.weight.numpy(force=True)

    @property
    def intercept_hidden_(self) -> np.ndarray:
        """Hidden biases, (n_components,)."""
        return self._rbm.hidden_bias.numpy(force=True)

    @property
    def intercept_visible_(self) -> np.ndarray:
        """Visible biases, (n_features,)."""
        return self._rbm.visible_bias.numpy(force=True)

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Train for one epoch on the rows of X, going on from the last call; y is ignored.

        For data that come in pieces: the first piece decides the scaling. Optimiser, chains and running means go on
        from call to call, but begin anew after the estimator was loaded from a checkpoint; the learning rate is
        constant, and neither momentum nor Gibbs steps have a ramp.
        """
        first = not hasattr(self, "stack_")
        X = self._check_rows(X, reset=first)
        if first:
            self._begin(X)
        rows = self.stack_.scaling.apply(X)
        self._update_mean(rows)
        run = self._piece(rows, sample_weight)
        self.report_.append({**next(run), "epoch": self.n_iter_ + 1, "n_layers": 1})
        self.n_iter_ += 1
        self._piece_state = run.carried_state()
        self._log_partitions = {}
        return self

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing == "gibbs"
        return tags

    def _check_rows(self, X: Any, *, reset: bool = False) -> Any:
        X = check_rows(self, X, reset=reset, accept_sparse=True, allow_nan=self.missing == "gibbs")
        if sparse.issparse(X) and np.isnan(X.data).any():
            raise DataError("A sparse matrix cannot have missing values here; make it dense, X.toarray().")
        if not reset:
            require_rows(self._rbm.visible_units, X, self.stack_.scaling)
        return X

    def _complete(self, X: Any) -> Any:
        """X, its NaN replaced by mean-field means: without chance, and each row by itself."""
        if sparse.issparse(X) or not np.isnan(X).any():
            return X
        scaled = as_dense_tensor(self.stack_.scaling.apply(X, np.float64), torch.float64)
        complete = map_rows(self._rbm, fill_with_means, scaled, self._rbm.n_visible).numpy(force=True)
        return self.stack_.scaling.undo(complete).astype(X.dtype)

    def _after_fit(self, rows: Any) -> None:
        self._log_partitions = {}
        self._gibbs_calls = 0
        for name in ("_piece_state", "n_samples_seen_", "mean_"):
            self.__dict__.pop(name, None)
        self._update_mean(rows)

    def _update_mean(self, rows: Any) -> None:
        before = getattr(self, "n_samples_seen_", 0)
        self.n_samples_seen_ = before + rows.shape[0]
        share, mean = rows.shape[0] / self.n_samples_seen_, column_mean(rows)
        self.mean_ = mean if before == 0 else self.mean_ + (mean - self.mean_) * share

    def _begin(self, X: Any) -> None:
        self.seed_ = seed_from(self.random_state)
        self.report_, self.n_iter_ = [], 0
        scaling, settings = choose_scaling(self, X), self._layer_settings()
        rows = scaling.apply(X)
        rbm = RBM.from_settings(
            X.shape[1],
            self._sizes()[0],
            settings,
            data_range=column_range(rows, missing=self.missing == "gibbs"),
            data_mean=torch.from_numpy(column_mean(rows)).float(),
            generator=RandomStreams(self.seed_).generator("init", layer=0),
        )
        require_rows(rbm.visible_units, rows)
        self.stack_ = Stack([rbm.to(resolve_device(self.device))], scaling)

    def _piece(self, rows: Any, sample_weight: Any) -> TrainingRun:
        settings = self._layer_settings()
        training = dataclasses.replace(settings.training, epochs=1, schedule="constant", initial_momentum=None)
        run = layer_run(
            self._rbm,
            rows,
            dataclasses.replace(settings, training=training),
            streams=RandomStreams(self.seed_),
            layer_index=0,
            sample_weight=sample_weight,
        )
        state = getattr(self, "_piece_state", None)
        if state is not None:
            run.carry_on(state)
        return run

    def _sizes(self) -> Sequence[int]:
        require_number("RBMTransformer", "n_components", self.n_components, at_least=1, integer=True)
        return (self.n_components,)

    def _layer_settings(self) -> RBMSettings:
        training = training_settings(self, TRAINING_PARAMETERS, initial_momentum=initial_momentum(self.momentum))
        return RBMSettings(**{name: getattr(self, name) for name in RBM_FIELDS}, training=training)
