"""Readers of the files that data come in: IDX, folders of images, `.npz` and CSV.

Each returns `RawData`, the arrays as the file stores them. What holds for every format (numbers only,
nothing missing, as many labels as rows) is checked once, in `pipelines.data`, which also reads HDF5.
"""

import csv
import gzip
import math
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import IO, NamedTuple, cast

import numpy as np

from pipelines.image_folders import read_image_classes
from pretrain.exceptions import DataError

ARRAY_NAMES = {
    "X": ("X", "x", "data", "X_train", "x_train"),
    "y": ("y", "Y", "target", "labels", "y_train"),
    "X_test": ("X_test", "x_test"),
    "y_test": ("y_test",),
}
IDX_STEMS = {"X": "train-images", "y": "train-labels", "X_test": "t10k-images", "y_test": "t10k-labels"}
IDX_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
READ_BYTES = 1 << 24


class RawData(NamedTuple):
    """Arrays as one source stores them, not yet checked; samples are rows of any shape."""

    X: np.ndarray
    y: np.ndarray | None = None
    X_test: np.ndarray | None = None
    y_test: np.ndarray | None = None
    value_range: tuple[float, float] | None = None
    feature_names: tuple[str, ...] | None = None

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "RawData":
        """Make it from arrays by role: X, y, X_test, y_test."""
        return cls(arrays["X"], arrays.get("y"), arrays.get("X_test"), arrays.get("y_test"))


def read_folder(folder: Path) -> RawData:
    """Read a folder of IDX files, or else of one subfolder of images per class; else `DataError`."""
    files = {role: path for role, stem in IDX_STEMS.items() if (path := _find_idx(folder, stem))}
    if "X" in files:
        return _read_idx_files(files)
    if files:
        raise DataError(f"{folder}: holds {min(files.values()).name} but no train-images-idx3-ubyte[.gz]")
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if classes:
        return RawData(*read_image_classes(classes))
    raise DataError(
        f"{folder}: holds no data that can be read: expected IDX files (train-images-idx3-ubyte[.gz], ...) "
        "or one subfolder of images per class; for a single .npz, .h5 or .csv give the path of the file"
    )


def _find_idx(folder: Path, stem: str) -> Path | None:
    """Find the one IDX file of this stem; an unpacked file goes before its own .gz."""
    pattern = re.compile(rf"{stem}[-.]idx\d-[a-z]+(\.gz)?")
    found = {path.name: path for path in folder.iterdir() if pattern.fullmatch(path.name) and path.is_file()}
    names = sorted(name for name in found if name.removesuffix(".gz") == name or name[:-3] not in found)
    if len(names) > 1:
        raise DataError(f"{folder}: {' and '.join(names)} are both the {stem}: keep one of them")
    return found[names[0]] if names else None


def _read_idx_files(files: dict[str, Path]) -> RawData:
    arrays = {role: read_idx(path) for role, path in files.items()}
    if "X_test" in arrays and arrays["X_test"].shape[1:] != arrays["X"].shape[1:]:
        raise DataError(
            f"{files['X_test']}: its images have shape {arrays['X_test'].shape[1:]}, expected "
            f"{arrays['X'].shape[1:]} as in {files['X'].name}"
        )
    return RawData.of(arrays)


def read_idx(path: Path) -> np.ndarray:
    """Read one IDX file, gzipped where its name ends in `.gz`, to an array of the shape in its header.

    The file: two zero bytes, a type code, the number of dimensions, each dimension as a big-endian uint32,
    then the values, big-endian, and nothing after them. `DataError` for anything else.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            return _parse_idx(path, cast(IO[bytes], file))
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged, expected a whole gzip file ({error}): fetch it again") from error


def _parse_idx(path: Path, file: IO[bytes]) -> np.ndarray:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in IDX_DTYPES or not 1 <= magic[3] <= 8:
        codes = ", ".join(f"{code:02x}" for code in IDX_DTYPES)
        raise DataError(
            f"{path}: not an IDX file: expected the magic number 00 00, a type code ({codes}) and the number "
            f"of dimensions (1 to 8), found {magic.hex(' ') or 'an empty file'}"
        )
    header = file.read(4 * magic[3])
    if len(header) < 4 * magic[3]:
        raise DataError(f"{path}: truncated: expected {4 * magic[3]} bytes of sizes, found {len(header)}")
    shape = tuple(int(n) for n in np.frombuffer(header, dtype=">u4"))
    dtype = np.dtype(IDX_DTYPES[magic[2]])
    expected = math.prod(shape) * dtype.itemsize
    values = bytearray()
    # In pieces: a header that lies about the size must not reserve the memory that it claims.
    while chunk := file.read(min(READ_BYTES, expected + 1 - len(values))):
        values += chunk
    if len(values) != expected:
        state, found = ("too long", "more") if len(values) > expected else ("truncated", str(len(values)))
        raise DataError(f"{path}: {state}: expected {expected} bytes for shape {shape}, found {found}")
    return np.frombuffer(values, dtype=dtype).astype(dtype.newbyteorder("="), copy=False).reshape(shape)


def pick_arrays(path: Path, found: Sequence[str]) -> dict[str, str]:
    """Say which of the names `found` in a file hold X, y, X_test and y_test, as role -> name.

    `DataError` if there is no X, or if two names stand for the same array.
    """
    picked = {}
    for role, names in ARRAY_NAMES.items():
        present = [name for name in names if name in found]
        if len(present) > 1:
            raise DataError(f"{path}: {' and '.join(present)} both stand for {role}: keep one of them")
        if present:
            picked[role] = present[0]
    if "X" not in picked:
        expected, holds = ", ".join(ARRAY_NAMES["X"]), ", ".join(sorted(found)) or "nothing"
        raise DataError(f"{path}: no array of samples: expected one of {expected}; the file holds {holds}")
    return picked


def read_npz(path: Path) -> RawData:
    """Read the arrays of an `.npz` file by their names; `DataError` for damage and for pickled objects."""
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path}: not a whole .npz archive: write it with numpy.savez")
    with np.load(path, allow_pickle=False) as file:
        arrays = {}
        for role, name in pick_arrays(path, file.files).items():
            try:
                arrays[role] = np.asarray(file[name])
            except (ValueError, OSError, EOFError, MemoryError, zlib.error, zipfile.BadZipFile) as error:
                raise DataError(
                    f"{path}: array {name!r} cannot be read ({error}): expected a plain array of numbers or "
                    f"strings; the file holds {', '.join(sorted(file.files))}"
                ) from error
    return RawData.of(arrays)


def read_csv(path: Path, target: str | None) -> RawData:
    """Read a table of comma-separated UTF-8 text with a header row; gzipped where the name ends in `.gz`.

    X is float64 (n_samples, n_features) of all columns but `target`; y is int64 where every label is a whole
    number, float64 where every one is a number, else strings. `DataError` names the cell that is wrong.
    """
    try:
        with _open_text(path) as file:
            header = [cell.strip() for cell in next(csv.reader(file), [])]
            column = _find_target(path, header, target)
            levels: dict[str, int] = {}
            try:
                table = _read_table(file, column, levels)
            except ValueError as error:
                if isinstance(error, UnicodeDecodeError):
                    raise
                raise DataError(_find_offence(path, header, column) or f"{path}: {error}") from error
        if table.shape[1] != len(header):
            raise DataError(_find_offence(path, header, column) or f"{path}: no rows after the header")
    except (gzip.BadGzipFile, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not readable as comma-separated UTF-8 text ({error})") from error
    if column is None:
        return RawData(table, feature_names=tuple(header))
    y = _level_values(list(levels))[table[:, column].astype(np.int64)]
    names = tuple(header[:column] + header[column + 1 :])
    return RawData(np.delete(table, column, axis=1), y, feature_names=names)


def _open_text(path: Path) -> IO[str]:
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    return cast(IO[str], opener(path, "rt", encoding="utf-8-sig", newline=""))


def _find_target(path: Path, header: list[str], target: str | None) -> int | None:
    """Check the header and return the position of the label column in it."""
    if not any(header) or all(_is_number(name) for name in header):
        raise DataError(f"{path}: the first line must name the columns, found {','.join(header[:5])!r}")
    if "" in header:
        raise DataError(f"{path}: column {header.index('') + 1} has no name: name it or, if an index, drop it")
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise DataError(f"{path}: two columns are named {twice!r}: rename one")
    if target is None or target in header:
        return None if target is None else header.index(target)
    near = get_close_matches(target, header, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    shown = ", ".join(header[:10]) + (f", ... ({len(header)} in all)" if len(header) > 10 else "")
    raise DataError(f"{path}: no column {target!r} for --target{hint}; the columns are {shown}")


def _read_table(file: IO[str], column: int | None, levels: dict[str, int]) -> np.ndarray:
    """Read all rows as float64; labels are counted into `levels` and stand in the table as their number."""

    def encode(cell: str) -> int:
        if not cell.strip():
            raise ValueError("empty label")
        return levels.setdefault(cell.strip(), len(levels))

    converters: dict[int | str, Callable[[str], int]] | None = None if column is None else {column: encode}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "loadtxt: input contained no data")  # said in our own words later
        table = np.loadtxt(file, delimiter=",", quotechar='"', comments=None, ndmin=2, converters=converters)
    return table if table.size else np.empty((0, 0))


def _find_offence(path: Path, header: list[str], column: int | None) -> str | None:
    """Look for the first cell that is no number; slow, so only once reading has failed."""
    with _open_text(path) as file:
        rows = csv.reader(file)
        next(rows)
        for row in filter(None, rows):
            where = f"{path}: line {rows.line_num}"
            if len(row) != len(header):
                return f"{where} has {len(row)} columns, the header has {len(header)} (comma-separated)"
            for i, cell in enumerate(row):
                if not cell.strip():
                    return f"{where}, column {header[i]!r} is empty (a missing value): fill it or drop it"
                if i != column and not _is_number(cell):
                    return (
                        f"{where}, column {header[i]!r}: {cell!r} is not a number; only the label column, "
                        "named by --target, may hold text"
                    )
    return None


def _is_number(cell: str) -> bool:
    """Say whether NumPy reads the cell as a number (Python alone would also take 1_000)."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def _level_values(levels: list[str]) -> np.ndarray:
    if not all(map(_is_number, levels)):
        return np.array(levels)
    values = np.array([float(level) for level in levels])
    whole = np.isfinite(values).all() and (values == np.round(values)).all() and (abs(values) < 2**53).all()
    return values.astype(np.int64) if whole else values
