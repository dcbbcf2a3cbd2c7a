"""What every estimator does with its inputs: check them, choose a scaling, draw a seed."""

import dataclasses
import math
import numbers
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from pretrain._validation import require_choice
from pretrain.class_indices import UNLABELLED, fill_missing_labels
from pretrain.column_groups import group_names
from pretrain.exceptions import DataError, SettingsError
from pretrain.scaling import Scaling, in_unit_interval
from pretrain.settings import TrainingSettings

SCALINGS = ("auto", "none", "minmax", "standard")


def check_rows(
    estimator: Any, X: Any, *, reset: bool = False, accept_sparse: bool = False, allow_nan: bool = False
) -> Any:
    """Rows as a real matrix (n_samples, n_features), checked by scikit-learn; the type of numbers is kept.

    Sparse rows, where they are accepted, become a csr matrix; NaN, where it is allowed, stands for a missing value.
    """
    return validate_data(
        estimator,
        X,
        reset=reset,
        dtype="numeric",
        accept_sparse="csr" if accept_sparse else False,
        ensure_all_finite="allow-nan" if allow_nan else True,
    )


def check_labelled_rows(
    estimator: Any, X: Any, y: Any, *, reset: bool = False, multilabel: bool = False
) -> tuple[Any, np.ndarray, np.ndarray]:
    """Rows and labels as scikit-learn checks them, and which labels are there, (n_samples,) bool.

    Among objects None and NaN stand for a missing label; another takes its place in what is returned. With
    `multilabel` y may have several columns of 0 and 1, and -1 throughout a row without labels. A UserWarning tells of
    -1.0 among floats, which is a class.
    """
    y, known = fill_missing_labels(y)
    several = has_columns(y)
    X, y = validate_data(
        estimator, X, y, dtype="numeric", accept_sparse="csr", reset=reset, multi_output=several and multilabel
    )
    if y.ndim == 1:
        check_classification_targets(y)
        if y.dtype.kind == "f" and UNLABELLED in (found := np.unique(y).tolist()) and found != [-1.0, 1.0]:
            warnings.warn(
                f"The labels of {type(estimator).__name__} are floats, among which -1.0 is a class like any other. "
                "Rows without a label are marked by -1 among integers: y.astype(int).",
                stacklevel=2,
            )
        return X, y, np.ones(len(y), dtype=bool) if known is None else known
    known = ~(y == UNLABELLED).all(axis=1)
    if not np.isin(y[known], (0, 1)).all():
        raise DataError(
            "y with several columns must hold labels, any number a row, as 0 and 1, and -1 throughout a row without; "
            f"got {np.unique(y)[:9]}."
        )
    return X, y, known


def has_columns(y: Any) -> bool:
    """Whether labels, array-like, have several columns."""
    shape = np.asarray(y).shape if isinstance(y, list | tuple) else getattr(y, "shape", ())
    return len(shape) == 2 and shape[1] > 1


def require_verbose(estimator: Any) -> None:
    """Raise SettingsError unless `estimator.verbose` is True, False or an integer, as scikit-learn's own have it."""
    if not isinstance(estimator.verbose, numbers.Integral | np.bool_):
        owner = type(estimator).__name__
        raise SettingsError(f"verbose of {owner} must be True, False or an integer; got {estimator.verbose!r}.")


def require_image_shape(estimator: Any) -> None:
    """Raise SettingsError unless `estimator.image_shape` is None or the shape of its `n_features_in_` features."""
    shape, n_features = estimator.image_shape, estimator.n_features_in_
    if shape is None:
        return
    numbers_of = isinstance(shape, list | tuple) and all(isinstance(n, numbers.Integral) for n in shape)
    if not numbers_of or len(shape) not in (2, 3) or math.prod(shape) != n_features:
        raise SettingsError(
            f"image_shape of {type(estimator).__name__} must be the height and width, and channels if there are any, "
            f"of rows of {n_features} features; got {shape!r}."
        )


def training_settings(
    estimator: Any, parameters: Mapping[str, str], defaults: TrainingSettings | None = None, **values: Any
) -> TrainingSettings:
    """TrainingSettings from parameters of an estimator; an illegal value is reported by the parameter's name.

    Parameters
    ----------
    parameters : mapping of str to str
        The estimator's parameter for each field that it fills.
    defaults : TrainingSettings or None
        What the other fields are.
    values : Any
        Further fields.
    """
    given = {field: getattr(estimator, name) for field, name in parameters.items()}
    try:
        return dataclasses.replace(defaults or TrainingSettings(), **given, **values)
    except SettingsError as error:
        field, _, said = str(error).partition(" of TrainingSettings ")
        if field not in parameters:
            raise
        raise SettingsError(f"{parameters[field]} of {type(estimator).__name__} {said}") from error


def initial_momentum(momentum: Any) -> float | None:
    """The papers begin with momentum 0.5; a run whose momentum is smaller has no ramp."""
    return min(0.5, float(momentum)) if isinstance(momentum, numbers.Real) else None


def choose_scaling(estimator: Any, X: np.ndarray) -> Scaling:
    """The scaling that `estimator.scaling` names, learned on the training rows `X`.

    "auto" gives visible units what they model: for Bernoulli units nothing where the data lie in [0, 1],
    division by 255 for bytes, and minmax for the rest; for Gaussian units standardised columns; for all other types,
    and several in one table, nothing.
    """
    kind = estimator.scaling
    require_choice(type(estimator).__name__, "scaling", kind, SCALINGS)
    if kind != "auto":
        return Scaling.fit(kind, X)
    units = group_names(str(getattr(estimator, "visible_units", "bernoulli")))
    if all(name.startswith("gaussian") for name in units):
        return Scaling.fit("standard", X)
    if units != ["bernoulli"]:  # counts, categories, spins and mixed tables mean what they say
        return Scaling.none()
    if in_unit_interval(np.asarray(X.data) if sparse.issparse(X) else X):
        return Scaling.none()
    if X.dtype == np.uint8:
        return Scaling.fit("range", X, (0.0, 255.0))
    return Scaling.fit("minmax", X)


def seed_from(random_state: Any) -> int:
    """A seed: an integer is itself, a RandomState or Generator draws one, None is fresh entropy.

    NumPy's global generator is not read, so two fits with None differ and leave it untouched.
    """
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1, np.uint32)[0])
    if isinstance(random_state, numbers.Integral) and int(random_state) >= 0:
        return int(random_state)
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31 - 1))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    raise SettingsError(
        f"random_state must be None, an integer >= 0, a RandomState or a Generator; got {random_state!r}."
    )


def like_input(values: np.ndarray, X: np.ndarray) -> np.ndarray:
    """float64 results for float64 input, float32 otherwise."""
    return values.astype(np.float64 if X.dtype == np.float64 else np.float32, copy=False)
