"""Steps that are recorded once and replayed: the weights are those of steps that were taken one by one.

On a CPU a recorder of operations stands for the GPU's, and the device "meta", whose tensors have no values, shows
that a step asks for none: on a GPU that would wait for all that is under way.
"""

import copy
import gc
import itertools
import weakref

import pytest
import torch
from linear_problem import same, weights_of, without_times
from recorded_operations import Allocations, OperationRecorder, storage_of
from torch.utils._pytree import tree_leaves

from pretrain.batches import Batch, BatchSource
from pretrain.conditionals import Conditionals
from pretrain.contrastive import ContrastiveDivergence
from pretrain.cuda_graph import WARM_UP_STEPS, StepGraphs
from pretrain.random_streams import RandomStreams
from pretrain.rbm import RBM
from pretrain.settings import RBMSettings, TrainingSettings
from pretrain.training import TrainingRun

N_ROWS, N_VISIBLE, N_HIDDEN, BATCH = 37, 6, 5, 5  # eight batches an epoch, the last of two rows
EPOCHS = 6
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

STEPS = [
    {},
    {"dtype": torch.bfloat16},
    {"weighted": True},
    {"n_gibbs_steps": 3, "initial_gibbs_steps": 1},
    {"initial_momentum": 0.5, "initial_momentum_epochs": 3, "max_norm": 0.4, "l1": 0.01},
    {"gradient_estimator": "mean_field", "centered": True, "weighted": True},
    {"gradient_estimator": "pcd", "sparsity_target": 0.1, "hidden_dropout": 0.3},
    {"gradient_estimator": "pcd", "n_chains": 4, "visible_units": "gaussian_learned"},
    {"gradient_estimator": "fast_pcd", "binarize": True, "dtype": torch.bfloat16},
    {"gradient_estimator": "tempering", "n_temperatures": 3},
    {"visible_units": "bernoulli:2+softmax:2+softmax:1+gaussian:1", "sample_reconstruction": True},
    {"hidden_units": "noisy_relu", "visible_units": "spin", "sample_reconstruction": True},
]
ON_THE_HOST = [
    {"missing": "gibbs"},
    {"visible_units": "replicated_softmax", "sample_reconstruction": True},
]
LOOP = ("weighted", "initial_momentum", "initial_momentum_epochs", "max_norm", "l1", "optimizer", "schedule")


def learner_of(options, *, seed=0, device="cpu"):
    options = {k: v for k, v in options.items() if k not in LOOP}
    dtype = options.pop("dtype", torch.float32)
    settings = RBMSettings(**options)
    units = {"visible_units": settings.visible_units, "hidden_units": settings.hidden_units}
    rbm = RBM(N_VISIBLE, N_HIDDEN, generator=torch.Generator().manual_seed(seed), **units).to(device)
    if device == "meta":
        return ContrastiveDivergence(rbm, settings, generator=torch.Generator(), dtype=dtype)
    return rbm.learning_rule(settings, streams=RandomStreams(seed), layer=0, dtype=dtype)


def run_of(options, seed, *, device="cpu", progress_seconds=None):
    loop = {k: v for k, v in options.items() if k in LOOP[1:]}
    training = TrainingSettings(**{"epochs": EPOCHS, "batch_size": BATCH, "learning_rate": 0.05} | loop)
    X = torch.rand(N_ROWS, N_VISIBLE, generator=torch.Generator().manual_seed(99)).round()
    batches = BatchSource(
        X,
        sample_weight=torch.arange(N_ROWS) // BATCH if "weighted" in options else None,  # in one batch no row counts
        batch_size=BATCH,
        generator=RandomStreams(seed).generator("batches", layer=0),
        device=torch.device(device),
    )
    learner = learner_of(options, seed=seed, device=device)
    return TrainingRun(learner, batches, training, stage="pretrain", layer=0, progress_seconds=progress_seconds)


def recorded(run):
    recorder = OperationRecorder()
    run.graphs = StepGraphs(recorder)
    return recorder


def same_state(one, two):
    pairs = zip(tree_leaves(one.state_dict()), tree_leaves(two.state_dict()), strict=True)
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


@pytest.mark.parametrize("options", STEPS, ids=str)
def test_replayed_steps_equal_those_that_are_taken(options, seed):
    plain, graphed = run_of(options, seed), run_of(options, seed)
    recorder = recorded(graphed)
    assert without_times(list(plain)) == without_times(list(graphed))
    assert same(weights_of(plain), weights_of(graphed))
    assert same_state(plain.learner, graphed.learner)
    assert recorder.replays > EPOCHS  # of 48 steps


def test_every_step_of_a_kind_but_the_first_is_replayed(seed):
    run = run_of({"initial_momentum": 0.5, "initial_momentum_epochs": 3}, seed)
    recorder = recorded(run)
    list(run)
    kinds = 2  # momenta; of the short last batch there are three each, which are too few
    assert recorder.replays == 7 * EPOCHS - kinds * (WARM_UP_STEPS + 1)


@pytest.mark.parametrize("options", [{}, {"gradient_estimator": "tempering"}, {"gradient_estimator": "pcd"}], ids=str)
def test_a_recorded_run_is_resumed_in_the_middle(options, seed):
    whole, first = run_of(options, seed), run_of(options, seed, progress_seconds=0.0)
    recorded(first)
    for _ in itertools.islice(first, 13):
        pass
    state = copy.deepcopy(first.state_dict())
    for _ in itertools.islice(first, 5):  # what was recorded before must not be used after the state is loaded
        pass
    first.load_state_dict(state)
    assert list(whole)[-1]["loss"] == list(first)[-1]["loss"]
    assert same(weights_of(whole), weights_of(first))


@pytest.mark.parametrize(
    "options", [*ON_THE_HOST, {"optimizer": "adam"}, {"schedule": "cosine"}, {"schedule": "step"}], ids=str
)
def test_steps_that_need_the_host_are_never_recorded(options, seed):
    run = run_of(options, seed)
    recorder = recorded(run)
    list(run)
    assert recorder.replays == 0


def test_a_run_that_is_over_keeps_no_graphs(seed):
    run = run_of({}, seed)
    recorder = recorded(run)
    kept = [len(run.graphs._graphs) for _ in run]
    assert recorder.replays > 0
    assert kept[-2] > 0
    assert kept[-1] == 0  # what they hold of a GPU's memory is free while the run is kept


def test_a_run_that_is_over_leaves_nothing_for_the_garbage_collector(seed):
    run = run_of({}, seed)
    recorder = recorded(run)
    batches = weakref.ref(run.batches)  # they hold rows, on a GPU all of them
    gc.disable()
    try:
        list(run)
        del run
        assert batches() is None
    finally:
        gc.enable()
    assert recorder.replays > 0


@pytest.mark.parametrize("options", STEPS, ids=str)
def test_no_step_with_a_key_asks_for_values(options):
    learner = learner_of(options, device="meta")
    weight = torch.ones(BATCH, device="meta") if "weighted" in options else None
    for _ in range(2):
        assert learner.step_key() is not None
        learner.fill_gradients(Batch(torch.zeros(BATCH, N_VISIBLE, device="meta"), weight=weight))


@pytest.mark.parametrize("options", ON_THE_HOST, ids=str)
def test_steps_without_a_key_ask_for_values(options):
    learner = learner_of(options, device="meta")
    assert learner.step_key() is None
    with pytest.raises(RuntimeError, match=r"item\(\) cannot be called on meta tensors"):
        learner.fill_gradients(Batch(torch.zeros(BATCH, N_VISIBLE, device="meta")))


def test_plain_contrastive_divergence_allocates_no_rows_and_no_weights(seed):
    run = run_of({}, seed)
    next(run)
    with Allocations() as allocations:
        for k in (*range(run.batches.n_batches), 0):  # short batch and back
            run._step(run.batches.rows(k))
    assert max(allocations.sizes) <= 8  # a loss in float64


def addresses(thing, path=""):
    """Where the tensors are that an object of the package holds, by name."""
    if isinstance(thing, torch.Tensor):
        return {path: storage_of(thing)} | ({} if thing.grad is None else {f"{path}.grad": storage_of(thing.grad)})
    if isinstance(thing, torch.nn.Module):
        items = dict(thing.named_parameters())
    elif isinstance(thing, tuple | list):
        items = dict(enumerate(thing))
    else:
        items = dict(vars(thing)) if type(thing).__module__.startswith("pretrain.") else {}
    if isinstance(thing, Conditionals):  # every step loads these anew
        items = {name: item for name, item in items.items() if name not in ("weight", "visible_bias", "hidden_bias")}
    return {k: v for name, item in items.items() for k, v in addresses(item, f"{path}.{name}").items()}


@pytest.mark.parametrize("options", STEPS, ids=str)
def test_what_a_step_leaves_for_the_next_stays_where_it_is(options, seed):
    run = run_of(options, seed)
    next(run)
    before = addresses(run.learner)
    next(run)
    assert addresses(run.learner) == before


@CUDA
@pytest.mark.parametrize("options", STEPS, ids=str)
def test_on_a_gpu_replayed_steps_equal_those_that_are_taken(options, seed):
    plain, graphed = (run_of(options, seed, device="cuda") for _ in range(2))
    plain.graphs = None
    assert without_times(list(plain)) == without_times(list(graphed))
    assert same(weights_of(plain), weights_of(graphed))
    assert same_state(plain.learner, graphed.learner)


@CUDA
def test_on_a_gpu_no_step_waits_for_the_device(seed):
    run = run_of({}, seed, device="cuda")
    next(run)
    run.batches.shuffle()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for k in range(run.batches.n_batches - 1):
            run._take_step(run.batches.rows(k))
    finally:
        torch.cuda.set_sync_debug_mode("default")
