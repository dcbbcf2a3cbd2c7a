"""Accuracy over the rows that have a label."""

from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score
from sklearn.utils import _safe_indexing, check_consistent_length
from sklearn.utils.validation import check_is_fitted

from pretrain.class_indices import UNLABELLED, fill_missing_labels
from pretrain.exceptions import DataError


def labelled_accuracy(classifier: Any, X: Any, y: Any, sample_weight: Any) -> float:
    """Accuracy of a fitted classifier on the rows that have a label, among any that are marked as `fit` marks them.

    So a search whose folds are drawn from partly labelled rows judges by labels alone.

    Parameters
    ----------
    classifier : fitted estimator with `classes_` and `predict`
    X : array-like or sparse matrix of shape (n_samples, n_features)
    y : array-like of shape (n_samples,) or (n_samples, n_labels)
    sample_weight : array-like of shape (n_samples,) or None

    Returns
    -------
    float
        From 0 to 1; of rows with several labels the share of those with all labels right.

    Raises
    ------
    DataError
        If no row has a label.
    ValueError
        If X, y and sample_weight differ in length.
    """
    check_is_fitted(classifier)
    check_consistent_length(X, y, sample_weight)
    y, known = fill_missing_labels(y)
    labels = np.asarray(y)
    known = np.ones(len(labels), dtype=bool) if known is None else known
    if labels.ndim == 2 and labels.shape[1] > 1:
        known = ~(labels == UNLABELLED).all(axis=1)
    elif labels.dtype.kind == "i" and UNLABELLED not in classifier.classes_.tolist():
        known = known & (labels.reshape(-1) != UNLABELLED)
    if not known.any():
        raise DataError("No row has a label to be compared with: y is -1, None or NaN everywhere.")
    if not known.all():
        rows = np.flatnonzero(known)
        X, y = _safe_indexing(X, rows), _safe_indexing(y, rows)
        sample_weight = None if sample_weight is None else _safe_indexing(sample_weight, rows)
    return float(accuracy_score(y, classifier.predict(X), sample_weight=sample_weight))
