"""A verdict as Gradescope's ``results.json``, and the ``submission_metadata.json`` that Gradescope gives with a submission.

Tests are visible: the description, what was found and what to try are written for students, and one hidden test would
hide the total. What hidden suites print is not (``stdout_visibility``). Gradescope takes its own late penalties off;
one of ours is taken off only when the course sets ``[late]``, by the time of the submission, never by the clock.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

import msgspec

from grader.errors import UsageError, plain
from grader.exports.feedback import check_lines, not_assessed, problem_lines, result_lines, sentence
from grader.gradebook import Lateness, Policy, lateness
from grader.gradebook.policy import after_lateness
from grader.records import CheckResult, Outcome, Received, Record, Verdict
from grader.reports.language import words
from grader.spreadsheet import number

Visibility = Literal["hidden", "after_due_date", "after_published", "visible"]
MAX_OUTPUT = 50_000


class Assignment(Record, frozen=True):
    """What is used of an assignment; for a student with an extension Gradescope gives that student's own dates."""

    due_date: dt.datetime | None = None


class Metadata(Record, frozen=True):
    """What is used of ``submission_metadata.json``."""

    created_at: dt.datetime
    assignment: Assignment = Assignment()
    previous_submissions: tuple[msgspec.Raw, ...] = ()

    @classmethod
    def read(cls, content: bytes, where: str) -> Metadata:
        try:
            return msgspec.json.decode(content, type=cls)
        except msgspec.DecodeError as error:
            what = f"is not Gradescope's metadata: {plain(str(error), 100)}"
            raise UsageError(what, where=where, fix="give /autograder/submission_metadata.json") from None

    @property
    def attempt(self) -> int:
        return len(self.previous_submissions) + 1

    def lateness(self, policy: Policy) -> Lateness:
        """By the time at which Gradescope received it."""
        when = self.created_at if self.created_at.tzinfo else self.created_at.replace(tzinfo=dt.UTC)
        due = self.assignment.due_date
        due = due.replace(tzinfo=dt.UTC) if due and not due.tzinfo else due
        return lateness(Received(at=when.isoformat(), known="lms", lms="gradescope"), due, policy)


def results(
    verdict: Verdict, metadata: Metadata | None = None, policy: Policy | None = None, visibility: Visibility = "visible"
) -> bytes:
    """The document for one run."""
    late = metadata.lateness(policy or Policy()) if metadata else Lateness(state="no due date")
    _ = words(verdict.language).gettext
    lines = result_lines(verdict)
    if late.percent:
        taken = number(late.percent)
        lines.append(
            _(
                "Handed in late by %(days)s started day(s): %(percent)s %% of the points are taken off.",
                days=late.days,
                percent=taken,
            )
        )
    if verdict.needs_attention:
        lines.append(_("Something went wrong on our side. It is not your fault, and staff will look at it."))
    tests = [_test(place, check, visibility, verdict) for place, check in enumerate(verdict.checks, start=1)]
    return _document(
        {
            "score": max(0.0, after_lateness(verdict.score, late)),
            "execution_time": round(verdict.timings.get("total", 0.0)),
            "output": _clean("\n".join([*lines, *problem_lines(verdict)])),
            "tests": tests,
            "extra_data": {
                "submission": verdict.submission,
                "attempt": metadata.attempt if metadata else verdict.attempt,
            },
        },
        visibility,
    )


def no_results(why: str) -> bytes:
    """The document where nothing could be graded: no points, and what to do."""
    return _document({"score": 0.0, "output": _clean(f"Nothing was graded. {why}"), "tests": []}, "visible")


def _document(content: dict[str, Any], visibility: Visibility) -> bytes:
    formats = {"output_format": "text", "test_output_format": "text", "test_name_format": "text"}
    whole = {**content, **formats, "visibility": visibility, "stdout_visibility": "hidden"}
    return msgspec.json.format(msgspec.json.encode(whole), indent=1) + b"\n"


def _test(place: int, check: CheckResult, visibility: Visibility, verdict: Verdict) -> dict[str, Any]:
    left_out = not_assessed(check)
    told = "\n".join(check_lines(check, verdict, verdict.language))
    test: dict[str, Any] = {
        "name": sentence(check.description, 2_000),
        "number": str(place),
        "score": check.score,
        "max_score": 0.0 if left_out else check.points,
        "output": _clean(told or words(verdict.language).gettext("as expected")),
        "tags": [check.id, *([check.evidence.value] if check.evidence else [])],
        "visibility": visibility,
    }
    return test if left_out else test | {"status": "passed" if check.outcome is Outcome.PASSED else "failed"}


def _clean(words: str) -> str:
    """Lines of plain text; terminal codes and direction marks would reach the page otherwise."""
    return "\n".join(plain(line, 2_000) for line in words[:MAX_OUTPUT].splitlines())
