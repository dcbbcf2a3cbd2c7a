"""Every estimator, small enough to be fitted in an instant, and what to ask of it."""

import numpy as np
import pytest
import torch

import pretrain.estimators

N_ROWS, N_FEATURES = 61, 7
NAMES = pretrain.estimators.__all__
CLASSIFIERS = ["DBNClassifier", "SDAEClassifier", "ScratchClassifier"]
REGRESSORS = ["DBNRegressor", "SDAERegressor", "ScratchRegressor"]
PRETRAINED = ["DBNClassifier", "DBNRegressor", "SDAEClassifier", "SDAERegressor"]
every_estimator = pytest.mark.parametrize("name", NAMES)
every_classifier = pytest.mark.parametrize("name", CLASSIFIERS)
every_regressor = pytest.mark.parametrize("name", REGRESSORS)
every_supervised = pytest.mark.parametrize("name", CLASSIFIERS + REGRESSORS)
every_pretrained = pytest.mark.parametrize("name", PRETRAINED)


def make(name, **changes):
    """A small estimator of two layers, 5 and 3 units, that trains for an instant."""
    small = {
        "hidden_layer_sizes": (5, 3),
        "n_components": 3,
        "pretrain_epochs": 2,
        "n_iter": 2,
        "max_iter": 3,
        "head_epochs": 0,
        "batch_size": 13,
        "pretrain_batch_size": 17,
        "up_down_epochs": 2,
        "up_down_batch_size": 13,
        "random_state": 0,
    }
    if name in PRETRAINED:
        small["dropout"] = 0.0
    cls = getattr(pretrain.estimators, name)
    return cls(**{k: v for k, v in small.items() if k in cls().get_params()} | changes)


def rows(seed=0, n=N_ROWS):
    return np.random.default_rng(seed).uniform(0.1, 0.9, size=(n, N_FEATURES))


def targets(name, X):
    if name.endswith("Regressor"):
        return X[:, 0] - 2 * X[:, 1]
    return (X[:, 0] > X[:, 1]).astype(int) + (X[:, 2] > 0.5)


def fitted(name, X=None, **changes):
    X = rows() if X is None else X
    return make(name, **changes).fit(X, targets(name, X))


def model_of(estimator):
    return estimator.fitted_state()["model"]


def same_weights(first, second):
    first, second = model_of(first).state_dict(), model_of(second).state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def answers(estimator, X):
    """All that an estimator says of rows, by method."""
    methods = ("predict", "predict_proba", "predict_log_proba", "transform")
    return {method: getattr(estimator, method)(X) for method in methods if hasattr(estimator, method)}
