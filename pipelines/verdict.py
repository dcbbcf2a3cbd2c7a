"""What the summary of a comparison says in words: one sentence a label budget."""

from collections.abc import Sequence

from pipelines.measures import Measure, format_budget, format_p, format_seeds, measure_of
from pipelines.statistics import ALPHA, SummaryRow
from pipelines.summary_tables import format_level


def verdict(rows: Sequence[SummaryRow], *, task: str = "classification") -> list[str]:
    """One sentence a label budget: what the data say of the best pretrained against the best from-scratch arm.

    The best arms are those with the lowest mean test error. A difference counts as shown where the Holm-corrected
    p is below 0.05.
    """
    budgets = dict.fromkeys(row.labels for row in rows)
    return [_sentence([row for row in rows if row.labels == labels], measure_of(task)) for labels in budgets]


def _sentence(rows: Sequence[SummaryRow], measure: Measure) -> str:
    """The verdict on the rows of one budget."""
    at = f"At {format_budget(rows[0].labels, rows[0].n_labels)} labels"
    pretrained = [row for row in rows if row.pretrained]
    scratch = [row for row in rows if not row.pretrained]
    if not pretrained or not scratch:
        kind, best = "pretrained" if pretrained else "from-scratch", min(rows, key=lambda row: row.mean)
        return (
            f"{at} only {kind} arms were run, so nothing follows about pretraining; {best.arm} has the lowest mean "
            f"{measure.name}: {format_level(best, measure)}{measure.unit} ({format_seeds(best.n_seeds)})."
        )
    best = min(pretrained, key=lambda row: row.mean)
    this = f"the best pretrained arm ({best.arm})" if len(pretrained) > 1 else best.arm
    other = f"the best from-scratch arm ({best.reference})" if len(scratch) > 1 else f"{best.reference}"
    return f"{at} {_comparison_clause(best, this, other, measure)}."


def _comparison_clause(row: SummaryRow, this: str, other: str, measure: Measure) -> str:
    difference, n_seeds = row.difference, format_seeds(row.n_pairs)
    if difference is None:
        return f"{this} and {other} have no finished seed in common, so nothing can be said of their difference"
    size = f"{measure.level(abs(difference))}{measure.difference_unit}"
    word = "better" if difference < 0 else "worse"
    if row.n_pairs == 1:
        outcome = f"{word} than {other} by {size}" if difference else f"as good as {other}"
        return f"{this} was {outcome} in 1 seed, which supports no statement about the difference beyond that run"
    if row.p_holm is None:
        return f"{this} is {word} than {other} by {size}, the same in each of {n_seeds}: no t-test without a spread"
    evidence = f"uncorrected 95 % interval, {n_seeds}, paired t-test, Holm-corrected {format_p(row.p_holm)}"
    half_width = f"± {measure.level(row.difference_half_width or 0.0)}{measure.difference_unit}"
    if row.p_holm < ALPHA:
        return f"{this} is {word} than {other} by {measure.level(abs(difference))} {half_width} ({evidence})"
    return (
        f"no difference between {this} and {other} is shown ({measure.signed(difference)} {half_width}, {evidence})"
    )
