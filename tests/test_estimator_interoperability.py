"""The estimators in the hands of scikit-learn's own tools."""

import copy
import io
import pickle
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import randint
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import StackingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - what HalvingRandomSearchCV needs
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, HalvingRandomSearchCV, cross_val_score, learning_curve
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from small_estimators import (
    NAMES,
    REGRESSORS,
    answers,
    every_classifier,
    every_estimator,
    every_supervised,
    fitted,
    make,
    model_of,
    rows,
    same_weights,
    targets,
)

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@every_estimator
def test_copies(name):
    found = fitted(name)
    stream = io.BytesIO()
    joblib.dump(found, stream)
    stream.seek(0)
    for copied in (copy.deepcopy(found), joblib.load(stream), pickle.loads(pickle.dumps(found))):
        assert same_weights(copied, found)
        assert copied.report_ == found.report_
        with torch.no_grad():
            next(model_of(copied).parameters()).add_(1.0)
        assert not same_weights(copied, found)  # nothing is shared
    fresh = clone(found)
    assert not hasattr(fresh, found.model_name)
    assert fresh.get_params() == found.get_params()


@CUDA
@every_estimator
def test_pickled_on_a_gpu(name):
    found = fitted(name, device="cuda")
    data = pickle.dumps(found)
    assert next(model_of(found).parameters()).device.type == "cuda"  # itself stays where it was
    state = found.__getstate__()
    assert all(p.device.type == "cpu" for p in state[found.model_name].parameters())
    again = pickle.loads(data)
    for method, expected in answers(found, rows(1)).items():
        np.testing.assert_allclose(getattr(again, method)(rows(1)), expected, rtol=1e-5)


@every_supervised
def test_cross_validation_and_curves(name):
    X, y = rows(n=90), targets(name, rows(n=90))
    scores = cross_val_score(make(name), X, y, cv=3, error_score="raise")
    assert scores.shape == (3,)
    sizes, train, test = learning_curve(make(name), X, y, cv=3, train_sizes=[0.5, 1.0], error_score="raise")
    assert (sizes.tolist(), train.shape, test.shape) == ([30, 60], (2, 3), (2, 3))
    np.testing.assert_allclose(test[1], scores)


@every_supervised
def test_halving_search(name):
    X, y = rows(n=80), targets(name, rows(n=80))
    search = HalvingRandomSearchCV(
        make(name),
        {"max_iter": randint(1, 5)},
        n_candidates=3,
        factor=3,
        cv=2,
        random_state=0,
        error_score="raise",
        min_resources=20,
    )
    assert 1 <= search.fit(X, y).best_params_["max_iter"] < 5


@every_supervised
def test_importance_and_dependence(name):
    X = rows(n=150)
    y = (X[:, 0] > 0.5).astype(int) if name not in REGRESSORS else X[:, 0]
    options = {"hidden_layer_sizes": (23,), "max_iter": 40, "learning_rate_init": 0.02}
    found = make(name, **options).fit(X, y)
    importance = permutation_importance(found, X, y, n_repeats=3, random_state=0).importances_mean
    assert importance.argmax() == 0
    found_dependence = partial_dependence(found, X, [0], grid_resolution=5)["average"][0]
    assert found_dependence[-1] > found_dependence[0]


@every_classifier
def test_calibration_and_stacking(name):
    X, y = rows(n=120), targets(name, rows(n=120))
    for method in ("sigmoid", "isotonic"):
        calibrated = CalibratedClassifierCV(make(name), method=method, cv=2).fit(X, y)
        np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1)
    stacking = StackingClassifier([("net", make(name)), ("line", LogisticRegression())], cv=2).fit(X, y)
    assert stacking.transform(X).shape == (120, 6)
    assert stacking.predict(X).shape == (120,)


def test_a_table_of_mixed_columns():
    X = pd.DataFrame(rows(n=90), columns=[f"f{k}" for k in range(7)])
    X["colour"] = np.where(X["f1"] > 0.5, "red", "blue")
    y = np.where(X["f0"] > X["f1"], "yes", "no")
    numbers = [f"f{k}" for k in range(7)]
    columns = ColumnTransformer(
        [("numbers", make("StackTransformer"), numbers), ("names", OneHotEncoder(), ["colour"])]
    )
    pipeline = make_pipeline(columns, make("SDAEClassifier")).fit(X, y)
    assert set(pipeline.predict(X)) <= {"yes", "no"}
    assert list(pipeline[0].get_feature_names_out())[:3] == [f"numbers__stacktransformer{k}" for k in range(3)]
    search = GridSearchCV(
        pipeline, {"columntransformer__numbers__n_iter": [1, 2], "sdaeclassifier__max_iter": [1, 2]}, cv=2
    )
    assert search.fit(X, y).cv_results_["mean_test_score"].shape == (4,)


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(("Transformer", "Autoencoder"))])
def test_pandas_in_and_out(name):
    X = pd.DataFrame(rows(), columns=[f"f{k}" for k in range(7)], index=np.arange(61) + 100)
    found = make(name).set_output(transform="pandas").fit(X)
    codes = found.transform(X)
    assert list(codes.columns) == [f"{name.lower()}{k}" for k in range(3)]
    assert codes.index.tolist() == X.index.tolist()
    assert found.feature_names_in_.tolist() == list(X.columns)
    np.testing.assert_array_equal(codes, make(name).fit(X.to_numpy()).transform(X.to_numpy()))


@every_supervised
def test_names_of_columns_are_kept_and_checked(name):
    X = pd.DataFrame(rows(), columns=[f"f{k}" for k in range(7)])
    found = make(name).fit(X, targets(name, rows()))
    assert found.feature_names_in_.tolist() == list(X.columns)
    with pytest.raises(ValueError, match="feature names should match"):
        found.predict(X.rename(columns={"f0": "g0"}))


@every_estimator
def test_a_memory_map(name, tmp_path):
    np.save(tmp_path / "X.npy", rows().astype(np.float32))
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    found = make(name).fit(X, targets(name, rows()))
    assert same_weights(found, make(name).fit(np.array(X), targets(name, rows())))
    for method, expected in answers(found, np.array(X)).items():
        np.testing.assert_array_equal(getattr(found, method)(X), expected)


@every_estimator
def test_threads_that_predict_together(name):
    found = fitted(name)
    parts = [rows(seed, n=31) for seed in range(12)]
    expected = [answers(found, X) for X in parts]
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda X: answers(found, X), parts))
    for here, there in zip(told, expected, strict=True):
        assert here.keys() == there.keys()
        for method, values in here.items():
            np.testing.assert_array_equal(values, there[method])


@pytest.mark.slow
def test_parallel_search():
    X, y = rows(n=90), targets("SDAEClassifier", rows(n=90))
    pipeline = make_pipeline(StandardScaler(), make("SDAEClassifier"))
    grid = {"sdaeclassifier__max_iter": [1, 2], "sdaeclassifier__corruption_level": [0.1, 0.3]}
    one, two = (GridSearchCV(pipeline, grid, cv=2, n_jobs=n).fit(X, y) for n in (1, 2))
    np.testing.assert_array_equal(one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"])
    assert same_weights(one.best_estimator_[-1], two.best_estimator_[-1])
