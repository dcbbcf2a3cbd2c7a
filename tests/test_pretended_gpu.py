"""What would fail or wait on a GPU, seen without one: every way of training, on tensors that say they are on "cuda".

No operation mixes devices, and no step of a training waits for the GPU, unless it is listed here with its reason.
What a GPU computes, and how fast, is not seen.
"""

import functools
from collections import Counter

import numpy as np
import pytest
import torch
from pretended_gpu import MixedDevicesError, PretendedGPU, pretended_gpu
from recorded_operations import OperationRecorder
from scipy import sparse
from torch.utils._pytree import tree_leaves

import checkpoints
from pretrain import training
from pretrain.baselines import BASELINES, scratch_autoencoder, scratch_network
from pretrain.dbm_bound import ais_dbm_log_partition, dbm_bound
from pretrain.dbm_settings import DBMSettings
from pretrain.dbm_training import DBMTraining
from pretrain.dbn_training import DBNTraining
from pretrain.exceptions import SettingsError
from pretrain.fantasies import Fantasies
from pretrain.finetuning import Finetuning
from pretrain.greedy import GreedyPretraining
from pretrain.image_architecture import ImageArchitecture
from pretrain.image_networks import ImageNetwork
from pretrain.likelihood import ais_log_partition, log_likelihood, reverse_ais_log_partition
from pretrain.monte_carlo import predict_by_dropout
from pretrain.rbm import RBM
from pretrain.settings import (
    AutoencoderSettings,
    FinetuneSettings,
    RBMSettings,
    SupervisedSettings,
    TrainingSettings,
)
from pretrain.stack import encode_rows
from pretrain.stochastic_depth import give_generators
from pretrain.unrolling import unroll
from pretrain.up_down_settings import UpDownSettings

N_ROWS, N_FEATURES, N_CLASSES, BATCH = 23, 12, 3, 5  # the last batch of an epoch has three rows
IMAGE = (4, 3)
RNG = np.random.default_rng(0)
X = RNG.random((N_ROWS, N_FEATURES)).round().astype(np.float32)
Y = np.arange(N_ROWS) % N_CLASSES
LOOP = {"epochs": 2, "batch_size": BATCH, "learning_rate": 0.05}  # eight steps of a kind: the fourth is recorded


class StepRecorder(OperationRecorder):
    """In place of a CUDA graph: what is recorded may not wait, and draws from generators that the graph knows."""

    def __init__(self, device, generators):
        super().__init__()
        self.generators = generators

    def record(self, step):
        gpu = PretendedGPU.current
        before, gpu.generators = gpu.waits.copy(), set()
        replay = super().record(step)
        assert gpu.waits == before, gpu.waits - before
        assert gpu.generators <= set(self.generators)
        return replay


@pytest.fixture
def gpu(monkeypatch):
    """`gpu.in_steps`: what the host waited for within steps of a training."""
    take = training.TrainingRun._take_step

    def counted(run, rows):
        before = PretendedGPU.current.waits.copy()
        take(run, rows)
        PretendedGPU.current.in_steps += PretendedGPU.current.waits - before

    monkeypatch.setattr(training.TrainingRun, "_take_step", counted)
    monkeypatch.setattr(training, "CudaRecorder", StepRecorder)
    with pretended_gpu(monkeypatch) as mode:
        mode.in_steps = Counter()
        yield mode


def loop_of(**options):
    return TrainingSettings(**{**LOOP, **options})


def layers_of(settings, rows=X, sizes=(7, 5), **options):
    run = GreedyPretraining(rows, sizes, settings, seed=0, y=Y, device="cuda", **options)
    assert all(np.isfinite(record["loss"]) for record in run)
    return run.stack


def test_devices_do_not_mix_and_waiting_is_counted(gpu):
    here, there = torch.ones(3), torch.ones(3, device="cuda")
    assert there.device.type == "cuda"
    with pytest.raises(MixedDevicesError, match=r"aten\.add"):
        here + there
    with pytest.raises(MixedDevicesError, match="generator"):
        torch.rand(3, device="cuda", generator=torch.Generator())
    with pytest.raises(TypeError, match="numpy"):
        there.numpy()
    assert torch.ones(3, device="cuda", dtype=torch.bool).to(there).dtype == torch.float32
    assert torch.nn.functional.one_hot(torch.zeros(2, dtype=torch.int64, device="cuda"), 3).device.type == "cuda"
    assert not gpu.waits
    waiting = [
        lambda x: float(x[0]),
        lambda x: bool(x[0]),
        lambda x: x.cpu(),
        lambda x: x.to("cpu", torch.float64),
        lambda x: x.tolist(),
        lambda x: x.numpy(force=True),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: x.copy_(torch.zeros(3)),
        lambda x: torch.zeros(3).to("cuda"),
        lambda x: torch.tensor([1.0], device="cuda"),
    ]
    for wait in waiting:
        before = gpu.waits.total()
        wait(there)
        assert gpu.waits.total() == before + 1


RBMS = [
    {"monitor": True},
    {"weighted": True, "precision": "bfloat16", "monitor": True},
    {"n_gibbs_steps": 3, "initial_gibbs_steps": 1, "initial_momentum": 0.5, "max_norm": 0.4, "l1": 0.01},
    {"gradient_estimator": "mean_field", "centered": True, "optimizer": "adam", "schedule": "cosine"},
    {"gradient_estimator": "pcd", "sparsity_target": 0.1, "hidden_dropout": 0.3},
    {"gradient_estimator": "fast_pcd", "binarize": True, "precision": "bfloat16"},
    {"epochs": 3, "gradient_estimator": "tempering", "n_temperatures": 3, "n_chains": 4},
    {"initial_visible_bias": "data", "visible_units": "gaussian", "hidden_units": "noisy_relu", "monitor": True},
    {"visible_units": "gaussian_learned", "weighted": True},
    {"visible_units": "spin", "hidden_units": "spin", "sample_reconstruction": True, "monitor": True},
    {"visible_units": "noisy_relu", "hidden_units": "gaussian"},
    {"visible_units": "bernoulli:9+gaussian_learned:2+spin:1", "hidden_units": "softmax:4+spin:3"},
]
FIELDS = set(RBMSettings.__dataclass_fields__)


def rbm_settings(options):
    own = {name: value for name, value in options.items() if name in FIELDS}
    others = {name: value for name, value in options.items() if name not in {*FIELDS, "weighted", "monitor"}}
    return RBMSettings(**own, training=loop_of(**others))


@pytest.mark.parametrize("options", RBMS, ids=str)
def test_steps_of_an_rbm(options, gpu):
    weight = Y + 1.0 if "weighted" in options else None
    monitor = {"validation_rows": X[:4]} if "monitor" in options else {}
    stack = layers_of(rbm_settings(options), sizes=(7,), sample_weight=weight, **monitor)
    assert stack.layers[0].weight.device.type == "cuda"
    assert not gpu.in_steps


def one_hot(rows):
    return np.eye(6, dtype=np.float32)[rows.reshape(len(rows), 2, -1).argmax(axis=2)].reshape(len(rows), -1)


def test_steps_of_categories(gpu):
    layers_of(rbm_settings({"visible_units": "softmax:6+softmax:6"}), one_hot(X), sizes=(7,))
    assert not gpu.in_steps


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ({"visible_units": "replicated_softmax", "sample_reconstruction": True}, {"softmax_units"}),
        ({"missing": "gibbs"}, {"missing_values"}),
    ],
    ids=str,
)
def test_steps_whose_shapes_are_drawn_wait(options, lines, gpu):
    rows = np.where(RNG.random(X.shape) < 0.1, np.nan, X) if "missing" in options else X
    layers_of([rbm_settings(options), rbm_settings({})], rows)
    assert {line.split("pretrain/")[1].split(".py")[0] for line in gpu.in_steps} == lines


AUTOENCODERS = [
    {"corruption": "salt_and_pepper", "emphasis": 1.0},
    {"corruption": "swap", "tied": False, "precision": "bfloat16", "sparsity_target": 0.1},
    {"corruption": "gaussian", "activation": "tanh", "contraction": 0.1, "contraction_higher_order": 0.1},
    {"corruption": "none", "activation": "relu", "reconstruction_loss": "squared_error", "weighted": True},
]


@pytest.mark.parametrize("options", AUTOENCODERS, ids=str)
def test_steps_of_an_autoencoder(options, gpu):
    fields = set(AutoencoderSettings.__dataclass_fields__)
    own = {name: value for name, value in options.items() if name in fields}
    loop = loop_of(optimizer="adam", precision=options.get("precision", "float32"))
    weight = Y + 1.0 if "weighted" in options else None
    layers_of(AutoencoderSettings(**own, training=loop), sample_weight=weight, monitor=True)
    assert not gpu.in_steps


def test_steps_of_supervised_layers(gpu):
    settings = [SupervisedSettings(training=loop_of()), rbm_settings({"visible_units": "bernoulli"})]
    layers_of(settings, strata=torch.from_numpy(Y), monitor=True)
    assert not gpu.in_steps


def finetuned(network, settings=None, *, y=Y, rows=X, **options):
    run = Finetuning(network, rows, y, settings or finetuning(), seed=0, device="cuda", **options)
    assert all(np.isfinite(record["loss"]) for record in run)
    return run.network


def finetuning(*, training=None, **options):
    return FinetuneSettings(**options, training=loop_of(**(training or {})))


def classifier(kind="relu-dropout", sizes=(7, 5)):
    return scratch_network(kind, N_FEATURES, sizes, N_CLASSES, generator=torch.Generator().manual_seed(0))


SPARSE = sparse.csr_matrix(X)
STEADY = {"optimizer": "adam", "early_stopping": True}
OPTIMIZERS = ("rmsprop", "adagrad", "adadelta", "adamax", "nadam", "radam", "asgd", "rprop")
FINETUNINGS = [
    ({"head_epochs": 1, "layer_learning_rates": (0.1, 0.5, 1.0)}, STEADY, X),
    ({"head_epochs": 1}, STEADY, SPARSE),
    ({"frozen_layers": (0,)}, {"nesterov": True, "schedule": "one_cycle", "max_norm": 1.0, "l1": 0.01}, X),
    ({"shift": 1, "flip": True, "crop": 1, "rotation": 10.0, "noise": 0.1}, {"precision": "bfloat16"}, X),
    ({"pseudo_labels": 3.0}, {"epochs": 4, "optimizer": "adamw"}, X),
    *(pytest.param({}, {"optimizer": name}, SPARSE, marks=pytest.mark.slow) for name in OPTIMIZERS),
]


@pytest.mark.parametrize(("options", "loop", "rows"), FINETUNINGS)
def test_steps_of_fine_tuning(options, loop, rows, gpu):
    finetuned(
        classifier(),
        finetuning(**options, training=loop),
        rows=rows,
        sample_weight=None if "pseudo_labels" in options else Y + 1.0,
        validation=(X[:6], Y[:6]),
        validation_weight=Y[:6] + 1.0,
        unlabelled=X[::-1].copy(),
        image_shape=IMAGE,
    )
    set_up = 6 if loop.get("optimizer") == "asgd" else 0  # a number for each parameter, in the first step
    assert gpu.in_steps.total() == set_up


@pytest.mark.slow
@pytest.mark.parametrize("kind", BASELINES)
def test_steps_of_every_network(kind, gpu):
    network = finetuned(classifier(kind))
    assert network.predict(X).shape == (N_ROWS,)
    assert not gpu.in_steps


IMAGES = [
    {"family": "lenet", "depth": 5},
    {"family": "plain", "depth": 8, "width": 3},
    {"depth": 8, "width": 3, "survival_probability": 0.5},
    {"depth": 8, "width": 2, "preactivation": True, "dropout": 0.2},
    {"family": "densely_connected", "depth": 10, "width": 3, "bottleneck": True, "dropout": 0.2},
]


@pytest.mark.parametrize("options", IMAGES, ids=str)
def test_steps_of_networks_of_images(options, gpu):
    network = ImageNetwork(ImageArchitecture((13, 12, 1), N_CLASSES, **options))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(0))
    images = RNG.random((N_ROWS, 13 * 12)).astype(np.float32)
    for precision in ("float32", "bfloat16"):
        finetuned(network, finetuning(training={"epochs": 1, "precision": precision}), rows=images)
    assert not gpu.in_steps
    if network.architecture.survival_probability < 1 or network.architecture.dropout:
        assert predict_by_dropout(network, images, dropout_draws=3).mean.shape == (N_ROWS, N_CLASSES)


def test_steps_of_deep_autoencoders(gpu):
    network = unroll(layers_of(AutoencoderSettings(training=loop_of())), "autoencoder")
    finetuned(network, y=None, validation=(X[:6], None))
    encoder = scratch_autoencoder("relu-bn", N_FEATURES, (7, 5), generator=torch.Generator().manual_seed(0))
    network = finetuned(encoder, finetuning(training={"optimizer": "adam"}), y=None)
    assert network.inverse_transform(network.transform(X)).shape == X.shape
    assert not gpu.in_steps


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["lbfgs", "cg"])
def test_line_searches_run(optimizer, gpu):
    finetuned(classifier("sigmoid"), finetuning(training={"optimizer": optimizer, "batch_size": N_ROWS}))
    assert gpu.in_steps  # the host compares losses


def dbn_of(y, **options):
    run = DBNTraining(
        X, y, (7, 5), rbm_settings({}), UpDownSettings(training=loop_of()), seed=0, device="cuda", **options
    )
    assert all(np.isfinite(record["loss"]) for record in run)
    return run.dbn


@pytest.mark.parametrize("y", [None, Y], ids=["without labels", "with labels"])
def test_steps_of_a_deep_belief_net(y, gpu):
    dbn = dbn_of(y, validation=None if y is None else (X[:6], Y[:6]), sample_weight=Y + 1.0)
    assert not gpu.in_steps
    fantasies = Fantasies(dbn, 3, generator=torch.Generator(device="cuda"))
    fantasies.advance(2)
    assert fantasies.data().device.type == "cuda"


def test_steps_of_a_deep_belief_net_with_rows_without_labels_wait(gpu):
    dbn_of(np.where(Y == 0, -1, Y), classes=np.arange(N_CLASSES))
    assert gpu.in_steps
    assert all("associative_memory.py" in line for line in gpu.in_steps)


@pytest.mark.parametrize("tol", [0.0, 1e-3])
def test_steps_of_a_deep_boltzmann_machine(tol, gpu):
    joint = DBMSettings(n_mean_field_steps=4, mean_field_tol=tol, n_chains=6, training=loop_of())
    run = DBMTraining(X, (7, 5), rbm_settings({}), joint, seed=0, device="cuda", sample_weight=Y + 1.0)
    steps = [record["mean_field_steps"] for record in run if "mean_field_steps" in record]
    assert gpu.in_steps.total() == (0 if tol == 0 else sum(steps) * run.run.batches.n_batches)
    generator = torch.Generator(device="cuda")
    estimate = ais_dbm_log_partition(run.dbm, generator=generator, n_runs=4, n_temperatures=5)
    assert np.isfinite(dbm_bound(run.dbm, X, estimate).mean)


def test_annealing_waits_only_at_its_ends(gpu):
    rbm = RBM(N_FEATURES, 7, generator=torch.Generator().manual_seed(0)).to("cuda")
    generator, waits = torch.Generator(device="cuda"), []
    for n_temperatures in (5, 11):
        before = gpu.waits.total()
        estimate = ais_log_partition(
            rbm, generator=generator, base_mean=torch.full((12,), 0.4), n_runs=4, n_temperatures=n_temperatures
        )
        waits.append(gpu.waits.total() - before)
    assert waits[0] == waits[1]
    rows = torch.from_numpy(X).to("cuda")
    reverse_ais_log_partition(rbm, rows, generator=generator, n_temperatures=5, n_burn_in=2)
    assert np.isfinite(log_likelihood(rbm, rows, estimate).mean)


def greedy():
    settings = [rbm_settings({"gradient_estimator": "pcd", "centered": True}), rbm_settings({"hidden_dropout": 0.2})]
    return GreedyPretraining(X, (7, 5), settings, seed=0, device="cuda", progress_seconds=0.0)


def images(optimizer="sgd"):
    architecture = ImageArchitecture((*IMAGE, 1), N_CLASSES, depth=8, width=2, survival_probability=0.5, dropout=0.2)
    network = ImageNetwork(architecture)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(0))
    settings = finetuning(flip=True, training={"optimizer": optimizer})
    return Finetuning(network, X, Y, settings, seed=0, device="cuda", image_shape=IMAGE, progress_seconds=0.0)


def sparse_rows():
    options = {"seed": 0, "device": "cuda", "progress_seconds": 0.0, "sample_weight": Y + 1.0}
    return Finetuning(classifier(), SPARSE, Y, finetuning(), **options)


def belief_net():
    options = {"seed": 0, "device": "cuda", "progress_seconds": 0.0}
    return DBNTraining(X, Y, (7, 5), rbm_settings({}), UpDownSettings(training=loop_of()), **options)


def boltzmann_machine():
    joint = DBMSettings(n_chains=6, training=loop_of())
    return DBMTraining(X, (7, 5), rbm_settings({}), joint, seed=0, device="cuda", progress_seconds=0.0)


def weights_of(run):
    model = next(getattr(run, name) for name in ("stack", "network", "dbn", "dbm") if hasattr(run, name))
    return model.state_dict()


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        greedy,
        images,
        functools.partial(images, "adam"),
        functools.partial(images, "asgd"),
        sparse_rows,
        belief_net,
        boltzmann_machine,
    ],
    ids=["greedy", "images", "images-adam", "images-asgd", "sparse_rows", "belief_net", "boltzmann_machine"],
)
def test_a_run_goes_on_from_a_file(make, gpu, tmp_path):
    whole, first = make(), make()
    list(whole)
    for _ in range(7):  # within an epoch
        next(first)
    checkpoints.save(checkpoints.RunState(first.state_dict()), tmp_path / "state.h5")
    resumed = make()
    resumed.load_state_dict(checkpoints.load(tmp_path / "state.h5").state)
    list(resumed)
    one, two = weights_of(whole), weights_of(resumed)
    assert all(value.device.type == "cuda" for value in two.values())
    assert all(torch.equal(value, two[name]) for name, value in one.items())


def test_left_out_blocks_are_drawn_on_the_host_by_the_seed(gpu):
    def given(seed, **options):
        network = ImageNetwork(ImageArchitecture((*IMAGE, 1), N_CLASSES, depth=8, width=2, **options))
        generator = torch.Generator(device="cuda").manual_seed(seed)
        return generator, give_generators(network, generator)

    generators = [given(seed, survival_probability=0.5)[1] for seed in (0, 0, 1)]
    assert all(generator.device.type == "cpu" for generator in generators)
    states = [generator.get_state() for generator in generators]
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])
    generator, of_blocks = given(0, dropout=0.2)
    assert of_blocks is generator


def test_a_state_without_that_of_stochastic_depth_is_refused(gpu):
    first, second = images(), images()
    next(first)
    state = first.state_dict()
    del state["run"]["learner"]["blocks"]
    with pytest.raises(SettingsError, match=r"stochastic depth draws from .* Begin the run anew"):
        second.load_state_dict(state)


def test_models_are_saved_from_the_gpu_and_loaded_on_the_host(gpu, tmp_path):
    stack = layers_of(rbm_settings({}))
    models = [stack, finetuned(unroll(stack, n_outputs=N_CLASSES, generator=torch.Generator())), dbn_of(Y)]
    for model in models:
        checkpoints.save(model, tmp_path / "model.h5", overwrite=True)
        again = checkpoints.load(tmp_path / "model.h5")
        pairs = zip(tree_leaves(model.state_dict()), tree_leaves(again.state_dict()), strict=True)
        assert all(type(b) is torch.Tensor and torch.equal(a.cpu(), b) for a, b in pairs)


def test_codes_and_predictions_are_those_of_the_host(gpu):
    stack = layers_of(rbm_settings({}))
    network = finetuned(classifier("relu-bn"))
    codes, outputs = encode_rows(stack, X).cpu(), network.predict_proba(X)
    assert torch.equal(encode_rows(stack.to("cpu"), X), codes)
    assert np.array_equal(network.to("cpu").predict_proba(X), outputs)
    assert codes.dtype == torch.float32


def test_training_that_draws_nothing_is_that_of_the_host(gpu):
    networks = [
        list(run) and run.network
        for run in (
            Finetuning(classifier("relu-bn"), X, Y, finetuning(), seed=0, device=device) for device in ("cpu", "cuda")
        )
    ]
    for name, value in networks[0].state_dict().items():
        assert torch.equal(value, networks[1].state_dict()[name].cpu())
