"""What staff decide about one student and lab: extensions, adjustments, comments, each with who and when.

Remarks stand beside the scores, never in them: a regrade changes what the grader says and leaves these as they are.
Nothing is deleted. A remark that was wrong is withdrawn, and who did that stays too. Of several extensions the last
one counts, of several adjustments the sum.
"""

from __future__ import annotations

import datetime as dt
import getpass
import math
import sqlite3
from typing import Any, Literal

import msgspec

from grader.errors import UsageError, plain, suggest
from grader.gradebook.database import transaction
from grader.gradebook.policy import now, stored
from grader.gradebook.roster import directory
from grader.records import Record

MAX_WORDS = 4_000
MAX_POINTS = 10_000


class Remark(Record, frozen=True):
    """One decision. ``until`` belongs to an extension, ``points`` to an adjustment; ``for_student`` to a comment."""

    number: int
    kind: Literal["extension", "adjustment", "comment"]
    student: str
    lab: str
    words: str
    by: str
    at: str
    until: str = ""
    points: float = 0.0
    for_student: bool = False
    withdrawn_by: str = ""
    withdrawn_at: str = ""


def extend(database: sqlite3.Connection, student: str, lab: str, until: dt.datetime, reason: str, by: str) -> Remark:
    """Give one student another due date for one lab."""
    return _add(database, "extension", student, lab, words=reason, by=by, until=stored(until))


def adjust(database: sqlite3.Connection, student: str, lab: str, points: float, reason: str, by: str) -> Remark:
    """Add points to a grade, or with a minus take them off."""
    if not math.isfinite(points) or abs(points) > MAX_POINTS or points == 0:
        raise UsageError(f"{points:g} is no number of points to add", where="--points", fix="write 5 or -2.5")
    if not reason.strip():
        raise UsageError("an adjustment needs a reason", where="--reason", fix="say why, for those who come later")
    return _add(database, "adjustment", student, lab, words=reason, by=by, points=points)


def comment(database: sqlite3.Connection, student: str, lab: str, words: str, by: str, *, for_student: bool) -> Remark:
    """Leave words beside a grade; ``for_student`` ones go out with exported feedback."""
    if not words.strip():
        raise UsageError("the comment is empty", where="TEXT", fix="write something")
    return _add(database, "comment", student, lab, words=words, by=by, for_student=for_student)


def withdraw(database: sqlite3.Connection, number: int, by: str) -> Remark:
    """Take a remark back. It stays on record and counts no longer."""
    with transaction(database):
        found = next((remark for remark in remarks(database) if remark.number == number), None)
        if found is None:
            raise UsageError(f"there is no remark {number}", fix="`grader gradebook show STUDENT` lists them")
        if found.withdrawn_at:
            raise UsageError(f"remark {number} was withdrawn already", fix=f"by {found.withdrawn_by}")
        mark = {"withdrawn_by": author(by), "withdrawn_at": now()}
        database.execute(
            "UPDATE remarks SET withdrawn_by = :withdrawn_by, withdrawn_at = :withdrawn_at WHERE number = :number",
            mark | {"number": number},
        )
    return msgspec.structs.replace(found, **mark)


def remarks(database: sqlite3.Connection) -> tuple[Remark, ...]:
    """Every remark, the withdrawn ones too, in the order they were made."""
    fields = Remark.__struct_fields__
    rows = database.execute(f"SELECT {', '.join(fields)} FROM remarks ORDER BY number")  # noqa: S608 - our own names
    return tuple(msgspec.convert(dict(zip(fields, row, strict=True)), Remark, strict=False) for row in rows)


def author(by: str) -> str:
    """Who decides: the name given, else that of the account."""
    try:
        name = plain(by or getpass.getuser(), 80)
    except (OSError, KeyError, ImportError):  # an account without a name, as in some containers
        name = ""
    if not name:
        raise UsageError("it is not known who you are", where="--by", fix="name yourself with --by")
    return name


def _add(
    database: sqlite3.Connection, kind: str, student: str, lab: str, *, words: str, by: str, **values: Any
) -> Remark:
    """A new row; ``values`` are what this kind of remark has of its own."""
    if len(words) > MAX_WORDS:
        raise UsageError(f"holds more than {MAX_WORDS:,} characters", where="the text", fix="say it shorter")
    values |= {"kind": kind, "lab": lab, "words": words.strip(), "by": author(by), "at": now()}
    with transaction(database):
        values["student"] = _known_student(database, student)
        columns, marks = ", ".join(values), ", ".join(f":{name}" for name in values)
        done = database.execute(f"INSERT INTO remarks ({columns}) VALUES ({marks})", values)  # noqa: S608 - our own names
    return msgspec.convert(values | {"number": done.lastrowid}, Remark)


def _known_student(database: sqlite3.Connection, student: str) -> str:
    """The student whom that name means: of the roster, or of what was handed in."""
    everybody = directory(database)
    if person := everybody.find(student):
        return person.id
    handed = {row[0] for row in database.execute("SELECT DISTINCT student FROM attempts")}
    if student in handed:
        return student
    fix = (
        suggest(student, [*everybody.people, *handed])
        if len(everybody.people) + len(handed) <= 2_000
        else "check the id"
    )
    raise UsageError(f"nobody is known as '{plain(student, 60)}'", where="gradebook", fix=plain(fix, 300))
