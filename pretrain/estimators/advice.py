"""What to change about pretraining that did nothing, in terms of an estimator's parameters."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pretrain.estimators.supervised import FINETUNING_PARAMETERS
from pretrain.health_findings import findings_of
from pretrain.layer_figures import LayerFigures
from pretrain.linear_probe import probe_gains

UNTRAINED, PRETRAINED, FINETUNED = "untrained", "pretrained", "finetuned"
# Standard errors of a difference between two probes on the same rows; R² has none, and a difference that is worth it.
GAIN_ERRORS, GAIN_SCORE = 2.0, 0.02
OVERWRITTEN = 100.0  # %: weights that fine-tuning moved by more than their norm have forgotten where they began
OPTION = re.compile(r"--([a-z][a-z-]*)")


@dataclass(frozen=True)
class LayerState:
    """One layer (counted from 1) at one stage.

    Attributes
    ----------
    layer, n_units : int
    dead_units, saturated_units : float
        Shares of the units that are off, or fully on, on every row.
    probe_score : float or None
        Accuracy (of a classifier) or R² (of a regressor) of a linear probe on the code, in cross-validation.
    weight_change : float or None
        Norm of the weights' distance from the stage before by their norm then.
    """

    layer: int
    n_units: int
    dead_units: float
    saturated_units: float
    probe_score: float | None = None
    weight_change: float | None = None


def advise(
    estimator: Any,
    figures: Sequence[LayerFigures],
    stages: Mapping[str, Sequence[LayerState]],
    wrong: Mapping[str, Sequence[np.ndarray]],
) -> list[str]:
    """Sentences: whether pretraining did anything, what is wrong with a layer, and what fine-tuning made of it.

    Parameters
    ----------
    estimator : PretrainedEstimator
    figures : list of LayerFigures
        Of the pretrained layers.
    stages : dict of str to list of LayerState
    wrong : dict of str to list of ndarray
        Rows that a probe gets wrong, by stage: on the raw rows, then on each layer's code; empty without classes.
    """
    sentences = [*_effect(stages, wrong)]
    for layer in figures:
        sentences += [in_parameters(finding.sentence(), estimator) for finding in findings_of(layer)]
    for state in stages[FINETUNED]:
        moved = 100 * (state.weight_change or 0.0)
        if moved > OVERWRITTEN:
            sentences.append(
                f"Fine-tuning moved the weights of layer {state.layer} by {moved:.0f} % of their norm, so little is "
                "left of its pretraining. Lower learning_rate_init or max_iter, or train the output layer first "
                "(head_epochs)."
            )
    return sentences


def in_parameters(advice: str, estimator: Any) -> str:
    """Advice that names options of the command line, with the estimator's parameters in their places."""
    names = set(estimator.get_params(deep=False))
    of_pretraining = names - set(FINETUNING_PARAMETERS.values())

    def name(option: re.Match[str]) -> str:
        field = option[1].replace("-", "_")
        if f"pretrain_{field}" in names:
            return f"pretrain_{field}"
        return field if field in of_pretraining else f"{field} (of the layer's settings; StackTransformer or Stack)"

    return OPTION.sub(name, advice)


def _effect(stages: Mapping[str, Sequence[LayerState]], wrong: Mapping[str, Sequence[np.ndarray]]) -> list[str]:
    """One sentence on the top layer before and after pretraining; none without a probe."""
    before, after = stages[UNTRAINED][-1].probe_score, stages[PRETRAINED][-1].probe_score
    if before is None or after is None:
        return []
    if wrong:
        ((gain, error),) = probe_gains([wrong[UNTRAINED][-1], wrong[PRETRAINED][-1]])
        least = GAIN_ERRORS * error
    else:
        gain, least = after - before, GAIN_SCORE
    scores = f"(a linear probe on the top layer scores {after:.3f}, and {before:.3f} with its initial weights)"
    if gain > least:
        return [f"Pretraining made the codes better {scores}."]
    if gain < -least:
        return [f"Pretraining made the codes worse {scores}. See what is said of the layers below."]
    return [f"Pretraining did nothing that a linear probe sees {scores}."]
