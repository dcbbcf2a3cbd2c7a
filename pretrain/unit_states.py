"""The states of a layer of units, where they can be counted: all of them, and those of one unit."""

import dataclasses
import itertools
import math
from collections.abc import Iterator

import torch

from pretrain.exceptions import SettingsError
from pretrain.softmax_units import SoftmaxUnits
from pretrain.unit_types import MixedUnits
from pretrain.units import Units

CHUNK = 2**14
PAIRS = {"bernoulli": (0.0, 1.0), "spin": (-1.0, 1.0)}
LARGEST_LOG = 600.0


@dataclasses.dataclass(frozen=True)
class Site:
    """A unit, or a softmax group, and its states.

    Attributes
    ----------
    columns : slice
        Of the layer.
    states : Tensor of shape (n_states, n_columns)
    """

    columns: slice
    states: torch.Tensor

    def probabilities(self, values: torch.Tensor) -> torch.Tensor:
        """How much of each state there is in values, (n, n_columns) -> (n, n_states): one and zeros for a state."""
        if self.states.shape[1] > 1 or len(self.states) == 1:  # one-hot, or a group of one unit
            return values
        low, high = self.states[0, 0], self.states[1, 0]
        share = (values - low) / (high - low)
        return torch.cat([1 - share, share], dim=1)


def sites(units: Units) -> list[Site]:
    """Every unit of a layer, or softmax group, with its states.

    Raises
    ------
    SettingsError
        For units whose states cannot be listed one unit at a time.
    """
    if isinstance(units, MixedUnits):
        return [
            Site(slice(columns.start + site.columns.start, columns.start + site.columns.stop), site.states)
            for part, columns in units.pairs()
            for site in sites(part)
        ]
    if isinstance(units, SoftmaxUnits):
        stops = list(itertools.accumulate(units.widths))
        return [
            Site(slice(stop - width, stop), torch.eye(width)) for stop, width in zip(stops, units.widths, strict=True)
        ]
    pair = [list(PAIRS[units.name])] if state_counts(units) else []
    return [Site(slice(k, k + 1), torch.tensor(pair).T) for k in range(units.n_units)]


def state_counts(units: Units) -> list[int]:
    """How many states each of the `sites` has, which is known without listing them; the same SettingsError."""
    if isinstance(units, MixedUnits):
        return [count for part, _ in units.pairs() for count in state_counts(part)]
    if isinstance(units, SoftmaxUnits):
        return list(units.widths)
    if units.name not in PAIRS:
        raise SettingsError(
            f"The states of {units.name} units cannot be listed; bernoulli, spin and softmax units can."
        )
    return [2] * units.n_units


def can_be_listed(units: Units) -> bool:
    """Whether there are `sites`."""
    try:
        state_counts(units)
    except SettingsError:
        return False
    return True


def count_states(units: Units, total: int | None = None) -> float:
    """Number of states of a layer; infinity where they cannot be listed or are more than a float can say.

    `total` is the number of words of a document, for replicated softmax units.
    """
    if units.name == "replicated_softmax" and total is not None:
        bars = units.n_units - 1
        log_count = math.lgamma(total + bars + 1) - math.lgamma(total + 1) - math.lgamma(bars + 1)
        return round(math.exp(log_count)) if log_count < LARGEST_LOG else math.inf
    try:
        log_count = sum(math.log(count) for count in state_counts(units))
    except SettingsError:
        return math.inf
    return round(math.exp(log_count)) if log_count < LARGEST_LOG else math.inf


def states_in_chunks(units: Units, total: int | None = None) -> Iterator[torch.Tensor]:
    """All states of a layer, float64, some thousands at a time: (n, n_units) each."""
    if units.name == "replicated_softmax" and total is not None:
        yield from _counts_in_chunks(units.n_units, total)
        return
    every = sites(units)
    n_states = math.prod(len(site.states) for site in every)
    for start in range(0, n_states, CHUNK):
        index = torch.arange(start, min(start + CHUNK, n_states))
        states = torch.empty(len(index), units.n_units, dtype=torch.float64)
        for site in every:
            states[:, site.columns] = site.states.double()[index % len(site.states)]
            index = index // len(site.states)
        yield states


def _counts_in_chunks(n_units: int, total: int) -> Iterator[torch.Tensor]:
    # Bars between stars: where n_units - 1 bars stand among the words says how many words are of each kind.
    bars = itertools.combinations(range(total + n_units - 1), n_units - 1)
    while chunk := list(itertools.islice(bars, CHUNK)):
        ends = torch.tensor(chunk, dtype=torch.float64).reshape(len(chunk), n_units - 1)
        edges = torch.cat(
            [ends.new_full((len(chunk), 1), -1), ends, ends.new_full((len(chunk), 1), total + n_units - 1)], 1
        )
        yield edges.diff(dim=1) - 1
