"""Fitted estimators come back from a checkpoint with their parameters, their model and their fitted attributes."""

import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError

import checkpoints
import pretrain.estimators
from pretrain.exceptions import CheckpointError

N_FEATURES = 7


def fitted(name: str) -> Any:
    cls = getattr(pretrain.estimators, name)
    small = {
        "hidden_layer_sizes": (5, 3),
        "n_components": 5,
        "pretrain_epochs": 1,
        "max_iter": 2,
        "n_iter": 2,
        "batch_size": 13,
        "random_state": 3,
        "device": "cpu",
    }
    known = cls().get_params(deep=False)
    rng = np.random.default_rng(4)
    X, names = rng.random((41, N_FEATURES)), np.array(["ja", "nein", "vielleicht"])
    y = rng.normal(size=41) if name.endswith("Regressor") else names[np.arange(41) % 3]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what so short a training says of itself is not the subject
        return cls(**{key: value for key, value in small.items() if key in known}).fit(X, y)


@pytest.mark.parametrize("name", pretrain.estimators.__all__)
def test_fitted_estimators_come_back(tmp_path: Path, name: str) -> None:
    estimator = fitted(name)
    estimator.feature_names_in_ = np.array([f"spalte {k}" for k in range(N_FEATURES)], dtype=object)
    checkpoints.save(estimator, tmp_path / "model.h5")
    loaded = checkpoints.load(tmp_path / "model.h5")
    assert type(loaded) is type(estimator)
    assert loaded.get_params(deep=False) == estimator.get_params(deep=False)
    state, found = estimator.fitted_state(), loaded.fitted_state()
    for key, tensor in state["model"].state_dict().items():
        assert torch.equal(tensor, found["model"].state_dict()[key]), key
    assert found["history"] == state["history"] == checkpoints.read_history(tmp_path / "model.h5")
    assert set(found["attributes"]) == set(state["attributes"])
    for key, value in state["attributes"].items():
        np.testing.assert_array_equal(found["attributes"][key], value)
        assert type(found["attributes"][key]) is type(value)
    X = np.random.default_rng(6).random((9, N_FEATURES))
    methods = [m for m in ("predict", "predict_proba", "transform") if hasattr(estimator, m)]
    assert methods
    del estimator.feature_names_in_, loaded.feature_names_in_
    for method in methods:
        np.testing.assert_array_equal(getattr(estimator, method)(X), getattr(loaded, method)(X))


def test_an_estimator_that_cannot_be_saved_is_refused_by_name(tmp_path: Path) -> None:
    estimator = fitted("RBMTransformer")
    estimator.random_state = np.random.RandomState(3)
    with pytest.raises(CheckpointError, match="parameter 'random_state' of RBMTransformer must be a number"):
        checkpoints.save(estimator, tmp_path / "m.h5")
    unfitted = pretrain.estimators.RBMTransformer()
    with pytest.raises(CheckpointError, match=r"RBMTransformer is not fitted; call fit") as caught:
        checkpoints.save(unfitted, tmp_path / "m.h5")
    assert isinstance(caught.value.__cause__.__cause__, NotFittedError)
    assert os.listdir(tmp_path) == []


def test_describe_tells_the_class_and_the_parameters(tmp_path: Path) -> None:
    path = tmp_path / "dbn.h5"
    checkpoints.save(fitted("DBNClassifier"), path)
    told = json.loads(json.dumps(checkpoints.describe(path)))
    assert (told["kind"], told["class"], told["model"]) == ("estimator", "DBNClassifier", "network")
    assert told["params"]["hidden_layer_sizes"] == [5, 3]
    assert told["classes"] == ["ja", "nein", "vielleicht"]


def test_a_history_that_is_given_goes_before_the_estimators_own(tmp_path: Path) -> None:
    checkpoints.save(fitted("RBMTransformer"), tmp_path / "m.h5", history=[{"epoch": 7}])
    assert checkpoints.read_history(tmp_path / "m.h5") == [{"epoch": 7}]
    assert checkpoints.load(tmp_path / "m.h5").report_ == [{"epoch": 7}]
