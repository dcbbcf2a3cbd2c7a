"""Why did pretraining do nothing? Each layer of a pretrained network before it, after it, and after fine-tuning."""

import copy
import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch

from pretrain.batches import as_dense_tensor
from pretrain.estimators.advice import FINETUNED, PRETRAINED, UNTRAINED, LayerState, advise
from pretrain.layer_figures import LayerFigures, measure_layer
from pretrain.linear_probe import FEWEST_ROWS, probe, probe_gains, probe_targets, probed_rows, why_no_probe
from pretrain.monitoring import unit_shares
from pretrain.network import Network
from pretrain.settings import LayerSettings
from pretrain.stack import Stack
from pretrain.weight_change import initial_layer, weight_change

EXAMINED_ROWS = 2000  # shares of rows are then exact to a per cent


class Fitted(NamedTuple):
    """What a pretrained estimator knows of its training: the stack before fine-tuning, and the network after it."""

    stack: Stack
    network: Network
    settings: Sequence[LayerSettings]
    seed: int
    records: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found.

    Attributes
    ----------
    n_rows : int
        Rows that were looked at.
    raw_score : float or None
        Of a linear probe on the scaled rows themselves.
    stages : dict of str to list of LayerState
        "untrained" (the weights that pretraining began with), "pretrained" and "finetuned", the layers of each.
    advice : list of str
        What is wrong and what to change, the most important first.
    notes : list of str
        What could not be measured, and why.
    """

    n_rows: int
    raw_score: float | None
    stages: dict[str, list[LayerState]]
    advice: list[str]
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        lines = [f"{self.n_rows:,} rows; probe: linear, on the code of a layer" + self._raw()]
        lines.append(f"{'layer':>5} {'units':>6}  {'':<10} {'probe':>6} {'dead':>5} {'saturated':>9} {'moved':>6}")
        for states in zip(*self.stages.values(), strict=True):
            for stage, state in zip(self.stages, states, strict=True):
                where = f"{state.layer:>5} {state.n_units:>6}" if stage == UNTRAINED else " " * 12
                score = "" if state.probe_score is None else f"{state.probe_score:.3f}"
                moved = "" if state.weight_change is None else f"{100 * state.weight_change:.0f} %"
                shares = f"{100 * state.dead_units:>3.0f} % {100 * state.saturated_units:>7.0f} %"
                lines.append(f"{where}  {stage:<10} {score:>6} {shares} {moved:>6}")
        return "\n".join([*lines, *(f"- {sentence}" for sentence in self.advice), *self.notes])

    def _raw(self) -> str:
        return "" if self.raw_score is None else f" (on the rows themselves {self.raw_score:.3f})"


@torch.no_grad()
def diagnose(estimator: Any, fitted: Fitted, X: Any, y: np.ndarray | None) -> Diagnosis:
    """Measure every layer at every stage and say what to change, in terms of the estimator's parameters.

    Parameters
    ----------
    estimator : PretrainedEstimator
    fitted : Fitted
    X : ndarray or sparse matrix of shape (n, n_features)
        Scaled rows.
    y : ndarray of shape (n,), (n, n_targets), or None
    """
    rows = as_dense_tensor(X)
    network = copy.deepcopy(fitted.network).cpu().eval()
    initial = [initial_layer(fitted.stack, k, one, fitted.seed) for k, one in enumerate(fitted.settings)]
    codes = {
        UNTRAINED: _codes(rows, [layer.encode for layer in initial]),
        PRETRAINED: _codes(rows, [layer.encode for layer in fitted.stack.layers]),
        FINETUNED: _codes(rows, network.hidden),
    }
    weights = {
        UNTRAINED: [layer.encoder_weight for layer in initial],
        PRETRAINED: [layer.encoder_weight for layer in fitted.stack.layers],
        FINETUNED: [layer.linear.weight if hasattr(layer, "linear") else None for layer in network.hidden],
    }
    if estimator.kind is not None:  # whose weights begin rescaled
        weights[FINETUNED] = [None] * len(network.hidden)
    activations = [layer.activation for layer in fitted.stack.layers]
    stages = {
        UNTRAINED: _states(codes[UNTRAINED], activations),
        PRETRAINED: _states(codes[PRETRAINED], activations, weights[PRETRAINED], weights[UNTRAINED]),
        FINETUNED: _states(
            codes[FINETUNED], network.architecture.activations, weights[FINETUNED], weights[PRETRAINED]
        ),
    }
    probed = _probed(network.architecture.task, rows.numpy(), codes, y, fitted.seed)
    for stage, scores in probed.scores.items():
        pairs = zip(stages[stage], scores, strict=True)
        stages[stage] = [dataclasses.replace(state, probe_score=score) for state, score in pairs]
    figures = _figures(fitted, rows, codes[PRETRAINED], initial, probed)
    notes = [] if probed.reason is None else [f"No linear probe: {probed.reason}."]
    return Diagnosis(len(rows), probed.raw, stages, advise(estimator, figures, stages, probed.wrong), notes)


class Probed(NamedTuple):
    """Scores of probes, of the rows and by stage and layer, and rows that are `wrong`; or why there are none."""

    reason: str | None
    raw: float | None = None
    scores: Mapping[str, list[float]] = MappingProxyType({})
    wrong: Mapping[str, list[np.ndarray]] = MappingProxyType({})


def _codes(rows: torch.Tensor, encoders: Iterable[Any]) -> list[torch.Tensor]:
    """The rows' codes, from the first layer up."""
    return list(itertools.accumulate(encoders, lambda x, encode: encode(x), initial=rows))[1:]


def _states(
    codes: Sequence[torch.Tensor],
    activations: Sequence[str],
    weights: Sequence[torch.Tensor | None] | None = None,
    before: Sequence[torch.Tensor | None] | None = None,
) -> list[LayerState]:
    nothing = [None] * len(codes)
    found = zip(codes, activations, weights or nothing, before or nothing, strict=True)
    return [
        LayerState(
            k,
            code.shape[1],
            **unit_shares(code, activation),
            weight_change=None if now is None else weight_change(now, then),
        )
        for k, (code, activation, now, then) in enumerate(found, start=1)
    ]


def _probed(
    task: str, rows: np.ndarray, codes: Mapping[str, Sequence[torch.Tensor]], y: np.ndarray | None, seed: int
) -> Probed:
    of_stages = {stage: [code.numpy() for code in layers] for stage, layers in codes.items()}
    if y is None or len(y) < FEWEST_ROWS:
        return Probed(f"it takes {FEWEST_ROWS} rows with y")
    if task == "multilabel":
        return Probed("it is for one label a row")
    if task == "regression":
        scores = {k: [probe_targets(code, y, seed=seed) for code in layers] for k, layers in of_stages.items()}
        return Probed(None, probe_targets(rows, y, seed=seed), scores)
    reason = why_no_probe(y)
    if reason is not None:
        return Probed(reason)
    used = probed_rows(y)
    raw = probe(rows[used], y[used], seed=seed)
    wrong = {k: [raw, *(probe(c[used], y[used], seed=seed) for c in layers)] for k, layers in of_stages.items()}
    scores = {stage: [1 - float(one.mean()) for one in layers[1:]] for stage, layers in wrong.items()}
    return Probed(None, 1 - float(raw.mean()), scores, wrong)


def _figures(
    fitted: Fitted, rows: torch.Tensor, codes: Sequence[torch.Tensor], initial: Sequence[Any], probed: Probed
) -> list[LayerFigures]:
    """Figures of the pretrained layers, as `pretrain inspect --health` has them."""
    figures = []
    gains = probe_gains(probed.wrong[PRETRAINED]) if probed.wrong else []
    for k, (layer, below) in enumerate(zip(fitted.stack.layers, [rows, *codes[:-1]], strict=True)):
        one = measure_layer(
            layer, k + 1, below, None, history=fitted.records, initial_weight=initial[k].weight.detach()
        )
        if gains:
            error = 100 * float(probed.wrong[PRETRAINED][k + 1].mean())
            one = dataclasses.replace(one, probe_error=error, probe_gain=gains[k][0], probe_gain_error=gains[k][1])
        figures.append(one)
    return figures
