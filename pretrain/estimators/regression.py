"""Numbers in, numbers out: what every regressor with a network does."""

from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.validation import validate_data

from pretrain.estimators.inputs import check_rows, like_input
from pretrain.estimators.supervised import SupervisedEstimator, Targets
from pretrain.exceptions import DataError
from pretrain.network import Network
from pretrain.scaling import Scaling


class NetworkRegressor(RegressorMixin, SupervisedEstimator):
    """Real targets, one or several; they are standardised for training and given back in their own units."""

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fine-tune for one epoch on rows and targets, going on from the last call.

        For data that come in pieces. The first piece decides the scaling, of rows and of targets, and is what the
        layers are pretrained on. The optimiser goes on from call to call, but begins anew after the estimator was
        loaded from a checkpoint; the learning rate is constant.
        """
        return self._fit_piece(X, y, sample_weight)

    def predict(self, X: Any) -> np.ndarray:
        """Targets of rows: (n_samples, n_features) -> (n_samples,) or (n_samples, n_targets)."""
        network, X = self._model, check_rows(self, X, accept_sparse=True)
        return like_input(network.predict(X), X)

    def _check_training_data(
        self, X: Any, y: Any, *, reset: bool, classes: np.ndarray | None
    ) -> tuple[Any, np.ndarray, np.ndarray]:
        X, y = validate_data(
            self, X, y, dtype="numeric", accept_sparse="csr", multi_output=True, y_numeric=True, reset=reset
        )
        if y.dtype.kind not in "biuf":  # scikit-learn lets texts and dates pass
            name = type(self).__name__
            raise DataError(
                f"y of {name} must be real numbers; got {y.dtype}, {y.flat[0]!r} first. Convert them, or fit a "
                "classifier to labels."
            )
        return X, y, np.ones(len(y), dtype=bool)

    def _encode_targets(
        self,
        y: np.ndarray,
        labelled: np.ndarray,
        used: np.ndarray,
        fitted: Network | None,
        classes: np.ndarray | None,
    ) -> Targets:
        targets = y.reshape(len(y), -1)
        n_outputs = targets.shape[1]
        if fitted is not None and fitted.architecture.n_outputs != n_outputs:
            raise DataError(
                f"The fitted network, which training goes on with, has {fitted.architecture.n_outputs} outputs, but "
                f"y has {n_outputs}; give as many, or fit with warm_start=False."
            )
        # Continued training goes on in the units that the network has learned.
        scaling = Scaling.fit("standard", targets[used]) if fitted is None else fitted.target_scaling
        return Targets(scaling.apply(targets), n_outputs, "regression", None, scaling)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
