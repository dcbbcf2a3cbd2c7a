"""The training run of one layer, in a stack or alone."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import torch

from pretrain.batches import BatchSource
from pretrain.budget import PRETRAINING_EPOCHS, resolve_budget
from pretrain.device import resolve_precision
from pretrain.learner import Learner
from pretrain.random_streams import RandomStreams
from pretrain.settings import LayerSettings
from pretrain.training import TrainingRun, Validation


def layer_run(
    layer: Any,
    X: Any,
    settings: LayerSettings,
    *,
    streams: RandomStreams,
    layer_index: int,
    learner: Callable[..., Learner] | None = None,
    y: torch.Tensor | None = None,
    sample_weight: Any = None,
    strata: torch.Tensor | None = None,
    validation: Validation | None = None,
    progress_seconds: float | None = None,
) -> TrainingRun:
    """The training run of one layer on rows as it sees them, with what is "auto" in its settings resolved.

    Parameters
    ----------
    layer : Layer
        On the device to compute on.
    X : ndarray, Tensor or scipy sparse matrix of shape (n_samples, n_visible)
    settings : RBMSettings, AutoencoderSettings or SupervisedSettings
    streams : RandomStreams
        Those of `layer_index` are used.
    layer_index : int
    learner : callable or None
        Makes what trains the layer, called with `dtype`, that of the matrix products; None: `layer.learning_rule`.
    y : Tensor of shape (n_samples, ...) or None
        What the learner sees beside the rows.
    sample_weight, strata, validation, progress_seconds
        See `BatchSource` and `TrainingRun`.
    """
    device = layer.weight.device
    training = resolve_budget(settings.training, X.shape[0], fewest_epochs=PRETRAINING_EPOCHS)
    if training.learning_rate == "auto":
        training = dataclasses.replace(training, learning_rate=layer.default_learning_rate(settings))
    dtype = resolve_precision(training.precision, device, layer.weight.numel())
    learner = learner or functools.partial(layer.learning_rule, settings, streams=streams, layer=layer_index)
    batches = BatchSource(
        X,
        y,
        sample_weight=sample_weight,
        strata=strata,
        batch_size=int(training.batch_size),
        generator=streams.generator("batches", layer=layer_index),
        device=device,
    )
    return TrainingRun(
        learner(dtype=dtype),
        batches,
        training,
        stage="pretrain",
        layer=layer_index,
        validation=validation,
        progress_seconds=progress_seconds,
    )
