"""Noise: which cells it takes, what it puts there, and that the same seed puts it there again."""

import numpy as np
import pytest
import torch

from pretrain.autoencoder_settings import CORRUPTIONS
from pretrain.corruption import Corruption

NOISES = CORRUPTIONS[1:]
BY_CELL = ("masking", "salt_and_pepper", "swap")


def clean(n_rows=997, n_features=31, low=0.5):
    return torch.rand(n_rows, n_features, generator=torch.Generator().manual_seed(7)) + low


def deviations(share, expected, n):
    """How many standard errors a share of n lies from its expectation."""
    return abs(share - expected) / np.sqrt(expected * (1 - expected) / n)


@pytest.mark.parametrize("kind", BY_CELL)
@pytest.mark.parametrize("level", [0.1, 0.25, 0.9])
def test_the_share_of_cells_is_taken_and_the_rest_kept(kind, level, generator):
    x = clean()  # in [0.5, 1.5]: no value is 0, and all differ
    corruption = Corruption(kind, level, generator=generator)
    noisy = corruption(x)
    taken = noisy != x
    assert torch.equal(noisy[~taken], x[~taken])
    assert (taken <= (corruption.kept == 0)).all()
    # Salt and pepper may make an extreme of its column itself.
    assert ((corruption.kept == 0) != taken).sum() <= 2 * x.shape[1]
    assert set(corruption.kept.unique().tolist()) == {0.0, 1.0}
    assert deviations(taken.double().mean().item(), level, x.numel()) < 5
    for of_feature in taken.double().mean(dim=0):
        assert deviations(of_feature.item(), level, len(x)) < 5


def test_masking_sets_cells_to_zero(generator):
    x = clean()
    noisy = Corruption("masking", 0.25, generator=generator)(x)
    assert not noisy[noisy != x].any()


@pytest.mark.parametrize("level", [0.1, 1.5])
def test_gaussian_noise_has_the_standard_deviation(level, generator):
    x = clean()
    corruption = Corruption("gaussian", level, generator=generator)
    noise = corruption(x) - x
    n = x.numel()
    assert abs(noise.mean().item()) < 5 * level / np.sqrt(n)
    assert noise.std().item() == pytest.approx(level, abs=5 * level / np.sqrt(2 * n))
    assert corruption.kept is None


@pytest.mark.parametrize(("low", "bounded"), [(0.0, True), (0.5, False), (-0.5, False)])
def test_salt_and_pepper_are_equally_frequent_extremes(low, bounded, generator):
    x = clean(low=low)
    taken = Corruption("salt_and_pepper", 0.3, generator=generator)
    noisy = taken(x)
    smallest, largest = (x.amin(dim=0), x.amax(dim=0)) if not bounded else (torch.zeros(31), torch.ones(31))
    pepper, salt = (noisy == smallest) & (taken.kept == 0), (noisy == largest) & (taken.kept == 0)
    assert torch.equal(pepper | salt, taken.kept == 0)
    assert not (pepper & salt).any()
    for share in (pepper, salt):
        assert deviations(share.double().mean().item(), 0.15, x.numel()) < 5


def test_the_extremes_are_those_of_the_rows_so_far(generator):
    corruption = Corruption("salt_and_pepper", 0.9, generator=generator)
    wide, narrow = clean(199, 3) * 10, clean(199, 3) * 2
    corruption(wide)
    noisy = corruption(narrow)
    expected = torch.stack([torch.minimum(wide.amin(dim=0), narrow.amin(dim=0)), wide.amax(dim=0)])
    for j in range(3):
        assert set(noisy[corruption.kept[:, j] == 0, j].unique().tolist()) == set(expected[:, j].tolist())


def test_one_column_beyond_the_unit_interval_is_enough(generator):
    x = torch.tensor([0.25, 0.75]).repeat(50, 2)
    x[::2] += 0.125
    x[0, 3] = 2.0
    noisy = Corruption("salt_and_pepper", 0.9, generator=generator)(x)
    assert set(noisy[:, 0].tolist()) == {0.25, 0.375}
    assert noisy[:, 3].amax() == 2.0


def test_swap_takes_the_value_of_another_row_of_the_same_column(generator):
    x = torch.arange(7.0).unsqueeze(1) * 100 + torch.arange(5.0)  # the value names its row and its column
    corruption, n_draws = Corruption("swap", 0.5, generator=generator), 2000
    donors, n_taken = torch.zeros(7, 7), 0
    for _ in range(n_draws):
        noisy = corruption(x)
        assert torch.equal(noisy % 100, x % 100)
        assert torch.equal(noisy != x, corruption.kept == 0)  # another row: never itself
        row, column = torch.nonzero(corruption.kept == 0, as_tuple=True)
        donors.index_put_((row, (noisy[row, column] / 100).long()), torch.ones(len(row)), accumulate=True)
        n_taken += len(row)
    assert not donors.diagonal().any()
    others = donors[~torch.eye(7, dtype=torch.bool)]
    assert all(deviations(count.item() / n_taken, 1 / 42, n_taken) < 5 for count in others)


def test_cells_of_one_row_are_swapped_with_different_rows(generator):
    x = torch.arange(101.0).unsqueeze(1).expand(101, 31).contiguous()
    noisy = Corruption("swap", 0.9, generator=generator)(x)
    assert all(len(row.unique()) > 20 for row in noisy)


def test_swap_leaves_a_batch_of_one_row_as_it_is(generator):
    x = clean(1, 5)
    corruption = Corruption("swap", 0.9, generator=generator)
    assert torch.equal(corruption(x), x)
    assert (corruption.kept == 1).all()
    assert not torch.equal(corruption(clean(2, 5)), clean(2, 5))


@pytest.mark.parametrize("kind", ["salt_and_pepper", "swap"])
def test_a_constant_column_beyond_the_unit_interval_stays(kind, generator):
    x = clean(53, 3)
    x[:, 1] = 5.0
    assert torch.equal(Corruption(kind, 0.5, generator=generator)(x)[:, 1], x[:, 1])


@pytest.mark.parametrize("kind", NOISES)
def test_noise_is_fresh_each_time_and_the_batch_is_left_alone(kind, generator):
    x = clean(5, 3)
    kept = x.clone()
    corruption = Corruption(kind, 0.5, generator=generator)
    first = corruption(x).clone()
    assert not torch.equal(first, corruption(x))
    assert torch.equal(x, kept)


@pytest.mark.parametrize("kind", NOISES)
def test_same_seed_same_noise_for_batches_of_any_length(kind, seed):
    def noises():
        corruption = Corruption(kind, 0.5, generator=torch.Generator().manual_seed(seed))
        return [corruption(clean(n, 3)).clone() for n in (5, 2, 1, 5)]

    for one, two in zip(noises(), noises(), strict=True):
        assert one.shape == two.shape
        assert torch.equal(one, two)


@pytest.mark.parametrize("kind", NOISES)
def test_the_state_continues_the_noise(kind, seed):
    one, two = (Corruption(kind, 0.5, generator=torch.Generator().manual_seed(s)) for s in (seed, seed + 17))
    one(clean(11, 3) * 4)
    two.load_state_dict(one.state_dict())
    assert torch.equal(one(clean(5, 3)), two(clean(5, 3)))


@pytest.mark.parametrize(("kind", "level"), [("none", 0.5), *((kind, 0.0) for kind in NOISES)])
def test_no_noise_is_no_noise(kind, level, generator):
    x = clean(5, 3)
    corruption = Corruption(kind, level, generator=generator)
    assert torch.equal(corruption(x), x)
    assert corruption.kind == "none"
