"""A class in figures: distribution, item analysis, common advice. The figures are reckoned by hand here."""

from __future__ import annotations

import pytest

from grader.records import Advice as Told
from grader.records import CellError, Ending, Level, Outcome, Tier
from grader.reports.classroom import ENOUGH_RUNS, CheckScore, ClassRow, advice, class_row, figures, slowest
from tests.browser import samples


def check(score, points=50.0, outcome=None, **more):
    ended = outcome or (Outcome.PASSED if score == points else Outcome.FAILED)
    return CheckScore(**{"id": "a", "description": "A.", "points": points, "score": score, "outcome": ended, **more})


def row(*checks, **more):
    fields = {
        "lab": "mnist",
        "student": "s",
        "score": sum(one.score for one in checks),
        "max_score": 100.0,
        "ending": Ending.OK,
        "level": Level.L2,
        "tier": Tier.FULL,
        "checks": checks,
    }
    return ClassRow(**{**fields, **more})


def two(first, second):
    return row(check(first), check(second, id="b"))


def test_runs_are_counted_by_tenths_and_full_marks_stand_in_the_last():
    """0, 9.9 and 10 points lie in three different ways; 100 of 100 has no column of its own."""
    rows = [row(score=score) for score in (0.0, 9.9, 10.0, 99.0, 100.0)]
    assert figures(rows)[0].tenths == (2, 1, 0, 0, 0, 0, 0, 0, 0, 2)


def test_a_run_that_we_could_not_do_says_nothing_about_the_class():
    """It is counted as a run and left out of median, distribution and checks."""
    rows = [two(50.0, 50.0), row(check(0.0, outcome=Outcome.ERRORED), score=0.0, ending=Ending.OURS)]
    (lab,) = figures(rows)
    assert (lab.runs, lab.median, sum(lab.tenths)) == (2, 100.0, 1)
    assert (lab.items[0].runs, lab.items[0].errored) == (1, 0)


def test_each_end_of_a_check_is_counted_apart():
    """Passed, in part, nothing, blocked and ours; what could not be assessed leaves the check's runs."""
    rows = [
        row(check(50.0)),
        row(check(20.0)),
        row(check(0.0)),
        row(check(0.0, outcome=Outcome.SKIPPED, blocked=True)),
        row(check(0.0, outcome=Outcome.ERRORED)),
        row(check(0.0, outcome=Outcome.SKIPPED)),
    ]
    (item,) = figures(rows)[0].items
    assert (item.runs, item.passed, item.partial, item.failed, item.blocked, item.errored) == (5, 1, 1, 1, 1, 1)
    assert item.mean == pytest.approx((1 + 0.4) / 5)


def test_a_check_that_the_strong_pass_and_the_weak_fail_discriminates():
    """The correlation is with the rest of the points: 1 for agreement, -1 for the opposite."""
    together = [two(50.0 * (i % 2), 50.0 * (i % 2)) for i in range(ENOUGH_RUNS)]
    against = [two(50.0 * (i % 2), 50.0 - 50.0 * (i % 2)) for i in range(ENOUGH_RUNS)]
    assert [item.discrimination for item in figures(together)[0].items] == pytest.approx([1, 1])
    assert [item.discrimination for item in figures(against)[0].items] == pytest.approx([-1, -1])


def test_no_discrimination_is_told_of_a_few_runs_or_of_a_check_that_all_pass():
    few = [two(50.0 * (i % 2), 50.0 * (i % 2)) for i in range(ENOUGH_RUNS - 1)]
    same = [two(50.0, 50.0 * (i % 2)) for i in range(ENOUGH_RUNS)]
    assert figures(few)[0].items[0].discrimination is None
    assert figures(same)[0].items[0].discrimination is None


def test_advice_is_common_when_more_than_one_card_gives_it():
    """Counted by run and lab, most first; what one card says is no pattern."""
    rows = [
        row(advice=("Scale.", "Train.")),
        row(advice=("Scale.", "Train.", "Save.")),
        row(advice=("Scale.",)),
        row(lab="iris", advice=("Scale.",)),
    ]
    assert [(item.lab, item.text, item.runs) for item in advice(rows)] == [
        ("mnist", "Scale.", 3),
        ("mnist", "Train.", 2),
    ]


def test_the_slowest_come_first():
    rows = [row(student=name, seconds=seconds) for name, seconds in (("a", 2.0), ("b", 9.0), ("c", 0.0))]
    assert [one.student for one in slowest(rows)] == ["b", "a"]


def test_a_row_keeps_what_the_overview_needs_of_a_verdict():
    """Scores of checks, the card's and the student's page, and each piece of advice once."""
    verdict = samples.partial()
    found = class_row(verdict, "student-012")
    assert [one.id for one in found.checks] == [one.id for one in verdict.checks]
    assert found.card == "mnist/student-012/staff/card.html"
    assert found.page == "students/student-012.html"
    assert "Call `model.save('mnist.keras')` in the last cell." in found.advice
    told = Told(rule="x", text="The argument is called epochs.")
    errors = tuple(CellError(cell=cell, kind="TypeError", message="", advice=told) for cell in (1, 2))
    assert class_row(samples.verdict(cell_errors=errors), "s").advice == ("The argument is called epochs.",)
