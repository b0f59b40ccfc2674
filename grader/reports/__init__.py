"""One verdict as a page, one class as a page: self-contained HTML that asks the network for nothing.

``render_card`` makes a report card in two editions: the student's may be shared, the staff's shows everything.
``render_index`` makes the class overview, ``render_part`` a page of its table where the class is large, and
``render_student`` a student's page over all labs. All are pure: records in, a string out; nothing is opened by path and
no submission is trusted (``text`` and ``pictures`` say how). ``phrases`` reads the catalogue that translates what a lab's
suites say.
"""

from __future__ import annotations

from grader.reports.card import ExecutedCell, Grade, render_card, told
from grader.reports.classroom import ClassRow, class_row
from grader.reports.index import parts, render_index, render_part
from grader.reports.phrases import Phrases, phrases
from grader.reports.student import StudentRun, render_student

__all__ = [
    "ClassRow",
    "ExecutedCell",
    "Grade",
    "Phrases",
    "StudentRun",
    "class_row",
    "parts",
    "phrases",
    "render_card",
    "render_index",
    "render_part",
    "render_student",
    "told",
]
