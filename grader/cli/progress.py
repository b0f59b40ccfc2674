"""Progress of a batch: a live board on a terminal, one plain line for each finished run elsewhere.

``Board`` is the state and knows nothing of terminals: it takes events and says what there is to say. Events may come
from several worker threads, so taking one is guarded. ``watch`` shows a board on stderr and keeps the `journal`.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grader.cli.pace import Pace, Place
from grader.cli.show import console, duration, number, one_line, safe, say

if TYPE_CHECKING:
    from rich.console import RenderableType

    from grader.batch import Event
    from grader.cli.app import App
    from grader.cli.journal import How

#: Runners named on the board; more are counted.
NAMED = 6


@dataclass
class Board:
    """What is done, what is running, how long it will take."""

    total: int = 0
    done: int = 0
    clock: Callable[[], float] = time.monotonic
    steps: dict[Place, str] = field(default_factory=dict)
    pace: Pace = field(default_factory=Pace)
    closing: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, event: Event) -> str:
        """Note the event; returns the line worth printing for good, or ''."""
        with self.lock:
            now = self.clock()
            self.total = max(self.total, event.total)
            place = (event.lab, event.student)
            match event.kind:
                case "cluster" | "kept" | "level" | "warning":
                    self.done = max(self.done, event.done)
                    return event.text
                case "planned":
                    self.pace.plan(event.lab, event.runs)
                    self.steps = {place: step for place, step in self.steps.items() if place[0] != event.lab}
                case "started" | "stage":
                    self.steps[place] = event.text
                    self.pace.start(place, now)
                case "finished":
                    self.done = max(self.done + 1, event.done)
                    self.steps.pop(place, None)
                    self.pace.finish(place, now, event.ending, attention=event.attention)
                    return self._finished(event)
                case "closing":
                    self.closing = event.text
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
        """Seconds that are left, from the runs so far; None before the first has finished."""
        return self.pace.left(self.clock(), self.total - self.done)

    def status(self) -> str:
        """``3/24 done, about 2 min left``."""
        if self.closing:
            return f"{self.done}/{self.total} done, {self.closing}"
        left = self.remaining()
        text = f"{self.done}/{self.total} done" if self.total else "starting"
        return f"{text}, about {duration(max(left, 1))} left" if left is not None else text

    def figures(self) -> list[str]:
        """Throughput, failures so far and the slowest runs, as far as there is something to say."""
        pace = self.pace
        failed = [
            f"{count} {safe(ending, 40)}" for ending, count in pace.endings.most_common() if ending not in ("ok", "")
        ]
        if pace.attention:
            failed.append(f"{pace.attention} {'needs' if pace.attention == 1 else 'need'} attention")
        slowest = [
            f"{safe(lab, 40)}/{safe(student, 60)} {duration(seconds)}" for seconds, (lab, student) in pace.most_time()
        ]
        lines = {
            "pace": f"{pace.per_minute():.3g} runs a minute" if pace.per_minute() else "",
            "endings": ", ".join(failed),
            "slowest": ", ".join(slowest),
        }
        return [f"{name}: {line}" for name, line in lines.items() if line]

    def runners(self) -> list[str]:
        """Who is running, for how long, at which step."""
        with self.lock:
            now = self.clock()
            rows = [
                f"{safe(lab, 40)}  {safe(student, 60)}  {safe(text, 60)}  "
                f"{duration(now - self.pace.running[lab, student])}".replace("    ", "  ")
                for (lab, student), text in self.steps.items()
            ]
        return rows if len(rows) <= NAMED else [*rows[: NAMED - 1], f"and {len(rows) - NAMED + 1} more"]


@contextlib.contextmanager
def watch(app: App, total: int = 0, log: Path | None = None) -> Iterator[Callable[[Event], None]]:
    """Shows a batch on stderr and writes it down; yields what takes its events.

    ``log``: where the log goes if the command line does not say.
    """
    board = Board(total=total)
    journal = app.journal(log)
    journal.begun(app.command)
    lock = threading.Lock()
    how: How = "failed"
    why = ""
    try:
        with _shown(board) as show:

            def take(event: Event) -> None:
                with lock:
                    line = board.take(event)
                    journal.take(event, line, board.pace, board.remaining())
                    if line:
                        show(line)

            yield take
        how = "done"
    except KeyboardInterrupt:
        how = "interrupted"
        raise
    except BaseException as error:
        why = one_line(str(error) or type(error).__name__)
        raise
    finally:
        figures = board.figures()
        journal.ended(how, why, figures, board.pace, board.total)
        if how == "done" and board.total > 1:  # an interrupt is one line
            for line in figures:
                _print_line(line)


@contextlib.contextmanager
def _shown(board: Board) -> Iterator[Callable[[str], None]]:
    """The board on stderr while it lasts, where that is a terminal; yields what prints a line for good."""
    screen = console(err=True)
    if not screen.is_terminal or screen.is_dumb_terminal:
        yield _print_line
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
        yield lambda line: live.console.print(Text(safe(line, 400)), soft_wrap=True)


def _print_line(line: str) -> None:
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
    with board.lock:
        head.add_row(bar, Text(board.status()))
        figures = board.figures()
    rows = [*figures, *(f"  {row}" for row in board.runners())]
    return Group(head, *(Text(row, style="dim", no_wrap=True, overflow="ellipsis") for row in rows))
