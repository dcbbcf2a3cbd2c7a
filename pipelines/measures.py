"""How numbers of a comparison are called and printed: the test error of a task, counts, seconds and p-values."""

import math
from dataclasses import dataclass

from pretrain.exceptions import DataError


@dataclass(frozen=True)
class Measure:
    """The test error of a task.

    Attributes
    ----------
    name, axis : str
        In a sentence, and beside an axis or above a column, with its unit.
    unit, difference_unit : str
        What follows a level and a difference of two levels.
    form : str
        Format of a level.
    bounds : tuple of float
        The lowest and the highest level that there can be.
    """

    name: str
    axis: str
    unit: str
    difference_unit: str
    form: str
    bounds: tuple[float, float]

    def level(self, value: float) -> str:
        """An error without its unit."""
        return format(value, self.form)

    def signed(self, value: float) -> str:
        """A difference with its sign, without its unit."""
        return format(value, "+" + self.form).replace("-", "−", 1)


MEASURES = {
    "classification": Measure("test error", "test error (%)", " %", " points", ".2f", (0.0, 100.0)),
    "regression": Measure(
        "test root mean squared error",
        "test root mean squared error (units of the target)",
        " (units of the target)",
        " units of the target in root mean squared error",
        ".4g",
        (0.0, math.inf),
    ),
}


def measure_of(task: str) -> Measure:
    """How to print the test error of a task: "classification" or "regression"."""
    if task not in MEASURES:
        raise DataError(f"The task of a comparison must be one of {', '.join(MEASURES)}; got {task!r}.")
    return MEASURES[task]


def format_budget(labels: int | str, n_labels: int) -> str:
    """A label budget for a heading: "100" or "all 60,000"."""
    return f"all {n_labels:,}" if labels == "all" else f"{n_labels:,}"


def format_p(p_value: float) -> str:
    """A p-value with its relation sign: "p = 0.012" or "p < 0.001"."""
    if p_value < 0.001:
        return "p < 0.001"
    return f"p = {p_value:.3f}" if p_value < 0.1 else f"p = {p_value:.2f}"


def format_seconds(seconds: float) -> str:
    """Seconds with a resolution that fits their size."""
    if seconds == 0:
        return "0"
    return f"{seconds:.2f}" if seconds < 10 else f"{seconds:,.1f}" if seconds < 100 else f"{seconds:,.0f}"


def format_count(count: float) -> str:
    """A mean count: whole below a million, then three digits and a power of ten."""
    if count < 1e6:
        return f"{count:,.0f}"
    digits, _, power = f"{count:.2e}".partition("e")
    return f"{digits}e{int(power)}"


def format_seeds(n_seeds: int) -> str:
    """ "1 seed" or "5 seeds"."""
    return f"{n_seeds} seed" if n_seeds == 1 else f"{n_seeds} seeds"
