"""Parts of a checkpoint: history, provenance, labels and parameters come back equal, or are refused by name."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import checkpoints
from checkpoints.documents import read_document, tag, untag
from checkpoints.format import layer_name
from checkpoints.history import build_history, check_history, encode_history
from checkpoints.label_arrays import build_labels, check_labels, encode_labels
from pretrain.exceptions import CheckpointError
from pretrain.rbm import RBM
from pretrain.stack import Stack

RECORDS: list[dict[str, Any]] = [
    {"stage": "pretrain", "layer": 0, "epoch": 1, "loss": 14.9, "learning_rate": 0.1, "n_layers": 3, "done": False},
    {"stage": "head", "layer": None, "epoch": 2, "loss": 0.1 + 0.2, "validation_error": 3, "note": None},
    {},
    {"stage": "", "layer": 2, "loss": -0.0, "validation_error": 2.5, "note": "é\n", "done": True, "seed": 2**63},
]
# Columns whose entries are of several types, at the edges where a column changes its type in the file.
MIXED: dict[str, list[Any]] = {
    "integers": [0, -1, 2**63 - 1, -(2**63) + 1],
    "beyond int64": [2**63, 1],
    "float and integer": [1, 1.0, True, 2**53],
    "beyond float64": [0.5, 2**53 + 1],
    "text and numbers": ["1", 1, 1.5, True, False, None, "True", 1e-300, 2**80],
    "infinities": [math.inf, -math.inf, 0.0],
    "nothing": [None, None],
}


def same(found: Any, stored: Any) -> bool:
    """Equal in value and in type; NaN equals NaN and -0.0 is not 0.0."""
    return type(found) is type(stored) and repr(found) == repr(stored)


def history_round_trip(records: list[dict[str, Any]], tmp_path: Path) -> list[dict[str, Any]]:
    checkpoints.save(Stack([RBM(3, 2)]), tmp_path / "m.h5", overwrite=True, history=records)
    return checkpoints.read_history(tmp_path / "m.h5")


def test_history_comes_back_exactly(tmp_path: Path) -> None:
    found = history_round_trip(RECORDS, tmp_path)
    assert found == RECORDS
    for record, stored in zip(found, RECORDS, strict=True):
        assert all(same(record[key], value) for key, value in stored.items())
    columns = encode_history(RECORDS).groups["columns"].datasets
    assert {key: columns[key].dtype.str for key in ("epoch", "done", "loss", "layer", "stage", "seed")} == {
        "epoch": "<i8", "done": "<i8", "loss": "<f8", "layer": "<i8", "stage": "|S8", "seed": "|S19",
    }  # fmt: skip
    assert list(found[0]) == list(RECORDS[0])  # printed in the order in which it was given


@pytest.mark.parametrize("values", MIXED.values(), ids=MIXED)
def test_columns_of_mixed_types_come_back_exactly(tmp_path: Path, values: list[Any]) -> None:
    records = [{"value": value} for value in values] + [{"other": math.nan}]
    found = history_round_trip(records, tmp_path)
    assert [list(record) for record in found] == [list(record) for record in records]
    assert all(same(f["value"], s) for f, s in zip(found, values, strict=False))
    assert math.isnan(found[-1]["other"])


def test_numbers_of_numpy_come_back_as_numbers(tmp_path: Path) -> None:
    found = history_round_trip([{"a": np.float32(0.1), "b": np.int64(3), "c": np.True_, "d": np.str_("x")}], tmp_path)
    assert [type(value) for value in found[0].values()] == [float, int, bool, str]
    assert found == [{"a": float(np.float32(0.1)), "b": 3, "c": True, "d": "x"}]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"loss": [1]}, "'loss' in a record of the history must be a number"),
        ({"a/b": 1}, "name of the history's records must be made of"),
        ({3: 1}, "name of the history's records must be made of"),
        ({"..": 1}, "name of the history's records must be made of"),
        ("loss", "must be a list of flat records"),
    ],
)
def test_a_history_that_cannot_be_stored_is_refused(tmp_path: Path, record: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        checkpoints.save(Stack([RBM(3, 2)]), tmp_path / "m.h5", history=[record])
    assert list(tmp_path.iterdir()) == []


def test_cells_that_contradict_their_column_are_refused() -> None:
    for key, code in (("stage", 2), ("loss", 2), ("loss", 4), ("epoch", 9), ("note", 5)):
        group = encode_history(RECORDS)
        group.groups["cells"].datasets[key][1] = code
        with pytest.raises(CheckpointError, match=rf"/history/columns/{key}\[1\] is .*cell code {code}"):
            check_history(group, "/history")
    group = encode_history(RECORDS)
    group.attributes["count"] = 5
    with pytest.raises(CheckpointError, match=r"must have shape \(5,\), one entry a record; got \(4,\)"):
        check_history(group, "/history")
    group = encode_history(RECORDS)
    del group.groups["cells"].datasets["loss"]
    with pytest.raises(CheckpointError, match="/history/cells lacks the dataset 'loss'"):
        check_history(group, "/history")
    assert build_history(encode_history(RECORDS), "/history") == RECORDS


def test_a_large_provenance_comes_back(tmp_path: Path) -> None:
    provenance = {"split": list(range(60_000)), "text": "é" * 70_000, "nested": {"a": [None, True, 0.1, {}]}}
    checkpoints.save(Stack([RBM(3, 2)]), tmp_path / "m.h5", provenance=provenance)
    assert checkpoints.describe(tmp_path / "m.h5")["provenance"] == provenance


@pytest.mark.parametrize(
    "value", [{"a": math.nan}, {"a": np.int64(3)}, {"a": Path("x")}, {3: "x"}, {"a": {1, 2}}, [1]]
)
def test_a_provenance_that_json_cannot_hold_is_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(CheckpointError, match=r"provenance (cannot be written as JSON|must be a JSON object)"):
        checkpoints.save(Stack([RBM(3, 2)]), tmp_path / "m.h5", provenance=value)
    assert list(tmp_path.iterdir()) == []


def test_parameters_keep_tuples_and_non_finite_floats() -> None:
    value = (1, [2.5, (None, True)], "x", (), math.inf, -math.inf)
    assert same(untag(tag(value, "p"), "p"), value)
    assert math.isnan(untag(tag(math.nan, "p"), "p"))
    with pytest.raises(CheckpointError, match=r"p must be a number, text, .*got set"):
        tag([{1}], "p")
    for damaged in ({"tuple": 3}, {"float": "1"}, {"float": [1]}, {"tuple": [], "x": 1}, {}):
        with pytest.raises(CheckpointError, match="p holds the JSON object"):
            untag(damaged, "p")


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', "NaN", "[Infinity]", "{", "", "[" * 100_000, "1" * 5000])
def test_json_that_is_not_strict_is_refused(text: str) -> None:
    with pytest.raises(CheckpointError, match="here is not legal JSON"):
        read_document(text, "here")


@pytest.mark.parametrize(
    "values",
    [
        np.array([[1, 2, 3], [4, 5, 6]], dtype=">i4"),
        np.array([True, False]),
        np.array([0.5, np.nan], dtype=np.float32),
        np.array(["a", "ééé", ""], dtype="<U7"),
        np.array(["", "x" * 300, "a\0b"], dtype=object),
        np.array([], dtype="<U3"),
        np.array([], dtype=np.int64),
        np.array("scalar"),
    ],
    ids=lambda values: f"{values.dtype}{values.shape}",
)
def test_arrays_of_labels_come_back(values: np.ndarray) -> None:
    found = build_labels(encode_labels(values, "labels"), "/labels")
    assert found.dtype == values.dtype.newbyteorder("=")
    assert found.shape == values.shape
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize(
    "values",
    [
        np.array([1j]),
        np.array(["2020"], dtype="M8"),
        np.array([1, "a"], dtype=object),
        np.array(["a\0"], dtype=object),
    ],
)
def test_labels_that_cannot_be_stored_are_refused(values: np.ndarray) -> None:
    with pytest.raises(CheckpointError, match="The classes"):
        encode_labels(values, "The classes")


@pytest.mark.parametrize(
    ("stored", "dtype"),
    [
        (np.array([0, 2], dtype=np.uint8), "|b1"),
        (np.array([b"ab"]), "<U3"),  # a width that the file does not have bytes for
        (np.array([b"ab"]), "<i8"),
        (np.array([1], dtype=np.int64), "|O"),
        (np.array([1], dtype=np.int64), "<m8[s]"),
    ],
)
def test_labels_that_do_not_fit_their_type_are_refused(stored: np.ndarray, dtype: str) -> None:
    group = encode_labels(np.array(["x"]), "labels")
    group.datasets["values"], group.attributes["numpy_dtype"] = stored, dtype
    with pytest.raises(CheckpointError, match=r"/labels/values is of type .* does not fit numpy_dtype"):
        check_labels(group, "/labels")


def test_layer_names_sort_as_text() -> None:
    assert layer_name(0, 1) == "00"
    for count in (9, 11, 100, 101, 1001):
        names = [layer_name(k, count) for k in range(count)]
        assert names == sorted(names)
    assert layer_name(7, 101) == "007"
