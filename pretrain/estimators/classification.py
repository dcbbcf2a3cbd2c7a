"""Labels in, labels out: what every classifier with a network does."""

import functools
import inspect
import math
import numbers
from collections.abc import Mapping
from typing import Any, Self, TypeVar

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import Tags, compute_sample_weight

from pretrain.class_indices import UNLABELLED, labelled_rows
from pretrain.estimators.inputs import check_labelled_rows, check_rows, has_columns, like_input
from pretrain.estimators.scoring import labelled_accuracy
from pretrain.estimators.supervised import SupervisedEstimator, Targets
from pretrain.exceptions import DataError, SettingsError
from pretrain.network import Network
from pretrain.scaling import Scaling

CLASSIFIER_DOC = """
class_weight : dict, "balanced" or None, default=None
    What a row of each class counts in fine-tuning, {label: weight}; "balanced" lets every class count the same.
pseudo_labels : float, default=0.0
    Weight of the classes that the network itself gives to unlabelled rows in `fit`, learned as if they were true (see
    `pretrain.pseudo_labels`; its paper takes 3); these rows count alike, whatever their sample_weight above 0. 0:
    unlabelled rows are for pretraining alone."""
CLASSIFIER_DEFAULTS: dict[str, Any] = {"class_weight": None, "pseudo_labels": 0.0}

C = TypeVar("C", bound=type)


class NetworkClassifier(ClassifierMixin, SupervisedEstimator):
    """Labels in, labels out.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    """

    class_weight: Any
    pseudo_labels: float

    @property
    def classes_(self) -> np.ndarray | None:
        """Labels in the order of the network's outputs, (n_classes,); 0, 1, ... where a row may have several."""
        return self.network_.classes

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Fine-tune for one epoch on rows and labels, going on from the last call.

        For data that come in pieces. The first piece decides the scaling and is what the layers are pretrained on;
        its unlabelled rows count for that, and it may have no others. The optimiser goes on from call to call, but
        begins anew after the estimator was loaded from a checkpoint; the learning rate is constant.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
            As in `fit`; -1 is a label, and marks no row, where it is one of the classes.
        classes : array-like of shape (n_classes,) or None
            Every label that there will be; for the first call, and the same or None afterwards.
        sample_weight : array-like of shape (n_samples,) or None

        Raises
        ------
        DataError
            If the first call has no `classes`, or a label is none of them.
        """
        if isinstance(self.class_weight, str):
            raise SettingsError(
                f"class_weight of {type(self).__name__} must be a dict or None for partial_fit, which does not see "
                f"all rows at once; got {self.class_weight!r}."
            )
        # Several labels a row are their own classes.
        return self._fit_piece(X, y, sample_weight, None if has_columns(y) else self._piece_classes(classes))

    def predict(self, X: Any) -> np.ndarray:
        """Labels of rows: (n_samples, n_features) -> (n_samples,), or 0 and 1, (n_samples, n_labels)."""
        return self._model.predict(self._check_rows(X))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Class probabilities of rows: -> (n_samples, n_classes), columns in the order of `classes_`.

        Where a row may have several labels the columns are the probabilities of each, and need not add up to 1.
        """
        network, X = self._model, self._check_rows(X)
        return like_input(network.predict_proba(X), X)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of `predict_proba`, finite where a probability is too small for a float."""
        network, X = self._model, self._check_rows(X)
        return like_input(network.predict_log_proba(X), X)

    def decision_function(self, X: Any) -> np.ndarray:
        """What speaks for each class: the total input of the outputs, of which `predict_proba` is the softmax.

        (n_samples, n_classes); for two classes the log-odds of the second, log p(second) / p(first), (n_samples,);
        where a row may have several labels the log-odds of each.
        """
        network, X = self._model, self._check_rows(X)
        outputs = like_input(network.output_rows(network.scaled(X)), X)
        two_classes = outputs.shape[1] == 2 and network.architecture.task == "classification"
        return outputs[:, 1] - outputs[:, 0] if two_classes else outputs

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy, 0 to 1, on the rows that have a label: (n_samples, n_features), (n_samples,) -> float.

        Rows are without a label where `y` is as `fit` takes it for none; DataError if all are.
        """
        return labelled_accuracy(self, X, y, sample_weight)

    def _check_rows(self, X: Any) -> Any:
        return check_rows(self, X, accept_sparse=True)

    def _piece_classes(self, classes: Any) -> np.ndarray:
        known = getattr(self, "network_", None)
        if classes is None:
            if known is None:
                raise DataError("classes must be passed on the first call to partial_fit: every label there will be.")
            return known.classes
        given = np.unique(np.asarray(classes))
        if known is not None and not np.array_equal(given, known.classes):
            raise DataError(f"classes {given} is not the same as on the last call to partial_fit: {known.classes}.")
        return given

    def _check_parameters(self) -> None:
        super()._check_parameters()
        owner, given = type(self).__name__, self.class_weight
        if given is None or (isinstance(given, str) and given == "balanced"):
            return
        if not isinstance(given, Mapping):
            raise SettingsError(f"class_weight of {owner} must be a dict, 'balanced' or None; got {given!r}.")
        if not all(isinstance(weight, numbers.Real) and 0 <= float(weight) < math.inf for weight in given.values()):
            raise SettingsError(
                f"class_weight of {owner} must have a finite number >= 0 for each label; got {given!r}."
            )

    def _check_training_data(
        self, X: Any, y: Any, *, reset: bool, classes: np.ndarray | None
    ) -> tuple[Any, np.ndarray, np.ndarray]:
        X, y, known = check_labelled_rows(self, X, y, reset=reset, multilabel=True)
        if y.ndim == 2:
            return X, y, known
        a_class = classes is not None and UNLABELLED in classes.tolist()
        return X, y, known if a_class else known & labelled_rows(y)

    def _encode_targets(
        self,
        y: np.ndarray,
        labelled: np.ndarray,
        used: np.ndarray,
        fitted: Network | None,
        classes: np.ndarray | None,
    ) -> Targets:
        if not labelled.any() and classes is None and not (y.ndim == 2 and fitted):
            raise DataError("Every row is unlabelled (y == -1); give labels for some rows of each class.")
        if y.ndim == 2:
            return self._encode_labels(y, used, fitted)
        if fitted is not None and fitted.architecture.task != "classification":
            raise DataError("The fitted network takes several labels a row, but y has one; begin anew for those.")
        found = np.unique(y[labelled])
        if classes is None:
            if fitted is not None and found.tolist() != np.asarray(fitted.classes).tolist():
                raise DataError(
                    f"warm_start continues a network for the classes {fitted.classes}, but y holds {found}; "
                    "give the same classes, or fit with warm_start=False."
                )
            classes = found
        elif not np.isin(found, classes).all():
            raise DataError(f"y of partial_fit holds {found}, but the classes are {classes}.")
        values = np.zeros(len(y), dtype=np.int64)
        values[labelled] = np.searchsorted(classes, y[labelled])
        return Targets(values, len(classes), "classification", classes, Scaling.none(), self._weights(y, used))

    def _encode_labels(self, y: np.ndarray, used: np.ndarray, fitted: Network | None) -> Targets:
        """Targets of rows that may have several labels, 0 or 1 each, (n_samples, n_labels)."""
        n_labels = y.shape[1]
        spec = None if fitted is None else fitted.architecture
        if spec is not None and (spec.task, spec.n_outputs) != ("multilabel", n_labels):
            raise DataError(
                f"y has {n_labels} columns of labels, but the fitted network, which training goes on with, has "
                f"{spec.n_outputs} outputs for {spec.task}; begin anew."
            )
        values = (y == 1).astype(np.float32)
        return Targets(values, n_labels, "multilabel", np.arange(n_labels), Scaling.none(), self._weights(y, used))

    def _weights(self, y: np.ndarray, used: np.ndarray) -> np.ndarray | None:
        """What each row counts by `class_weight`, (n_samples,)."""
        if self.class_weight is None:
            return None
        weight = np.ones(len(y))
        weight[used] = compute_sample_weight(self.class_weight, y[used])
        return weight

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def takes_classifier_parameters(cls: C) -> C:
    """Give a classifier `class_weight` and `pseudo_labels` beside what it shares with its regressor."""
    shared = cls.__init__  # type: ignore[misc]
    signature = inspect.signature(shared)

    @functools.wraps(shared)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        own = {name: kwargs.pop(name, default) for name, default in CLASSIFIER_DEFAULTS.items()}
        shared(self, *args, **kwargs)
        for name, value in own.items():
            setattr(self, name, value)

    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Any)
        for name, default in CLASSIFIER_DEFAULTS.items()
    ]
    # scikit-learn reads an estimator's parameters from the signature.
    __init__.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *added])  # type: ignore[attr-defined]
    cls.__init__ = __init__  # type: ignore[misc]
    parameters, references, rest = inspect.cleandoc(cls.__doc__ or "").partition("\n\nReferences")
    cls.__doc__ = f"{parameters}{CLASSIFIER_DOC}{references}{rest}\n"
    return cls
