"""A linear probe: how well a linear classifier reads the labels from the raw rows and from the code of each layer."""

import itertools
import warnings
from collections.abc import Sequence

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

N_FOLDS = 3
FEWEST_ROWS = 50  # below, the error is chance
MAX_ITER = 300


def why_no_probe(y: np.ndarray | None) -> str | None:
    """Why the classes (n,) of the rows cannot be probed, in words; None if they can."""
    if y is None:
        return "the data have no labels"
    frequent = probed_rows(y)
    if frequent.sum() < FEWEST_ROWS or len(np.unique(y[frequent])) < 2:
        return f"it takes {FEWEST_ROWS} rows of two classes or more, {N_FOLDS} of each class"
    return None


def probed_rows(y: np.ndarray) -> np.ndarray:
    """(n,) bool: rows whose class is frequent enough to be in every fold."""
    _, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
    return counts[codes] >= N_FOLDS


def probe(codes: np.ndarray, y: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Which rows a logistic regression gets wrong in cross-validation: (n, n_features), (n,) -> bool (n,).

    The features are standardised, the folds depend on the labels and the seed alone: two codes of the same rows can
    be compared row by row.
    """
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=MAX_ITER, tol=1e-3))
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a last digit that no finding depends on
        predicted = cross_val_predict(model, codes.astype(np.float64), y, cv=folds)
    return predicted != y


def probe_targets(codes: np.ndarray, y: np.ndarray, *, seed: int = 0) -> float:
    """Cross-validated R² of ridge regression, the mean over targets: (n, n_features), (n,) or (n, n_targets)."""
    model = make_pipeline(StandardScaler(), Ridge())
    folds = KFold(N_FOLDS, shuffle=True, random_state=seed)
    return float(r2_score(y, cross_val_predict(model, codes.astype(np.float64), y, cv=folds)))


def probe_gains(wrong: Sequence[np.ndarray]) -> list[tuple[float, float]]:
    """What each code adds over the one before: (points of error less, their standard error), one pair a layer.

    `wrong` holds what `probe` says of the raw rows and of each layer's code, (n,) each.
    """
    gains = []
    for below, here in itertools.pairwise(wrong):
        difference = 100.0 * (below.astype(float) - here)
        gains.append((float(difference.mean()), float(difference.std() / np.sqrt(len(difference)))))
    return gains
