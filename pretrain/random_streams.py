"""One seed expanded into named, independent streams of random numbers."""

from collections.abc import Sequence

import numpy as np
import torch

from pretrain._validation import require_choice, require_number

# A stream is known by its number here, never by its place in a call order: append, do not reorder.
STREAM_NAMES = (
    "init",
    "batches",
    "sampling",
    "corruption",
    "dropout",
    "head",
    "split",
    "labels",
    "missing",
    "monitoring",
    "likelihood",
    "contraction",
    "shift",
    "fantasies",
    "flip",
    "pseudo_labels",
    "crop",
    "rotation",
    "noise",
    "tuning",
)
INT16_MAX = 2**15 - 1


class RandomStreams:
    """Named random generators grown from one seed.

    Every (name, layer) pair has a stream of its own, so that training one more layer, or drawing once more
    for a plot, changes no number that another stream yields. The global generators of torch and NumPy are
    never read or written.

    Parameters
    ----------
    seed : int
        Any integer >= 0.

    Examples
    --------
    >>> streams = RandomStreams(0)
    >>> a = streams.generator("init", layer=1)
    >>> b = RandomStreams(0).generator("init", layer=1)
    >>> bool((torch.rand(3, generator=a) == torch.rand(3, generator=b)).all())
    True
    """

    def __init__(self, seed: int) -> None:
        require_number("RandomStreams", "seed", seed, at_least=0, integer=True)
        self.seed = int(seed)

    def generator(
        self, name: str, *, layer: int | None = None, device: torch.device | str = "cpu"
    ) -> torch.Generator:
        """The stream `name` of `layer` (None: of the whole run) as a fresh torch generator on `device`."""
        generator = torch.Generator(device=device)
        generator.manual_seed(self.integer_seed(name, layer=layer))
        return generator

    def integer_seed(self, name: str, *, layer: int | None = None) -> int:
        """A 63-bit seed of the stream, for libraries that take integers."""
        require_choice("RandomStreams", "name", name, STREAM_NAMES)
        key = (STREAM_NAMES.index(name), 0 if layer is None else layer + 1)
        words = np.random.SeedSequence(self.seed, spawn_key=key).generate_state(1, np.uint64)
        return int(words[0] >> np.uint64(1))


def random_mask(
    shape: Sequence[int], probability: float, *, generator: torch.Generator, dtype: torch.dtype
) -> torch.Tensor:
    """A new tensor of 0/1 states, each on with one probability, on the generator's device.

    On a CPU the probability is rounded to 2**-16, for the speed that `BernoulliSampler` explains.
    """
    mask = torch.empty(shape, dtype=dtype, device=generator.device)
    if generator.device.type != "cpu":
        return torch.lt(
            torch.empty_like(mask, dtype=torch.float32).uniform_(generator=generator), probability, out=mask
        )
    words = torch.empty((mask.numel() + 3) // 4, dtype=torch.int64)
    words.random_(-(2**63), None, generator=generator)
    thresholds = words.view(torch.int16)[: mask.numel()].view(mask.shape)
    limit = round(probability * 2**16) - 2**15
    if limit > INT16_MAX:  # a probability that rounds to 1 is beyond every threshold
        return mask.fill_(1)
    return torch.lt(thresholds, limit, out=mask)


class BernoulliSampler:
    """Draws 0/1 states from probabilities without allocating in the loop: its buffers only grow.

    On a CPU one 64-bit word of the generator serves four states: a state is on where a 16-bit threshold lies
    below its probability, so probabilities are resolved to 2**-16 (rounded up), which is far below the noise of
    any gradient here and two to three times as fast as a float per state.

    Parameters
    ----------
    generator : torch.Generator
        Its device is where the probabilities live.
    exact : bool
        Whether thresholds have 24 bits on a CPU too, as they have on a GPU: for estimates of likelihoods.
    """

    def __init__(self, generator: torch.Generator, *, exact: bool = False) -> None:
        self.generator, self.exact = generator, exact
        self._words = torch.empty(0, dtype=torch.int64)
        self._uniform = torch.empty(0)

    def sample(self, probabilities: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """Fill `out` (any float dtype, same shape) with states drawn from `probabilities`; return it."""
        uniform = self._draw(probabilities)
        return torch.lt(uniform, probabilities, out=out)

    def _draw(self, probabilities: torch.Tensor) -> torch.Tensor:
        n = probabilities.numel()
        if self._uniform.numel() < n:
            self._uniform = torch.empty(n, device=probabilities.device)
        uniform = self._uniform[:n].view(probabilities.shape)
        if self.exact or probabilities.device.type != "cpu":
            return uniform.uniform_(generator=self.generator)
        n_words = (n + 3) // 4
        if self._words.numel() < n_words:
            self._words = torch.empty(n_words, dtype=torch.int64)
        # From -2**63: without the lower bound torch leaves the sign bit of every fourth threshold at zero.
        words = self._words[:n_words].random_(-(2**63), None, generator=self.generator)
        thresholds = words.view(torch.int16)[:n].view(probabilities.shape)
        return uniform.copy_(thresholds).mul_(2.0**-16).add_(0.5)
