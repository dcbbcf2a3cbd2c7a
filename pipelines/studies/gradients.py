"""How large the gradient of the loss is in each hidden layer.

References
----------
.. [1] Glorot, X. & Bengio, Y. (2010). Understanding the difficulty of training deep feedforward neural networks.
       AISTATS, section 4.2.
"""

import torch

from pretrain.backprop import network_loss
from pretrain.batches import Batch
from pretrain.network import Network


def gradient_norms(network: Network, X: torch.Tensor, y: torch.Tensor) -> list[float]:
    """Norm of the gradient of the mean loss in the weights and biases of each hidden layer, the first one first [1]_.

    Norms are Euclidean. The network is in evaluation mode: nothing is dropped, and batch norm uses its running
    statistics.

    Parameters
    ----------
    network : Network
        Its gradients are empty afterwards.
    X : Tensor of shape (n, n_features)
        Scaled rows.
    y : Tensor of shape (n,) or (n, n_outputs)
        Targets as `network_loss` takes them.
    """
    network.eval().requires_grad_(True).zero_grad(set_to_none=True)
    network_loss(network, network(X), Batch(X, y)).backward()
    norms = [
        float(torch.stack([p.grad.norm() for p in layer.parameters() if p.grad is not None]).norm())
        for layer in network.hidden
    ]
    network.zero_grad(set_to_none=True)
    return norms
