"""`examine`: what is wrong with the layers of a stack is found, and a healthy stack is not called ill."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from pipelines.health import examine
from pipelines.preparation import prepare
from pretrain import GreedyPretraining, Stack
from pretrain.autoencoder import Autoencoder
from pretrain.gaussian_units import LOWEST_VARIANCE
from pretrain.rbm import RBM
from pretrain.settings import RBMSettings, to_dict
from pretrain.weight_change import initial_weight


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


def found(stack, prepared, *, trained_on=True, **options):
    """(layer, problem, severity) of every finding, and the whole health."""
    health = examine(stack, prepared, trained_on=trained_on, **options)
    json.dumps(health.to_dict(), allow_nan=False)
    return {(f.layer, f.problem, f.severity) for f in health.findings}, health


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
