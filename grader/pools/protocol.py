"""What every pool promises, and what goes in and comes out."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from grader.records import Record

#: A task whose worker died is tried this many times in all: the second time on a fresh worker.
TRIES = 2


class Progress(Record, frozen=True):
    """What a worker says while it works: the index of its task and a word."""

    task: int
    text: str


@dataclass(frozen=True)
class Done:
    """A task's end: its result, or the text of what went wrong (ours)."""

    task: int
    result: Any = None
    failure: str = ""


class Worker(Protocol):
    """What runs in a worker process: made once by a picklable factory, then called for each task."""

    def __call__(self, task: Any, tell: Any) -> Any: ...

    def close(self) -> None: ...


class Pool(Protocol):
    """Runs tasks; yields `Progress` and exactly one `Done` for each task, in the order they end."""

    def run(self, tasks: Sequence[Any]) -> Generator[Progress | Done, None, None]: ...
