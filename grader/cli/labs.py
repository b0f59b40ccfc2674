"""``grader labs``: what can be graded here, and what is wrong with a lab that cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from grader.cli.app import App, common, json_option, lab_exit, read_labs
from grader.cli.jsonout import write
from grader.cli.show import number, print_table, safe, say, several, table

if TYPE_CHECKING:
    from grader.labs import Lab


@click.command(short_help="List the labs.")
@json_option
@common
@click.pass_obj
def labs(app: App) -> int:
    """List the labs: their data, points and checks. Exit code 3 when one of them is wrong."""
    settings = app.settings()
    found, wrong = read_labs(settings)
    code = lab_exit(wrong)
    if app.json:
        errors = {name: str(error) for name, error in wrong.items()}
        return write("labs", code, {"labs": [_content(lab) for lab in found.values()], "wrong": errors})
    rows = table("", ["lab", "title", "data", "GPU", "points", "checks", "public checks"], right=["points", "checks"])
    for lab in found.values():
        title = f"{lab.title} / {lab.title_zh}" if lab.title_zh and settings.language == "zh" else lab.title
        counts = (number(lab.points), str(len(lab.checks)), str(len(lab.public_checks)))
        rows.add_row(lab.id, safe(title, 80), lab.data, lab.gpu, *counts)
    if found:
        print_table(rows)
        say()
    say(f"{several(len(found), 'lab', 'labs')} in {settings.labs}" + (f", {len(wrong)} wrong" if wrong else ""))
    return code


def _content(lab: Lab) -> dict[str, Any]:
    return {
        "id": lab.id,
        "title": lab.title,
        "title_zh": lab.title_zh,
        "folder": str(lab.folder),
        "data": lab.data,
        "gpu": lab.gpu,
        "points": lab.points,
        "starter_score": lab.starter_score,
        "digest": lab.digest,
        "contract": {name: contract.kind for name, contract in lab.contract.items()},
        "tiers": [tier.value for tier in lab.thresholds],
        "checks": [
            {
                "id": check.id,
                "points": check.points,
                "evidence": check.evidence.value,
                "needs": list(check.needs),
                "description": check.description,
            }
            for check in lab.checks
        ],
        "public_checks": [check.id for check in lab.public_checks],
    }
