"""Softmax units for categories, and replicated softmax units for counts of words.

References
----------
.. [1] Salakhutdinov, R. & Hinton, G. E. (2009). Replicated softmax: an undirected topic model. NIPS 22.
"""

from collections.abc import Sequence

import torch

from pretrain.random_streams import BernoulliSampler
from pretrain.units import Units


class SoftmaxUnits(Units):
    """Groups of units of which exactly one is on, one-hot features: p(x_i = 1 | a) = softmax(a)_i in each group.

    Parameters
    ----------
    n_units : int
    widths : sequence of int or None
        Units of each group, from the left; None for one group of all.
    """

    name, activation = "softmax", "softmax"
    value_range = (0.0, 1.0)

    _inside: torch.Tensor
    _columns: torch.Tensor
    _places: torch.Tensor

    def __init__(self, n_units: int, widths: Sequence[int] | None = None) -> None:
        super().__init__(n_units)
        self.widths = tuple(widths or (n_units,))
        column = torch.arange(max(self.widths))
        width = torch.tensor(self.widths)[:, None]
        start = width.cumsum(dim=0) - width
        # Every group is widened to the widest, so that all of them are one tensor: (n_groups, widest).
        self.register_buffer("_inside", column < width, persistent=False)
        self.register_buffer("_columns", (start + column).clamp(max=n_units - 1), persistent=False)
        # Where each unit is among them.
        self.register_buffer("_places", (column < width).flatten().nonzero()[:, 0], persistent=False)

    def mean_(self, total_input: torch.Tensor, totals: torch.Tensor | None = None) -> torch.Tensor:
        """Softmax of each group."""
        return self._join_(total_input, torch.softmax(self._groups(total_input), dim=2))

    def sample_(
        self,
        total_input: torch.Tensor,
        out: torch.Tensor,
        *,
        sampler: BernoulliSampler,
        totals: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """One unit of each group on, chosen with the probabilities of the softmax."""
        probabilities = torch.softmax(self._groups(total_input).float(), dim=2)
        self._join_(total_input, probabilities)
        uniform = torch.rand(*probabilities.shape[:2], 1, generator=sampler.generator, device=out.device)
        chosen = (probabilities.cumsum(dim=2) <= uniform).sum(dim=2)
        last = self._inside.sum(dim=1) - 1  # the sum of the probabilities may be rounded to below 1
        column = torch.arange(probabilities.shape[2], device=out.device)
        return self._join_(out, torch.minimum(chosen, last)[:, :, None] == column)

    def log_partition(self, total_input: torch.Tensor, totals: torch.Tensor | None = None) -> torch.Tensor:
        """Sum over groups of log sum exp(a)."""
        return torch.logsumexp(self._groups(total_input), dim=2).sum(dim=1)

    def bias_of_mean(self, mean: torch.Tensor) -> torch.Tensor:
        """log(mean), kept 0.001 above 0."""
        return mean.clamp(min=1e-3).log()

    def row_problem(self, rows: torch.Tensor) -> str | None:
        """Whether each group of each row sums to 1, or is missing (NaN) as a whole."""
        groups = self._groups(rows.to(self._inside.device))
        known = ~(torch.isnan(groups) | ~self._inside).all(dim=2)
        sums = groups.masked_fill(~self._inside, 0.0).sum(dim=2)[known]
        if bool(torch.isnan(sums).any()):
            return "a category is missing in part: the columns of a softmax group must be NaN all together, or none"
        if bool(((sums - 1).abs() < 1e-3).all()):
            return None
        worst = float(sums[(sums - 1).abs().argmax()])
        return f"a row of a softmax group must sum to 1 (one-hot columns); one sums to {worst:g}"

    def _groups(self, values: torch.Tensor) -> torch.Tensor:
        return values[:, self._columns].masked_fill(~self._inside, -torch.inf)

    def _join_(self, out: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
        return out.copy_(groups.flatten(start_dim=1)[:, self._places])


class ReplicatedSoftmaxUnits(Units):
    """Counts of words in documents of D words each [1]_: D softmax units over all words that share their weights.

    The states of a row sum to its D, which sampling keeps; the mean is D softmax(a), the base energy -log of the
    multinomial coefficient, the log partition D log sum exp(a). The hidden units of such a layer see their bias D
    times, so that long and short documents weigh bias against words alike. As outputs of a network, words are
    shares that sum to 1.
    """

    name, activation = "replicated_softmax", "softmax"
    value_range = (0.0, float("inf"))

    def mean_(self, total_input: torch.Tensor, totals: torch.Tensor | None = None) -> torch.Tensor:
        """D softmax(a); D is 1 without totals."""
        shares = torch.softmax(total_input, dim=1)
        return total_input.copy_(shares if totals is None else shares * totals)

    def sample_(
        self,
        total_input: torch.Tensor,
        out: torch.Tensor,
        *,
        sampler: BernoulliSampler,
        totals: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """D words drawn with the probabilities softmax(a); totals are rounded to whole words."""
        shares = torch.softmax(total_input.float(), dim=1)
        counts = shares.new_ones(len(shares), 1) if totals is None else totals.float().round()
        total_input.copy_(shares if totals is None else shares * totals)
        longest = int(counts.max())
        if longest == 0:
            return out.zero_()
        words = torch.multinomial(shares, longest, replacement=True, generator=sampler.generator)
        drawn = torch.arange(longest, device=words.device) < counts
        histogram = torch.zeros_like(shares).scatter_add_(1, words, drawn.float())
        return out.copy_(histogram)

    def bias_of_mean(self, mean: torch.Tensor) -> torch.Tensor:
        """log of the share of each word, kept 1e-6 above 0."""
        return (mean / mean.sum()).clamp(min=1e-6).log()

    def row_problem(self, rows: torch.Tensor) -> str | None:
        """Whether the rows are counts."""
        if bool((rows >= 0).all()) and bool((rows == rows.round()).all()):
            return None
        return "replicated_softmax units count words: whole numbers, 0 or more"

    def base_energy(self, states: torch.Tensor) -> torch.Tensor:
        """-log(D! / prod x_i!)."""
        return torch.lgamma(states + 1).sum(dim=1) - torch.lgamma(states.sum(dim=1) + 1)

    def log_partition(self, total_input: torch.Tensor, totals: torch.Tensor | None = None) -> torch.Tensor:
        """D log sum exp(a)."""
        log_sum = torch.logsumexp(total_input, dim=1)
        return log_sum if totals is None else log_sum * totals[:, 0]

    def row_totals(self, states: torch.Tensor) -> torch.Tensor:
        """Words in each document."""
        return states.sum(dim=1, keepdim=True)
