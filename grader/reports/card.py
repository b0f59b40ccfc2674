"""The report card: one verdict as one HTML file, for the student or for staff.

What an edition may show is decided here, once, by building a view that holds nothing else: a template cannot
leak what it is not given. The student's view has no flags, no staff notes, no thresholds, no reasons for attention,
no executed cells, and no pictures that are not public; of a traceback it has the frames of the notebook's own cells.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from grader.records import (
    CheckResult,
    Confusion,
    Edition,
    Ending,
    Evidence,
    Exhibits,
    Figure,
    Flag,
    LayerRow,
    Level,
    Outcome,
    Record,
    Verdict,
    WrongPicture,
)
from grader.reports import charts, wording
from grader.reports.bands import Band, band
from grader.reports.language import Language, Words, words
from grader.reports.page import render
from grader.reports.phrases import NOTHING, Phrases, translated
from grader.reports.pictures import data_uri
from grader.reports.summary import after_error, lost, summarize
from grader.reports.text import own_frames

MAX_PICTURES = 24
MAX_COSTS = 3
"""Checks that the result names; beyond three a student reads the list of checks."""
MAX_LAYERS = 200
MAX_CELLS = 300
MAX_CLASSES = 40
"""A confusion matrix beyond this is told in words (the pairs most confused), not drawn."""


class ExecutedCell(Record, frozen=True):
    """A code cell as it ran: source and plain text output, for the staff's edition."""

    number: int
    source: str
    output: str = ""
    failed: bool = False


class Grade(Record, frozen=True):
    """What the gradebook makes of the score: ``why`` says it step by step, ``comments`` are the teaching team's."""

    value: float
    most: float
    why: tuple[str, ...] = ()
    comments: tuple[str, ...] = ()


class CheckView(Record, frozen=True):
    """One check as the card shows it. ``blocker`` describes the check it waits for, ``lost`` points are to be had."""

    check: CheckResult
    outcome: wording.Term
    evidence: wording.Term
    enough: bool
    share: float
    blocker: str
    counts: bool
    lost: float
    band: Band | None


class Segment(Record, frozen=True):
    """A check's part of the score bar, in percent of its width."""

    x: float
    width: float
    earned: float
    look: str


class Picture(Record, frozen=True):
    """A wrong prediction, drawn again."""

    uri: str
    predicted: str
    actual: str
    confidence: float
    public: bool


class Pair(Record, frozen=True):
    """Two classes that the model confuses."""

    actual: str
    predicted: str
    count: int


class ModelView(Record, frozen=True):
    """A model's table of layers; it has a ``name`` where the lab asks for several."""

    name: str
    layers: tuple[LayerRow, ...]
    left_out: int
    parameters: int


class Staff(Record, frozen=True):
    """What only staff see."""

    flags: tuple[Flag, ...]
    needs_attention: tuple[str, ...]
    cells: tuple[ExecutedCell, ...]
    hidden_pictures: int


def render_card(
    verdict: Verdict,
    exhibits: Exhibits,
    *,
    edition: Edition,
    course_name: str,
    language: Language,
    executed_cells: Sequence[ExecutedCell] = (),
    phrases: Phrases = NOTHING,
    grade: Grade | None = None,
) -> str:
    """One self-contained HTML page; no request leaves it.

    ``phrases`` translates what the suites say, see ``grader.reports.phrases``.
    """
    said = words(language)
    verdict = after_error(translated(verdict, phrases), said)
    staff = _staff(verdict, exhibits, executed_cells) if edition == "staff" else None
    if edition != "staff":
        verdict, exhibits = _for_student(verdict, exhibits)
    checks = sorted((_check(check, verdict, said) for check in verdict.checks), key=_urgency)
    unread = verdict.ending in wording.UNREAD
    ran = not unread and bool(verdict.environment.python)
    return render(
        "card.html",
        language,
        course_name=course_name,
        verdict=verdict,
        edition=edition,
        staff=staff,
        summary=summarize(verdict, said),
        ending=wording.ending(verdict.ending, said),
        level=wording.level(verdict.level, said),
        scored=verdict.max_score > 0 and verdict.ending is not Ending.OURS,
        unread=wording.unread(verdict.ending, verdict.ending_detail, said)[0] if unread else None,
        ran=ran,
        untried=sum(view.counts for view in checks) if unread else 0,
        advisory=ran and verdict.level is Level.L0,
        tier=wording.tier(verdict.tier, said),
        stages=[(wording.stage(name, said), seconds) for name, seconds in verdict.timings.items()],
        grade=grade,
        checks=checks,
        costs=[] if unread else [view for view in checks if view.counts and view.lost > 0][:MAX_COSTS],
        segments=_segments(verdict.checks, said),
        grades=[wording.evidence(grade, said) for grade in (Evidence.VERIFIED, Evidence.OBSERVED)],
        trainings=charts.trainings(exhibits.curves),
        confusion=_drawable(exhibits.confusion),
        pairs=_pairs(exhibits.confusion),
        correct=_correct(exhibits.confusion),
        calibration=charts.calibration(exhibits.calibration),
        pictures=_pictures(exhibits.wrong),
        models=_models(exhibits.layers),
        asked=[f"{value:.3g}" for value in exhibits.asked or ()],
    )


def told(verdict: Verdict, edition: Edition) -> Verdict:
    """What a card of this edition tells of a verdict, but for when and how fast it was judged: equal ones, equal cards."""
    if edition == "student":
        verdict, _ = _for_student(verdict, Exhibits())
    checks = tuple(msgspec.structs.replace(check, seconds=0.0) for check in verdict.checks)
    return msgspec.structs.replace(verdict, checks=checks, graded_at="")


def _for_student(verdict: Verdict, exhibits: Exhibits) -> tuple[Verdict, Exhibits]:
    """Both without anything that is for staff alone."""
    checks = tuple(
        msgspec.structs.replace(check, staff_note="", figure=_bare(check.figure)) for check in verdict.checks
    )
    public = tuple(picture for picture in exhibits.wrong if picture.public)
    errors = tuple(
        msgspec.structs.replace(error, traceback=own_frames(error.traceback)) for error in verdict.cell_errors
    )
    return (
        msgspec.structs.replace(verdict, checks=checks, cell_errors=errors, flags=(), needs_attention=()),
        msgspec.structs.replace(exhibits, wrong=public),
    )


def _bare(figure: Figure | None) -> Figure | None:
    """The figure without thresholds."""
    return figure and msgspec.structs.replace(figure, floor=None, full=None)


def _check(check: CheckResult, verdict: Verdict, said: Words) -> CheckView:
    blocker = next(
        (other.description for other in verdict.checks if check.blocked_by and other.id == check.blocked_by), ""
    )
    return CheckView(
        check=check,
        outcome=wording.outcome(check, said),
        evidence=wording.evidence(check.evidence or check.required, said),
        enough=check.evidence is None or check.evidence.rank >= check.required.rank,
        share=min(1.0, max(0.0, check.score / check.points)) if check.points > 0 else 0.0,
        blocker=blocker or check.blocked_by,
        counts=check.points > 0 and (check.outcome is not Outcome.SKIPPED or bool(check.blocked_by)),
        lost=lost(check),
        band=band(check.figure) if check.figure else None,
    )


def _urgency(view: CheckView) -> tuple[int, float]:
    """What needs work first, most points first; then what waits, what passed, and last what does not count."""
    order = {Outcome.FAILED: 0, Outcome.ERRORED: 1, Outcome.SKIPPED: 2, Outcome.PASSED: 3}
    return order[view.check.outcome] if view.counts else 4, -view.lost


def _segments(checks: Sequence[CheckResult], said: Words) -> list[Segment]:
    counted = [
        check for check in checks if check.points > 0 and (check.outcome is not Outcome.SKIPPED or check.blocked_by)
    ]
    total = sum(check.points for check in counted)
    segments: list[Segment] = []
    x = 0.0
    for check in counted:
        width = 100 * check.points / total
        earned = width * min(1.0, max(0.0, check.score / check.points))
        segments.append(
            Segment(
                x=round(x, 3), width=round(width, 3), earned=round(earned, 3), look=wording.outcome(check, said).look
            )
        )
        x += width
    return segments


def _pictures(wrong: Sequence[WrongPicture]) -> list[Picture]:
    shown: list[Picture] = []
    for picture in wrong:
        if len(shown) == MAX_PICTURES:
            break
        uri = data_uri(picture.png)
        if uri is not None:
            shown.append(
                Picture(
                    uri=uri,
                    predicted=picture.predicted,
                    actual=picture.actual,
                    confidence=picture.confidence,
                    public=picture.public,
                )
            )
    return shown


def _drawable(confusion: Confusion | None) -> Confusion | None:
    if confusion is None or not 0 < len(confusion.labels) <= MAX_CLASSES:
        return None
    square = len(confusion.matrix) == len(confusion.labels) and all(
        len(row) == len(confusion.labels) for row in confusion.matrix
    )
    return confusion if square else None


def _pairs(confusion: Confusion | None) -> list[Pair]:
    """The three confusions that cost most."""
    if confusion is None:
        return []
    found = [
        Pair(actual=confusion.labels[i], predicted=confusion.labels[j], count=count)
        for i, row in enumerate(confusion.matrix[: len(confusion.labels)])
        for j, count in enumerate(row[: len(confusion.labels)])
        if i != j and count > 0
    ]
    return sorted(found, key=lambda pair: -pair.count)[:3]


def _correct(confusion: Confusion | None) -> tuple[int, int]:
    """How many were right, of how many."""
    if confusion is None:
        return 0, 0
    right = sum(row[i] for i, row in enumerate(confusion.matrix) if i < len(row))
    return right, sum(sum(row) for row in confusion.matrix)


def _models(rows: Sequence[LayerRow]) -> list[ModelView]:
    """The models whose layers these are; of several, each row names its own (see ``grader.exhibits``)."""
    found: dict[str, list[LayerRow]] = {}
    for row in rows:
        model, layer = charts.owner(row.name)
        found.setdefault(model, []).append(msgspec.structs.replace(row, name=layer))
    left = MAX_LAYERS
    views = []
    for name, layers in found.items():
        shown = tuple(layers[:left])
        left -= len(shown)
        parameters = sum(layer.parameters for layer in layers)
        views.append(ModelView(name=name, layers=shown, left_out=len(layers) - len(shown), parameters=parameters))
    return views


def _staff(verdict: Verdict, exhibits: Exhibits, cells: Sequence[ExecutedCell]) -> Staff:
    return Staff(
        flags=verdict.flags,
        needs_attention=verdict.needs_attention,
        cells=tuple(cells[:MAX_CELLS]),
        hidden_pictures=sum(not picture.public for picture in exhibits.wrong),
    )
