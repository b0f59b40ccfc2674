"""Grades, computed from the facts in the book each time they are asked for.

    grade = points of the attempt that counts, less what its lateness costs, plus the adjustments; never below 0

The attempt that counts is the one with the most points left after lateness, or the last one handed in. Who a row is
about is decided here too, by the roster as it is now: what was handed in under a platform's id, and what staff decided
about it, finds its student even when the roster comes later.
"""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from grader.gradebook.attempts import Attempt, attempts, record
from grader.gradebook.database import opened
from grader.gradebook.policy import Lateness, Policy, after_lateness, lateness, moment, stored
from grader.gradebook.remarks import Remark, remarks
from grader.gradebook.roster import Directory, Person, directory
from grader.records import Record, Verdict


class Grade(Record, frozen=True):
    """One student's standing in one lab. ``grade`` is None where there is nothing to give points for."""

    student: str
    lab: str
    grade: float | None
    max_score: float | None
    counted: Attempt | None = None
    attempts: int = 0
    due: str = ""
    extended: bool = False
    late: Lateness = Lateness(state="no due date")
    adjustment: float = 0.0
    remarks: tuple[Remark, ...] = ()
    person: Person | None = None

    @property
    def comments(self) -> tuple[str, ...]:
        """What staff want the student to read."""
        return tuple(r.words for r in self.remarks if r.for_student and not r.withdrawn_at)


def grades(
    database: sqlite3.Connection, policy: Policy, due: Mapping[str, dt.datetime], lab: str | None = None
) -> tuple[Grade, ...]:
    """The grades of everybody who handed something in or has a remark, by lab and student."""
    database.execute("BEGIN")  # one moment in time for all three questions
    try:
        everybody, handed, said = directory(database), attempts(database), remarks(database)
    finally:
        database.execute("COMMIT")
    tries: dict[tuple[str, str], list[Attempt]] = defaultdict(list)
    for attempt in handed:
        person = everybody.id_of(attempt.student, attempt.received.lms, attempt.received.lms_id)
        tries[attempt.lab, person].append(attempt)
    aliases = _aliases(everybody, handed)
    notes: dict[tuple[str, str], list[Remark]] = defaultdict(list)
    for remark in said:
        notes[remark.lab, _whose(remark, everybody, aliases)].append(remark)
    return tuple(
        _grade(place, tries[place], notes[place], policy, due.get(place[0]), everybody.people.get(place[1]))
        for place in sorted({*tries, *notes})
        if lab in (None, place[0])
    )


def _aliases(everybody: Directory, handed: Sequence[Attempt]) -> Mapping[tuple[str, str], set[str]]:
    """Whom a name that something was handed in under means: in one lab, and under "" in all of them together.

    A remark that was made before the roster came holds that name and no number of the platform's.
    """
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for attempt in handed:
        if person := everybody.find(attempt.student, attempt.received.lms, attempt.received.lms_id):
            for lab in (attempt.lab, ""):
                found[lab, attempt.student].add(person.id)
    return found


def _whose(remark: Remark, everybody: Directory, aliases: Mapping[tuple[str, str], set[str]]) -> str:
    """The student whom a remark is about: an id of the roster, or whoever handed in under that name, if it is one person."""
    if remark.student not in everybody.people:
        for lab in (remark.lab, ""):
            if len(known := aliases.get((lab, remark.student), set())) == 1:
                return next(iter(known))
    return everybody.id_of(remark.student)


def grades_of(
    path: Path, verdicts: Sequence[Verdict], policy: Policy, due: Mapping[str, dt.datetime], lab: str | None = None
) -> tuple[Grade, ...]:
    """The grades in that gradebook; where there is none, those that the verdicts alone would give."""
    if path.exists():
        with opened(path) as database:
            return grades(database, policy, due, lab)
    with opened(None) as database:
        record(database, verdicts)
        return grades(database, policy, due, lab)


def _grade(
    place: tuple[str, str],
    tries: list[Attempt],
    notes: list[Remark],
    policy: Policy,
    due: dt.datetime | None,
    person: Person | None,
) -> Grade:
    valid = [remark for remark in notes if not remark.withdrawn_at]
    extensions = [remark for remark in valid if remark.kind == "extension"]
    if extensions:
        due = moment(extensions[-1].until)
    adjustment = round(sum(remark.points for remark in valid), 6)
    scored = [(attempt, lateness(attempt.received, due, policy)) for attempt in tries if attempt.score is not None]
    standing = Grade(
        student=place[1],
        lab=place[0],
        grade=adjustment if adjustment > 0 else None,  # there is nothing to take points off
        max_score=None,
        attempts=len({attempt.submission for attempt in tries}),
        due=stored(due) if due else "",
        extended=bool(extensions),
        adjustment=adjustment,
        remarks=tuple(notes),
        person=person,
    )
    if not scored:
        return standing
    counted, late = max(scored, key=lambda pair: _worth(pair, policy))
    grade = max(0.0, round(after_lateness(counted.score or 0.0, late) + adjustment, 6))
    return msgspec.structs.replace(standing, grade=grade, max_score=counted.max_score, counted=counted, late=late)


def _worth(pair: tuple[Attempt, Lateness], policy: Policy) -> tuple[float, float, int]:
    """What makes an attempt the one that counts; of two as good, the later one."""
    attempt, late = pair
    when = moment(attempt.received.at).timestamp()
    best = after_lateness(attempt.score or 0.0, late) if policy.count == "best" else 0.0
    return best, when, attempt.attempt
