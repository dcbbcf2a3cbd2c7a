"""Patches of faces: where they are cut, at which angle and scale."""

import numpy as np
import pytest

from pipelines.faces import SIDE, make_patches

HEIGHT, WIDTH = 112, 92


def ramps() -> np.ndarray:
    """A picture whose pixels say their column, and one whose pixels say their row."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([columns, rows]).astype(np.uint8)


def test_same_seed_same_patches() -> None:
    one, two, other = (make_patches(ramps(), 3, seed=seed) for seed in (0, 0, 1))
    assert one.shape == (6, SIDE, SIDE)
    assert one.dtype == np.uint8
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_patches_are_squares_of_the_picture_turned_and_scaled() -> None:
    n = 200
    patches = make_patches(ramps(), n, seed=0).astype(float)
    inner = slice(9, 16)  # far from the reflections at the edges of the picture
    across = np.diff(patches[:, inner, inner], axis=2).mean(axis=(1, 2))
    down = np.diff(patches[:, inner, inner], axis=1).mean(axis=(1, 2))
    step = np.hypot(across, down)  # pixels of the picture a pixel of the patch, whatever the angle
    clear = (patches[:, inner, inner].min(axis=(1, 2)) > 8) & (patches[:, inner, inner].max(axis=(1, 2)) < 80)
    assert clear.sum() > n / 2
    assert step[clear].min() > 0.95 * WIDTH / 1.8 / SIDE
    assert step[clear].max() < 1.05 * WIDTH / 1.4 / SIDE
    angle = np.rad2deg(np.arctan2(-down[:n], across[:n]))[clear[:n]]  # of the ramp along columns
    assert -91 < angle.min() < -60
    assert 60 < angle.max() < 91


@pytest.mark.parametrize("n_of_each", [1, 4])
def test_patches_follow_the_pictures_in_order(n_of_each: int) -> None:
    pictures = np.stack([np.full((HEIGHT, WIDTH), value, dtype=np.uint8) for value in (10, 200)])
    patches = make_patches(pictures, n_of_each, seed=0)
    assert [int(patch.mean()) for patch in patches] == [10] * n_of_each + [200] * n_of_each
