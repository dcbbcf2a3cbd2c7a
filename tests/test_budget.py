"""Epochs and batch sizes when nobody says."""

import pytest

from pretrain.budget import resolve_budget, resolve_head_epochs
from pretrain.settings import TrainingSettings


@pytest.mark.parametrize(
    ("n_samples", "fewest", "batch_size", "epochs"),
    [
        (1, 10, 10, 100),  # one step an epoch, and no more than ten times the epochs
        (100, 10, 10, 100),
        (499, 10, 10, 60),
        (600, 20, 12, 60),
        (1437, 10, 28, 58),
        (1437, 20, 28, 58),
        (5000, 10, 100, 60),
        (60_000, 10, 100, 10),
        (60_000, 20, 100, 20),
    ],
)
def test_automatic_budget(n_samples, fewest, batch_size, epochs):
    settings = resolve_budget(TrainingSettings(), n_samples, fewest_epochs=fewest)
    assert (settings.batch_size, settings.epochs) == (batch_size, epochs)


@pytest.mark.parametrize("n_samples", [1, 20, 100, 500, 997, 3000, 10_007, 10**6])
def test_enough_steps_within_the_bounds(n_samples):
    settings = resolve_budget(TrainingSettings(), n_samples, fewest_epochs=10)
    assert 10 <= settings.batch_size <= 100
    assert 10 <= settings.epochs <= 100
    steps = settings.epochs * -(-n_samples // settings.batch_size)
    assert steps >= 3000 or settings.epochs == 100


def test_numbers_stay_as_they_are():
    given = TrainingSettings(epochs=3, batch_size=7)
    assert resolve_budget(given, 10_000, fewest_epochs=10) == given
    half = resolve_budget(TrainingSettings(batch_size=1), 600, fewest_epochs=10)
    assert (half.batch_size, half.epochs) == (1, 10)
    assert resolve_budget(TrainingSettings(epochs=0), 600, fewest_epochs=10).epochs == 0


@pytest.mark.parametrize(
    ("n_samples", "epochs", "expected"),
    [(100, 200, 100), (100, 3, 3), (1437, 58, 20), (60_000, 20, 2), (10**6, 20, 1), (60_000, 0, 0)],
)
def test_the_output_layer_alone_has_a_thousand_steps_and_no_more_epochs_than_all(n_samples, epochs, expected):
    training = resolve_budget(TrainingSettings(epochs=epochs), n_samples, fewest_epochs=20)
    assert resolve_head_epochs("auto", training, n_samples) == expected
    assert resolve_head_epochs(7, training, n_samples) == 7
