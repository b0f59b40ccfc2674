"""``grader regrade``: judge kept runs again, without running a notebook, and say what changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from grader.cli.app import (
    LOG,
    REPORT_CARDS,
    App,
    choose_labs,
    common,
    interruptible,
    journal_options,
    json_option,
    lab_exit,
    read_labs,
)
from grader.cli.book import gradebook_option, recorded
from grader.cli.jsonout import quiet_stdout, write
from grader.cli.show import complain, number, print_table, safe, say, several, table
from grader.errors import EXIT_OURS, UsageError

if TYPE_CHECKING:
    from grader.regrading import Regraded
    from grader.replay import Change


@click.command(short_help="Judge kept runs again after a change, without running them.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=REPORT_CARDS,
    help="Where the kept runs are.  [default: report_cards/]",
)
@click.option("--lab", metavar="ID", help="Only this lab.")
@click.option("--jobs", type=int, metavar="N", help="Runs at a time.  [default: one per core]")
@click.option("--no-rerun", is_flag=True, help="Run nothing: list the runs whose tape cannot answer.")
@gradebook_option
@journal_options
@json_option
@common
@click.pass_obj
def regrade(app: App, out: Path, lab: str | None, jobs: int | None, no_rerun: bool, gradebook: Path | None) -> int:
    """Judge the kept runs again from their tapes: after a change of thresholds, points, messages or checks.

    No notebook is run for that. A run whose tape cannot answer a new question is run again, unless --no-rerun: then
    it keeps its old score, and exit code 4 says that there are such runs, or some that cannot be read.
    """
    with quiet_stdout(active=app.json):
        from grader.cli.progress import watch
        from grader.regrading import regrade as regrade_batch

        settings = app.settings(jobs=jobs, gradebook=gradebook)
        if not out.is_dir():
            raise UsageError(
                "holds no kept runs", where=str(out), fix="run `grader grade` first, or name it with --out"
            )
        labs, wrong = choose_labs(*read_labs(settings), (lab,) if lab else ())
        wrong = {name: error for name, error in wrong.items() if lab or any(out.glob(f"{name}/*/staff"))}
        code = lab_exit(wrong)
        with interruptible(lambda: f"the runs regraded so far stay in {out}"), watch(app, log=out / LOG) as show:
            codes = [code]
            done = regrade_batch(
                out,
                labs,
                settings,
                lab,
                show,
                rerun=not no_rerun,
                note_scores=lambda: codes.append(recorded(settings, out, lab)),
            )
        code = max(codes)
        if done.problems or (no_rerun and any(change.rerun for change in done.changes)):
            code = max(code, EXIT_OURS)
    if app.json:
        content = {"out": str(out), "changes": [_content(change) for change in done.changes]}
        content |= {"problems": done.problems, "lab_errors": [str(error) for error in wrong.values()]}
        return write("regrade", code, content)
    _tell(done, no_rerun=no_rerun)
    return code


def _tell(done: Regraded, *, no_rerun: bool) -> None:
    moved = [change for change in done.changes if change.moved]
    if moved:
        rows = table("", ["lab", "student", "before", "after", "checks"], right=["before", "after"])
        for change in moved:
            checks = ", ".join(f"{c.id} {number(c.before)} → {number(c.after)}" for c in change.checks)
            names = safe(change.lab, 40), safe(change.student, 60)
            rows.add_row(*names, number(change.before), number(change.after), safe(checks, 600))
        print_table(rows)
        say()
    say(f"{several(len(moved), 'run', 'runs')} changed" if moved else "nothing changed")
    again = [f"{safe(change.lab, 40)}/{safe(change.student, 60)}" for change in done.changes if change.rerun]
    if again:
        what = "`grader regrade` without --no-rerun runs them again" if no_rerun else "run again"
        say(f"{several(len(again), 'run', 'runs')} could not be judged from the tape; {what}:")
        for name in again:
            say(f"  {name}")
    for problem in done.problems:
        complain(problem)


def _content(change: Change) -> dict[str, Any]:
    return {
        "lab": change.lab,
        "student": change.student,
        "before": change.before,
        "after": change.after,
        "rerun": change.rerun,
        "checks": [{"id": check.id, "before": check.before, "after": check.after} for check in change.checks],
    }
