"""``grader doctor``: what this machine can do, what it lacks, and the fix for each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from grader.cli.app import App, common, interruptible, json_option
from grader.cli.jsonout import quiet_stdout, write
from grader.cli.show import console, print_table, say, several, table
from grader.errors import EXIT_OURS

if TYPE_CHECKING:
    from rich.table import Table

    from grader.doctor import Claim, Finding

WORDS = {"ok": ("ok", "green"), "note": ("note", "yellow"), "problem": ("problem", "bold red")}


@click.command(short_help="Examine this machine and say how to fix what is missing.")
@json_option
@common
@click.pass_obj
def doctor(app: App) -> int:
    """Examine this machine: Python, TensorFlow and Keras, GPU, data, sandbox, memory.

    Notes tell what works with less; a problem keeps notebooks from being graded, and makes the exit code 4.
    """
    with quiet_stdout(active=app.json), interruptible(lambda: "nothing was changed"):
        from grader import doctor as examiner

        settings = app.settings()
        with _waiting():
            facts = examiner.gather(settings)
        findings = examiner.diagnose(facts)
    code = EXIT_OURS if any(finding.state == "problem" for finding in findings) else 0
    if app.json:
        return write("doctor", code, {"findings": findings, "facts": facts})
    _tell(findings, facts.sandbox.claims)
    return code


@contextlib.contextmanager
def _waiting() -> Iterator[None]:
    """A spinner: importing TensorFlow takes seconds."""
    screen = console(err=True)
    if not screen.is_terminal or screen.is_dumb_terminal:
        yield
        return
    with screen.status("examining this machine: importing TensorFlow, trying the sandbox"):
        yield


def _tell(findings: tuple[Finding, ...], claims: tuple[Claim, ...]) -> None:
    from rich.text import Text

    rows = table("", ["", "", "found"])
    for finding in findings:
        word, style = WORDS[finding.state]
        text = Text(finding.text)
        if finding.fix:
            text.append(f"\nfix: {finding.fix}", style="bold" if finding.state == "problem" else "")
        rows.add_row(Text(finding.topic), Text(word, style=style), text)
    rows.show_header = False
    print_table(rows)
    say()
    if claims:
        print_table(_proved(claims))
        say()
    problems = sum(finding.state == "problem" for finding in findings)
    notes = sum(finding.state == "note" for finding in findings)
    say("no problem" if not problems else several(problems, "problem", "problems"), err=False)
    if notes:
        say(f"{several(notes, 'note', 'notes')}: grading works, with less")


def _proved(claims: tuple[Claim, ...]) -> Table:
    """What the canary tried to break, level by level."""
    from rich.text import Text

    rows = table("What a run in this sandbox", ["level", "", "held"])
    for claim in claims:
        held = Text("yes", style="green") if claim.held else Text("no", style="bold red")
        rows.add_row(claim.level.name, claim.text, held)
    return rows
