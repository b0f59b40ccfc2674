"""One verdict as a page, one class as a page: self-contained HTML that asks the network for nothing.

``render_card`` makes a report card in two editions: the student's may be shared, the staff's shows
everything. ``render_index`` makes the class overview. Both are pure: records in, a string out; nothing
is opened by path and no submission is trusted (``text`` and ``pictures`` say how).
"""

from __future__ import annotations

from grader.reports.card import Edition, ExecutedCell, render_card
from grader.reports.index import ClassRow, render_index

__all__ = ["ClassRow", "Edition", "ExecutedCell", "render_card", "render_index"]
