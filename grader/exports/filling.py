"""What filling a platform's sheet has in common: whose row is whose, and how many points a grade is there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from grader.errors import UsageError, plain
from grader.gradebook import Grade
from grader.records import Record
from grader.spreadsheet import number, parse_number


class Filled(Record, frozen=True):
    """A filled sheet, and the students it is about, by id.

    ``protected``: their cell must not be written over; ``without_row``: they have a grade and the sheet has no row.
    """

    content: bytes
    filled: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()
    without_row: tuple[str, ...] = ()


class Names:
    """Finds the grade that a row of a sheet is for. What names two students names nobody."""

    def __init__(self, grades: Iterable[Grade], lms: str) -> None:
        self.known: dict[tuple[str, str], Grade | None] = {}
        for grade in grades:
            for place in _names(grade, lms):
                same = self.known.setdefault(place, grade)
                if same is not None and same.student != grade.student:
                    self.known[place] = None

    def find(self, names: Sequence[tuple[str, str]]) -> Grade | None:
        """The grade that the first known one of these (kind, name) pairs is for."""
        found = (self.known.get((kind, _key(name))) for kind, name in names if name.strip())
        return next((grade for grade in found if grade is not None), None)


def _names(grade: Grade, lms: str) -> set[tuple[str, str]]:
    """Each name of a student by its kind; ``any`` holds those that a platform may show under another title."""
    person = grade.person
    names = {("any", grade.student)}
    if person:
        own = {"canvas": person.canvas_id, "moodle": person.moodle_id, "gradescope": person.gradescope_id}[lms]
        names |= {
            ("any", person.sis_id),
            ("any", person.login),
            ("any", person.email),
            ("name", person.name),
            ("user", own),
        }
    else:
        names.add(("name", grade.student))
    if grade.counted and grade.counted.received.lms == lms:
        names.add(("handed in as", grade.counted.received.lms_id))
    return {(kind, _key(name)) for kind, name in names if name}


def _key(name: str) -> str:
    return " ".join(name.casefold().split())


def points(grade: Grade, worth: float | None, *, scale: bool, where: str) -> float:
    """The grade in the sheet's points. Other points than the lab's are converted only when that was asked for."""
    value, most = grade.grade or 0.0, grade.max_score
    if worth is None or most is None or worth == most:
        return value
    if scale and most > 0:
        return value / most * worth
    what = f"the sheet gives {number(worth)} points, the grade of {plain(grade.student, 60)} is of {number(most)}"
    raise UsageError(what, where=where, fix="convert with --scale, or correct the points there")


def worth_in(cell: str, name: str, where: str) -> float | None:
    """The points that the sheet gives in this cell, which it calls ``name``; None where it does not say."""
    found = parse_number(cell)
    if found is None and cell.strip():
        what = f"{name} is '{plain(cell, 40)}', which is no number"
        raise UsageError(what, where=where, fix="correct it on the platform and export the sheet again")
    return found


def one_lab(grades: Sequence[Grade]) -> None:
    """A sheet is one assignment's."""
    labs = sorted({grade.lab for grade in grades})
    if len(labs) > 1:
        raise UsageError(f"there are grades of {len(labs)} labs", where="--lab", fix=f"choose one: {', '.join(labs)}")
    if not labs:
        raise UsageError("there are no grades to export", where="--lab", fix="run `grader grade` first")
