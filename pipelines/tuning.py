"""Tuning: the settings of an arm with the lowest validation error of a number of trials that is equal for all arms.

The first trial has the arm's own settings, so that tuning can only lower the validation error; the others are
proposed by Optuna's tree-structured Parzen estimator [1]_ (the extra `pretrain[tune]`), or drawn at random where it
is not installed [2]_. What is proposed depends on the seed and on the trials before alone, so that a search that was
stopped goes on as if it had not been.

References
----------
.. [1] Bergstra, J., Bardenet, R., Bengio, Y. & Kegl, B. (2011). Algorithms for hyper-parameter optimization. NIPS.
.. [2] Bergstra, J. & Bengio, Y. (2012). Random search for hyper-parameter optimization. JMLR 13.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from pipelines.arms import Arm
from pipelines.search_spaces import Choice, Space, own_settings, search_space
from pretrain.exceptions import DataError
from pretrain.random_streams import RandomStreams

try:
    import optuna
except ImportError:
    optuna = None

Trial = dict[str, Any]


def sampler_name() -> str:
    """Who proposes trials here: "optuna" or "random"."""
    return "random" if optuna is None else "optuna"


def tune(
    arm: Arm, n_trials: int, try_out: Callable[[dict[str, Any]], Trial], trials: Sequence[Trial] = (), *, seed: int
) -> Sequence[Trial]:
    """Run the trials that are not finished.

    Parameters
    ----------
    arm : Arm
    n_trials : int
    try_out : callable
        Takes settings and returns a finished trial: `settings`, `validation_error` (None where training diverged),
        and whatever else is to be kept. It is called once a trial, in order.
    trials : sequence of dict
        Those that are finished.
    seed : int

    Returns
    -------
    sequence of dict
        All `n_trials`, or more where more are finished.
    """
    done = list(trials)
    while len(done) < n_trials:
        done.append(try_out(propose(arm, done, seed=seed)))
    return done


def propose(arm: Arm, trials: Sequence[Trial], *, seed: int) -> dict[str, Any]:
    """Settings of the next trial: the arm's own first, then values from its space."""
    if not trials:
        return own_settings(arm)
    space = search_space(arm)
    return _drawn(space, len(trials), seed) if optuna is None else _from_optuna(space, trials, seed)


def best_trial(trials: Sequence[Trial]) -> Trial:
    """The trial with the lowest validation error, the first of equals; DataError if every training diverged."""
    finite = [trial for trial in trials if trial["validation_error"] is not None]
    if not finite:
        raise DataError(f"Training diverged in each of {len(trials)} trials; lower --learning-rate.")
    return min(finite, key=lambda trial: trial["validation_error"])


def _drawn(space: Space, number: int, seed: int) -> dict[str, Any]:
    generator = RandomStreams(seed).generator("tuning", layer=number)
    shares = torch.rand(len(space), generator=generator, dtype=torch.float64).tolist()
    return {
        name: one.values[int(share * len(one.values))] if isinstance(one, Choice) else one.at(share)
        for (name, one), share in zip(space.items(), shares, strict=True)
    }


def _from_optuna(space: Space, trials: Sequence[Trial], seed: int) -> dict[str, Any]:
    # Its numbers hold whole settings in JSON's types, so that choices are handed over by their places.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=RandomStreams(seed).integer_seed("tuning", layer=len(trials)) % 2**32)
    study = optuna.create_study(direction="minimize", sampler=sampler)
    distributions = {
        name: optuna.distributions.CategoricalDistribution(range(len(one.values)))
        if isinstance(one, Choice)
        else optuna.distributions.FloatDistribution(one.low, one.high, log=True)
        for name, one in space.items()
    }
    for trial in trials:
        places = {name: _place(one, trial["settings"][name]) for name, one in space.items()}
        error = trial["validation_error"]
        value = math.inf if error is None else error
        study.add_trial(optuna.trial.create_trial(params=places, distributions=distributions, value=value))
    proposed = study.ask(distributions).params
    return {
        name: one.values[proposed[name]] if isinstance(one, Choice) else proposed[name] for name, one in space.items()
    }


def _place(one: Any, value: Any) -> Any:
    return one.values.index(value) if isinstance(one, Choice) else value
