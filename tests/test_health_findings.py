"""Findings from a layer's figures: every illness is named, and what looks like one and is none is not."""

import dataclasses

import pytest

from pretrain.health_findings import findings_of
from pretrain.layer_figures import LayerFigures

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
