"""The class overview: every run of a batch in one page for staff, sortable from a file without a server."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from urllib.parse import quote

from grader.records import Ending, Level, Record, Tier
from grader.reports import wording
from grader.reports.language import Language, Words, words
from grader.reports.page import render


class ClassRow(Record, frozen=True):
    """One run as the overview shows it. ``card`` is the path of its card relative to the overview, with ``/``."""

    lab: str
    student: str
    score: float
    max_score: float
    ending: Ending
    level: Level
    tier: Tier
    seconds: float = 0.0
    needs_attention: bool = False
    flags: int = 0
    lab_title: str = ""
    card: str = ""


class RowView(Record, frozen=True):
    """A row with its words and a link that cannot leave the folder."""

    row: ClassRow
    ending: wording.Term
    tier: str
    href: str
    share: float


class LabView(Record, frozen=True):
    """How the class did in one lab."""

    lab: str
    title: str
    runs: int
    median: float
    mean: float
    lowest: float
    highest: float
    attention: int


def render_index(rows: Sequence[ClassRow], *, course_name: str, language: Language) -> str:
    """The overview as one self-contained HTML page."""
    said = words(language)
    views = [_row(row, said) for row in sorted(rows, key=lambda row: (row.lab, row.student))]
    return render(
        "index.html",
        language,
        script="index.js",
        course_name=course_name,
        rows=views,
        labs=_labs(rows),
        attention=[view for view in views if view.row.needs_attention or view.row.flags],
    )


def _row(row: ClassRow, said: Words) -> RowView:
    share = min(1.0, max(0.0, row.score / row.max_score)) if row.max_score > 0 else 0.0
    return RowView(
        row=row,
        ending=wording.ending(row.ending, said),
        tier=wording.tier(row.tier, said).name,
        href=_href(row.card),
        share=share,
    )


def _href(card: str) -> str:
    """A link below the overview's own folder, or none: no scheme, no host, no way up."""
    parts = card.split("/")
    if not card or "\\" in card or any(part in {"", ".", ".."} for part in parts):
        return ""
    # quote() leaves no ':' in the first part, so nothing can be read as a scheme; lone surrogates are refused.
    try:
        return "/".join(quote(part, safe="") for part in parts)
    except UnicodeEncodeError:
        return ""


def _labs(rows: Sequence[ClassRow]) -> list[LabView]:
    labs: dict[str, list[ClassRow]] = {}
    for row in rows:
        labs.setdefault(row.lab, []).append(row)
    return [_lab(lab, labs[lab]) for lab in sorted(labs)]


def _lab(lab: str, rows: Sequence[ClassRow]) -> LabView:
    scores = [row.score for row in rows]
    return LabView(
        lab=lab,
        title=next((row.lab_title for row in rows if row.lab_title), lab),
        runs=len(rows),
        median=statistics.median(scores),
        mean=statistics.fmean(scores),
        lowest=min(scores),
        highest=max(scores),
        attention=sum(row.needs_attention or row.flags > 0 for row in rows),
    )
