"""Fine-tuning: what it is given, what it refuses, and what its settings do."""

import warnings

import numpy as np
import pytest
import torch
from scipy import sparse
from stacks import rows
from supervised_problem import (
    LABELS,
    N_FEATURES,
    N_ROWS,
    X,
    finetune,
    formula,
    make_network,
    quick,
    same,
    snapshot,
    targets,
    tasks,
)

from pretrain.exceptions import DataError, DivergenceError, SettingsError
from pretrain.finetuning import Finetuning
from pretrain.settings import FinetuneSettings

# Validation ---


@tasks
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_validation_metrics(task, dtype, seed):
    network = make_network(task, seed, dropout=0.5)
    X, y = rows(seed + 5, 11, N_FEATURES).astype(dtype), targets(task, seed + 5, 11)
    record = finetune(network, quick(epochs=1), task=task, seed=seed, validation=(X, y))[-1]
    assert record["validation_loss"] == pytest.approx(formula(network, X, y), rel=1e-5)
    assert ("validation_error" in record) == (task == "classification")
    if task == "classification":
        assert record["validation_error"] == pytest.approx(100 * (network.predict(X) != y).mean())
        assert list(record).index("validation_error") < list(record).index("validation_loss")


def test_validation_does_not_change_the_training(seed):
    plain, validated = make_network(seed=seed, dropout=0.5), make_network(seed=seed, dropout=0.5)
    finetune(plain, seed=seed)
    finetune(validated, seed=seed, validation=(rows(1, 5, N_FEATURES), targets("classification", 1, 5)))
    assert same(plain, snapshot(validated))


@pytest.mark.parametrize("convert", [sparse.csr_matrix, sparse.coo_matrix, torch.from_numpy])
@tasks
def test_sparse_rows_and_tensors(task, convert, seed):
    dense, other = make_network(task, seed), make_network(task, seed)
    X, y = rows(seed, 7, N_FEATURES), targets(task, seed, 7)
    one = finetune(dense, task=task, seed=seed, validation=(X, y))
    two = finetune(other, task=task, seed=seed, X=convert(rows(seed, N_ROWS, N_FEATURES)), validation=(convert(X), y))
    assert same(dense, snapshot(other))
    assert [r["validation_loss"] for r in one] == [r["validation_loss"] for r in two]


def test_early_stopping_restores_the_best_weights(seed):
    network = make_network(seed=seed)
    X, y = rows(seed, N_ROWS, N_FEATURES), targets("classification", seed)
    settings = quick(epochs=40, early_stopping=True, n_iter_no_change=2, learning_rate=0.5)
    records = finetune(network, settings, seed=seed, validation=(X, y))
    errors = [record["validation_error"] for record in records]
    assert errors.index(min(errors)) == len(errors) - 3 or len(errors) == 40
    assert 100 * (network.predict(X) != y).mean() == pytest.approx(min(errors))


@tasks
def test_rows_and_targets_are_left_alone_and_may_be_read_only(task, seed):
    X, y = rows(seed, N_ROWS, N_FEATURES), targets(task, seed)
    arrays = [a for a in (X, y) if a is not None]
    kept = [a.tobytes() for a in arrays]
    for a in arrays:
        a.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        finetune(make_network(task, seed), task=task, seed=seed, X=X, y=y, validation=(X, y))
    assert [a.tobytes() for a in arrays] == kept
    if y is not None:
        backwards = make_network(task, seed)
        finetune(backwards, task=task, seed=seed, X=X, y=y[::-1].copy()[::-1])


# Errors ---


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (quick(frozen_layers=(3,)), "frozen_layers counts from 0: this network has 0 to 2, .*; got 3"),
        (quick(frozen_layers=(0, 1, 2)), "Every layer is frozen; leave at least one free"),
        (quick(layer_learning_rates=(0.0, 0.0, 0.0)), "Every layer is frozen"),
        (quick(layer_learning_rates=(1.0, 1.0)), r"layer_learning_rates of fine-tuning .* exactly 3, .*; got 2"),
        (quick(layer_learning_rates=()), r"exactly 3, .*; got 0"),
        (quick(frozen_layers=(2,), head_epochs=1), "head_epochs of fine-tuning is 1, but the output layer is frozen"),
        (quick(early_stopping=True), "early_stopping needs validation rows"),
    ],
)
def test_illegal_settings(settings, message):
    with pytest.raises(SettingsError, match=message):
        finetune(make_network(), settings)


def test_lbfgs_refuses_dropout():
    with pytest.raises(SettingsError, match="'lbfgs' needs a loss that is the same each time"):
        finetune(make_network(dropout=0.5), quick(optimizer="lbfgs"))


@pytest.mark.parametrize("as_validation", [False, True])
@pytest.mark.parametrize(
    ("task", "X", "y", "message"),
    [
        ("classification", X[:, :5], LABELS, r"takes rows of 13 features; got shape \(23, 5\)"),
        ("classification", X[:0], LABELS[:0], r"got shape \(0, 13\)"),
        ("classification", X, LABELS[:5], r"classification network must have shape \(23,\); got shape \(5,\)"),
        ("classification", X, LABELS + 1, "Class indices must lie in 0 to 2; got 1 to 3"),
        ("classification", X, LABELS - 1, "Class indices must lie in 0 to 2; got -1 to 1"),
        ("classification", X, None, r"must have shape \(23,\); got none"),
        ("regression", X, X[:, 0], r"regression network must have shape \(23, 3\); got shape \(23,\)"),
        ("regression", X, X[:, :1], r"got shape \(23, 1\)"),
    ],
)
def test_data_that_do_not_fit(task, X, y, message, as_validation):
    good = rows(0, N_ROWS, N_FEATURES), targets(task)
    (rows_given, y_given), validation = (good, (X, y)) if as_validation else ((X, y), None)
    with pytest.raises(DataError, match=message):
        Finetuning(make_network(task), rows_given, y_given, quick(), seed=0, device="cpu", validation=validation)


def test_divergence_names_the_stage():
    network = make_network("regression", activations=("identity", "identity"))
    with pytest.raises(DivergenceError, match=r"stage 'finetune', the network, epoch \d+: .*it is 100; try 10\)"):
        finetune(network, quick(learning_rate=100, epochs=20), task="regression")


# Every setting does something ---


EFFECTS = {
    "head_epochs": (quick(), quick(head_epochs=1)),
    "layer_learning_rates": (quick(), quick(layer_learning_rates=(0.5, 1.0, 1.0))),
    "frozen_layers": (quick(), quick(frozen_layers=(0,))),
    "training": (quick(), quick(epochs=3)),
}


def test_every_setting_has_a_row():
    own = {
        "reconstruction_loss",
        "shift",
        "flip",
        "crop",
        "rotation",
        "noise",
        "pseudo_labels",
    }  # of autoencoders, images, unlabelled rows: test_finetuning.py, test_augmentation.py, test_pseudo_labels.py
    assert set(EFFECTS) == set(FinetuneSettings.__dataclass_fields__) - own


@pytest.mark.parametrize("name", EFFECTS)
def test_every_setting_changes_the_result(name, seed):
    one, two, again = (make_network(seed=seed) for _ in range(3))
    finetune(one, EFFECTS[name][0], seed=seed)
    finetune(again, EFFECTS[name][0], seed=seed)
    finetune(two, EFFECTS[name][1], seed=seed)
    assert same(one, snapshot(again))
    assert not same(one, snapshot(two))
