"""``grader lint``: what is weak, missing or untrue in labs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from grader.cli.app import App, choose_labs, common, interruptible, json_option, read_labs
from grader.cli.jsonout import quiet_stdout, write
from grader.cli.show import complain, say, several
from grader.errors import EXIT_LAB, EXIT_OURS, LabError, UsageError

if TYPE_CHECKING:
    from grader.authoring.lint import Finding
    from grader.labs import Lab
    from grader.settings import Settings
    from grader.verification import Matrix


@click.command(short_help="Find what is weak in labs.")
@click.argument("names", nargs=-1, metavar="[LAB]...")
@click.option(
    "--verify", "prove", is_flag=True, help="Run `grader verify` first, and see which mistakes nothing catches."
)
@click.option(
    "--from",
    "kept_in",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="FOLDER",
    help="Use what `grader verify --out FOLDER` kept instead.",
)
@click.option("--jobs", type=int, metavar="N", help="Runs at a time.  [default: one per core]")
@click.option("--data", type=click.Path(path_type=Path), metavar="FOLDER", help="Folder with the full data sets.")
@click.option("--tier", type=click.Choice(["full", "lite"]), help="Insist on this tier of the data.")
@json_option
@common
@click.pass_obj
def lint(
    app: App,
    names: tuple[str, ...],
    prove: bool,
    kept_in: Path | None,
    jobs: int | None,
    data: Path | None,
    tier: str | None,
) -> int:
    """Find what is weak, missing or untrue in labs, in all where none is named.

    Reads the labs, and runs nothing unless --verify is given. Exit code 3 when there is an error; warnings cost nothing.
    """
    if prove and kept_in:
        raise UsageError("--verify and --from exclude each other", fix="use one of them")
    with quiet_stdout(active=app.json):
        from grader.authoring.lint import finding_of
        from grader.authoring.lint import lint as examine

        settings = app.settings(jobs=jobs, data=data)
        labs, wrong = choose_labs(*read_labs(settings), names)
        found: dict[str, tuple[Finding, ...]] = {}
        unproved: list[str] = []
        for name in sorted((*labs, *wrong)):
            found[name] = examine(settings.labs / name)
            if name in labs and not any(finding.kind == "variant" for finding in found[name]):
                try:
                    matrix = _matrix(app, labs[name], settings, tier, kept_in) if prove or kept_in else None
                except LabError as error:  # this lab cannot be proved; the others can
                    found[name] = (finding_of(error, "lab"), *found[name])
                    continue
                found[name] = examine(settings.labs / name, matrix)
                if matrix and matrix.unproved:
                    unproved.append(f"{name}: {matrix.unproved[0].why}")
    errors = sum(finding.level == "error" for findings in found.values() for finding in findings)
    code = EXIT_LAB if errors else EXIT_OURS if unproved else 0
    for why in unproved:
        complain(why)
    if app.json:
        return write("lint", code, {"labs": found, "proved": (prove or kept_in is not None) and not unproved})
    for findings in found.values():
        for finding in findings:
            say(str(finding))
    warnings = sum(map(len, found.values())) - errors
    count = f"{several(errors, 'error', 'errors')}, {several(warnings, 'warning', 'warnings')}"
    say(f"{several(len(found), 'lab', 'labs')}: {count}")
    if not (prove or kept_in):
        say("Whether each check is failed by a mutant was not asked: --verify runs them.", err=True)
    return code


def _matrix(app: App, lab: Lab, settings: Settings, tier: str | None, kept_in: Path | None) -> Matrix:
    from grader import verification
    from grader.cli.progress import watch
    from grader.records import Tier

    if kept_in:
        return verification.kept(lab, kept_in)
    say(f"{lab.id}: verifying", err=True)
    with interruptible(lambda: "nothing was changed"), watch(app) as show:
        chosen = Tier(tier) if tier else None
        return verification.verify(lab, settings, jobs=settings.jobs, tier=chosen, on_event=show)
