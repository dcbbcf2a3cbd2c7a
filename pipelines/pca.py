"""Principal components, and the linear codes to compare a deep autoencoder with.

References
----------
.. [1] Hinton, G. E. & Salakhutdinov, R. R. (2006). Reducing the dimensionality of data with neural networks.
       Science 313, 504-507.
"""

import numpy as np
import torch
from sklearn.decomposition import PCA

from pretrain import Finetuning
from pretrain.architecture import Architecture
from pretrain.exceptions import DataError
from pretrain.network import Network
from pretrain.scaling import in_unit_interval
from pretrain.settings import FinetuneSettings, TrainingSettings

LOGISTIC_EPOCHS = 30


def fit_pca(X: np.ndarray, n_components: int) -> PCA:
    """The first principal components of training rows: `n_components`, or as many as there are.

    Raises
    ------
    DataError
        If there are fewer than 3 rows, (n_rows, n_features).
    """
    if len(X) < 3:
        raise DataError(f"Principal components need at least 3 training rows; there are {len(X)}.")
    exact = "covariance_eigh" if len(X) > X.shape[1] else "full"  # by the smaller of the two matrices
    return PCA(min(n_components, *X.shape), svd_solver=exact).fit(X)


def squared_error(rebuilt: np.ndarray, rows: np.ndarray) -> float:
    """Summed over features, mean over rows: (n_rows, n_features) each."""
    return float(np.square(rebuilt.astype(np.float64) - rows).sum(axis=1).mean())


def linear_code_errors(train: np.ndarray, test: np.ndarray, n_components: int, *, seed: int = 0) -> dict[str, float]:
    """Squared error of test rows, summed over features, mean over rows, of linear codes of `n_components` units.

    `pca` is exact. `logistic_pca`, for rows in [0, 1], is a linear code with sigmoid outputs trained on the
    cross-entropy from a start at the principal components; its codes are linear in the row, where [1]_ fits the code
    of every row.

    Parameters
    ----------
    train, test : float32 ndarray of shape (n, n_features)
        Scaled rows.
    n_components : int
        See `fit_pca`.
    seed : int
        Of the batches of the logistic code.
    """
    pca = fit_pca(train, n_components)
    rebuilt = pca.inverse_transform(pca.transform(test))
    errors = {"pca": squared_error(rebuilt, test)}
    if in_unit_interval(train):
        errors["logistic_pca"] = squared_error(_logistic(train, pca, seed).predict(test), test)
    return errors


def _logistic(train: np.ndarray, pca: PCA, seed: int) -> Network:
    n_features, n_components = train.shape[1], pca.n_components_
    network = Network(
        Architecture(
            n_features=n_features,
            n_outputs=n_features,
            hidden_layer_sizes=(n_components,),
            activations=("identity",),
            output_activation="sigmoid",
            task="reconstruction",
            n_encoder_layers=1,
        )
    )
    code, head = network.hidden[0].linear, network.head
    mean = np.clip(pca.mean_, 0.01, 0.99)
    with torch.no_grad():
        code.weight.copy_(torch.from_numpy(pca.components_))
        code.bias.copy_(torch.from_numpy(-pca.components_ @ pca.mean_))
        head.weight.copy_(torch.from_numpy(4 * pca.components_.T))  # the slope of a sigmoid at 1/2 is a quarter
        head.bias.copy_(torch.from_numpy(np.log(mean / (1 - mean))))
    training = TrainingSettings(epochs=LOGISTIC_EPOCHS, optimizer="adam", learning_rate=3e-3, schedule="cosine")
    for _ in Finetuning(network, train, None, FinetuneSettings(training=training), seed=seed, device="cpu"):
        pass
    return network
