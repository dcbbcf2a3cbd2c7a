"""Data sets: every accepted form is read as written, and every way to get one wrong is named.

Tests of the real MNIST and faces read the folder named by PRETRAIN_DATA and skip without it.
"""

import gzip
import os
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.sparse import csr_matrix

from pipelines import data
from pipelines.data import Dataset, list_datasets, load_dataset, task_of
from pipelines.data_files import read_idx
from pretrain.exceptions import DataError

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
TRAIN, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
X = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3) * 8  # (n_samples, height, width)
Y = np.array([3, 1, 1, 3, 2], dtype=np.uint8)

needs_data = pytest.mark.skipif(
    not os.environ.get("PRETRAIN_DATA"), reason="PRETRAIN_DATA does not name a folder with mnist/ and faces/"
)


def idx_bytes(array: np.ndarray) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, CODES[array.dtype.str[1:]], array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_idx(folder: Path, **arrays: np.ndarray) -> Path:
    names = {"X": TRAIN, "y": LABELS, "X_test": TEST, "y_test": TEST_LABELS}
    folder.mkdir(exist_ok=True)
    for role, array in arrays.items():
        (folder / names[role]).write_bytes(idx_bytes(array))
    return folder


def write_npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def write_h5(path: Path, **arrays: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return path


def write_csv(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def refuse(source: object, *parts: str, target: str | None = None) -> None:
    """Assert that loading fails with a message that holds every part, on at most two lines."""
    with pytest.raises(DataError) as caught:
        load_dataset(str(source), target=target)
    message = str(caught.value)
    for part in parts:
        assert part in message
    assert message.count("\n") <= 1


# The built-in names


def test_digits() -> None:
    digits = load_dataset("digits")
    assert (digits.name, digits.X.shape, digits.image_shape) == ("digits", (1797, 64), (8, 8))
    assert (digits.value_range, digits.X.min(), digits.X.max()) == ((0.0, 16.0), 0, 16)
    assert digits.y is not None
    assert digits.y.dtype == np.int64
    assert digits.X_test is None
    assert digits.y_test is None


def test_curves() -> None:
    curves = load_dataset("curves")
    assert curves.X_test is not None
    assert (curves.X.shape, curves.X_test.shape) == ((20_000, 784), (10_000, 784))
    assert (curves.X.dtype, curves.image_shape, curves.value_range) == (np.uint8, (28, 28), (0, 255))
    assert (curves.y, curves.y_test) == (None, None)
    assert len(np.unique(np.concatenate([curves.X, curves.X_test]), axis=0)) == 30_000
    assert curves.sha256[:16] == "cb20ffbff1d741ef"  # what was measured on them was measured on these bytes


def test_mnist_is_a_folder_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_idx(tmp_path / "mnist", X=X)
    monkeypatch.setenv("PRETRAIN_DATA", str(tmp_path))
    dataset = load_dataset("mnist")
    assert (dataset.name, dataset.X.shape) == ("mnist", (5, 6))


def test_mnist_without_its_folder_says_how_to_name_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRETRAIN_DATA", raising=False)
    refuse("mnist", "PRETRAIN_DATA is not set", "set PRETRAIN_DATA to the folder", "give as DATA the path")
    monkeypatch.setenv("PRETRAIN_DATA", str(tmp_path))
    refuse("mnist", f"there is no {tmp_path / 'mnist'}", "give as DATA the path")


def test_faces_without_their_file_say_how_to_name_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRETRAIN_DATA", str(tmp_path))
    refuse("faces", f"there is no {tmp_path / 'faces' / 'att_faces.npz'}", "set PRETRAIN_DATA to the folder")
    (tmp_path / "faces").mkdir()
    pictures = np.zeros((12, 30, 20), dtype=np.uint8)
    np.savez(tmp_path / "faces" / "att_faces.npz", X=pictures, y=np.arange(12))
    refuse("faces", "must show more than 30 people; it shows 12")
    np.savez(tmp_path / "faces" / "att_faces.npz", X=pictures.astype(float), y=np.arange(12))
    refuse("faces", "must hold X, uint8 of shape (n, height, width), and y")


@needs_data
def test_real_face_patches() -> None:
    faces = load_dataset("faces")
    assert faces.X_test is not None
    assert (faces.X.shape, faces.X_test.shape) == ((103_500, 625), (41_400, 625))
    assert (faces.X.dtype, faces.image_shape, faces.value_range, faces.y) == (np.uint8, (25, 25), (0, 255), None)


@needs_data
def test_real_mnist() -> None:
    mnist = load_dataset("mnist")
    assert mnist.X_test is not None
    assert mnist.y is not None
    assert (mnist.X.shape, mnist.X_test.shape) == ((60000, 784), (10000, 784))
    assert (mnist.X.dtype, mnist.image_shape, mnist.value_range) == (np.uint8, (28, 28), (0, 255))
    assert mnist.y[:5].tolist() == [5, 0, 4, 1, 9]
    assert round(float(mnist.X.mean()) / 255, 4) == 0.1307


@needs_data
def test_real_faces() -> None:
    faces = load_dataset(os.environ["PRETRAIN_DATA"] + "/faces/att_faces.npz")
    assert (faces.X.shape, faces.image_shape, faces.value_range) == ((400, 10304), (112, 92), (0, 255))


def test_unknown_name_gets_a_near_match() -> None:
    refuse("digit", "no such file or data set: 'digit'", "did you mean 'digits'?", "openml:NAME", ".npz")
    refuse("no/such/file.npz", "no such file or data set: 'no/such/file.npz'", "give digits, curves, mnist")
    refuse("", "no such file or data set: ''")
    refuse("x" * 5000, "cannot be read")


def test_a_path_goes_through_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_npz(tmp_path / "a.npz", X=X)
    assert load_dataset("~/a.npz").name == "~/a.npz"


def test_unknown_kind_of_file(tmp_path: Path) -> None:
    refuse(write_csv(tmp_path / "a.txt", "1"), "a.txt", "expected a folder or a .npz", "found '.txt'")


def test_every_form_is_listed() -> None:
    names = " ".join(form.name for form in list_datasets())
    for form in ("digits", "curves", "mnist", "openml:", "IDX", "images", ".npz", ".h5", ".csv"):
        assert form in names
    assert all(form.description for form in list_datasets())


def test_target_is_for_csv_only(tmp_path: Path) -> None:
    refuse("digits", "--target label", "names the label column of a .csv", target="label")
    refuse(write_npz(tmp_path / "a.npz", X=X), "--target", target="y")


# Folders of IDX files


def test_idx_folder(tmp_path: Path) -> None:
    dataset = load_dataset(str(write_idx(tmp_path, X=X, y=Y, X_test=X[:2], y_test=Y[:2])))
    np.testing.assert_array_equal(dataset.X, X.reshape(5, 6))
    np.testing.assert_array_equal(dataset.y, Y)
    np.testing.assert_array_equal(dataset.X_test, X[:2].reshape(2, 6))
    np.testing.assert_array_equal(dataset.y_test, Y[:2])
    assert (dataset.X.dtype, dataset.image_shape, dataset.value_range) == (np.uint8, (2, 3), (0, 255))


@pytest.mark.parametrize("name", [TRAIN + ".gz", "train-images.idx3-ubyte", "train-images.idx3-ubyte.gz"])
def test_idx_names(tmp_path: Path, name: str) -> None:
    content = idx_bytes(X)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    dataset = load_dataset(str(tmp_path))
    np.testing.assert_array_equal(dataset.X, X.reshape(5, 6))
    assert dataset.y is None


def test_unpacked_idx_goes_before_its_gz(tmp_path: Path) -> None:
    (tmp_path / (TRAIN + ".gz")).write_bytes(gzip.compress(idx_bytes(X[:1])))
    assert len(load_dataset(str(write_idx(tmp_path, X=X))).X) == 5


def test_two_names_of_one_idx_file(tmp_path: Path) -> None:
    (tmp_path / "train-images.idx3-ubyte").write_bytes(idx_bytes(X))
    refuse(write_idx(tmp_path, X=X), "train-images-idx3-ubyte and train-images.idx3-ubyte", "keep one")


@pytest.mark.parametrize("dtype", CODES)
def test_idx_types_and_byte_order(tmp_path: Path, dtype: str) -> None:
    array = np.array([[1, 2, 3], [100, 50, 7]], dtype=dtype) * (-1 if dtype != "u1" else 1)
    (tmp_path / "a").write_bytes(idx_bytes(array))
    read = read_idx(tmp_path / "a")
    np.testing.assert_array_equal(read, array)
    assert read.dtype == np.dtype(dtype)
    assert read.dtype.isnative


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found an empty file"),
        (b"\x89PNG\r\n\x1a\n", "expected the magic number 00 00, a type code"),
        (b"\x00\x00\x0a\x03" + bytes(12), "found 00 00 0a 03"),
        (b"\x00\x00\x08\x00", "number of dimensions (1 to 8), found 00 00 08 00"),
        (b"\x00\x00\x08\x03\x00\x00", "truncated: expected 12 bytes of sizes, found 2"),
        (idx_bytes(X)[:-1], "truncated: expected 30 bytes for shape (5, 2, 3), found 29"),
        (idx_bytes(X) + b"\x00", "too long: expected 30 bytes for shape (5, 2, 3), found more"),
        (b"\x00\x00\x0e\x03" + b"\xff" * 12, "truncated: expected"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_damaged_idx(tmp_path: Path, content: bytes, message: str, packed: bool) -> None:
    name = TRAIN + ".gz" if packed else TRAIN
    (tmp_path / name).write_bytes(gzip.compress(content) if packed else content)
    refuse(tmp_path, name, message)


@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b[:20] + b"\x55\x55" + b[22:], lambda b: b[4:]])
def test_damaged_gzip(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    (tmp_path / (TRAIN + ".gz")).write_bytes(damage(gzip.compress(idx_bytes(X))))
    refuse(tmp_path, TRAIN + ".gz", "damaged, expected a whole gzip file")


def test_idx_files_that_do_not_fit(tmp_path: Path) -> None:
    turned = X.transpose(0, 2, 1)
    refuse(write_idx(tmp_path / "a", X=X, X_test=turned), TEST, "shape (3, 2), expected (2, 3) as in " + TRAIN)
    refuse(write_idx(tmp_path / "b", X=X, y=Y[:4]), "y has 4 labels for 5 rows")
    refuse(write_idx(tmp_path / "c", X_test=X), f"holds {TEST} but no train-images")
    refuse(write_idx(tmp_path / "d", X=X, y=Y, y_test=Y), "test labels need X_test too")
    refuse(write_idx(tmp_path / "e", X=X[:0]), "X has shape (0, 2, 3)", "at least 1 of each")


# Folders of images


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


def test_images_that_cannot_be_used(tmp_path: Path) -> None:
    folder = write_images(tmp_path)
    bad = folder / "owl" / "9.png"
    Image.fromarray(X[0].T.copy()).save(bad)
    refuse(folder, "owl/9.png", "3 x 2 pixels", "expected 2 x 3", "one size")
    Image.new("RGB", (3, 2)).save(bad)
    refuse(folder, "owl/9.png", "expected an 8-bit grey image, found mode RGB")
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


# Arrays by name: .npz and .h5

WRITERS = pytest.mark.parametrize(("write", "name"), [(write_npz, "a.npz"), (write_h5, "a.h5"), (write_h5, "a.hdf5")])
Write = Callable[..., Path]


@WRITERS
def test_arrays_by_name(tmp_path: Path, write: Write, name: str) -> None:
    path = write(tmp_path / name, x_train=X, y_train=Y, x_test=X[:3], y_test=Y[:3, None], other=np.zeros(2))
    dataset = load_dataset(str(path))
    np.testing.assert_array_equal(dataset.X, X.reshape(5, 6))
    np.testing.assert_array_equal(dataset.X_test, X[:3].reshape(3, 6))
    np.testing.assert_array_equal(dataset.y_test, Y[:3])
    assert (dataset.image_shape, dataset.value_range) == ((2, 3), (0, 255))


@WRITERS
@pytest.mark.parametrize("names", [("X", "y"), ("x", "Y"), ("data", "target"), ("X_train", "labels")])
def test_names_of_arrays(tmp_path: Path, write: Write, name: str, names: tuple[str, str]) -> None:
    dataset = load_dataset(str(write(tmp_path / name, **{names[0]: X / 7, names[1]: Y})))
    np.testing.assert_array_equal(dataset.X, X.reshape(5, 6) / 7)
    np.testing.assert_array_equal(dataset.y, Y)
    assert dataset.value_range is None


@WRITERS
def test_text_labels(tmp_path: Path, write: Write, name: str) -> None:
    texts = ["owl", "bee", "bee", "ö", "owl"]
    y: Any = np.array(texts) if write is write_npz else texts
    labels = load_dataset(str(write(tmp_path / name, X=X, y=y))).y
    assert labels is not None
    assert labels.tolist() == texts
    assert labels.dtype.kind == "U"
    encoded = [text.encode() for text in texts]
    labels = load_dataset(str(write(tmp_path / name, X=X, y=np.array(encoded)))).y
    assert labels is not None
    assert labels.tolist() == texts


@WRITERS
def test_missing_and_doubled_names(tmp_path: Path, write: Write, name: str) -> None:
    refuse(write(tmp_path / name, images=X, y=Y), name, "no array of samples", "the file holds images, y")
    refuse(write(tmp_path / name, X=X, data=X), "X and data both stand for X", "keep one")


@WRITERS
def test_file_of_another_kind(tmp_path: Path, write: Write, name: str) -> None:
    (tmp_path / name).write_bytes(b"not an archive of any kind")
    refuse(tmp_path / name, name)
    path = write(tmp_path / name, X=np.random.default_rng(0).random((50, 40)))
    path.write_bytes(path.read_bytes()[:9000])
    refuse(path, name)


def test_npz_with_objects(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz", X=X, y=np.array([{}, 1, 2, 3, 4], dtype=object))
    refuse(path, "array 'y' cannot be read", "Object arrays", "the file holds X, y")


def test_npz_with_a_flipped_byte(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz", X=X)
    content = bytearray(path.read_bytes())
    content[content.index(X.tobytes()) + 9] ^= 0xFF
    path.write_bytes(content)
    refuse(path, "array 'X' cannot be read", "CRC")


def test_hdf5_checkpoint_is_not_data(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "a.h5", X=X)
    with h5py.File(path, "a") as file:
        file.attrs["format"] = "pretrain"
    refuse(path, "is a checkpoint", "not data")


def link_soft(file: h5py.File, folder: Path) -> None:
    file["elsewhere"] = X
    file["X"] = h5py.SoftLink("/elsewhere")


def link_outside(file: h5py.File, folder: Path) -> None:
    file["X"] = h5py.ExternalLink(str(write_h5(folder / "other.h5", X=X)), "X")


def store_outside(file: h5py.File, folder: Path) -> None:
    (folder / "raw").write_bytes(X.tobytes())
    file.create_dataset("X", X.shape, X.dtype, external=[(str(folder / "raw"), 0, X.nbytes)])


def make_virtual(file: h5py.File, folder: Path) -> None:
    layout = h5py.VirtualLayout(X.shape, X.dtype)
    layout[:] = h5py.VirtualSource(str(write_h5(folder / "other.h5", X=X)), "X", X.shape)
    file.create_virtual_dataset("X", layout)


def make_group(file: h5py.File, folder: Path) -> None:
    file.create_group("X")


@pytest.mark.parametrize("fill", [link_soft, link_outside, store_outside, make_virtual, make_group])
def test_hdf5_with_values_elsewhere(tmp_path: Path, fill: Callable[[h5py.File, Path], None]) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        fill(file, tmp_path)
    refuse(tmp_path / "a.h5", "'X' must be a dataset with its values in this file")


# CSV


@pytest.mark.parametrize("packed", [False, True])
def test_csv(tmp_path: Path, packed: bool) -> None:
    text = '\ufeffa, label ,"b, c"\r\n1,owl,-2.5\r\n\r\n3e1,"bee, big",4\r\n'
    path = tmp_path / ("t.csv.gz" if packed else "t.csv")
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    dataset = load_dataset(str(path), target="label")
    np.testing.assert_array_equal(dataset.X, [[1, -2.5], [30, 4]])
    assert dataset.y is not None
    assert dataset.y.tolist() == ["owl", "bee, big"]
    assert dataset.feature_names == ("a", "b, c")
    assert (dataset.image_shape, dataset.value_range) == (None, None)


def test_csv_without_target(tmp_path: Path) -> None:
    dataset = load_dataset(str(write_csv(tmp_path / "t.csv", "a,b\n1,2\n3,4\n5,6")))
    np.testing.assert_array_equal(dataset.X, [[1, 2], [3, 4], [5, 6]])
    assert dataset.y is None
    assert dataset.feature_names == ("a", "b")


@pytest.mark.parametrize(
    ("cells", "expected", "kind"),
    [
        (("7", "-1", "7"), [7, -1, 7], "i"),
        (("1.0", "2", "1"), [1, 2, 1], "i"),
        (("1.5", "2", "1"), [1.5, 2, 1], "f"),
        (("1_0", "2", "1"), ["1_0", "2", "1"], "U"),
        (("a", "2", "1"), ["a", "2", "1"], "U"),
    ],
)
def test_csv_target_types(tmp_path: Path, cells: tuple[str, ...], expected: list[Any], kind: str) -> None:
    text = "y,a\n" + "".join(f"{cell},0.5\n" for cell in cells)
    y = load_dataset(str(write_csv(tmp_path / "t.csv", text)), target="y").y
    assert y is not None
    assert (y.tolist(), y.dtype.kind) == (expected, kind)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["the first line must name the columns"]),
        ("1,2\n3,4\n", ["the first line must name the columns, found '1,2'"]),
        (",label\n0,4\n", ["column 1 has no name", "drop it"]),
        ("a,label,a\n1,2,3\n", ["two columns are named 'a'"]),
        ("a,label\n", ["no rows after the header"]),
        ("a,Label\n1,2\n", ["no column 'label'", "did you mean 'Label'?", "the columns are a, Label"]),
        ("a,label\n1,x\nq,y\n", ["line 3, column 'a': 'q' is not a number", "--target"]),
        ("a,label\n1_0,x\n", ["line 2, column 'a': '1_0' is not a number"]),
        ("a,label\n1,x\n ,y\n", ["line 3, column 'a' is empty (a missing value)"]),
        ("a,label\n1,x\n2,\n", ["line 3, column 'label' is empty (a missing value)"]),
        ("a,label\n1,x\n2,y,3\n", ["line 3 has 3 columns, the header has 2"]),
        ("a,label\n1,x,3\n2,y,3\n", ["line 2 has 3 columns, the header has 2"]),
        ("a,b,label\n1,2\n2,3\n", ["line 2 has 2 columns, the header has 3"]),
        ("a,label\n1,x\nnan,y\n", ["X has 1 missing", "row 1, column 0 ('a')"]),
        ("a,label\n1,1\n2,inf\n", ["y has 1 missing or infinite labels, the first in row 1"]),
        ("label\n1\n", ["X has shape (1, 0)"]),
    ],
)
def test_csv_that_cannot_be_used(tmp_path: Path, text: str, parts: list[str]) -> None:
    refuse(write_csv(tmp_path / "t.csv", text), "t.csv", *parts, target="label")


def test_csv_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,b\n1,\xff\xfe\n")
    refuse(tmp_path / "a.csv", "not readable as comma-separated UTF-8 text")
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 9)[:-9])
    refuse(tmp_path / "b.csv.gz", "not readable as comma-separated UTF-8 text")
    (tmp_path / "c.csv").mkdir()
    refuse(tmp_path / "c.csv", "holds no data")


def test_csv_lists_the_first_of_many_columns(tmp_path: Path) -> None:
    header = ",".join(f"p{i}" for i in range(23))
    refuse(write_csv(tmp_path / "t.csv", header + "\n"), "p0, p1", "p9, ... (23 in all)", target="zzz")


# OpenML


def bunch(**changes: Any) -> SimpleNamespace:
    target = np.array(["a", "b", "a"], dtype=object)
    fields = {"data": np.eye(3, 2), "target": target, "feature_names": ["u", "v"], "categories": {}}
    return SimpleNamespace(**{**fields, **changes})


def answer_openml(monkeypatch: pytest.MonkeyPatch, result: SimpleNamespace | Exception) -> list[dict[str, Any]]:
    """Stand in for the network; return the list that collects the calls."""
    calls: list[dict[str, Any]] = []

    def fetch(**arguments: Any) -> SimpleNamespace:
        calls.append(arguments)
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(data, "fetch_openml", fetch)
    return calls


@pytest.mark.parametrize(
    ("source", "which"),
    [
        ("openml:iris", {"name": "iris", "version": "active"}),
        ("openml:iris@3", {"name": "iris", "version": 3}),
        ("openml:61", {"data_id": 61}),
    ],
)
def test_openml(monkeypatch: pytest.MonkeyPatch, source: str, which: dict[str, Any]) -> None:
    calls = answer_openml(monkeypatch, bunch())
    dataset = load_dataset(source)
    assert calls == [{**which, "as_frame": False, "parser": "liac-arff"}]
    assert dataset.y is not None
    assert (dataset.y.tolist(), dataset.y.dtype.kind) == (["a", "b", "a"], "U")
    assert (dataset.name, dataset.feature_names) == (source, ("u", "v"))


@pytest.mark.parametrize(
    ("result", "parts"),
    [
        (URLError("no route"), ["not found on openml.org", "network", "no route"]),
        (TimeoutError("slow"), ["network", "TimeoutError"]),
        (ValueError("No active dataset iris found."), ["not found on openml.org", "No active dataset"]),
        (bunch(data=csr_matrix(np.eye(3))), ["is sparse"]),
        (bunch(categories={"u": ["x", "y"]}), ["has text columns (u)"]),
        (bunch(data=np.array([[0, 1], [1, np.nan], [np.nan, 2]])), ["2 missing", "row 1, column 1 ('v')"]),
        (bunch(target=np.zeros((3, 2))), ["y has shape (3, 2)"]),
    ],
)
def test_openml_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, result: SimpleNamespace | Exception, parts: list[str]
) -> None:
    answer_openml(monkeypatch, result)
    refuse("openml:iris", "openml:iris", *parts)


def test_openml_without_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_openml(monkeypatch, bunch(target=None))
    assert load_dataset("openml:iris").y is None


@pytest.mark.parametrize("source", ["openml:", "openml:a@", "openml:a@x", "openml:../a"])
def test_openml_name_that_is_none(source: str) -> None:
    refuse(source, source, "expected openml:NAME")


# What holds for every form


@pytest.mark.parametrize(
    ("arrays", "parts"),
    [
        ({"X": np.zeros(5)}, ["X has shape (5,)", "(n_samples, n_features)"]),
        ({"X": np.zeros((0, 3))}, ["X has shape (0, 3)"]),
        ({"X": np.zeros((3, 0))}, ["X has shape (3, 0)"]),
        ({"X": np.array([["a"]])}, ["X has dtype <U1, expected numbers"]),
        ({"X": np.ones((2, 2), dtype=complex)}, ["X has dtype complex128"]),
        ({"X": np.array([[0, 1], [np.inf, np.nan]])}, ["X has 2 missing or infinite", "row 1, column 0"]),
        ({"X": X, "y": Y[:4]}, ["y has 4 labels for 5 rows"]),
        ({"X": X, "y": np.eye(5)}, ["y has shape (5, 5)", "argmax(axis=1)"]),
        ({"X": X, "y": np.array([1, 2, np.nan, 3, 4])}, ["y has 1 missing", "row 2"]),
        ({"X": X, "y": Y * 1j}, ["y has dtype complex128"]),
        ({"X": X, "X_test": X[:, :1]}, ["X_test holds samples of shape (1, 3)", "expected (2, 3)"]),
        ({"X": X, "X_test": X / 255}, ["float64", "uint8 as in X"]),
        ({"X": X, "X_test": X + np.nan}, ["X_test has 30 missing"]),
        ({"X": X, "X_test": X, "y": Y, "y_test": Y[:2]}, ["y_test has 2 labels for 5 rows"]),
        ({"X": X, "X_test": X, "y_test": Y}, ["test labels need y too"]),
        ({"X": X, "X_test": X, "y": Y, "y_test": Y + 1}, ["never occur in the training labels: 4"]),
        ({"X": X, "X_test": X, "y": Y / 2, "y_test": Y.astype(str)}, ["never occur", "'1', '2', '3'"]),
        ({"X": X, "y": np.array([b"\xff"] * 5)}, ["cannot be read", "utf-8"]),
    ],
)
def test_arrays_that_cannot_be_used(tmp_path: Path, arrays: dict[str, np.ndarray], parts: list[str]) -> None:
    refuse(write_npz(tmp_path / "a.npz", **arrays), "a.npz", *parts)


def test_regression_targets_of_the_test_rows_may_be_new(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz", X=X, X_test=X, y=Y + 0.5, y_test=Y + 0.25)
    assert load_dataset(str(path)).y_test is not None


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", ">f8", ">u2"])
def test_samples_keep_their_type_in_native_order(tmp_path: Path, dtype: str) -> None:
    dataset = load_dataset(str(write_npz(tmp_path / "a.npz", X=X.astype(dtype))))
    assert dataset.X.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(dataset.X, X.reshape(5, 6))


def test_booleans_become_bytes_of_zero_and_one(tmp_path: Path) -> None:
    dataset = load_dataset(str(write_npz(tmp_path / "a.npz", X=X > 99)))
    assert (dataset.X.dtype, dataset.value_range) == (np.uint8, (0, 1))
    np.testing.assert_array_equal(dataset.X, (X > 99).reshape(5, 6))


def test_flat_samples_have_no_image_shape(tmp_path: Path) -> None:
    dataset = load_dataset(str(write_npz(tmp_path / "a.npz", X=X[:, 0])))
    assert (dataset.X.shape, dataset.image_shape, dataset.value_range) == ((5, 3), None, (0, 255))


def test_arrays_are_read_only(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz", X=X, y=Y, X_test=X, y_test=Y)
    for dataset in (load_dataset(str(path)), load_dataset("digits")):
        for array in (dataset.X, dataset.y, dataset.X_test, dataset.y_test):
            if array is not None:
                with pytest.raises(ValueError, match="read-only"):
                    array[0] = 1


def test_digest_depends_on_content_type_and_shape_and_not_on_the_file(tmp_path: Path) -> None:
    arrays = {"X": X, "y": Y, "X_test": X[:2], "y_test": Y[:2]}
    digest = load_dataset(str(write_npz(tmp_path / "a.npz", **arrays))).sha256
    assert len(digest) == 64
    assert load_dataset(str(write_h5(tmp_path / "b.h5", **arrays))).sha256 == digest
    assert load_dataset(str(write_idx(tmp_path / "c", **arrays))).sha256 == digest
    changes = [{"X": X + 1}, {"X": X.astype(np.int8)}, {"y": Y[::-1]}, {"X_test": X[1:3]}, {"y_test": Y[1:3]}]
    digests = {digest}
    for change in changes:
        if "X" in change:
            change["X_test"] = change["X"][:2]
        digests.add(load_dataset(str(write_npz(tmp_path / "d.npz", **{**arrays, **change}))).sha256)
    flat = X.reshape(5, 6)
    digests |= {Dataset("a", flat).sha256, Dataset("a", flat.reshape(6, 5)).sha256}
    digests |= {Dataset("a", flat, Y).sha256, Dataset("a", flat, None, flat).sha256}
    assert len(digests) == 10


@pytest.mark.parametrize(
    ("y", "task"),
    [
        ([1, 2], "classification"),
        ([1.0, 2.0], "classification"),
        ([1.0, 2.5], "regression"),
        (["a", "b"], "classification"),
        (np.arange(21), "regression"),  # 21 whole numbers, each once
        (np.arange(20), "classification"),
        (np.arange(84) % 21, "classification"),
        (np.arange(83) % 21, "regression"),
    ],
)
def test_task_of_labels(y: Any, task: str) -> None:
    assert task_of(np.array(y)) == task


@pytest.mark.slow
def test_wide_csv(tmp_path: Path) -> None:
    digits = load_dataset("digits")
    table = np.tile(digits.X, (20, 12))[:, :785]
    np.savetxt(tmp_path / "t.csv", table, "%d", ",", header=",".join(f"p{i}" for i in range(768)), comments="")
    dataset = load_dataset(str(tmp_path / "t.csv"), target="p0")
    np.testing.assert_array_equal(dataset.X, table[:, 1:])
