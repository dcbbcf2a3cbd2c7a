"""Modern networks with the weights of a stack: which weights, of which size, and that they learn."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from stacks import rows
from torch import nn

import checkpoints
from pipelines.cli import main
from pretrain.autoencoder import Autoencoder
from pretrain.baselines import BASELINES, scratch_network
from pretrain.estimators import DBNClassifier, SDAERegressor
from pretrain.exceptions import SettingsError
from pretrain.hidden_layers import ResidualLayer
from pretrain.pretrained_networks import PRETRAINED_BASELINES, pretrained_network
from pretrain.rbm import RBM
from pretrain.scaling import Scaling
from pretrain.stack import Stack
from pretrain.unrolling import unroll

kinds = pytest.mark.parametrize("kind", PRETRAINED_BASELINES)


def make_stack(seed=0):
    generator = torch.Generator().manual_seed(seed)
    stack = Stack([RBM(13, 11), RBM(11, 7), Autoencoder(7, 7)], Scaling.fit("minmax", rows(seed, 17, 13)))
    for layer in stack.layers:
        nn.init.normal_(layer.weight, std=0.2, generator=generator)
        nn.init.normal_(layer.hidden_bias, generator=generator)
    return stack


def generator_of(seed):
    return torch.Generator().manual_seed(seed)


def make(kind, seed=0, stack=None, **options):
    return pretrained_network(kind, stack or make_stack(seed), 3, generator=generator_of(seed), **options)


@kinds
def test_hidden_weights_are_those_of_the_stack_times_one_factor(kind, seed):
    network, stack = make(kind, seed), make_stack(seed)
    scratch = scratch_network(kind, 13, (11, 7, 7), 3, generator=generator_of(seed))
    for hidden, layer, drawn in zip(network.hidden, stack.layers, scratch.hidden, strict=True):
        factor = (drawn.linear.weight.square().mean() / layer.weight.square().mean()).sqrt()
        torch.testing.assert_close(hidden.linear.weight, factor * layer.weight)
        torch.testing.assert_close(hidden.linear.bias, factor * layer.hidden_bias)
        torch.testing.assert_close(hidden.linear.weight.square().mean(), drawn.linear.weight.square().mean())
    assert network.architecture == scratch.architecture
    assert torch.equal(network.head.weight, scratch.head.weight)
    assert network.scaling is not None
    assert network.scaling.kind == "minmax"


def test_what_no_layer_is_made_for_is_drawn(seed):
    network = make("residual", seed)
    scratch = scratch_network("residual", 13, (11, 7, 7), 3, generator=generator_of(seed))
    blocks = [pair for pair in zip(network.hidden, scratch.hidden, strict=True) if isinstance(pair[0], ResidualLayer)]
    assert len(blocks) == 2
    assert all(torch.equal(block.outer.weight, drawn.outer.weight) for block, drawn in blocks)
    assert torch.equal(network.hidden[1].shortcut.weight, scratch.hidden[1].shortcut.weight)


def test_units_are_on_where_the_units_of_the_stack_are(seed):
    # One positive factor for weights and biases: a rectified unit is above zero where its sigmoid is above one half.
    stack, network = make_stack(seed), make("relu", seed)
    x = torch.from_numpy(rows(seed, 29, 13))
    assert torch.equal(network.hidden[0](x) > 0, stack.layers[0].encode(x) > 0.5)


def test_signals_keep_their_size_through_the_layers():
    # 2 / n of He: the mean square of total inputs stays.
    generator = generator_of(0)
    stack = Stack([RBM(301, 301) for _ in range(8)])
    for layer in stack.layers:
        nn.init.normal_(layer.weight, std=0.01, generator=generator)
    x = torch.randn(64, 301, generator=generator)
    sizes = []
    with torch.no_grad():
        for layer in make("relu", stack=stack).hidden:
            x = layer.linear(x)
            sizes.append(float(x.square().mean()))
            x = torch.relu(x)
    assert sizes[-1] / sizes[0] == pytest.approx(1, abs=0.6)  # (301 / 2 * 1e-4)^7 with the weights as they were


def test_the_stack_is_copied(seed):
    stack = make_stack(seed)
    network = make("relu", seed, stack)
    before = [layer.weight.clone() for layer in stack.layers]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert all(torch.equal(layer.weight, old) for layer, old in zip(stack.layers, before, strict=True))


def test_weights_of_zero_stay_zero():
    stack = make_stack()
    with torch.no_grad():
        stack.layers[1].weight.zero_()
    network = make("relu", stack=stack)
    assert not network.hidden[1].linear.weight.any()
    assert torch.equal(network.hidden[1].linear.bias, stack.layers[1].hidden_bias)


def test_rates_and_tasks():
    spec = make("relu", dropout=0.3, input_dropout=0.1).architecture
    assert (spec.dropout, spec.input_dropout) == (0.3, 0.1)
    assert make("relu-dropout").architecture.input_dropout == 0.2
    assert make("relu-bn", task="regression").architecture.output_activation == "identity"


def test_it_is_another_network_than_the_unrolled_stack(seed):
    stack, X = make_stack(seed), rows(seed, 5, 13)
    unrolled = unroll(stack, n_outputs=3, generator=generator_of(seed))
    assert not np.allclose(make("sigmoid", seed, stack).transform(X), unrolled.transform(X))


def test_kinds_that_cannot_be():
    assert set(BASELINES) - set(PRETRAINED_BASELINES) == {"dense"}
    with pytest.raises(SettingsError, match=r"kind 'dense' cannot begin with the weights of .* Take one of sig"):
        make("dense")
    with pytest.raises(SettingsError, match="kind of scratch_network must be one of"):
        make("elu")


# Where they can be asked for ---


@pytest.mark.parametrize("cls", [DBNClassifier, SDAERegressor])
def test_estimators(cls, seed):
    X, y = rows(seed, 61, 13), np.arange(61) % 3
    settings = {"pretrain_epochs": 1, "random_state": seed, "max_iter": 0}
    model = cls((11, 7), kind="residual", **settings).fit(X, y)
    plain = cls((11, 7), **settings).fit(X, y)
    assert isinstance(model.network_.hidden[1], ResidualLayer)
    a, b = model.network_.hidden[0].linear.weight, plain.network_.hidden[0].linear.weight
    ratio = (a / b).flatten().detach()
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio), rtol=1e-4, atol=0)
    with pytest.raises(SettingsError, match="kind 'dense' cannot begin with the weights of a stack"):
        cls((11, 7), kind="dense", **settings).fit(X, y)


def test_commands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        result = CliRunner().invoke(main, list(arguments))
        assert result.exit_code == 0, result.output
        return result

    arms = "dbn,relu-bn,pretrained-relu-bn,pretrained-residual"
    run(*("compare", "digits", "--arms", arms, "--seeds", "1", "--layers", "13,11"), "--epochs", "0", "-o", "run")
    assert [path.name for path in (tmp_path / "run/stacks").iterdir()] == ["dbn-seed0.h5"]  # all of them share it
    told = json.loads((tmp_path / "run/settings.json").read_text())["arms"]["pretrained-relu-bn"]
    assert told["pretrained"]
    assert told["settings"]["network"]["kind"] == "relu-bn"
    stack = checkpoints.load("run/stacks/dbn-seed0.h5")
    network = checkpoints.load("run/networks/pretrained-relu-bn-all-seed0.h5")
    file = "run/stacks/dbn-seed0.h5"
    run("finetune", file, "digits", "--start", "pretrained-relu-bn", "--epochs", "0", "-o", "n.h5")
    assert torch.equal(checkpoints.load("n.h5").hidden[0].linear.weight, network.hidden[0].linear.weight)
    ratio = network.hidden[0].linear.weight / stack.layers[0].weight
    assert ratio.min().item() == pytest.approx(ratio.max().item(), rel=1e-4)
    scratch = checkpoints.load("run/networks/relu-bn-all-seed0.h5")
    assert torch.equal(network.head.weight, scratch.head.weight)
    result = CliRunner().invoke(main, ["finetune", "run/stacks/dbn-seed0.h5", "digits", "--start", "x", "-o", "m.h5"])
    assert (result.exit_code, "pretrained-relu-bn" in result.output) == (2, True)
