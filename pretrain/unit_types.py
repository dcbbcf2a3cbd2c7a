"""The table of unit types, and layers whose columns are of several types."""

import itertools

import numpy as np
import torch
from torch import nn

from pretrain.column_groups import ColumnGroup, group_names, parse_groups, require_groups
from pretrain.exceptions import SettingsError
from pretrain.gaussian_units import GaussianUnits, LearnedGaussianUnits
from pretrain.random_streams import BernoulliSampler
from pretrain.softmax_units import ReplicatedSoftmaxUnits, SoftmaxUnits
from pretrain.units import BernoulliUnits, NoisyReLUUnits, SpinUnits, Units

UNIT_TYPES: dict[str, type[Units]] = {
    cls.name: cls
    for cls in (
        BernoulliUnits,
        GaussianUnits,
        LearnedGaussianUnits,
        SoftmaxUnits,
        ReplicatedSoftmaxUnits,
        NoisyReLUUnits,
        SpinUnits,
    )
}
ONLY_VISIBLE = ("gaussian_learned", "replicated_softmax")
HIDDEN_UNIT_TYPES = tuple(name for name in UNIT_TYPES if name not in ONLY_VISIBLE)
# The visible units of a layer on codes with these activations; on all other codes they are Gaussian.
UNITS_ON_CODES = {"sigmoid": "bernoulli", "tanh": "spin", "softmax": "softmax"}


class MixedUnits(Units):
    """Columns of several types side by side, `bernoulli:3+gaussian:2+softmax:4`: a table of mixed features."""

    def __init__(self, name: str, groups: list[ColumnGroup]) -> None:
        super().__init__(groups[-1].columns.stop)
        self.name = name
        self.activation = "+".join(f"{UNIT_TYPES[group.name].activation}:{group.width}" for group in groups)
        merged = _merge_softmax(groups)
        self.columns = [columns for _, columns in merged]
        self.parts = nn.ModuleList(part for part, _ in merged)
        self.discrete = all(part.discrete for part in self._parts)

    def pairs(self) -> list[tuple[Units, slice]]:
        """The types and their columns, from the left."""
        return list(zip(self._parts, self.columns, strict=True))

    @property
    def _parts(self) -> list[Units]:
        return list(self.parts)  # type: ignore[arg-type]

    def mean_(self, total_input: torch.Tensor, totals: torch.Tensor | None = None) -> torch.Tensor:
        """The mean of each type in its own columns."""
        for part, columns in self.pairs():
            part.mean_(total_input[:, columns])
        return total_input

    def sample_(
        self,
        total_input: torch.Tensor,
        out: torch.Tensor,
        *,
        sampler: BernoulliSampler,
        totals: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """States of each type in its own columns."""
        for part, columns in self.pairs():
            part.sample_(total_input[:, columns], out[:, columns], sampler=sampler)
        return out

    def log_partition(self, total_input: torch.Tensor, totals: torch.Tensor | None = None) -> torch.Tensor:
        """The sum over the types."""
        pairs = self.pairs()
        return torch.stack([part.log_partition(total_input[:, columns]) for part, columns in pairs]).sum(dim=0)

    def statistic(self, states: torch.Tensor) -> torch.Tensor:
        """The states, each type's in its own columns."""
        if self.variance() is None:
            return states
        return torch.cat([part.statistic(states[:, columns]) for part, columns in self.pairs()], dim=1)

    def base_energy(self, states: torch.Tensor) -> torch.Tensor:
        """The sum over the types."""
        pairs = self.pairs()
        return torch.stack([part.base_energy(states[:, columns]) for part, columns in pairs]).sum(dim=0)

    def bias_of_mean(self, mean: torch.Tensor) -> torch.Tensor:
        """Each type its own."""
        pairs = self.pairs()
        return torch.cat([part.bias_of_mean(mean[columns]) for part, columns in pairs])

    def variance(self) -> torch.Tensor | None:
        """1 in the columns of all but learned Gaussian units; None where there are none of them."""
        parts = [part.variance() for part in self._parts]
        given = [variance for variance in parts if variance is not None]
        if not given:
            return None
        return torch.cat(
            [given[0].new_ones(p.n_units) if v is None else v for p, v in zip(self._parts, parts, strict=True)]
        )

    def range_problem(self, low: np.ndarray, high: np.ndarray) -> str | None:
        """That of the first type that has one."""
        low, high = (np.broadcast_to(bound, (self.n_units,)) for bound in (low, high))
        problems = (part.range_problem(low[columns], high[columns]) for part, columns in self.pairs())
        return next((problem for problem in problems if problem), None)

    def row_problem(self, rows: torch.Tensor) -> str | None:
        """That of the first type that has one."""
        problems = (p.row_problem(rows[:, columns]) for p, columns in self.pairs())
        return next((problem for problem in problems if problem), None)

    def log_variances(self) -> list[tuple[slice, nn.Parameter]]:
        """Those of every type."""
        return [
            (slice(columns.start + own.start, columns.start + own.stop), log_variance)
            for part, columns in self.pairs()
            for own, log_variance in part.log_variances()
        ]

    def write_gradients(self, squares: torch.Tensor, products: torch.Tensor) -> None:
        """Each type its own."""
        for part, columns in self.pairs():
            part.write_gradients(squares[columns], products[columns])


def make_units(name: str, n_units: int) -> Units:
    """A layer of units: of one type, or of several, `bernoulli:3+gaussian:2+softmax:4`.

    Raises
    ------
    SettingsError
        If there is no such type, the widths do not add up to `n_units`, or replicated softmax units stand beside
        others.
    """
    require_units("units", name)
    groups = parse_groups("units", name, n_units, UNIT_TYPES)
    if len(groups) == 1:
        return UNIT_TYPES[groups[0].name](n_units)
    return MixedUnits(name, groups)


def require_units(owner: str, name: object, *, hidden: bool = False) -> None:
    """Raise SettingsError unless `name` is a unit type, or types with widths joined by `+`, legal there."""
    require_groups(owner, name, HIDDEN_UNIT_TYPES if hidden else tuple(UNIT_TYPES))
    names = group_names(str(name))
    if len(names) > 1 and "replicated_softmax" in names:
        raise SettingsError(
            f"{owner} cannot mix replicated_softmax with other types: its hidden biases count by the words of a "
            f"row; got {name!r}."
        )


def units_on_codes(activation: str) -> str:
    """The visible units that model what a layer with this activation gives: `sigmoid` -> `bernoulli`."""
    parts = [part.partition(":") for part in activation.split("+")]
    return "+".join(f"{UNITS_ON_CODES.get(name, 'gaussian')}{colon}{width}" for name, colon, width in parts)


def _merge_softmax(groups: list[ColumnGroup]) -> list[tuple[Units, slice]]:
    # Neighbouring categories are one module: a hundred of them are no hundred calls a step.
    merged: list[tuple[Units, slice]] = []
    for name, run in itertools.groupby(groups, key=lambda group: group.name):
        same = list(run)
        columns = slice(same[0].columns.start, same[-1].columns.stop)
        n_units = columns.stop - columns.start
        if name == SoftmaxUnits.name:
            merged.append((SoftmaxUnits(n_units, [group.width for group in same]), columns))
        else:
            merged.append((UNIT_TYPES[name](n_units), columns))
    return merged
