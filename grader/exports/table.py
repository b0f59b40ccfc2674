"""Grades as CSV: a long table with how each came about, and a matrix of students and labs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from grader.gradebook import Grade, Person
from grader.spreadsheet import table

LONG = (
    "student",
    "name",
    "email",
    "section",
    "lab",
    "grade",
    "max_score",
    "score",
    "late_days",
    "late_percent",
    "adjustment",
    "attempt",
    "attempts",
    "handed_in",
    "time_known",
    "due",
    "lateness",
    "ending",
    "needs_attention",
    "submission",
    "comments",
)


def long_table(grades: Sequence[Grade], *, excel: bool = False) -> bytes:
    """One row for each student and lab."""
    return table(LONG, [_row(grade) for grade in grades], excel=excel)


def matrix(grades: Sequence[Grade], people: Mapping[str, Person], *, excel: bool = False) -> bytes:
    """One row for each student, those of the roster who handed in nothing too; one column of grades for each lab."""
    labs = sorted({grade.lab for grade in grades})
    found = {(grade.student, grade.lab): grade.grade for grade in grades}
    rows: list[list[str | float | None]] = []
    for student in sorted({*people, *(grade.student for grade in grades)}):
        person = people.get(student) or Person(id=student)
        points = [found.get((student, lab)) for lab in labs]
        rows.append([student, person.name, person.email, person.section, *points])
    return table(["student", "name", "email", "section", *labs], rows, excel=excel)


def _row(grade: Grade) -> list[str | float | None]:
    person = grade.person or Person(id=grade.student)
    counted = grade.counted
    return [
        grade.student,
        person.name,
        person.email,
        person.section,
        grade.lab,
        grade.grade,
        grade.max_score,
        counted.score if counted else None,
        grade.late.days,
        grade.late.percent,
        grade.adjustment,
        counted.attempt if counted else None,
        grade.attempts,
        counted.received.at if counted else "",
        counted.received.known if counted else "",
        grade.due,
        grade.late.state if counted or not grade.due else "",
        counted.ending if counted else "",
        "yes" if counted and counted.attention else "no",
        counted.submission if counted else "",
        " / ".join(grade.comments),
    ]
