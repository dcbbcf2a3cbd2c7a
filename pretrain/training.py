"""The one training loop: an iterator of records that drives every learner, pretrained or not.

    for record in TrainingRun(learner, batches, settings, stage="pretrain", layer=0):
        print(record["epoch"], record["loss"])

Whoever consumes the records draws the bar, writes the checkpoint or plots; there are no callbacks.
"""

import math
import time
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import torch
from torch import nn

from pretrain.batches import Batch, BatchSource
from pretrain.cuda_graph import CudaRecorder, StepGraphs
from pretrain.device import limited_threads, repeatable_convolutions, state_on_device
from pretrain.exceptions import DivergenceError, SettingsError
from pretrain.learner import Learner
from pretrain.optimization import make_optimizer, make_scheduler, momentum_at, set_momentum
from pretrain.settings import TrainingSettings
from pretrain.training_settings import LINE_SEARCHES

LARGEST_WEIGHT = 1e6  # beyond it nothing is learned any more
Record = dict[str, Any]
Validation = Callable[[], dict[str, float]]


class TrainingRun:
    """Trains a learner and yields one flat record an epoch.

    A record holds `stage`, `layer` (None for a whole network), `epoch` (from 1), `n_epochs`, `loss` (mean a row
    over the epoch, each row counted once, without penalties), `learning_rate` (of the first group, at the end of
    the epoch; conjugate gradients have none), `seconds` (training only), the learner's own figures and, with
    `validation`, its metrics. With `progress_seconds`, records that hold `progress` (the share of the epoch done, in
    (0, 1)) come in between; they are not part of `history`.

    Parameters
    ----------
    learner : Learner
    batches : BatchSource
    settings : TrainingSettings
        With `epochs` and `batch_size` as numbers (`pretrain.budget.resolve_budget`).
    stage : str
        Name for the records: "pretrain", "head", "finetune" or "train".
    layer : int or None
        Index of the layer that is trained, None for a whole network.
    validation : callable or None
        Returns metrics, lower is better; the first one steers early stopping.
    progress_seconds : float or None
        Least time between two progress records; None yields epoch records alone.

    Raises
    ------
    DivergenceError
        At the end of an epoch whose loss or weights are not finite.
    SettingsError
        For settings that contradict each other or the learner.
    """

    def __init__(
        self,
        learner: Learner,
        batches: BatchSource,
        settings: TrainingSettings,
        *,
        stage: str,
        layer: int | None = None,
        validation: Validation | None = None,
        progress_seconds: float | None = None,
    ) -> None:
        if settings.early_stopping and validation is None:
            raise SettingsError(
                "early_stopping needs validation rows; set a validation fraction above 0 or turn it off."
            )
        if settings.optimizer in LINE_SEARCHES and learner.stochastic:
            raise SettingsError(
                f"optimizer {settings.optimizer!r} needs a loss that is the same each time; turn corruption, dropout "
                "and sampling off, or take 'sgd' or 'adam'."
            )
        self.learner, self.batches, self.settings = learner, batches, settings
        self.n_epochs = int(settings.epochs)
        self.stage, self.layer = stage, layer
        self.validation, self.progress_seconds = validation, progress_seconds
        self.optimizer = make_optimizer(learner.parameter_groups(), settings)
        self.scheduler = make_scheduler(self.optimizer, settings, batches.n_batches)
        # Frozen layers compute too: all weights count.
        self._work = sum(p.numel() for p in learner.module.parameters()) * batches.batch_size
        self.history: list[Record] = []
        self.best: dict[str, Any] | None = None
        self.stopped = False
        self._next_batch = 0
        self._loss_sum = torch.zeros((), device=batches.device, dtype=torch.float64)
        self._seconds = 0.0
        self.graphs: StepGraphs | None = None
        if batches.device.type == "cuda":
            self.graphs = StepGraphs(CudaRecorder(batches.device, learner.generators))

    @property
    def epoch(self) -> int:
        """Epochs that are finished."""
        return len(self.history)

    @property
    def finished(self) -> bool:
        """Whether every epoch is done or early stopping has ended the run."""
        return self.stopped or self.epoch >= self.n_epochs

    def __iter__(self) -> Iterator[Record]:
        return self

    def __next__(self) -> Record:
        if self.finished:
            raise StopIteration
        with limited_threads(self._work), repeatable_convolutions():
            return self._train()

    def _train(self) -> Record:
        started = reported = time.perf_counter()
        if self._next_batch == 0:
            self.batches.shuffle()
            self.learner.begin_epoch(self.epoch, self.n_epochs)
            set_momentum(self.optimizer, momentum_at(self.settings, self.epoch))
        while self._next_batch < self.batches.n_batches:
            self._take_step(self.batches.rows(self._next_batch))
            self._next_batch += 1
            now = time.perf_counter()
            within = self._next_batch < self.batches.n_batches
            if within and self.progress_seconds is not None and now - reported >= self.progress_seconds:
                self._seconds += now - started
                return self._record(progress=self._next_batch / self.batches.n_batches)
        loss = float(self._loss_sum) / self.batches.n_samples  # waits for the device, once an epoch
        self._seconds += time.perf_counter() - started
        return self._end_epoch(loss)

    def _take_step(self, rows: torch.Tensor) -> None:
        key = None if self.graphs is None else self._step_key()
        if self.graphs is None or key is None:
            self._step(rows)
        elif self.graphs.take(key, rows, self._step):
            self.learner.step_replayed()

    def _step_key(self) -> Hashable | None:
        """What a step depends on besides tensors; None where rates change, or the host has a part in it."""
        key = self.learner.step_key()
        if key is None or self.scheduler is not None or not self.batches.on_device:
            return None
        return (key, momentum_at(self.settings, self.epoch)) if self.settings.optimizer == "sgd" else None

    def _step(self, rows: torch.Tensor) -> None:
        batch = self.batches.gather(rows)
        if self.settings.optimizer in LINE_SEARCHES:
            loss = self._line_search_step(batch)
        else:
            loss = self.learner.fill_gradients(batch)
            self._add_l1_gradient()
            self.optimizer.step()
        if self.scheduler is not None:
            self.scheduler.step()
        self._apply_max_norm()
        self._loss_sum.add_(loss, alpha=len(batch.X))

    def _end_epoch(self, loss: float) -> Record:
        self._require_finite(loss)
        metrics = self.validation() if self.validation is not None else {}
        record = self._record(loss=loss, **metrics, **self.learner.metrics())
        self.history.append(record)
        self._next_batch, self._seconds = 0, 0.0
        self._loss_sum.zero_()
        if self.settings.early_stopping:
            self._keep_best(next(iter(metrics.values())))
        if self.finished and self.graphs is not None:
            self.graphs.forget()  # they hold memory of the GPU
        return record

    def _record(self, **values: float) -> Record:
        group = self.optimizer.param_groups[0]
        rate = {"learning_rate": float(group["lr"])} if "lr" in group else {}
        return {
            "stage": self.stage,
            "layer": self.layer,
            "epoch": self.epoch + 1,
            "n_epochs": self.n_epochs,
            **values,
            **rate,
            "seconds": self._seconds,
        }

    def _keep_best(self, metric: float) -> None:
        if self.best is None or metric < self.best["metric"] - self.settings.tol:
            weights = {name: value.clone() for name, value in self.learner.module.state_dict().items()}
            self.best = {"metric": metric, "epoch": self.epoch, "weights": weights}
        self.stopped = self.epoch - self.best["epoch"] >= self.settings.n_iter_no_change
        if self.finished:
            self.learner.module.load_state_dict(self.best["weights"])

    def _weights(self) -> Iterator[nn.Parameter]:
        for group in self.optimizer.param_groups:
            yield from (p for p in group["params"] if p.ndim > 1)

    def _add_l1_gradient(self) -> None:
        if self.settings.l1 > 0:
            for weight in self._weights():
                if weight.grad is not None:
                    weight.grad.add_(weight.detach().sign(), alpha=self.settings.l1)

    def _line_search_step(self, batch: Batch) -> torch.Tensor:
        losses: list[torch.Tensor] = []

        def closure() -> float:
            losses.append(self.learner.fill_gradients(batch))
            return float(self._penalised(losses[-1]))

        self.optimizer.step(closure)
        return losses[0]

    def _penalised(self, loss: torch.Tensor) -> torch.Tensor:
        # L-BFGS and CG have no weight decay and search along lines: the penalties must be in the loss too.
        self._add_l1_gradient()
        with torch.no_grad():
            loss = loss + self.learner.penalty()
            for weight in self._weights():
                loss = loss + self.settings.l1 * weight.abs().sum()
                loss = loss + 0.5 * self.settings.weight_decay * weight.square().sum()
                if self.settings.weight_decay > 0 and weight.grad is not None:
                    weight.grad.add_(weight, alpha=self.settings.weight_decay)
        return loss

    @torch.no_grad()
    def _apply_max_norm(self) -> None:
        if self.settings.max_norm is not None:
            for weight in self._weights():
                weight.copy_(torch.renorm(weight, p=2, dim=0, maxnorm=self.settings.max_norm))

    def _require_finite(self, loss: float) -> None:
        weights = [p for group in self.optimizer.param_groups for p in group["params"]]
        # One question to the device for all weights.
        if math.isfinite(loss) and bool(
            torch.stack([(p.detach().abs() <= LARGEST_WEIGHT).all() for p in weights]).all()
        ):
            return
        where = "the network" if self.layer is None else f"layer {self.layer + 1}"
        rate = float(self.settings.learning_rate)
        lower = f"lower the learning_rate of this stage (it is {rate:g}; try {rate / 10:g}), "
        has_rate = "lr" in self.optimizer.param_groups[0]
        raise DivergenceError(
            f"Training diverged in stage {self.stage!r}, {where}, epoch {self.epoch + 1}: the loss is {loss:g} "
            f"or a weight is beyond {LARGEST_WEIGHT:g}. Remedies: {lower if has_rate else ''}standardise the "
            "data, or set max_norm."
        )

    def carried_state(self) -> dict[str, Any]:
        """What a run on other rows goes on from: optimiser, learner and the stream that orders the rows."""
        return {
            "learner": self.learner.state_dict(),
            "optimizer": self.optimizer.state_dict()["state"],
            "batches": self.batches.generator.get_state(),
        }

    def carry_on(self, state: dict[str, Any]) -> None:
        """Begin where a run of the same learner on other rows ended (`carried_state`), with the settings of this."""
        self.learner.load_state_dict(state["learner"])
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state["optimizer"], "param_groups": groups})
        self.batches.generator.set_state(state["batches"])

    def state_dict(self) -> dict[str, Any]:
        """Everything that continues the run exactly."""
        return {
            "learner": self.learner.state_dict(),
            "module": self.learner.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "batches": self.batches.state_dict(),
            "history": [dict(record) for record in self.history],
            "best": self.best,
            "stopped": self.stopped,
            "next_batch": self._next_batch,
            "loss_sum": self._loss_sum.clone(),
            "seconds": self._seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.learner.load_state_dict(state_on_device(state["learner"], self._loss_sum.device))
        self.learner.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        self.batches.load_state_dict(state["batches"])
        self.history = [dict(record) for record in state["history"]]
        self.best, self.stopped = state["best"], state["stopped"]
        self._next_batch, self._seconds = state["next_batch"], state["seconds"]
        self._loss_sum.copy_(state["loss_sum"])
        if self.graphs is not None:
            self.graphs.forget()
