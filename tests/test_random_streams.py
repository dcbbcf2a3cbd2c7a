"""Named streams, and the sampler of binary states."""

import random

import numpy as np
import pytest
import torch
from scipy import stats

from pretrain.exceptions import SettingsError
from pretrain.random_streams import STREAM_NAMES, BernoulliSampler, RandomStreams, random_mask

UNLIKELY = 1e-4  # p-values below are failures; seeds are fixed


def draw(seed, name, layer=None):
    return torch.rand(5, generator=RandomStreams(seed).generator(name, layer=layer)).tolist()


def test_every_name_and_layer_has_a_stream_of_its_own(seed):
    streams = [draw(seed, name, layer) for name in STREAM_NAMES for layer in (None, 0, 1, 2, 17)]
    assert len({tuple(numbers) for numbers in streams}) == len(streams)


def test_streams_repeat_and_follow_the_seed(seed):
    assert draw(seed, "sampling", 2) == draw(seed, "sampling", 2)
    assert draw(seed, "sampling", 2) != draw(seed + 2, "sampling", 2)


def test_a_stream_does_not_depend_on_what_other_streams_have_drawn(seed):
    streams = RandomStreams(seed)
    torch.rand(1000, generator=streams.generator("sampling", layer=0))
    streams.integer_seed("split")
    later = torch.rand(5, generator=streams.generator("sampling", layer=1))
    assert later.tolist() == draw(seed, "sampling", 1)


def test_streams_are_uncorrelated(seed):
    draws = [
        torch.rand(10_000, generator=RandomStreams(seed).generator("init", layer=layer)).numpy() for layer in range(5)
    ]
    correlations = np.corrcoef(draws)[np.triu_indices(5, 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(10_000)


def test_known_values_keep_old_runs_repeatable():
    # The numbers of a stream are part of what a checkpoint and a printed result rely on.
    assert RandomStreams(0).integer_seed("init", layer=0) == 7449029282396566744
    assert RandomStreams(1).integer_seed("sampling", layer=1) == 7422783641154300260
    assert RandomStreams(1).integer_seed("split") == 8318435659192053488


def test_global_generators_are_untouched():
    before = (torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate())
    generator = RandomStreams(3).generator("batches")
    BernoulliSampler(generator).sample(torch.full((7, 5), 0.5), torch.empty(7, 5))
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])
    assert before[2] == random.getstate()


@pytest.mark.parametrize("seed", [-1, 0.5, "0", None, True])
def test_illegal_seeds(seed):
    with pytest.raises(SettingsError, match="seed of RandomStreams must be an integer >= 0"):
        RandomStreams(seed)


def test_unknown_stream():
    with pytest.raises(SettingsError, match="name of RandomStreams must be one of init, batches"):
        RandomStreams(0).generator("weather")


def sampled(probabilities, generator, n_draws=1):
    sampler = BernoulliSampler(generator)
    return torch.stack([sampler.sample(probabilities, torch.empty_like(probabilities)) for _ in range(n_draws)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_frequencies_follow_the_probabilities(generator, dtype):
    p = torch.tensor([0.003, 0.1, 0.25, 0.5, 0.75, 0.9, 0.997], dtype=dtype)
    n = 40_000
    states = sampled(p.expand(n, -1).contiguous(), generator)[0]
    assert states.dtype == dtype
    assert set(states.unique().tolist()) == {0.0, 1.0}
    on = states.double().sum(dim=0).numpy()
    expected = n * p.double().numpy()
    chi_square = ((on - expected) ** 2 / expected + (on - expected) ** 2 / (n - expected)).sum()
    assert stats.chi2.sf(chi_square, df=len(p)) > UNLIKELY


def test_certain_units_are_certain(generator):
    # One threshold in 2^16 is exactly zero: enough units that a unit of probability zero would meet it.
    p = torch.tensor([0.0, 1.0]).repeat(1_000_003, 1)
    assert torch.equal(sampled(p, generator)[0], p)


def test_tiny_probabilities_are_rounded_up_to_the_resolution(generator):
    n = 4_000_000
    on = sampled(torch.full((n,), 1e-9), generator)[0].sum().item()
    mean = n * 2.0**-16
    assert abs(on - mean) < 5 * np.sqrt(mean)


def test_lanes_of_a_word_are_unbiased_and_uncorrelated(generator):
    # Four neighbours share one 64-bit word: its lanes, its sign bit included, must be independent thresholds.
    n = 50_000
    lanes = sampled(torch.full((n, 4), 0.5), generator)[0].numpy()
    assert np.abs(lanes.mean(axis=0) - 0.5).max() < 5 * 0.5 / np.sqrt(n)
    table = np.bincount((lanes @ [1, 2, 4, 8]).astype(int), minlength=16)
    assert stats.chisquare(table).pvalue > UNLIKELY
    for low in (0.03, 0.25):
        lanes = sampled(torch.full((n, 4), low), generator)[0].numpy()
        assert np.abs(lanes.mean(axis=0) - low).max() < 5 * np.sqrt(low * (1 - low) / n)


def test_successive_draws_are_independent(generator):
    first, second = sampled(torch.full((10_007,), 0.5), generator, n_draws=2).numpy()
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / np.sqrt(10_007)


@pytest.mark.parametrize("shape", [(1,), (3,), (5, 1), (1, 7), (11, 13)])
def test_any_shape_and_reused_buffers(generator, shape):
    sampler = BernoulliSampler(generator)
    for size in (shape, (2, 2), shape):
        p = torch.ones(size)
        assert torch.equal(sampler.sample(p, torch.empty(size)), p)


def test_probabilities_that_are_not_contiguous(generator):
    p = torch.tensor([[0.0, 1.0, 0.0], [1.0, 1.0, 0.0]]).T
    assert torch.equal(BernoulliSampler(generator).sample(p, torch.empty(3, 2)), p)


def test_probabilities_are_left_alone(generator):
    p = torch.rand(7, 5, generator=generator)
    kept = p.clone()
    sampled(p, generator)
    assert torch.equal(p, kept)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("p", [0.003, 0.25, 0.5, 0.9])
def test_masks_follow_their_probability_in_every_lane(p, dtype, generator):
    n = 40_000
    mask = random_mask((n, 4), p, generator=generator, dtype=dtype)
    assert mask.dtype == dtype
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    lanes = mask.double().numpy()
    assert np.abs(lanes.mean(axis=0) - p).max() < 5 * np.sqrt(p * (1 - p) / n)
    correlations = np.corrcoef(lanes.T)[np.triu_indices(4, 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(n)


@pytest.mark.parametrize(("p", "expected"), [(0.0, 0.0), (1e-6, 0.0), (1 - 1e-6, 1.0), (1.0, 1.0)])
def test_masks_are_rounded_to_the_resolution(p, expected, generator):
    assert (random_mask((1_000_003,), p, generator=generator, dtype=torch.float32) == expected).all()


def test_the_last_step_below_certainty_is_not_certain(generator):
    mask = random_mask((1_000_003,), 1 - 2.0**-16, generator=generator, dtype=torch.float32)
    assert 0 < (mask == 0).sum() < 50


@pytest.mark.parametrize("shape", [(1,), (5, 3), (2, 3, 7), (0, 3)])
def test_masks_are_new_and_repeat_with_the_seed(shape, seed):
    def masks():
        generator = torch.Generator().manual_seed(seed)
        return [random_mask(shape, 0.5, generator=generator, dtype=torch.float32) for _ in range(2)]

    (one, two), again = masks(), masks()
    assert one.shape == shape
    assert torch.equal(one, again[0])
    assert torch.equal(two, again[1])
    assert one.numel() < 5 or not torch.equal(one, two)
