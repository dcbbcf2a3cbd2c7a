"""Stochastic depth: survival by depth, the expectation that prediction computes, and what a left-out block keeps."""

import itertools

import numpy as np
import pytest
import torch
from stacks import rows
from supervised_problem import finetune, make_network, quick, snapshot

from pretrain.dropout import RandomLayer
from pretrain.exceptions import SettingsError
from pretrain.hidden_layers import ResidualLayer
from pretrain.stochastic_depth import StochasticDepth, give_generators, survival_probabilities

RESIDUAL = {"layer_type": "residual", "hidden_layer_sizes": (5, 5, 5, 5), "activations": ("identity",) * 4}


def stochastic(seed=0, last=0.4, **options):
    return make_network(seed=seed, survival_probability=last, **{**RESIDUAL, **options})


def blocks(network):
    return [layer for layer in network.hidden if isinstance(layer, ResidualLayer)]


def test_survival_falls_along_a_line_to_that_of_the_last_block():
    np.testing.assert_allclose(survival_probabilities(4, 0.5), [0.875, 0.75, 0.625, 0.5])
    assert survival_probabilities(0, 0.5) == []
    assert [block.depth.survival_probability for block in blocks(stochastic())] == pytest.approx([0.8, 0.6, 0.4])
    assert [block.depth.rate for block in blocks(stochastic(last=1))] == [0, 0, 0]


def test_prediction_is_the_expectation_over_depths(seed):
    # Of blocks that are linear in what they see, it is so exactly: the mean over all 2^3 subsets of the blocks.
    network = stochastic(seed).double().eval()
    x = torch.from_numpy(rows(seed, 11, 13)).double()
    predicted = network(x)
    expected = torch.zeros_like(predicted)
    survival = [block.depth.survival_probability for block in blocks(network)]
    for subset in itertools.product((False, True), repeat=3):
        h = network.hidden[0](x)
        for block, taken in zip(blocks(network), subset, strict=True):
            h = h + block._branch(h) if taken else h
        weight = np.prod([p if taken else 1 - p for p, taken in zip(survival, subset, strict=True)])
        expected += weight * network.head(h)
    torch.testing.assert_close(predicted, expected)


def test_blocks_take_part_as_often_as_they_should(seed):
    depth = StochasticDepth(0.7).train()
    depth.generator = torch.Generator().manual_seed(seed)
    zero, one = torch.zeros(2, 1), torch.ones(2, 1)
    sums = [depth(zero, lambda x: x, one) for _ in range(2000)]
    assert all(len(set(total.flatten().tolist())) == 1 for total in sums)  # for the whole batch
    assert float(torch.stack(sums).mean()) == pytest.approx(0.7, abs=5 * np.sqrt(0.21 / 2000))


def test_a_block_that_is_left_out_is_not_computed():
    depth = StochasticDepth(1e-9).train()
    depth.generator = torch.Generator().manual_seed(0)
    x = torch.rand(3, 2)

    def never(_):
        raise AssertionError

    assert depth(x, never, x) is x
    assert torch.equal(StochasticDepth(1.0).train()(x, torch.neg, x), torch.zeros(3, 2))  # nothing is drawn


def test_only_blocks_that_took_part_are_changed(seed):
    network = stochastic(seed, last=1e-9, hidden_layer_sizes=(5, 5), activations=("relu", "relu"))
    before = snapshot(network.hidden[1])
    first = snapshot(network.hidden[0])
    finetune(network, quick(optimizer="adam"), seed=seed)
    assert all(torch.equal(value, before[name]) for name, value in network.hidden[1].state_dict().items())
    assert not torch.equal(network.hidden[0].linear.weight, first["linear.weight"])


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop", "adagrad"])
def test_training_is_repeatable_and_lowers_the_loss(optimizer, seed):
    runs = []
    for _ in range(2):
        network = stochastic(seed, activations=("relu",) * 4)
        state = torch.get_rng_state()
        records = finetune(network, quick(optimizer=optimizer, epochs=30, learning_rate=0.01), seed=seed)
        assert torch.equal(torch.get_rng_state(), state)
        losses = [record["loss"] for record in records]
        assert sum(losses[-5:]) < sum(losses[:5])
        runs.append(snapshot(network))
    assert all(torch.equal(value, runs[1][name]) for name, value in runs[0].items())


def test_on_a_cpu_units_and_blocks_are_drawn_from_the_generator_that_is_given():
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    network = stochastic(dropout=0.5)
    assert give_generators(network, generator) is generator
    drawing = [module.generator for module in network.modules() if isinstance(module, RandomLayer)]
    assert len({type(module) for module in network.modules() if isinstance(module, RandomLayer)}) == 2
    assert all(own is generator for own in drawing)
    assert torch.equal(generator.get_state(), before)


def test_it_needs_a_generator_and_a_loss_that_may_change():
    network = stochastic().train()
    with pytest.raises(SettingsError, match="StochasticDepth needs a generator in training"):
        network(torch.rand(3, 13))
    with pytest.raises(SettingsError, match="optimizer 'lbfgs' needs a loss that is the same each time"):
        finetune(stochastic(), quick(optimizer="lbfgs"))


@pytest.mark.parametrize("value", [0, 1.5, -1])
def test_illegal_probabilities(value):
    with pytest.raises(SettingsError, match="survival_probability of a network must be a finite number > 0 and <= 1"):
        stochastic(last=value)
