"""Studies of dropout: alone, after pretraining, and in prediction."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pipelines.studies.evidence import above, level, lower, not_worse
from pipelines.studies.results import Results
from pipelines.studies.study import Scale, Study, Trial, Verdict
from pipelines.studies.study_figures import Levels, levels_figure, trial_levels
from pipelines.studies.training_plans import plan, rbm_layers

WITH, WITHOUT = "dropout", "no dropout"
RATE, INPUT_RATE = 0.5, 0.2
N_DRAWS = 50
DRAWN, FULL_DRAWN = "50 drawn networks", "one network with all units"
MARGIN = 1.0  # points of test error


def _sizes(scale: Scale) -> tuple[int, ...]:
    return tuple(scale.pick((256, 256), (1000, 1000)))


def _alone(scale: Scale) -> list[Trial]:
    settings, labels = plan(scale.pick(200, 60)), scale.pick(500, None)
    return [
        Trial(name, kind, _sizes(scale), settings, labels=labels)
        for name, kind in ((WITH, "relu-dropout"), (WITHOUT, "relu"))
    ]


def _pretrained(scale: Scale) -> list[Trial]:
    settings, labels, layer = plan(scale.pick(200, 60)), scale.pick(500, None), rbm_layers(10)
    rates: dict[str, dict[str, Any]] = {WITH: {"dropout": RATE, "input_dropout": INPUT_RATE}, WITHOUT: {}}
    return [Trial(name, None, _sizes(scale), settings, layer, labels, **given) for name, given in rates.items()]


def _judge(results: Results) -> Verdict:
    errors, losses = ([results.of(trial, key) for trial in (WITH, WITHOUT)] for key in ("test_error", "train_loss"))
    return Verdict(
        [lower("test error (%)", (WITH, WITHOUT), (errors[0], errors[1]))],
        f"Of the labelled rows the network without dropout gets {results.mean(WITHOUT, 'train_error'):.2f} % wrong, "
        f"of the test rows {errors[1].mean():.2f} %: that is all that there is to gain. With dropout the training "
        f"loss is {level(losses[0], '.4f')} instead of {level(losses[1], '.4f')} nats.",
    )


def _draw(results: Results, title: str) -> Figure:
    figures = {"test error (%)": "test_error", "training loss, nothing dropped (nats)": "train_loss"}
    return levels_figure(trial_levels(results, figures), title)


def _drawing(scale: Scale) -> list[Trial]:
    labels = scale.pick(200, 2000)
    return [Trial(WITH, "relu-dropout", _sizes(scale), plan(60), labels=labels, dropout_draws=N_DRAWS)]


def _judge_drawing(results: Results) -> Verdict:
    areas, outputs = results.of(WITH, "draw_area"), results.of(WITH, "output_area")
    errors = (results.of(WITH, "draw_error"), results.of(WITH, "test_error"))
    return Verdict(
        [
            above("the area under the curve of wrong against right rows by the spread of the draws", areas, 0.5),
            not_worse("test error (%)", (DRAWN, FULL_DRAWN), errors, MARGIN),
        ],
        f"By the largest output of the network with all units the area is {level(outputs)}, by the spread of the "
        f"draws {level(areas)}.",
    )


def _draw_drawing(results: Results) -> Figure:
    areas = {"spread of the draws": "draw_area", "largest output": "output_area"}
    errors = {DRAWN: "draw_error", FULL_DRAWN: "test_error"}
    return levels_figure(
        [
            Levels("area under the curve, wrong against right rows", _values(results, areas)),
            Levels("test error (%)", _values(results, errors)),
        ],
        "What drawing networks by dropout tells",
    )


def _values(results: Results, keys: dict[str, str]) -> dict[str, np.ndarray]:
    return {name: results.of(WITH, key) for name, key in keys.items()}


SRIVASTAVA = "Srivastava et al. (2014), Dropout: a simple way to prevent neural networks from overfitting"
DROPOUT_STUDIES = (
    Study(
        "dropout",
        "Dropout lowers the test error of a network that overfits.",
        f"{SRIVASTAVA}.",
        "The test error of a ReLU network with dropout 0.2 on inputs and 0.5 on hidden units is below that of the "
        "same network without (paired t-test over seeds, p < 0.05).",
        _alone,
        _judge,
        lambda results: _draw(results, "A ReLU network with dropout and without"),
    ),
    Study(
        "dropout-with-pretraining",
        "Dropout in fine-tuning lowers the test error of a pretrained network too.",
        f"{SRIVASTAVA}, section 6.1.2.",
        "The test error of RBMs that were unrolled and fine-tuned with dropout 0.2 on inputs and 0.5 on hidden units "
        "is below that without (paired t-test over seeds, p < 0.05).",
        _pretrained,
        _judge,
        lambda results: _draw(results, "Pretrained networks, fine-tuned with dropout and without"),
    ),
    Study(
        "monte-carlo-dropout",
        "How far networks that are drawn by dropout differ tells which rows are classified wrongly, and their mean "
        "predicts as well as the network with all units.",
        f"Gal & Ghahramani (2016), Dropout as a Bayesian approximation; {SRIVASTAVA}, section 7.5.",
        "The area under the curve of wrong against right test rows, by the spread of 50 draws, is above 0.5, and the "
        f"test error of the mean of the draws is not above that of the network by {MARGIN:g} point or more (t-tests "
        "over seeds, p < 0.05 each).",
        _drawing,
        _judge_drawing,
        _draw_drawing,
    ),
)
