"""The `check` decorator, the exceptions a check may end in, and the record of the check that is running."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

from grader.records import Evidence, Figure, Flag, Measured

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Mark:
    """What `check` declares. The static reader (labs.suites) reads the same from the source."""

    id: str
    points: float
    evidence: Evidence
    needs: tuple[str, ...] = ()
    hint: str = ""


def check(
    id: str,  # noqa: A002 - the word of the field
    *,
    points: float,
    evidence: Evidence,
    needs: tuple[str, ...] = (),
    hint: str = "",
) -> Callable[[Function], Function]:
    """Make a test function a check.

    ``evidence`` is the weakest evidence the points may rest on. ``needs`` names checks that must have earned
    something first; otherwise this one is SKIPPED, "blocked by". ``hint`` says what to try when it fails.
    All arguments must be literals: the points of a lab are known without importing its suite.
    """

    def mark(function: Function) -> Function:
        function.__grader_check__ = Mark(id, points, evidence, needs, hint)  # type: ignore[attr-defined]  # a function takes any
        return function

    return mark


class CheckFailed(AssertionError):
    """The student's work is not what the check expects."""

    def __init__(self, found: str, *, expected: str = "", hint: str = "", staff: str = "") -> None:
        super().__init__(found)
        self.found, self.expected, self.hint, self.staff = found, expected, hint, staff


class NotAssessable(Exception):
    """The check cannot be decided on this machine: SKIPPED, and out of the maximum."""


@dataclass
class Current:
    """What the running check has gathered.

    ``evidence`` is the weakest that any of its answers had, ``threshold`` the name it asked for last.
    """

    mark: Mark
    evidence: Evidence | None = None
    fraction: float | None = None
    found: str = ""
    expected: str = ""
    hint: str = ""
    figure: Figure | None = None
    staff: list[str] = field(default_factory=list)
    flags: list[Flag] = field(default_factory=list)
    threshold: str = ""
    measured: list[Measured] = field(default_factory=list)

    def rest_on(self, evidence: Evidence) -> None:
        if self.evidence is None or evidence.rank < self.evidence.rank:
            self.evidence = evidence


_current: ContextVar[Current | None] = ContextVar("check", default=None)


def current() -> Current:
    """The check that is running. Raises RuntimeError outside of one."""
    found = _current.get()
    if found is None:
        raise RuntimeError("this can only be called inside a check")
    return found


@contextmanager
def running(mark: Mark) -> Iterator[Current]:
    """Make a fresh `Current` the running check."""
    record = Current(mark)
    token = _current.set(record)
    try:
        yield record
    finally:
        _current.reset(token)
