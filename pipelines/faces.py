"""Patches of faces as in the deep autoencoders of 2006: rotated, scaled and cropped to 25 x 25 pixels.

References
----------
.. [1] Hinton, G. E. & Salakhutdinov, R. R. (2006). Reducing the dimensionality of data with neural networks.
       Science 313, 504-507, supporting material: from 400 pictures of 40 people, 165,600 images by rotating (-90 to
       +90 degrees), scaling (1.4 to 1.8) and cropping; 30 people to train on, 10 others to test on.
"""

import numpy as np
import torch
from torch.nn import functional

SIDE = 25
PATCHES_OF_A_PICTURE = {"train": 345, "test": 414}  # 103,500 and 41,400 with ten pictures of each person
TRAIN_PEOPLE = 30
LARGEST_ANGLE = 90.0  # degrees
SCALES = (1.4, 1.8)  # a patch shows one part in 1.4 to 1.8 of the picture's width
CHUNK = 2000


def make_patches(pictures: np.ndarray, n_of_each: int, *, seed: int) -> np.ndarray:
    """Cut patches from pictures at random places, angles and scales.

    Parameters
    ----------
    pictures : uint8 ndarray of shape (n, height, width)
    n_of_each : int
        Patches of each picture.
    seed : int

    Returns
    -------
    uint8 ndarray of shape (n * n_of_each, 25, 25)
        The patches of the first picture, then those of the second, ...
    """
    n, height, width = pictures.shape
    rng = np.random.default_rng(seed)
    total = n * n_of_each
    angle = np.deg2rad(rng.uniform(-LARGEST_ANGLE, LARGEST_ANGLE, total))
    side = width / rng.uniform(*SCALES, total)
    x = rng.uniform(side / 2, width - side / 2)
    y = rng.uniform(side / 2, height - side / 2)
    source = np.repeat(np.arange(n), n_of_each)
    tensor = torch.from_numpy(pictures.astype(np.float32))[:, None]
    chunks = []
    for start in range(0, total, CHUNK):
        part = slice(start, start + CHUNK)
        grid = _grid(angle[part], side[part], x[part], y[part], height, width)
        patches = functional.grid_sample(
            tensor[source[part]], grid, mode="bilinear", padding_mode="reflection", align_corners=False
        )
        chunks.append(patches[:, 0].round().clamp(0, 255).to(torch.uint8))
    return torch.cat(chunks).numpy()


def _grid(angle: np.ndarray, side: np.ndarray, x: np.ndarray, y: np.ndarray, height: int, width: int) -> torch.Tensor:
    """Where in the picture the pixels of each patch lie, (n, 25, 25, 2), from -1 to 1 as grid_sample wants it."""
    offset = (np.arange(SIDE) + 0.5) / SIDE - 0.5
    across, down = np.meshgrid(offset, offset)
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    scale = side[:, None, None]
    columns = x[:, None, None] + scale * (cos * across - sin * down)
    rows = y[:, None, None] + scale * (sin * across + cos * down)
    grid = np.stack([2 * columns / width - 1, 2 * rows / height - 1], axis=-1)
    return torch.from_numpy(grid.astype(np.float32))
