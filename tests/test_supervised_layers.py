"""Layers that are pretrained with labels: their gradient, what they learn from, and what they do not have."""

import copy

import h5py
import numpy as np
import pytest
import torch
from oracles import finite_difference
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags
from stacks import labels, pretrained, pretraining, quick, rows, same

import checkpoints
from pretrain import DeepAutoencoder, StackTransformer
from pretrain.batches import Batch
from pretrain.exceptions import CheckpointError, DataError, SettingsError
from pretrain.finetuning import Finetuning
from pretrain.random_streams import RandomStreams
from pretrain.settings import FinetuneSettings, SupervisedSettings, TrainingSettings
from pretrain.supervised_layer import SupervisedLayer
from pretrain.supervised_pretraining import supervised_learner
from pretrain.unrolling import unroll

N_ROWS, N_FEATURES, N_HIDDEN = 23, 5, 3
SUPERVISED = quick("supervised", learning_rate=0.3)
tasks = pytest.mark.parametrize("task", ["classification", "regression"])


def targets(task, n=N_ROWS, seed=0):
    return labels(n) if task == "classification" else np.random.default_rng(seed).normal(size=(n, 2))


def learner_of(task, seed, activation="tanh"):
    layer = SupervisedLayer(
        N_FEATURES, N_HIDDEN, activation=activation, generator=torch.Generator().manual_seed(seed)
    )
    y = torch.from_numpy(targets(task))
    y = y if task == "classification" else y.float()
    return layer, supervised_learner(layer, y, streams=RandomStreams(seed), layer_index=0, dtype=torch.float32), y


# What is learned ---


@tasks
@pytest.mark.parametrize("weighted", [False, True])
def test_the_gradient_is_that_of_a_network_with_one_hidden_layer(task, weighted, seed):
    layer, learner, y = learner_of(task, seed)
    X = torch.from_numpy(rows(seed, N_ROWS, N_FEATURES))
    weight = torch.arange(N_ROWS) / (N_ROWS - 1) * 2 if weighted else torch.ones(N_ROWS)
    found = learner.fill_gradients(Batch(X, y, weight if weighted else None))
    head = learner.module.head
    parameters = (layer.weight, layer.hidden_bias, head.weight, head.bias)
    W, c, V, b = (p.detach().double().requires_grad_() for p in parameters)

    def loss():
        output = torch.tanh(X.double() @ W.T + c) @ V.T + b
        if task == "regression":
            of_rows = (output - y).square().sum(dim=1)
        else:
            of_rows = torch.logsumexp(output, dim=1) - output[torch.arange(N_ROWS), y]
        return (weight.double() * of_rows).mean()

    assert float(found) == pytest.approx(loss().item(), rel=1e-5)
    by_autograd = torch.autograd.grad(loss(), (W, c, V, b))
    for parameter, by_hand, exact in zip(parameters, (W, c, V, b), by_autograd, strict=True):
        torch.testing.assert_close(parameter.grad.double(), exact, rtol=1e-4, atol=1e-6)
        by_differences = finite_difference(lambda: loss().item(), by_hand)
        np.testing.assert_allclose(parameter.grad, by_differences, rtol=1e-4, atol=1e-6)


@tasks
def test_a_layer_is_the_hidden_layer_of_a_network_fine_tuned_from_the_same_weights_on_the_same_batches(task, seed):
    X, y = rows(seed, N_ROWS, N_FEATURES), targets(task)
    training = TrainingSettings(epochs=3, batch_size=7, optimizer="adam", learning_rate=0.05, schedule="cosine")
    settings, streams = SupervisedSettings(training=training), RandomStreams(seed)
    layer = SupervisedLayer.from_settings(
        N_FEATURES, N_HIDDEN, settings, generator=streams.generator("init", layer=0)
    )
    as_taken = torch.from_numpy(y if task == "classification" else y.astype(np.float32))
    learner = supervised_learner(layer, as_taken, streams=streams, layer_index=0, dtype=torch.float32)
    network = copy.deepcopy(learner.module)
    tuned = Finetuning(network, X, y, FinetuneSettings(training=training), seed=seed, device="cpu")
    tuned._batches.generator = streams.generator("batches", layer=0)
    tuning = list(tuned)
    run, records = pretrained(X, (N_HIDDEN,), settings, seed, y=y)
    found = run.stack.layers[0]
    assert not torch.equal(found.weight, layer.weight)
    assert torch.equal(found.weight, network.hidden[0].linear.weight)
    assert torch.equal(found.hidden_bias, network.hidden[0].linear.bias)
    assert [r["loss"] for r in records] == [r["loss"] for r in tuning]


def test_the_code_tells_what_the_labels_tell(seed):
    X = rows(seed, 101, 11)
    y = (X[:, 0] > 0.5).astype(int)
    found = []
    for learned in (y, np.random.default_rng(seed).permutation(y)):
        settings = quick("supervised", epochs=30, learning_rate=0.2)
        code = pretrained(X, (1, 1), settings, seed, y=learned)[0].stack.transform(X)[:, 0]
        found.append(abs(np.corrcoef(code, y)[0, 1]))
    assert found[0] > 0.8
    assert found[1] < 0.5


# Rows without labels ---


@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_matrix, sparse.coo_matrix, torch.from_numpy])
@pytest.mark.parametrize("weighted", [False, True])
def test_rows_without_a_label_do_not_train(convert, weighted, seed):
    X, weight = rows(seed, N_ROWS), np.random.default_rng(seed).random(N_ROWS)
    y = labels(N_ROWS)
    y[::4] = -1
    known = y >= 0
    options = [{"sample_weight": w} for w in (weight[known], weight)] if weighted else [{}, {}]
    one, _ = pretrained(X[known], (7, 5), SUPERVISED, seed, y=y[known], **options[0])
    two, _ = pretrained(convert(X), (7, 5), SUPERVISED, seed, y=y, **options[1])
    for a, b in zip(one.stack.parameters(), two.stack.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_the_budget_of_epochs_and_batches_is_that_of_the_labelled_rows():
    y = np.where(np.arange(700) < N_ROWS, labels(700), -1)
    run = pretraining(rows(n=700), (3,), quick("supervised", batch_size="auto", epochs=1), y=y)
    next(run)
    assert (run.run.batches.n_samples, run.run.batches.batch_size) == (N_ROWS, 10)


def test_a_supervised_layer_on_an_rbm_of_all_rows(seed):
    X, y = rows(seed, N_ROWS), np.where(np.arange(N_ROWS) < 11, labels(N_ROWS), -1)
    mixed, _ = pretrained(X, (7, 5), [quick(), SUPERVISED], seed, y=y)
    assert same(mixed.stack.layers[0], pretrained(X, (7,), quick(), seed)[0].stack.layers[0])
    other, _ = pretrained(X, (7, 5), [quick(), SUPERVISED], seed, y=np.roll(y[:11], 1).tolist() + [-1] * 12)
    assert same(other.stack.layers[0], mixed.stack.layers[0])
    assert not same(other.stack.layers[1], mixed.stack.layers[1])


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "Supervised layers are trained with labels, and there are none; give y"),
        (np.full(N_ROWS, -1), "Every row is unlabelled"),
        (labels(N_ROWS - 1), rf"y must be class indices \({N_ROWS},\) with -1 .*got int64 values of shape \(22,\)"),
        (labels(N_ROWS) - 2, "y must be class indices"),
        (labels(N_ROWS) / 2, "got float64 values of shape"),
        (np.full((N_ROWS, 2), np.nan), "finite scaled targets"),
        (labels(N_ROWS).astype(str), "y must be class indices"),
        (3, "y must be class indices"),
    ],
    ids=str,
)
def test_labels_that_are_none(y, message):
    with pytest.raises(DataError, match=message):
        pretraining(rows(n=N_ROWS), (5, 3), [quick(), SUPERVISED], y=y)
    pretraining(rows(n=N_ROWS), (5, 3), quick(), y=y)  # nobody looks at them


def test_weights_must_be_one_a_row():
    with pytest.raises(DataError, match="sample_weight must have one entry a row"):
        pretrained(rows(n=N_ROWS), (3,), SUPERVISED, y=labels(N_ROWS) - 1, sample_weight=np.ones(N_ROWS + 5))


def test_there_is_nothing_to_stop_early_on():
    with pytest.raises(SettingsError, match="early_stopping of SupervisedSettings must be False: no labels are held"):
        quick("supervised", early_stopping=True)


# What a supervised layer has and has not ---


def test_a_stack_with_supervised_layers_is_unrolled_into_classifiers_and_decodes_nothing(seed):
    X = torch.from_numpy(rows(seed, N_ROWS))
    for settings in (SUPERVISED, [quick(), SUPERVISED], [SUPERVISED, quick("autoencoder")]):
        stack = pretrained(X, (7, 5), settings, seed)[0].stack
        network = unroll(stack, n_outputs=3, generator=torch.Generator())
        assert torch.equal(network.encode(X), stack.encode(X))
        calls = (
            lambda stack=stack: stack.decode(stack.encode(X)),
            lambda stack=stack: stack.inverse_transform(stack.transform(X)),
            lambda stack=stack: unroll(stack, "autoencoder"),
        )
        for call in calls:
            with pytest.raises(SettingsError, match=r"Layer [12] of the stack is of kind 'supervised', which"):
                call()


@pytest.mark.parametrize("activation", ["sigmoid", "leaky_relu"])
def test_files_hold_the_hidden_layer_alone(tmp_path, activation, seed):
    stack = pretrained(rows(seed, N_ROWS), (7, 5), quick("supervised", activation=activation), seed)[0].stack
    checkpoints.save(stack, tmp_path / "stack.h5")
    loaded = checkpoints.load(tmp_path / "stack.h5")
    assert same(loaded, stack)
    assert [layer.activation for layer in loaded.layers] == [activation] * 2
    np.testing.assert_array_equal(loaded.transform(rows(seed)), stack.transform(rows(seed)))
    with h5py.File(tmp_path / "stack.h5", "r+") as file:
        layer = file["stack/layers/00"]
        assert {name: data.shape for name, data in layer.items()} == {"weight": (7, 13), "hidden_bias": (7,)}
        config = layer.attrs["config"].replace(activation.encode(), b"softmax")
        layer.attrs["config"] = np.bytes_(config)
    with pytest.raises(CheckpointError, match="activation of a supervised layer must be one of sigmoid, tanh"):
        checkpoints.load(tmp_path / "stack.h5")


def test_encode_is_the_formula(seed):
    layer, _, _ = learner_of("classification", seed, activation="softplus")
    X = torch.from_numpy(rows(seed, N_ROWS, N_FEATURES))
    expected = torch.log1p(torch.exp(X @ layer.weight.T + layer.hidden_bias))
    torch.testing.assert_close(layer.encode(X), expected)


# The transformer ---


def transformer(**options):
    return StackTransformer((7, 5), kind="supervised", n_iter=2, scaling="none", random_state=0, **options)


@pytest.mark.parametrize(
    ("y", "learned"),
    [
        (labels(N_ROWS), labels(N_ROWS)),
        (np.array(["c", "a", "b"])[labels(N_ROWS)], np.array([2, 0, 1])[labels(N_ROWS)]),
        (np.array([-1, 1])[np.arange(N_ROWS) % 2], np.arange(N_ROWS) % 2),  # two classes
        (np.array([-1, 5, 9])[labels(N_ROWS)], labels(N_ROWS) - 1),  # two classes and rows without a label
        (labels(N_ROWS) / 1.0, labels(N_ROWS)),
    ],
    ids=["integers", "text", "signs", "unlabelled", "floats"],
)
def test_the_transformer_learns_from_labels_of_any_kind(y, learned):
    X = rows(n=N_ROWS)
    settings = SupervisedSettings(training=TrainingSettings(epochs=2, optimizer="adam", learning_rate=1e-3))
    expected, _ = pretrained(X, (7, 5), settings, y=learned)
    assert same(transformer().fit(X, y).stack_, expected.stack)


def test_the_transformer_learns_standardised_numbers():
    X, y = rows(n=N_ROWS), targets("regression")
    plain = transformer().fit(X, y).transform(X)
    np.testing.assert_allclose(transformer().fit(X, 100 * y + 7).transform(X), plain, rtol=1e-4)
    assert not np.allclose(transformer().fit(X, y[:, 0]).transform(X), plain, rtol=1e-3)


def test_what_only_supervised_transformers_ask(tmp_path):
    X, y = rows(n=N_ROWS), labels(N_ROWS)
    assert [get_tags(t).target_tags.required for t in (transformer(), StackTransformer())] == [True, False]
    with pytest.raises(DataError, match="requires y to be passed, but the target y is None"):
        transformer().fit(X)
    fitted = transformer().fit(X, y)
    with pytest.raises(SettingsError, match="which encodes and does not decode"):
        fitted.inverse_transform(fitted.transform(X))
    with pytest.raises(SettingsError, match=r"kind of DeepAutoencoder must be one of rbm, autoencoder; got"):
        DeepAutoencoder((3,), kind="supervised").fit(X)
    checkpoints.save(fitted, tmp_path / "model.h5")
    np.testing.assert_array_equal(checkpoints.load(tmp_path / "model.h5").transform(X), fitted.transform(X))
    model = make_pipeline(transformer(), LogisticRegression())
    assert model.fit(X, y).predict(X).shape == (N_ROWS,)
