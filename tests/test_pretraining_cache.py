"""memory=: pretraining is done once for the same rows and settings, and the result is that of doing it again."""

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from small_estimators import PRETRAINED, answers, every_pretrained, make, rows, same_weights, targets

from pretrain.estimators.pretraining_cache import Pretraining, pretrained
from pretrain.exceptions import SettingsError
from pretrain.scaling import Scaling
from pretrain.settings import SupervisedSettings, TrainingSettings

WITH_MEMORY = [*PRETRAINED, "DeepAutoencoder"]
GRID = {"max_iter": [1, 2, 3], "learning_rate_init": [1e-3, 1e-2], "alpha": [0.0, 1e-3]}
FIRST_EPOCH = "pretrain layer 1 epoch 1/"


def trainings(capsys):
    """How often pretraining has begun since the last call: it prints its epochs."""
    return capsys.readouterr().out.count(FIRST_EPOCH)


@every_pretrained
def test_a_search_over_finetuning_pretrains_once_a_fold(name, tmp_path, capsys):
    X, y = rows(), targets(name, rows())
    estimator = make(name, verbose=True, pretrain_epochs=1)
    plain = GridSearchCV(estimator, GRID, cv=3, refit=False).fit(X, y)
    assert trainings(capsys) == 36
    kept = GridSearchCV(clone(estimator).set_params(memory=str(tmp_path)), GRID, cv=3, refit=False).fit(X, y)
    assert trainings(capsys) == 3
    for key in ("mean_test_score", "split0_test_score"):
        np.testing.assert_array_equal(kept.cv_results_[key], plain.cv_results_[key])


@pytest.mark.slow
def test_parallel_workers_share_a_memory(tmp_path):
    X, y = rows(), targets("DBNClassifier", rows())
    estimator = make("DBNClassifier", pretrain_epochs=1)
    grid = {"max_iter": [1, 2], "alpha": [0.0, 1e-3]}
    plain = GridSearchCV(estimator, grid, cv=2, refit=False).fit(X, y)
    for _ in range(2):
        kept = GridSearchCV(estimator.set_params(memory=str(tmp_path)), grid, cv=2, refit=False, n_jobs=2).fit(X, y)
        np.testing.assert_array_equal(kept.cv_results_["mean_test_score"], plain.cv_results_["mean_test_score"])


@pytest.mark.parametrize("name", WITH_MEMORY)
def test_what_is_found_is_what_would_have_been_trained(name, tmp_path, capsys):
    X, y = rows(), targets(name, rows())
    plain = make(name).fit(X, y)
    for memory in (str(tmp_path), joblib.Memory(str(tmp_path), verbose=0)):
        found = make(name, memory=memory, verbose=True).fit(X, y)
        assert trainings(capsys) == (1 if isinstance(memory, str) else 0)
        assert same_weights(found, plain)
        for method, expected in answers(plain, rows(1)).items():
            np.testing.assert_array_equal(getattr(found, method)(rows(1)), expected)
        told = [{**record, "seconds": 0.0} for record in found.report_]
        assert told == [{**record, "seconds": 0.0} for record in plain.report_]
        found.fit(X, y)  # what was found is not what was kept: fine-tuning has not changed that
        assert same_weights(found, plain)
        trainings(capsys)


@pytest.mark.parametrize(
    "change",
    [
        {"pretrain_epochs": 1},
        {"pretrain_learning_rate": 0.02},
        {"hidden_layer_sizes": (3, 5)},
        {"random_state": 1},
        {"scaling": "minmax"},
        {"n_gibbs_steps": 2},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_pretraining_depends_on(change, tmp_path, capsys):
    X, y = rows(), targets("DBNClassifier", rows())
    make("DBNClassifier", memory=str(tmp_path), verbose=True).fit(X, y)
    found = make("DBNClassifier", memory=str(tmp_path), verbose=True, **change).fit(X, y)
    assert trainings(capsys) == 2
    assert same_weights(found, make("DBNClassifier", **change).fit(X, y))


def test_other_rows_and_weights_are_trained_on(tmp_path, capsys):
    X, y = rows(), targets("DBNClassifier", rows())
    found = make("DBNClassifier", memory=str(tmp_path), verbose=True)
    for data in (X, X[:-1], rows(1)):
        found.fit(data, y[: len(data)])
    found.fit(X, y, sample_weight=np.arange(len(X)) + 1.0)
    assert trainings(capsys) == 4
    found.fit(X, 2 - y)  # labels have no part in it
    assert trainings(capsys) == 0


def test_rows_that_scale_to_the_same_keep_their_own_scaling(tmp_path):
    X, y = rows(), targets("DBNClassifier", rows())
    for factor in (1, 4):  # powers of two leave no remainder
        kept = make("DBNClassifier", memory=str(tmp_path), scaling="minmax").fit(factor * X, y)
        plain = make("DBNClassifier", scaling="minmax").fit(factor * X, y)
        np.testing.assert_array_equal(kept.predict_proba(factor * X), plain.predict_proba(factor * X))


def test_labels_have_a_part_in_layers_that_are_pretrained_with_them(tmp_path):
    X = rows().astype(np.float32)
    settings = SupervisedSettings(training=TrainingSettings(epochs=2, learning_rate=0.1))
    for y in (np.arange(len(X)) % 2, np.arange(len(X)) % 3):
        pretraining = Pretraining(X, (5, 3), settings, 0, Scaling.none(), "cpu", y)
        kept, plain = (pretrained(pretraining, memory=memory, note=print)[0] for memory in (str(tmp_path), None))
        assert all(map(torch.equal, kept.parameters(), plain.parameters()))


def test_what_finetuning_refuses_is_refused_before_anything_is_kept(tmp_path):
    with pytest.raises(SettingsError, match="lbfgs"):
        make("DBNClassifier", memory=str(tmp_path), solver="lbfgs", dropout=0.5).fit(
            rows(), targets("DBNClassifier", rows())
        )
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=r"joblib\.Memory"):
        make("DBNClassifier", memory=3).fit(rows(), targets("DBNClassifier", rows()))
