"""Annealed importance sampling along a path of distributions, forwards and backwards.

References
----------
.. [1] Neal, R. M. (2001). Annealed importance sampling. Statistics and Computing 11, 125-139.
.. [2] Burda, Y., Grosse, R. & Salakhutdinov, R. (2015). Accurate and conservative estimates of MRF log-likelihood
       using reverse annealing. AISTATS.
"""

import dataclasses
import math
from typing import Any, Protocol

import torch

from pretrain._validation import require_number
from pretrain.annealing import annealing_schedule
from pretrain.exceptions import SettingsError


@dataclasses.dataclass(frozen=True)
class LogPartition:
    """The logarithm of a partition function, or an estimate of it.

    Attributes
    ----------
    value : float
        log Z in nats.
    standard_error : float
        Of the value, from the spread of the runs' weights; 0 where it is exact. It says nothing of what no run has
        found: annealing tends to underestimate Z, and reverse annealing to overestimate it.
    method : {"exact", "ais", "reverse_ais"}
    n_runs : int
    """

    value: float
    standard_error: float = 0.0
    method: str = "exact"
    n_runs: int = 0


class Path(Protocol):
    """Distributions p_beta of some states, from independent units, beta of 0, to a model, beta of 1.

    States are a tensor, or whatever else the path makes of them.
    """

    base_log_partition: float
    device: torch.device

    def base_samples(self, n: int) -> Any:
        """States of n runs, drawn at beta of 0."""

    def log_ratio(self, states: Any, above: float, below: float) -> torch.Tensor:
        """log of p_above / p_below of each run's states, both without their normalisers: (n,) float64."""

    def step(self, states: Any, beta: float) -> Any:
        """States after a step that leaves p_beta unchanged; those given may be overwritten."""


def forward_estimate(path: Path, n_runs: int, n_temperatures: int) -> LogPartition:
    """log Z of the model at the end of the path, from runs that start at its beginning [1]_."""
    require_number("ais_log_partition", "n_runs", n_runs, at_least=1, integer=True)
    betas = annealing_schedule(n_temperatures)
    states = path.base_samples(n_runs)
    log_weights = torch.zeros(n_runs, dtype=torch.float64, device=path.device)
    for k in range(1, len(betas)):
        log_weights += path.log_ratio(states, betas[k], betas[k - 1])
        if k < len(betas) - 1:
            states = path.step(states, betas[k])
    return _estimate(path.base_log_partition, log_weights, "ais")


def reverse_estimate(path: Path, states: Any, n_runs: int, n_temperatures: int, n_burn_in: int) -> LogPartition:
    """log Z from runs that start at the model's end of the path [2]_, after steps that leave the model unchanged.

    `states`, of `n_runs` runs, may be overwritten.
    """
    require_number("reverse_ais_log_partition", "n_burn_in", n_burn_in, at_least=0, integer=True)
    betas = annealing_schedule(n_temperatures)
    for _ in range(n_burn_in):
        states = path.step(states, 1.0)
    log_weights = torch.zeros(n_runs, dtype=torch.float64, device=path.device)
    for k in range(len(betas) - 1, 0, -1):
        log_weights += path.log_ratio(states, betas[k - 1], betas[k])
        states = path.step(states, betas[k - 1])
    inverse = _estimate(0.0, log_weights, "reverse_ais")
    return dataclasses.replace(inverse, value=path.base_log_partition - inverse.value)


def _estimate(offset: float, log_weights: torch.Tensor, method: str) -> LogPartition:
    n = len(log_weights)
    relative = (log_weights - log_weights.max()).exp()
    value = offset + float(log_weights.logsumexp(dim=0)) - math.log(n)
    error = float(relative.std() / relative.mean()) / math.sqrt(n) if n > 1 else 0.0
    if not math.isfinite(value):
        raise SettingsError(
            "The annealing weights are not finite: this energy has no partition function, as of Gaussian units on "
            "both sides with large weights."
        )
    return LogPartition(value, error, method, n)
