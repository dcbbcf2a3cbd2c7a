"""Images side by side on a page, and pages as files: one as a .png, several as a film in a .gif."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.atomic import write_bytes
from pretrain.exceptions import DataError

FORMATS = {".png": "PNG", ".gif": "GIF"}
FEWEST_PIXELS = 400  # of the shorter side: smaller pages are enlarged by whole factors
FRAME_MILLISECONDS = 80


def save_pages(pages: Sequence[np.ndarray], path: Path) -> None:
    """Write pages, (height, width) or (height, width, 3) in [0, 1], complete or not at all; over an older file.

    Raises
    ------
    DataError
        For another suffix than .png (one page) or .gif, or where the file cannot be written.
    """
    kind = FORMATS.get(path.suffix.lower())
    if kind is None or (kind == "PNG" and len(pages) != 1):
        raise DataError(f"{path}: one picture is saved as .png, a chain in motion as .gif; got {path.suffix!r}.")
    factor = max(1, FEWEST_PIXELS // min(pages[0].shape[:2]))
    first, *others = (_image(page, factor) for page in pages)
    film = {"save_all": True, "append_images": others, "duration": FRAME_MILLISECONDS, "loop": 0}
    buffer = io.BytesIO()
    first.save(buffer, format=kind, **(film if kind == "GIF" else {}))
    write_bytes(path, buffer.getvalue())


def mosaic(images: np.ndarray, n_columns: int) -> np.ndarray:
    """Images (n, h, w) or (n, h, w, 3) in [0, 1] side by side on white, row by row: one page."""
    n, height, width = images.shape[:3]
    gap = max(1, max(height, width) // 14)
    n_rows = -(-n // n_columns)
    page = np.ones((n_rows * (height + gap) - gap, n_columns * (width + gap) - gap, *images.shape[3:]))
    for place, image in enumerate(images):
        top, left = place // n_columns * (height + gap), place % n_columns * (width + gap)
        page[top : top + height, left : left + width] = image
    return page


def as_images(rows: np.ndarray, image_shape: tuple[int, ...] | None) -> np.ndarray:
    """(..., n_visible) -> (..., h, w) or (..., h, w, 3); rows that are no images are strips of one pixel's height."""
    if image_shape is None or len(image_shape) not in (2, 3) or image_shape[2:] not in ((), (1,), (3,)):
        return rows[..., None, :]
    images = rows.reshape(*rows.shape[:-1], *image_shape)
    return images[..., 0] if image_shape[2:] == (1,) else images


def _image(page: np.ndarray, factor: int) -> Image.Image:
    pixels = np.round(255 * page.clip(0, 1)).astype(np.uint8)
    return Image.fromarray(pixels.repeat(factor, axis=0).repeat(factor, axis=1))
