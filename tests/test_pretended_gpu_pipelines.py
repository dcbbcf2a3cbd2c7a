"""Estimators, comparisons, studies and measurements of models on a GPU, seen without one (see `pretended_gpu`).

No operation mixes devices, and what is given back is on the host and what the host computes from the same weights.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pretended_gpu import pretended_gpu
from recorded_operations import OperationRecorder
from small_estimators import answers, every_estimator, fitted, make, model_of, rows, targets

from pipelines import likelihood
from pipelines.evaluation import evaluate
from pipelines.health import examine
from pipelines.preparation import prepare
from pipelines.pretraining import pretrain_stack
from pipelines.progress import TrainingProgress
from pipelines.studies.study import Trial
from pipelines.studies.training_plans import plan, rbm_layers
from pipelines.studies.trials import TrialBench
from pretrain import training
from pretrain.estimators import density

RNG = np.random.default_rng(0)
X, Y = RNG.random((60, 4, 3)).round(1), np.arange(60) % 3
N_TEMPERATURES = 5


@pytest.fixture(autouse=True)
def gpu(monkeypatch):
    monkeypatch.setattr(training, "CudaRecorder", lambda device, generators: OperationRecorder())
    monkeypatch.setattr(density, "TEMPERATURES", N_TEMPERATURES)
    monkeypatch.setattr(likelihood, "REVERSE_BURN_IN", N_TEMPERATURES)
    with pretended_gpu(monkeypatch) as mode:
        yield mode


@pytest.fixture
def prepared(tmp_path):
    np.savez(tmp_path / "data.npz", X=X, y=Y)
    return prepare(str(tmp_path / "data.npz"), validation_fraction=0.2)


@every_estimator
def test_answers_of_an_estimator_are_those_of_the_host(name):
    found = fitted(name, device="cuda")
    assert all(parameter.device.type == "cuda" for parameter in model_of(found).parameters())
    on_gpu = answers(found, rows(1))
    assert on_gpu
    model_of(found).cpu()
    for method, expected in answers(found, rows(1)).items():
        assert type(on_gpu[method]) is np.ndarray
        assert np.array_equal(on_gpu[method], expected)


@pytest.mark.parametrize("name", ["DBNClassifier", "SDAERegressor"])
def test_a_diagnosis_is_that_of_the_host(name):
    found = fitted(name, device="cuda")
    on_gpu = found.diagnose(rows(), targets(name, rows())).to_dict()
    model_of(found).cpu()
    assert found.diagnose(rows(), targets(name, rows())).to_dict() == on_gpu


RBMS = [
    ({}, rows()),
    ({"missing": "gibbs"}, np.where(rows() > 0.8, np.nan, rows())),
    ({"n_components": 25, "gradient_estimator": "tempering"}, RNG.random((40, 30)).round()),  # Z is estimated
    ({"visible_units": "gaussian", "hidden_units": "noisy_relu"}, rows()),
    ({"visible_units": "softmax", "hidden_units": "spin"}, np.eye(7)[rows().argmax(axis=1)]),
    ({"visible_units": "bernoulli:3+gaussian_learned:4", "hidden_units": "softmax:3"}, rows()),
]


@pytest.mark.parametrize(("options", "data"), RBMS, ids=[str(options) for options, _ in RBMS])
def test_an_rbm_scores_draws_and_fills(options, data):
    found = make("RBMTransformer", device="cuda", scaling="none", **options).fit(data)
    found.partial_fit(data)
    assert np.isfinite(found.score_samples(data)).all()
    assert np.isfinite(found.gibbs(data)).all()
    assert np.isfinite(found.impute(data, n_gibbs_steps=3, average=2)).all()


@pytest.mark.parametrize("labelled", [True, False], ids=["with labels", "without labels"])
def test_a_deep_belief_net_scores_and_samples(labelled):
    found = make("GenerativeDBN", device="cuda").fit(rows(), targets("GenerativeDBN", rows()) if labelled else None)
    assert np.isfinite(found.score_samples(rows())).all()
    assert found.sample(2, label=0 if labelled else None, n_gibbs=3).shape == (2, 7)
    assert next(found.watch(2)).shape == (2, 7)


def test_health_likelihood_and_error_of_a_stack(prepared):
    stack, history = pretrain_stack(
        prepared, (7, 5), rbm_layers(1), seed=0, device="cuda", progress=TrainingProgress(), title=""
    )
    assert stack.layers[0].weight.device.type == "cuda"
    health = examine(stack, prepared, trained_on=True, history=history)
    error = evaluate(stack, prepared.raw_test_rows(), None)
    found = likelihood.measure_likelihood(
        stack, prepared, {}, seed=0, device="cuda", n_runs=4, n_temperatures=N_TEMPERATURES
    )
    assert np.isfinite([found["test_log_likelihood"], found["reverse_test_log_likelihood"]]).all()
    stack.cpu()
    assert examine(stack, prepared, trained_on=True, history=history).to_dict() == health.to_dict()
    assert evaluate(stack, prepared.raw_test_rows(), None)["test_error"] == error["test_error"]


TRIALS = [
    {"kind": None, "hidden_layer_sizes": (7, 5), "layer": rbm_layers(1), "labels": 12, "gradients": True},
    {"kind": "relu-dropout", "hidden_layer_sizes": (7, 5), "dropout_draws": 3, "gradients": True},
    {"kind": "relu-bn", "hidden_layer_sizes": (7, 5), "layer": rbm_layers(1)},
    {"kind": None, "hidden_layer_sizes": (), "image": {"depth": 8, "width": 2}, "gradients": True},
]


@pytest.mark.parametrize("trial", TRIALS, ids=["unrolled", "drawn by dropout", "pretrained", "images"])
def test_a_trial_of_a_study(trial, prepared):
    bench = TrialBench(prepared, 30, torch.device("cuda"), TrainingProgress())
    record = bench.run(Trial("one", finetune=plan(2, 0.01), **trial), 0)
    assert not record["diverged"]
    json.dumps(record, allow_nan=False)


@pytest.mark.parametrize("arm", ["dbn-dropout", "greedy-supervised", "resnet-20"])
def test_a_comparison_with_its_searches_and_diagnostics(arm, cli):
    np.savez("data.npz", X=X, y=Y)
    small = ("--labels", "12", "--seeds", "1", "--layers", "7,5", "--epochs", "2", "--tune", "2")
    epochs = () if arm == "resnet-20" else ("--pretrain-epochs", "1")
    result = cli("compare", "data.npz", "--arms", arm, *small, *epochs, "--device", "cuda", "-o", "run")
    assert result.exit_code == 0, result.output
    (record,) = json.loads(Path("run/records.json").read_text())["records"]
    assert record["diagnostics"]
    assert torch.device(record["device"]).type == "cuda"
