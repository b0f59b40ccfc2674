"""``grader verify``: prove a lab before it is used, and print the matrix of its variants and checks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from grader.cli.app import (
    COURSE,
    App,
    choose_labs,
    common,
    interruptible,
    journal_options,
    json_option,
    lab_exit,
    read_labs,
)
from grader.cli.jsonout import quiet_stdout, write
from grader.cli.show import complain, number, print_table, safe, say, table
from grader.errors import EXIT_LAB, EXIT_OURS, LabError

if TYPE_CHECKING:
    from rich.table import Table

    from grader.labs import Lab
    from grader.verification import Matrix, MatrixRow


@click.command(short_help="Prove labs: reference, starter and mutants score what they must.")
@click.argument("names", nargs=-1, metavar="[LAB]...")
@click.option("--jobs", type=int, metavar="N", help="Runs at a time.  [default: one per core]")
@click.option("--data", type=click.Path(path_type=Path), metavar="FOLDER", help="Folder with the full data sets.")
@click.option("--tier", type=click.Choice(["full", "lite"]), help="Insist on this tier of the data.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Keep the cards here.")
@click.option("--changed-since", metavar="REF", help="Only labs that have changed since this commit, by git.")
@journal_options
@json_option
@common
@click.pass_obj
def verify(
    app: App,
    names: tuple[str, ...],
    jobs: int | None,
    data: Path | None,
    tier: str | None,
    out: Path | None,
    changed_since: str | None,
) -> int:
    """Prove labs: the reference earns full marks, the untouched starter its floor, each mutant lands in its band.

    Prints for each lab the matrix of variants and checks. Exit code 3 when a lab does not hold, 4 when one could not be run.
    """
    with quiet_stdout(active=app.json):
        from grader.cli.progress import watch
        from grader.records import Tier
        from grader.verification import verify as verify_lab

        settings = app.settings(jobs=jobs, data=data)
        labs, wrong = choose_labs(*read_labs(settings), names)
        if changed_since is not None:
            labs, wrong = _changed(app, changed_since, settings.labs, labs, wrong)
        code = lab_exit(wrong)
        matrices: list[Matrix] = []
        for lab in labs.values():
            say(f"{lab.id}: verifying", err=True)
            try:
                with interruptible(lambda: "nothing was changed"), watch(app) as show:
                    chosen = Tier(tier) if tier else None
                    matrix = verify_lab(lab, settings, jobs=settings.jobs, tier=chosen, out=out, on_event=show)
            except LabError as error:  # this lab cannot be proved; the others can
                complain(str(error))
                wrong[lab.id] = error
                code = EXIT_LAB
                continue
            matrices.append(matrix)
            if not app.json:
                _tell(matrix, lab)
        if any(matrix.wrong for matrix in matrices):
            code = EXIT_LAB
        elif any(matrix.unproved for matrix in matrices):
            code = code or EXIT_OURS
    if app.json:
        content = {"labs": [_content(matrix) for matrix in matrices]}
        return write("verify", code, content | {"lab_errors": [str(error) for error in wrong.values()]})
    return code


def _changed(
    app: App, ref: str, folder: Path, labs: dict[str, Lab], wrong: dict[str, LabError]
) -> tuple[dict[str, Lab], dict[str, LabError]]:
    """The labs, right and wrong ones apart, that have changed; stderr tells which."""
    from grader.ci import changes_since

    changes = changes_since(ref, folder, app.course or COURSE)
    right = {name: lab for name, lab in labs.items() if changes.touch(name)}
    broken = {name: error for name, error in wrong.items() if changes.touch(name)}
    names = ", ".join(sorted([*right, *broken])) or "no lab"
    why = f", because {safe(changes.whole)} has" if changes.whole else ""
    say(f"changed since {safe(ref)}: {names}{why}", err=True)
    return right, broken


def _tell(matrix: Matrix, lab: Lab) -> None:
    print_table(_picture(matrix, lab))
    say()
    for row in matrix.wrong:
        say(f"{row.name}: {row.why}")
    for why in dict.fromkeys(row.why for row in matrix.unproved):
        say(f"{', '.join(row.name for row in matrix.unproved if row.why == why)}: {why}")
    for check in matrix.unassessed:
        say(f"note: the check '{check}' cannot be decided on this machine; verify the lab on one with a GPU too")
    for check in matrix.unseen:
        say(f"note: no mutant fails the check '{check}'")
    if matrix.wrong:
        state = f"does not hold: {len(matrix.wrong)} wrong"
    elif matrix.unproved:
        state = f"is not proved: {len(matrix.unproved)} of {len(matrix.rows)} variants could not be run here"
    else:
        state = f"holds: {len(matrix.rows)} variants score what they must"
    say(f"{matrix.lab}{f' ({matrix.tier.value} data)' if lab.data != 'none' else ''} {state}")
    say()


def _picture(matrix: Matrix, lab: Lab) -> Table:
    columns = ["variant", "", "score", "band", *matrix.checks, "flags"]
    made = table(f"{matrix.lab}: {safe(lab.title, 80)}", columns, right=["score", "band", *matrix.checks])
    made.add_row("points", "", number(lab.points), "", *map(number, matrix.points), "", end_section=True)
    for row in matrix.rows:
        verdict = "ok" if row.ok else "not proved" if row.unproved else "WRONG"
        flags = safe(", ".join(row.flags), 200)
        made.add_row(row.name, verdict, number(row.score), _band(row), *map(number, row.cells), flags)
    return made


def _band(row: MatrixRow) -> str:
    return number(row.low) if row.low == row.high else f"{number(row.low)}–{number(row.high)}"


def _content(matrix: Matrix) -> dict[str, Any]:
    rows = [
        {
            "name": row.name,
            "ok": row.ok,
            "proved": not row.unproved,
            "score": row.score,
            "low": row.low,
            "high": row.high,
            "checks": dict(zip(matrix.checks, row.cells, strict=True)),
            "flags": list(row.flags),
            "why": "" if row.ok else row.why,
        }
        for row in matrix.rows
    ]
    return {
        "lab": matrix.lab,
        "ok": matrix.ok,
        "tier": matrix.tier.value,
        "points": dict(zip(matrix.checks, matrix.points, strict=True)),
        "variants": rows,
        "unseen": list(matrix.unseen),
        "unassessed": list(matrix.unassessed),
        "seconds": round(matrix.seconds, 3),
    }
