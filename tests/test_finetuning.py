"""Fine-tuning: what moves, what does not, and by how much."""

import copy
import warnings

import numpy as np
import pytest
import torch
from oracles import finite_difference
from scipy import sparse
from scipy.special import expit, log_softmax
from stacks import make_stack, rows
from torch import nn

from pretrain.batches import Batch
from pretrain.exceptions import DataError, DivergenceError, SettingsError
from pretrain.finetuning import BackpropLearner, Finetuning, network_loss
from pretrain.hidden_layers import Dropout
from pretrain.network import Architecture, Network, unroll
from pretrain.settings import FinetuneSettings, TrainingSettings

N_ROWS, N_FEATURES, N_OUTPUTS = 23, 13, 3
TASKS = ("classification", "regression", "reconstruction")
tasks = pytest.mark.parametrize("task", TASKS)
OUTPUTS = {"classification": "softmax", "regression": "identity", "reconstruction": "sigmoid"}


def make_network(task="classification", seed=0, **options):
    n_outputs = N_FEATURES if task == "reconstruction" else N_OUTPUTS
    fields = {"hidden_layer_sizes": (7, 5), "activations": ("tanh", "sigmoid"), "output_activation": OUTPUTS[task]}
    network = Network(Architecture(N_FEATURES, n_outputs, task=task, **{**fields, **options}))
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator)
    return network


def targets(task, seed=0, n=N_ROWS):
    rng = np.random.default_rng(seed + 10)
    if task == "classification":
        return rng.integers(0, N_OUTPUTS, size=n)
    return rng.normal(size=(n, N_OUTPUTS)) if task == "regression" else None


def quick(*, head_epochs=0, layer_learning_rates=None, frozen_layers=(), **training):
    fields = {"epochs": 2, "batch_size": 7, "learning_rate": 0.05, "momentum": 0.5, **training}
    return FinetuneSettings(head_epochs, layer_learning_rates, frozen_layers, TrainingSettings(**fields))


def finetune(network, settings=None, *, task="classification", seed=0, X=None, y=None, **options):
    """Train in place; the records."""
    X = rows(seed, N_ROWS, N_FEATURES) if X is None else X
    y = targets(task, seed) if y is None else y
    return list(Finetuning(network, X, y, settings or quick(), seed=seed, device="cpu", **options))


def snapshot(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(module, before):
    return all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def moved(module, before):
    return not any(
        torch.equal(value, before[name]) for name, value in module.state_dict().items() if value.dtype.is_floating_point
    )


def learner_of(network, factors=None, dtype=torch.float32):
    factors = factors or [1.0] * (len(network.hidden) + 1)
    return BackpropLearner(network, rate_factors=factors, generator=torch.Generator().manual_seed(5), dtype=dtype)


# Losses and gradients -------------------------------------------------------------------------------------------------


def formula(network, X, y):
    """Mean loss a row in float64."""
    h = X.astype(np.float64)
    for layer, function in zip(network.hidden, (np.tanh, expit), strict=True):
        h = function(h @ layer.linear.weight.detach().double().numpy().T + layer.linear.bias.detach().double().numpy())
    output = h @ network.head.weight.detach().double().numpy().T + network.head.bias.detach().double().numpy()
    if network.architecture.task == "classification":
        return -log_softmax(output, axis=1)[np.arange(len(X)), y].mean()
    target = X.astype(np.float64) if y is None else y
    if network.architecture.output_activation == "identity":
        return ((output - target) ** 2).sum() / len(X)
    return -(target * np.log(expit(output)) + (1 - target) * np.log(expit(-output))).sum() / len(X)


def as_batch(X, y):
    return Batch(torch.from_numpy(X), None if y is None else torch.from_numpy(y if y.dtype.kind == "i" else np.float32(y)))


@pytest.mark.parametrize(
    ("task", "output"), [*OUTPUTS.items(), ("reconstruction", "identity"), ("regression", "sigmoid")]
)
def test_loss_and_gradient(task, output, seed):
    network = make_network(task, seed, output_activation=output)
    X, y = rows(seed, N_ROWS, N_FEATURES), targets(task, seed)
    if output == "sigmoid" and task == "regression":
        y = expit(y)
    batch = as_batch(X, y)
    value = learner_of(network).fill_gradients(batch)
    assert value.item() == pytest.approx(formula(network, X, y), rel=1e-5)
    assert network_loss(network, network(batch.X), batch).item() == pytest.approx(value.item(), rel=1e-6)
    exact = network.double()
    for name, parameter in exact.named_parameters():
        expected = finite_difference(lambda: formula(exact, X, y), parameter)
        np.testing.assert_allclose(parameter.grad, expected, rtol=1e-4, atol=2e-5, err_msg=name)


@tasks
def test_bfloat16_is_close_to_float32(task, seed):
    batch = as_batch(rows(seed, N_ROWS, N_FEATURES), targets(task, seed))
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        network = make_network(task, seed)
        learner_of(network, dtype=dtype).fill_gradients(batch)
        found.append([parameter.grad for parameter in network.parameters()])
    for exact, rounded in zip(*found, strict=True):
        assert rounded.dtype == torch.float32
        assert 0 < torch.linalg.norm(exact - rounded) < 0.05 * torch.linalg.norm(exact)


# What moves -----------------------------------------------------------------------------------------------------------


@tasks
def test_every_layer_moves(task, seed):
    network = make_network(task, seed)
    before = snapshot(network)
    finetune(network, task=task, seed=seed)
    assert moved(network, before)


@tasks
def test_head_epochs_move_the_output_layer_alone(task, seed):
    network = make_network(task, seed)
    before = snapshot(network.hidden), snapshot(network.head)
    records = finetune(network, quick(head_epochs=3, epochs=0), task=task, seed=seed)
    assert [(r["stage"], r["epoch"], r["n_epochs"]) for r in records] == [("head", k, 3) for k in (1, 2, 3)]
    assert same(network.hidden, before[0])
    assert moved(network.head, before[1])


def test_head_epochs_come_first_at_a_constant_rate_without_early_stopping(seed):
    settings = quick(
        head_epochs=3, epochs=3, schedule="exponential", decay=0.5, early_stopping=True, n_iter_no_change=1
    )
    validation = (rows(seed + 1, 7, N_FEATURES), targets("classification", seed + 1, 7))
    records = finetune(make_network(seed=seed), settings, seed=seed, validation=validation)
    assert [r["stage"] for r in records[:4]] == ["head"] * 3 + ["finetune"]
    assert [r["learning_rate"] for r in records[:3]] == [0.05] * 3
    assert records[3]["learning_rate"] == pytest.approx(0.025)


@pytest.mark.parametrize("frozen", [(0,), (1,), (0, 1), (2,)])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "lbfgs"])
def test_frozen_layers_are_bit_identical(frozen, optimizer, seed):
    # Weight decay and momentum must not move them either, nor the statistics of their batch norm.
    network = make_network(seed=seed, batch_norm=True)
    layers = [*network.hidden, network.head]
    before = [snapshot(layer) for layer in layers]
    rate = 1.0 if optimizer == "lbfgs" else 0.05
    settings = quick(
        frozen_layers=frozen, optimizer=optimizer, weight_decay=0.1, l1=0.1, max_norm=1.0, learning_rate=rate
    )
    finetune(network, settings, seed=seed)
    for k, (layer, kept) in enumerate(zip(layers, before, strict=True)):
        assert same(layer, kept) == (k in frozen), k


def test_a_learning_rate_of_zero_freezes(seed):
    frozen, zero = (make_network(seed=seed, batch_norm=True, dropout=0.5) for _ in range(2))
    finetune(frozen, quick(frozen_layers=(0,)), seed=seed)
    finetune(zero, quick(layer_learning_rates=(0.0, 1.0, 1.0)), seed=seed)
    assert same(zero, snapshot(frozen))


def test_frozen_layers_drop_no_units(seed):
    network = make_network(seed=seed, dropout=0.5)
    learner = learner_of(network, [0.0, 1.0, 1.0])
    learner.fill_gradients(as_batch(rows(seed, N_ROWS, N_FEATURES), targets("classification", seed)))
    assert [layer.dropout.training for layer in network.hidden] == [False, True]


def test_layer_learning_rates_multiply_the_step(seed):
    factors = (0.0, 0.5, 2.0)
    whole, scaled = make_network(seed=seed), make_network(seed=seed)
    before = [snapshot(layer) for layer in (*whole.hidden, whole.head)]
    once = {"epochs": 1, "batch_size": N_ROWS, "momentum": 0.0}
    finetune(whole, quick(**once), seed=seed)
    finetune(scaled, quick(layer_learning_rates=factors, **once), seed=seed)
    for k, factor in enumerate(factors):
        full, part = ([*n.hidden, n.head][k].state_dict() for n in (whole, scaled))
        for name, start in before[k].items():
            torch.testing.assert_close(part[name] - start, factor * (full[name] - start), rtol=1e-4, atol=1e-6)


def test_the_head_learns_at_its_own_rate(seed):
    whole, half = make_network(seed=seed), make_network(seed=seed)
    start = snapshot(whole.head)["weight"]
    once = {"epochs": 0, "head_epochs": 1, "batch_size": N_ROWS, "momentum": 0.0}
    finetune(whole, quick(**once), seed=seed)
    finetune(half, quick(layer_learning_rates=[1.0, 1.0, 0.5], **once), seed=seed)
    torch.testing.assert_close(half.head.weight - start, 0.5 * (whole.head.weight - start), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("layer_type", ["dense", "residual"])
def test_batch_norm_with_a_last_batch_of_one_row(layer_type, seed):
    network = make_network(seed=seed, batch_norm=True, layer_type=layer_type, dropout=0.2)
    X, y = rows(seed, 15, N_FEATURES), targets("classification", seed, 15)
    records = finetune(network, quick(epochs=3), X=X, y=y, seed=seed)  # batches of 7, 7 and 1
    assert all(np.isfinite(record["loss"]) for record in records)
    learner = learner_of(network)
    norm = network.hidden[0].norm
    before = norm.running_mean.clone()
    learner.fill_gradients(as_batch(X[:1], y[:1]))
    assert torch.equal(norm.running_mean, before)
    learner.fill_gradients(as_batch(X[:7], y[:7]))  # and the next full batch counts again
    assert not torch.equal(norm.running_mean, before)


def test_predicting_between_epochs_changes_nothing(seed):
    def train(peek):
        network = make_network(seed=seed, batch_norm=True, dropout=0.3)
        run = Finetuning(
            network,
            rows(seed, N_ROWS, N_FEATURES),
            targets("classification", seed),
            quick(epochs=3),
            seed=seed,
            device="cpu",
        )
        for _ in run:
            if peek:
                network.predict(rows(1, 5, N_FEATURES).astype(np.float64))
        return network

    assert same(train(True), snapshot(train(False)))


def test_dropout_draws_from_its_own_stream(seed):
    state = torch.get_rng_state()
    networks = [make_network(seed=0, dropout=0.5, input_dropout=0.2) for _ in range(3)]
    for network, s in zip(networks, (seed, seed, seed + 5), strict=True):
        finetune(network, seed=s, X=rows(0, N_ROWS, N_FEATURES), y=targets("classification"))
    assert same(networks[0], snapshot(networks[1]))
    assert not same(networks[0], snapshot(networks[2]))
    assert torch.equal(torch.get_rng_state(), state)


@tasks
def test_the_network_is_left_as_a_finished_one(task, seed):
    network = make_network(task, seed, dropout=0.2)
    finetune(network, quick(head_epochs=1, frozen_layers=(0,)), task=task, seed=seed)
    assert not any(module.training for module in network.modules())
    assert all(p.requires_grad and p.grad is None for p in network.parameters())
    assert all(m.generator is None for m in network.modules() if isinstance(m, Dropout))
    copy.deepcopy(network)


@tasks
def test_fine_tuning_lowers_the_loss(task, seed):
    records = finetune(make_network(task, seed), quick(epochs=60, optimizer="adam"), task=task, seed=seed)
    assert records[-1]["loss"] < 0.9 * records[0]["loss"]


def test_unrolled_stacks_are_fine_tuned(seed):
    stack = make_stack("binary RBMs", seed)
    network = unroll(stack, n_outputs=N_OUTPUTS, generator=torch.Generator().manual_seed(seed))
    before = snapshot(stack)
    finetune(network, seed=seed)
    assert not torch.equal(network.hidden[0].linear.weight, stack.layers[0].weight)
    assert same(stack, before)


# Validation -----------------------------------------------------------------------------------------------------------


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
    two = finetune(
        other, task=task, seed=seed, X=convert(rows(seed, N_ROWS, N_FEATURES)), validation=(convert(X), y)
    )
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


# Errors ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (quick(frozen_layers=(3,)), "frozen_layers names layer 3, but the network has layers 0 to 2"),
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


X, LABELS = rows(0, N_ROWS, N_FEATURES), targets("classification")


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


# Every setting does something -----------------------------------------------------------------------------------------

EFFECTS = {
    "head_epochs": (quick(), quick(head_epochs=1)),
    "layer_learning_rates": (quick(), quick(layer_learning_rates=(0.5, 1.0, 1.0))),
    "frozen_layers": (quick(), quick(frozen_layers=(0,))),
    "training": (quick(), quick(epochs=3)),
}


def test_every_setting_has_a_row():
    assert set(EFFECTS) == set(FinetuneSettings.__dataclass_fields__)


@pytest.mark.parametrize("name", EFFECTS)
def test_every_setting_changes_the_result(name, seed):
    one, two, again = (make_network(seed=seed) for _ in range(3))
    finetune(one, EFFECTS[name][0], seed=seed)
    finetune(again, EFFECTS[name][0], seed=seed)
    finetune(two, EFFECTS[name][1], seed=seed)
    assert same(one, snapshot(again))
    assert not same(one, snapshot(two))
