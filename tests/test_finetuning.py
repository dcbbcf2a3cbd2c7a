"""Fine-tuning: what moves, what does not, and by how much."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from oracles import finite_difference
from scipy.special import expit
from stacks import make_stack, rows
from supervised_problem import (
    LABELS,
    N_FEATURES,
    N_OUTPUTS,
    N_ROWS,
    OUTPUTS,
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

from pretrain.backprop import BackpropLearner, network_loss
from pretrain.batches import Batch
from pretrain.dropout import Dropout
from pretrain.exceptions import SettingsError
from pretrain.finetuning import Finetuning
from pretrain.random_streams import RandomStreams
from pretrain.unrolling import unroll


def moved(module, before):
    return not any(
        torch.equal(value, before[name])
        for name, value in module.state_dict().items()
        if value.dtype.is_floating_point
    )


def learner_of(network, factors=None, dtype=torch.float32, loss="auto"):
    factors, generator = factors or [1.0] * (len(network.hidden) + 1), torch.Generator().manual_seed(5)
    return BackpropLearner(network, rate_factors=factors, generator=generator, dtype=dtype, loss=loss)


# Losses and gradients ---


def as_batch(X, y):
    return Batch(
        torch.from_numpy(X), None if y is None else torch.from_numpy(y if y.dtype.kind == "i" else np.float32(y))
    )


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


def sum_of_squares(network, X):
    """Squared error summed over features, mean a row, of the outputs after their activation."""
    output = X.astype(float)
    functions = {"sigmoid": expit, "tanh": np.tanh, "identity": lambda x: x}
    names = (*network.architecture.activations, network.architecture.output_activation)
    for linear, name in zip([*(layer.linear for layer in network.hidden), network.head], names, strict=True):
        weight, bias = (p.detach().double().numpy() for p in (linear.weight, linear.bias))
        output = functions[name](output @ weight.T + bias)
    return ((output - X) ** 2).sum() / len(X)


@pytest.mark.parametrize("output", ["sigmoid", "tanh", "identity"])
def test_squared_error_is_of_the_outputs(output, seed):
    network = make_network("reconstruction", seed, output_activation=output)
    X = rows(seed, N_ROWS, N_FEATURES)
    learner = learner_of(network, loss="squared_error")
    assert learner.fill_gradients(as_batch(X, None)).item() == pytest.approx(sum_of_squares(network, X), rel=1e-5)
    found = [parameter.grad.clone() for parameter in network.parameters()]
    batch = torch.from_numpy(X)
    loss = (network.decode(network.encode(batch)) - batch).square().sum(dim=1).mean()
    for gradient, expected in zip(found, torch.autograd.grad(loss, list(network.parameters())), strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)
    exact = network.double()
    bias = finite_difference(lambda: sum_of_squares(exact, X), exact.head.bias)
    np.testing.assert_allclose(found[-1], bias, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("output", "auto", "other"), [("sigmoid", "cross_entropy", "squared_error"), ("identity", "squared_error", None)]
)
def test_auto_is_the_loss_of_the_outputs(output, auto, other, seed):
    network = make_network("reconstruction", seed, output_activation=output)
    batch = as_batch(rows(seed, N_ROWS, N_FEATURES), None)
    value = network_loss(network, network(batch.X), batch)
    assert value.item() == pytest.approx(formula(network, batch.X.numpy(), None), rel=1e-5)
    assert torch.equal(network_loss(network, network(batch.X), batch, auto), value)
    assert other is None or not torch.isclose(network_loss(network, network(batch.X), batch, other), value)


@pytest.mark.parametrize("loss", ["auto", "cross_entropy", "squared_error"])
def test_the_validation_loss_is_the_one_that_is_trained(loss, seed):
    network = make_network("reconstruction", seed)
    X, held_out = rows(seed, N_ROWS, N_FEATURES), rows(9, 11, N_FEATURES)
    settings = dataclasses.replace(quick(epochs=1), reconstruction_loss=loss)
    records = finetune(network, settings, task="reconstruction", X=X, validation=(held_out, None))
    by_hand = sum_of_squares(network, held_out) if loss == "squared_error" else formula(network, held_out, None)
    assert records[-1]["validation_loss"] == pytest.approx(by_hand, rel=1e-5)
    whole = dataclasses.replace(quick(epochs=1, batch_size=N_ROWS), reconstruction_loss=loss)
    before = sum_of_squares(network, X) if loss == "squared_error" else formula(network, X, None)
    assert finetune(network, whole, task="reconstruction", X=X)[0]["loss"] == pytest.approx(before, rel=1e-5)


def test_cross_entropy_of_linear_outputs_is_refused():
    network = make_network("reconstruction", output_activation="identity")
    settings = dataclasses.replace(quick(), reconstruction_loss="cross_entropy")
    with pytest.raises(SettingsError, match=r"'cross_entropy' needs sigmoid outputs.* are 'identity'\. Take"):
        finetune(network, settings, task="reconstruction")


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_the_reconstruction_loss_is_of_autoencoders_alone(task, loss, seed):
    network = make_network(task, seed)
    X, y = rows(seed, N_ROWS, N_FEATURES), targets(task, seed)
    value = learner_of(network, loss=loss).fill_gradients(as_batch(X, y))
    assert value.item() == pytest.approx(formula(network, X, y), rel=1e-5)


@tasks
def test_weighted_loss_and_gradient(task, seed):
    network = make_network(task, seed)
    X, y = rows(seed, N_ROWS, N_FEATURES), targets(task, seed)
    weight = np.random.default_rng(seed).random(N_ROWS) * 2

    def weighted(network):
        each = [formula(network, X[k : k + 1], None if y is None else y[k : k + 1]) for k in range(N_ROWS)]
        return weight @ each / N_ROWS

    batch = as_batch(X, y)._replace(weight=torch.from_numpy(weight).float())
    value = learner_of(network).fill_gradients(batch)
    assert value.item() == pytest.approx(weighted(network), rel=1e-5)
    exact = network.double()
    for name, parameter in list(exact.named_parameters())[-4:]:
        expected = finite_difference(lambda: weighted(exact), parameter)
        np.testing.assert_allclose(parameter.grad, expected, rtol=1e-4, atol=2e-5, err_msg=name)


@tasks
def test_a_weight_of_two_is_a_row_twice_and_of_zero_none(task, seed):
    network = make_network(task, seed)
    learner, whole = learner_of(network), as_batch(rows(seed, N_ROWS, N_FEATURES), targets(task, seed))
    found, repeated = [], [0, 0, 1, 3, 4]
    chosen = Batch(whole.X[repeated], None if whole.y is None else whole.y[repeated])
    first = Batch(whole.X[:5], None if whole.y is None else whole.y[:5], torch.tensor([2.0, 1, 0, 1, 1]))
    for batch in (first, chosen, first._replace(weight=torch.ones(5)), first._replace(weight=None)):
        value = learner.fill_gradients(batch)
        found.append([value, *(parameter.grad.clone() for parameter in network.parameters())])
    for weighted, twice, ones, plain in zip(*found, strict=True):
        torch.testing.assert_close(weighted, twice, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(ones, plain, rtol=1e-5, atol=1e-6)
        assert not torch.allclose(weighted, plain)


@tasks
def test_the_gradient_is_overwritten_not_accumulated(task, seed):
    network = make_network(task, seed)
    learner, batch = learner_of(network), as_batch(rows(seed, N_ROWS, N_FEATURES), targets(task, seed))
    learner.fill_gradients(batch)
    first = [parameter.grad.clone() for parameter in network.parameters()]
    learner.fill_gradients(batch)
    assert all(torch.equal(a, p.grad) for a, p in zip(first, network.parameters(), strict=True))


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


# What moves ---


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


def test_head_epochs_may_be_left_to_the_rows(seed):
    stages = [record["stage"] for record in finetune(make_network(seed=seed), quick(head_epochs="auto"), seed=seed)]
    assert stages == ["head"] * 2 + ["finetune"] * 2


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
    assert all(parameter.grad is None for parameter in network.hidden[0].parameters())  # nothing is computed for it
    assert all(parameter.grad is not None for parameter in network.hidden[1].parameters())


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


def test_dropout_and_batches_draw_from_the_streams_of_their_names(seed):
    network = make_network(dropout=0.5, input_dropout=0.2)
    run = Finetuning(network, X, LABELS, quick(), seed=seed, device="cpu")
    next(run)
    layers = [network.input_dropout, *(layer.dropout for layer in network.hidden)]
    assert {layer.generator.initial_seed() for layer in layers} == {RandomStreams(seed).integer_seed("dropout")}
    assert run._batches.generator.initial_seed() == RandomStreams(seed).integer_seed("batches")


def test_dropout_touches_no_global_generator(seed):
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
