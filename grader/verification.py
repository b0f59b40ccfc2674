"""Whether a lab's suite tells right from wrong.

The reference and every correct solution of another style must score everything, the untouched starter its stated floor,
and each mutant must land in its band. A flag on one that makes no mistake would be raised on honest hand-ins too, so it
fails the row. The matrix shows which check caught which mistake.
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
from grader.errors import LabError, UsageError, plain
from grader.labs import Lab
from grader.labs.alternatives import read_alternatives
from grader.labs.starter import mutate, read_mutants, read_reference, reference_path, starter
from grader.likeness import KIND as SAME_WEIGHTS
from grader.records import Ending, Outcome, Record, Tier, Verdict
from grader.settings import Settings
from grader.submissions import Cell, Submission

#: Scores are sums of floats rounded to six places.
SLACK = 1e-6


class MatrixRow(Record, frozen=True):
    """One notebook's score against its band. ``cells`` are points per check, in the suite's order.

    ``unassessed`` are the points of checks that this machine cannot decide (a GPU that is not there). Bands are those
    of a machine that can: the score must lie in its band without these points or with all of them. An ``unproved`` one
    could not be run, and ``problem`` says why: that is ours, and says nothing of the lab.
    """

    name: str
    score: float
    low: float
    high: float
    cells: tuple[float, ...]
    flags: tuple[str, ...] = ()
    missing_flags: tuple[str, ...] = ()
    unexpected_flags: tuple[str, ...] = ()
    problem: str = ""
    unassessed: float = 0.0
    unproved: bool = False

    @property
    def ok(self) -> bool:
        possible = (self.score, self.score + self.unassessed)
        in_band = any(self.low - SLACK <= score <= self.high + SLACK for score in possible)
        return in_band and not self.missing_flags and not self.unexpected_flags and not self.problem

    @property
    def why(self) -> str:
        """Why the row is not ok, in one line; what a run says of itself is clipped."""
        if self.unproved:
            return f"not proved: {plain(self.problem, 300)}"
        if self.problem:
            return f"needs attention: {plain(self.problem, 300)}"
        if self.missing_flags:
            return f"the flag {', '.join(self.missing_flags)} was not raised"
        if self.unexpected_flags:
            return f"makes no mistake, but the flag {', '.join(self.unexpected_flags)} was raised"
        band = f"{self.low:g}" if self.low == self.high else f"{self.low:g}–{self.high:g}"
        return f"scored {self.score:g}, must score {band}"


class Matrix(Record, frozen=True):
    """A lab's verification. ``unseen`` names checks that no mutant fails, ``unassessed`` those not decided here."""

    lab: str
    tier: Tier
    checks: tuple[str, ...]
    points: tuple[float, ...]
    rows: tuple[MatrixRow, ...]
    unseen: tuple[str, ...] = ()
    unassessed: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return all(row.ok for row in self.rows)

    @property
    def wrong(self) -> tuple[MatrixRow, ...]:
        """The rows that do not hold, of those that could be run."""
        return tuple(row for row in self.rows if not row.ok and not row.unproved)

    @property
    def unproved(self) -> tuple[MatrixRow, ...]:
        return tuple(row for row in self.rows if row.unproved)


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
    """Grade the reference, the starter, the alternatives and (unless ``mutants`` is False) every mutant of a lab.

    Raises LabError when one cannot be made.
    """
    right = _right(lab)
    bands = variants(lab) if mutants else right
    submissions = tuple(as_submission(lab, name, notebook) for name, notebook, *_ in bands)
    with tempfile.TemporaryDirectory(prefix="grader-verify-") as folder:
        target = out or Path(folder)
        plan = Plan(
            submissions=submissions,
            labs={lab.id: lab},
            settings=settings,
            out=target,
            jobs=jobs,
            tier=tier,
            fresh=True,
        )
        seconds = grade(plan, on_event).seconds
        return _matrix(lab, bands, [_verdict(target, submission) for submission in submissions], len(right), seconds)


def kept(lab: Lab, out: Path) -> Matrix:
    """The matrix of an earlier verification whose cards were kept there.

    Raises UsageError where a variant is missing, or is not what was verified then.
    """
    bands = variants(lab)
    verdicts = []
    for name, notebook, *_ in bands:
        submission = as_submission(lab, name, notebook)
        fix = f"verify again: grader verify {lab.id} --out {out}"
        try:
            verdict = _verdict(out, submission)
        except (OSError, msgspec.DecodeError):
            raise UsageError(f"holds no verified {lab.id}/{name}", where=str(out), fix=fix) from None
        asked = [(check.id, check.points) for check in verdict.checks if check.points]
        if verdict.submission != submission.sha256 or asked != [(c.id, c.points) for c in lab.checks if c.points]:
            raise UsageError(f"holds another {lab.id}/{name} than the lab has now", where=str(out), fix=fix)
        verdicts.append(verdict)
    return _matrix(lab, bands, verdicts, len(_right(lab)))


def _verdict(out: Path, submission: Submission) -> Verdict:
    return msgspec.json.decode(store.result_path(out, submission).read_bytes(), type=Verdict)


def _matrix(lab: Lab, bands: list[Band], verdicts: list[Verdict], right: int, seconds: float = 0.0) -> Matrix:
    """The first ``right`` variants make no mistake, the others are mutants."""
    rows = [
        _row(lab, verdict, name, low, high, flags, honest=number < right)
        for number, ((name, _, low, high, flags), verdict) in enumerate(zip(bands, verdicts, strict=True))
    ]
    skipped = _unassessed(lab, verdicts[0])
    mutants = [row for row in rows[right:] if not row.unproved]
    # A mutant that could not be run might have failed any check.
    every = len(mutants) < len(rows[right:])
    caught = [every or any(row.cells[i] < check.points for row in mutants) for i, check in enumerate(lab.checks)]
    return Matrix(
        lab=lab.id,
        tier=verdicts[0].tier,
        checks=tuple(check.id for check in lab.checks),
        points=tuple(check.points for check in lab.checks),
        rows=tuple(rows),
        unseen=tuple(check.id for check, seen in zip(lab.checks, caught, strict=True) if not seen),
        unassessed=tuple(skipped),
        seconds=seconds,
    )


#: A notebook to grade: name, notebook, lowest and highest score, flags that must be raised.
Band = tuple[str, dict[str, Any], float, float, tuple[str, ...]]


def variants(lab: Lab) -> list[Band]:
    """Every notebook that proves the lab. Raises LabError where one cannot be made."""
    right = _right(lab)
    return right + _mutants(lab, right)


def _right(lab: Lab) -> list[Band]:
    """The notebooks that make no mistake: the reference, the untouched starter, solutions of another style."""
    reference = read_reference(reference_path(lab.folder.parent, lab.id))
    return [
        ("reference", reference, lab.points, lab.points, ()),
        ("starter", starter(reference), lab.starter_score, lab.starter_score, ()),
        *((name, also, lab.points, lab.points, ()) for name, also in read_alternatives(lab.folder).items()),
    ]


def _mutants(lab: Lab, right: list[Band]) -> list[Band]:
    bands: list[Band] = []
    names = {name for name, *_ in right}
    for mutant in read_mutants(lab.folder):
        where = str(lab.folder / "mutants" / f"{mutant.name}.toml")
        if mutant.name in names:
            raise LabError(f"'{mutant.name}' is a correct solution's name, too", where=where, fix="rename the file")
        if mutant.high >= lab.points and not mutant.flags and mutant.baseline is not True:
            what = f"high = {mutant.high:g} lets the mutant score like the reference"
            raise LabError(what, where=where, fix="a mistake must cost points, or be flagged: name its `flags`")
        bands.append((mutant.name, mutate(right[0][1], mutant, where), mutant.low, mutant.high, mutant.flags))
    return bands


def _unassessed(lab: Lab, verdict: Verdict) -> dict[str, float]:
    """The checks that this machine could not decide, with their points.

    None in a lab that asks for no GPU: there a check that is left out of the reference's maximum is a mistake.
    """
    if lab.gpu == "no" or verdict.ending is Ending.OURS:
        return {}
    return {c.id: c.points for c in verdict.checks if c.outcome is Outcome.SKIPPED and not c.blocked_by}


def _row(
    lab: Lab, verdict: Verdict, name: str, low: float, high: float, flags: tuple[str, ...], *, honest: bool
) -> MatrixRow:
    """The ``same weights`` of variants say nothing: they are made of one reference, with its seed and its layers."""
    raised = tuple(sorted({flag.kind for flag in verdict.flags} - {SAME_WEIGHTS}))
    scores = {check.id: check.score for check in verdict.checks}
    return MatrixRow(
        name=name,
        score=verdict.score,
        low=low,
        high=high,
        cells=tuple(scores.get(check.id, 0.0) for check in lab.checks),
        flags=raised,
        missing_flags=tuple(flag for flag in flags if flag not in raised),
        unexpected_flags=raised if honest else (),
        problem="; ".join(verdict.needs_attention)[:300],
        unassessed=sum(_unassessed(lab, verdict).values()),
        unproved=verdict.ending is Ending.OURS,
    )


def as_submission(lab: Lab, name: str, notebook: dict[str, Any]) -> Submission:
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
