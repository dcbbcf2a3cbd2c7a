"""The study of initial weights by depth and activation."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pipelines.studies.evidence import level, lower
from pipelines.studies.results import Results
from pipelines.studies.study import Scale, Study, Trial, Verdict
from pipelines.studies.study_figures import Curves, curves_figure
from pipelines.studies.training_plans import plan

DEPTHS = (2, 5, 10)
DEEPEST = DEPTHS[-1]
NAIVE, XAVIER, HE = "small Gaussian", "Xavier", "He"
# Xavier's is with gain 1, as it was published: in `pretrain.initialisation` it has that of the activation.
SCHEMES: dict[str, dict[str, Any]] = {
    NAIVE: {"initialisation": "gaussian"},
    XAVIER: {"initialisation": "xavier_normal", "gain": "identity"},
    HE: {"initialisation": "he_normal"},
}
ACTIVATIONS = {"tanh": (NAIVE, XAVIER), "relu": (NAIVE, XAVIER, HE)}


def _name(activation: str, scheme: str, depth: int) -> str:
    return f"{activation}, {scheme}, {depth} layers"


def _trials(scale: Scale) -> list[Trial]:
    settings = plan(scale.pick(15, 20), 0.05, "sgd")
    return [
        Trial(_name(activation, scheme, n), activation, (scale.pick(64, 500),) * n, settings, **SCHEMES[scheme])
        for activation, schemes in ACTIVATIONS.items()
        for scheme in schemes
        for n in DEPTHS
    ]


def _losses(results: Results, activation: str, scheme: str) -> np.ndarray:
    """(n_seeds, n_depths) training losses in nats."""
    return np.stack([results.of(_name(activation, scheme, depth), "train_loss") for depth in DEPTHS], axis=1)


def _judge(results: Results) -> Verdict:
    deepest = {(a, s): _losses(results, a, s)[:, -1] for a, schemes in ACTIVATIONS.items() for s in schemes}
    pairs = (("tanh", XAVIER, NAIVE), ("relu", HE, NAIVE), ("relu", HE, XAVIER))
    said = ", ".join(f"{a} with {s} {level(values, '.3f')}" for (a, s), values in deepest.items())
    return Verdict(
        [
            lower(
                f"training loss (nats) of {DEEPEST} {activation} layers",
                (better, worse),
                (deepest[activation, better], deepest[activation, worse]),
                ".3f",
            )
            for activation, better, worse in pairs
        ],
        f"The training losses with {DEEPEST} layers are: {said} nats.",
    )


def _draw(results: Results) -> Figure:
    panels = [
        Curves(
            f"training loss of {activation} layers (nats)",
            "hidden layers",
            DEPTHS,
            {scheme: _losses(results, activation, scheme) for scheme in schemes},
        )
        for activation, schemes in ACTIVATIONS.items()
    ]
    return curves_figure(panels, "Training loss by initial weights")


INITIAL_WEIGHT_STUDIES = (
    Study(
        "initialisation",
        "Deep networks train where the size of the initial weights fits the layers, by Xavier for tanh and by He for "
        "rectified units, and not from small Gaussian weights.",
        "Glorot & Bengio (2010), Understanding the difficulty of training deep feedforward neural networks; He et "
        "al. (2015), Delving deep into rectifiers.",
        f"With {DEEPEST} layers and plain gradient descent the training loss is lower with Xavier than from small "
        "Gaussian weights for tanh, and with He than with either for ReLU (paired t-tests over seeds, p < 0.05 "
        "each).",
        _trials,
        _judge,
        _draw,
    ),
)
