"""What commands share about the gradebook: where it is, who is in it, and how a batch is written into it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from grader.errors import GraderError, UsageError

if TYPE_CHECKING:
    from grader.gradebook import Grade
    from grader.records import Verdict
    from grader.settings import Settings
    from grader.submissions import Submission, Whose

F = TypeVar("F", bound=Callable[..., Any])


def gradebook_option(command: F) -> F:
    """``--gradebook``."""
    return click.option(
        "--gradebook",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="File of the gradebook.  [default: gradebook.db beside the cards]",
    )(command)


def gradebook_path(settings: Settings, out: Path) -> Path:
    """The gradebook that goes with these cards."""
    from grader.settings import gradebook_path as path_of

    return path_of(settings, out)


def people_of(path: Path) -> Whose:
    """Knows whom a platform means by a name or number, where the gradebook has a roster."""
    from grader.gradebook import directory, opened
    from grader.submissions import nobody

    if not path.exists():
        return nobody
    with opened(path) as database:
        everybody = directory(database)

    def whose(names: Sequence[str], lms: str, lms_id: str) -> str:
        found = (everybody.find(name, lms, lms_id) for name in names)
        return next((person.id for person in found if person), "")

    return whose


def enrolled(path: Path, submissions: Sequence[Submission], at: dt.datetime | None = None) -> Sequence[Submission]:
    """Note what was handed in, and give each submission its attempt and its time. ``at``: staff say when that was."""
    import msgspec

    from grader.gradebook import Handed, enrol, opened
    from grader.records import Received
    from grader.shelf import Shelf
    from grader.submissions import Submission

    given = Received(at=at.isoformat(), known="given") if at else None
    handed = (_with_time(item, given) for item in submissions)
    places = [Handed(lab=s.lab, student=s.student, submission=s.sha256, received=s.received) for s in handed]
    with opened(path) as database:
        attempts = enrol(database, places)
    pairs = zip(submissions, attempts, strict=True)
    return Shelf(Submission, (msgspec.structs.replace(s, attempt=a.attempt, received=a.received) for s, a in pairs))


def _with_time(submission: Submission, given: Any) -> Submission:
    import msgspec

    if given is None:
        return submission
    old = submission.received or given
    said = msgspec.structs.replace(given, lms=old.lms, lms_id=old.lms_id, marked_late=old.marked_late)
    return msgspec.structs.replace(submission, received=said)


def record_runs(path: Path, out: Path, lab: str | None = None) -> int:
    """Write the scores of the kept runs into the gradebook; the number of those that changed."""
    from grader.gradebook import opened, record
    from grader.store import verdicts

    with opened(path) as database:
        return record(database, (verdict for _, verdict in verdicts(out, lab)))


def recorded(settings: Settings, out: Path, lab: str | None = None) -> int:
    """The same in a batch, whose cards are worth telling of whatever becomes of the gradebook; the exit code it asks for."""
    from grader.cli.show import complain

    try:
        record_runs(gradebook_path(settings, out), out, lab)
    except GraderError as error:
        complain(f"{error}; the cards are complete, and `grader gradebook record` writes their scores")
        return error.exit_code
    return 0


def refresh(settings: Settings, out: Path) -> None:
    """Show a decision on the students' pages, where the gradebook lies beside them."""
    from grader.pages import write_students

    if (out / "students").is_dir():
        write_students(out, settings)


def standing(settings: Settings, out: Path, lab: str | None = None) -> tuple[tuple[Grade, ...], tuple[Verdict, ...]]:
    """The grades and verdicts that an export is made of. Raises UsageError where there are none."""
    from grader.gradebook import Policy
    from grader.gradebook.grades import grades_of
    from grader.store import verdicts as kept

    verdicts = tuple(verdict for _, verdict in kept(out, lab))
    path = gradebook_path(settings, out)
    if not verdicts and not path.exists():
        raise UsageError("holds no kept runs", where=str(out), fix="run `grader grade` first, or name it with --from")
    return grades_of(path, verdicts, Policy.of(settings), settings.due, lab), verdicts


def parse_time(raw: str, option: str) -> dt.datetime:
    """A time as typed; a date alone is the end of that day, and without an offset this machine's clock counts."""
    try:
        if len(raw) == len("2030-01-31"):
            return dt.datetime.combine(dt.date.fromisoformat(raw), dt.time(23, 59, 59)).astimezone()
        found = dt.datetime.fromisoformat(raw)
    except ValueError:
        fix = "write 2030-01-31T23:59 or 2030-01-31T23:59+08:00"
        raise UsageError(f"'{raw[:60]}' is not a time", where=option, fix=fix) from None
    return found if found.tzinfo else found.astimezone()
