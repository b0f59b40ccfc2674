"""The pages that tell of many runs, written from what is kept: the overview of a class, and a page for each student.

    <out>/index.html                 for staff
    <out>/lab-<lab>.html             its table of runs, a page for each lab, where one page would be too long
    <out>/students/<student>.html    for the student: every lab, nothing that is for staff

Both are made anew from the verdicts below ``out`` after every batch, so they never disagree with the cards. A student's
page also says what the gradebook makes of each score, where there is one: it is written once, after the scores are noted.
A lab's sentences lie in its own folder, ``folders`` by lab; a lab that is not there is looked for among the course's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from grader import gradebook, store
from grader.errors import GraderError
from grader.exports.feedback import account
from grader.records import Verdict
from grader.reports import (
    ClassRow,
    Grade,
    StudentRun,
    class_row,
    parts,
    phrases,
    render_index,
    render_part,
    render_student,
)
from grader.reports.phrases import Phrases
from grader.settings import Settings, gradebook_path
from grader.shelf import Shelf

#: A student's grade in a lab, by lab and by the student's name as handed in.
Grades = Mapping[tuple[str, str], Grade]
#: No lab's folder is known but by the settings.
NOWHERE: Mapping[str, Path] = MappingProxyType({})


def write_pages(out: Path, settings: Settings, folders: Mapping[str, Path] = NOWHERE) -> Path:
    """Write the overview of every run below ``out``, this batch's and earlier ones', and the students' pages."""
    rows = Shelf(ClassRow, (class_row(verdict, folder.name) for folder, verdict in store.verdicts(out)))
    said = {lab: phrases(settings.language, folders.get(lab, settings.labs / lab)) for lab in {row.lab for row in rows}}
    divided = parts(rows)
    shown: dict[str, Any] = {"course_name": settings.course_name, "language": settings.language}
    for part in divided:
        store.write_whole(out / part.file, render_part(part, **shown).encode())
    for old in {path.name for path in out.glob("lab-*.html")} - {part.file for part in divided}:
        (out / old).unlink()
    index = out / "index.html"
    store.write_whole(index, render_index(rows, divided, phrases=said, **shown).encode())
    write_students(out, settings, folders)
    return index


def write_students(out: Path, settings: Settings, folders: Mapping[str, Path] = NOWHERE) -> None:
    """Write the students' pages alone: what changes when the gradebook does.

    Each student's verdicts are read when their page is written: those of a whole class take 20 kB of memory for each run.
    """
    grades = _grades(out, settings)
    students: dict[str, list[Path]] = {}
    for run in store.runs(out):
        students.setdefault(run.name, []).append(run)
    for slug, runs in students.items():
        if verdicts := [verdict for run in runs if (verdict := store.verdict(run))]:
            _write_student(out, settings, folders, slug, verdicts, grades)


def _grades(out: Path, settings: Settings) -> Grades:
    """What the gradebook says; nothing where there is none or it cannot be read: the command that needs it will tell."""
    path = gradebook_path(settings, out)
    if not path.exists():
        return {}
    try:
        with gradebook.opened(path, create=False) as database:
            found = gradebook.grades(database, gradebook.Policy.of(settings), settings.due)
    except GraderError:
        return {}
    return {
        (grade.lab, name): Grade(
            value=grade.grade, most=grade.max_score or 0.0, why=tuple(account(grade)), comments=grade.comments
        )
        for grade in found
        if grade.grade is not None
        for name in {grade.student, *([grade.counted.student] if grade.counted else [])}
    }


def _said(grade: Grade | None, said: Phrases) -> Grade | None:
    return grade and msgspec.structs.replace(grade, why=tuple(said.say(line) for line in grade.why))


def _write_student(
    out: Path, settings: Settings, folders: Mapping[str, Path], slug: str, verdicts: Sequence[Verdict], grades: Grades
) -> None:
    """The student's page, in the language of the latest card."""
    language = max(verdicts, key=lambda verdict: verdict.graded_at).language
    runs = [
        StudentRun(
            verdict=verdict,
            card=f"{verdict.lab}/{slug}/card.html",
            phrases=phrases(language, folders.get(verdict.lab, settings.labs / verdict.lab)),
            grade=_said(grades.get((verdict.lab, verdict.student)), phrases(language)),
        )
        for verdict in verdicts
    ]
    folder = out / "students"
    folder.mkdir(exist_ok=True)
    html = render_student(verdicts[0].student, runs, course_name=settings.course_name, language=language)
    store.write_whole(folder / f"{slug}.html", html.encode())
