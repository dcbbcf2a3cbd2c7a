"""Greedy layer-wise pretraining of a stack.

References
----------
.. [1] Hinton, G. E., Osindero, S. & Teh, Y.-W. (2006). A fast learning algorithm for deep belief nets. Neural
       Computation 18, 1527-1554.
.. [2] Bengio, Y., Lamblin, P., Popovici, D. & Larochelle, H. (2007). Greedy layer-wise training of deep
       networks. NIPS 19.
"""

import functools
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from scipy import sparse

from pretrain._validation import one_per_layer, require_number, require_sequence
from pretrain.batches import as_dense_tensor, mean_one_weight
from pretrain.columns import column_mean, column_range, require_rows, row_chunks
from pretrain.device import resolve_device
from pretrain.exceptions import DataError, DataRangeWarning, SettingsError
from pretrain.layer_run import layer_run
from pretrain.missing_values import impute
from pretrain.monitoring import MONITORED_ROWS, LayerMonitor
from pretrain.random_streams import RandomStreams
from pretrain.scaling import Scaling
from pretrain.settings import LayerSettings, RBMSettings, SupervisedSettings
from pretrain.stack import LAYER_KINDS, Stack, encode_rows
from pretrain.supervised_pretraining import labelled_targets, supervised_learner
from pretrain.training import Record, TrainingRun
from pretrain.transposed_weights import begin_transposed
from pretrain.unit_types import make_units

MOST_UNITS = 10**7  # of a layer: more are a mistyped number


class GreedyPretraining:
    """Trains a stack from the data upwards, one layer at a time [1]_, [2]_: an iterator of records.

    Layer k is trained on exactly what layers below k encode the data to, hidden probabilities and not samples;
    layers below are not touched again. Labels are for supervised layers alone, which are trained on the rows that
    have one.

        run = GreedyPretraining(X, (500, 500, 2000), RBMSettings(), seed=0)
        for record in run:
            print(record["layer"], record["epoch"], record["loss"])
        run.stack

    Parameters
    ----------
    X : ndarray, Tensor or scipy sparse matrix of shape (n_samples, n_features)
        Scaled training rows.
    hidden_layer_sizes : sequence of int
        Units of each layer, from the data upwards.
    settings : RBMSettings, AutoencoderSettings, SupervisedSettings or a list of them
        One for all layers, or exactly one a layer.
    seed : int
    y : array or None
        What supervised layers learn to predict; others do not look at it. Class indices (n_samples,), with -1 for a
        row without a label, which is left out of the training of supervised layers; or scaled targets
        (n_samples, n_targets).
    sample_weight : array of shape (n_samples,) or None
        What each row counts in the gradients.
    strata : Tensor of shape (n_samples,) or None
        See `BatchSource`.
    validation_rows : like X, or None
        Scaled rows that are not trained on; with them every record has the figures of `LayerMonitor`.
    monitor : bool
        Whether records have the figures of `LayerMonitor` without validation rows too.
    device : {"auto", "cpu", "cuda"} or torch.device
    scaling : Scaling or None
        Kept with the stack; `X` is taken as scaled already.
    progress_seconds : float or None
        See `TrainingRun`.

    Raises
    ------
    DataError
        If X has no rows, holds infinite values, or NaN where the first layer's settings do not say
        `missing="gibbs"`, or rows that the visible units cannot stand for (a category with no column on), or if a
        supervised layer has no labels.
    """

    def __init__(
        self,
        X: Any,
        hidden_layer_sizes: Sequence[int],
        settings: LayerSettings | Sequence[LayerSettings],
        *,
        seed: int,
        y: Any = None,
        sample_weight: Any = None,
        strata: torch.Tensor | None = None,
        validation_rows: Any = None,
        monitor: bool = False,
        device: str | torch.device = "auto",
        scaling: Scaling | None = None,
        progress_seconds: float | None = None,
    ) -> None:
        self.sizes = require_layer_sizes("the stack", hidden_layer_sizes)
        self.settings: list[LayerSettings] = one_per_layer("the stack", "settings", settings, len(self.sizes))
        self.streams = RandomStreams(seed)
        self.device = resolve_device(device)
        self.scaling, self.progress_seconds = scaling, progress_seconds
        self.sample_weight, self.strata = sample_weight, strata
        self.monitor = monitor or validation_rows is not None
        self.layers: list[Any] = []
        self.run: TrainingRun | None = None
        self._range = column_range(X, missing=self._missing)
        supervised = any(isinstance(one, SupervisedSettings) for one in self.settings)
        self._labelled = labelled_targets(y, X.shape[0]) if supervised else None
        self._inputs = self._placed(X)
        self._validation = None if validation_rows is None else self._placed(validation_rows)
        self.rehearse()

    @property
    def stack(self) -> Stack:
        """The layers so far, the one in training included."""
        return Stack(self.layers, self.scaling)

    @property
    def finished(self) -> bool:
        """Whether every layer has been trained."""
        return len(self.layers) == len(self.sizes) and self.run is not None and self.run.finished

    def __iter__(self) -> Iterator[Record]:
        return self

    def __next__(self) -> Record:
        while not self.finished:
            if self.run is None or self.run.finished:
                self._begin_layer()
            assert self.run is not None
            for record in self.run:
                return {**record, "n_layers": len(self.sizes)}
        self._inputs = self._validation = None
        raise StopIteration

    def rehearse(self) -> Stack:
        """The stack as it will be, its weights zero, after one run of each layer was made and none begun.

        What cannot be trained, in a layer or in the network that is unrolled from them, is so refused before the
        layers below it have taken their minutes.
        """
        layers: list[Any] = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataRangeWarning)  # training says it
            for k, settings in enumerate(self.settings):
                layer = self._make_layer(k, layers[-1] if layers else None)
                y = self._labelled[1] if isinstance(settings, SupervisedSettings) and self._labelled else None
                rows = torch.zeros(1, layer.n_visible).expand(1 if y is None else len(y), -1)
                self._layer_run(layer, rows, k, y=y, validation=dict if self.monitor else None)
                layers.append(layer)
        return Stack(layers, self.scaling)

    def state_dict(self) -> dict[str, Any]:
        """Everything that continues the training exactly: the layers below, and the run of the last one begun."""
        below = [layer.state_dict() for layer in self.layers[:-1]]
        return {"below": below, "run": None if self.run is None else self.run.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken, from the same rows and settings; before the first record.

        What a layer is trained on is not in the state: the rows are encoded anew by the layers below.
        """
        if state["run"] is None:
            return
        for weights in state["below"]:
            self._begin_layer()
            self.layers[-1].load_state_dict(weights)
        self._begin_layer()
        assert self.run is not None
        self.run.load_state_dict(state["run"])

    @property
    def _missing(self) -> bool:
        return getattr(self.settings[0], "missing", "error") == "gibbs"

    def _placed(self, X: Any) -> Any:
        return X if self.device.type == "cpu" else as_dense_tensor(X).to(self.device)

    def _begin_layer(self) -> None:
        k = len(self.layers)
        below = self.layers[-1] if self.layers else None
        if below is not None:
            self._inputs = self._encoded(below, self._inputs)
            self._validation = None if self._validation is None else self._encoded(below, self._validation)
        settings = self.settings[k]
        if below is None and isinstance(settings, RBMSettings):
            require_rows(make_units(settings.visible_units, self._inputs.shape[1]), self._inputs)
        layer = self._make_layer(
            k, below, data_mean=self._data_mean(settings), generator=self.streams.generator("init", layer=k)
        )
        self.layers.append(layer.to(self.device))
        rows, y, weight, strata = self._inputs, None, self.sample_weight, self.strata
        if isinstance(settings, SupervisedSettings):
            rows, y, weight = self._labelled_rows()
            strata = None  # of all rows
        monitor = self._layer_monitor(k) if self.monitor else None
        self.run = self._layer_run(layer, rows, k, y=y, sample_weight=weight, strata=strata, validation=monitor)

    def _layer_run(self, layer: Any, X: Any, k: int, *, y: torch.Tensor | None, **options: Any) -> TrainingRun:
        learner = None
        if y is not None:
            learner = functools.partial(supervised_learner, layer, y, streams=self.streams, layer_index=k)
        return layer_run(
            layer,
            X,
            self.settings[k],
            streams=self.streams,
            layer_index=k,
            learner=learner,
            y=y,
            progress_seconds=self.progress_seconds,
            **options,
        )

    def _labelled_rows(self) -> tuple[Any, torch.Tensor, Any]:
        assert self._labelled is not None
        labelled, y = self._labelled
        X, weight = self._inputs, self.sample_weight
        if len(labelled) == X.shape[0]:
            return X, y, weight
        if weight is not None:
            weight = mean_one_weight(weight, X.shape[0])[labelled]
        return (X.tocsr() if sparse.issparse(X) else X)[labelled], y, weight

    def _make_layer(self, k: int, below: Any, **start: Any) -> Any:
        layer = self._layer_class(k).from_settings(
            len(self._range[0]) if below is None else below.n_hidden,
            self.sizes[k],
            self.settings[k],
            below=None if below is None else below.activation,
            data_range=self._range,
            **start,
        )
        if getattr(self.settings[k], "initial_weights", "random") == "transposed":
            begin_transposed(layer, below, f"layer {k + 1}")
        return layer

    def _layer_class(self, k: int) -> Any:
        return LAYER_KINDS[self.settings[k].kind]

    def _encoded(self, below: Any, X: Any) -> torch.Tensor:
        if self._missing and len(self.layers) == 1:
            generator = self.streams.generator("missing", device=self.device)
            chunks = [impute(below, rows.to(self.device), generator=generator) for rows in row_chunks(X)]
            X = torch.cat(chunks)
        return encode_rows(below, X)

    def _data_mean(self, settings: LayerSettings) -> torch.Tensor | None:
        if getattr(settings, "initial_visible_bias", "zero") == "zero":
            return None
        return torch.from_numpy(column_mean(self._inputs)).float()

    def _layer_monitor(self, k: int) -> LayerMonitor:
        rows, validation = self._known(self._inputs), self._validation
        seed = self.streams.integer_seed("monitoring", layer=k)
        return LayerMonitor(self.layers[k], rows, None if validation is None else self._known(validation), seed)

    def _known(self, X: Any) -> torch.Tensor:
        """The first rows without missing values, at most as many as are monitored."""
        rows = as_dense_tensor((X.tocsr() if sparse.issparse(X) else X)[:MONITORED_ROWS])
        complete = ~torch.isnan(rows).any(dim=1)
        if not bool(complete.any()):
            raise DataError(
                f"Monitoring needs rows without missing values, and the first {len(rows)} have none. Turn monitor "
                "off, or give validation_rows that are complete."
            )
        return rows[complete].to(self.device)


def require_layer_sizes(owner: str, hidden_layer_sizes: Sequence[int]) -> list[int]:
    """The sizes as integers; SettingsError unless they are a list of at least one, each from 1 to 10^7."""
    require_sequence(owner, "hidden_layer_sizes", hidden_layer_sizes)
    for size in hidden_layer_sizes:
        require_number(owner, "hidden_layer_sizes", size, at_least=1, at_most=MOST_UNITS, integer=True)
    if len(hidden_layer_sizes) == 0:
        raise SettingsError(f"hidden_layer_sizes of {owner} must name at least one layer; got none.")
    return [int(size) for size in hidden_layer_sizes]
