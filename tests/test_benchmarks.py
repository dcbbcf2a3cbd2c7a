"""Every benchmark runs as a script, prints its table and writes JSON; the figures of runs so short say nothing."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner

import checkpoints
from pipelines.cli import main
from pretrain.exceptions import CheckpointError

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TIMED = ["floor-float32", "floor-bfloat16", "pretrain-float32", "pretrain-bfloat16", "BernoulliRBM"]


@pytest.fixture
def throughput(monkeypatch):
    """The script as a module."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("rbm_throughput")


def run_script(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PRETRAIN_DATA"}
    command = [sys.executable, BENCHMARKS / name, *arguments]
    return subprocess.run(
        command, env=environment | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=120
    )


def recorded(path: Path) -> dict:
    """The JSON file, in which NaN and infinity are illegal."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{path} holds {constant}")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def test_throughput(tmp_path):
    path = tmp_path / "throughput.json"
    done = run_script(
        "rbm_throughput.py", "--rows", "200", "--repeats", "2", "--sizes", "784-50,50-20", "--batches", "30,100",
        "--contestants", ",".join(TIMED), "--no-memory", "-o", path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = recorded(path)
    assert record["data"] == "random"
    assert [(cell["sizes"], cell["batch_size"]) for cell in record["cells"]] == [
        ([784, 50], 30), ([784, 50], 100), ([50, 20], 30), ([50, 20], 100),
    ]  # fmt: skip
    for cell in record["cells"]:
        assert cell["rows_timed"] == 200
        assert cell["precision_auto"] == "float32"  # so few weights
        assert [result["contestant"] for result in cell["results"]] == TIMED
        check_ratios(cell["results"])
    for name in TIMED:
        assert done.stdout.count(f"\n{name} ") == 4


def check_ratios(results: list[dict]) -> None:
    floors = {r["contestant"].removeprefix("floor-"): r["median"] for r in results[:2]}
    for r in results:
        assert len(r["seconds"]) == 2
        assert 0 < r["min"] <= r["median"] <= r["max"]
        assert r["ratio_to_float32_floor"] == pytest.approx(r["median"] / floors["float32"])
        own = r["median"] / floors["bfloat16"] if r["contestant"].endswith("bfloat16") else None
        assert r["ratio_to_bfloat16_floor"] == (None if own is None else pytest.approx(own))


def test_memory_of_one_contestant(tmp_path):
    path = tmp_path / "memory.json"
    done = run_script(
        "rbm_throughput.py", "--rows", "200", "--repeats", "1", "--sizes", "784-500", "--batches", "100",
        "--contestants", "pretrain-float32", "-o", path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (result,) = recorded(path)["cells"][0]["results"]
    assert result["ratio_to_float32_floor"] is None  # the floor did not take part
    # Weights, gradient and momentum at least, a hundred and fifty megabytes at most.
    assert 3 * 784 * 500 * 4 / 2**20 < result["memory_added_mb"] < 150


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--contestants", "someone", "got someone"),
        ("--sizes", "784", "VISIBLE-HIDDEN"),
        ("--batches", "0", "above 0"),
    ],
)
def test_illegal_options_are_refused(throughput, option, value, message):
    done = CliRunner().invoke(throughput.main, [option, value])
    assert done.exit_code == 2
    assert message in done.output


def test_contestants_that_are_not_installed_are_left_out(throughput, monkeypatch):
    monkeypatch.setattr(throughput.importlib.util, "find_spec", lambda name: None)
    assert throughput.available(torch.device("cpu")) == TIMED
    assert throughput.available(torch.device("cuda")) == TIMED[:-1]


def test_each_size_has_rows_of_its_own_width(throughput):
    images = np.random.default_rng(1).random((7, 784), dtype=np.float32)
    np.testing.assert_array_equal(throughput.rows_for(images, 784, 5), images[:5])
    for source in (images, None):
        codes = throughput.rows_for(source, 11, 5)
        assert codes.shape == (5, 11)
        assert codes.dtype == np.float32
        assert ((codes > 0) & (codes < 1)).all()


def test_digits_pipeline(tmp_path):
    path = tmp_path / "digits.json"
    done = run_script("digits_pipeline.py", "--seeds", "1", "--rows", "60", "-o", path)
    assert done.returncode == 0, done.stderr
    record = recorded(path)
    assert record["rows"] == 300  # with the shifted copies
    by_arm = {result["arm"]: result for result in record["results"]}
    assert set(by_arm) >= {"raw pixels", "BernoulliRBM", "RBMTransformer", "RBMTransformer, defaults"}
    for arm, result in by_arm.items():
        assert len(result["accuracies"]) == 1
        assert all(0.2 < accuracy <= 1 for accuracy in result["accuracies"])
        assert (result["fit_seconds_median"] == 0) == (arm == "raw pixels")
        assert f"\n{arm} " in done.stdout
    assert by_arm["BernoulliRBM"]["difference_percent"] == 0


def test_masking_sweep_makes_what_is_missing(tmp_path):
    short = ("--data", "digits", "--seeds", "1", "--pretrain-epochs", "1", "--epochs", "1", "-o", tmp_path)
    for levels in (("--level", "0"), ("--level", "0", "--level", "0.3")):
        done = run_script("masking_sweep.py", *levels, *short)
        assert done.returncode == 0, done.stderr
    runs = recorded(tmp_path / "sweep.json")["runs"]
    assert [(run["level"], run["seed"]) for run in runs] == [(0, 0), (0.3, 0)]
    assert done.stdout.count('"seconds"') == 1  # level 0 was there
    assert (tmp_path / "sweep.png").stat().st_size > 0
    other = run_script("masking_sweep.py", *short, "--epochs", "2")
    assert other.returncode == 1
    assert "take another -o" in other.stderr


def test_table_denoising(tmp_path):
    done = run_script("table_denoising.py", "--labels", "20", "--seeds", "1", "-o", tmp_path / "table.json")
    assert done.returncode == 0, done.stderr
    runs = recorded(tmp_path / "table.json")["runs"]
    assert {run["labels"] for run in runs} == {20}
    assert all(0 <= run["error"] < 50 for run in runs)
    assert all(f"\n{run['arm']} " in done.stdout for run in runs)


def test_dbm_on_digits(tmp_path):
    path = tmp_path / "dbm.json"
    done = run_script(
        "dbm_mnist.py", "--data", "digits", "--layers", "13,11", "--pretrain-epochs", "2", "--joint-epochs", "2",
        "--epochs", "2", "--ais-runs", "7", "--ais-temperatures", "50", "-o", path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = recorded(path)
    figures = record["figures"]
    assert -35 < figures["bound"] < -20
    assert abs(figures["reverse_bound"] - figures["bound"]) < 2
    assert figures["bound"] == pytest.approx(
        figures["reverse_bound"] + figures["reverse_log_partition"] - figures["log_partition"]
    )
    assert 0 < figures["test_error"] < 100
    assert [(r["stage"], r["epoch"]) for r in record["history"]][-2:] == [("joint", 1), ("joint", 2)]
    assert "-84.62" in done.stdout
    again = tmp_path / "again.json"
    done = run_script(
        "dbm_mnist.py", "--data", "digits", "--model", tmp_path / "dbm.h5", "--ais-runs", "0", "--epochs", "2",
        "--dropout", "0.1", "--validation-rows", "100", "-o", again,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert set(recorded(again)["figures"]) == {"validation_error", "seconds"}
    assert recorded(again)["layers"] == [13, 11]
    assert checkpoints.load(tmp_path / "dbm.h5").hidden_layer_sizes == (13, 11)
    for taken in (path, tmp_path / "new.h5"):
        done = run_script("dbm_mnist.py", "--data", "digits", "-o", taken)
        assert done.returncode == 2
        assert "would be written over" in done.stderr
    assert not (tmp_path / "new.h5").exists()


@pytest.mark.slow
def test_fuzzing_of_checkpoints(tmp_path):
    path = tmp_path / "fuzz.json"
    done = run_script("fuzz_checkpoints.py", "-n", "30", "--workers", "1", "--hang-seconds", "60", "-o", path)
    assert done.returncode == 0, done.stdout + done.stderr
    record = recorded(path)
    outcomes = {o: sum(counts[o] for counts in record["counts"].values()) for o in record["outcomes"]}
    assert sum(outcomes.values()) == record["n"] == 30
    assert outcomes["refused"] > 15
    assert record["missed"] == []


def test_the_fuzzer_sees_what_it_looks_for(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(BENCHMARKS)
    fuzzer = importlib.import_module("fuzz_checkpoints")
    source = next(path for path in fuzzer.make_corpus(tmp_path) if path.name == "0.h5")
    expected = fuzzer.content(source)
    assert fuzzer.judge(source, expected, forged=False) == ("same", "")
    assert fuzzer.judge(source, "another digest", forged=False)[0] == "wrong numbers"
    monkeypatch.setattr(fuzzer, "content", lambda path: 1 / 0)
    assert fuzzer.judge(source, expected, forged=True)[0] == "other error"


@pytest.mark.parametrize("version", [1, 2, 3])
def test_the_forger_knows_the_digests_of_each_version(monkeypatch, tmp_path, version):
    monkeypatch.syspath_prepend(BENCHMARKS)
    mutations = importlib.import_module("checkpoint_mutations")
    path = tmp_path / "net.h5"
    shutil.copy(Path(__file__).parent / "data" / f"checkpoint_v{version}.h5", path)
    with h5py.File(path, "r+") as file:
        file["network/head/bias"][1] = 3
    with pytest.raises(CheckpointError, match="does not have the digest"):
        checkpoints.load(path)
    assert mutations.forge(path)
    assert checkpoints.load(path).head.bias[1] == 3


def test_folds_of_digits(tmp_path):
    path = tmp_path / "folds.json"
    done = run_script("digits_folds.py", "--folds", "2", "--rows", "60", "-o", path)
    assert done.returncode == 0, done.stderr
    folds = recorded(path)["folds"]
    assert list(folds) == ["DBNClassifier", "MLPClassifier"]
    assert all(len(one["accuracy"]) == 2 and min(one["accuracy"]) > 50 for one in folds.values())  # guessing has 10


def test_speed_of_checkpoints(tmp_path):
    path = tmp_path / "speed.json"
    done = run_script("checkpoint_speed.py", "--sizes", "7,5,3", "--repeats", "2", "--folder", tmp_path, "-o", path)
    assert done.returncode == 0, done.stderr
    record = recorded(path)
    sides = ("plain", "ours", "fletcher32")
    assert set(record["seconds"]) == {f"{who} {what}" for who in sides for what in ("write", "read")}
    assert all(len(values) == 2 for values in record["seconds"].values())
    assert record["ratio"] > 0


def test_cost_of_saving(tmp_path):
    path = tmp_path / "saving.json"
    done = run_script("saving_cost.py", "--data", "digits", "--layers", "5,3", "--epochs", "2", "-o", path)
    assert done.returncode == 0, done.stderr
    figures = recorded(path)["figures"]
    assert {stage: len(found["state"]) for stage, found in figures.items()} == {"pretraining": 4, "fine-tuning": 2}
    for stage, found in figures.items():
        share = 100 * max(found["state"]) / 120
        assert f"{share:.2f} %" in next(line for line in done.stdout.splitlines() if line.startswith(stage))


def test_dream_agreement(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in (
        "dbn digits --layers 20 --epochs 30 --up-down-epochs 0 -o dbn.h5",
        "stack digits --layers 20 --epochs 2 -o stack.h5",
        "finetune stack.h5 digits --epochs 10 -o net.h5",
    ):
        assert CliRunner().invoke(main, command.split()).exit_code == 0
    done = run_script("dream_agreement.py", "dbn.h5", "net.h5", "--per-label", "30", "--n-gibbs", "100")
    assert done.returncode == 0, done.stderr
    *shares, mean = [float(line.split()[-1]) for line in done.stdout.splitlines() if line.split()[-1][0].isdigit()]
    assert len(shares) == 10
    assert mean == pytest.approx(np.mean(shares), abs=0.1)
    assert mean > 30  # of ten labels
    done = run_script("dream_agreement.py", "net.h5", "net.h5")
    assert done.returncode == 2
    assert "must hold a deep belief net with labels" in done.stderr


def test_estimator_overhead(tmp_path):
    path = tmp_path / "overhead.json"
    done = run_script("estimator_overhead.py", "--layers", "5", "--epochs", "2", "--repeats", "1", "-o", path)
    assert done.returncode == 0, done.stderr
    record = recorded(path)
    ours, theirs = (record["epoch"][name] for name in ("DBNClassifier", "MLPClassifier"))
    assert len(ours) == len(theirs) == 1
    assert record["ratio"] == pytest.approx(ours[0] / theirs[0])
    assert "an epoch of DBNClassifier takes" in done.stdout


def test_mnist_few_labels(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    script = importlib.import_module("mnist_few_labels")
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 40)
    X = (rng.random((120, 12)) < 0.1 + 0.8 * np.repeat(np.eye(3)[y], 4, axis=1)).astype(np.float32)
    labelled = script.draw_labelled(y, 5, seed=0)
    assert np.bincount(y[labelled]).tolist() == [5, 5, 5]
    arms = script.make_arms(0, 30)
    assert arms["MLPClassifier"].hidden_layer_sizes == arms["SDAEClassifier"].hidden_layer_sizes == (256, 256)
    for name, arm in arms.items():
        arm.set_params(hidden_layer_sizes=(7,), max_iter=30)
        if name != "MLPClassifier":
            arm.set_params(pretrain_epochs=3)
    runs = script.run_draw({"X": X, "y": y, "X_test": X, "y_test": y}, arms, 5, 0)
    assert [run["arm"] for run in runs] == ["DBNClassifier", "SDAEClassifier", script.BEST, "MLPClassifier"]
    table = script.summarise(runs)
    assert table[0][2] == f"{runs[0]['accuracy'] - runs[3]['accuracy']:+.2f}"
    assert table[3][2] == ""
