"""Greedy layer-wise pretraining: RBMs, autoencoders and deep belief nets, stacked, unrolled, fine-tuned, compared.

Arrays go in, layers are pretrained greedily into a `Stack`, the stack is unrolled into a feed-forward network
by `unroll`, and the network is fine-tuned by backpropagation. The estimators do all of it behind scikit-learn's
interface.
"""

from pretrain.autoencoder import Autoencoder
from pretrain.dbm import DBM
from pretrain.dbm_training import DBMTraining
from pretrain.dbm_unrolling import augmented_rows, unroll_dbm
from pretrain.dbn import DBN
from pretrain.dbn_training import DBNTraining
from pretrain.estimators import (
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
from pretrain.finetuning import Finetuning
from pretrain.greedy import GreedyPretraining
from pretrain.rbm import RBM
from pretrain.stack import Stack
from pretrain.unrolling import unroll

__version__ = "0.1.0"

__all__ = [
    "DBM",
    "DBN",
    "RBM",
    "Autoencoder",
    "DBMTraining",
    "DBNClassifier",
    "DBNRegressor",
    "DBNTraining",
    "DeepAutoencoder",
    "Finetuning",
    "GenerativeDBN",
    "GreedyPretraining",
    "RBMTransformer",
    "SDAEClassifier",
    "SDAERegressor",
    "ScratchClassifier",
    "ScratchRegressor",
    "Stack",
    "StackTransformer",
    "__version__",
    "augmented_rows",
    "unroll",
    "unroll_dbm",
]
