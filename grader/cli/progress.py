"""Progress of a batch: a live board on a terminal, one plain line for each finished run elsewhere.

``Board`` is the state and knows nothing of terminals: it takes events and says what there is to say. Events may come
from several worker threads, so taking one is guarded. ``watch`` shows a board on stderr.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from grader.cli.show import console, duration, number, safe, say

if TYPE_CHECKING:
    from rich.console import RenderableType

    from grader.batch import Event

#: Runners named on the board; more are counted.
NAMED = 6


@dataclass
class Board:
    """What is done, what is running, how long it will take."""

    total: int = 0
    done: int = 0
    clock: Callable[[], float] = time.monotonic
    running: dict[tuple[str, str], tuple[str, float]] = field(default_factory=dict)
    began: float | None = None
    runs: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, event: Event) -> str:
        """Note the event; returns the line worth printing for good, or ''."""
        with self.lock:
            now = self.clock()
            self.total = max(self.total, event.total)
            who = (event.lab, event.student)
            if event.kind == "level":
                return event.text
            if event.kind == "finished":
                self.done = max(self.done + 1, event.done)
                # A file that is no notebook is done at once and says nothing about the pace.
                self.runs += self.running.pop(who, None) is not None
                return self._finished(event)
            if self.began is None:
                self.began = now
            since = self.running.get(who, ("", now))[1]
            self.running[who] = (event.text, since)
            return ""

    def _finished(self, event: Event) -> str:
        width = len(str(self.total))
        score = "" if event.score is None else f"  {number(event.score)}/{number(event.max_score or 0)}"
        ending = f"  {event.ending}" if event.ending and event.ending != "ok" else ""
        took = f"  {duration(event.seconds)}" if event.seconds else ""
        return (
            f"[{self.done:>{width}}/{self.total}] {safe(event.lab, 40)}  {safe(event.student, 60)}{score}{ending}{took}"
        )

    def remaining(self) -> float | None:
        """Seconds that are left, from the pace of the runs so far; None before the first has finished."""
        if self.began is None or not self.runs or self.done >= self.total:
            return None
        return (self.clock() - self.began) / self.runs * (self.total - self.done)

    def status(self) -> str:
        """``3/24 done, about 2 min left``."""
        left = self.remaining()
        text = f"{self.done}/{self.total} done" if self.total else "starting"
        return f"{text}, about {duration(max(left, 1))} left" if left is not None else text

    def runners(self) -> list[str]:
        """Who is running, for how long, at which step."""
        with self.lock:
            now = self.clock()
            rows = [
                f"{safe(lab, 40)}  {safe(student, 60)}  {safe(text, 60)}  {duration(now - since)}".replace("    ", "  ")
                for (lab, student), (text, since) in list(self.running.items())
            ]
        return rows if len(rows) <= NAMED else [*rows[: NAMED - 1], f"and {len(rows) - NAMED + 1} more"]


@contextlib.contextmanager
def watch(total: int = 0) -> Iterator[Callable[[Event], None]]:
    """Shows a batch on stderr; yields what takes its events."""
    board = Board(total=total)
    screen = console(err=True)
    if not screen.is_terminal or screen.is_dumb_terminal:
        yield lambda event: _print_line(board.take(event))
        return
    from rich.live import Live
    from rich.text import Text

    with Live(
        get_renderable=lambda: _picture(board),
        console=screen,
        refresh_per_second=4,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as live:

        def show(event: Event) -> None:
            if line := board.take(event):
                live.console.print(Text(safe(line, 400)), soft_wrap=True)

        yield show


def _print_line(line: str) -> None:
    if line:
        say(line, err=True)
        sys.stderr.flush()


def _picture(board: Board) -> RenderableType:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    head: Any = Table.grid(padding=(0, 1))
    bar = ProgressBar(
        total=max(board.total, 1), completed=board.done, width=30, pulse=not board.total, complete_style="green"
    )
    head.add_row(bar, Text(board.status()))
    return Group(head, *(Text(f"  {row}", style="dim", no_wrap=True, overflow="ellipsis") for row in board.runners()))
