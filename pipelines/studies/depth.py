"""Studies of depth: what it does to gradients, what pretraining does about that, and what it is worth."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from pipelines.studies.evidence import below, level, lower
from pipelines.studies.results import Results
from pipelines.studies.study import Scale, Study, Trial, Verdict
from pipelines.studies.study_figures import Curves, curves_figure
from pipelines.studies.training_plans import plan, rbm_layers
from pretrain.settings import LayerSettings

DEPTHS = (2, 4, 6, 8, 10)
SHALLOWEST, DEEPEST = DEPTHS[0], DEPTHS[-1]
SCRATCH, PRETRAINED = "scratch", "pretrained"
SHAPES = (1, 2, 3, 5)  # hidden layers of networks with as many weights


def _deep(kind: str, depth: int, scale: Scale, layer: LayerSettings | None = None) -> Trial:
    return Trial(
        f"{kind} {depth}",
        None if layer else "sigmoid",
        (scale.pick(64, 500),) * depth,
        plan(scale.pick(12, 20)),
        layer,
        gradients=True,
    )


def _from_scratch(scale: Scale) -> list[Trial]:
    return [_deep(SCRATCH, depth, scale) for depth in DEPTHS]


def _both(scale: Scale) -> list[Trial]:
    layer = rbm_layers(scale.pick(8, 10))
    return [*_from_scratch(scale), *(_deep(PRETRAINED, depth, scale, layer) for depth in DEPTHS)]


def _first_gradients(results: Results, kind: str) -> np.ndarray:
    """log10 of the gradient norm of the first layer before training: (n_seeds, n_depths)."""
    return np.stack([np.log10(results.of(f"{kind} {depth}", "gradients")[:, 0]) for depth in DEPTHS], axis=1)


def _over_depth(results: Results, kind: str, key: str) -> np.ndarray:
    return np.stack([results.of(f"{kind} {depth}", key) for depth in DEPTHS], axis=1)


def _judge_vanishing(results: Results) -> Verdict:
    gradients = _first_gradients(results, SCRATCH)
    slopes = np.polyfit(DEPTHS, gradients.T, 1)[0]  # (n_seeds,) decades a layer
    names = (f"{SHALLOWEST} layers", f"{DEEPEST} layers")
    losses = tuple(results.of(f"{SCRATCH} {depth}", "train_loss") for depth in (SHALLOWEST, DEEPEST))
    return Verdict(
        [
            below("the slope of log10 of the first layer's gradient over depth (decades a layer)", slopes, 0.0),
            lower("training loss (nats)", names, (losses[0], losses[1]), ".3f"),
        ],
        f"The gradient of the first layer falls by {-slopes.mean():.2f} decades a layer, and the training loss is "
        f"{level(losses[0], '.3f')} with {names[0]} and {level(losses[1], '.3f')} with {names[1]}.",
    )


def _judge_cure(results: Results) -> Verdict:
    trials = [f"{kind} {DEEPEST}" for kind in (PRETRAINED, SCRATCH)]
    names = (f"pretrained with {DEEPEST} layers", "the same from scratch")
    losses = [results.of(trial, "train_loss") for trial in trials]
    errors = [results.of(trial, "test_error") for trial in trials]
    gradients = [-_first_gradients(results, kind)[:, -1] for kind in (PRETRAINED, SCRATCH)]
    return Verdict(
        [
            lower("decades by which the first layer's gradient is below 1", names, (gradients[0], gradients[1])),
            lower("training loss (nats)", names, (losses[0], losses[1]), ".3f"),
            lower("test error (%)", names, (errors[0], errors[1])),
        ],
        f"After pretraining the network of {DEEPEST} layers reaches a training loss of {level(losses[0], '.3f')} "
        f"(from scratch {level(losses[1], '.3f')}) and a test error of {level(errors[0])} %, that of {SHALLOWEST} "
        f"layers {level(results.of(f'{PRETRAINED} {SHALLOWEST}', 'test_error'))} %.",
    )


def _draw(results: Results, kinds: Sequence[str], title: str) -> Figure:
    gradients = {kind: 10 ** _first_gradients(results, kind) for kind in kinds}
    errors = {kind: _over_depth(results, kind, "train_error") for kind in kinds}
    panels = [
        Curves("first layer's gradient norm", "hidden layers", DEPTHS, gradients, solid=(PRETRAINED,)),
        Curves("training error (%)", "hidden layers", DEPTHS, errors, solid=(PRETRAINED,)),
    ]
    return curves_figure(panels, title)


def _shapes(scale: Scale) -> list[Trial]:
    n_weights, settings = scale.pick(40_000, 1_000_000), plan(scale.pick(20, 30))
    return [
        Trial(_shape(depth), "relu", (_width(n_weights, depth, scale.n_features),) * depth, settings)
        for depth in SHAPES
    ]


def _width(n_weights: int, depth: int, n_features: int) -> int:
    """The w of n_features w + (depth - 1) w^2 = n_weights, what hidden layers of width w have."""
    if depth == 1:
        return round(n_weights / n_features)
    return round((math.sqrt(n_features**2 + 4 * (depth - 1) * n_weights) - n_features) / (2 * (depth - 1)))


def _shape(depth: int) -> str:
    return f"{depth} hidden layer{'s' if depth > 1 else ''}"


def _judge_shape(results: Results) -> Verdict:
    deep, wide = _shape(3), _shape(1)
    errors, losses = ([results.of(trial, key) for trial in (deep, wide)] for key in ("test_error", "train_loss"))
    return Verdict(
        [lower("test error (%)", (deep, wide), (errors[0], errors[1]))],
        f"The training losses are {losses[0].mean():.4f} ({deep}) and {losses[1].mean():.4f} nats ({wide}): both fit "
        f"the training rows, and on other rows they have {level(errors[0])} and {level(errors[1])} %.",
    )


def _draw_shapes(results: Results) -> Figure:
    errors = np.stack([results.of(_shape(depth), "test_error") for depth in SHAPES], axis=1)
    weights = np.stack([results.of(_shape(depth), "n_parameters") for depth in SHAPES], axis=1)
    return curves_figure(
        [
            Curves("test error (%)", "hidden layers", SHAPES, {"ReLU network": errors}),
            Curves("weights", "hidden layers", SHAPES, {"ReLU network": weights}),
        ],
        "Networks of as many weights and more or fewer layers",
    )


DEPTH_STUDIES = (
    Study(
        "vanishing-gradient",
        "With sigmoid units the gradient of the first layer shrinks with every layer above it, and deep networks "
        "train worse than shallow ones.",
        "Glorot & Bengio (2010), Understanding the difficulty of training deep feedforward neural networks.",
        f"Over {SHALLOWEST} to {DEEPEST} layers the slope of log10 of the first layer's gradient before training is "
        f"below zero, and {SHALLOWEST} layers end at a lower training loss than {DEEPEST} (t-tests over seeds, "
        "p < 0.05 each).",
        _from_scratch,
        _judge_vanishing,
        lambda results: _draw(results, (SCRATCH,), "Sigmoid networks of more and more layers"),
    ),
    Study(
        "pretraining-cures-it",
        "Layers that were pretrained as RBMs let a sigmoid network train at a depth where random weights do not.",
        "Hinton & Salakhutdinov (2006), Reducing the dimensionality of data with neural networks; Erhan et al. "
        "(2010), Why does unsupervised pre-training help deep learning?",
        f"With {DEEPEST} layers the pretrained network has a larger first gradient, a lower training loss and a "
        "lower test error than the same network from scratch (paired t-tests over seeds, p < 0.05 each).",
        _both,
        _judge_cure,
        lambda results: _draw(results, (SCRATCH, PRETRAINED), "Sigmoid networks, pretrained and from scratch"),
    ),
    Study(
        "depth-against-width",
        "With as many weights, a network of three hidden layers is better than one of a single wide layer.",
        "Bengio (2009), Learning deep architectures for AI, section 2; Larochelle et al. (2009), Exploring "
        "strategies for training deep neural networks.",
        "The test error of three hidden layers is below that of one (paired t-test over seeds, p < 0.05).",
        _shapes,
        _judge_shape,
        _draw_shapes,
    ),
)
