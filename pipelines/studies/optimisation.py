"""Studies of learning rates and optimisers."""

import math

import numpy as np
from matplotlib.figure import Figure

from pipelines.studies.evidence import below, level, lower, not_worse
from pipelines.studies.results import Results
from pipelines.studies.study import Scale, Study, Trial, Verdict
from pipelines.studies.study_figures import Curves, Levels, curves_figure, levels_figure
from pipelines.studies.training_plans import plan

NORM_RATES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
PLAIN, NORM = "ReLU", "ReLU with batch norm"
REACHED = 0.2  # nats of training loss
FINE_RATES = tuple(2.0**k for k in range(-7, 6))
# Grid steps between the best rate and the largest that trains: a factor of 2 is one step, and rates between the
# steps are not tried.
MOST_STEPS = 1.5
OPTIMISERS: dict[str, tuple[str, tuple[float, ...], dict]] = {
    "SGD": ("sgd", (0.1, 0.3, 1.0), {}),
    "momentum": ("sgd", (0.03, 0.1, 0.3), {"momentum": 0.9}),
    "Nesterov": ("sgd", (0.03, 0.1, 0.3), {"momentum": 0.9, "nesterov": True}),
    "Adagrad": ("adagrad", (0.01, 0.03, 0.1), {}),
    "RMSprop": ("rmsprop", (0.001, 0.003, 0.01), {}),
    "Adam": ("adam", (0.001, 0.003, 0.01), {}),
}
MARGIN = math.log10(1.25)  # a quarter more training loss


def _at(arm: str, rate: float) -> str:
    return f"{arm} at {rate:g}"


def _norms(scale: Scale) -> list[Trial]:
    sizes, epochs = (scale.pick(64, 500),) * 4, scale.pick(12, 20)
    return [
        Trial(_at(arm, rate), kind, sizes, plan(epochs, rate, "sgd"))
        for arm, kind in ((PLAIN, "relu"), (NORM, "relu-bn"))
        for rate in NORM_RATES
    ]


def _over_rates(results: Results, arm: str, rates: tuple[float, ...]) -> np.ndarray:
    """(n_seeds, n_rates) training losses in nats."""
    return np.stack([results.of(_at(arm, rate), "train_loss") for rate in rates], axis=1)


def _largest(losses: np.ndarray, bound: float) -> np.ndarray:
    """Index of the largest rate whose loss is below the bound in each seed, -1 where none is: (n_seeds,)."""
    trained = losses < bound
    return np.where(trained.any(axis=1), losses.shape[1] - 1 - trained[:, ::-1].argmax(axis=1), -1)


def _epochs_to(results: Results, arm: str) -> np.ndarray:
    """Epochs to the loss `REACHED` at the fastest rate, one more than were trained if none gets there: (n_seeds,)."""
    curves = [[record["losses"] for record in results.records(_at(arm, rate))] for rate in NORM_RATES]
    longest = max(len(losses) for of_rate in curves for losses in of_rate)  # a training that diverged has fewer
    return np.min([[_first_below(losses, longest) for losses in of_rate] for of_rate in curves], axis=0)


def _first_below(losses: list[float], otherwise: int) -> float:
    return next((epoch for epoch, loss in enumerate(losses, start=1) if loss < REACHED), otherwise + 1)


def _guessing(results: Results) -> float:
    """Loss in nats of a network that guesses: of any trial, as the data have it."""
    return float(results.records(results.trials[0])[0]["guessing_loss"])


def _judge_norms(results: Results) -> Verdict:
    bound = _guessing(results) / 2
    places = {arm: _largest(_over_rates(results, arm, NORM_RATES), bound) for arm in (PLAIN, NORM)}
    rates = {arm: np.log10([NORM_RATES[max(place, 0)] for place in found]) for arm, found in places.items()}
    epochs = {arm: _epochs_to(results, arm).astype(np.float64) for arm in (PLAIN, NORM)}
    return Verdict(
        [
            lower("log10 of the largest learning rate that trains", (PLAIN, NORM), (rates[PLAIN], rates[NORM])),
            lower(f"epochs to a training loss of {REACHED:g}", (NORM, PLAIN), (epochs[NORM], epochs[PLAIN])),
        ],
        f"The largest rate that trains is {10 ** rates[PLAIN].mean():.3g} without batch norm and "
        f"{10 ** rates[NORM].mean():.3g} with it, and {REACHED:g} nats take {level(epochs[PLAIN], '.1f')} "
        f"and {level(epochs[NORM], '.1f')} epochs at the fastest rate of each.",
    )


def _draw_norms(results: Results) -> Figure:
    values = {arm: _over_rates(results, arm, NORM_RATES) for arm in (PLAIN, NORM)}
    return curves_figure(
        [Curves("training loss (nats)", "learning rate", NORM_RATES, values)], "Training loss by learning rate"
    )


def _rates(scale: Scale) -> list[Trial]:
    sizes, epochs = (scale.pick(64, 500),) * 2, scale.pick(8, 10)
    return [Trial(_at(PLAIN, rate), "relu", sizes, plan(epochs, rate, "sgd")) for rate in FINE_RATES]


def _judge_rates(results: Results) -> Verdict:
    losses = _over_rates(results, PLAIN, FINE_RATES)
    best, largest = losses.argmin(axis=1), _largest(losses, _guessing(results))
    steps = (largest - best).astype(np.float64)
    return Verdict(
        [below("factors of 2 between the best rate and the largest that does not diverge", steps, MOST_STEPS)],
        f"The best rate is {_geometric_mean(best):.3g}, the largest that ends below the loss of guessing "
        f"{_geometric_mean(largest):.3g}: {level(steps, '.1f')} factors of 2 apart. The mean training loss at the "
        f"best rate is {losses.min(axis=1).mean():.4f} nats.",
    )


def _geometric_mean(places: np.ndarray) -> float:
    return float(2 ** np.log2([FINE_RATES[k] for k in places]).mean())


def _draw_rates(results: Results) -> Figure:
    values = {PLAIN: _over_rates(results, PLAIN, FINE_RATES)}
    return curves_figure(
        [Curves("training loss (nats)", "learning rate", FINE_RATES, values)], "Training loss by learning rate"
    )


def _optimisers(scale: Scale) -> list[Trial]:
    sizes, epochs = tuple(scale.pick((128, 128), (500, 500))), scale.pick(8, 10)
    return [
        Trial(_at(name, rate), "relu", sizes, plan(epochs, rate, optimizer, **more))
        for name, (optimizer, rates, more) in OPTIMISERS.items()
        for rate in rates
    ]


def _chosen(results: Results, name: str, key: str) -> np.ndarray:
    """A figure at the rate with the lowest validation loss, chosen in each seed: (n_seeds,)."""
    return results.chosen([_at(name, rate) for rate in OPTIMISERS[name][1]], "validation_loss", key)


def _judge_optimisers(results: Results) -> Verdict:
    losses = {name: np.log10(_chosen(results, name, "train_loss")) for name in OPTIMISERS}
    parts = [
        not_worse("log10 of the training loss", ("Adam", name), (losses["Adam"], losses[name]), MARGIN)
        for name in OPTIMISERS
        if name != "Adam"
    ]
    said = ", ".join(f"{name} {10 ** values.mean():.4f}" for name, values in losses.items())
    return Verdict(parts, f"Geometric means of the training losses in nats, at the chosen rates: {said}.")


def _draw_optimisers(results: Results) -> Figure:
    panels = [
        Levels(axis, {name: _chosen(results, name, key) for name in OPTIMISERS})
        for axis, key in (("training loss (nats)", "train_loss"), ("test error (%)", "test_error"))
    ]
    return levels_figure(panels, "Optimisers, each at the rate that its validation loss chose")


OPTIMISATION_STUDIES = (
    Study(
        "batch-norm-learning-rate",
        "With batch norm a network trains at learning rates at which it does not without, and reaches the same loss "
        "in fewer steps.",
        "Ioffe & Szegedy (2015), Batch normalization, section 4.2.",
        "The largest rate that ends below half of the loss of guessing is larger with batch norm, and "
        f"epochs to a training loss of {REACHED:g} nats, each at its fastest rate, are fewer (paired t-tests over "
        "seeds, p < 0.05 each).",
        _norms,
        _judge_norms,
        _draw_norms,
    ),
    Study(
        "optimisers",
        "Adam brings the training loss about as low as every other optimiser does in the same epochs.",
        "Kingma & Ba (2015), Adam: a method for stochastic optimization.",
        "With the rate that the validation loss chose for each, Adam's training loss is not a quarter or more above "
        "that of SGD, momentum, Nesterov, Adagrad or RMSprop (paired t-tests of the logarithms over seeds, p < 0.05 "
        "each).",
        _optimisers,
        _judge_optimisers,
        _draw_optimisers,
        validation_fraction=0.2,
    ),
    Study(
        "learning-rate",
        "The best learning rate is within a factor of two of the largest at which training does not diverge.",
        "Bengio (2012), Practical recommendations for gradient-based training of deep architectures, section 3.1.1.",
        f"On a grid of factors of two, fewer than {MOST_STEPS:g} steps lie on average between the rate with the "
        "lowest training loss and the largest that ends below the loss of guessing (t-test over seeds, p < 0.05).",
        _rates,
        _judge_rates,
        _draw_rates,
    ),
)
