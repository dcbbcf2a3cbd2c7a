"""What a comparison's records say: against scipy, against hand values, and in words."""

import json
import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from pipelines.statistics import SummaryRow, holm, summarise
from pipelines.summary_tables import format_costs, format_table
from pipelines.verdict import verdict
from pretrain.exceptions import DataError

PRETRAINED = {"dbn": True, "sdae": True, "relu": False, "relu-dropout": False}


def cell(arm: str, seed: int, error: float, labels: int | str = 100, n_labels: int = 100) -> dict[str, Any]:
    return {
        "arm": arm,
        "labels": labels,
        "n_labels": n_labels,
        "seed": seed,
        "test_error": error,
        "pretrain_seconds": 1.0 + seed if PRETRAINED.get(arm) else 0.0,
        "seconds": 5.0 + seed,
        "n_parameters": 1234,
    }


def cells(errors: dict[str, list[float]], labels: int | str = 100, n_labels: int = 100) -> list[dict[str, Any]]:
    return [cell(arm, seed, e, labels, n_labels) for arm, es in errors.items() for seed, e in enumerate(es)]


def rows_of(errors: dict[str, list[float]], **budget: Any) -> dict[str, SummaryRow]:
    return {row.arm: row for row in summarise(cells(errors, **budget), PRETRAINED)}


@pytest.fixture(params=[1, 7])
def random_errors(request: pytest.FixtureRequest) -> dict[str, list[float]]:
    rng = np.random.default_rng(request.param)
    return {arm: list(10 + place + rng.normal(size=5)) for place, arm in enumerate(PRETRAINED)}


def test_means_spreads_and_intervals_are_those_of_scipy(random_errors: dict[str, list[float]]) -> None:
    for arm, row in rows_of(random_errors).items():
        errors = np.array(random_errors[arm])
        low, high = stats.t.interval(0.95, 4, loc=errors.mean(), scale=stats.sem(errors))
        assert (row.mean, row.std) == pytest.approx((errors.mean(), stats.tstd(errors)))
        assert row.half_width == pytest.approx((high - low) / 2)
        assert (row.n_seeds, row.n_labels, row.n_parameters, row.pretrained) == (5, 100, 1234, PRETRAINED[arm])
        assert (row.seconds, row.pretrain_seconds) == (7.0, 3.0 if PRETRAINED[arm] else 0.0)


def test_differences_and_p_values_are_those_of_scipy(random_errors: dict[str, list[float]]) -> None:
    rows = rows_of(random_errors)
    best = min(("relu", "relu-dropout"), key=lambda arm: np.mean(random_errors[arm]))
    others = [arm for arm in PRETRAINED if arm != best]
    for arm in others:
        expected = stats.ttest_rel(random_errors[arm], random_errors[best])
        interval = expected.confidence_interval(0.95)
        assert rows[arm].p_value == pytest.approx(expected.pvalue)
        assert rows[arm].difference == pytest.approx((interval.low + interval.high) / 2)
        assert rows[arm].difference_half_width == pytest.approx((interval.high - interval.low) / 2)
    corrected = [rows[arm].p_holm for arm in others]
    assert corrected == pytest.approx(holm([rows[arm].p_value or 0.0 for arm in others]))
    reference = rows[best]
    assert {row.reference for row in rows.values()} == {best}
    assert (reference.difference, reference.p_value, reference.p_holm, reference.n_pairs) == (None, None, None, 0)


def test_holm_against_hand_values() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1 is 0.04, 0.06, 0.06, 0.04; never falling: 0.04, 0.06, 0.06, 0.06.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9, 0.001]) == pytest.approx([1.0, 1.0, 0.003])
    assert holm([0.2]) == pytest.approx([0.2])
    assert holm([]) == []


def test_budgets_come_by_size_and_arms_in_the_given_order() -> None:
    records = [cell("relu", 0, 1.0, "all", 50), cell("dbn", 0, 2.0, "all", 50), cell("relu", 0, 3.0, 50, 50)]
    records += [cell("relu", 0, 4.0, 7, 7)]
    found = [(row.labels, row.arm) for row in summarise(records, PRETRAINED)]
    assert found == [(7, "relu"), (50, "relu"), ("all", "dbn"), ("all", "relu")]


def test_only_common_seeds_are_paired() -> None:
    records = [cell("dbn", 1, 2.0), cell("dbn", 2, 3.0), cell("dbn", 3, 50.0)]
    records += [cell("relu", 0, 90.0), cell("relu", 2, 5.0), cell("relu", 1, 3.0)]
    row = summarise(records, PRETRAINED)[0]
    assert (row.n_seeds, row.n_pairs) == (3, 2)
    assert row.difference == pytest.approx(-1.5)
    assert row.p_value == pytest.approx(stats.ttest_rel([2.0, 3.0], [3.0, 5.0]).pvalue)


def test_one_seed_has_no_spread_and_no_test() -> None:
    row = rows_of({"dbn": [4.0], "relu": [5.0]})["dbn"]
    assert math.isnan(row.std)
    assert math.isnan(row.half_width)
    assert (row.difference, row.difference_half_width, row.p_value, row.p_holm) == (-1.0, None, None, None)
    assert row.to_dict()["std"] is None
    assert json.loads(json.dumps(row.to_dict(), allow_nan=False))["mean"] == 4.0


@pytest.mark.parametrize(("shift", "p_value"), [(0.0, 1.0), (0.7, None), (-0.7, None)])
def test_differences_without_spread(shift: float, p_value: float | None) -> None:
    # 0.7 leaves remainders in floating point, which must not pass for a spread.
    reference = [1.1, 10.3, 100.7]
    row = rows_of({"dbn": [error + shift for error in reference], "relu": reference})["dbn"]
    assert row.difference == pytest.approx(shift)
    assert (row.p_value, row.p_holm) == (p_value, p_value)


def test_untestable_arms_do_not_count_in_holm() -> None:
    rows = rows_of({"dbn": [9.0, 9.5, 9.1], "sdae": [9.0, 10.0, 11.0], "relu": [10.0, 11.0, 12.0]})
    assert rows["sdae"].p_holm is None
    assert rows["dbn"].p_holm == rows["dbn"].p_value


def test_without_from_scratch_arms_there_is_no_reference() -> None:
    row = rows_of({"dbn": [4.0, 5.0], "sdae": [5.0, 6.0]})["dbn"]
    assert (row.reference, row.difference, row.p_value, row.n_pairs) == (None, None, None, 0)


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([cell("gan", 0, 1.0)], "arm 'gan', labels 100, seed 0.*no known arm.*dbn, sdae, relu"),
        ([cell("dbn", 3, 1.0), cell("dbn", 3, 1.0)], "two records of arm 'dbn', labels 100, seed 3"),
        ([cell("dbn", 0, math.nan)], "test_error of arm 'dbn'.* is nan"),
    ],
)
def test_unusable_records_are_named(records: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        summarise(records, PRETRAINED)


def sentence(errors: dict[str, list[float]], task: str = "classification", **budget: Any) -> str:
    [found] = verdict(summarise(cells(errors, **budget), PRETRAINED), task=task)
    return found


def test_verdict_better() -> None:
    errors = {"dbn": [10.0, 11.1, 11.9], "relu": [14.0, 15.0, 16.0]}  # differences -4, -3.9, -4.1
    assert sentence(errors) == (
        "At 100 labels dbn is better than relu by 4.00 ± 0.25 points "
        "(uncorrected 95 % interval, 3 seeds, paired t-test, Holm-corrected p < 0.001)."
    )


def test_verdict_names_the_best_of_several() -> None:
    errors = {"dbn": [20.0, 21.0], "sdae": [8.0, 9.1], "relu": [14.0, 15.0], "relu-dropout": [13.0, 14.05]}
    assert sentence(errors).startswith(
        "At 100 labels the best pretrained arm (sdae) is better than the best from-scratch arm (relu-dropout) by"
    )


def test_verdict_worse() -> None:
    errors = {"dbn": [14.0, 15.0, 16.0], "relu": [10.0, 11.1, 11.9]}
    assert sentence(errors, labels="all", n_labels=60_000).startswith(
        "At all 60,000 labels dbn is worse than relu by 4.00 ± 0.25 points"
    )


def test_verdict_undecided() -> None:
    errors = {"dbn": [10.0, 12.0, 11.0], "relu": [11.0, 10.0, 12.5]}  # differences -1, 2, -1.5
    assert sentence(errors) == (
        "At 100 labels no difference between dbn and relu is shown "
        "(−0.17 ± 4.70 points, uncorrected 95 % interval, 3 seeds, paired t-test, Holm-corrected p = 0.89)."
    )


def test_verdict_goes_by_the_corrected_p() -> None:
    rng = np.random.default_rng(0)
    relu = list(10 + rng.normal(size=5))
    dbn = [error - d for error, d in zip(relu, (0.2, 1.6, 0.5, 1.4, 0.6), strict=True)]
    errors = {"dbn": dbn, "relu": relu, "sdae": [20.0, 9, 8, 9, 9], "relu-dropout": [30.0, 11, 11, 11, 11]}
    row = rows_of(errors)["dbn"]
    assert (row.p_value or 1) < 0.05 < (row.p_holm or 0)
    assert "no difference between" in sentence(errors)


def test_verdict_of_one_seed_supports_nothing() -> None:
    text = sentence({"dbn": [10.0], "relu": [12.5]})
    assert text == (
        "At 100 labels dbn was better than relu by 2.50 points in 1 seed, which supports no statement about the "
        "difference beyond that run."
    )
    assert "as good as relu in 1 seed" in sentence({"dbn": [10.0], "relu": [10.0]})


def test_verdict_without_spread_or_common_seed() -> None:
    constant = sentence({"dbn": [10.0, 11.0], "relu": [12.0, 13.0]})
    assert "is better than relu by 2.00 points, the same in each of 2 seeds: no t-test without a spread." in constant
    [apart] = verdict(summarise([cell("dbn", 0, 1.0), cell("relu", 1, 2.0)], PRETRAINED))
    assert "dbn and relu have no finished seed in common" in apart


@pytest.mark.parametrize(("arm", "kind"), [("relu", "from-scratch"), ("dbn", "pretrained")])
def test_verdict_of_one_side_alone(arm: str, kind: str) -> None:
    assert sentence({arm: [10.0, 12.0]}) == (
        f"At 100 labels only {kind} arms were run, so nothing follows about pretraining; {arm} has the lowest mean "
        "test error: 11.00 ± 1.41 % (2 seeds)."
    )


def test_verdict_and_table_of_a_regression_have_its_units() -> None:
    errors = {"dbn": [0.010, 0.0111, 0.0119], "relu": [0.014, 0.015, 0.016]}
    text = sentence(errors, task="regression")
    assert "by 0.004 ± 0.0002484 units of the target in root mean squared error" in text
    assert "point" not in text
    table = format_table(summarise(cells(errors), PRETRAINED), task="regression")
    assert "root mean squared error (units of the target)" in table[0][2]
    assert not any("%" in text for line in table[1:] for text in line)
    assert "(%)" not in " ".join(table[0])
    with pytest.raises(DataError, match="classification, regression; got 'ranking'"):
        verdict([], task="ranking") + format_table([], task="ranking")


def test_table_has_no_intervals_of_impossible_errors() -> None:
    errors = {"dbn": [0.0, 1.0], "relu": [99.0, 100.0], "residual": [0.0, 100.0], "sdae": [40.0, 42.0]}
    pretrained = {arm: arm in ("dbn", "sdae") for arm in errors}
    intervals = {line[1]: line[3] for line in format_table(summarise(cells(errors), pretrained))}
    assert intervals["dbn"] == "0.00 to 6.85"  # 0.5 ± 12.706 * 0.5
    assert intervals["relu"] == "93.15 to 100.00"
    assert intervals["residual"] == "0.00 to 100.00"
    assert intervals["sdae"] == "28.29 to 53.71"
    table = format_table(summarise(cells({"relu": [50.0, 150.0]}), PRETRAINED), task="regression")
    assert table[1][3] == "0 to 735.3"


def test_table_has_the_cells_of_the_rows() -> None:
    table = format_table(summarise(cells({"dbn": [10.0, 11.1, 11.9], "relu": [14.0, 15.0, 16.0]}), PRETRAINED))
    assert [len(line) for line in table] == [7, 7, 7]
    assert table[1] == [
        *("100", "dbn", "11.00 ± 0.95", "8.63 to 13.37", "3", "−4.00 ± 0.25, p < 0.001", "6.00 (2.00)"),
    ]
    assert table[2][5:] == ["best from scratch", "6.00 (0)"]
    single = format_table(summarise(cells({"dbn": [10.0], "relu": [9.0]}), PRETRAINED))
    assert (single[1][2], single[1][3], single[1][5]) == ("10.00", "—", "+1.00")
    assert format_table(summarise(cells({"dbn": [10.0]}), PRETRAINED))[1][5] == "—"


def test_costs_are_means_with_those_of_pretraining_beside_them() -> None:
    counts = {"epochs": 40, "steps": 1_000, "multiply_adds": 2e9}
    records = cells({"dbn": [1.0, 2.0]})
    for record in records:
        record.update(counts, **{f"pretrain_{name}": value / 4 for name, value in counts.items()})
    records[1]["steps"] = 1_500
    (row,) = summarise(records, PRETRAINED)
    assert (row.epochs, row.steps, row.pretrain_steps, row.multiply_adds) == (40, 1_250, 250, 2e9)
    head, line = format_costs([row])
    assert line == ["100", "dbn", "1,234", "40 (10)", "1,250 (250)", "2.00e9 (5.00e8)", "5.50 (1.50)"]
    assert len(head) == len(line)


def test_cells_of_an_earlier_version_were_not_counted() -> None:
    (row,) = summarise(cells({"dbn": [1.0]}), PRETRAINED)
    assert row.steps is None
    assert format_costs([row])[1][3:6] == ["—", "—", "—"]
