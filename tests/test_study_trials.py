"""A trial of a study is what its words say: the same training, done by hand, gives the same figures."""

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu

from pipelines.preparation import prepare
from pipelines.progress import TrainingProgress
from pipelines.split import draw_labelled
from pipelines.studies.study import Trial
from pipelines.studies.training_plans import plan, rbm_layers
from pipelines.studies.trials import TrialBench
from pretrain import Finetuning, GreedyPretraining, unroll
from pretrain.baselines import scratch_network
from pretrain.monte_carlo import predict_by_dropout
from pretrain.random_streams import RandomStreams

N_ROWS, N_LABELS = 100, 30
LAYER, PLAN = rbm_layers(1), plan(10, 0.01)


@pytest.fixture(scope="module")
def bench():
    prepared = prepare("digits", validation_fraction=0.1)
    return TrialBench(prepared, N_ROWS, torch.device("cpu"), TrainingProgress())


def drawn_rows(prepared, seed):
    """Rows of the study, and those of them that keep their labels."""
    rows = draw_labelled(prepared.labels(), prepared.split.train, N_ROWS, seed=seed)
    return rows, draw_labelled(prepared.labels(), rows, N_LABELS, seed=seed)


def figures_by_hand(prepared, network, labelled, seed):
    X, y = prepared.scaling.apply(prepared.dataset.X), prepared.labels()
    held_out = prepared.split.validation
    history = list(
        Finetuning(
            network, X[labelled], y[labelled], PLAN, seed=seed, device="cpu", validation=(X[held_out], y[held_out])
        )
    )
    wrong = network.predict(prepared.raw_test_rows()) != prepared.test_labels()
    probabilities = torch.softmax(torch.from_numpy(network.output_rows(X[labelled])).double(), dim=1).numpy()
    figures = {
        "validation_loss": history[-1]["validation_loss"],
        "train_loss": -np.log(probabilities[np.arange(N_LABELS), y[labelled]]).mean(),
        "train_error": 100 * (probabilities.argmax(axis=1) != y[labelled]).mean(),
        "test_error": 100 * wrong.mean(),
    }
    return figures, [record["loss"] for record in history]


@pytest.mark.parametrize("sizes", [(7, 5), (5, 7)], ids=str)
def test_a_pretrained_network(bench, sizes, seed):
    # The bench keeps the stacks of earlier trials: of other sizes, of other seeds.
    prepared = bench.prepared
    rows, labelled = drawn_rows(prepared, seed)
    X = prepared.scaling.apply(prepared.dataset.X)
    pretraining = GreedyPretraining(X[rows], sizes, LAYER, seed=seed, device="cpu", scaling=prepared.scaling)
    list(pretraining)
    network = unroll(
        pretraining.stack,
        "classifier",
        n_outputs=10,
        dropout=0.3,
        input_dropout=0.1,
        generator=RandomStreams(seed).generator("head"),
    )
    network.classes = np.arange(10)
    trial = Trial("one", None, sizes, PLAN, LAYER, N_LABELS, dropout=0.3, input_dropout=0.1)
    figures, losses = figures_by_hand(prepared, network, labelled, seed)
    found = bench.run(trial, seed)
    assert {key: found[key] for key in figures} == pytest.approx(figures)
    assert found["losses"] == pytest.approx(losses)


def test_a_network_from_scratch(bench, seed):
    _, labelled = drawn_rows(bench.prepared, seed)
    generator = RandomStreams(seed).generator("init")
    network = scratch_network("relu-bn", 64, (7, 5), 10, dropout=0.3, generator=generator)
    network.scaling, network.classes = bench.prepared.scaling, np.arange(10)
    trial = Trial("one", "relu-bn", (7, 5), PLAN, labels=N_LABELS, dropout=0.3)
    figures, losses = figures_by_hand(bench.prepared, network, labelled, seed)
    found = bench.run(trial, seed)
    assert {key: found[key] for key in figures} == pytest.approx(figures)
    assert found["losses"] == pytest.approx(losses)


def test_areas_are_the_chance_that_a_wrong_row_has_the_larger_value(bench):
    network = scratch_network("relu-dropout", 64, (30,), 10, generator=RandomStreams(0).generator("init"))
    network.scaling, network.classes = bench.prepared.scaling, np.arange(10)
    X, y = bench.prepared.raw_test_rows(), bench.prepared.test_labels()
    list(Finetuning(network, bench.prepared.scaling.apply(X)[:150], y[:150], plan(10), seed=0, device="cpu"))
    drawn, wrong = predict_by_dropout(network, X, dropout_draws=5), network.predict(X) != y
    assert 0.05 < wrong.mean() < 0.95

    def area(values):
        return mannwhitneyu(values[wrong], values[~wrong]).statistic / (wrong.sum() * (~wrong).sum())

    found = bench._draw_figures(network, 5)
    assert found["draw_area"] == pytest.approx(area(np.sqrt(drawn.variance).mean(axis=1)))
    assert found["output_area"] == pytest.approx(area(-network.predict_proba(X).max(axis=1)))
    assert found["draw_error"] == pytest.approx(100 * (drawn.mean.argmax(axis=1) != y).mean())


def test_a_network_that_diverged_gives_every_row_the_most_frequent_class(bench):
    trial = Trial("wild", "relu", (7,), plan(2, 1e9, "sgd"), labels=N_LABELS, dropout_draws=5)
    found = bench.run(trial, 0)
    assert found["diverged"]
    guess = np.bincount(bench.prepared.train_labels()).argmax()
    _, labelled = drawn_rows(bench.prepared, 0)
    test_error = 100 * (bench.prepared.test_labels() != guess).mean()
    assert found["test_error"] == found["draw_error"] == pytest.approx(test_error)
    assert found["train_error"] == pytest.approx(100 * (bench.prepared.labels()[labelled] != guess).mean())
    assert (found["draw_area"], found["output_area"]) == (0.5, 0.5)
