"""``grader starter``: the exercise that students get, made from the reference solution."""

from __future__ import annotations

from pathlib import Path

import click

from grader.cli.app import App, common, json_option, the_lab
from grader.cli.jsonout import write
from grader.cli.show import say
from grader.errors import UsageError


@click.command(short_help="Write a lab's starter notebook.")
@click.argument("lab", metavar="LAB")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="[default: LAB.ipynb]")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@json_option
@common
@click.pass_obj
def starter(app: App, lab: str, out: Path | None, force: bool) -> int:
    """Write the starter notebook of LAB: the reference without its solutions, hidden tests and outputs."""
    from grader.authoring.kit import make_starter

    notebook = make_starter(the_lab(app.settings(), lab))
    target = out or Path(f"{lab}.ipynb")
    if target.exists() and not force:
        raise UsageError("exists already", where=str(target), fix="choose another --out, or write over it with --force")
    try:
        target.write_bytes(notebook)
    except OSError as error:
        raise UsageError(
            f"cannot be written: {error.strerror}", where=str(target), fix="choose another --out"
        ) from None
    if app.json:
        return write("starter", 0, {"lab": lab, "starter": str(target)})
    say(f"Starter:  {target}")
    return 0
