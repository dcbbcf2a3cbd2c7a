"""Greedy training and what follows it: the trainings of deep belief nets and of deep Boltzmann machines."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from pretrain.greedy import GreedyPretraining
from pretrain.training import Record, TrainingRun


class DeepTraining:
    """An iterator of records: those of greedy training, then those of further stages, each with a run of its own.

    Subclasses make the runs (`_begin`), and the greedy training where there is one.

    Parameters
    ----------
    sizes : sequence of int
        Hidden units of every layer.
    plan : sequence of str
        The stages after greedy training, in their order.

    Attributes
    ----------
    run : TrainingRun or None
        That of the last stage begun; None before.
    """

    device: torch.device

    def __init__(self, sizes: Sequence[int], plan: Sequence[str]) -> None:
        self.sizes = list(sizes)
        self.run: TrainingRun | None = None
        self._plan = list(plan)  # stages that have not begun
        self._greedy: GreedyPretraining | None = None
        self._below: list[Any] = []  # the layers of greedy training, once it is over

    def __iter__(self) -> Iterator[Record]:
        return self

    def __next__(self) -> Record:
        for record in self._greedy or ():
            return {**record, "n_layers": len(self.sizes)}
        self._end_greedy()
        while self.run is None or self.run.finished:
            if not self._plan:
                self._close()
                raise StopIteration
            self.run = self._begin(self._plan.pop(0))
        record = next(self.run)
        return record if record["layer"] is None else {**record, "n_layers": len(self.sizes)}

    def state_dict(self) -> dict[str, Any]:
        """Everything that continues the training exactly: the greedy layers, the stages left, their run."""
        return {
            "greedy": None if self._greedy is None else self._greedy.state_dict(),
            "below": [layer.state_dict() for layer in self._below],
            "plan": list(self._plan),
            "run": None if self.run is None else self.run.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken, from the same rows and settings; before the first record.

        What a layer is trained on is not in the state: the rows are encoded anew by the layers below.
        """
        if self._greedy is not None and state["greedy"] is not None:
            self._greedy.load_state_dict(state["greedy"])
        elif self._greedy is not None:
            self._below, self._greedy = list(self._greedy.rehearse().layers), None
            for layer, weights in zip(self._below, state["below"], strict=True):
                layer.to(self.device).load_state_dict(weights)
        while len(self._plan) > len(state["plan"]):
            self.run = self._begin(self._plan.pop(0))
        if self.run is not None:
            self.run.load_state_dict(state["run"])

    def _end_greedy(self) -> None:
        if self._greedy is not None:
            self._below, self._greedy = self._greedy.layers, None

    def _begin(self, stage: str) -> TrainingRun:
        """The run of a stage on the layers in `_below`, not begun."""
        raise NotImplementedError

    def _close(self) -> None:
        assert self.run is not None
        for parameter in self.run.learner.module.parameters():
            parameter.grad = None
