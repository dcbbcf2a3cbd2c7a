"""`inspect --health`: every illness is named, a healthy stack is not called ill, bad input is one message."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from sklearn.datasets import load_digits

import checkpoints
from pipelines.cli import main
from pipelines.health import examine, why_not_probed
from pipelines.preparation import prepare
from pretrain import GreedyPretraining, Stack, StackTransformer
from pretrain.autoencoder import Autoencoder
from pretrain.gaussian_units import LOWEST_VARIANCE
from pretrain.health_findings import findings_of
from pretrain.layer_figures import LayerFigures, code_figures, copied_share
from pretrain.linear_probe import probe, probe_gains
from pretrain.rbm import RBM
from pretrain.settings import RBMSettings, to_dict
from pretrain.weight_change import initial_weight, weight_structure

BEGAN_LARGE = {"weight_rms": 0.9, "weight_change": 0.2}
FIGURES = LayerFigures(1, "rbm", "sigmoid", 31, 23)
GAP = {"free_energy_spread": 10.0}

# Figures of an ill layer: name of the finding, its severity, and words of its sentence.
ILLNESSES = [
    ({"finite": False}, "overflow", "problem", "too large"),
    ({"range_problem": "values beyond 1"}, "input out of range", "problem", "--scaling minmax"),
    (
        {"gaussian_spread": 0.3},
        "unscaled input",
        "problem",
        "of 0.3. Pretrain with --scaling standard",
    ),
    ({"gaussian_spread": 80.0}, "unscaled input", "problem", "standard deviation of 80"),
    ({"spin_lowest": 0.0}, "unscaled input", "problem", "--visible-units bernoulli"),
    ({"input_spread": 1e-5}, "flat input", "problem", "1e-05"),
    ({"dead_units": 0.37}, "dead units", "problem", "37 % of its 23 units are dead (off on every row)"),
    ({"dead_units": 0.1}, "dead units", "remark", "--sparsity-target"),
    ({"dead_units": 0.37, "learning_rate": 20.0}, "dead units", "problem", "it was 20; try 2"),
    ({"saturated_units": 0.3}, "saturated units", "problem", "30 %"),
    ({"stiff_codes": 0.95}, "saturation", "problem", "95 %"),
    (
        {"saturated_units": 0.3, **BEGAN_LARGE},
        "saturated units",
        "problem",
        "--weight-scale",
    ),
    ({"stiff_codes": 0.95, **BEGAN_LARGE}, "saturation", "problem", "--weight-scale"),
    ({"weight_rms": 30.0, "weight_change": 0.2}, "large weights", "problem", "--weight-scale"),
    ({"weight_rms": 30.0, "weight_change": 9.0}, "large weights", "problem", "Lower --learning-rate"),
    ({"copied_units": 0.5}, "copied units", "problem", "50 %"),
    ({"reconstruction_ratio": 0.95}, "poor reconstruction", "problem", "hardly better than the mean"),
    ({"reconstruction_ratio": 1.0}, "poor reconstruction", "problem", "as bad as the mean"),
    ({"reconstruction_ratio": 2.0}, "poor reconstruction", "problem", "worse than the mean"),
    ({"reconstruction_ratio": 0.75}, "poor reconstruction", "remark", "75 %"),
    ({"weight_rms": 30.0}, "large weights", "problem", "huge"),
    ({"code_growth": 1e3}, "large codes", "problem", "1e+03 times"),
    ({"variances_low": 0.02}, "exploding variance", "problem", "lower limit"),
    ({"variances_high": 0.02}, "exploding variance", "problem", "upper limit"),
    ({"loss_first": 3.0, "loss_lowest": 2.0, "loss_last": 4.0}, "rising loss", "problem", "from 2 to 4"),
    ({"loss_first": 3.0, "loss_lowest": 2.0, "loss_last": 2.5}, "rising loss", "remark", "from 2 to 2.5"),
    ({**GAP, "gap": 6.0, "gap_error": 1.0}, "overfitting", "problem", "6 nats above"),
    ({**GAP, "gap": 3.0, "gap_error": 0.5}, "overfitting", "remark", "3 nats above"),
    ({**GAP, "recorded_gap_lowest": 1.0, "recorded_gap": 8.0}, "overfitting", "problem", "from 1 to 8"),
    ({"probe_error": 8.0, "probe_gain": -4.0, "probe_gain_error": 1.0}, "loses information", "remark", "compress"),
    ({"probe_error": 8.0, "probe_gain": 0.5, "probe_gain_error": 0.5}, "adds nothing", "remark", "8.5 %"),
    ({"weight_change": 0.02}, "hardly trained", "problem", "2.0 %"),
    ({"weight_structure": 1.0, "bias_by_weight": 0.01}, "hardly trained", "problem", "random numbers"),
]
# Figures that look like illness and are none.
HEALTHY = [
    {},
    {"dead_units": 0.04, "saturated_units": 0.04, "copied_units": 0.04},
    {"stiff_codes": 0.8},
    {"gaussian_spread": 0.7},
    {"gaussian_spread": 1.9, "spin_lowest": -0.5},
    {"reconstruction_ratio": 0.5},
    {"weight_rms": 5.0, "code_growth": 10.0},
    {"variances_low": 0.0, "variances_high": 0.0},
    {"loss_first": 3.0, "loss_lowest": 2.0, "loss_last": 2.1},
    {**GAP, "gap": 1.0, "gap_error": 0.1},
    {**GAP, "gap": 6.0, "gap_error": 2.0},
    {**GAP, "recorded_gap_lowest": -8.0, "recorded_gap": 1.0},
    {"probe_error": 8.0, "probe_gain": 2.0, "probe_gain_error": 0.5},
    {"probe_error": 0.6, "probe_gain": 0.0, "probe_gain_error": 0.1},
    {"weight_change": 0.5, "weight_structure": 1.0, "bias_by_weight": 0.01},
    {"weight_structure": 1.5, "bias_by_weight": 0.01},
    {"weight_structure": 1.0, "bias_by_weight": 0.5},
]


@pytest.fixture(scope="module")
def digits():
    return prepare("digits", validation_fraction=0.1)


@pytest.fixture(scope="module")
def trained(digits):
    run = GreedyPretraining(digits.train_rows(), (61, 61), RBMSettings(), seed=0, device="cpu")
    return run, list(run)


@pytest.fixture
def stack(trained):
    """A healthy stack that a test may spoil."""
    fresh = Stack([RBM(64, 61), RBM(61, 61)])
    fresh.load_state_dict(trained[0].stack.state_dict())
    return fresh


@pytest.fixture
def cli(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return run


def found(stack, prepared, *, trained_on=True, **options):
    """(layer, problem, severity) of every finding, and the whole health."""
    health = examine(stack, prepared, trained_on=trained_on, **options)
    json.dumps(health.to_dict(), allow_nan=False)
    return {(f.layer, f.problem, f.severity) for f in health.findings}, health


@pytest.mark.parametrize(("figures", "problem", "severity", "words"), ILLNESSES)
def test_each_rule_names_its_illness_and_no_other(figures, problem, severity, words):
    findings = findings_of(dataclasses.replace(FIGURES, **figures))
    assert [(finding.problem, finding.severity) for finding in findings] == [(problem, severity)]
    assert findings[0].sentence().startswith("Layer 1: ")
    assert words in findings[0].sentence()


@pytest.mark.parametrize("figures", HEALTHY)
def test_what_is_no_illness(figures):
    assert findings_of(dataclasses.replace(FIGURES, **figures)) == []


def test_a_layer_as_wide_as_its_input_must_not_lose_information():
    lost = {"probe_error": 8.0, "probe_gain": -4.0, "probe_gain_error": 1.0, "n_hidden": 31}
    assert [f.severity for f in findings_of(dataclasses.replace(FIGURES, **lost))] == ["problem"]


def test_problems_come_first_and_a_flat_input_explains_the_rest():
    ill = dataclasses.replace(FIGURES, layer=2, dead_units=0.1, weight_rms=30.0)
    assert [f.problem for f in findings_of(ill)] == ["large weights", "dead units"]
    flat = findings_of(dataclasses.replace(ill, input_spread=1e-9))
    assert [f.problem for f in flat] == ["flat input"]
    assert "Mend layer 1 first" in flat[0].advice


def test_a_layer_that_hardly_moved_is_not_told_to_learn_more_slowly():
    slow = dataclasses.replace(FIGURES, weight_change=0.01, reconstruction_ratio=2.0, learning_rate=1e-4)
    assert [finding.advice for finding in findings_of(slow)][1:] == ["Train it first"]


@pytest.mark.parametrize("cause", ["dead_units", "saturated_units", "copied_units"])
def test_consequences_name_their_cause(cause):
    lost = {"probe_error": 50.0, "probe_gain": -40.0, "probe_gain_error": 1.0, "reconstruction_ratio": 2.0}
    advice = [f.advice for f in findings_of(dataclasses.replace(FIGURES, **lost, **{cause: 0.9}))]
    assert len(advice) == 3
    assert sum(text.startswith("Mend its ") for text in advice) == 2


def test_dead_units_explain_stiff_codes():
    figures = dataclasses.replace(FIGURES, dead_units=1.0, stiff_codes=1.0)
    assert [finding.problem for finding in findings_of(figures)] == ["dead units"]


def test_a_healthy_stack_has_no_problem(stack, digits, trained):
    record = {"seed": 0, "settings": {"layers": [to_dict(RBMSettings())] * 2}}
    findings, health = found(stack, digits, history=trained[1], record=record)
    assert {finding for finding in findings if finding[2] == "problem"} == set()
    assert (health.n_rows, health.n_held_out) == (1258, 180)
    for layer in health.layers:
        assert layer.weight_change > 0.5
        assert layer.bias_by_weight > 0.5
        assert 0 < layer.reconstruction_ratio < 0.5
        assert abs(layer.gap) < 0.3 * layer.free_energy_spread
        assert 0 < layer.probe_error < 20
        assert layer.loss_last < layer.loss_first


@pytest.mark.parametrize(("bias", "problem"), [(-30.0, "dead units"), (30.0, "saturated units")])
def test_large_biases(stack, digits, bias, problem):
    with torch.no_grad():
        stack.layers[0].hidden_bias[:30] = bias
    findings, health = found(stack, digits)
    assert (1, problem, "problem") in findings
    assert "49 % of its 61 units" in next(f.sentence() for f in health.findings if f.problem == problem)


def test_saturation(stack, digits):
    with torch.no_grad():
        stack.layers[1].weight *= 1000
        stack.layers[1].hidden_bias.copy_(-500 * stack.layers[1].weight.sum(dim=1) / 1000)
    findings, _ = found(stack, digits)
    assert {(2, "saturation", "problem"), (2, "large weights", "problem")} <= findings


def test_copied_units(stack, digits):
    with torch.no_grad():
        stack.layers[0].weight[31:] = stack.layers[0].weight[:30]
        stack.layers[0].hidden_bias[31:] = stack.layers[0].hidden_bias[:30]
    findings, health = found(stack, digits)
    assert (1, "copied units", "problem") in findings
    assert health.layers[0].copied_units == pytest.approx(30 / 61)


@pytest.mark.parametrize("known", [True, False], ids=["with its seed", "without a record"])
def test_an_untrained_layer(digits, known):
    settings = RBMSettings(training=dataclasses.replace(RBMSettings().training, epochs=0))
    run = GreedyPretraining(digits.train_rows(), (61, 61), settings, seed=3, device="cpu")
    assert list(run) == []
    record = {"seed": 3, "settings": {"layers": [to_dict(settings)] * 2}} if known else {}
    findings, health = found(run.stack, digits, record=record)
    assert {(1, "hardly trained", "problem"), (2, "hardly trained", "problem")} <= findings
    assert health.layers[1].weight_change == (0.0 if known else None)


def test_a_provenance_of_anything_is_no_error(stack):
    records = [{}, {"seed": 0}, {"seed": "x", "settings": {"layers": [to_dict(RBMSettings())]}}]
    records += [{"seed": 0, "settings": odd} for odd in (None, 3, [], {"layers": {}}, {"layers": [{"kind": "dbm"}]})]
    for record in records:
        assert initial_weight(record, stack, 0) is None


def test_a_layer_of_noise_adds_nothing_or_loses(stack, digits):
    generator = torch.Generator().manual_seed(0)
    noise = RBM(61, 61, weight_scale=0.1, generator=generator)
    findings, _ = found(Stack([stack.layers[0], noise]), digits)
    assert {(2, "adds nothing", "remark"), (2, "hardly trained", "problem")} <= findings
    hard = RBM(61, 61, weight_scale=300.0, generator=generator)
    findings, _ = found(Stack([stack.layers[0], hard]), digits)
    assert (2, "loses information", "problem") in findings


def test_a_layer_that_rebuilds_the_mean(stack, digits):
    with torch.no_grad():
        stack.layers[0].weight *= 1e-3
        stack.layers[0].visible_bias.copy_(torch.logit(torch.from_numpy(digits.train_rows()).mean(0).clamp(1e-4)))
    findings, health = found(stack, digits)
    assert (1, "poor reconstruction", "problem") in findings
    assert health.layers[0].reconstruction_ratio == pytest.approx(1.0, abs=0.02)


def test_a_code_that_does_not_depend_on_the_row(stack, digits):
    with torch.no_grad():
        stack.layers[0].weight *= 1e-6
    findings, health = found(stack, digits)
    assert (1, "dead units", "problem") not in findings
    assert [f.problem for f in health.findings if f.layer == 2] == ["flat input"]


def test_variances_at_their_limit_are_counted_on_features_that_vary():
    data = prepare("digits", scaling="standard")
    rbm = RBM(64, 7, visible_units="gaussian_learned", generator=torch.Generator().manual_seed(0))
    constant = (data.train_rows() == data.train_rows()[0]).all(axis=0)
    assert constant.any()
    with torch.no_grad():
        rbm.visible_units.log_variance[constant] = np.log(LOWEST_VARIANCE)
    assert "exploding variance" not in {problem for _, problem, _ in found(Stack([rbm]), data)[0]}
    with torch.no_grad():
        rbm.visible_units.log_variance[:] = -20.0
    assert (1, "exploding variance", "problem") in found(Stack([rbm]), data)[0]


def test_codes_that_overflow_end_the_examination(digits):
    layers = [Autoencoder(below, 11, activation="identity") for below in (64, 11, 11)]
    for layer in layers:
        torch.nn.init.constant_(layer.weight, 1e25)
    findings, health = found(Stack(layers), digits)
    assert {(1, "large weights", "problem"), (2, "overflow", "problem")} <= findings
    assert [layer.layer for layer in health.layers] == [1, 2]
    assert any("layer 2" in note for note in health.notes)


def test_overfitting_is_measured_on_validation_rows(digits):
    few = dataclasses.replace(digits, split=dataclasses.replace(digits.split, train=digits.split.train[:50]))
    training = dataclasses.replace(RBMSettings().training, epochs=200, batch_size=10)
    run = GreedyPretraining(few.train_rows(), (61,), RBMSettings(training=training), seed=0, device="cpu")
    list(run)
    findings, health = found(run.stack, few)
    assert (1, "overfitting", "problem") in findings
    assert health.layers[0].gap > 4 * health.layers[0].gap_error
    unknown, health = found(run.stack, few, trained_on=False)
    assert "overfitting" not in {problem for _, problem, _ in unknown}
    assert health.n_held_out == 0
    assert "does not say" in health.notes[0]


def test_the_history_tells_rising_losses_and_gaps(stack, digits):
    epochs = [(1, 9.0, 0.1), (2, 5.0, 0.3), (3, 12.0, 500.0)]
    history = [{"layer": 1, "epoch": e, "loss": loss, "free_energy_gap": gap} for e, loss, gap in epochs]
    findings, health = found(stack, digits, history=history)
    assert {(2, "rising loss", "problem"), (2, "overfitting", "problem")} <= findings
    assert not {problem for layer, problem, _ in findings if layer == 1} & {"rising loss", "overfitting"}
    assert any("grew from 0.1 to 500 nats" in finding.evidence for finding in health.findings)


def test_data_outside_the_units_range(stack):
    raw = prepare("digits", scaling="none")
    findings, _ = found(stack, raw)
    assert (1, "input out of range", "problem") in findings


@pytest.mark.parametrize("scaling", ["none", "minmax", "standard"])
@pytest.mark.parametrize("units", ["gaussian", "gaussian_learned", "spin", "bernoulli:3+gaussian:61"])
def test_data_that_the_units_are_not_made_for(units, scaling):
    health = found(Stack([RBM(64, 7, visible_units=units)]), prepare("digits", scaling=scaling))[1]
    evidence = [finding.evidence for finding in health.findings if finding.problem == "unscaled input"]
    if "gaussian" in units:
        assert len(evidence) == (scaling != "standard" and units != "gaussian_learned")
    else:
        assert len(evidence) == (scaling != "standard")


def test_rows_that_were_not_trained_on_are_not_read(stack, digits):
    _, before = found(stack, digits)
    X = np.array(digits.dataset.X)
    X[digits.split.test] = np.nan
    _, after = found(stack, dataclasses.replace(digits, dataset=dataclasses.replace(digits.dataset, X=X)))
    assert after == before


def test_code_figures_by_type_of_unit():
    codes = torch.tensor([[0.001, 0.5, 0.999, 0.0, 0.0], [0.002, 0.9, 0.999, 0.0, 3.0]])
    figures = code_figures(codes, "sigmoid:3+relu:2")
    assert figures == pytest.approx({"dead_units": 2 / 5, "saturated_units": 1 / 5, "stiff_codes": 4 / 6})
    assert code_figures(codes, "identity")["stiff_codes"] is None


def test_copies_are_found_across_blocks_and_not_by_chance():
    generator = torch.Generator().manual_seed(0)
    codes = torch.rand(200, 1500, generator=generator)
    codes[:, 1400] = 0.5 * codes[:, 3] + 0.1
    codes[:, 1401:1403] = 0.3 + 1e-3 * codes[:, 4:5]  # two that hardly vary
    assert copied_share(codes) == pytest.approx(1 / 1500)
    assert copied_share(codes[:20]) is None


def test_noise_has_no_structure():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(97, 61, generator=generator)
    assert weight_structure(noise) == pytest.approx(1.0, abs=0.05)
    assert weight_structure(noise + 1) > 2
    assert weight_structure(noise[:5]) is None
    assert weight_structure(torch.zeros(97, 61)) is None


def test_the_probe_compares_rows():
    X, y = load_digits(return_X_y=True)
    wrong = [probe(X[:400], y[:400]), probe(np.zeros((400, 3)), y[:400])]
    assert wrong[0].mean() < 0.15
    assert wrong[1].mean() > 0.8
    ((gain, error),) = probe_gains(wrong)
    assert gain == pytest.approx(100 * (wrong[0].mean() - wrong[1].mean()))
    assert 0 < error < 5


def test_labels_that_cannot_be_probed():
    assert why_not_probed(np.arange(200) % 2) is None
    assert "no labels" in why_not_probed(None)
    assert "regression" in why_not_probed(np.linspace(0, 1, 200))
    assert "two classes" in why_not_probed(np.zeros(200, dtype=int))
    assert "50 rows" in why_not_probed(np.arange(40) % 2)


@pytest.fixture
def stack_file(cli, tmp_path):
    assert cli("stack", "digits", "--layers", "61,31", "-o", "s.h5").exit_code == 0
    return tmp_path / "s.h5"


def one_json(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(result, *words):
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.stderr
    assert len(result.stderr[result.stderr.index("Error: ") :].strip().splitlines()) == 1


def test_the_command_on_a_healthy_stack(cli, stack_file):
    result = one_json(cli("inspect", "s.h5", "--health", "digits", "--json"))
    assert result["n_rows"] == 1438
    assert [layer["n_hidden"] for layer in result["layers"]] == [61, 31]
    assert all(layer["weight_change"] > 0.5 for layer in result["layers"])
    assert [finding for finding in result["findings"] if finding["severity"] == "problem"] == []
    text = cli("inspect", "s.h5", "--health", "digits", "--device", "cpu")
    assert text.exit_code == 0
    assert "64 → 61" in text.stdout
    assert "all 1,438 training rows" in text.stdout
    assert "none are held out" in text.stdout
    assert "problem:" not in text.stdout


def test_the_command_on_an_ill_stack_says_so_and_exits_with_0(cli):
    assert cli("stack", "digits", "--layers", "61", "--learning-rate", "20", "-o", "s.h5").exit_code == 0
    text = cli("inspect", "s.h5", "--health", "digits")
    assert text.exit_code == 0
    assert "problem: Layer 1: 100 % of its 61 units are dead" in text.stdout
    assert "it was 20; try 2" in text.stdout


def test_nothing_to_remark(cli, stack_file, monkeypatch):
    monkeypatch.setattr("pipelines.health.findings_of", lambda figures: [])
    assert "Nothing to remark." in cli("inspect", "s.h5", "--health", "digits").stdout


def test_other_data_unlabelled_data_and_targets(cli, stack_file):
    X, y = load_digits(return_X_y=True)
    np.savez("x.npz", X=X)
    notes = one_json(cli("inspect", "s.h5", "--health", "x.npz", "--json"))["notes"]
    assert any("does not say that the stack was trained on x.npz" in note for note in notes)
    assert any("no labels" in note for note in notes)
    header = ",".join([*(f"p{k}" for k in range(64)), "price"])
    np.savetxt("t.csv", np.column_stack([X, y + 0.5]), delimiter=",", header=header, comments="")
    result = one_json(cli("inspect", "s.h5", "--health", "t.csv", "--target", "price", "--json"))
    assert any("regression" in note for note in result["notes"])
    assert result["raw_probe_error"] is None


def test_the_stack_of_an_estimator(cli):
    X, y = load_digits(return_X_y=True)
    np.savez("d.npz", X=X, y=y)
    estimator = StackTransformer((23,), n_iter=2, random_state=0).fit(X)
    checkpoints.save(estimator, "e.h5")
    assert len(one_json(cli("inspect", "e.h5", "--health", "d.npz", "--json"))["layers"]) == 1


def test_bad_input_is_one_message(cli, stack_file):
    assert cli("finetune", "s.h5", "digits", "--epochs", "1", "-o", "n.h5").exit_code == 0
    np.savez("narrow.npz", X=np.zeros((50, 3)), y=np.arange(50) % 2)
    (stack_file.parent / "text.h5").write_text("not HDF5")
    refused(cli("inspect", "n.h5", "--health", "digits"), "n.h5", "Network", "stack")
    refused(cli("inspect", "s.h5", "--health", "narrow.npz"), "3 features", "64")
    refused(cli("inspect", "s.h5", "--health", "nowhere.npz"), "nowhere.npz")
    refused(cli("inspect", "text.h5", "--health", "digits"), "text.h5")
    refused(cli("inspect", "missing.h5", "--health", "digits"), "missing.h5")
    refused(cli("inspect", "s.h5", "--target", "price"), "--target", "--health")
    refused(cli("inspect", "s.h5", "--device", "cpu"), "--device", "--health")


def test_without_health_the_command_describes(cli, stack_file):
    assert one_json(cli("inspect", "s.h5", "--json")) == checkpoints.describe("s.h5")
    assert "provenance.command" in cli("inspect", "s.h5").stdout
