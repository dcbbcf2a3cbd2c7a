"""Tests of the parts of a claim, on figures that are paired by the seed.

Tests are one-sided, at the level 0.05, because every part of a claim names a direction. With d the differences over n
seeds, t = mean(d) sqrt(n) / std(d) has n - 1 degrees of freedom. Where the differences are the same in every seed
there is no spread to divide by, and the sign test is taken instead: p = 2^-n.
"""

import math

import numpy as np
from scipy import stats

from pipelines.measures import format_p
from pipelines.statistics import ALPHA, RELATIVE_TOLERANCE, half_width
from pipelines.studies.study import Part

FEWEST_FOR_SIGNS = math.floor(-math.log2(ALPHA)) + 1  # seeds with which p = 2^-n is below the level


def lower(what: str, names: tuple[str, str], values: tuple[np.ndarray, np.ndarray], form: str = ".2f") -> Part:
    """Whether a figure is lower in the first of two groups than in the second.

    Parameters
    ----------
    what : str
        The figure, with its unit.
    names : tuple of str
        Of the two groups.
    values : tuple of np.ndarray of shape (n_seeds,)
        Paired by the seed.
    form : str
        Format of the figure.
    """
    differences = values[0] - values[1]
    p_value = p_below(differences, float(np.abs(values).max()))
    return Part(
        f"{what}: lower for {names[0]} than for {names[1]}",
        p_value < ALPHA,
        f"{level(values[0], form)} against {level(values[1], form)}; difference {_interval(differences, form)}, "
        f"{_test(p_value, len(differences))}",
        _numbers(differences, p_value),
    )


def not_worse(
    what: str, names: tuple[str, str], values: tuple[np.ndarray, np.ndarray], margin: float, form: str = ".2f"
) -> Part:
    """Whether a figure is higher in the first of two groups by less than a margin: a test of non-inferiority."""
    differences = values[0] - values[1]
    p_value = p_below(differences - margin, max(float(np.abs(values).max()), margin))
    return Part(
        f"{what}: for {names[0]} not {margin:.2g} or more above {names[1]}",
        p_value < ALPHA,
        f"{level(values[0], form)} against {level(values[1], form)}; difference {_interval(differences, form)}, "
        f"below the margin with {_test(p_value, len(differences))}",
        {**_numbers(differences, p_value), "margin": margin},
    )


def above(what: str, values: np.ndarray, bound: float, form: str = ".2f") -> Part:
    """Whether a figure is above a number on average: `values` (n_seeds,)."""
    return _beyond(f"{what} is above {bound:g}", values, bound - values, bound, form)


def below(what: str, values: np.ndarray, bound: float, form: str = ".2f") -> Part:
    """Whether a figure is below a number on average: `values` (n_seeds,)."""
    return _beyond(f"{what} is below {bound:g}", values, values - bound, bound, form)


def p_below(differences: np.ndarray, size: float) -> float:
    """One-sided p of a mean below zero; 1 for a single seed, which supports no test.

    `size` is that of the figures whose differences they are: what is smaller than its rounding is none.
    """
    n, dust = len(differences), RELATIVE_TOLERANCE * size
    if n < 2:
        return 1.0
    if np.ptp(differences) <= dust:
        return 0.5**n if differences.mean() < -dust else 1.0
    return float(stats.ttest_1samp(differences, 0.0, alternative="less").pvalue)


def level(values: np.ndarray, form: str = ".2f") -> str:
    """Mean ± standard deviation over the seeds."""
    spread = f" ± {values.std(ddof=1):{form}}" if len(values) > 1 else ""
    return f"{values.mean():{form}}{spread}"


def _beyond(statement: str, values: np.ndarray, differences: np.ndarray, bound: float, form: str) -> Part:
    """Whether `differences` of a figure from its bound are below zero on average."""
    p_value = p_below(differences, max(float(np.abs(values).max()), abs(bound)))
    evidence = f"{_interval(values, form)}, {_test(p_value, len(values))}"
    return Part(statement, p_value < ALPHA, evidence, _numbers(values, p_value))


def _interval(values: np.ndarray, form: str) -> str:
    if len(values) < 2:
        return f"{values.mean():{form}}"
    return f"{values.mean():{form}} ± {half_width(values):{form}} (95 % interval)"


def _test(p_value: float, n: int) -> str:
    if n < 2:
        return "no test with 1 seed"
    equal_in_each = p_value == 0.5**n >= ALPHA
    more = f", too few for a sign test at {ALPHA:g}: give --seeds {FEWEST_FOR_SIGNS}" if equal_in_each else ""
    return f"{format_p(p_value)}, {n} seeds{more}"


def _numbers(values: np.ndarray, p_value: float) -> dict[str, float]:
    return {"mean": float(values.mean()), "p_value": p_value, "n_seeds": len(values)}
