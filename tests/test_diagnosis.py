"""Diagnosis of a pretrained estimator: its figures against scikit-learn and by hand, and its advice."""

import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small_estimators import REGRESSORS, every_pretrained, fitted, make, rows, targets

import checkpoints
from pretrain import health_findings
from pretrain.estimators.advice import LayerState, advise, in_parameters
from pretrain.exceptions import SettingsError

STAGES = ["untrained", "pretrained", "finetuned"]


def diagnosed(name, n=120, **changes):
    X = rows(n=n)
    y = targets(name, X)
    return make(name, **changes).fit(X, y).diagnose(X, y)


@every_pretrained
def test_nothing_trained_is_nothing_changed(name):
    found = diagnosed(name, pretrain_epochs=0, max_iter=0)
    assert list(found.stages) == STAGES
    untrained, pretrained, finetuned = found.stages.values()
    for before, after, last in zip(untrained, pretrained, finetuned, strict=True):
        assert before.weight_change is None
        assert after.weight_change == last.weight_change == 0
        for field in ("layer", "n_units", "dead_units", "saturated_units", "probe_score"):
            assert getattr(before, field) == getattr(after, field) == pytest.approx(getattr(last, field), abs=1e-6)
    assert found.advice[0].startswith("Pretraining did nothing that a linear probe sees")
    assert found.raw_score is not None
    assert found.n_rows == 120


def test_probe_scores_against_scikit_learn():
    X = rows(n=120)
    y = targets("DBNClassifier", X)
    estimator = make("DBNClassifier", hidden_layer_sizes=(31, 17), max_iter=2, random_state=3).fit(X, y)
    found = estimator.diagnose(X, y)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300, tol=1e-3))
    folds = StratifiedKFold(3, shuffle=True, random_state=3)

    def score(code):
        return cross_val_score(model, code.astype(float), y, cv=folds).mean()  # folds of 40 rows each

    code = X.astype(np.float32)
    assert found.raw_score == pytest.approx(score(code))
    for state, layer in zip(found.stages["pretrained"], estimator._stack.layers, strict=True):
        code = layer.encode(torch.from_numpy(code)).numpy(force=True)
        assert state.probe_score == pytest.approx(score(code))
    code = torch.from_numpy(X.astype(np.float32))
    for state, layer in zip(found.stages["finetuned"], estimator.network_.hidden, strict=True):
        before = estimator._stack.layers[state.layer - 1].weight.detach()
        code = layer(code).detach()
        assert state.probe_score == pytest.approx(score(code.numpy()))
        assert state.weight_change == pytest.approx(
            float((layer.linear.weight.detach() - before).norm() / before.norm())
        )


def test_figures_behind_the_advice_are_those_of_the_pretrained_layers(monkeypatch):
    X = rows(n=120)
    y = targets("DBNClassifier", X)
    estimator = make("DBNClassifier", hidden_layer_sizes=(31, 17), max_iter=20, learning_rate_init=0.1).fit(X, y)
    seen = []
    monkeypatch.setattr("pretrain.estimators.diagnosis.advise", lambda _, figures, *rest: seen.extend(figures) or [])
    found = estimator.diagnose(X, y)
    below, score_below = torch.from_numpy(X.astype(np.float32)), found.raw_score
    for figures, layer, state in zip(seen, estimator._stack.layers, found.stages["pretrained"], strict=True):
        assert figures.input_spread == pytest.approx(below.double().numpy().var(axis=0).mean() ** 0.5, rel=1e-5)
        assert figures.probe_error == pytest.approx(100 * (1 - state.probe_score))
        assert figures.probe_gain == pytest.approx(100 * (state.probe_score - score_below), abs=1e-9)
        assert figures.weight_change == pytest.approx(state.weight_change)
        below, score_below = layer.encode(below).detach(), state.probe_score


def test_idle_units_are_counted_and_named():
    X, y = rows(n=120), targets("DBNClassifier", rows(n=120))
    estimator = make("DBNClassifier", hidden_layer_sizes=(20, 3)).fit(X, y)
    with torch.no_grad():
        estimator._stack.layers[0].hidden_bias[:15] = -50.0
        estimator.network_.hidden[0].linear.bias[:10] = 50.0
    found = estimator.diagnose(X, y)
    assert [state.dead_units for state in (found.stages[s][0] for s in STAGES)] == [0, 0.75, 0]
    assert [state.saturated_units for state in (found.stages[s][0] for s in STAGES)] == [0, 0, 0.5]
    (said,) = [sentence for sentence in found.advice if "dead" in sentence]
    assert said.startswith("Layer 1: 75 % of its 20 units are dead (off on every row). Lower pretrain_learning_rate")


def test_what_was_hardly_trained_is_named_with_the_parameter():
    found = diagnosed("DBNClassifier", pretrain_learning_rate=1e-7)
    assert any(
        re.match(r"Layer 1: its weights moved by only .* Raise pretrain_learning_rate \(it was 1e-07\)", sentence)
        for sentence in found.advice
    )


def test_pretraining_that_was_overwritten_is_named():
    found = diagnosed("SDAEClassifier", learning_rate_init=1.0, max_iter=20)
    assert any(sentence.startswith("Fine-tuning moved the weights of layer 1 by") for sentence in found.advice)
    assert not any("Fine-tuning moved" in sentence for sentence in diagnosed("SDAEClassifier").advice)


def sentences(before, after, wrong):
    """What is said of a top layer that a probe reads so before and after pretraining."""
    stages = {
        stage: [LayerState(1, 3, 0.0, 0.0, score)] for stage, score in zip(STAGES, (before, after, 1), strict=True)
    }
    return advise(make("DBNClassifier"), [], stages, wrong)


@pytest.mark.parametrize(("n_mended", "word"), [(40, "better"), (-40, "worse"), (2, "nothing")])
def test_the_effect_of_pretraining_on_classes(n_mended, word):
    before, after = np.zeros(400, dtype=bool), np.zeros(400, dtype=bool)
    before[:100], after[: 100 - n_mended] = True, True
    before[100:103], after[103:106] = True, True  # rows that are wrong by chance, here or there
    flags = {"untrained": [before], "pretrained": [after]}
    (said,) = sentences(1 - before.mean(), 1 - after.mean(), flags)
    assert word in said.split("(")[0]
    assert f"scores {1 - after.mean():.3f}, and {1 - before.mean():.3f} with its initial weights" in said


@pytest.mark.parametrize(
    ("before", "after", "word"), [(0.3, 0.4, "better"), (0.4, 0.3, "worse"), (0.3, 0.31, "nothing")]
)
def test_the_effect_of_pretraining_on_targets(before, after, word):
    (said,) = sentences(before, after, {})
    assert word in said.split("(")[0]
    assert sentences(None, None, {}) == []


@every_pretrained
def test_rows_without_labels_and_other_forms(name):
    X = rows(n=120)
    y = targets(name, X)
    estimator = make(name).fit(X, y)
    whole = estimator.diagnose(X, y)
    assert estimator.diagnose(sparse.csr_matrix(X), y).to_dict() == whole.to_dict()
    assert pickle.loads(pickle.dumps(estimator)).diagnose(X, y).to_dict() == whole.to_dict()
    assert json.loads(json.dumps(whole.to_dict())) == whole.to_dict()
    without = estimator.diagnose(X)
    assert without.notes == ["No linear probe: it takes 50 rows with y."]
    assert without.raw_score is None
    if name not in REGRESSORS:
        marked = np.where(np.arange(120) < 80, y, -1)
        assert estimator.diagnose(X, marked).to_dict() == estimator.diagnose(X[:80], y[:80]).to_dict()
        assert estimator.diagnose(X, np.full(120, -1)).to_dict() == without.to_dict()
        several = np.column_stack([y > 0, y > 1]).astype(int)
        assert make(name).fit(X, several).diagnose(X, several).notes == [
            "No linear probe: it is for one label a row."
        ]
    shown = str(whole)
    for words in ("120 rows", "untrained", "finetuned", "probe", *whole.advice):
        assert words in shown


def test_it_draws_no_more_rows_than_it_needs():
    X = rows(n=2100)
    found = make("DBNRegressor", hidden_layer_sizes=(3,), pretrain_epochs=1, max_iter=1).fit(X, X[:, 0])
    assert found.diagnose(X, X[:, 0]).n_rows == 2000
    assert found.diagnose(X, X[:, 0]).to_dict() == found.diagnose(X, X[:, 0]).to_dict()


def test_a_network_of_another_kind():
    found = diagnosed("DBNClassifier", kind="relu-bn")
    assert [state.weight_change for state in found.stages["finetuned"]] == [None, None]


def test_after_a_checkpoint_there_is_nothing_to_diagnose(tmp_path):
    found = fitted("SDAERegressor")
    checkpoints.save(found, tmp_path / "m.h5")
    with pytest.raises(SettingsError, match="came from a checkpoint, which holds the fine-tuned network"):
        checkpoints.load(tmp_path / "m.h5").diagnose(rows())


@pytest.mark.parametrize("name", ["DBNClassifier", "SDAERegressor"])
def test_no_option_of_the_command_line_is_left(name):
    source = Path(health_findings.__file__).read_text(encoding="utf-8")
    options = set(re.findall(r"--[a-z][a-z-]*", source))
    assert len(options) > 8
    parameters = make(name).get_params()
    for option in options:
        said = in_parameters(f"Lower {option}, please", make(name))
        (word,) = re.match(r"Lower ([a-z_]+)", said).groups()
        assert "--" not in said
        assert word in parameters or "(of the layer's settings" in said
        assert word != "max_norm" or "of the layer's" in said  # the estimator's is of fine-tuning
