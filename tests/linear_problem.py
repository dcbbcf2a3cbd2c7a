"""A learner with a known answer: linear regression, the smallest thing that the training loop can drive."""

import numpy as np
import torch
from torch import nn

from pretrain.batches import BatchSource
from pretrain.learner import Learner
from pretrain.settings import TrainingSettings
from pretrain.training import TrainingRun

N_ROWS, N_FEATURES, N_TARGETS = 23, 5, 2


class LinearRegression(Learner):
    """Squared error summed over the targets, mean over rows."""

    stochastic = False

    def __init__(self, seed=0, rate_factor=None):
        self.module = nn.Linear(N_FEATURES, N_TARGETS, device="meta").to_empty(device="cpu")
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.module.parameters():
            nn.init.normal_(parameter, generator=generator)
        self.rate_factor = rate_factor

    def parameter_groups(self):
        factor = {} if self.rate_factor is None else {"rate_factor": self.rate_factor}
        return [{"params": list(self.module.parameters()), **factor}]

    def fill_gradients(self, batch):
        loss = (self.module(batch.X) - batch.y).square().sum() / len(batch.X)
        self.module.zero_grad()
        loss.backward()
        return loss.detach()


def problem(seed=0):
    """Rows and targets of a noisy linear map."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N_ROWS, N_FEATURES)).astype(np.float32)
    y = X @ rng.normal(size=(N_FEATURES, N_TARGETS)) + 3 + 0.1 * rng.normal(size=(N_ROWS, N_TARGETS))
    return X, y.astype(np.float32)


def batches_of(seed=0, batch_size=7):
    X, y = problem(seed)
    generator = torch.Generator().manual_seed(seed + 50)
    device = torch.device("cpu")
    return BatchSource(X, torch.from_numpy(y), batch_size=batch_size, generator=generator, device=device)


def run_of(seed=0, *, batch_size=7, learner=None, validation=None, progress_seconds=None, **settings):
    """A training run of the regression; `settings` are fields of TrainingSettings."""
    settings = TrainingSettings(**{"epochs": 3, "learning_rate": 0.01, "batch_size": batch_size, **settings})
    return TrainingRun(
        learner or LinearRegression(seed),
        batches_of(seed, batch_size),
        settings,
        stage="train",
        validation=validation,
        progress_seconds=progress_seconds,
    )


def weights_of(run):
    return {name: value.clone() for name, value in run.learner.module.state_dict().items()}


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def without_times(records):
    return [{key: value for key, value in record.items() if key != "seconds"} for record in records]
