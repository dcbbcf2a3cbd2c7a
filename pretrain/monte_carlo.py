"""Monte Carlo dropout: predictions averaged over networks with units dropped, and how far these differ.

At test time a network with dropout predicts with all of its units (weight scaling, `Network.predict`), which stands
for the mean over the networks that dropping units makes of it. That mean can be estimated too, by drawing them [1]_
(section 7.5); their variance is what the network does not know about a row [2]_.

References
----------
.. [1] Srivastava, N. et al. (2014). Dropout: a simple way to prevent neural networks from overfitting. JMLR 15.
.. [2] Gal, Y. & Ghahramani, Z. (2016). Dropout as a Bayesian approximation: representing model uncertainty in deep
       learning. ICML.
"""

from typing import Any, NamedTuple

import numpy as np
import torch

from pretrain._validation import require_number
from pretrain.activations import activation_function
from pretrain.dropout import RandomLayer
from pretrain.exceptions import SettingsError
from pretrain.network import Network
from pretrain.random_streams import RandomStreams
from pretrain.stack import map_rows
from pretrain.stochastic_depth import give_generators


class MonteCarloPrediction(NamedTuple):
    """Mean and (unbiased) variance over the draws: probabilities of classes or labels, or targets in their units.

    Both are (n_samples, n_outputs); the variance has the square of the unit of the mean.
    """

    mean: np.ndarray
    variance: np.ndarray


def predict_by_dropout(network: Network, X: Any, *, dropout_draws: int = 50, seed: int = 0) -> MonteCarloPrediction:
    """Predict raw rows with units dropped, several times.

    Parameters
    ----------
    network : Network
        For classification or regression, with dropout or stochastic depth; it is left in evaluation mode. Batch norm
        uses its running statistics.
    X : ndarray of shape (n_samples, n_features)
    dropout_draws : int
        How many networks are drawn; each drops units of every row anew.
    seed : int

    Returns
    -------
    MonteCarloPrediction
        Of a classifier, `network.classes[mean.argmax(axis=1)]` are the labels. The variance of a regressor is that of
        its mean; the noise of the targets comes on top of it.

    Raises
    ------
    SettingsError
        If the network drops nothing, or reconstructs, or for fewer than 2 draws.
    """
    require_number("predict_by_dropout", "dropout_draws", dropout_draws, at_least=2, integer=True)
    spec = network.architecture
    if spec.task == "reconstruction":
        raise SettingsError("predict_by_dropout needs a network for classification or regression; this reconstructs.")
    if not any(layer.rate > 0 for layer in random_layers(network)):
        raise SettingsError(
            "The network drops nothing, so every draw would be the same. Train one with dropout above 0, such as "
            "kind 'relu-dropout', or set the dropout of its architecture."
        )
    device = next(network.parameters()).device
    generator = RandomStreams(seed).generator("dropout", device=device)

    def moments(module: Network, rows: torch.Tensor) -> torch.Tensor:
        return _moments(module, rows, dropout_draws, generator)

    found = map_rows(network.eval(), moments, network.scaled(X), 2 * spec.n_outputs).numpy(force=True)
    mean, variance = found[:, : spec.n_outputs], found[:, spec.n_outputs :]
    if spec.task == "regression":
        return MonteCarloPrediction(network.target_scaling.undo(mean), variance * network.target_scaling.scale**2)
    return MonteCarloPrediction(mean, variance)


def random_layers(network: Network) -> list[RandomLayer]:
    """What drops units or blocks."""
    return [module for module in network.modules() if isinstance(module, RandomLayer)]


def _moments(module: Network, rows: torch.Tensor, n_draws: int, generator: torch.Generator) -> torch.Tensor:
    """Means and variances side by side, (batch, 2 n_outputs); updated draw by draw, as Welford does."""
    layers = random_layers(module)
    give_generators(module, generator)
    for layer in layers:
        layer.train()
    activate = activation_function(module.architecture.output_activation)
    mean, squares = torch.zeros(()), torch.zeros(())
    for draw in range(1, n_draws + 1):
        output = activate(module(rows))
        difference = output - mean.to(output)
        mean = mean.to(output) + difference / draw
        squares = squares.to(output) + difference * (output - mean)
    for layer in layers:
        layer.generator = None
        layer.eval()
    return torch.cat([mean, squares / (n_draws - 1)], dim=1)
