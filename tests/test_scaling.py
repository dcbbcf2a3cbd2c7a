"""Scaling against scikit-learn, and where scikit-learn's formulas meet rounding."""

import numpy as np
import pytest
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from pretrain.exceptions import DataError, SettingsError
from pretrain.scaling import Scaling, in_unit_interval

SKLEARN = {"minmax": MinMaxScaler, "standard": StandardScaler}
N_ROWS, N_FEATURES = 53, 7
kinds = pytest.mark.parametrize("kind", SKLEARN)


def rows(seed, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N_ROWS, N_FEATURES)) * [1, 10, 100, 1e-3, 1, 1, 1] + [0, 5, -100, 0, 1e5, 3, 0]
    X[:, 5] = 0.1  # constant; its mean is not 0.1 in floating point
    X[:, 6] = 0.0
    return X.astype(dtype)


@kinds
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_against_sklearn(kind, dtype, seed):
    X = rows(seed, dtype)
    expected = SKLEARN[kind]().fit(X.astype(np.float64)).transform(X.astype(np.float64))
    scaling = Scaling.fit(kind, X)
    np.testing.assert_allclose(scaling.apply(X, np.float64), expected, rtol=1e-6, atol=1e-9)
    assert scaling.apply(X).dtype == np.float32
    np.testing.assert_allclose(scaling.apply(X), expected, rtol=1e-5, atol=1e-6)


@kinds
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int64, bool, np.float16])
def test_other_types_of_numbers(kind, dtype):
    X = np.random.default_rng(0).integers(-128, 128, size=(N_ROWS, 3)).astype(dtype)
    expected = SKLEARN[kind]().fit_transform(X.astype(np.float64))
    np.testing.assert_allclose(Scaling.fit(kind, X).apply(X), expected, rtol=1e-5, atol=1e-6)


@kinds
@pytest.mark.parametrize("value", [0.0, 0.1, 1e8 + 0.1, -1e-30, 255])
@pytest.mark.parametrize("n_rows", [1, 7, 1000])
def test_constant_columns_become_zero(kind, value, n_rows):
    X = np.full((n_rows, 2), value)
    scaling = Scaling.fit(kind, X)
    np.testing.assert_array_equal(scaling.apply(X), 0)
    np.testing.assert_array_equal(scaling.undo(scaling.apply(X, np.float64)), X)
    np.testing.assert_allclose(scaling.apply(X + 2, np.float64), 2, rtol=1e-6)  # unseen values do not explode


@kinds
def test_columns_far_from_zero_keep_their_digits(kind, seed):
    X = 1e7 + np.random.default_rng(seed).normal(size=(N_ROWS, 1))
    scaled = Scaling.fit(kind, X).apply(X)
    np.testing.assert_allclose(scaled, SKLEARN[kind]().fit_transform(X), atol=1e-6)


def test_many_rows_are_summed_in_chunks(seed):
    X = np.random.default_rng(seed).normal(3, 2, size=(10_007, 2)).astype(np.float32)
    scaling = Scaling.fit("standard", X)
    np.testing.assert_allclose(scaling.offset, X.astype(float).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(scaling.scale, X.astype(float).std(axis=0), rtol=1e-12)


@kinds
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_round_trip(kind, dtype, seed):
    X = rows(seed, dtype)
    scaling = Scaling.fit(kind, X)
    back = scaling.undo(scaling.apply(X, dtype))
    assert back.dtype == dtype
    step = np.finfo(dtype).eps
    assert (np.abs(back.astype(float) - X) <= 4 * step * (scaling.scale + np.abs(scaling.offset))).all()


def test_declared_range():
    X = np.array([[0, 51], [255, 102]], dtype=np.uint8)
    scaling = Scaling.fit("range", X, (0.0, 255.0))
    np.testing.assert_allclose(scaling.apply(X), [[0, 0.2], [1, 0.4]], rtol=1e-6)
    np.testing.assert_allclose(scaling.undo(scaling.apply(X)), X)
    assert scaling.kind == "range"
    signed = Scaling.fit("range", X, (-255.0, 255.0))
    np.testing.assert_allclose(signed.apply(X)[:, 0], [0.5, 1.0])
    assert Scaling.fit("range", X).kind == "none"


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_no_scaling(dtype):
    X = np.arange(6, dtype=dtype).reshape(3, 2)
    scaled = Scaling.none().apply(X)
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled, X)


@pytest.mark.parametrize("kind", Scaling.KINDS)
def test_the_rows_are_left_alone(kind, seed):
    X = rows(seed)
    kept = X.tobytes()
    scaling = Scaling.fit(kind, X, (0.0, 2.0))
    scaling.undo(scaling.apply(X, np.float64))
    assert X.tobytes() == kept


def test_rows_of_another_width():
    with pytest.raises(DataError, match="The scaling was learned on 7 features; got 5"):
        Scaling.fit("minmax", rows(0)).apply(np.zeros((3, 5)))


def test_unknown_kind():
    for make in (lambda: Scaling.fit("robust", rows(0)), lambda: Scaling("robust", np.zeros(1), np.ones(1))):
        with pytest.raises(SettingsError, match="kind of Scaling must be one of none, range, minmax, standard"):
            make()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1], True),
        ([-1e-7, 1 + 1e-7], True),
        ([-0.01, 1], False),
        ([0, 1.01], False),
        ([0.5, np.nan], False),
        ([], True),
    ],
)
def test_unit_interval(values, expected):
    assert in_unit_interval(np.array(values)) is expected
