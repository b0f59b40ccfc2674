"""The instructor's own Canvas gradebook export with one column filled.

Columns are ``Student,ID,SIS User ID,SIS Login ID,Section`` and then assignments as ``Title (number)``. A title that
Canvas does not know would become a new assignment when the file is uploaded, so none is ever made: the column must be
there. The rows above the students (``Points Possible``, and ``Manual Posting`` where a course has it) stay as they are, and so do
cells with ``EX`` (excused) and ``N/A`` (not assigned).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from grader import spreadsheet
from grader.errors import UsageError, plain
from grader.exports.filling import Filled, Names, one_lab, points, worth_in
from grader.gradebook import Grade

ASSIGNMENT = re.compile(r"(?P<title>.*\S)\s*\((?P<number>\d+)\)", re.DOTALL)
POINTS_POSSIBLE = "points possible"
KEPT = {"EX", "N/A"}
#: Columns that tell who a row is about, and where they are when their titles are in another language.
WHO = (("ID", 1, "user"), ("SIS User ID", 2, "any"), ("SIS Login ID", 3, "any"))


def fill_canvas(
    content: bytes, grades: Sequence[Grade], *, titles: Sequence[str], column: str = "", scale: bool = False, where: str
) -> Filled:
    """The export with the grades of one lab in. ``column`` is a title or number; else the lab's ``titles`` are tried."""
    one_lab(grades)
    sheet = spreadsheet.read(content, where)
    if not sheet.rows or len(sheet.rows[0].cells) < 5:
        raise UsageError("is not a Canvas gradebook", where=where, fix="use Grades > Export > Export Entire Gradebook")
    header = sheet.rows[0]
    place = _column(header, [column] if column else titles, where)
    who = [(header.cells.index(title) if title in header.cells else at, kind) for title, at, kind in WHO]
    most = _points_possible(sheet, place, where)
    names = Names(grades, "canvas")
    filled: list[str] = []
    protected: list[str] = []
    rows = [header]
    for row in sheet.rows[1:]:
        number = row[who[0][0]].strip()
        is_student = bool(number) and not _is_points(row)
        keys = [("handed in as", number), *((kind, row[at]) for at, kind in who)]
        grade = names.find(keys) if is_student else None
        if grade is None or grade.grade is None:
            rows.append(row)
        elif row[place].strip().upper() in KEPT:
            protected.append(grade.student)
            rows.append(row)
        else:
            value = spreadsheet.number(points(grade, most, scale=scale, where=where))
            cells = [*row.cells, *[""] * (place + 1 - len(row.cells))]
            cells[place] = value
            rows.append(msgspec.structs.replace(row, cells=tuple(cells)))
            filled.append(grade.student)
    seen = {*filled, *protected}
    return Filled(
        content=spreadsheet.write(msgspec.structs.replace(sheet, rows=tuple(rows))),
        filled=tuple(filled),
        protected=tuple(protected),
        without_row=tuple(g.student for g in grades if g.grade is not None and g.student not in seen),
    )


def _column(header: spreadsheet.Row, wanted: Sequence[str], where: str) -> int:
    """The one assignment of that title or number."""
    matches = {at: match for at, title in enumerate(header.cells) if (match := ASSIGNMENT.fullmatch(title.strip()))}
    words = {word.strip().casefold() for word in wanted}
    found = [
        at
        for at, match in matches.items()
        if words & {match["title"].casefold(), match["number"], header.cells[at].strip().casefold()}
    ]
    if len(found) == 1:
        return found[0]
    known = ", ".join(plain(header.cells[at], 60) for at in list(matches)[:20]) or "none"
    what = "two assignments have that title" if found else f"no assignment is called '{plain(wanted[0], 60)}'"
    raise UsageError(what, where=where, fix=f"choose one with --column, by title or number: {known}")


def _points_possible(sheet: spreadsheet.Sheet, place: int, where: str) -> float | None:
    """What that assignment gives; None where the sheet does not say."""
    row = next((row for row in sheet.rows[1:] if _is_points(row)), None)
    name = f"Points Possible of '{plain(sheet.rows[0][place], 60)}'"
    return worth_in(row[place], name, f"{where}:{row.line}") if row else None


def _is_points(row: spreadsheet.Row) -> bool:
    return row[0].strip().casefold() == POINTS_POSSIBLE
