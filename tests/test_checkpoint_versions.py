"""Files of every version of the format load for good, and what is damaged in them is found."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

import checkpoints
from checkpoints.format import FORMAT_VERSION
from pretrain.exceptions import CheckpointError

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize(
    ("name", "version", "network_version"),
    [("checkpoint_v1", 1, 1), ("checkpoint_v2", 2, 1), ("network_v2", 2, 2), ("checkpoint_v3", 3, 1)],
)
def test_the_committed_file_of_each_version_loads_and_predicts_as_it_did(
    name: str, version: int, network_version: int
) -> None:
    path = DATA / f"{name}.h5"
    with h5py.File(path) as file:
        assert (file.attrs["format_version"], file["network"].attrs["kind_version"]) == (version, network_version)
    told = checkpoints.describe(path)
    assert told["format_version"] == version
    network, expected = checkpoints.load(path), told["provenance"]
    X = np.array(expected["rows"])
    np.testing.assert_allclose(network.predict_proba(X), expected["probabilities"], rtol=1e-12)
    assert network.predict(X).tolist() == expected["labels"]
    assert checkpoints.read_history(path) == expected["history"]


@pytest.mark.parametrize("version", [2, 3])
def test_the_committed_state_of_each_version_loads(version: int) -> None:
    path = DATA / f"state_v{version}.h5"
    told, loaded = checkpoints.describe(path), checkpoints.load(path).state["slots"][0]
    assert (told["kind"], told["format_version"]) == ("training", version)
    assert (loaded["step"], loaded["betas"]) == (3, (0.9, 0.999))
    assert loaded["momentum"].tolist() == told["provenance"]["momentum"]
    assert loaded["used"].tolist() == told["provenance"]["used"]


@pytest.mark.parametrize(
    ("version", "place"), [(1, "The content"), (2, "/network/head/bias"), (3, "/network/head/bias")]
)
def test_a_changed_number_is_found_in_each_version(tmp_path: Path, version: int, place: str) -> None:
    path = tmp_path / "net.h5"
    shutil.copy(DATA / f"checkpoint_v{version}.h5", path)
    with h5py.File(path, "r+") as file:
        file["network/head/bias"][1] += 1e-3
    with pytest.raises(CheckpointError, match=f"{place} does not have the digest"):
        checkpoints.load(path)


@pytest.mark.parametrize("version", [1, 2])
def test_a_model_of_an_older_version_is_saved_in_the_newest(tmp_path: Path, version: int) -> None:
    network = checkpoints.load(DATA / f"checkpoint_v{version}.h5")
    checkpoints.save(network, tmp_path / "net.h5")
    assert checkpoints.verify(tmp_path / "net.h5")["format_version"] == FORMAT_VERSION
    again, X = checkpoints.load(tmp_path / "net.h5"), np.ones((3, 7))
    assert again.predict_proba(X).tolist() == network.predict_proba(X).tolist()
