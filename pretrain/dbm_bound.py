"""The variational lower bound on the likelihood of a deep Boltzmann machine, and its partition function.

References
----------
.. [1] Salakhutdinov, R. & Hinton, G. E. (2009). Deep Boltzmann machines. AISTATS, section 3.3.
.. [2] Burda, Y., Grosse, R. & Salakhutdinov, R. (2015). Accurate and conservative estimates of MRF log-likelihood
       using reverse annealing. AISTATS.
"""

import copy
from typing import Any

import torch
from torch.special import entr

from pretrain.dbm import DBM, MEAN_FIELD_STEPS, MEAN_FIELD_TOL
from pretrain.dbm_annealing import DBMPath
from pretrain.exceptions import DataError, SettingsError
from pretrain.importance_sampling import LogPartition, forward_estimate, reverse_estimate
from pretrain.likelihood import LogLikelihood, mean_of_rows
from pretrain.random_streams import BernoulliSampler
from pretrain.stack import map_rows
from pretrain.unit_states import states_in_chunks
from pretrain.units import BernoulliUnits

MOST_COUNTED = 24  # hidden units whose states are summed over one by one


@torch.no_grad()
def log_weights(
    dbm: DBM, v: torch.Tensor, *, n_steps: int = MEAN_FIELD_STEPS, tol: float = MEAN_FIELD_TOL
) -> torch.Tensor:
    """The lower bound of [1]_ on log p(v), but for log Z: (batch, n_visible) -> (batch,), float64, in nats.

        log p(v) >= E_q[-E(v, h)] + entropy of q - log Z,   q(h) = product over hidden units of Bernoulli(mu)

    of scaled rows, with the means that `DBM.mean_field` finds (`n_steps`, `tol`). With one hidden layer it is exact.
    """
    means = [mean.double() for mean in dbm.mean_field(v, n_steps=n_steps, tol=tol)]
    entropy = torch.stack([(entr(mean) + entr(1 - mean)).sum(dim=1) for mean in means]).sum(dim=0)
    return entropy - copy.deepcopy(dbm).double().energy([v.double(), *means])


def dbm_bound(dbm: DBM, X: Any, log_partition: LogPartition) -> LogLikelihood:
    """Mean of the lower bound on log p(v) over scaled rows, (n_samples, n_visible), in nats a row.

    Its error is that over rows and that of log Z, added as variances. The bound holds for the true log Z: annealing
    tends to make log Z too small and the bound too large by as much (`reverse_ais_dbm_log_partition`).

    Parameters
    ----------
    dbm : DBM
    X : ndarray, Tensor or scipy sparse matrix of shape (n_samples, n_visible)
    log_partition : LogPartition
        Of the model.

    Raises
    ------
    DataError
        If the rows have another number of features, or there are none.
    """
    _require_rows("X", X, dbm)
    return mean_of_rows(map_rows(dbm, _as_column, X, 1)[:, 0].double(), log_partition)


def _as_column(dbm: DBM, v: torch.Tensor) -> torch.Tensor:
    return log_weights(dbm, v)[:, None]


@torch.no_grad()
def exact_dbm_log_partition(dbm: DBM) -> LogPartition:
    """log Z by summing over all states of the odd hidden layers, at most 24 units, in float64.

    Raises
    ------
    SettingsError
        If there are more of these units.
    """
    sizes = dbm.hidden_layer_sizes[::2]
    if sum(sizes) > MOST_COUNTED:
        raise SettingsError(
            f"An exact partition function needs at most {MOST_COUNTED} hidden units in the odd layers; this DBM has "
            f"{sum(sizes)}. Take ais_dbm_log_partition."
        )
    dbm = copy.deepcopy(dbm).cpu().double()
    path, parts = DBMPath(dbm, None, torch.Generator()), []
    for states in states_in_chunks(BernoulliUnits(sum(sizes))):
        layers = path.conditionals.empty(len(states))
        layers[1::2] = states.split(sizes, dim=1)
        parts.append(path.log_probability(path.states_of(layers), 1.0))
    return LogPartition(float(torch.cat(parts).logsumexp(dim=0)))


@torch.no_grad()
def ais_dbm_log_partition(
    dbm: DBM,
    *,
    generator: torch.Generator,
    base_mean: torch.Tensor | None = None,
    n_runs: int = 100,
    n_temperatures: int = 14_500,
) -> LogPartition:
    """log Z by annealed importance sampling of the odd hidden layers, the others summed out ([1]_, `DBMPath`).

    Parameters
    ----------
    dbm : DBM
    generator : torch.Generator
        On the device of the model.
    base_mean : Tensor of shape (n_visible,) or None
        Mean of the training rows: the visible units at the start of every run. None: the model's own biases.
    n_runs, n_temperatures : int
        As in `pretrain.likelihood.ais_log_partition`.
    """
    return forward_estimate(DBMPath(dbm, base_mean, generator), n_runs, n_temperatures)


@torch.no_grad()
def reverse_ais_dbm_log_partition(
    dbm: DBM,
    start: torch.Tensor,
    *,
    generator: torch.Generator,
    base_mean: torch.Tensor | None = None,
    n_temperatures: int = 14_500,
    n_burn_in: int = 1_000,
) -> LogPartition:
    """log Z by annealing backwards, from samples of the model [2]_: likely too large, where `ais` is too small.

    Parameters
    ----------
    start : Tensor of shape (n_runs, n_visible)
        Rows at which the chains begin, one run each, with hidden states drawn by mean field.
    n_burn_in : int
        Gibbs steps of the model that are taken first.
    dbm, generator, base_mean, n_temperatures
        As in `ais_dbm_log_partition`.
    """
    _require_rows("start", start, dbm)
    v = start.to(dbm.visible_bias)
    sampler = BernoulliSampler(generator, exact=True)
    hidden = [sampler.sample(mean, torch.empty_like(mean)) for mean in dbm.mean_field(v)]
    path = DBMPath(dbm, base_mean, generator)
    return reverse_estimate(path, path.states_of([v, *hidden]), len(v), n_temperatures, n_burn_in)


def _require_rows(name: str, rows: Any, dbm: DBM) -> None:
    if len(rows.shape) != 2 or rows.shape[0] == 0 or rows.shape[1] != dbm.n_visible:
        raise DataError(f"{name} must have shape (n, {dbm.n_visible}) with rows; got {tuple(rows.shape)}.")
