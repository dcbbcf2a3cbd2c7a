"""Options that another option makes idle: refused where they are typed, for who types one believes that it acts."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
from click.core import ParameterSource

from pipelines.commands.options import TRAINING_OPTIONS
from pretrain.rbm_settings import PERSISTENT_ESTIMATORS

Options = Mapping[str, Any]
UP_DOWN = "up_down_"  # begins the options of up-down


def _is(name: str, *values: Any) -> Callable[[Options], bool]:
    return lambda options: options[name] in values


def _is_not(name: str, *values: Any) -> Callable[[Options], bool]:
    return lambda options: options[name] not in values


_MOMENTUM = _is("optimizer", "sgd", "rmsprop"), "--optimizer sgd or rmsprop"
_RATE = _is_not("optimizer", "cg"), "an --optimizer that has a learning rate, unlike cg"
_STOPPING = _is("early_stopping", True), "--early-stopping true"
_FAST = _is("gradient_estimator", "fast_pcd"), "--gradient-estimator fast_pcd"
_SPARSE = _is_not("sparsity_target", None), "--sparsity-target"
_PRETRAINED = _is("pretrained", True), "pretrained layers"
_LIKELIHOOD = _is("likelihood", True), "--likelihood"
_FILM = _is("gif", True), "--gif"
# One row an option: whether it acts, given what all options come to, and what makes it act.
ACTING: dict[str, tuple[Callable[[Options], bool], str]] = {
    "learning_rate": _RATE,
    "schedule": _RATE,
    "momentum": _MOMENTUM,
    "nesterov": (_is("optimizer", "sgd"), "--optimizer sgd"),
    "initial_momentum": _MOMENTUM,
    "initial_momentum_epochs": (
        lambda options: _MOMENTUM[0](options) and options["initial_momentum"] is not None,
        f"--initial-momentum and {_MOMENTUM[1]}",
    ),
    "decay": (
        _is("schedule", "step", "exponential", "inverse_time"),
        "--schedule step, exponential or inverse_time",
    ),
    "decay_epochs": (_is("schedule", "step"), "--schedule step"),
    "n_iter_no_change": _STOPPING,
    "tol": _STOPPING,
    "initial_gibbs_steps": (
        lambda options: options["initial_gibbs_steps"] != options["n_gibbs_steps"],
        "another number of --n-gibbs-steps",
    ),
    "sample_reconstruction": (_is("gradient_estimator", "cd"), "--gradient-estimator cd"),
    "n_chains": (
        _is("gradient_estimator", *PERSISTENT_ESTIMATORS),
        f"--gradient-estimator {', '.join(PERSISTENT_ESTIMATORS)}",
    ),
    "n_temperatures": (_is("gradient_estimator", "tempering"), "--gradient-estimator tempering"),
    "fast_learning_rate": _FAST,
    "fast_decay": _FAST,
    "sparsity_cost": _SPARSE,
    "sparsity_decay": _SPARSE,
    "corruption_level": (_is_not("corruption", "none"), "a --corruption other than none"),
    "contraction_noise": (_is_not("contraction_higher_order", 0), "--contraction-higher-order"),
    "kind": _PRETRAINED,
    "pretrain_epochs": _PRETRAINED,
    "pseudo_labels": (
        lambda options: any(budget != "all" for budget in options["labels"]),
        "--labels with a number",
    ),
    "visible_units": (
        lambda options: options["pretrained"] and options["kind"] == "rbm",
        "pretrained layers of --kind rbm",
    ),
    "baseline_units": (_is("baselines", True), "--baselines"),
    "ais_runs": _LIKELIHOOD,
    "ais_temperatures": _LIKELIHOOD,
    "frames": _FILM,
    "every": _FILM,
}


def _in_up_down(name: str) -> tuple[Callable[[Options], bool], str]:
    """The row of an option of up-down: what acts in training acts there too, if there is any."""
    acts, condition = ACTING.get(name, (lambda _: True, ""))

    def acts_there(options: Options) -> bool:
        own = {key.removeprefix(UP_DOWN): value for key, value in options.items() if key.startswith(UP_DOWN)}
        return own["epochs"] != 0 and acts(own)

    others = condition.replace("--", "--up-down-")
    return acts_there, "--up-down-epochs above 0" + (f" and {others}" if others else "")


ACTING |= {UP_DOWN + name: _in_up_down(name) for name in (*TRAINING_OPTIONS, "gibbs_steps") if name != "epochs"}


class CheckedCommand(click.Command):
    """A command that checks its options when they are parsed: `run` parses every step before it begins the first.

    Parameters
    ----------
    settle : callable
        Takes the parsed options by name, raises SettingsError where they cannot be, and returns what they come to,
        defaults included: one mapping for each layer or arm that they are for. A typed option must act in one.
    """

    def __init__(self, *args: Any, settle: Callable[[dict[str, Any]], Sequence[Options]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.settle = settle

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """click's, or UsageError for an option that does nothing."""
        context = super().make_context(*args, **kwargs)
        settled = self.settle(context.params)
        for name in context.params:
            if name not in ACTING or context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
                continue
            acts, condition = ACTING[name]
            if not any(acts(options) for options in settled):
                option = "--" + name.replace("_", "-")
                raise click.UsageError(
                    f"{option} does nothing here; it acts with {condition}. Leave it out.", context
                )
        return context
