"""``grader grade``: run and judge what was handed in, and write the report cards."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from grader.cli.app import (
    LOG,
    REPORT_CARDS,
    App,
    common,
    interruptible,
    journal_options,
    json_option,
    lab_exit,
    read_labs,
)
from grader.cli.book import enrolled, gradebook_option, gradebook_path, parse_time, people_of, recorded
from grader.cli.jsonout import quiet_stdout, write
from grader.cli.show import complain, duration, number, one_line, safe, say, several
from grader.errors import EXIT_DEFERRED, EXIT_OURS, OursError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grader.batch import Summary
    from grader.errors import LabError
    from grader.reports import ClassRow
    from grader.settings import Settings
    from grader.submissions import Intake

SUBMISSIONS = Path("submissions")
#: Troubled runs that are told one by one; a broken machine troubles them all.
SHOWN = 10


@click.command(short_help="Run and judge what was handed in, write report cards.")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[PATH]...")
@click.option("--lab", metavar="ID", help="The lab, where a file's name does not say it.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=REPORT_CARDS,
    help="Where the cards go.  [default: report_cards/]",
)
@click.option("--jobs", type=int, metavar="N", help="Runs at a time.  [default: one per core]")
@click.option("--scheduler", metavar="ADDRESS", help="Run notebooks on the workers of this Dask scheduler.")
@click.option("--min-level", metavar="LEVEL", help="Refuse to grade in a sandbox weaker than this: L0 to L3.")
@click.option("--fresh", is_flag=True, help="Run everything again, also what is graded already and unchanged.")
@click.option("--cold", is_flag=True, help="Start a fresh kernel for each run instead of forking a warm one.")
@click.option("--data", type=click.Path(path_type=Path), metavar="FOLDER", help="Folder with the full data sets.")
@click.option("--tier", type=click.Choice(["full", "lite"]), help="Insist on this tier of the data.")
@click.option(
    "--submitted-at", metavar="TIME", help="When all of this was handed in, where no platform's metadata say it."
)
@gradebook_option
@journal_options
@json_option
@common
@click.pass_obj
def grade(  # noqa: PLR0913, PLR0917 - one parameter for each option
    app: App,
    paths: tuple[Path, ...],
    lab: str | None,
    out: Path,
    jobs: int | None,
    scheduler: str | None,
    min_level: str | None,
    fresh: bool,
    cold: bool,
    data: Path | None,
    tier: str | None,
    submitted_at: str | None,
    gradebook: Path | None,
) -> int:
    """Grade what was handed in: run every notebook in a sandbox, judge it, write report cards.

    PATH is a notebook, a folder <student>/<lab>.ipynb, a zip of them, or what Canvas, Moodle or Gradescope give for
    download; without any, the folder submissions/.
    What an earlier run of this command finished is kept where neither notebook, lab nor settings have changed since.
    Exit code 0 means that everything was graded, whatever the scores.
    """
    with quiet_stdout(active=app.json):
        from grader.batch import Plan
        from grader.batch import grade as grade_batch
        from grader.cli.progress import watch
        from grader.records import Level, Tier
        from grader.shelf import Shelf
        from grader.submissions import Submission, collect

        if scheduler and jobs:
            raise UsageError("--jobs is for this machine", fix="a cluster runs one notebook on each of its workers")
        settings = app.settings(jobs=jobs, min_level=min_level, data=data, gradebook=gradebook)
        labs, wrong = read_labs(settings)
        book = gradebook_path(settings, out)
        given = parse_time(submitted_at, "--submitted-at") if submitted_at else None
        intake = collect(_paths(paths), [*labs, *wrong], lab, people_of(book))
        wanted = {item.lab for item in intake.submissions}
        wrong = {name: error for name, error in wrong.items() if name in wanted}
        submissions: Sequence[Submission] = Shelf(Submission, (item for item in intake.submissions if item.lab in labs))
        code = lab_exit(wrong)
        for name in wrong:
            left = sum(item.lab == name for item in intake.submissions)
            complain(f"{several(left, 'submission', 'submissions')} for {name} left ungraded", kind="warning")
        if not submissions and not wrong:
            _refuse(intake, paths)
        if submissions:
            _make(out)  # before the gradebook, which lies in it by default
            submissions = enrolled(book, submissions, given)
        plan = Plan(
            submissions=submissions,
            labs=labs,
            settings=settings,
            out=out,
            jobs=settings.jobs,
            min_level=Level(settings.min_level) if settings.min_level else None,
            cold=cold,
            tier=Tier(tier) if tier else None,
            fresh=fresh,
            scheduler=scheduler or "",
        )
        summary: Summary | None = None
        if submissions:
            with interruptible(lambda: _left(out, settings)), watch(app, len(submissions), out / LOG) as show:
                codes = [code]
                summary = grade_batch(plan, show, note_scores=lambda: codes.append(recorded(settings, out)))
            code = max(codes)
        for error in summary.errors if summary else ():
            complain(str(error) if isinstance(error, OursError) else f"{error}; its submissions were left ungraded")
            code = max(code, error.exit_code)
        if summary and summary.attention:
            code = max(code, EXIT_OURS)
        if summary and summary.deferred:
            code = code or EXIT_DEFERRED
    if app.json:
        return write("grade", code, {**_content(summary, intake, wrong, out), "gradebook": str(book)})
    _tell(summary, intake, out)
    return code


def _left(out: Path, settings: Settings) -> str:
    """What an interrupt leaves behind; overview and gradebook are brought up to date with the finished cards."""
    from grader.pages import write_pages

    if any(out.glob("*/*/card.html")):
        recorded(settings, out)
        with contextlib.suppress(OSError):
            write_pages(out, settings)
    else:
        return "no card was finished"
    return f"the cards finished so far stay in {out}"


def _make(out: Path) -> None:
    """The folder for the cards."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fix = "name another folder with --out"
        raise UsageError(f"cannot be made: {error.strerror or error}", where=str(out), fix=fix) from None


def _paths(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    if paths:
        return paths
    if not SUBMISSIONS.is_dir():
        raise UsageError("nothing to grade", fix="name a notebook, a folder or a zip, or make a folder submissions/")
    return (SUBMISSIONS,)


def _refuse(intake: Intake, paths: tuple[Path, ...]) -> None:
    """There is nothing to grade at all: say of each file why."""
    messages = intake.messages()
    for message in messages[:-1]:
        complain(message)
    raise UsageError(messages[-1] if messages else f"{paths[0] if paths else SUBMISSIONS}: holds nothing to grade")


def _why(out: Path, row: ClassRow) -> str:
    """Why a run needs attention, from its verdict; "" where the verdict does not say."""
    import msgspec

    from grader.records import Verdict

    try:
        verdict = msgspec.json.decode((out / row.card).with_name("result.json").read_bytes(), type=Verdict)
    except (OSError, msgspec.DecodeError):
        return ""
    return one_line(verdict.needs_attention[0], 400) if verdict.needs_attention else ""


def _tell(summary: Summary | None, intake: Intake, out: Path) -> None:
    """The end of a batch, for a person."""
    if summary is None:
        return
    graded = several(len(summary.rows), "submission", "submissions")
    say()
    say(f"{graded} graded in {duration(summary.seconds)}, sandbox level {summary.level.name}{_shares(summary)}")
    for lab in dict.fromkeys(row.lab for row in summary.rows):
        rows = [row for row in summary.rows if row.lab == lab and not row.deferred]
        if not rows:
            continue
        scores = sorted(row.score for row in rows)
        middle = (scores[(len(scores) - 1) // 2] + scores[len(scores) // 2]) / 2
        most = max(row.max_score for row in rows)
        say(f"  {lab}: {len(rows)} graded, median {number(middle)} of {number(most)}")
    if len(summary.rows) == 1 and summary.rows[0].card:
        say(f"Report card:   {out / summary.rows[0].card.replace('/staff/', '/')}")
    else:
        say(f"Report cards:  {out / '<lab>' / '<student>' / 'card.html'}")
    say(f"The class:     {summary.index}")
    if troubled := [row for row in summary.rows if row.needs_attention]:
        say(f"{several(len(troubled), 'run needs', 'runs need')} attention, through no fault of the student:")
        for row in troubled[:SHOWN]:
            say(f"  {safe(row.lab, 40)}/{safe(row.student, 60)}: {_why(out, row) or 'see the card in staff/'}")
        if len(troubled) > SHOWN:
            say(f"  and {len(troubled) - SHOWN} more; the overview marks them")
    if summary.deferred:
        say(f"{several(summary.deferred, 'run waits', 'runs wait')} for a machine with a GPU: grade them there")
    if messages := intake.messages():
        say(f"{several(len(messages), 'bad input', 'bad inputs')}:")
        for message in messages:
            say(f"  {safe(message, 400)}")


def _shares(summary: Summary) -> str:
    """How many were kept, judged again and run, where they were not all run."""
    ran = len(summary.rows) - summary.kept - summary.judged
    if not summary.kept and not summary.judged:
        return ""
    shares = ((summary.kept, "kept"), (summary.judged, "judged again"), (ran, "run"))
    return ": " + ", ".join(f"{count} {what}" for count, what in shares if count)


def _content(summary: Summary | None, intake: Intake, wrong: dict[str, LabError], out: Path) -> dict[str, Any]:
    """The summary object of ``--json``."""
    rows = summary.rows if summary else ()
    return {
        "out": str(out),
        "index": str(summary.index) if summary else "",
        "level": summary.level.name if summary else "",
        "seconds": round(summary.seconds, 3) if summary else 0.0,
        "graded": len(rows),
        "kept": summary.kept if summary else 0,
        "judged": summary.judged if summary else 0,
        "attention": summary.attention if summary else 0,
        "deferred": summary.deferred if summary else 0,
        "runs": [
            {
                "lab": row.lab,
                "student": row.student,
                "score": row.score,
                "max_score": row.max_score,
                "ending": row.ending.value,
                "level": row.level.name,
                "tier": row.tier.value,
                "seconds": round(row.seconds, 3),
                "needs_attention": row.needs_attention,
                "reason": _why(out, row) if row.needs_attention else "",
                "flags": row.flags,
                "card": row.card,
            }
            for row in rows
        ],
        "bad_inputs": [*map(str, intake.errors), *(item.message for item in intake.submissions if item.problem)],
        "lab_errors": [str(error) for error in wrong.values()],
        "sandbox": summary.proof if summary else None,
    }
