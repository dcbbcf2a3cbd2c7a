"""The variational lower bound on the likelihood of a deep belief net.

References
----------
.. [1] Salakhutdinov, R. & Murray, I. (2008). On the quantitative analysis of deep belief networks. ICML.
"""

import torch
from torch.nn import functional

from pretrain._validation import require_number
from pretrain.dbn import DBN

N_DRAWS = 10  # of the codes of each row


@torch.no_grad()
def log_weights(
    dbn: DBN, x: torch.Tensor, *, generator: torch.Generator, n_draws: int = N_DRAWS, shared: bool = False
) -> torch.Tensor:
    """The lower bound of [1]_ on log p(x), but for log Z of the memory: (batch, n_visible) -> (batch,), in nats.

    For scaled rows, with codes drawn by the up-pass, q(h1 | x) q(h2 | h1) ..., and labels summed over,

        log p(x) >= E_q[sum over layers of log p(h_k | h_k+1) + entropy of q(h_k+1 | h_k)] - E_q[F(h_L)] - log Z

    The entropies are exact given the layer below. The mean of `n_draws` draws estimates the bound without bias; that
    of a net of one layer is exact. With `shared` all rows are drawn with the same random numbers: the estimate of a
    row does not depend on the rows beside it then, but the errors of a mean over rows do not cancel.
    """
    require_number("the bound", "n_draws", n_draws, at_least=1, integer=True)
    n_draws = n_draws if dbn.layers else 1  # nothing is drawn
    total = x.new_zeros(len(x), dtype=torch.float64)
    for _ in range(n_draws):
        below = x
        for layer in dbn.layers:
            total_input = functional.linear(below, layer.recognition_weight, layer.recognition_bias)
            mean = torch.sigmoid(total_input)
            uniform = torch.rand(1 if shared else len(x), layer.n_hidden, generator=generator, device=x.device)
            above = torch.lt(uniform, mean).to(mean)
            entropy = (functional.softplus(total_input) - mean * total_input).sum(dim=1)
            total += layer.log_conditional(below, above) + entropy
            below = above
        total += _log_memory(dbn, below)
    return total / n_draws


def _log_memory(dbn: DBN, codes: torch.Tensor) -> torch.Tensor:
    """log of the sum over labels of exp(-F(codes, label)): (batch, n_codes) -> (batch,)."""
    memory, n_classes = dbn.memory, dbn.n_classes
    if n_classes == 0:
        return -memory.free_energy(codes)
    labels = torch.eye(n_classes, dtype=codes.dtype, device=codes.device)
    scores = [-memory.free_energy(torch.cat([codes, label.expand(len(codes), n_classes)], dim=1)) for label in labels]
    return torch.logsumexp(torch.stack(scores, dim=1), dim=1)
