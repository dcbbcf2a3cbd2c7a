"""The tests behind the verdicts of studies, against SciPy and by hand."""

import numpy as np
import pytest
from scipy import stats

from pipelines.studies.evidence import above, below, lower, not_worse, p_below
from pipelines.studies.results import Results
from pretrain.exceptions import DataError

A, B = np.array([1.0, 2.0, 4.0, 3.0]), np.array([2.0, 2.5, 4.5, 5.0])


def test_lower_is_the_paired_one_sided_t_test():
    part = lower("loss", ("a", "b"), (A, B))
    assert part.numbers["p_value"] == pytest.approx(stats.ttest_rel(A, B, alternative="less").pvalue)
    assert part.numbers["mean"] == pytest.approx(-1.0)
    assert part.holds
    assert not lower("loss", ("b", "a"), (B, A)).holds
    assert "2.50 ± 1.29 against 3.50 ± 1.47; difference -1.00 ± 1.13 (95 % interval)" in part.evidence


def test_not_worse_tests_against_the_margin():
    part = not_worse("loss", ("b", "a"), (B, A), 2.5)
    assert part.numbers["p_value"] == pytest.approx(stats.ttest_rel(B - 2.5, A, alternative="less").pvalue)
    assert part.holds
    assert not not_worse("loss", ("b", "a"), (B, A), 1.2).holds


def test_above_and_below_a_number():
    values = np.array([0.6, 0.7, 0.65])
    assert above("area", values, 0.5).numbers["p_value"] == pytest.approx(
        stats.ttest_1samp(values, 0.5, alternative="greater").pvalue
    )
    assert above("area", values, 0.5).holds
    assert not below("area", values, 0.5).holds
    assert below("area", values, 0.8).holds


def test_differences_without_a_spread_are_tested_by_their_sign():
    assert p_below(np.full(5, -0.3), 1.0) == 0.5**5
    assert p_below(np.full(4, -0.3), 1.0) == 0.5**4  # above 0.05: four seeds are too few
    assert p_below(np.full(5, 0.3), 1.0) == 1.0
    assert p_below(np.full(5, -1e-12), 1.0) == 1.0  # dust


def test_what_is_equal_in_too_few_seeds_says_so():
    for n, told in ((2, True), (4, True), (5, False)):
        part = lower("loss", ("a", "b"), (np.full(n, 1.0), np.full(n, 2.0)))
        assert part.holds is not told
        assert ("too few for a sign test at 0.05: give --seeds 5" in part.evidence) is told
    assert "too few" not in lower("loss", ("a", "b"), (np.full(4, 2.0), np.full(4, 1.0))).evidence
    assert "too few" not in lower("loss", ("a", "b"), (A, A[::-1])).evidence


def test_one_seed_supports_nothing():
    part = lower("loss", ("a", "b"), (A[:1], B[:1]))
    assert not part.holds
    assert "no test with 1 seed" in part.evidence


RECORDS = [{"trial": t, "seed": s, "loss": 10 * s + k} for s in (1, 0) for k, t in enumerate("ab")]


def test_results_are_paired_by_the_seed():
    results = Results(RECORDS)
    assert results.seeds == [0, 1]
    late = [{**record, "seed": 10 - 7 * record["seed"]} for record in RECORDS]
    assert Results(late).seeds == [3, 10]
    np.testing.assert_array_equal(Results(late).of("b", "loss"), [11, 1])
    np.testing.assert_array_equal(results.of("b", "loss"), [1, 11])
    assert results.mean("a", "loss") == 5
    with pytest.raises(DataError, match="no trial 'c'; it has a, b"):
        results.of("c", "loss")


@pytest.mark.parametrize("records", [[], RECORDS[:3], [*RECORDS, RECORDS[0]]])
def test_results_that_cannot_be_paired(records):
    with pytest.raises(DataError, match="one record of each trial for each seed"):
        Results(records)


def test_the_choice_is_made_in_each_seed_by_the_other_figure():
    by = {"a": [1.0, 3.0], "b": [2.0, 2.0]}
    records = [
        {"trial": t, "seed": s, "validation_loss": by[t][s], "test_error": 10 * s + (t == "b")}
        for s in (0, 1)
        for t in "ab"
    ]
    np.testing.assert_array_equal(Results(records).chosen("ab", "validation_loss", "test_error"), [0, 11])
