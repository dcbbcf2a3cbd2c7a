"""scikit-learn's fitted RBMs and multi-layer perceptrons as stacks and networks."""

from typing import Any

import numpy as np
import torch
from sklearn.exceptions import NotFittedError
from sklearn.neural_network import BernoulliRBM, MLPClassifier, MLPRegressor
from sklearn.utils.validation import check_is_fitted

from checkpoints.plain_modules import copy_linear
from pretrain.architecture import Architecture
from pretrain.exceptions import CheckpointError
from pretrain.network import Network
from pretrain.rbm import RBM
from pretrain.stack import Stack

_ACTIVATIONS = {"logistic": "sigmoid", "tanh": "tanh", "relu": "relu", "identity": "identity"}


def from_sklearn(estimator: Any) -> Stack | Network:
    """The stack of a fitted `BernoulliRBM`, or the network of a fitted `MLPClassifier` or `MLPRegressor`.

    The weights are rounded to float32. A perceptron for two classes has one output a in scikit-learn; here it has
    two, 0 and a, which a softmax turns into the same probabilities.

    Parameters
    ----------
    estimator : BernoulliRBM, MLPClassifier or MLPRegressor
        Fitted.

    Raises
    ------
    CheckpointError
        If the estimator is another one, not fitted, a classifier of several labels a row, or a regressor of counts.
    """
    if not isinstance(estimator, BernoulliRBM | MLPClassifier | MLPRegressor):
        raise CheckpointError(
            f"from_sklearn takes a BernoulliRBM, MLPClassifier or MLPRegressor; got {type(estimator).__name__}."
        )
    try:
        check_is_fitted(estimator)
    except NotFittedError as error:
        raise CheckpointError(f"The {type(estimator).__name__} is not fitted; call fit first.") from error
    return _stack(estimator) if isinstance(estimator, BernoulliRBM) else _network(estimator)


@torch.no_grad()
def _stack(estimator: Any) -> Stack:
    n_hidden, n_visible = estimator.components_.shape
    rbm = RBM(n_visible, n_hidden)
    rbm.weight.copy_(torch.from_numpy(estimator.components_))
    rbm.hidden_bias.copy_(torch.from_numpy(estimator.intercept_hidden_))
    rbm.visible_bias.copy_(torch.from_numpy(estimator.intercept_visible_))
    return Stack([rbm])


def _network(estimator: Any) -> Network:
    weights, biases = [w.T for w in estimator.coefs_], list(estimator.intercepts_)
    classifies = isinstance(estimator, MLPClassifier)
    if estimator.out_activation_ not in ("logistic", "softmax", "identity"):
        raise CheckpointError(
            f"A perceptron with outputs of type {estimator.out_activation_} has no counterpart here."
        )
    if estimator.out_activation_ == "logistic":
        if len(biases[-1]) > 1:
            raise CheckpointError("A classifier of several labels a row has no counterpart here.")
        weights[-1] = np.vstack([np.zeros_like(weights[-1]), weights[-1]])
        biases[-1] = np.concatenate([[0.0], biases[-1]])
    sizes = tuple(len(bias) for bias in biases[:-1])
    network = Network(
        Architecture(
            n_features=estimator.n_features_in_,
            n_outputs=len(biases[-1]),
            hidden_layer_sizes=sizes,
            activations=(_ACTIVATIONS[estimator.activation],) * len(sizes),
            output_activation="softmax" if classifies else "identity",
            task="classification" if classifies else "regression",
        ),
        classes=estimator.classes_ if classifies else None,
    )
    linears = [*(layer.linear for layer in network.hidden), network.head]
    for linear, weight, bias in zip(linears, weights, biases, strict=True):
        copy_linear(linear, weight, bias)
    return network.eval()
