"""What is wrong with a pretrained layer, in words: rules from its figures to findings.

Each rule looks at the figures of one layer and gives one `Finding` or None.

References
----------
.. [1] Hinton, G. E. (2012). A practical guide to training restricted Boltzmann machines. Sections 6 (overfitting),
       7 (learning rate) and 13 (Gaussian units).
"""

from collections.abc import Callable
from dataclasses import dataclass

from pretrain import health_thresholds as limits
from pretrain.layer_figures import LayerFigures

PROBLEM, REMARK = "problem", "remark"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a layer (counted from 1): its name, and sentences without the full stop.

    A "remark" may be as it should be; a "problem" is not.
    """

    layer: int
    problem: str
    evidence: str
    advice: str
    severity: str = PROBLEM

    def sentence(self) -> str:
        """The finding as the command prints it."""
        return f"Layer {self.layer}: {self.evidence}. {self.advice}."


def findings_of(figures: LayerFigures) -> list[Finding]:
    """Every finding on one layer, problems first."""
    if (flat := flat_input(figures)) is not None:
        return [flat]  # whatever else there is follows from that
    found = [finding for rule in RULES if (finding := rule(figures)) is not None]
    return sorted(found, key=lambda finding: finding.severity != PROBLEM)


def overflow(figures: LayerFigures) -> Finding | None:
    """Codes that are infinite or NaN."""
    if figures.finite:
        return None
    advice = f"{_lower_rate(figures)}, standardise the data, or bound the weights with --max-norm"
    return Finding(figures.layer, "overflow", "its codes are too large for float32", advice)


def input_out_of_range(figures: LayerFigures) -> Finding | None:
    """Data outside of what the visible units model."""
    if figures.range_problem is None:
        return None
    advice = "Pretrain with --scaling minmax, or with --visible-units gaussian --scaling standard"
    return Finding(figures.layer, "input out of range", figures.range_problem, advice)


def unscaled_input(figures: LayerFigures) -> Finding | None:
    """Gaussian units of variance 1 on data of another variance [1]_, or spin units on data that are never below 0."""
    spread, lowest = figures.gaussian_spread, figures.spin_lowest
    if spread is not None and not 1 / limits.UNSCALED <= spread <= limits.UNSCALED:
        evidence = f"its Gaussian units have variance 1, but its input has a standard deviation of {spread:.3g}"
        advice = "Pretrain with --scaling standard, or with --visible-units gaussian_learned"
    elif lowest is not None and lowest >= 0:
        evidence = f"its spin units are -1 or 1, but no value of its input is below {lowest:.3g}"
        advice = "Pretrain with --visible-units bernoulli, or give the data as -1 and 1"
    else:
        return None
    return Finding(figures.layer, "unscaled input", evidence, advice)


def flat_input(figures: LayerFigures) -> Finding | None:
    """An input that hardly varies from row to row."""
    if figures.input_spread >= limits.FLAT_INPUT:
        return None
    evidence = f"its input hardly varies (standard deviation {figures.input_spread:.1g} a feature)"
    below = f"Mend layer {figures.layer - 1} first: what it passes on hardly depends on the row"
    advice = below if figures.layer > 1 else "Pretrain with --scaling minmax or standard"
    return Finding(figures.layer, "flat input", evidence, advice)


def dead_units(figures: LayerFigures) -> Finding | None:
    """Units that are off on every row."""
    share = figures.dead_units
    if share is None or share < limits.FEW_UNITS:
        return None
    off = "off" if figures.activation in ("sigmoid", "tanh", "softmax", "relu") else "the same"
    evidence = f"{_percent(share)} of its {figures.n_hidden:,} units are dead ({off} on every row)"
    if figures.kind == "rbm" and figures.activation == "sigmoid":
        remedy = "pull the units to a mean activation with --sparsity-target 0.1, or take fewer units"
    elif figures.kind != "rbm" and figures.activation == "relu":
        remedy = "take --activation leaky_relu, or take fewer units"
    else:
        remedy = "or take fewer units"
    return Finding(figures.layer, "dead units", evidence, f"{_lower_rate(figures)}, {remedy}", _severity(share))


def saturated_units(figures: LayerFigures) -> Finding | None:
    """Units that are fully on on every row."""
    share = figures.saturated_units
    if share is None or share < limits.FEW_UNITS:
        return None
    evidence = f"{_percent(share)} of its {figures.n_hidden:,} units are saturated (fully on on every row)"
    advice = _began_large(figures) or f"{_lower_rate(figures)}, or raise --weight-decay"
    return Finding(figures.layer, "saturated units", evidence, advice, _severity(share))


def stiff_codes(figures: LayerFigures) -> Finding | None:
    """Codes that are nearly all at an end of their range, so that gradients do not pass."""
    share = figures.stiff_codes
    # What dead and saturated units explain is not said twice.
    if share is None or share < limits.STIFF_CODES or _idle(figures) >= limits.MANY_UNITS:
        return None
    evidence = f"{_percent(share)} of its code values are within 1 % of an end of their range, where gradients vanish"
    advice = _began_large(figures) or f"{_lower_rate(figures)}, or raise --weight-decay"
    return Finding(figures.layer, "saturation", evidence, f"{advice}, so that fine-tuning can still move the layer")


def copied_units(figures: LayerFigures) -> Finding | None:
    """Units whose codes are those of another unit."""
    share = figures.copied_units
    if share is None or share < limits.FEW_UNITS:
        return None
    evidence = (
        f"{_percent(share)} of its {figures.n_hidden:,} units are copies of another unit (correlation above 0.99)"
    )
    advice = "Take fewer units, less --weight-decay, or larger initial weights (--weight-scale)"
    if figures.kind == "supervised":
        advice = "Take fewer units, or less --weight-decay"
    elif figures.kind == "autoencoder":
        advice = "Take fewer units, or more --corruption-level, so that copying the input does not pay"
    return Finding(figures.layer, "copied units", evidence, advice, _severity(share))


def poor_reconstruction(figures: LayerFigures) -> Finding | None:
    """A reconstruction that is hardly better than the mean of the input."""
    ratio = figures.reconstruction_ratio
    if ratio is None or ratio < limits.NEAR_MEAN:
        return None
    severity = PROBLEM if ratio >= limits.AS_MEAN else REMARK
    than = "worse than" if ratio > 1.01 else "as bad as" if ratio > 0.99 else "hardly better than"
    evidence = f"its reconstruction is {than} the mean of its input (squared error {_percent(ratio)} of the mean's)"
    advice = _cause(figures) or "Train for more --epochs or with more units"
    if ratio > 1.01 and _cause(figures) is None:
        advice = f"{_lower_rate(figures)}; where the rate is low already, train for more --epochs"
    return Finding(figures.layer, "poor reconstruction", evidence, advice, severity)


def large_weights(figures: LayerFigures) -> Finding | None:
    """Weights or codes that have grown out of proportion."""
    advice = _began_large(figures) or f"{_lower_rate(figures)}, raise --weight-decay, or set a --max-norm"
    if figures.weight_rms > limits.LARGE_WEIGHT:
        evidence = f"its weights are huge (root mean square {figures.weight_rms:.3g})"
        return Finding(figures.layer, "large weights", evidence, advice)
    if figures.code_growth is not None and figures.code_growth > limits.LARGE_CODE:
        evidence = f"its codes are {figures.code_growth:.3g} times as large as its input"
        return Finding(figures.layer, "large codes", evidence, advice)
    return None


def variances_at_limits(figures: LayerFigures) -> Finding | None:
    """Learned variances that have run to a limit."""
    low, high = figures.variances_low or 0.0, figures.variances_high or 0.0
    if max(low, high) < limits.FEW_VARIANCES:
        return None
    share, limit, course = (low, "lower", "shrunk") if low >= high else (high, "upper", "exploded")
    whose = f"{_percent(share)} of its {figures.n_visible:,} features"
    evidence = f"the learned variance of {whose} has {course} to its {limit} limit"
    advice = f"{_lower_rate(figures)}, standardise the data (--scaling standard), or take --visible-units gaussian"
    return Finding(figures.layer, "exploding variance", evidence, advice)


def rising_loss(figures: LayerFigures) -> Finding | None:
    """A loss that rose in training."""
    first, lowest, last = figures.loss_first, figures.loss_lowest, figures.loss_last
    if first is None or lowest is None or last is None or last - lowest <= limits.LOSS_RISE * abs(lowest):
        return None
    severity = PROBLEM if last > first else REMARK
    evidence = f"its training loss rose from {lowest:.4g} to {last:.4g} (the first epoch had {first:.4g})"
    advice = f"{_lower_rate(figures)}, or let it fall (--schedule cosine)"
    return Finding(figures.layer, "rising loss", evidence, advice, severity)


def overfitting(figures: LayerFigures) -> Finding | None:
    """A free-energy gap between held-out and training rows, measured now or grown in training [1]_."""
    spread = figures.free_energy_spread
    if not spread:
        return None
    grown = 0.0
    if figures.recorded_gap is not None and figures.recorded_gap_lowest is not None:
        grown = figures.recorded_gap - max(figures.recorded_gap_lowest, 0.0)  # below 0 it is chance
    gap = figures.gap or 0.0
    if gap < limits.GAP_ERRORS * (figures.gap_error or 0.0):
        gap = 0.0
    if max(gap, grown) < limits.GAP * spread:
        return None
    if gap >= grown:
        evidence = f"the free energy of held-out rows is {gap:.3g} nats above that of training rows"
    else:
        grew = f"{figures.recorded_gap_lowest:.3g} to {figures.recorded_gap:.3g}"
        evidence = f"the recorded free-energy gap grew from {grew} nats"
    severity = PROBLEM if max(gap, grown) >= limits.LARGE_GAP * spread else REMARK
    evidence += f" (free energies of rows spread by {spread:.3g}): it overfits"
    advice = "Train for fewer --epochs, take fewer units, raise --weight-decay, or give more rows"
    return Finding(figures.layer, "overfitting", evidence, advice, severity)


def useless_layer(figures: LayerFigures) -> Finding | None:
    """A layer whose code a linear probe reads no better than the layer's input."""
    gain, error = figures.probe_gain, figures.probe_gain_error
    if gain is None or error is None or figures.probe_error is None:
        return None
    below = "the raw input" if figures.layer == 1 else f"the code of layer {figures.layer - 1}"
    errors = f"(error {figures.probe_error:.1f} % against {figures.probe_error + gain:.1f} %)"
    if -gain > max(limits.LOST_POINTS, limits.LOST_ERRORS * error):
        smaller = figures.n_hidden < figures.n_visible
        evidence = f"a linear probe reads the labels worse from its code than from {below} {errors}"
        advice = "Train it for more --epochs, give it more units, or leave it out"
        if smaller:
            advice += "; a layer that is there to compress may lose that much"
        return Finding(
            figures.layer, "loses information", evidence, _cause(figures) or advice, REMARK if smaller else PROBLEM
        )
    if gain > limits.GAIN_ERRORS * error or figures.probe_error + gain < limits.PERFECT:
        return None
    evidence = f"a linear probe reads the labels no better from its code than from {below}, beyond chance {errors}"
    return Finding(figures.layer, "adds nothing", evidence, "Compare with a stack without it", REMARK)


def untrained(figures: LayerFigures) -> Finding | None:
    """Weights that have hardly moved from where they began."""
    change, structure, bias = figures.weight_change, figures.weight_structure, figures.bias_by_weight
    if change is not None:
        if change >= limits.LITTLE_CHANGE:
            return None
        evidence = f"its weights moved by only {100 * change:.1f} % of their initial norm"
    elif structure is not None and bias is not None and structure < limits.NOISE_EDGE and bias < limits.SMALL_BIAS:
        evidence = "its weights look like the random numbers that they began as"
    else:
        return None
    rate = "" if figures.learning_rate is None else f" (it was {figures.learning_rate:g})"
    epochs = "" if figures.epochs is None else f" (there were {figures.epochs})"
    advice = f"Raise --learning-rate{rate}, or train for more --epochs{epochs}"
    return Finding(figures.layer, "hardly trained", evidence, advice)


# Causes before consequences: so they are printed.
RULES: tuple[Callable[[LayerFigures], Finding | None], ...] = (
    overflow,
    input_out_of_range,
    unscaled_input,
    untrained,
    rising_loss,
    large_weights,
    variances_at_limits,
    dead_units,
    saturated_units,
    stiff_codes,
    copied_units,
    poor_reconstruction,
    overfitting,
    useless_layer,
)


def _severity(share: float) -> str:
    return PROBLEM if share >= limits.MANY_UNITS else REMARK


def _idle(figures: LayerFigures) -> float:
    return (figures.dead_units or 0.0) + (figures.saturated_units or 0.0)


def _cause(figures: LayerFigures) -> str | None:
    """What to mend first, where another finding explains this one."""
    if untrained(figures) is not None:
        return "Train it first"
    if _idle(figures) >= limits.MANY_UNITS:
        return "Mend its idle units first"
    return "Mend its copied units first" if (figures.copied_units or 0.0) >= limits.MANY_UNITS else None


def _began_large(figures: LayerFigures) -> str | None:
    change = figures.weight_change
    if figures.kind != "rbm" or figures.weight_rms < limits.LARGE_START or change is None or change >= limits.INITIAL:
        return None
    return "Begin with smaller weights (--weight-scale): these are mostly the initial ones"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _lower_rate(figures: LayerFigures) -> str:
    rate = figures.learning_rate
    return "Lower --learning-rate" if rate is None else f"Lower --learning-rate (it was {rate:g}; try {rate / 10:g})"
