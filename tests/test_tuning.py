"""Tuning: the spaces of the arms, what is proposed from them, and what a comparison does with it."""

import dataclasses
import json
import math

import numpy as np
import pytest

import checkpoints
from pipelines import tuning
from pipelines.arms import ARMS, arms_named
from pipelines.comparison import Comparison
from pipelines.preparation import PreparedData, prepare
from pipelines.progress import TrainingProgress
from pipelines.search_spaces import Choice, LogRange, describe_space, own_settings, search_space, with_settings
from pipelines.tuning import best_trial, propose, tune
from pretrain.exceptions import DataError, SettingsError

(RELU, SDAE, DBN) = arms_named(("relu", "sdae", "dbn"))


@pytest.fixture(params=["optuna", "random"])
def sampler(request, monkeypatch):
    if request.param == "random":
        monkeypatch.setattr(tuning, "optuna", None)
    else:
        pytest.importorskip("optuna")
    return request.param


def trial_with(error):
    return lambda settings: {"settings": settings, "validation_error": error(settings)}


def distance(settings):
    """Lowest at a rate of 3e-3 and a decay of 1e-3."""
    rate = math.log10(settings["finetuning.learning_rate"] / 3e-3) ** 2
    return rate + (settings["finetuning.weight_decay"] != 1e-3)


@pytest.mark.parametrize("name", ARMS)
def test_an_arm_with_its_own_settings_is_the_arm(name):
    arm = ARMS[name]
    own = own_settings(arm)
    assert with_settings(arm, own) == arm
    space = search_space(arm)
    assert list(own) == list(space) == list(describe_space(arm))
    for setting, values in space.items():
        if isinstance(values, Choice):
            assert own[setting] in values.values
        else:
            assert values.low < own[setting] < values.high


def test_settings_reach_the_arm():
    values = {
        "pretraining.corruption_level": 0.4,
        "pretraining.learning_rate": 0.003,
        "finetuning.weight_decay": 1e-5,
    }
    arm = with_settings(SDAE, values)
    assert (arm.layer.corruption_level, arm.layer.training.learning_rate) == (0.4, 0.003)
    assert arm.finetune.training.weight_decay == 1e-5
    assert arm.finetune.training.learning_rate == SDAE.finetune.training.learning_rate
    assert (arm.name, arm.kind, arm.dropout) == (SDAE.name, SDAE.kind, SDAE.dropout)


@pytest.mark.parametrize(("optimizer", "missing"), [("lbfgs", "learning_rate"), ("rprop", "weight_decay")])
def test_what_an_optimiser_does_not_have_is_not_searched(optimizer, missing):
    training = dataclasses.replace(RELU.finetune.training, optimizer=optimizer)
    arm = dataclasses.replace(RELU, finetune=dataclasses.replace(RELU.finetune, training=training))
    assert f"finetuning.{missing}" not in search_space(arm)
    assert len(search_space(arm)) == 1


def test_own_settings_come_first_and_all_are_from_the_space(sampler):
    trials = tune(DBN, 14, trial_with(distance), seed=5)
    assert len(trials) == 14
    assert trials[0]["settings"] == own_settings(DBN)
    space = search_space(DBN)
    for trial in trials:
        assert list(trial["settings"]) == list(space)
        for name, value in trial["settings"].items():
            one = space[name]
            assert value in one.values if isinstance(one, Choice) else one.low <= value <= one.high
    assert len({trial["settings"]["finetuning.learning_rate"] for trial in trials}) == 14


def test_a_search_that_was_stopped_goes_on_as_if_it_had_not_been(sampler):
    whole = tune(SDAE, 13, trial_with(distance), seed=2)
    begun = tune(SDAE, 4, trial_with(distance), seed=2)
    kept = json.loads(json.dumps(begun))
    assert tune(SDAE, 13, trial_with(distance), kept, seed=2) == whole
    assert tune(SDAE, 13, trial_with(distance), seed=3) != whole


def test_more_trials_find_lower_errors(sampler):
    errors = [best_trial(tune(RELU, n, trial_with(distance), seed=1))["validation_error"] for n in (1, 30)]
    assert errors[0] == pytest.approx(1 + math.log10(3) ** 2)
    assert errors[1] < 0.02


def test_random_rates_are_even_in_their_logarithm(monkeypatch):
    monkeypatch.setattr(tuning, "optuna", None)
    drawn = [propose(RELU, [{}] * n, seed=0)["finetuning.learning_rate"] for n in range(1, 400)]
    shares = np.log10(np.array(drawn) / 1e-4) / 2
    assert np.quantile(shares, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.08)
    assert LogRange(1e-4, 1e-2).at(0.5) == pytest.approx(1e-3)


def test_training_that_diverges_is_a_bad_trial(sampler):
    def error(settings):
        return None if settings["finetuning.learning_rate"] > 1e-3 else 7.0

    trials = tune(RELU, 12, trial_with(error), seed=0)
    assert any(trial["validation_error"] is None for trial in trials)
    assert best_trial(trials)["validation_error"] == 7.0
    with pytest.raises(DataError, match="diverged in each of 2 trials"):
        best_trial([{"validation_error": None}, {"validation_error": None}])


def comparison(output, **changes):
    settings = {"arms": [SDAE, RELU], "hidden_layer_sizes": [7], "labels": [20], "seeds": [4, 5], "n_trials": 3}
    prepared = prepare("digits", validation_fraction=0.1)
    return Comparison(prepared, output=output, device="cpu", **{**settings, **changes})


def run(made):
    made.open_folder(overwrite=False)
    with TrainingProgress() as progress:
        return made.run(progress)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A finished comparison with few steps and three trials."""

    def short(arm):
        finetune = dataclasses.replace(arm.finetune.training, epochs=3)
        layer = arm.layer and dataclasses.replace(
            arm.layer, training=dataclasses.replace(arm.layer.training, epochs=1)
        )
        return dataclasses.replace(arm, layer=layer, finetune=dataclasses.replace(arm.finetune, training=finetune))

    made = comparison(tmp_path_factory.mktemp("tuned") / "run", arms=[short(SDAE), short(RELU)])
    return made, run(made)


def test_each_arm_has_the_same_trials_and_keeps_the_best(tuned):
    made, results = tuned
    assert [(s["arm"], s["labels"], len(s["trials"])) for s in results["searches"]] == [
        ("sdae", 20, 3),
        ("relu", 20, 3),
    ]
    for search in results["searches"]:
        provenance = checkpoints.describe(made.folder.network(search["arm"], 20, 4))["provenance"]
        chosen = best_trial(search["trials"])["settings"]
        assert provenance["settings"]["training"]["learning_rate"] == chosen["finetuning.learning_rate"]
        errors = [trial["validation_error"] for trial in search["trials"]]
        assert min(errors) <= errors[0]
    assert len(results["records"]) == 4


def test_a_trial_is_judged_by_validation_rows_alone(tuned, tmp_path, monkeypatch):
    made, _ = tuned

    def read(*_):
        raise AssertionError("test rows were read")

    again = comparison(tmp_path / "run", arms=made.arms, n_trials=1)
    again.open_folder(overwrite=False)
    monkeypatch.setattr(PreparedData, "raw_test_rows", read)
    with pytest.raises(AssertionError, match="test rows were read"), TrainingProgress() as progress:
        again.run(progress)  # in the first cell, after the trials
    assert (
        again.folder.trials("relu", 20)[0]["validation_error"]
        == made.folder.trials("relu", 20)[0]["validation_error"]
    )
    split = again.prepared.split
    assert not set(split.validation) & (set(again._budget_rows[20, 4]) | set(split.test))


def test_the_chosen_trial_is_the_training_of_the_first_seed_s_cell(tuned):
    made, results = tuned
    prepared = made.prepared
    rows = prepared.split.validation
    for search in results["searches"]:
        network = checkpoints.load(made.folder.network(search["arm"], 20, 4))
        wrong = network.predict(prepared.dataset.X[rows]) != prepared.labels()[rows]
        assert best_trial(search["trials"])["validation_error"] == pytest.approx(100 * wrong.mean())


def test_finished_trials_and_cells_are_not_run_again(tuned):
    made, results = tuned
    (made.folder.path / "cells" / "relu-20-seed5.json").unlink()
    stamps = {path: path.stat().st_mtime_ns for path in made.folder.path.glob("trials/*")}
    again = run(made)
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}
    assert [r["test_error"] for r in again["records"]] == [r["test_error"] for r in results["records"]]


def test_the_report_says_what_was_searched_and_chosen(tuned):
    made, _ = tuned
    for name in ("report.html", "report.md"):
        text = (made.folder.path / name).read_text().replace("\\", "")
        assert "0.0001 to 0.01, log-uniform" in text
        assert "chose the settings of every arm, each of 3 trials" in text
        assert "Tuning" in text


def test_another_number_of_trials_is_another_comparison(tuned):
    made, _ = tuned
    other = comparison(made.folder.path, arms=made.arms, n_trials=4)
    with pytest.raises(SettingsError, match="different: tuning"):
        other.open_folder(overwrite=False)


def test_tuning_needs_validation_rows(tmp_path):
    with pytest.raises(SettingsError, match="--validation-fraction above 0"):
        Comparison(
            prepare("digits"),
            arms=[RELU],
            hidden_layer_sizes=[7],
            labels=[20],
            seeds=[0],
            output=tmp_path,
            n_trials=1,
        )
