"""Unit types against sums and integrals over their states."""

import numpy as np
import pytest
import torch
from oracles import state_space
from scipy import stats
from scipy.special import logsumexp

from pretrain.activations import ACTIVATIONS
from pretrain.exceptions import SettingsError
from pretrain.random_streams import BernoulliSampler
from pretrain.units import UNIT_TYPES, make_units

TOTAL_INPUT = torch.tensor([[-2.0, 0.3, 1.7], [0.0, 3.0, -0.4]], dtype=torch.float64)


def conditional(name, a):
    """States of one unit and log p(x | a) up to its normaliser, with p(x | a) proportional to exp(a x - B(x))."""
    states, log_weight = state_space(name, 1)
    x = states[:, 0]
    base = 0.5 * x**2 if name == "gaussian" else 0.0
    return x, a * x - base + log_weight


@pytest.mark.parametrize("name", UNIT_TYPES)
class TestUnits:
    def test_log_partition(self, name):
        expected = [sum(logsumexp(conditional(name, a)[1]) for a in row) for row in TOTAL_INPUT.tolist()]
        assert make_units(name).log_partition(TOTAL_INPUT).tolist() == pytest.approx(expected, rel=1e-8)

    def test_mean(self, name):
        expected = np.zeros(TOTAL_INPUT.shape)
        for index, a in np.ndenumerate(TOTAL_INPUT.numpy()):
            x, log_p = conditional(name, a)
            expected[index] = np.exp(log_p - logsumexp(log_p)) @ x
        np.testing.assert_allclose(make_units(name).mean_(TOTAL_INPUT.clone()), expected, rtol=1e-7, atol=1e-7)

    def test_mean_is_the_slope_of_the_log_partition(self, name):
        a = TOTAL_INPUT.clone().requires_grad_()
        (slope,) = torch.autograd.grad(make_units(name).log_partition(a).sum(), a)
        torch.testing.assert_close(slope, make_units(name).mean_(TOTAL_INPUT.clone()))

    def test_mean_is_the_activation_of_the_unrolled_net(self, name):
        units = make_units(name)
        assert torch.equal(units.mean_(TOTAL_INPUT.clone()), ACTIVATIONS[units.activation](TOTAL_INPUT))

    def test_sample(self, name, generator):
        n = 40_000
        units, a = make_units(name), TOTAL_INPUT[0].float()
        mean = units.mean_(a.expand(n, -1).clone())
        kept = mean.clone()
        states = units.sample(mean, sampler=BernoulliSampler(generator), out=torch.empty(n, 3))
        assert torch.equal(mean, kept)
        variance = torch.ones(3) if name == "gaussian" else kept[0] * (1 - kept[0])
        assert ((states.mean(dim=0) - kept[0]).abs() < 5 * (variance / n).sqrt()).all()
        # Standard error of a variance: sqrt of (fourth moment - variance^2) / n, at most sqrt(2 / n) here.
        assert ((states.var(dim=0) - variance).abs() < 5 * np.sqrt(2 / n)).all()
        if name == "gaussian":
            assert stats.kstest((states - kept)[:, 0].numpy(), "norm").pvalue > 1e-4

    def test_base_energy(self, name):
        x = TOTAL_INPUT if name == "gaussian" else (TOTAL_INPUT > 0).double()
        expected = 0.5 * (x.numpy() ** 2).sum(axis=1) if name == "gaussian" else np.zeros(2)
        np.testing.assert_allclose(make_units(name).base_energy(x), expected)


def test_unknown_units():
    with pytest.raises(SettingsError, match="units must be one of bernoulli, gaussian; got 'softmax'"):
        make_units("softmax")
