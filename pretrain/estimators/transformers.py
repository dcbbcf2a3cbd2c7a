"""Unsupervised feature extractors: one RBM, or a stack of layers."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from pretrain._validation import require_choice
from pretrain.estimators.inputs import (
    check_rows,
    choose_scaling,
    like_input,
    require_verbose,
    seed_from,
    training_settings,
)
from pretrain.greedy import GreedyPretraining
from pretrain.settings import LAYER_SETTINGS, LayerSettings
from pretrain.training import Record

# Fields of TrainingSettings and the parameters that fill them.
LAYER_PARAMETERS = {"epochs": "n_iter", "batch_size": "batch_size", "precision": "precision"}
FITTED_ATTRIBUTES = ("n_features_in_", "feature_names_in_", "n_iter_", "seed_", "mean_", "n_samples_seen_")


class StackEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Base of the transformers: greedy pretraining, encoding and decoding.

    Attributes
    ----------
    stack_ : Stack
    report_ : list of dict
        One record an epoch and layer.
    n_iter_ : int
        Epochs a layer.
    n_features_in_ : int
    feature_names_in_ : ndarray of str, where the input had column names
    """

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Pretrain on the rows of X, (n_samples, n_features), dense or sparse; y is ignored.

        `sample_weight`, (n_samples,), is what each row counts.
        """
        require_verbose(self)
        settings = self._layer_settings()
        X = self._check_rows(X, reset=True)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        scaling = choose_scaling(self, X)
        self.seed_ = seed_from(self.random_state)
        rows = scaling.apply(X)
        run = GreedyPretraining(
            rows,
            self._sizes(),
            settings,
            seed=self.seed_,
            sample_weight=sample_weight,
            device=self.device,
            scaling=scaling,
        )
        self.report_: list[Record] = []
        for record in run:
            self.report_.append(record)
            if self.verbose:
                print(f"[{type(self).__name__}] {_line(record)}")  # noqa: T201 - asked for by verbose=True
        self.stack_ = run.stack
        self.n_iter_ = self.report_[-1]["n_epochs"] if self.report_ else 0
        self._after_fit(rows)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Hidden means of the top layer: (n_samples, n_features) -> (n_samples, n_hidden)."""
        check_is_fitted(self)
        X = self._check_rows(X)
        return like_input(self.stack_.transform(self._complete(X)), X)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Means of the data given codes: (n_samples, n_hidden) -> (n_samples, n_features), in data units."""
        check_is_fitted(self)
        return self.stack_.inverse_transform(np.asarray(X))

    def fitted_state(self) -> dict[str, Any]:
        """What a file must hold besides the parameters: the model, plain attributes, the records."""
        check_is_fitted(self)
        attributes = {name: getattr(self, name) for name in FITTED_ATTRIBUTES if hasattr(self, name)}
        return {"model": self.stack_, "attributes": attributes, "history": list(self.report_)}

    @classmethod
    def from_fitted_state(cls, params: dict[str, Any], state: dict[str, Any]) -> Self:
        """The fitted estimator that `get_params` and `fitted_state` describe."""
        estimator = cls(**params)
        estimator.stack_, estimator.report_ = state["model"], list(state["history"])
        for name, value in state["attributes"].items():
            setattr(estimator, name, value)
        estimator._after_load()
        return estimator

    def _after_load(self) -> None:
        """What a subclass holds besides what a file does."""

    def _after_fit(self, rows: Any) -> None:
        """What a subclass keeps of the scaled training rows."""

    def _check_rows(self, X: Any, *, reset: bool = False) -> Any:
        return check_rows(self, X, reset=reset, accept_sparse=True)

    def _complete(self, X: Any) -> Any:
        return X

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "stack_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.sparse = True
        return tags

    @property
    def _n_features_out(self) -> int:
        return self.stack_.n_hidden

    def _sizes(self) -> Sequence[int]:
        raise NotImplementedError

    def _layer_settings(self) -> LayerSettings:
        raise NotImplementedError


class StackTransformer(StackEstimator):
    """Layers pretrained greedily, each on the code of the one below.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default=(256, 256)
    kind : {"rbm", "autoencoder"}, default="rbm"
        RBMs by contrastive divergence, or tied denoising autoencoders with masking noise.
    learning_rate : float or None, default=None
        None is the default of the kind: 0.1 with momentum for RBMs, 1e-3 with Adam for autoencoders.
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
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.scaling = scaling
        self.device = device
        self.precision = precision
        self.verbose = verbose
        self.random_state = random_state

    def _sizes(self) -> Sequence[int]:
        return self.hidden_layer_sizes

    def _layer_settings(self) -> LayerSettings:
        require_choice("StackTransformer", "kind", self.kind, LAYER_SETTINGS)
        settings = LAYER_SETTINGS[self.kind]()
        given = {} if self.learning_rate is None else {"learning_rate": "learning_rate"}
        training = training_settings(self, {**LAYER_PARAMETERS, **given}, settings.training)
        return dataclasses.replace(settings, training=training)


def _line(record: Record) -> str:
    epoch = f"epoch {record['epoch']}/{record['n_epochs']}"
    return f"layer {record['layer']} {epoch}: loss {record['loss']:.4g}, {record['seconds']:.2f} s"
