"""Compare the kept models of a whole class: hand-ins whose weights are alike are flagged for the staff."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from grader import likeness, store
from grader.cards import rewrite
from grader.errors import UsageError
from grader.grading import Graded
from grader.labs import Lab
from grader.records import Flag
from grader.reports import ClassRow, class_row


def flag_copies(out: Path, lab: Lab, course_name: str) -> list[ClassRow]:
    """Compare the kept models of all of a lab's runs below ``out``, and flag those that are alike on both staff cards.

    Gives the new rows of the runs whose flags changed. A run whose folder was damaged is left out.
    """
    compared: dict[Path, tuple[likeness.Sketched, tuple[Flag, ...]]] = {}
    for folder in store.runs(out, lab.id):
        with contextlib.suppress(UsageError):
            saved = store.load(folder)
            compared[folder] = _sketched(saved), saved.verdict.flags
    alike = likeness.alike(run for run, _ in compared.values() if run.sketches)
    rows = []
    for folder, (_, before) in compared.items():
        flags = (*(flag for flag in before if flag.kind != likeness.KIND), *alike.get(folder.name, ()))
        if flags != before:
            saved = store.load(folder)
            verdict = msgspec.structs.replace(saved.verdict, flags=flags)
            rewrite(saved, Graded(verdict, saved.exhibits, saved.facts, saved.tape()), course_name, lab.folder)
            rows.append(class_row(verdict, folder.name))
    return rows


def _sketched(saved: store.Saved) -> likeness.Sketched:
    sources = [cell.source for cell in saved.submission.cells if cell.kind == "code"]
    carries = any(flag.kind == "large literal" for flag in saved.verdict.flags)
    return likeness.Sketched(
        student=saved.folder.name,
        submission=saved.submission.sha256,
        sketches=saved.sketches(),
        seeds=likeness.seeds(sources),
        free=bool(saved.facts.observed.get("fits")) and not carries,
    )
