"""Studies run: trials are trained as they say, measured, kept, judged and shown."""

import dataclasses
import json
import math
import re

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch.nn import functional

import pipelines.commands.study as command
from pipelines.cli import main
from pipelines.preparation import prepare
from pipelines.progress import TrainingProgress
from pipelines.studies import catalogue, page
from pipelines.studies.evidence import lower
from pipelines.studies.gradients import gradient_norms
from pipelines.studies.study import Study, Trial, Verdict
from pipelines.studies.study_figures import Levels, levels_figure
from pipelines.studies.training_plans import plan, rbm_layers
from pipelines.studies.trials import TrialBench
from pretrain.baselines import scratch_network
from pretrain.settings import TrainingSettings

SIZES = (7, 5)


@pytest.fixture(scope="module")
def bench():
    return TrialBench(prepare("digits"), 100, torch.device("cpu"), TrainingProgress())


def judge(results):
    losses = tuple(results.of(trial, "train_loss") for trial in ("long", "short"))
    return Verdict([lower("training loss", ("long", "short"), (losses[0], losses[1]))], "measured <b>so</b>")


def draw(results):
    return levels_figure([Levels("loss", {name: results.of(name, "train_loss") for name in results.trials})], "Toy")


def make_toy(claim="Longer training fits better."):
    def trials(scale):
        return [Trial(name, "relu", SIZES, plan(epochs)) for name, epochs in (("long", 4), ("short", 1))]

    return Study("toy", claim, "Nobody (2000).", "The loss is lower.", trials, judge, draw)


@pytest.fixture
def toy(monkeypatch):
    studies = {"toy": make_toy()}
    for module in (catalogue, page, command):
        monkeypatch.setattr(module, "STUDIES", studies)
    return studies


def study(*arguments):
    return CliRunner().invoke(main, ["study", *map(str, arguments)])


def test_a_trial_is_measured(bench):
    record = bench.run(Trial("one", "sigmoid", SIZES, plan(3), gradients=True), 0)
    assert record["n_parameters"] == 64 * 7 + 7 + 7 * 5 + 5 + 5 * 10 + 10
    assert len(record["losses"]) == 3
    assert len(record["gradients"]) == 2
    assert not record["diverged"]
    assert 0 <= record["test_error"] <= 100
    json.dumps(record, allow_nan=False)


def test_the_same_seed_gives_the_same_record_and_another_seed_another(bench):
    trial = Trial("one", None, SIZES, plan(2), rbm_layers(1), labels=30)
    first, again, other = (bench.run(trial, seed) for seed in (0, 0, 1))
    assert first["losses"] == again["losses"]
    assert first["losses"] != other["losses"]


def test_a_trial_that_diverges_guesses(bench):
    record = bench.run(Trial("wild", "relu", SIZES, plan(2, 1e9, "sgd"), dropout_draws=0), 0)
    assert record["diverged"]
    assert record["train_loss"] == pytest.approx(math.log(10))
    assert 85 < record["test_error"] < 95
    json.dumps(record, allow_nan=False)


def test_draws_by_dropout_are_measured(bench):
    record = bench.run(Trial("draws", "relu-dropout", (30,), plan(10), dropout_draws=5), 0)
    assert 0 <= record["draw_area"] <= 1
    assert 0 <= record["draw_error"] <= 100


def test_images_and_pretrained_kinds_are_trained(bench):
    image = {"family": "residual", "depth": 8, "width": 2}
    trials = [
        Trial("image", None, (), plan(1), image=image, labels=20),
        Trial("rescaled", "relu", SIZES, plan(1), rbm_layers(1), labels=20),
    ]
    for trial in trials:
        assert len(bench.run(trial, 0)["losses"]) == 1


def test_a_gain_of_its_own_scales_the_initial_weights(bench):
    trial = Trial("he", "relu", (200, 200), plan(0), initialisation="xavier_normal")
    ours = bench._network(dataclasses.replace(trial, gain="identity"), bench._rows(0), 0, "")
    usual = bench._network(trial, bench._rows(0), 0, "")
    ratio = float(usual.hidden[1].linear.weight.detach().std() / ours.hidden[1].linear.weight.detach().std())
    assert ratio == pytest.approx(math.sqrt(2), rel=0.05)


def test_gradient_norms_are_those_of_finite_differences(generator):
    network = scratch_network("tanh", 3, (2,), 3, generator=generator).double()
    X, y = torch.randn(5, 3, generator=generator, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1])
    found = gradient_norms(network, X, y)
    slopes = []
    for parameter in network.hidden[0].parameters():
        flat = parameter.data.view(-1)
        for k in range(len(flat)):
            losses = []
            for step in (1e-6, -2e-6):
                flat[k] += step
                losses.append(functional.cross_entropy(network(X), y).item())
            flat[k] += 1e-6
            slopes.append((losses[0] - losses[1]) / 2e-6)
    assert found == [pytest.approx(np.linalg.norm(slopes), rel=1e-3)]  # network_loss is in float32
    assert all(parameter.grad is None for parameter in network.parameters())


def test_gradients_are_measured_with_running_statistics_and_nothing_dropped(generator):
    network = scratch_network("relu-bn", 3, (4,), 3, dropout=0.5, generator=generator)
    X, y = torch.randn(5, 3, generator=generator), torch.tensor([0, 1, 2, 0, 1])
    functional.cross_entropy(network.eval()(X), y).backward()
    gradients = [parameter.grad for parameter in network.hidden[0].parameters()]
    expected = torch.cat([gradient.flatten() for gradient in gradients]).norm().item()
    assert gradient_norms(network.train(), X, y) == [pytest.approx(expected, rel=1e-5)]


def test_a_study_is_judged_kept_and_shown(toy, tmp_path):
    folder = tmp_path / "studies"
    result = study("toy", "--seeds", 3, "-o", folder)
    assert result.exit_code == 0, result.output
    assert "toy: holds. Longer training fits better." in result.stdout
    kept = json.loads((folder / "toy.json").read_text())
    assert len(kept["records"]) == 6
    assert kept["settings"]["seeds"] == [0, 1, 2]
    html = (folder / "studies.html").read_text()
    assert "1 of 1 claims hold" in html
    assert 'aria-label="Toy. loss: long' in html
    assert not re.search(r'(src|href)="(?!#)', html)


def test_a_study_is_not_run_again_unless_it_is_asked_for(toy, tmp_path):
    study("toy", "--seeds", 2, "-o", tmp_path)
    first = (tmp_path / "toy.json").read_text()
    verdict = json.loads(study("--all", "--seeds", 2, "-o", tmp_path, "--json").stdout)["studies"][0]
    assert (tmp_path / "toy.json").read_text() == first
    assert set(verdict) >= {"name", "holds", "parts", "reason", "seconds"}
    refused = study("toy", "--seeds", 3, "-o", tmp_path)
    assert refused.exit_code == 2
    assert "--overwrite" in refused.output
    assert study("toy", "--seeds", 3, "-o", tmp_path, "--overwrite").exit_code == 0
    assert (tmp_path / "toy.json").read_text() != first


def test_a_stopped_study_trains_only_what_is_left(toy, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    ran, titles, run = [], [], TrialBench.run

    def run_until_killed(self, trial, seed, title=""):
        if kills and len(ran) == kills[0]:
            kills.pop(0)
            raise Killed
        ran.append((trial.name, seed))
        titles.append(title)
        return run(self, trial, seed, title)

    monkeypatch.setattr(TrialBench, "run", run_until_killed)
    kills = [1, 3]
    for finished in (1, 3):
        with pytest.raises(Killed):
            CliRunner().invoke(main, ["study", "toy", "--seeds", "2", "-o", str(tmp_path)], catch_exceptions=False)
        assert len(json.loads((tmp_path / "toy.unfinished.json").read_text())["records"]) == finished
        assert not (tmp_path / "toy.json").exists()
    assert "--overwrite" in study("toy", "--seeds", 3, "-o", tmp_path).output
    assert study("toy", "--seeds", 2, "-o", tmp_path).exit_code == 0
    assert ran == [("long", 0), ("short", 0), ("long", 1), ("short", 1)]
    assert [title.split()[1] for title in titles] == ["[1/4]", "[2/4]", "[3/4]", "[4/4]"]
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".json"] == ["toy.json"]
    stopped = json.loads((tmp_path / "toy.json").read_text())
    assert study("toy", "--seeds", 2, "-o", tmp_path / "other").exit_code == 0
    undisturbed = json.loads((tmp_path / "other" / "toy.json").read_text())
    assert [figures(record) for record in stopped["records"]] == [figures(r) for r in undisturbed["records"]]
    assert stopped["seconds"] > sum(record["seconds"] for record in stopped["records"])
    (tmp_path / "toy.json").rename(tmp_path / "toy.unfinished.json")
    assert study("toy", "--seeds", 2, "--overwrite", "-o", tmp_path).exit_code == 0
    assert len(ran) == 4 + 4 + 4  # nothing of what was begun is taken over


def figures(record):
    return {key: value for key, value in record.items() if "seconds" not in key}


def test_a_study_of_other_data_is_refused(toy, tmp_path):
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        np.savez(tmp_path / "d.npz", X=rng.random((60, 4)), y=np.arange(60) % 3)
        result = study("toy", "--data", tmp_path / "d.npz", "--seeds", 2, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "is of other settings (data," in result.output


def test_text_is_escaped_on_the_page_and_other_versions_are_left_out(toy, tmp_path):
    study("toy", "--seeds", 2, "-o", tmp_path)
    toy["toy"] = dataclasses.replace(make_toy("Less <i>is</i> more."), judge=lambda results: Verdict([]))
    page.write_page(tmp_path)
    assert "Less &lt;i&gt;is&lt;/i&gt; more." in (tmp_path / "studies.html").read_text()
    toy["toy"] = dataclasses.replace(toy["toy"], trials=lambda scale: [Trial("new", "relu", SIZES, plan(1))])
    page.write_page(tmp_path)
    assert "0 of 0 claims" in (tmp_path / "studies.html").read_text()


def test_wrong_calls_say_what_to_do(toy, tmp_path):
    for arguments, message in (
        ((), "Name a study, or give --all. The studies are toy."),
        (("tey",), "There is no study 'tey'; the studies are toy."),
        (("--all", "tey"), "Give either --all or names of studies, not both: tey."),
        (("toy", "--data", "curves"), "no labels"),
    ):
        result = study(*arguments, "-o", tmp_path)
        assert result.exit_code == 2
        assert message in result.output
    (tmp_path / "toy.json").write_text("{}")
    assert "is no file of a study" in study("toy", "-o", tmp_path).output
    (tmp_path / "toy.json").write_text("x")
    assert "cannot be read" in study("toy", "-o", tmp_path).output


def test_regressions_are_refused(tmp_path):
    np.savez(tmp_path / "r.npz", X=np.random.default_rng(0).random((30, 4)), y=np.linspace(0, 1, 30))
    result = study("dropout", "--data", tmp_path / "r.npz", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "the studies need class labels" in result.output


def test_plans_are_settings_of_training():
    assert plan(3, 0.1, "sgd", momentum=0.9).training == TrainingSettings(
        epochs=3, learning_rate=0.1, optimizer="sgd", momentum=0.9, batch_size=50
    )
    assert rbm_layers(3).training.epochs == 3
