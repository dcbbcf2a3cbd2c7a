"""The weights of Hinton and Salakhutdinov's Matlab scripts, as stacks and networks.

The scripts [1]_ keep each layer that they pretrain in a file of its own (`mnistvh.mat`, `mnisthp.mat`,
`mnisthp2.mat`, `mnistpo.mat`), and what backprop makes of them in one (`mnist_weights.mat`,
`mnistclassify_weights.mat`), in which the last row of a matrix of weights is the bias.

References
----------
.. [1] Hinton, G. E. & Salakhutdinov, R. R. (2006). Reducing the dimensionality of data with neural networks.
       Science 313, 504-507; the code that goes with it.
"""

import os
from typing import Any

import numpy as np
import torch
from scipy.io import loadmat

from checkpoints.plain_modules import copy_linear
from pretrain.architecture import Architecture
from pretrain.exceptions import CheckpointError
from pretrain.network import Network
from pretrain.rbm import RBM
from pretrain.stack import Stack

# Weights (n_visible, n_hidden), hidden biases, visible biases, type of the hidden units.
_LAYERS = (
    ("vishid", "hidrecbiases", "visbiases", "bernoulli"),
    ("hidpen", "penrecbiases", "hidgenbiases", "bernoulli"),
    ("hidpen2", "penrecbiases2", "hidgenbiases2", "bernoulli"),
    ("hidtop", "toprecbiases", "topgenbiases", "gaussian"),
    ("vishid", "hidbiases", "visbiases", "bernoulli"),  # the names inside rbm.m itself
)


def from_matlab(*paths: str | os.PathLike[str]) -> Stack | Network:
    """The model in the .mat files of the scripts.

    Parameters
    ----------
    *paths : str or path
        The files of pretrained layers, from the data upwards, for a stack; or one file of fine-tuned weights, `w1`,
        `w2`, ... for a deep autoencoder, with `w_class` for a classifier.

    Raises
    ------
    CheckpointError
        If a file cannot be read, or what is in it is neither.
    """
    if not paths:
        raise CheckpointError("from_matlab needs the names of one or more .mat files; got none.")
    contents = [_read(path) for path in paths]
    if len(paths) == 1 and "w1" in contents[0]:
        return _network(contents[0], str(paths[0]))
    layers = [_layer(content, str(path)) for content, path in zip(contents, paths, strict=True)]
    return Stack(layers)


def _read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    try:
        content = loadmat(path)
    except Exception as error:  # scipy's reader raises whatever a malformed file leads it into
        raise CheckpointError(
            f"Cannot read {path} as a .mat file: {error}. Files of -v7.3 must be saved again with -v7."
        ) from error
    return {name: value for name, value in content.items() if not name.startswith("__")}


def _layer(content: dict[str, np.ndarray], path: str) -> RBM:
    found = next((names for names in _LAYERS if set(names[:3]) <= content.keys()), None)
    if found is None:
        raise CheckpointError(
            f"{path} holds no layer of the scripts, such as vishid, hidrecbiases and visbiases; it holds "
            f"{', '.join(sorted(content)) or 'nothing'}."
        )
    weights, hidden, visible, units = found
    weight = _matrix(content, weights, path)
    n_visible, n_hidden = weight.shape
    rbm = RBM(n_visible, n_hidden, hidden_units=units)
    with torch.no_grad():
        rbm.weight.copy_(torch.from_numpy(weight.T))
        for parameter, name in ((rbm.hidden_bias, hidden), (rbm.visible_bias, visible)):
            bias = _matrix(content, name, path).ravel()
            if bias.shape != parameter.shape:
                raise CheckpointError(f"{name} in {path} must have {len(parameter)} entries; got {len(bias)}.")
            parameter.copy_(torch.from_numpy(bias))
    return rbm


def _network(content: dict[str, np.ndarray], path: str) -> Network:
    n_layers = sum(name[1:].isdigit() and name[0] == "w" for name in content)
    names = [f"w{k + 1}" for k in range(n_layers)] + ["w_class"] * ("w_class" in content)
    weights = [_matrix(content, name, path) for name in names]
    for k, (name, weight) in enumerate(zip(names, weights, strict=True)):
        if weight.shape[0] < 2 or (k and weight.shape[0] != weights[k - 1].shape[1] + 1):
            raise CheckpointError(
                f"{name} in {path} is of shape {weight.shape}, which does not fit the layer below it."
            )
    sizes = tuple(weight.shape[1] for weight in weights[:-1])
    classifies = names[-1] == "w_class"
    activations = ["sigmoid"] * len(sizes)
    if not classifies:
        if len(names) % 2 or weights[-1].shape[1] != weights[0].shape[0] - 1:
            raise CheckpointError(f"{path} is no deep autoencoder: {', '.join(names)} do not lead back to the data.")
        activations[len(names) // 2 - 1] = "identity"  # the code is linear
    network = Network(
        Architecture(
            n_features=weights[0].shape[0] - 1,
            n_outputs=weights[-1].shape[1],
            hidden_layer_sizes=sizes,
            activations=tuple(activations),
            output_activation="softmax" if classifies else "sigmoid",
            task="classification" if classifies else "reconstruction",
            n_encoder_layers=None if classifies else len(names) // 2,
        )
    )
    for linear, weight in zip([*(layer.linear for layer in network.hidden), network.head], weights, strict=True):
        copy_linear(linear, weight[:-1].T, weight[-1])
    return network.eval()


def _matrix(content: dict[str, np.ndarray], name: str, path: str) -> np.ndarray:
    value: Any = content.get(name)
    if not isinstance(value, np.ndarray) or value.ndim != 2 or value.dtype.kind not in "fiu" or not value.size:
        raise CheckpointError(f"{name} in {path} must be a matrix of numbers; got {type(value).__name__}.")
    if not np.isfinite(value).all():
        raise CheckpointError(f"{name} in {path} holds numbers that are infinite or not a number.")
    return value.astype(np.float32)
