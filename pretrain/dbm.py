"""The deep Boltzmann machine: an undirected model of data with several layers of hidden units.

References
----------
.. [1] Salakhutdinov, R. & Hinton, G. E. (2009). Deep Boltzmann machines. AISTATS.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from pretrain._validation import require_number, require_sequence
from pretrain.dbm_conditionals import LayerConditionals
from pretrain.dbn import require_data_units
from pretrain.exceptions import DataError, SettingsError
from pretrain.random_streams import BernoulliSampler
from pretrain.rbm import RBM
from pretrain.scaling import Scaling, inference_dtype
from pretrain.unit_types import make_units

MEAN_FIELD_STEPS, MEAN_FIELD_TOL = 100, 1e-6  # of inference; training has settings of its own


class DBM(nn.Module):
    """A deep Boltzmann machine [1]_: layers of binary hidden units above data, each joined to its neighbours alone.

    The energy of a joint state is, with B the base energy of the visible units (0 for Bernoulli, v^2/2 for Gaussian),

        E(v, h1, ..., hL) = B(v) - b.v - sum_k c_k.h_k - h1^T W_1 v - sum_k>1 hk^T W_k hk-1

    so that a hidden unit is on with probability sigmoid(c_k + W_k h_k-1 + W_k+1^T h_k+1). With one hidden layer it is
    an RBM.

    Parameters
    ----------
    n_visible : int
    hidden_layer_sizes : sequence of int
        From the data upwards, at least one.
    visible_units : str
        As in `RBM`; neither "gaussian_learned" nor "replicated_softmax".
    scaling : Scaling or None
        What turns raw rows into the values that the model is of.

    Attributes
    ----------
    weights : ParameterList of L tensors of shape (n_units of layer k, n_units of layer k - 1)
    visible_bias : Parameter of shape (n_visible,)
    hidden_biases : ParameterList of L tensors of shape (n_units of layer k,)
    visible_units : Units

    Raises
    ------
    SettingsError
        For no layer, a size below 1, or visible units that it cannot have.
    """

    kind = "dbm"

    def __init__(
        self,
        n_visible: int,
        hidden_layer_sizes: Sequence[int],
        *,
        visible_units: str = "bernoulli",
        scaling: Scaling | None = None,
    ) -> None:
        super().__init__()
        require_sequence("a DBM", "hidden_layer_sizes", hidden_layer_sizes)
        if len(hidden_layer_sizes) == 0:
            raise SettingsError("hidden_layer_sizes of a DBM must name at least one layer; got none.")
        require_number("a DBM", "n_visible", n_visible, at_least=1, integer=True)
        for size in hidden_layer_sizes:
            require_number("a DBM", "hidden_layer_sizes", size, at_least=1, integer=True)
        require_data_units(visible_units, "DBM")
        sizes = [int(n_visible), *(int(size) for size in hidden_layer_sizes)]
        self.visible_units = make_units(visible_units, sizes[0])
        self.weights = nn.ParameterList(torch.zeros(n, below) for below, n in itertools.pairwise(sizes))
        self.visible_bias = nn.Parameter(torch.zeros(sizes[0]))
        self.hidden_biases = nn.ParameterList(torch.zeros(n) for n in sizes[1:])
        self.scaling = scaling or Scaling.none()

    @classmethod
    @torch.no_grad()
    def from_rbms(cls, rbms: Sequence[RBM], *, scaling: Scaling | None = None) -> "DBM":
        """Compose the RBMs of greedy training ([1]_, section 3.1), the one on the data first.

        While they learn, what they see stands for two copies of itself where the composed model will have another
        layer (`pretrain.doubled_rbm.DoubledRBM`): the hidden units of the first get twice its visible ones, the
        visible units of the last twice its hidden ones. In the model the log-odds of a hidden unit are then the mean
        of what the RBM below and that above it say, exactly: the weights of the first and of the last stay as they
        are, those between them, which learned as ordinary RBMs, are halved, and a layer's biases are the mean of the
        hidden biases below and the visible ones above. A single RBM stays what it is.

        Raises
        ------
        SettingsError
            If there is none, neighbours do not fit, or hidden units are not binary.
        """
        for k, rbm in enumerate(rbms):
            if rbm.hidden_units.name != "bernoulli":
                raise SettingsError(
                    f"The hidden units of a DBM are bernoulli; layer {k + 1} has {rbm.hidden_units.name!r}."
                )
            seen = (rbm.visible_units.name, rbm.n_visible)
            if k > 0 and seen != ("bernoulli", rbms[k - 1].n_hidden):
                raise SettingsError(
                    f"Layer {k + 1} of a DBM must see the {rbms[k - 1].n_hidden} bernoulli units of the layer below; "
                    f"got {seen[1]} of type {seen[0]!r}."
                )
        if not rbms:
            raise SettingsError("A DBM is composed of at least one RBM; got none.")
        units = rbms[0].visible_units.name
        dbm = cls(rbms[0].n_visible, [r.n_hidden for r in rbms], visible_units=units, scaling=scaling)
        dbm = dbm.to(rbms[0].weight)
        dbm.visible_bias.copy_(rbms[0].visible_bias)
        for k, rbm in enumerate(rbms):
            between = 0 < k < len(rbms) - 1
            dbm.weights[k].copy_(0.5 * rbm.weight if between else rbm.weight)
            dbm.hidden_biases[k].copy_(rbm.hidden_bias)
            if k < len(rbms) - 1:
                dbm.hidden_biases[k].lerp_(rbms[k + 1].visible_bias, 0.5)
        return dbm

    @property
    def n_visible(self) -> int:
        """Features of the data."""
        return len(self.visible_bias)

    @property
    def n_hidden(self) -> int:
        """Units of the top layer."""
        return len(self.hidden_biases[-1])

    @property
    def hidden_layer_sizes(self) -> tuple[int, ...]:
        """Hidden units of each layer, from the data upwards."""
        return tuple(len(bias) for bias in self.hidden_biases)

    def biases(self) -> list[torch.Tensor]:
        """Of every layer, the visible one first."""
        return [self.visible_bias, *self.hidden_biases]

    def energy(self, states: Sequence[torch.Tensor]) -> torch.Tensor:
        """E(v, h1, ..., hL) of joint states, (batch, n_units) each, the visible ones first -> (batch,), in nats.

        It is linear in each layer: of a factorised distribution's means it is the expected energy.
        """
        total = self.visible_units.base_energy(states[0])
        for state, bias in zip(states, self.biases(), strict=True):
            total = total - state @ bias
        for weight, (below, above) in zip(self.weights, itertools.pairwise(states), strict=True):
            total = total - ((below @ weight.T) * above).sum(dim=1)
        return total

    @torch.no_grad()
    def mean_field(
        self, v: torch.Tensor, *, n_steps: int = MEAN_FIELD_STEPS, tol: float = MEAN_FIELD_TOL
    ) -> list[torch.Tensor]:
        """Means of the factorised distribution over hidden states that is nearest to p(h | v) [1]_.

        It begins with a pass up from the data and climbs the lower bound on log p(v) to where it is (locally) best.
        Rows stop together, so that the others may change a row's means by as little as is left to climb.

        Parameters
        ----------
        v : Tensor of shape (batch, n_visible)
            Scaled rows, of the type of the parameters.
        n_steps : int
            Updates of all layers, at most; 0 for the pass up alone.
        tol : float
            No more steps after one in which the means of no layer have changed by more, on average; 0 takes all.

        Returns
        -------
        list of Tensor
            (batch, n_units) of each hidden layer, from the data upwards.
        """
        require_number("mean_field", "n_steps", n_steps, at_least=0, integer=True)
        require_number("mean_field", "tol", tol, at_least=0)
        conditionals = LayerConditionals(self, dtype=self.visible_bias.dtype)
        means = conditionals.empty(len(v))
        means[0] = v
        conditionals.recognise(means)
        scratch = conditionals.empty(len(v))
        conditionals.mean_field(means, torch.empty_like(means[1]), scratch, n_steps, tol)
        return means[1:]

    def encode(self, v: torch.Tensor) -> torch.Tensor:
        """Mean-field means of the top layer: (batch, n_visible) -> (batch, n_hidden)."""
        return self.mean_field(v)[-1]

    def reconstruct(self, v: torch.Tensor) -> torch.Tensor:
        """E[v | h1] at the mean-field means of h1: (batch, n_visible) -> (batch, n_visible)."""
        return self.visible_units.mean_(self.mean_field(v)[0] @ self.weights[0] + self.visible_bias)

    @torch.no_grad()
    def gibbs_step(self, states: Sequence[torch.Tensor], *, generator: torch.Generator) -> list[torch.Tensor]:
        """One alternation: the odd layers given the even ones (the data among them), then these given those.

        It leaves p(v, h) unchanged.

        Parameters
        ----------
        states : sequence of Tensor
            (batch, n_units) of every layer, the visible one first; `[v, *dbm.mean_field(v)]` begins at rows.
        generator : torch.Generator
            On the device of the model.

        Returns
        -------
        list of Tensor
            New states.
        """
        conditionals = LayerConditionals(self, dtype=self.visible_bias.dtype)
        moved = [state.clone() for state in states]
        samplers = [BernoulliSampler(generator, exact=True) for _ in moved]
        conditionals.gibbs_step(moved, conditionals.empty(len(moved[0])), samplers)
        return moved

    def scaled(self, X: Any) -> Any:
        """Raw rows as the model sees them; DataError where they have another number of features."""
        self.require_features(X)
        return self.scaling.apply(X, inference_dtype(X))

    def require_features(self, X: Any) -> None:
        """Raise DataError unless X has shape (n_samples, n_visible)."""
        if len(X.shape) != 2 or X.shape[1] != self.n_visible:
            raise DataError(f"The DBM takes rows of {self.n_visible} features; got shape {tuple(X.shape)}.")
