"""The class overview: every run of a batch in one page for staff, sorted and filtered from a file without a server.

A class of thousands has its table on pages of its own, one for each lab, and the overview links to them.
``classroom`` reckons what the page shows; this module puts words to it. Everything that a teaching assistant may act
on links to the card it comes from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from grader.records import Record
from grader.reports import wording
from grader.reports.classroom import ENOUGH_RUNS, Advice, ClassRow, LabFigures, advice, figures, slowest
from grader.reports.language import Language, Words, words
from grader.reports.page import href, render
from grader.reports.phrases import NOTHING, Phrases
from grader.shelf import View

#: Runs that the overview shows itself: about 1.5 MB.
ONE_PAGE = 2_000
#: Runs of one lab on a page: what a browser does with so many is in docs/scale.md.
ONE_PART = 10_000
#: Rows that are laid out while the page loads; the script shows more, and without one the browser shows all. Chromium
#: lays a table out again and again while it reads it: with 10,000 rows at once it was not done after 30 s.
AT_ONCE = 200
#: Runs that are named because they need a look; the table finds the others.
NAMED = 100


class Part(Record, frozen=True):
    """A page with a part of the table: runs of one lab, by student."""

    file: str
    lab: str
    title: str
    rows: Sequence[ClassRow]


class RowView(Record, frozen=True):
    """A row with its words and links that cannot leave the folder."""

    row: ClassRow
    ending: wording.Term
    tier: str
    href: str
    student_href: str
    share: float


def parts(rows: Sequence[ClassRow]) -> tuple[Part, ...]:
    """The pages that the table is divided into; none where the overview shows it itself."""
    if len(rows) <= ONE_PAGE:
        return ()
    of_lab: dict[str, list[int]] = {}
    for lab, _, at in _by_student(rows):
        of_lab.setdefault(lab, []).append(at)
    found = []
    for lab, places in of_lab.items():
        for number, begin in enumerate(range(0, len(places), ONE_PART), start=1):
            batch = View(rows, places[begin : begin + ONE_PART], _same)
            file = f"lab-{lab}.html" if number == 1 else f"lab-{lab}-{number}.html"
            found.append(Part(file=file, lab=lab, title=batch[0].lab_title or lab, rows=batch))
    return tuple(found)


def _by_student(rows: Sequence[ClassRow]) -> list[tuple[str, str, int]]:
    """Lab, student and place of every row, sorted."""
    return sorted((row.lab, row.student, at) for at, row in enumerate(rows))


def _same(row: ClassRow) -> ClassRow:
    return row


def render_part(part: Part, *, course_name: str, language: Language) -> str:
    """One page of the table."""
    said = words(language)
    views = View(part.rows, range(len(part.rows)), lambda row: _row(row, said))
    return _page(views, {part.lab: part.title}, course_name, language, part=part)


def render_index(
    rows: Sequence[ClassRow],
    divided: Sequence[Part] = (),
    *,
    course_name: str,
    language: Language,
    phrases: Mapping[str, Phrases] | None = None,
) -> str:
    """The overview as one self-contained HTML page. ``phrases``: what each lab's suites say, in this language.

    ``divided``: where the table is, if not here.
    """
    said = words(language)
    order = [at for *_, at in _by_student(rows)]
    views = View(rows, order, lambda row: _row(row, said))
    look = {at for at, row in enumerate(rows) if row.needs_attention or row.flags}
    labs = [_translated(lab, (phrases or {}).get(lab.lab, NOTHING)) for lab in figures(rows, language)]
    return _page(
        views,
        {lab.lab: lab.title for lab in labs},
        course_name,
        language,
        labs=labs,
        undecided=any(item.discrimination is None for lab in labs for item in lab.items),
        parts=divided,
        attention=View(rows, (at for at in order if at in look), lambda row: _row(row, said)),
        slowest=[_row(row, said) for row in slowest(rows)],
        advice=[_said(item, (phrases or {}).get(item.lab, NOTHING)) for item in advice(rows)],
    )


def _page(
    views: Sequence[RowView], titles: Mapping[str, str], course_name: str, language: Language, **sections: object
) -> str:
    """Sections that are not given are not on the page."""
    empty: dict[str, object] = {
        "labs": (),
        "parts": (),
        "attention": (),
        "slowest": (),
        "advice": (),
        "part": None,
        "undecided": False,
    }
    students, endings = set(), set()
    for view in views:
        students.add(view.row.student)
        endings.add(view.ending.name)
    return render(
        "index.html",
        language,
        script="index.js",
        course_name=course_name,
        rows=views,
        students=len(students),
        titles=titles,
        endings=sorted(endings),
        named=NAMED,
        enough_runs=ENOUGH_RUNS,
        at_once=AT_ONCE,
        **{**empty, **sections},
    )


def _row(row: ClassRow, said: Words) -> RowView:
    share = min(1.0, max(0.0, row.score / row.max_score)) if row.max_score > 0 else 0.0
    return RowView(
        row=row,
        ending=wording.ending(row.ending, said),
        tier="–" if row.data == "none" else wording.tier(row.tier, said).name,
        href=href(row.card),
        student_href=href(row.page),
        share=share,
    )


def _translated(lab: LabFigures, phrases: Phrases) -> LabFigures:
    items = tuple(msgspec.structs.replace(item, description=phrases.say(item.description)) for item in lab.items)
    return msgspec.structs.replace(lab, title=phrases.say(lab.title), items=items)


def _said(item: Advice, phrases: Phrases) -> Advice:
    return msgspec.structs.replace(item, text=phrases.say(item.text))
