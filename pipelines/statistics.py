"""What the records of a comparison say: means, spreads, paired tests, and what it cost.

The spread is over seeds (initial weights, batches, drawn labels) on one test set. It does not cover the choice of
the test rows.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from pretrain.exceptions import DataError

CONFIDENCE, ALPHA = 0.95, 0.05
COUNTS = tuple(f"{part}{name}" for part in ("", "pretrain_") for name in ("epochs", "steps", "multiply_adds"))
# Two differences closer than this share of the errors are equal: subtracting floats leaves such remainders.
RELATIVE_TOLERANCE = 1e-9


@dataclass(frozen=True)
class SummaryRow:
    """One arm at one label budget.

    Attributes
    ----------
    labels, n_labels : int or "all", int
        The budget as it was asked for, and as a number.
    arm, pretrained : str, bool
    n_seeds : int
        Finished seeds.
    mean, std, half_width : float
        Of the test error over the seeds, in % (in the target's units for a regression): mean, standard deviation
        (ddof 1) and half of the 95 % t interval of the mean; the last two are nan for one seed.
    reference : str or None
        The best from-scratch arm at this budget: the lowest mean test error, the first of equals. None without
        from-scratch arms.
    n_pairs : int
        Seeds that this arm and the reference have in common; 0 for the reference itself.
    difference, difference_half_width : float or None
        Mean over those seeds of this arm's error minus the reference's (negative: this arm is better), and half
        of its 95 % t interval, not corrected for the number of arms (None for fewer than two seeds).
    p_value, p_holm : float or None
        Paired t-test over those seeds, two-sided, and the same corrected by Holm's method for all arms that are
        tested at this budget. None for fewer than two seeds, and where the difference is the same in every seed
        but not zero: the t statistic divides by a spread of zero. Differences that are all zero have p = 1.
    seconds, pretrain_seconds : float
        Mean wall time of a cell, pretraining included, and of its pretraining.
    n_parameters : int
    epochs, steps, multiply_adds, pretrain_epochs, pretrain_steps, pretrain_multiply_adds : float or None
        Means of what `pipelines.counting` counts, pretraining included, and of pretraining; None where a cell was
        not counted.
    """

    labels: int | str
    n_labels: int
    arm: str
    pretrained: bool
    n_seeds: int
    mean: float
    std: float
    half_width: float
    reference: str | None
    n_pairs: int
    difference: float | None
    difference_half_width: float | None
    p_value: float | None
    p_holm: float | None
    seconds: float
    pretrain_seconds: float
    n_parameters: int
    epochs: float | None = None
    steps: float | None = None
    multiply_adds: float | None = None
    pretrain_epochs: float | None = None
    pretrain_steps: float | None = None
    pretrain_multiply_adds: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The row as a flat dict ready for JSON: nan, which JSON does not know, becomes None."""
        return {
            key: None if isinstance(value, float) and math.isnan(value) else value
            for key, value in asdict(self).items()
        }


def summarise(records: Sequence[Mapping[str, Any]], pretrained: Mapping[str, bool]) -> list[SummaryRow]:
    """Summarise the finished cells of a comparison, and test every arm against the best from-scratch arm.

    The best from-scratch arm is picked by its test errors. That favours the from-scratch side: the lowest of
    several noisy means is too low on average. Cells that are missing are left out, not guessed.

    Parameters
    ----------
    records : sequence of mapping
        One a cell: `arm`, `labels`, `n_labels`, `seed`, `test_error`, `seconds`, `pretrain_seconds`,
        `n_parameters`.
    pretrained : mapping of str to bool
        Every arm in the order to show, and whether it is pretrained.

    Returns
    -------
    list of SummaryRow
        By label budget, smallest first, then by arm.

    Raises
    ------
    DataError
        An arm that `pretrained` lacks, two records of one cell, or a test error that is not finite.
    """
    cells: dict[int | str, dict[str, dict[int, Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(dict))
    for record in records:
        _check_record(record, pretrained, cells[record["labels"]][record["arm"]])
        cells[record["labels"]][record["arm"]][record["seed"]] = record
    n_labels = {record["labels"]: int(record["n_labels"]) for record in records}
    budgets = sorted(cells, key=lambda labels: (labels == "all", n_labels[labels]))
    return [row for labels in budgets for row in _summarise_budget(cells[labels], pretrained)]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: p_(i) becomes max over j <= i of (m - j + 1) p_(j), at most 1, i from 1 to m."""
    corrected, largest = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, (len(p_values) - rank) * p_values[index])
        corrected[index] = min(1.0, largest)
    return corrected


def half_width(values: np.ndarray) -> float:
    """Half of the 95 % t interval of the mean of `values` (n,); nan for fewer than two."""
    n = len(values)
    if n < 2:
        return math.nan
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * np.std(values, ddof=1) / math.sqrt(n))


def _check_record(
    record: Mapping[str, Any], pretrained: Mapping[str, bool], seen: Mapping[int, Mapping[str, Any]]
) -> None:
    cell = f"arm {record['arm']!r}, labels {record['labels']}, seed {record['seed']}"
    if record["arm"] not in pretrained:
        raise DataError(f"The record of {cell} is of no known arm; known are: {', '.join(pretrained)}.")
    if record["seed"] in seen:
        raise DataError(f"There are two records of {cell}; expected one a cell.")
    if not math.isfinite(record["test_error"]):
        raise DataError(f"The test_error of {cell} is {record['test_error']}; expected a finite number.")


def _summarise_budget(
    arms: Mapping[str, Mapping[int, Mapping[str, Any]]], pretrained: Mapping[str, bool]
) -> list[SummaryRow]:
    """Rows of one budget; `arms` maps arm and seed to the record."""
    names = [arm for arm in pretrained if arm in arms]
    errors = {arm: {seed: float(cell["test_error"]) for seed, cell in arms[arm].items()} for arm in names}
    means = {arm: float(np.mean(list(errors[arm].values()))) for arm in names}
    reference = min((arm for arm in names if not pretrained[arm]), key=means.__getitem__, default=None)
    comparisons = {
        arm: _compare(errors[arm], errors[reference]) for arm in names if reference is not None and arm != reference
    }
    tested = [arm for arm, comparison in comparisons.items() if comparison["p_value"] is not None]
    corrected = dict(zip(tested, holm([comparisons[arm]["p_value"] for arm in tested]), strict=True))
    untested = dict.fromkeys(("difference", "difference_half_width", "p_value"))
    return [
        SummaryRow(
            arm=arm,
            pretrained=pretrained[arm],
            n_seeds=len(errors[arm]),
            mean=means[arm],
            std=float(np.std(values, ddof=1)) if len(values) > 1 else math.nan,
            half_width=half_width(values),
            reference=reference,
            p_holm=corrected.get(arm),
            **comparisons.get(arm, {"n_pairs": 0, **untested}),
            **_costs(list(arms[arm].values())),
        )
        for arm in names
        for values in [np.array(list(errors[arm].values()))]
    ]


def _compare(errors: Mapping[int, float], reference: Mapping[int, float]) -> dict[str, Any]:
    """Paired comparison of two arms, seed to test error, over their common seeds."""
    seeds = [seed for seed in errors if seed in reference]
    pairs = np.array([(errors[seed], reference[seed]) for seed in seeds]).reshape(-1, 2)  # (n_pairs, 2)
    differences = pairs[:, 0] - pairs[:, 1]  # (n_pairs,)
    several = len(seeds) >= 2
    p_value = None
    if several and np.ptp(differences) > RELATIVE_TOLERANCE * np.abs(pairs).max():
        p_value = float(stats.ttest_rel(pairs[:, 0], pairs[:, 1]).pvalue)
    elif several and np.abs(differences).max() <= RELATIVE_TOLERANCE * np.abs(pairs).max():
        p_value = 1.0
    return {
        "n_pairs": len(seeds),
        "difference": float(differences.mean()) if seeds else None,
        "difference_half_width": half_width(differences) if several else None,
        "p_value": p_value,
    }


def _costs(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    counted = [name for name in COUNTS if all(name in cell for cell in cells)]
    return {
        "labels": cells[0]["labels"],
        "n_labels": int(cells[0]["n_labels"]),
        "seconds": float(np.mean([cell["seconds"] for cell in cells])),
        "pretrain_seconds": float(np.mean([cell["pretrain_seconds"] for cell in cells])),
        "n_parameters": int(cells[0]["n_parameters"]),
        **{name: float(np.mean([cell[name] for cell in cells])) for name in counted},
    }
