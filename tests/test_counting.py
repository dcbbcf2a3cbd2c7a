"""Epochs, steps and multiply-adds of a training: against formulas, and against torch's counter on the whole of it."""

import dataclasses

import pytest
from torch.utils.flop_counter import FlopCounterMode

from pipelines.arms import arms_named
from pipelines.bench import Bench
from pipelines.cells import Cell
from pipelines.counting import Cost, count_cost, one_batch
from pipelines.finetuning import Targets
from pipelines.preparation import prepare
from pipelines.pretraining import greedy_run
from pipelines.run_folder import RunFolder
from pretrain.device import resolve_device
from pretrain.settings import AutoencoderSettings, RBMSettings, TrainingSettings

N_ROWS, BATCH, EPOCHS, SIZES = 77, 11, 3, (13, 5)
TRAINING = TrainingSettings(epochs=EPOCHS, batch_size=BATCH, learning_rate=0.01)
V, H1, H2 = 64, *SIZES


@pytest.fixture(scope="module")
def digits():
    return prepare("digits")


def pretraining(digits, settings, n_rows):
    return greedy_run(digits, SIZES, settings, rows=digits.split.train[:n_rows], seed=3, device="cpu")


def counted(digits, settings, n_rows=N_ROWS):
    """The cost of a training, and the multiply-adds that torch counts in the whole of it."""
    with FlopCounterMode(display=False) as counter:
        history = [record for record in pretraining(digits, settings, n_rows) if "progress" not in record]
    short, n = one_batch(settings, n_rows, fewest_epochs=10)
    return count_cost(pretraining(digits, short, n), n, history, n_rows), counter.get_total_flops() / 2


@pytest.mark.parametrize(
    "settings",
    [
        RBMSettings(training=TRAINING),
        RBMSettings(training=TRAINING, n_gibbs_steps=3),
        AutoencoderSettings(training=TRAINING),
        AutoencoderSettings(training=TRAINING, contraction=0.1, corruption="none"),
    ],
    ids=["cd", "cd-3", "denoising", "contractive"],
)
def test_multiply_adds_are_those_of_the_whole_training(digits, settings):
    cost, whole = counted(digits, settings)
    assert (cost.epochs, cost.steps) == (2 * EPOCHS, 2 * EPOCHS * N_ROWS // BATCH)
    assert cost.multiply_adds == whole


def test_multiply_adds_of_contrastive_divergence(digits):
    # CD-k passes 2k + 1 times through the weights and multiplies two pairs of states; then the rows go up once.
    cost, _ = counted(digits, RBMSettings(training=TRAINING, n_gibbs_steps=2))
    assert cost.multiply_adds == N_ROWS * (EPOCHS * 7 * (V * H1 + H1 * H2) + V * H1)


def test_a_short_last_batch_counts_its_own_rows_and_a_whole_step(digits):
    cost, whole = counted(digits, RBMSettings(training=TRAINING), n_rows=N_ROWS + 3)
    assert cost.steps == 2 * EPOCHS * (N_ROWS // BATCH + 1)
    assert cost.multiply_adds == pytest.approx(whole, rel=1e-3)


def test_no_epochs_cost_nothing(digits):
    none = dataclasses.replace(TRAINING, epochs=0)
    assert counted(digits, RBMSettings(training=none))[0] == Cost(0, 0, 0)


@pytest.fixture
def bench(digits, tmp_path):
    targets = Targets.of(digits.train_labels(), digits.task)
    return Bench(digits, targets, SIZES, RunFolder(tmp_path), resolve_device("cpu"))


def supervised_cost(bench, arm, n_epochs=EPOCHS):
    rows = bench.prepared.split.train[:N_ROWS]
    finetune = dataclasses.replace(arm.finetune, training=TRAINING)
    history = [{"stage": "finetune" if arm.pretrained else "train", "layer": None}] * n_epochs
    return bench._supervised_cost(Cell(dataclasses.replace(arm, finetune=finetune), 77, 0), None, rows, history)


def test_multiply_adds_of_backpropagation(bench):
    # Forwards, and backwards to the weights of every layer and to the inputs of all but the first.
    (relu,) = arms_named(("relu",))
    cost = supervised_cost(bench, relu)
    assert cost == Cost(EPOCHS, EPOCHS * 7, EPOCHS * N_ROWS * (2 * V * H1 + 3 * (H1 * H2 + H2 * 10)))


def test_pseudo_labels_cost_what_their_rows_cost(bench):
    (relu,) = arms_named(("relu",))
    pseudo = dataclasses.replace(relu, finetune=dataclasses.replace(relu.finetune, pseudo_labels=1.0))
    rows = bench.prepared.split.train[:N_ROWS]
    finetune = dataclasses.replace(pseudo.finetune, training=TRAINING)
    cell = Cell(dataclasses.replace(pseudo, finetune=finetune), 77, 0)
    history = [{"stage": "train", "layer": None}] * EPOCHS
    assert bench._supervised_cost(cell, None, rows, history).multiply_adds > (
        4 * supervised_cost(bench, relu).multiply_adds
    )
