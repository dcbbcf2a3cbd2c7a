"""Masking and Gaussian noise."""

import numpy as np
import pytest
import torch

from pretrain.corruption import Corruption


def clean(n_rows=997, n_features=31):
    return torch.rand(n_rows, n_features, generator=torch.Generator().manual_seed(7)) + 0.5


@pytest.mark.parametrize("level", [0.1, 0.25, 0.9])
def test_masking_sets_the_share_of_inputs_to_zero_and_keeps_the_rest(level, generator):
    x = clean()
    noisy = Corruption("masking", level, generator=generator)(x)
    masked = noisy == 0
    assert torch.equal(noisy[~masked], x[~masked])
    n = x.numel()
    assert abs(masked.double().mean().item() - level) < 5 * np.sqrt(level * (1 - level) / n)
    per_feature = masked.double().mean(dim=0)
    assert ((per_feature - level).abs() < 5 * np.sqrt(level * (1 - level) / len(x))).all()


@pytest.mark.parametrize("level", [0.1, 1.5])
def test_gaussian_noise_has_the_standard_deviation(level, generator):
    x = clean()
    noise = Corruption("gaussian", level, generator=generator)(x) - x
    n = x.numel()
    assert abs(noise.mean().item()) < 5 * level / np.sqrt(n)
    assert noise.std().item() == pytest.approx(level, abs=5 * level / np.sqrt(2 * n))


@pytest.mark.parametrize("kind", ["masking", "gaussian"])
def test_noise_is_fresh_each_time_and_the_batch_is_left_alone(kind, generator):
    x = clean(5, 3)
    kept = x.clone()
    corruption = Corruption(kind, 0.5, generator=generator)
    first = corruption(x).clone()
    assert not torch.equal(first, corruption(x))
    assert torch.equal(x, kept)


@pytest.mark.parametrize("kind", ["masking", "gaussian"])
def test_same_seed_same_noise_for_batches_of_any_length(kind, seed):
    def noises():
        corruption = Corruption(kind, 0.5, generator=torch.Generator().manual_seed(seed))
        return [corruption(clean(n, 3)).clone() for n in (5, 2, 5)]

    for one, two in zip(noises(), noises(), strict=True):
        assert one.shape == two.shape
        assert torch.equal(one, two)


@pytest.mark.parametrize(("kind", "level"), [("none", 0.5), ("masking", 0.0), ("gaussian", 0.0)])
def test_no_noise_is_no_noise(kind, level, generator):
    x = clean(5, 3)
    corruption = Corruption(kind, level, generator=generator)
    assert torch.equal(corruption(x), x)
    assert corruption.kind == "none"
