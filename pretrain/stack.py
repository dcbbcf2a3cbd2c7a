"""The Layer protocol, the Stack of layers, and greedy layer-wise pretraining.

References
----------
.. [1] Hinton, G. E., Osindero, S. & Teh, Y.-W. (2006). A fast learning algorithm for deep belief nets. Neural
       Computation 18, 1527-1554.
.. [2] Bengio, Y., Lamblin, P., Popovici, D. & Larochelle, H. (2007). Greedy layer-wise training of deep
       networks. NIPS 19.
"""

import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from scipy import sparse
from torch import nn

from pretrain._validation import one_per_layer, require_number, require_sequence
from pretrain.autoencoder import Autoencoder
from pretrain.batches import BatchSource, as_dense_tensor
from pretrain.budget import PRETRAINING_EPOCHS, resolve_budget
from pretrain.device import resolve_device, resolve_precision
from pretrain.exceptions import DataError, SettingsError
from pretrain.random_streams import RandomStreams
from pretrain.rbm import RBM
from pretrain.scaling import Scaling, in_unit_interval, inference_dtype
from pretrain.settings import LayerSettings
from pretrain.training import Record, TrainingRun

ENCODE_ROWS = 4096  # rows encoded at a time: bounds the memory, costs nothing in speed


@runtime_checkable
class Layer(Protocol):
    """What a stack is made of. A kind of layer is a class with these and one row in `LAYER_KINDS`.

    `weight` is (n_hidden, n_visible), `decoder_weight` (n_visible, n_hidden); `activation` and
    `output_activation` are names in `pretrain.activations.ACTIVATIONS`. The classmethod `from_settings` makes an
    untrained layer and `learning_rule` the learner that trains it.
    """

    kind: str
    n_visible: int
    n_hidden: int
    weight: nn.Parameter
    hidden_bias: nn.Parameter
    visible_bias: nn.Parameter

    @property
    def activation(self) -> str:
        """Of the hidden units."""

    @property
    def output_activation(self) -> str:
        """Of the reconstruction."""

    @property
    def decoder_weight(self) -> torch.Tensor:
        """(n_visible, n_hidden)."""

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, n_visible) -> (batch, n_hidden)."""

    def decode(self, h: torch.Tensor) -> torch.Tensor:
        """(batch, n_hidden) -> (batch, n_visible)."""


LAYER_KINDS: dict[str, Any] = {cls.kind: cls for cls in (RBM, Autoencoder)}


class Stack(nn.Module):
    """Layers on top of each other: the code of one is the input of the next.

    Parameters
    ----------
    layers : sequence of Layer
        From the data upwards; neighbours must fit.
    scaling : Scaling or None
        What turns raw data into the values that the first layer was trained on; None for no scaling.

    Raises
    ------
    SettingsError
        If there is no layer, or two neighbours do not fit.
    """

    kind = "stack"

    def __init__(self, layers: Sequence[Any], scaling: Scaling | None = None) -> None:
        super().__init__()
        if not layers:
            raise SettingsError("A Stack needs at least one layer; got none.")
        for k, (below, above) in enumerate(itertools.pairwise(layers)):
            if below.n_hidden != above.n_visible:
                raise SettingsError(
                    f"Layer {k + 1} of a Stack must have as many visible units as layer {k} has hidden units "
                    f"({below.n_hidden}); got {above.n_visible}."
                )
        self.layers: Any = nn.ModuleList(layers)  # of Layer; torch types the items as bare modules
        self.scaling = scaling or Scaling.none()

    @property
    def n_visible(self) -> int:
        """Features of the data."""
        return self.layers[0].n_visible

    @property
    def n_hidden(self) -> int:
        """Units of the top layer."""
        return self.layers[-1].n_hidden

    @property
    def hidden_layer_sizes(self) -> tuple[int, ...]:
        """Hidden units of each layer, from the data upwards."""
        return tuple(layer.n_hidden for layer in self.layers)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Codes of the top layer for scaled rows: (batch, n_visible) -> (batch, n_hidden)."""
        for layer in self.layers:
            x = layer.encode(x)
        return x

    def decode(self, h: torch.Tensor) -> torch.Tensor:
        """Reconstruction of scaled rows from top codes: (batch, n_hidden) -> (batch, n_visible)."""
        for layer in reversed(self.layers):
            h = layer.decode(h)
        return h

    def transform(self, X: Any) -> np.ndarray:
        """Codes of raw rows: scale, then encode. (n_samples, n_visible) -> (n_samples, n_hidden).

        Rows are an array, a tensor or a scipy sparse matrix. float64 rows are encoded in float64, all others in
        float32. Other shapes than that raise DataError.
        """
        if len(X.shape) != 2 or X.shape[1] != self.n_visible:
            raise DataError(f"The stack takes rows of {self.n_visible} features; got shape {tuple(X.shape)}.")
        if not (sparse.issparse(X) and self.scaling.kind == "none"):  # else dense some thousands at a time
            X = _dense_rows(X)
            X = self.scaling.apply(X, inference_dtype(X))
        return encode_rows(self, X).numpy(force=True)

    def inverse_transform(self, H: np.ndarray) -> np.ndarray:
        """Raw rows from top codes: decode, then undo the scaling. (n_samples, n_hidden) -> (n_samples, n_visible)."""
        return self.scaling.undo(map_rows(self, type(self).decode, H, self.n_visible).numpy(force=True))


def _dense_rows(X: Any) -> np.ndarray:
    if isinstance(X, torch.Tensor):
        return X.numpy(force=True)
    return X.toarray() if sparse.issparse(X) else np.asarray(X)


def encode_rows(encoder: Any, X: Any) -> torch.Tensor:
    """`encoder.encode` for all rows, (n_samples, n_visible) -> (n_samples, n_hidden); see `map_rows`."""
    return map_rows(encoder, type(encoder).encode, X, encoder.n_hidden)


@torch.no_grad()
def map_rows(module: nn.Module, function: Callable[..., torch.Tensor], X: Any, n_outputs: int) -> torch.Tensor:
    """Apply `function(module, rows)` to all rows, some thousands at a time, on the module's device.

    float64 rows are computed with the weights in float64, so that results do not depend on which rows stand
    beside each other by more than float64's rounding; all other rows are computed in float32.
    """
    if sparse.issparse(X):
        X = X.tocsr()  # coordinates cannot be sliced
    dtype = torch.float64 if X.dtype in (np.float64, torch.float64) else torch.float32
    if dtype == torch.float64:
        module = copy.deepcopy(module).double()
    device = next(module.parameters()).device
    outputs = torch.empty(X.shape[0], n_outputs, device=device, dtype=dtype)
    for start in range(0, X.shape[0], ENCODE_ROWS):
        rows = as_dense_tensor(X[start : start + ENCODE_ROWS], dtype).to(device)
        outputs[start : start + ENCODE_ROWS] = function(module, rows)
    return outputs


class GreedyPretraining:
    """Trains a stack from the data upwards, one layer at a time [1]_, [2]_: an iterator of records.

    Layer k is trained on exactly what layers below k encode the data to, hidden probabilities and not samples;
    layers below are not touched again. Labels are not an argument.

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
    settings : RBMSettings, AutoencoderSettings or a list of them
        One for all layers, or exactly one a layer.
    seed : int
    device : {"auto", "cpu", "cuda"} or torch.device
    scaling : Scaling or None
        Kept with the stack; `X` is taken as scaled already.
    progress_seconds : float or None
        See `TrainingRun`.
    """

    def __init__(
        self,
        X: Any,
        hidden_layer_sizes: Sequence[int],
        settings: LayerSettings | Sequence[LayerSettings],
        *,
        seed: int,
        device: str | torch.device = "auto",
        scaling: Scaling | None = None,
        progress_seconds: float | None = None,
    ) -> None:
        require_sequence("the stack", "hidden_layer_sizes", hidden_layer_sizes)
        for size in hidden_layer_sizes:
            require_number("the stack", "hidden_layer_sizes", size, at_least=1, integer=True)
        self.sizes = [int(size) for size in hidden_layer_sizes]
        if not self.sizes:
            raise SettingsError("hidden_layer_sizes must name at least one layer; got none.")
        self.settings: list[LayerSettings] = one_per_layer("the stack", "settings", settings, len(self.sizes))
        self.streams = RandomStreams(seed)
        self.device = resolve_device(device)
        self.scaling, self.progress_seconds = scaling, progress_seconds
        self.layers: list[Any] = []
        self.run: TrainingRun | None = None
        self._unit_interval = _in_unit_interval(X)
        self._inputs = X if self.device.type == "cpu" else as_dense_tensor(X).to(self.device)

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
        self._inputs = None
        raise StopIteration

    def _begin_layer(self) -> None:
        k = len(self.layers)
        below = self.layers[-1] if self.layers else None
        if below is not None:
            self._inputs = encode_rows(below, self._inputs)
        settings = self.settings[k]
        layer = LAYER_KINDS[settings.kind].from_settings(
            self._inputs.shape[1],
            self.sizes[k],
            settings,
            below=None if below is None else below.activation,
            unit_interval=self._unit_interval,
            generator=self.streams.generator("init", layer=k),
        )
        self.layers.append(layer.to(self.device))
        self.run = self._layer_run(k)

    def _layer_run(self, k: int) -> TrainingRun:
        layer, settings = self.layers[k], self.settings[k]
        training = resolve_budget(settings.training, self._inputs.shape[0], fewest_epochs=PRETRAINING_EPOCHS)
        dtype = resolve_precision(training.precision, self.device, layer.weight.numel())
        batches = BatchSource(
            self._inputs,
            batch_size=int(training.batch_size),
            generator=self.streams.generator("batches", layer=k),
            device=self.device,
        )
        return TrainingRun(
            layer.learning_rule(settings, streams=self.streams, layer=k, dtype=dtype),
            batches,
            training,
            stage="pretrain",
            layer=k,
            progress_seconds=self.progress_seconds,
        )


def _in_unit_interval(X: Any) -> bool:
    if X.shape[0] == 0:
        raise DataError("X has no rows; pretraining needs at least one.")
    values = X.tocsr().data if sparse.issparse(X) else X
    if values.shape[0] and not np.isfinite(float(values.max()) - float(values.min())):
        raise DataError("X holds values that are NaN or infinite; fill or drop those rows before pretraining.")
    return in_unit_interval(values)
