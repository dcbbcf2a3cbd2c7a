"""Splits: drawn from the data and the seed alone, stratified, disjoint, complete, made again or refused."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipelines.data import Dataset, load_dataset
from pipelines.split import Split, draw_labelled, make_split, remake_split
from pretrain.exceptions import DataError

N_ROWS = 211
COUNTS = {0: 101, 1: 67, 2: 43}


def make_dataset(y: np.ndarray | None = None, *, n_rows: int = N_ROWS, n_test: int = 0) -> Dataset:
    X = np.random.default_rng(5).random((n_rows, 3))
    X_test = X[:n_test] + 1 if n_test else None
    y_test = y[:n_test] if n_test and y is not None else None
    return Dataset("toy", X, y, X_test, y_test)


@pytest.fixture
def y() -> np.ndarray:
    labels = np.repeat(list(COUNTS), list(COUNTS.values()))
    return np.random.default_rng(3).permutation(labels)


@pytest.fixture(params=[0, 1, 17])
def seed(request: pytest.FixtureRequest) -> int:
    return request.param


def all_rows(split: Split) -> np.ndarray:
    return np.sort(np.concatenate([split.train, split.validation, split.test]))


@pytest.mark.parametrize("labels", ["classes", "strings", "regression", "none"])
def test_parts_are_disjoint_complete_sorted_and_read_only(y: np.ndarray, seed: int, labels: str) -> None:
    by_kind = {"classes": y, "strings": y.astype(str), "regression": y + 0.5, "none": None}
    split = make_split(make_dataset(by_kind[labels]), seed=seed, validation_fraction=0.1, test_fraction=0.3)
    np.testing.assert_array_equal(all_rows(split), np.arange(N_ROWS))
    assert (len(split.train), len(split.validation), len(split.test)) == (127, 21, 63)
    assert split.stratified == (labels in ("classes", "strings"))
    for part in (split.train, split.validation, split.test):
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()
        assert not part.flags.writeable


def test_classes_keep_their_share_within_one_row(y: np.ndarray, seed: int) -> None:
    split = make_split(make_dataset(y), seed=seed, validation_fraction=0.1, test_fraction=0.3)
    rest = np.concatenate([split.train, split.validation])
    for label, count in COUNTS.items():
        assert abs((y[split.test] == label).sum() - count * len(split.test) / N_ROWS) <= 1
        expected = (y[rest] == label).sum() * len(split.validation) / len(rest)
        assert abs((y[split.validation] == label).sum() - expected) <= 1


def test_split_depends_on_the_seed_alone(y: np.ndarray) -> None:
    dataset = make_dataset(y)
    before = dataset.X.copy()
    first = make_split(dataset, seed=4, validation_fraction=0.1)
    np.random.random()  # a split must not notice where the global generator stands
    again = make_split(make_dataset(y), seed=4, validation_fraction=0.1)
    other = make_split(dataset, seed=5, validation_fraction=0.1)
    assert first.to_dict() == again.to_dict()
    assert first.to_dict()["test_sha256"] != other.to_dict()["test_sha256"]
    assert first.to_dict()["validation_sha256"] != other.to_dict()["validation_sha256"]
    np.testing.assert_array_equal(dataset.X, before)


def test_global_generator_is_not_touched(y: np.ndarray) -> None:
    before = np.random.get_state()[1].copy()
    make_split(make_dataset(y), seed=1, validation_fraction=0.1)
    draw_labelled(y, np.arange(N_ROWS), 20, seed=1)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_test_rows_stay_when_the_validation_fraction_changes(y: np.ndarray) -> None:
    without = make_split(make_dataset(y), seed=2)
    with_rows = make_split(make_dataset(y), seed=2, validation_fraction=0.25)
    np.testing.assert_array_equal(without.test, with_rows.test)
    assert len(without.validation) == 0
    assert len(with_rows.validation) == 53


def test_own_test_rows_are_used(y: np.ndarray) -> None:
    split = make_split(make_dataset(y, n_test=13), seed=0, validation_fraction=0.1, test_fraction=0.4)
    assert (split.test_source, split.test_fraction, split.n_test, len(split.test)) == ("own", 0.0, 13, 0)
    np.testing.assert_array_equal(all_rows(split), np.arange(N_ROWS))
    assert len(split.validation) == 21


def test_no_fraction_keeps_every_row_for_training(y: np.ndarray) -> None:
    split = make_split(make_dataset(y), seed=0, test_fraction=0)
    np.testing.assert_array_equal(split.train, np.arange(N_ROWS))
    assert (split.test_source, split.n_test, split.stratified) == ("held-out", 0, False)


def test_a_small_fraction_gives_one_row() -> None:
    assert len(make_split(make_dataset(n_rows=7), seed=0, test_fraction=0.01).test) == 1


@pytest.mark.parametrize("n_test", [0, 13])
def test_record_goes_through_json_and_remakes_the_split(y: np.ndarray, seed: int, n_test: int) -> None:
    dataset = make_dataset(y, n_test=n_test)
    split = make_split(dataset, seed=seed, validation_fraction=0.1)
    record = json.loads(json.dumps(split.to_dict()))
    again = remake_split(dataset, record)
    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(again, part), getattr(split, part))
    assert again.to_dict() == split.to_dict()
    assert record["n_train"] + record["n_validation"] + len(split.test) == N_ROWS
    assert record["n_test"] == (n_test or 42)
    assert record["data_sha256"] == dataset.sha256


def test_remake_refuses_other_data(y: np.ndarray) -> None:
    dataset = make_dataset(y)
    record = make_split(dataset, seed=0).to_dict()
    other = Dataset("toy", dataset.X + 1e-9, y)
    with pytest.raises(DataError, match="not the data that the split was made of") as caught:
        remake_split(other, record)
    assert dataset.sha256 in str(caught.value)
    assert other.sha256 in str(caught.value)


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_remake_refuses_other_rows(y: np.ndarray, part: str) -> None:
    dataset = make_dataset(y)
    record = make_split(dataset, seed=0, validation_fraction=0.1).to_dict()
    drawn = record[f"{part}_sha256"]
    with pytest.raises(DataError, match=f"the {part} rows differ from the recorded ones: sha256 {drawn}.*feed"):
        remake_split(dataset, {**record, f"{part}_sha256": "feed"})


def test_remake_refuses_an_incomplete_record(y: np.ndarray) -> None:
    record = make_split(make_dataset(y), seed=0).to_dict()
    del record["seed"], record["test_sha256"]
    with pytest.raises(DataError, match="lacks seed, test_sha256"):
        remake_split(make_dataset(y), record)


@pytest.mark.parametrize("setting", ["validation_fraction", "test_fraction"])
@pytest.mark.parametrize("value", [-0.1, 1.0, 1, float("nan"), "0.1", True, None])
def test_bad_fraction_is_refused(y: np.ndarray, setting: str, value: Any) -> None:
    with pytest.raises(DataError, match=rf"{setting} must be a number of 0 or more and below 1, got {value!r}"):
        make_split(make_dataset(y), seed=0, **{setting: value})


@pytest.mark.parametrize("seed", [-1, 0.5, None, True])
@pytest.mark.parametrize(
    "draw",
    [
        lambda y, seed: make_split(make_dataset(y), seed=seed),
        lambda y, seed: draw_labelled(y, np.arange(N_ROWS), 9, seed=seed),
    ],
    ids=["split", "labels"],
)
def test_bad_seed_is_refused(y: np.ndarray, seed: Any, draw: Callable[[np.ndarray, Any], object]) -> None:
    with pytest.raises(DataError, match=f"seed of a split must be a whole number of 0 or more, got {seed!r}"):
        draw(y, seed)


def test_empty_training_set_is_refused() -> None:
    with pytest.raises(DataError, match="6 test rows and 6 validation rows leave none of 11 to train on"):
        make_split(make_dataset(n_rows=11), seed=0, test_fraction=0.5, validation_fraction=0.5)


def test_class_of_one_row_is_refused() -> None:
    y = np.array(["cat"] * 20 + ["dog"] * 20 + ["emu"])
    with pytest.raises(DataError, match=r"class 'emu' has too few rows \(1 left\).*merge or drop it"):
        make_split(make_dataset(y, n_rows=41), seed=0)


def test_fewer_drawn_rows_than_classes_is_refused() -> None:
    y = np.repeat(np.arange(7), 5)
    with pytest.raises(DataError, match=r"4 test rows of 35 cannot hold each of 7 classes.*--test-fraction"):
        make_split(make_dataset(y, n_rows=35), seed=0, test_fraction=0.1)


def test_class_lost_to_training_is_refused() -> None:
    y = np.array([0] * 95 + [1] * 2)
    with pytest.raises(DataError, match=r"drawing 95 test rows leaves no row of class 1 to train on"):
        make_split(make_dataset(y, n_rows=97), seed=0, test_fraction=0.98)


def test_labels_are_drawn_evenly(y: np.ndarray, seed: int) -> None:
    rows = np.arange(0, N_ROWS, 2)
    drawn = draw_labelled(y, rows, 31, seed=seed)
    counts = np.bincount(y[drawn])
    assert len(np.unique(drawn)) == 31
    assert np.isin(drawn, rows).all()
    assert (np.diff(drawn) > 0).all()
    assert sorted(counts) == [10, 10, 11]


def test_the_class_that_gets_the_remainder_depends_on_the_seed(y: np.ndarray) -> None:
    favoured = {np.bincount(y[draw_labelled(y, np.arange(N_ROWS), 31, seed=s)]).argmax() for s in range(30)}
    assert favoured == {0, 1, 2}


def test_budgets_are_nested(y: np.ndarray, seed: int) -> None:
    rows = np.arange(N_ROWS)[::-1]
    smaller = draw_labelled(y, rows, 3, seed=seed)
    for n_labels in range(4, N_ROWS + 1):
        larger = draw_labelled(y, rows, n_labels, seed=seed)
        assert len(larger) == n_labels
        assert np.isin(smaller, larger).all()
        smaller = larger


def test_draw_depends_on_the_seed_and_not_on_the_order_of_rows(y: np.ndarray) -> None:
    rows = np.arange(N_ROWS)
    first = draw_labelled(y, rows, 30, seed=1)
    np.testing.assert_array_equal(first, draw_labelled(y, rows[::-1], 30, seed=1))
    assert not np.array_equal(first, draw_labelled(y, rows, 30, seed=2))


def test_short_class_is_filled_up_from_the_others() -> None:
    y = np.array(["a"] * 2 + ["b"] * 30 + ["c"] * 30)
    drawn = draw_labelled(y, np.arange(62), 42, seed=0)
    assert {c: int((y[drawn] == c).sum()) for c in "abc"} == {"a": 2, "b": 20, "c": 20}


@pytest.mark.parametrize("n_labels", [2, N_ROWS + 1])
def test_budget_out_of_range_is_refused(y: np.ndarray, n_labels: int) -> None:
    with pytest.raises(DataError, match=f"cannot draw {n_labels} labels: expected at least 3.*at most 211"):
        draw_labelled(y, np.arange(N_ROWS), n_labels, seed=0)


def test_budget_of_a_regression_target_is_refused() -> None:
    with pytest.raises(DataError, match=r"drawn by class.*regression target"):
        draw_labelled(np.array([0.5, 1.5]), np.arange(2), 2, seed=0)


def test_split_of_digits() -> None:
    split = make_split(load_dataset("digits"), seed=0, validation_fraction=0.1)
    assert (len(split.train), len(split.validation), len(split.test)) == (1258, 180, 359)
