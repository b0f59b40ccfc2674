"""``grader export``: grades and verdicts in the formats of learning platforms, spreadsheets and CI."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from grader.cli.app import REPORT_CARDS, App, common, json_option, read_labs
from grader.cli.book import gradebook_option, standing
from grader.cli.jsonout import write
from grader.cli.show import complain, safe, say, several
from grader.errors import UsageError, plain

if TYPE_CHECKING:
    from grader.exports import Filled
    from grader.records import Verdict

F = TypeVar("F", bound=Callable[..., Any])
#: Students that are named one by one.
NAMED = 5


@click.group(short_help="Hand grades on: Canvas, Moodle, Gradescope, CSV, JUnit, GitHub.")
def export() -> None:
    """Hand grades on to where they are used.

    Grades are the gradebook's, with late policy and adjustments; without a gradebook they are the scores of the kept
    runs.
    """


def _from(command: F) -> F:
    """``--from`` and ``--lab``."""
    out = click.option(
        "--from",
        "source",
        type=click.Path(path_type=Path, file_okay=False),
        default=REPORT_CARDS,
        metavar="FOLDER",
        help="Where the kept runs are.  [default: report_cards/]",
    )
    lab = click.option("--lab", metavar="ID", help="Only this lab.")
    return out(lab(command))


def _shared(command: F) -> F:
    return gradebook_option(json_option(common(command)))


def _sheet(command: F) -> F:
    """What filling a platform's own sheet needs."""
    fill = click.option(
        "--fill",
        required=True,
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="The sheet as the platform exports it.",
    )
    out = click.option(
        "--out",
        required=True,
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Where the filled sheet goes.",
    )
    scale = click.option("--scale", is_flag=True, help="Convert where the sheet gives other points than the lab.")
    return fill(out(scale(command)))


out_option = click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Where it goes.  [default: stdout]"
)


@export.command()
@_sheet
@click.option("--column", default="", metavar="TITLE", help="The assignment, by title or number.")
@_from
@_shared
@click.pass_obj
def canvas(
    app: App,
    fill: Path,
    out: Path,
    scale: bool,
    column: str,
    source: Path,
    lab: str | None,
    gradebook: Path | None,
) -> int:
    """Fill one column of the instructor's own Canvas gradebook export."""
    from grader.exports import fill_canvas

    settings = app.settings(gradebook=gradebook)
    grades, _ = standing(settings, source, lab)
    labs, _ = read_labs(settings)
    ids = sorted({grade.lab for grade in grades})
    titles = [word for name in ids if name in labs for word in (name, labs[name].title, labs[name].title_zh) if word]
    where = safe(str(fill))
    filled = fill_canvas(_read(fill), grades, titles=titles or ids, column=column, scale=scale, where=where)
    return _told(app, "export canvas", filled, out)


@export.command()
@_sheet
@click.option("--grade-column", default="", metavar="TITLE", help="The column of the grade, where it is not clear.")
@click.option("--feedback-column", default="", metavar="TITLE", help="The column of the feedback.")
@_from
@_shared
@click.pass_obj
def moodle(  # noqa: PLR0913, PLR0917 - one parameter for each option
    app: App,
    fill: Path,
    out: Path,
    scale: bool,
    grade_column: str,
    feedback_column: str,
    source: Path,
    lab: str | None,
    gradebook: Path | None,
) -> int:
    """Fill grade and feedback into the grading worksheet that Moodle gives for download."""
    from grader.exports import fill_moodle, indexed, translated_verdict

    settings = app.settings(gradebook=gradebook)
    grades, verdicts = standing(settings, source, lab)
    filled = fill_moodle(
        _read(fill),
        grades,
        indexed(translated_verdict(verdict, settings.labs) for verdict in verdicts),
        grade_column=grade_column,
        feedback_column=feedback_column,
        scale=scale,
        where=safe(str(fill)),
    )
    return _told(app, "export moodle", filled, out)


@export.command()
@click.option("--student", metavar="NAME", help="Only this student, as handed in.")
@click.option(
    "--metadata",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Gradescope's submission_metadata.json: when it was handed in, and when it was due.",
)
@click.option(
    "--said",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="What `grader grade --json` printed: where nothing was graded, the student reads why.",
)
@click.option(
    "--visibility",
    type=click.Choice(["hidden", "after_due_date", "after_published", "visible"]),
    default="visible",
    help="When students see it.  [default: visible]",
)
@out_option
@_from
@json_option
@common
@click.pass_obj
def gradescope(
    app: App,
    student: str | None,
    metadata: Path | None,
    said: Path | None,
    visibility: Literal["hidden", "after_due_date", "after_published", "visible"],
    out: Path | None,
    source: Path,
    lab: str | None,
) -> int:
    """Write one run as Gradescope's results.json."""
    from grader.exports import Metadata, results, translated_verdict
    from grader.exports.gradescope import no_results
    from grader.gradebook import Policy
    from grader.store import verdicts as kept

    found = [v for _, v in kept(source, lab) if student in (None, v.student)]
    if len(found) == 1:
        told = Metadata.read(_read(metadata), safe(str(metadata))) if metadata else None
        settings = app.settings()
        verdict = translated_verdict(found[0], settings.labs)
        content = results(verdict, told, Policy.of(settings), visibility)
    elif said is not None:
        two = "More than one notebook was handed in: keep one. " if found else ""
        content = no_results(two + _why(_read(said)))
    else:
        what = f"holds {several(len(found), 'run', 'runs')} of that kind, not one"
        raise UsageError(what, where=str(source), fix="choose one with --lab and --student")
    return _delivered(app, "export gradescope", content, out)


@export.command("csv")
@click.option("--excel", is_flag=True, help="For Excel: with the mark by which it knows UTF-8.")
@out_option
@_from
@_shared
@click.pass_obj
def csv_(app: App, excel: bool, out: Path | None, source: Path, lab: str | None, gradebook: Path | None) -> int:
    """Write one row for each student and lab, with how the grade came about."""
    from grader.exports import long_table

    grades, _ = standing(app.settings(gradebook=gradebook), source, lab)
    return _delivered(app, "export csv", long_table(grades, excel=excel), out)


@export.command("junit")
@out_option
@_from
@json_option
@common
@click.pass_obj
def junit_(app: App, out: Path | None, source: Path, lab: str | None) -> int:
    """Write the verdicts as JUnit XML: a failure is the student's, an error is ours."""
    from grader.exports import junit

    _, verdicts = standing(app.settings(), source, lab)
    return _delivered(app, "export junit", junit(verdicts, _notebooks(source)), out)


def _checked(command: F) -> F:
    """``--checked``."""
    return click.option(
        "--checked",
        multiple=True,
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="What `grader check --json` printed, instead of kept runs.",
    )(command)


@export.command("github")
@_checked
@out_option
@_from
@json_option
@common
@click.pass_obj
def github_(app: App, checked: tuple[Path, ...], out: Path | None, source: Path, lab: str | None) -> int:
    """Write annotations for GitHub Actions: an error for each check that failed."""
    from grader.exports import translated_verdict, workflow_commands

    settings = app.settings()
    if checked:
        verdicts, files = _self_checks(checked, lab)
    else:
        verdicts, files = standing(settings, source, lab)[1], _notebooks(source)
    verdicts = tuple(translated_verdict(verdict, settings.labs) for verdict in verdicts)
    return _delivered(app, "export github", workflow_commands(verdicts, files).encode(), out)


@export.command("summary")
@_checked
@out_option
@_from
@_shared
@click.pass_obj
def summary_(
    app: App,
    checked: tuple[Path, ...],
    out: Path | None,
    source: Path,
    lab: str | None,
    gradebook: Path | None,
) -> int:
    """Write the grades as a job summary for GitHub Actions, at most 1 MiB of Markdown."""
    from grader.exports import indexed, summary
    from grader.exports.selfchecks import TITLE, hints

    if checked:
        verdicts, _ = _self_checks(checked, lab)
        text = summary(hints(verdicts), indexed(verdicts), title=TITLE)
    else:
        grades, verdicts = standing(app.settings(gradebook=gradebook), source, lab)
        text = summary(grades, indexed(verdicts))
    return _delivered(app, "export summary", text.encode(), out)


@export.command("classroom")
@_checked
@out_option
@_from
@_shared
@click.pass_obj
def classroom_(
    app: App,
    checked: tuple[Path, ...],
    out: Path | None,
    source: Path,
    lab: str | None,
    gradebook: Path | None,
) -> int:
    """Write the notice from which GitHub Classroom reads the points."""
    from grader.exports import classroom
    from grader.exports.selfchecks import hints

    if checked:
        grades = hints(_self_checks(checked, lab)[0])
    else:
        grades, _ = standing(app.settings(gradebook=gradebook), source, lab)
    return _delivered(app, "export classroom", classroom(grades).encode(), out)


def put(path: Path, content: bytes) -> None:
    """Write a file whole, or say why not."""
    from grader.store import write_whole

    try:
        write_whole(path, content)
    except OSError as error:
        raise UsageError(f"cannot be written: {error.strerror}", where=str(path), fix="choose another --out") from None


def put_new(folder: Path, files: Mapping[str, bytes], *, force: bool) -> None:
    """Write files below a folder; none is written where one is there already, unless ``force``."""
    for name in () if force else files:
        if (folder / name).exists():
            fix = "nothing was written; move it away, or write over it with --force"
            raise UsageError("exists already", where=str(folder / name), fix=fix)
    for name, content in files.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            what = f"cannot be made: {error.strerror}"
            raise UsageError(what, where=str(path.parent), fix="choose another folder") from None
        put(path, content)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        where = safe(str(path))
        raise UsageError(f"cannot be read: {error.strerror}", where=where, fix="check the path") from None


def _told(app: App, command: str, filled: Filled, out: Path) -> int:
    """A filled sheet, and who is not in it."""
    put(out, filled.content)
    if app.json:
        names = {"filled": filled.filled, "protected": filled.protected, "without_row": filled.without_row}
        return write(command, 0, {"out": str(out), **names})
    say(f"{several(len(filled.filled), 'grade', 'grades')} filled into {out}")
    for students, why in (
        (filled.protected, "kept as the platform has them"),
        (filled.without_row, "not in the sheet"),
    ):
        if students:
            more = f" and {len(students) - NAMED} more" if len(students) > NAMED else ""
            complain(f"{why}: {', '.join(safe(name, 60) for name in students[:NAMED])}{more}", kind="warning")
    return 0


def _delivered(app: App, command: str, content: bytes, out: Path | None) -> int:
    """Into the file, or to stdout as it is."""
    if out is not None:
        put(out, content)
    if app.json:
        return write(command, 0, {"out": str(out or ""), "content": "" if out else content.decode()})
    if out is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
    return 0


def _notebooks(source: Path) -> dict[tuple[str, str], str]:
    """Where each run's notebook lies, for annotations; only paths below this folder, since others mean nothing there."""
    import msgspec

    from grader.store import verdicts

    found = {}
    for folder, verdict in verdicts(source):
        try:
            document = msgspec.json.decode((folder / "staff" / "submission.json").read_bytes())
        except (OSError, msgspec.DecodeError):
            continue
        path = document.get("source", "") if isinstance(document, dict) else ""
        if _lies_here(path):
            found[verdict.lab, verdict.student] = path
    return found


def _lies_here(path: str) -> bool:
    return bool(path) and not Path(path).is_absolute() and ".." not in Path(path).parts


def _self_checks(files: Sequence[Path], lab: str | None) -> tuple[tuple[Verdict, ...], dict[tuple[str, str], str]]:
    """The verdicts in these files, and where each one's notebook lies."""
    import msgspec

    from grader.exports.selfchecks import self_checked

    found = []
    for path in files:
        try:
            said = self_checked(_read(path))
        except msgspec.DecodeError as error:
            fix = "write it with `grader check NOTEBOOK --json`"
            raise UsageError(f"holds no self-check: {plain(str(error))}", where=safe(str(path)), fix=fix) from None
        if lab in (None, said.verdict.lab):
            found.append(said)
    notebooks = {(said.verdict.lab, said.verdict.student): said.notebook for said in found}
    return tuple(said.verdict for said in found), {key: path for key, path in notebooks.items() if _lies_here(path)}


def _why(said: bytes) -> str:
    """What `grader grade --json` gave as the reason."""
    import msgspec

    try:
        document = msgspec.json.decode(said)
    except msgspec.DecodeError:
        document = None
    document = document if isinstance(document, dict) else {}
    reasons = [*map(str, document.get("bad_inputs") or ()), *filter(None, [str(document.get("error") or "")])]
    return plain(" ".join(reasons), 1_000) or "The grader stopped early. Staff will look at it."
