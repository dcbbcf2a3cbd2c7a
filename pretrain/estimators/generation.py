"""What an estimator with a deep belief net can say as a generative model: samples, chains, a likelihood bound."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from pretrain._validation import require_flag, require_number
from pretrain.dbn import DBN
from pretrain.dbn_bound import N_DRAWS, log_weights
from pretrain.estimators.density import estimate_log_partition
from pretrain.estimators.inputs import check_rows, seed_from
from pretrain.exceptions import DataError
from pretrain.fantasies import GIBBS_STEPS, Fantasies
from pretrain.importance_sampling import LogPartition
from pretrain.random_streams import RandomStreams
from pretrain.stack import map_rows


class GenerativeEstimator:
    """Methods of an estimator around a `DBN`.

    Attributes
    ----------
    dbn_ : DBN
    seed_ : int
    mean_ : ndarray of shape (n_codes + n_classes,)
    """

    dbn_: DBN
    seed_: int
    mean_: np.ndarray
    _log_partition: LogPartition | None = None

    def score_samples(self, X: Any, *, n_draws: int = N_DRAWS) -> np.ndarray:
        """Variational lower bound on log p(x) of rows, labels summed over: -> (n_samples,), in nats.

        Of the scaled rows, as in `RBMTransformer.score_samples`. The mean of `n_draws` draws of the codes of each row
        from the seed of the fit; the error of `log_partition` is common to all rows.
        """
        check_is_fitted(self)
        X = check_rows(self, X, accept_sparse=True)

        def weights(dbn: DBN, rows: torch.Tensor) -> torch.Tensor:
            generator = self._generator("likelihood", layer=1)  # the same draws for all rows, wherever they stand
            return log_weights(dbn, rows, generator=generator, n_draws=n_draws, shared=True)[:, None]

        scaled = self.dbn_.scaling.apply(X, np.float64)
        return map_rows(self.dbn_, weights, scaled, 1)[:, 0].numpy(force=True) - self.log_partition().value

    def log_partition(self) -> LogPartition:
        """log Z of the memory in nats, with its standard error, by annealing unless its states are few."""
        check_is_fitted(self)
        if self._log_partition is None:
            generator = self._generator("likelihood")
            self._log_partition = estimate_log_partition(self.dbn_.memory, self.mean_, generator=generator)
        return self._log_partition

    def sample(
        self,
        n_samples: int = 1,
        label: Any = None,
        *,
        n_gibbs: int = GIBBS_STEPS,
        states: bool = False,
        random_state: Any = None,
    ) -> np.ndarray:
        """Rows that the net generates, in the units of X: (n_samples, n_features) float32.

        Parameters
        ----------
        n_samples : int
        label : one of `classes_`, or None
            Clamped while the memory samples; None lets the net choose.
        n_gibbs : int
            Gibbs steps of the memory before the pass down.
        states : bool
            Give states of the data and not their means (probabilities, for Bernoulli units).
        random_state : int, RandomState, Generator or None
        """
        require_number("sample", "n_gibbs", n_gibbs, at_least=0, integer=True)
        fantasies = self._fantasies(n_samples, label, states, random_state)
        fantasies.advance(n_gibbs)
        return self._raw(fantasies.data(states=states))

    def watch(
        self,
        n_samples: int = 1,
        label: Any = None,
        *,
        every: int = 1,
        states: bool = False,
        random_state: Any = None,
    ) -> Iterator[np.ndarray]:
        """Chains in motion: what `sample` gives at their start and after every `every` Gibbs steps, without end."""
        fantasies = self._fantasies(n_samples, label, states, random_state)
        return (self._raw(rows) for rows in fantasies.watch(every=every, states=states))

    def _fantasies(self, n_samples: int, label: Any, states: bool, random_state: Any) -> Fantasies:
        check_is_fitted(self)
        require_number("sample", "n_samples", n_samples, at_least=1, integer=True)
        require_flag("sample", "states", states)
        labels = None if label is None else torch.full((n_samples,), self._index(label), device=self._device)
        generator = RandomStreams(seed_from(random_state)).generator("fantasies", device=self._device)
        return Fantasies(self.dbn_, n_samples, labels=labels, generator=generator)

    def _index(self, label: Any) -> int:
        if self.dbn_.classes is None:
            raise DataError(f"The net was fitted without labels, so none can be clamped; got label {label!r}.")
        (found,) = np.nonzero(self.dbn_.classes == label)
        if len(found) != 1:
            raise DataError(f"label must be one of {self.dbn_.classes.tolist()}; got {label!r}.")
        return int(found[0])

    def _raw(self, rows: torch.Tensor) -> np.ndarray:
        return self.dbn_.scaling.undo(rows.numpy(force=True))

    def _generator(self, name: str, layer: int | None = None) -> torch.Generator:
        return RandomStreams(self.seed_).generator(name, layer=layer, device=self._device)

    @property
    def _device(self) -> torch.device:
        return self.dbn_.memory.weight.device
