"""Studies of convolutional networks: depth without and with shortcuts, and dense connections."""

import numpy as np
from matplotlib.figure import Figure

from pipelines.studies.evidence import level, lower, not_worse
from pipelines.studies.results import Results
from pipelines.studies.study import Part, Scale, Study, Trial, Verdict
from pipelines.studies.study_figures import Curves, curves_figure, levels_figure, trial_levels
from pipelines.studies.training_plans import plan

DEPTHS = (20, 56)
PLAIN, RESIDUAL = "plain", "residual"
DENSE, RESNET = "densely connected", "residual network"
MARGIN = 1.0  # points of test error


def _name(family: str, depth: int) -> str:
    return f"{family} {depth}"


def _degradation(scale: Scale) -> list[Trial]:
    settings = plan(scale.pick(8, 40), 0.05, "sgd", momentum=0.9)
    width = scale.pick(8, 16)
    return [
        Trial(
            _name(family, depth),
            None,
            (),
            settings,
            labels=scale.pick(500, None),
            image={"family": family, "depth": depth, "width": width},
        )
        for family in (PLAIN, RESIDUAL)
        for depth in DEPTHS
    ]


def _judge_degradation(results: Results) -> Verdict:
    losses = {trial: results.of(trial, "train_loss") for trial in results.trials}
    pairs = (((PLAIN, 20), (PLAIN, 56)), ((RESIDUAL, 56), (PLAIN, 56)))
    said = ", ".join(f"{trial} {level(values, '.3f')}" for trial, values in losses.items())
    return Verdict(
        [
            lower("training loss (nats)", (_name(*a), _name(*b)), (losses[_name(*a)], losses[_name(*b)]), ".3f")
            for a, b in pairs
        ],
        f"The training losses are: {said} nats.",
    )


def _draw_degradation(results: Results) -> Figure:
    panels = [
        Curves(
            axis,
            "layers",
            DEPTHS,
            {f: np.stack([results.of(_name(f, n), key) for n in DEPTHS], axis=1) for f in (PLAIN, RESIDUAL)},
        )
        for axis, key in (("training loss (nats)", "train_loss"), ("test error (%)", "test_error"))
    ]
    return curves_figure(panels, "Convolutional networks of 20 and 56 layers")


def _dense(scale: Scale) -> list[Trial]:
    settings, labels = plan(scale.pick(12, 40), 0.05, "sgd", momentum=0.9), scale.pick(500, None)
    images = {
        DENSE: {"family": "densely_connected", "depth": scale.pick(22, 40), "width": scale.pick(8, 12)},
        RESNET: {"family": "residual", "depth": scale.pick(20, 110), "width": 16},
    }
    return [Trial(name, None, (), settings, labels=labels, image=image) for name, image in images.items()]


def _judge_dense(results: Results) -> Verdict:
    names = (DENSE, RESNET)
    weights, errors, losses = (
        [results.of(name, key) for name in names] for key in ("n_parameters", "test_error", "train_loss")
    )
    return Verdict(
        [
            Part(  # no matter of chance: nothing to test
                f"weights: fewer for {DENSE} than for {RESNET}",
                bool((weights[0] < weights[1]).all()),
                f"{weights[0].mean():,.0f} against {weights[1].mean():,.0f}",
                {"mean": float((weights[0] - weights[1]).mean())},
            ),
            not_worse("test error (%)", names, (errors[0], errors[1]), MARGIN),
        ],
        f"With {weights[0].mean() / weights[1].mean():.2f} of the weights the densely connected network ends at a "
        f"training loss of {level(losses[0], '.3f')} nats (the other {level(losses[1], '.3f')}) and a test error of "
        f"{level(errors[0])} % (the other {level(errors[1])}).",
    )


def _draw_dense(results: Results) -> Figure:
    figures = {"weights": "n_parameters", "test error (%)": "test_error"}
    return levels_figure(trial_levels(results, figures), "Dense connections against residual blocks")


IMAGE_STUDIES = (
    Study(
        "degradation",
        "A plain network of 56 layers ends at a higher training loss than one of 20, and shortcuts cure that.",
        "He et al. (2016), Deep residual learning for image recognition, figures 1 and 6.",
        "The training loss of 20 plain layers is below that of 56, and that of 56 layers with shortcuts is below "
        "that of 56 without (paired t-tests over seeds, p < 0.05 each).",
        _degradation,
        _judge_degradation,
        _draw_degradation,
    ),
    Study(
        "densenet-parameters",
        "A densely connected network needs fewer weights than a residual network for the same error.",
        "Huang et al. (2017), Densely connected convolutional networks, section 4.3.",
        f"The densely connected network has fewer weights, and its test error is not above that of the residual "
        f"network by {MARGIN:g} point or more (paired t-test against that margin over seeds, p < 0.05).",
        _dense,
        _judge_dense,
        _draw_dense,
    ),
)
