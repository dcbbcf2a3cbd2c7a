"""A run that is interrupted and resumed equals one that is not, to the bit."""

import copy
import functools
import itertools

import pytest
import torch
from linear_problem import N_ROWS, same, weights_of, without_times

from checkpoints.run_state import RunState, build_run_state, encode_run_state
from pretrain.autoencoder import Autoencoder
from pretrain.batches import BatchSource
from pretrain.layer_run import layer_run
from pretrain.random_streams import RandomStreams
from pretrain.rbm import RBM
from pretrain.settings import AutoencoderSettings, RBMSettings, SupervisedSettings, TrainingSettings
from pretrain.supervised_layer import SupervisedLayer
from pretrain.supervised_pretraining import supervised_learner
from pretrain.training import TrainingRun
from pretrain.training_settings import OPTIMIZERS, SCHEDULES


def stored(state):
    """The state as a file gives it back."""
    return build_run_state(encode_run_state(RunState(copy.deepcopy(state))), "").state


def autoencoder_run(seed, *, validation=None, progress_seconds=None, options=None, **training):
    settings = AutoencoderSettings(
        **(options or {"corruption": "none"}),
        training=TrainingSettings(epochs=4, batch_size=7, learning_rate=0.05, **training),
    )
    layer = Autoencoder(5, 3, generator=torch.Generator().manual_seed(seed))
    X = torch.rand(N_ROWS, 5, generator=torch.Generator().manual_seed(99))
    streams = RandomStreams(seed)
    device = torch.device("cpu")
    source = BatchSource(X, batch_size=7, generator=streams.generator("batches", layer=0), device=device)
    learner = layer.learning_rule(settings, streams=streams, layer=0, dtype=torch.float32)
    return TrainingRun(
        learner,
        source,
        settings.training,
        stage="pretrain",
        layer=0,
        validation=validation,
        progress_seconds=progress_seconds,
    )


RESUMED = [
    *({"optimizer": name} for name in OPTIMIZERS),
    *({"schedule": name, "decay_epochs": 1} for name in SCHEDULES),
    {"initial_momentum": 0.5, "initial_momentum_epochs": 1},
    {"nesterov": True, "max_norm": 0.5, "l1": 0.01, "weight_decay": 0.01},
]


@pytest.mark.parametrize("training", RESUMED, ids=lambda t: "-".join(map(str, next(iter(t.items())))))
@pytest.mark.parametrize("stop_after", [2, 4, 7])
def test_interrupted_and_resumed_equals_uninterrupted(training, stop_after, seed):
    whole = autoencoder_run(seed, **training)
    list(whole)
    first = autoencoder_run(seed, progress_seconds=0.0, **training)
    for _ in itertools.islice(first, stop_after):  # four records an epoch: in the middle, at the end, in the second
        pass
    state = stored(first.state_dict())
    resumed = autoencoder_run(seed + 17, **training)  # other weights, another order: all of it is in the state
    resumed.load_state_dict(state)
    list(resumed)
    assert same(weights_of(whole), weights_of(resumed))
    assert without_times(whole.history) == without_times(resumed.history)


NOISES = [
    *({"corruption": name} for name in ("masking", "gaussian", "salt_and_pepper", "swap")),
    {"corruption": "none", "contraction_higher_order": 1.0, "sparsity_target": 0.1},
    {"corruption": "salt_and_pepper", "emphasis": 1.0, "contraction": 0.1, "contraction_higher_order": 1.0},
]


@pytest.mark.parametrize("options", NOISES, ids=str)
@pytest.mark.parametrize("stop_after", [2, 4, 7])
def test_autoencoders_continue_with_the_noise_that_was_due(options, stop_after, seed):
    whole = autoencoder_run(seed, options=options)
    list(whole)
    first = autoencoder_run(seed, progress_seconds=0.0, options=options)
    for _ in itertools.islice(first, stop_after):
        pass
    state = stored(first.state_dict())
    resumed = autoencoder_run(seed + 17, options=options)
    resumed.load_state_dict(state)
    list(resumed)
    assert same(weights_of(whole), weights_of(resumed))
    assert without_times(whole.history) == without_times(resumed.history)


def rbm_run(seed, *, progress_seconds=None, dtype=torch.float32, sample_weight=None, **options):
    """A run of four epochs with four batches each, the last of two rows."""
    training = TrainingSettings(epochs=4, batch_size=7, learning_rate=0.05)
    settings = RBMSettings(**options, training=training)
    rbm = RBM(5, 3, visible_units=settings.visible_units, generator=torch.Generator().manual_seed(seed))
    X = torch.rand(N_ROWS, 5, generator=torch.Generator().manual_seed(99)).round()
    streams = RandomStreams(seed)
    source = BatchSource(
        X,
        sample_weight=sample_weight,
        batch_size=7,
        generator=streams.generator("batches", layer=0),
        device=torch.device("cpu"),
    )
    learner = rbm.learning_rule(settings, streams=streams, layer=0, dtype=dtype)
    return TrainingRun(learner, source, training, stage="pretrain", layer=0, progress_seconds=progress_seconds)


ESTIMATORS = [
    {"n_gibbs_steps": 5, "initial_gibbs_steps": 1},
    {"gradient_estimator": "mean_field", "centered": True},
    {"gradient_estimator": "pcd", "sparsity_target": 0.1, "hidden_dropout": 0.3},
    {"gradient_estimator": "pcd", "n_chains": 5, "visible_units": "gaussian_learned"},
    {"gradient_estimator": "fast_pcd", "fast_learning_rate": 0.5, "binarize": True},
    {"gradient_estimator": "tempering", "n_temperatures": 4, "sample_weight": torch.arange(N_ROWS)},
    {"gradient_estimator": "tempering", "dtype": torch.bfloat16, "n_gibbs_steps": 2, "centered": True},
]


@pytest.mark.parametrize("options", ESTIMATORS, ids=str)
@pytest.mark.parametrize("stop_after", [2, 4, 7])
def test_rbms_continue_in_the_middle_of_an_epoch(options, stop_after, seed):
    whole = rbm_run(seed, **options)
    list(whole)
    first = rbm_run(seed, progress_seconds=0.0, **options)
    for _ in itertools.islice(first, stop_after):
        pass
    state = stored(first.state_dict())
    resumed = rbm_run(seed + 17, **options)
    resumed.load_state_dict(state)
    list(resumed)
    assert same(weights_of(whole), weights_of(resumed))
    assert without_times(whole.history) == without_times(resumed.history)


def supervised_run(seed, *, progress_seconds=None, regression=False, **training):
    layer = SupervisedLayer(5, 3, generator=torch.Generator().manual_seed(seed))
    X = torch.rand(N_ROWS, 5, generator=torch.Generator().manual_seed(99))
    y, streams = X[:, :2] if regression else torch.arange(N_ROWS) % 3, RandomStreams(seed)
    return layer_run(
        layer,
        X,
        SupervisedSettings(training=TrainingSettings(epochs=4, batch_size=7, learning_rate=0.05, **training)),
        streams=streams,
        layer_index=1,
        learner=functools.partial(supervised_learner, layer, y, streams=streams, layer_index=1),
        y=y,
        progress_seconds=progress_seconds,
    )


@pytest.mark.parametrize("options", [{}, {"regression": True}, {"optimizer": "adam", "schedule": "cosine"}], ids=str)
@pytest.mark.parametrize("stop_after", [2, 4, 7])
def test_supervised_layers_continue_with_their_output_layer(options, stop_after, seed):
    whole = supervised_run(seed, **options)
    list(whole)
    first = supervised_run(seed, progress_seconds=0.0, **options)
    for _ in itertools.islice(first, stop_after):
        pass
    state = stored(first.state_dict())
    resumed = supervised_run(seed + 17, **options)
    resumed.load_state_dict(state)
    list(resumed)
    assert same(weights_of(whole), weights_of(resumed))
    assert without_times(whole.history) == without_times(resumed.history)


def test_early_stopping_resumes_with_its_best_weights(seed):
    metrics = [5.0, 1.0, 2.0, 3.0]

    def scripted(start):
        script = iter(metrics[start:])
        return lambda: {"validation_error": next(script)}

    training = {"early_stopping": True, "n_iter_no_change": 2}
    whole = autoencoder_run(seed, validation=scripted(0), **training)
    list(whole)
    first = autoencoder_run(seed, validation=scripted(0), **training)
    for _ in itertools.islice(first, 3):
        pass
    resumed = autoencoder_run(seed + 17, validation=scripted(3), **training)
    resumed.load_state_dict(stored(first.state_dict()))
    list(resumed)
    assert same(weights_of(whole), weights_of(resumed))
    assert same(weights_of(resumed), whole.best["weights"])
    finished = autoencoder_run(seed + 17, validation=scripted(3), **training)
    finished.load_state_dict(stored(whole.state_dict()))
    assert list(finished) == []
