"""One row of the table of breakages."""

from __future__ import annotations

from typing import Literal

from grader.diagnosis.find import Finder
from grader.records import Record


class Rule(Record, frozen=True):
    """One breakage: how it is known, what to say in both languages, and how a student's own line is mended.

    ``message`` and ``line`` are patterns that are searched, and empty ones match anything; so do empty ``kinds``.
    ``find`` points at the idiom and edits it; ``old`` and ``new`` are an example for a line that it cannot edit.
    ``before``: what the idiom does is certain from the source alone, so it is told before a run too. It "fails", or it
    is "idle": it has no effect here. ``{name}`` in a text is a named group of ``message`` or a name of the hit.
    """

    id: str
    message: str
    text: str
    zh: str
    kinds: tuple[str, ...] = ()
    line: str = ""
    find: Finder | None = None
    before: Literal["", "fails", "idle"] = ""
    old: str = ""
    new: str = ""
