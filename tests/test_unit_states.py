"""States that can be counted: every one of them once, in order of nothing."""

import itertools
import math

import numpy as np
import pytest
import torch
from oracles import n_units, state_space

from pretrain.exceptions import SettingsError
from pretrain.unit_states import CHUNK, can_be_listed, count_states, sites, states_in_chunks
from pretrain.unit_types import make_units

COUNTED = (
    "bernoulli",
    "spin",
    "softmax",
    "softmax:4",
    "softmax:1+softmax:2",
    "bernoulli:2+softmax:3+spin:1+softmax:2+softmax:2",
)
UNCOUNTED = ("gaussian", "gaussian_learned", "noisy_relu", "bernoulli:2+gaussian:1", "softmax:2+noisy_relu:1")


@pytest.mark.parametrize("name", COUNTED)
def test_all_states_are_listed_once(name):
    n = n_units(name, 3)
    units = make_units(name, n)
    found = torch.cat(list(states_in_chunks(units)))
    expected = state_space(name, n)[0]
    assert found.dtype == torch.float64
    assert sorted(found.tolist()) == sorted(expected.tolist())
    assert count_states(units) == len(expected)


def test_many_states_come_in_chunks():
    chunks = list(states_in_chunks(make_units("bernoulli", 15)))
    assert [len(chunk) for chunk in chunks] == [CHUNK, CHUNK]
    numbers = torch.cat(chunks) @ (2.0 ** torch.arange(15, dtype=torch.float64))
    assert sorted(numbers.tolist()) == list(range(2**15))


@pytest.mark.parametrize(("n", "total"), [(1, 4), (3, 0), (3, 1), (3, 5), (5, 3)])
def test_documents_of_a_length_are_listed_once(n, total):
    units = make_units("replicated_softmax", n)
    found = torch.cat(list(states_in_chunks(units, total)))
    expected = {row for row in itertools.product(range(total + 1), repeat=n) if sum(row) == total}
    assert len(found) == len(expected) == count_states(units, total)
    assert {tuple(row) for row in found.int().tolist()} == expected


def test_many_documents_come_in_chunks():
    units = make_units("replicated_softmax", 4)
    chunks = list(states_in_chunks(units, 50))
    assert [len(chunk) for chunk in chunks] == [CHUNK, math.comb(53, 3) - CHUNK]
    assert len(torch.cat(chunks).unique(dim=0)) == math.comb(53, 3)
    assert (torch.cat(chunks).sum(dim=1) == 50).all()
    assert torch.cat(chunks).min() == 0


def test_numbers_of_states():
    assert count_states(make_units("bernoulli", 500)) == pytest.approx(2.0**500)
    assert math.isinf(count_states(make_units("spin", 5000)))  # beyond a float, and no overflow
    assert count_states(make_units("softmax", 5000)) == pytest.approx(5000)
    assert math.isinf(count_states(make_units("replicated_softmax", 3)))  # any number of words
    for name in UNCOUNTED:
        assert math.isinf(count_states(make_units(name, 3)))


@pytest.mark.parametrize("name", [*UNCOUNTED, "replicated_softmax"])
def test_states_that_cannot_be_listed(name):
    with pytest.raises(SettingsError, match=r"The states of \w+ units cannot be listed; bernoulli, spin and softmax"):
        sites(make_units(name, 3))
    assert not can_be_listed(make_units(name, 3))
    with pytest.raises(SettingsError, match="cannot be listed"):
        list(states_in_chunks(make_units(name, 3)))


@pytest.mark.parametrize("name", COUNTED)
def test_sites_are_units_and_groups_and_share_out_values(name):
    n = n_units(name, 3)
    every = sites(make_units(name, n))
    assert can_be_listed(make_units(name, n))
    assert [k for site in every for k in range(n)[site.columns]] == list(range(n))
    states = torch.from_numpy(state_space(name, n)[0])
    for site in every:
        values = states[:, site.columns]
        shares = site.probabilities(values)
        assert shares.shape == (len(states), len(site.states))
        assert sorted(np.unique(shares)) in ([0, 1], [1])
        torch.testing.assert_close(shares @ site.states.double(), values)
        # Values between the states are shared out so that their mean is kept.
        between = (values + values.roll(1, dims=0)) / 2
        shares = site.probabilities(between)
        torch.testing.assert_close(shares @ site.states.double(), between)
        torch.testing.assert_close(shares.sum(dim=1), torch.ones(len(states), dtype=torch.float64))
