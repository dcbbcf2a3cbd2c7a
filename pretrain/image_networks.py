"""Convolutional networks from scratch, where rows are images: LeNet, residual networks, densely connected ones."""

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import nn

from pretrain._validation import require_choice
from pretrain.architecture import OUTPUT_ACTIVATIONS
from pretrain.exceptions import SettingsError
from pretrain.image_architecture import LENET_KERNEL, ImageArchitecture, LayerPlan
from pretrain.image_layers import (
    ConvolutionBlock,
    ConvolutionLayer,
    FlatDenseLayer,
    GrowthLayer,
    NormLayer,
    TransitionLayer,
)
from pretrain.initialisation import initialise
from pretrain.network import Network
from pretrain.scaling import Scaling
from pretrain.stochastic_depth import survival_probabilities


@dataclasses.dataclass(frozen=True)
class ImageBaseline:
    """One kind of convolutional network: a line for reports, and fields of `ImageArchitecture`."""

    summary: str
    options: dict[str, Any]


DEPTHS = (20, 32, 44, 56, 110, 1202)
_FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("plain convolutional network of {} layers", {"family": "plain"}),
    "resnet": ("residual network of {} layers", {}),
    "preact-resnet": ("residual network of {} layers with pre-activation", {"preactivation": True}),
    "stochastic-resnet": ("residual network of {} layers with stochastic depth", {"survival_probability": 0.5}),
}
IMAGE_BASELINES: dict[str, ImageBaseline] = {
    "lenet": ImageBaseline("LeNet-5 with rectified linear units", {"family": "lenet", "depth": 5}),
    **{
        f"{name}-{depth}": ImageBaseline(summary.format(depth), {**options, "depth": depth})
        for name, (summary, options) in _FORMS.items()
        for depth in DEPTHS
    },
    "densenet-40-12": ImageBaseline(
        "densely connected convolutional network of 40 layers, growth rate 12",
        {"family": "densely_connected", "depth": 40, "width": 12},
    ),
    "densenet-bc-100-12": ImageBaseline(
        "densely connected convolutional network of 100 layers, growth rate 12, bottlenecks and compression",
        {"family": "densely_connected", "depth": 100, "width": 12, "bottleneck": True},
    ),
}


class ImageNetwork(Network):
    """A convolutional network: hidden layers on images, means of each channel over all pixels, a linear output layer.

    LeNet has dense layers in place of the means. Rows are images that were flattened, channels last; in the hidden
    layers channels are the second dimension, as torch has them.

    Parameters
    ----------
    architecture : ImageArchitecture
    scaling, classes, target_scaling
        As in `Network`.
    """

    kind = "image_network"
    architecture: ImageArchitecture

    def __init__(
        self,
        architecture: ImageArchitecture,
        *,
        scaling: Scaling | None = None,
        classes: np.ndarray | None = None,
        target_scaling: Scaling | None = None,
    ) -> None:
        super().__init__(architecture, scaling=scaling, classes=classes, target_scaling=target_scaling)

    @staticmethod
    def _make_layers(architecture: Any) -> list[nn.Module]:
        plan = architecture.plan()
        n_blocks = sum(layer.kind == "block" for layer in plan)
        survival = iter(survival_probabilities(n_blocks, architecture.survival_probability))
        return [_make_layer(architecture, layer, k, survival) for k, layer in enumerate(plan)]

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """What the output layer sees: (batch, n_features) -> (batch, n_hidden)."""
        height, width = self.architecture.image_shape[:2]
        x = self.input_dropout(x).reshape(len(x), height, width, self.architecture.n_channels).permute(0, 3, 1, 2)
        for layer in self.hidden:
            x = layer(x)
        return x.mean(dim=(2, 3)) if x.ndim == 4 else x


def _make_layer(spec: ImageArchitecture, layer: LayerPlan, k: int, survival: Any) -> nn.Module:
    n_inputs, n_units = layer.n_inputs, layer.n_units
    match layer.kind:
        case "convolution" if spec.family == "lenet":
            padding = spec.padding if k == 0 else 0
            return ConvolutionLayer(
                n_inputs, n_units, kernel=LENET_KERNEL, padding=padding, bias=True, rectified=True, pooled=True
            )
        case "convolution":
            finished = spec.family in ("plain", "residual") and not spec.preactivation
            return ConvolutionLayer(n_inputs, n_units, batch_norm=finished, rectified=finished)
        case "dense":
            return FlatDenseLayer(n_inputs, n_units, "relu", dropout=spec.dropout)
        case "block":
            return ConvolutionBlock(
                n_inputs,
                n_units,
                layer.stride,
                residual=spec.family == "residual",
                preactivation=spec.preactivation,
                dropout=spec.dropout,
                survival_probability=next(survival),
            )
        case "growth":
            return GrowthLayer(n_inputs, n_units - n_inputs, bottleneck=spec.bottleneck, dropout=spec.dropout)
        case "transition":
            return TransitionLayer(n_inputs, n_units, dropout=spec.dropout)
    return NormLayer(n_units)


def scratch_image_network(
    kind: str,
    image_shape: tuple[int, ...] | None,
    n_outputs: int,
    *,
    task: str = "classification",
    initialisation: str | None = None,
    dropout: float | None = None,
    input_dropout: float | None = None,
    generator: torch.Generator,
) -> ImageNetwork:
    """A convolutional network of the given kind with random weights.

    Parameters
    ----------
    kind : str
        A name in `IMAGE_BASELINES`.
    image_shape : tuple of int or None
        Of a row before it was flattened.
    n_outputs : int
    task : {"classification", "multilabel", "regression"}
    initialisation : str or None
        A name in `pretrain.initialisation.INITIALISATIONS`, instead of He's (normal). The output layer is Xavier
        uniform, every bias zero.
    dropout, input_dropout : float or None
        0 where they are None.
    generator : torch.Generator

    Raises
    ------
    SettingsError
        For an unknown kind, or rows that are no images, or images that are too small for it.
    """
    require_choice("scratch_image_network", "kind", kind, IMAGE_BASELINES)
    require_choice("a network", "task", task, OUTPUT_ACTIVATIONS)
    if image_shape is None:
        raise SettingsError(
            f"A network of kind {kind!r} is for rows that are images; no image shape is known here. Take a kind for "
            "rows of numbers, or where they are images say so: image_shape=(height, width) in Python, an array of "
            "more than two dimensions in a file."
        )
    architecture = ImageArchitecture(
        image_shape=tuple(image_shape),
        n_outputs=n_outputs,
        output_activation=OUTPUT_ACTIVATIONS[task],
        task=task,
        dropout=dropout or 0.0,
        input_dropout=input_dropout or 0.0,
        **IMAGE_BASELINES[kind].options,
    )
    return random_image_network(architecture, initialisation=initialisation, generator=generator)


def random_image_network(
    architecture: ImageArchitecture, *, initialisation: str | None = None, generator: torch.Generator
) -> ImageNetwork:
    """A convolutional network of any architecture with random weights; the rest as in `scratch_image_network`."""
    network = ImageNetwork(architecture)
    for module in network.hidden.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            initialise(module, initialisation or "he_normal", "relu", generator=generator)
    initialise(network.head, "xavier_uniform", "identity", generator=generator)
    return network
