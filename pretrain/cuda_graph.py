"""Training steps that a GPU repeats without the host: CUDA graphs.

A step of contrastive divergence is some forty kernels of a few microseconds each, which Python cannot launch as fast
as a GPU computes them. A graph holds them all and is launched at once.
"""

import functools
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

import torch

WARM_UP_STEPS = 3  # of a kind, before it is recorded: what libraries set up at first is then there

Replay = Callable[[], None]


class Recorder(Protocol):
    """How steps are taken before they are recorded, and recorded."""

    def warm_up(self, step: Callable[[], None]) -> None:
        """Take a step."""

    def record(self, step: Callable[[], None]) -> Replay:
        """Take a step; return what repeats it, on the same tensors."""


class CudaRecorder:
    """Records CUDA graphs.

    Parameters
    ----------
    device : torch.device
    generators : sequence of torch.Generator
        On the device, those that a step draws from: a graph must know them. Replays draw what the steps would have
        drawn, and move the generators on as the steps would have.
    """

    def __init__(self, device: torch.device, generators: Sequence[torch.Generator]) -> None:
        self.device, self.generators = device, generators
        self.stream = torch.cuda.Stream(device)

    def warm_up(self, step: Callable[[], None]) -> None:
        """Take a step on the stream that records, which is not the one that computes otherwise."""
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            step()
        current.wait_stream(self.stream)

    def record(self, step: Callable[[], None]) -> Replay:
        """Record a step, which does not compute anything yet, and replay it once."""
        graph = torch.cuda.CUDAGraph()
        for generator in self.generators:
            graph.register_generator_state(generator)
        with torch.cuda.device(self.device), torch.cuda.graph(graph, stream=self.stream):
            step()
        graph.replay()
        return graph.replay


class StepGraphs:
    """The steps of a run, each kind recorded once: the first of a kind are taken as they are, later ones replayed.

    What a recorded step reads and writes must stay where it is: parameters, gradients, slots of the optimiser,
    buffers. Numbers of the host (rates, momentum, counts) stay what they were: they belong into the key.

    Parameters
    ----------
    recorder : Recorder
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.forget()

    def forget(self) -> None:
        """Drop what was recorded, because tensors have been replaced, or no step is left to take."""
        self._seen: Counter[Hashable] = Counter()
        self._graphs: dict[Hashable, tuple[torch.Tensor, Replay]] = {}

    def take(self, key: Hashable, rows: torch.Tensor, step: Callable[[torch.Tensor], None]) -> bool:
        """Take the step of these rows; return whether it was replayed, so that the host has seen nothing of it.

        Parameters
        ----------
        key : hashable
            Steps with the same key, and as many rows, are of one kind.
        rows : Tensor of shape (batch,)
        step : callable
            Takes the step of the rows with these numbers, (batch,) int64; the same in every call. It is not kept: a
            run that its own graphs refer to would hold its rows on the GPU until Python looks for cycles.
        """
        kind = (key, len(rows))
        if kind in self._graphs:
            static_rows, replay = self._graphs[kind]
            static_rows.copy_(rows)
            replay()
            return True
        self._seen[kind] += 1
        if self._seen[kind] <= WARM_UP_STEPS:
            self._recorder.warm_up(functools.partial(step, rows))
        else:
            static_rows = rows.clone()
            self._graphs[kind] = static_rows, self._recorder.record(functools.partial(step, static_rows))
        return False
