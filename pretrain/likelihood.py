"""Likelihoods of restricted Boltzmann machines: the partition function, exactly and by annealing; pseudo-likelihood.

References
----------
.. [1] Neal, R. M. (2001). Annealed importance sampling. Statistics and Computing 11, 125-139.
.. [2] Salakhutdinov, R. & Murray, I. (2008). On the quantitative analysis of deep belief networks. ICML.
.. [3] Burda, Y., Grosse, R. & Salakhutdinov, R. (2015). Accurate and conservative estimates of MRF log-likelihood
       using reverse annealing. AISTATS.
.. [4] Grosse, R., Ghahramani, Z. & Adams, R. (2015). Sandwiching the marginal likelihood using bidirectional Monte
       Carlo. arXiv:1511.02543.
.. [5] Besag, J. (1975). Statistical analysis of non-lattice data. The Statistician 24, 179-195.
"""

import copy
import dataclasses
import math

import torch

from pretrain._validation import require_number
from pretrain.annealing import AnnealingPath, word_totals
from pretrain.exceptions import DataError, SettingsError
from pretrain.importance_sampling import LogPartition, forward_estimate, reverse_estimate
from pretrain.rbm import RBM
from pretrain.unit_states import count_states, sites, states_in_chunks

MOST_STATES = 2**24
STOCHASTIC_SITES = 32  # of a stochastic pseudo-likelihood


@dataclasses.dataclass(frozen=True)
class LogLikelihood:
    """Mean log-likelihood of rows.

    Attributes
    ----------
    mean : float
        Nats a row.
    standard_error : float
        Of the mean over rows and of log Z, added as variances.
    spread : float
        Standard deviation over rows.
    """

    mean: float
    standard_error: float
    spread: float


@torch.no_grad()
def exact_log_partition(rbm: RBM, *, total: int | None = None) -> LogPartition:
    """log Z by summing over all states of the layer that has fewer.

    Parameters
    ----------
    rbm : RBM
        With at most 2^24 states in one layer, the other of any type. Computed in float64.
    total : int or None
        Words of a document, for replicated softmax units: Z depends on it.

    Raises
    ------
    SettingsError
        If both layers have too many states to be counted, or `total` is missing.
    """
    rbm = copy.deepcopy(rbm).cpu().double()
    totals = word_totals(rbm, total)
    n_visible = count_states(rbm.visible_units, total)
    n_hidden = count_states(rbm.hidden_units)
    if min(n_visible, n_hidden) > MOST_STATES:
        raise SettingsError(
            f"An exact partition function needs a layer with at most 2^24 states; this RBM has "
            f"{_words(n_visible)} visible and {_words(n_hidden)} hidden ones. Take ais_log_partition."
        )
    if n_hidden <= n_visible:
        parts = [_log_weight_of_hidden(rbm, h, totals) for h in states_in_chunks(rbm.hidden_units)]
    else:
        parts = [-rbm.free_energy(v) for v in states_in_chunks(rbm.visible_units, total)]
    return LogPartition(float(torch.cat(parts).logsumexp(dim=0)))


@torch.no_grad()
def ais_log_partition(
    rbm: RBM,
    *,
    generator: torch.Generator,
    base_mean: torch.Tensor | None = None,
    n_runs: int = 100,
    n_temperatures: int = 14_500,
    total: int | None = None,
) -> LogPartition:
    """log Z by annealed importance sampling [1]_, [2]_.

    Every run starts at independent units with the biases of `base_mean`, whose partition function is known, and is
    led in small steps to the RBM. The mean weight of the runs estimates Z without bias; its logarithm tends to be
    too small, and likelihoods too large, when there are too few temperatures.

    Parameters
    ----------
    rbm : RBM
    generator : torch.Generator
        On the device of the RBM.
    base_mean : Tensor of shape (n_visible,) or None
        Mean of the training rows: the nearer the start is to the RBM, the smaller is the error. None starts at the
        RBM's own visible biases.
    n_runs, n_temperatures : int
        The temperatures are spaced as in [2]_.
    total : int or None
        As in `exact_log_partition`.
    """
    path = AnnealingPath(rbm, base_mean, total, generator)
    return forward_estimate(path, n_runs, n_temperatures)


@torch.no_grad()
def reverse_ais_log_partition(
    rbm: RBM,
    start: torch.Tensor,
    *,
    generator: torch.Generator,
    base_mean: torch.Tensor | None = None,
    n_temperatures: int = 14_500,
    n_burn_in: int = 1_000,
) -> LogPartition:
    """log Z by annealing backwards, from samples of the RBM to independent units [3]_, [4]_.

    From exact samples the mean weight estimates 1/Z without bias, so that log Z tends to be too large, where
    `ais_log_partition` tends to be too small: the truth is likely between them. Samples of a chain that has not
    forgotten where it began make the bound a likely one, no more.

    Parameters
    ----------
    rbm : RBM
    start : Tensor of shape (n_runs, n_visible)
        Where the chains begin, one run each: persistent chains or training rows.
    n_burn_in : int
        Gibbs steps of the RBM that are taken first.
    generator, base_mean, n_temperatures
        As in `ais_log_partition`.
    """
    _require_rows("start", start, rbm)
    totals = rbm.visible_units.row_totals(start)
    if totals is not None and bool((totals != totals[0]).any()):
        raise DataError("start must be documents of one length, whose partition function is asked for.")
    total = None if totals is None else int(totals[0])
    path = AnnealingPath(rbm, base_mean, total, generator)
    v = start.to(rbm.weight.dtype, copy=True)  # the steps write into it
    return reverse_estimate(path, v, len(v), n_temperatures, n_burn_in)


@torch.no_grad()
def log_likelihood(rbm: RBM, rows: torch.Tensor, log_partition: LogPartition) -> LogLikelihood:
    """Mean of log p(v) = -F(v) - log Z over rows, (n, n_visible), in nats a row.

    For Gaussian units it is the logarithm of a density. For replicated softmax units all rows need the `total` of
    the partition function.
    """
    _require_rows("rows", rows, rbm)
    return mean_of_rows(-rbm.free_energy(rows.to(rbm.weight.dtype)).double(), log_partition)


def mean_of_rows(log_weights: torch.Tensor, log_partition: LogPartition) -> LogLikelihood:
    """Mean of rows' unnormalised log-likelihoods, (n,), less log Z; its error is that over rows and that of log Z."""
    spread = float(log_weights.std()) if len(log_weights) > 1 else 0.0
    error = math.sqrt(spread**2 / len(log_weights) + log_partition.standard_error**2)
    return LogLikelihood(float(log_weights.mean()) - log_partition.value, error, spread)


@torch.no_grad()
def pseudo_log_likelihood(
    rbm: RBM, rows: torch.Tensor, *, n_sites: int | None = STOCHASTIC_SITES, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Sum over visible units of log p(v_i | the other units) [5]_: (n, n_visible) -> (n,), in nats.

    Rows between the states, such as grey pixels, count as probabilities of the states.

    Parameters
    ----------
    rbm : RBM
        With Bernoulli, spin or softmax visible units, or several of these types.
    rows : Tensor of shape (n, n_visible)
    n_sites : int or None
        So many units (or softmax groups), drawn anew for every call, stand for all of them: an estimate without
        bias. None, or as many as there are, takes all: exact.
    generator : torch.Generator or None
        On the CPU or the RBM's device; draws the units, needed unless the sum is exact.

    Raises
    ------
    SettingsError
        For visible units whose states cannot be counted, and for replicated softmax units.
    """
    _require_rows("rows", rows, rbm)
    if n_sites is not None:
        require_number("pseudo_log_likelihood", "n_sites", n_sites, at_least=1, integer=True)
    rows = rows.to(rbm.weight.dtype)
    every = sites(rbm.visible_units)
    chosen = every
    if n_sites is not None and n_sites < len(every):
        if generator is None:
            raise SettingsError("pseudo_log_likelihood needs a generator for a number of sites below all of them.")
        order = torch.randperm(len(every), generator=generator, device=generator.device)[:n_sites].tolist()
        chosen = [every[k] for k in order]
    hidden_input, total = rbm.hidden_input(rows), rows.new_zeros(len(rows))
    for site in chosen:
        weight, bias = rbm.weight[:, site.columns], rbm.visible_bias[site.columns]
        states = site.states.to(rows)
        without = hidden_input - rows[:, site.columns] @ weight.T
        log_weights = [state @ bias + rbm.hidden_units.log_partition(without + state @ weight.T) for state in states]
        log_p = torch.log_softmax(torch.stack(log_weights, dim=1), dim=1)
        total += (site.probabilities(rows[:, site.columns]) * log_p).sum(dim=1)
    return total * (len(every) / len(chosen))


def _require_rows(name: str, rows: torch.Tensor, rbm: RBM) -> None:
    if rows.ndim != 2 or rows.shape[0] == 0 or rows.shape[1] != rbm.n_visible:
        raise DataError(f"{name} must have shape (n, {rbm.n_visible}) with rows; got {tuple(rows.shape)}.")


def _log_weight_of_hidden(rbm: RBM, h: torch.Tensor, totals: torch.Tensor | None) -> torch.Tensor:
    bias = h @ rbm.hidden_bias
    if totals is not None:
        bias = bias * totals[0]
    all_totals = None if totals is None else totals.expand(len(h), 1)
    visible = rbm.visible_units.log_partition(rbm.visible_input(h), all_totals)
    return bias - rbm.hidden_units.base_energy(h) + visible


def _words(count: float) -> str:
    return "infinitely many" if math.isinf(count) else f"{count:.3g}"
