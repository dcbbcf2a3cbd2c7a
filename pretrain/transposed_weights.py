"""A layer that begins as the one below it turned upside down, so that stacking it loses nothing.

References
----------
.. [1] Hinton, G. E., Osindero, S. & Teh, Y.-W. (2006). A fast learning algorithm for deep belief nets. Neural
       Computation 18, 1527-1554, section 4.
"""

from typing import Any

import torch

from pretrain.exceptions import SettingsError
from pretrain.rbm import RBM


@torch.no_grad()
def begin_transposed(layer: RBM, below: Any, name: str) -> None:
    """Give `layer` the weights and biases of the RBM below it, transposed.

    Its visible units, which are the hidden units below, get their biases; as many of its hidden units as the RBM
    below has visible ones get their biases and the transposed weights. The deep belief net of both then has the
    distribution of the RBM below, and the variational bound on its likelihood is tight [1]_: training the layer
    raises that bound from there. Hidden units beyond these keep their random weights, and units beside the codes
    (labels) theirs; with weights of zero neither changes anything.

    Parameters
    ----------
    layer : RBM
        Changed in place.
    below : RBM
    name : str
        Of the layer, for messages.

    Raises
    ------
    SettingsError
        If there is no RBM of Bernoulli units below, or `layer` has fewer hidden units than that has visible ones.
    """
    if not isinstance(below, RBM):
        found = "no layer" if below is None else f"one of kind {below.kind!r}"
        raise SettingsError(
            f"initial_weights='transposed' of {name} takes the weights of an RBM below it; there is {found}. Give "
            "one value a layer (--initial-weights random,transposed)."
        )
    units = (below.visible_units.name, below.hidden_units.name, layer.hidden_units.name)
    if units != ("bernoulli",) * 3:
        raise SettingsError(
            f"initial_weights='transposed' of {name} is for Bernoulli units in both layers; got {units[0]!r} and "
            f"{units[1]!r} below, and {units[2]!r}."
        )
    if layer.n_hidden < below.n_visible:
        raise SettingsError(
            f"initial_weights='transposed' of {name} needs at least as many hidden units as the layer below has "
            f"visible ones, {below.n_visible}; got {layer.n_hidden}."
        )
    n_codes, n_data = below.n_hidden, below.n_visible
    layer.weight[:n_data, :n_codes].copy_(below.weight.T)
    layer.visible_bias[:n_codes].copy_(below.hidden_bias)
    layer.hidden_bias[:n_data].copy_(below.visible_bias)
