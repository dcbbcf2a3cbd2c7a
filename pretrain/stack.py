"""The Layer protocol and the Stack of layers."""

import copy
import itertools
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from scipy import sparse
from torch import nn

from pretrain.autoencoder import Autoencoder
from pretrain.batches import as_dense_tensor
from pretrain.exceptions import DataError, SettingsError
from pretrain.rbm import RBM
from pretrain.scaling import Scaling, inference_dtype
from pretrain.supervised_layer import SupervisedLayer

# Rows encoded at a time: bounds the memory (64 MB of dense float32 input), costs nothing in speed.
MOST_ENCODE_ROWS, FEWEST_ENCODE_ROWS, ENCODE_ENTRIES = 4096, 256, 2**24


@runtime_checkable
class Layer(Protocol):
    """What a stack is made of. A kind of layer is a class with these and one row in `LAYER_KINDS`.

    `encode` is `activation`, a name in `pretrain.activations`, of x encoder_weight^T + encoder_bias: what unrolling
    copies. The classmethod `from_settings` makes an untrained layer.
    """

    kind: str
    n_visible: int
    n_hidden: int
    weight: nn.Parameter
    hidden_bias: nn.Parameter

    @property
    def activation(self) -> str:
        """Of the hidden units."""

    @property
    def encoder_weight(self) -> torch.Tensor:
        """(n_hidden, n_visible)."""

    @property
    def encoder_bias(self) -> torch.Tensor:
        """(n_hidden,)."""

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, n_visible) -> (batch, n_hidden)."""


@runtime_checkable
class DecodingLayer(Layer, Protocol):
    """A layer that is trained without labels: `learning_rule` makes the learner that trains it.

    `decode` is `output_activation` of h decoder_weight^T + decoder_bias.
    """

    visible_bias: nn.Parameter

    @property
    def output_activation(self) -> str:
        """Of the reconstruction."""

    @property
    def decoder_weight(self) -> torch.Tensor:
        """(n_visible, n_hidden)."""

    @property
    def decoder_bias(self) -> torch.Tensor:
        """(n_visible,)."""

    def decode(self, h: torch.Tensor) -> torch.Tensor:
        """(batch, n_hidden) -> (batch, n_visible)."""


LAYER_KINDS: dict[str, Any] = {cls.kind: cls for cls in (RBM, Autoencoder, SupervisedLayer)}


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
                    f"Layer {k + 2} of a Stack must have as many visible units as layer {k + 1} has hidden units "
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
        self.require_decoders()
        for layer in reversed(self.layers):
            h = layer.decode(h)
        return h

    def require_decoders(self) -> None:
        """Raise SettingsError unless every layer decodes; those of kind "supervised" do not."""
        for k, layer in enumerate(self.layers):
            if not isinstance(layer, DecodingLayer):
                raise SettingsError(
                    f"Layer {k + 1} of the stack is of kind {layer.kind!r}, which encodes and does not decode: "
                    "nothing can be reconstructed. Unroll the stack into a classifier or a regressor, or pretrain "
                    "another of RBMs or autoencoders."
                )

    def transform(self, X: Any) -> np.ndarray:
        """Codes of raw rows: scale, then encode. (n_samples, n_visible) -> (n_samples, n_hidden).

        Rows are an array, a tensor or a scipy sparse matrix. float64 rows are encoded in float64, all others in
        float32. Other shapes than that raise DataError.
        """
        return encode_rows(self, self.scaled(X)).numpy(force=True)

    def inverse_transform(self, H: np.ndarray) -> np.ndarray:
        """Raw rows from top codes: decode, then undo the scaling. (n_samples, n_hidden) -> (n_samples, n_visible)."""
        return self.scaling.undo(decode_rows(self, H).numpy(force=True))

    def scaled(self, X: Any) -> Any:
        """Raw rows as the first layer takes them, checked: (n_samples, n_visible), float64 where they were so."""
        if len(X.shape) != 2 or X.shape[1] != self.n_visible:
            raise DataError(f"The stack takes rows of {self.n_visible} features; got shape {tuple(X.shape)}.")
        X = X.numpy(force=True) if isinstance(X, torch.Tensor) else X
        values = X.tocsr().data if sparse.issparse(X) else X
        if np.issubdtype(values.dtype, np.floating) and np.isnan(values).any():
            raise DataError(
                "The rows hold NaN. Fill them first, for a stack on an RBM with pretrain.missing_values.impute."
            )
        return self.scaling.apply(X, inference_dtype(X))


def encode_rows(encoder: Any, X: Any) -> torch.Tensor:
    """`encoder.encode` for all rows, (n_samples, n_visible) -> (n_samples, n_hidden); see `map_rows`."""
    return map_rows(encoder, type(encoder).encode, X, encoder.n_hidden)


def decode_rows(decoder: Any, H: Any) -> torch.Tensor:
    """`decoder.decode` for all codes, (n_samples, n_hidden) -> (n_samples, n_visible); see `map_rows`."""
    if len(H.shape) != 2 or H.shape[1] != decoder.n_hidden:
        raise DataError(f"inverse_transform takes codes of {decoder.n_hidden} units; got {tuple(H.shape)}.")
    return map_rows(decoder, type(decoder).decode, H, decoder.n_visible)


@torch.no_grad()
def map_rows(module: nn.Module, function: Callable[..., torch.Tensor], X: Any, n_outputs: int) -> torch.Tensor:
    """Apply `function(module, rows)` to all rows, some thousands at a time, on the module's device.

    float64 rows are computed with the weights in float64, so that results do not depend on which rows stand
    beside each other by more than float64's rounding; all other rows are computed in float32.
    """
    if sparse.issparse(X):
        X = X.tocsr()  # coordinates cannot be sliced; made dense some thousands of rows at a time
    dtype = torch.float64 if X.dtype in (np.float64, torch.float64) else torch.float32
    if dtype == torch.float64:
        module = copy.deepcopy(module).double()
    device = next(module.parameters()).device
    outputs = torch.empty(X.shape[0], n_outputs, device=device, dtype=dtype)
    n_rows = min(MOST_ENCODE_ROWS, max(FEWEST_ENCODE_ROWS, ENCODE_ENTRIES // X.shape[1]))
    for start in range(0, X.shape[0], n_rows):
        # Contiguous: the layout of the rows decides the last bits of a product.
        rows = as_dense_tensor(X[start : start + n_rows], dtype).to(device).contiguous()
        outputs[start : start + n_rows] = function(module, rows)
    return outputs
