"""Data sets that are called by name: digits, curves drawn from a seed, MNIST and faces in a folder of the user's."""

import os
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from pipelines.curves import N_TEST, N_TRAIN, make_curves
from pipelines.data_files import RawData, read_folder, read_npz
from pipelines.faces import PATCHES_OF_A_PICTURE, TRAIN_PEOPLE, make_patches
from pretrain.exceptions import DataError

DATA_VARIABLE = "PRETRAIN_DATA"
FACES_FILE = "faces/att_faces.npz"


def read_digits() -> RawData:
    """scikit-learn's 1,797 handwritten digits of 8 x 8 pixels from 0 to 16."""
    digits = load_digits()
    return RawData(digits.images, digits.target, value_range=(0.0, 16.0))


def read_curves() -> RawData:
    """Drawn curves, 20,000 to train on and 10,000 others to test on, no labels; the same every time."""
    train, test = (make_curves(n, seed=seed)[0] for seed, n in enumerate((N_TRAIN, N_TEST)))
    return RawData(train, X_test=test)


def read_mnist() -> RawData:
    """The IDX files in the folder `mnist` of the user's data folder."""
    return read_folder(_find("mnist", "mnist", "give as DATA the path of a folder of IDX files"))


def read_faces() -> RawData:
    """Patches of the AT&T faces: 30 people to train on, 10 others to test on, no labels.

    The file has X, (400, 112, 92), and y, the person of each picture. The patches are the same every time.
    """
    pictures = read_npz(_find("faces", FACES_FILE, "give as DATA a .npz of images"))
    if pictures.y is None or pictures.X.ndim != 3 or pictures.X.dtype != np.uint8:
        raise DataError(
            f"faces: {FACES_FILE} must hold X, uint8 of shape (n, height, width), and y, one person a row."
        )
    people = np.unique(pictures.y)
    if len(people) <= TRAIN_PEOPLE:
        raise DataError(f"faces: {FACES_FILE} must show more than {TRAIN_PEOPLE} people; it shows {len(people)}.")
    train = np.isin(pictures.y, people[:TRAIN_PEOPLE])
    parts = {}
    for seed, (name, rows) in enumerate((("train", train), ("test", ~train))):
        parts[name] = make_patches(pictures.X[rows], PATCHES_OF_A_PICTURE[name], seed=seed)
    return RawData(parts["train"], X_test=parts["test"])


BUILT_IN = {"digits": read_digits, "curves": read_curves, "mnist": read_mnist, "faces": read_faces}


def _find(name: str, inside: str, otherwise: str) -> Path:
    root = os.environ.get(DATA_VARIABLE)
    path = Path(os.path.expanduser(root or ""), inside)
    if root and path.exists():
        return path
    state = f"there is no {path}" if root else f"the environment variable {DATA_VARIABLE} is not set"
    raise DataError(f"{name}: {state}: set {DATA_VARIABLE} to the folder that contains {inside}, or {otherwise}")
