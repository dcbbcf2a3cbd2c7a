"""Unrolling a deep Boltzmann machine: rows beside what the model infers from them, and a network that takes both.

References
----------
.. [1] Salakhutdinov, R. & Hinton, G. E. (2009). Deep Boltzmann machines. AISTATS, section 3.4.
"""

from typing import Any

import numpy as np
import torch

from pretrain._validation import require_choice
from pretrain.architecture import Architecture
from pretrain.dbm import DBM
from pretrain.network import Network
from pretrain.stack import map_rows
from pretrain.unrolling import copy_linear, draw_head


def augmented_rows(dbm: DBM, X: Any) -> np.ndarray:
    """Scaled rows with the mean-field means of the second hidden layer beside them [1]_.

    Parameters
    ----------
    dbm : DBM
    X : ndarray, Tensor or scipy sparse matrix of shape (n_samples, n_visible)

    Returns
    -------
    ndarray of shape (n_samples, n_visible + n_units of the second hidden layer)
        float64 for float64 rows, else float32; of a model with one hidden layer the rows alone.

    Raises
    ------
    DataError
        If the rows have another number of features.
    """
    dbm.require_features(X)
    return map_rows(dbm, _augmented, X, dbm.n_visible + _n_above(dbm)).numpy(force=True)


def _augmented(dbm: DBM, v: torch.Tensor) -> torch.Tensor:
    return torch.cat([v, *dbm.mean_field(v)[1:2]], dim=1)


def _n_above(dbm: DBM) -> int:
    return sum(dbm.hidden_layer_sizes[1:2])


@torch.no_grad()
def unroll_dbm(
    dbm: DBM,
    into: str = "classifier",
    *,
    n_outputs: int,
    dropout: float = 0.0,
    input_dropout: float = 0.0,
    generator: torch.Generator,
) -> Network:
    """Turn a deep Boltzmann machine into a feed-forward network on its `augmented_rows` [1]_.

    The first hidden layer sees the rows through W_1 and the means of the second hidden layer through W_2^T, the
    second hidden layer sees the first through W_2, and an output layer with random weights is put on top. Of a model
    with two hidden layers the hidden activations are so, before fine-tuning, those of one more mean-field update.
    Layers between the second and the top, which would miss what comes from above, get twice what comes from below, as
    in the pass up that mean field begins with. The model is copied, not shared.

    Parameters
    ----------
    dbm : DBM
    into : {"classifier", "regressor"}
    n_outputs : int
        Classes or targets.
    dropout, input_dropout : float
        For the training to come; see `Dropout` about pretrained weights.
    generator : torch.Generator
        Draws the output layer (Xavier uniform).
    """
    require_choice("unroll_dbm", "into", into, ("classifier", "regressor"))
    sizes = dbm.hidden_layer_sizes
    architecture = Architecture(
        n_features=dbm.n_visible + _n_above(dbm),
        n_outputs=n_outputs,
        hidden_layer_sizes=sizes,
        activations=("sigmoid",) * len(sizes),
        output_activation="softmax" if into == "classifier" else "identity",
        task="classification" if into == "classifier" else "regression",
        input_dropout=input_dropout,
        dropout=dropout,
    )
    network = Network(architecture)
    for k, hidden in enumerate(network.hidden):
        weight = dbm.weights[k]
        if k == 0 and len(sizes) > 1:
            weight = torch.cat([weight, dbm.weights[1].T], dim=1)
        elif 0 < k < len(sizes) - 1:
            weight = 2 * weight
        copy_linear(hidden.linear, weight, dbm.hidden_biases[k])
    draw_head(network, generator)
    return network
