"""The scikit-learn face: transformers, classifiers and regressors."""

from pretrain.estimators.pretrained import DBNClassifier, DBNRegressor, SDAEClassifier, SDAERegressor
from pretrain.estimators.rbm_transformer import RBMTransformer
from pretrain.estimators.scratch import ScratchClassifier, ScratchRegressor
from pretrain.estimators.transformers import StackTransformer

__all__ = [
    "DBNClassifier",
    "DBNRegressor",
    "RBMTransformer",
    "SDAEClassifier",
    "SDAERegressor",
    "ScratchClassifier",
    "ScratchRegressor",
    "StackTransformer",
]
