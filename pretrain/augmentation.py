"""Images moved about in training, anew every time: no two epochs see the same rows."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from pretrain.exceptions import SettingsError

SHARE_SHIFTED = 0.5  # of the rows: the rest keep the network at home where the images are
SHARE_FLIPPED = 0.5


class Augmentation:
    """Transforms of images one after another, each with random numbers of its own.

    Parameters
    ----------
    transforms : sequence of ImageShift, ImageFlip, ImageCrop, ImageRotation and RowNoise
    """

    def __init__(self, transforms: Sequence["Transform"]) -> None:
        self.transforms = list(transforms)

    def __call__(self, X: torch.Tensor) -> torch.Tensor:
        """Changed copies of the rows X, (batch, n_features) -> (batch, n_features)."""
        for transform in self.transforms:
            X = transform(X)
        return X

    def state_dict(self) -> dict[str, Any]:
        """What continues the random numbers exactly: a list of generators' states."""
        return {"generators": [transform.generator.get_state() for transform in self.transforms]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        for transform, generator in zip(self.transforms, state["generators"], strict=True):
            transform.generator.set_state(generator)


class ImageShift:
    """Moves half of the images of a batch by whole pixels; what comes in at an edge repeats the edge.

    Parameters
    ----------
    image_shape : tuple of int
        Height and width, and channels if there are any, of a row before it was flattened.
    largest : int
        Pixels each way: both offsets of a shifted image are drawn uniformly from -largest to largest.
    generator : torch.Generator
        On the rows' device.

    Raises
    ------
    SettingsError
        If the rows are no images, or not larger than the shift.
    """

    def __init__(self, image_shape: tuple[int, ...] | None, largest: int, *, generator: torch.Generator) -> None:
        self.image_shape = _require_images("shift", image_shape)
        if largest >= min(self.image_shape[:2]):
            raise SettingsError(f"shift must be below the images' {min(self.image_shape[:2])} pixels; got {largest}.")
        self.largest, self.generator = largest, generator

    def __call__(self, X: torch.Tensor) -> torch.Tensor:
        """Shifted copies of the rows X, (batch, n_features) -> (batch, n_features)."""
        n, (height, width) = len(X), self.image_shape[:2]
        offsets = torch.empty(n, 2, 1, dtype=torch.int64, device=X.device)
        offsets.random_(-self.largest, self.largest + 1, generator=self.generator)
        offsets *= torch.empty(n, 1, 1, device=X.device).uniform_(generator=self.generator) < SHARE_SHIFTED
        places = torch.arange(max(height, width), device=X.device)
        rows = (places[:height] - offsets[:, 0]).clamp_(0, height - 1)
        columns = (places[:width] - offsets[:, 1]).clamp_(0, width - 1)
        image = torch.arange(n, device=X.device)[:, None, None]
        shifted = X.view(n, *self.image_shape)[image, rows[:, :, None], columns[:, None, :]]
        return shifted.view(n, math.prod(self.image_shape))


class ImageFlip:
    """Mirrors half of the images of a batch, left to right.

    Parameters
    ----------
    image_shape : tuple of int
        Height and width, and channels if there are any, of a row before it was flattened.
    generator : torch.Generator
        On the rows' device.

    Raises
    ------
    SettingsError
        If the rows are no images.
    """

    def __init__(self, image_shape: tuple[int, ...] | None, *, generator: torch.Generator) -> None:
        self.image_shape, self.generator = _require_images("flip", image_shape), generator

    def __call__(self, X: torch.Tensor) -> torch.Tensor:
        """Copies of the rows X, half of them mirrored: (batch, n_features) -> (batch, n_features)."""
        flipped = torch.empty(len(X), 1, device=X.device).uniform_(generator=self.generator) < SHARE_FLIPPED
        return torch.where(flipped, X.view(len(X), *self.image_shape).flip(2).view_as(X), X)


class ImageCrop:
    """Surrounds each image of a batch by zeros and cuts one of its size out of that, anywhere.

    What networks are trained with on CIFAR-10 [1]_, there with 4 zeros on each side.

    Parameters
    ----------
    image_shape : tuple of int
        Height and width, and channels if there are any, of a row before it was flattened.
    padding : int
        Zeros on each side, of the scaled rows.
    generator : torch.Generator
        On the rows' device.

    Raises
    ------
    SettingsError
        If the rows are no images, or not larger than the padding.

    References
    ----------
    .. [1] He, K., Zhang, X., Ren, S. & Sun, J. (2016). Deep residual learning for image recognition. CVPR.
    """

    def __init__(self, image_shape: tuple[int, ...] | None, padding: int, *, generator: torch.Generator) -> None:
        self.image_shape = _require_images("crop", image_shape)
        if padding >= min(self.image_shape[:2]):
            raise SettingsError(f"crop must be below the images' {min(self.image_shape[:2])} pixels; got {padding}.")
        self.padding, self.generator = padding, generator

    def __call__(self, X: torch.Tensor) -> torch.Tensor:
        """Cut-outs of the rows X, (batch, n_features) -> (batch, n_features)."""
        n, (height, width), p = len(X), self.image_shape[:2], self.padding
        offsets = torch.empty(n, 2, 1, dtype=torch.int64, device=X.device)
        offsets.random_(0, 2 * p + 1, generator=self.generator)
        rows = torch.arange(height, device=X.device) + offsets[:, 0]
        columns = torch.arange(width, device=X.device) + offsets[:, 1]
        channels = (0, 0) if len(self.image_shape) == 3 else ()
        padded = functional.pad(X.view(n, *self.image_shape), (*channels, p, p, p, p))
        image = torch.arange(n, device=X.device)[:, None, None]
        return padded[image, rows[:, :, None], columns[:, None, :]].view(n, X.shape[1])


class ImageRotation:
    """Turns each image of a batch about its centre; pixels are interpolated, and zeros come in at the corners.

    Parameters
    ----------
    image_shape : tuple of int
        Height and width, and channels if there are any, of a row before it was flattened.
    largest : float
        Degrees each way: the angle is drawn uniformly from -largest to largest.
    generator : torch.Generator
        On the rows' device.

    Raises
    ------
    SettingsError
        If the rows are no images.
    """

    def __init__(self, image_shape: tuple[int, ...] | None, largest: float, *, generator: torch.Generator) -> None:
        self.image_shape = _require_images("rotation", image_shape)
        self.largest, self.generator = largest, generator

    def __call__(self, X: torch.Tensor) -> torch.Tensor:
        """Turned copies of the rows X, (batch, n_features) -> (batch, n_features)."""
        degrees = torch.empty(len(X), device=X.device).uniform_(-self.largest, self.largest, generator=self.generator)
        return rotated(X, self.image_shape, degrees)


class RowNoise:
    """Adds Gaussian noise to every value of a batch.

    Parameters
    ----------
    deviation : float
        Standard deviation, in the units of the scaled rows.
    generator : torch.Generator
        On the rows' device.
    """

    def __init__(self, deviation: float, *, generator: torch.Generator) -> None:
        self.deviation, self.generator = deviation, generator

    def __call__(self, X: torch.Tensor) -> torch.Tensor:
        """Noisy copies of the rows X, (batch, n_features) -> (batch, n_features)."""
        return torch.empty_like(X).normal_(0.0, self.deviation, generator=self.generator).add_(X)


def rotated(X: torch.Tensor, image_shape: tuple[int, ...], degrees: torch.Tensor) -> torch.Tensor:
    """Images turned counterclockwise: (batch, n_features) by (batch,) degrees -> (batch, n_features)."""
    n, (height, width) = len(X), image_shape[:2]
    angle = torch.deg2rad(degrees)
    cosine, sine, zero = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
    # Where a pixel comes from, in coordinates from -1 to 1 along each side.
    across, down = (cosine, -sine * (height / width), zero), (sine * (width / height), cosine, zero)
    matrix = torch.stack([torch.stack(across, dim=1), torch.stack(down, dim=1)], dim=1)  # (batch, 2, 3)
    pictures = X.view(n, height, width, -1).permute(0, 3, 1, 2)
    grid = functional.affine_grid(matrix.to(X.dtype), list(pictures.shape), align_corners=False)
    turned = functional.grid_sample(pictures, grid, align_corners=False)
    return turned.permute(0, 2, 3, 1).reshape(n, X.shape[1])


def _require_images(setting: str, image_shape: tuple[int, ...] | None) -> tuple[int, ...]:
    if image_shape is None or len(image_shape) not in (2, 3):
        shape = "no image shape is known" if image_shape is None else f"their shape is {image_shape}"
        raise SettingsError(
            f"{setting} is for rows that are images, and of these {shape}. Leave it out, or say in Python what "
            "image_shape they have."
        )
    return tuple(image_shape)


Transform = ImageShift | ImageFlip | ImageCrop | ImageRotation | RowNoise
