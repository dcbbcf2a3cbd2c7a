"""One trial of a study, trained once: the network, its training, and what is measured of it."""

import math
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch.nn import functional

from pipelines.evaluation import evaluate
from pipelines.finetuning import INTO, Targets
from pipelines.preparation import PreparedData, take_rows
from pipelines.pretraining import pretrain_stack
from pipelines.progress import PROGRESS_SECONDS, TrainingProgress
from pipelines.split import draw_labelled
from pipelines.studies.gradients import gradient_norms
from pipelines.studies.study import Trial
from pretrain import Finetuning, Stack, unroll
from pretrain.baselines import scratch_network
from pretrain.exceptions import DivergenceError
from pretrain.image_architecture import ImageArchitecture
from pretrain.image_networks import random_image_network
from pretrain.initialisation import initialise
from pretrain.monte_carlo import predict_by_dropout
from pretrain.network import Network
from pretrain.pretrained_networks import pretrained_network
from pretrain.random_streams import RandomStreams
from pretrain.training import Record

GRADIENT_ROWS = 500
AREA_OF_GUESSING = 0.5


@dataclass(frozen=True, eq=False)
class TrialBench:
    """What all trials of a study share.

    Parameters
    ----------
    prepared : PreparedData
        Of a classification.
    n_rows : int or None
        Training rows that the study uses, drawn by each seed, the same number of each class; None: all.
    device : torch.device
    progress : TrainingProgress
    """

    prepared: PreparedData
    n_rows: int | None
    device: torch.device
    progress: TrainingProgress
    _stacks: dict[Any, Stack] = field(default_factory=dict)

    def run(self, trial: Trial, seed: int, title: str = "") -> dict[str, Any]:
        """Train the network of a trial and measure it.

        Returns
        -------
        dict
            `trial`, `seed`, `diverged`, `guessing_loss` (of equal probabilities); `test_error` and `train_error` in
            %, `train_loss` in nats a row (both of the finished network, nothing dropped), `losses` of every epoch,
            `validation_loss` where rows are held out; `n_parameters`, `seconds` of training alone and
            `compute_seconds`, the same as time of the processor (that beside other work does not grow); and what
            the trial asks for: `gradients` of each hidden layer before training, `draw_error`, `draw_area` and
            `output_area` (see `_draw_figures`). A network whose training diverged counts as one that guesses.
        """
        rows = self._rows(seed)
        labelled = rows if trial.labels is None else self._drawn(rows, trial.labels, seed)
        network = self._network(trial, rows, seed, title)
        X, y = self._inputs(labelled), self._targets.encode(self.prepared.labels()[labelled])
        record: dict[str, Any] = {"trial": trial.name, "seed": seed, "n_parameters": network.n_parameters}
        if trial.gradients:
            shown = slice(0, GRADIENT_ROWS)
            record["gradients"] = gradient_norms(network, torch.from_numpy(X[shown]), torch.from_numpy(y[shown]))
        history, diverged, compute_seconds = self._train(trial, network, X, y, seed, title)
        record |= {
            "diverged": diverged,
            "guessing_loss": math.log(self._targets.n_outputs),
            "losses": [epoch["loss"] for epoch in history],
            "seconds": sum(epoch["seconds"] for epoch in history),
            "compute_seconds": compute_seconds,
        }
        return record | (self._guesses(trial, y) if diverged else self._figures(trial, network, X, y, history))

    @property
    def _targets(self) -> Targets:
        return Targets.of(self.prepared.train_labels(), self.prepared.task)

    def _rows(self, seed: int) -> np.ndarray:
        rows = self.prepared.split.train
        if self.n_rows is None or self.n_rows >= len(rows):
            return rows
        return self._drawn(rows, self.n_rows, seed)

    def _drawn(self, rows: np.ndarray, n: int, seed: int) -> np.ndarray:
        return draw_labelled(self.prepared.labels(), rows, n, seed=seed)

    def _inputs(self, rows: np.ndarray) -> np.ndarray:
        return self.prepared.scaling.apply(take_rows(self.prepared.dataset.X, rows))

    def _network(self, trial: Trial, rows: np.ndarray, seed: int, title: str) -> Network:
        streams, n_outputs = RandomStreams(seed), self._targets.n_outputs
        generator = streams.generator("init")
        rates: dict[str, Any] = {"dropout": trial.dropout, "input_dropout": trial.input_dropout}
        if trial.image is not None:
            shape = self.prepared.dataset.image_shape or ()
            architecture = ImageArchitecture(image_shape=tuple(shape), n_outputs=n_outputs, **trial.image)
            network: Network = random_image_network(architecture, generator=generator)
        elif trial.layer is None:
            assert trial.kind is not None
            network = scratch_network(
                trial.kind,
                self.prepared.dataset.X.shape[1],
                trial.hidden_layer_sizes,
                n_outputs,
                activation=trial.activation,
                initialisation=trial.initialisation,
                generator=generator,
                **rates,
            )
        elif trial.kind is None:
            stack, into = self._stack(trial, rows, seed, title), INTO["classification"]
            given = {name: rate or 0.0 for name, rate in rates.items()}
            network = unroll(stack, into, n_outputs=n_outputs, generator=streams.generator("head"), **given)
        else:
            stack = self._stack(trial, rows, seed, title)
            network = pretrained_network(trial.kind, stack, n_outputs, generator=generator, **rates)
        if trial.gain is not None:
            assert trial.initialisation is not None
            for layer in network.hidden:
                initialise(layer.linear, trial.initialisation, trial.gain, generator=generator)
        network.scaling = self.prepared.scaling
        return self._targets.attach(network)

    def _stack(self, trial: Trial, rows: np.ndarray, seed: int, title: str) -> Stack:
        assert trial.layer is not None
        key = (trial.layer, trial.hidden_layer_sizes, seed)
        if key not in self._stacks:
            self._stacks[key] = pretrain_stack(
                self.prepared,
                trial.hidden_layer_sizes,
                trial.layer,
                seed=seed,
                rows=rows,
                device=self.device,
                progress=self.progress,
                title=title,
                transient=True,
            )[0].cpu()
        return self._stacks[key]

    def _train(
        self, trial: Trial, network: Network, X: np.ndarray, y: np.ndarray, seed: int, title: str
    ) -> tuple[list[Record], bool, float]:
        validation = self.prepared.split.validation
        run = Finetuning(
            network,
            X,
            y,
            trial.finetune,
            seed=seed,
            device=self.device,
            validation=(self._inputs(validation), self._targets.encode(self.prepared.labels()[validation]))
            if len(validation)
            else None,
            image_shape=self.prepared.dataset.image_shape,
            stage="finetune" if trial.layer is not None else "train",
            progress_seconds=PROGRESS_SECONDS,
        )
        history: list[Record] = []
        clock = time.process_time if self.device.type == "cpu" else time.perf_counter
        started = clock()
        try:
            for record in self.progress.follow(run, title, transient=True):
                history.append(record)
        except DivergenceError:
            return history, True, clock() - started
        return history, False, clock() - started

    def _figures(
        self, trial: Trial, network: Network, X: np.ndarray, y: np.ndarray, history: list[Record]
    ) -> dict[str, Any]:
        output, target = torch.from_numpy(network.output_rows(X)), torch.from_numpy(y)
        figures = {
            "train_loss": float(functional.cross_entropy(output.double(), target)),
            "train_error": 100 * float((output.argmax(dim=1) != target).double().mean()),
            "test_error": evaluate(network, self.prepared.raw_test_rows(), self.prepared.test_labels())["test_error"],
        }
        if "validation_loss" in history[-1]:
            figures["validation_loss"] = history[-1]["validation_loss"]
        return figures | (self._draw_figures(network, trial.dropout_draws) if trial.dropout_draws else {})

    def _guesses(self, trial: Trial, y: np.ndarray) -> dict[str, float]:
        """Figures of a network that gives every row the most frequent class; `y` are those of the labelled rows."""
        labels, counts = np.unique(self.prepared.train_labels(), return_counts=True)
        guess = counts.argmax()
        error = 100 * float((self.prepared.test_labels() != labels[guess]).mean())
        loss = math.log(self._targets.n_outputs)
        figures = {"train_loss": loss, "test_error": error, "validation_loss": loss}
        figures["train_error"] = 100 * float((y != guess).mean())
        areas = dict.fromkeys(("draw_area", "output_area"), AREA_OF_GUESSING)
        return figures | ({"draw_error": error, **areas} if trial.dropout_draws else {})

    def _draw_figures(self, network: Network, n_draws: int) -> dict[str, float]:
        """The test error of the mean over networks drawn by dropout, and how well wrong rows are told from right.

        `draw_area` and `output_area` are areas under the curve of true against false alarms, by the standard
        deviation of the drawn outputs (mean over the classes), and by 1 less the largest output of the network that
        drops nothing; both are of the rows that this network gets wrong. An area is 0.5 where all or none are wrong.
        """
        X, y = self.prepared.raw_test_rows(), self.prepared.test_labels()
        drawn = predict_by_dropout(network, X, dropout_draws=n_draws)
        probabilities, wrong = network.predict_proba(X), network.predict(X) != y
        classes = np.asarray(network.classes)
        spread, doubt = np.sqrt(drawn.variance).mean(axis=1), 1 - probabilities.max(axis=1)
        telling = wrong.any() and not wrong.all()
        return {
            "draw_error": 100 * float((classes[drawn.mean.argmax(axis=1)] != y).mean()),
            "draw_area": float(roc_auc_score(wrong, spread)) if telling else AREA_OF_GUESSING,
            "output_area": float(roc_auc_score(wrong, doubt)) if telling else AREA_OF_GUESSING,
        }
