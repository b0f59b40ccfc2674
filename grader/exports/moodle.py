"""Moodle's downloaded grading worksheet with grades and feedback filled in, together.

The sheet's titles are in the language of whoever downloaded it, so columns are found by their known titles first, and
then by what they hold: the identifier is the first column (``Participant 123`` in any language), the maximum is the
column with the same number in every row, the grade stands right before it, the feedback is the last column. What
remains unclear is asked for (``--grade-column``, ``--feedback-column``), never guessed. Moodle compares "Last modified
(grade)" with its own record to notice a grade that was changed meanwhile, so that column stays as it was.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

import msgspec

from grader import spreadsheet
from grader.errors import UsageError, plain
from grader.exports.feedback import Verdicts, grade_lines, verdict_of
from grader.exports.filling import Filled, Names, one_lab, points, worth_in
from grader.gradebook import Grade
from grader.records import Record, Verdict

IDENTIFIER = re.compile(r"\D*?(?P<number>\d+)\s*")
#: Titles in the languages that we know; others are found by what their columns hold.
GRADE = {"grade", "成绩", "成績", "bewertung", "note", "calificación", "nota", "valutazione", "оценка", "評定"}
MAXIMUM = {"maximum grade", "最高成绩", "最高分", "最高成績", "bestwertung", "note maximale", "calificación máxima"}
FEEDBACK = {
    "feedback comments",
    "反馈评语",
    "反馈意见",
    "回饋評語",
    "feedback als kommentar",
    "feedback par commentaires",
}
CHANGEABLE = {"grade can be changed", "成绩可以更改", "bewertung kann geändert werden", "la note peut être modifiée"}
NO = {"no", "nein", "non", "否", "нет", "いいえ"}


class Columns(Record, frozen=True):
    """Where things stand in a sheet; -1 for what it does not have."""

    grade: int
    maximum: int
    feedback: int
    changeable: int


def fill_moodle(
    content: bytes,
    grades: Sequence[Grade],
    verdicts: Verdicts,
    *,
    grade_column: str = "",
    feedback_column: str = "",
    scale: bool = False,
    where: str,
) -> Filled:
    """The worksheet with the grades of one lab in, and with what the verdicts say as feedback."""
    one_lab(grades)
    sheet = spreadsheet.read(content, where)
    students = [row for row in sheet.rows[1:] if any(row.cells)]
    if not students or any(not IDENTIFIER.fullmatch(row[0]) for row in students):
        fix = "download it with 'Download grading worksheet', and switch offline grading on for the assignment"
        raise UsageError("is not a Moodle grading worksheet", where=where, fix=fix)
    columns = _columns(sheet.rows[0], students, grade_column, feedback_column, where)
    names = Names(grades, "moodle")
    filled: list[str] = []
    protected: list[str] = []
    rows = [sheet.rows[0]]
    for row in sheet.rows[1:]:
        grade = names.find(_keys(row)) if row.cells else None
        if grade is None or grade.grade is None:
            rows.append(row)
        elif row[columns.changeable].strip().casefold() in NO:
            protected.append(grade.student)
            rows.append(row)
        else:
            rows.append(_filled(row, grade, verdict_of(grade, verdicts), columns, scale=scale, where=where))
            filled.append(grade.student)
    seen = {*filled, *protected}
    return Filled(
        content=spreadsheet.write(msgspec.structs.replace(sheet, rows=tuple(rows))),
        filled=tuple(filled),
        protected=tuple(protected),
        without_row=tuple(g.student for g in grades if g.grade is not None and g.student not in seen),
    )


def _keys(row: spreadsheet.Row) -> list[tuple[str, str]]:
    """Whatever in the row may say who it is: participant, then email, ids and names, wherever they stand."""
    match = IDENTIFIER.fullmatch(row[0])
    first = [("handed in as", match["number"])] if match else []
    identity = row.cells[1:5]  # full name, extra identity fields, email: always before status and grade
    return [*first, *(("any", cell) for cell in identity), *(("user", cell) for cell in identity), ("name", row[1])]


def _filled(
    row: spreadsheet.Row, grade: Grade, verdict: Verdict | None, columns: Columns, *, scale: bool, where: str
) -> spreadsheet.Row:
    maximum = row[columns.maximum]
    most = worth_in(maximum, "the maximum grade", f"{where}:{row.line}")
    value = spreadsheet.number(points(grade, most, scale=scale, where=where))
    width = max(columns.grade, columns.feedback) + 1
    cells = [*row.cells, *[""] * (width - len(row.cells))]
    cells[columns.grade] = value.replace(".", ",") if spreadsheet.has_decimal_comma(maximum) else value
    if columns.feedback >= 0:
        # Moodle takes this for HTML, and a student's error message must not become any.
        lines = [html.escape(line) for line in grade_lines(grade, verdict)]
        cells[columns.feedback] = spreadsheet.neutral("<br>".join(lines)) or cells[columns.feedback]
    return msgspec.structs.replace(row, cells=tuple(cells))


def _columns(
    header: spreadsheet.Row, students: Sequence[spreadsheet.Row], grade: str, feedback: str, where: str
) -> Columns:
    titles = [" ".join(title.casefold().split()) for title in header.cells]
    maximum = _titled(titles, MAXIMUM)
    if maximum < 0:
        maximum = _constant(titles, students)
    at = _named(header, grade, "--grade-column", where) if grade else _titled(titles, GRADE)
    if at < 0 and maximum > 1 and all(not row[maximum - 1].strip() or _is_number(row[maximum - 1]) for row in students):
        at = maximum - 1
    if at < 0:
        shown = ", ".join(plain(title, 40) for title in header.cells)
        raise UsageError(
            "it is not clear which column holds the grade", where=where, fix=f"--grade-column, of: {shown}"
        )
    words = _named(header, feedback, "--feedback-column", where) if feedback else _titled(titles, FEEDBACK)
    if words < 0 and not feedback and maximum >= 0 and len(titles) > maximum + 3 and not (set(titles) & GRADE):
        words = len(titles) - 1  # a language that is not known here: the feedback is Moodle's last column
    return Columns(grade=at, maximum=maximum, feedback=words, changeable=_titled(titles, CHANGEABLE))


def _titled(titles: Sequence[str], known: set[str]) -> int:
    return next((at for at, title in enumerate(titles) if title in known), -1)


def _named(header: spreadsheet.Row, name: str, option: str, where: str) -> int:
    if name in header.cells:
        return header.cells.index(name)
    shown = ", ".join(plain(title, 40) for title in header.cells)
    raise UsageError(f"{where} has no column '{plain(name, 60)}'", where=option, fix=f"known: {shown}")


def _constant(titles: Sequence[str], students: Sequence[spreadsheet.Row]) -> int:
    """The only column with the same positive number in every row; -1 where there is none or more than one."""
    found = [
        at for at in range(1, len(titles)) if len({row[at] for row in students}) == 1 and _is_number(students[0][at])
    ]
    return found[0] if len(found) == 1 else -1


def _is_number(cell: str) -> bool:
    return spreadsheet.parse_number(cell) is not None
