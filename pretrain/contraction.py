"""The penalty of contractive autoencoders: a code that moves little where its input does.

The Jacobian of the code h = f(a), a = W x + c, with respect to its input is J(x) = diag(f'(a)) W, so that

    ||J(x)||_F^2 = sum_j f'(a_j)^2 sum_i W_ji^2,

for sigmoid units sum_j (h_j (1 - h_j))^2 sum_i W_ji^2 [1]_, and its change from x to x + e

    ||J(x) - J(x + e)||_F^2 = sum_j (f'(a_j) - f'(a_j + (W e)_j))^2 sum_i W_ji^2,

whose mean over e ~ N(0, s^2 I) is about s^2 times the squared norm of the Hessian [2]_. Both are exact for every
activation that acts on each unit alone.

References
----------
.. [1] Rifai, S., Vincent, P., Muller, X., Glorot, X. & Bengio, Y. (2011). Contractive auto-encoders: explicit
       invariance during feature extraction. ICML, section 3 and equation 5.
.. [2] Rifai, S., Mesnil, G., Vincent, P., Muller, X., Bengio, Y., Dauphin, Y. & Glorot, X. (2011). Higher order
       contractive auto-encoder. ECML PKDD, section 3.
"""

import math
from typing import Any

import torch
from torch.nn import functional

from pretrain._validation import require_choice
from pretrain.activations import Activation
from pretrain.autoencoder_settings import AutoencoderSettings

LEAK = 0.01  # the slope that torch's leaky_relu has below zero


def sigmoid_slope(a: torch.Tensor) -> torch.Tensor:
    """h (1 - h) with h = sigmoid(a)."""
    h = torch.sigmoid(a)
    return h * (1 - h)


def tanh_slope(a: torch.Tensor) -> torch.Tensor:
    """1 - tanh(a)^2."""
    return 1 - torch.tanh(a).square()


def relu_slope(a: torch.Tensor) -> torch.Tensor:
    """1 above zero, 0 below and at it."""
    return (a > 0).to(a.dtype)


def leaky_relu_slope(a: torch.Tensor) -> torch.Tensor:
    """1 above zero, 0.01 below and at it."""
    return torch.full_like(a, LEAK).masked_fill(a > 0, 1.0)


def gelu_slope(a: torch.Tensor) -> torch.Tensor:
    """Phi(a) + a phi(a), with the distribution function and the density of N(0, 1)."""
    return 0.5 * (1 + torch.erf(a / math.sqrt(2))) + a * torch.exp(-0.5 * a.square()) / math.sqrt(2 * math.pi)


# f'(a) of every activation f in `pretrain.activations.ACTIVATIONS`.
SLOPES: dict[str, Activation] = {
    "sigmoid": sigmoid_slope,
    "tanh": tanh_slope,
    "relu": relu_slope,
    "leaky_relu": leaky_relu_slope,
    "softplus": torch.sigmoid,
    "gelu": gelu_slope,
    "identity": torch.ones_like,
}


class Contraction:
    """contraction * ||J(x)||_F^2 + contraction_higher_order * ||J(x) - J(x + e)||_F^2, the mean over rows.

    x is what the encoder sees, the corrupted input where there is noise; e ~ N(0, contraction_noise^2 I) is drawn
    once for each row of each batch.

    Parameters
    ----------
    settings : AutoencoderSettings
    activation : str
        f, a name in `SLOPES`.
    generator : torch.Generator
        On the device of the batches; draws e.

    Raises
    ------
    SettingsError
        For an activation of several columns.
    """

    def __init__(self, settings: AutoencoderSettings, activation: str, *, generator: torch.Generator) -> None:
        require_choice("a contractive autoencoder", "activation", activation, SLOPES)
        self.settings = settings
        self.generator = generator
        self._slope = SLOPES[activation]

    @property
    def stochastic(self) -> bool:
        """Whether e is drawn."""
        return self.settings.contraction_higher_order > 0

    def __call__(
        self, encoder_weight: torch.Tensor, total_input: torch.Tensor, weight: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The penalty, a 0-d tensor that carries its gradient.

        Parameters
        ----------
        encoder_weight : Tensor of shape (n_hidden, n_visible)
            W.
        total_input : Tensor of shape (batch, n_hidden)
            a.
        weight : Tensor of shape (batch,) or None
            What each row counts; None: 1.
        """
        total_input = total_input.to(encoder_weight.dtype)
        square_norms = encoder_weight.square().sum(dim=1)  # (n_hidden,)
        slope = self._slope(total_input)
        of_units = self.settings.contraction * slope.square()  # (batch, n_hidden)
        if self.stochastic:
            noise = total_input.new_empty(len(total_input), encoder_weight.shape[1])
            noise.normal_(std=self.settings.contraction_noise, generator=self.generator)
            moved = self._slope(total_input + functional.linear(noise, encoder_weight))
            of_units = of_units + self.settings.contraction_higher_order * (slope - moved).square()
        of_rows = of_units @ square_norms
        return of_rows.mean() if weight is None else of_rows @ weight.to(of_rows.dtype) / len(of_rows)

    def state_dict(self) -> dict[str, Any]:
        """What continues the noise exactly."""
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.generator.set_state(state["generator"])
