"""torch's optimisers and learning-rate schedules by name, and the momentum ramp of the papers."""

from typing import Any

import torch
from torch.optim import lr_scheduler

from pretrain.conjugate_gradient import ConjugateGradient
from pretrain.exceptions import SettingsError
from pretrain.settings import TrainingSettings


def make_optimizer(groups: list[dict[str, Any]], settings: TrainingSettings) -> torch.optim.Optimizer:
    """The torch optimiser that the settings name, over groups split into weights (decayed) and the rest.

    Parameters
    ----------
    groups : list of dict
        "params" and, optionally, "rate_factor", which multiplies the learning rate of the group.
    settings : TrainingSettings

    Raises
    ------
    SettingsError
        For "lbfgs" and "cg" with rates that differ between groups: it steps along one direction.
    """
    rate, decay = float(settings.learning_rate), settings.weight_decay
    split = _split_weights(groups, rate, decay)
    match settings.optimizer:
        case "sgd":
            return torch.optim.SGD(split, lr=rate, momentum=settings.momentum, nesterov=settings.nesterov, fused=True)
        case "adagrad":
            return torch.optim.Adagrad(split, lr=rate, foreach=True)
        case "rmsprop":
            return torch.optim.RMSprop(split, lr=rate, momentum=settings.momentum, foreach=True)
        case "adam":
            return torch.optim.Adam(split, lr=rate, fused=True)
        case "adamw":
            return torch.optim.AdamW(split, lr=rate, fused=True)
        case "adadelta":
            return torch.optim.Adadelta(split, lr=rate, foreach=True)
        case "adamax":
            return torch.optim.Adamax(split, lr=rate, foreach=True)
        case "nadam":
            return torch.optim.NAdam(split, lr=rate, foreach=True)
        case "radam":
            return torch.optim.RAdam(split, lr=rate, foreach=True)
        case "asgd":
            # Not capturable, it asks for a number of each parameter in every step: a GPU would be waited for.
            on_gpu = split[0]["params"][0].is_cuda
            return torch.optim.ASGD(split, lr=rate, foreach=True, capturable=on_gpu)
        case "rprop":
            return torch.optim.Rprop(_without_decay(split), lr=rate, foreach=True)
    if len({group["lr"] for group in split}) > 1:
        raise SettingsError(
            f"optimizer {settings.optimizer!r} cannot give layers different learning rates; take another."
        )
    parameters = [p for group in split for p in group["params"]]
    if settings.optimizer == "cg":
        return ConjugateGradient(parameters)
    return torch.optim.LBFGS(parameters, lr=rate, max_iter=20, line_search_fn="strong_wolfe")


def make_scheduler(
    optimizer: torch.optim.Optimizer, settings: TrainingSettings, steps_per_epoch: int
) -> lr_scheduler.LRScheduler | None:
    """The torch schedule that the settings name, to be stepped once a batch; None where no rate moves."""
    if "lr" not in optimizer.param_groups[0]:  # conjugate gradients
        return None
    decay, steps = settings.decay, max(int(settings.epochs), 1) * steps_per_epoch
    match settings.schedule:
        case "step":
            return lr_scheduler.StepLR(optimizer, settings.decay_epochs * steps_per_epoch, gamma=decay)
        case "exponential":
            return lr_scheduler.ExponentialLR(optimizer, gamma=decay ** (1 / steps_per_epoch))
        case "inverse_time":
            return lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + decay * step / steps_per_epoch))
        case "linear":
            return lr_scheduler.PolynomialLR(optimizer, total_iters=steps)
        case "polynomial":
            return lr_scheduler.PolynomialLR(optimizer, total_iters=steps, power=2)
        case "cosine":
            return lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
        case "one_cycle":
            rates = [group["lr"] for group in optimizer.param_groups]
            return lr_scheduler.OneCycleLR(optimizer, rates, total_steps=steps + 1, cycle_momentum=False)
    return None


def _without_decay(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in group.items() if name != "weight_decay"} for group in groups]


def momentum_at(settings: TrainingSettings, epoch: int) -> float:
    """Momentum in `epoch` (from 0): the initial one for the first epochs, then the final one."""
    if settings.initial_momentum is not None and epoch < settings.initial_momentum_epochs:
        return settings.initial_momentum
    return settings.momentum


def set_momentum(optimizer: torch.optim.Optimizer, momentum: float) -> None:
    """Set the momentum of every group that has one."""
    for group in optimizer.param_groups:
        if "momentum" in group:
            group["momentum"] = momentum


def _split_weights(groups: list[dict[str, Any]], rate: float, decay: float) -> list[dict[str, Any]]:
    # Groups of one rate and one decay are merged: a fused optimiser pays for each group.
    merged: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for group in groups:
        for parameter in group["params"]:
            key = (rate * group.get("rate_factor", 1.0), decay if parameter.ndim > 1 else 0.0)
            merged.setdefault(key, []).append(parameter)
    return [{"params": ps, "lr": lr, "weight_decay": wd} for (lr, wd), ps in merged.items()]
