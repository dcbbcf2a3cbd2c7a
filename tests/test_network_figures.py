"""Figures of networks by layer: against autograd and against the layers' own outputs."""

import numpy as np
import pytest
import torch
from global_state import global_state

from pretrain.backprop import network_loss
from pretrain.baselines import scratch_network
from pretrain.batches import Batch
from pretrain.image_networks import scratch_image_network
from pretrain.network_figures import network_figures

KINDS = ("sigmoid", "relu-bn", "relu-dropout", "residual", "stochastic-depth", "dense")
N, V, SIZES, CLASSES = 17, 11, (7, 7, 5), 3


def network_of(kind):
    return scratch_network(kind, V, SIZES, CLASSES, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    return Batch(torch.rand(N, V, generator=generator), torch.arange(N) % CLASSES)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_norms_are_autograds(kind, batch):
    network = network_of(kind)
    figures = network_figures(network, batch)
    network_loss(network.eval(), network(batch.X), batch).backward()
    expected = [
        float(torch.cat([p.grad.flatten() for p in layer.parameters()]).norm())
        for layer in (*network.hidden, network.head)
    ]
    assert figures["gradient_norms"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_activations_are_those_of_the_layers_own_units(kind, batch):
    network = network_of(kind)
    figures = network_figures(network, batch)
    x = batch.X
    for k, layer in enumerate(network.hidden):
        x = layer(x).detach()
        own = x[:, -SIZES[k] :]  # a densely connected layer passes on what is below it, too
        assert figures["activation_means"][k] == pytest.approx(float(own.mean()), rel=1e-5)
        assert figures["activation_stds"][k] == pytest.approx(float(own.std(correction=0)), rel=1e-5)


def test_dead_and_saturated_units_are_found(batch):
    network = network_of("relu")
    with torch.no_grad():
        network.hidden[1].linear.bias[:3] = -1e3
    assert network_figures(network, batch)["dead_units"] == pytest.approx([0, 3 / 7, 0], abs=0.3)
    assert network_figures(network, batch)["dead_units"][1] >= 3 / 7
    sigmoid = network_of("sigmoid")
    with torch.no_grad():
        sigmoid.hidden[2].linear.bias[:2] = 50
    assert network_figures(sigmoid, batch)["saturated_units"] == pytest.approx([0, 0, 2 / 5])
    assert network_figures(sigmoid, batch)["dead_units"] == [0, 0, 0]


def test_a_frozen_layer_has_no_gradient(batch):
    network = network_of("relu")
    network.hidden[1].requires_grad_(False)
    norms = network_figures(network, batch)["gradient_norms"]
    assert norms[1] == 0
    assert min(norms[0], norms[2], norms[3]) > 0


@pytest.mark.parametrize("kind", ["lenet", "resnet-20", "densenet-40-12"])
def test_channels_are_the_units_of_images(kind):
    generator = torch.Generator().manual_seed(2)
    network = scratch_image_network(kind, (12, 12), CLASSES, generator=generator)
    batch = Batch(torch.rand(5, 144, generator=generator), torch.arange(5) % CLASSES)
    figures = network_figures(network, batch)
    first = network.hidden[0](batch.X.reshape(5, 1, 12, 12)).detach()
    assert figures["activation_means"][0] == pytest.approx(float(first.mean()), rel=1e-4)
    assert len(figures["gradient_norms"]) == 1 + len(figures["dead_units"]) == 1 + len(network.hidden)
    for name in figures:
        assert np.isfinite(figures[name]).all()


def test_nothing_is_changed(batch):
    network = network_of("relu-bn").train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = global_state()
    with torch.no_grad():
        network_figures(network, batch)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert global_state() == state
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(layer._forward_hooks for layer in network.modules())
