"""The rubric: outcomes to points, purely and fail-closed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grader.errors import LabError
from grader.records import CheckResult, Evidence, Outcome, Threshold
from grader.rubric import accuracy_credit, error_credit, linear_credit, total, wilson

ACCURACY = Threshold(floor=0.6, full=0.9)
ERROR = Threshold(floor=2.63, full=2.3)
values = st.floats(-1e6, 1e6)


def result(points=10.0, score=10.0, outcome=Outcome.PASSED, required=Evidence.VERIFIED, **rest) -> CheckResult:
    rest.setdefault("evidence", Evidence.VERIFIED)
    return CheckResult(id="x", description="", points=points, score=score, outcome=outcome, required=required, **rest)


@given(values, values, values)
def test_credit_is_a_share(value, floor, full):
    """Credit lies between 0 and 1 whatever the numbers."""
    assert 0.0 <= linear_credit(value, floor, full) <= 1.0


@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from([(0.2, 0.8), (0.8, 0.2)]))
def test_better_never_earns_less(first, second, ends):
    """Credit is monotonic towards the full mark, in both directions."""
    floor, full = ends
    worse, better = sorted((first, second), reverse=full < floor)
    assert linear_credit(worse, floor, full) <= linear_credit(better, floor, full)


@pytest.mark.parametrize(("value", "credit"), [(0.6, 0.0), (0.75, 0.5), (0.9, 1.0), (0.3, 0.0), (1.0, 1.0)])
def test_credit_is_linear_between_floor_and_full(value, credit):
    """Nothing at the floor, half way half, everything at the full mark."""
    assert linear_credit(value, 0.6, 0.9) == pytest.approx(credit)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_earns_nothing(value):
    """NaN and infinity earn nothing, not even where less is better."""
    assert linear_credit(value, 0.6, 0.9) == 0.0
    assert linear_credit(value, 0.9, 0.6) == 0.0


@given(st.integers(0, 5_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_it_is_about(trial):
    """The interval lies within 0..1 and contains the observed share."""
    successes, n = trial
    lo, hi = wilson(successes, n)
    assert 0.0 <= lo <= hi <= 1.0
    if n:
        assert lo <= successes / n <= hi


def test_wilson_agrees_with_the_published_formula():
    """15 of 50 at 95 %: 0.191 to 0.438."""
    assert wilson(15, 50) == pytest.approx((0.1910, 0.4375), abs=5e-4)


def test_an_interval_that_reaches_the_full_mark_gets_the_benefit_of_the_doubt():
    """26 of 30 may well be 0.9: full credit, and the credit says that doubt decided."""
    credit = accuracy_credit(26, 30, ACCURACY)
    assert (credit.fraction, credit.doubt) == (1.0, True)
    assert credit.lo < 26 / 30 < 0.9 <= credit.hi


def test_doubt_never_lifts_a_value_from_the_floor():
    """A tiny sample leaves everything possible; at or below the floor it still earns nothing."""
    assert accuracy_credit(3, 5, ACCURACY).fraction == 0.0
    assert accuracy_credit(0, 0, ACCURACY).fraction == 0.0


def test_a_large_sample_leaves_no_doubt():
    """4,000 of 5,000 is 0.8 and not 0.9: two thirds of the credit."""
    credit = accuracy_credit(4_000, 5_000, ACCURACY)
    assert credit.fraction == pytest.approx(2 / 3)
    assert not credit.doubt


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n - 1), st.just(n))))
def test_one_more_right_answer_never_costs(trial):
    """Accuracy credit is monotonic, the benefit of the doubt included."""
    correct, n = trial
    assert accuracy_credit(correct, n, ACCURACY).fraction <= accuracy_credit(correct + 1, n, ACCURACY).fraction


def test_a_threshold_the_wrong_way_round_is_the_authors_error():
    """Accuracy wants full above floor, an error the reverse."""
    with pytest.raises(LabError):
        accuracy_credit(1, 2, ERROR)
    with pytest.raises(LabError):
        error_credit([1.0], ACCURACY)


def test_a_small_error_earns_all_and_a_large_one_nothing():
    """Errors well inside the full mark earn everything, those beyond the floor nothing."""
    assert error_credit(np.full(78, 2.0), ERROR).fraction == 1.0
    assert error_credit(np.full(78, 3.0), ERROR).fraction == 0.0
    assert error_credit(np.full(78, -2.465), ERROR).fraction == pytest.approx(0.5)


def test_a_noisy_error_near_the_full_mark_gets_the_benefit_of_the_doubt():
    """Where the bootstrap's interval reaches the full mark, credit is full; regrading gives the same interval."""
    errors = np.random.default_rng(1).exponential(2.4, 78)
    errors *= 2.4 / errors.mean()
    credit = error_credit(errors, ERROR, seed=7)
    assert (credit.fraction, credit.doubt) == (1.0, True)
    assert credit == error_credit(errors, ERROR, seed=7)


@pytest.mark.parametrize("errors", [[], [math.nan] * 3, [1.0, math.inf]])
def test_missing_or_broken_errors_earn_nothing(errors):
    """No rows, or rows that are no numbers, earn nothing."""
    assert error_credit(errors, ERROR).fraction == 0.0


def test_total_adds_points_and_partial_credit():
    """Passed and partly failed checks add up; the maximum is all of them."""
    assert total([result(), result(score=4, outcome=Outcome.FAILED)]) == (14.0, 20.0)


def test_a_check_that_cannot_be_assessed_here_leaves_the_maximum():
    """A skipped GPU check costs nobody anything."""
    assert total([result(), result(score=0, outcome=Outcome.SKIPPED)]) == (10.0, 10.0)


def test_a_blocked_check_stays_in_the_maximum():
    """A check skipped since another failed earns nothing and still counts."""
    assert total([result(), result(score=0, outcome=Outcome.SKIPPED, blocked_by="y")]) == (10.0, 20.0)


def test_an_errored_check_stays_in_the_maximum_without_points():
    """ERRORED is not scored, whatever score it carries; staff have to look."""
    assert total([result(), result(outcome=Outcome.ERRORED)]) == (10.0, 20.0)


@pytest.mark.parametrize("evidence", [None, Evidence.CLAIMED, Evidence.OBSERVED])
def test_evidence_weaker_than_the_check_demands_earns_nothing(evidence):
    """A verified check passed on weaker evidence, or none, scores 0."""
    assert total([result(evidence=evidence)]) == (0.0, 10.0)


def test_nothing_is_ever_scored_on_what_a_notebook_claims():
    """Not even where a check would be content with it."""
    assert total([result(required=Evidence.CLAIMED, evidence=Evidence.CLAIMED)]) == (0.0, 10.0)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(allow_nan=True), st.sampled_from(Outcome)), max_size=12))
def test_the_score_never_leaves_its_bounds(rows):
    """0 <= score <= max_score for any outcomes, scores of NaN and infinity included."""
    score, maximum = total([result(points=points, score=score, outcome=outcome) for points, score, outcome in rows])
    assert 0.0 <= score <= maximum


@given(st.permutations([(0.1, 0.1), (0.2, 0.2), (0.3, 0.3), (33.3, 11.1), (7.7, 7.7)]))
def test_the_order_of_checks_does_not_matter(rows):
    """The sum is exact, so regrading in another order gives the same score."""
    assert total([result(points=points, score=score) for points, score in rows]) == (19.4, 41.6)
