"""Greedy pretraining, fine-tuning, deep belief nets and Boltzmann machines that are interrupted go on to the bit:
within a layer, between two, and between the stages."""

import itertools

import numpy as np
import pytest
import torch
from linear_problem import N_ROWS, same, without_times

import checkpoints
from pretrain import DBMTraining, DBNTraining, Finetuning, GreedyPretraining
from pretrain.baselines import scratch_network
from pretrain.dbm_settings import DBMSettings
from pretrain.settings import AutoencoderSettings, FinetuneSettings, RBMSettings, SupervisedSettings, TrainingSettings
from pretrain.up_down_settings import UpDownSettings

N_FEATURES = 9
TRAINING = {"epochs": 2, "batch_size": 7, "learning_rate": 0.05}


def rows():
    return np.random.default_rng(3).random((N_ROWS, N_FEATURES), dtype=np.float32).round()


def through_file(state, path):
    checkpoints.save(checkpoints.RunState(state), path)
    return checkpoints.load(path).state


LAYERS = {
    "chains": [
        RBMSettings(gradient_estimator="pcd", training=TrainingSettings(**TRAINING)),
        RBMSettings(hidden_dropout=0.2, training=TrainingSettings(**TRAINING, initial_momentum_epochs=1)),
        RBMSettings(centered=True, training=TrainingSettings(**TRAINING, schedule="cosine")),
    ],
    "noise": AutoencoderSettings(corruption="salt_and_pepper", training=TrainingSettings(**TRAINING)),
    "kinds": [
        RBMSettings(gradient_estimator="fast_pcd", training=TrainingSettings(**TRAINING)),
        AutoencoderSettings(corruption="masking", training=TrainingSettings(**TRAINING, optimizer="adam")),
        SupervisedSettings(training=TrainingSettings(**TRAINING)),
    ],
}


def greedy(settings, seed, **options):
    y = np.arange(N_ROWS) % 3
    X = rows()
    return GreedyPretraining(X, (6, 5, 4), settings, seed=seed, y=y, device="cpu", validation_rows=X[:5], **options)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("stop_after", [0, 3, 8, 12, 24])  # four records an epoch, eight a layer
def test_greedy_pretraining_goes_on(name, stop_after, seed, tmp_path):
    whole = greedy(LAYERS[name], seed)
    records = list(whole)
    first = greedy(LAYERS[name], seed, progress_seconds=0.0)
    seen = [record for record in itertools.islice(first, stop_after) if "progress" not in record]
    state = through_file(first.state_dict(), tmp_path / "state.h5")
    resumed = greedy(LAYERS[name], seed)
    resumed.load_state_dict(state)
    seen += list(resumed)
    assert same(whole.stack.state_dict(), resumed.stack.state_dict())
    assert without_times(records) == without_times(seen)


def finetuning(seed, *, arm="relu-bn", progress_seconds=None, **settings):
    network = scratch_network(arm, N_FEATURES, (8, 6), 3, generator=torch.Generator().manual_seed(seed))
    for layer in network.hidden:
        layer.dropout.rate = 0.3
    X, y = rows(), np.arange(N_ROWS) % 3
    options = FinetuneSettings(
        **{"head_epochs": 1, "shift": 1, **settings},
        training=TrainingSettings(**{**TRAINING, "epochs": 3}, optimizer="adam", early_stopping=True),
    )
    return Finetuning(
        network,
        X,
        y,
        options,
        seed=seed,
        device="cpu",
        validation=(X[:6], y[:6]),
        image_shape=(3, 3),
        progress_seconds=progress_seconds,
    )


@pytest.mark.parametrize("settings", [{}, {"head_epochs": 0, "frozen_layers": (0,)}, {"arm": "relu"}], ids=str)
@pytest.mark.parametrize("stop_after", [0, 2, 4, 7, 8, 16])  # four records an epoch, the head's first
def test_finetuning_goes_on(settings, stop_after, seed, tmp_path):
    whole = finetuning(seed, **settings)
    records = list(whole)
    first = finetuning(seed, progress_seconds=0.0, **settings)
    seen = [record for record in itertools.islice(first, stop_after) if "progress" not in record]
    state = through_file(first.state_dict(), tmp_path / "state.h5")
    resumed = finetuning(seed, **settings)
    resumed.load_state_dict(state)
    seen += list(resumed)
    assert same(whole.network.state_dict(), resumed.network.state_dict())
    assert without_times(records) == without_times(seen)
    assert all(parameter.requires_grad for parameter in resumed.network.parameters())


def belief_net(seed, *, sizes=(6, 5, 4), labels="all", epochs=2, progress_seconds=None, **memory):
    X, y = rows(), np.arange(N_ROWS) % 3
    y = {"all": y, "some": np.where(np.arange(N_ROWS) % 4 == 0, -1, y), "none": None}[labels]
    training = TrainingSettings(**TRAINING)
    below = RBMSettings(gradient_estimator="pcd", training=training)
    top = RBMSettings(**memory, training=training)
    up_down = TrainingSettings(**{**TRAINING, "epochs": epochs}, momentum=0.9, schedule="linear")
    return DBNTraining(
        X,
        y,
        sizes,
        [*[below] * (len(sizes) - 1), top],
        UpDownSettings(n_gibbs_steps=(1, 2), binarize=True, training=up_down),
        seed=seed,
        sample_weight=1 + np.arange(N_ROWS) % 2,
        validation=None if labels == "none" else (X[:6], np.arange(6) % 3),
        device="cpu",
        progress_seconds=progress_seconds,
    )


NETS = {
    "labels": {},
    "few labels, chains": {"labels": "some", "gradient_estimator": "pcd"},
    "no labels, sparse": {"labels": "none", "sparsity_target": 0.1, "centered": True},
    "greedy alone": {"epochs": 0},
}


@pytest.mark.parametrize("options", NETS.values(), ids=NETS)
@pytest.mark.parametrize("stop_after", [3, 16, 18, 24, 27, 31])  # four an epoch, eight a layer
def test_belief_nets_go_on(options, stop_after, seed, tmp_path):
    goes_on(belief_net, "dbn", options, stop_after, seed, tmp_path)


@pytest.mark.parametrize("stop_after", [0, 2, 8, 9])
def test_belief_nets_of_one_layer_go_on(stop_after, seed, tmp_path):
    goes_on(belief_net, "dbn", {"sizes": (4,), "labels": "some"}, stop_after, seed, tmp_path)


def boltzmann_machine(seed, *, sizes=(6, 5, 4), progress_seconds=None, **joint):
    training = TrainingSettings(**TRAINING, momentum=0.9, schedule="linear")
    return DBMTraining(
        rows(),
        sizes,
        RBMSettings(gradient_estimator="mean_field", sparsity_target=0.1, training=TrainingSettings(**TRAINING)),
        DBMSettings(**{"n_chains": 5, "binarize": True, "training": training, **joint}),
        seed=seed,
        sample_weight=1 + np.arange(N_ROWS) % 2,
        device="cpu",
        progress_seconds=progress_seconds,
    )


@pytest.mark.parametrize("options", [{}, {"sizes": (4,)}, {"training": TrainingSettings(epochs=0)}], ids=str)
@pytest.mark.parametrize("stop_after", [0, 3, 8, 9, 24, 27, 32])  # four an epoch, eight a layer
def test_boltzmann_machines_go_on(options, stop_after, seed, tmp_path):
    goes_on(boltzmann_machine, "dbm", options, stop_after, seed, tmp_path)


def goes_on(make, name, options, stop_after, seed, tmp_path):
    whole = make(seed, **options)
    records = list(whole)
    first = make(seed, progress_seconds=0.0, **options)
    seen = [record for record in itertools.islice(first, stop_after) if "progress" not in record]
    state = through_file(first.state_dict(), tmp_path / "state.h5")
    resumed = make(seed, **options)
    resumed.load_state_dict(state)
    seen += list(resumed)
    trained = [getattr(run, name) for run in (whole, resumed)]
    assert same(*(model.state_dict() for model in trained))
    assert without_times(records) == without_times(seen)
    assert all(parameter.grad is None for model in trained for parameter in model.parameters())
