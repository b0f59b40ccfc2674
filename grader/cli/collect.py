"""``grader collect``: a platform's bulk download becomes a class folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from grader.cli.app import REPORT_CARDS, App, common, json_option, read_labs
from grader.cli.book import gradebook_option, gradebook_path, people_of
from grader.cli.jsonout import write
from grader.cli.show import complain, safe, say, several
from grader.errors import EXIT_USAGE, UsageError

if TYPE_CHECKING:
    from grader.submissions import Collected

SUBMISSIONS = Path("submissions")


@click.command(short_help="Make a class folder of a Canvas, Moodle or Gradescope download.")
@click.argument("downloads", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="DOWNLOAD...")
@click.option("--lab", metavar="ID", help="The lab, where a file's name does not say it.")
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    default=SUBMISSIONS,
    metavar="FOLDER",
    help="The class folder.  [default: submissions/]",
)
@click.option("--force", is_flag=True, help="Write over copies that hold something else.")
@gradebook_option
@json_option
@common
@click.pass_obj
def collect(
    app: App, downloads: tuple[Path, ...], lab: str | None, into: Path, force: bool, gradebook: Path | None
) -> int:
    """Copy the notebooks of a bulk DOWNLOAD, a zip or a folder, to <student>/<lab>.ipynb.

    Nothing is unpacked or opened. Students get their ids from the roster, and what the platform says of when they
    handed in is kept beside the copies.
    """
    from grader.submissions import copy_out

    settings = app.settings(gradebook=gradebook)
    labs, wrong = read_labs(settings)
    whose = people_of(gradebook_path(settings, REPORT_CARDS))
    done = copy_out(downloads, [*labs, *wrong], into, only_lab=lab, whose=whose, force=force)
    if not (done.written or done.same or done.kept):
        for error in done.errors[:-1]:
            complain(str(error))
        raise UsageError(str(done.errors[-1]) if done.errors else f"{downloads[0]}: holds no notebook")
    code = EXIT_USAGE if done.kept else 0
    if app.json:
        content = {"into": str(into), "written": done.written, "same": done.same, "kept": done.kept}
        return write("collect", code, content | {"bad_inputs": [str(error) for error in done.errors]})
    _tell(done, into)
    return code


def _tell(done: Collected, into: Path) -> None:
    say(f"{several(len(done.written), 'notebook', 'notebooks')} copied to {into}, {len(done.same)} there already")
    for copy in done.kept:
        complain(f"{safe(copy.path)}: another file is there (write over it with --force)")
    if done.errors:
        say(f"{several(len(done.errors), 'bad input', 'bad inputs')}:")
        for error in done.errors:
            say(f"  {safe(str(error), 400)}")
