"""scikit-learn's own battery, for every estimator."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from pretrain import (
    DBNClassifier,
    DBNRegressor,
    DeepAutoencoder,
    GenerativeDBN,
    RBMTransformer,
    ScratchClassifier,
    ScratchRegressor,
    SDAEClassifier,
    SDAERegressor,
    StackTransformer,
)

# Every known deviation from scikit-learn's contract, with its reason, which is scikit-learn's own for its estimators
# that are trained by stochastic gradients (SGDClassifier, MLPClassifier and others in its table of the same kind).
IN_BATCHES = "a row of weight 2 is one row of a batch that counts twice, not two rows of batches"
WEIGHTS = {f"check_sample_weight_equivalence_on_{kind}_data": IN_BATCHES for kind in ("dense", "sparse")}
WEIGHTED = [
    "RBMTransformer", "StackTransformer", "DBNClassifier", "DBNRegressor", "SDAEClassifier", "SDAERegressor",
    "ScratchClassifier", "ScratchRegressor",
]  # fmt: skip
EXPECTED_FAILURES: dict[str, dict[str, str]] = dict.fromkeys(WEIGHTED, WEIGHTS)

SUPERVISED = {"hidden_layer_sizes": (23, 11), "max_iter": 60, "batch_size": 20, "learning_rate_init": 0.01}
SMALL = {**SUPERVISED, "pretrain_epochs": 3}
ESTIMATORS = [
    RBMTransformer(n_components=7, n_iter=5),
    StackTransformer(hidden_layer_sizes=(11, 7), n_iter=5),
    StackTransformer(hidden_layer_sizes=(11, 7), n_iter=5, kind="autoencoder"),
    StackTransformer(hidden_layer_sizes=(11, 7), n_iter=5, kind="supervised"),
    *(DeepAutoencoder((11, 7), kind=kind, pretrain_epochs=3, max_iter=5) for kind in ("rbm", "autoencoder")),
    GenerativeDBN(
        (23, 31),
        visible_units="gaussian",
        **{f"{s}_{k}": 20 for s in ("pretrain", "up_down") for k in ("epochs", "batch_size")},
    ),
    DBNClassifier(**SMALL),
    DBNRegressor(**SMALL),
    SDAEClassifier(**SMALL),
    SDAERegressor(**SMALL),
    *(ScratchClassifier(kind, **SUPERVISED) for kind in ("relu", "relu-bn", "residual", "dense")),
    # The battery's two features leave nothing to drop, and half of eleven units is too little: a wider net.
    ScratchClassifier("relu-dropout", **{**SUPERVISED, "hidden_layer_sizes": (101, 53)}, input_dropout=0.0),
    ScratchRegressor(**SUPERVISED),
]


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=lambda est: EXPECTED_FAILURES.get(type(est).__name__, {}))
def test_sklearn_contract(estimator, check):
    check(estimator)
