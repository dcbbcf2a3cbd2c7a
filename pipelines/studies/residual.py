"""Studies of residual networks of dense layers: their shortcuts, and stochastic depth."""

from matplotlib.figure import Figure

from pipelines.studies.evidence import level, lower
from pipelines.studies.results import Results
from pipelines.studies.study import Scale, Study, Trial, Verdict
from pipelines.studies.study_figures import levels_figure, trial_levels
from pipelines.studies.training_plans import plan

IDENTITY = "identity"
SHORTCUTS = {
    IDENTITY: "residual",
    "times 0.5": "residual-scaled",
    "a matrix": "residual-projected",
    "dropout 0.5": "residual-dropped",
}
STOCHASTIC, ALWAYS = "stochastic depth", "all blocks"
N_BLOCKS = 20


def _sizes(scale: Scale) -> tuple[int, ...]:
    return (scale.pick(64, 256),) * (N_BLOCKS + 1)


def _shortcuts(scale: Scale) -> list[Trial]:
    settings = plan(scale.pick(8, 20))
    return [Trial(name, kind, _sizes(scale), settings) for name, kind in SHORTCUTS.items()]


def _judge_shortcuts(results: Results) -> Verdict:
    losses = {name: results.of(name, "train_loss") for name in SHORTCUTS}
    errors = ", ".join(f"{name} {level(results.of(name, 'test_error'))}" for name in SHORTCUTS)
    parts = [
        lower("training loss (nats)", (IDENTITY, other), (losses[IDENTITY], losses[other]), ".4f")
        for other in SHORTCUTS
        if other != IDENTITY
    ]
    n_weights = {name: results.mean(name, "n_parameters") for name in (IDENTITY, "a matrix")}
    return Verdict(
        parts,
        f"The test errors are: {errors} %. The network with a matrix in each shortcut has "
        f"{n_weights['a matrix']:,.0f} weights, with the identity {n_weights[IDENTITY]:,.0f}.",
    )


def _stochastic(scale: Scale) -> list[Trial]:
    settings = plan(scale.pick(12, 40))
    kinds = {STOCHASTIC: "stochastic-depth", ALWAYS: "residual"}
    return [Trial(name, kind, _sizes(scale), settings) for name, kind in kinds.items()]


def _judge_stochastic(results: Results) -> Verdict:
    names = (STOCHASTIC, ALWAYS)
    seconds, errors, losses = (
        [results.of(name, key) for name in names] for key in ("compute_seconds", "test_error", "train_loss")
    )
    return Verdict(
        [
            lower("seconds of training", names, (seconds[0], seconds[1])),
            lower("test error (%)", names, (errors[0], errors[1])),
        ],
        f"It takes {level(seconds[0] / seconds[1])} of the time; with it the training loss is "
        f"{level(losses[0], '.4f')} nats and the test error {level(errors[0])} %, with {ALWAYS} "
        f"{level(losses[1], '.4f')} and {level(errors[1])} %.",
    )


def _draw(results: Results, second: tuple[str, str], title: str) -> Figure:
    figures = {second[0]: second[1], "test error (%)": "test_error"}
    return levels_figure(trial_levels(results, figures), title)


RESIDUAL_STUDIES = (
    Study(
        "shortcuts",
        "Identity shortcuts are best: scaling, a matrix or dropout in their way make a residual network train worse.",
        "He et al. (2016), Identity mappings in deep residual networks, section 3.",
        f"With {N_BLOCKS} blocks the training loss with identity shortcuts is below that with each of the others "
        "(paired t-tests over seeds, p < 0.05 each).",
        _shortcuts,
        _judge_shortcuts,
        lambda results: _draw(
            results, ("training loss (nats)", "train_loss"), "Residual networks by their shortcuts"
        ),
    ),
    Study(
        "stochastic-depth",
        "Leaving blocks out of training steps at random makes training shorter and the test error lower.",
        "Huang et al. (2016), Deep networks with stochastic depth.",
        f"With {N_BLOCKS} blocks, the last of which takes part in half of the steps, as many epochs take fewer "
        "seconds of the processor and the test error is lower (paired t-tests over seeds, p < 0.05 each).",
        _stochastic,
        _judge_stochastic,
        lambda results: _draw(results, ("seconds of training", "compute_seconds"), "Stochastic depth"),
    ),
)
