"""The scikit-learn face: transformers, classifiers and regressors."""

from pretrain.estimators.dbn import DBNClassifier, DBNRegressor
from pretrain.estimators.deep_autoencoder import DeepAutoencoder
from pretrain.estimators.generative_dbn import GenerativeDBN
from pretrain.estimators.rbm_transformer import RBMTransformer
from pretrain.estimators.scratch import ScratchClassifier, ScratchRegressor
from pretrain.estimators.sdae import SDAEClassifier, SDAERegressor
from pretrain.estimators.transformers import StackTransformer

__all__ = [
    "DBNClassifier",
    "DBNRegressor",
    "DeepAutoencoder",
    "GenerativeDBN",
    "RBMTransformer",
    "SDAEClassifier",
    "SDAERegressor",
    "ScratchClassifier",
    "ScratchRegressor",
    "StackTransformer",
]
