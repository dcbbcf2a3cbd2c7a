"""Images of one size, grey or in colour, in one folder per class."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pretrain.exceptions import DataError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".pgm", ".ppm", ".bmp")
# Pillow's names of 8-bit images without transparency or palette: what a file has, and what it is read as.
MODES = {"1": "L", "L": "L", "RGB": "RGB"}
COLOURS = {2: "grey", 3: "in colour"}  # by the axes of the pixels


def read_image_classes(classes: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Read the images in one folder per class; the labels are the folders' names.

    Parameters
    ----------
    classes : sequence of Path
        One folder a class.

    Returns
    -------
    X : np.ndarray of uint8, (n_samples, height, width), or (n_samples, height, width, 3) of colour images
    y : np.ndarray of str, (n_samples,)

    Raises
    ------
    DataError
        If a folder is empty, a file is no 8-bit grey or RGB image, or an image differs from the first in size or in
        whether it is in colour.
    """
    paths: list[Path] = []
    labels: list[str] = []
    for folder in classes:
        inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        if not inside:
            raise DataError(f"{folder}: the folder of this class is empty: fill it or take it out")
        paths += inside
        labels += [folder.name] * len(inside)
    first = _read_image(paths[0])
    X = np.empty((len(paths), *first.shape), dtype=np.uint8)
    for row, path in enumerate(paths):
        image = _read_image(path)
        if image.ndim != first.ndim:
            raise DataError(
                f"{path}: the image is {COLOURS[image.ndim]}, expected {COLOURS[first.ndim]} as {paths[0]} is: bring "
                "all images to one mode"
            )
        if image.shape != first.shape:
            raise DataError(
                f"{path}: the image is {image.shape[0]} x {image.shape[1]} pixels (height x width), expected "
                f"{first.shape[0]} x {first.shape[1]} as in {paths[0]}: bring all images to one size"
            )
        X[row] = image
    return X, np.array(labels)


def _read_image(path: Path) -> np.ndarray:
    """Pixels of one image: (height, width) of a grey one, (height, width, 3) of one in colour."""
    if path.suffix.lower() not in IMAGE_SUFFIXES or path.is_dir():
        kinds = ", ".join(IMAGE_SUFFIXES)
        raise DataError(f"{path}: not an image file: expected only {kinds} in the folder of a class")
    try:
        with Image.open(path) as image:
            mode, pixels = image.mode, np.asarray(image.convert(MODES.get(image.mode)))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: the image cannot be read ({error})") from error
    if mode not in MODES:
        raise DataError(
            f"{path}: expected an 8-bit grey or RGB image, found mode {mode} (Pillow converts to 'L' and 'RGB')"
        )
    return pixels
