"""Unrolling: a stack becomes a classifier, a regressor or a deep autoencoder with the same weights.

References
----------
.. [1] Hinton, G. E. & Salakhutdinov, R. R. (2006). Reducing the dimensionality of data with neural networks.
       Science 313, 504-507.
"""

import torch
from torch import nn

from pretrain._validation import require_choice
from pretrain.architecture import OUTPUT_ACTIVATIONS, Architecture
from pretrain.exceptions import SettingsError
from pretrain.network import Network
from pretrain.stack import Stack

TASKS_OF = {"classifier": "classification", "multilabel": "multilabel", "regressor": "regression"}


def unroll(
    stack: Stack,
    into: str = "classifier",
    *,
    n_outputs: int | None = None,
    dropout: float = 0.0,
    input_dropout: float = 0.0,
    generator: torch.Generator | None = None,
) -> Network:
    """Turn a stack into a feed-forward network with the same weights.

    The hidden layers of a classifier or regressor equal the stack's encoding exactly, and an output layer with
    random weights is put on top. A deep autoencoder is the stack's encoding followed by its decoding [1]_: the
    decoder starts from the transposed weights and the visible biases, and is independent of the encoder from
    then on. The stack is copied, not shared.

    Parameters
    ----------
    stack : Stack
    into : {"classifier", "multilabel", "regressor", "autoencoder"}
        "multilabel" has a sigmoid output for each of `n_outputs` labels, of which a row may have any number.
    n_outputs : int or None
        Classes or targets; None for "autoencoder".
    dropout, input_dropout : float
        For the training to come; see `Dropout` about pretrained weights.
    generator : torch.Generator or None
        Draws the output layer (Xavier uniform); needed unless `into` is "autoencoder".

    Raises
    ------
    SettingsError
        For an unknown `into`, a missing `n_outputs` or `generator`, or an autoencoder of layers that do not decode.
    """
    require_choice("unroll", "into", into, (*TASKS_OF, "autoencoder"))
    if into == "autoencoder":
        return _unroll_autoencoder(stack, dropout, input_dropout)
    if n_outputs is None or generator is None:
        raise SettingsError(f"unroll into a {into} needs n_outputs and a generator for the output layer.")
    architecture = Architecture(
        n_features=stack.n_visible,
        n_outputs=n_outputs,
        hidden_layer_sizes=stack.hidden_layer_sizes,
        activations=tuple(layer.activation for layer in stack.layers),
        output_activation=OUTPUT_ACTIVATIONS[TASKS_OF[into]],
        task=TASKS_OF[into],
        input_dropout=input_dropout,
        dropout=dropout,
    )
    network = Network(architecture, scaling=stack.scaling)
    for hidden, layer in zip(network.hidden, stack.layers, strict=True):
        copy_linear(hidden.linear, layer.encoder_weight, layer.encoder_bias)
    draw_head(network, generator)
    return network


def _unroll_autoencoder(stack: Stack, dropout: float, input_dropout: float) -> Network:
    stack.require_decoders()
    layers, sizes = list(stack.layers), stack.hidden_layer_sizes
    decoders = layers[:0:-1]  # every layer but the first, from the top down; the first is the output layer
    architecture = Architecture(
        n_features=stack.n_visible,
        n_outputs=stack.n_visible,
        hidden_layer_sizes=(*sizes, *sizes[-2::-1]),
        activations=(*(k.activation for k in layers), *(k.output_activation for k in decoders)),
        output_activation=layers[0].output_activation,
        task="reconstruction",
        input_dropout=input_dropout,
        dropout=dropout,
        n_encoder_layers=len(layers),
    )
    network = Network(architecture, scaling=stack.scaling)
    for hidden, layer in zip(network.hidden, layers, strict=False):
        copy_linear(hidden.linear, layer.encoder_weight, layer.encoder_bias)
    for hidden, layer in zip(network.hidden[len(layers) :], decoders, strict=True):
        copy_linear(hidden.linear, layer.decoder_weight, layer.decoder_bias)
    copy_linear(network.head, layers[0].decoder_weight, layers[0].decoder_bias)
    return network


@torch.no_grad()
def copy_linear(linear: nn.Linear, weight: torch.Tensor, bias: torch.Tensor) -> None:
    """Copy weights and biases into a linear layer."""
    linear.weight.copy_(weight)
    linear.bias.copy_(bias)


def draw_head(network: Network, generator: torch.Generator) -> None:
    """Random weights for the output layer (Xavier uniform, biases zero)."""
    nn.init.xavier_uniform_(network.head.weight, generator=generator)
    nn.init.zeros_(network.head.bias)
