"""What scikit-learn's battery does not ask of the estimators (see also test_estimator_parameters.py)."""

import copy
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from global_state import global_state
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

import pretrain.estimators
from pretrain import (
    DBNClassifier,
    Finetuning,
    GreedyPretraining,
    RBMTransformer,
    SDAEClassifier,
    unroll,
)
from pretrain.exceptions import DataError, DataRangeWarning, SettingsError
from pretrain.random_streams import RandomStreams
from pretrain.settings import FinetuneSettings, RBMSettings, TrainingSettings

N_ROWS, N_FEATURES = 61, 7
NAMES = pretrain.estimators.__all__
CLASSIFIERS = ["DBNClassifier", "SDAEClassifier", "ScratchClassifier"]
REGRESSORS = ["DBNRegressor", "SDAERegressor", "ScratchRegressor"]
PRETRAINED = ["DBNClassifier", "DBNRegressor", "SDAEClassifier", "SDAERegressor"]
every_estimator = pytest.mark.parametrize("name", NAMES)
every_classifier = pytest.mark.parametrize("name", CLASSIFIERS)
every_regressor = pytest.mark.parametrize("name", REGRESSORS)
every_supervised = pytest.mark.parametrize("name", CLASSIFIERS + REGRESSORS)
every_pretrained = pytest.mark.parametrize("name", PRETRAINED)


def make(name, **changes):
    """A small estimator of two layers, 5 and 3 units, that trains for an instant."""
    small = {
        "hidden_layer_sizes": (5, 3),
        "n_components": 3,
        "pretrain_epochs": 2,
        "n_iter": 2,
        "max_iter": 3,
        "batch_size": 13,
        "pretrain_batch_size": 17,
        "random_state": 0,
    }
    cls = getattr(pretrain.estimators, name)
    return cls(**{k: v for k, v in small.items() if k in cls().get_params()} | changes)


def rows(seed=0, n=N_ROWS):
    return np.random.default_rng(seed).uniform(0.1, 0.9, size=(n, N_FEATURES))


def targets(name, X):
    if name.endswith("Regressor"):
        return X[:, 0] - 2 * X[:, 1]
    return (X[:, 0] > X[:, 1]).astype(int) + (X[:, 2] > 0.5)


def fitted(name, X=None, **changes):
    X = rows() if X is None else X
    return make(name, **changes).fit(X, targets(name, X))


def model_of(estimator):
    return estimator.fitted_state()["model"]


def same_weights(first, second):
    first, second = model_of(first).state_dict(), model_of(second).state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def answers(estimator, X):
    """All that an estimator says of rows, by method."""
    methods = ("predict", "predict_proba", "predict_log_proba", "transform")
    return {method: getattr(estimator, method)(X) for method in methods if hasattr(estimator, method)}


class TestUnlabelledRows:
    def test_they_are_used_in_pretraining_and_not_in_finetuning(self):
        X = rows()
        y = np.where(np.arange(N_ROWS) % 3 == 0, targets("DBNClassifier", X), -1)
        found = make("DBNClassifier", random_state=3).fit(X, y)
        X32, labelled = X.astype(np.float32), y != -1
        layer = RBMSettings(
            training=TrainingSettings(epochs=2, batch_size=17, initial_momentum=0.5, weight_decay=2e-4)
        )
        run = GreedyPretraining(X32, (5, 3), layer, seed=3)
        pretraining = list(run)
        generator = RandomStreams(3).generator("head")
        network = unroll(run.stack, "classifier", n_outputs=3, generator=generator)
        default = FinetuneSettings().training
        settings = FinetuneSettings(
            training=TrainingSettings(
                epochs=3,
                batch_size=13,
                optimizer=default.optimizer,
                learning_rate=default.learning_rate,
                schedule=default.schedule,
            )
        )
        finetuning = list(Finetuning(network, X32[labelled], y[labelled], settings, seed=3))
        assert [r["loss"] for r in found.report_] == [r["loss"] for r in pretraining + finetuning]
        for key, expected in network.state_dict().items():
            assert torch.equal(found.network_.state_dict()[key], expected), key
        assert found.classes_.tolist() == [0, 1, 2]

    def test_without_pretraining_they_are_not_used(self):
        X = rows()
        y = targets("ScratchClassifier", X)
        y[::2] = -1
        with_them = make("ScratchClassifier").fit(X, y)
        without = make("ScratchClassifier").fit(X[1::2], y[1::2])
        assert same_weights(with_them, without)

    @every_classifier
    def test_minus_one_and_one_are_two_classes(self, name):
        X = rows()
        y = np.where(X[:, 0] > 0.5, 1, -1)
        found = make(name).fit(X, y)
        assert found.classes_.tolist() == [-1, 1]
        assert found.predict_proba(X).shape == (N_ROWS, 2)
        relabelled = make(name).fit(X, np.where(y == 1, "up", "down"))
        assert same_weights(found, relabelled)  # every row has been fine-tuned on

    @every_classifier
    def test_no_labels_at_all(self, name):
        with pytest.raises(DataError, match=r"Every row is unlabelled \(y == -1\); give labels"):
            make(name).fit(rows(), np.full(N_ROWS, -1))

    def test_validation_rows_are_labelled(self):
        X, y = rows(), np.full(N_ROWS, -1)
        y[:20] = np.arange(20) % 2
        found = make("DBNClassifier", early_stopping=True, validation_fraction=0.2).fit(X, y)
        shares = 4 * np.array(found.validation_scores_)
        np.testing.assert_allclose(shares, shares.round(), atol=1e-9)  # four rows are held out, of the twenty


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


class TestTargets:
    @every_regressor
    def test_several_targets_of_any_scale(self, name):
        X = rows(n=500)
        Y = np.column_stack([5000 + 1000 * (X[:, 0] - X[:, 1]), 1e-3 * X[:, 2] ** 2, X[:, 3] + X[:, 4]])
        options = {"hidden_layer_sizes": (41,), "max_iter": 60, "learning_rate_init": 0.02, "pretrain_epochs": 5}
        known = getattr(pretrain.estimators, name)().get_params()
        found = make(name, **{k: v for k, v in options.items() if k in known}).fit(X[:400], Y[:400])
        predicted = found.predict(X[400:])
        assert predicted.shape == (100, 3)
        assert r2_score(Y[400:], predicted, multioutput="raw_values").min() > 0.9
        np.testing.assert_allclose(found.network_.target_scaling.offset, Y[:400].mean(axis=0))
        np.testing.assert_allclose(found.network_.target_scaling.scale, Y[:400].std(axis=0))
        assert make(name).fit(X, Y[:, 0]).predict(X).shape == (500,)
        assert make(name).fit(X, Y[:, :1]).predict(X).shape == (500,)

    @every_regressor
    def test_the_loss_does_not_depend_on_the_units_of_the_targets(self, name):
        X = rows()
        y = targets(name, X)
        here, there = make(name).fit(X, y), make(name).fit(X, 1e6 + 1024 * y)
        assert there.loss_curve_ == pytest.approx(here.loss_curve_, rel=1e-4)
        np.testing.assert_allclose(there.predict(X), 1e6 + 1024 * here.predict(X), rtol=1e-6)

    @every_classifier
    @pytest.mark.parametrize("kind", ["U", "object", "bool", "unsigned"])
    def test_labels_of_any_type(self, name, kind):
        X = rows()
        labels = {
            "U": np.array(["cat", "dog", "ant"]),
            "object": np.array(["cat", "dog", "ant"], dtype=object),
            "bool": np.array([False, True, True]),
            "unsigned": np.array([200, 3, 255], dtype=np.uint8),
        }[kind]
        y = labels[targets(name, X)]
        found = make(name, max_iter=100, learning_rate_init=0.05, hidden_layer_sizes=(23,)).fit(X, y)
        assert found.classes_.tolist() == sorted(set(labels.tolist()))
        predicted = found.predict(X)
        assert predicted.dtype == y.dtype
        assert np.mean(predicted == y) > 0.8
        best = found.classes_[found.predict_proba(X).argmax(axis=1)]
        np.testing.assert_array_equal(predicted, best)

    @every_classifier
    def test_probabilities(self, name):
        found = fitted(name)
        probabilities = found.predict_proba(rows(1))
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)
        np.testing.assert_allclose(found.predict_log_proba(rows(1)), np.log(probabilities), rtol=1e-10)


class TestWarmStart:
    @every_supervised
    def test_it_goes_on_with_the_fitted_network(self, name):
        X = rows()
        y = targets(name, X)
        found = make(name, warm_start=True, random_state=3).fit(X, y)
        before, n_records = copy.deepcopy(found.network_), len(found.report_)
        if name in REGRESSORS:
            y = 2 * y + 1  # goes on in the units that the network has learned
        found.fit(X, y)
        settings = found._finetune_settings()
        wanted = before.target_scaling.apply(y.reshape(-1, 1)) if name in REGRESSORS else y
        list(Finetuning(before, X.astype(np.float32), wanted, settings, seed=3))
        for key, expected in before.state_dict().items():
            assert torch.equal(found.network_.state_dict()[key], expected), key
        assert [r["stage"] for r in found.report_[n_records:]] == [found.stage] * 3  # no second pretraining
        assert len(found.loss_curve_) == 6
        assert found.n_iter_ == 3
        cold = found.set_params(warm_start=False).fit(X, y)
        assert len(cold.loss_curve_) == 3

    @every_classifier
    def test_other_classes_are_refused(self, name):
        X = rows()
        found = make(name, warm_start=True).fit(X, targets(name, X))
        kept = copy.deepcopy(found.network_)
        with pytest.raises(DataError, match=r"continues a network for the classes \[0 1 2\], but y holds \[0 1\]"):
            found.fit(X, (X[:, 0] > 0.5).astype(int))
        assert all(torch.equal(a, b) for a, b in zip(kept.parameters(), found.network_.parameters(), strict=True))

    @every_regressor
    def test_another_number_of_targets_is_refused(self, name):
        X = rows()
        found = make(name, warm_start=True).fit(X, X[:, :2])
        with pytest.raises(DataError, match="with 2 outputs, but y has 3"):
            found.fit(X, X[:, :3])

    @every_supervised
    def test_another_number_of_features_is_refused(self, name):
        X = rows()
        found = make(name, warm_start=True).fit(X, targets(name, X))
        with pytest.raises(ValueError, match="X has 6 features"):
            found.fit(X[:, :6], targets(name, X))

    @every_supervised
    def test_other_sizes_are_refused(self, name):
        X = rows()
        found = make(name, warm_start=True).fit(X, targets(name, X))
        with pytest.raises(SettingsError, match=r"hidden_layer_sizes \(5, 3\); got \(7, 3\)"):
            found.set_params(hidden_layer_sizes=(7, 3)).fit(X, targets(name, X))


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
        _, held_out, _, wanted = found._hold_out(rows(), wanted, found.seed_)
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


class TestScaling:
    BYTES = (255 * rows()).astype(np.uint8)

    @pytest.mark.parametrize(
        ("name", "X", "options", "expected"),
        [
            ("DBNClassifier", BYTES, {}, "range"),
            ("StackTransformer", BYTES, {}, "range"),
            ("DBNClassifier", rows(), {}, "none"),
            ("DBNClassifier", (rows() > 0.5).astype(np.uint8), {}, "none"),
            ("DBNClassifier", 3 * rows() - 1, {}, "minmax"),
            ("SDAERegressor", 3 * rows() - 1, {}, "minmax"),
            ("ScratchClassifier", 3 * rows() - 1, {}, "minmax"),
            ("RBMTransformer", BYTES.astype(int), {}, "minmax"),
            ("DBNRegressor", rows(), {"visible_units": "gaussian"}, "standard"),
            ("RBMTransformer", BYTES, {"visible_units": "gaussian"}, "standard"),
            ("DeepAutoencoder", BYTES, {}, "range"),
            ("DeepAutoencoder", 3 * rows() - 1, {"kind": "autoencoder"}, "minmax"),
            ("DeepAutoencoder", BYTES, {"visible_units": "gaussian"}, "standard"),
            ("DBNClassifier", 3 * rows(), {"scaling": "minmax"}, "minmax"),
            ("ScratchClassifier", rows(), {"scaling": "standard"}, "standard"),
            ("SDAEClassifier", 3 * rows(), {"scaling": "none"}, "none"),
        ],
    )
    def test_choice(self, name, X, options, expected):
        found = make(name, **options).fit(X, targets(name, rows()))
        scaling = model_of(found).scaling
        assert scaling.kind == expected
        if expected == "range":
            assert (scaling.offset.tolist(), scaling.scale.tolist()) == ([0.0], [255.0])

    @pytest.mark.parametrize(
        "name", ["DBNClassifier", "DeepAutoencoder", "SDAERegressor", "StackTransformer", "ScratchClassifier"]
    )
    def test_bytes_are_divided_by_255_in_training_and_afterwards(self, name):
        y = targets(name, rows())
        pixels, shares = make(name).fit(self.BYTES, y), make(name).fit(self.BYTES / np.float32(255), y)
        assert same_weights(pixels, shares)
        for method, expected in answers(shares, self.BYTES / np.float32(255)).items():
            np.testing.assert_array_equal(getattr(pixels, method)(self.BYTES), expected)

    @pytest.mark.parametrize(
        "name", ["DBNClassifier", "DBNRegressor", "DeepAutoencoder", "RBMTransformer", "StackTransformer"]
    )
    def test_bernoulli_units_on_unscaled_data_warn(self, name):
        X = 3 * rows()
        with pytest.warns(DataRangeWarning, match=r"values from 0 to 1, the data go from .* to .*\. Scale the data"):
            make(name, scaling="none").fit(X, targets(name, X))
        make(name, scaling="auto").fit(X, targets(name, X))  # warnings are errors here

    def test_columns_that_are_constant(self):
        X = 5 * rows()
        X[:, 2], X[:, 3] = 4.0, 0.0
        for name in NAMES:
            found = make(name).fit(X, targets(name, X))
            assert all(np.isfinite(values).all() for values in answers(found, X).values())


class TestInference:
    ESTIMATORS = (*((name, {}) for name in NAMES), ("ScratchClassifier", {"kind": "relu-bn", "max_iter": 20}))

    @pytest.mark.parametrize(("name", "options"), ESTIMATORS)
    @pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 1e-5), (np.float64, 1e-12)])
    def test_a_row_does_not_depend_on_its_batch(self, name, options, dtype, rtol):
        found = fitted(name, **options)
        X = np.tile(rows(1), (68, 1)).astype(dtype)  # 4148 rows: more than are computed at a time
        for method, values in answers(found, X).items():
            for index in (0, 3, 4100):
                alone = getattr(found, method)(X[index : index + 1])
                np.testing.assert_allclose(values[index : index + 1], alone, rtol=rtol, atol=rtol)
            np.testing.assert_array_equal(getattr(found, method)(X), values)  # means, not samples

    @every_estimator
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_the_type_of_the_input_is_that_of_the_output(self, name, dtype):
        found = fitted(name)
        given = answers(found, rows(1).astype(dtype))
        if name in CLASSIFIERS:
            assert given.pop("predict").dtype == int
        assert {values.dtype for values in given.values()} == {np.dtype(dtype)}
        if hasattr(found, "inverse_transform"):
            assert found.inverse_transform(given["transform"]).dtype == dtype

    @pytest.mark.parametrize("name", ["DBNClassifier", "DBNRegressor", "StackTransformer"])
    def test_against_a_formula(self, name):
        X = 4 * rows(1)
        found = fitted(name, X)
        layers = getattr(model_of(found), "layers", None) or [layer.linear for layer in found.network_.hidden]
        code = (X - X.min(axis=0)) / np.ptp(X, axis=0)
        for layer in layers:
            bias = layer.hidden_bias if name == "StackTransformer" else layer.bias
            code = 1 / (1 + np.exp(-code @ layer.weight.numpy(force=True).astype(float).T - bias.numpy(force=True)))
        if name == "StackTransformer":
            np.testing.assert_allclose(found.transform(X), code, rtol=1e-10)
            return
        head = found.network_.head
        output = code @ head.weight.numpy(force=True).astype(float).T + head.bias.numpy(force=True)
        if name == "DBNRegressor":
            y = targets(name, X)
            np.testing.assert_allclose(found.predict(X), y.mean() + y.std() * output[:, 0], rtol=1e-10)
        else:
            np.testing.assert_allclose(
                found.predict_proba(X), np.exp(output) / np.exp(output).sum(axis=1, keepdims=True), rtol=1e-10
            )

    @pytest.mark.parametrize("name", ["RBMTransformer", "StackTransformer"])
    def test_inverse_transform(self, name):
        X = 10 * rows(n=400) - 5
        rbm = {"n_components": 29, "sample_reconstruction": False}  # samples would make a density, not a code
        found = make(name, **(rbm if name == "RBMTransformer" else {"hidden_layer_sizes": (29, 23)}))
        found.set_params(n_iter=40).fit(X)
        H = found.transform(X)
        model = model_of(found)
        scaled = model.decode(torch.from_numpy(H).float()).numpy(force=True)
        expected = X.min(axis=0) + scaled * np.ptp(X, axis=0)
        np.testing.assert_allclose(found.inverse_transform(H), expected, rtol=1e-4, atol=1e-4)
        assert ((found.inverse_transform(H) - X) ** 2).mean() < X.var(axis=0).mean()
        with pytest.raises(DataError, match=r"takes codes of \d+ units; got"):
            found.inverse_transform(X)

    def test_fitted_arrays_of_an_rbm(self):
        found = fitted("RBMTransformer")
        layer = found.stack_.layers[0]
        for name, parameter in (
            ("components_", layer.weight),
            ("intercept_hidden_", layer.hidden_bias),
            ("intercept_visible_", layer.visible_bias),
        ):
            np.testing.assert_array_equal(getattr(found, name), parameter.numpy(force=True))
        assert found.components_.shape == (3, N_FEATURES)


@pytest.mark.slow
@pytest.mark.parametrize("cls", [DBNClassifier, SDAEClassifier])
def test_digits_at_defaults(cls):
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)
    assert cls(random_state=0).fit(X, y).score(X_test, y_test) >= 0.95


def test_lbfgs_with_noise_is_refused():
    with pytest.raises(SettingsError, match="turn corruption, dropout and sampling off"):
        fitted("SDAEClassifier", pretrain_solver="lbfgs")


@pytest.mark.parametrize(("units", "rate"), [("bernoulli", 0.1), ("gaussian", 0.01), ("noisy_relu", 0.01)])
def test_the_learning_rate_of_pretraining_is_what_the_units_bear(units, rate):
    options = {"visible_units": units, "hidden_layer_sizes": (5,)}  # layers above have binary units
    found = fitted("DBNClassifier", **options)
    assert same_weights(found, fitted("DBNClassifier", **options, pretrain_learning_rate=rate))
    assert not same_weights(found, fitted("DBNClassifier", **options, pretrain_learning_rate=0.5 * rate))
