"""``grader init-ci``: the workflows of a course's repository."""

from __future__ import annotations

from pathlib import Path

import click

from grader.cli.app import App, common, json_option
from grader.cli.export import put_new
from grader.cli.jsonout import write
from grader.cli.show import say


@click.command("init-ci", short_help="Write the CI workflows of a course's repository.")
@click.argument("side", type=click.Choice(("staff", "student")), metavar="staff|student")
@click.option(
    "--action",
    required=True,
    metavar="ADDRESS",
    help="Where the workflows find the grader: OWNER/REPOSITORY@ and the full hash of a commit.",
)
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    metavar="FOLDER",
    help="The repository.  [default: this folder]",
)
@click.option("--force", is_flag=True, help="Write over workflows that are there.")
@json_option
@common
@click.pass_obj
def init_ci(app: App, side: str, action: str, into: Path, force: bool) -> int:
    """Write GitHub workflows: for staff, verify changed labs and grade the class; for a student, check on every push.

    Says what it wrote and what is left to set. See docs/course-repository.md.
    """
    from grader.ci import workflows

    made = workflows(side, action)
    put_new(into, {name: text.encode() for name, text in made.files.items()}, force=force)
    if app.json:
        return write("init-ci", 0, {"written": [str(into / name) for name in made.files], "to_set": made.to_set})
    for name in made.files:
        say(f"wrote {into / name}")
    say()
    say("Before it works:")
    for step in made.to_set:
        say(f"- {step}")
    return 0
