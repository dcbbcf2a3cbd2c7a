"""scikit-learn's own battery, for every estimator."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from pretrain import (
    DBNClassifier,
    DBNRegressor,
    RBMTransformer,
    ScratchClassifier,
    ScratchRegressor,
    SDAEClassifier,
    SDAERegressor,
    StackTransformer,
)

# Every known deviation from scikit-learn's contract, with its reason. There is none.
EXPECTED_FAILURES: dict[str, dict[str, str]] = {}

SUPERVISED = {"hidden_layer_sizes": (23, 11), "max_iter": 60, "batch_size": 20, "learning_rate_init": 0.01}
SMALL = {**SUPERVISED, "pretrain_epochs": 3}
ESTIMATORS = [
    RBMTransformer(n_components=7, n_iter=5),
    StackTransformer(hidden_layer_sizes=(11, 7), n_iter=5),
    StackTransformer(hidden_layer_sizes=(11, 7), n_iter=5, kind="autoencoder"),
    DBNClassifier(**SMALL),
    DBNRegressor(**SMALL),
    SDAEClassifier(**SMALL),
    SDAERegressor(**SMALL),
    *(ScratchClassifier(kind, **SUPERVISED) for kind in ("relu", "sigmoid", "relu-bn", "residual")),
    # The battery's two features leave nothing to drop, and half of eleven units is too little: a wider net.
    ScratchClassifier("relu-dropout", **{**SUPERVISED, "hidden_layer_sizes": (101, 53)}, input_dropout=0.0),
    ScratchRegressor(**SUPERVISED),
]


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=lambda est: EXPECTED_FAILURES.get(type(est).__name__, {}))
def test_sklearn_contract(estimator, check):
    check(estimator)
