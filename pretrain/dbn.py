"""The deep belief net: directed sigmoid layers below an associative memory, with labels or without.

References
----------
.. [1] Hinton, G. E., Osindero, S. & Teh, Y.-W. (2006). A fast learning algorithm for deep belief nets. Neural
       Computation 18, 1527-1554.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from pretrain.associative_memory import label_scores, memory_units
from pretrain.column_groups import group_names
from pretrain.exceptions import DataError, SettingsError
from pretrain.rbm import RBM
from pretrain.scaling import Scaling, inference_dtype
from pretrain.stack import Stack, map_rows
from pretrain.unit_types import make_units

# Data whose conditional, given the layer above, changes with the total input alone.
NOT_FOR_DATA = ("gaussian_learned", "replicated_softmax")


class DirectedLayer(nn.Module):
    """A layer of binary units above data or other units, with weights that lead up and others that lead down.

    Recognition is q(h_j = 1 | v) = sigmoid(R_j v + r_j); generation is p(v | h), the conditional of the visible units
    at the total input G h + g: sigmoid means for Bernoulli units.

    Parameters
    ----------
    n_visible, n_hidden : int
    visible_units : str
        As in `RBM`; neither "gaussian_learned" nor "replicated_softmax".

    Attributes
    ----------
    recognition_weight : Parameter of shape (n_hidden, n_visible)
    recognition_bias : Parameter of shape (n_hidden,)
    generative_weight : Parameter of shape (n_visible, n_hidden)
    generative_bias : Parameter of shape (n_visible,)
    visible_units : Units
    """

    kind = "directed"

    def __init__(self, n_visible: int, n_hidden: int, *, visible_units: str = "bernoulli") -> None:
        super().__init__()
        require_data_units(visible_units)
        self.n_visible, self.n_hidden = int(n_visible), int(n_hidden)
        self.visible_units = make_units(visible_units, self.n_visible)
        self.recognition_weight = nn.Parameter(torch.zeros(n_hidden, n_visible))
        self.recognition_bias = nn.Parameter(torch.zeros(n_hidden))
        self.generative_weight = nn.Parameter(torch.zeros(n_visible, n_hidden))
        self.generative_bias = nn.Parameter(torch.zeros(n_visible))

    @classmethod
    def from_rbm(cls, rbm: RBM) -> "DirectedLayer":
        """The layer that greedy training hands on: both directions begin with the weights of the RBM."""
        layer = cls(rbm.n_visible, rbm.n_hidden, visible_units=rbm.visible_units.name).to(rbm.weight)
        with torch.no_grad():
            layer.recognition_weight.copy_(rbm.weight)
            layer.recognition_bias.copy_(rbm.hidden_bias)
            layer.generative_weight.copy_(rbm.weight.T)
            layer.generative_bias.copy_(rbm.visible_bias)
        return layer

    def encode(self, v: torch.Tensor) -> torch.Tensor:
        """q(h = 1 | v): (batch, n_visible) -> (batch, n_hidden)."""
        return torch.sigmoid(functional.linear(v, self.recognition_weight, self.recognition_bias))

    def generative_input(self, h: torch.Tensor) -> torch.Tensor:
        """Total input of the visible units, G h + g: (batch, n_hidden) -> (batch, n_visible)."""
        return functional.linear(h, self.generative_weight, self.generative_bias)

    def decode(self, h: torch.Tensor) -> torch.Tensor:
        """E[v | h]: (batch, n_hidden) -> (batch, n_visible)."""
        return self.visible_units.mean_(self.generative_input(h))

    def log_conditional(self, v: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        """log p(v | h) = a.v - B(v) - A(a), a = G h + g: two batches of rows -> (batch,), nats."""
        total_input, units = self.generative_input(h), self.visible_units
        return (total_input * v).sum(dim=1) - units.base_energy(v) - units.log_partition(total_input)


class DBN(nn.Module):
    """A deep belief net [1]_: p(x, h1, ..., hL, label) = p(x | h1) ... p(hL-1 | hL) p(hL, label).

    The last factor is an RBM, the associative memory, whose visible units are the codes hL and one softmax unit a
    class. An up-pass through the recognition weights infers codes, a down-pass through the generative weights draws
    data. A net of one layer is the memory alone, on the data.

    Parameters
    ----------
    layers : sequence of DirectedLayer
        From the data upwards; may be empty.
    memory : RBM
        On the codes of the last layer and the labels.
    classes : ndarray of shape (n_classes,) or None
        The labels; None for a net without.
    scaling : Scaling or None
        What turns raw rows into the values that the first layer was trained on.

    Raises
    ------
    SettingsError
        If neighbours do not fit.
    """

    kind = "dbn"

    def __init__(
        self,
        layers: Sequence[DirectedLayer],
        memory: RBM,
        *,
        classes: np.ndarray | None = None,
        scaling: Scaling | None = None,
    ) -> None:
        super().__init__()
        self.layers: Any = nn.ModuleList(layers)
        self.memory, self.classes = memory, classes
        self.scaling = scaling or Scaling.none()
        self._require_fit()

    def _require_fit(self) -> None:
        if self.layers or self.n_classes:  # an RBM alone is what it is
            require_data_units(self.memory.visible_units.name)
        sizes = [layer.n_hidden for layer in self.layers]
        seen = [layer.n_visible for layer in self.layers[1:]] + [self.n_codes]
        units = [layer.visible_units.name for layer in self.layers[1:]]
        if self.layers:
            units.append(self.memory.visible_units.name)
            wanted = ["bernoulli"] * len(self.layers[1:]) + [memory_units("bernoulli", sizes[-1], self.n_classes)]
            if sizes != seen or units != wanted:
                raise SettingsError(
                    f"The layers of a DBN must fit: above {sizes} hidden units the visible units must be {wanted}; "
                    f"got {units}, {seen} of them without the labels."
                )
        elif self.n_classes and not self.memory.visible_units.name.endswith(f"+softmax:{self.n_classes}"):
            raise SettingsError(
                f"The memory of a DBN with {self.n_classes} classes must have visible units that end in "
                f"'+softmax:{self.n_classes}'; got {self.memory.visible_units.name!r}."
            )

    @classmethod
    def from_stack(cls, stack: Stack) -> "DBN":
        """A stack of RBMs as a generative model without labels, its last RBM as the memory: greedy training alone.

        Raises
        ------
        SettingsError
            If a layer is no RBM, or its units are not such as a DBN can have.
        """
        if not all(isinstance(layer, RBM) for layer in stack.layers):
            raise SettingsError("A DBN is made of RBMs; this stack has layers of another kind.")
        *below, memory = stack.layers
        for k, rbm in enumerate(below):
            if rbm.hidden_units.name != "bernoulli":
                raise SettingsError(
                    f"Below its memory a DBN has bernoulli hidden units; layer {k + 1} has {rbm.hidden_units.name!r}."
                )
        return cls([DirectedLayer.from_rbm(rbm) for rbm in below], memory, scaling=stack.scaling)

    @property
    def n_classes(self) -> int:
        """Label units of the memory; 0 for a net without labels."""
        return 0 if self.classes is None else len(self.classes)

    @property
    def n_codes(self) -> int:
        """Visible units of the memory, the labels not counted."""
        return self.memory.n_visible - self.n_classes

    @property
    def n_visible(self) -> int:
        """Features of the data."""
        return self.layers[0].n_visible if self.layers else self.n_codes

    @property
    def data_units(self) -> str:
        """Name of the visible units on the data."""
        if self.layers:
            return self.layers[0].visible_units.name
        return self.memory.visible_units.name.removesuffix(f"+softmax:{self.n_classes}")

    @property
    def hidden_layer_sizes(self) -> tuple[int, ...]:
        """Hidden units of each layer, from the data upwards, the memory's last."""
        return (*(layer.n_hidden for layer in self.layers), self.memory.n_hidden)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """The deterministic up-pass, means and no samples: (batch, n_visible) -> codes (batch, n_codes)."""
        for layer in self.layers:
            x = layer.encode(x)
        return x

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """The deterministic down-pass: (batch, n_codes) -> (batch, n_visible)."""
        for layer in reversed(self.layers):
            codes = layer.decode(codes)
        return codes

    def label_scores(self, x: torch.Tensor) -> torch.Tensor:
        """Minus the free energy of each label beside the codes of scaled rows [1]_: -> (batch, n_classes)."""
        return label_scores(self.memory, self.encode(x))

    def memory_rows(self, x: torch.Tensor) -> torch.Tensor:
        """Codes of scaled rows, and p(label | codes): what the memory sees, (batch, n_codes + n_classes)."""
        codes = self.encode(x)
        if self.n_classes == 0:
            return codes
        return torch.cat([codes, torch.softmax(label_scores(self.memory, codes), dim=1)], dim=1)

    def reconstruct(self, x: torch.Tensor) -> torch.Tensor:
        """Up to the top of the memory and down again, by means: (batch, n_visible) -> (batch, n_visible)."""
        memory = self.memory
        return self.decode(memory.prop_down(memory.prop_up(self.memory_rows(x)))[:, : self.n_codes])

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest label of raw rows: (n_samples, n_visible) -> (n_samples,)."""
        best = self._scores(X).argmax(dim=1).numpy(force=True)
        return np.asarray(self.classes)[best]

    def predict_proba(self, X: Any) -> np.ndarray:
        """p(label | codes) of raw rows: -> (n_samples, n_classes)."""
        return torch.softmax(self._scores(X), dim=1).numpy(force=True)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of `predict_proba`."""
        return torch.log_softmax(self._scores(X), dim=1).numpy(force=True)

    def _scores(self, X: Any) -> torch.Tensor:
        if self.n_classes == 0:
            raise SettingsError("This DBN was trained without labels, so it predicts none. Fit it with labels.")
        return map_rows(self, DBN.label_scores, self.scaled(X), self.n_classes)

    def scaled(self, X: Any) -> Any:
        """Raw rows as the first layer sees them; DataError where they have another number of features."""
        if len(X.shape) != 2 or X.shape[1] != self.n_visible:
            raise DataError(f"The DBN takes rows of {self.n_visible} features; got shape {tuple(X.shape)}.")
        return self.scaling.apply(X, inference_dtype(X))


def require_data_units(name: str, model: str = "DBN") -> None:
    """Raise SettingsError for visible units that a DBN, or another deep `model`, cannot have."""
    for unit in NOT_FOR_DATA:
        if unit in group_names(name):
            raise SettingsError(
                f"A {model} has no generative layer of {unit} units; take another type of visible_units."
            )
