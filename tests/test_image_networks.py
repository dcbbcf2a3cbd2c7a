"""Convolutional networks: sizes against the papers, layers by hand, gradients, training, files and commands."""

import json
from itertools import pairwise

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from stacks import rows
from torch import nn
from torch.nn import functional

import checkpoints
from pipelines.cli import main
from pretrain.baselines import scratch_network
from pretrain.dropout import Dropout
from pretrain.estimators import ScratchClassifier
from pretrain.exceptions import CheckpointError, SettingsError
from pretrain.finetuning import Finetuning
from pretrain.image_architecture import ImageArchitecture
from pretrain.image_layers import ConvolutionBlock, GrowthLayer, TransitionLayer
from pretrain.image_networks import IMAGE_BASELINES, ImageNetwork, scratch_image_network
from pretrain.initialisation import GAINS
from pretrain.monte_carlo import predict_by_dropout
from pretrain.settings import FinetuneSettings, TrainingSettings

CIFAR = (32, 32, 3)
SMALL = ("lenet", "plain-20", "resnet-20", "preact-resnet-20", "stochastic-resnet-20", "densenet-40-12")
# A few layers of each kind: what is tested of deep networks, in an instant.
TINY = {
    "lenet": {"family": "lenet", "depth": 5},
    "plain": {"family": "plain", "depth": 8, "width": 3},
    "residual": {"depth": 8, "width": 3},
    "preactivation": {"depth": 14, "width": 2, "preactivation": True},
    "stochastic": {"depth": 8, "width": 3, "survival_probability": 0.5},
    "dense": {"family": "densely_connected", "depth": 7, "width": 3},
    "dense-bc": {"family": "densely_connected", "depth": 10, "width": 3, "bottleneck": True, "dropout": 0.2},
}
tiny = pytest.mark.parametrize("name", TINY)


def generator_of(seed=0):
    return torch.Generator().manual_seed(seed)


def randomise(module, seed=0):
    generator = generator_of(seed)
    for name, tensor in module.state_dict().items():
        if name.endswith(("running_var", "norm.weight")):
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif tensor.is_floating_point():
            nn.init.normal_(tensor, std=0.3, generator=generator)
    return module.eval()


def make(name, seed=0, image_shape=(13, 12, 3), **options):
    return randomise(ImageNetwork(ImageArchitecture(image_shape, 5, **{**TINY[name], **options})), seed)


def images(seed=0, n=7, image_shape=(13, 12, 3)):
    return rows(seed, n, int(np.prod(image_shape)))


# Sizes ---


@pytest.mark.parametrize(
    ("kind", "millions", "digits"),
    [
        ("resnet-20", 0.27, 2),
        ("resnet-32", 0.46, 2),
        ("resnet-44", 0.66, 2),
        ("resnet-56", 0.85, 2),
        ("resnet-110", 1.7, 1),
        ("plain-20", 0.27, 2),
        ("preact-resnet-110", 1.7, 1),
        ("stochastic-resnet-110", 1.7, 1),
        ("densenet-40-12", 1.0, 1),
        ("densenet-bc-100-12", 0.8, 1),
    ],
)
def test_parameters_are_those_of_the_papers(kind, millions, digits):
    with torch.device("meta"):
        network = ImageNetwork(ImageArchitecture(CIFAR, 10, **IMAGE_BASELINES[kind].options))
    assert round(network.n_parameters / 1e6, digits) == millions
    depth = network.architecture.depth
    n_weights = sum(isinstance(module, nn.Conv2d | nn.Linear) for module in network.modules())
    assert n_weights == depth


def test_parameters_of_lenet():
    with torch.device("meta"):
        network = ImageNetwork(ImageArchitecture((32, 32), 10, **IMAGE_BASELINES["lenet"].options))
    maps = (25 + 1) * 6 + (6 * 25 + 1) * 16
    assert network.n_parameters == maps + (400 + 1) * 120 + (120 + 1) * 84 + (84 + 1) * 10 == 61_706


def test_1202_layers():
    architecture = ImageArchitecture(CIFAR, 10, **IMAGE_BASELINES["resnet-1202"].options)
    assert architecture.n_layers == len(architecture.plan()) == 601
    n_weights = sum(9 * layer.n_units * (layer.n_inputs + layer.n_units) for layer in architecture.plan()[1:])
    assert n_weights / 1e6 == pytest.approx(19.4, abs=0.1)


@tiny
def test_every_layer_gives_what_the_plan_says(name, seed):
    network = make(name, seed)
    spec, h = network.architecture, torch.from_numpy(images(seed)).view(7, 13, 12, 3).permute(0, 3, 1, 2)
    assert spec.n_layers == len(spec.plan()) == len(network.hidden)
    for layer, plan, (n_inputs, n_units) in zip(network.hidden, spec.plan(), pairwise(spec.widths), strict=True):
        assert (plan.n_inputs, plan.n_units) == (n_inputs, n_units) or plan.n_inputs == h.flatten(1).shape[1]
        side = h.shape[2:]
        h = layer(h)
        assert h.shape[1] == plan.n_units
        if plan.kind == "block":
            assert h.shape[2:] == tuple(-(-s // plan.stride) for s in side)
    assert network.n_hidden == h.shape[1]
    assert network(torch.from_numpy(images(seed))).shape == (7, 5)
    code = h if h.ndim == 2 else h.mean(dim=(2, 3))
    torch.testing.assert_close(network.encode(torch.from_numpy(images(seed))), code)


# Layers by hand ---


def norm(x, n):
    mean, variance, weight, bias = (t[:, None, None] for t in (n.running_mean, n.running_var, n.weight, n.bias))
    return (x - mean) / (variance + 1e-5).sqrt() * weight + bias


@pytest.mark.parametrize("preactivation", [False, True])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize(("n_units", "stride"), [(3, 1), (5, 2)])
def test_blocks(preactivation, residual, n_units, stride, seed):
    if preactivation and not residual:
        return
    block = randomise(ConvolutionBlock(3, n_units, stride, residual=residual, preactivation=preactivation), seed)
    x = torch.randn(2, 3, 7, 6, generator=generator_of(seed))

    def first(z):
        return functional.conv2d(z, block.convolution.weight, stride=stride, padding=1)

    def second(z):
        return functional.conv2d(z, block.outer.weight, padding=1)

    shortcut = torch.zeros(2, n_units, -(-7 // stride), -(-6 // stride))
    shortcut[:, :3] = x[:, :, ::stride, ::stride]
    if preactivation:
        expected = shortcut + second(norm(first(norm(x, block.norm).relu()), block.outer_norm).relu())
    else:
        branch = norm(second(norm(first(x), block.norm).relu()), block.outer_norm)
        expected = (branch + shortcut if residual else branch).relu()
    torch.testing.assert_close(block(x), expected)


@tiny
def test_the_first_convolution_is_finished_where_what_follows_begins_with_a_convolution(name, seed):
    first, x = make(name, seed).hidden[0], torch.randn(2, 3, 13, 12, generator=generator_of(seed))
    made = functional.conv2d(x, first.convolution.weight, first.convolution.bias, padding=2 if name == "lenet" else 1)
    expected = {
        "lenet": lambda: functional.max_pool2d(made.relu(), 2),
        "plain": lambda: norm(made, first.norm).relu(),
        "residual": lambda: norm(made, first.norm).relu(),
        "stochastic": lambda: norm(made, first.norm).relu(),
    }.get(name, lambda: made)
    torch.testing.assert_close(first(x), expected())


def dropped(layer, seed):
    """The layer in training but for its norms, and the units that it is about to drop, by another generator."""
    layer.dropout.train().generator = generator_of(seed)
    other = Dropout(layer.dropout.rate).train()
    other.generator = generator_of(seed)
    return other


@pytest.mark.parametrize("preactivation", [False, True])
def test_blocks_drop_units_between_their_convolutions(preactivation, seed):
    block = randomise(ConvolutionBlock(3, 3, preactivation=preactivation, dropout=0.4), seed)
    x, drop = torch.randn(2, 3, 7, 6, generator=generator_of(seed)), dropped(block, seed)

    def first(z):
        return functional.conv2d(z, block.convolution.weight, padding=1)

    def second(z):
        return functional.conv2d(z, block.outer.weight, padding=1)

    if preactivation:
        expected = x + second(norm(drop(first(norm(x, block.norm).relu())), block.outer_norm).relu())
    else:
        expected = (x + norm(second(drop(norm(first(x), block.norm).relu())), block.outer_norm)).relu()
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("bottleneck", [False, True])
def test_dense_blocks_drop_units_after_each_convolution(bottleneck, seed):
    x = torch.randn(2, 3, 7, 6, generator=generator_of(seed))
    layer = randomise(GrowthLayer(3, 2, bottleneck=bottleneck, dropout=0.4), seed)
    drop, seen = dropped(layer, seed), x
    if bottleneck:
        seen = drop(functional.conv2d(norm(x, layer.inner_norm).relu(), layer.inner.weight))
    grown = drop(functional.conv2d(norm(seen, layer.norm).relu(), layer.convolution.weight, padding=1))
    torch.testing.assert_close(layer(x), torch.cat([x, grown], dim=1))
    layer = randomise(TransitionLayer(3, 2, dropout=0.4), seed)
    made = dropped(layer, seed)(functional.conv2d(norm(x, layer.norm).relu(), layer.convolution.weight))
    torch.testing.assert_close(layer(x), functional.avg_pool2d(made, 2))


@tiny
def test_the_rate_of_dropout_reaches_every_layer(name):
    network = make(name, dropout=0.4, input_dropout=0.3)
    rates = [module.rate for module in network.hidden.modules() if isinstance(module, Dropout)]
    assert rates == [0.4] * len(rates) != []
    assert network.input_dropout.rate == 0.3


def test_growth_and_transition(seed):
    x = torch.randn(2, 3, 7, 6, generator=generator_of(seed))
    layer = randomise(GrowthLayer(3, 2, bottleneck=True), seed)
    inner = functional.conv2d(norm(x, layer.inner_norm).relu(), layer.inner.weight)
    assert inner.shape[1] == 8  # four growth rates
    grown = functional.conv2d(norm(inner, layer.norm).relu(), layer.convolution.weight, padding=1)
    torch.testing.assert_close(layer(x), torch.cat([x, grown], dim=1))
    plain = randomise(GrowthLayer(3, 2), seed)
    grown = functional.conv2d(norm(x, plain.norm).relu(), plain.convolution.weight, padding=1)
    torch.testing.assert_close(plain(x), torch.cat([x, grown], dim=1))
    layer = randomise(TransitionLayer(3, 2), seed)
    made = functional.conv2d(norm(x, layer.norm).relu(), layer.convolution.weight)[:, :, :6]
    torch.testing.assert_close(layer(x), made.view(2, 2, 3, 2, 3, 2).mean(dim=(3, 5)))


def test_pixels_are_where_they_were(seed):
    # The first map of LeNet, computed pixel by pixel from the flattened row: height, width, channel.
    network, X = make("lenet", seed), images(seed, 2)
    picture = np.pad(X.reshape(2, 13, 12, 3), ((0, 0), (2, 2), (2, 2), (0, 0)))
    weight = network.hidden[0].convolution.weight.detach().numpy()  # (6, 3, 5, 5)
    bias = network.hidden[0].convolution.bias.detach().numpy()
    maps = np.zeros((2, 6, 13, 12))
    for i in range(13):
        for j in range(12):
            maps[:, :, i, j] = np.einsum("nijc,kcij->nk", picture[:, i : i + 5, j : j + 5], weight) + bias
    expected = np.maximum(maps, 0)[:, :, :12].reshape(2, 6, 6, 2, 6, 2).max(axis=(3, 5))
    seen = torch.from_numpy(X).view(2, 13, 12, 3).permute(0, 3, 1, 2)
    np.testing.assert_allclose(network.hidden[0](seen).detach(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["residual", "preactivation", "dense-bc"])
def test_gradients_against_finite_differences(name):
    network = make(name, image_shape=(4, 5), width=1).double()
    x = torch.from_numpy(images(1, 2, (4, 5))).double()
    loss = functional.cross_entropy(network(x), torch.tensor([1, 3]))
    loss.backward()
    for parameter in network.parameters():
        flat, gradient = parameter.data.view(-1), parameter.grad.view(-1)
        for k in {0, len(flat) // 2}:
            kept = float(flat[k])
            values = []
            for step in (1e-6, -1e-6):
                flat[k] = kept + step
                values.append(functional.cross_entropy(network(x), torch.tensor([1, 3])).item())
            flat[k] = kept
            assert (values[0] - values[1]) / 2e-6 == pytest.approx(float(gradient[k]), rel=1e-4, abs=1e-7)


# Weights and training ---


def test_initial_weights_are_he_s(seed):
    network = scratch_image_network("resnet-20", CIFAR, 10, generator=generator_of(seed))
    state = torch.get_rng_state()
    for module in network.hidden.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 2000:
            variance = GAINS["relu"] ** 2 / (9 * module.in_channels)
            assert module.weight.var().item() == pytest.approx(variance, rel=0.15)
    again = scratch_network("resnet-20", 3072, (), 10, image_shape=CIFAR, generator=generator_of(seed))
    assert all(map(torch.equal, network.parameters(), again.parameters()))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_what_is_asked_for_reaches_the_network(task):
    options = {"task": task, "initialisation": "gaussian", "dropout": 0.4, "input_dropout": 0.3}
    network = scratch_image_network("resnet-20", CIFAR, 3, generator=generator_of(), **options)
    spec = network.architecture
    outputs = {"classification": "softmax", "multilabel": "sigmoid", "regression": "identity"}
    assert (spec.task, spec.output_activation, spec.n_outputs) == (task, outputs[task], 3)
    assert (spec.dropout, spec.input_dropout) == (0.4, 0.3)
    assert network.hidden[5].convolution.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert network.head.weight.abs().max().item() == pytest.approx(np.sqrt(6 / (64 + 3)), rel=0.05)


def pictures(image_shape, n=96):
    """A bright square at one of four corners, on noise."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 4
    X = rng.uniform(0, 0.6, size=(n, *image_shape)).astype(np.float32)
    third = image_shape[0] // 3
    for picture, corner in zip(X, y, strict=True):
        top, left = (corner // 2) * (image_shape[0] - third), (corner % 2) * (image_shape[1] - third)
        picture[top : top + third, left : left + third] += 0.4
    return X.reshape(n, -1), y


@pytest.mark.parametrize("image_shape", [(28, 28), CIFAR])
def test_resnet_20_learns_within_an_epoch(image_shape):
    X, y = pictures(image_shape, 192)
    network = scratch_image_network("resnet-20", image_shape, 4, generator=generator_of())
    training = TrainingSettings(epochs=1, batch_size=8, optimizer="adam", learning_rate=3e-3)
    (record,) = Finetuning(network, X, y, FinetuneSettings(training=training), seed=0, device="cpu")
    assert record["loss"] < np.log(4)
    assert (network.predict(X) == y).mean() > 0.5  # by chance 0.25


@tiny
def test_training_is_repeatable_and_goes_on(name, seed):
    X, y = images(seed, 23), np.arange(23) % 5  # the last batch has one row
    settings = FinetuneSettings(training=TrainingSettings(epochs=2, batch_size=11, learning_rate=0.01))
    straight, stopped = make(name, seed), make(name, seed)
    records = list(Finetuning(straight, X, y, settings, seed=seed, device="cpu"))
    assert all(np.isfinite(record["loss"]) for record in records)
    run = Finetuning(stopped, X, y, settings, seed=seed, device="cpu")
    next(run)
    state, other = run.state_dict(), make(name, seed)
    other.load_state_dict(stopped.state_dict())
    rest = Finetuning(other, X, y, settings, seed=seed, device="cpu")
    rest.load_state_dict(state)
    list(rest)
    assert all(torch.equal(value, straight.state_dict()[key]) for key, value in other.state_dict().items())


def test_survival_falls_over_the_blocks_and_dropout_is_drawn():
    blocks = [layer for layer in make("stochastic").hidden if isinstance(layer, ConvolutionBlock)]
    assert [block.depth.survival_probability for block in blocks] == pytest.approx([5 / 6, 2 / 3, 1 / 2])
    assert (predict_by_dropout(make("dense-bc"), images(), dropout_draws=3).variance > 0).all()


# Files ---


@tiny
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_networks_come_back_bit_for_bit(tmp_path, name, task, seed):
    outputs = {"classification": "softmax", "regression": "identity"}
    network = make(name, seed, task=task, output_activation=outputs[task])
    network.classes = np.array(["a", "b", "c", "d", "é"]) if task == "classification" else None
    checkpoints.save(network, tmp_path / "net.h5")
    loaded = checkpoints.load(tmp_path / "net.h5")
    assert type(loaded) is ImageNetwork
    assert loaded.architecture == network.architecture
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in network.state_dict().items())
    np.testing.assert_array_equal(network.predict(images(seed)), loaded.predict(images(seed)))
    told = checkpoints.describe(tmp_path / "net.h5")
    assert sum(layer["n_parameters"] for layer in told["layers"]) == network.n_parameters
    with pytest.raises(CheckpointError, match=r"A convolutional network is no nn\.Sequential"):
        checkpoints.to_torch(network)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 9}, r"depth of an image network of family 'residual' must be 6n \+ 2; got 9"),
        ({"depth": 14}, "layers must hold the 7 layers of the architecture; got 4"),
        ({"depth": 9998}, "layers must hold the 4999 layers of the architecture; got 4"),
        ({"depth": 10**9}, "depth of an image network must be an integer >= 1 and <= 10000"),
        ({"width": 4}, r"layers/00/convolution.weight must have shape \(4, 3, 3, 3\)"),
        ({"image_shape": [13, 12]}, r"must have shape \(3, 1, 3, 3\)"),
        ({"image_shape": [13]}, "image_shape of an image network must be height and width"),
        ({"family": "vgg"}, "family of an image network must be one of lenet"),
        ({"family": "lenet", "depth": 5}, "layers/00 is of kind 'convolution'|lacks the dataset"),
        ({"preactivation": True}, "layers must hold the 5 layers"),
        ({"bottleneck": True}, "bottleneck of an image network is for the family 'densely_connected'"),
        ({"task": "reconstruction"}, "task of an image network must be one of"),
        ({"colour": 1}, "must be a JSON object with the keys"),
    ],
)
def test_wrong_files_are_named(tmp_path, changes, message):
    path = tmp_path / "net.h5"
    checkpoints.save(make("residual"), path)
    with h5py.File(path, "r+") as file:
        attributes = file["image_network"].attrs
        text = json.dumps({**json.loads(attributes["config"]), **changes}).encode()
        attributes.create("config", np.array(text, h5py.string_dtype("utf-8", len(text))))
    with pytest.raises(CheckpointError, match=message):
        checkpoints.load(path)


# Where they can be asked for ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"family": "lenet", "depth": 5, "image_shape": (8, 8)},
            "images of at least 12 x 12 pixels; got 8 x 8",
        ),
        ({"family": "densely_connected", "depth": 40, "image_shape": (3, 9)}, "at least 4 x 4 pixels; got 3 x 9"),
        ({"depth": 2}, "must be at least 8"),
        ({"family": "lenet", "depth": 20}, "depth of an image network of family 'lenet' must be 5; got 20"),
        (
            {"family": "plain", "survival_probability": 0.5},
            "survival_probability of an image network is for",
        ),
        ({"output_activation": "identity"}, "output_activation of an image network must be one of softmax"),
        ({"dropout": 1.0}, "dropout of an image network must be"),
    ],
)
def test_illegal_architectures(options, message):
    with pytest.raises(SettingsError, match=message):
        ImageArchitecture(**{"image_shape": CIFAR, "n_outputs": 10, **options})


def test_estimator():
    X, y = pictures((13, 12), 40)
    model = ScratchClassifier("lenet", image_shape=(13, 12), max_iter=30, random_state=0).fit(X, y)
    assert model.score(X, y) > 0.9
    for shape, message in (
        (None, r"rows that are images; no image shape is known here\. .* image_shape=\(height, width\) in Python"),
        ((13, 13), r"image_shape of ScratchClassifier must be .* 156 features; got \(13, 13\)"),
        ("13", "image_shape of ScratchClassifier must be"),
    ):
        with pytest.raises(SettingsError, match=message):
            ScratchClassifier("lenet", image_shape=shape, max_iter=1).fit(X, y)
    with pytest.raises(SettingsError, match="activation must be None for kind 'lenet'"):
        ScratchClassifier("lenet", image_shape=(13, 12), activation="tanh").fit(X, y)


def test_commands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        return CliRunner().invoke(main, list(arguments))

    arms = ("compare", "digits", "--arms", "relu,resnet-20", "--labels", "20", "--seeds", "1", "--layers", "13")
    result = run(*arms, "--crop", "1", "--rotation", "10", "--noise", "0.01", "--epochs", "1", "-o", "run")
    assert result.exit_code == 0, result.output
    network = checkpoints.load("run/networks/resnet-20-20-seed0.h5")
    assert network.architecture.image_shape == (8, 8)
    settings = json.loads((tmp_path / "run/settings.json").read_text())["arms"]["resnet-20"]["settings"]["finetuning"]
    assert (settings["crop"], settings["rotation"], settings["noise"], settings["shift"]) == (1, 10, 0.01, 0)
    assert (tmp_path / "run/report.html").is_file()
    assert run("stack", "digits", "--layers", "13", "--epochs", "0", "-o", "s.h5").exit_code == 0
    result = run("finetune", "s.h5", "digits", "--start", "resnet-20", "--epochs", "0", "-o", "n.h5")
    assert result.exit_code == 0, result.output
    assert run("evaluate", "n.h5", "digits").exit_code == 0
    assert run("inspect", "n.h5").exit_code == 0
    for command, expected in (
        (("compare", "digits", "--arms", "lenet", "--seeds", "1", "-o", "other"), "at least 12 x 12 pixels"),
        (("plot", "filters", "n.h5", "-o", "f.png"), "no images of the data"),
        (("export", "n.h5", "--to", "onnx", "-o", "n.onnx"), "A convolutional network is no"),
    ):
        refused = run(*command)
        assert (refused.exit_code, expected in refused.output) == (2, True), refused.output
