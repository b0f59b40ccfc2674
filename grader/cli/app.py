"""What all commands share: their common options, the settings in force, and how an interrupt is told."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from grader.cli.jsonout import quiet_stdout
from grader.errors import EXIT_LAB, UsageError

if TYPE_CHECKING:
    from grader.cli.journal import Journal
    from grader.errors import LabError
    from grader.labs import Lab
    from grader.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])
COURSE = Path("course.toml")
REPORT_CARDS = Path("report_cards")
#: The log of a folder of cards, where --log names no other.
LOG = "grade.log"


class Interrupted(Exception):
    """Ctrl-C, with what became of the work so far."""


@dataclass
class App:
    """The options every command has. ``command`` and ``json`` are known once the command's line is parsed."""

    debug: bool = False
    json: bool = False
    course: Path | None = None
    command: str = ""
    log: Path | None = None
    events: Path | int | None = None
    _journal: Journal | None = None

    def journal(self, log: Path | None) -> Journal:
        """What is written down of this command's batches until it ends; ``log`` where no option says."""
        from grader.cli.journal import Journal

        if self._journal is None:
            try:
                self._journal = Journal(self.log or log, self.events)
            except UsageError:
                if self.log:
                    raise
                # A log that nobody asked for: the batch has its own word on a folder that cannot be written.
                self._journal = Journal(None, self.events)
            click.get_current_context().call_on_close(self._journal.close)
        return self._journal

    def settings(self, **overrides: Any) -> Settings:
        """The settings in force: course.toml of this folder, or the one named, the environment, the command line."""
        from grader.settings import load_settings

        course = self.course or (COURSE if COURSE.is_file() else None)
        return load_settings(course, os.environ, overrides)


def common(command: F) -> F:
    """``--course`` and ``--debug``."""
    course = click.option(
        "--course",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        expose_value=False,
        callback=_keep("course"),
        help="Settings of the course  [default: course.toml in this folder, if there is one]",
    )
    debug = click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        callback=_keep("debug"),
        is_eager=True,
        help="Show a traceback with an error.",
    )
    return course(debug(command))


def json_option(command: F) -> F:
    """``--json``: exactly one object on stdout."""
    return click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=_keep("json"),
        is_eager=True,
        help="Print one JSON object on stdout and nothing else there.",
    )(command)


def journal_options(command: F) -> F:
    """``--log`` and ``--events``: what is written down of a batch while it runs."""
    log = click.option(
        "--log",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        expose_value=False,
        callback=_keep("log"),
        help="Append a line for each event, with its time, to this file.",
    )
    events = click.option(
        "--events",
        type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
        metavar="FILE",
        expose_value=False,
        callback=_keep_events,
        help="Append each event as a line of JSON to this file or FIFO; - is stdout.",
    )
    return log(events(command))


def _keep_events(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value == Path("-"):
        app = ctx.ensure_object(App)
        if app.json:
            raise UsageError("--events - and --json both want stdout", fix="send the events to a file: --events FILE")
        value = ctx.with_resource(quiet_stdout(active=True))
    _keep("events")(ctx, parameter, value)


def _keep(field: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def keep(ctx: click.Context, _: click.Parameter, value: Any) -> None:
        app = ctx.ensure_object(App)
        app.command = ctx.command_path.partition(" ")[2]
        setattr(app, field, value)

    return keep


@contextmanager
def interruptible(note: Callable[[], str]) -> Iterator[None]:
    """Turns Ctrl-C into ``Interrupted`` with a note, asked for only then."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(note()) from None


def read_labs(settings: Settings) -> tuple[dict[str, Lab], dict[str, LabError]]:
    """The labs that are right, and what is wrong with the others, both by id."""
    from grader.labs import find_labs, lab_ids

    errors: list[LabError] = []
    labs = find_labs(settings.labs, errors)
    # find_labs goes through the ids in order and reports in order.
    wrong = [name for name in lab_ids(settings.labs) if name not in labs]
    return labs, dict(zip(wrong, errors, strict=True))


def choose_labs(
    labs: dict[str, Lab], wrong: dict[str, LabError], names: tuple[str, ...]
) -> tuple[dict[str, Lab], dict[str, LabError]]:
    """The labs named, right and wrong ones apart; all where none is named."""
    from grader.errors import plain, suggest

    for name in names:
        if name not in labs and name not in wrong:
            raise UsageError(f"unknown lab '{plain(name, 60)}'", fix=suggest(name, [*labs, *wrong]))
    if not names:
        return labs, wrong
    return {n: labs[n] for n in names if n in labs}, {n: wrong[n] for n in names if n in wrong}


def the_lab(settings: Settings, name: str) -> Lab:
    """The one lab that is named. Raises its own error where it is wrong."""
    labs, wrong = choose_labs(*read_labs(settings), (name,))
    if name in wrong:
        raise wrong[name]
    return labs[name]


def lab_exit(wrong: dict[str, LabError]) -> int:
    """The exit code that wrong labs ask for, after telling each."""
    from grader.cli.show import complain

    for error in wrong.values():
        complain(str(error))
    return EXIT_LAB if wrong else 0
