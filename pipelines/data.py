"""Data sets: one function turns what the user names into checked arrays.

`load_dataset` accepts a built-in name, an OpenML name or a path; `list_datasets` lists the forms. The
readers of single formats are in `pipelines.data_files`, except HDF5: h5py is imported only here.
"""

import hashlib
import os
import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from http.client import HTTPException
from pathlib import Path
from typing import Literal, NamedTuple

import h5py
import numpy as np
from scipy.sparse import issparse
from sklearn.datasets import fetch_openml

from pipelines.built_in import BUILT_IN, DATA_VARIABLE, FACES_FILE
from pipelines.data_files import RawData, pick_arrays, read_csv, read_folder, read_npz
from pretrain.exceptions import DataError

DECLARED_RANGES = {"uint8": (0.0, 255.0), "bool": (0.0, 1.0)}  # by the dtype in the file


class DataForm(NamedTuple):
    """One accepted form of DATA: how to write it, what it is, and its size where that is known."""

    name: str
    description: str
    size: str = ""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Arrays of one data set, checked and made read-only by `load_dataset`.

    Attributes
    ----------
    name : str
        As the user wrote it.
    X, X_test : np.ndarray of shape (n_samples, n_features)
        Training rows and the data's own test rows (None if it has none), finite numbers as stored.
    y, y_test : np.ndarray of shape (n_samples,) or None
        Labels (integers or strings) or regression targets (floats).
    image_shape : tuple of int or None
        Shape of one sample before it was flattened; None if it was stored flat.
    value_range : tuple of float or None
        Range that the format declares: (0, 255) for uint8, (0, 1) for booleans, (0, 16) for digits.
    feature_names : tuple of str or None
        Names of the columns of X.
    """

    name: str
    X: np.ndarray
    y: np.ndarray | None = None
    X_test: np.ndarray | None = None
    y_test: np.ndarray | None = None
    image_shape: tuple[int, ...] | None = None
    value_range: tuple[float, float] | None = None
    feature_names: tuple[str, ...] | None = None

    @cached_property
    def sha256(self) -> str:
        """Hex digest of dtype, shape and content of X, y, X_test and y_test."""
        digest = hashlib.sha256()
        for role in ("X", "y", "X_test", "y_test"):
            array = getattr(self, role)
            digest.update(f"{role}:{None if array is None else (array.dtype.str, array.shape)};".encode())
            if array is not None:
                digest.update(np.ascontiguousarray(array).view(np.uint8).data)
        return digest.hexdigest()


def list_datasets() -> list[DataForm]:
    """List the accepted forms of DATA, one row each."""
    return [
        DataForm("digits", "handwritten digits of scikit-learn, built in", "1,797 images of 8 x 8"),
        DataForm("curves", "smooth curves, drawn, no labels, built in", "20,000 + 10,000 images of 28 x 28"),
        DataForm("mnist", f"the IDX files in ${DATA_VARIABLE}/mnist", "60,000 + 10,000 images of 28 x 28"),
        DataForm("faces", f"patches of ${DATA_VARIABLE}/{FACES_FILE}", "103,500 + 41,400 images of 25 x 25"),
        DataForm("openml:NAME", "from openml.org, fetched once; also openml:NAME@VERSION, openml:ID"),
        DataForm("FOLDER of IDX files", "train-images-idx3-ubyte[.gz], also train-labels, t10k-images, -labels"),
        DataForm(
            "FOLDER of images",
            "one subfolder of grey or RGB images (png, jpg, pgm, ppm, bmp) a class, of one size",
        ),
        DataForm("FILE.npz", "NumPy arrays X, and y, X_test, y_test where there are such"),
        DataForm("FILE.h5, FILE.hdf5", "HDF5 datasets of the same names at the root"),
        DataForm("FILE.csv, FILE.csv.gz", "numbers under a header row; --target names the label column"),
    ]


def task_of(y: np.ndarray) -> Literal["classification", "regression"]:
    """Say what labels `y` of shape (n_samples,) ask for.

    Numbers that are not whole mean regression, and so do more than 20 whole numbers of which each
    occurs fewer than 4 times on average: ages and counts are no classes that could be learned or stratified.
    """
    if y.dtype.kind not in "iuf":
        return "classification"
    whole = y.dtype.kind != "f" or bool(np.all(y == np.round(y)))
    n_values = len(np.unique(y))
    return "classification" if whole and (n_values <= 20 or 4 * n_values <= len(y)) else "regression"


def load_dataset(source: str, *, target: str | None = None) -> Dataset:
    """Load and check the data that the user names.

    Parameters
    ----------
    source : str
        A form of `list_datasets`. A built-in name goes before a file of that name (write `./digits`).
    target : str or None
        Label column of a CSV file; no other format takes it.

    Returns
    -------
    Dataset
        X of shape (n_samples, n_features); samples of more dimensions are flattened.

    Raises
    ------
    DataError
        There are no such data, or they are damaged, incomplete, not numeric or do not fit each other.
    """
    if target is not None and not source.lower().endswith((".csv", ".csv.gz")):
        raise DataError(f"{source}: --target {target} names the label column of a .csv; leave it out here")
    try:
        return _check(source, _read(source, target))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{source}: cannot be read ({error})") from error


def _read(source: str, target: str | None) -> RawData:
    """Choose the reader by the form of the name."""
    if source in BUILT_IN:
        return BUILT_IN[source]()
    if source.startswith("openml:"):
        return _read_openml(source)
    path = Path(os.path.expanduser(source))
    if not source or not path.exists():
        near = get_close_matches(source.lower(), BUILT_IN, n=1)
        raise DataError(
            f"no such file or data set: {source!r}{f' (did you mean {near[0]!r}?)' if near else ''}; give "
            f"{', '.join(BUILT_IN)}, openml:NAME or the path of a folder (IDX files, images), .npz, .h5 or .csv file"
        )
    if path.is_dir():
        return read_folder(path)
    if path.name.lower().endswith((".csv", ".csv.gz")):
        return read_csv(path, target)
    if path.suffix.lower() == ".npz":
        return read_npz(path)
    if path.suffix.lower() in (".h5", ".hdf5"):
        return _read_hdf5(path)
    raise DataError(f"{source}: expected a folder or a .npz, .h5, .hdf5, .csv or .csv.gz file, found {path.suffix!r}")


def _read_openml(source: str) -> RawData:
    form = re.fullmatch(r"openml:(?:(\d+)|([^/?#%@\s]+)(?:@(\d+))?)", source)
    if not form:
        raise DataError(f"{source}: expected openml:NAME, openml:NAME@VERSION (a whole number) or openml:ID")
    number, name, version = form.groups()
    which = {"data_id": int(number)} if number else {"name": name, "version": int(version or 0) or "active"}
    try:
        found = fetch_openml(**which, as_frame=False, parser="liac-arff")
    except (OSError, ValueError, HTTPException) as error:
        raise DataError(
            f"{source}: not found on openml.org, or not yet in the cache and the network, which is needed to "
            f"fetch it, failed ({type(error).__name__}: {error})"
        ) from error
    if issparse(found.data) or found.categories:
        kind = "is sparse" if issparse(found.data) else f"has text columns ({', '.join(found.categories)})"
        raise DataError(f"{source}: {kind}; expected a plain table of numbers: encode it and save it as .npz")
    text = found.target is not None and found.target.dtype.kind == "O"
    y = found.target.astype(str) if text else found.target
    return RawData(found.data, y, feature_names=tuple(found.feature_names))


def _read_hdf5(path: Path) -> RawData:
    try:
        with h5py.File(path, "r") as file:
            if "format" in file.attrs:
                raise DataError(f"{path}: is a checkpoint (it has the attribute 'format') and not data")
            names = pick_arrays(path, list(file))
            return RawData.of({role: _read_hdf5_array(path, file, name) for role, name in names.items()})
    except DataError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, MemoryError) as error:
        raise DataError(f"{path}: cannot be read as HDF5 ({error})") from error


def _read_hdf5_array(path: Path, file: h5py.File, name: str) -> np.ndarray:
    """Read a dataset that is stored in this very file: nothing may make us open another one."""
    own = isinstance(file.get(name, getlink=True), h5py.HardLink) and isinstance(file[name], h5py.Dataset)
    if not own or file[name].is_virtual or file[name].external:
        raise DataError(
            f"{path}: {name!r} must be a dataset with its values in this file, not a group, a link or a "
            "virtual or external dataset: copy the values in"
        )
    dataset = file[name]
    if h5py.check_string_dtype(dataset.dtype):
        return np.asarray(dataset.asstr("utf-8")[()]).astype(str)
    return np.asarray(dataset[()])


def _check(name: str, raw: RawData) -> Dataset:
    """Check what holds for every format and make the data set."""
    X, y, X_test, y_test = _check_samples(f"{name}: X", raw.X, raw.feature_names), None, None, None
    if raw.y is not None:
        y = _check_labels(f"{name}: y", raw.y, len(X))
    if raw.X_test is not None:
        X_test = _check_samples(f"{name}: X_test", raw.X_test, raw.feature_names)
        if (raw.X_test.shape[1:], X_test.dtype) != (raw.X.shape[1:], X.dtype):
            raise DataError(
                f"{name}: X_test holds samples of shape {raw.X_test.shape[1:]}, {X_test.dtype}; expected "
                f"{raw.X.shape[1:]}, {X.dtype} as in X"
            )
    if raw.y_test is not None:
        if X_test is None or y is None:
            raise DataError(f"{name}: test labels need {'X_test' if X_test is None else 'y'} too; there is none")
        y_test = _check_labels(f"{name}: y_test", raw.y_test, len(X_test))
        _check_test_labels(name, y, y_test)
    shape = raw.X.shape[1:] if raw.X.ndim > 2 else None
    value_range = raw.value_range or DECLARED_RANGES.get(raw.X.dtype.name)
    return Dataset(name, X, y, X_test, y_test, shape, value_range, raw.feature_names)


def _freeze(array: np.ndarray) -> np.ndarray:
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    array.setflags(write=False)
    return array


def _check_samples(where: str, X: np.ndarray, feature_names: tuple[str, ...] | None) -> np.ndarray:
    """Flatten to (n_samples, n_features) and refuse what is empty, not numeric or not finite."""
    if X.dtype.kind not in "biuf":
        raise DataError(f"{where} has dtype {X.dtype}, expected numbers (integers, floats or booleans)")
    if X.ndim < 2 or X.size == 0:
        raise DataError(f"{where} has shape {X.shape}, expected (n_samples, n_features) with at least 1 of each")
    flat = X.reshape(len(X), -1)  # (n_samples, n_features)
    finite = np.isfinite(flat)
    if not finite.all():
        row, column = divmod(int(np.argmin(finite)), finite.shape[1])
        named = f" ({feature_names[column]!r})" if feature_names else ""
        raise DataError(
            f"{where} has {finite.size - int(finite.sum())} missing or infinite values, first in row {row}, "
            f"column {column}{named}, counted from 0: fill them or drop their rows"
        )
    return _freeze(flat.astype(np.uint8) if flat.dtype == bool else flat)


def _check_labels(where: str, y: np.ndarray, n_samples: int) -> np.ndarray:
    """Flatten a column to (n_samples,) and refuse what is no label; integers become int64."""
    if y.dtype.kind == "S":
        y = np.char.decode(y, "utf-8")
    if y.dtype.kind not in "biufU":
        raise DataError(f"{where} has dtype {y.dtype}, expected integers, strings or floats")
    if y.ndim != 1 and y.shape[1:] != (1,):
        raise DataError(
            f"{where} has shape {y.shape}, expected one label per row (n_samples,): from one-hot labels make "
            "class numbers with argmax(axis=1), of several targets choose one"
        )
    if len(y) != n_samples:
        raise DataError(f"{where} has {len(y)} labels for {n_samples} rows, expected one each")
    y = y.reshape(-1)
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        rows = np.flatnonzero(~np.isfinite(y))
        raise DataError(
            f"{where} has {len(rows)} missing or infinite labels, the first in row {rows[0]}: drop the rows"
        )
    return _freeze(y.astype(np.int64) if np.can_cast(y.dtype, np.int64) else y)


def _check_test_labels(name: str, y: np.ndarray, y_test: np.ndarray) -> None:
    """Refuse test classes that training never sees; a float target has no classes."""
    if y.dtype.kind == "f" and y_test.dtype.kind != "U":
        return
    unseen = sorted(set(y_test.tolist()) - set(y.tolist()), key=str)
    if unseen:
        shown = ", ".join(map(repr, unseen[:5])) + (", ..." if len(unseen) > 5 else "")
        raise DataError(f"{name}: test labels that never occur in the training labels: {shown}; drop those rows")
