"""Figures taken in training, and the pictures of them and of confusions."""

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from pipelines.arms import arms_named
from pipelines.bench import Bench
from pipelines.cells import Cell
from pipelines.diagnostic_plots import (
    activation_figures,
    confusion_figure,
    confusions_in_words,
    gradient_flow_figures,
)
from pipelines.diagnostics import measured_epochs
from pipelines.evaluation import confusion_counts
from pipelines.finetuning import Targets
from pipelines.preparation import prepare
from pipelines.progress import TrainingProgress
from pipelines.run_folder import RunFolder
from pretrain.device import resolve_device
from pretrain.exceptions import DataError

EPOCHS = 3


@pytest.fixture(scope="module")
def digits():
    return prepare("digits")


@pytest.fixture
def train(digits, tmp_path):
    bench = Bench(
        digits,
        Targets.of(digits.train_labels(), "classification"),
        (7, 5),
        RunFolder(tmp_path),
        resolve_device("cpu"),
    )

    def train(name, diagnose):
        (arm,) = arms_named((name,))
        training = dataclasses.replace(arm.finetune.training, epochs=EPOCHS)
        arm = dataclasses.replace(arm, finetune=dataclasses.replace(arm.finetune, training=training))
        cell, rows = Cell(arm, 60, 1), digits.split.train[:60]
        with TrainingProgress() as progress, bench.states.of_cell(tmp_path / "cell", cell, rows, None) as resuming:
            return bench.train(cell, rows, None, resuming, progress, "", diagnose=diagnose)

    return train


def test_epochs_lie_closer_at_the_beginning():
    assert measured_epochs(1) == [1]
    assert measured_epochs(5) == [1, 2, 3, 4, 5]
    assert measured_epochs(100) == [1, 2, 4, 7, 14, 27, 52, 100]
    assert all(measured_epochs(n)[-1] == n and len(measured_epochs(n)) <= 8 for n in range(1, 300))


@pytest.mark.parametrize("arm", ["relu-dropout", "relu-bn", "stochastic-depth"])
def test_training_does_not_notice(train, arm):
    plain, watched = train(arm, False), train(arm, True)
    assert [r["loss"] for r in plain.history] == [r["loss"] for r in watched.history]
    for name, value in plain.network.state_dict().items():
        assert value.equal(watched.network.state_dict()[name]), name
    assert plain.diagnostics == []
    assert [point["epoch"] for point in watched.diagnostics] == [0, 1, 2, 3]
    assert watched.diagnostics[0]["gradient_norms"] != watched.diagnostics[3]["gradient_norms"]


def test_confusions_are_those_of_scikit_learn(train, digits):
    network = train("relu", False).network
    X, y = digits.raw_test_rows(), digits.test_labels()
    assert confusion_counts(network, X, y) == confusion_matrix(y, network.predict(X)).tolist()
    strange = np.where(np.arange(len(y)) < 5, 77, y)  # a class that the network does not know
    assert np.sum(confusion_counts(network, X, strange)) == len(y) - 5
    network.classes = None
    assert confusion_counts(network, X, y) is None


def points_of(scale):
    point = {
        "gradient_norms": [scale, 2 * scale, 3 * scale],
        "activation_stds": [0.1, 0.2],
        "dead_units": [0.25, 0.5],
        "saturated_units": [0.0, 0.0],
    }
    return [{"epoch": epoch, **point} for epoch in (0, 1, 4)]


def test_gradients_by_layer_and_by_epoch():
    points = {"dbn": points_of(1.0), "relu": points_of(100.0)}
    figures = gradient_flow_figures(points, {"dbn": True, "relu": False})
    assert len(figures) == 4
    lines = figures[0].axes[0].lines
    assert [list(line.get_xdata()) for line in lines] == [[1, 2, 3]] * 2
    assert [list(line.get_ydata()) for line in lines] == [[1, 2, 3], [100, 200, 300]]
    assert figures[0].axes[0].get_yscale() == "log"
    assert list(figures[3].axes[0].lines[0].get_xdata()) == [0, 1, 4]
    assert "relu 100 to 300" in figures[0].get_label()
    assert len(gradient_flow_figures({"dbn": points_of(1.0)[:1]}, {"dbn": True})) == 4  # no epochs: one point


def test_shares_of_units_are_percentages():
    dead, saturated, _ = activation_figures({"dbn": points_of(1.0)}, {"dbn": True})
    assert list(dead.axes[0].lines[0].get_ydata()) == [25, 50]
    assert list(saturated.axes[0].lines[0].get_ydata()) == [0, 0]
    assert "Dead units (%) after training" in dead.get_label()


def test_confusions_in_a_figure_and_in_words():
    counts = np.array([[50, 2, 0], [0, 40, 9], [1, 0, 30]])
    figure = confusion_figure(counts, ["a", "b", "c"])
    assert sorted(text.get_text() for text in figure.axes[0].texts) == sorted(["50", "2", "40", "9", "1", "30"])
    shades = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(shades, np.array([[0, 2, 0], [0, 0, 9], [1, 0, 0]]) / 12)
    expected = "12 of 132 test rows confused; most often b as c (9), a as b (2), c as a (1)."
    assert figure.get_label() == confusions_in_words(counts, ["a", "b", "c"]) == expected
    assert "No test row" in confusions_in_words(np.diag([3, 4]), ["a", "b"])
    assert not confusion_figure(np.eye(13, dtype=int), [str(k) for k in range(13)]).axes[0].texts
    with pytest.raises(DataError, match=r"2 classes must be square; got shape \(3, 3\)"):
        confusion_figure(counts, ["a", "b"])
