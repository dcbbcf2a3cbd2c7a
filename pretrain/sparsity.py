"""A penalty that makes hidden units rare."""

import torch

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
