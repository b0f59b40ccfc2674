"""``grader build``: a lab packed for another system that grades."""

from __future__ import annotations

from pathlib import Path

import click

from grader.cli.app import App, common, json_option, the_lab
from grader.cli.jsonout import write
from grader.cli.show import say


@click.group(short_help="Pack a lab for Gradescope.")
def build() -> None:
    """Pack a lab for another system that grades."""


@build.command()
@click.argument("lab", metavar="LAB")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="The zip to write."
)
@click.option("--tier", type=click.Choice(["full", "lite"]), default="lite", help="Tier of the data.  [default: lite]")
@click.option("--min-level", metavar="LEVEL", default="L1", help="Refuse to grade in a weaker sandbox.  [default: L1]")
@json_option
@common
@click.pass_obj
def gradescope(app: App, lab: str, out: Path, tier: str, min_level: str) -> int:
    """Write the autograder zip of LAB for Gradescope. It holds the hidden suite and the secret: keep it private."""
    from grader.cli.export import put
    from grader.exports.autograder import build as make
    from grader.records import Level

    settings = app.settings(min_level=min_level)
    level = Level(settings.min_level)
    built = make(the_lab(settings, lab), settings, tier=tier, level=level)
    put(out, built.content)
    if app.json:
        facts = {"lab": lab, "out": str(out), "files": built.files, "needs_mb": built.needs_mb, "container": built.size}
        return write("build gradescope", 0, facts)
    say(f"Autograder:  {out}  ({len(built.content) / 2**20:.1f} MB, {built.files} files)")
    say()
    say(f"In Gradescope, under Autograder Settings, choose the container '{built.size}': a run of {lab} may take")
    say(f"{built.needs_mb:,} MB. The default of 0.75 GB is too small for any lab, TensorFlow alone comes near 720 MB.")
    say("The zip holds the hidden suite and the course's secret: upload it as the autograder and give it to nobody.")
    if level > Level.L0:
        say(
            f"Try one submission first. If it says that the sandbox is weaker than {level.name}, the container allows none:"
        )
        say("build again with --min-level L0, and know that a hostile notebook can then read the hidden suite.")
    else:
        say("At L0 there is no sandbox: a hostile notebook can read the hidden suite and write its own score.")
    return 0
