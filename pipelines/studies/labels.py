"""Studies of what pretraining without labels is worth: with few of them, and for rectified units."""

import numpy as np
from matplotlib.figure import Figure

from pipelines.studies.evidence import level, lower, not_worse
from pipelines.studies.results import Results
from pipelines.studies.study import Scale, Study, Trial, Verdict
from pipelines.studies.study_figures import Curves, curves_figure, levels_figure, trial_levels
from pipelines.studies.training_plans import plan, rbm_layers

BATCH_SIZE = 10  # few labels are few batches
# Labelled rows, None for all, and epochs: the fewer rows, the fewer steps an epoch has.
EPOCHS = {50: 60, 200: 30, None: 20}
FEWEST, *_, ALL = EPOCHS
DBN, SIGMOID, RELU = "pretrained sigmoid", "sigmoid", "ReLU"
SCRATCH, PRETRAINED = "ReLU from scratch", "ReLU pretrained"
MARGIN = 0.5  # points of test error


def _sizes(scale: Scale) -> tuple[int, ...]:
    return tuple(scale.pick((128, 128), (500, 500)))


def _name(arm: str, labels: int | None) -> str:
    return f"{arm}, {labels or 'all'} labels"


def _budgets(scale: Scale) -> list[Trial]:
    layer, sizes = rbm_layers(10), _sizes(scale)
    return [
        Trial(_name(arm, labels), kind, sizes, plan(epochs, batch_size=BATCH_SIZE), own, labels)
        for labels, epochs in EPOCHS.items()
        for arm, kind, own in ((DBN, None, layer), (SIGMOID, "sigmoid", None), (RELU, "relu", None))
    ]


def _error(results: Results, arm: str, labels: int | None) -> np.ndarray:
    return results.of(_name(arm, labels), "test_error")


def _judge_budgets(results: Results) -> Verdict:
    few = {arm: _error(results, arm, FEWEST) for arm in (DBN, SIGMOID, RELU)}
    gains = {labels: _error(results, RELU, labels) - _error(results, DBN, labels) for labels in (FEWEST, ALL)}
    names = (f"{FEWEST} labels", "all labels")
    return Verdict(
        [
            lower(f"test error (%) with {FEWEST} labels", (DBN, SIGMOID), (few[DBN], few[SIGMOID])),
            lower(f"test error (%) with {FEWEST} labels", (DBN, RELU), (few[DBN], few[RELU])),
            lower("gain over ReLU (points)", (names[1], names[0]), (gains[ALL], gains[FEWEST])),
        ],
        f"Over ReLU pretraining gains {level(gains[FEWEST])} points with {names[0]} and {level(gains[ALL])} with "
        f"{names[1]}; over sigmoid units from scratch {level(few[SIGMOID] - few[DBN])} points with {names[0]}.",
    )


def _draw_budgets(results: Results) -> Figure:
    # All labels are as many as the data have: drawn at the end, one place a budget.
    values = {
        arm: np.stack([_error(results, arm, labels) for labels in EPOCHS], axis=1) for arm in (DBN, SIGMOID, RELU)
    }
    over = f"budget of labels ({', '.join(str(labels or 'all') for labels in EPOCHS)})"
    return curves_figure(
        [Curves("test error (%)", over, range(1, len(EPOCHS) + 1), values, solid=(DBN,))],
        "Test error with few labels and with all",
    )


def _rectified(scale: Scale) -> list[Trial]:
    layer, sizes, settings = rbm_layers(10), _sizes(scale), plan(30)
    return [
        Trial(SCRATCH, "relu", sizes, settings),
        Trial(PRETRAINED, "relu", sizes, settings, layer),
        Trial(DBN, None, sizes, settings, layer),
    ]


def _judge_rectified(results: Results) -> Verdict:
    errors = {trial: results.of(trial, "test_error") for trial in results.trials}
    return Verdict(
        [
            not_worse("test error (%)", (SCRATCH, other), (errors[SCRATCH], errors[other]), MARGIN)
            for other in (PRETRAINED, DBN)
        ],
        f"From scratch it has {level(errors[SCRATCH])} % with a training loss of "
        f"{level(results.of(SCRATCH, 'train_loss'), '.4f')} nats, pretrained {level(errors[PRETRAINED])} "
        f"% with {level(results.of(PRETRAINED, 'train_loss'), '.4f')}.",
    )


def _draw_rectified(results: Results) -> Figure:
    figures = {"test error (%)": "test_error", "training loss (nats)": "train_loss"}
    return levels_figure(
        trial_levels(results, figures), "ReLU networks with random and with pretrained weights, all labels"
    )


LABEL_STUDIES = (
    Study(
        "relu-needs-none",
        "With all labels a network of rectified linear units from scratch is as good as a pretrained one.",
        "Glorot, Bordes & Bengio (2011), Deep sparse rectifier neural networks.",
        f"The test error of the ReLU network from scratch is not above that of the same network with the weights of "
        f"RBMs, nor that of unrolled RBMs, by {MARGIN:g} points or more (paired t-tests against that margin over "
        "seeds, p < 0.05 each).",
        _rectified,
        _judge_rectified,
        _draw_rectified,
    ),
    Study(
        "pretraining-with-few-labels",
        "Pretraining without labels lowers the test error where labels are few, and more so than where all rows have "
        "one.",
        "Erhan et al. (2010), Why does unsupervised pre-training help deep learning?",
        f"With {FEWEST} labels the test error of unrolled RBMs is below that of sigmoid and of ReLU networks from "
        f"scratch, and the gain over ReLU is larger than with all labels (paired t-tests over seeds, p < 0.05 each).",
        _budgets,
        _judge_budgets,
        _draw_budgets,
    ),
)
