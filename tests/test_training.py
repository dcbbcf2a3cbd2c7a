"""The one training loop."""

import numpy as np
import pytest
import torch
from linear_problem import N_ROWS, LinearRegression, problem, run_of, same, weights_of, without_times

from pretrain.batches import Batch, BatchSource
from pretrain.exceptions import DivergenceError, SettingsError
from pretrain.greedy import GreedyPretraining
from pretrain.random_streams import RandomStreams
from pretrain.rbm import RBM
from pretrain.settings import AutoencoderSettings, RBMSettings, TrainingSettings
from pretrain.training import TrainingRun

# Records ---


def test_records(seed):
    run = run_of(seed, epochs=3)
    records = list(run)
    assert records == run.history
    assert [record["epoch"] for record in records] == [1, 2, 3]
    for record in records:
        assert list(record) == ["stage", "layer", "epoch", "n_epochs", "loss", "learning_rate", "seconds"]
        assert (record["stage"], record["layer"], record["n_epochs"]) == ("train", None, 3)
        assert type(record["loss"]) is float
        assert record["seconds"] > 0
    assert run.finished
    assert list(run) == []


def test_no_epochs():
    run = run_of(epochs=0)
    before = weights_of(run)
    assert list(run) == []
    assert same(before, weights_of(run))


def test_epoch_loss_counts_every_row_once(seed):
    # A rate that moves nothing: the epoch's loss is then the loss of all rows, whatever the batches.
    X, y = problem(seed)
    module = LinearRegression(seed).module
    expected = (module(torch.from_numpy(X)) - torch.from_numpy(y)).square().sum(dim=1).mean().item()
    for batch_size in (1, 7, N_ROWS):
        (record,) = run_of(seed, batch_size=batch_size, epochs=1, learning_rate=1e-30, momentum=0.0)
        assert record["loss"] == pytest.approx(expected, rel=1e-6)


def test_progress_records_come_in_between(seed):
    run = run_of(seed, epochs=2, progress_seconds=0.0)
    records = list(run)
    progress = [record["progress"] for record in records if "progress" in record]
    assert progress == [0.25, 0.5, 0.75] * 2
    assert [record for record in records if "progress" not in record] == run.history
    assert len(run.history) == 2
    seconds = [record["seconds"] for record in records[:4]]
    assert seconds == sorted(seconds)
    plain = run_of(seed, epochs=2)
    assert without_times(plain) == without_times(run.history)
    assert same(weights_of(plain), weights_of(run))


def test_no_progress_records_before_their_time():
    assert not any("progress" in record for record in run_of(progress_seconds=1000.0))


class Watched(LinearRegression):
    """Writes down what the loop tells it; its figure counts the batches since it was last asked."""

    def __init__(self, seed=0):
        super().__init__(seed)
        self.epochs, self.n_batches = [], 0

    def begin_epoch(self, epoch, n_epochs):
        self.epochs.append((epoch, n_epochs))

    def fill_gradients(self, batch):
        self.n_batches += 1
        return super().fill_gradients(batch)

    def metrics(self):
        n, self.n_batches = self.n_batches, 0
        return {"n_batches": float(n)}


@pytest.mark.parametrize("progress_seconds", [None, 0.0])
def test_a_learner_is_told_of_epochs_and_adds_its_figures(progress_seconds):
    learner = Watched()
    run = run_of(learner=learner, validation=lambda: {"error": 1.0}, progress_seconds=progress_seconds)
    list(run)
    assert learner.epochs == [(0, 3), (1, 3), (2, 3)]  # once each, however often the loop stops in between
    assert [record["n_batches"] for record in run.history] == [4.0] * 3
    assert list(run.history[0]).index("error") < list(run.history[0]).index("n_batches")  # what steers comes first
    assert same(weights_of(run), weights_of(finished(run_of())))


def finished(run):
    list(run)
    return run


def test_figures_of_a_learner_do_not_steer_early_stopping():
    script = iter([3.0, 2.0, 1.0, 0.5, 0.4])
    run = run_of(
        learner=Watched(), validation=lambda: {"error": next(script)}, early_stopping=True, n_iter_no_change=1
    )
    assert len(list(run)) == 3


def test_the_state_of_the_learner_is_part_of_the_run():
    class Counting(LinearRegression):
        count = 0

        def state_dict(self):
            return {"count": self.count}

        def load_state_dict(self, state):
            self.count = state["count"]

    one, other = run_of(learner=Counting()), run_of(learner=Counting())
    one.learner.count = 7
    other.load_state_dict(one.state_dict())
    assert other.learner.count == 7


# Penalties ---


def one_step(seed, **settings):
    """Weights before, gradient of the loss alone, weights after one full-batch step."""
    settings = {"epochs": 1, "momentum": 0.0, "learning_rate": 0.1, **settings}
    run = run_of(seed, batch_size=N_ROWS, **settings)
    before = weights_of(run)
    X, y = map(torch.from_numpy, problem(seed))
    run.learner.fill_gradients(Batch(X, y))
    gradient = {name: parameter.grad.clone() for name, parameter in run.learner.module.named_parameters()}
    (record,) = run
    return before, gradient, weights_of(run), record


def test_l1_adds_the_sign_of_the_weights_alone(seed):
    before, gradient, after, _ = one_step(seed, l1=0.7)
    expected = before["weight"] - 0.1 * (gradient["weight"] + 0.7 * before["weight"].sign())
    torch.testing.assert_close(after["weight"], expected)
    torch.testing.assert_close(after["bias"], before["bias"] - 0.1 * gradient["bias"])


def test_weight_decay_pulls_the_weights_alone(seed):
    before, gradient, after, _ = one_step(seed, weight_decay=0.7)
    torch.testing.assert_close(
        after["weight"], before["weight"] - 0.1 * (gradient["weight"] + 0.7 * before["weight"])
    )
    torch.testing.assert_close(after["bias"], before["bias"] - 0.1 * gradient["bias"])


@pytest.mark.parametrize("optimizer", ["sgd", "lbfgs"])
def test_the_recorded_loss_has_no_penalties(optimizer, seed):
    plain = one_step(seed, optimizer=optimizer)[-1]["loss"]
    assert one_step(seed, optimizer=optimizer, weight_decay=0.7, l1=0.7)[-1]["loss"] == pytest.approx(plain, rel=1e-6)


def test_contrastive_divergence_takes_the_same_penalties(seed):
    found = {}
    for weight_decay, l1 in ((0.0, 0.0), (0.3, 0.2)):
        rbm = RBM(5, 3, generator=torch.Generator().manual_seed(seed))
        before = rbm.weight.detach().clone()
        settings = RBMSettings(training=TrainingSettings(1, 23, momentum=0.0, weight_decay=weight_decay, l1=l1))
        learner = rbm.learning_rule(settings, streams=RandomStreams(seed), layer=0, dtype=torch.float32)
        generator = torch.Generator().manual_seed(seed)
        X = torch.rand(23, 5, generator=generator)
        source = BatchSource(X, batch_size=23, generator=generator, device=torch.device("cpu"))
        list(TrainingRun(learner, source, settings.training, stage="pretrain", layer=0))
        found[l1] = rbm.weight.detach().clone()
    torch.testing.assert_close(found[0.2], found[0.0] - 0.1 * (0.3 * before + 0.2 * before.sign()))


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "lbfgs"])
def test_max_norm_holds_after_every_step(optimizer, seed):
    run = run_of(seed, epochs=2, optimizer=optimizer, learning_rate=0.1, max_norm=0.5, progress_seconds=0.0)
    for _ in run:
        norms = run.learner.module.weight.norm(dim=1)  # of the weights into each unit
        assert (norms <= 0.5 * (1 + 1e-6)).all()
        assert (norms > 0.49).any()
    assert run.learner.module.bias.norm() > 0.5  # biases are free
    free = run_of(seed, epochs=2, learning_rate=0.1, max_norm=1e6)
    unlimited = run_of(seed, epochs=2, learning_rate=0.1)
    assert without_times(free) == without_times(unlimited)


# L-BFGS ---


@pytest.mark.parametrize(("weight_decay", "l1"), [(0.0, 0.0), (0.8, 0.0), (0.0, 0.05), (0.5, 0.05)])
def test_lbfgs_finds_the_optimum_of_the_penalised_loss(weight_decay, l1, seed):
    run = run_of(
        seed, batch_size=N_ROWS, epochs=10, optimizer="lbfgs", learning_rate=1.0, weight_decay=weight_decay, l1=l1
    )
    list(run)
    X, y = (array.astype(float) for array in problem(seed))
    found = run.learner.module.weight.numpy(force=True).astype(float)
    # The optimality conditions of mean squared error + penalties, the free bias eliminated by centring.
    X, y = X - X.mean(axis=0), y - y.mean(axis=0)
    slope = 2 * (X @ found.T - y).T @ X / N_ROWS + weight_decay * found
    at_zero = np.abs(found) < 1e-4
    tol = 0.2 * l1 + 1e-3  # a line search that crosses a kink ends a little early
    assert (np.abs(slope[at_zero]) <= l1 + tol).all()
    np.testing.assert_allclose(slope[~at_zero], -l1 * np.sign(found[~at_zero]), atol=tol)
    assert at_zero.sum() < 3


def test_lbfgs_refuses_a_learner_with_noise():
    learner = LinearRegression()
    learner.stochastic = True
    with pytest.raises(SettingsError, match="'lbfgs' needs a loss that is the same each time; turn corruption"):
        run_of(learner=learner, optimizer="lbfgs")


# Early stopping ---


def stopped_run(metrics, **settings):
    """A run whose validation metric follows a script; the weights after each epoch are kept."""
    script, kept = iter(metrics), []

    def validation():
        kept.append(weights_of(run))
        return {"validation_error": next(script), "validation_loss": 0.0}

    run = run_of(validation=validation, early_stopping=True, **{"epochs": 9, "n_iter_no_change": 2, **settings})
    return run, list(run), kept


@pytest.mark.parametrize(
    ("metrics", "tol", "n_epochs", "best"),
    [
        ([5, 4, 3, 3.5, 3.2, 1, 1, 1, 1], 0.0, 5, 3),
        ([5, 4, 3.9, 3.8, 0, 0, 0, 0, 0], 0.5, 4, 2),
        ([5, 5, 5, 5, 5, 5, 5, 5, 5], 0.0, 3, 1),
        ([9, 8, 7, 6, 5, 4, 3, 2, 2.5], 0.0, 9, 8),
        ([9, 8, 7, 6, 5, 4, 3, 2, 1], 0.0, 9, 9),
    ],
)
def test_early_stopping_ends_in_time_and_restores_the_best_weights(metrics, tol, n_epochs, best):
    run, records, kept = stopped_run(metrics, tol=tol)
    assert len(records) == n_epochs
    assert [record["validation_error"] for record in records] == metrics[:n_epochs]
    assert run.finished
    assert same(weights_of(run), kept[best - 1])
    assert best == n_epochs or not same(weights_of(run), kept[-1])


def test_without_early_stopping_the_last_weights_stay():
    metrics = iter([1.0, 2.0, 3.0])
    run = run_of(validation=lambda: {"validation_error": next(metrics)})
    plain = run_of()
    assert len(list(run)) == len(list(plain)) == 3
    assert same(weights_of(run), weights_of(plain))


def test_early_stopping_needs_validation():
    with pytest.raises(SettingsError, match="early_stopping needs validation rows"):
        run_of(early_stopping=True)


# Divergence ---


@pytest.mark.parametrize(
    ("optimizer", "remedies"),
    [
        ("sgd", "lower the learning_rate of this stage (it is 30; try 3), standardise the data, or set max_norm."),
        ("cg", "standardise the data, or set max_norm."),  # it has no rate to lower
    ],
)
def test_divergence_names_the_place_and_the_remedy(optimizer, remedies):
    run = run_of(epochs=50, learning_rate=30.0, optimizer=optimizer)
    if optimizer == "cg":
        run.learner.module.bias.data.fill_(1e9)
    with pytest.raises(DivergenceError) as caught:
        list(run)
    epoch = len(run.history) + 1
    assert f"stage 'train', the network, epoch {epoch}" in str(caught.value)
    assert f" Remedies: {remedies}" in str(caught.value)
    assert isinstance(caught.value, ArithmeticError)


def test_divergence_of_a_layer_names_it():
    run = run_of(epochs=50, learning_rate=30.0)
    run.layer = 2
    with pytest.raises(DivergenceError, match=r"stage 'train', layer 3, epoch \d+: the loss is"):
        list(run)


def test_weights_that_are_not_finite_are_found_when_the_loss_is():
    run = run_of(epochs=1)
    with torch.no_grad():
        run.learner.module.bias.fill_(float("inf"))
    with pytest.raises(DivergenceError, match=r"or a weight is beyond 1e\+06"):
        list(run)


# Every setting does something ---


WORSE = [3.0, 2.9, 2.95, 2.8, 2.9, 2.7, 2.9, 2.6, 2.9]
EFFECTS = {
    # setting: (what else is set, value, another value)
    "epochs": ({}, 2, 3),
    "batch_size": ({}, 7, 5),
    "optimizer": ({}, "sgd", "adam"),
    "learning_rate": ({}, 0.01, 0.02),
    "momentum": ({}, 0.9, 0.5),
    "nesterov": ({}, False, True),
    "initial_momentum": ({}, None, 0.5),
    "initial_momentum_epochs": ({"initial_momentum": 0.5}, 1, 2),
    "schedule": ({}, "constant", "cosine"),
    "decay": ({"schedule": "exponential"}, 0.9, 0.5),
    "decay_epochs": ({"schedule": "step"}, 1, 2),
    "weight_decay": ({}, 0.0, 0.1),
    "l1": ({}, 0.0, 0.1),
    "max_norm": ({}, None, 0.5),
    "early_stopping": ({"n_iter_no_change": 1, "epochs": 8}, False, True),
    "n_iter_no_change": ({"early_stopping": True, "epochs": 8}, 1, 2),
    "tol": ({"early_stopping": True, "epochs": 8, "n_iter_no_change": 2}, 0.0, 0.5),
    "precision": ({}, "float32", "bfloat16"),
}


def trained(seed, **settings):
    if "precision" in settings:  # the dtype is chosen where the learner is made
        training = TrainingSettings(**{"epochs": 2, "batch_size": 7, **settings})
        X = np.random.default_rng(seed).random((N_ROWS, 5)).astype(np.float32)
        run = GreedyPretraining(X, (3,), AutoencoderSettings(training=training), seed=seed, device="cpu")
        list(run)
        return run.stack.state_dict()
    script = iter(WORSE)
    batch_size = settings.pop("batch_size", 7)
    run = run_of(seed, batch_size=batch_size, validation=lambda: {"error": next(script)}, **settings)
    list(run)
    return weights_of(run)


def test_every_setting_has_a_row():
    assert set(EFFECTS) == set(TrainingSettings.__dataclass_fields__)


@pytest.mark.parametrize("name", EFFECTS)
def test_every_setting_changes_the_result(name, seed):
    others, value, another = EFFECTS[name]
    assert same(trained(seed, **{**others, name: value}), trained(seed, **{**others, name: value}))
    assert not same(trained(seed, **{**others, name: value}), trained(seed, **{**others, name: another}))
