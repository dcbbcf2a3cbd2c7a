"""Contrastive divergence and its kin: estimates of the log-likelihood gradient of an RBM.

References
----------
.. [1] Hinton, G. E. (2002). Training products of experts by minimizing contrastive divergence. Neural
       Computation 14, 1771-1800.
.. [2] Hinton, G. E. (2012). A practical guide to training restricted Boltzmann machines.
.. [3] Melchior, J., Fischer, A. & Wiskott, L. (2016). How to center deep Boltzmann machines. JMLR 17.
.. [4] Srivastava, N. et al. (2014). Dropout. JMLR 15, 1929-1958, section 8.
"""

import copy
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import torch

from pretrain.batches import Batch
from pretrain.centering import Centering, Offsets
from pretrain.conditionals import Conditionals
from pretrain.exceptions import SettingsError
from pretrain.learner import Learner
from pretrain.missing_values import fill_missing_
from pretrain.negative_phase import (
    DataChains,
    FastPersistentChains,
    MeanFieldChains,
    NegativePhase,
    PersistentChains,
)
from pretrain.phase_buffers import PhaseBuffers
from pretrain.random_streams import random_mask
from pretrain.rbm_settings import RBMSettings
from pretrain.sparsity import SparsityPenalty
from pretrain.tempering import TemperedChains

if TYPE_CHECKING:
    from pretrain.rbm import RBM

NEGATIVE_PHASES: dict[str, type[NegativePhase]] = {
    "cd": DataChains,
    "mean_field": MeanFieldChains,
    "pcd": PersistentChains,
    "fast_pcd": FastPersistentChains,
    "tempering": TemperedChains,
}
Gradients = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # of weight, visible bias and hidden bias
VARIANCE_RATE = 0.1  # of the learning rate
# A chain that does not start at the data has no reconstruction: one is made for every so many batches.
RECONSTRUCT_EVERY = 20


class ContrastiveDivergence(Learner):
    """Writes an estimate of the gradient of the negative log-likelihood into `.grad`.

    With v the data, h = E[h | v], and v', h' what the negative phase (`pretrain.negative_phase`) has of the model,

        dW = mean of h' v'^T - mean of h v^T,   db = mean v' - mean v,   dc = mean h' - mean h        [1]_

    In CD-k the last reconstruction and the last hidden units are probabilities ([2]_, section 3), which have less
    noise, but then E[dW] and E[dc] are not zero at the true parameters, only E[db] is. With `sample_reconstruction`
    all three are, and tend to the gradient of the log-likelihood as k grows.

    Data and chains share one buffer, so that both halves of the gradient are one matrix product with the sign of the
    data's turned. Buffers only grow, so that short batches use those of full ones: in float32 plain CD allocates
    nothing after its first full batch.

    Under replicated softmax units dc is divided by the mean square of the number of words, by which a bias counts.

    Centred gradients take running means m of v and l of h off both halves; the biases follow, db - dW^T l and
    dc - dW m [3]_. Hidden dropout leaves a unit out of a row in both phases [4]_: the mask of a chain is that of the
    row that it starts from, and a fresh one where chains persist.

    Parameters
    ----------
    rbm : RBM
    settings : RBMSettings
    generator : torch.Generator
        On the device of the RBM; draws the states.
    dtype : torch.dtype
        Of the matrix products; the parameters and their gradients stay float32.
    """

    def __init__(
        self,
        rbm: "RBM",
        settings: RBMSettings,
        *,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if settings.binarize and rbm.visible_units.name != "bernoulli":
            raise SettingsError(
                f"binarize of RBMSettings is for bernoulli visible units; this layer has {rbm.visible_units.name!r} "
                "ones. Turn it off for the layers above the data: settings may be a list, one a layer."
            )
        self.module, self.settings, self.generator, self.dtype = rbm, settings, generator, dtype
        self.generators = (generator,)
        self.conditionals = Conditionals(rbm, generator=generator, dtype=dtype)
        self.negative = NEGATIVE_PHASES[settings.gradient_estimator](self.conditionals, settings)
        self.n_gibbs_steps = settings.n_gibbs_steps
        gaussian = "gaussian" in rbm.visible_units.name
        self._centered = settings.centered is True or (settings.centered == "auto" and gaussian)
        self._buffers = PhaseBuffers(self.conditionals)
        self._gradient = None if dtype == torch.float32 else torch.empty_like(rbm.weight, dtype=dtype)
        self._n_batches = 0
        self._loss = torch.zeros((), device=rbm.weight.device)
        self._centering = Centering()
        self._sparsity = SparsityPenalty(settings)
        for parameter in rbm.parameters():
            parameter.grad = torch.zeros_like(parameter)

    @property
    def stochastic(self) -> bool:
        """Whether two calls on one batch give different gradients."""
        settings = self.settings
        draws = settings.binarize or settings.hidden_dropout > 0 or settings.missing != "error"
        return draws or not self.negative.deterministic

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Weights and biases; learned variances with a tenth of the learning rate."""
        rbm = self.module
        groups: list[dict[str, Any]] = [{"params": [rbm.weight, rbm.visible_bias, rbm.hidden_bias]}]
        if variances := [log_variance for _, log_variance in rbm.visible_units.log_variances()]:
            groups.append({"params": variances, "rate_factor": VARIANCE_RATE})
        return groups

    def begin_epoch(self, epoch: int, n_epochs: int) -> None:
        """Set the Gibbs steps of `epoch` (from 0): from the initial number to the last in equal steps."""
        first, last = self.settings.initial_gibbs_steps, self.settings.n_gibbs_steps
        share = epoch / (n_epochs - 1) if n_epochs > 1 else 1.0
        self.n_gibbs_steps = last if first is None else round(first + (last - first) * share)

    def step_key(self) -> Hashable | None:
        """None where missing values or counts of words are drawn: how many there are decides what is launched."""
        if self.settings.missing != "error" or self.module.visible_units.name == "replicated_softmax":
            return None
        return self.n_gibbs_steps, self._reconstructs, self.negative.step_key()

    def step_replayed(self) -> None:
        """Count it here and in the negative phase."""
        self._n_batches += 1
        self.negative.step_replayed()

    def metrics(self) -> dict[str, float]:
        """Figures of the epoch: `swap_rate` of tempered chains, `n_gibbs_steps` where they are stepped up."""
        stepped = {} if self.settings.initial_gibbs_steps is None else {"n_gibbs_steps": float(self.n_gibbs_steps)}
        return {**stepped, **self.negative.metrics()}

    @torch.no_grad()
    def fill_gradients(self, batch: Batch) -> torch.Tensor:
        """Estimate the gradient on one batch.

        Returns
        -------
        Tensor, 0-d
            Squared error between data and reconstruction, summed over units, mean over rows. A monitor, not the
            objective: contrastive divergence descends no function. Where chains persist, that of every 20th batch
            stands for the others.
        """
        rows = len(batch.X)
        self._buffers.fit(rows, self.negative.n_rows(rows))
        self.conditionals.load()
        data, chains = self._buffers.v[:rows], self._buffers.v[rows:]
        data.copy_(batch.X)
        if self.settings.missing == "gibbs":
            fill_missing_(data, self.conditionals)
        if self.settings.binarize:
            self.conditionals.draw(data, out=data)
        self._run_phases(rows, data, chains)
        self._loss_of(rows, data, chains, batch.weight)
        self._write_gradients(rows, batch.weight)
        self._n_batches += 1
        return self._loss

    def _run_phases(self, rows: int, data: torch.Tensor, chains: torch.Tensor) -> None:
        mask = chain_mask = None
        if self.settings.hidden_dropout > 0:
            mask = self._draw_mask(rows)
            chain_mask = mask if self.negative.from_data else self._draw_mask(len(chains))
        h, totals = self._buffers.h, self.module.visible_units.row_totals(data)
        draws = self.negative.from_data and not self.negative.deterministic
        states = self._buffers.states if draws else None
        hidden = self.conditionals.hidden(data, h[:rows], states, totals=totals, mask=mask)
        self.negative.run(self.n_gibbs_steps, data, hidden, chains, h[rows:], chain_mask)

    def _draw_mask(self, rows: int) -> torch.Tensor:
        shape, kept = (rows, self.module.n_hidden), 1 - self.settings.hidden_dropout
        return random_mask(shape, kept, generator=self.generator, dtype=self.dtype)

    @property
    def _reconstructs(self) -> bool:
        return self.negative.from_data or self._n_batches % RECONSTRUCT_EVERY == 0

    def _loss_of(self, rows: int, data: torch.Tensor, chains: torch.Tensor, weight: torch.Tensor | None) -> None:
        if not self._reconstructs:
            return
        reconstruction, difference = chains, self._buffers.difference
        if not self.negative.from_data:
            totals = self.module.visible_units.row_totals(data)
            reconstruction = self.conditionals.visible(self._buffers.h[:rows], torch.empty_like(data), totals=totals)
        torch.sub(reconstruction, data, out=difference)
        flat = difference.view(-1)
        total = torch.dot(flat, flat) if weight is None else difference.square().sum(dim=1) @ weight
        torch.div(total, rows, out=self._loss)

    def _write_gradients(self, rows: int, weight: torch.Tensor | None) -> None:
        rbm, chains, v, h = self.module, self._buffers.chains, self._buffers.v, self._buffers.h
        totals = rbm.visible_units.row_totals(v)
        shares = self._row_shares(rows, weight)
        squares = self._mean_squares(rows, shares) if rbm.visible_units.variance() is not None else None
        offsets = self._centering.track((v[:rows], h[:rows]), weight) if self._centered else None
        self._sparsity.subtract_(h[:rows], weight)
        if offsets is not None:
            v.sub_(offsets[0].to(self.dtype))
            h.sub_(offsets[1].to(self.dtype))
        if shares is None:  # the data count negatively, and both halves as means over their own rows
            h[:rows].mul_(-chains / rows)
            scale = 1 / chains
        else:
            h.mul_(shares)
            scale = 1.0
        gradients = (_grad(rbm.weight), _grad(rbm.visible_bias), _grad(rbm.hidden_bias))
        target = gradients[0] if self._gradient is None else self._gradient
        torch.addmm(target, h.T, v, beta=0, alpha=scale, out=target)
        if target is not gradients[0]:
            gradients[0].copy_(target)
        counted = h if totals is None else h.float() * totals
        torch.sum(counted, dim=0, dtype=torch.float32, out=gradients[2]).mul_(scale)
        if totals is not None:
            gradients[2].div_(totals[:rows].float().square().mean().clamp_(min=1))
        self._write_visible_bias(rows, shares, gradients[1])
        if squares is not None:
            self._write_variances(squares, gradients, offsets)
        if offsets is not None:
            gradients[1].sub_(offsets[1] @ gradients[0])
            gradients[2].sub_(gradients[0] @ rbm.visible_units.statistic(offsets[0][None])[0].detach())
        self.negative.after_gradients(gradients)

    def _row_shares(self, rows: int, weight: torch.Tensor | None) -> torch.Tensor | None:
        """(rows + chains, 1): what each row of the buffer counts; chains from data weigh what their row does."""
        if weight is None:
            return None
        data = weight.float()[:, None] / rows
        n = self._buffers.chains
        chains = data if self.negative.from_data else (data.sum() / n).expand(n, 1)
        return torch.cat([-data, chains])

    def _write_visible_bias(self, rows: int, shares: torch.Tensor | None, out: torch.Tensor) -> None:
        v = self._buffers.v
        if shares is not None:
            torch.sum(v.float() * shares, dim=0, out=out)
        elif self.negative.from_data:
            torch.mean(self._buffers.difference, dim=0, out=out)
        else:
            torch.mean(v[rows:], dim=0, dtype=torch.float32, out=out)
            out.sub_(torch.mean(v[:rows], dim=0, dtype=torch.float32))

    def _mean_squares(self, rows: int, shares: torch.Tensor | None) -> torch.Tensor:
        """(n_visible,): mean square of the visible states of the chains less that of the data."""
        squares = self._buffers.v.float().square()
        if self.negative.ends_in_means:  # the square of a mean is too small by the variance
            squares[rows:] += self.module.visible_units.variance()
        if shares is not None:
            return squares.mul_(shares).sum(dim=0)
        return squares[rows:].mean(dim=0) - squares[:rows].mean(dim=0)

    def _write_variances(self, squares: torch.Tensor, gradients: Gradients, offsets: Offsets | None) -> None:
        rbm, (weight, visible_bias, hidden_bias) = self.module, gradients
        # Mean of v times its total input b + W^T h, from the correlations that are there already.
        products = rbm.visible_bias * visible_bias + (rbm.weight * weight).sum(dim=0)
        if offsets is not None:  # those are centred: back to the plain ones
            products += visible_bias * (offsets[1] @ rbm.weight) + offsets[0] * (hidden_bias @ rbm.weight)
        rbm.visible_units.write_gradients(squares, products)

    def state_dict(self) -> dict[str, Any]:
        """What continues the learner exactly: generator, chains, running means, the count of batches."""
        return {
            "generator": self.generator.get_state(),
            "negative": self.negative.state_dict(),
            "offsets": self._centering.offsets,
            "activity": self._sparsity.activity,
            "n_gibbs_steps": self.n_gibbs_steps,
            "n_batches": self._n_batches,
            "loss": self._loss.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        state = copy.deepcopy(state)  # chains and running means move in place
        self.generator.set_state(state["generator"])
        self.negative.load_state_dict(state["negative"])
        self._centering.offsets, self._sparsity.activity = state["offsets"], state["activity"]
        self.n_gibbs_steps, self._n_batches = state["n_gibbs_steps"], state["n_batches"]
        self._loss.copy_(state["loss"])


def _grad(parameter: torch.Tensor) -> torch.Tensor:
    assert parameter.grad is not None
    return parameter.grad
