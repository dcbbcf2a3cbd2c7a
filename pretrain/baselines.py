"""Networks from scratch: what pretraining is compared with.

References
----------
.. [1] Glorot, X. & Bengio, Y. (2010). Understanding the difficulty of training deep feedforward neural
       networks. AISTATS.
.. [2] He, K. et al. (2015). Delving deep into rectifiers. ICCV.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from pretrain._validation import require_choice, require_sequence
from pretrain.exceptions import SettingsError
from pretrain.network import Architecture, Network


@dataclasses.dataclass(frozen=True)
class Baseline:
    """One kind of network from scratch.

    Parameters
    ----------
    summary : str
        One line for reports.
    activation : str
    initialisation : {"xavier", "he"}
        Xavier uniform [1]_, times torch's gain (1 for sigmoid, 5/3 for tanh units), or He normal [2]_. The
        output layer is Xavier uniform with gain 1, every bias zero.
    options : dict
        Further fields of `Architecture`.
    """

    summary: str
    activation: str
    initialisation: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


XAVIER_GAINS = {"sigmoid": 1.0, "tanh": 5 / 3}  # torch.nn.init.calculate_gain
BASELINES: dict[str, Baseline] = {
    "sigmoid": Baseline("sigmoid units, Xavier initialisation", "sigmoid", "xavier"),
    "tanh": Baseline("tanh units, Xavier initialisation", "tanh", "xavier"),
    "relu": Baseline("rectified linear units, He initialisation", "relu", "he"),
    "relu-dropout": Baseline(
        "rectified linear units, He initialisation, dropout 0.2 on inputs and 0.5 on hidden units",
        "relu",
        "he",
        {"input_dropout": 0.2, "dropout": 0.5},
    ),
    "relu-bn": Baseline("rectified linear units, He initialisation, batch norm", "relu", "he", {"batch_norm": True}),
    "residual": Baseline(
        "residual MLP: pre-activation blocks with batch norm, rectified linear units, He initialisation",
        "relu",
        "he",
        {"layer_type": "residual", "batch_norm": True},
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
    dropout: float | None = None,
    input_dropout: float | None = None,
    generator: torch.Generator,
) -> Network:
    """A network of the given kind with random weights.

    Parameters
    ----------
    kind : str
        A name in `BASELINES`.
    n_features, n_outputs : int
    hidden_layer_sizes : sequence of int
    task : {"classification", "regression"}
    dropout, input_dropout : float or None
        Instead of the rates of the kind.
    generator : torch.Generator
        Draws the weights.

    Raises
    ------
    SettingsError
        For an unknown kind.
    """
    require_choice("scratch_network", "kind", kind, BASELINES)
    baseline = BASELINES[kind]
    require_sequence("scratch_network", "hidden_layer_sizes", hidden_layer_sizes)
    rates = {"dropout": dropout, "input_dropout": input_dropout}
    options = {**baseline.options, **{name: rate for name, rate in rates.items() if rate is not None}}
    architecture = Architecture(
        n_features=n_features,
        n_outputs=n_outputs,
        hidden_layer_sizes=tuple(hidden_layer_sizes),
        activations=(baseline.activation,) * len(hidden_layer_sizes),
        output_activation="softmax" if task == "classification" else "identity",
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
            _initialise(module, baseline, generator)
    nn.init.xavier_uniform_(network.head.weight, generator=generator)
    nn.init.zeros_(network.head.bias)
    return network


def _initialise(linear: nn.Linear, baseline: Baseline, generator: torch.Generator) -> None:
    if baseline.initialisation == "he":
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu", generator=generator)
    else:
        gain = XAVIER_GAINS[baseline.activation]
        nn.init.xavier_uniform_(linear.weight, gain=gain, generator=generator)
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)
