"""Data sets of OpenML, with a stand-in for the network: what is asked for, and what cannot be used."""

from types import SimpleNamespace
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
from data_sources import refuse
from scipy.sparse import csr_matrix

from pipelines import data
from pipelines.data import load_dataset


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
