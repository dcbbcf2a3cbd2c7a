"""The summary of a comparison as tables of text: the errors, and what they cost."""

import math
from collections.abc import Sequence

from pipelines.measures import Measure, format_budget, format_count, format_p, format_seconds, measure_of
from pipelines.statistics import CONFIDENCE, SummaryRow

NOTHING = "—"


def format_table(rows: Sequence[SummaryRow], *, task: str = "classification") -> list[list[str]]:
    """The errors: the column heads, then one line of cells a row; "—" where there is nothing to say."""
    measure = measure_of(task)
    head = ["labels", "arm", f"{measure.axis} ± std", f"{100 * CONFIDENCE:.0f} % interval", "seeds"]
    lines = [[*head, "vs best from scratch", "seconds (pretraining)"]]
    for row in rows:
        lines.append(
            [
                format_budget(row.labels, row.n_labels),
                row.arm,
                format_level(row, measure),
                _interval(row, measure),
                str(row.n_seeds),
                _against(row, measure),
                f"{format_seconds(row.seconds)} ({format_seconds(row.pretrain_seconds)})",
            ]
        )
    return lines


def format_costs(rows: Sequence[SummaryRow]) -> list[list[str]]:
    """What the errors cost: the column heads, then one line of cells a row, means over the seeds."""
    counts = ("epochs", "steps", "multiply_adds")
    heads = [f"{name.replace('_', '-')} (pretraining)" for name in (*counts, "seconds")]
    lines = [["labels", "arm", "parameters", *heads]]
    for row in rows:
        counted = [_with_part(getattr(row, name), getattr(row, f"pretrain_{name}")) for name in counts]
        seconds = f"{format_seconds(row.seconds)} ({format_seconds(row.pretrain_seconds)})"
        budget = format_budget(row.labels, row.n_labels)
        lines.append([budget, row.arm, f"{row.n_parameters:,}", *counted, seconds])
    return lines


def format_level(row: SummaryRow, measure: Measure) -> str:
    """A mean error with its standard deviation, where there is one."""
    spread = "" if math.isnan(row.std) else f" ± {measure.level(row.std)}"
    return measure.level(row.mean) + spread


def _interval(row: SummaryRow, measure: Measure) -> str:
    if math.isnan(row.half_width):
        return NOTHING
    # The t interval of a few seeds may go beyond errors that there can be; cut, it covers the mean as often.
    low, high = max(row.mean - row.half_width, measure.bounds[0]), min(row.mean + row.half_width, measure.bounds[1])
    return f"{measure.level(low)} to {measure.level(high)}"


def _with_part(whole: float | None, part: float | None) -> str:
    if whole is None or part is None:  # cells of an earlier version
        return NOTHING
    return f"{format_count(whole)} ({format_count(part)})"


def _against(row: SummaryRow, measure: Measure) -> str:
    if row.reference == row.arm:
        return "best from scratch"
    if row.difference is None:
        return NOTHING
    text = measure.signed(row.difference)
    if row.difference_half_width is not None:
        text += f" ± {measure.level(row.difference_half_width)}"
    return text if row.p_holm is None else f"{text}, {format_p(row.p_holm)}"
