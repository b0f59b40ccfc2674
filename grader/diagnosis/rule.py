"""One row of the table of breakages."""

from __future__ import annotations

from grader.records import Record


class Rule(Record, frozen=True):
    """One breakage. Empty ``kinds`` or ``line`` match anything; patterns are searched, not anchored."""

    id: str
    message: str
    text: str
    kinds: tuple[str, ...] = ()
    line: str = ""
    swap: tuple[str, str] | None = None
    old: str = ""
    new: str = ""
