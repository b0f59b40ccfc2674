"""What was handed in: one row for each student, lab and content, written when it is first seen and again when scored.

The same bytes are the same attempt however often they are graded, so grading a folder twice changes nothing. An
attempt's number is its place in the order in which the grader met them. Handing in old bytes again is no new attempt;
of two times that the platform names for them, the earlier counts.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

import msgspec

from grader.gradebook.database import transaction
from grader.gradebook.policy import moment, now, stored
from grader.records import Received, Record, Verdict

#: How much a time is worth: a better one replaces a worse one.
RANK = {"first seen": 0, "lms": 1, "given": 2}

SELECT = (
    "SELECT lab, student, submission, attempt, first_seen, submitted_at, known, lms, lms_id, marked_late,"
    " score, max_score, ending, attention, graded_at FROM attempts"
)


class Handed(Record, frozen=True):
    """A submission as intake met it. ``received`` is what the platform or staff say of it, if anything."""

    lab: str
    student: str
    submission: str
    received: Received | None = None


class Attempt(Record, frozen=True):
    """One attempt as it stands in the book; ``score`` is None until it was graded."""

    lab: str
    student: str
    submission: str
    attempt: int
    received: Received
    score: float | None = None
    max_score: float | None = None
    ending: str = ""
    attention: bool = False
    graded_at: str = ""


def enrol(database: sqlite3.Connection, handed: Sequence[Handed]) -> tuple[Attempt, ...]:
    """Note what was handed in, before it is graded; each comes back with its number and its time."""
    seen = now()
    with transaction(database):
        return tuple(_enrolled(database, item, seen) for item in handed)


def record(database: sqlite3.Connection, verdicts: Iterable[Verdict]) -> int:
    """Note what was scored, and return how many rows changed. An older verdict never replaces a newer one."""
    changed = 0
    with transaction(database):
        for verdict in verdicts:
            place = Handed(lab=verdict.lab, student=verdict.student, submission=verdict.submission)
            # A run from before there was a gradebook: it was there when it was graded, and nothing more is known.
            _enrolled(database, place, verdict.graded_at or now())
            figures = (verdict.score, verdict.max_score, verdict.ending.value, bool(verdict.needs_attention))
            done = database.execute(
                "UPDATE attempts SET score = ?, max_score = ?, ending = ?, attention = ?, graded_at = ?"
                " WHERE lab = ? AND student = ? AND submission = ? AND graded_at <= ?"
                " AND (score IS NOT ? OR max_score IS NOT ? OR ending IS NOT ? OR attention IS NOT ?)",
                (*figures, verdict.graded_at, *_place(place), verdict.graded_at, *figures),
            )
            changed += done.rowcount
    return changed


def attempts(database: sqlite3.Connection) -> tuple[Attempt, ...]:
    """Every attempt, in order."""
    return tuple(_attempt(row) for row in database.execute(f"{SELECT} ORDER BY lab, student, attempt"))


def _enrolled(database: sqlite3.Connection, item: Handed, seen: str) -> Attempt:
    place = _place(item)
    database.execute(
        "INSERT INTO attempts (lab, student, submission, attempt, first_seen, submitted_at, known, lms, lms_id, marked_late)"
        " SELECT ?, ?, ?, coalesce(max(attempt), 0) + 1, ?, '', 'first seen', '', '', 0 FROM attempts"
        " WHERE lab = ? AND student = ? ON CONFLICT (lab, student, submission) DO NOTHING",
        (*place, seen, *place[:2]),
    )
    found = database.execute(f"{SELECT} WHERE lab = ? AND student = ? AND submission = ?", place)
    attempt = _attempt(found.fetchone())
    better = _better(attempt.received, item.received)
    if better == attempt.received:
        return attempt
    facts = (better.at, better.known, better.lms, better.lms_id, better.marked_late)
    database.execute(
        "UPDATE attempts SET submitted_at = ?, known = ?, lms = ?, lms_id = ?, marked_late = ?"
        " WHERE lab = ? AND student = ? AND submission = ?",
        (*facts, *place),
    )
    return msgspec.structs.replace(attempt, received=better)


def _better(old: Received, new: Received | None) -> Received:
    """The stronger word on the time; of two by the platform the earlier, of two by staff the later given."""
    if new is None:
        return old
    ids = new if new.lms else old
    old = msgspec.structs.replace(old, lms=ids.lms, lms_id=ids.lms_id, marked_late=ids.marked_late)
    if RANK[new.known] < RANK[old.known] or new.known == "first seen":
        return old
    at = stored(moment(new.at))
    earlier = new.known == old.known == "lms" and old.at < at
    return msgspec.structs.replace(old, at=old.at if earlier else at, known=new.known)


def _place(item: Handed) -> tuple[str, str, str]:
    return item.lab, item.student, item.submission


def _attempt(row: tuple[object, ...]) -> Attempt:
    """A row of the table as a record; text, numbers and flags get their types at this door."""
    lab, student, submission, number, first_seen, submitted_at, known, lms, lms_id, marked, *scored = row
    received = {"at": submitted_at or first_seen, "known": known, "lms": lms, "lms_id": lms_id}
    place = {"lab": lab, "student": student, "submission": submission, "attempt": number}
    figures = dict(zip(("score", "max_score", "ending", "attention", "graded_at"), scored, strict=True))
    return msgspec.convert(
        {
            **place,
            **figures,
            "attention": bool(figures["attention"]),
            "received": {**received, "marked_late": bool(marked)},
        },
        Attempt,
    )
