"""Data sets: the built-in names, and what holds for every form; each form has a file of its own.

Tests of the real MNIST and faces read the folder named by PRETRAIN_DATA and skip without it.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_sources import X, Y, refuse, write_csv, write_h5, write_idx, write_npz

from pipelines.data import Dataset, list_datasets, load_dataset, task_of

needs_data = pytest.mark.skipif(
    not os.environ.get("PRETRAIN_DATA"), reason="PRETRAIN_DATA does not name a folder with mnist/ and faces/"
)


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
