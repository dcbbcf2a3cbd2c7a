"""Networks from scratch: what pretraining is compared with."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from pretrain._validation import require_choice, require_sequence
from pretrain.architecture import OUTPUT_ACTIVATIONS, Architecture
from pretrain.exceptions import SettingsError
from pretrain.image_networks import IMAGE_BASELINES, scratch_image_network
from pretrain.initialisation import GAINS, INITIALISATIONS, initialise
from pretrain.network import Network


@dataclasses.dataclass(frozen=True)
class Baseline:
    """One kind of network from scratch.

    Parameters
    ----------
    summary : str
        One line for reports.
    activation : str
        A name in `pretrain.initialisation.GAINS`.
    initialisation : str
        Of the hidden layers, a name in `pretrain.initialisation.INITIALISATIONS`. The output layer is Xavier uniform
        with gain 1, every bias zero.
    options : dict
        Further fields of `Architecture`.
    """

    summary: str
    activation: str
    initialisation: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


_RESIDUAL = {"layer_type": "residual", "batch_norm": True}
BASELINES: dict[str, Baseline] = {
    "sigmoid": Baseline("sigmoid units, Xavier initialisation", "sigmoid", "xavier_uniform"),
    "sigmoid-gaussian": Baseline("sigmoid units, small Gaussian initial weights", "sigmoid", "gaussian"),
    "sigmoid-sparse": Baseline("sigmoid units, sparse initialisation", "sigmoid", "sparse"),
    "tanh": Baseline("tanh units, Xavier initialisation", "tanh", "xavier_uniform"),
    "relu": Baseline("rectified linear units, He initialisation", "relu", "he_normal"),
    "leaky-relu": Baseline("leaky rectified linear units, He initialisation", "leaky_relu", "he_normal"),
    "softplus": Baseline("softplus units, He initialisation", "softplus", "he_normal"),
    "gelu": Baseline("Gaussian error linear units, He initialisation", "gelu", "he_normal"),
    "relu-orthogonal": Baseline("rectified linear units, orthogonal initialisation", "relu", "orthogonal"),
    "relu-dropout": Baseline(
        "rectified linear units, He initialisation, dropout 0.2 on inputs and 0.5 on hidden units",
        "relu",
        "he_normal",
        {"input_dropout": 0.2, "dropout": 0.5},
    ),
    "relu-bn": Baseline(
        "rectified linear units, He initialisation, batch norm", "relu", "he_normal", {"batch_norm": True}
    ),
    "relu-ln": Baseline(
        "rectified linear units, He initialisation, layer norm", "relu", "he_normal", {"layer_norm": True}
    ),
    "residual": Baseline(
        "residual MLP: pre-activation blocks with batch norm, rectified linear units, He initialisation",
        "relu",
        "he_normal",
        _RESIDUAL,
    ),
    "residual-scaled": Baseline(
        "residual MLP with scaled shortcuts",
        "relu",
        "he_normal",
        {**_RESIDUAL, "shortcut": "scaled"},
    ),
    "residual-projected": Baseline(
        "residual MLP with a matrix in every shortcut", "relu", "he_normal", {**_RESIDUAL, "shortcut": "projected"}
    ),
    "residual-dropped": Baseline(
        "residual MLP with dropout 0.5 in every shortcut", "relu", "he_normal", {**_RESIDUAL, "shortcut": "dropped"}
    ),
    "stochastic-depth": Baseline(
        "residual MLP with stochastic depth: the last block takes part in half of the steps, the others in more",
        "relu",
        "he_normal",
        {**_RESIDUAL, "survival_probability": 0.5},
    ),
    "dense": Baseline(
        "densely connected MLP: each layer sees all before it, batch norm, rectified linear units, He initialisation",
        "relu",
        "he_normal",
        {"layer_type": "densely_connected", "batch_norm": True},
    ),
}


AUTOENCODER_BASELINES = ("sigmoid", "tanh", "relu", "relu-bn")


def scratch_network(
    kind: str,
    n_features: int,
    hidden_layer_sizes: Sequence[int],
    n_outputs: int,
    *,
    task: str = "classification",
    activation: str | None = None,
    initialisation: str | None = None,
    dropout: float | None = None,
    input_dropout: float | None = None,
    image_shape: tuple[int, ...] | None = None,
    generator: torch.Generator,
) -> Network:
    """A network of the given kind with random weights.

    Parameters
    ----------
    kind : str
        A name in `BASELINES`, or, where rows are images, in `pretrain.image_networks.IMAGE_BASELINES`.
    n_features, n_outputs : int
    hidden_layer_sizes : sequence of int
        Convolutional networks have sizes of their own.
    task : {"classification", "multilabel", "regression"}
    activation, initialisation : str or None
        Names in `GAINS` and `INITIALISATIONS` of `pretrain.initialisation`, instead of those of the kind.
    dropout, input_dropout : float or None
        Instead of the rates of the kind.
    image_shape : tuple of int or None
        Height and width, and channels if there are any, of a row before it was flattened; for convolutional networks.
    generator : torch.Generator
        Draws the weights.

    Raises
    ------
    SettingsError
        For an unknown kind, activation or initialisation.
    """
    require_choice("scratch_network", "kind", kind, (*BASELINES, *IMAGE_BASELINES))
    require_choice("a network", "task", task, OUTPUT_ACTIVATIONS)
    if kind in IMAGE_BASELINES:
        if activation is not None:
            raise SettingsError(f"activation must be None for kind {kind!r}, whose units are rectified linear ones.")
        return scratch_image_network(
            kind,
            image_shape,
            n_outputs,
            task=task,
            initialisation=initialisation,
            dropout=dropout,
            input_dropout=input_dropout,
            generator=generator,
        )
    baseline = BASELINES[kind]
    if activation is not None:
        require_choice("scratch_network", "activation", activation, GAINS)
        baseline = dataclasses.replace(baseline, activation=activation)
    if initialisation is not None:
        require_choice("scratch_network", "initialisation", initialisation, INITIALISATIONS)
        baseline = dataclasses.replace(baseline, initialisation=initialisation)
    require_sequence("scratch_network", "hidden_layer_sizes", hidden_layer_sizes)
    rates = {"dropout": dropout, "input_dropout": input_dropout}
    options = {**baseline.options, **{name: rate for name, rate in rates.items() if rate is not None}}
    architecture = Architecture(
        n_features=n_features,
        n_outputs=n_outputs,
        hidden_layer_sizes=tuple(hidden_layer_sizes),
        activations=(baseline.activation,) * len(hidden_layer_sizes),
        output_activation=OUTPUT_ACTIVATIONS[task],
        task=task,
        **options,
    )
    return _with_random_weights(Network(architecture), baseline, generator)


def scratch_autoencoder(
    kind: str,
    n_features: int,
    encoder_sizes: Sequence[int],
    *,
    output_activation: str = "sigmoid",
    generator: torch.Generator,
) -> Network:
    """A deep autoencoder of the given kind with random weights: the encoder, a linear code, the encoder mirrored.

    Parameters
    ----------
    kind : {"sigmoid", "tanh", "relu", "relu-bn"}
        A name in `BASELINES` of plain layers without dropout.
    n_features : int
    encoder_sizes : sequence of int
        Units of each layer, the code last.
    output_activation : {"sigmoid", "identity"}
    generator : torch.Generator

    Raises
    ------
    SettingsError
        For a kind that is no plain network, or no layers.
    """
    require_choice("scratch_autoencoder", "kind", kind, AUTOENCODER_BASELINES)
    require_sequence("scratch_autoencoder", "encoder_sizes", encoder_sizes)
    if not encoder_sizes:
        raise SettingsError("encoder_sizes of scratch_autoencoder must name at least one layer; got none.")
    baseline, n_encoder = BASELINES[kind], len(encoder_sizes)
    sizes = (*encoder_sizes, *reversed(encoder_sizes[:-1]))
    architecture = Architecture(
        n_features=n_features,
        n_outputs=n_features,
        hidden_layer_sizes=sizes,
        activations=tuple("identity" if k == n_encoder - 1 else baseline.activation for k in range(len(sizes))),
        output_activation=output_activation,
        task="reconstruction",
        n_encoder_layers=n_encoder,
        **baseline.options,
    )
    return _with_random_weights(Network(architecture), baseline, generator)


def _with_random_weights(network: Network, baseline: Baseline, generator: torch.Generator) -> Network:
    for module in network.hidden.modules():
        if isinstance(module, nn.Linear):
            initialise(module, baseline.initialisation, baseline.activation, generator=generator)
    initialise(network.head, "xavier_uniform", "identity", generator=generator)
    return network
