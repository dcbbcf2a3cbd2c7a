"""What a network in training looks like, layer by layer: whether gradients reach it, and what its units do."""

from typing import Any

import torch
from torch import nn

from pretrain.backprop import network_loss
from pretrain.batches import Batch
from pretrain.hidden_layers import DenseLayer, DenselyConnectedLayer
from pretrain.image_layers import GrowthLayer
from pretrain.monitoring import unit_shares
from pretrain.network import Network


def network_figures(network: Network, batch: Batch) -> dict[str, list[float]]:
    """Measure a network on some rows, in evaluation mode, where it is left; nothing else is changed.

    Parameters
    ----------
    network : Network
    batch : Batch
        Scaled rows and their targets, on the network's device.

    Returns
    -------
    dict
        `gradient_norms`: for each hidden layer and the output layer, the Euclidean norm of the gradient of the mean
        loss (see `BackpropLearner`) with respect to all its parameters, 0 of a frozen one. For each hidden layer
        `activation_means` and `activation_stds` (over rows and units), `dead_units` and `saturated_units` (shares,
        see `pretrain.monitoring.unit_shares`; blocks whose output is a sum are judged as linear units). Of images a
        unit is a channel. What a densely connected layer passes on from below is not counted again.
    """
    layers: list[nn.Module] = [*network.hidden, network.head]
    outputs: list[torch.Tensor] = []

    def keep(layer: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        outputs.append(_own_units(layer, inputs[0], output))

    hooks = [layer.register_forward_hook(keep) for layer in layers[:-1]]
    try:
        with torch.enable_grad():
            loss = network_loss(network.eval(), network(batch.X), batch)
            norms = [_gradient_norm(loss, layer) for layer in layers]
    finally:
        for hook in hooks:
            hook.remove()
    shares = [unit_shares(units, _activation(network, k)) for k, units in enumerate(outputs)]
    return {
        "gradient_norms": norms,
        "activation_means": [float(units.mean()) for units in outputs],
        "activation_stds": [float(units.std(correction=0)) for units in outputs],
        "dead_units": [share["dead_units"] for share in shares],
        "saturated_units": [share["saturated_units"] for share in shares],
    }


def _gradient_norm(loss: torch.Tensor, layer: nn.Module) -> float:
    moving = [parameter for parameter in layer.parameters() if parameter.requires_grad]
    if not moving:
        return 0.0
    found = torch.autograd.grad(loss, moving, retain_graph=True, allow_unused=True)
    squares = [gradient.double().square().sum() for gradient in found if gradient is not None]
    return float(torch.stack(squares).sum().sqrt()) if squares else 0.0


def _own_units(layer: nn.Module, x: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    """What the layer itself computed: (batch, n_units), or (batch * height * width, n_channels)."""
    own: Any = output.detach()
    if isinstance(layer, DenselyConnectedLayer | GrowthLayer):
        own = own[:, x.shape[1] :]
    return own if own.ndim == 2 else own.movedim(1, -1).flatten(end_dim=-2)


def _activation(network: Network, k: int) -> str:
    plain = type(network.hidden[k]) in (DenseLayer, DenselyConnectedLayer)
    return network.architecture.activations[k] if plain else "identity"
