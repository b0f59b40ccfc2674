"""``grader gradebook``: who stands where, and the decisions of staff."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from grader.cli.app import REPORT_CARDS, App, choose_labs, common, json_option, read_labs
from grader.cli.book import gradebook_option, gradebook_path, parse_time, record_runs, refresh
from grader.cli.jsonout import write
from grader.cli.show import complain, number, print_table, safe, say, several, table
from grader.errors import EXIT_USAGE, UsageError

if TYPE_CHECKING:
    from grader.gradebook import Grade, Remark
    from grader.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])
by_option = click.option("--by", default="", metavar="NAME", help="Who decides.  [default: this account's name]")


@click.group(short_help="Show grades; adjust, comment, extend; keep the roster.")
def gradebook() -> None:
    """Show grades, and keep what staff decide: roster, extensions, adjustments, comments."""


def book_command(command: F) -> F:
    """What every command of the group has."""
    return gradebook_option(json_option(common(command)))


@gradebook.command()
@click.argument("student", required=False, metavar="[STUDENT]")
@click.option("--lab", metavar="ID", help="Only this lab.")
@book_command
@click.pass_obj
def show(app: App, student: str | None, lab: str | None, gradebook: Path | None) -> int:
    """Show the grades, of everybody or of one STUDENT, and how each came about."""
    settings, grades = _grades(app, gradebook, lab)
    if lab is not None and not grades:  # what is in the book is shown, also of a lab that is gone
        choose_labs(*read_labs(settings), (lab,))
    if student is not None:
        grades = tuple(grade for grade in grades if student in (grade.student, grade.person and grade.person.name))
        if not grades:
            raise UsageError(
                f"nothing is known of '{safe(student, 60)}'", fix="`grader gradebook show` lists everybody"
            )
    if app.json:
        return write("gradebook show", 0, {"gradebook": _shown(settings), "grades": grades})
    columns = ["lab", "student", "name", "attempt", "score", "handed in", "known", "lateness", "adjusted", "grade"]
    made = table("", columns, right=["score", "adjusted", "grade"])
    for grade in grades:
        made.add_row(*_cells(grade))
    print_table(made)
    for remark in (remark for grade in grades for remark in grade.remarks if student is not None):
        say(_remark(remark))
    if not grades:
        say("nobody has handed anything in yet")
    return 0


@gradebook.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@book_command
@click.pass_obj
def roster(app: App, file: Path, gradebook: Path | None) -> int:
    """Import the people of the course from a CSV FILE: id, name, email, section, and the platforms' ids.

    Adds and updates, and removes nobody; columns that the file does not have stay as they are. A file with a wrong line
    changes nothing.
    """
    from grader.gradebook import import_people, opened, read_people

    settings = app.settings(gradebook=gradebook)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=safe(str(file)), fix="check the path") from None
    read = read_people(content, safe(str(file)))
    for wrong in read.errors:
        complain(str(wrong))
    if read.errors:
        if app.json:
            return write("gradebook roster", EXIT_USAGE, {"errors": [str(error) for error in read.errors]})
        return EXIT_USAGE
    with opened(_path(settings)) as database:
        change = import_people(database, read.people, read.columns)
    refresh(settings, _path(settings).parent)
    if app.json:
        return write("gradebook roster", 0, {"gradebook": _shown(settings), "change": change, "errors": []})
    say(f"{len(change.added)} added, {len(change.changed)} changed, {len(change.same)} as before")
    return 0


@gradebook.command()
@click.argument("student", metavar="STUDENT")
@click.argument("lab", metavar="LAB")
@click.option("--until", required=True, metavar="TIME", help="The new due date, such as 2030-01-31T23:59.")
@click.option("--reason", default="", metavar="TEXT", help="Why.")
@by_option
@book_command
@click.pass_obj
def extend(app: App, student: str, lab: str, until: str, reason: str, by: str, gradebook: Path | None) -> int:
    """Give one STUDENT another due date for one LAB. Of several the last counts."""
    from grader import gradebook as book

    when = parse_time(until, "--until")
    return _decide(app, gradebook, lab, "extend", lambda db: book.extend(db, student, lab, when, reason, by))


@gradebook.command()
@click.argument("student", metavar="STUDENT")
@click.argument("lab", metavar="LAB")
@click.option("--points", required=True, type=float, metavar="N", help="Points to add; with a minus, to take off.")
@click.option("--reason", required=True, metavar="TEXT", help="Why.")
@by_option
@book_command
@click.pass_obj
def adjust(app: App, student: str, lab: str, points: float, reason: str, by: str, gradebook: Path | None) -> int:
    """Add points to the grade of one STUDENT in one LAB. It survives every regrade."""
    from grader import gradebook as book

    return _decide(app, gradebook, lab, "adjust", lambda db: book.adjust(db, student, lab, points, reason, by))


@gradebook.command()
@click.argument("student", metavar="STUDENT")
@click.argument("lab", metavar="LAB")
@click.argument("text", metavar="TEXT")
@click.option("--for-student", is_flag=True, help="Send it with exported feedback; otherwise only staff see it.")
@by_option
@book_command
@click.pass_obj
def comment(app: App, student: str, lab: str, text: str, for_student: bool, by: str, gradebook: Path | None) -> int:
    """Leave a comment beside the grade of one STUDENT in one LAB."""
    from grader import gradebook as book

    def leave(database: Any) -> Remark:
        return book.comment(database, student, lab, text, by, for_student=for_student)

    return _decide(app, gradebook, lab, "comment", leave)


@gradebook.command()
@click.argument("remark", type=int, metavar="NUMBER")
@by_option
@book_command
@click.pass_obj
def withdraw(app: App, remark: int, by: str, gradebook: Path | None) -> int:
    """Take back the extension, adjustment or comment with that NUMBER. It stays on record."""
    from grader import gradebook as book

    return _decide(app, gradebook, None, "withdraw", lambda db: book.withdraw(db, remark, by))


@gradebook.command()
@click.option(
    "--from",
    "out",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=REPORT_CARDS,
    help="Where the kept runs are.  [default: report_cards/]",
)
@book_command
@click.pass_obj
def record(app: App, out: Path, gradebook: Path | None) -> int:
    """Write the scores of kept runs into the gradebook, as grade and regrade do by themselves."""
    settings = app.settings(gradebook=gradebook)
    path = gradebook_path(settings, out)
    changed = record_runs(path, out)
    refresh(settings, out)
    if app.json:
        return write("gradebook record", 0, {"gradebook": str(path), "changed": changed})
    say(f"{several(changed, 'score', 'scores')} changed in {path}")
    return 0


@gradebook.command()
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="The CSV.")
@click.option("--excel", is_flag=True, help="For Excel: with the mark by which it knows UTF-8.")
@book_command
@click.pass_obj
def export(app: App, out: Path, excel: bool, gradebook: Path | None) -> int:
    """Write the grades as a CSV table: one row for each student, one column for each lab."""
    from grader.cli.export import put
    from grader.exports import matrix
    from grader.gradebook import directory, opened

    settings, grades = _grades(app, gradebook, None)
    with opened(_path(settings)) as database:
        people = directory(database).people
    put(out, matrix(grades, people, excel=excel))
    if app.json:
        return write("gradebook export", 0, {"gradebook": _shown(settings), "out": str(out)})
    say(f"Grades:  {out}")
    return 0


def _path(settings: Settings) -> Path:
    return gradebook_path(settings, REPORT_CARDS)


def _shown(settings: Settings) -> str:
    return str(_path(settings))


def _grades(app: App, gradebook: Path | None, lab: str | None) -> tuple[Settings, tuple[Grade, ...]]:
    from grader.gradebook import Policy, grades, opened

    settings = app.settings(gradebook=gradebook)
    with opened(_path(settings), create=False) as database:
        return settings, grades(database, Policy.of(settings), settings.due, lab)


def _decide(app: App, gradebook: Path | None, lab: str | None, name: str, decide: Callable[[Any], Remark]) -> int:
    """One decision written down, and told back."""
    from grader.gradebook import opened

    settings = app.settings(gradebook=gradebook)
    if lab is not None:
        choose_labs(*read_labs(settings), (lab,))
    with opened(_path(settings), create=False) as database:
        remark = decide(database)
    refresh(settings, _path(settings).parent)
    if app.json:
        return write(f"gradebook {name}", 0, {"gradebook": _shown(settings), "remark": remark})
    say(_remark(remark))
    return 0


def _remark(remark: Remark) -> str:
    what = {
        "extension": f"due {remark.until}",
        "adjustment": f"{remark.points:+g} points",
        "comment": "comment for the student" if remark.for_student else "comment for staff",
    }[remark.kind]
    place = f"{safe(remark.student, 60)}/{safe(remark.lab, 40)}"
    gone = f"; withdrawn by {safe(remark.withdrawn_by, 80)}, {remark.withdrawn_at}" if remark.withdrawn_at else ""
    words = f": {safe(' '.join(remark.words.split()), 400)}" if remark.words else ""
    return f"[{remark.number}] {place}: {what}{words} ({safe(remark.by, 80)}, {remark.at}{gone})"


def _cells(grade: Grade) -> list[str]:
    counted = grade.counted
    attempt = f"{counted.attempt} of {grade.attempts}" if counted else f"– of {grade.attempts}"
    score = f"{number(counted.score or 0.0)}/{number(counted.max_score or 0.0)}" if counted else ""
    when = _utc(counted.received.at) if counted else ""
    known = counted.received.known if counted else ""
    adjusted = f"{grade.adjustment:+g}" if grade.adjustment else ""
    name = safe(grade.person.name, 60) if grade.person else ""
    points = "" if grade.grade is None else number(grade.grade)
    return [
        safe(grade.lab, 40),
        safe(grade.student, 60),
        name,
        attempt,
        score,
        when,
        known,
        _late(grade),
        adjusted,
        points,
    ]


def _utc(written: str) -> str:
    return written.replace("+00:00", "Z")


def _late(grade: Grade) -> str:
    late = grade.late
    if grade.counted is None and grade.due:
        return f"due {_utc(grade.due)}{', extended' if grade.extended else ''}"
    marked = " (marked late by Canvas)" if grade.counted and grade.counted.received.marked_late else ""
    extended = ", extended" if grade.extended else ""
    if late.state == "late":
        return f"{several(late.days, 'day', 'days')}, −{number(late.percent)} %{extended}"
    if late.state == "unknown":
        return f"unknown: seen after the due date, no time given{extended}"
    return f"{late.state}{extended}{marked}"
