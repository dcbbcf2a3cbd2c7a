"""What classifiers and regressors make of labels and targets, and of a second fit."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, KFold, train_test_split
from small_estimators import (
    N_ROWS,
    REGRESSORS,
    answers,
    every_classifier,
    every_regressor,
    every_supervised,
    fitted,
    make,
    rows,
    same_weights,
    targets,
)

import pretrain.estimators
from pretrain import (
    DBNClassifier,
    Finetuning,
    GreedyPretraining,
    SDAEClassifier,
    unroll,
)
from pretrain.exceptions import DataError, SettingsError
from pretrain.random_streams import RandomStreams
from pretrain.settings import FinetuneSettings, RBMSettings, TrainingSettings


class TestUnlabelledRows:
    def test_they_are_used_in_pretraining_and_not_in_finetuning(self):
        X = rows()
        y = np.where(np.arange(N_ROWS) % 3 == 0, targets("DBNClassifier", X), -1)
        found = make("DBNClassifier", random_state=3).fit(X, y)
        X32, labelled = X.astype(np.float32), y != -1
        layer = RBMSettings(
            sparsity_target=0.05,
            training=TrainingSettings(epochs=2, batch_size=17, initial_momentum=0.5, weight_decay=2e-4),
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

    @pytest.mark.parametrize("missing", [None, np.nan, pd.NA], ids=["None", "NaN", "NA"])
    @pytest.mark.parametrize(
        "labels", [("ant", "cat", "dog"), (0, 1, 2), (0.0, 1.0, 2.0)], ids=["text", "int", "float"]
    )
    def test_missing_objects_are_unlabelled(self, missing, labels):
        X = rows()
        y = np.where(np.arange(N_ROWS) % 3 == 0, targets("DBNClassifier", X), -1)
        marked = np.array([missing if k == -1 else labels[k] for k in y], dtype=object)
        for name in ("DBNClassifier", "GenerativeDBN"):
            expected = make(name).fit(X, y)
            for given in (marked, pd.Series(marked)):
                found = make(name).fit(X, given)
                assert same_weights(found, expected)
                assert found.classes_.tolist() == list(labels)
        supervised = [make("StackTransformer", kind="supervised").fit(X, labels) for labels in (marked, y)]
        assert same_weights(*supervised)

    @pytest.mark.parametrize("dtype", ["Int64", "Int8", "boolean"])
    def test_nullable_labels_of_pandas(self, dtype):
        X = rows()
        y = np.arange(N_ROWS) % (2 if dtype == "boolean" else 3)
        unlabelled = np.arange(N_ROWS) % 4 == 0
        expected = make("DBNClassifier").fit(X, np.where(unlabelled, -1, y))
        missing = pd.Series(y).astype(dtype).mask(unlabelled)
        marked = [missing] if dtype == "boolean" else [missing, missing.fillna(-1)]
        for labels in marked:
            found = make("DBNClassifier").fit(X, labels)
            assert found.classes_.dtype.kind == ("b" if dtype == "boolean" else "i")
            assert found.classes_.tolist() == expected.classes_.tolist()
            assert same_weights(found, expected)
            assert found.score(X, expected.predict(X).astype(found.classes_.dtype)) == 1

    @every_classifier
    def test_a_score_is_over_labelled_rows(self, name):
        X = rows()
        y = targets(name, X)
        unlabelled, found = np.arange(N_ROWS) % 3 == 0, make(name).fit(X, y)
        kept, weight = ~unlabelled, np.linspace(0, 1, N_ROWS)
        expected = found.score(X[kept], y[kept])
        assert 0 < expected == np.mean(found.predict(X[kept]) == y[kept])
        words, codes = [["ant", "cat", "dog"][k] for k in y], np.where(unlabelled, -1, y)
        assert found.score(X, codes) == found.score(pd.DataFrame(X).to_numpy(), codes.tolist()) == expected
        weighed = found.score(X[kept], y[kept], weight[kept])
        assert found.score(X, codes, weight) == found.score(X, codes, sample_weight=weight.tolist()) == weighed
        by_words = make(name).fit(X, words)
        missing = [None if left_out else word for word, left_out in zip(words, unlabelled, strict=True)]
        assert by_words.score(X, missing) == by_words.score(X, np.array(missing, dtype=object)) == expected
        with pytest.raises(DataError, match="No row has a label to be compared with"):
            found.score(X, np.full(N_ROWS, -1))
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            found.score(X, codes[:-1])

    def test_where_minus_one_is_a_class_it_is_scored(self):
        X, y = rows(), np.where(rows()[:, 0] > 0.5, 1, -1)
        found = make("DBNClassifier").fit(X, y)
        assert found.score(X, y) == np.mean(found.predict(X) == y)
        assert found.score(X[y == -1], y[y == -1]) == np.mean(found.predict(X[y == -1]) == -1)

    def test_several_labels_are_scored_where_there_are_any(self):
        X = rows()
        y = np.stack([X[:, 0] > 0.5, X[:, 1] > 0.5], axis=1).astype(int)
        found = make("DBNClassifier").fit(X, y)
        marked = np.where(np.arange(N_ROWS)[:, None] % 3 == 0, -1, y)
        kept = marked[:, 0] >= 0
        assert found.score(X, marked) == np.mean((found.predict(X) == y).all(axis=1)[kept])

    def test_a_generative_net_is_scored_on_labelled_rows(self):
        X, y = rows(), targets("DBNClassifier", rows())
        found = make("GenerativeDBN").fit(X, y)
        kept = np.arange(N_ROWS) % 3 > 0
        assert found.score(X, np.where(kept, y, -1)) == np.mean(found.predict(X[kept]) == y[kept])

    def test_a_search_judges_by_labels_alone(self):
        X, y = rows(), targets("DBNClassifier", rows())
        marked = np.where(np.arange(N_ROWS) % 2 == 0, y, -1)
        search = GridSearchCV(make("DBNClassifier"), {"max_iter": [3]}, cv=KFold(3), refit=False).fit(X, marked)
        for k, (train, test) in enumerate(KFold(3).split(X)):
            model, kept = make("DBNClassifier").fit(X[train], marked[train]), test[marked[test] != -1]
            found = search.cv_results_[f"split{k}_test_score"][0]
            assert found == np.mean(model.predict(X[kept]) == y[kept])

    @pytest.mark.parametrize("name", ["DBNClassifier", "GenerativeDBN"])
    def test_minus_one_among_floats_is_a_class_and_is_told(self, name, recwarn):
        X, y = rows(), np.where(np.arange(N_ROWS) % 3 == 0, targets(name, rows()), -1.0)
        with pytest.warns(UserWarning, match=r"-1.0 is a class like any other.*y.astype\(int\)"):
            found = make(name).fit(X, y)
        assert -1.0 in found.classes_
        recwarn.clear()
        make(name).fit(X, np.where(X[:, 0] > 0.5, 1.0, -1.0))
        make(name).fit(X, y.astype(int))
        assert not recwarn.list

    def test_missing_labels_in_a_list(self):
        X, y = rows(), targets("DBNClassifier", rows())
        words = [["ant", "cat", "dog"][k] for k in y]
        words[3:40] = [float("nan")] * 37  # which numpy would write as the text "nan"
        y[3:40] = -1
        found = make("DBNClassifier").fit(X, words)
        assert found.classes_.tolist() == ["ant", "cat", "dog"]
        assert same_weights(found, make("DBNClassifier").fit(X, y))
        with pytest.raises(ValueError, match="contains NaN"):  # a mistake among numbers
            make("DBNClassifier").fit(X, [0.0, float("nan"), *[1.0] * 59])
        with pytest.raises(DataError, match="Every row is unlabelled"):
            make("DBNClassifier").fit(X, [None] * N_ROWS)

    def test_validation_rows_are_labelled(self):
        X, y = rows(), np.full(N_ROWS, -1)
        y[:20] = np.arange(20) % 2
        found = make("DBNClassifier", early_stopping=True, validation_fraction=0.2).fit(X, y)
        shares = 4 * np.array(found.validation_scores_)
        np.testing.assert_allclose(shares, shares.round(), atol=1e-9)  # four rows are held out, of the twenty


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

    @every_classifier
    def test_what_speaks_for_a_class(self, name):
        X = rows()
        three = fitted(name)
        outputs = three.decision_function(X)
        assert outputs.shape == (N_ROWS, 3)
        odds = np.exp(outputs)
        np.testing.assert_allclose(three.predict_proba(X), odds / odds.sum(axis=1, keepdims=True), rtol=1e-10)
        two = make(name).fit(X, X[:, 0] > 0.5)
        log_odds = two.decision_function(X)
        first, second = two.predict_proba(X).T
        np.testing.assert_allclose(log_odds, np.log(second / first), rtol=1e-8, atol=1e-10)
        assert two.decision_function(X.astype(np.float32)).dtype == np.float32

    @every_supervised
    def test_sparse_rows(self, name):
        X = np.where(rows() > 0.5, rows(), 0)
        y = targets(name, X)
        dense = make(name).fit(X, y)
        for layout in (sparse.csr_matrix, sparse.coo_array):
            found = make(name).fit(layout(X), y)
            assert same_weights(found, dense)
            for method, expected in answers(dense, X).items():
                np.testing.assert_array_equal(getattr(found, method)(layout(X)), expected)


@pytest.mark.parametrize("name", REGRESSORS)
@pytest.mark.parametrize("dtype", [str, "datetime64[D]"])
def test_targets_that_are_no_numbers_are_refused(name, dtype):
    y = np.arange(N_ROWS).astype("datetime64[D]").astype(dtype)
    with pytest.raises(DataError, match=f"y of {name} must be real numbers; got .* first. Convert them"):
        make(name).fit(rows(), y)


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
        with pytest.raises(DataError, match="has 2 outputs, but y has 3"):
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
