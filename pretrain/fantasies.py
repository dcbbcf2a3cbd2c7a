"""What a deep belief net generates: Gibbs sampling in its memory, then a pass down to the data.

References
----------
.. [1] Hinton, G. E., Osindero, S. & Teh, Y.-W. (2006). A fast learning algorithm for deep belief nets. Neural
       Computation 18, 1527-1554, section 7.
"""

from collections.abc import Iterator

import torch

from pretrain._validation import require_number
from pretrain.conditionals import Conditionals
from pretrain.dbn import DBN
from pretrain.exceptions import DataError
from pretrain.random_streams import BernoulliSampler

GIBBS_STEPS = 1000  # of the memory, between the start of a chain and a sample


class Fantasies:
    """Gibbs chains of the memory, with labels that are clamped or free, seen through a pass down to the data.

    The chains start at what the memory's visible units draw when all its hidden units are off; after many steps they
    are samples of the net.

        for images in Fantasies(dbn, 10, generator=generator).watch(every=1): ...

    Parameters
    ----------
    dbn : DBN
    n_chains : int
    labels : Tensor of shape (n_chains,) or None
        Class indices to clamp; None lets the memory choose labels too.
    generator : torch.Generator
        On the device of the net.

    Attributes
    ----------
    v : Tensor of shape (n_chains, n_codes + n_classes)
        States of the memory's visible units.
    """

    @torch.no_grad()
    def __init__(
        self, dbn: DBN, n_chains: int, *, labels: torch.Tensor | None = None, generator: torch.Generator
    ) -> None:
        require_number("Fantasies", "n_chains", n_chains, at_least=1, integer=True)
        if labels is not None and (dbn.n_classes == 0 or labels.shape != (n_chains,)):
            raise DataError(
                f"Labels are one a chain, ({n_chains},), of a net that has some; got {tuple(labels.shape)}."
            )
        self.dbn, self.memory = dbn, dbn.memory
        self._conditionals = Conditionals(self.memory, generator=generator, dtype=torch.float32, exact=True)
        self._conditionals.load()
        # Draws of its own for the passes down: who watches a chain does not change it.
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        down = torch.Generator(generator.device).manual_seed(seed)
        self._samplers = [BernoulliSampler(down, exact=True) for _ in dbn.layers]
        self._clamped = None if labels is None else torch.nn.functional.one_hot(labels, dbn.n_classes).float()
        empty = self._conditionals.empty
        self._h, self._h_mean = empty(n_chains, self.memory.n_hidden).zero_(), empty(n_chains, self.memory.n_hidden)
        self.v, self._v_mean = empty(n_chains, self.memory.n_visible), empty(n_chains, self.memory.n_visible)
        self._draw_visible()

    @torch.no_grad()
    def advance(self, n_steps: int) -> None:
        """Take full Gibbs steps: hidden units given visible ones, then these given those."""
        for _ in range(n_steps):
            self._conditionals.hidden(self.v, self._h_mean, self._h)
            self._draw_visible()

    @torch.no_grad()
    def data(self, *, states: bool = False) -> torch.Tensor:
        """A pass down from the chains: means of the data given the layer above, or states; (n_chains, n_visible)."""
        drawn, mean = (part[:, : self.dbn.n_codes] for part in (self.v, self._v_mean))
        for layer, sampler in zip(reversed(self.dbn.layers), self._samplers, strict=True):
            mean = layer.generative_input(drawn)
            drawn = layer.visible_units.sample_(mean, torch.empty_like(mean), sampler=sampler)
        return (drawn if states else mean).clone()

    def watch(self, *, every: int = 1, states: bool = False) -> Iterator[torch.Tensor]:
        """`data` now and after every `every` steps, without end."""
        require_number("Fantasies", "every", every, at_least=1, integer=True)
        while True:
            yield self.data(states=states)
            self.advance(every)

    def _draw_visible(self) -> None:
        self._conditionals.visible(self._h, self._v_mean, self.v)
        if self._clamped is not None:
            self.v[:, self.dbn.n_codes :] = self._clamped
