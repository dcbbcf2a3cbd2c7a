"""What estimators share: one model with its records, to be saved and built again, and codes of rows."""

import copy
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags, check_array, estimator_html_repr
from sklearn.utils.validation import check_is_fitted
from torch import nn

from pretrain.estimators.inputs import check_rows, choose_scaling, seed_from
from pretrain.estimators.layer_table import LayerRow, fitted_rows, layers_html, planned_rows
from pretrain.estimators.pretraining_cache import Pretraining, pretrained
from pretrain.estimators.progress_line import show_record
from pretrain.stack import Stack
from pretrain.training import Record

# What a stage of training leaves layers as.
STATES = {
    "pretrain": "pretrained",
    "head": "trained alone",
    "finetune": "fine-tuned",
    "train": "trained from scratch",
    "up_down": "fine-tuned by up-down",
}
FITTED_ATTRIBUTES = ("n_features_in_", "feature_names_in_", "n_iter_", "seed_", "mean_", "n_samples_seen_")


class ModelEstimator(BaseEstimator):
    """An estimator around one fitted model, a Stack, a Network or a DBN.

    Attributes
    ----------
    report_ : list of dict
        The records of every epoch, pretraining included.
    n_features_in_ : int
    feature_names_in_ : ndarray of str, where the input had column names
    """

    model_name = "network_"  # of the attribute that holds the model
    report_: list[Record]

    @property
    def _model(self) -> Any:
        check_is_fitted(self)
        return getattr(self, self.model_name)

    def fitted_state(self) -> dict[str, Any]:
        """What a file must hold besides the parameters: the model, plain attributes, the records."""
        attributes = {name: getattr(self, name) for name in FITTED_ATTRIBUTES if hasattr(self, name)}
        return {"model": self._model, "attributes": attributes, "history": list(self.report_)}

    @classmethod
    def from_fitted_state(cls, params: dict[str, Any], state: dict[str, Any]) -> Self:
        """The fitted estimator that `get_params` and `fitted_state` describe."""
        estimator = cls(**params)
        estimator.report_ = list(state["history"])
        for name, value in {cls.model_name: state["model"], **state["attributes"]}.items():
            setattr(estimator, name, value)
        return estimator

    def _note(self, record: Record) -> None:
        """Keep a record, and print it if asked to."""
        self.report_.append(record)
        if self.verbose:
            show_record(type(self).__name__, record)

    def _layer_rows(self) -> list[LayerRow]:
        """The layers for a notebook: how many units and parameters, pretrained or not."""
        if not self.__sklearn_is_fitted__():
            return planned_rows(getattr(self, "hidden_layer_sizes", getattr(self, "n_components", ())))
        told: dict[str, None] = dict.fromkeys(str(record["stage"]) for record in self.report_)
        hidden, output = (
            ", ".join(STATES[stage] for stage in told if stage in STATES and stage != other) or "not trained"
            for other in ("head", "pretrain")
        )
        return fitted_rows(self._model, hidden=hidden, output=output)

    def _repr_html_inner(self) -> str:
        return estimator_html_repr(self) + layers_html(self._layer_rows())

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle = super()._repr_mimebundle_(**kwargs)
        return {**bundle, "text/html": self._repr_html_inner()} if "text/html" in bundle else bundle

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: models of a GPU as copies on the CPU, so that they load where there is none."""
        state = dict(super().__getstate__())
        for name, value in state.items():
            if isinstance(value, nn.Module) and next(value.parameters()).device.type != "cpu":
                state[name] = copy.deepcopy(value).cpu()
        if getattr(self, self.model_name, None) is not state.get(self.model_name):
            state.pop("_piece_state", None)  # of generators on the GPU: `partial_fit` begins with a new optimiser
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if self.__sklearn_is_fitted__() and self.device != "cpu" and torch.cuda.is_available():
            self._model.to("cuda")

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, self.model_name)


class CodeTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ModelEstimator):
    """Base of the transformers: greedy pretraining, codes of rows and rows of codes."""

    def transform(self, X: Any) -> np.ndarray:
        """Codes of rows: (n_samples, n_features) -> (n_samples, n_code), those of the top layer of a stack."""
        return self._model.transform(self._complete(self._check_rows(X)))

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Rows from codes: (n_samples, n_code) -> (n_samples, n_features), in the units of the data."""
        codes = check_array(X, dtype=(np.float64, np.float32), ensure_2d=False, allow_nd=True, input_name="X")
        return self._model.inverse_transform(codes)

    def _pretrain(
        self, X: Any, sizes: Sequence[int], settings: Any, y: np.ndarray | None = None, sample_weight: Any = None
    ) -> tuple[Stack, Any]:
        """The stack of a greedy run over rows, and the rows as they were scaled for it."""
        scaling = choose_scaling(self, X)
        self.seed_ = seed_from(self.random_state)
        rows = scaling.apply(X)
        self.report_ = []
        pretraining = Pretraining(rows, sizes, settings, self.seed_, scaling, self.device, y, sample_weight)
        stack, self.report_ = pretrained(
            pretraining, memory=getattr(self, "memory", None), note=self._note, rehearse=self._rehearse
        )
        return stack, rows

    def _rehearse(self, untrained: Stack) -> None:
        """What a subclass checks of the stack as it will be."""

    def _check_rows(self, X: Any, *, reset: bool = False) -> Any:
        return check_rows(self, X, reset=reset, accept_sparse=True)

    def _complete(self, X: Any) -> Any:
        return X

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.sparse = True
        return tags

    @property
    def _n_features_out(self) -> int:
        return self._model.n_hidden
