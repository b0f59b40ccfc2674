"""``grader release``: what students get of labs, as a folder and a zip each, or all in one repository."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from grader.cli.app import App, choose_labs, common, json_option, lab_exit, read_labs
from grader.cli.jsonout import write
from grader.cli.show import complain, say, several
from grader.errors import EXIT_LAB, LabError, UsageError

if TYPE_CHECKING:
    from grader.authoring.kit import Kit


@click.command(short_help="Write the kits of labs for students.")
@click.argument("labs", nargs=-1, metavar="[LAB]...")
@click.option("--out", required=True, type=click.Path(file_okay=False), metavar="DIR", help="Where the kits go.")
@click.option(
    "--as",
    "form",
    type=click.Choice(["folder", "zip", "both", "repository"]),
    default="both",
    help="DIR/LAB, DIR/LAB.zip, or both; or DIR as one repository of all the labs.  [default: both]",
)
@click.option("--force", is_flag=True, help="Write over older kits.")
@json_option
@common
@click.pass_obj
def release(app: App, labs: tuple[str, ...], out: str, form: str, force: bool) -> int:
    """Write the kits of LABs for students, of all where none is named: starter, handouts, public checks, requirements.

    Nothing hidden is in them. The same lab gives the same bytes.
    """
    from grader.authoring.kit import make_kit, repository
    from grader.cli.export import put_new

    if not out:  # of an unset variable; as a path it would be this folder
        raise UsageError("--out names no folder", fix="--out . is this one")
    target = Path(out)
    found, wrong = choose_labs(*read_labs(app.settings()), labs)
    code = lab_exit(wrong)
    kits: list[Kit] = []
    for lab in found.values():
        try:
            kits.append(make_kit(lab))
        except LabError as error:  # this lab cannot be released; the others can
            complain(str(error))
            wrong[lab.id] = error
            code = EXIT_LAB
    if form == "repository":
        files = repository(kits) if kits else {}
        put_new(target, files, force=force)
        written = [target] if kits else []
    else:
        files = {f"{kit.lab}/{name}": content for kit in kits for name, content in kit.files.items()}
        written = [path for kit in kits for path in _written(kit, target, form, force=force)]
    if app.json:
        content = {"labs": [kit.lab for kit in kits], "written": list(map(str, written)), "files": list(files)}
        return write("release", code, {**content, "lab_errors": [str(error) for error in wrong.values()]})
    if not kits:
        return code
    for path in written:
        say(f"Kit:  {path}")
    say()
    say(f"{several(len(files), 'file', 'files')} of {', '.join(kit.lab for kit in kits)}")
    say("Beside the notebook a student checks the work with: grader check LAB.ipynb")
    return code


def _written(kit: Kit, out: Path, form: str, *, force: bool) -> list[Path]:
    """One lab's folder and zip."""
    from grader.authoring.kit import write_folder
    from grader.cli.export import put

    folder, archive = out / kit.lab, out / f"{kit.lab}.zip"
    if form != "folder" and archive.exists() and not force:
        raise UsageError(
            "exists already", where=str(archive), fix="choose another --out, or write over it with --force"
        )
    if form != "zip":
        write_folder(kit, folder, force=force)
    if form != "folder":
        out.mkdir(parents=True, exist_ok=True)
        put(archive, kit.zipped())
    return [path for path, kind in ((folder, "folder"), (archive, "zip")) if form in (kind, "both")]
