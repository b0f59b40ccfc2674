"""Whether a lab's suite tells right from wrong.

The reference must score everything, the untouched starter its stated floor, and each mutant must land in its band. The
matrix shows which check caught which mistake.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from grader import store
from grader.batch import Event, Plan, grade
from grader.errors import LabError
from grader.labs import Lab
from grader.labs.starter import mutate, read_mutants, read_reference, reference_path, starter
from grader.records import Record, Tier, Verdict
from grader.settings import Settings
from grader.submissions import Cell, Submission

#: Scores are sums of floats rounded to six places.
SLACK = 1e-6


class MatrixRow(Record, frozen=True):
    """One notebook's score against its band. ``cells`` are points per check, in the suite's order."""

    name: str
    score: float
    low: float
    high: float
    cells: tuple[float, ...]
    flags: tuple[str, ...] = ()
    missing_flags: tuple[str, ...] = ()
    problem: str = ""

    @property
    def ok(self) -> bool:
        in_band = self.low - SLACK <= self.score <= self.high + SLACK
        return in_band and not self.missing_flags and not self.problem


class Matrix(Record, frozen=True):
    """A lab's verification. ``mutants`` counts them; ``unseen`` names checks that no mutant fails."""

    lab: str
    tier: Tier
    checks: tuple[str, ...]
    points: tuple[float, ...]
    rows: tuple[MatrixRow, ...]
    unseen: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return all(row.ok for row in self.rows)


def verify(
    lab: Lab,
    settings: Settings,
    *,
    jobs: int = 0,
    tier: Tier | None = None,
    out: Path | None = None,
    mutants: bool = True,
    on_event: Callable[[Event], None] = lambda event: None,
) -> Matrix:
    """Grade the reference, the starter and (unless ``mutants`` is False) every mutant of a lab.

    Raises LabError when one cannot be made.
    """
    bands = _bands(lab, mutants=mutants)
    submissions = tuple(_submission(lab, name, notebook) for name, notebook, *_ in bands)
    with tempfile.TemporaryDirectory(prefix="grader-verify-") as folder:
        target = out or Path(folder)
        plan = Plan(submissions=submissions, labs={lab.id: lab}, settings=settings, out=target, jobs=jobs, tier=tier)
        summary = grade(plan, on_event)
        rows = []
        for (name, _, low, high, flags), submission in zip(bands, submissions, strict=True):
            result = store.result_path(target, submission)
            verdict = msgspec.json.decode(result.read_bytes(), type=Verdict)
            rows.append(_row(lab, verdict, name, low, high, flags))
    caught = [any(row.cells[i] < check.points for row in rows[2:]) for i, check in enumerate(lab.checks)]
    return Matrix(
        lab=lab.id,
        tier=summary.rows[0].tier,
        checks=tuple(check.id for check in lab.checks),
        points=tuple(check.points for check in lab.checks),
        rows=tuple(rows),
        unseen=tuple(check.id for check, seen in zip(lab.checks, caught, strict=True) if not seen),
        seconds=summary.seconds,
    )


def _bands(lab: Lab, *, mutants: bool) -> list[tuple[str, dict[str, Any], float, float, tuple[str, ...]]]:
    path = reference_path(lab.folder.parent, lab.id)
    reference = read_reference(path)
    bands: list[tuple[str, dict[str, Any], float, float, tuple[str, ...]]] = [
        ("reference", reference, lab.points, lab.points, ()),
        ("starter", starter(reference), lab.starter_score, lab.starter_score, ()),
    ]
    for mutant in read_mutants(lab.folder) if mutants else ():
        where = str(lab.folder / "mutants" / f"{mutant.name}.toml")
        if mutant.high >= lab.points and not mutant.flags:
            what = f"high = {mutant.high:g} lets the mutant score like the reference"
            raise LabError(what, where=where, fix="a mistake must cost points, or be flagged: name its `flags`")
        bands.append((mutant.name, mutate(reference, mutant, where), mutant.low, mutant.high, mutant.flags))
    return bands


def _row(lab: Lab, verdict: Verdict, name: str, low: float, high: float, flags: tuple[str, ...]) -> MatrixRow:
    raised = tuple(sorted({flag.kind for flag in verdict.flags}))
    scores = {check.id: check.score for check in verdict.checks}
    return MatrixRow(
        name=name,
        score=verdict.score,
        low=low,
        high=high,
        cells=tuple(scores.get(check.id, 0.0) for check in lab.checks),
        flags=raised,
        missing_flags=tuple(flag for flag in flags if flag not in raised),
        problem="; ".join(verdict.needs_attention)[:300],
    )


def _submission(lab: Lab, name: str, notebook: dict[str, Any]) -> Submission:
    """A notebook of ours as a submission. Its hash is of its cells, so the same text meets the same draw."""
    cells = tuple(
        Cell(kind=cell["cell_type"], source="".join(cell["source"]))
        for cell in notebook["cells"]
        if cell["cell_type"] in ("code", "markdown")
    )
    data = json.dumps([[cell.kind, cell.source] for cell in cells]).encode()
    return Submission(
        student=name,
        slug=name,
        lab=lab.id,
        source=f"{lab.id}/{name}",
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        cells=cells,
    )
