"""Which rows train, validate and test: drawn once from the data and one seed, and recorded.

The record of a split (`Split.to_dict`) goes into every file that a run writes, and `remake_split` makes the
same split again from it or refuses, so that no later stage can test on rows that an earlier one trained on.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import cast

import numpy as np
from sklearn.model_selection import train_test_split

from pipelines.data import Dataset, task_of
from pretrain.exceptions import DataError

OWN, HELD_OUT = "own", "held-out"
PARTS = ("train", "validation", "test")
RECORD_KEYS = (
    *("data_sha256", "seed", "validation_fraction", "test_fraction"),
    *(f"{part}_sha256" for part in PARTS),
)


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of one data set by their use; the index arrays are sorted, int64 and read-only.

    Attributes
    ----------
    train, validation, test : np.ndarray of shape (n_train,), (n_validation,), (n_test,)
        Rows of `dataset.X`. `validation` may be empty; `test` is empty where `test_source` is "own".
    test_source : str
        "own": the test rows are `dataset.X_test`; "held-out": they are drawn from `dataset.X`.
    seed : int
        What the draws depend on, besides the data.
    validation_fraction, test_fraction : float
        Share of the rows of `dataset.X`; `test_fraction` is 0.0 where the test rows are the data's own.
    stratified : bool
        Whether each class has the same share in every part.
    n_test : int
        Number of test rows, wherever they are.
    data_sha256 : str
        Digest of the data set.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    test_source: str
    seed: int
    validation_fraction: float
    test_fraction: float
    stratified: bool
    n_test: int
    data_sha256: str

    def to_dict(self) -> dict[str, str | int | float | bool]:
        """Return the record of the split: settings, counts and digests, but not the rows themselves."""
        return {
            "test_source": self.test_source,
            "seed": self.seed,
            "validation_fraction": self.validation_fraction,
            "test_fraction": self.test_fraction,
            "stratified": self.stratified,
            "n_train": len(self.train),
            "n_validation": len(self.validation),
            "n_test": self.n_test,
            "data_sha256": self.data_sha256,
            **{f"{part}_sha256": digest_rows(getattr(self, part)) for part in PARTS},
        }


def make_split(dataset: Dataset, *, seed: int, validation_fraction: float = 0.0, test_fraction: float = 0.2) -> Split:
    """Draw the test and the validation rows; the rest trains.

    Test rows are drawn first and from a stream of their own, so they stay the same whatever the validation
    fraction. With class labels the draws are stratified.

    Parameters
    ----------
    dataset : Dataset
        Where it has test rows of its own, these are the test set and `test_fraction` is not used.
    seed : int
        0 or more.
    validation_fraction, test_fraction : float
        Share of the rows of `dataset.X`, 0 or more; a share above 0 is rounded to at least one row.

    Returns
    -------
    Split
        Disjoint index arrays that together hold every row of `dataset.X`.

    Raises
    ------
    DataError
        A bad fraction or seed, no row left to train on, or a class with too few rows to be in every part.
    """
    n_rows = len(dataset.X)
    own = dataset.X_test is not None
    _check_seed(seed)
    _check_fraction("validation_fraction", validation_fraction)
    _check_fraction("test_fraction", test_fraction)
    test_fraction = 0.0 if own else float(test_fraction)
    n_test, n_validation = _count(n_rows, test_fraction), _count(n_rows, validation_fraction)
    if n_test + n_validation >= n_rows:
        raise DataError(
            f"{dataset.name}: {n_test} test rows and {n_validation} validation rows leave none of {n_rows} "
            "to train on: lower test_fraction or validation_fraction"
        )
    classes = dataset.y is not None and task_of(dataset.y) == "classification"
    labels = dataset.y if classes else None
    test_seed, validation_seed = (int(word) for word in np.random.SeedSequence(seed).generate_state(2))
    rest, test = _draw(dataset.name, "test", np.arange(n_rows), n_test, labels, test_seed)
    train, validation = _draw(dataset.name, "validation", rest, n_validation, labels, validation_seed)
    return Split(
        train=_freeze(train),
        validation=_freeze(validation),
        test=_freeze(test),
        test_source=OWN if own else HELD_OUT,
        seed=int(seed),
        validation_fraction=float(validation_fraction),
        test_fraction=test_fraction,
        stratified=labels is not None and n_test + n_validation > 0,
        n_test=n_test if dataset.X_test is None else len(dataset.X_test),
        data_sha256=dataset.sha256,
    )


def remake_split(dataset: Dataset, record: Mapping[str, object]) -> Split:
    """Make a split again from its record.

    Parameters
    ----------
    dataset : Dataset
        The data that the split was made of.
    record : Mapping
        What `Split.to_dict` returned, perhaps by way of JSON.

    Returns
    -------
    Split
        The same rows in the same parts.

    Raises
    ------
    DataError
        The record is incomplete, the data are not the same, or the draw gives other rows.
    """
    missing = [key for key in RECORD_KEYS if key not in record]
    if missing:
        raise DataError(f"the record of the split lacks {', '.join(missing)}: it is damaged or of another program")
    if dataset.sha256 != record["data_sha256"]:
        raise DataError(
            f"{dataset.name}: not the data that the split was made of: their sha256 is "
            f"{dataset.sha256}, recorded is {record['data_sha256']}: give the same file, unchanged"
        )
    split = make_split(
        dataset,
        seed=cast(int, record["seed"]),
        validation_fraction=cast(float, record["validation_fraction"]),
        test_fraction=cast(float, record["test_fraction"]),
    )
    for part in PARTS:
        drawn = digest_rows(getattr(split, part))
        if drawn != record[f"{part}_sha256"]:
            raise DataError(
                f"{dataset.name}: the {part} rows differ from the recorded ones: sha256 {drawn}, recorded "
                f"{record[f'{part}_sha256']}: use the scikit-learn that made the split, or start a new run"
            )
    return split


def draw_labelled(y: np.ndarray, rows: np.ndarray, n_labels: int, *, seed: int) -> np.ndarray:
    """Draw the rows that keep their labels, the same number from each class.

    The rows of each class are put in a random order and dealt out in rounds, one row of each class a round;
    a class that has run out is passed over. So a larger budget contains every smaller one of the same seed,
    and the classes that get the remainder are random.

    Parameters
    ----------
    y : np.ndarray of shape (n_samples,)
        Class labels of all rows of the data set.
    rows : np.ndarray of shape (n_rows,)
        Rows to draw from, in any order.
    n_labels : int
        Budget: at least the number of classes in `rows`, at most `len(rows)`.
    seed : int
        0 or more.

    Returns
    -------
    np.ndarray of shape (n_labels,)
        Drawn rows, sorted.

    Raises
    ------
    DataError
        The budget is out of its range, or `y` is a regression target.
    """
    if task_of(y) == "regression":
        raise DataError("a label budget is drawn by class, and these labels are a regression target (floats)")
    _check_seed(seed)
    rows = np.sort(rows)
    classes, codes = np.unique(y[rows], return_inverse=True)
    if not len(classes) <= n_labels <= len(rows):
        raise DataError(
            f"cannot draw {n_labels} labels: expected at least {len(classes)}, one for each class, and at "
            f"most {len(rows)}, the number of training rows"
        )
    of_order, *of_class = np.random.SeedSequence(seed).spawn(len(classes) + 1)
    turn = np.random.default_rng(of_order).permutation(len(classes))[codes]  # (n_rows,) place in a round
    rounds = np.empty(len(rows), dtype=np.int64)  # (n_rows,)
    for code, stream in enumerate(of_class):
        members = np.flatnonzero(codes == code)
        rounds[members] = np.random.default_rng(stream).permutation(len(members))
    return np.sort(rows[np.lexsort((turn, rounds))[:n_labels]])


def _check_seed(seed: object) -> None:
    if isinstance(seed, bool) or not isinstance(seed, Integral) or int(seed) < 0:
        raise DataError(f"the seed of a split must be a whole number of 0 or more, got {seed!r}")


def _check_fraction(setting: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < 1:
        raise DataError(f"{setting} must be a number of 0 or more and below 1, got {value!r}")


def _count(n_rows: int, fraction: float) -> int:
    return max(1, round(n_rows * fraction)) if fraction > 0 else 0


def _draw(
    name: str, part: str, rows: np.ndarray, n_drawn: int, labels: np.ndarray | None, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw `n_drawn` of `rows`; return the rest and the drawn rows, each sorted."""
    if n_drawn == 0:
        return rows, rows[:0]
    strata = None if labels is None else labels[rows]
    if strata is not None:
        _check_strata(name, part, strata, n_drawn)
    rest, drawn = train_test_split(rows, test_size=n_drawn, stratify=strata, random_state=seed)
    if labels is not None:
        lost = np.setdiff1d(labels[rows], labels[rest])
        if len(lost):
            raise DataError(
                f"{name}: drawing {n_drawn} {part} rows leaves no row of class {lost.tolist()[0]!r} to "
                "train on: lower the fraction, or merge or drop that class"
            )
    return np.sort(rest), np.sort(drawn)


def _check_strata(name: str, part: str, strata: np.ndarray, n_drawn: int) -> None:
    """Refuse, in the user's terms, what cannot be stratified."""
    classes, counts = np.unique(strata, return_counts=True)
    if counts.min() < 2:
        few = classes[counts.argmin()].item()
        raise DataError(
            f"{name}: class {few!r} has too few rows (1 left) to divide between {part} rows and the rest: "
            f"give more rows of it, merge or drop it, or set the {part} fraction (--{part}-fraction) to 0"
        )
    if min(n_drawn, len(strata) - n_drawn) < len(classes):
        raise DataError(
            f"{name}: {n_drawn} {part} rows of {len(strata)} cannot hold each of {len(classes)} classes on "
            f"both sides: change the {part} fraction (--{part}-fraction), or give more rows"
        )


def _freeze(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.int64)
    rows.setflags(write=False)
    return rows


def digest_rows(rows: np.ndarray) -> str:
    """SHA-256 of the numbers of rows, in hexadecimal digits."""
    return hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()
