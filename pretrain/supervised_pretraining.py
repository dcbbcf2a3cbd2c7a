"""Greedy supervised pretraining: a layer is the hidden layer of a network whose output layer is thrown away [1]_.

References
----------
.. [1] Bengio, Y., Lamblin, P., Popovici, D. & Larochelle, H. (2007). Greedy layer-wise training of deep
       networks. NIPS 19, section 4.
"""

from typing import Any

import numpy as np
import torch
from torch import nn

from pretrain.architecture import Architecture
from pretrain.backprop import BackpropLearner
from pretrain.class_indices import UNLABELLED
from pretrain.exceptions import DataError
from pretrain.network import Network
from pretrain.random_streams import RandomStreams
from pretrain.supervised_layer import SupervisedLayer


def supervised_learner(
    layer: SupervisedLayer, y: torch.Tensor, *, streams: RandomStreams, layer_index: int, dtype: torch.dtype
) -> BackpropLearner:
    """The learner of a layer: backpropagation through the layer and an output layer that nobody keeps.

    Parameters
    ----------
    layer : SupervisedLayer
        On the device to compute on. The network that is trained has its parameters, not copies of them.
    y : Tensor
        Class indices (n_samples,) for the cross-entropy, or targets (n_samples, n_targets) for the squared error.
    streams : RandomStreams
        "head" of `layer_index` draws the output layer (Xavier uniform, biases zero).
    layer_index : int
    dtype : torch.dtype
        Of the matrix products: float32 or bfloat16.
    """
    classes = not y.is_floating_point()
    architecture = Architecture(
        n_features=layer.n_visible,
        n_outputs=int(y.max()) + 1 if classes else y.shape[1],
        hidden_layer_sizes=(layer.n_hidden,),
        activations=(layer.activation,),
        output_activation="softmax" if classes else "identity",
        task="classification" if classes else "regression",
    )
    network = Network(architecture)
    network.hidden[0].linear.weight, network.hidden[0].linear.bias = layer.weight, layer.hidden_bias
    nn.init.xavier_uniform_(network.head.weight, generator=streams.generator("head", layer=layer_index))
    nn.init.zeros_(network.head.bias)
    device = layer.weight.device
    dropout = streams.generator("dropout", layer=layer_index, device=device)  # not drawn from: nothing is dropped
    return BackpropLearner(network.to(device), rate_factors=[1.0, 1.0], generator=dropout, dtype=dtype)


def labelled_targets(y: Any, n_samples: int) -> tuple[np.ndarray, torch.Tensor]:
    """The rows that have a target, their indices (n_labelled,), and these rows' targets.

    Parameters
    ----------
    y : ndarray, Tensor or None
        Class indices (n_samples,) with -1 for a row without a label, or scaled targets (n_samples, n_targets).
    n_samples : int

    Raises
    ------
    DataError
        If there are no labels, or not such.
    """
    if y is None:
        raise DataError("Supervised layers are trained with labels, and there are none; give y.")
    values = y.numpy(force=True) if isinstance(y, torch.Tensor) else np.asarray(y)
    classes = values.ndim == 1 and values.dtype.kind in "iu" and bool((values >= UNLABELLED).all())
    targets = values.ndim == 2 and values.dtype.kind == "f" and bool(np.isfinite(values).all())
    if not (classes or targets) or len(values) != n_samples:
        raise DataError(
            f"y must be class indices ({n_samples},) with {UNLABELLED} for rows without a label, or finite scaled "
            f"targets ({n_samples}, n_targets); got {values.dtype} values of shape {values.shape}."
        )
    if targets:
        return np.arange(n_samples), torch.from_numpy(values.astype(np.float32))
    rows = np.flatnonzero(values != UNLABELLED)
    if len(rows) == 0:
        raise DataError(f"Every row is unlabelled (y is {UNLABELLED}); supervised layers need labels of some rows.")
    return rows, torch.from_numpy(values[rows].astype(np.int64))
