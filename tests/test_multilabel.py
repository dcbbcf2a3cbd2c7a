"""Rows that may have any number of labels: sigmoid outputs, against formulas and scikit-learn."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from sklearn.datasets import make_multilabel_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.multioutput import MultiOutputClassifier
from small_estimators import CLASSIFIERS, N_ROWS, every_classifier, make, rows, same_weights

import checkpoints
from pipelines.cli import main
from pretrain.architecture import Architecture
from pretrain.backprop import network_loss
from pretrain.baselines import scratch_network
from pretrain.batches import Batch
from pretrain.exceptions import DataError, SettingsError
from pretrain.finetuning import Finetuning
from pretrain.network import Network
from pretrain.settings import FinetuneSettings, TrainingSettings


def labels(X):
    return np.column_stack([X[:, 0] > X[:, 1], X[:, 2] > 0.5, X[:, 3] + X[:, 4] > 1]).astype(int)


def test_the_loss_is_the_sum_of_the_cross_entropies():
    rng = np.random.default_rng(0)
    spec = Architecture(5, 3, (), (), output_activation="sigmoid", task="multilabel")
    outputs, y = rng.normal(size=(7, 3)), rng.integers(0, 2, size=(7, 3))
    p = 1 / (1 + np.exp(-outputs))
    of_rows = -np.sum(y * np.log(p) + (1 - y) * np.log(1 - p), axis=1)
    batch = Batch(torch.empty(0), torch.from_numpy(y).float())
    assert float(network_loss(Network(spec), torch.from_numpy(outputs), batch)) == pytest.approx(of_rows.mean(), 1e-5)
    weight = rng.random(7)
    batch = batch._replace(weight=torch.from_numpy(weight).float())
    weighted = float(network_loss(Network(spec), torch.from_numpy(outputs), batch))
    assert weighted == pytest.approx((weight * of_rows).mean(), 1e-5)


@every_classifier
def test_without_hidden_layers_it_is_a_logistic_regression_for_each_label(name):
    if name != "ScratchClassifier":
        pytest.skip("pretraining needs a layer")
    X = rows(n=300)
    y = labels(X)
    found = make(
        name,
        hidden_layer_sizes=(),
        solver="lbfgs",
        batch_size=300,
        max_iter=40,
        learning_rate_init=1.0,
        schedule="constant",
        alpha=0.01,
    ).fit(X, y)
    # Its objective is the mean loss and alpha / 2 w^2; scikit-learn's the sum and w^2 / (2 C).
    wanted = MultiOutputClassifier(LogisticRegression(C=1 / (300 * 0.01), tol=1e-8, max_iter=1000)).fit(X, y)
    expected = np.column_stack([p[:, 1] for p in wanted.predict_proba(X)])
    np.testing.assert_allclose(found.predict_proba(X), expected, atol=2e-3)


@every_classifier
def test_what_it_says(name):
    X = rows()
    found = make(name).fit(X, labels(X))
    assert found.classes_.tolist() == [0, 1, 2]
    log_odds = found.decision_function(X)
    assert log_odds.shape == (N_ROWS, 3)
    probabilities = found.predict_proba(X)
    np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-log_odds)), rtol=1e-10)
    np.testing.assert_allclose(found.predict_log_proba(X), np.log(probabilities), rtol=1e-10)
    np.testing.assert_array_equal(found.predict(X), (probabilities > 0.5).astype(int))
    assert found.score(X, labels(X)) == accuracy_score(labels(X), found.predict(X))
    two = make(name).fit(X, labels(X)[:, :2])  # two labels are not two classes
    assert two.decision_function(X).shape == (N_ROWS, 2)


@every_classifier
def test_it_learns(name):
    X, y = make_multilabel_classification(300, 12, n_classes=4, random_state=0)
    options = {"hidden_layer_sizes": (31,), "max_iter": 60, "learning_rate_init": 0.01}
    found = make(name, **options).fit(X[:200], y[:200])
    right = (found.predict(X[200:]) == y[200:]).mean()
    assert right > np.maximum(y.mean(axis=0), 1 - y.mean(axis=0)).mean() + 0.05


def test_the_validation_error_counts_rows_with_any_label_wrong(seed):
    X = rows(seed).astype(np.float32)
    Y = (X[:, :3] > 0.5).astype(np.float32)
    network = scratch_network("relu", 7, (5,), 3, task="multilabel", generator=torch.Generator().manual_seed(seed))
    settings = FinetuneSettings(training=TrainingSettings(epochs=20, batch_size=13, learning_rate=0.01))
    *_, record = Finetuning(network, X, Y, settings, seed=seed, device="cpu", validation=(X, Y))
    wrong = (network.predict_proba(X) > 0.5) != (Y == 1)
    assert wrong.all(axis=1).mean() < wrong.any(axis=1).mean() < 1
    assert record["validation_error"] == pytest.approx(100 * wrong.any(axis=1).mean())


@every_classifier
def test_rows_without_labels_and_weights(name):
    X, weight = rows(), np.random.default_rng(2).integers(0, 3, size=N_ROWS)
    y, marked = labels(X), labels(X)
    marked[::3] = -1
    found = make(name, early_stopping=True, max_iter=2).fit(X, marked, sample_weight=weight)
    hidden = y.copy()
    hidden[::3] = -1
    assert same_weights(found, make(name, early_stopping=True, max_iter=2).fit(X, hidden.tolist(), weight))
    assert not same_weights(found, make(name, early_stopping=True, max_iter=2).fit(X, y, weight))
    assert all(0 <= score <= 1 for score in found.validation_scores_)
    with pytest.raises(DataError, match="Every row is unlabelled"):
        make(name).fit(X, np.full((N_ROWS, 3), -1))
    marked[1] = [0, 1, -1]
    with pytest.raises(DataError, match=r"-1 throughout a row without; got \[-1  0  1\]"):
        make(name).fit(X, marked)
    with pytest.raises(DataError, match=r"any number a row, as 0 and 1"):
        make(name).fit(X, 2 * y)


@every_classifier
def test_pieces_and_going_on(name):
    X = rows()
    found = make(name).partial_fit(X, labels(X)).partial_fit(X, labels(X))
    assert same_weights(found, make(name, schedule="constant", max_iter=2).fit(X, labels(X)))
    with pytest.raises(DataError, match="y has 2 columns of labels, but the fitted network"):
        found.partial_fit(X, labels(X)[:, :2])
    warm = make(name, warm_start=True).fit(X, labels(X))
    with pytest.raises(DataError, match="takes several labels a row, but y has one"):
        warm.fit(X, labels(X)[:, 0])
    assert warm.fit(X, labels(X)).n_iter_ == 3


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_it_is_saved(name, tmp_path):
    X = rows()
    found = make(name).fit(X, labels(X))
    path = tmp_path / "m.h5"
    checkpoints.save(found, path)
    loaded = checkpoints.load(path)
    np.testing.assert_array_equal(loaded.predict_proba(X), found.predict_proba(X))
    module = checkpoints.to_torch(loaded)
    np.testing.assert_allclose(module(torch.from_numpy(X).float()).detach(), found.predict_proba(X), atol=1e-6)
    np.savez(tmp_path / "data.npz", X=X, y=labels(X)[:, 0])
    result = CliRunner().invoke(main, ["evaluate", str(path), str(tmp_path / "data.npz"), "--rows", "all"])
    assert result.exit_code == 2, result.output
    assert "predicts several labels a row" in result.output


def test_a_regressor_has_no_probabilities():
    found = make("ScratchRegressor").fit(rows(), rows()[:, 0])
    with pytest.raises(SettingsError, match="needs a network for classification or multilabel"):
        found.network_.predict_proba(rows())
