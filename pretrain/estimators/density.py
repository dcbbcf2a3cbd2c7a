"""What an estimator that holds an RBM can say as a density model: likelihoods, samples, missing values."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from pretrain.batches import as_dense_tensor
from pretrain.columns import require_rows
from pretrain.estimators.inputs import check_rows, like_input
from pretrain.exceptions import SettingsError
from pretrain.importance_sampling import LogPartition
from pretrain.likelihood import ais_log_partition, exact_log_partition
from pretrain.missing_values import impute
from pretrain.random_streams import RandomStreams
from pretrain.rbm import RBM
from pretrain.stack import Stack, map_rows
from pretrain.unit_states import count_states

TEMPERATURES = 3_000  # of annealing: a score should take seconds; `pretrain.likelihood` has the longer estimates
ENOUGH_STATES = 2**16  # as few as these are summed, more are estimated


class DensityEstimator:
    """Methods of an estimator whose stack is one RBM.

    Attributes
    ----------
    stack_ : Stack
    seed_ : int
    mean_ : ndarray of shape (n_features,)
        Mean of the scaled training rows.
    """

    stack_: Stack
    seed_: int
    mean_: np.ndarray
    _log_partitions: Mapping[int | None, LogPartition] = MappingProxyType({})

    def score_samples(self, X: Any) -> np.ndarray:
        """Log-likelihood of rows, -F(x) - log Z: (n_samples, n_features) -> (n_samples,), in nats.

        Of the scaled rows; for Gaussian units it is the logarithm of a density, and for rows between the states of
        discrete units (grey pixels under Bernoulli units) no likelihood but a score. Missing values are filled with
        their means first, so such rows score higher than their known values are likely.

        log Z is summed over all states where there are few, else estimated by annealed importance sampling from the
        seed of the fit, once, when it is first needed (`log_partition`): some seconds. Rows of word counts have a
        log Z for each length.
        """
        rbm = self._rbm
        X = self._check_rows(X)
        rows = self.stack_.scaling.apply(self._complete(X), np.float64)
        free_energy = map_rows(rbm, lambda rbm, v: rbm.free_energy(v)[:, None], rows, 1)[:, 0].numpy(force=True)
        totals = np.asarray(rows.sum(axis=1)).ravel() if rbm.visible_units.name == "replicated_softmax" else None
        if totals is None:
            return -free_energy - self.log_partition().value
        lengths, where = np.unique(totals, return_inverse=True)
        return -free_energy - np.array([self.log_partition(int(length)).value for length in lengths])[where]

    def score(self, X: Any, y: Any = None) -> float:
        """Mean of `score_samples`: higher is better."""
        return float(self.score_samples(X).mean())

    def log_partition(self, total: int | None = None) -> LogPartition:
        """log Z in nats, with its standard error; of documents of `total` words for replicated softmax units.

        Raises
        ------
        SettingsError
            If the energy has no finite partition function: Gaussian units on both sides with large weights.
        """
        check_is_fitted(self)
        if total not in self._log_partitions:
            generator = RandomStreams(self.seed_).generator("likelihood", device=self._device)
            found = estimate_log_partition(self._rbm, self.mean_, generator=generator, total=total)
            self._log_partitions = {**self._log_partitions, total: found}
        return self._log_partitions[total]

    def gibbs(self, X: Any) -> np.ndarray:
        """One Gibbs step from rows, in the units of X: (n_samples, n_features) -> (n_samples, n_features).

        Each call draws on from the stream of the fit.
        """
        rbm = self._rbm
        X = self._check_rows(X)
        self._gibbs_calls = getattr(self, "_gibbs_calls", 0) + 1
        generator = RandomStreams(self.seed_).generator("sampling", layer=self._gibbs_calls, device=self._device)
        v = as_dense_tensor(self.stack_.scaling.apply(self._complete(X))).to(self._device)
        return like_input(self.stack_.scaling.undo(rbm.gibbs_step(v, generator=generator).numpy(force=True)), X)

    def impute(self, X: Any, *, n_gibbs_steps: int = 200, average: int = 100) -> np.ndarray:
        """X with every NaN replaced by an estimate of its mean given the known entries of the row.

        The means of the last `average` of `n_gibbs_steps` steps of Gibbs sampling with the known entries clamped;
        `average=0` gives a draw instead. In the units of X; known entries are returned as they are.
        """
        rbm = self._rbm
        if rbm.visible_units.name == "replicated_softmax":
            raise SettingsError("impute is not for replicated_softmax units: the counts of a document are complete.")
        X = check_rows(self, X, allow_nan=True)
        require_rows(rbm.visible_units, X, self.stack_.scaling)
        generator = RandomStreams(self.seed_).generator("missing", device=self._device)
        rows = as_dense_tensor(self.stack_.scaling.apply(X)).to(self._device)
        filled = impute(rbm, rows, generator=generator, n_gibbs_steps=n_gibbs_steps, average=average)
        raw = self.stack_.scaling.undo(filled.numpy(force=True))
        return like_input(np.where(np.isnan(X), raw, X), X)

    @property
    def _rbm(self) -> RBM:
        check_is_fitted(self)
        return self.stack_.layers[0]

    @property
    def _device(self) -> torch.device:
        return self._rbm.weight.device

    def _check_rows(self, X: Any, *, reset: bool = False) -> Any:
        raise NotImplementedError

    def _complete(self, X: Any) -> Any:
        raise NotImplementedError


def estimate_log_partition(
    rbm: RBM, mean: np.ndarray, *, generator: torch.Generator, total: int | None = None
) -> LogPartition:
    """log Z by summing where there are few states, else by annealing from the `mean` of the rows that the RBM saw."""
    if min(count_states(rbm.visible_units, total), count_states(rbm.hidden_units)) <= ENOUGH_STATES:
        return exact_log_partition(rbm, total=total)
    base = torch.from_numpy(mean).to(rbm.weight)
    return ais_log_partition(rbm, generator=generator, base_mean=base, total=total, n_temperatures=TEMPERATURES)
