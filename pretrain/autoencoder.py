"""One-layer autoencoders, tied or not: denoising, sparse, contractive.

References
----------
.. [1] Glorot, X. & Bengio, Y. (2010). Understanding the difficulty of training deep feedforward neural
       networks. AISTATS.
"""

import warnings
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from pretrain._validation import require_choice, require_number
from pretrain.activations import activation_function
from pretrain.autoencoder_settings import AutoencoderSettings
from pretrain.contraction import Contraction
from pretrain.corruption import Corruption
from pretrain.denoising import DenoisingLearner
from pretrain.exceptions import DataRangeWarning
from pretrain.random_streams import RandomStreams
from pretrain.scaling import in_unit_interval
from pretrain.sparsity import SparseCode

UNIT_INTERVAL_ACTIVATIONS = ("sigmoid",)
OUTPUT_ACTIVATIONS = {"cross_entropy": "sigmoid", "squared_error": "identity"}

LARGEST_SCALED = 50.0  # beyond what standardised columns have, heavy tails included


class Autoencoder(nn.Module):
    """A one-layer autoencoder: encode(x) = f(W x + c), decode(h) = g(V h + b), V = W^T where tied.

    Parameters
    ----------
    n_visible, n_hidden : int
    activation : str
        f, a name in `pretrain.activations.ACTIVATIONS`.
    reconstruction_loss : {"cross_entropy", "squared_error"}
        Decides g: sigmoid for cross-entropy, the identity for squared error.
    tied : bool
    generator : torch.Generator or None
        Draws the initial weights (Xavier uniform [1]_, biases zero); None leaves them zero.

    Attributes
    ----------
    weight : Parameter of shape (n_hidden, n_visible)
    visible_bias : Parameter of shape (n_visible,)
    hidden_bias : Parameter of shape (n_hidden,)
    untied_weight : Parameter of shape (n_visible, n_hidden) or None
    """

    kind: ClassVar[str] = "autoencoder"

    def __init__(
        self,
        n_visible: int,
        n_hidden: int,
        *,
        activation: str = "sigmoid",
        reconstruction_loss: str = "cross_entropy",
        tied: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        require_number("Autoencoder", "n_visible", n_visible, at_least=1, integer=True)
        require_number("Autoencoder", "n_hidden", n_hidden, at_least=1, integer=True)
        require_choice("Autoencoder", "reconstruction_loss", reconstruction_loss, OUTPUT_ACTIVATIONS)
        self._activate = activation_function(activation)
        self.n_visible, self.n_hidden = int(n_visible), int(n_hidden)
        self.activation, self.reconstruction_loss, self.tied = activation, reconstruction_loss, tied
        self.weight = nn.Parameter(torch.zeros(n_hidden, n_visible))
        self.visible_bias = nn.Parameter(torch.zeros(n_visible))
        self.hidden_bias = nn.Parameter(torch.zeros(n_hidden))
        self.untied_weight = None if tied else nn.Parameter(torch.zeros(n_visible, n_hidden))
        if generator is not None:
            nn.init.xavier_uniform_(self.weight, generator=generator)
            if self.untied_weight is not None:
                nn.init.xavier_uniform_(self.untied_weight, generator=generator)

    @classmethod
    def from_settings(
        cls,
        n_visible: int,
        n_hidden: int,
        settings: AutoencoderSettings,
        *,
        below: str | None = None,
        data_range: tuple[float, float] | tuple[np.ndarray, np.ndarray] = (0.0, 1.0),
        data_mean: torch.Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> "Autoencoder":
        """An untrained autoencoder.

        Parameters
        ----------
        below : str or None
            Activation of the layer below; None for the layer on the data.
        data_range : (float or ndarray, float or ndarray)
            Smallest and largest value of the data, or of each column; whether they lie in [0, 1] decides
            `reconstruction_loss="auto"` for the layer on the data.
        data_mean : Tensor of shape (n_visible,) or None
            Not used: the biases begin at zero.
        """
        loss = settings.reconstruction_loss
        bounded = (
            in_unit_interval(np.concatenate([np.ravel(bound) for bound in data_range]))
            if below is None
            else below in UNIT_INTERVAL_ACTIVATIONS
        )
        if loss == "cross_entropy" and not bounded:
            warnings.warn(
                "The cross-entropy models inputs in [0, 1], but those of this autoencoder go beyond, where it has "
                "no minimum. Scale the data (minmax), or take the squared error or 'auto'.",
                DataRangeWarning,
                stacklevel=2,
            )
        largest = max(float(np.abs(bound).max()) for bound in data_range) if below is None else 0.0
        if largest > LARGEST_SCALED:
            warnings.warn(
                f"The inputs of this autoencoder go up to {largest:.4g} in size, where its units hardly learn. Scale "
                "the data (standard or minmax).",
                DataRangeWarning,
                stacklevel=2,
            )
        if loss == "auto":
            loss = "cross_entropy" if bounded else "squared_error"
        return cls(
            n_visible,
            n_hidden,
            activation=settings.activation,
            reconstruction_loss=loss,
            tied=settings.tied,
            generator=generator,
        )

    @property
    def output_activation(self) -> str:
        """Activation g of the reconstruction."""
        return OUTPUT_ACTIVATIONS[self.reconstruction_loss]

    @property
    def encoder_weight(self) -> torch.Tensor:
        """(n_hidden, n_visible): W."""
        return self.weight

    @property
    def encoder_bias(self) -> torch.Tensor:
        """(n_hidden,): c."""
        return self.hidden_bias

    @property
    def decoder_bias(self) -> torch.Tensor:
        """(n_visible,): b."""
        return self.visible_bias

    @property
    def decoder_weight(self) -> torch.Tensor:
        """(n_visible, n_hidden): V, the encoder's weights transposed where tied."""
        return self.weight.T if self.untied_weight is None else self.untied_weight

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """f(W x + c): (batch, n_visible) -> (batch, n_hidden)."""
        return self.activate(self.hidden_input(x))

    def hidden_input(self, x: torch.Tensor) -> torch.Tensor:
        """W x + c, the total input of the hidden units: (batch, n_visible) -> (batch, n_hidden)."""
        return functional.linear(x, self.weight, self.hidden_bias)

    def activate(self, total_input: torch.Tensor) -> torch.Tensor:
        """f of the total input of the hidden units: (batch, n_hidden) -> (batch, n_hidden)."""
        return self._activate(total_input)

    def decode(self, h: torch.Tensor) -> torch.Tensor:
        """g(V h + b): (batch, n_hidden) -> (batch, n_visible)."""
        # Contiguous as in an unrolled decoder: the layout of the weights decides the last bits of a product.
        output = functional.linear(h, self.decoder_weight.contiguous(), self.visible_bias)
        return activation_function(self.output_activation)(output)

    def output_input(self, h: torch.Tensor) -> torch.Tensor:
        """V h + b, the total input of the outputs: (batch, n_hidden) -> (batch, n_visible)."""
        return functional.linear(h, self.decoder_weight, self.visible_bias)

    def loss(
        self,
        output_input: torch.Tensor,
        target: torch.Tensor,
        weight: torch.Tensor | None = None,
        cell_weight: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The layer's own `reconstruction_loss`, (batch, n_visible) -> 0-d."""
        return reconstruction_loss(output_input, target, self.reconstruction_loss, weight, cell_weight)

    def learning_rule(
        self, settings: AutoencoderSettings, *, streams: RandomStreams, layer: int, dtype: torch.dtype
    ) -> DenoisingLearner:
        """The learner that trains this layer: backpropagation of the reconstruction loss and of the penalties."""
        device = self.weight.device
        noise = streams.generator("corruption", layer=layer, device=device)
        sparsity = contraction = None
        if settings.sparsity_target is not None:
            sparsity = SparseCode(settings, self.activation)
        if settings.contraction > 0 or settings.contraction_higher_order > 0:
            generator = streams.generator("contraction", layer=layer, device=device)
            contraction = Contraction(settings, self.activation, generator=generator)
        return DenoisingLearner(
            self,
            Corruption(settings.corruption, settings.corruption_level, generator=noise),
            dtype=dtype,
            emphasis=settings.emphasis,
            sparsity=sparsity,
            contraction=contraction,
        )


def reconstruction_loss(
    output_input: torch.Tensor,
    target: torch.Tensor,
    kind: str,
    weight: torch.Tensor | None = None,
    cell_weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """Loss of a reconstruction, summed over features and averaged over rows.

    Parameters
    ----------
    output_input : Tensor of shape (batch, n_features)
        Total input of the outputs, before their activation.
    target : Tensor of shape (batch, n_features)
    kind : {"cross_entropy", "squared_error"}
        In nats, with sigmoid outputs; or squared error, with linear outputs.
    weight : Tensor of shape (batch,) or None
        What each row counts; None: 1.
    cell_weight : Tensor of shape (batch, n_features) or None
        What each cell counts; None: 1.
    """
    output_input = output_input.float()
    of_entries = functional.binary_cross_entropy_with_logits if kind == "cross_entropy" else functional.mse_loss
    if weight is None and cell_weight is None:
        return of_entries(output_input, target, reduction="sum") / len(target)
    entries = of_entries(output_input, target, reduction="none")
    of_rows = (entries if cell_weight is None else entries * cell_weight).sum(dim=1)
    return (of_rows.sum() if weight is None else of_rows @ weight) / len(target)
