"""Modern networks that begin with the weights of a stack: what pretraining is worth where units and norms are new.

References
----------
.. [1] He, K., Zhang, X., Ren, S. & Sun, J. (2015). Delving deep into rectifiers. ICCV.
"""

import torch

from pretrain.baselines import BASELINES, scratch_network
from pretrain.exceptions import SettingsError
from pretrain.network import Network
from pretrain.stack import Stack

PRETRAINED_BASELINES = tuple(
    kind for kind, baseline in BASELINES.items() if baseline.options.get("layer_type") != "densely_connected"
)


def pretrained_network(
    kind: str,
    stack: Stack,
    n_outputs: int,
    *,
    task: str = "classification",
    dropout: float | None = None,
    input_dropout: float | None = None,
    generator: torch.Generator,
) -> Network:
    """A network of the given kind that begins with the weights of a stack, rescaled.

    Units were pretrained as others than they become (sigmoid units as rectified linear ones), so the weights are
    right in direction and wrong in size. Weights and biases into the units of a layer are multiplied by one factor,
    after which the weights have the mean square of those that the initialisation of the kind draws (2 / n_inputs on
    average for He's [1]_): signals then have the variance from layer to layer for which it was made. The first matrix
    of a residual block has a layer's weights; the others, and the output layer, are drawn as from scratch.

    Parameters
    ----------
    kind : str
        A name in `PRETRAINED_BASELINES`.
    stack : Stack
        It is copied, not shared; the network has its sizes and its scaling.
    n_outputs : int
    task : {"classification", "multilabel", "regression"}
    dropout, input_dropout : float or None
        Instead of the rates of the kind.
    generator : torch.Generator
        Draws the weights of a network of that kind; all that are not replaced stay.

    Raises
    ------
    SettingsError
        For an unknown kind, or one whose layers see more than the layer below, which no layer of a stack is made for.
    """
    if isinstance(kind, str) and kind in BASELINES and kind not in PRETRAINED_BASELINES:
        raise SettingsError(
            f"A network of kind {kind!r} cannot begin with the weights of a stack: its layers see more than the "
            f"layer below. Take one of {', '.join(PRETRAINED_BASELINES)}."
        )
    network = scratch_network(
        kind,
        stack.n_visible,
        stack.hidden_layer_sizes,
        n_outputs,
        task=task,
        dropout=dropout,
        input_dropout=input_dropout,
        generator=generator,
    )
    network.scaling = stack.scaling
    for hidden, layer in zip(network.hidden, stack.layers, strict=True):
        _take_weights(hidden.linear, layer.encoder_weight, layer.encoder_bias)
    return network


@torch.no_grad()
def _take_weights(linear: torch.nn.Linear, weight: torch.Tensor, bias: torch.Tensor) -> None:
    size = _root_mean_square(weight)
    factor = _root_mean_square(linear.weight) / size if size > 0 else 1.0  # weights of zero stay so
    linear.weight.copy_(weight * factor)
    linear.bias.copy_(bias * factor)


def _root_mean_square(weight: torch.Tensor) -> float:
    return float(weight.double().square().mean().sqrt())
