"""Weights of rows and of classes: against rows that are repeated, left out, or weighted by hand."""

import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small_estimators import (
    N_ROWS,
    REGRESSORS,
    answers,
    every_classifier,
    every_supervised,
    fitted,
    make,
    rows,
    same_weights,
    targets,
)

import checkpoints
from pretrain import Finetuning
from pretrain.exceptions import DataError, SettingsError

WEIGHT = np.random.default_rng(5).integers(0, 4, size=N_ROWS)
# All rows in one batch, nothing drawn: there a row of weight 3 is three rows.
WHOLE = {"batch_size": 1000, "solver": "sgd", "learning_rate_init": 0.05, "max_iter": 20}
DETERMINISTIC = {"pretrain_batch_size": 1000, "corruption": "none"}


class TestSampleWeight:
    @pytest.mark.parametrize("name", ["ScratchClassifier", "ScratchRegressor", "SDAEClassifier", "SDAERegressor"])
    def test_a_weight_of_three_is_three_rows(self, name):
        options = WHOLE | (DETERMINISTIC if name.startswith("SDAE") else {})
        X, y = rows(), targets(name, rows())
        if name in REGRESSORS:  # standardised by their own mean and deviation, which must not differ
            y = np.where(np.arange(N_ROWS) % 2, 1.0, -1.0) * y
        weighted = make(name, **options).fit(X, y, sample_weight=WEIGHT)
        repeated = make(name, **options)
        if name in REGRESSORS:
            encode, network = weighted._encode_targets, weighted.network_
            repeated._encode_targets = lambda y, labelled, used, *_: encode(y, labelled, used, network, None)
        repeated.fit(np.repeat(X, WEIGHT, axis=0), np.repeat(y, WEIGHT))
        plain = make(name, **options).fit(X, y)
        for method, expected in answers(repeated, rows(1)).items():
            found = getattr(weighted, method)(rows(1))
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
            if method != "predict" or name in REGRESSORS:
                assert not np.allclose(getattr(plain, method)(rows(1)), expected, rtol=1e-4, atol=1e-5)

    @every_supervised
    def test_a_row_of_weight_0_is_left_out(self, name):
        X, y = rows(), targets(name, rows())
        X[WEIGHT == 0] = 100.0  # of no account to the scaling either
        kept = WEIGHT > 0
        weighted = make(name).fit(X, y, sample_weight=WEIGHT)
        assert same_weights(weighted, make(name).fit(X[kept], y[kept], sample_weight=WEIGHT[kept]))
        assert not same_weights(weighted, make(name).fit(X[kept], y[kept]))

    @every_supervised
    def test_only_ratios_matter(self, name):
        X, y = rows(), targets(name, rows())
        first, second = (make(name).fit(X, y, sample_weight=k * WEIGHT) for k in (1, 8))
        assert same_weights(first, second)
        if not name.startswith("DBN"):  # whose products are of another form with weights, and round otherwise
            assert same_weights(make(name).fit(X, y), make(name).fit(X, y, sample_weight=np.full(N_ROWS, 0.25)))

    @every_classifier
    def test_a_class_without_weight_is_still_a_class(self, name):
        y = targets(name, rows())
        found = make(name).fit(rows(), y, sample_weight=(y != 1).astype(float))
        assert found.classes_.tolist() == [0, 1, 2]
        assert found.predict_proba(rows(1)).shape == (N_ROWS, 3)

    @every_supervised
    def test_weights_of_validation_rows(self, name):
        X, y, weight = rows(), targets(name, rows()), WEIGHT + 0.5
        found = make(name, early_stopping=True, max_iter=1, validation_fraction=0.3).fit(X, y, sample_weight=weight)
        values = y if name not in REGRESSORS else found.network_.target_scaling.apply(y[:, None])
        _, held_out = found._hold_out(np.arange(N_ROWS), values)
        (score,) = found.validation_scores_
        own = weight[held_out]
        if name in REGRESSORS:
            outputs = found.network_.target_scaling.apply(found.predict(X[held_out])[:, None], np.float64)
            assert score == pytest.approx(-np.average((outputs - values[held_out])[:, 0] ** 2, weights=own), rel=1e-5)
        else:
            assert score == pytest.approx(accuracy_score(y[held_out], found.predict(X[held_out]), sample_weight=own))

    @every_supervised
    def test_weights_that_are_none(self, name):
        X, y = rows(), targets(name, rows())
        with pytest.raises(ValueError, match="non-zero number"):
            make(name).fit(X, y, sample_weight=np.zeros(N_ROWS))
        with pytest.raises(ValueError, match="Negative values"):
            make(name).fit(X, y, sample_weight=-np.ones(N_ROWS))
        with pytest.raises(ValueError, match="shape"):
            make(name).fit(X, y, sample_weight=np.ones(N_ROWS - 1))

    def test_labelled_rows_without_weight(self):
        y = np.where(np.arange(N_ROWS) < 9, targets("DBNClassifier", rows()), -1)
        with pytest.raises(DataError, match="No row with a label has a sample_weight above 0"):
            make("DBNClassifier").fit(rows(), y, sample_weight=(y == -1).astype(float))

    @every_supervised
    def test_the_score_counts_rows_by_their_weight(self, name):
        X, y = rows(), targets(name, rows())
        found = fitted(name)
        metric = r2_score if name in REGRESSORS else accuracy_score
        assert found.score(X, y, WEIGHT) == metric(y, found.predict(X), sample_weight=WEIGHT) != found.score(X, y)


class TestClassWeight:
    @every_classifier
    def test_against_weights_of_rows(self, name):
        X, y = rows(), targets(name, rows())
        given = {0: 0.2, 1: 3.0, 2: 1.5}
        found = make(name, class_weight=given).fit(X, y)
        records = [(record["stage"], record["loss"]) for record in found.report_]
        plain = make(name).fit(X, y)
        pretraining = [record for record in records if record[0] == "pretrain"]
        assert pretraining == [(r["stage"], r["loss"]) for r in plain.report_ if r["stage"] == "pretrain"]
        assert not same_weights(found, plain)
        if name == "ScratchClassifier":
            by_rows = make(name).fit(X, y, sample_weight=np.array(list(given.values()))[y])
            assert same_weights(found, by_rows)
        else:
            again = make(name, max_iter=0).fit(X, y)
            settings = make(name)._finetune_settings()
            weight = np.array(list(given.values()))[y]
            list(Finetuning(again.network_, X.astype(np.float32), y, settings, seed=0, sample_weight=weight))
            assert same_weights(found, again)

    @every_classifier
    def test_balanced_and_weights_of_rows_together(self, name):
        X, y = rows(), targets(name, rows())
        found = make(name, class_weight="balanced").fit(X, y)
        counts = np.bincount(y)
        balanced = {k: N_ROWS / (3 * counts[k]) for k in range(3)}
        assert same_weights(found, make(name, class_weight=balanced).fit(X, y))
        both = make("ScratchClassifier", class_weight=balanced).fit(X, y, sample_weight=WEIGHT)
        product = WEIGHT * np.array([balanced[k] for k in y])
        assert same_weights(both, make("ScratchClassifier").fit(X, y, sample_weight=product))

    def test_rows_of_weight_0_do_not_count_in_what_is_balanced(self):
        X, y = rows(), targets("ScratchClassifier", rows())
        weight = np.where((y == 0) & (np.arange(N_ROWS) % 3 > 0), 0.0, 1.0)
        found = make("ScratchClassifier", class_weight="balanced").fit(X, y, sample_weight=weight)
        kept = weight > 0
        expected = make("ScratchClassifier", class_weight="balanced").fit(
            X[kept], y[kept], sample_weight=weight[kept]
        )
        assert same_weights(found, expected)

    @every_classifier
    def test_it_is_a_parameter_that_is_saved(self, name, tmp_path):
        y = np.array(["a", "b", "c"])[targets(name, rows())]
        found = make(name, class_weight={"a": 2.0, "b": 1}).fit(rows(), y)
        checkpoints.save(found, tmp_path / "m.h5")
        assert checkpoints.load(tmp_path / "m.h5").get_params() == found.get_params()
        assert found.get_params()["class_weight"] == {"a": 2.0, "b": 1}
        assert "class_weight : dict" in type(found).__doc__
        with pytest.raises(TypeError, match="class_weights"):
            type(found)(class_weights=None)

    @pytest.mark.parametrize("name", REGRESSORS)
    def test_regressors_have_none(self, name):
        assert "class_weight" not in make(name).get_params()
        assert "class_weight" not in type(make(name)).__doc__


class TestRouting:
    def test_through_a_pipeline_and_a_search(self):
        X, y, weight = rows(), targets("DBNClassifier", rows()), WEIGHT + 0.5
        with config_context(enable_metadata_routing=True):
            estimator = (
                make("DBNClassifier").set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
            )
            pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), estimator)
            pipeline.fit(X, y, sample_weight=weight)
            wanted = make("DBNClassifier").fit(StandardScaler().fit_transform(X), y, sample_weight=weight)
            assert same_weights(pipeline[-1], wanted)
            search = GridSearchCV(estimator, {"max_iter": [1, 3]}, cv=2, error_score="raise")
            search.fit(X, y, sample_weight=weight)
            assert search.best_params_["max_iter"] in (1, 3)
            unrequested = make("DBNClassifier").set_fit_request(sample_weight=False)
            told = cross_validate(
                unrequested.set_score_request(sample_weight=True),
                X,
                y,
                params={"sample_weight": weight},
                cv=2,
                return_estimator=True,
                error_score="raise",
            )
            assert len(told["estimator"]) == 2


class TestHeldOutRows:
    def test_each_class_has_its_share_and_the_seed_draws_the_rows(self):
        y = np.repeat([0, 1, 2], [30, 20, 10])
        held_out = {}
        for seed in (0, 1):
            model = make("ScratchClassifier", validation_fraction=0.2, max_iter=1, random_state=seed).fit(
                np.random.default_rng(0).random((60, 7)), y
            )
            trained, held_out[seed] = model._hold_out(np.arange(60), y)
            assert np.bincount(y[held_out[seed]]).tolist() == [6, 4, 2]
            assert sorted([*trained, *held_out[seed]]) == list(range(60))
            np.testing.assert_array_equal(model._hold_out(np.arange(60), y)[1], held_out[seed])
        assert set(held_out[0]) != set(held_out[1])


class TestPieces:
    @every_supervised
    def test_pieces_of_all_rows_are_epochs_at_a_constant_rate(self, name):
        X, y = rows(), targets(name, rows())
        options = {"dropout": 0.3, "learning_rate_init": 0.01}
        found = make(name, **options)
        extra = {} if name in REGRESSORS else {"classes": [2, 1, 0]}
        for _ in range(3):
            assert found.partial_fit(X, y, **extra, sample_weight=WEIGHT) is found
            extra = {}
        wanted = make(name, **options, schedule="constant").fit(X, y, sample_weight=WEIGHT)
        assert same_weights(found, wanted)
        assert found.loss_curve_ == wanted.loss_curve_
        assert found.n_iter_ == 3
        assert [(r["epoch"], r["n_epochs"]) for r in found.report_[-3:]] == [(1, 1), (2, 2), (3, 3)]

    @every_classifier
    def test_classes_that_come_late(self, name):
        X, y = rows(), targets(name, rows())
        found = make(name).partial_fit(X[y == 0], y[y == 0], classes=[0, 1, 2])
        found.partial_fit(X[y > 0], y[y > 0])
        assert found.predict_proba(X).shape == (N_ROWS, 3)
        with pytest.raises(DataError, match=r"y of partial_fit holds \[3\], but the classes are \[0 1 2\]"):
            found.partial_fit(X[:5], np.full(5, 3))
        with pytest.raises(DataError, match=r"classes \[0 1\] is not the same as on the last call"):
            found.partial_fit(X, y, classes=[0, 1])
        with pytest.raises(DataError, match=r"classes must be passed on the first call"):
            make(name).partial_fit(X, y)
        with pytest.raises(SettingsError, match=r"class_weight of .* must be a dict or None for partial_fit"):
            make(name, class_weight="balanced").partial_fit(X, y, classes=[0, 1, 2])
        with pytest.raises(SettingsError, match="early_stopping must be False"):
            make(name, early_stopping=True).partial_fit(X, y, classes=[0, 1, 2])

    def test_the_first_piece_may_be_for_pretraining_alone(self):
        X, y = rows(), targets("DBNClassifier", rows())
        found = make("DBNClassifier").partial_fit(X, np.full(N_ROWS, -1), classes=[0, 1, 2])
        assert [record["stage"] for record in found.report_] == ["pretrain"] * 4
        pretrained = [layer.linear.weight.clone() for layer in found.network_.hidden]
        found.set_params(learning_rate_init=1e-30).partial_fit(X, y)
        for before, layer in zip(pretrained, found.network_.hidden, strict=True):
            torch.testing.assert_close(before, layer.linear.weight)
        assert found.n_iter_ == 1

    @every_classifier
    def test_minus_one_is_a_label_where_it_is_a_class(self, name):
        X = rows()
        y = np.where(X[:, 0] > 0.5, 1, -1)
        found, renamed = make(name), make(name)
        for piece in (y == -1, y == 1):
            found.partial_fit(X[piece], y[piece], classes=[-1, 1])
            renamed.partial_fit(X[piece], (y[piece] + 1) // 2, classes=[0, 1])
        assert same_weights(found, renamed)
        assert found.n_iter_ == 2

    def test_a_new_rate_is_taken_on(self):
        X, y = rows(), targets("ScratchRegressor", rows())
        found = make("ScratchRegressor").partial_fit(X, y)
        found.set_params(learning_rate_init=0.007).partial_fit(X, y)
        assert [record["learning_rate"] for record in found.report_] == [1e-3, 0.007]

    @every_supervised
    def test_fit_begins_anew(self, name):
        X, y = rows(), targets(name, rows())
        found = make(name).partial_fit(X, y, **({} if name in REGRESSORS else {"classes": [0, 1, 2]}))
        assert same_weights(found.fit(X, y), make(name).fit(X, y))
