"""Penalties that make hidden units rare."""

import torch

from pretrain._validation import require_choice
from pretrain.autoencoder_settings import BOUNDED_ACTIVATIONS, AutoencoderSettings
from pretrain.batches import weighted_mean
from pretrain.rbm_settings import RBMSettings


class SparsityPenalty:
    """cost * sum over hidden units of KL(p || q_j), q_j the running mean activation of a Bernoulli unit.

    Parameters
    ----------
    settings : RBMSettings
        Without a `sparsity_target` there is no penalty.
    """

    def __init__(self, settings: RBMSettings) -> None:
        self.settings = settings
        self.activity: torch.Tensor | None = None

    def subtract_(self, h: torch.Tensor, weight: torch.Tensor | None) -> None:
        """Take the penalty's slope off the hidden means of the data, (batch, n_hidden), which count negatively.

        The slope at q is (q - p) / (q (1 - q)), and h (1 - h) leads from the mean of a unit to its input.
        """
        target, decay = self.settings.sparsity_target, self.settings.sparsity_decay
        if target is None:
            return
        mean = weighted_mean(h, weight)
        self.activity = mean if self.activity is None else self.activity.lerp_(mean, 1 - decay)
        q = self.activity.clamp(1e-6, 1 - 1e-6)
        slope = self.settings.sparsity_cost * (q - target) / (q * (1 - q))
        h.sub_((h * (1 - h)).mul_(slope.to(h.dtype)))


class SparseCode:
    """cost * sum over hidden units of KL(p || q_j), q_j the mean activation over the batch, of an autoencoder [1]_.

    KL(p || q) = p log(p / q) + (1 - p) log((1 - p) / (1 - q)), in nats. For tanh units q is the mean of (1 + h) / 2.
    The penalty counts as much as the rows of the batch do: not at all where none has a weight.

    Parameters
    ----------
    settings : AutoencoderSettings
        With a `sparsity_target`.
    activation : {"sigmoid", "tanh"}

    Raises
    ------
    SettingsError
        For other activations.

    References
    ----------
    .. [1] Ng, A. (2011). Sparse autoencoder. CS294A lecture notes, Stanford University, section 3.
    """

    def __init__(self, settings: AutoencoderSettings, activation: str) -> None:
        require_choice("a sparse autoencoder", "activation", activation, BOUNDED_ACTIVATIONS)
        assert settings.sparsity_target is not None
        self.target, self.cost = settings.sparsity_target, settings.sparsity_cost
        self.activation = activation

    def __call__(self, code: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        """The penalty of codes (batch, n_hidden), a 0-d tensor that carries its gradient."""
        q = code.mean(dim=0) if weight is None else (weight / weight.sum().clamp_min(1e-30)).to(code.dtype) @ code
        if self.activation == "tanh":
            q = (1 + q) / 2
        # The value is cut, not the gradient: a unit that is dead can come back.
        q = q + (q.clamp(1e-6, 1 - 1e-6) - q).detach()
        p = self.target
        penalty = self.cost * (p * torch.log(p / q) + (1 - p) * torch.log((1 - p) / (1 - q))).sum()
        return penalty if weight is None else penalty * weight.mean().to(code.dtype)
