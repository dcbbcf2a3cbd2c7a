"""CSV: read as written, and every way to get one wrong is named."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_sources import refuse, write_csv

from pipelines.data import load_dataset


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


@pytest.mark.slow
def test_wide_csv(tmp_path: Path) -> None:
    digits = load_dataset("digits")
    table = np.tile(digits.X, (20, 12))[:, :785]
    np.savetxt(tmp_path / "t.csv", table, "%d", ",", header=",".join(f"p{i}" for i in range(768)), comments="")
    dataset = load_dataset(str(tmp_path / "t.csv"), target="p0")
    np.testing.assert_array_equal(dataset.X, table[:, 1:])
