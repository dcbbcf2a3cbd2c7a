"""A folder of images per class: read as written, and every way to get one wrong is named."""

from pathlib import Path

import numpy as np
import pytest
from data_sources import X, refuse
from PIL import Image

from pipelines.data import load_dataset


def write_images(folder: Path, suffix: str = "png") -> Path:
    for label, rows in (("owl", [0, 1]), ("bee", [2, 3, 4])):
        (folder / label).mkdir(parents=True)
        for row in rows:
            Image.fromarray(X[row]).save(folder / label / f"{row}.{suffix}")
    (folder / "bee" / ".hidden").touch()
    return folder


@pytest.mark.parametrize("suffix", ["png", "pgm", "bmp"])
def test_image_folder(tmp_path: Path, suffix: str) -> None:
    dataset = load_dataset(str(write_images(tmp_path, suffix)))
    assert dataset.y is not None
    assert dataset.y.tolist() == ["bee", "bee", "bee", "owl", "owl"]
    np.testing.assert_array_equal(dataset.X, X[[2, 3, 4, 0, 1]].reshape(5, 6))
    assert (dataset.image_shape, dataset.value_range) == ((2, 3), (0, 255))


def test_classes_come_in_sorted_order(tmp_path: Path) -> None:
    for label in "gbhaecfd":
        (tmp_path / label).mkdir()
        for name in "31":
            Image.fromarray(np.full((2, 3), ord(label) + int(name), np.uint8)).save(tmp_path / label / f"{name}.png")
    dataset = load_dataset(str(tmp_path))
    assert dataset.y is not None
    assert "".join(dataset.y) == "aabbccddeeffgghh"
    np.testing.assert_array_equal(dataset.X[:, 0], [ord(c) + i for c in "abcdefgh" for i in (1, 3)])


def test_jpeg_images(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    Image.fromarray(np.full((8, 8), 77, dtype=np.uint8)).save(tmp_path / "a" / "1.jpg", quality=100)
    assert abs(load_dataset(str(tmp_path)).X.astype(int) - 77).max() <= 1


@pytest.mark.parametrize("suffix", ["png", "ppm", "bmp"])
def test_colour_images(tmp_path: Path, suffix: str) -> None:
    pictures = np.random.default_rng(0).integers(256, size=(2, 4, 5, 3), dtype=np.uint8)
    for label, picture in zip("ba", pictures, strict=True):
        (tmp_path / label).mkdir()
        Image.fromarray(picture).save(tmp_path / label / f"1.{suffix}")
    dataset = load_dataset(str(tmp_path))
    np.testing.assert_array_equal(dataset.X, pictures[[1, 0]].reshape(2, 60))
    assert (dataset.image_shape, dataset.value_range) == ((4, 5, 3), (0, 255))
    Image.new("L", (5, 4)).save(tmp_path / "b" / f"2.{'bmp' if suffix == 'ppm' else suffix}")
    refuse(tmp_path, "grey, expected in colour", "one mode")


def test_images_of_one_bit(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).random((4, 5)) < 0.5
    (tmp_path / "a").mkdir()
    Image.fromarray(picture).save(tmp_path / "a" / "1.png")
    np.testing.assert_array_equal(load_dataset(str(tmp_path)).X, 255 * picture.reshape(1, 20))


def test_images_that_cannot_be_used(tmp_path: Path) -> None:
    folder = write_images(tmp_path)
    bad = folder / "owl" / "9.png"
    Image.fromarray(X[0].T.copy()).save(bad)
    refuse(folder, "owl/9.png", "3 x 2 pixels", "expected 2 x 3", "one size")
    Image.new("RGBA", (3, 2)).save(bad)
    refuse(folder, "owl/9.png", "expected an 8-bit grey or RGB image, found mode RGBA")
    Image.new("RGB", (3, 2)).save(bad)
    refuse(folder, "owl/9.png", "in colour, expected grey", "one mode")
    bad.write_bytes(b"\x89PNG no")
    refuse(folder, "owl/9.png", "cannot be read")
    bad.unlink()
    (folder / "owl" / "notes.txt").touch()
    refuse(folder, "notes.txt", "not an image file", ".png")
    (folder / "owl" / "notes.txt").unlink()
    (folder / "yak").mkdir()
    refuse(folder, "yak", "empty")


def test_folder_without_data(tmp_path: Path) -> None:
    refuse(tmp_path, str(tmp_path), "holds no data", "train-images-idx3-ubyte", "one subfolder")
