"""Scaling of rows and what fitted estimators say of them, against formulas."""

import numpy as np
import pytest
import torch
from small_estimators import (
    N_FEATURES,
    NAMES,
    answers,
    every_estimator,
    fitted,
    make,
    model_of,
    rows,
    same_weights,
    targets,
)

from pretrain.exceptions import DataError, DataRangeWarning


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
        if hasattr(found, "predict_proba"):
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
