"""``grader new``: a lab to begin with."""

from __future__ import annotations

import click

from grader.cli.app import App, common, json_option
from grader.cli.jsonout import write
from grader.cli.show import say


@click.command(short_help="Begin a lab that holds at once.")
@click.argument("lab", metavar="LAB")
@click.option("--title", default="", metavar="TEXT", help="Its title.  [default: made of the id]")
@click.option("--title-zh", default="", metavar="TEXT", help="Its Chinese title.  [default: the title]")
@json_option
@common
@click.pass_obj
def new(app: App, lab: str, title: str, title_zh: str) -> int:
    """Begin the lab LAB in the labs folder: spec, suites, reference, handouts, mutants, alternatives, translations.

    It holds as it is; change it step by step and prove it with `grader verify`. Nothing is written over.
    """
    from grader.authoring.scaffold import new_lab
    from grader.settings import labs_to_write

    folder, reference = new_lab(labs_to_write(app.settings()), lab, title, title_zh)
    if app.json:
        return write("new", 0, {"lab": lab, "folder": str(folder), "reference": str(reference)})
    say(f"Lab:        {folder}")
    say(f"Reference:  {reference}")
    say()
    say(
        f"Prove it with `grader verify {lab}`, examine it with `grader lint {lab}`. docs/authoring.md explains every key."
    )
    return 0
