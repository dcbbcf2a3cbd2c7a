"""What scikit-learn's battery does not ask of every estimator: side effects, seeds, searches, records."""

import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from global_state import global_state
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from small_estimators import (
    CLASSIFIERS,
    N_ROWS,
    REGRESSORS,
    answers,
    every_estimator,
    every_pretrained,
    every_supervised,
    fitted,
    make,
    rows,
    same_weights,
    targets,
)

from pretrain import (
    GreedyPretraining,
    RBMTransformer,
)


class TestSideEffects:
    @every_estimator
    @pytest.mark.parametrize("kind", ["float32", "float64 by columns", "bytes", "strided", "read-only"])
    def test_the_data_are_unchanged(self, name, kind):
        X = {
            "float32": rows().astype(np.float32),
            "float64 by columns": np.asfortranarray(rows()),
            "bytes": (255 * rows()).astype(np.uint8),
            "strided": np.repeat(rows(), 2, axis=1)[::-1, ::2],
            "read-only": rows().astype(np.float32),
        }[kind]
        y = targets(name, rows()).copy()
        X.flags.writeable = y.flags.writeable = kind != "read-only"
        kept = X.tobytes(), X.dtype, X.strides, y.tobytes(), y.dtype
        found = make(name, **({"scaling": "standard"} if name.startswith("SDAE") else {})).fit(X, y)
        answers(found, X)
        assert (X.tobytes(), X.dtype, X.strides, y.tobytes(), y.dtype) == kept

    @every_estimator
    def test_fit_touches_nothing_global(self, name, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        threads = torch.get_num_threads()
        torch.set_num_threads(2)
        try:
            before = global_state()
            answers(fitted(name, random_state=None), rows())
            assert global_state() == before
        finally:
            torch.set_num_threads(threads)

    def test_import_touches_nothing_global(self, tmp_path):
        code = (
            "import h5py, numpy, scipy.sparse, torch, sklearn.model_selection, sklearn.utils.multiclass\n"
            "from global_state import global_state\n"
            "before = global_state()\n"
            "import pretrain, checkpoints\n"
            "assert global_state() == before\n"
        )
        path = os.pathsep.join([os.path.dirname(__file__), *sys.path])  # the same pretrain as here
        environment = {**os.environ, "PYTHONPATH": path}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert os.listdir(tmp_path) == []


class TestRandomState:
    @every_estimator
    def test_a_seed_decides_everything(self, name):
        assert same_weights(fitted(name, random_state=3), fitted(name, random_state=3))
        assert not same_weights(fitted(name, random_state=3), fitted(name, random_state=4))
        assert fitted(name, random_state=3).seed_ == 3

    @every_estimator
    def test_every_kind(self, name):
        assert same_weights(fitted(name, random_state=np.int64(3)), fitted(name, random_state=3))
        for kind in (np.random.RandomState, np.random.default_rng):
            assert same_weights(fitted(name, random_state=kind(5)), fitted(name, random_state=kind(5)))
            used_twice = kind(5)
            first, second = fitted(name, random_state=used_twice), fitted(name, random_state=used_twice)
            assert not same_weights(first, second)
        first, second = fitted(name, random_state=None), fitted(name, random_state=None)
        assert not same_weights(first, second)
        assert same_weights(first, fitted(name, random_state=first.seed_))  # a run by chance can be had again


class TestScikitLearn:
    @every_estimator
    def test_pickle(self, name):
        found = fitted(name)
        copied = pickle.loads(pickle.dumps(found))
        assert same_weights(found, copied)
        for method, expected in answers(found, rows(1)).items():
            np.testing.assert_array_equal(getattr(copied, method)(rows(1)), expected)

    @pytest.mark.parametrize(
        ("name", "parameter", "worse", "better"),
        [
            ("DBNClassifier", "learning_rate_init", 1e-6, 0.03),
            ("SDAERegressor", "learning_rate_init", 1e-6, 0.03),
            ("ScratchClassifier", "max_iter", 0, 60),
            ("ScratchRegressor", "max_iter", 0, 60),
        ],
    )
    def test_a_grid_search_prefers_the_better(self, name, parameter, worse, better):
        X = rows(n=120)
        estimator = make(name, hidden_layer_sizes=(23, 11), max_iter=40, learning_rate_init=0.01)
        search = GridSearchCV(estimator, {parameter: [worse, better]}, cv=2).fit(X, targets(name, X))
        low, high = search.cv_results_["mean_test_score"]
        assert high > low
        assert search.best_params_ == {parameter: better}
        assert search.best_estimator_.get_params()[parameter] == better

    @pytest.mark.parametrize(
        ("name", "grid"),
        [
            ("DBNClassifier", {"pretrain_learning_rate": [1e-6, 0.1]}),
            ("SDAEClassifier", {"hidden_layer_sizes": [(5, 3), (3, 5)]}),
            ("SDAEClassifier", {"corruption_level": [0.0, 0.9]}),
            ("ScratchClassifier", {"kind": ["relu", "sigmoid"]}),
        ],
    )
    def test_a_grid_search_changes_the_network(self, name, grid):
        X = rows()
        search = GridSearchCV(make(name), grid, cv=2, scoring="neg_log_loss").fit(X, targets(name, X))
        first, second = search.cv_results_["mean_test_score"]
        assert first != second
        ((parameter, value),) = search.best_params_.items()
        assert same_weights(search.best_estimator_, fitted(name, **{parameter: value}))

    def test_pipelines(self):
        X = 100 * rows(n=200) - 50
        y = targets("DBNClassifier", rows(n=200))
        features = make_pipeline(
            MinMaxScaler(), RBMTransformer(n_components=23, n_iter=5, random_state=0), LogisticRegression(C=100)
        ).fit(X, y)
        assert features[:2].transform(X).shape == (200, 23)
        assert features.score(X, y) > np.bincount(y).max() / 200 + 0.1
        stacked = make_pipeline(make("StackTransformer"), make("ScratchClassifier")).fit(X, y)
        assert stacked.predict(X).shape == (200,)
        assert list(stacked[:1].get_feature_names_out()) == [f"stacktransformer{k}" for k in range(3)]
        stacked.set_params(stacktransformer__hidden_layer_sizes=(7, 5)).fit(X, y)
        assert stacked[-1].n_features_in_ == 5

    @every_supervised
    def test_the_better_model_has_the_higher_score(self, name):
        X = rows(n=150)
        y = targets(name, X)
        options = {"hidden_layer_sizes": (31,), "learning_rate_init": 0.03}
        untrained, trained = (make(name, max_iter=n, **options).fit(X, y) for n in (0, 40))
        assert trained.score(X, y) > untrained.score(X, y) + 0.1
        metric = r2_score if name in REGRESSORS else accuracy_score
        assert trained.score(X, y) == pytest.approx(metric(y, trained.predict(X)))


class TestReport:
    @every_pretrained
    def test_every_epoch_is_recorded(self, name):
        found = fitted(name, head_epochs=2)
        told = [(r["stage"], r["layer"], r["epoch"]) for r in found.report_]
        layers = [("pretrain", layer, epoch) for layer in (0, 1) for epoch in (1, 2)]
        network = [("head", None, 1), ("head", None, 2), *(("finetune", None, epoch) for epoch in (1, 2, 3))]
        assert told == layers + network
        assert found.n_iter_ == 3
        assert found.loss_curve_ == [r["loss"] for r in found.report_[-3:]]
        assert json.loads(json.dumps(found.report_)) == found.report_

    @pytest.mark.parametrize("name", ["ScratchClassifier", "ScratchRegressor"])
    def test_training_from_scratch_is_recorded(self, name):
        found = fitted(name)
        assert [(r["stage"], r["epoch"]) for r in found.report_] == [("train", 1), ("train", 2), ("train", 3)]
        assert (found.n_iter_, len(found.loss_curve_)) == (3, 3)

    @pytest.mark.parametrize("name", ["RBMTransformer", "StackTransformer"])
    def test_transformers_record_their_layers(self, name):
        found = fitted(name)
        layers = range(1 if name == "RBMTransformer" else 2)
        assert [(r["layer"], r["epoch"]) for r in found.report_] == [(k, e) for k in layers for e in (1, 2)]
        assert found.n_iter_ == 2

    @every_estimator
    def test_verbose_prints_one_line_an_epoch(self, name, capsys):
        found = fitted(name, verbose=True)
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == len(found.report_)
        for line, record in zip(lines, found.report_, strict=True):
            assert line.startswith(f"[{name}] ")
            assert f"epoch {record['epoch']}/{record['n_epochs']}: loss {record['loss']:.4g}, " in line
        fitted(name)
        assert capsys.readouterr() == ("", "")

    @every_supervised
    def test_early_stopping(self, name):
        assert fitted(name).validation_scores_ is None
        options = {"early_stopping": True, "tol": 1e6, "n_iter_no_change": 4, "max_iter": 50}
        found = fitted(name, validation_fraction=0.2, **options)
        assert found.n_iter_ == len(found.validation_scores_) == len(found.loss_curve_) == 5
        best = found.validation_scores_[0]  # none improves by so much: the weights of the first epoch are kept
        y = targets(name, rows())
        wanted = y if name in CLASSIFIERS else found.network_.target_scaling.apply(y.reshape(-1, 1))
        _, chosen = found._hold_out(np.arange(len(y)), wanted)
        held_out, wanted = rows()[chosen], wanted[chosen]
        assert len(held_out) == 13  # a fifth of 61, rounded up
        if name in CLASSIFIERS:
            assert best == pytest.approx(np.mean(found.predict(held_out) == wanted))
        else:
            outputs = found.network_.target_scaling.apply(found.predict(held_out).reshape(-1, 1), np.float64)
            assert best == pytest.approx(-np.mean((outputs - wanted) ** 2), rel=1e-5)

    @every_estimator
    def test_state_round_trip(self, name):
        with pytest.raises(NotFittedError):
            make(name).fitted_state()
        found = fitted(name)
        again = type(found).from_fitted_state(found.get_params(), found.fitted_state())
        assert again.get_params() == found.get_params()
        fitted_names = {n for n in vars(found) if n.endswith("_")}
        assert {n for n in vars(again) if n.endswith("_")} == fitted_names
        assert {n: getattr(again, n) for n in ("n_iter_", "seed_", "n_features_in_", "report_")} == {
            n: getattr(found, n) for n in ("n_iter_", "seed_", "n_features_in_", "report_")
        }
        for method, expected in answers(found, rows(1)).items():
            np.testing.assert_array_equal(getattr(again, method)(rows(1)), expected)


@pytest.mark.parametrize("name", ["RBMTransformer", "StackTransformer"])
def test_transformers_are_trained_by_the_weights_of_the_rows(name):
    X = rows().astype(np.float32)
    weight = np.random.default_rng(3).uniform(0, 2, size=N_ROWS)
    found, plain = make(name).fit(X, sample_weight=weight), make(name).fit(X)
    run = GreedyPretraining(X, found._sizes(), found._layer_settings(), seed=0, sample_weight=weight)
    assert [record["loss"] for record in found.report_] == [record["loss"] for record in run]
    assert not same_weights(found, plain)
