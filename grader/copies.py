"""Compare the kept models of a whole class: hand-ins whose weights are alike are flagged for the staff."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from grader import likeness, store
from grader.cards import rewrite
from grader.errors import UsageError
from grader.grading import Graded
from grader.labs import Lab
from grader.reports import ClassRow, class_row


def flag_copies(out: Path, lab: Lab, course_name: str) -> list[ClassRow]:
    """Compare the kept models of all of a lab's runs below ``out``, and flag those that are alike on both staff cards.

    Gives the new rows of the runs whose flags changed. A run whose folder was damaged is left out.
    """
    flagged: set[str] = set()  # by an earlier comparison

    def compared() -> Iterator[likeness.Sketched]:
        for folder in store.runs(out, lab.id):
            with contextlib.suppress(UsageError):
                saved = store.load(folder)
                sketched = _sketched(saved)
                if any(flag.kind == likeness.KIND for flag in saved.verdict.flags):
                    flagged.add(folder.name)
                yield sketched

    alike = likeness.alike(compared())
    rows = []
    for name in sorted(flagged | set(alike)):
        saved = store.load(out / lab.id / name)
        before = saved.verdict.flags
        flags = (*(flag for flag in before if flag.kind != likeness.KIND), *alike.get(name, ()))
        if flags != before:
            verdict = msgspec.structs.replace(saved.verdict, flags=flags)
            rewrite(saved, Graded(verdict, saved.exhibits, saved.facts, saved.tape()), course_name, lab.folder)
            rows.append(class_row(verdict, name))
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
