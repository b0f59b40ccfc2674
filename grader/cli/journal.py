"""The lines that are kept of a batch while it runs: a log for people (``--log``), events for programs (``--events``).

The log has an ISO time, a level and a sentence; the stream has one JSON object for each event, of `EVENT_SCHEMA`
(docs/event-schema.md). Neither can be forged by what is in a name: the log spells out whatever would begin another
line or move a cursor, and the JSON is ASCII, so that no reader takes a character of a name for the end of a line.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from grader.cli.pace import Pace
from grader.cli.show import safe, several
from grader.cli.sink import Sink
from grader.records import Record
from grader.version import __version__

if TYPE_CHECKING:
    from grader.batch import Event

EVENT_SCHEMA = 1
How = Literal["done", "interrupted", "failed"]


class Line(Record, frozen=True, kw_only=True, tag_field="event", tag=str.lower):
    """What every event has, besides ``event``: its class in small letters."""

    schema: int = EVENT_SCHEMA
    time: str


class Begun(Line, frozen=True, kw_only=True):
    """A batch begins. `grader verify` has one for each lab."""

    command: str
    grader: str = __version__


class Level(Line, frozen=True, kw_only=True):
    """The sandbox level that the canary proved."""

    text: str


class Cluster(Line, frozen=True, kw_only=True):
    """Something about the cluster that runs the batch: its dashboard, a worker that is not fit."""

    text: str


class Warned(Line, frozen=True, kw_only=True, tag="warning"):
    """What may go wrong on this machine."""

    text: str


class Kept(Line, frozen=True, kw_only=True):
    """So many runs stand as an earlier batch left them."""

    done: int
    total: int


class Planned(Line, frozen=True, kw_only=True):
    """How many of the batch's runs are of this lab."""

    lab: str
    runs: int
    total: int


class Started(Line, frozen=True, kw_only=True):
    """A run has begun."""

    lab: str
    student: str
    done: int
    total: int


class Stage(Line, frozen=True, kw_only=True):
    """A run has come to its next step."""

    lab: str
    student: str
    text: str
    done: int
    total: int


class Finished(Line, frozen=True, kw_only=True):
    """A run is over, or could not be run."""

    lab: str
    student: str
    score: float | None
    max_score: float | None
    ending: str
    attention: bool
    seconds: float
    done: int
    total: int
    left: float | None
    per_minute: float


class Closing(Line, frozen=True, kw_only=True):
    """All runs are over; this is done next."""

    text: str


class Slow(Record, frozen=True):
    """One of the slowest runs."""

    lab: str
    student: str
    seconds: float


class Ended(Line, frozen=True, kw_only=True):
    """A batch is over."""

    how: How
    text: str
    done: int
    total: int
    seconds: float
    per_minute: float
    endings: Mapping[str, int]
    attention: int
    slowest: tuple[Slow, ...]


def now() -> str:
    """ISO 8601 in UTC, to the millisecond."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")


def json_line(line: Line) -> bytes:
    """One event as a line of ASCII."""
    return json.dumps(msgspec.to_builtins(line), allow_nan=False).encode("ascii") + b"\n"


def log_line(level: str, text: str) -> bytes:
    """One line of the log."""
    return f"{now()} {level:<7} {safe(text, 2_000)}\n".encode("utf-8", "backslashreplace")


class Journal:
    """The log and the stream of one command, each where it was asked for. Not for several threads at once."""

    def __init__(self, log: Path | None, events: Path | int | None) -> None:
        self._log = Sink(log, f"the log {log}") if log else None
        self._events = Sink(events, "the event stream") if events is not None else None

    def begun(self, command: str) -> None:
        self._note("INFO", f"grader {command} begins, version {__version__}")
        self._tell(Begun(time=now(), command=command))

    def take(self, event: Event, said: str, pace: Pace, left: float | None) -> None:
        """Write an event down. ``said``: its line for people, where it has one; ``left``: seconds."""
        who = f"{safe(event.lab, 40)}  {safe(event.student, 60)}"
        where: dict[str, Any] = {
            "time": now(),
            "lab": event.lab,
            "student": event.student,
            "done": event.done,
            "total": event.total,
        }
        match event.kind:
            case "level":
                self._note("INFO", event.text)
                self._tell(Level(time=where["time"], text=event.text))
            case "cluster":
                self._note("INFO", event.text)
                self._tell(Cluster(time=where["time"], text=event.text))
            case "warning":
                self._note("WARNING", event.text)
                self._tell(Warned(time=where["time"], text=event.text))
            case "kept":
                self._note("INFO", event.text)
                self._tell(Kept(time=where["time"], done=event.done, total=event.total))
            case "planned":
                self._note("INFO", f"{safe(event.lab, 40)}: {several(event.runs, 'run', 'runs')} of {event.total}")
                self._tell(Planned(time=where["time"], lab=event.lab, runs=event.runs, total=event.total))
            case "started":
                self._note("DEBUG", f"{who}  begins")
                self._tell(Started(**where))
            case "stage":
                self._note("DEBUG", f"{who}  {event.text}")
                self._tell(Stage(**where, text=event.text))
            case "finished":
                self._note("WARNING" if event.attention else "INFO", said)
                figures: dict[str, Any] = {"score": event.score, "max_score": event.max_score, "ending": event.ending}
                found: dict[str, Any] = {"attention": event.attention, "seconds": round(event.seconds, 3)}
                rest: dict[str, Any] = {"left": left and round(left, 1), "per_minute": round(pace.per_minute(), 2)}
                self._tell(Finished(**where, **figures, **found, **rest))
            case "closing":
                self._note("INFO", event.text)
                self._tell(Closing(time=where["time"], text=event.text))

    def ended(self, how: How, text: str, said: list[str], pace: Pace, total: int) -> None:
        """``said``: how it went, in lines for people."""
        for line in said:
            self._note("INFO", line)
        self._note(
            {"done": "INFO", "interrupted": "WARNING", "failed": "ERROR"}[how], f"{how}: {text}" if text else how
        )
        slowest = tuple(
            Slow(lab=lab, student=student, seconds=round(seconds, 3)) for seconds, (lab, student) in pace.most_time()
        )
        self._tell(
            Ended(
                time=now(),
                how=how,
                text=text,
                done=sum(pace.endings.values()),
                total=total,
                seconds=round(pace.seconds(), 3),
                per_minute=round(pace.per_minute(), 2),
                endings=dict(pace.endings),
                attention=pace.attention,
                slowest=slowest,
            )
        )

    def close(self) -> None:
        for sink in (self._log, self._events):
            if sink:
                sink.close()

    def _note(self, level: str, text: str) -> None:
        if self._log:
            self._log.write(log_line(level, text))

    def _tell(self, line: Line) -> None:
        if self._events:
            self._events.write(json_line(line))
